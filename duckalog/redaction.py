"""What must not be shown, by its name or its value, and texts without it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from duckalog.errors import Problem

_SECRET_WORDS = re.compile(
    # The first ones end a word too, as in libpq's PGPASSWORD.
    r"(?:PASS|PASSWD|PASSWORD|PASSPHRASE|PW|PWD|SECRETS?|TOKEN)(?:$|_)|"
    r"(?:^|_)(?:CREDENTIALS?|PAT|SAS|SIG|SIGNATURE|DSN|KEY_ID|CONNECTION_STRING|"
    r"(?:API|ACCESS|ACCOUNT|PRIVATE|SECRET|SIGNING|ENCRYPTION)_?KEY)(?:$|_)",
    re.IGNORECASE,
)

HIDDEN = "**********"
"""What stands for a credential that the config states in clear."""

SHORTEST_SECRET = 3
"""Characters below which a value is not looked for: it would be in every other word."""

SHORTEST_IN_SQL = 8
"""Characters below which a value is not looked for in SQL, whose names it may equal."""

_COMMON_WORDS = frozenset(
    """
    account admin alias attachment catalog column config csv database default delta duckdb ducklake
    env environment false file gcs guest host http iceberg json key login main mysql name none null
    parquet password path port postgres postgresql public read region root schema secret sql sqlite
    table test token true type uri user username value variable version view views
    """.split()
)
"""Words of messages: hiding one that is a password, too, would garble them and give it away."""


class Redactor:
    """Puts placeholders back for the secret values in any text."""

    def __init__(
        self, secrets: Mapping[str, str] | None = None, credentials: Redactor | None = None
    ) -> None:
        self.credentials = credentials or self
        """Takes out what is a credential by its name or place, and leaves a host, say: for SQL."""
        self._shown: dict[str, str] = {}
        for value, placeholder in (secrets or {}).items():
            for form in _forms(value):
                self._shown.setdefault(form, placeholder)

    def __call__(self, text: str) -> str:
        """Return `text` with each secret value replaced by its placeholder."""
        found = [form for form in self._shown if form in text]
        if not found:
            return text
        longest_first = sorted(found, key=len, reverse=True)
        pattern = "|".join(_as_pattern(form) for form in longest_first)
        return re.sub(pattern, lambda match: self._shown[match.group()], text)

    def problem(self, problem: Problem) -> Problem:
        """Return a problem without secret values in its texts."""
        return Problem(problem.origin, *map(self, problem[1:]))

    def __repr__(self) -> str:
        return f"Redactor({len(set(self._shown.values()))} secrets)"


def looks_secret(name: str) -> bool:
    """Say whether a variable's name is one that people give to credentials."""
    return bool(_SECRET_WORDS.search(name))


def worth_hiding(found: Iterable[tuple[str, str]], shortest: int) -> dict[str, str]:
    """Return values, and what is shown for them, without those that stand in every other text."""
    shown: dict[str, str] = {}
    for value, placeholder in found:
        if len(value) >= shortest and value.lower() not in _COMMON_WORDS:
            shown.setdefault(value, placeholder)
    return shown


def _forms(value: str) -> set[str]:
    """Return how a value may appear in messages: raw, and escaped for SQL, libpq and URLs."""
    from urllib.parse import quote, quote_plus  # only a config with secrets asks

    libpq = value.replace("\\", "\\\\").replace("'", "\\'")
    return {
        value,
        value.replace("'", "''"),
        value.replace('"', '""'),
        libpq,
        libpq.replace("'", "''"),
        quote(value, safe=""),
        quote(value),
        quote_plus(value),
        repr(value)[1:-1],
    }


def _as_pattern(form: str) -> str:
    """Return the pattern of a value; a short one counts only where it stands by itself."""
    escaped = re.escape(form)
    return escaped if len(form) > 3 else rf"(?<![A-Za-z0-9]){escaped}(?![A-Za-z0-9])"
