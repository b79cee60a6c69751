"""PgClient and AsyncPgClient: the whole of the client, from one body."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from weakref import WeakSet

from duckalog.postgres.config import PgConfig, RetryConfig
from duckalog.postgres.connection import AnyConnection
from duckalog.postgres.errors import ClosedError, SerializationError
from duckalog.postgres.faces import Awaiting, Background, Blocking, Both, F, Pause, settled
from duckalog.postgres.operations import Operations
from duckalog.postgres.pool import Pool, PoolStats
from duckalog.postgres.transactions import IsolationLevel, Transaction, TransactionOptions

T = TypeVar("T")
C = TypeVar("C", bound="_Client[Any]")


class _Client(Operations[F]):
    """A client of one PostgreSQL database, with a pool of connections to it."""

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
        self._primary: Pool[F] | None = None
        self._watch: Background | None = None
        self._databases: dict[str, Any] = {}
        self._transactions: WeakSet[Transaction[F]] = WeakSet()

    @classmethod
    def from_env(cls: type[C], environment: Mapping[str, str] | None = None, **stated: Any) -> C:
        """Return a client that the variables `PG_HOST`, `PG_PORT` and so on configure."""
        return cls(PgConfig.from_env(environment, **stated))

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return self._primary is not None

    async def _enter(self) -> None:
        if self._primary is not None:
            return
        pool: Pool[F] = Pool(self.face, self.config, f"primary of {self.config.database}")
        await pool.open()
        self._primary = pool
        self._watch = self.face.spawn("duckalog.postgres watch", self._watched)

    async def _leave(self, error: BaseException | None) -> None:  # noqa: ARG002
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.stop()
        databases, self._databases = self._databases, {}
        for other in databases.values():
            await other._leave(None)
        pool, self._primary = self._primary, None
        if pool is not None:
            await pool.close()

    async def _watched(self, pause: Pause) -> None:
        """Ask the servers on idle connections, and warn of long transactions, again and again."""
        while await pause(self.config.pool.health_check_interval_s):
            for transaction in list(self._transactions):
                transaction.warn_if_long()
            if self._primary is not None:
                await self._primary.check()

    def _pool(self) -> Pool[F]:
        if self._primary is None:
            raise ClosedError("the client is not open", "Use it in a with block, or open it.")
        return self._primary

    async def _acquire(self) -> AnyConnection:
        return await self._pool().acquire()

    async def _release(self, connection: AnyConnection) -> None:
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

    def _transaction(self, options: TransactionOptions) -> Transaction[F]:
        made = Transaction(self._pool(), self.query_timeout_s, options)
        self._transactions.add(made)
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
        while True:
            try:
                async with _entered(self._transaction(options or TransactionOptions())) as made:
                    return await settled(function(made))
            except SerializationError:
                delay = next(delays, None)
                if delay is None:
                    raise
                await self.face.sleep(delay)

    @Both
    async def database(self: C, name: str) -> C:
        """Return a client of another database of the same servers; it closes with this one."""
        if name not in self._databases:
            other = type(self)(self.config.with_database(name))
            await other._enter()
            self._databases[name] = other
        found: C = self._databases[name]
        return found

    @Both
    async def resize(self, min_size: int, max_size: int) -> None:
        """Change the pool's sizes while it is in use."""
        await self._pool().resize(min_size, max_size)

    @Both
    async def drain(self) -> None:
        """Make every connection anew, those in use when they come back: after a rotation, say."""
        await self._pool().drain()

    @Both
    async def check(self) -> bool:
        """Say whether the server answers, having replaced the connections that were dead."""
        pool = self._pool()
        await pool.check()
        return pool.last_failure is None

    def pool_stats(self) -> dict[str, PoolStats]:
        """Return what each pool has and did, by its name."""
        return {one.name: one.stats() for one in [self._pool()]}


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


class PgClient(_Client[Blocking]):
    """A PostgreSQL client whose methods return when they are done; any thread may use it."""

    face = Blocking


class AsyncPgClient(_Client[Awaiting]):
    """A PostgreSQL client whose methods are awaited, in one event loop."""

    face = Awaiting
