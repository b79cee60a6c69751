"""Database files: their tables, and a name for a new one."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Container
from pathlib import Path

from duckalog.bookkeeping import ViewName, read_memory
from duckalog.config import catalog_name
from duckalog.engine.execution import at_file, closing
from duckalog.entry import MAIN_SCHEMA
from duckalog.errors import EngineError
from duckalog.init.catalog_file import read_catalog_file


def tables_of(file: str, kind: str) -> list[ViewName]:
    """Return the tables and views of a DuckDB or SQLite file; raises EngineError."""
    if kind == "sqlite":
        return _of_sqlite(file)
    stored = read_catalog_file(file)
    found = [(one.schema, one.name) for one in stored.objects if one.kind == "table"]
    return [*found, *((view.schema, view.name) for view in stored.views)]


def free_database(database: str, known: Container[str]) -> str:
    """Return a path for a new catalog: nothing known has its name, and no other file its place."""
    stem, ending = os.path.splitext(database)
    place, number = database, 1
    while catalog_name(place).lower() in known or (os.path.exists(place) and not _is_own(place)):
        number += 1
        place = f"{stem}_{number}{ending}"
    return place


def _is_own(file: str) -> bool:
    """Say whether a file is a catalog that duckalog built before."""
    import duckdb

    try:
        with closing(duckdb.connect(file, read_only=True)) as connection:
            return read_memory(connection, file).is_prepared
    except (duckdb.Error, EngineError):
        return False


def _of_sqlite(file: str) -> list[ViewName]:
    reason = ""
    try:
        uri = f"{Path(file).as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            rows = connection.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
                " AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name"
            ).fetchall()
    except sqlite3.Error as error:
        reason = str(error)
    if reason:
        raise at_file(file, f"SQLite cannot read it: {reason}")
    return [(MAIN_SCHEMA, name) for (name,) in rows]
