"""Config files to plain data: YAML or JSON, with the place of every key and value.

Both formats become one stream of events, and one builder turns it into data:
so duplicate keys, depth and size are refused alike. Limits hold while reading,
so that a hostile file costs bounded time and memory.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from duckalog.document.builder import Builder, Marks, unfit_text
from duckalog.document.events import Data
from duckalog.document.json_events import json_events
from duckalog.document.yaml_events import yaml_events
from duckalog.errors import (
    NOT_UTF8,
    ConfigError,
    KeyPath,
    Origin,
    Problem,
    is_utf8,
    nearest,
    sentences,
    shown_path,
)

__all__ = [
    "MAX_BYTES",
    "Data",
    "Document",
    "parse_document",
    "read_document",
    "read_text",
    "text_of",
    "too_large",
    "unfit_text",
]

MAX_BYTES = 16 * 1024 * 1024
_TEXTS = (".yaml", ".yml", ".json", ".sql")


class Document(NamedTuple):
    """A file's data, and where each part of it stands.

    `problems` are keys and texts that are wrong by themselves, such as a key that
    stands twice; the data is without them.
    """

    file: str
    data: Data
    marks: Marks
    problems: tuple[Problem, ...] = ()

    def __repr__(self) -> str:
        return f"Document({self.file!r})"  # its data may hold secrets in clear

    @property
    def directory(self) -> str:
        """The folder that relative paths in this file start from."""
        return os.path.dirname(self.file)

    def origin(self, path: KeyPath) -> Origin:
        """Return where the key at `path` stands, or its nearest parent that is in the file."""
        marks = self.marks
        line = marks.line
        for key in path:
            if isinstance(key, str) and key in marks.keys:
                line = marks.keys[key]
            child = marks.children.get(key)
            if child is None:
                break
            if isinstance(key, int):
                line = child.line
            marks = child
        return Origin(self.file, line, path)


def read_document(path: str | os.PathLike[str]) -> Document:
    """Return the document in a `.yaml`, `.yml` or `.json` file.

    Raises ConfigError where it cannot be read, is not UTF-8, or breaks the syntax.
    """
    file = os.path.abspath(os.fspath(path))
    return parse_document(read_text(file), file)


def read_text(file: str) -> str:
    """Return the text of a UTF-8 file, a byte order mark taken off; raises ConfigError."""
    origin = Origin(file)
    if not is_utf8(file):
        raise ConfigError(Problem(origin, NOT_UTF8, "Rename it, or its folder."))
    try:
        if os.path.isdir(file):
            inside = os.path.join(file, "catalog.yaml")
            remedy = f"Write {shown_path(inside)}." if os.path.isfile(inside) else ""
            raise ConfigError(Problem(origin, "this is a folder, not a file", remedy))
        if os.path.exists(file) and not os.path.isfile(file):  # a device may never end
            raise ConfigError(Problem(origin, "this is a device or pipe, not a file"))
        if os.path.getsize(file) > MAX_BYTES:
            raise ConfigError(too_large(file))
        with open(file, "rb") as opened:
            raw = opened.read()
    except FileNotFoundError:
        raise ConfigError(Problem(origin, "there is no such file", _meant(file))) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(Problem(origin, f"the file cannot be read: {reason}")) from None
    return text_of(raw, file)


def _meant(file: str) -> str:
    """Return a hint at the file of the same folder whose name is like that of one not there."""
    folder, name = os.path.split(file)
    try:
        there = [one for one in os.listdir(folder) if one.lower().endswith(_TEXTS)]
    except OSError:
        return ""
    return sentences(nearest(name, there))


def too_large(file: str) -> Problem:
    """Return the problem of a file that is beyond the limit."""
    return Problem(Origin(file), f"the file is larger than {MAX_BYTES // (1024 * 1024)} MiB")


def text_of(raw: bytes, file: str) -> str:
    """Return the text of a file's bytes, a byte order mark taken off; raises ConfigError."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start
    # Outside of the handler, here and below: Python's own error holds the whole text.
    line = raw.count(b"\n", 0, start) + 1
    message = f"the file is not UTF-8 text (byte {start})"
    raise ConfigError(Problem(Origin(file, line), message, "Save it as UTF-8."))


def parse_document(text: str, file: str) -> Document:
    """Return the document that `text` is; the ending of `file` says which format."""
    ending = os.path.splitext(file)[1].lower()
    if ending == ".json":
        return Document(file, *Builder(file).build(json_events(text, file)))
    if ending in (".yaml", ".yml"):
        return Document(file, *Builder(file).build(yaml_events(text, file)))
    message = f'"{ending}" is not an ending of a config' if ending else "the file has no ending"
    raise ConfigError(Problem(Origin(file), message, "Name it .yaml, .yml or .json."))
