"""What makes two statements the same question: their text without literals, and their values.

Comments, blanks and the case of words do not count, and a literal in the text
counts as a parameter in its place would.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.sql import Composable

from duckalog.postgres.redaction import Redaction
from duckalog.postgres.words import Word, words_of

QUERY, BATCH, STREAM, COPY_IN, COPY_OUT = "query", "batch", "stream", "copy_in", "copy_out"
"""How a server is asked."""


class Parameter(NamedTuple):
    """A value that is a parameter, numbered from 1."""

    number: int


class Literal(NamedTuple):
    """A value that is a literal of the kind X'1F' or $$text$$, as the statement has it."""

    text: str


class Normalized(NamedTuple):
    """A statement's text with `$1`, `$2` and so on for its values in the order of the text.

    Statements with the same `key` differ in blanks and the case of words alone.
    """

    text: str
    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Question:
    """What a server was asked: how, in which other database if any, what, and with which values.

    `texts` are for people: questions with the same `key` and values are the
    same. The values are texts of JSON.
    """

    kind: str
    database: str | None
    texts: tuple[str, ...] = field(compare=False)
    key: str
    values: tuple[str, ...]


def question(
    kind: str,
    database: str | None,
    statements: Sequence[tuple[Any, Sequence[Any] | None]],
    redaction: Redaction,
    sent: Any = None,
) -> Question:
    """Return what is asked by statements and their parameters, and the data sent by a COPY."""
    texts, keys, values = [], [], []
    for sql, params in statements:
        found = normalized(text_of(sql))
        told = redaction.text(found.text)
        texts.append(told)
        keys.append(normalized(told).key)  # as whoever reads the recording will have it
        stated = redaction.of_values(found.key, list(_filled(found.values, params or ())))
        values += [redaction.of_data(shown(one)) for one in stated]
    if sent is not None:
        values.append(sent)
    return _question(kind, database, texts, keys, values)


def question_of(line: Mapping[str, Any]) -> Question:
    """Return the question that a line of a recording states; the opposite of `stated`."""
    texts = line["sql"] if isinstance(line["sql"], list) else [line["sql"]]
    keys = [normalized(one).key for one in texts]
    return _question(line["kind"], line.get("database"), texts, keys, line.get("values", ()))


def stated(asked: Question) -> dict[str, Any]:
    """Return a question as a line of a recording has it."""
    texts = list(asked.texts)
    line: dict[str, Any] = {"kind": asked.kind, "sql": texts if asked.kind == BATCH else texts[0]}
    if asked.database is not None:
        line["database"] = asked.database
    if asked.values:
        line["values"] = [json.loads(one) for one in asked.values]
    return line


def _question(
    kind: str,
    database: str | None,
    texts: Sequence[str],
    keys: Sequence[str],
    values: Sequence[Any],
) -> Question:
    return Question(kind, database, tuple(texts), "; ".join(keys), tuple(map(as_json, values)))


def text_of(sql: Any) -> str:
    """Return the text of a statement, which may be composed."""
    if isinstance(sql, Composable):
        return sql.as_string(None)
    return sql.decode() if isinstance(sql, bytes) else str(sql)


def copy_kind(statement: Any) -> str:
    """Return how a COPY of the client's asks: queries are written out, and tables taken in."""
    is_query = normalized(text_of(statement)).key.startswith("copy (")
    return COPY_OUT if is_query else COPY_IN


