"""Transactions: isolation, savepoints, time limits, and running them again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier

from duckalog.postgres.connection import CHECK_LIMIT_S, AnyConnection
from duckalog.postgres.errors import ConnectionLost, PgError, TransactionError
from duckalog.postgres.execution import at_most, limit_of, run
from duckalog.postgres.faces import Both, F
from duckalog.postgres.hooks import Operation, OperationKind
from duckalog.postgres.observing import place
from duckalog.postgres.operations import Operations
from duckalog.postgres.pool import Pool

logger = logging.getLogger("duckalog.postgres")

VERSION_WITH_TIMEOUT = 170000
"""PostgreSQL 17 brought transaction_timeout."""


class IsolationLevel(str, Enum):
    """What a transaction sees of others; PostgreSQL treats the first two alike."""

    READ_UNCOMMITTED = "read uncommitted"
    READ_COMMITTED = "read committed"
    REPEATABLE_READ = "repeatable read"
    SERIALIZABLE = "serializable"


@dataclass(frozen=True, kw_only=True)
class TransactionOptions:
    """How a transaction begins; what is None is as the server has it.

    After `timeout_s` every statement fails, and the server ends a transaction
    that does nothing. One that takes longer than `warn_after_s` is logged.
    """

    isolation: IsolationLevel | str | None = None
    read_only: bool | None = None
    deferrable: bool | None = None
    timeout_s: float | None = None
    warn_after_s: float | None = 60.0

    def __post_init__(self) -> None:
        limit_of(self.timeout_s, None)

    def begin(self, server_version: int) -> SQL:
        """Return the statements that begin it."""
        parts = ["BEGIN"]
        if self.isolation is not None:
            parts.append(f"ISOLATION LEVEL {IsolationLevel(self.isolation).value.upper()}")
        if self.read_only is not None:
            parts.append("READ ONLY" if self.read_only else "READ WRITE")
        if self.deferrable is not None:
            parts.append("DEFERRABLE" if self.deferrable else "NOT DEFERRABLE")
        text = " ".join(parts)
        if self.timeout_s is not None:
            milliseconds = max(1, round(self.timeout_s * 1000))
            settings = ["idle_in_transaction_session_timeout"]
            if server_version >= VERSION_WITH_TIMEOUT:
                settings.append("transaction_timeout")
            text += "".join(f"; SET LOCAL {name} = {milliseconds}" for name in settings)
        return SQL(text)


@dataclass(frozen=True)
class Savepoint:
    """A place in a transaction that it can go back to."""

    name: str
    created_at: float


class Transaction(Operations[F]):
    """A transaction, and the connection that it has to itself.

    As a block it commits at the end, or rolls back where an error leaves it.
    """

    def __init__(
        self,
        pool: Pool[F],
        query_timeout_s: float | None,
        options: TransactionOptions,
        ended: Callable[[], None],
        attempt: int = 1,
    ) -> None:
        """Take a pool, and what is called when the transaction has committed, or may have."""
        self.face = pool.face
        self.query_timeout_s = query_timeout_s
        self.options = options
        self.started_at = 0.0
        self._pool: Pool[F] = pool
        self._connection: AnyConnection | None = None
        self._warned = False
        self._ended = ended
        self._attempt = attempt
        self._operation: Operation | None = None
        self._error: BaseException | None = None
        self._streams: set[Any] = set()

    @property
    def is_open(self) -> bool:
        """Whether it has begun, and not ended."""
        return self._connection is not None

    async def _enter(self) -> None:
        if self._connection is not None:
            raise TransactionError("the transaction has begun already")
        told = {"name": "TRANSACTION", "pool": self._pool.name, "attempt": self._attempt}
        operation = self._pool.observing.start(OperationKind.TRANSACTION, **told)
        try:
            connection = await self._begun(operation)
        except BaseException as error:
            self._pool.observing.end(operation, error)
            raise
        self._operation = operation
        self.started_at = time.monotonic()
        self._connection = connection

    async def _begun(self, operation: Operation | None) -> AnyConnection:
        """Return a connection with a transaction; where it is lost, nothing was done: another."""
        attempts = self._pool.config.retry.attempts
        while True:
            attempts -= 1
            connection = await self._pool.acquire()
            if operation is not None:
                place(operation, connection)
                connection.within = operation
            try:
                begin = self.options.begin(connection.info.server_version)
                await run(connection, begin, (), self.query_timeout_s)
            except ConnectionLost:
                await self._pool.release(connection)
                if not attempts:
                    raise
            except BaseException:
                await self._pool.release(connection)
                raise
            else:
                return connection

    async def _leave(self, error: BaseException | None) -> None:
        if self._connection is None:
            return
        self._error = error
        if error is None:
            await self._commit()
        else:
            await self._rollback()

    def _held(self) -> AnyConnection:
        if self._connection is None:
            raise TransactionError("the transaction is not open", "Begin another one.")
        return self._connection

    async def _acquire(self) -> AnyConnection:
        self.warn_if_long()
        return self._held()

    async def _release(self, connection: AnyConnection) -> None:
        """Keep the connection: it goes back with the transaction's end."""

    def _has_portal(self, cursor: Any, is_open: bool) -> None:
        (self._streams.add if is_open else self._streams.discard)(cursor)

    def _has(self, connection: AnyConnection) -> bool:
        return self._connection is connection

    def _limit(self, timeout_s: float | None) -> float | None:
        limit = limit_of(timeout_s, self.query_timeout_s)
        if self.options.timeout_s is None:
            return limit
        left = self.started_at + self.options.timeout_s - time.monotonic()
        if left <= 0:
            raise TransactionError(
                f"the transaction is over its limit of {self.options.timeout_s:g} s",
                "It takes no further statement, and will be rolled back.",
            )
        return left if limit is None else min(limit, left)

    def warn_if_long(self) -> None:
        """Log once where the transaction is open for longer than it should be."""
        limit = self.options.warn_after_s
        if limit is None or self._warned or self._connection is None:
            return
        seconds = time.monotonic() - self.started_at
        if seconds > limit:
            self._warned = True
            logger.warning("a transaction is open for %.1f s: it holds locks back", seconds)

    async def _end(self, sql: str) -> None:
        """Run the last statement, and give the connection back."""
        connection = self._held()
        self.warn_if_long()
        self._connection = None
        try:
            limit_s = limit_of(None, self.query_timeout_s)
            if sql == "ROLLBACK":  # a server that is there has nothing to do for it
                limit_s = at_most(limit_s, CHECK_LIMIT_S)
            await run(connection, sql, (), limit_s)
        except BaseException as error:
            self._error = self._error or error
            raise
        finally:
            if self._operation is not None:
                self._operation.is_committed = sql == "COMMIT" and self._error is None
                self._pool.observing.end(self._operation, self._error)
            try:
                for stream in list(self._streams):
                    await stream._end_with_transaction(self._error)
            finally:
                await self._pool.release(connection)

    async def _commit(self) -> None:
        status = self._held().info.transaction_status
        if status == TransactionStatus.INTRANS:
            try:
                return await self._end("COMMIT")
            except ConnectionLost:
                raise ConnectionLost(
                    "the connection was lost during COMMIT",
                    "Whether the transaction took effect is not known.",
                ) from None
            finally:
                self._ended()
        await self._rollback()
        if status == TransactionStatus.UNKNOWN:
            raise ConnectionLost("the connection was lost before COMMIT: nothing was done")
        if status == TransactionStatus.IDLE:
            raise TransactionError(
                "one of the statements had ended the transaction already",
                "Leave COMMIT and ROLLBACK to the block, or call commit() and rollback().",
            )
        raise TransactionError(
            "the transaction was rolled back: one of its statements had failed",
            "Go back to a savepoint after an error, or let the error leave the block.",
        )

    async def _rollback(self) -> None:
        try:
            await self._end("ROLLBACK")
        except PgError as error:
            # The server rolls back what it has no connection for.
            logger.debug("ROLLBACK was not heard: %s", error)

    @Both
    async def commit(self) -> None:
        """Make what was done hold; raises TransactionError where a statement had failed."""
        await self._commit()

    @Both
    async def rollback(self) -> None:
        """Undo what was done."""
        await self._rollback()

    @Both
    async def savepoint(self, name: str) -> Savepoint:
        """Return a place to go back to."""
        await self._run(SQL("SAVEPOINT {}").format(Identifier(name)), (), None)
        return Savepoint(name, time.monotonic())

    @Both
    async def rollback_to(self, savepoint: Savepoint) -> None:
        """Undo what was done since, errors included; the savepoint stays."""
        await self._run(SQL("ROLLBACK TO {}").format(Identifier(savepoint.name)), (), None)

    @Both
    async def release(self, savepoint: Savepoint) -> None:
        """Forget a savepoint, and keep what was done since."""
        await self._run(SQL("RELEASE {}").format(Identifier(savepoint.name)), (), None)

    @Both
    async def defer_constraints(self, *names: str) -> None:
        """Check deferrable constraints, all unless named, at the end only."""
        which: Any = SQL(", ").join(Identifier(*name.split(".")) for name in names)
        await self._run(
            SQL("SET CONSTRAINTS {} DEFERRED").format(which if names else SQL("ALL")), (), None
        )
