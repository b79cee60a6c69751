"""SQL text: identifiers, literals and the shapes of statements.

The only file that knows SQL's punctuation. Everything that a user states
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


BEGIN = statement("BEGIN TRANSACTION")
COMMIT = statement("COMMIT")


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


def stub_of_function(
    name: str, options: Iterable[str], columns: Iterable[tuple[str, str]]
) -> Statement:
    """Return a macro that stands in for a table function: its columns, and no rows.

    A view made over it stores the call, and calls the real function later.
    """
    parameters = ", ".join(["source", *(f"{option} := NULL" for option in options)])
    return statement(
        f"CREATE OR REPLACE TEMP MACRO {name}({parameters}) AS TABLE {no_rows_of(columns)}"
    )


def no_rows_of(columns: Iterable[tuple[str, str]]) -> str:
    """Return a query of these columns, by names and types, that reads nothing."""
    selected = ", ".join(f"NULL::{kind} AS {identifier(column)}" for column, kind in columns)
    return f"SELECT {selected} LIMIT 0"


def drop_stub(name: str) -> Statement:
    """Return DROP of such a macro."""
    return statement(f"DROP MACRO TABLE temp.main.{name}")


def call(function: str, argument: str, options: Mapping[str, str]) -> Statement:
    """Return CALL of a table function; `argument` and the options' values are SQL."""
    return statement(f"CALL {table_function(function, argument, options)}")


def map_literal(entries: Mapping[str, str]) -> str:
    """Return a MAP whose keys and values are SQL already."""
    return "MAP {" + ", ".join(f"{key}: {value}" for key, value in entries.items()) + "}"


def load(extension: str) -> Statement:
    """Return LOAD of an extension by name, or by the path of its file."""
    named = identifier(extension) if is_option_name(extension) else literal(extension)
    return statement(f"LOAD {named}")


def install(extension: str, repository: str = "", shown: str = "") -> Statement:
    """Return INSTALL of an extension; `repository` is a name that DuckDB knows, or a place.

    `shown` stands for a repository whose text must not be shown.
    """
    installing = f"INSTALL {identifier(extension)}"
    if not repository:
        return statement(installing)
    if is_option_name(repository):
        return statement(f"{installing} FROM {identifier(repository)}")
    place = Spliced(literal(repository), literal(shown or repository))
    return statement(f"{installing} FROM ", place)


def set_option(name: str, value: str | Bound, scope: str = "") -> Statement:
    """Return SET of a setting; `scope` is empty or GLOBAL."""
    return statement(f"SET {scope + ' ' if scope else ''}{identifier(name)} = ", value)


def create_secret(
    name: str, kind: str, fields: Mapping[str, str | Bound], *, persistent: bool = False
) -> Statement:
    """Return CREATE OR REPLACE SECRET; the fields' values are SQL, or bound."""
    lasting = "PERSISTENT " if persistent else ""
    parts: list[str | Bound] = [
        f"CREATE OR REPLACE {lasting}SECRET {identifier(name)} (\n    TYPE {kind}"
    ]
    for field, value in fields.items():
        parts += [f",\n    {field.upper()} ", value]
    return statement(*parts, "\n)")


def attach(
    target: str | Spliced,
    alias: str,
    options: Mapping[str, str | Bound | Spliced],
    *,
    read_only: bool,
) -> Statement:
    """Return ATTACH; the target and the options' values are SQL, or the latter bound.

    The access is always stated: without it a database attached to a read-only
    catalog is read-only too.
    """
    parts: list[str | Bound | Spliced] = ["ATTACH IF NOT EXISTS ", target]
    parts.append(f" AS {identifier(alias)} (")
    for name, value in options.items():
        parts += [f"{name.upper()} ", value, ", "]
    return statement(*parts, "READ_ONLY)" if read_only else "READ_WRITE)")


def detach(alias: str) -> Statement:
    """Return DETACH."""
    return statement(f"DETACH {identifier(alias)}")


def copy_schema(source: str, target: str) -> Statement:
    """Return the COPY of everything but rows from one attached database to another."""
    return statement(f"COPY FROM DATABASE {identifier(source)} TO {identifier(target)} (SCHEMA)")


