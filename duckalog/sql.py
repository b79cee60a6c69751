"""SQL text: identifiers, literals, expressions, and what a statement is.

With `statements` the only file that knows SQL's punctuation. Everything that a user states
passes `identifier` or `literal`, or travels as a `Bound` value beside the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

Value = object
"""A value that has a literal: str, bool, int, float, Decimal, or lists and maps of them."""


class Bound:
    """A value that reaches DuckDB as a parameter and never as text.

    `shown` is the SQL expression that stands for it in scripts. `invented` are the
    environment variables in it that no config names, each with the key it stands for.
    """

    __slots__ = ("invented", "shown", "value")

    def __init__(
        self, value: object, shown: str, invented: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.value = value
        self.shown = shown
        self.invented = invented

    def __repr__(self) -> str:
        return f"Bound({self.shown})"


class Spliced:
    """Text that a user wrote as SQL, values of the environment in it; `shown` is without them."""

    __slots__ = ("shown", "text")

    def __init__(self, text: str, shown: str) -> None:
        self.text = text
        self.shown = shown

    def __repr__(self) -> str:
        return f"Spliced({self.shown})"


class Statement(NamedTuple):
    """One SQL statement: text, with bound values between."""

    parts: tuple[str | Bound | Spliced, ...]

    @property
    def text(self) -> str:
        """The statement as DuckDB executes it, a `?` for each bound value."""
        return "".join(_executed(part) for part in self.parts)

    @property
    def values(self) -> list[object]:
        """The bound values, in the order of the question marks."""
        return [part.value for part in self.parts if isinstance(part, Bound)]

    @property
    def script(self) -> str:
        """The statement as scripts and logs show it, without any bound value."""
        return "".join(part if isinstance(part, str) else part.shown for part in self.parts)

    def shown_by(self, redact: Callable[[str], str]) -> Statement:
        """Return the statement whose script is without what `redact` takes out of it."""
        return Statement(tuple(_shown_by(part, redact) for part in self.parts))

    @property
    def is_spliced(self) -> bool:
        """Whether values of the environment stand in the text that is executed."""
        return any(isinstance(part, Spliced) for part in self.parts)


def _shown_by(part: str | Bound | Spliced, redact: Callable[[str], str]) -> str | Bound | Spliced:
    shown = part if isinstance(part, str) else part.shown
    redacted = redact(shown)
    if redacted == shown:
        return part
    if isinstance(part, Bound):
        return Bound(part.value, redacted, part.invented)
    return Spliced(part if isinstance(part, str) else part.text, redacted)


def _executed(part: str | Bound | Spliced) -> str:
    if isinstance(part, Bound):
        return "?"
    return part.text if isinstance(part, Spliced) else part


def statement(*parts: str | Bound | Spliced) -> Statement:
    """Return the statement made of `parts`."""
    return Statement(parts)


def identifier(name: str) -> str:
    """Return `name` quoted; raises ValueError where DuckDB can have no such name."""
    if not name:
        raise ValueError("a name cannot be empty")
    if "\0" in name:
        raise ValueError("a name cannot contain NUL")
    return '"' + name.replace('"', '""') + '"'


def qualified(*parts: str) -> str:
    """Return the quoted parts of a name joined by dots."""
    return ".".join(identifier(part) for part in parts)


_PLAIN = re.compile(r"[a-z_][a-z0-9_]*\Z")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def as_word(name: str) -> str:
    """Return a name as people write it in SQL: quoted only where it is not a word."""
    return str(name) if _WORD.match(name) else identifier(name)


def qualified_plainly(parts: Iterable[str], keywords: Container[str]) -> str:
    """Return the parts of a name joined by dots, quoted only where they have to be."""
    return ".".join(
        part if _PLAIN.match(part) and part not in keywords else identifier(part) for part in parts
    )


_NAME_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')


def split_name(text: str) -> tuple[str, ...]:
    """Return the parts of a dotted name, in which `"odd.part"` may be quoted.

    Raises ValueError where the quotes or dots do not make a name.
    """
    parts: list[str] = []
    position = 0
    while True:
        match = _NAME_PART.match(text, position)
        if not match:
            how = "write table, or schema.table"
            if text.count('"') % 2:
                how = "a double quote is not closed; write two of them for one in a name"
            raise ValueError(f"{_in_other_quotes(text)} is not a name: {how}")
        quoted, plain = match.groups()
        parts.append(quoted.replace('""', '"') if quoted else plain)
        position = match.end()
        if position == len(text):
            return tuple(parts)
        if text[position] != ".":
            raise ValueError(
                f"{_in_other_quotes(text)} is not a name: quotes go round a whole part"
            )
        position += 1


def _in_other_quotes(text: str) -> str:
    """Return a text in the quotes that it does not have itself."""
    return f"'{text}'" if '"' in text else f'"{text}"'


def joined_name(parts: Iterable[str]) -> str:
    """Return the parts of a name as `split_name` reads them, quoted only where they have to be."""
    return ".".join(
        part if part and not set(part) & {'"', "."} else identifier(part) for part in parts
    )


def literal(value: Value) -> str:
    """Return the SQL literal of a value; raises ValueError where there is none."""
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("text cannot contain NUL")
        return "'" + value.replace("'", "''") + "'"
    if value is True or value is False:
        return "true" if value else "false"
    if value is None:
        raise ValueError("null cannot stand inside a list or map")
    if isinstance(value, float) and not math.isfinite(value):
        return f"'{value}'::DOUBLE"
    if isinstance(value, float) and len(str(value)) > 16 and "e" not in str(value):
        return f"{value}e0"  # a DECIMAL of so many digits becomes a neighbouring double (1.5.5)
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, Mapping):
        if not value:
            return "MAP {}"
        return "{" + ", ".join(f"{literal(str(k))}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    raise ValueError(f"no SQL literal for {type(value).__name__}")


_OPTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def is_option_name(name: str) -> bool:
    """Say whether `name` can be the name of an option, parameter or extension as it stands."""
    return bool(_OPTION.match(name))


def libpq_value(value: str) -> str:
    """Return `value` quoted for a libpq connection string (PostgreSQL docs, §34.1.1)."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def select_all(relation: str, at: str = "") -> str:
    """Return the query that reads a whole relation, `at` a point in time where given."""
    return f"SELECT * FROM {relation}{at}"


