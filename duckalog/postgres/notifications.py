"""LISTEN: notifications as they come, over lost connections too."""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from duckalog.postgres.config import RetryConfig
from duckalog.postgres.connection import AnyConnection, answers
from duckalog.postgres.errors import ClosedError, ConnectionLost, PgError
from duckalog.postgres.execution import run
from duckalog.postgres.faces import Blocking, Both, F, Scope, finished, settled
from duckalog.postgres.pool import Pool

logger = logging.getLogger("duckalog.postgres")

SLICE_S = 0.25
"""How long one wait holds the connection, which other threads may need."""

LISTEN_LIMIT_S = 10.0


@dataclass(frozen=True)
class Notification:
    """What somebody sent; `pid` is the sender's backend."""

    channel: str
    payload: str
    pid: int


@dataclass(frozen=True)
class Gap:
    """The connection was lost for so long: what was sent meanwhile has been missed."""

    seconds: float


class NotificationStream(Scope[F]):
    """The notifications of some channels, on a connection of its own; iterated over without end.

    A connection that is lost is made again, on whichever server is the
    primary, and a Gap tells of it.
    """

    def __init__(self, pool: Pool[F], channels: tuple[str, ...]) -> None:
        self.face = pool.face
        self._pool: Pool[F] = pool
        self._channels = dict.fromkeys(channels)
        self._connection: AnyConnection | None = None
        self._found: deque[Notification | Gap] = deque()
        self._changes = 0
        self._is_closed = False
        self._lost_at: float | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that it listens on."""
        return tuple(self._channels)

    async def _enter(self) -> None:
        if self._is_closed:
            raise ClosedError("the stream is closed", "Listen again.")
        if self._connection is None:
            connection = await self._pool.connect()
            try:
                await self._agree(connection, LISTEN_LIMIT_S)
                if self._is_closed:  # with its client, meanwhile
                    raise ClosedError("the client was closed meanwhile")
            except BaseException:
                connection.pgconn.finish()
                raise
            self._connection = connection

    async def _leave(self, error: BaseException | None) -> None:  # noqa: ARG002
        self._is_closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            await settled(connection.close())

    async def _agree(self, connection: AnyConnection, limit_s: float) -> None:
        """Listen on the channels, those too that come and go meanwhile."""
        heard: list[str] = []
        while heard != (wanted := list(self._channels)):
            for channel in wanted:
                if channel not in heard:
                    await _listen(connection, "LISTEN {}", channel, limit_s)
            for channel in heard:
                if channel not in wanted:
                    await _listen(connection, "UNLISTEN {}", channel, limit_s)
            heard = wanted

    async def _reconnected(self, deadline: float) -> None:
        """Connect and listen again, however often it takes until then."""
        lost = self._connection
        if self._lost_at is None:
            self._lost_at = time.monotonic()
        for number in itertools.count():
            left = deadline - time.monotonic()
            if self._is_closed or left <= 0 or self._connection is not lost:
                return
            try:
                await self._replaced(lost, left)
            except Exception as error:  # a provider of credentials may raise anything
                if not number:
                    logger.warning("notifications are missed, there is no connection: %s", error)
                left = deadline - time.monotonic()
                await self.face.sleep(max(0.0, min(_delay(self._pool.config.retry, number), left)))

    async def _replaced(self, lost: AnyConnection, left: float) -> None:
        connection = await self._pool.connect(left)
        try:
            if self._is_closed or self._connection is not lost:  # by another thread or task
                connection.pgconn.finish()
                return
            # From here on `add_channel` finds it.
            self._connection = connection
            await self._agree(connection, min(LISTEN_LIMIT_S, max(left, 1.0)))
        except BaseException:
            self._connection = lost
            connection.pgconn.finish()
            raise
        now = time.monotonic()
        since, self._lost_at = self._lost_at or now, None
        self._found.append(Gap(now - since))

    async def _next(self, timeout_s: float | None) -> Notification | Gap | None:
        deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        heard_at = time.monotonic()
        is_asked = False  # without time to wait, too, what has come is heard of
        while not self._is_closed:
            with contextlib.suppress(IndexError):
                return self._found.popleft()
            left = deadline - time.monotonic()
            if left <= 0 and is_asked:
                return None
            while self._changes:
                await self.face.sleep(0.001)
            is_asked = True
            try:
                await self._heard(max(0.0, min(SLICE_S, left)))
                if time.monotonic() - heard_at > self._pool.config.pool.health_check_interval_s:
                    heard_at = time.monotonic()
                    if self._connection is not None and not await answers(self._connection):
                        raise psycopg.OperationalError("no answer")
            except psycopg.Error:
                if self._is_closed:
                    break
                if self._connection is not None:
                    self._connection.pgconn.finish()
                await self._reconnected(deadline)
        return self._found.popleft() if self._found else None

    async def _heard(self, seconds: float) -> None:
        connection = self._connection
        if self._is_closed:  # while a channel was changed
            return
        if connection is None:
            raise ClosedError("the stream is not open", "Use it in a with block.")
        notifies = connection.notifies(timeout=seconds, stop_after=1)
        if self.face.is_async:
            async for one in notifies:
                self._found.append(Notification(one.channel, one.payload, one.pid))
        else:
            for one in notifies:
                self._found.append(Notification(one.channel, one.payload, one.pid))

    async def _change(self, statement: str, channel: str) -> None:
        self._changes += 1
        try:
            # One that is lost is made again, and listens on the channels that there are then.
            if self._connection is not None and not self._connection.closed:
                with contextlib.suppress(ConnectionLost):
                    await _listen(self._connection, statement, channel)
        finally:
            self._changes -= 1

    @Both
    async def add_channel(self, channel: str) -> None:
        """Listen on another channel, too."""
        is_new = channel not in self._channels
        self._channels[channel] = None
        try:
            await self._change("LISTEN {}", channel)
        except PgError:
            if is_new:
                self._channels.pop(channel, None)
            raise

    @Both
    async def remove_channel(self, channel: str) -> None:
        """Listen on a channel no more."""
        self._channels.pop(channel, None)
        await self._change("UNLISTEN {}", channel)

    @Both
    async def next(self, timeout_s: float | None = None) -> Notification | Gap | None:
        """Return what comes next; None where nothing came in time, or the stream was closed.

        An attempt to connect again that is under way may take two seconds longer.
        """
        return await self._next(timeout_s)

    @Both
    async def close(self) -> None:
        """Listen no more; who iterates comes to an end."""
        await self._leave(None)

    def __iter__(self: NotificationStream[Blocking]) -> Iterator[Notification | Gap]:
        while (one := finished(self._next(None))) is not None:
            yield one

    async def __aiter__(self) -> AsyncIterator[Notification | Gap]:
        while (one := await self._next(None)) is not None:
            yield one


async def _listen(
    connection: AnyConnection, statement: Any, channel: str, limit_s: float = LISTEN_LIMIT_S
) -> None:
    await run(connection, SQL(statement).format(Identifier(channel)), (), limit_s)


def _delay(retry: RetryConfig, number: int) -> float:
    doubled: float = retry.first_delay_s * 2 ** min(number, 30)
    return min(retry.max_delay_s, doubled)
