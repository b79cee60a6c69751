"""Attached DuckLakes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal

import msgspec

from duckalog.decode import Unfit
from duckalog.entry import Attachment, extension_of, located
from duckalog.locations import LocalPath, Uri
from duckalog.sql import Bound, Spliced, Statement, identifier, literal
from duckalog.statements import attach


class DucklakeAttachment(Attachment, frozen=True, kw_only=True):
    """A DuckLake, its metadata in a DuckDB or SQLite file or in PostgreSQL.

    `metadata: postgres` takes the name of a declared Postgres `secret`; the
    others take a `path`. `snapshot_version` or `snapshot_time` reads the past.
    """

    kind = "ducklake"

    metadata: Literal["duckdb", "sqlite", "postgres"] = "duckdb"
    """Where the lake keeps its metadata."""
    path: LocalPath | None = None
    """The file of the metadata, where it is in DuckDB or SQLite.
    Example: `lake/metadata.ducklake`"""
    secret_name: str | None = msgspec.field(default=None, name="secret")
    """The name of the `postgres` secret under `duckdb.secrets`, where the metadata is there.
    Example: `lake_metadata`"""
    data_path: Uri | None = None
    """The folder of the data files; needed where the lake does not exist yet.
    Example: `s3://lake/data/`"""
    metadata_schema: str | None = None
    """The schema of the metadata's tables, where it is not the default one.
    Example: `sales_lake`"""
    snapshot_version: int | None = None
    """Read the lake as it was at this snapshot. Example: `12`"""
    snapshot_time: str | None = None
    """Read the lake as it was at this time. Example: `2026-01-31 00:00:00`"""

    def __post_init__(self) -> None:
        needed = "secret" if self.metadata == "postgres" else "path"
        stated = {"secret": self.secret_name, "path": self.path}
        if not stated.pop(needed):
            raise Unfit(f'the key "{needed}" is missing', f"Metadata in {self.metadata} needs it.")
        other, value = stated.popitem()
        if value:
            raise Unfit(f'"{other}" does not go with metadata in {self.metadata}', "", (other,))
        scheme = os.path.basename(self.path or "").partition(":")
        if scheme[1] and scheme[0] in ("postgres", "mysql", "sqlite", "duckdb", "ducklake"):
            raise Unfit(
                f'the path is that of a file, without "{scheme[0]}:"',
                "Metadata in PostgreSQL: write metadata: postgres, and secret with the name of a"
                " postgres secret under duckdb.secrets.",
                ("path",),
            )
        if self.snapshot_version is not None and self.snapshot_time is not None:
            raise Unfit('"snapshot_version" and "snapshot_time" exclude each other')

    def extensions(self) -> Iterator[str]:
        """Yield `ducklake`, and what its metadata and data need."""
        if self.metadata == "sqlite":
            yield "sqlite_scanner"
        if self.metadata == "postgres":
            yield "postgres_scanner"
        if self.data_path:
            yield from extension_of(self.data_path)
        yield "ducklake"

    def attach(self) -> Statement:
        """Return the ATTACH statement."""
        options: dict[str, str | Bound | Spliced] = {}
        if self.data_path:
            options["data_path"] = located(self.data_path)
        if self.metadata_schema:
            options["metadata_schema"] = literal(self.metadata_schema)
        if self.secret_name:
            options["meta_secret"] = identifier(self.secret_name)
        if self.snapshot_version is not None:
            options["snapshot_version"] = str(self.snapshot_version)
        if self.snapshot_time is not None:
            options["snapshot_time"] = literal(self.snapshot_time)
        prefix = "" if self.metadata == "duckdb" else f"{self.metadata}:"
        target = literal(f"ducklake:{prefix}{self.path or ''}")
        return attach(target, self.alias, options, read_only=self.read_only)

    @property
    def file(self) -> str | None:
        """The metadata's file, where it is one."""
        return self.path

    @property
    def uses_secret(self) -> str | None:
        """The name of the declared Postgres secret, if the metadata is there."""
        return self.secret_name