def at_version(version: int | str) -> str:
    """Return the time travel clause for a snapshot or version number, or what stands for one."""
    return f" AT (VERSION => {version if isinstance(version, int) else literal(version)})"


def at_timestamp(timestamp: str) -> str:
    """Return the time travel clause for a point in time."""
    return f" AT (TIMESTAMP => {literal(timestamp)}::TIMESTAMP)"


def table_function(name: str, argument: str, options: Mapping[str, str]) -> str:
    """Return a call of a table function; `argument` and the options' values are SQL."""
    arguments = [argument, *(f"{key} = {value}" for key, value in options.items())]
    return f"{name}({', '.join(arguments)})"


def select(columns: Iterable[str], relation: str) -> str:
    """Return the query of columns that are SQL already."""
    return f"SELECT {', '.join(columns)} FROM {relation}"


def union_all(queries: Iterable[str]) -> str:
    """Return the query of all rows of queries that have the same columns."""
    return "\nUNION ALL\n".join(queries)


def column(expression: str, name: str, kind: str = "") -> str:
    """Return an expression under a name, cast where a type is given."""
    cast = f"CAST({expression} AS {kind})" if kind else expression
    return f"{cast} AS {identifier(name)}"


def map_literal(entries: Mapping[str, str]) -> str:
    """Return a MAP whose keys and values are SQL already."""
    return "MAP {" + ", ".join(f"{key}: {value}" for key, value in entries.items()) + "}"


def enum(labels: Iterable[str]) -> str:
    """Return what makes a type of some texts."""
    return f"AS ENUM ({', '.join(map(literal, labels))})"


def select_renamed(query: str, name: str, columns: Iterable[str]) -> str:
    """Return a query that gives the columns of another one names of its own."""
    names = ", ".join(map(identifier, columns))
    return f"SELECT * FROM (\n{ended(query)}\n) AS {identifier(name)} ({names})"


def search_path(*schemas: Sequence[str]) -> str:
    """Return the value of the setting search_path; each schema is a catalog and a name."""
    return literal(",".join(qualified(*schema) for schema in schemas))


def rows_of(statement_text: str, limit: int | None = None) -> str:
    """Return the query of the rows of a statement such as DESCRIBE, the first `limit` of them."""
    head = f" LIMIT {limit}" if limit is not None else ""
    return f"FROM (\n{statement_text}\n){head}"


def count_of(statement_text: str) -> str:
    """Return the query of how many rows a statement has."""
    return f"SELECT count(*) FROM (\n{statement_text}\n)"


def environment_expression(
    pieces: Iterable[tuple[str, bool]], defaults: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return the expression that a DuckDB shell evaluates to a filled text.

    `pieces` are texts, each with whether it is the name of an environment
    variable. `getenv` exists in the shell only, which is where scripts run.
    """

    def shown(name: str) -> str:
        variable = f"getenv({literal(name)})"
        if name not in defaults:
            return variable
        # A variable that is not set is an empty text to the shell (1.5.5), and CREATE SECRET
        # takes no COALESCE (2.0).
        return f"if({variable} = '', {literal(defaults[name])}, {variable})"

    texts = [shown(text) if named else literal(text) for text, named in pieces]
    return " || ".join(texts) or "''"


def ended(query: str) -> str:
    """Return a query after which more SQL may stand: a comment at its end swallows nothing."""
    query = query.rstrip()
    return f"{query}\n" if "--" in query.rpartition("\n")[2] else query


def script(statements: Iterable[Statement]) -> str:
    """Return statements as a script, each ended by a semicolon."""
    return "".join(f"{one.script};\n" for one in statements)


def line_comment(text: str) -> str:
    """Return `text` as comment lines."""
    return "".join(f"-- {line}\n" if line else "--\n" for line in text.splitlines())