def export_database(source: str, folder: str) -> Statement:
    """Return EXPORT of a whole database to a folder."""
    return statement(f"EXPORT DATABASE {identifier(source)} TO {literal(folder)}")


def create_temporary(kind: str, name: str, definition: str) -> Statement:
    """Return the statement that makes a macro or type for a session; `definition` is SQL."""
    return statement(f"CREATE OR REPLACE TEMP {kind.upper()} {identifier(name)} {definition}")


def enum(labels: Iterable[str]) -> str:
    """Return what makes a type of some texts."""
    return f"AS ENUM ({', '.join(map(literal, labels))})"


def select_renamed(query: str, name: str, columns: Iterable[str]) -> str:
    """Return a query that gives the columns of another one names of its own."""
    names = ", ".join(map(identifier, columns))
    return f"SELECT * FROM (\n{ended(query)}\n) AS {identifier(name)} ({names})"


def reset_option(name: str) -> Statement:
    """Return RESET of a setting."""
    return statement(f"RESET {identifier(name)}")


def create_schema(*name: str) -> Statement:
    """Return CREATE SCHEMA IF NOT EXISTS; the name may have its catalog before it."""
    return statement(f"CREATE SCHEMA IF NOT EXISTS {qualified(*name)}")


def drop_schema(name: str) -> Statement:
    """Return DROP SCHEMA IF EXISTS, which DuckDB refuses while anything is in it."""
    return statement(f"DROP SCHEMA IF EXISTS {identifier(name)}")


def create_view(relation: str, query: str) -> Statement:
    """Return CREATE OR REPLACE VIEW."""
    return statement(f"CREATE OR REPLACE VIEW {relation} AS\n{ended(query)}")


def create_table(relation: str, columns: Iterable[tuple[str, str]]) -> Statement:
    """Return CREATE TABLE, unless there is one; the columns' types are SQL."""
    stated = ", ".join(f"{identifier(name)} {kind}" for name, kind in columns)
    return statement(f"CREATE TABLE IF NOT EXISTS {relation} ({stated})")


def create_table_of(relation: str, query: str) -> Statement:
    """Return CREATE TABLE with the columns of a query, and no rows."""
    return statement(f"CREATE TABLE {relation} AS\n{ended(query)}\nWITH NO DATA")


def attach_in_memory(alias: str) -> Statement:
    """Return ATTACH of a new database that is never stored."""
    return statement(f"ATTACH IF NOT EXISTS ':memory:' AS {identifier(alias)}")


def search_path(*schemas: Sequence[str]) -> str:
    """Return the value of the setting search_path; each schema is a catalog and a name."""
    return literal(",".join(qualified(*schema) for schema in schemas))


def describe(query: str) -> Statement:
    """Return DESCRIBE of a query, which binds it and reads no rows."""
    return statement(f"DESCRIBE {query}")


def copy_to(query: str, file: str, options: Mapping[str, str]) -> Statement:
    """Return the COPY of a query's rows to a file, the query on lines of its own.

    The options' values are SQL.
    """
    stated = ", ".join(f"{name.upper()} {value}" for name, value in options.items())
    return statement(f"COPY (\n{query}\n) TO {literal(file)} ({stated})")


def rows_of(statement_text: str, limit: int | None = None) -> str:
    """Return the query of the rows of a statement such as DESCRIBE, the first `limit` of them."""
    head = f" LIMIT {limit}" if limit is not None else ""
    return f"FROM (\n{statement_text}\n){head}"


def count_of(statement_text: str) -> str:
    """Return the query of how many rows a statement has."""
    return f"SELECT count(*) FROM (\n{statement_text}\n)"


def drop_view(relation: str) -> Statement:
    """Return DROP VIEW."""
    return statement(f"DROP VIEW {relation}")


def comment_on_view(relation: str, comment: str | None) -> Statement:
    """Return COMMENT ON VIEW; None takes the comment away."""
    return statement(f"COMMENT ON VIEW {relation} IS {_comment(comment)}")


def comment_on_column(relation: str, column: str, comment: str | None) -> Statement:
    """Return COMMENT ON COLUMN; None takes the comment away."""
    return statement(f"COMMENT ON COLUMN {relation}.{identifier(column)} IS {_comment(comment)}")


def _comment(comment: str | None) -> str:
    return "NULL" if comment is None else literal(comment)


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