def as_json(data: Any) -> str:
    """Return data as JSON, on one line."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
    # Half of a surrogate pair, as text that is not UTF-8 has them, is in no file as it is.
    return text if text.isascii() or _is_utf8(text) else json.dumps(data, allow_nan=False)


def _is_utf8(text: str) -> bool:
    return text.encode(errors="ignore").decode() == text


def shown(value: Any) -> Any:
    """Return a value as JSON has it; what JSON does not know, as its type's name and its text."""
    kind = type(value)
    if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
        return value
    if kind is list:
        return [shown(one) for one in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": bytes(value).hex()}
    if kind is Literal:
        return {"literal": value.text}
    return {kind.__name__: _dumped(value)}


def _dumped(value: Any) -> str | None:
    """Return a value as psycopg sends it; None where it cannot."""
    try:
        dumped = Transformer().get_dumper(value, PyFormat.TEXT).dump(value)
    except psycopg.Error:
        return None
    return None if dumped is None else bytes(dumped).decode(errors="backslashreplace")


def _filled(values: Sequence[Any], params: Sequence[Any]) -> Iterator[Any]:
    """Yield the values of a statement, its parameters' in their places and the rest at the end."""
    used = set()
    for value in values:
        if isinstance(value, Parameter):
            used.add(value.number)
            is_there = 1 <= value.number <= len(params)
            yield params[value.number - 1] if is_there else Literal(f"${value.number}")
        else:
            yield value
    yield from (one for number, one in enumerate(params, 1) if number not in used)


class _Piece(NamedTuple):
    """A word of a statement, with what it stands for where it is a value."""

    word: str
    kind: str
    is_apart: bool
    value: Any = None
    is_value: bool = False


_IS_WORD = re.compile(r"[\w$]{2}")


@lru_cache(maxsize=4096)
def normalized(sql: str) -> Normalized:
    """Return a statement without its literals; one that is not SQL, as it is."""
    from sqlglot.errors import SqlglotError

    try:
        pieces = list(_pieces(sql))
    except SqlglotError:
        return Normalized(sql.strip(), sql.strip(), ())
    while pieces and pieces[-1].word == ";":
        pieces.pop()
    text: list[str] = []
    words: list[str] = []
    values: list[Any] = []
    for one in pieces:
        word = one.word
        if one.is_value:
            values.append(one.value)
            word = f"${len(values)}"
        # Else date'2024-01-01' would be read again as one word with its placeholder.
        is_apart = one.is_apart or (text and _IS_WORD.match(text[-1][-1] + word))
        text.append(" " + word if is_apart else word)
        words.append(word if word.startswith('"') else word.lower())
    return Normalized("".join(text).strip(), " ".join(words), tuple(values))


def _pieces(sql: str) -> Iterator[_Piece]:
    """Yield the words of a statement; a sign is one with its number."""
    sign: _Piece | None = None
    before = ""
    for one in words_of(sql):
        word, is_apart = one.word, one.is_apart
        if sign is not None:
            if one.kind == "NUMBER":
                word, is_apart = sign.word + word, sign.is_apart
            else:
                yield sign
                before = sign.kind
            sign = None
        if word == "-" and before in _BEFORE_A_SIGN:
            sign = _Piece(word, one.kind, is_apart)
            continue
        yield _valued(one._replace(word=word, is_apart=is_apart))
        before = one.kind
    if sign is not None:
        yield sign


_BEFORE_A_SIGN = frozenset(
    "L_PAREN L_BRACKET COMMA EQ NEQ LT LTE GT GTE PLUS STAR SLASH SELECT WHERE AND OR WHEN THEN "
    "ELSE BETWEEN LIMIT OFFSET".split()
)
"""Tokens after which a minus does not subtract."""


def _valued(one: Word) -> _Piece:
    """Return a word, with its value where it is a parameter or a literal."""
    word, kind, meaning, is_apart = one
    if one.is_parameter:
        return _Piece(word, kind, is_apart, Parameter(int(word[1:])), True)
    if kind == "NUMBER":
        return _Piece(word, kind, is_apart, _number(word), True)
    if kind == "STRING":
        return _Piece(word, kind, is_apart, meaning, True)
    if kind in _CONSTANTS:
        return _Piece(word, kind, is_apart, _CONSTANTS[kind], True)
    if kind.endswith("STRING"):
        return _Piece(word, kind, is_apart, Literal(word), True)
    return _Piece(word, kind, is_apart)


_CONSTANTS = {"TRUE": True, "FALSE": False, "NULL": None}


def _number(word: str) -> Any:
    try:
        return int(word) if word.lstrip("-").isdigit() else Decimal(word)
    except ArithmeticError:
        return Literal(word)
