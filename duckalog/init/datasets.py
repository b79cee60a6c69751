"""Which files belong together: names of files to datasets, nothing opened.

In this order: a folder with a `_delta_log` is a Delta table, one with
`metadata/*.metadata.json` an Iceberg table. Below the first folder called
`key=value`, or like a number or date, all files of one format are one dataset.
In any other folder, files of one format whose names differ only in numbers,
dates and ids are one; those of one folder that turn out to have the same
columns are merged afterwards. A folder's only file that has a number or an id for a
name is the first of such.
"""

from __future__ import annotations

import glob
import os
import re
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from duckalog.init.draft import Data

_FORMATS = {
    "parquet": "parquet",
    "parq": "parquet",
    "pq": "parquet",
    "csv": "csv",
    "tsv": "csv",
    "json": "json",
    "jsonl": "json",
    "ndjson": "json",
}
_COMPRESSED = ("gz", "zst")
_DATABASES = ("duckdb", "ddb", "db", "sqlite", "sqlite3")
_HIVE = re.compile(r"[^=]+=.*")
_NUMBERED = re.compile(r"[\d._-]*\d[\d._-]*")
_ID = re.compile(
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?<![a-z])(?=[a-z]*\d)[0-9a-f]{16,}",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d[\d._-]*")
_SAYS_NOTHING = re.compile(
    r"[-_.# ]+"
    r"|(?:part|chunk|data|file|export|output|run|batch|c|snappy|zstd|gzip|lz4|brotli)(?![a-z])",
    re.IGNORECASE,
)
_ICEBERG_METADATA = re.compile(r"(.*?)/?metadata/(?:v|0*)(\d+)(?:-[^/]*)?\.(?:gz\.)?metadata\.json")
_VERSION_HINT = "metadata/version-hint.text"


class Dataset(NamedTuple):
    """Files that are one table: `folder` and `stem` name it, `paths` are relative to the root."""

    source: str
    folder: str
    stem: str
    paths: tuple[str, ...]
    patterns: tuple[str, ...]
    options: Data = {}


class Found(NamedTuple):
    """What a place has: datasets, the database files in it, and the files of each folder."""

    datasets: tuple[Dataset, ...]
    databases: tuple[str, ...]
    beside: Mapping[str, Sequence[str]]

    def merged(self, datasets: Sequence[Dataset]) -> Dataset:
        """Return datasets of one folder and format as one."""
        first = datasets[0]
        paths = tuple(sorted(path for one in datasets for path in one.paths))
        return first._replace(
            stem=_common([_stem(path) for path in paths]),
            paths=paths,
            patterns=_patterns(first.folder, paths, self.beside[first.folder]),
        )


def grouped(files: Iterable[str]) -> Found:
    """Return the datasets among files, whose paths are relative to a root, with `/` between."""
    paths = sorted(files)
    tables = dict(_tables(paths))
    loose = [path for path in paths if not _is_below(path, tables) and not _is_hidden(path)]
    groups: dict[tuple[str, str, str], list[str]] = {}
    databases: list[str] = []
    beside: dict[str, list[str]] = {}
    for path in loose:
        beside.setdefault(os.path.dirname(path), []).append(path)
        if path.lower().rpartition(".")[2] in _DATABASES:
            databases.append(path)
        source = format_of(path)
        if source:
            folder, is_tree = _root_of(path)
            skeleton = "" if is_tree else _skeleton(_stem(path))
            groups.setdefault((folder, source, skeleton), []).append(path)
    datasets = [*tables.values()]
    for (folder, source, skeleton), members in groups.items():
        datasets.append(_dataset(folder, source, skeleton, members, beside.get(folder, ())))
    in_order = sorted(datasets, key=lambda one: one.paths)
    return Found(tuple(in_order), tuple(databases), beside)


def _tables(paths: Sequence[str]) -> Iterator[tuple[str, Dataset]]:
    """Yield the folders that are Delta or Iceberg tables."""
    newest: dict[str, tuple[int, str]] = {}
    for path in paths:
        before, log, _ = f"/{path}".partition("/_delta_log/")
        if log:
            folder = before.lstrip("/")
            yield folder, Dataset("delta", folder, "", (folder,), (glob.escape(folder) or ".",))
        metadata = _ICEBERG_METADATA.fullmatch(path)
        if metadata:
            version = (int(metadata[2]), path)
            newest[metadata[1]] = max(newest.get(metadata[1], version), version)
    hints = set(paths)
    for folder, (_, path) in newest.items():
        has_hint = "/".join(filter(None, (folder, _VERSION_HINT))) in hints
        place = (folder or ".") if has_hint else path
        yield folder, Dataset("iceberg", folder, "", (folder,), (place,))


def _is_below(path: str, folders: Container[str]) -> bool:
    parts = path.split("/")[:-1]
    return any("/".join(parts[:depth]) in folders for depth in range(len(parts) + 1))


def _is_hidden(path: str) -> bool:
    """Say whether DuckDB's readers and others pass a file over."""
    return any(part.startswith((".", "_")) and "=" not in part for part in path.split("/"))


