"""A pool of connections to one server, or to whichever of several takes writes."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Generic

import psycopg
import psycopg_pool
from psycopg.pq import TransactionStatus

from duckalog.postgres.config import PgConfig
from duckalog.postgres.connection import (
    CHECK_LIMIT_S,
    AnyConnection,
    AwaitingConnection,
    BlockingConnection,
    Connect,
    answers,
    is_quiet,
    rolled_back,
)
from duckalog.postgres.credentials import CachedCredentials
from duckalog.postgres.errors import AcquireTimeout, ClosedError, ConnectError, is_passing
from duckalog.postgres.faces import Awaiting, Blocking, F, finished, settled
from duckalog.postgres.hooks import OperationKind
from duckalog.postgres.masking import Masking
from duckalog.postgres.observing import place
from duckalog.postgres.parameters import SslMode, is_local
from duckalog.postgres.routing import ConnectionRole

logger = logging.getLogger("duckalog.postgres")

MIN_SERVER_VERSION = 120000
RECONNECT_TIMEOUT_S = 300.0
IMPATIENCE_S = 0.1
"""How long a connection may take to answer after another of its pool did not at all."""


@dataclass(frozen=True)
class PoolStats:
    """What a pool has and did; times are in milliseconds, counts from its start on."""

    name: str
    min_size: int
    max_size: int
    size: int
    available: int
    in_use: int
    waiting: int
    acquired: int
    acquire_wait_ms: int
    acquire_errors: int
    usage_ms: int
    connections_made: int
    connections_failed: int
    connections_lost: int


class Pool(Generic[F]):
    """psycopg's pool, whose connections are looked at before they are given away."""

    def __init__(
        self,
        face: type[Blocking] | type[Awaiting],
        config: PgConfig,
        name: str,
        role: ConnectionRole = ConnectionRole.PRIMARY,
    ) -> None:
        self.face = face
        self.config = config
        self.name = name
        self.role = role
        self.observing = config.observing
        self.masking = Masking(config.masks) if config.masks else None
        self.last_failure: ConnectError | None = None
        self._lock = threading.Lock()
        self._lost = 0
        self._told_of_clear_link = False
        self._usage_s = 0.0
        self._given: set[AnyConnection] = set()
        self._generation = 0
        self._patience_s = CHECK_LIMIT_S
        self._doubted_at = 0.0
        self._credentials = CachedCredentials(config.credentials) if config.credentials else None
        self._pool = self._made()

    def _made(self) -> Any:
        kind = _AwaitingPool if self.face is Awaiting else _BlockingPool
        return self._pool_of(kind, self._connection_class())

    def _connection_class(self) -> Any:
        kind = AwaitingConnection if self.face is Awaiting else BlockingConnection
        return type(kind.__name__, (kind,), self._of_connections())

    def _of_connections(self) -> dict[str, Any]:
        return {"home": self, "observing": self.observing, "masking": self.masking}

    def _pool_of(self, kind: Any, connection_class: Any) -> Any:
        sizes = self.config.pool
        return kind(
            connection_class=connection_class,
            kwargs={
                "autocommit": True,
                "prepare_threshold": self.config.prepare_threshold,
                "cursor_factory": psycopg.AsyncRawCursor
                if self.face is Awaiting
                else psycopg.RawCursor,
            },
            min_size=sizes.min_size,
            max_size=sizes.max_size,
            open=False,
            name=self.name,
            timeout=sizes.acquire_timeout_s,
            max_idle=sizes.idle_timeout_s,
            max_lifetime=sizes.max_lifetime_s,
            reconnect_timeout=RECONNECT_TIMEOUT_S,
        )

    async def _conninfo(self, parameters: dict[str, str]) -> str:
        secrets = {name: one.reveal() for name, one in self.config.secrets.items()}
        provider = self._credentials
        if provider is not None:
            try:
                found = await self.face.in_thread(lambda: provider.credentials(parameters))
            except Exception as error:
                self._failed(f"no credentials: {error}")
                raise
            secrets["password"] = found.password.reveal()
            if found.username:
                parameters = {**parameters, "user": found.username}
        stated = {"client_encoding": "utf8", **parameters, **secrets}
        return psycopg.conninfo.make_conninfo("", **stated)

    async def connected(self, connect: Connect) -> AnyConnection:
        """Return a new connection, to the first server that takes it; raises psycopg.Error."""
        generation = self._generation
        failures: list[psycopg.Error] = []
        for parameters in self._places():
            try:
                made = await settled(connect(await self._conninfo(parameters)))
                made.generation = generation
                self._looked_at(made)
            except psycopg.Error as error:
                failures.append(error)
            else:
                return made
        told = "; ".join(str(one).strip() for one in failures)
        self._failed(told, failures[0].sqlstate)
        raise failures[0] if len(failures) == 1 else psycopg.OperationalError(told)

    def _places(self) -> list[dict[str, str]]:
        """Return the parameters that lead to each server, where each has credentials of its own."""
        parameters = dict(self.config.parameters)
        servers = self.config.servers
        if self._credentials is None or len(servers) == 1:
            return [parameters]
        return [
            {**parameters, "host": host, "port": port, "hostaddr": address}
            for (host, port), address in zip(servers, self.config.addresses, strict=True)
        ]

    def _looked_at(self, connection: AnyConnection) -> None:
        """Make a new connection ready; raises where its server is too old."""
        self.last_failure = None
        self._patience_s = CHECK_LIMIT_S
        connection.released_at = time.monotonic()
        connection.spare_cursors = []
        connection.server_cursor_factory = (
            psycopg.AsyncRawServerCursor if self.face is Awaiting else psycopg.RawServerCursor
        )
        version = connection.info.server_version
        if version < MIN_SERVER_VERSION:
            connection.pgconn.finish()
            raise psycopg.NotSupportedError(f"PostgreSQL {version // 10000} is older than 12")
        self._look_at_encryption(connection)

    def _look_at_encryption(self, connection: AnyConnection) -> None:
        """Say so, or refuse it, where what is sent to another machine can be read on the way."""
        pgconn = connection.pgconn
        host = connection.info.hostaddr or connection.info.host
        if pgconn.ssl_in_use or is_local(host):
            return
        if self.config.require_tls:
            pgconn.finish()
            raise psycopg.OperationalError(f"the link to {host} is in clear, against require_tls")
        is_meant = self.config.parameters.get("sslmode") == SslMode.DISABLE.value
        if not is_meant and not self._told_of_clear_link:
            self._told_of_clear_link = True
            logger.warning("the link to %s is in clear: set ssl_mode to verify-full", host)

    def _failed(self, reason: str, sqlstate: str | None = None) -> None:
        self.last_failure = ConnectError(
            f"no connection to {self.config.place}: {reason}", sqlstate=sqlstate
        )

    async def open(self) -> None:
        """Connect once, so that what is wrong is told at once, then fill the pool behind."""
        delays = self.config.retry.delays()
        while True:
            try:
                connection = await self.connect()
                break
            except ConnectError as failure:
                delay = next(delays, None)
                if delay is None or not is_passing(failure):
                    raise
            await self.face.sleep(delay)
        await settled(connection.close())
        await self.open_later()

    async def connect(self, limit_s: float | None = None) -> AnyConnection:
        """Return a connection that is not the pool's; raises ConnectError.

        `limit_s` is a limit below the config's own; it is two seconds at least, as libpq has it.
        """
        stated = dict(self._pool.kwargs)
        own_s = float(self.config.parameters["connect_timeout"]) or math.inf
        if limit_s is not None and limit_s < own_s:
            stated["connect_timeout"] = math.ceil(limit_s)
        try:
            return await settled(self._pool.connection_class.connect(**stated))
        except psycopg.Error as error:
            reason = str(error).strip()
            raise ConnectError(f"no connection to {self.config.place}: {reason}") from None

    async def open_later(self) -> None:
        """Fill the pool behind, however long it takes."""
        await settled(self._pool.open())

    async def close(self) -> None:
        """Close every connection; those in use are closed when they come back."""
        await settled(self._pool.close())

    def acquire(self, timeout_s: float | None = None) -> Coroutine[Any, Any, AnyConnection]:
        """Return a sound connection; raises AcquireTimeout."""
        if self.observing.has_hooks:
            return self._acquired_observed(timeout_s)
        return self._acquired(timeout_s)

    async def _acquired_observed(self, timeout_s: float | None) -> AnyConnection:
        told = {"name": "ACQUIRE", "pool": self.name, "role": self.role}
        with self.observing.during(OperationKind.ACQUIRE, **told) as operation:
            connection = await self._acquired(timeout_s)
            if operation is not None:
                place(operation, connection)
        return connection

    async def _acquired(self, timeout_s: float | None) -> AnyConnection:
        sizes = self.config.pool
        allowed = sizes.acquire_timeout_s if timeout_s is None else timeout_s
        now = time.monotonic()
        deadline = now + allowed
        while True:
            try:
                connection = self._pool.getconn(deadline - now)
                if self.face.is_async:
                    connection = await connection
            except psycopg_pool.PoolTimeout:
                raise self._timed_out(allowed) from None
            except psycopg_pool.PoolClosed:
                message = f"{self.name} is not open"
                raise ClosedError(message, "Use the client in a with block.") from None
            now = time.monotonic()
            if connection.generation != self._generation:
                await self._discard(connection)  # it was being made when the pool was drained
                continue
            released_at = connection.released_at
            is_fresh = (
                released_at > self._doubted_at and now - released_at < sizes.health_check_interval_s
            )
            if (is_fresh and is_quiet(connection)) or await self._is_sound(connection, deadline):
                connection.acquired_at = now
                self._given.add(connection)
                return connection
            with self._lock:
                self._lost += 1
            await self._discard(connection)

    async def _is_sound(self, connection: AnyConnection, deadline: float) -> bool:
        try:
            return await self._answers(connection, deadline - time.monotonic())
        except BaseException:
            await self._discard(connection)
            raise

    async def _discard(self, connection: AnyConnection) -> None:
        connection.pgconn.finish()
        await settled(self._pool.putconn(connection))

    def _timed_out(self, allowed: float) -> AcquireTimeout:
        stats = self.stats()
        if stats.in_use >= stats.max_size:
            reason = f"all {stats.in_use} are in use and {stats.waiting} callers wait"
            remedy = "Give connections back sooner, or raise max_size."
        elif self.last_failure is not None:
            reason = self.last_failure.problems[0].message
            remedy = ""
        else:
            reason = f"{self.config.place} did not answer in time"
            remedy = "See whether it is up, and reached from here."
        return AcquireTimeout(f"{self.name}: no connection within {allowed:g} s: {reason}", remedy)

    async def release(self, connection: AnyConnection) -> None:
        """Take a connection back; one that is broken is replaced."""
        connection.released_at = now = time.monotonic()
        connection.within = None
        if connection.closed:
            self._doubted_at = now  # others may be dead as well: they are asked first
        self._usage_s += now - connection.acquired_at
        self._given.discard(connection)
        status = connection.pgconn.transaction_status
        # Whole: psycopg's pool loses a connection whose return is cancelled.
        is_idle = status == TransactionStatus.IDLE
        await self.face.whole(self._returned(connection, status), is_short=is_idle)

    async def _returned(self, connection: AnyConnection, status: int) -> None:
        if status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            await rolled_back(connection)  # the pool's own would wait for ever in a black hole
        returned = self._pool.putconn(connection)
        if self.face.is_async:
            await returned

    async def resize(self, min_size: int, max_size: int) -> None:
        """Change the sizes while the pool is in use."""
        self.config = self.config.with_pool(min_size=min_size, max_size=max_size)
        await settled(self._pool.resize(min_size, max_size))

    async def drain(self) -> None:
        """Replace every connection, those in use when they come back; ask for credentials anew."""
        if self._credentials is not None:
            self._credentials.forget()
        if self.masking is not None:
            self.masking.forget()
        self._generation += 1
        await settled(self._pool.drain())

    async def check(self) -> None:
        """Ask the server on every idle connection, and replace those that are dead."""
        self._patience_s = CHECK_LIMIT_S
        # Whole: psycopg's pool takes who is cancelled for a connection that is broken.
        await self.face.whole(settled(self._pool.check()))

    async def must_answer(self, connection: AnyConnection) -> None:
        """Raise psycopg.OperationalError where the server does not answer on a connection."""
        if not await self._answers(connection, CHECK_LIMIT_S):
            raise psycopg.OperationalError("the server does not answer")

    async def _answers(self, connection: AnyConnection, most_s: float) -> bool:
        """Say whether the server answers; where it is silent on one, others get little time."""
        limit_s = max(IMPATIENCE_S, min(self._patience_s, most_s))
        asked_at = time.monotonic()
        is_sound = await answers(connection, limit_s)
        if is_sound:
            self._patience_s = CHECK_LIMIT_S
        elif time.monotonic() - asked_at >= limit_s:
            self._patience_s = IMPATIENCE_S
        return is_sound

    def stats(self) -> PoolStats:
        """Return what the pool has and did."""
        found = self._pool.get_stats()
        return PoolStats(
            name=self.name,
            min_size=found["pool_min"],
            max_size=found["pool_max"],
            size=found["pool_size"],
            available=found["pool_available"],
            in_use=len(self._given),
            waiting=found.get("requests_waiting", 0),
            acquired=found.get("requests_num", 0),
            acquire_wait_ms=found.get("requests_wait_ms", 0),
            acquire_errors=found.get("requests_errors", 0),
            usage_ms=round(self._usage_s * 1000),
            connections_made=found.get("connections_num", 0),
            connections_failed=found.get("connections_errors", 0),
            connections_lost=found.get("connections_lost", 0) + self._lost,
        )


class _BlockingPool(psycopg_pool.ConnectionPool[Any]):
    """psycopg's pool, whose check of a connection ends also where nobody answers."""

    @staticmethod
    def check_connection(conn: AnyConnection) -> None:
        """Raise psycopg.OperationalError where the server does not answer."""
        finished(conn.home.must_answer(conn))


class _AwaitingPool(psycopg_pool.AsyncConnectionPool[Any]):
    """The same, to be awaited."""

    @staticmethod
    async def check_connection(conn: AnyConnection) -> None:
        """Raise psycopg.OperationalError where the server does not answer."""
        await conn.home.must_answer(conn)
