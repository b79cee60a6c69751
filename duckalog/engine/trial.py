"""The views of a plan bound in a catalog that is thrown away."""

from __future__ import annotations

from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import Memory, folded
from duckalog.changes import drift
from duckalog.engine.making import BuildOptions, make
from duckalog.engine.progress import Progress, untold
from duckalog.engine.reports import ViewReport, key_of
from duckalog.engine.scratch import scratch_catalog, stored_columns
from duckalog.errors import Problem
from duckalog.plan import Plan


def try_out(plan: Plan, progress: Progress = untold) -> None:
    """Bind every view of a plan in a catalog that is thrown away.

    What stands in the catalog's file is there too, tables without their rows.
    Raises EngineError with all that failed.
    """
    with scratch_catalog(plan) as (connection, memory):
        bind_all(connection, plan, memory, progress)


def bind_all(
    connection: DuckDBPyConnection, plan: Plan, memory: Memory, progress: Progress = untold
) -> list[ViewReport]:
    """Bind every view of a plan in a scratch catalog; raises EngineError with all that failed."""
    return make(connection, plan, memory, BuildOptions(refresh=True, progress=progress)).views


def drift_of_sources(
    plan: Plan, progress: Progress = untold
) -> tuple[dict[str, tuple[str, ...]], dict[str, Problem]]:
    """Return how the columns of views that did not change differ now, by the steps' keys.

    Every source is asked. Why views and databases fail comes second, by the steps' keys too.
    Raises EngineError where the session cannot be made.
    """
    with scratch_catalog(plan) as (connection, memory):
        options = BuildOptions(refresh=True, adopt=True, keep_going=True, progress=progress)
        done = make(connection, plan, memory, options)
        columns = stored_columns(connection, plan)
    found: dict[str, tuple[str, ...]] = {}
    for step, view in zip(plan.views, done.views, strict=False):
        name = folded((step.schema, step.view))
        changes = drift(memory.columns.get(name, ()), columns.get(name, ()))
        if view.action == "unchanged" and changes:
            found[step.key] = changes
    problems = {one.key: one.problem for one in done.databases if one.problem}
    return found, problems | {key_of(view): view.problem for view in done.views if view.problem}
