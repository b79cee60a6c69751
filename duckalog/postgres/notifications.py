"""LISTEN: notifications as they come, over lost connections too."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from duckalog.postgres.config import RetryConfig
from duckalog.postgres.connection import AnyConnection, answers
from duckalog.postgres.errors import ClosedError, PgError
from duckalog.postgres.execution import run
from duckalog.postgres.faces import Blocking, Both, F, Scope, finished, settled
from duckalog.postgres.pool import Pool

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

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that it listens on."""
        return tuple(self._channels)

    async def _enter(self) -> None:
        if self._is_closed:
            raise ClosedError("the stream is closed", "Listen again.")
        if self._connection is None:
            self._connection = await self._connected()

    async def _leave(self, error: BaseException | None) -> None:  # noqa: ARG002
        self._is_closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            await settled(connection.close())

    async def _connected(self) -> AnyConnection:
        connection = await self._pool.connect()
        try:
            for channel in self._channels:
                await _listen(connection, "LISTEN {}", channel)
        except BaseException:
            connection.pgconn.finish()
            raise
        return connection

    async def _reconnected(self) -> None:
        """Connect and listen again, however long it takes."""
        lost_at = time.monotonic()
        retry = self._pool.config.retry
        for number in itertools.count():
            if self._is_closed:
                return
            try:
                connection = await self._connected()
            except (PgError, psycopg.Error):
                await self.face.sleep(_delay(retry, number))
                continue
            if self._is_closed:  # by another thread or task, meanwhile
                await settled(connection.close())
                return
            self._connection = connection
            self._found.append(Gap(time.monotonic() - lost_at))
            return

    async def _next(self, timeout_s: float | None) -> Notification | Gap | None:
        deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        heard_at = time.monotonic()
        while not self._found and not self._is_closed:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            while self._changes:
                await self.face.sleep(0.001)
            try:
                await self._heard(min(SLICE_S, left))
                if time.monotonic() - heard_at > self._pool.config.pool.health_check_interval_s:
                    heard_at = time.monotonic()
                    if self._connection is not None and not await answers(self._connection):
                        raise psycopg.OperationalError("no answer")
            except psycopg.Error:
                if self._is_closed:
                    break
                if self._connection is not None:
                    self._connection.pgconn.finish()
                await self._reconnected()
        return self._found.popleft() if self._found else None

    async def _heard(self, seconds: float) -> None:
        connection = self._connection
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
            if self._connection is not None and not self._connection.closed:
                await _listen(self._connection, statement, channel)
        finally:
            self._changes -= 1

    @Both
    async def add_channel(self, channel: str) -> None:
        """Listen on another channel, too."""
        self._channels[channel] = None
        await self._change("LISTEN {}", channel)

    @Both
    async def remove_channel(self, channel: str) -> None:
        """Listen on a channel no more."""
        self._channels.pop(channel, None)
        await self._change("UNLISTEN {}", channel)

    @Both
    async def next(self, timeout_s: float | None = None) -> Notification | Gap | None:
        """Return what comes next; None where nothing came in time, or the stream was closed."""
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


async def _listen(connection: AnyConnection, statement: Any, channel: str) -> None:
    await run(connection, SQL(statement).format(Identifier(channel)), (), LISTEN_LIMIT_S)


def _delay(retry: RetryConfig, number: int) -> float:
    doubled: float = retry.first_delay_s * 2 ** min(number, 30)
    return min(retry.max_delay_s, doubled)
