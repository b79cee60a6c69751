"""The words of a statement, as sqlglot reads PostgreSQL's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

_PARAMETER = re.compile(r"(?<![\w$])\$(?=\d)")
_STAND_IN = "\ue000"


class Word(NamedTuple):
    """A word as the statement has it, sqlglot's name for its kind, and what a text in it means."""

    word: str
    kind: str
    meaning: str
    is_apart: bool

    @property
    def is_parameter(self) -> bool:
        """Whether it is `$1` or the like."""
        return self.word[0] == "$" and self.word[1:].isdecimal()


def readable(sql: str) -> str:
    """Return a statement with names in place of its parameters, as long as it was.

    sqlglot 30 takes `$1,$` for the start of a text, in `($1,$2)` say.
    """
    return _PARAMETER.sub(_STAND_IN, sql)


def words_of(sql: str) -> Iterator[Word]:
    """Yield the words of a statement, without comments; raises sqlglot's TokenError."""
    end = 0
    for token in _tokenizer()(dialect="postgres").tokenize(readable(sql)):
        is_apart, word = token.start > end, sql[token.start : token.end + 1]
        end = token.end + 1
        yield Word(word, token.token_type.name, token.text.replace(_STAND_IN, "$"), is_apart)


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from sqlglot.dialects.postgres import Postgres

    known = Postgres.Tokenizer
    # Else it takes what follows EXECUTE, VACUUM and the like as one text, and a comment for a hint.
    words = {word: kind for word, kind in known.KEYWORDS.items() if word != "/*+"}
    return type("Words", (known,), {"COMMANDS": set(), "KEYWORDS": words})
