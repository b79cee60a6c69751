"""Events to data: refuses what is ambiguous, or out of bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from duckalog.document.events import Data, Event
from duckalog.errors import ConfigError, KeyPath, Origin, Problem, Problems, shown

MAX_DEPTH = 64
MAX_VALUES = 1_000_000
"""Values of a document, those that YAML aliases repeat counted each time."""


class Marks(msgspec.Struct):
    """The line where a value starts, those of its keys, and the marks of what is inside."""

    line: int
    keys: dict[str, int]
    children: dict[str | int, Marks]


class _Frame:
    """A list or map that is being filled."""

    __slots__ = ("anchor", "container", "height", "key", "marks", "merges", "size")

    def __init__(self, container: list[Data] | dict[str, Data], marks: Marks, anchor: str | None):
        self.container = container
        self.marks = marks
        self.anchor = anchor
        self.key: str | None = None
        self.merges: list[tuple[Data, Marks, int]] = []
        self.size = 1
        self.height = 1


class _Anchored(msgspec.Struct):
    """What an alias repeats: a value, its marks, and how many values and levels it has."""

    value: Data
    marks: Marks
    size: int = 1
    height: int = 0


_NOTHING: dict[Any, Any] = {}
"""What is inside a plain value; one for all of them, which halves a document's memory."""


class _Mark(str):
    """A key that no file can state: it is told by its identity."""

    __slots__ = ()


_MERGE = _Mark("<<")
_DROPPED = _Mark("?")
"""Stands for the key of a value that is left out, because the key itself is wrong."""


