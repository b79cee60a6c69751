"""PgClient and AsyncPgClient: the whole of the client, from one body."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet, WeakValueDictionary

from duckalog.postgres.config import PgConfig, RetryConfig
from duckalog.postgres.connection import AnyConnection
from duckalog.postgres.errors import ClosedError, SerializationError
from duckalog.postgres.execution import Loads, Params, run
from duckalog.postgres.faces import Awaiting, Background, Blocking, Both, F, Pause, settled
from duckalog.postgres.notifications import NotificationStream
from duckalog.postgres.operations import Operations
from duckalog.postgres.pool import PoolStats
from duckalog.postgres.queries import R
from duckalog.postgres.routed import Routed
from duckalog.postgres.routing import RoutingStats
from duckalog.postgres.rows import Outcome, Row, shaped
from duckalog.postgres.simulated import routed_of
from duckalog.postgres.transactions import IsolationLevel, Transaction, TransactionOptions

if TYPE_CHECKING:
    from psycopg.sql import Composable

T = TypeVar("T")
C = TypeVar("C", bound="_Client[Any]")
logger = logging.getLogger("duckalog.postgres")


class _Client(Operations[F]):
    """A client of one PostgreSQL database, on a primary and its replicas.

    A statement goes to the primary, unless there are replicas and it is sure to
    be a read. Transactions, streams and bulk operations go to the primary.
    """

    def __init__(self, config: PgConfig | str, **stated: Any) -> None:
        """Take a config, or a connection string and the arguments of PgConfig.

        Nothing is opened yet: that is `open`, or the start of a `with` block.
        """
        if isinstance(config, str):
            config = PgConfig(config, **stated)
        elif stated:
            raise TypeError("arguments of PgConfig go with a connection string")
        self.config = config
        self.query_timeout_s = config.query_timeout_s
        self._routed: Routed[F] | None = None
        self._watches: list[Background] = []
        self._databases: dict[str, Any] = {}
        self._transactions: WeakValueDictionary[int, Transaction[F]] = WeakValueDictionary()
        self._streams: WeakValueDictionary[int, NotificationStream[F]] = WeakValueDictionary()

    @classmethod
    def from_env(cls: type[C], environment: Mapping[str, str] | None = None, **stated: Any) -> C:
        """Return a client that the variables `PG_HOST`, `PG_PORT` and so on configure."""
        return cls(PgConfig.from_env(environment, **stated))

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return self._routed is not None

    async def _enter(self) -> None:
        if self._routed is not None:
            return
        routed: Routed[F] = routed_of(self.config)(self.face, self.config)
        await routed.open()
        if self._routed is not None:
            await routed.close()  # somebody else opened it meanwhile
            return
        self._routed = routed
        _OPEN.add(self)
        self.config.observing.opened(self)
        self._watches = [self.face.spawn("duckalog.postgres watch", self._watched)]
        if routed.pools:
            self._watches.append(self.face.spawn("duckalog.postgres lag", self._lag_watched))

    def _forked(self) -> None:
        """Be closed in a process that was forked: its parent goes on with the connections."""
        users: list[Any] = [*_living(self._transactions), *_living(self._streams)]
        _OF_PARENTS.append((self._routed, [one._connection for one in users]))
        for one in users:  # so that leaving its block says nothing to the server
            one._connection = None
        self._routed = None
        self._watches, self._databases, self._streams = [], {}, WeakValueDictionary()

    async def _leave(self, error: BaseException | None) -> None:  # noqa: ARG002
        await self.face.whole(self._closed())

    async def _closed(self) -> None:
        watches, self._watches = self._watches, []
        try:
            for watch in watches:
                await watch.stop()
            for stream in _living(self._streams):
                await stream._leave(None)
            databases, self._databases = self._databases, {}
            for other in databases.values():
                await other._leave(None)
        finally:  # also where the event loop ends meanwhile
            routed, self._routed = self._routed, None
            if routed is not None:
                self.config.observing.closed(self)
                await routed.close()

    async def _watched(self, pause: Pause) -> None:
        """Ask the servers on idle connections, and warn of long transactions, again and again."""
        try:
            seconds = self.config.pool.health_check_interval_s
            await _repeated(pause, seconds, self._looked_after)
        except asyncio.CancelledError:
            # The event loop ends, and would not: psycopg's pools do not hear of it.
            await self._closed()
            raise

    async def _looked_after(self) -> None:
        for transaction in _living(self._transactions):
            transaction.warn_if_long()
        for pool in self._servers().all_pools:
            await pool.check()

    async def _lag_watched(self, pause: Pause) -> None:
        """Ask the servers where they are, again and again."""
        seconds = self.config.lag_check_interval_s
        await _repeated(pause, seconds, lambda: self._servers().refresh())

    def _servers(self) -> Routed[F]:
        if self._routed is None:
            raise ClosedError("the client is not open", "Use it in a with block, or open it.")
        return self._routed

    async def _run(
        self,
        sql: Any,
        params: Params,
        timeout_s: float | None,
        prepare: bool | None = None,
        loads: Loads | None = None,
    ) -> Outcome:
        servers = self._servers()
        limit_s = self._limit(timeout_s)
        if not servers.pools:
            primary = servers.primary
            connection = await primary.acquire()
            try:
                return await run(connection, sql, params, limit_s, prepare, loads)
            finally:
                await primary.release(connection)

        def work(connection: AnyConnection) -> Awaitable[Outcome]:
            return run(connection, sql, params, limit_s, prepare, loads)

        if await servers.is_read(sql):
            return await servers.read(work)
        return await servers.write(work)

    async def _acquire(self) -> AnyConnection:
        return await self._servers().primary.acquire()

    def _has(self, connection: AnyConnection) -> bool:
        return all(one is None or connection.home not in one.all_pools for one, _ in _OF_PARENTS)

    async def _release(self, connection: AnyConnection) -> None:
        if self._routed is not None:  # else the client was closed meanwhile
            self._routed.wrote()
        await connection.home.release(connection)

    @asynccontextmanager
    async def _whole(self) -> AsyncIterator[Transaction[F]]:
        async with _entered(self._transaction(TransactionOptions())) as made:
            yield made

    @Both
    async def open(self) -> None:
        """Connect; raises ConnectError with the server's reason."""
        await self._enter()

    @Both
    async def close(self) -> None:
        """Close every connection."""
        await self._leave(None)

    def transaction(
        self,
        *,
        isolation: IsolationLevel | str | None = None,
        read_only: bool | None = None,
        deferrable: bool | None = None,
        timeout_s: float | None = None,
        warn_after_s: float | None = 60.0,
    ) -> Transaction[F]:
        """Return a transaction for a `with` block, which begins it."""
        options = TransactionOptions(
            isolation=isolation,
            read_only=read_only,
            deferrable=deferrable,
            timeout_s=timeout_s,
            warn_after_s=warn_after_s,
        )
        return self._transaction(options)

    def _transaction(self, options: TransactionOptions, attempt: int = 1) -> Transaction[F]:
        servers = self._servers()
        made = Transaction(servers.primary, self.query_timeout_s, options, servers.wrote, attempt)
        self._transactions[id(made)] = made
        return made

    @Both
    async def begin(self, options: TransactionOptions | None = None) -> Transaction[F]:
        """Return a transaction that has begun; its `commit` or `rollback` is the caller's."""
        made = self._transaction(options or TransactionOptions())
        await made._enter()
        return made

    @Both
    async def transaction_with_retry(
        self,
        function: Callable[[Transaction[F]], T | Awaitable[T]],
        *,
        max_retries: int = 3,
        options: TransactionOptions | None = None,
    ) -> T:
        """Return what a function returns that runs in a transaction, again where others conflict.

        It is run again after a serialization failure (40001) or a deadlock
        (40P01), `max_retries` times at most, so that it should do nothing
        else that cannot be undone.
        """
        retry: RetryConfig = dataclasses.replace(self.config.retry, attempts=max_retries + 1)
        delays = retry.delays()
        options = options or TransactionOptions()
        attempt = 0
        while True:
            attempt += 1
            try:
                async with _entered(self._transaction(options, attempt)) as made:
                    return await settled(function(made))
            except SerializationError:
                delay = next(delays, None)
                if delay is None:
                    raise
                await self.face.sleep(delay)

    @Both
    async def database(self: C, name: str) -> C:
        """Return a client of another database of the same servers; it closes with this one."""
        servers = self._servers()
        if name not in self._databases:
            other = type(self)(self.config.with_database(name))
            await other._enter()
            if self._routed is not servers:
                await other._leave(None)
                raise ClosedError("the client was closed meanwhile")
            if self._databases.setdefault(name, other) is not other:
                await other._leave(None)  # somebody else opened one meanwhile
        found: C = self._databases[name]
        return found

    @Both
    async def resize(self, min_size: int, max_size: int) -> None:
        """Change the pools' sizes while they are in use."""
        for pool in self._servers().all_pools:
            await pool.resize(min_size, max_size)

    @Both
    async def drain(self) -> None:
        """Make every connection anew, those in use when they come back: after a rotation, say."""
        for pool in self._servers().all_pools:
            await pool.drain()

    @Both
    async def check(self) -> bool:
        """Say whether the primary answers, having replaced the connections that were dead."""
        servers = self._servers()
        for pool in servers.all_pools:
            await pool.check()
        return await servers.answers()

    @Both
    async def query_on_primary(
        self,
        sql: str | Composable,
        params: Params = (),
        *,
        into: Callable[..., R] = Row,  # type: ignore[assignment]
        timeout_s: float | None = None,
    ) -> list[R]:
        """Return all rows, as the primary has them."""
        limit_s = self._limit(timeout_s)
        servers = self._servers()
        is_read = await servers.is_read(sql)
        outcome = await (servers.read_on_primary if is_read else servers.write)(
            lambda connection: run(connection, sql, params, limit_s)
        )
        return shaped(outcome, into)

    @Both
    async def query_with_max_lag(
        self,
        sql: str | Composable,
        params: Params = (),
        *,
        max_lag_s: float,
        into: Callable[..., R] = Row,  # type: ignore[assignment]
        timeout_s: float | None = None,
    ) -> list[R]:
        """Return all rows of a read, from a replica only if it is sure to lag no more."""
        limit_s = self._limit(timeout_s)
        outcome = await self._servers().read(
            lambda connection: run(connection, sql, params, limit_s), max_lag_s
        )
        return shaped(outcome, into)

    @Both
    async def listen(self, *channels: str) -> NotificationStream[F]:
        """Return the notifications of these channels, to iterate over and to close."""
        stream = NotificationStream(self._servers().primary, channels)
        self._streams[id(stream)] = stream
        await stream._enter()
        return stream

    def get_routing_stats(self) -> RoutingStats:
        """Return where statements went, and what is known of the replicas."""
        return self._servers().stats()

    def pool_stats(self) -> dict[str, PoolStats]:
        """Return what each pool has and did, by its name."""
        return {one.name: one.stats() for one in self._servers().all_pools}


