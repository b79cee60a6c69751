"""What a recording does not hold: secrets, and what its user wants hidden."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from itertools import takewhile
from typing import Any

from duckalog.environment import Secret, redactor_for
from duckalog.redaction import HIDDEN, Redactor

Redact = Callable[[str, Any], Any] | Collection[str]
"""A function of a column's or value's name and the value, or names of columns."""


class Redaction:
    """Hides the secrets that are known, and the values that a user names."""

    def __init__(
        self, redact: Redact = (), secrets: Iterable[str] = (), masked: Iterable[str] = ()
    ) -> None:
        """Take names of columns, or a function that returns what is told for a value.

        `masked` are patterns of the names of columns whose values come masked.
        """
        self._function = redact if callable(redact) else None
        self._names = frozenset() if callable(redact) else frozenset(map(str.lower, redact))
        self._mentions = frozenset(map(str.lower, masked)) | self._names
        self._lock = threading.Lock()
        self._secrets: frozenset[str] = frozenset()
        self._redactor = Redactor()
        self._hidden: list[str] = []
        self._starts = re.compile("(?!)")
        self._in_bytes = re.compile(b"(?!)")
        self.longest = 0
        """Bytes of the longest secret."""
        self.learn(secrets)

    @property
    def is_asked_for(self) -> bool:
        """Whether the user hides values from recordings."""
        return self._function is not None or bool(self._names)

    @property
    def hides_values(self) -> bool:
        """Whether values are hidden from recordings, or from the program, too."""
        return self._function is not None or bool(self._mentions)

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these values, too, from now on."""
        with self._lock:
            known = self._secrets | {one for one in secrets if one}
            if known != self._secrets:
                self._hide(known)

    def _hide(self, known: frozenset[str]) -> None:
        forms = {form for one in known for form in _forms(one)}
        redactor = redactor_for((), map(Secret, forms))
        hidden = sorted((one for one in forms if redactor(one) != one), key=len, reverse=True)
        pattern = b"|".join(re.escape(one.encode()) for one in hidden)
        starts = "|".join({re.escape(one[:SHORTEST_START]) for one in hidden})
        self._in_bytes = re.compile(pattern or b"(?!)")
        self._starts = re.compile(starts or "(?!)")
        self.longest = max((len(one.encode()) for one in hidden), default=0)
        self._redactor, self._secrets, self._hidden = redactor, known, hidden

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        return self._redactor(text)

    def message(self, text: str) -> str:
        """Return what the server says without secrets, and without the start of one cut off."""
        told = self.text(text)
        return _without_starts(told, self._hidden) if self._starts.search(told) else told

    def bytes(self, data: bytes) -> bytes:
        """Return bytes with as many asterisks for each secret in them."""
        return self._in_bytes.sub(lambda match: b"*" * len(match.group()), data)

    def of_data(self, data: Any) -> Any:
        """Return what JSON has without secrets; a number that is one becomes a text."""
        if isinstance(data, list):
            return [self.of_data(one) for one in data]
        if isinstance(data, dict):
            return {key: self.of_data(one) for key, one in data.items()}
        if data is None or isinstance(data, bool):
            return data
        text = str(data)
        told = self.text(text)
        return data if told == text else told

    def of_values(self, key: str, values: Sequence[Any]) -> Sequence[Any]:
        """Return the values of a statement without those that the user hides.

        Where columns are named, all values of a statement that mentions one
        are hidden: which of them belongs to it is not known.
        """
        if self._mentions and any(map(self._is_mentioned, key.split())):
            return [HIDDEN] * len(values)
        if self._function is not None:
            return [
                one if one is None else self._function(f"${number}", one)
                for number, one in enumerate(values, 1)
            ]
        return values

    def _is_mentioned(self, word: str) -> bool:
        return any(fnmatchcase(word.strip('"').lower(), one) for one in self._mentions)

    def of_column(self, name: str) -> Callable[[Any], Any] | None:
        """Return what hides the values of a column, which are not NULL; None if nothing does."""
        if self._function is not None:
            return partial(self._function, name)
        return _hidden if name.lower() in self._names else None


def _hidden(value: Any) -> str:  # noqa: ARG001
    return HIDDEN


def _forms(secret: str) -> set[str]:
    """Return how a secret may appear in values: as bytes, in JSON, arrays, rows, COPY."""
    forms = {secret}
    for _ in range(2):  # an array is text of COPY's, say
        for form in list(forms):
            forms.add(json.dumps(form)[1:-1])
            forms.add(json.dumps(form, ensure_ascii=False)[1:-1])
            doubled = form.replace("\\", "\\\\")
            forms |= {doubled, doubled.replace('"', '""'), form.replace('"', '""')}
    return forms | {secret.encode().hex()}


def _without_starts(text: str, secrets: Sequence[str]) -> str:
    """Return a text without the starts of secrets: PostgreSQL cuts values and names."""
    shown, at = "", 0
    while at < len(text):
        here = text[at : at + SHORTEST_START]
        size = max((_common(text[at:], one) for one in secrets if one.startswith(here)), default=0)
        is_cut = size >= SHORTEST_START and text.startswith("...", at + size)
        if is_cut or size >= SURE_START:
            shown, at = shown + HIDDEN, at + size
        else:
            shown, at = shown + text[at], at + 1
    return shown


def _common(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their starts."""
    pairs = zip(one, other)  # noqa: B905 - either may end first
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


SHORTEST_START = 4
"""Characters of a secret that are hidden before `...`."""

SURE_START = 32
"""Characters with which a secret starts, and nothing else by chance."""
