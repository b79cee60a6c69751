"""The steps through a document that both formats become."""

from __future__ import annotations

from typing import Any

import msgspec

Data = Any
"""None, bool, int, float, str, or lists and dicts (with str keys) of them."""


class Event(msgspec.Struct):
    """A step through a document: `[`, `{`, `end`, `value` or `alias`, and its line."""

    kind: str
    line: int
    value: Data = None
    anchor: str | None = None
    is_merge: bool = False
