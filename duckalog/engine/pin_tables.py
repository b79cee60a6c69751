"""The version of a Delta table and the snapshot of an Iceberg table that are current."""

from __future__ import annotations

import glob
import re

from duckdb import DuckDBPyConnection

from duckalog.engine.versions import READS_DELTA_VERSIONS
from duckalog.locations import is_remote
from duckalog.values import execute_with
from duckalog.views.pinned import PinnedDelta, PinnedIceberg, Unpinnable

_COMMIT = re.compile(r"(\d{20})\.(?:json|checkpoint\..*parquet)\Z")
_OF_SNAPSHOTS = ("version", "version_name_format", "metadata_compression_codec")
_OF_METADATA = (*_OF_SNAPSHOTS, "allow_moved_paths")


def current_version(cursor: DuckDBPyConnection, pin: PinnedDelta) -> int:
    """Return the last version of a Delta table: the highest number in its log."""
    if not READS_DELTA_VERSIONS:
        raise Unpinnable(
            "DuckDB 1.4 cannot read a Delta table at a version", "Upgrade DuckDB, or take pin away."
        )
    uri = pin.uri.rstrip("/")
    log = f"{uri if is_remote(uri) else glob.escape(uri)}/_delta_log/*"
    found = execute_with(cursor, "SELECT file FROM glob($1)", [log]).fetchall()
    versions = [int(match[1]) for (file,) in found if (match := _COMMIT.search(file))]
    if not versions:
        raise Unpinnable(f'"{pin.uri}" is not a Delta table: it has no log')
    return max(versions)


def current_snapshot(cursor: DuckDBPyConnection, pin: PinnedIceberg) -> int:
    """Return the snapshot of an Iceberg table that its readers get now.

    Usually the last one; after a rollback an earlier one, so it is told by the
    files that it holds.
    """
    snapshots = cursor.execute(
        f"SELECT snapshot_id FROM {pin.metadata('iceberg_snapshots', _OF_SNAPSHOTS)}"
        " ORDER BY sequence_number DESC, timestamp_ms DESC"
    ).fetchall()
    if not snapshots:
        raise Unpinnable("the table has no snapshot yet")
    now = _manifests(cursor, pin)
    for (snapshot,) in snapshots:
        if _manifests(cursor, pin, snapshot_from_id=str(snapshot)) == now:
            return int(snapshot)
    raise Unpinnable("its current snapshot is none of those it lists")


def _manifests(
    cursor: DuckDBPyConnection, pin: PinnedIceberg, **at: str
) -> list[tuple[object, ...]]:
    call = pin.metadata("iceberg_metadata", _OF_METADATA, **at)
    return cursor.execute(f"SELECT DISTINCT manifest_path FROM {call} ORDER BY 1").fetchall()
