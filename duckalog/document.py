"""Config files to plain data: YAML or JSON, with the place of every key and value.

Both formats become one stream of events, and one builder turns it into data:
so duplicate keys, depth and size are refused alike. Limits hold while reading,
so that a hostile file costs bounded time and memory.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from duckalog.errors import ConfigError, KeyPath, Origin, Problem

MAX_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 64
MAX_VALUES = 2_000_000
"""Values of a document, those that YAML aliases repeat counted each time."""

Position = tuple[int, int]
Data = Any
"""None, bool, int, float, str, or lists and dicts (with str keys) of them."""


class Marks(NamedTuple):
    """Where a value starts, where each of its keys does, and the marks of what is inside."""

    start: Position
    keys: dict[str, Position]
    children: dict[str | int, Marks]


class Document(NamedTuple):
    """A file's data, and where each part of it stands."""

    file: str
    data: Data
    marks: Marks

    @property
    def directory(self) -> str:
        """The folder that relative paths in this file start from."""
        return os.path.dirname(self.file)

    def origin(self, path: KeyPath) -> Origin:
        """Return where the key at `path` stands, or its nearest parent that is in the file."""
        marks = self.marks
        line = marks.start[0]
        for key in path:
            if isinstance(key, str) and key in marks.keys:
                line = marks.keys[key][0]
            child = marks.children.get(key)
            if child is None:
                break
            if isinstance(key, int):
                line = child.start[0]
            marks = child
        return Origin(self.file, line, path)


def read_document(path: str | os.PathLike[str]) -> Document:
    """Return the document in a `.yaml`, `.yml` or `.json` file.

    Raises ConfigError where it cannot be read, is not UTF-8, breaks the syntax,
    or has a key twice.
    """
    file = os.path.abspath(os.fspath(path))
    return parse_document(read_text(file), file)


def read_text(file: str) -> str:
    """Return the text of a UTF-8 file, a byte order mark taken off; raises ConfigError."""
    origin = Origin(file)
    try:
        if os.path.isdir(file):
            raise ConfigError(Problem(origin, "this is a folder, not a file"))
        if os.path.getsize(file) > MAX_BYTES:
            limit = MAX_BYTES // (1024 * 1024)
            raise ConfigError(Problem(origin, f"the file is larger than {limit} MiB"))
        raw = Path(file).read_bytes()
    except FileNotFoundError:
        raise ConfigError(Problem(origin, "there is no such file")) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(Problem(origin, f"the file cannot be read: {reason}")) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"the file is not UTF-8 text (byte {error.start})"
        remedy = "Save it as UTF-8."
        raise ConfigError(Problem(Origin(file, line), message, remedy)) from None


def parse_document(text: str, file: str) -> Document:
    """Return the document that `text` is; the ending of `file` says which format."""
    ending = os.path.splitext(file)[1].lower()
    if ending == ".json":
        return _Builder(file).build(_json_events(text, file))
    if ending in (".yaml", ".yml"):
        return _Builder(file).build(_yaml_events(text, file))
    message = f'"{ending}" is not an ending of a config' if ending else "the file has no ending"
    raise ConfigError(Problem(Origin(file), message, "Name it .yaml, .yml or .json."))


class _Event(NamedTuple):
    """A step through a document: `[`, `{`, `end`, `value` or `alias`."""

    kind: str
    position: Position
    value: Data = None
    anchor: str | None = None
    is_merge: bool = False


class _Frame:
    """A list or map that is being filled."""

    __slots__ = ("anchor", "container", "key", "marks", "merges", "size")

    def __init__(self, container: list[Data] | dict[str, Data], marks: Marks, anchor: str | None):
        self.container = container
        self.marks = marks
        self.anchor = anchor
        self.key: str | None = None
        self.merges: list[tuple[Data, Marks, Position]] = []
        self.size = 1


_MERGE = "<<"