class Builder:
    """Turns events into a document; refuses what is ambiguous or out of bounds."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems = Problems()
        self.frames: list[_Frame] = []
        self.anchors: dict[str, _Anchored] = {}
        self.open_anchors: set[str] = set()
        self.root: tuple[Data, Marks] | None = None

    def build(self, events: Iterator[Event]) -> tuple[Data, Marks, tuple[Problem, ...]]:
        """Return the data of a document, where each part of it stands, and what is wrong in it.

        What is wrong is left out of the data. Raises ConfigError where the rest cannot be read.
        """
        for event in events:
            if event.kind in "[{":
                self._open(event)
            elif event.kind == "end":
                self._close()
            elif event.kind == "alias":
                self._alias(event)
            else:
                self._value(event)
        if self.root is None:
            raise ConfigError(
                Problem(Origin(self.file), "the file is empty", "A config starts with: version: 1")
            )
        return (*self.root, tuple(self.problems))

    def _path(self) -> KeyPath:
        path: list[str | int] = []
        for frame in self.frames:
            if isinstance(frame.container, list):
                path.append(len(frame.container))
            elif frame.key is not None:
                path.append(frame.key)
        return tuple(path)

    def _fail(self, line: int, message: str, remedy: str = "") -> Problem:
        return Problem(Origin(self.file, line, self._path()), message, remedy)

    def _open(self, event: Event) -> None:
        if self._expects_key():
            raise ConfigError(self._fail(event.line, "a key is text, not a list or map"))
        self._refuse_depth(len(self.frames) + 1, event.line)
        container: list[Data] | dict[str, Data] = [] if event.kind == "[" else {}
        if event.anchor:
            self.open_anchors.add(event.anchor)
        self.frames.append(_Frame(container, Marks(event.line, {}, {}), event.anchor))

    def _refuse_depth(self, depth: int, line: int) -> None:
        if depth > MAX_DEPTH:
            message = f"nested more than {MAX_DEPTH} levels deep"
            raise ConfigError(Problem(Origin(self.file, line), message))

    def _close(self) -> None:
        frame = self.frames.pop()
        for value, marks, line in frame.merges:
            self._merge(frame, value, marks, line)
        closed = _Anchored(frame.container, frame.marks, frame.size, frame.height)
        if frame.anchor:
            self.open_anchors.discard(frame.anchor)
            self.anchors[frame.anchor] = closed
        self._add(closed)

    def _alias(self, event: Event) -> None:
        anchor = event.anchor or ""
        if anchor in self.open_anchors:
            raise ConfigError(self._fail(event.line, f'alias "*{anchor}" contains itself'))
        if anchor not in self.anchors:
            raise ConfigError(self._fail(event.line, f'no anchor "&{anchor}" stands before'))
        anchored = self.anchors[anchor]
        if self._expects_key():
            self._key(anchored.value, event.line)
            return
        self._refuse_depth(len(self.frames) + anchored.height, event.line)
        self._add(anchored)

    def _value(self, event: Event) -> None:
        """Take a plain value: as a key where a map waits for one, else as what stands there."""
        value = event.value
        if isinstance(value, str) and (unfit := unfit_text(value)):
            self.problems.append(self._fail(event.line, unfit))
            value = value.replace("\0", "").encode(errors="replace").decode()
        is_key = self._expects_key()
        if event.anchor or not is_key:
            anchored = _Anchored(value, Marks(event.line, _NOTHING, _NOTHING))
            if event.anchor:
                self.anchors[event.anchor] = anchored
        if not is_key:
            self._add(anchored)
        elif event.is_merge:
            self.frames[-1].key = _MERGE
        else:
            self._key(value, event.line)

    def _expects_key(self) -> bool:
        if not self.frames:
            return False
        frame = self.frames[-1]
        return frame.key is None and isinstance(frame.container, dict)

    def _key(self, key: Data, line: int) -> None:
        """Take the key of the value to come; one that is no text, or stands twice, is dropped."""
        frame = self.frames[-1]
        if type(key) is int:
            key = str(key)
        if not isinstance(key, str):
            message = f"a key is text, and YAML reads this one as {_kind(key)}"
            self.problems.append(self._fail(line, message, "Put it in quotes."))
            frame.key = _DROPPED
            return
        frame.key = key
        if key in frame.marks.keys:
            first = frame.marks.keys[key]
            message = (
                f'the key "{shown(key)}" stands here a second time; the first is on line {first}'
            )
            self.problems.append(self._fail(line, message, "Keep one of them."))
            frame.key = _DROPPED
        else:
            frame.marks.keys[key] = line

    def _add(self, added: _Anchored) -> None:
        """Put a value that is whole into the list or map around it."""
        value, marks = added.value, added.marks
        if not self.frames:
            self.root = (value, marks)
            return
        frame = self.frames[-1]
        frame.size += added.size
        frame.height = max(frame.height, added.height + 1)
        if frame.size > MAX_VALUES:
            raise ConfigError(
                Problem(
                    Origin(self.file, marks.line),
                    f"more than {MAX_VALUES:,} values, repeated aliases included",
                )
            )
        if isinstance(frame.container, list):
            frame.marks.children[len(frame.container)] = marks
            frame.container.append(value)
            return
        key, frame.key = frame.key, None
        assert key is not None
        if key is _MERGE:
            frame.merges.append((value, marks, marks.line))
        elif key is not _DROPPED:
            frame.container[key] = value
            frame.marks.children[key] = marks

    def _merge(self, frame: _Frame, value: Data, marks: Marks, line: int) -> None:
        """Take over the keys of `<<: *map`, or of a list of maps; the map's own keys win."""
        assert isinstance(frame.container, dict)
        if isinstance(value, list):
            for index, one in enumerate(value):
                self._merge(frame, one, marks.children[index], line)
            return
        if not isinstance(value, dict):
            self.problems.append(self._fail(line, '"<<" takes a map, or a list of maps'))
            return
        for key, child in value.items():
            if key not in frame.container:
                frame.container[key] = child
                frame.marks.children[key] = marks.children[key]
                frame.marks.keys.setdefault(key, marks.keys[key])


def unfit_text(text: str) -> str:
    """Return why DuckDB cannot hold `text`, or an empty string."""
    if "\0" in text:
        return "text cannot contain NUL"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "text cannot contain half a surrogate pair"
    return ""


def _kind(value: Data) -> str:
    return {bool: "true or false", float: "a number", type(None): "nothing"}.get(
        type(value), type(value).__name__
    )
