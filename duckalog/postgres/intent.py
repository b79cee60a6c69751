"""Whether a statement reads or writes, as far as its text tells."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import NamedTuple

from duckalog.postgres.words import readable


class Intent(NamedTuple):
    """Whether a statement may go to a replica, if none of the `functions` it calls is volatile."""

    is_read: bool
    functions: frozenset[str] = frozenset()


WRITE = Intent(False)


@lru_cache(maxsize=4096)
def intent_of(sql: str) -> Intent:
    """Return the intent of a statement; what is not understood is a write.

    A SELECT that locks rows, makes a table, or has a statement that writes in
    its WITH is a write, too. `functions` are those that are not part of SQL.
    """
    import sqlglot
    from sqlglot import exp

    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of what it passes on unparsed
    try:
        statements = sqlglot.parse(readable(sql), dialect="postgres")
    except sqlglot.errors.SqlglotError:
        return WRITE
    statement = statements[0] if len(statements) == 1 else None
    if not isinstance(statement, exp.Query | exp.Values):
        return WRITE
    writes = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into, exp.Lock, exp.Command)
    if statement.find(*writes):
        return WRITE
    called = statement.find_all(exp.Anonymous, exp.AnonymousAggFunc)
    return Intent(True, frozenset(one.name.lower() for one in called))


VOLATILE = (
    "SELECT name FROM unnest($1::text[]) AS asked(name) WHERE coalesce("
    "(SELECT bool_or(provolatile = 'v') FROM pg_proc WHERE proname = name), true)"
)
"""The names of functions that are volatile, or not there; nextval() is one, lower() is not."""
