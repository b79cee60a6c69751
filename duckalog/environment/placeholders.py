"""Placeholders, `${env:NAME}` and `${env:NAME:default}`: their syntax, and texts with them."""

from __future__ import annotations

import re

from duckalog.redaction import looks_secret
from duckalog.sql import environment_expression

PLACEHOLDER = re.compile(
    r"(?P<escape>\$\$\{\s*(?i:env)\b)"
    r"|\$\{env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<default>[^}$]*(?:\$(?!\{)[^}$]*)*))?\}"
)
ASSIGNED = re.compile(r"\b(\w+)=\$\{env:(\w+)")
"""A name that a text assigns a variable to, and the variable."""

_LOOKS_LIKE_ONE = re.compile(r"\$\{\s*env\b[^}]*\}?", re.IGNORECASE)
_START = re.compile(r"\$\{\s*env\b", re.IGNORECASE)


class Filled(str):
    """A text with environment variables filled in; `template` is how the file has it."""

    __slots__ = ("template",)
    template: str

    def __new__(cls, value: str, template: str) -> Filled:
        filled = super().__new__(cls, value)
        filled.template = template
        return filled

    def __repr__(self) -> str:
        return repr(self.template)


def is_filled(text: str) -> bool:
    """Say whether a text comes from the environment, or still has to."""
    return isinstance(text, Filled) or bool(PLACEHOLDER.search(text))


def is_unfilled(value: object) -> bool:
    """Say whether a value is a text that still has to be filled."""
    is_text = isinstance(value, str) and not isinstance(value, Filled)
    return is_text and bool(PLACEHOLDER.search(str(value)))


def variables_in(template: str) -> tuple[str, ...]:
    """Return the names of the environment variables that a text mentions, in order."""
    return tuple(m["name"] for m in PLACEHOLDER.finditer(template) if not m["escape"])


def escaped(text: str) -> str:
    """Return how a config states `text`, where that would look like a placeholder."""
    return _START.sub(lambda match: f"${match.group()}", text)


def shell_expression(template: str) -> str:
    """Return the SQL expression that a DuckDB shell evaluates to the filled `template`."""
    pieces: list[tuple[str, bool]] = []
    defaults: dict[str, str] = {}
    position = 0
    before = ""
    for match in PLACEHOLDER.finditer(template):
        before += template[position : match.start()]
        position = match.end()
        if match["escape"]:
            before += match.group()[1:]
            continue
        if before:
            pieces.append((before, False))
            before = ""
        pieces.append((match["name"], True))
        if match["default"] and not names_a_credential(template):
            defaults[match["name"]] = match["default"]
    if before + template[position:]:
        pieces.append((before + template[position:], False))
    return environment_expression(pieces, defaults)


def names_a_credential(template: str) -> bool:
    """Say whether a text's variables, or what it assigns them to, are named like credentials."""
    assigned = (name for pair in ASSIGNED.findall(template) for name in pair)
    return any(map(looks_secret, (*variables_in(template), *assigned)))


def malformed_in(text: str) -> str:
    """Return the first thing in a text that is nearly a placeholder, or an empty string."""
    for found in _LOOKS_LIKE_ONE.finditer(text):
        is_escaped = text.startswith("$", found.start() - 1)
        if not is_escaped and not PLACEHOLDER.match(text, found.start()):
            return found.group()
    return ""
