"""What a catalog file remembers of its own builds, in a schema of duckalog's own.

For each view the fingerprint of its config, a hash of what DuckDB stored, and
where it was stated. So a later build knows which views are its own, and which
of them somebody changed by hand. Columns are not in it: DuckDB keeps them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from duckalog.entry import BOOKKEEPING_SCHEMA
from duckalog.errors import EngineError, Origin, Problem, key_path
from duckalog.plan import ViewStep
from duckalog.sql import qualified
from duckalog.values import execute_with

if TYPE_CHECKING:
    import duckdb

FORMAT = 1
KEPT_BUILDS = 50

_VIEWS = qualified(BOOKKEEPING_SCHEMA, "views")
_FILES = qualified(BOOKKEEPING_SCHEMA, "pinned_files")
_BUILDS = qualified(BOOKKEEPING_SCHEMA, "builds")
_CATALOG = qualified(BOOKKEEPING_SCHEMA, "catalog")
_SCHEMAS = qualified(BOOKKEEPING_SCHEMA, "schemas")

_NAMES = """SELECT unnest(from_json($1, '["VARCHAR"]'))"""
_TEXT = "VARCHAR USING COMPRESSION uncompressed"
"""Finding the best compression takes DuckDB 1.5.5 longer than writing these rows as they are."""

ViewName = tuple[str, str]
"""A schema and a view, as DuckDB has them."""


class Remembered(NamedTuple):
    """A view that a build made: `definition_hash` is None where that build was cut off."""

    name: ViewName
    fingerprint: str
    definition_hash: str | None
    source_state: str | None = None
    query: str = ""


class Memory(NamedTuple):
    """What stands in a catalog file; the keys are lower case, as DuckDB compares names.

    `columns` are empty where no build was before.
    """

    remembered: dict[ViewName, Remembered]
    views: dict[ViewName, str]
    tables: frozenset[ViewName]
    columns: dict[ViewName, tuple[Column, ...]]
    is_prepared: bool
    schemas: frozenset[str] = frozenset()

    @property
    def gone(self) -> list[ViewName]:
        """The views that a build made and somebody dropped."""
        return [one.name for key, one in self.remembered.items() if key not in self.views]

    def is_own(self, name: ViewName) -> bool:
        """Say whether duckalog made the view that stands under `name`, and nobody changed it."""
        key = folded(name)
        remembered = self.remembered.get(key)
        if remembered is None or key not in self.views:
            return False
        return remembered.definition_hash in (None, self.views[key])


class File(NamedTuple):
    """A file of a pinned view, its bytes, and when it was last written in microseconds of Unix.

    Where a server does not say the latter, it is 0.
    """

    path: str
    size: int
    modified: int


NOTHING = Memory({}, {}, frozenset(), {}, is_prepared=False)
"""The memory of a catalog that is new."""


class Column(NamedTuple):
    """A column of a view, and its DuckDB type."""

    name: str
    type: str


class Built(NamedTuple):
    """How a view came to be: when (in UTC), from which line of which file, by which duckalog."""

    fingerprint: str
    stated_at: str
    built_at: datetime
    query: str
    catalog_built_by: str


def folded(name: ViewName) -> ViewName:
    """Return a name as DuckDB compares it."""
    return name[0].lower(), name[1].lower()


def read_memory(connection: duckdb.DuckDBPyConnection, file: str) -> Memory:
    """Return what stands in a catalog file; no other database may be attached.

    DuckDB's own functions ask every attached database, and so the network.
    Raises EngineError where a newer duckalog made the file.
    """
    relations = connection.execute(
        "SELECT schema_name, view_name, md5(sql), true FROM duckdb_views()"
        " WHERE NOT internal AND database_name = current_database()"
        " UNION ALL"
        " SELECT schema_name, table_name, '', false FROM duckdb_tables()"
        " WHERE NOT internal AND database_name = current_database()"
        " UNION ALL"
        " SELECT schema_name, NULL, NULL, NULL FROM duckdb_schemas()"
        " WHERE database_name = current_database()"
    ).fetchall()
    schemas = frozenset(schema.lower() for schema, name, _, _ in relations if name is None)
    views = {folded((schema, name)): found for schema, name, found, is_view in relations if is_view}
    tables = frozenset(
        folded((schema, name)) for schema, name, _, is_view in relations if is_view is False
    )
    if (BOOKKEEPING_SCHEMA, "catalog") not in tables:
        return Memory({}, views, tables, {}, is_prepared=False, schemas=schemas)
    (found,) = connection.execute(f"SELECT max(format) FROM {_CATALOG}").fetchone() or (FORMAT,)
    if found is not None and found > FORMAT:
        message = f"a newer duckalog built this catalog (format {found}, this one knows {FORMAT})"
        raise EngineError(Problem(Origin(file), message, "Upgrade duckalog."))
    rows = connection.execute(
        "SELECT schema_name, view_name, fingerprint, definition_hash, source_state, query"
        f" FROM {_VIEWS}"
    ).fetchall()
    remembered = {
        folded((schema, name)): Remembered((schema, name), *rest) for schema, name, *rest in rows
    }
    return Memory(remembered, views, tables, columns_in(connection), True, schemas)


def read_built(connection: duckdb.DuckDBPyConnection, file: str) -> dict[ViewName, Built]:
    """Return how each view that a build made came to be; none where no build was before.

    The keys are lower case, as in Memory. Raises EngineError as `read_memory` does.
    """
    if not read_memory(connection, file).is_prepared:
        return {}
    rows = connection.execute(
        "SELECT schema_name, view_name, fingerprint, stated_at, built_at, query,"
        f" (SELECT max(built_by) FROM {_CATALOG}) FROM {_VIEWS}"
    ).fetchall()
    return {folded((schema, name)): Built(*rest) for schema, name, *rest in rows}


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the bookkeeping's schema and tables, where they are missing."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {qualified(BOOKKEEPING_SCHEMA)}")
    connection.execute(f"CREATE TABLE IF NOT EXISTS {_CATALOG} (format INTEGER, built_by VARCHAR)")
    connection.execute(f"CREATE TABLE IF NOT EXISTS {_SCHEMAS} (schema_name VARCHAR)")
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {_VIEWS} ("
        f"schema_name {_TEXT}, view_name {_TEXT}, fingerprint {_TEXT}, definition_hash {_TEXT},"
        f" source_state {_TEXT}, query {_TEXT}, stated_at {_TEXT}, built_at TIMESTAMP)"
    )
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {_FILES} (schema_name VARCHAR, view_name VARCHAR,"
        " path VARCHAR, size BIGINT, modified BIGINT, kind VARCHAR)"
    )


def forget(connection: duckdb.DuckDBPyConnection, names: Iterable[ViewName]) -> None:
    """Take views out of the memory, whether or not they are in it."""
    names = list(names)
    for table in (_VIEWS, _FILES) if names else ():
        execute_with(connection, f"DELETE FROM {table} WHERE {_is_named()}", [_as_json(names)])


def remember_schemas(connection: duckdb.DuckDBPyConnection, schemas: Sequence[str]) -> None:
    """Write down that a build makes schemas, which it may drop again."""
    if schemas:
        names = json.dumps(schemas)
        execute_with(connection, f"INSERT INTO {_SCHEMAS} {_NAMES}", [names])


def forget_schemas(connection: duckdb.DuckDBPyConnection, schemas: Sequence[str]) -> None:
    """Take schemas out of the memory."""
    execute_with(
        connection,
        f"DELETE FROM {_SCHEMAS} WHERE schema_name IN ({_NAMES})",
        [json.dumps(schemas)],
    )


def empty_schemas(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the schemas that builds made and that have no view or table, if they still exist.

    No other database may be attached (see `read_memory`).
    """
    in_use = " UNION ALL ".join(
        f"SELECT lower(schema_name) FROM {relations} WHERE database_name = current_database()"
        for relations in ("duckdb_views()", "duckdb_tables()")
    )
    rows = connection.execute(
        f"SELECT schema_name FROM {_SCHEMAS} WHERE lower(schema_name) NOT IN ({in_use})"
    ).fetchall()
    return [name for (name,) in rows]


