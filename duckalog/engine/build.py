"""A plan made so: opened, applied, published, and told as a report."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import get_args

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
from duckalog.changes import Action
from duckalog.engine.execution import close, closing, execute
from duckalog.engine.locks import Patience, builders_turn
from duckalog.engine.making import DEFAULTS, BuildOptions, Made, ToBeBuilt, make
from duckalog.engine.opening import open_catalog, open_file
from duckalog.engine.place import check_place
from duckalog.engine.publish import Publish, Published, file_to_build, remove_leftovers
from duckalog.engine.reports import (
    BuildReport,
    data_versions,
    key_of,
    with_columns,
    with_version,
)
from duckalog.engine.schemas import drop_empty_schemas
from duckalog.engine.session import apply_session, forget_tables
from duckalog.errors import ConfigError, EngineError, Origin, Problem
from duckalog.plan import Plan
from duckalog.sql import literal
from duckalog.statements import set_option

logger = logging.getLogger("duckalog.engine")


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
    done = Made([], {}, ())
    report: BuildReport | None = None
    incomplete = ""

    def is_current(connection: DuckDBPyConnection) -> bool:
        nonlocal memory, done
        memory = read_memory(connection, plan.database)
        try:
            with _saying_that_nothing_changed():
                done = make(connection, chosen, memory, options, whole=plan, is_look=True)
        except ToBeBuilt:
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
                    done = make(connection, chosen, memory, options, whole=plan, place=file.path)
        is_written = bool(memory.gone) or any(
            view.action not in ("unchanged", "failed") or view.is_made_again for view in done.views
        )
        if is_written and file.published in ("new", "swap"):
            incomplete = _learn(open_file(file.path), tell)
    published = file.published
    if published == "in-place" and is_written:
        incomplete = _learn_afterwards(path, options, tell)
    elif published in ("in-place", "swap") and not is_written:
        published = "none"
    if incomplete:  # told once the catalog is in its place: a full disk lets neither be whole
        logger.warning("the catalog is built, but its bookkeeping is not complete: %s", incomplete)
    columns = {} if is_written else memory.columns
    return report or _report(plan, options, memory, done, columns, published, start)


def _report(
    plan: Plan,
    options: BuildOptions,
    memory: Memory,
    done: Made,
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
        make(connection, plan, NOTHING, DEFAULTS)
        forget_tables(connection, plan)
        execute(connection, set_option("python_enable_replacements", literal(True)))
    return connection


def open_session(plan: Plan, *, read_only: bool, lock_timeout_s: float) -> DuckDBPyConnection:
    """Return a connection to a built catalog, with the session half applied."""
    connection = open_catalog(
        plan.database, read_only=read_only, lock_timeout_s=lock_timeout_s, config=plan.file
    )
    with _closed_on_error(connection):
        apply_session(connection, plan)
    return connection


@contextlib.contextmanager
def _closed_on_error(connection: DuckDBPyConnection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        close(connection)
        raise
