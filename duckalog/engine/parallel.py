"""Asking many things at a time, on cursors that have the session's settings and give up soon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from duckdb import DuckDBPyConnection

from duckalog.engine.execution import abandon, close, is_abandoned
from duckalog.engine.progress import Progress, untold
from duckalog.engine.session import be_impatient, http_limits, prepare_cursor
from duckalog.plan import Plan

JOBS = 32

Item = TypeVar("Item")
Result = TypeVar("Result")


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

        idle = [prepared()]  # the others while the first source is asked

        def ask_on_a_cursor(item: Item) -> Result:
            try:
                cursor = idle.pop()
            except IndexError:
                cursor = prepared()
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
