"""Texts and names that try to be more than data."""

from hypothesis import strategies as st

HOSTILE = [
    "",
    "'",
    "''",
    '"',
    '""',
    "\\",
    "\\'",
    "; DROP TABLE x --",
    "' OR 1=1; --",
    "/*",
    "*/",
    "--",
    "$$",
    "$a$",
    "E'",
    "a\nb",
    "a\rb",
    "a\tb",
    "\u2028",
    "\u00a0",
    "\x7f",
    "\x01",
    "é",
    "🦆",
    "e\u0301",
    "order",
    "select",
    "a.b",
    "%s",
    "{}",
    "?",
    "$1",
    "x" * 2000,
]
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.text(
    "'\"\\;-/*$eE\n\ra \u00a0.?%"
)
NAME = TEXT.filter(bool)
