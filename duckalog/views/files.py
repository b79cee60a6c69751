"""Views over files: Parquet, CSV and JSON, local or remote."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from duckalog.decode import Unfit
from duckalog.entry import Scan, Uris, View, check_options, extension_of, rendered_options
from duckalog.locations import is_remote
from duckalog.sql import literal, map_literal, select_all, table_function
from duckalog.views.pinned import PinnedFiles


class FilesView(View, frozen=True, kw_only=True):
    """A view over files that one table function reads; with `pin`, over those of build time."""

    function: ClassVar[str]

    uri: Uris
    """The files: a path, URL or pattern, or a list of them.
    Examples: `orders/*.parquet` `["s3://lake/2025/**", "s3://lake/2026/**"]`"""
    options: dict[str, Any] = {}
    """Options of DuckDB's function that reads the files.
    Example: `{hive_partitioning: true, union_by_name: true}`"""
    pin: bool = False
    """Whether to read the files of build time, without listing them at each query."""

    def __post_init__(self) -> None:
        check_options(self.options)

    def query(self) -> str:
        """Return the SELECT over the table function."""
        files = literal(self.uri[0]) if len(self.uri) == 1 else literal(self.uri)
        return select_all(table_function(self.function, files, self.rendered_options()))

    def rendered_options(self) -> dict[str, str]:
        """Return the options as SQL."""
        return rendered_options(self.options)

    @property
    def locations(self) -> tuple[tuple[str, ...], ...]:
        """The URIs, each by itself."""
        return tuple((str(uri),) for uri in self.uri)

    @property
    def scan(self) -> Scan:
        """The table function over the files."""
        local = tuple([uri for uri in self.uri if not is_remote(uri)])
        options = tuple(self.rendered_options())
        return Scan(self.function, options, len(local) < len(self.uri), local, self.uri)

    @property
    def pinned(self) -> PinnedFiles | None:
        """The patterns to list, and how the files are read."""
        if not self.pin:
            return None
        return PinnedFiles(
            function=self.function,
            uris=self.uri,
            options=self.options,
            rendered=self.rendered_options(),
        )

    def extensions(self) -> Iterator[str]:
        """Yield what the URLs need."""
        for uri in self.uri:
            yield from extension_of(uri)


_FIELD_ID = re.compile(r"[0-9]+\Z")


class ParquetView(FilesView, frozen=True, kw_only=True):
    """A view over Parquet files."""

    function = "read_parquet"
    source: Literal["parquet"]

    def __post_init__(self) -> None:
        if not self.options:
            return
        check_options({**self.options, "schema": None})
        schema = self.options.get("schema")
        if schema is None:
            return
        if not isinstance(schema, Mapping) or not all(
            _FIELD_ID.match(key) and isinstance(column, Mapping) for key, column in schema.items()
        ):
            raise Unfit(
                "expected a map from field ids to columns",
                "For example: {0: {name: id, type: BIGINT, default_value: null}}",
                ("options", "schema"),
            )
        for column in schema.values():
            check_options(column)

    def rendered_options(self) -> dict[str, str]:
        """Return the options as SQL; `schema` is the one that DuckDB takes as a MAP."""
        if "schema" not in self.options:
            return rendered_options(self.options)
        options = dict(self.options)
        schema = options.pop("schema")
        rendered = rendered_options(options)
        if schema is not None:
            rendered["schema"] = map_literal(
                {field_id: _column_struct(column) for field_id, column in schema.items()}
            )
        return rendered


def _column_struct(column: Mapping[str, Any]) -> str:
    fields = {key: "NULL" if value is None else literal(value) for key, value in column.items()}
    return "{" + ", ".join(f"{literal(key)}: {value}" for key, value in fields.items()) + "}"


class CsvView(FilesView, frozen=True, kw_only=True):
    """A view over CSV files."""

    function = "read_csv"
    source: Literal["csv"]


class JsonView(FilesView, frozen=True, kw_only=True):
    """A view over JSON files."""

    function = "read_json"
    source: Literal["json"]
