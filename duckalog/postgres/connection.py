"""psycopg's connections with a limit on every wait, and what a pool asks of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar, Protocol, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import ConnStatus, TransactionStatus
from psycopg.waiting import wait_async

from duckalog.postgres.faces import entered, finished, settled
from duckalog.postgres.hooks import Operation, Server
from duckalog.postgres.masking import Masking
from duckalog.postgres.observing import Observing

RV = TypeVar("RV")
logger = logging.getLogger("duckalog.postgres")

WAKE_UP_S = 0.1
"""How often a wait looks for Ctrl-C: psycopg's own figure."""

CANCEL_GRACE_S = 1.0
"""How long a server may take to confirm that it cancelled a statement."""

CHECK_LIMIT_S = 2.0

AnyConnection = Any
"""A BlockingConnection or an AwaitingConnection."""


class Limited:
    """What both kinds of connection have besides psycopg's."""

    pgconn: Any
    is_async: ClassVar[bool]
    home: ClassVar[Home]
    observing: ClassVar[Observing]
    masking: ClassVar[Masking | None] = None
    server: Server | None = None
    """Where it leads to, once somebody watches."""
    within: Operation | None = None
    """The transaction that it is in, where somebody watches."""
    until: float | None = None
    """The end of the current statement's time, of `time.monotonic()`."""
    each_s: float | None = None
    """The limit of each wait, where a statement has no limit as a whole."""
    is_over_limit: bool = False
    """Whether the time ended before the statement did."""
    is_cancelled: bool = True
    """Whether a statement over its limit is cancelled first, which keeps the connection."""
    generation: int = 0
    """How often its pool had been drained when it was asked for."""
    spare_cursors: list[Any]
    """Cursors whose statement is done, to be used again: one, unless its users share it."""
    watched: select.poll | None = None
    """Looks at the connection's socket."""
    acquired_at: float = 0.0
    """When the pool last gave it to somebody."""
    has_stale_plans: bool = False
    """Whether a statement that the driver has prepared has another result by now."""
    released_at: float = 0.0
    """When the connection was last known to be sound."""

    def limit(self, seconds: float | None) -> None:
        """Give the statements from now on that much time in all; None lifts the limit."""
        self.until = None if seconds is None else time.monotonic() + seconds
        self.each_s, self.is_over_limit, self.is_cancelled = None, False, True

    def limit_each(self, seconds: float | None) -> None:
        """Give each wait from now on that much time."""
        self.each_s, self.until, self.is_over_limit = seconds, None, False

    @asynccontextmanager
    async def batch(self, statements: Sequence[Any]) -> AsyncIterator[None]:  # noqa: ARG002
        """Send the block's statements, which hold together, before the first answer comes."""
        connection: AnyConnection = self
        async with entered(connection.transaction()), entered(connection.pipeline()):
            yield

    def end_of_wait(self) -> float | None:
        """Return when the next wait is over its limit, of `time.monotonic()`."""
        if self.each_s is None:
            return self.until
        return time.monotonic() + self.each_s

    def is_time_out(self, error: psycopg.Error, until: float) -> bool:
        """Say whether a wait ended because its time did."""
        is_ended = time.monotonic() >= until and error.sqlstate is None
        return is_ended and bool(self.pgconn.status == ConnStatus.OK)

    async def stop_statement(self, wait_again: Callable[[float], Any]) -> None:
        """Cancel what runs; where the server does not confirm it, end the connection."""
        self.until, self.each_s, self.is_over_limit = None, None, True
        try:
            if not self.is_cancelled:
                raise psycopg.OperationalError("the server did not answer in time")
            await settled(self.cancel_safe(timeout=CANCEL_GRACE_S))  # type: ignore[attr-defined]
            await settled(wait_again(CANCEL_GRACE_S))
        except psycopg.errors.QueryCanceled:
            raise
        except BaseException:
            self.pgconn.finish()
            raise


Connect = Callable[[str], Any]
"""Returns what psycopg makes of a connection string, to be awaited or not."""


