"""SQL text: identifiers, literals and the shapes of statements.

The only file that knows SQL's punctuation. Everything that a user states
passes `identifier` or `literal`, or travels as a `Bound` value beside the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

Value = object
"""A value that has a literal: str, bool, int, float, Decimal, or lists and maps of them."""


class Bound:
    """A value that reaches DuckDB as a parameter and never as text.

    `shown` is the SQL expression that stands for it in scripts.
    """

    __slots__ = ("shown", "value")

    def __init__(self, value: object, shown: str) -> None:
        self.value = value
        self.shown = shown

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

    @property
    def is_spliced(self) -> bool:
        """Whether values of the environment stand in the text that is executed."""
        return any(isinstance(part, Spliced) for part in self.parts)


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
            raise ValueError(f'"{text}" is not a name: write table, or schema.table')
        quoted, plain = match.groups()
        parts.append(quoted.replace('""', '"') if quoted else plain)
        position = match.end()
        if position == len(text):
            return tuple(parts)
        if text[position] != ".":
            raise ValueError(f'"{text}" is not a name: quotes go round a whole part')
        position += 1


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


def at_version(version: int) -> str:
    """Return the time travel clause for a snapshot or version number."""
    return f" AT (VERSION => {int(version)})"


def at_timestamp(timestamp: str) -> str:
    """Return the time travel clause for a point in time."""
    return f" AT (TIMESTAMP => {literal(timestamp)}::TIMESTAMP)"


def table_function(name: str, argument: str, options: Mapping[str, str]) -> str:
    """Return a call of a table function; `argument` and the options' values are SQL."""
    arguments = [argument, *(f"{key} = {value}" for key, value in options.items())]
    return f"{name}({', '.join(arguments)})"


def stub_of_function(
    name: str, options: Iterable[str], columns: Iterable[tuple[str, str]]
) -> Statement:
    """Return a macro that stands in for a table function: its columns, and no rows.

    A view made over it stores the call, and calls the real function later.
    """
    parameters = ", ".join(["source", *(f"{option} := NULL" for option in options)])
    selected = ", ".join(f"NULL::{kind} AS {identifier(column)}" for column, kind in columns)
    return statement(
        f"CREATE OR REPLACE TEMP MACRO {name}({parameters}) AS TABLE SELECT {selected} LIMIT 0"
    )


def drop_stub(name: str) -> Statement:
    """Return DROP of such a macro."""
    return statement(f"DROP MACRO TABLE temp.main.{name}")


def map_literal(entries: Mapping[str, str]) -> str:
    """Return a MAP whose keys and values are SQL already."""
    return "MAP {" + ", ".join(f"{key}: {value}" for key, value in entries.items()) + "}"


def load(extension: str) -> Statement:
    """Return LOAD of an extension by name, or by the path of its file."""
    named = extension if is_option_name(extension) else literal(extension)
    return statement(f"LOAD {named}")


def install(extension: str, repository: str = "") -> Statement:
    """Return INSTALL of an extension; `repository` is a name that DuckDB knows, or a place."""
    known = is_option_name(repository)
    source = f" FROM {repository if known else literal(repository)}" if repository else ""
    return statement(f"INSTALL {extension}{source}")


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


def reset_option(name: str) -> Statement:
    """Return RESET of a setting."""
    return statement(f"RESET {identifier(name)}")


def create_schema(name: str) -> Statement:
    """Return CREATE SCHEMA IF NOT EXISTS."""
    return statement(f"CREATE SCHEMA IF NOT EXISTS {identifier(name)}")


def create_view(relation: str, query: str) -> Statement:
    """Return CREATE OR REPLACE VIEW."""
    return statement(f"CREATE OR REPLACE VIEW {relation} AS\n{ended(query)}")


def describe(query: str) -> Statement:
    """Return DESCRIBE of a query, which binds it and reads no rows."""
    return statement(f"DESCRIBE {query}")


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


_REGIONS = re.compile(
    r"""
    (?P<string>
        (?<![A-Za-z0-9_$])[eE]'[^'\\]*(?:(?:\\.|'')[^'\\]*)*(?:'|\Z)
      | '[^']*(?:''[^']*)*(?:'|\Z)
    )
  | (?P<name>"[^"]*(?:""[^"]*)*(?:"|\Z))
  | (?P<dollar>
        (?<![A-Za-z0-9_$])
        \$(?P<tag>(?:(?:[A-Za-z_]|[^\x00-\x7f])(?:[A-Za-z0-9_]|[^\x00-\x7f])*)?)\$
        .*?(?:\$(?P=tag)\$|\Z)
    )
  | (?P<line>--[^\r\n]*)
  | (?P<block>/\*)
    """,
    re.VERBOSE | re.DOTALL,
)
"""DuckDB's own lexical rules, 1.4 to 2.0: a carriage return ends a comment, too."""

