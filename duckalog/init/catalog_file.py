"""What stands in a DuckDB file: its views, and what views may lean on."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from duckalog.bookkeeping import ViewName, folded
from duckalog.config import catalog_name
from duckalog.engine.execution import at_file, closing, execute
from duckalog.engine.inventory import CommentedColumn, commented_columns
from duckalog.engine.opening import open_catalog
from duckalog.entry import BOOKKEEPING_SCHEMA, MAIN_SCHEMA
from duckalog.errors import shown_view
from duckalog.sql import enum, literal, qualified, split_name
from duckalog.statements import attach, copy_schema, drop_view, export_database

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LOCK_TIMEOUT_S = 10.0


class StoredView(NamedTuple):
    """A view as the file has it: `aliases` name its columns, and `query` is None if unreadable."""

    schema: str
    name: str
    query: str | None
    aliases: tuple[str, ...]
    comment: str | None
    columns: tuple[CommentedColumn, ...]

    @property
    def key(self) -> ViewName:
        """The name as DuckDB compares it."""
        return folded((self.schema, self.name))

    @property
    def shown(self) -> str:
        """The name as people say it."""
        return shown_view(self.schema, self.name)


class StoredObject(NamedTuple):
    """Something else that the file has; `sql` is how to make it, where that is known."""

    kind: str
    schema: str
    name: str
    sql: str = ""
    rows: int = 0

    @property
    def shown(self) -> str:
        """The kind and the name as people say it."""
        return f'{self.kind} "{shown_view(self.schema, self.name)}"'


class StoredCatalog(NamedTuple):
    """A DuckDB file: `name` is what DuckDB calls it, and its own names use."""

    file: str
    name: str
    schemas: tuple[str, ...]
    views: tuple[StoredView, ...]
    objects: tuple[StoredObject, ...]


def read_catalog_file(file: str) -> StoredCatalog:
    """Return what stands in a DuckDB file, which is opened read-only; no source is asked.

    Raises EngineError where it cannot be read.
    """
    import duckdb

    file = os.path.abspath(file)
    if not os.path.exists(file):
        raise at_file(file, "there is no such file")
    reason = ""
    with closing(open_catalog(file, read_only=True, lock_timeout_s=LOCK_TIMEOUT_S)) as connection:
        try:
            stored = _read(connection, file)
        except duckdb.Error as error:
            reason = str(error)
    if reason:
        raise at_file(file, "DuckDB cannot tell what stands in it", cause=reason)
    if not any(one.kind in ("macro", "type") and not one.sql for one in stored.objects):
        return stored
    known = _definitions(stored)
    return stored._replace(
        objects=tuple(
            one._replace(sql=one.sql or known.get((one.kind, *folded((one.schema, one.name))), ""))
            for one in stored.objects
        )
    )


_OWN = "NOT internal AND database_name = current_database()"


def _read(connection: DuckDBPyConnection, file: str) -> StoredCatalog:
    columns = commented_columns(connection)
    views = [
        _view(schema, name, sql, comment, columns.get((schema, name), ()))
        for schema, name, sql, comment in connection.execute(
            f"SELECT schema_name, view_name, sql, comment FROM duckdb_views() WHERE {_OWN}"
            " AND NOT temporary ORDER BY view_oid"
        ).fetchall()
        if schema != BOOKKEEPING_SCHEMA
    ]
    schemas = connection.execute(
        f"SELECT schema_name FROM duckdb_schemas() WHERE {_OWN} ORDER BY oid"
    ).fetchall()
    objects = [one for one in _objects(connection) if one.schema != BOOKKEEPING_SCHEMA]
    return StoredCatalog(
        file=file,
        name=catalog_name(file),
        schemas=tuple(name for (name,) in schemas if name not in (MAIN_SCHEMA, BOOKKEEPING_SCHEMA)),
        views=tuple(views),
        objects=tuple(objects),
    )


def _objects(connection: DuckDBPyConnection) -> list[StoredObject]:
    found = [
        StoredObject("table", schema, name, rows=rows or 0)
        for schema, name, rows in connection.execute(
            f"SELECT schema_name, table_name, estimated_size FROM duckdb_tables() WHERE {_OWN}"
            " AND NOT temporary ORDER BY table_oid"
        ).fetchall()
    ]
    found += [
        StoredObject("sequence", schema, name)
        for schema, name in connection.execute(
            "SELECT schema_name, sequence_name FROM duckdb_sequences()"
            " WHERE database_name = current_database() ORDER BY ALL"
        ).fetchall()
    ]
    found += [
        StoredObject("index", schema, name)
        for schema, name in connection.execute(
            "SELECT schema_name, index_name FROM duckdb_indexes()"
            " WHERE database_name = current_database() ORDER BY ALL"
        ).fetchall()
    ]
    macros = connection.execute(
        f"SELECT DISTINCT schema_name, function_name FROM duckdb_functions() WHERE {_OWN}"
        " AND function_type LIKE '%macro' ORDER BY ALL"
    ).fetchall()
    types = connection.execute(
        f"SELECT schema_name, type_name, labels FROM duckdb_types() WHERE {_OWN} ORDER BY type_oid"
    ).fetchall()
    found += [StoredObject("macro", schema, name) for schema, name in macros]
    return found + [
        StoredObject("type", schema, name, enum(labels) if labels else "")
        for schema, name, labels in types
    ]


_COPY = "_duckalog_copy"
_DEFINITION = re.compile(r"\s*CREATE\s+(TYPE|MACRO)\s+", re.IGNORECASE)
_NAME = re.compile(r'(?:"(?:[^"]|"")+"|[^\s".,;()]+)(?:\.(?:"(?:[^"]|"")+"|[^\s".,;()]+))*')


def _definitions(stored: StoredCatalog) -> dict[tuple[str, str, str], str]:
    """Return what makes each macro and type, by kind and name.

    `duckdb_functions()` does not tell the defaults of parameters (1.4 to 2.0);
    EXPORT of a copy without rows and views does.
    """
    import duckdb

    with (
        tempfile.TemporaryDirectory(prefix="duckalog-") as folder,
        closing(duckdb.connect(":memory:")) as connection,
    ):
        try:
            execute(connection, attach(literal(stored.file), stored.name, {}, read_only=True))
            execute(connection, attach(literal(":memory:"), _COPY, {}, read_only=False))
            execute(connection, copy_schema(stored.name, _COPY))
            for view in stored.views:
                execute(connection, drop_view(qualified(_COPY, view.schema, view.name)))
            execute(connection, export_database(_COPY, folder))
            script = Path(folder, "schema.sql").read_text(encoding="utf-8")
            texts = [one for one in _CREATE.split(script) if _is_whole(connection, one)]
        except (duckdb.Error, OSError):
            return {}
    found: dict[tuple[str, str, str], str] = {}
    for text in texts:
        kind = _DEFINITION.match(text)
        name = _NAME.match(text, kind.end()) if kind else None
        if kind and name:
            parts = split_name(name.group())
            schema, own = parts if len(parts) == 2 else (MAIN_SCHEMA, parts[-1])
            key = (kind[1].lower(), *folded((schema, own)))
            found[key] = text[name.end() :].strip("; \n")
    return found


_CREATE = re.compile(r"^(?=CREATE )", re.MULTILINE)


def _is_whole(connection: DuckDBPyConnection, text: str) -> bool:
    """Say whether DuckDB reads what it wrote: it forgets some quotes (1.4 to 2.0)."""
    import duckdb

    try:
        return bool(connection.extract_statements(text))
    except duckdb.Error:
        return False


_VIEW = re.compile(
    r"CREATE (?:OR REPLACE )?(?:TEMP(?:ORARY)? )?(?:RECURSIVE )?VIEW (?:IF NOT EXISTS )?",
    re.IGNORECASE,
)
_ALIASES = re.compile(r'\s*\(((?:"(?:[^"]|"")+"|[^"()])*)\)')
_ALIAS = re.compile(r'"((?:[^"]|"")+)"|([^\s",]+)')
_AS = re.compile(r"\s*(?:WITH\s*\([^()]*\)\s*)?AS\s*", re.IGNORECASE)


def _view(
    schema: str, name: str, sql: str, comment: str | None, columns: tuple[CommentedColumn, ...]
) -> StoredView:
    """Return a view, its query being what DuckDB wrote behind the names."""
    query, aliases = None, ()
    start = _VIEW.match(sql or "")
    named = _NAME.match(sql, start.end()) if start else None
    if named:
        listed = _ALIASES.match(sql, named.end())
        begin = _AS.match(sql, listed.end() if listed else named.end())
        if begin:
            query = sql[begin.end() :].strip().removesuffix(";")
            aliases = tuple(
                quoted.replace('""', '"') if quoted else plain
                for quoted, plain in _ALIAS.findall(listed[1] if listed else "")
            )
    return StoredView(schema, name, query, aliases, comment, columns)