def format_of(path: str) -> str | None:
    """Return the source that reads a file of data, by its ending; None for other files."""
    parts = os.path.basename(path).lower().split(".")
    if len(parts) > 2 and parts[-1] in _COMPRESSED:
        parts.pop()
    return _FORMATS.get(parts[-1]) if len(parts) > 1 else None


def _stem(path: str) -> str:
    parts = os.path.basename(path).split(".")
    while len(parts) > 1 and parts[-1].lower() in (*_FORMATS, *_COMPRESSED):
        parts.pop()
    return ".".join(parts)


def _root_of(path: str) -> tuple[str, bool]:
    """Return the folder of a file's dataset, and whether folders below it are part of it."""
    folders = path.split("/")[:-1]
    for depth, folder in enumerate(folders):
        if _HIVE.fullmatch(folder) or _NUMBERED.fullmatch(folder):
            return "/".join(folders[:depth]), True
    return "/".join(folders), False


def _dataset(
    folder: str, source: str, skeleton: str, members: Sequence[str], siblings: Sequence[str]
) -> Dataset:
    paths = tuple(members)
    if skeleton:
        stem = _common([_stem(path) for path in paths])
        if _says_nothing(skeleton) and [*filter(format_of, siblings)] == [*paths]:
            stem = ""  # the folder's only file, as Spark writes it: others like it may follow
        matching = _patterns(folder, paths, siblings, is_first=not stem)
        return Dataset(source, folder, stem, paths, matching)
    inner = [path[len(folder) :].lstrip("/").split("/")[:-1] for path in paths]
    is_hive = all(any(_HIVE.fullmatch(one) for one in parts) for parts in inner)
    options: Data = {"hive_partitioning": True} if is_hive else {}
    endings = {glob.escape(_ending(path)) for path in paths}
    firsts = {_first_pattern(parts[0]) for parts in inner}
    prefix = f"{glob.escape(folder)}/" if folder else ""
    patterns = sorted(f"{prefix}{first}/**/*{end}" for first in firsts for end in endings)
    return Dataset(source, folder, "", paths, tuple(patterns), options)


def _first_pattern(folder: str) -> str:
    """Return what matches a partition's folder and its like, and no other folder."""
    key, equals, _ = folder.partition("=")
    return f"{glob.escape(key)}=*" if equals else "[0-9]*"


def _ending(path: str) -> str:
    return os.path.basename(path)[len(_stem(path)) :]


def _patterns(
    folder: str, paths: Sequence[str], siblings: Sequence[str], *, is_first: bool = False
) -> tuple[str, ...]:
    """Return what matches some files of a folder and none of their siblings.

    One file is matched by itself, unless it `is_first` of several to come.
    """
    if len(paths) == 1 and not is_first:
        return (glob.escape(paths[0]),)
    prefix = f"{glob.escape(folder)}/" if folder else ""
    endings = {_ending(path) for path in paths}
    if len(endings) == 1:
        ending = endings.pop()
        common = re.split(r"\d", _start([_stem(path) for path in paths]))[0]
        for start in (common, "") if len(common) > MIN_WORD else ("",):
            begin = f"{folder}/{start}" if folder else start
            matched = _beginning_with(begin, siblings, ending, most=len(paths))
            if matched == sorted(paths):
                return (f"{prefix}{glob.escape(start)}*{glob.escape(ending)}",)
    return tuple(glob.escape(path) for path in paths)


def _beginning_with(begin: str, paths: Sequence[str], ending: str, *, most: int) -> list[str]:
    """Return those of sorted paths that begin and end so, at the most one more than `most`.

    A folder may have very many files, and each of its datasets asks.
    """
    found: list[str] = []
    for at in range(bisect_left(paths, begin), len(paths)):
        if len(found) > most or not paths[at].startswith(begin):
            break
        if _ending(paths[at]) == ending:
            found.append(paths[at])
    return found


MIN_WORD = 2
"""Characters that a name has to have more of to say something."""


def _skeleton(stem: str) -> str:
    """Return a name with its numbers, dates and ids made alike."""
    return _NUMBER.sub("#", _ID.sub("#", stem))


def _says_nothing(skeleton: str) -> bool:
    """Say whether a file's name has a number or an id, and no word of its own."""
    return "#" in skeleton and not _SAYS_NOTHING.sub("", skeleton)


def _common(stems: Sequence[str]) -> str:
    """Return what the names of a dataset's files say of it, which may be nothing."""
    if len(stems) == 1:
        return stems[0]
    found = _start(sorted({_skeleton(stem) for stem in stems})).strip("-_.# ")
    return found if len(_SAYS_NOTHING.sub("", found)) > MIN_WORD else ""


def _start(texts: Sequence[str]) -> str:
    """Return what texts have in common at their start."""
    first, last = min(texts), max(texts)
    length = next(
        (at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]),
        min(len(first), len(last)),
    )
    return first[:length]
