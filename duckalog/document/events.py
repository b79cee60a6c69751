"""The steps through a document that both formats become."""

from __future__ import annotations

from typing import Any, NamedTuple

Position = tuple[int, int]
Data = Any
"""None, bool, int, float, str, or lists and dicts (with str keys) of them."""


class Event(NamedTuple):
    """A step through a document: `[`, `{`, `end`, `value` or `alias`."""

    kind: str
    position: Position
    value: Data = None
    anchor: str | None = None
    is_merge: bool = False
