"""Schemas that builds made, and that nothing is in any more."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import empty_schemas, forget_schemas
from duckalog.engine.execution import execute
from duckalog.engine.refusals import all_or_nothing
from duckalog.statements import drop_schema


def drop_empty_schemas(connection: DuckDBPyConnection) -> None:
    """Drop the schemas that builds made and that nothing is in any more."""
    empty = empty_schemas(connection)
    if not empty:
        return
    with contextlib.suppress(duckdb.Error), all_or_nothing(connection):
        _drop_schemas(connection, empty)
        return
    # DuckDB refuses where a macro, a sequence or a type of the user's is in one of them.
    for schema in empty:
        with contextlib.suppress(duckdb.Error), all_or_nothing(connection):
            _drop_schemas(connection, [schema])


def _drop_schemas(connection: DuckDBPyConnection, schemas: Sequence[str]) -> None:
    for schema in schemas:
        execute(connection, drop_schema(schema))
    forget_schemas(connection, schemas)
