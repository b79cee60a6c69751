"""Queries over what a build found: an explicit list of files, a version, a snapshot.

Their columns, types and rows are those of the view that is not pinned, but
DuckDB binds them without listing a folder, and without opening every file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from duckalog.entry import Pin
from duckalog.file_sql import columns_by_name, partition_value, text_list
from duckalog.sql import (
    at_version,
    column,
    identifier,
    literal,
    qualified,
    select,
    select_all,
    table_function,
    union_all,
)

Columns = Sequence[tuple[str, str]]
"""Names and types."""


class Unpinnable(Exception):
    """Says what of a view cannot be pinned; `remedy` is how to mend it."""

    def __init__(self, message: str, remedy: str = "") -> None:
        self.remedy = remedy
        super().__init__(message)


class Group(NamedTuple):
    """Files that have the same columns, and are read in the same way."""

    files: tuple[str, ...]
    columns: Columns


class PinnedDelta(Pin, frozen=True, kw_only=True):
    """A Delta table, read at the version of build time."""

    uri: str
    rendered: dict[str, str]

    def query(self, version: int) -> str:
        """Return the SELECT over one version."""
        options = {**self.rendered, "version": str(version)}
        return select_all(table_function("delta_scan", literal(self.uri), options))


class PinnedIceberg(Pin, frozen=True, kw_only=True):
    """An Iceberg table, by path or by `name` in a catalog, read at the snapshot of build time."""

    uri: str = ""
    name: tuple[str, ...] = ()
    rendered: dict[str, str] = {}

    def query(self, snapshot: int) -> str:
        """Return the SELECT over one snapshot."""
        if self.name:
            return select_all(qualified(*self.name), at_version(snapshot))
        options = {**self.rendered, "snapshot_from_id": str(snapshot)}
        return select_all(table_function("iceberg_scan", literal(self.uri), options))

    def metadata(self, function: str, known: Sequence[str], **more: str) -> str:
        """Return the call of one of the extension's functions that read metadata."""
        options = {name: value for name, value in self.rendered.items() if name.lower() in known}
        place = qualified(*self.name) if self.name else self.uri
        return table_function(function, literal(place), {**options, **more})


