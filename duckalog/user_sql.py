"""SQL that users wrote: its quoted and unquoted regions, and values put into it as data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from duckalog.sql import identifier, literal

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


def statements_in(text: str) -> Iterator[tuple[int, str]]:
    """Yield the statements of a script, each with the line (from 1) that it starts on.

    Semicolons between them are left out, and what holds nothing but comments.
    """
    line, piece, is_something = 1, "", False
    for kind, region in regions_of(text):
        first, *others = region.split(";") if kind == "" else (region,)
        piece += first
        is_something = is_something or (kind not in ("line", "block") and bool(first.strip()))
        for other in others:
            if is_something:
                yield _stripped(line, piece)
            line += piece.count("\n")
            piece, is_something = other, bool(other.strip())
    if is_something:
        yield _stripped(line, piece)


def _stripped(line: int, piece: str) -> tuple[int, str]:
    """Return a statement without blank space round it, and the line it then starts on."""
    text = piece.lstrip()
    return line + piece[: len(piece) - len(text)].count("\n"), text.rstrip()


def is_closed_in_itself(text: str) -> bool:
    """Say whether SQL stays one thing when brackets are put round it."""
    depth = 0
    for kind, piece in regions_of(text):
        for one in piece if kind == "" else "":
            depth += {"(": 1, ")": -1}.get(one, 0)
            if depth < 0 or one == ";":
                return False
    return depth == 0


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
    elsewhere it must be a number or a plain word. What matches as `escape` is
    a text of the user's own, for quotes and comments. Raises ValueError with the
    match's `name` where a value could be read as anything but data.
    """

    def replaced(kind: str, piece: str) -> str:
        def one(match: re.Match[str]) -> str:
            value = value_of(match)
            if match.groupdict().get("escape"):
                if kind:
                    return value
                raise ValueError(
                    f'"{match.group()}" stands for the text "{value}", which is no SQL by itself: '
                    "put single quotes round it"
                )
            if kind == "string" and piece[0] not in "eE":
                return value.replace("'", "''")
            if kind == "name":
                return value.replace('"', '""')
            if _BARE_VALUE.match(value):
                return value
            raise ValueError(
                f"environment variable {_name_of(match)}: its value is not a plain word or number: "
                "put single quotes round it"
            )

        return marker.sub(one, piece)

    pieces = list(_regions_round(marker, text))
    filled = "".join(replaced(kind, piece) for kind, piece in pieces)
    if [kind for kind, _ in regions_of(filled)] != [kind for kind, _ in pieces]:
        names = dict.fromkeys(map(_name_of, marker.finditer(text)))
        raise ValueError(
            f"environment variable {', '.join(names)}: a value would change how the rest is read: "
            "put single quotes round it"
        )
    return filled


def _name_of(match: re.Match[str]) -> str:
    return str(match.groupdict().get("name") or match.group())


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


def replace_quoted(text: str, contents: Mapping[int, str]) -> str:
    """Return SQL in which the quoted literals and names at given bytes have other contents.

    Raises ValueError where no quotes begin, or another literal continues the one there.
    """
    encoded = text.encode()
    end = len(encoded)
    pieces: list[str] = []
    for position in sorted(contents, reverse=True):
        tail = encoded[position:end].decode()
        kind, quoted = next(regions_of(tail), ("", ""))
        if kind not in ("string", "name", "dollar"):
            raise ValueError(f"a path is not in quotes: {contents[position]}")
        rest = tail[len(quoted) :]
        if kind == "string" and rest.lstrip().startswith("'"):
            raise ValueError(f"a path is written in two pieces: {contents[position]}")
        pieces += (rest, (identifier if kind == "name" else literal)(contents[position]))
        end = position
    return encoded[:end].decode() + "".join(reversed(pieces))


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
