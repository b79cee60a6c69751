"""The files of a pinned view: listed, and read with as few of them opened as can be."""

from __future__ import annotations

import os
from collections.abc import Sequence

from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import Column, File
from duckalog.engine.calls import columns_of
from duckalog.engine.pin_kinds import Kinds, columns_of_kind, escaped
from duckalog.engine.versions import DEFAULT_PARTITION_IS_NULL, NULL_PARTITION_IS_NULL
from duckalog.entry import Scan
from duckalog.locations import is_remote
from duckalog.values import execute_with
from duckalog.views.pinned import Columns, Group, PinnedFiles, Unpinnable, partitions_in

Found = tuple[str, "Scan | None", tuple[Column, ...]]
"""The final query, and the function and columns that stand in for its files."""

_TIMES = ("DATE", "TIME")
_DEFAULT_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def files_of(cursor: DuckDBPyConnection, pin: PinnedFiles) -> tuple[File, ...]:
    """Return the files that a view's patterns match now, in the order DuckDB reads them.

    Raises Unpinnable where a pattern matches none.
    """
    files: list[File] = []
    for uri in pin.uris:
        found = list(_remote(cursor, uri) if is_remote(uri) else _local(cursor, uri))
        if not found:
            raise Unpinnable(f'no file matches "{uri}"')
        files += found
    return tuple(files)


def _remote(cursor: DuckDBPyConnection, uri: str) -> list[File]:
    # One request for a thousand files: the content is not selected, so it is not read (1.4 to 2.0).
    asked = "SELECT filename, size, epoch_us(last_modified) FROM read_blob($1)"
    found = execute_with(cursor, asked, [uri]).fetchall()
    return [File(path, size or 0, modified or 0) for path, size, modified in found]


def _local(cursor: DuckDBPyConnection, uri: str) -> list[File]:
    found = execute_with(cursor, "SELECT file FROM glob($1)", [uri]).fetchall()
    files = []
    for (path,) in found:
        try:
            stat = os.stat(path)
        except OSError:  # gone since: as if it had never been listed
            continue
        files.append(File(path, stat.st_size, stat.st_mtime_ns // 1000))
    return files


def pinned_files(
    cursor: DuckDBPyConnection,
    pin: PinnedFiles,
    scan: Scan,
    files: Sequence[File],
    kinds: Kinds,
) -> Found:
    """Return the query over a list of files, the same as the unpinned one over its patterns.

    Raises Unpinnable where there is no such query.
    """
    paths = [escaped(file.path) for file in files]
    if not pin.unites_by_name or pin.states_columns:
        # Its columns are the first file's, or stated: DuckDB opens no more than that to bind.
        query = pin.query(paths)
        return query, scan, columns_of(cursor, query)
    columns = _columns_of_all(cursor, pin, files, paths, kinds)
    if pin.function == "read_parquet":
        query = pin.query_by_name(paths, columns, _nulls(paths))
        return _checked(cursor, query, columns), None, ()
    if pin.function == "read_csv":
        query = pin.query_of_groups(_groups(paths, files, kinds), columns)
        options = (*scan.options, "hive_partitioning", "hive_types")
        _checked(cursor, query, columns)
        return query, scan._replace(options=tuple(dict.fromkeys(options))), columns
    if not pin.has_formats and any(time in one.type for one in columns for time in _TIMES):
        # DuckDB finds their formats when it binds, in every file, and does not tell them.
        query = pin.query(paths)
        return query, scan, columns
    query = pin.query_with_columns(paths, columns)
    return _checked(cursor, query, columns), None, ()


def _groups(paths: Sequence[str], files: Sequence[File], kinds: Kinds) -> list[Group]:
    """Return files that are read alike, in the order of the first of each."""
    groups: dict[str, list[str]] = {}
    for path, file in zip(paths, files, strict=True):
        groups.setdefault(kinds[file.path], []).append(path)
    return [Group(tuple(found), columns_of_kind(kind)) for kind, found in groups.items()]


def _columns_of_all(
    cursor: DuckDBPyConnection,
    pin: PinnedFiles,
    files: Sequence[File],
    paths: Sequence[str],
    kinds: Kinds,
) -> tuple[Column, ...]:
    """Return the columns of the listed files: DuckDB unites the first of each kind, or all."""
    if not kinds:
        return columns_of(cursor, pin.query(paths))
    firsts: dict[str, str] = {}
    for path, file in zip(paths, files, strict=True):
        firsts.setdefault(kinds[file.path], path)
    partitions: Columns = ()
    if partitions_in(paths[0]):
        partitions = columns_of(cursor, pin.query_of_partitions(paths))
    return columns_of(cursor, pin.query_of_some([*firsts.values()], paths, partitions))


def _checked(cursor: DuckDBPyConnection, query: str, columns: Sequence[Column]) -> str:
    """Return a query whose columns are these; raises Unpinnable where they are not."""
    found = columns_of(cursor, query)
    if found != tuple(columns):
        different = [one for one in columns if one not in found] or [*found]
        shown = ", ".join(f"{name} {kind}" for name, kind in different[:3])
        raise Unpinnable(f"DuckDB cannot read these columns from a list of files: {shown}")
    return query


def _nulls(paths: Sequence[str]) -> dict[str, list[str]]:
    """Return for each partition the texts that mean NULL to this DuckDB, in these paths.

    The empty one does so for other types than VARCHAR.
    """
    found: dict[str, set[str]] = {}
    for partitions in {id(one): one for one in map(partitions_in, paths)}.values():
        for key, text in partitions.items():
            if not text or _is_null(text):
                found.setdefault(key, set()).add(text)
    return {key: sorted(texts) for key, texts in found.items()}


def _is_null(text: str) -> bool:
    if text == _DEFAULT_PARTITION:
        return DEFAULT_PARTITION_IS_NULL
    return text.lower() == "null" and NULL_PARTITION_IS_NULL
