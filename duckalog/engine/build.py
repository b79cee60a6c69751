"""A plan made so: opened, applied, published, and told as a report."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, get_args

import duckdb
import msgspec
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import (
    NOTHING,
    Column,
    Memory,
    ViewName,
    folded,
    learn,
    read_memory,
    remember_report,
    remembered_report,
)
from duckalog.changes import Action, Diff, diff, drift
from duckalog.engine.apply import apply_catalog, leaves_as_is
from duckalog.engine.execution import close, closing, execute
from duckalog.engine.locks import Patience, builders_turn
from duckalog.engine.opening import LOCK_TIMEOUT_S, open_catalog, open_file
from duckalog.engine.parallel import JOBS
from duckalog.engine.pins import NO_PINS, PinnedSource
from duckalog.engine.place import check_place, check_writable
from duckalog.engine.probe import asking_remote_files, probe
from duckalog.engine.progress import Progress, untold
from duckalog.engine.publish import Publish, Published, file_to_build, remove_leftovers
from duckalog.engine.reach import reach, with_failures
from duckalog.engine.reports import (
    BuildReport,
    DatabaseReport,
    ViewReport,
    data_versions,
    database_reports,
    key_of,
    with_columns,
    with_version,
)
from duckalog.engine.schemas import drop_empty_schemas
from duckalog.engine.scratch import scratch_catalog, stored_columns
from duckalog.engine.session import apply_session, forget_tables, keeping_tables
from duckalog.engine.source_state import states_of
from duckalog.errors import ConfigError, EngineError, Origin, Problem
from duckalog.plan import Plan
from duckalog.sql import literal
from duckalog.statements import set_option

logger = logging.getLogger("duckalog.engine")


class BuildOptions(NamedTuple):
    """How to build.

    `prune` drops views that left the config, `adopt` takes over views made by
    hand, `refresh` leaves no view alone, `keep_going` builds what can be built,
    `jobs` remote sources are asked at a time, and `progress` is told how far it is.
    `select` is what to build of the plan, by names that `Plan.chosen` knows; nothing
    is dropped then, unless it has every view. A build whose `build_id` the catalog
    remembers is not done again: its report comes back.
    """

    prune: bool = True
    adopt: bool = False
    refresh: bool = False
    keep_going: bool = False
    jobs: int = JOBS
    lock_timeout_s: float = LOCK_TIMEOUT_S
    publish: Publish = "auto"
    progress: Progress = untold
    select: tuple[str, ...] | None = None
    build_id: str = ""


DEFAULTS = BuildOptions()
Columns = dict[ViewName, tuple[Column, ...]]
Tell = Callable[[DuckDBPyConnection, Columns], None]


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
        report = _earlier_report(path, plan, options)
        report = report or _publish(path, plan, options, patience, start)
    count = len(report.views)
    word = "view" if count == 1 else "views"
    done = Counter(view.action for view in report.views)
    told = ", ".join(f"{done[action]} {action}" for action in get_args(Action) if done[action])
    shown = f" ({told})" if told else ""
    logger.info("built %s: %d %s%s in %.2f s", plan.database, count, word, shown, report.seconds)
    return report


def _earlier_report(path: str, plan: Plan, options: BuildOptions) -> BuildReport | None:
    """Return the report of the build that has this id, if it was done before."""
    if not options.build_id or not os.path.exists(path):
        return None
    opened = open_catalog(plan.database, read_only=True, lock_timeout_s=options.lock_timeout_s)
    with closing(opened) as connection:
        found = remembered_report(connection, options.build_id)
    return msgspec.json.decode(found, type=BuildReport) if found else None


def _publish(
    path: str, plan: Plan, options: BuildOptions, patience: Patience, start: float
) -> BuildReport:
    """Return what was done, once the file is published."""
    chosen = plan if options.select is None else plan.chosen(options.select)
    memory = NOTHING
    done = _Done([], {}, ())
    report: BuildReport | None = None
    incomplete = ""

    def is_current(connection: DuckDBPyConnection) -> bool:
        nonlocal memory, done
        memory = read_memory(connection, plan.database)
        try:
            with _saying_that_nothing_changed():
                done = _build(connection, chosen, memory, options, whole=plan, is_look=True)
        except _ToBeBuilt:
            return False
        return True

    def tell(connection: DuckDBPyConnection, columns: Columns) -> None:
        nonlocal report
        report = _report(plan, options, memory, done, columns, file.published, start)
        if options.build_id:
            text = msgspec.json.encode(report, enc_hook=str)  # paths are a type of their own
            remember_report(connection, options.build_id, text.decode())

    with file_to_build(path, options.publish, patience, is_current) as file:
        if file.published != "none":
            with closing(file.connection) as connection:
                is_known = file.published == "swap" and memory.is_prepared
                if file.published != "new" and not is_known:
                    memory = read_memory(connection, plan.database)
                with _saying_that_nothing_changed():
                    done = _build(connection, chosen, memory, options, whole=plan, place=file.path)
        is_written = any(
            view.action not in ("unchanged", "failed") or view.is_made_again for view in done.views
        )
        if is_written and file.published in ("new", "swap"):
            incomplete = _learn(open_file(file.path), tell)
    published = file.published
    if published == "in-place" and is_written:
        incomplete = _learn_afterwards(path, options, tell)
    elif published == "in-place":
        published = "none"
    if incomplete:  # told once the catalog is in its place: a full disk lets neither be whole
        logger.warning("the catalog is built, but its bookkeeping is not complete: %s", incomplete)
    columns = {} if is_written else memory.columns
    return report or _report(plan, options, memory, done, columns, published, start)


def _report(
    plan: Plan,
    options: BuildOptions,
    memory: Memory,
    done: _Done,
    columns: Columns,
    published: Published,
    start: float,
) -> BuildReport:
    views = [with_columns(view, memory.columns, columns) for view in done.views]
    if options.build_id:
        versions = data_versions(plan, memory, done.states, columns)
        views = [with_version(view, versions) for view in views]
    changed = [key_of(view) for view in views if view.action in ("created", "replaced")]
    invalidated = tuple(
        step.name
        for step in (plan.readers_of(changed) if options.select is not None else ())
        if step.key not in done.states and folded((step.schema, step.view)) in memory.remembered
    )
    seconds = time.perf_counter() - start
    return BuildReport(plan.database, tuple(views), seconds, published, done.databases, invalidated)


@contextlib.contextmanager
def _saying_that_nothing_changed() -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        problems = error.problems
    else:
        return
    raise EngineError(problems, note="The catalog was left as it was.")


def _learn(opened: DuckDBPyConnection, tell: Tell) -> str:
    """Write down what DuckDB stored of the views just built, and tell their columns.

    Returns why that cannot be done, if it cannot. Schemas that builds made and
    that are empty now are dropped.

    The file is opened anew for it, because DuckDB words some views differently
    once it has read them back (1.5.5), and without attachments, because its
    catalog functions would ask each of them.
    """
    try:
        with closing(opened) as connection:
            columns = learn(connection)
            drop_empty_schemas(connection)
            tell(connection, columns)
    except duckdb.Error as error:
        return str(error)
    return ""


def _learn_afterwards(path: str, options: BuildOptions, tell: Tell) -> str:
    """Do the same with a catalog in place, which readers may have opened meanwhile."""
    patience = Patience(options.lock_timeout_s)
    try:
        with file_to_build(path, options.publish, patience, lambda _: False) as file:
            return _learn(file.connection, tell)
    except EngineError as error:
        return str(error)


def build_in_memory(plan: Plan) -> DuckDBPyConnection:
    """Return a connection to a catalog that lives as long as it does."""
    connection = duckdb.connect(":memory:")
    with _closed_on_error(connection):
        _build(connection, plan, NOTHING, DEFAULTS)
        forget_tables(connection, plan)
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
    return _build(connection, plan, memory, BuildOptions(refresh=True, progress=progress)).views


def wanted_of(
    plan: Plan, memory: Memory, states: Mapping[str, str | None], options: BuildOptions
) -> Diff:
    """Return what a build is to do."""
    return diff(
        plan,
        memory,
        states,
        prune=options.prune,
        adopt=options.adopt,
        refresh=options.refresh,
    )


def drift_of_sources(
    plan: Plan, progress: Progress = untold
) -> tuple[dict[str, tuple[str, ...]], dict[str, Problem]]:
    """Return how the columns of views that did not change differ now, by the steps' keys.

    Every source is asked. Why views and databases fail comes second, by the steps' keys too.
    Raises EngineError where the session cannot be made.
    """
    with scratch_catalog(plan) as (connection, memory):
        options = BuildOptions(refresh=True, adopt=True, keep_going=True, progress=progress)
        done = _build(connection, plan, memory, options)
        columns = stored_columns(connection, plan)
    found: dict[str, tuple[str, ...]] = {}
    for step, view in zip(plan.views, done.views, strict=False):
        name = folded((step.schema, step.view))
        changes = drift(memory.columns.get(name, ()), columns.get(name, ()))
        if view.action == "unchanged" and changes:
            found[step.key] = changes
    problems = {one.key: one.problem for one in done.databases if one.problem}
    return found, problems | {key_of(view): view.problem for view in done.views if view.problem}


def open_session(plan: Plan, *, read_only: bool, lock_timeout_s: float) -> DuckDBPyConnection:
    """Return a connection to a built catalog, with the session half applied."""
    connection = open_catalog(
        plan.database, read_only=read_only, lock_timeout_s=lock_timeout_s, config=plan.file
    )
    with _closed_on_error(connection):
        apply_session(connection, plan)
    return connection


class _ToBeBuilt(Exception):
    """Ends a look at a catalog that is not as it should be."""


class _Done(NamedTuple):
    """What was done on a connection: `states` are those of the views' sources, by key."""

    views: list[ViewReport]
    states: dict[str, str | None]
    databases: tuple[DatabaseReport, ...]