def remember_files(
    connection: duckdb.DuckDBPyConnection,
    name: ViewName,
    files: Sequence[File],
    kinds: Mapping[str, str],
) -> None:
    """Write down the files of a pinned view, which has none remembered, and their kinds."""
    if not files:
        return
    places = {kind: place for place, kind in enumerate(dict.fromkeys(kinds.values()))}
    rows = json.dumps(
        [{**file._asdict(), "kind": places.get(kinds.get(file.path, ""))} for file in files]
    )
    connection.execute(
        f"INSERT INTO {_FILES} SELECT $2, $3, row.path, row.size::BIGINT, row.modified::BIGINT,"
        " ($4::JSON::VARCHAR[])[row.kind::INTEGER + 1]"
        f" FROM ({_unnested('path', 'size', 'modified', 'kind')})",
        [rows, *name, json.dumps([*places])],
    )


def remembered_files(
    connection: duckdb.DuckDBPyConnection, memory: Memory, name: ViewName
) -> dict[File, str | None]:
    """Return the files that a pinned view was built over, and their kinds; none if it was not.

    The kind of a file is how it is read, which the engine compares.
    """
    if (BOOKKEEPING_SCHEMA, "pinned_files") not in memory.tables:
        return {}
    rows = execute_with(
        connection,
        f"SELECT path, size, modified, kind FROM {_FILES}"
        " WHERE lower(schema_name) = $1 AND lower(view_name) = $2",
        folded(name),
    ).fetchall()
    return {File(*file): kind for *file, kind in rows}


