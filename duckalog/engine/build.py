"""A plan made so: opened, applied, published, and told as a report."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple, get_args

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import NOTHING, Column, Memory, ViewName, folded, learn, read_memory
from duckalog.changes import Diff, diff, drift
from duckalog.engine.apply import ViewReport, apply_catalog, drop_empty_schemas, leaves_as_is
from duckalog.engine.execution import close, closing, execute
from duckalog.engine.locks import Patience, builders_turn
from duckalog.engine.opening import LOCK_TIMEOUT_S, open_catalog, open_file
from duckalog.engine.pin import find_sources, pin_views, sources_of, with_file_changes
from duckalog.engine.probe import JOBS, probe
from duckalog.engine.progress import Progress, untold
from duckalog.engine.publish import (
    Publish,
    Published,
    check_place,
    file_to_build,
    remove_leftovers,
)
from duckalog.engine.scratch import scratch_catalog
from duckalog.engine.session import apply_session
from duckalog.engine.source_state import states_of
from duckalog.errors import ConfigError, EngineError, Origin, Problem
from duckalog.plan import Plan
from duckalog.sql import literal, set_option

logger = logging.getLogger("duckalog.engine")


class BuildReport(NamedTuple):
    """What a build did: each view in build order, then those that were removed.

    `published` says how the file came to be what it is: `new`, `in-place`,
    `swap`, or `none` where nothing was to be written.
    """

    database: str
    views: tuple[ViewReport, ...]
    seconds: float
    published: Published

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
    `jobs` remote sources are asked at a time, and `progress` is told how far it is.
    """

    prune: bool = True
    adopt: bool = False
    refresh: bool = False
    keep_going: bool = False
    jobs: int = JOBS
    lock_timeout_s: float = LOCK_TIMEOUT_S
    publish: Publish = "auto"
    progress: Progress = untold


DEFAULTS = BuildOptions()


def build(plan: Plan, options: BuildOptions = DEFAULTS) -> BuildReport:
    """Return the report of making the catalog file as the plan has it, all or nothing."""
    if plan.is_in_memory:
        message = "a catalog in memory would be gone when the build ends"
        remedy = "State duckdb.database, or pass --db-path; duckalog.connect() builds in memory."
        raise ConfigError(Problem(Origin(plan.file), message, remedy))
    if options.publish not in get_args(Publish):
        raise ValueError(f"publish is one of {get_args(Publish)}, not {options.publish!r}")
    start = time.perf_counter()
    path = os.path.realpath(plan.database)
    check_place(path)
    patience = Patience(options.lock_timeout_s)
    with builders_turn(path, patience) as was_killed:
        if was_killed:
            remove_leftovers(path)
        views, published = _publish(path, plan, options, patience)
    report = BuildReport(plan.database, tuple(views), time.perf_counter() - start, published)
    logger.info("built %s: %d views", plan.database, len(plan.views))
    return report


def _publish(
    path: str, plan: Plan, options: BuildOptions, patience: Patience
) -> tuple[list[ViewReport], Published]:
    """Return what was done with each view, and how the file was published."""
    memory = NOTHING
    views: list[ViewReport] = []

    def is_current(connection: DuckDBPyConnection) -> bool:
        nonlocal memory, views
        memory = read_memory(connection, plan.database)
        try:
            with _saying_that_nothing_changed():
                views = _build(connection, plan, memory, options, is_look=True)
        except _ToBeBuilt:
            return False
        return True

    with file_to_build(path, options.publish, patience, is_current) as file:
        if file.published != "none":
            with closing(file.connection) as connection:
                memory = memory if memory.is_prepared else read_memory(connection, plan.database)
                with _saying_that_nothing_changed():
                    views = _build(connection, plan, memory, options)
        columns = memory.columns
        is_written = any(
            view.action != "failed" and (view.action != "unchanged" or view.seconds)
            for view in views
        )
        if is_written and file.published in ("new", "swap"):
            columns = _learn(open_file(file.path))
    published = file.published
    if published == "in-place" and is_written:
        columns = _learn_afterwards(path, options)
    elif published == "in-place":
        published = "none"
    return [_with_columns(view, memory.columns, columns) for view in views], published


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