class _Builder:
    """Turns events into a document; refuses what is ambiguous or out of bounds."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.frames: list[_Frame] = []
        self.anchors: dict[str, tuple[Data, Marks, int]] = {}
        self.open_anchors: set[str] = set()
        self.root: tuple[Data, Marks] | None = None

    def build(self, events: Iterator[_Event]) -> Document:
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
        if self.problems:
            raise ConfigError(self.problems)
        return Document(self.file, *self.root)

    def _path(self) -> KeyPath:
        path: list[str | int] = []
        for frame in self.frames:
            if isinstance(frame.container, list):
                path.append(len(frame.container))
            elif frame.key is not None:
                path.append(frame.key)
        return tuple(path)

    def _fail(self, position: Position, message: str, remedy: str = "") -> Problem:
        return Problem(Origin(self.file, position[0], self._path()), message, remedy)

    def _open(self, event: _Event) -> None:
        if self._expects_key():
            raise ConfigError(self._fail(event.position, "a key is text, not a list or map"))
        if len(self.frames) >= MAX_DEPTH:
            raise ConfigError(
                Problem(
                    Origin(self.file, event.position[0]),
                    f"nested more than {MAX_DEPTH} levels deep",
                )
            )
        container: list[Data] | dict[str, Data] = [] if event.kind == "[" else {}
        if event.anchor:
            self.open_anchors.add(event.anchor)
        self.frames.append(_Frame(container, Marks(event.position, {}, {}), event.anchor))

    def _close(self) -> None:
        frame = self.frames.pop()
        for value, marks, position in frame.merges:
            self._merge(frame, value, marks, position)
        if frame.anchor:
            self.open_anchors.discard(frame.anchor)
            self.anchors[frame.anchor] = (frame.container, frame.marks, frame.size)
        self._add(frame.container, frame.marks, frame.size)

    def _alias(self, event: _Event) -> None:
        anchor = event.anchor or ""
        if anchor in self.open_anchors:
            raise ConfigError(self._fail(event.position, f'alias "*{anchor}" contains itself'))
        if anchor not in self.anchors:
            raise ConfigError(self._fail(event.position, f'no anchor "&{anchor}" stands before'))
        value, marks, size = self.anchors[anchor]
        if self._expects_key():
            self._key(value, event.position)
        else:
            self._add(value, marks, size)

    def _value(self, event: _Event) -> None:
        if self._expects_key():
            if event.is_merge:
                self.frames[-1].key = _MERGE
            else:
                self._key(event.value, event.position)
            return
        value = event.value
        if isinstance(value, str):
            unfit = unfit_text(value)
            if unfit:
                self.problems.append(self._fail(event.position, unfit))
        marks = Marks(event.position, {}, {})
        if event.anchor:
            self.anchors[event.anchor] = (value, marks, 1)
        self._add(value, marks, 1)

    def _expects_key(self) -> bool:
        return bool(self.frames) and (
            isinstance(self.frames[-1].container, dict) and self.frames[-1].key is None
        )

    def _key(self, key: Data, position: Position) -> None:
        frame = self.frames[-1]
        if isinstance(key, int) and not isinstance(key, bool):
            key = str(key)
        if not isinstance(key, str):
            message = f"a key is text, and YAML reads this one as {_kind(key)}"
            self.problems.append(self._fail(position, message, "Put it in quotes."))
            key = f"{key!r}"
        frame.key = key
        unfit = unfit_text(key)
        if unfit:
            self.problems.append(self._fail(position, unfit))
        if key in frame.marks.keys:
            first = frame.marks.keys[key][0]
            message = f'the key "{key}" stands here a second time; the first is on line {first}'
            self.problems.append(self._fail(position, message, "Keep one of them."))
        else:
            frame.marks.keys[key] = position

    def _add(self, value: Data, marks: Marks, size: int) -> None:
        if not self.frames:
            self.root = (value, marks)
            return
        frame = self.frames[-1]
        frame.size += size
        if frame.size > MAX_VALUES:
            raise ConfigError(
                Problem(
                    Origin(self.file, marks.start[0]),
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
            frame.merges.append((value, marks, marks.start))
        elif key not in frame.container:
            frame.container[key] = value
            frame.marks.children[key] = marks

    def _merge(self, frame: _Frame, value: Data, marks: Marks, position: Position) -> None:
        """Take over the keys of `<<: *map`, or of a list of maps; the map's own keys win."""
        assert isinstance(frame.container, dict)
        if isinstance(value, list):
            for index, one in enumerate(value):
                self._merge(frame, one, marks.children[index], position)
            return
        if not isinstance(value, dict):
            self.problems.append(self._fail(position, '"<<" takes a map, or a list of maps'))
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


_STANDARD_TAGS = "tag:yaml.org,2002:"
_RESOLVERS: dict[str, list[tuple[str, re.Pattern[str]]]] = yaml.SafeLoader.yaml_implicit_resolvers
_PLAIN_TEXT_TAGS = {_STANDARD_TAGS + kind for kind in ("str", "timestamp", "value")}


