"""Asking remote sources for their columns, many at a time, before anything is written.

DuckDB binds a view when it is made, one after the other, and every bind waits
for the network. So the views over remote files are bound here, on parallel
cursors; `stubbed` then makes them without a second round trip, and `stand_in`
those that read them. Tables of Iceberg catalogs DuckDB itself keeps in memory.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import Column
from duckalog.engine.calls import Stub, columns_of, stub_of, stubs_for
from duckalog.engine.execution import (
    execute,
    options_set,
    refused,
)
from duckalog.engine.parallel import JOBS
from duckalog.engine.progress import Progress, untold
from duckalog.engine.reading import opens_every_file, reads_remote_files, waits_for_network
from duckalog.engine.session import impatient
from duckalog.entry import MAIN_SCHEMA
from duckalog.errors import Problem, nearest, sentences, shown
from duckalog.plan import DatabaseStep, ExtensionStep, Plan, ViewStep
from duckalog.sql import Statement, search_path
from duckalog.statements import (
    create_view,
    no_rows_of,
    reset_option,
    set_option,
)

logger = logging.getLogger("duckalog.engine")

_LISTED = 30
"""Names of columns that a message lists."""


class Answer(NamedTuple):
    """What a source said: its columns, or a problem; of raw SQL also `stubs` of what it reads."""

    columns: tuple[Column, ...]
    problem: Problem | None
    seconds: float
    stubs: tuple[Stub, ...] = ()


def probe(
    connection: DuckDBPyConnection,
    plan: Plan,
    steps: Sequence[ViewStep],
    *,
    jobs: int = JOBS,
    progress: Progress = untold,
) -> dict[str, Answer]:
    """Return the answer of each view over remote files that is not pinned, by the step's key.

    `jobs` sources are asked at a time. One that hangs fails within the time
    limit of `be_impatient`; the others are not kept waiting, but for those of the same
    Iceberg catalog. Asked are, too, views over tables of catalogs that keep what they
    hear, raw SQL that reads no other view to be made, and views that others are made
    over and that open all of their local files.
    """
    made = {step.key for step in steps}
    read = {need for step in steps for need in step.needs}
    keeping = {
        step.key for step in plan.session if isinstance(step, DatabaseStep) and step.keeps_tables
    }

    def is_asked(step: ViewStep) -> bool:
        if step.pin or not made.isdisjoint(step.needs):
            return False
        is_of_many_files = step.key in read and opens_every_file(step)
        return reads_remote_files(step) or is_of_many_files or not keeping.isdisjoint(step.needs)

    def ask(cursor: DuckDBPyConnection, step: ViewStep) -> Answer | None:
        return _ask_sql(cursor, step, plan) if step.source == "sql" else _ask(cursor, step, plan)

    def unasked(problem: Problem) -> Answer:
        return Answer((), problem, 0.0)

    asked = [step for step in steps if is_asked(step)]
    if not asked:
        return {}
    from duckalog.engine.silence import ask_each  # most catalogs ask nobody

    return ask_each(connection, plan, asked, ask, unasked, jobs=jobs, progress=progress)


@contextlib.contextmanager
def asking_remote_files(
    connection: DuckDBPyConnection, plan: Plan, steps: Sequence[ViewStep]
) -> Iterator[None]:
    """Give up on HTTP soon while the block runs, and ask once for the sizes of files.

    Raw SQL is bound when it is probed, and again when its view is made; views that
    are left alone are bound again in each view that is made over them.
    """
    with contextlib.ExitStack() as stack:
        if steps and any(isinstance(step, ExtensionStep) for step in plan.session):
            stack.enter_context(impatient(connection))
        if steps and any(map(waits_for_network, plan.views)):
            stack.enter_context(options_set(connection, {"enable_http_metadata_cache": True}))
        yield


def _ask(cursor: DuckDBPyConnection, step: ViewStep, plan: Plan) -> Answer:
    start = time.perf_counter()
    try:
        return Answer(columns_of(cursor, step.query), None, time.perf_counter() - start)
    except duckdb.Error as error:
        problem = refused(step, error, plan.redact)
    return Answer((), problem, time.perf_counter() - start)


def _ask_sql(cursor: DuckDBPyConnection, step: ViewStep, plan: Plan) -> Answer | None:
    """Return the answer of raw SQL; None where only the making of its view can tell.

    Another view that is not made yet is not found, for one.
    """
    start = time.perf_counter()
    try:
        _look_where_the_view_does(cursor, step)
        columns = columns_of(cursor, step.query)
        if columns_of(cursor, no_rows_of(columns)) == columns:
            stubs = stubs_for(cursor, step.query, columns)
            return Answer(columns, None, time.perf_counter() - start, stubs)
    except duckdb.IOException as error:
        return Answer((), refused(step, error, plan.redact), time.perf_counter() - start)
    except duckdb.Error:
        logger.debug("%s.%s is asked when it is made", step.schema, step.view)
    return None


def _look_where_the_view_does(cursor: DuckDBPyConnection, step: ViewStep) -> None:
    """Have names found as DuckDB finds them in a view: in its own schema first, then in main."""
    execute(cursor, reset_option("search_path"))
    with contextlib.suppress(duckdb.CatalogException):  # nothing is in a schema that is not there
        schemas = dict.fromkeys(((step.schema,), (MAIN_SCHEMA,)))
        execute(cursor, set_option("search_path", search_path(*schemas)))


def no_such_column(name: str, names: Sequence[str]) -> tuple[str, str]:
    """Return that a view has no such column, and what to take instead."""
    listed = f"columns: {', '.join(names[:_LISTED])}{', …' if names[_LISTED:] else ''}"
    message = f'the view has no column "{shown(name)}"'
    return message, sentences(nearest(name, names), listed if names else "")


@contextlib.contextmanager
def stubbed(
    connection: DuckDBPyConnection, step: ViewStep, answers: Mapping[str, Answer]
) -> Iterator[None]:
    """Make a view's table function answer from its probe, while the block creates the view."""
    before, after = stubs(step, answers)
    for statement in before:
        execute(connection, statement)
    try:
        yield
    finally:
        with contextlib.suppress(duckdb.Error):  # the transaction is over: so is the macro
            for statement in after:
                execute(connection, statement)


def stubs(
    step: ViewStep, answers: Mapping[str, Answer]
) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
    """Return the statements around a view's that have what it reads answer from its probe."""
    answer = answers.get(step.key)
    found = answer.stubs if answer else ()
    if answer and step.scan:
        found = (stub_of(step.scan.function, step.scan.options, answer.columns),)
    return tuple(one.create for one in found), tuple(one.drop for one in found)


def stand_in(step: ViewStep, answer: Answer) -> Statement:
    """Return a view of the same columns that reads nothing, for others to be made over it."""
    return create_view(step.relation, no_rows_of(answer.columns))
