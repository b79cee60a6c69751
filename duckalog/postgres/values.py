"""Values of PostgreSQL's that Python, or Arrow, has none for: errors that name their column."""

from __future__ import annotations

from typing import Any

from psycopg import DataError
from psycopg.adapt import Transformer
from psycopg.sql import Identifier

from duckalog.postgres.errors import QueryError
from duckalog.postgres.rows import Column, columns_of

_KINDS = {b"infinity": "infinity", b" BC": "a year before 1", b"24:00": "24:00"}


def outside(column: Column, whose: str, kind: str) -> QueryError:
    """Return the error of a value that Python, or Arrow, has none for; it is not shown."""
    name = Identifier(column.name).as_string(None)
    return QueryError(
        f'column "{column.name}": {whose} has no {column.type_name} like this: {kind}',
        None,
        f"Take it as text: {name}::text.",
    )


def unloaded(error: Any, cursor: Any) -> QueryError | None:
    """Return the error that names the column whose value Python has none for, if that is it."""
    result = None if cursor is None else cursor.pgresult
    if error.sqlstate is not None or result is None or not result.ntuples:
        return None
    loaders = Transformer(cursor)
    for place, column in enumerate(columns_of(cursor)):
        load = loaders.get_loader(column.type_oid, result.fformat(place)).load
        for number in range(result.ntuples):
            value = result.get_value(number, place)
            try:
                _ = value is None or load(value)
            except DataError:
                return outside(column, "Python", _kind_of(bytes(value or b"")))
    return None


def _kind_of(value: bytes) -> str:
    found = [kind for text, kind in _KINDS.items() if text in value]
    return found[0] if found else "a year after 9999, or more days than it counts"
