"""A catalog to try a plan in, which leaves no trace."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import NOTHING, Column, Memory, ViewName, columns_in, read_memory
from duckalog.engine.execution import at_file, closing, execute
from duckalog.engine.opening import LOCK_TIMEOUT_S, open_catalog
from duckalog.plan import DatabaseStep, Plan
from duckalog.sql import literal
from duckalog.statements import attach, copy_schema, detach

_SCRATCH = "_duckalog_scratch"


@contextlib.contextmanager
def scratch_catalog(plan: Plan) -> Iterator[tuple[DuckDBPyConnection, Memory]]:
    """Yield a connection to a copy of the plan's catalog without rows, and what it remembers.

    The copy is a file of the same name in a temporary folder, because queries
    may name their own catalog. It is gone when the block ends.
    """
    if plan.is_in_memory:
        with closing(duckdb.connect(":memory:")) as connection:
            yield connection, NOTHING
        return
    with tempfile.TemporaryDirectory(prefix="duckalog-", ignore_cleanup_errors=True) as folder:
        file = os.path.join(folder, os.path.basename(os.path.realpath(plan.database)))
        memory = _copy(plan, file) if os.path.isfile(plan.database) else NOTHING
        with closing(duckdb.connect(file)) as connection:
            yield connection, memory


def stored_columns(
    connection: DuckDBPyConnection, plan: Plan
) -> dict[ViewName, tuple[Column, ...]]:
    """Return the columns of each relation of a scratch catalog, whose databases are detached.

    To describe a view would ask its source once more, and DuckDB's catalog
    functions ask every attached database.
    """
    for step in plan.session:
        if isinstance(step, DatabaseStep):
            with contextlib.suppress(duckdb.Error):  # it could not be attached
                execute(connection, detach(step.name))
    return columns_in(connection)


def _copy(plan: Plan, file: str) -> Memory:
    """Copy what stands in the plan's catalog to a new file, and return what it remembers."""
    opened = open_catalog(plan.database, read_only=True, lock_timeout_s=LOCK_TIMEOUT_S)
    with closing(opened) as source:
        memory = read_memory(source, plan.database)
        try:
            execute(source, attach(literal(file), _SCRATCH, {}, read_only=False))
            execute(source, copy_schema(plan.catalog_name, _SCRATCH))
            execute(source, detach(_SCRATCH))
            return memory
        except duckdb.Error as error:
            cause = str(error)
    raise at_file(plan.database, "DuckDB cannot copy what stands in the catalog", cause=cause)
