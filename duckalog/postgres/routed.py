"""Reads on replicas, writes on the primary: the router and the pools it routes to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Generic, TypeVar

from duckalog.postgres.config import PgConfig
from duckalog.postgres.connection import AnyConnection
from duckalog.postgres.errors import (
    ConnectError,
    ConnectionLost,
    PgError,
    QueryTimeout,
    ReadOnlyError,
    SerializationError,
)
from duckalog.postgres.execution import run_own as run
from duckalog.postgres.faces import Awaiting, Blocking, F
from duckalog.postgres.hooks import Decision
from duckalog.postgres.intent import VOLATILE, intent_of
from duckalog.postgres.pool import Pool
from duckalog.postgres.routing import (
    DOWN_FOR_S,
    ConnectionRole,
    Replica,
    ReplicaStats,
    Router,
    RoutingStats,
)

T = TypeVar("T")
logger = logging.getLogger("duckalog.postgres")

REPLICA_PATIENCE_S = 1.0
"""How long a read waits for a replica's connection before it goes elsewhere."""

# Not pg_current_wal_lsn(): with synchronous_commit off, a commit is answered before that.
# Where the last record filled its page, it is past the next one's header (24 bytes, 40 in a new
# segment), which a replica replays with the record after it only.
CURRENT = (
    "SELECT lsn - CASE WHEN lsn % block IN (24, 40) THEN lsn % block ELSE 0 END"
    " FROM (SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::int8 AS lsn,"
    " current_setting('wal_block_size')::int8 AS block) AS now"
)
REPLAYED = (
    "SELECT pg_is_in_recovery(), "
    "CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::int8 END"
)

Work = Callable[[AnyConnection], Awaitable[T]]


