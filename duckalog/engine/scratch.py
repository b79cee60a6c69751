"""A catalog to try views in, which leaves no trace."""

from __future__ import annotations

import contextlib
import logging
import os

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import folded, read_memory
from duckalog.engine.execution import execute
from duckalog.engine.publish import LOCK_TIMEOUT_S, open_catalog
from duckalog.entry import BOOKKEEPING_SCHEMA
from duckalog.plan import Plan
from duckalog.sql import create_empty_table, create_schema, identifier, qualified, statement, use

logger = logging.getLogger("duckalog.engine")


def scratch_catalog(plan: Plan) -> DuckDBPyConnection:
    """Return a connection to a catalog in memory, under the name of the plan's.

    The tables and views that a user made in the catalog's file are there too:
    the tables empty, the views where they can be made.
    """
    connection = duckdb.connect(":memory:")
    if plan.is_in_memory:
        return connection
    # In memory, but called as the file is: queries may name their own catalog.
    execute(connection, statement(f"ATTACH ':memory:' AS {identifier(plan.catalog_name)}"))
    execute(connection, use(plan.catalog_name, "main"))
    if os.path.exists(plan.database):
        _copy_what_users_made(plan, connection)
    return connection


def _copy_what_users_made(plan: Plan, target: DuckDBPyConnection) -> None:
    planned = {folded((step.schema, step.view)) for step in plan.views}
    with open_catalog(plan.database, read_only=True, lock_timeout_s=LOCK_TIMEOUT_S) as source:
        memory = read_memory(source, plan.database)
        tables = source.execute(
            "SELECT schema_name, table_name, list(column_name ORDER BY column_index),"
            " list(data_type ORDER BY column_index) FROM duckdb_columns()"
            " SEMI JOIN duckdb_tables() USING (database_name, schema_name, table_name)"
            " WHERE NOT internal AND database_name = current_database() AND schema_name <> $1"
            " GROUP BY ALL",
            [BOOKKEEPING_SCHEMA],
        ).fetchall()
        views = source.execute(
            "SELECT schema_name, view_name, sql FROM duckdb_views()"
            " WHERE NOT internal AND database_name = current_database() ORDER BY view_oid"
        ).fetchall()
    for schema, table, names, types in tables:
        execute(target, create_schema(schema))
        columns = dict(zip(names, types, strict=True))
        execute(target, create_empty_table(qualified(schema, table), columns))
    for schema, view, sql in views:
        key = folded((schema, view))
        if key not in planned and key not in memory.remembered:
            execute(target, create_schema(schema))
            with contextlib.suppress(duckdb.Error):
                target.execute(sql)
