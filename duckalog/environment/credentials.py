"""Values that are never shown, and credentials that a text states in clear, inside URLs."""

from __future__ import annotations

import re

from duckalog.document import Data
from duckalog.environment.placeholders import PLACEHOLDER, Filled
from duckalog.redaction import HIDDEN, looks_secret

_URL_PASSWORD = re.compile(r"://[^/\s'\":@]*:([^/\s'\"@]+)@")
_URL_PARAMETER = re.compile(r"[?&]([^=&\s'\"]+)=([^&\s'\"]+)")


class Secret:
    """A value that is never shown: `reveal()` is the only way to it."""

    __slots__ = ("_value", "template")

    def __init__(self, value: str, template: str = "") -> None:
        self._value = value
        self.template = template

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.template or HIDDEN})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))


def credentials_in_urls(text: str) -> list[str]:
    """Return the passwords, signatures and tokens that a text states in clear, inside URLs."""
    if "://" not in text:
        return []
    found = _URL_PASSWORD.findall(text)
    found += [
        value
        for name, value in _URL_PARAMETER.findall(text)
        if looks_secret(name.replace("-", "_"))
    ]
    return [value for value in found if not PLACEHOLDER.search(value)]


def with_hidden_credentials(data: Data) -> Data:
    """Return data in which texts with a credential in a URL are Filled: nothing shows them."""
    if isinstance(data, str):
        credentials = credentials_in_urls(data)
        if not credentials:
            return data
        template = data.template if isinstance(data, Filled) else data
        for credential in credentials:
            template = template.replace(credential, HIDDEN)
        return Filled(data, template)
    if isinstance(data, list):
        return [with_hidden_credentials(item) for item in data]
    if isinstance(data, dict):
        return {key: with_hidden_credentials(item) for key, item in data.items()}
    return data
