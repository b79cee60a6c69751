"""What models say of their fields beside the types, and of fields that do not go together."""

from __future__ import annotations

from typing import NamedTuple

from duckalog.errors import KeyPath


class OneOrMany:
    """Marks a list that may be written as its only item."""


class Derived:
    """Marks a field that no file states: it is set when the config is loaded."""


class ShortForm(NamedTuple):
    """Marks a struct that may be written as the value of its field `key` alone."""

    key: str


class Unfit(ValueError):
    """Raised by a struct whose fields do not go together; `keys` lead from it to the place."""

    def __init__(self, message: str, remedy: str = "", keys: KeyPath = ()) -> None:
        self.remedy = remedy
        self.keys = keys
        super().__init__(message)