def _build(
    connection: DuckDBPyConnection,
    plan: Plan,
    memory: Memory,
    options: BuildOptions,
    *,
    whole: Plan | None = None,
    is_look: bool = False,
    place: str = "",
) -> _Done:
    """Return what was done with each view of a plan, which may be chosen from a whole one.

    A look raises _ToBeBuilt before it would write. `place` is where the file is that is
    written, if it is one that stays. Iceberg catalogs keep what they told of their
    tables: `forget_tables` is for a connection that is used afterwards.
    """
    whole = whole or plan
    # Without this, a view could silently read a variable of the program that builds it.
    execute(connection, set_option("python_enable_replacements", literal(False)))
    options.progress("session", 0, 0)
    asked_for = plan
    plan, seconds, lost, out_of_reach = reach(connection, keeping_tables(plan))
    sources: dict[str, PinnedSource] = {}
    if is_pinned := any(step.pin for step in plan.views):
        from duckalog.engine.pin import find_sources, pin_views  # most catalogs pin nothing

        sources = find_sources(
            connection, plan, plan.views, jobs=options.jobs, progress=options.progress
        )
    states = states_of(plan) | {key: source.state for key, source in sources.items()}
    may_prune = options.prune and len(plan.views) == len(whole.views)
    wanted = wanted_of(plan, memory, states, options._replace(prune=may_prune))
    is_left = leaves_as_is(memory, wanted)
    if is_look and (lost or not is_left):
        raise _ToBeBuilt
    if place and not is_left:
        check_writable(place)
    steps = [] if wanted.conflicts else wanted.steps
    with asking_remote_files(connection, plan, steps):
        answers = probe(connection, plan, steps, jobs=options.jobs, progress=options.progress)
        pins = NO_PINS
        if is_pinned:
            pins = pin_views(
                connection,
                plan,
                steps,
                sources,
                NOTHING if options.refresh else memory,
                jobs=options.jobs,
                progress=options.progress,
            )
        made = [step.key for step in steps]
        readers = [step for step in whole.readers_of(made) if step.key not in states]
        views = apply_catalog(
            connection,
            plan,
            memory,
            wanted,
            answers | pins.answers,
            states,
            pins=pins,
            readers=readers,
            lost=() if options.keep_going else tuple(lost.values()),
            keep_going=options.keep_going,
            progress=options.progress,
        )
    databases = database_reports(connection, asked_for, seconds, options.select or (), out_of_reach)
    return _Done(with_failures(views, asked_for, out_of_reach), states, databases)


@contextlib.contextmanager
def _closed_on_error(connection: DuckDBPyConnection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        close(connection)
        raise
