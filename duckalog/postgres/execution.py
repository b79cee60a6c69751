"""One statement on one connection: its time limit, its result, and its errors as ours."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from duckalog.postgres.connection import AnyConnection
from duckalog.postgres.errors import PgError, QueryTimeout, is_stale, translated
from duckalog.postgres.hooks import OperationKind
from duckalog.postgres.masking import Masking
from duckalog.postgres.rows import Outcome, columns_of
from duckalog.postgres.statement_text import described
from duckalog.postgres.values import unloaded

Params = Sequence[Any]
Loads = Callable[[Any], None]
"""Tells a cursor which values to make of a result's."""
STATEMENT = OperationKind.STATEMENT
FORGET_PLANS = "DEALLOCATE ALL; DEALLOCATE ALL"
"""Two, as the driver looks only once at what it counts, and counts no two statements in one."""


def limit_of(timeout_s: float | None, default: float | None) -> float | None:
    """Return a statement's limit in seconds: its own, or the client's; None for none."""
    limit = default if timeout_s is None else timeout_s
    if limit is not None and not limit > 0:
        raise ValueError("timeout_s: expected more than 0; math.inf lifts the limit")
    return None if limit is None or math.isinf(limit) else limit


def at_most(limit_s: float | None, most_s: float) -> float:
    """Return a limit in seconds that is no longer than that."""
    return most_s if limit_s is None else min(limit_s, most_s)


def checked(params: Params) -> Params | None:
    """Return parameters as the driver takes them; raises TypeError where they are no sequence."""
    if type(params) in (list, tuple):  # at once: an abstract class is asked slowly
        return params or None
    if isinstance(params, str | bytes | bytearray | Mapping):
        raise TypeError(f"params is a {type(params).__name__}: pass the values in a list or tuple")
    return params or None


@asynccontextmanager
async def limited(
    connection: AnyConnection, limit_s: float | None, *, is_each: bool = False
) -> AsyncIterator[None]:
    """Give a block of the driver's calls that much time, or each of them, and raise our errors."""
    if is_each:
        connection.limit_each(limit_s)
    else:
        connection.limit(limit_s)
    try:
        yield
    except psycopg.Error as error:
        raise failure(error, connection, limit_s) from None
    finally:
        connection.limit(None)


def failure(error: psycopg.Error, connection: AnyConnection, limit_s: float | None) -> PgError:
    """Return a driver's error as one of ours."""
    if connection.is_over_limit and limit_s is not None:
        ended = "the server did not answer, and the connection was closed"
        how = ended if connection.closed else "it was cancelled"
        remedy = "Whether the statement took effect is not known." if connection.closed else ""
        message = f"the statement took longer than {limit_s:g} s: {how}"
        return QueryTimeout(message, error.sqlstate, remedy)
    return translated(error, is_lost=connection.closed)


def run(
    connection: AnyConnection,
    sql: Any,
    params: Params,
    limit_s: float | None,
    prepare: bool | None = None,
    loads: Loads | None = None,
) -> Coroutine[Any, Any, Outcome]:
    """Return what one statement came to, with masks on; raises PgError."""
    statement = sql, params, limit_s, prepare, connection.masking, loads
    if connection.observing.is_on():
        return _run_observed(connection, *statement)
    return run_own(connection, *statement)


async def _run_observed(connection: AnyConnection, sql: Any, params: Params, *how: Any) -> Outcome:
    with connection.observing.during(STATEMENT, sql, connection, _params=params) as operation:
        outcome = await run_own(connection, sql, params, *how)
        if operation is not None:
            operation.rows = len(outcome.rows) if outcome.columns else outcome.rows_affected
    return outcome


async def run_own(
    connection: AnyConnection,
    sql: Any,
    params: Params,
    limit_s: float | None,
    prepare: bool | None = None,
    masking: Masking | None = None,
    loads: Loads | None = None,
) -> Outcome:
    """Return what a statement of the client's own came to, of which no hook hears."""
    if connection.has_stale_plans:
        await _forget_plans(connection, limit_s)
    connection.limit(limit_s)
    until = connection.until
    is_async = connection.is_async  # not settled(): here a small query's microseconds are
    rows: Any = []
    cursor: Any = None
    try:
        cursor = spare_cursor(connection) if loads is None else connection.cursor()
        if loads is not None:
            loads(cursor)
        executed = cursor.execute(sql, checked(params), prepare=prepare)
        if is_async:
            await executed
        columns = columns_of(cursor)
        if columns:
            rows = cursor.fetchall()
            if is_async:
                rows = await rows
            if masking is not None:
                columns, rows = await masking.masked(connection, cursor, rows)
    except psycopg.Error as error:
        if not is_stale(error):
            raise unloaded(error, cursor) or failure(error, connection, limit_s) from None
        connection.has_stale_plans = True
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            raise failure(error, connection, limit_s) from None
        # It was not begun: a table was changed, by a migration say. Not prepared, it cannot be
        # stale again, also where a pooler between keeps its own prepared statements.
        return await run_own(connection, sql, params, limit_s, False, masking, loads)
    finally:
        if connection.until is until:  # else it is of a statement that waits for this one
            connection.until = None
    outcome = Outcome(columns, rows, max(0, cursor.rowcount))
    if loads is None:
        keep(connection, cursor)
    return outcome


async def _forget_plans(connection: AnyConnection, limit_s: float | None) -> None:
    """Have the driver prepare statements anew; in a transaction that has failed it cannot."""
    if connection.pgconn.transaction_status != TransactionStatus.INERROR:
        connection.has_stale_plans = False
        await run_own(connection, FORGET_PLANS, (), limit_s, False)


def spare_cursor(connection: AnyConnection) -> Any:
    """Return a cursor that nobody else uses: other threads may share a transaction's connection."""
    try:
        return connection.spare_cursors.pop()
    except IndexError:
        return connection.cursor()


def keep(connection: AnyConnection, cursor: Any) -> None:
    """Keep a cursor for the next statement, without its result and its parameters.

    Making one anew takes a tenth of the time of a small query.
    """
    if cursor.pgresult is not None:
        cursor.pgresult.clear()  # what makes rows of it holds it, too
    cursor._reset()
    connection.spare_cursors.append(cursor)


async def run_batch(
    connection: AnyConnection, statements: Sequence[tuple[Any, Params]], limit_s: float | None
) -> list[int]:
    """Return how many rows each statement touched, all sent before the first answer came."""
    observing = connection.observing
    if not observing.is_on():
        return await _run_batch(connection, statements, limit_s)
    texts = [described(sql) for sql, _ in statements]
    names = {one.name for one in texts}
    told = {
        "sql": "; ".join(dict.fromkeys(one.text for one in texts)),
        "name": names.pop() if len(names) == 1 else "BATCH",
        "statements": tuple(texts),
        "_params": [params for _, params in statements],
    }
    with observing.during(OperationKind.BATCH, None, connection, **told) as operation:
        counts = await _run_batch(connection, statements, limit_s)
        if operation is not None:
            operation.row_counts, operation.rows = tuple(counts), sum(counts)
    return counts


async def _run_batch(
    connection: AnyConnection, statements: Sequence[tuple[Any, Params]], limit_s: float | None
) -> list[int]:
    async with limited(connection, limit_s), connection.batch(statements):
        execute = connection.execute
        sent = (execute(sql, checked(params)) for sql, params in statements)
        cursors = [await one for one in sent] if connection.is_async else list(sent)
    return [max(0, cursor.rowcount) for cursor in cursors]