@asynccontextmanager
async def _entered(transaction: Transaction[F]) -> AsyncIterator[Transaction[F]]:
    """Run a transaction as a block, whatever its face."""
    await transaction._enter()
    try:
        yield transaction
    except BaseException as error:
        await transaction._leave(error)
        raise
    await transaction._leave(None)


async def _repeated(pause: Pause, seconds: float, look: Callable[[], Awaitable[None]]) -> None:
    """Look after something again and again, whatever comes of it."""
    while await pause(seconds):
        try:
            await look()
        except Exception as error:  # its text may hold what must not be logged
            kind = type(error).__name__
            logger.error("a check of the servers failed (%s); the next one comes", kind)


def _living(noted: WeakValueDictionary[int, T]) -> list[T]:
    """Return what there is still; other threads may note more meanwhile."""
    return [one for known in noted.valuerefs() if (one := known()) is not None]


_OPEN: WeakSet[_Client[Any]] = WeakSet()
_OF_PARENTS: list[tuple[Routed[Any] | None, list[AnyConnection]]] = []
"""Kept, so that nothing is said to the servers on their connections."""


def _forget_parents() -> None:
    for client in list(_OPEN):
        client._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)


class PgClient(_Client[Blocking]):
    """A PostgreSQL client whose methods return when they are done; any thread may use it."""

    face = Blocking


class AsyncPgClient(_Client[Awaiting]):
    """A PostgreSQL client whose methods are awaited, in one event loop."""

    face = Awaiting
