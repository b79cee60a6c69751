"""What may be told of a statement: its text without a literal, and what it does."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import psycopg
from psycopg.sql import Composable

from duckalog.postgres.words import words_of

MASK = "?"
UNREADABLE = "(a text that is not SQL)"
OTHER = "OTHER"
MAX_TEXT = 4_096
"""Characters of a statement's text that are told, and kept."""
MAX_READ = 100_000
"""Characters of a statement that is read at all: reading takes a second for a million."""

MANIPULATIONS = frozenset("SELECT INSERT UPDATE DELETE MERGE VALUES TABLE".split())
NAMES = MANIPULATIONS | frozenset(
    "ALTER ANALYZE BEGIN CALL CHECKPOINT CLOSE CLUSTER COMMENT COMMIT COPY CREATE DEALLOCATE "
    "DECLARE DISCARD DO DROP EXECUTE EXPLAIN FETCH GRANT IMPORT LISTEN LOCK MOVE NOTIFY PREPARE "
    "REASSIGN REFRESH REINDEX RELEASE RESET REVOKE ROLLBACK SAVEPOINT SECURITY SET SHOW START "
    "TRUNCATE UNLISTEN VACUUM".split()
)
"""The first words of PostgreSQL's statements (PostgreSQL 18, part VI)."""


class StatementText(NamedTuple):
    """A statement without its literals: text, first word, and a digest of it.

    Statements that differ in literals, comments, blanks and case alone have
    the same `fingerprint`. The `name` is one of few, `OTHER` at the least.
    """

    text: str
    name: str
    fingerprint: str


def normalized(sql: Any) -> str:
    """Return a statement's text with `?` for each literal, and without comments."""
    return described(sql).text


def fingerprint(sql: Any) -> str:
    """Return the digest that a statement shares with those that differ in literals alone."""
    return described(sql).fingerprint


def described(sql: Any) -> StatementText:
    """Return what may be told of a statement, which is text or composed."""
    if isinstance(sql, Composable):
        try:
            sql = sql.as_string(None)
        except psycopg.Error:
            sql = None  # the caller will hear of it
    if not isinstance(sql, str):
        return StatementText(UNREADABLE, OTHER, "")
    if len(sql) > MAX_READ:
        word = sql[:MAX_READ].split(maxsplit=1)[:1]
        return StatementText(
            f"(a text of {len(sql)} characters)", _name(word and [word[0].upper()]), ""
        )
    return _described(sql) if len(sql) <= MAX_TEXT else _read(sql)


@lru_cache(maxsize=4096)
def _described(sql: str) -> StatementText:
    return _read(sql)


def _read(sql: str) -> StatementText:
    pieces = _pieces(sql)
    while pieces and pieces[-1].text == ";":
        pieces.pop()
    text = "".join(" " * one.is_apart + one.text for one in pieces).strip()
    same = " ".join(one.text if one.text.startswith('"') else one.text.lower() for one in pieces)
    digest = hashlib.sha256(same.encode(errors="replace")).hexdigest()[:16]
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}…"
    return StatementText(text, _name([one.text.upper() for one in pieces]), digest)


class _Piece(NamedTuple):
    text: str
    is_apart: bool


def _pieces(sql: str) -> list[_Piece]:
    """Return the words of a statement, with the mask for each literal, and for lists of them."""
    from sqlglot.errors import SqlglotError

    try:
        words = list(words_of(sql))
    except SqlglotError:
        return [_Piece(UNREADABLE, False)]
    found: list[_Piece] = []
    for one in words:
        text, is_apart = one.word, one.is_apart
        last = found[-1].text if found else ""
        if one.kind == "NUMBER" or "STRING" in one.kind or "'" in text:
            text = MASK
        elif last == MASK and not is_apart and (text[0] == "_" or text[0].isalnum()):
            continue  # 1_000 is two words to the tokenizer
        if text == MASK and [each.text for each in found[-2:]] == [MASK, ","]:
            found.pop()
        else:
            found.append(_Piece(text, is_apart))
    return found


def _name(words: Sequence[str]) -> str:
    first = next((one for one in words if one != "("), "")
    if first == "WITH":
        return _after_with(words)
    return first if first in NAMES else OTHER


def _after_with(words: Sequence[str]) -> str:
    depth = 0
    for word in words:
        depth += (word == "(") - (word == ")")
        if not depth and word in MANIPULATIONS:
            return word
    return OTHER