def remember(
    connection: duckdb.DuckDBPyConnection,
    steps: Sequence[ViewStep],
    states: Mapping[str, str | None],
    version: str,
) -> None:
    """Write down the views that a build makes, each with the state of its source.

    Those that are remembered already are forgotten before. What DuckDB stored
    is learned by `learn`.
    """
    connection.execute(f"DELETE FROM {_CATALOG}")
    execute_with(connection, f"INSERT INTO {_CATALOG} VALUES ($1, $2)", [FORMAT, version])
    built_at = datetime.now(timezone.utc).replace(tzinfo=None).isoformat()
    rows = [
        {
            "schema": step.schema,
            "view": step.view,
            "fingerprint": step.fingerprint,
            "source_state": states[step.key],
            "query": step.query,
            "stated_at": _place(step.origin),
            "built_at": built_at,
        }
        for step in steps
    ]
    if rows:
        execute_with(
            connection,
            f"INSERT INTO {_VIEWS} SELECT row.schema, row.view, row.fingerprint, NULL,"
            " row.source_state, row.query, row.stated_at, row.built_at::TIMESTAMP"
            f" FROM ({_unnested(*rows[0])})",
            [json.dumps(rows)],
        )


def unsettle(connection: duckdb.DuckDBPyConnection, names: Iterable[ViewName]) -> None:
    """Have the next build make views again: this one changes what they read, but not them."""
    if names := list(names):
        statement = f"UPDATE {_VIEWS} SET source_state = NULL WHERE {_is_named()}"
        execute_with(connection, statement, [_as_json(names)])


def remember_report(connection: duckdb.DuckDBPyConnection, build_id: str, report: str) -> None:
    """Write down the report of a build that has an id; those of long ago are forgotten."""
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {_BUILDS}"
        " (build_id VARCHAR, report VARCHAR, built_at TIMESTAMP)"
    )
    connection.execute(
        f"DELETE FROM {_BUILDS} WHERE build_id NOT IN (SELECT build_id FROM {_BUILDS}"
        f" ORDER BY built_at DESC LIMIT {KEPT_BUILDS - 1})"
    )
    built_at = datetime.now(timezone.utc).replace(tzinfo=None).isoformat()
    row = [build_id, report, built_at]
    execute_with(connection, f"INSERT INTO {_BUILDS} VALUES ($1, $2, $3)", row)


def remembered_report(connection: duckdb.DuckDBPyConnection, build_id: str) -> str | None:
    """Return the report of the build that has an id, None where there was none."""
    is_there = execute_with(
        connection,
        "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database()"
        " AND schema_name = $1 AND table_name = 'builds'",
        [BOOKKEEPING_SCHEMA],
    ).fetchone()
    if not is_there:
        return None
    query = f"SELECT report FROM {_BUILDS} WHERE build_id = $1"
    found = execute_with(connection, query, [build_id]).fetchone()
    return str(found[0]) if found else None


def _place(origin: Origin) -> str:
    """Return where a view is stated, the same whatever the folder and the working directory."""
    return f"{os.path.basename(origin.file)}:{origin.line}: {key_path(origin.path)}"


def _unnested(*fields: str) -> str:
    """Return the query of rows that are given as one JSON text."""
    struct = ", ".join(f"{field} VARCHAR" for field in fields)
    return f"SELECT unnest($1::JSON::STRUCT({struct})[]) AS row"


def _is_named() -> str:
    """Return the condition that a row is of one of the views that `_as_json` gives."""
    given = f"SELECT (row.schema, row.view) FROM ({_unnested('schema', 'view')})"
    return f"(lower(schema_name), lower(view_name)) IN ({given})"


def _as_json(names: Iterable[ViewName]) -> str:
    return json.dumps([{"schema": schema, "view": view} for schema, view in map(folded, names)])


def learn(connection: duckdb.DuckDBPyConnection) -> dict[ViewName, tuple[Column, ...]]:
    """Write down what DuckDB stored of each view just built; return each relation's columns.

    The keys are lower case, as in Memory. Other views keep the hash they have:
    it tells whether they were changed since. No other database may be attached
    (see `read_memory`).
    """
    connection.execute(
        f"UPDATE {_VIEWS} AS own SET definition_hash = md5(found.sql) FROM duckdb_views() AS found"
        " WHERE own.definition_hash IS NULL AND found.database_name = current_database()"
        " AND lower(found.schema_name) = lower(own.schema_name)"
        " AND lower(found.view_name) = lower(own.view_name)"
    )
    return columns_in(connection)


def columns_in(connection: duckdb.DuckDBPyConnection) -> dict[ViewName, tuple[Column, ...]]:
    """Return the columns of each relation of the catalog; no other database may be attached."""
    rows = connection.execute(
        "SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns()"
        " WHERE NOT internal AND database_name = current_database()"
        " ORDER BY schema_oid, table_oid, column_index"
    ).fetchall()
    return {
        folded((schema, relation)): tuple(Column(name, kind) for _, _, name, kind in found)
        for (schema, relation), found in groupby(rows, key=lambda row: row[:2])
    }
