"""How each file of a pinned view is read: asked once, and remembered until the file changes.

Files of one kind have the same columns and are read in the same way, so that
one of them tells what a query over all of them has.
"""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import Column, File
from duckalog.engine.calls import columns_of
from duckalog.file_sql import schemas_of_files, text_list
from duckalog.locations import is_remote
from duckalog.views.pinned import PinnedFiles

Kinds = Mapping[str, str]
"""The kind of each file by its path: a text that is the same for files that are alike."""


_FILES_OF_AN_INQUIRY = 2000
"""DuckDB keeps what it read of files until the query ends."""


class Inquiry(NamedTuple):
    """Files whose kinds are not known, to be asked in one go; `patterns` match them and others."""

    files: tuple[str, ...]
    patterns: tuple[str, ...] = ()


def kinds_known(
    pin: PinnedFiles, files: Sequence[File], remembered: Mapping[File, str | None]
) -> dict[str, str]:
    """Return the kinds that the last build found, of the files that are as they were then."""
    start = _start_of_kind(pin)
    found = ((file.path, remembered.get(file)) for file in files)
    return {path: kind for path, kind in found if kind and kind.startswith(start)}


def inquiries(pin: PinnedFiles, files: Sequence[File], known: Kinds) -> list[Inquiry]:
    """Return how to ask for the kinds that are not known.

    CSV files one by one. Parquet files together, which DuckDB opens on its
    threads: by the patterns where most are remote and new, because a listing
    spares a request for each.
    """
    unknown = tuple(file.path for file in files if file.path not in known)
    if not unknown or not pin.has_kinds:
        return []
    if not pin.is_sniffed and any(map(is_remote, pin.uris)) and 2 * len(unknown) > len(files):
        return [Inquiry(unknown, pin.uris)]
    size = 1 if pin.is_sniffed else _FILES_OF_AN_INQUIRY
    return [Inquiry(unknown[at : at + size]) for at in range(0, len(unknown), size)]


def kinds_of(cursor: DuckDBPyConnection, pin: PinnedFiles, asked: Inquiry) -> dict[str, str]:
    """Return the kinds of files, which are opened."""
    start = _start_of_kind(pin)
    if pin.is_sniffed:
        return {path: start + _sniffed(cursor, pin, path) for path in asked.files}
    found = _schemas(cursor, asked.patterns or [escaped(path) for path in asked.files])
    missing = [path for path in asked.files if path not in found]
    if missing:  # gone since they were listed, which DuckDB tells by their names
        found |= _schemas(cursor, [escaped(path) for path in missing])
    return {path: start + found[path] for path in asked.files if path in found}


def columns_of_kind(kind: str) -> tuple[Column, ...]:
    """Return the columns of the CSV files of a kind."""
    _, columns = json.loads(kind.partition(" ")[2])
    return tuple(Column(*one) for one in columns)


def escaped(path: str) -> str:
    """Return a file's path as a pattern that matches it alone."""
    return glob.escape(path) if glob.has_magic(path) else path


def _start_of_kind(pin: PinnedFiles) -> str:
    """Return a hash of what a kind depends on, besides the file."""
    how = (duckdb.__version__, pin.function, sorted(pin.rendered.items()))
    return hashlib.md5(repr(how).encode(), usedforsecurity=False).hexdigest() + " "


def _schemas(cursor: DuckDBPyConnection, patterns: Sequence[str]) -> dict[str, str]:
    rows = cursor.execute(schemas_of_files(text_list(patterns))).fetchall()
    return dict(rows)


def _sniffed(cursor: DuckDBPyConnection, pin: PinnedFiles, file: str) -> str:
    """Return how DuckDB reads one CSV file, and its columns."""
    path = escaped(file)
    columns = columns_of(cursor, pin.query_of_file(pin.function, path))
    names = [column.name for column in columns]
    _, types = pin.types
    if types:
        columns = columns_of(cursor, pin.query_of_file(pin.function, path, names))
    (row,) = cursor.execute(pin.query_of_file("sniff_csv", path, names)).fetchall()
    # The last two repeat the options that were given, and the path.
    return json.dumps([[str(one) for one in row[:-2]], columns])
