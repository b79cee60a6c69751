"""Asking remote sources for their columns, many at a time, before anything is written.

DuckDB binds a view when it is made, one after the other, and every bind waits
for the network. So the views over remote files are bound here, on parallel
cursors; `stubbed` then makes them without a second round trip.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import Column
from duckalog.engine.execution import abandon, close, execute, is_abandoned, refused
from duckalog.engine.progress import Progress, untold
from duckalog.engine.session import be_impatient, http_limits, prepare_cursor
from duckalog.errors import Problem, nearest, sentences, shown
from duckalog.plan import Plan, ViewStep
from duckalog.sql import Statement
from duckalog.statements import describe, drop_stub, stub_of_function

logger = logging.getLogger("duckalog.engine")

JOBS = 32
_LISTED = 30
"""Names of columns that a message lists."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Answer(NamedTuple):
    """What a source said: its columns, or a problem."""

    columns: tuple[Column, ...]
    problem: Problem | None
    seconds: float


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
    limit of `be_impatient`; the others are not kept waiting.
    """
    remote = [step for step in steps if step.scan and step.scan.is_remote and step.pin is None]

    def ask(cursor: DuckDBPyConnection, step: ViewStep) -> Answer:
        return _ask(cursor, step, plan)

    answers = in_parallel(connection, plan, remote, ask, jobs=jobs, progress=progress)
    return {step.key: answer for step, answer in zip(remote, answers, strict=True)}


def in_parallel(
    connection: DuckDBPyConnection,
    plan: Plan,
    items: Sequence[Item],
    ask: Callable[[DuckDBPyConnection, Item], Result],
    *,
    jobs: int,
    progress: Progress = untold,
) -> list[Result]:
    """Return what `ask` says of each item, in their order, on `jobs` cursors at a time.

    A cursor that `ask` abandons is not used again, and the connection is left with it.
    """
    if not items:
        return []
    from concurrent.futures import ThreadPoolExecutor, as_completed  # most catalogs get by without

    workers = min(jobs, len(items))
    cursors: list[DuckDBPyConnection] = []
    try:
        known = http_limits(connection)

        def prepared() -> DuckDBPyConnection:
            cursor = connection.cursor()
            cursors.append(cursor)
            prepare_cursor(cursor, plan)
            be_impatient(cursor, known)
            return cursor

        idle = [prepared() for _ in range(workers)]

        def ask_on_a_cursor(item: Item) -> Result:
            cursor = idle.pop()
            try:
                return ask(cursor, item)
            finally:
                idle.append(prepared() if is_abandoned(cursor) else cursor)

        pool = ThreadPoolExecutor(workers, thread_name_prefix="duckalog-probe")
        try:
            asked = [pool.submit(ask_on_a_cursor, item) for item in items]
            progress("probe", 0, len(items))
            for done, _ in enumerate(as_completed(asked), 1):
                progress("probe", done, len(items))
            answers = [one.result() for one in asked]
        except BaseException:  # Ctrl-C: what is being asked cannot be waited for
            for one in (connection, *cursors):
                abandon(one)
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
    finally:
        if any(map(is_abandoned, cursors)):
            abandon(connection)  # closing it would close, and so wait for, its cursors
        for cursor in cursors:
            close(cursor)
    return answers


def _ask(cursor: DuckDBPyConnection, step: ViewStep, plan: Plan) -> Answer:
    start = time.perf_counter()
    try:
        return Answer(columns_of(cursor, step.query), None, time.perf_counter() - start)
    except duckdb.Error as error:
        problem = refused(step, error, plan.redact)
    return Answer((), problem, time.perf_counter() - start)


def columns_of(cursor: DuckDBPyConnection, query: str) -> tuple[Column, ...]:
    """Return the columns of a query, which is bound and not run."""
    execute(cursor, describe(query))
    return tuple(Column(row[0], row[1]) for row in cursor.fetchall())


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
    """Return the statements around a view's that have its function answer from its probe."""
    answer = answers.get(step.key)
    if answer is None or step.scan is None:
        return (), ()
    function = step.scan.function
    stub = stub_of_function(function, step.scan.options, answer.columns)
    return (stub,), (drop_stub(function),)
