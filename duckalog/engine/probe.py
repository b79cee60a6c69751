"""Asking remote sources for their columns, many at a time, before anything is written.

DuckDB binds a view when it is made, one after the other, and every bind waits
for the network. So the views over remote files are bound here, on parallel
cursors; `stubbed` then makes them without a second round trip.
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
from duckalog.engine.execution import abandon, close, execute, refused
from duckalog.engine.session import impatient, prepare_cursor
from duckalog.errors import Problem
from duckalog.plan import Plan, ViewStep
from duckalog.sql import describe, drop_stub, stub_of_function

logger = logging.getLogger("duckalog.engine")

JOBS = 32


class Answer(NamedTuple):
    """What a source said: its columns, or a problem."""

    columns: tuple[Column, ...]
    problem: Problem | None
    seconds: float


def probe(
    connection: DuckDBPyConnection, plan: Plan, steps: Sequence[ViewStep], *, jobs: int = JOBS
) -> dict[str, Answer]:
    """Return the answer of each view over remote files, by the step's key.

    `jobs` sources are asked at a time. One that hangs fails within the time
    limit of `impatient`; the others are not kept waiting.
    """
    remote = [step for step in steps if step.scan and step.scan.is_remote]
    if not remote:
        return {}
    from concurrent.futures import ThreadPoolExecutor  # most catalogs get by without

    workers = min(jobs, len(remote))
    cursors = [connection.cursor() for _ in range(workers)]
    try:
        for cursor in cursors:
            prepare_cursor(cursor, plan)
        idle = list(cursors)

        def ask(step: ViewStep) -> Answer:
            cursor = idle.pop()
            try:
                return _ask(cursor, step, plan)
            finally:
                idle.append(cursor)

        with contextlib.ExitStack() as stack:
            for cursor in cursors:
                stack.enter_context(impatient(cursor))
            pool = ThreadPoolExecutor(workers, thread_name_prefix="duckalog-probe")
            try:
                answers = list(pool.map(ask, remote))
            except BaseException:  # Ctrl-C: what is being asked cannot be waited for
                for one in (connection, *cursors):
                    abandon(one)
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            pool.shutdown()
    finally:
        for cursor in cursors:
            close(cursor)
    return {step.key: answer for step, answer in zip(remote, answers, strict=True)}


def _ask(cursor: DuckDBPyConnection, step: ViewStep, plan: Plan) -> Answer:
    start = time.perf_counter()
    try:
        execute(cursor, describe(step.query))
        columns = tuple(Column(row[0], row[1]) for row in cursor.fetchall())
        return Answer(columns, None, time.perf_counter() - start)
    except duckdb.Error as error:
        problem = refused(step, error, plan.redact)
    return Answer((), problem, time.perf_counter() - start)


@contextlib.contextmanager
def stubbed(
    connection: DuckDBPyConnection, step: ViewStep, answers: Mapping[str, Answer]
) -> Iterator[None]:
    """Make a view's table function answer from its probe, while the block creates the view."""
    answer = answers.get(step.key)
    if answer is None or step.scan is None:
        yield
        return
    execute(connection, stub_of_function(step.scan.function, step.scan.options, answer.columns))
    try:
        yield
    finally:
        with contextlib.suppress(duckdb.Error):  # the transaction is over: so is the macro
            execute(connection, drop_stub(step.scan.function))
