"""A plan made so: opened, applied, published, and told as a report."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import NamedTuple

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import NOTHING, Column, Memory, ViewName, folded, learn, read_memory
from duckalog.engine.apply import ViewReport, apply_catalog
from duckalog.engine.execution import close, closing, execute
from duckalog.engine.publish import LOCK_TIMEOUT_S, file_to_build, open_catalog, open_file
from duckalog.engine.scratch import scratch_catalog
from duckalog.engine.session import apply_session
from duckalog.errors import ConfigError, EngineError, Origin, Problem
from duckalog.plan import Plan
from duckalog.sql import literal, set_option
from duckalog.version import __version__

logger = logging.getLogger("duckalog.engine")


class BuildReport(NamedTuple):
    """What a build did: each view in build order, then those that were removed."""

    database: str
    views: tuple[ViewReport, ...]
    seconds: float

    def count(self, action: str) -> int:
        """Return how many views an action befell."""
        return sum(view.action == action for view in self.views)


def build(
    plan: Plan,
    *,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
    prune: bool = True,
    adopt: bool = False,
) -> BuildReport:
    """Return the report of making the catalog file as the plan has it, all or nothing."""
    if plan.is_in_memory:
        message = "a catalog in memory would be gone when the build ends"
        remedy = "State duckdb.database, or pass --db-path; duckalog.connect() builds in memory."
        raise ConfigError(Problem(Origin(plan.file), message, remedy))
    start = time.perf_counter()
    with file_to_build(plan.database) as path:
        opened = open_file(path, shown_as=plan.database, lock_timeout_s=lock_timeout_s)
        with closing(opened) as connection:
            memory = read_memory(connection, plan.database)
            views = _build(connection, plan, memory, prune=prune, adopt=adopt)
        columns = _learn(path, lock_timeout_s)
    views = [
        view._replace(columns=columns.get(folded((view.schema, view.name)), ())) for view in views
    ]
    report = BuildReport(plan.database, tuple(views), time.perf_counter() - start)
    logger.info("built %s: %d views", plan.database, len(plan.views))
    return report


def _learn(path: str, lock_timeout_s: float) -> dict[ViewName, tuple[Column, ...]]:
    """Return the columns of the views just built, after writing down what DuckDB stored.

    The file is opened anew, because DuckDB words some views differently once
    it has read them back (1.5.5), and without attachments, because its catalog
    functions would ask each of them.
    """
    try:
        with closing(open_file(path, lock_timeout_s=lock_timeout_s)) as connection:
            return learn(connection)
    except (duckdb.Error, EngineError) as error:
        logger.warning("the catalog is built, but its bookkeeping is not complete: %s", error)
        return {}


def build_in_memory(plan: Plan) -> DuckDBPyConnection:
    """Return a connection to a catalog that lives as long as it does."""
    connection = duckdb.connect(":memory:")
    with _closed_on_error(connection):
        _build(connection, plan, NOTHING)
        execute(connection, set_option("python_enable_replacements", literal(True)))
    return connection


def try_out(plan: Plan) -> None:
    """Bind every view of a plan in a catalog that is thrown away.

    What stands in the catalog's file is there too, tables without their rows.
    Raises EngineError with all that failed.
    """
    with scratch_catalog(plan) as (connection, memory):
        _build(connection, plan, memory)


def open_session(plan: Plan, *, read_only: bool, lock_timeout_s: float) -> DuckDBPyConnection:
    """Return a connection to a built catalog, with the session half applied."""
    connection = open_catalog(plan.database, read_only=read_only, lock_timeout_s=lock_timeout_s)
    with _closed_on_error(connection):
        apply_session(connection, plan)
    return connection


def _build(
    connection: DuckDBPyConnection,
    plan: Plan,
    memory: Memory,
    *,
    prune: bool = True,
    adopt: bool = False,
) -> list[ViewReport]:
    # Without this, a view could silently read a variable of the program that builds it.
    execute(connection, set_option("python_enable_replacements", literal(False)))
    apply_session(connection, plan)
    return apply_catalog(connection, plan, memory, version=__version__, prune=prune, adopt=adopt)


@contextlib.contextmanager
def _closed_on_error(connection: DuckDBPyConnection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        close(connection)
        raise