def _yaml_events(text: str, file: str) -> Iterator[_Event]:
    """Yield the events of a YAML text.

    Events, not nodes: libyaml's composer recurses in C, and a deep document
    would end the process (PyYAML 6.0.3).
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            mark = event.start_mark
            assert mark is not None
            position = (mark.line + 1, mark.column + 1)
            if isinstance(event, yaml.ScalarEvent):
                yield _yaml_scalar(event, position, file)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                is_map = isinstance(event, yaml.MappingStartEvent)
                _refuse_tag(event.tag, "map" if is_map else "seq", position, file)
                yield _Event("{" if is_map else "[", position, anchor=event.anchor)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                yield _Event("end", position)
            elif isinstance(event, yaml.AliasEvent):
                yield _Event("alias", position, anchor=event.anchor)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise ConfigError(
                        Problem(
                            Origin(file, position[0]),
                            "a second YAML document starts here; a config is one",
                            "Remove the line ---, or put the rest in a file under imports.",
                        )
                    )
    except yaml.MarkedYAMLError as error:
        yaml_mark = error.problem_mark or error.context_mark
        line = yaml_mark.line + 1 if yaml_mark else 0
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(Problem(Origin(file, line), f"this is not YAML: {what}")) from None
    except yaml.YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0) or 0) + 1
        reason = getattr(error, "reason", None) or str(error).splitlines()[0]
        raise ConfigError(Problem(Origin(file, line), f"this is not YAML: {reason}")) from None
    except RecursionError:
        raise ConfigError(Problem(Origin(file), "this YAML is nested too deeply")) from None


def _yaml_scalar(event: Any, position: Position, file: str) -> _Event:
    value: str = event.value
    tag = event.tag
    if tag is None or tag == "!":
        tag = _STANDARD_TAGS + "str"
        if event.implicit[0]:
            for candidate, pattern in _RESOLVERS.get(value[:1], ()):
                if pattern.match(value):
                    tag = candidate
                    break
    if tag in _PLAIN_TEXT_TAGS:
        return _Event("value", position, value, event.anchor)
    if tag == _STANDARD_TAGS + "merge":
        return _Event("value", position, value, event.anchor, is_merge=True)
    kind = tag.removeprefix(_STANDARD_TAGS)
    if kind not in ("int", "float", "bool", "null"):
        _refuse_tag(tag, "", position, file)
    node = yaml.ScalarNode(tag, value)
    try:
        plain = getattr(_CONSTRUCTOR, f"construct_yaml_{kind}")(node)
    except (ValueError, KeyError, IndexError):
        message = f'"{value[:40]}" is not a value of the YAML type {kind}'
        raise ConfigError(Problem(Origin(file, position[0]), message)) from None
    return _Event("value", position, plain, event.anchor)


_CONSTRUCTOR = yaml.constructor.SafeConstructor()


def _refuse_tag(tag: str | None, kind: str, position: Position, file: str) -> None:
    if tag is None or tag in ("!", _STANDARD_TAGS + kind):
        return
    shown = tag.replace(_STANDARD_TAGS, "!!")
    raise ConfigError(
        Problem(Origin(file, position[0]), f'the YAML tag "{shown}" means nothing here')
    )


_JSON_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\]|\\.)*")|(?P<open>[\[{])|(?P<close>[\]}])|(?P<other>[^\s,:\[\]{}"]+)|\n'
)


def _json_events(text: str, file: str) -> Iterator[_Event]:
    """Yield the events of a JSON text, which `json` has found valid before."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        if text.strip():
            message = f"this is not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
            raise ConfigError(Problem(Origin(file, error.lineno), message)) from None
        return
    except ValueError as error:
        raise ConfigError(Problem(Origin(file), f"this is not JSON: {error}")) from None
    except RecursionError:
        raise ConfigError(
            Problem(Origin(file), f"nested more than {MAX_DEPTH} levels deep")
        ) from None
    line, line_start = 1, 0
    for token in _JSON_TOKEN.finditer(text):
        position = (line, token.start() - line_start + 1)
        if token.lastgroup is None:
            line, line_start = line + 1, token.end()
        elif token.lastgroup == "open":
            yield _Event(token.group(), position)
        elif token.lastgroup == "close":
            yield _Event("end", position)
        else:
            yield _Event("value", position, json.loads(token.group()))
