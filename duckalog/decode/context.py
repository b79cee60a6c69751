"""What decoding needs besides the data, and where it tells what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from duckalog.document import Data
from duckalog.environment import Filled, Secret
from duckalog.errors import KeyPath, Origin, Problem, Problems, shown

Choice = Callable[[Mapping[str, Data]], "type[msgspec.Struct] | Problem"]
"""How a map's own keys choose its struct."""

INVALID: Any = object()
"""Stands for a value that could not be decoded; the problem is noted in the context."""


class Context:
    """What decoding needs besides the data, and where it puts problems and secrets.

    Relative paths start from `directory`, `locate` tells where a key stands, and `variants`
    are the structs in whose place a map's keys choose another one. Data that is not filled
    has its placeholders as text.
    """

    def __init__(
        self,
        directory: str,
        locate: Callable[[KeyPath], Origin],
        variants: Mapping[type, Choice],
        secrets: list[Secret],
        *,
        is_filled: bool = True,
    ) -> None:
        self.directory = directory
        self.locate = locate
        self.variants = variants
        self.is_filled = is_filled
        self.problems = Problems()
        self.secrets = secrets

    def problem(self, path: KeyPath, message: str, remedy: str = "") -> None:
        """Note something wrong at `path`."""
        self.problems.append(Problem(self.locate(path), message, remedy))


Decoder = Callable[[Data, KeyPath, Context], Any]
"""Returns a value decoded, or INVALID after noting what is wrong with it."""


def wrong(data: Data, expected: str, path: KeyPath, context: Context) -> Any:
    """Note that a value is not what is expected, without telling it; return INVALID."""
    got = {
        str: "text",
        int: "a whole number",
        bool: "true or false",
        float: "a number",
        list: "a list" if data else "an empty list",
        dict: "a map",
        type(None): "nothing",
    }.get(type(data), "something else")
    if isinstance(data, Filled):
        got = f"the value of {shown(data.template)}"
    if isinstance(data, str) and not data:
        got = "empty text"
    remedy = "Put it in quotes." if expected == "text" and got in _NEEDS_QUOTES else ""
    context.problem(path, f"expected {expected}, got {got}", remedy)
    return INVALID


_NEEDS_QUOTES = ("a whole number", "a number", "true or false")
