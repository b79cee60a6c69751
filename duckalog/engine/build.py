"""A plan made so: opened, applied, published, and told as a report."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import NOTHING, Column, Memory, ViewName, folded, learn, read_memory
from duckalog.changes import Diff, diff, drift
from duckalog.engine.apply import ViewReport, apply_catalog
from duckalog.engine.execution import close, closing, execute
from duckalog.engine.pin import find_sources, pin_views, sources_of, with_file_changes
from duckalog.engine.probe import JOBS, probe
from duckalog.engine.publish import LOCK_TIMEOUT_S, file_to_build, open_catalog, open_file
from duckalog.engine.scratch import scratch_catalog
from duckalog.engine.session import apply_session
from duckalog.engine.source_state import states_of
from duckalog.errors import ConfigError, EngineError, Origin, Problem
from duckalog.plan import Plan
from duckalog.sql import literal, set_option

logger = logging.getLogger("duckalog.engine")


class BuildReport(NamedTuple):
    """What a build did: each view in build order, then those that were removed."""

    database: str
    views: tuple[ViewReport, ...]
    seconds: float

    def count(self, action: str) -> int:
        """Return how many views an action befell."""
        return sum(view.action == action for view in self.views)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What failed in a build that was told to keep going."""
        return tuple(view.problem for view in self.views if view.problem)


class BuildOptions(NamedTuple):
    """How to build.

    `prune` drops views that left the config, `adopt` takes over views made by
    hand, `refresh` leaves no view alone, `keep_going` builds what can be built,
    and `jobs` remote sources are asked at a time.
    """

    prune: bool = True
    adopt: bool = False
    refresh: bool = False
    keep_going: bool = False
    jobs: int = JOBS
    lock_timeout_s: float = LOCK_TIMEOUT_S


DEFAULTS = BuildOptions()


def build(plan: Plan, options: BuildOptions = DEFAULTS) -> BuildReport:
    """Return the report of making the catalog file as the plan has it, all or nothing."""
    if plan.is_in_memory:
        message = "a catalog in memory would be gone when the build ends"
        remedy = "State duckdb.database, or pass --db-path; duckalog.connect() builds in memory."
        raise ConfigError(Problem(Origin(plan.file), message, remedy))
    start = time.perf_counter()
    with file_to_build(plan.database) as path:
        opened = open_file(path, shown_as=plan.database, lock_timeout_s=options.lock_timeout_s)
        with closing(opened) as connection:
            memory = read_memory(connection, plan.database)
            with _saying_that_nothing_changed():
                views = _build(connection, plan, memory, options)
        columns = memory.columns
        if any(view.action != "unchanged" or view.seconds for view in views):
            columns = _learn(path, options.lock_timeout_s)
    views = [_with_columns(view, memory.columns, columns) for view in views]
    report = BuildReport(plan.database, tuple(views), time.perf_counter() - start)
    logger.info("built %s: %d views", plan.database, len(plan.views))
    return report


@contextlib.contextmanager
def _saying_that_nothing_changed() -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        problems = [
            one._replace(remedy=f"{one.remedy}\nThe catalog was left as it was.".lstrip())
            for one in error.problems
        ]
    else:
        return
    raise EngineError(problems)


def _with_columns(
    view: ViewReport,
    before: dict[ViewName, tuple[Column, ...]],
    after: dict[ViewName, tuple[Column, ...]],
) -> ViewReport:
    """Return a view's report with its columns, and how they differ from the last build's."""
    if view.action in ("removed", "failed"):
        return view
    key = folded((view.schema, view.name))
    columns = after.get(key, ())
    found = drift(before.get(key, ()), columns) if view.action == "unchanged" and columns else ()
    for change in found:
        logger.warning('the source of "%s.%s" changed: %s', view.schema, view.name, change)
    return view._replace(columns=columns, drift=found, action="replaced" if found else view.action)


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
        _build(connection, plan, NOTHING, DEFAULTS)
        execute(connection, set_option("python_enable_replacements", literal(True)))
    return connection


def try_out(plan: Plan) -> None:
    """Bind every view of a plan in a catalog that is thrown away.

    What stands in the catalog's file is there too, tables without their rows.
    Raises EngineError with all that failed.
    """
    with scratch_catalog(plan) as (connection, memory):
        bind_all(connection, plan, memory)


def bind_all(connection: DuckDBPyConnection, plan: Plan, memory: Memory) -> list[ViewReport]:
    """Bind every view of a plan in a scratch catalog; raises EngineError with all that failed."""
    return _build(connection, plan, memory, BuildOptions(refresh=True))


def forecast(plan: Plan, options: BuildOptions = DEFAULTS) -> Diff:
    """Return what a build would do, from what the catalog remembers; nothing is written."""
    memory = NOTHING
    sources = sources_of(plan, jobs=options.jobs)
    states = states_of(plan) | {key: source.state for key, source in sources.items()}
    with contextlib.ExitStack() as stack:
        if not plan.is_in_memory and os.path.exists(plan.database):
            opened = open_catalog(
                plan.database, read_only=True, lock_timeout_s=options.lock_timeout_s
            )
            connection = stack.enter_context(closing(opened))
            memory = read_memory(connection, plan.database)
        found = diff(
            plan,
            memory,
            states,
            prune=options.prune,
            adopt=options.adopt,
            refresh=options.refresh,
        )
        return with_file_changes(connection, memory, found, sources) if memory.remembered else found


def drift_of_sources(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return how the columns of views that did not change differ now, by the steps' keys.

    Every source is asked. Raises EngineError with all that failed.
    """
    with scratch_catalog(plan) as (connection, memory):
        views = bind_all(connection, plan, memory)
        found: dict[str, tuple[str, ...]] = {}
        for step, view in zip(plan.views, views, strict=False):
            if view.action == "unchanged":
                rows = connection.execute(f"DESCRIBE {step.relation}").fetchall()
                columns = tuple(Column(row[0], row[1]) for row in rows)
                changes = drift(memory.columns.get(folded((step.schema, step.view)), ()), columns)
                if changes:
                    found[step.key] = changes
    return found


def open_session(plan: Plan, *, read_only: bool, lock_timeout_s: float) -> DuckDBPyConnection:
    """Return a connection to a built catalog, with the session half applied."""
    connection = open_catalog(plan.database, read_only=read_only, lock_timeout_s=lock_timeout_s)
    with _closed_on_error(connection):
        apply_session(connection, plan)
    return connection


def _build(
    connection: DuckDBPyConnection, plan: Plan, memory: Memory, options: BuildOptions
) -> list[ViewReport]:
    # Without this, a view could silently read a variable of the program that builds it.
    execute(connection, set_option("python_enable_replacements", literal(False)))
    apply_session(connection, plan)
    sources = find_sources(connection, plan, jobs=options.jobs)
    states = states_of(plan) | {key: source.state for key, source in sources.items()}
    wanted = diff(
        plan,
        memory,
        states,
        prune=options.prune,
        adopt=options.adopt,
        refresh=options.refresh,
    )
    steps = [] if wanted.conflicts else wanted.steps
    answers = probe(connection, plan, steps, jobs=options.jobs)
    pins = pin_views(connection, plan, steps, sources, jobs=options.jobs)
    return apply_catalog(
        connection,
        plan,
        memory,
        wanted,
        answers | pins.answers,
        states,
        pins=pins,
        keep_going=options.keep_going,
    )


@contextlib.contextmanager
def _closed_on_error(connection: DuckDBPyConnection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        close(connection)
        raise