_BLOCK_EDGE = re.compile(r"/\*|\*/")
_BARE_VALUE = re.compile(r"[A-Za-z0-9_.+-]+\Z")


def regions_of(text: str) -> Iterator[tuple[str, str]]:
    """Yield SQL in pieces, each with its kind.

    Kinds are `string`, `name`, `dollar`, `line`, `block`, and an empty text
    for what is none of them.
    """
    position = 0
    while match := _REGIONS.search(text, position):
        if match.start() > position:
            yield "", text[position : match.start()]
        kind = match.lastgroup or ""
        position = match.end() if kind != "block" else _end_of_block(text, match.start())
        yield kind, text[match.start() : position]
    if position < len(text):
        yield "", text[position:]


def _end_of_block(text: str, start: int) -> int:
    """Return where a comment ends; comments nest."""
    depth = 0
    for edge in _BLOCK_EDGE.finditer(text, start):
        depth += 1 if edge.group() == "/*" else -1
        if not depth:
            return edge.end()
    return len(text)


def _regions_round(marker: re.Pattern[str], text: str) -> Iterator[tuple[str, str]]:
    """Yield the pieces of SQL in which each match of `marker` is a word, whatever is inside it."""
    position = 0
    for kind, piece in regions_of(marker.sub(lambda match: "x" * len(match.group()), text)):
        yield kind, text[position : position + len(piece)]
        position += len(piece)


def replace_in_sql(
    text: str, marker: re.Pattern[str], value_of: Callable[[re.Match[str]], str]
) -> str:
    """Return SQL in which each match of `marker` became its value, as data.

    Inside a quoted literal or name the value is escaped for those quotes;
    elsewhere it must be a number or a plain word. Raises ValueError where a
    value could be read as anything but data.
    """

    def replaced(kind: str, piece: str) -> str:
        def one(match: re.Match[str]) -> str:
            value = value_of(match)
            if kind == "string" and piece[0] not in "eE":
                return value.replace("'", "''")
            if kind == "name":
                return value.replace('"', '""')
            if _BARE_VALUE.match(value):
                return value
            raise ValueError("its value is not a plain word or number: put single quotes round it")

        return marker.sub(one, piece)

    pieces = list(_regions_round(marker, text))
    filled = "".join(replaced(kind, piece) for kind, piece in pieces)
    if [kind for kind, _ in regions_of(filled)] != [kind for kind, _ in pieces]:
        raise ValueError("its value would change how the rest is read: put single quotes round it")
    return filled


def replace_literals(text: str, content_of: Callable[[str, str], str | None]) -> str:
    """Return SQL in which literals became others.

    `content_of` gets the last name before a literal, which is what it is
    assigned to, and the literal's content; None keeps the literal.
    """
    pieces: list[str] = []
    name = ""
    for kind, piece in regions_of(text):
        if kind == "string":
            content = piece[piece.index("'") + 1 :].removesuffix("'").replace("''", "'")
            other = content_of(name, content)
            piece = piece if other is None else literal(other)
            name = re.sub(r"\W", "_", content)  # it may be the key of a MAP
        elif kind in ("", "name"):
            names = [word for word in re.findall(r"\w+", piece) if word.upper() != "TO"]
            name = names[-1] if names else name
        pieces.append(piece)
    return "".join(pieces)


def with_expressions(
    text: str, marker: re.Pattern[str], expression_of: Callable[[str], str]
) -> str:
    """Return SQL in which each literal that contains `marker` became an expression.

    `expression_of` gets the literal's content. A marker outside of quotes
    becomes an expression too.
    """

    def shown(kind: str, piece: str) -> str:
        if not marker.search(piece):
            return piece
        if kind == "string" and piece[0] not in "eE":
            return expression_of(piece[1:-1].replace("''", "'"))
        if kind == "":
            return marker.sub(lambda match: expression_of(match.group()), piece)
        return piece

    return "".join(shown(kind, piece) for kind, piece in _regions_round(marker, text))