def _learn(opened: DuckDBPyConnection) -> dict[ViewName, tuple[Column, ...]]:
    """Return the columns of the views just built, after writing down what DuckDB stored.

    Schemas that builds made and that are empty now are dropped.

    The file is opened anew for it, because DuckDB words some views differently
    once it has read them back (1.5.5), and without attachments, because its
    catalog functions would ask each of them.
    """
    try:
        with closing(opened) as connection:
            columns = learn(connection)
            drop_empty_schemas(connection)
            return columns
    except duckdb.Error as error:
        logger.warning("the catalog is built, but its bookkeeping is not complete: %s", error)
        return {}


def _learn_afterwards(path: str, options: BuildOptions) -> dict[ViewName, tuple[Column, ...]]:
    """Do the same with a catalog in place, which readers may have opened meanwhile."""
    patience = Patience(options.lock_timeout_s)
    try:
        with file_to_build(path, options.publish, patience, lambda _: False) as file:
            return _learn(file.connection)
    except EngineError as error:
        logger.warning("the catalog is built, but its bookkeeping is not complete: %s", error)
        return {}


def build_in_memory(plan: Plan) -> DuckDBPyConnection:
    """Return a connection to a catalog that lives as long as it does."""
    connection = duckdb.connect(":memory:")
    with _closed_on_error(connection):
        _build(connection, plan, NOTHING, DEFAULTS)
        execute(connection, set_option("python_enable_replacements", literal(True)))
    return connection


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
    return _build(connection, plan, memory, BuildOptions(refresh=True, progress=progress))


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
        found = _wanted(plan, memory, states, options)
        return with_file_changes(connection, memory, found, sources) if memory.remembered else found


def _wanted(
    plan: Plan, memory: Memory, states: Mapping[str, str | None], options: BuildOptions
) -> Diff:
    return diff(
        plan,
        memory,
        states,
        prune=options.prune,
        adopt=options.adopt,
        refresh=options.refresh,
    )


def drift_of_sources(plan: Plan, progress: Progress = untold) -> dict[str, tuple[str, ...]]:
    """Return how the columns of views that did not change differ now, by the steps' keys.

    Every source is asked. Raises EngineError with all that failed.
    """
    with scratch_catalog(plan) as (connection, memory):
        views = bind_all(connection, plan, memory, progress)
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


class _ToBeBuilt(Exception):
    """Ends a look at a catalog that is not as it should be."""


def _build(
    connection: DuckDBPyConnection,
    plan: Plan,
    memory: Memory,
    options: BuildOptions,
    *,
    is_look: bool = False,
) -> list[ViewReport]:
    """Return what was done with each view; a look raises _ToBeBuilt before it would write."""
    # Without this, a view could silently read a variable of the program that builds it.
    execute(connection, set_option("python_enable_replacements", literal(False)))
    options.progress("session", 0, 0)
    apply_session(connection, plan)
    sources = find_sources(connection, plan, jobs=options.jobs, progress=options.progress)
    states = states_of(plan) | {key: source.state for key, source in sources.items()}
    wanted = _wanted(plan, memory, states, options)
    if is_look and not leaves_as_is(memory, wanted):
        raise _ToBeBuilt
    steps = [] if wanted.conflicts else wanted.steps
    answers = probe(connection, plan, steps, jobs=options.jobs, progress=options.progress)
    pins = pin_views(connection, plan, steps, sources, jobs=options.jobs, progress=options.progress)
    return apply_catalog(
        connection,
        plan,
        memory,
        wanted,
        answers | pins.answers,
        states,
        pins=pins,
        keep_going=options.keep_going,
        progress=options.progress,
    )


@contextlib.contextmanager
def _closed_on_error(connection: DuckDBPyConnection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        close(connection)
        raise
