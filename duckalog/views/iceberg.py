"""Views over Iceberg tables: by the path of a table, or by catalog and name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from typing import Any, Literal

from duckalog.decode import Unfit
from duckalog.entry import Scan, View, check_options, extension_of, rendered_options
from duckalog.environment import is_unfilled
from duckalog.locations import Uri, is_remote
from duckalog.sql import (
    at_timestamp,
    at_version,
    literal,
    qualified,
    select_all,
    split_name,
    table_function,
)
from duckalog.views.pinned import PinnedIceberg

_SNAPSHOT_ID = "snapshot_id"
_SNAPSHOT_TIMESTAMP = "snapshot_timestamp"


class IcebergView(View, frozen=True, kw_only=True):
    """A view over an Iceberg table, now or at a snapshot.

    `options.snapshot_id` and `options.snapshot_timestamp` mean the same for
    both ways; the other options go to `iceberg_scan`, and so to paths only.
    With `pin` the view reads the snapshot that is current when it is built.
    """

    source: Literal["iceberg"]
    uri: Uri | None = None
    """The folder of a table, or one of its metadata files; not with `catalog`.
    Example: `s3://lake/orders/metadata/v2.metadata.json`"""
    catalog: str | None = None
    """The name of the Iceberg catalog that has the table. Example: `ice`"""
    table: str | None = None
    """The table in the catalog, its namespace first. Example: `analytics.orders`"""
    options: dict[str, Any] = {}
    """`snapshot_id` or `snapshot_timestamp`; with `uri` also the options of `iceberg_scan`.
    Example: `{snapshot_timestamp: "2026-01-31 00:00:00"}`"""
    pin: bool = False
    """Whether to stay with the snapshot of build time until the next build."""

    def __post_init__(self) -> None:
        check_options(self.options)
        if bool(self.uri) == bool(self.catalog or self.table):
            raise Unfit(
                'an iceberg view has either "uri", or "catalog" and "table"',
                "Keep one of the two ways.",
            )
        if not self.uri and not (self.catalog and self.table):
            missing = "table" if self.catalog else "catalog"
            raise Unfit(f'the key "{missing}" is missing', "A catalog's table needs both keys.")
        if self.table:
            self._table_parts()
        self._check_snapshot()

    def _check_snapshot(self) -> None:
        options = self.options
        if _SNAPSHOT_ID in options and _SNAPSHOT_TIMESTAMP in options:
            raise Unfit(
                f'"{_SNAPSHOT_ID}" and "{_SNAPSHOT_TIMESTAMP}" exclude each other',
                "Keep one of them.",
                ("options",),
            )
        stated = next((one for one in (_SNAPSHOT_ID, _SNAPSHOT_TIMESTAMP) if one in options), None)
        if self.pin and stated:
            raise Unfit(f'"pin" and "{stated}" exclude each other', "Keep one of them.", ("pin",))
        snapshot = options.get(_SNAPSHOT_ID)
        if snapshot is not None and _snapshot_number(snapshot) is None:
            if is_unfilled(snapshot):
                return
            raise Unfit("expected a whole number", "", ("options", _SNAPSHOT_ID))
        timestamp = options.get(_SNAPSHOT_TIMESTAMP)
        if timestamp is not None and not isinstance(timestamp, str):
            raise Unfit("expected a timestamp as text", "", ("options", _SNAPSHOT_TIMESTAMP))
        others = sorted(options.keys() - {_SNAPSHOT_ID, _SNAPSHOT_TIMESTAMP})
        if self.catalog and others:
            raise Unfit(
                f'"{others[0]}" is an option of iceberg_scan, and a catalog\'s table has none',
                f"Options here: {_SNAPSHOT_ID}, {_SNAPSHOT_TIMESTAMP}",
                ("options", others[0]),
            )

    def _table_parts(self) -> tuple[str, ...]:
        try:
            parts = split_name(self.table or "")
        except ValueError as error:
            raise Unfit(str(error), "", ("table",)) from None
        if len(parts) < 2:
            if is_unfilled(self.table):
                return parts
            raise Unfit(f'"{self.table}" has no namespace', "Write namespace.table", ("table",))
        return ".".join(parts[:-1]), parts[-1]

    def query(self) -> str:
        """Return the SELECT over the path, or over the attached catalog's table."""
        if self.catalog:
            snapshot = self.options.get(_SNAPSHOT_ID)
            timestamp = self.options.get(_SNAPSHOT_TIMESTAMP)
            at = ""
            if snapshot is not None:
                at = at_version(_snapshot_number(snapshot) or snapshot)
            elif timestamp is not None:
                at = at_timestamp(timestamp)
            return select_all(qualified(self.catalog, *self._table_parts()), at)
        options = self._scan_options()
        return select_all(table_function("iceberg_scan", literal(self.uri), options))

    def _scan_options(self) -> dict[str, str]:
        snapshot = self.options.get(_SNAPSHOT_ID)
        timestamp = self.options.get(_SNAPSHOT_TIMESTAMP)
        number = _snapshot_number(snapshot)
        options = rendered_options(
            {
                name: value
                for name, value in self.options.items()
                if name not in (_SNAPSHOT_ID, _SNAPSHOT_TIMESTAMP)
            }
        )
        if snapshot is not None:
            options["snapshot_from_id"] = literal(snapshot if number is None else number)
        if timestamp is not None:
            options["snapshot_from_timestamp"] = f"{literal(timestamp)}::TIMESTAMP"
        return options

    @property
    def locations(self) -> tuple[tuple[str, ...], ...]:
        """The table's URI, or its catalog and names."""
        if self.catalog:
            return ((self.catalog, *self._table_parts()),)
        return ((str(self.uri),),)

    @property
    def scan(self) -> Scan | None:
        """The table function over the path; every snapshot adds a file of metadata."""
        if self.uri is None:
            return None
        options = tuple(self._scan_options())
        if is_remote(self.uri):
            return Scan("iceberg_scan", options, True, uris=(self.uri,))
        path = glob.escape(self.uri)
        files = (path, os.path.join(path, "metadata", "*"))
        return Scan("iceberg_scan", options, False, files, (self.uri,))

    @property
    def pinned(self) -> PinnedIceberg | None:
        """The table whose snapshot to look up."""
        if not self.pin:
            return None
        if self.catalog:
            return PinnedIceberg(name=(self.catalog, *self._table_parts()))
        return PinnedIceberg(uri=self.uri or "", rendered=self._scan_options())

    @property
    def reads_from(self) -> str | None:
        """The catalog's name, where the view names one."""
        return self.catalog

    def extensions(self) -> Iterator[str]:
        """Yield `iceberg`, and what the URL needs."""
        if self.uri:
            yield from extension_of(self.uri)
        yield "iceberg"


def _snapshot_number(snapshot: object) -> int | None:
    """Return a snapshot id as a number; the environment can only give it as text."""
    if isinstance(snapshot, bool) or not isinstance(snapshot, int | str):
        return None
    try:
        return int(snapshot)
    except ValueError:
        return None