class Home(Protocol):
    """The pool of a connection, which knows where it leads to."""

    async def connected(self, connect: Connect) -> AnyConnection:
        """Return a new connection; raises psycopg.Error."""

    async def must_answer(self, connection: AnyConnection) -> None:
        """Raise psycopg.OperationalError where the server does not answer on a connection."""

    async def release(self, connection: AnyConnection) -> None:
        """Take a connection back."""


class BlockingConnection(Limited, psycopg.Connection[Any]):
    """A connection that blocks, for no longer than its limit."""

    is_async = False

    @classmethod
    def connect(cls, conninfo: str = "", **kwargs: Any) -> Any:  # noqa: ARG003
        """Return a new connection to where its pool says."""
        return finished(cls.home.connected(partial(super().connect, **kwargs)))

    def wait(self, gen: PQGen[RV], interval: float = WAKE_UP_S, timeout: float | None = None) -> RV:
        """Return what a conversation with the server comes to."""
        until = self.end_of_wait()
        if until is None:
            return super().wait(gen, interval, timeout)
        left = max(0.0, until - time.monotonic())
        if timeout is not None:
            left = min(left, timeout)
        try:
            return super().wait(gen, interval, left)
        except psycopg.OperationalError as error:
            if not self.is_time_out(error, until):
                raise
        return self._over(gen)

    def _over(self, gen: PQGen[RV]) -> RV:
        kept: list[RV] = []
        again = super().wait

        def wait_again(grace: float) -> None:
            kept.append(again(gen, WAKE_UP_S, grace))

        finished(self.stop_statement(wait_again))
        return kept[0]


class AwaitingConnection(Limited, psycopg.AsyncConnection[Any]):
    """A connection that is awaited, for no longer than its limit."""

    is_async = True

    @classmethod
    async def connect(cls, conninfo: str = "", **kwargs: Any) -> Any:  # noqa: ARG003
        """Return a new connection to where its pool says."""
        return await cls.home.connected(partial(super().connect, **kwargs))

    async def wait(
        self, gen: PQGen[RV], interval: float = WAKE_UP_S, timeout: float | None = None
    ) -> RV:
        """Return what a conversation with the server comes to."""
        until = self.end_of_wait()
        left = timeout
        if until is not None:
            left = max(0.0, until - time.monotonic())
            left = left if timeout is None else min(left, timeout)
        kept: list[RV] = []

        async def wait_again(grace: float) -> None:
            kept.append(await wait_async(gen, self.pgconn.socket, WAKE_UP_S, grace))

        try:
            return await wait_async(gen, self.pgconn.socket, interval, left)
        except asyncio.CancelledError:
            # Not psycopg's own wait: in a black hole that one takes ten seconds to be cancelled.
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                with contextlib.suppress(psycopg.Error):
                    await self.stop_statement(wait_again)
            raise
        except psycopg.OperationalError as error:
            if until is None or not self.is_time_out(error, until):
                raise
        await self.stop_statement(wait_again)
        return kept[0]


def is_quiet(connection: AnyConnection) -> bool:
    """Say whether the server has sent nothing on an idle connection, its end included.

    Costs a microsecond: no message is sent.
    """
    if connection.closed:
        return False
    watched = connection.watched
    if watched is None:
        watched = connection.watched = select.poll()
        watched.register(connection.pgconn.socket, select.POLLIN)
    return not watched.poll(0)


async def rolled_back(connection: AnyConnection) -> None:
    """Undo what a connection is in the midst of; one that does not answer in time is closed."""
    logger.warning("a connection came back in a transaction, which is rolled back")
    connection.limit(CHECK_LIMIT_S)
    try:
        await settled(connection.rollback())
    except psycopg.Error:
        connection.pgconn.finish()
    finally:
        connection.limit(None)


async def answers(connection: AnyConnection, limit_s: float = CHECK_LIMIT_S) -> bool:
    """Say whether the server answers on a connection in time; one that does not is closed."""
    if connection.closed:
        return False
    connection.limit(limit_s)
    connection.is_cancelled = False
    try:
        await settled(connection.execute(""))
    except psycopg.Error:
        return False
    finally:
        connection.limit(None)
    return True