class Routed(Generic[F]):
    """The primary's pool, and those of its replicas."""

    pool_class: type[Pool[Any]] = Pool

    def __init__(self, face: type[Blocking] | type[Awaiting], config: PgConfig) -> None:
        made = self.pool_class
        self.primary: Pool[F] = made(face, config.for_primary(), f"primary of {config.database}")
        self.pools: list[Pool[F]] = [
            made(face, one, f"replica {number} of {config.database}", ConnectionRole.REPLICA)
            for number, one in enumerate(config.replicas, 1)
        ]
        self.router = Router(config.routing_policy, [Replica(one.name) for one in self.pools])
        self._limit_s = config.query_timeout_s
        self._follows_writes = config.read_your_writes
        self._observing = config.observing
        self._lock = threading.Lock()
        self._volatile: dict[str, bool] = {}
        self._writes = 0
        self._writes_known = 0
        self._least_lsn = 0
        self._counts = dict.fromkeys(("reads_on_primary", "writes", "fallbacks", "refused"), 0)

    @property
    def all_pools(self) -> list[Pool[F]]:
        """The primary's pool, and the replicas'."""
        found: list[Pool[F]] = [self.primary]
        return found + self.pools

    async def open(self) -> None:
        """Open every pool, or none; a replica that is down is none for now."""
        try:
            await self._open()
        except BaseException:
            await _closed(self.all_pools)
            raise

    async def _open(self) -> None:
        await self.primary.open()
        for pool, replica in zip(self.pools, self.router.replicas, strict=True):
            try:
                await pool.open()
            except ConnectError as error:
                logger.warning("%s is down: %s", replica.name, error)
                await pool.open_later()
                self._failed(replica)
        await self.refresh()

    async def close(self) -> None:
        """Close every pool, the others too where one is not closed."""
        await _closed(self.all_pools)

    def _count(self, decision: Decision) -> None:
        with self._lock:
            self._counts[decision.value] += 1
        self._observing.routed(decision, self.primary.name)

    def _failed(self, replica: Replica) -> None:
        with self._lock:
            replica.failures += 1
            replica.down_until = time.monotonic() + DOWN_FOR_S

    async def refresh(self) -> None:
        """Ask every server where it is."""
        if not self.pools:
            return
        try:
            asked_at = time.monotonic()
            lsn = await self._ask(self.primary, CURRENT)
            self.router.clock.note(asked_at, lsn[0])
        except PgError as error:
            logger.debug("the primary did not say where it is: %s", error)
        for pool, replica in zip(self.pools, self.router.replicas, strict=True):
            try:
                is_replica, replayed = await self._ask(pool, REPLAYED)
            except PgError as error:
                logger.debug("%s did not say where it is: %s", replica.name, error)
                replica.role = ConnectionRole.UNKNOWN
                self._failed(replica)
                continue
            replica.role = ConnectionRole.REPLICA if is_replica else ConnectionRole.PRIMARY
            replica.replay_lsn = replayed or 0
            replica.down_until = 0.0

    async def _ask(self, pool: Pool[F], sql: str) -> tuple[Any, ...]:
        connection = await pool.acquire(REPLICA_PATIENCE_S)
        try:
            return (await run(connection, sql, (), REPLICA_PATIENCE_S)).rows[0]
        finally:
            await pool.release(connection)

    async def answers(self) -> bool:
        """Say whether the primary answers, soon."""
        try:
            await self._ask(self.primary, "SELECT 1")
        except PgError:
            return False
        return True

    async def is_read(self, sql: Any) -> bool:
        """Say whether a statement may be asked of a replica."""
        intent = intent_of(sql if isinstance(sql, str) else sql.as_string(None))
        if not intent.is_read:
            return False
        unknown = [name for name in intent.functions if name not in self._volatile]
        volatile = await self._volatile_among(unknown) if unknown else ()
        return not any(self._volatile.get(name, name in volatile) for name in intent.functions)

    async def _volatile_among(self, names: list[str]) -> set[str]:
        """Return which functions are volatile; where the primary is away, a replica knows, too."""

        async def ask(pool: Pool[F], patience_s: float | None) -> set[str]:
            limit_s = patience_s or self._limit_s
            work = partial(run, sql=VOLATILE, params=[names], limit_s=limit_s)
            outcome = await self.on(pool, work, patience_s)
            volatile = {name for (name,) in outcome.rows}
            # A replica may not have heard of a function yet.
            sure = names if pool is self.primary else set(names) - volatile
            self._volatile.update({name: name in volatile for name in sure})
            return volatile

        for pool in self.all_pools:
            try:
                return await ask(pool, REPLICA_PATIENCE_S)
            except (ConnectError, ConnectionLost, QueryTimeout) as error:
                logger.debug("%s did not say which functions are volatile: %s", pool.name, error)
        return await ask(self.primary, None)

    async def on(self, pool: Pool[F], work: Work[T], timeout_s: float | None = None) -> T:
        """Return what is done on a connection of one pool."""
        connection = await pool.acquire(timeout_s)
        try:
            return await work(connection)
        finally:
            await pool.release(connection)

    async def write(self, work: Work[T]) -> T:
        """Return what is done on the primary; where that has moved, on the new one."""
        self._count(Decision.WRITE)
        try:
            return await self.on(self.primary, work)
        except ReadOnlyError:
            if not self.pools:
                raise
            await self.primary.drain()
            return await self.on(self.primary, work)
        finally:
            self.wrote()

    def wrote(self) -> None:
        """Note that something was written, by a transaction say."""
        with self._lock:
            self._writes += self._follows_writes

    async def _follow_writes(self) -> None:
        """Ask how far a replica must be to have all that was written until now."""
        writes = self._writes
        if writes == self._writes_known or not self.pools:
            return
        # Not _ask: while the primary moves, this waits as a write does.
        found = await self.on(self.primary, lambda one: run(one, CURRENT, (), self._limit_s))
        with self._lock:
            # Others may write, or ask, meanwhile: what they wrote is not in this answer.
            if writes > self._writes_known:
                self._writes_known, self._least_lsn = writes, found.rows[0][0]

    async def read(self, work: Work[T], max_lag_s: float | None = None) -> T:
        """Return what is read on a replica, or where none can, on the primary."""
        await self._follow_writes()
        for number in await self._candidates(max_lag_s):
            pool, replica = self.pools[number], self.router.replicas[number]
            try:
                return await self._on_replica(pool, replica, work)
            except _Behind:
                continue
            except ReadOnlyError:
                self._count(Decision.REFUSED)
                return await self.write(work)
            except SerializationError:
                break  # it conflicts with what the replica replays: the primary replays nothing
            except (ConnectError, ConnectionLost) as error:
                logger.warning("%s failed, and is left alone: %s", replica.name, error)
                self._failed(replica)
            except QueryTimeout as error:
                if error.sqlstate is None:  # else it answered: the statement takes long
                    self._failed(replica)
                raise
        return await self.read_on_primary(work, is_fallback=bool(self.pools))

    async def read_on_primary(self, work: Work[T], *, is_fallback: bool = False) -> T:
        """Return what is read on the primary, again if its connection is lost."""
        self._count(Decision.FALLBACK if is_fallback else Decision.READ_ON_PRIMARY)
        try:
            return await self.on(self.primary, work)
        except ConnectionLost:
            return await self.on(self.primary, work)

    async def _candidates(self, max_lag_s: float | None) -> list[int]:
        in_use = [pool.stats().in_use for pool in self.pools]
        found = self.router.candidates(time.monotonic(), in_use, max_lag_s)
        if found or max_lag_s is None or not self.pools:
            return found
        await self.refresh()
        return self.router.candidates(time.monotonic(), in_use, max_lag_s)

    async def _on_replica(self, pool: Pool[F], replica: Replica, work: Work[T]) -> T:
        connection = await pool.acquire(REPLICA_PATIENCE_S)
        try:
            if replica.replay_lsn < self._least_lsn and not await self._is_there(
                connection, replica
            ):
                raise _Behind
            result = await work(connection)
        finally:
            await pool.release(connection)
        with self._lock:
            replica.reads += 1
        self._observing.routed(Decision.READ_ON_REPLICA, pool.name)
        return result

    async def _is_there(self, connection: AnyConnection, replica: Replica) -> bool:
        """Say whether a replica has what was written; one that does not say is behind."""
        least = self._least_lsn
        try:
            (row,) = (await run(connection, REPLAYED, (), REPLICA_PATIENCE_S)).rows
        except QueryTimeout as error:
            logger.warning("%s did not say where it is, and is left alone: %s", replica.name, error)
            self._failed(replica)
            return False
        replica.replay_lsn = row[1] or 0
        return replica.replay_lsn >= least

    def stats(self) -> RoutingStats:
        """Return where statements went."""
        now = time.monotonic()
        latest = self.router.clock.latest
        with self._lock:
            return RoutingStats(
                **self._counts,
                replicas=tuple(
                    self._replica_stats(one, now, latest) for one in self.router.replicas
                ),
            )

    def _replica_stats(self, replica: Replica, now: float, latest: int) -> ReplicaStats:
        age = self.router.clock.age(replica.replay_lsn, now)
        is_known = replica.role is ConnectionRole.REPLICA
        return ReplicaStats(
            name=replica.name,
            role=replica.role,
            is_up=replica.is_up(now),
            lag_bytes=max(0, latest - replica.replay_lsn) if is_known else None,
            lag_s=age if is_known and age != float("inf") else None,
            reads=replica.reads,
            failures=replica.failures,
        )


async def _closed(pools: list[Pool[F]]) -> None:
    try:
        await pools[0].close()
    finally:
        if pools[1:]:
            await _closed(pools[1:])


class _Behind(Exception):
    """A replica has not replayed what its reader wrote."""
