"""What a recording does not hold: secrets, and what its user wants hidden."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

from duckalog.environment import HIDDEN, Redactor, Secret, redactor_for

Redact = Callable[[str, Any], Any] | Collection[str]
"""A function of a column's or value's name and the value, or names of columns."""


class Redaction:
    """Hides the secrets that are known, and the values that a user names."""

    def __init__(self, redact: Redact = (), secrets: Iterable[str] = ()) -> None:
        """Take names of columns, or a function that returns what is told for a value."""
        self._function = redact if callable(redact) else None
        self._names = frozenset() if callable(redact) else frozenset(map(str.lower, redact))
        self._secrets: frozenset[str] = frozenset()
        self._redactor = Redactor()
        self._in_bytes = re.compile(b"(?!)")
        self.longest = 0
        """Bytes of the longest secret."""
        self.learn(secrets)

    @property
    def is_asked_for(self) -> bool:
        """Whether the user hides values."""
        return self._function is not None or bool(self._names)

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these values, too, from now on."""
        known = self._secrets | {one for one in secrets if one}
        if known == self._secrets:
            return
        forms = {form for one in known for form in _forms(one)}
        redactor = redactor_for((), map(Secret, forms))
        hidden = sorted((one for one in forms if redactor(one) != one), key=len, reverse=True)
        pattern = b"|".join(re.escape(one.encode()) for one in hidden)
        self._in_bytes = re.compile(pattern or b"(?!)")
        self.longest = max((len(one.encode()) for one in hidden), default=0)
        self._redactor, self._secrets = redactor, known

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        return self._redactor(text)

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
        if self._function is not None:
            return [
                one if one is None else self._function(f"${number}", one)
                for number, one in enumerate(values, 1)
            ]
        if self._names and self._names & {one.strip('"').lower() for one in key.split()}:
            return [HIDDEN] * len(values)
        return values

    def of_column(self, name: str) -> Callable[[Any], Any] | None:
        """Return what hides the values of a column, which are not NULL; None if nothing does."""
        if self._function is not None:
            return partial(self._function, name)
        return _hidden if name.lower() in self._names else None


def _hidden(value: Any) -> str:  # noqa: ARG001
    return HIDDEN


def _forms(secret: str) -> set[str]:
    """Return how a secret may appear in values, besides those forms that a Redactor knows."""
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        secret.replace("\\", "\\\\"),
        secret.encode().hex(),
    }