class PinnedFiles(Pin, frozen=True, kw_only=True):
    """Files, read as those that the patterns matched at build time."""

    function: str
    uris: tuple[str, ...]
    options: dict[str, Any]
    rendered: dict[str, str]

    @property
    def unites_by_name(self) -> bool:
        """Whether the view's columns are those of all files, and not of the first."""
        return _is_true(self._option("union_by_name"))

    @property
    def is_sniffed(self) -> bool:
        """Whether each file must be asked how it is read: CSV files of other delimiters, say."""
        return self.function == "read_csv" and self.unites_by_name and not self.states_columns

    @property
    def has_kinds(self) -> bool:
        """Whether the view's columns follow from what each file has, asked one by one.

        DuckDB tells the schema of a Parquet file only if it is not encrypted.
        """
        if self.function == "read_parquet" and self.unites_by_name:
            return not self.states_columns and self._option("encryption_config") is None
        return self.is_sniffed

    @property
    def states_columns(self) -> bool:
        """Whether the config gives the columns, so that no file need be asked."""
        return any(self._option(name) is not None for name in ("columns", "schema"))

    @property
    def types(self) -> tuple[str, object]:
        """The option that gives types of some columns, by the name that the config uses."""
        for name in _TYPES:
            if self._option(name) is not None:
                return name, self._option(name)
        return _TYPES[0], {}

    @property
    def has_formats(self) -> bool:
        """Whether the config gives the formats of dates and times."""
        names = ("dateformat", "timestampformat")
        return all(self._option(name) is not None for name in names)

    def query(self, files: Sequence[str]) -> str:
        """Return the SELECT over a list of files, with the options that the config states."""
        return select_all(table_function(self.function, text_list(files), self.rendered))

    def query_of_partitions(self, files: Sequence[str]) -> str:
        """Return a SELECT that has the partitions of all files, and opens the first one only."""
        firsts: dict[int, str] = {}
        for file in files:
            firsts.setdefault(id(partitions_in(file)), file)
        options = self._without("union_by_name")
        return select_all(table_function(self.function, text_list([*firsts.values()]), options))

    def query_of_some(self, files: Sequence[str], among: Sequence[str], columns: Columns) -> str:
        """Return the SELECT over some files, whose partitions are as among all.

        `columns` are those of `query_of_partitions`.
        """
        options = self._without(*_OF_PARTITIONS) | self._given_partitions(among, columns)
        return select_all(table_function(self.function, text_list(files), options))

    def query_of_file(self, function: str, file: str, names: Collection[str] = ()) -> str:
        """Return the SELECT of another function over one file, with what says how to read it.

        Of types that are stated by name, only those of `names` are.
        """
        options = self._without("union_by_name", "filename", *_OF_PARTITIONS, *self._types_by_name)
        option, types = self.types
        if isinstance(types, Mapping):
            options |= _option_of_types(option, _only(names, types))
        return select_all(table_function(function, literal(file), options))

    def query_by_name(
        self, files: Sequence[str], columns: Columns, nulls: Mapping[str, Sequence[str]]
    ) -> str:
        """Return the SELECT over Parquet files whose columns are given: it opens none to bind.

        `nulls` are the texts of each partition that mean NULL. Raises
        Unpinnable where a column cannot be had in this way.
        """
        keys = self.partition_keys(files, columns)
        selected: list[str] = []
        own: list[tuple[str, str]] = []
        needs = {}
        for name, kind in columns:
            if name.lower() in keys:
                needs["filename"] = literal(True)
                encoded = any("%" in partitions_in(file)[keys[name.lower()]] for file in files)
                key = keys[name.lower()]
                texts = [text for text in nulls.get(key, ()) if text or kind != "VARCHAR"]
                value = partition_value(key, kind, texts, is_encoded=encoded)
                selected.append(column(value, name))
            elif name == self._name_of_filename():
                needs["filename"] = literal(True)
                selected.append(column(identifier("filename"), name))
            elif name == "file_row_number" and _is_true(self._option(name)):
                # The virtual column: DuckDB 1.5 and older refuse the option beside `schema`.
                selected.append(identifier(name))
            else:
                own.append((name, kind))
                selected.append(identifier(name))
        if not own:
            raise Unpinnable("the files have no columns besides their partitions")
        if needs and any(name.lower() == "filename" for name, _ in own):
            raise Unpinnable(
                'the files have a column "filename", which DuckDB needs for the partitions',
                "Take pin away, or set hive_partitioning: false",
            )
        options = self._without("union_by_name", "filename", "file_row_number", *_OF_PARTITIONS)
        options |= {"schema": columns_by_name(own), **needs}
        call = table_function(self.function, text_list(files), options)
        return select_all(call) if len(own) == len(columns) else select(selected, call)

    def query_of_groups(self, groups: Sequence[Group], columns: Columns) -> str:
        """Return the SELECT over groups of files: each one's columns made those of all."""
        files = [file for group in groups for file in group.files]
        given = self._given_partitions(files, columns)
        everywhere = {*self.partition_keys(files, columns)}
        filename = self._name_of_filename()
        if filename:
            everywhere.add(filename.lower())
        return union_all(
            self._query_of_group(group, columns, given, everywhere) for group in groups
        )

    def _query_of_group(
        self, group: Group, columns: Columns, given: dict[str, str], everywhere: set[str]
    ) -> str:
        options = self._without("union_by_name", *_OF_PARTITIONS, *self._types_by_name) | given
        options |= self._types_of_group(group, columns)
        call = table_function(self.function, text_list(group.files), options)
        has = {name.lower(): (name, kind) for name, kind in group.columns}
        selected = []
        for name, kind in columns:
            if name.lower() in has:
                selected.append(column(identifier(has[name.lower()][0]), name))
            elif name.lower() in everywhere:
                selected.append(identifier(name))
            else:
                selected.append(column("NULL", name, kind))
        return select(selected, call)

    def _types_of_group(self, group: Group, columns: Columns) -> dict[str, str]:
        """Return the option by which files are read as the types of all, and not cast to them.

        DuckDB reads `1.10` as the text that it is where another file has letters.
        """
        option, stated = self.types
        of_all = {name.lower(): kind for name, kind in columns}
        others = {
            name: of_all[name.lower()]
            for name, kind in group.columns
            if of_all[name.lower()] != kind
        }
        if isinstance(stated, Mapping):
            names = [name for name, _ in group.columns]
            return _option_of_types(option, {**_only(names, stated), **others})
        if others:
            raise Unpinnable(
                f'"{option}" is a list, and some columns have other types in other files',
                f"Write {option} as a map from names to types.",
            )
        return {}

    def query_with_columns(self, files: Sequence[str], columns: Columns) -> str:
        """Return the SELECT over JSON files whose columns are given: it opens none to bind."""
        keys = self.partition_keys(files, columns)
        filename = self._name_of_filename()
        own = {
            name: kind for name, kind in columns if name.lower() not in keys and name != filename
        }
        options = self._without("union_by_name", "auto_detect", *_OF_PARTITIONS)
        options |= {"columns": literal(own), **self._given_partitions(files, columns)}
        call = table_function(self.function, text_list(files), options)
        return select((identifier(name) for name, _ in columns), call)

    def partition_keys(self, files: Sequence[str], columns: Columns) -> dict[str, str]:
        """Return the keys of hive partitions that are columns, as paths have them, by lower case.

        By DuckDB's rule: where the config says nothing, they count if every
        path has the same keys.
        """
        stated = self._option("hive_partitioning")
        if stated is not None and not _is_true(stated):
            return {}
        keys = partitions_in(files[0]).keys()
        if stated is None and any(partitions_in(file).keys() != keys for file in files):
            return {}
        names = {name.lower() for name, _ in columns}
        return {key.lower(): key for key in keys if key.lower() in names}

    def _given_partitions(self, files: Sequence[str], columns: Columns) -> dict[str, str]:
        """Return options that make partitions what they are among all files, for some of them."""
        keys = self.partition_keys(files, columns)
        if not keys:
            return {"hive_partitioning": literal(False)}
        types = {keys[name.lower()]: kind for name, kind in columns if name.lower() in keys}
        return {"hive_partitioning": literal(True), "hive_types": literal(types)}

    def _name_of_filename(self) -> str | None:
        stated = self._option("filename")
        if isinstance(stated, str) and stated.lower() not in ("true", "false"):
            return stated
        return "filename" if stated is not None and _is_true(stated) else None

    @property
    def _types_by_name(self) -> tuple[str, ...]:
        option, types = self.types
        return (option,) if isinstance(types, Mapping) else ()

    def _option(self, name: str) -> object:
        return next((value for key, value in self.options.items() if key.lower() == name), None)

    def _without(self, *names: str) -> dict[str, str]:
        return {key: value for key, value in self.rendered.items() if key.lower() not in names}


_TYPES = ("types", "dtypes", "column_types")
_OF_PARTITIONS = ("hive_partitioning", "hive_types", "hive_types_autocast")


def _only(names: Collection[str], types: Mapping[str, object]) -> dict[str, object]:
    known = {name.lower() for name in names}
    return {name: kind for name, kind in types.items() if name.lower() in known}


def _option_of_types(option: str, types: Mapping[str, object]) -> dict[str, str]:
    return {option: literal(types)} if types else {}


def _is_true(value: object) -> bool:
    return str(value).lower() in ("true", "t", "1", "yes", "y")


def partitions_in(path: str) -> dict[str, str]:
    """Return the hive partitions of a path, by DuckDB's rule: folders with one `=` and no `?`."""
    return _partitions_of(path.replace("\\", "/").rpartition("/")[0])


@lru_cache(4096)
def _partitions_of(folders: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for folder in folders.split("/"):
        key, equals, value = folder.partition("=")
        if key and equals and not any(one in folder for one in "?\n") and "=" not in value:
            found.setdefault(key, value)
    return found
