"""A draft as YAML that people like to read: sections in the docs' order, SQL in blocks."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from duckalog.config import VERSION
from duckalog.environment import escaped
from duckalog.init.draft import Draft, DraftEntry
from duckalog.init.layout import laid_out
from duckalog.locations import is_remote
from duckalog.sql import literal


class Template(str):
    """A text of the config whose placeholders are meant."""

    __slots__ = ()


class Place(str):
    """An absolute local path, or a URL; a path is written from the folder of the config."""

    __slots__ = ()


class Query(str):
    """SQL, which is laid out where it is long.

    `paths` are the absolute ones that it reads, and how often it states each:
    they are written from the folder of the config, too.
    """

    __slots__ = ("paths",)
    paths: Mapping[str, int]

    def __new__(cls, text: str, paths: Mapping[str, int]) -> Query:
        """Return SQL with the paths that it reads."""
        query = super().__new__(cls, text)
        query.paths = paths
        return query


def rendered(draft: Draft, folder: str, *, head: str = "") -> str:
    """Return a draft as the YAML of a config in `folder`."""
    lines = [head] if head else []
    if draft.title:
        lines.append(_commented(draft.title))
    lines.append(f"version: {VERSION}\n")
    duckdb: dict[str, Any] = {"database": Place(draft.database)}
    if draft.settings:
        duckdb["settings"] = draft.settings
    lines.append(_dumped({"duckdb": duckdb}, folder))
    if draft.pragmas:
        lines.append("  # The file's macros and types; every session has them.\n  pragmas:\n")
        lines += [_indented(_dumped([one], folder), 4) for one in draft.pragmas]
    if draft.secrets:
        lines.append("  secrets:\n")
        lines += _items(draft.secrets, folder, 4)
    if any(draft.attachments.values()):
        lines.append("attachments:\n")
        for kind, entries in draft.attachments.items():
            if entries:
                lines.append(f"  {kind}:\n")
                lines += _items(entries, folder, 4)
    if draft.views:
        lines.append("views:\n")
        lines += _items(draft.views, folder, 2)
    if draft.notes:
        lines.append("\n")
        lines += [_commented(str(note)) for note in draft.notes]
    return "".join(lines)


def _items(entries: list[DraftEntry], folder: str, indent: int) -> Iterator[str]:
    for entry in entries:
        if entry.comment:
            yield _indented(_commented(entry.comment), indent)
        yield _indented(_dumped([entry.data], folder), indent)


def _commented(text: str) -> str:
    """Return text as comment lines; what YAML takes for the end of a line is made visible."""
    lines = text.replace("\r\n", "\n").split("\n")
    shown = (
        "".join(one if one.isprintable() else repr(one)[1:-1] for one in each) for each in lines
    )
    return "".join(f"# {line}".rstrip() + "\n" for line in shown)


def _indented(text: str, columns: int) -> str:
    lines = text.split("\n")
    return "\n".join(f"{' ' * columns}{line}" if line else line for line in lines)


class _Dumper(yaml.SafeDumper):
    """Writes blocks for texts of several lines, and lists inside their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, False)

    def ignore_aliases(self, _: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    if not text.replace("\n", "").isprintable():
        style = '"'  # the only one that shows what cannot be seen
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _dumped(data: Any, folder: str) -> str:
    return yaml.dump(
        _plain(data, folder),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=sys.maxsize,
    )


def _plain(data: Any, folder: str) -> Any:
    """Return data as YAML has it: placeholders escaped where they are not meant, places told."""
    if isinstance(data, Template):
        return str(data)
    if isinstance(data, Place):
        return escaped(placed(data, folder))
    if isinstance(data, Query):
        return escaped(laid_out(_with_paths_placed(data, folder)))
    if isinstance(data, str):
        return escaped(data)
    if isinstance(data, Mapping):
        return {key: _plain(value, folder) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(item, folder) for item in data]
    return data


def placed(place: str, folder: str) -> str:
    """Return a path as a config in `folder` states it: from there.

    In full where they have no folder in common, so that it is not moved with the config.
    """
    if is_remote(place) or place == ":memory:" or glob.has_magic(folder):
        return str(place)
    common = os.path.commonpath([place, folder])
    is_apart = common == os.path.dirname(common)
    return str(place) if is_apart else os.path.relpath(place, folder)


def _with_paths_placed(query: Query, folder: str) -> str:
    text = str(query)
    for path, count in query.paths.items():
        # One that it states elsewhere too may be compared with file names: it has to stay.
        if text.count(literal(path)) == count:
            text = text.replace(literal(path), literal(placed(path, folder)))
    return text
