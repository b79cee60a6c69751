"""The ways to ask: what a client and a transaction have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from duckalog.postgres.connection import AnyConnection
from duckalog.postgres.execution import Loads, Params, limit_of, run, run_batch
from duckalog.postgres.faces import Both, F, Scope
from duckalog.postgres.rows import (
    Outcome,
    Row,
    at_most_one,
    only_row,
    only_value,
    shaped,
)

if TYPE_CHECKING:
    from psycopg.sql import Composable

if sys.version_info >= (3, 13):
    from typing import TypeVar
else:
    from typing_extensions import TypeVar

R = TypeVar("R", default=Row)


def within(sql: str | Composable) -> Composable:
    """Return a statement to be a part of another: a semicolon at its end goes."""
    from psycopg.sql import SQL

    text = sql if isinstance(sql, str) else sql.as_string(None)
    return SQL(text.rstrip("; \n\t"))


class Queries(Scope[F]):
    """Statements with `$1`, `$2` and so on for their values, which never become text.

    `timeout_s` is the statement's limit in place of the client's; `math.inf`
    lifts it. `into` says what a row becomes: Row (a tuple with names), tuple,
    dict, a dataclass, a pydantic model, or any callable that takes the columns
    as keywords. `prepare` makes the server keep the plan at once, or never;
    the driver else does so after a few runs.
    """

    query_timeout_s: float | None

    async def _acquire(self) -> AnyConnection:
        """Return a connection, for `_release` to take back."""
        raise NotImplementedError

    async def _release(self, connection: AnyConnection) -> None:
        raise NotImplementedError

    def _has_portal(self, cursor: Any, is_open: bool) -> None:
        """Take note of a cursor that has a portal on a connection of `_acquire`'s, or no more."""

    def _has(self, connection: AnyConnection) -> bool:  # noqa: ARG002
        """Say whether a connection of `_acquire`'s is still one's own."""
        return True

    def _limit(self, timeout_s: float | None) -> float | None:
        return limit_of(timeout_s, self.query_timeout_s)

    async def _run(
        self,
        sql: Any,
        params: Params,
        timeout_s: float | None,
        prepare: bool | None = None,
        loads: Loads | None = None,
    ) -> Outcome:
        limit_s = self._limit(timeout_s)
        connection = await self._acquire()
        try:
            return await run(connection, sql, params, limit_s, prepare, loads)
        finally:
            await self._release(connection)

    @Both
    async def execute(
        self,
        sql: str | Composable,
        params: Params = (),
        *,
        timeout_s: float | None = None,
        prepare: bool | None = None,
    ) -> int:
        """Return how many rows a statement touched."""
        return (await self._run(sql, params, timeout_s, prepare)).rows_affected

    @Both
    async def query(
        self,
        sql: str | Composable,
        params: Params = (),
        *,
        into: Callable[..., R] = Row,  # type: ignore[assignment]
        timeout_s: float | None = None,
        prepare: bool | None = None,
    ) -> list[R]:
        """Return all rows, those of RETURNING too."""
        return shaped(await self._run(sql, params, timeout_s, prepare), into)

    @Both
    async def query_result(
        self,
        sql: str | Composable,
        params: Params = (),
        *,
        timeout_s: float | None = None,
        prepare: bool | None = None,
    ) -> Outcome:
        """Return the rows as tuples, the columns with their types, and the number of rows."""
        return await self._run(sql, params, timeout_s, prepare)

    @Both
    async def query_one(
        self,
        sql: str | Composable,
        params: Params = (),
        *,
        into: Callable[..., R] = Row,  # type: ignore[assignment]
        timeout_s: float | None = None,
        prepare: bool | None = None,
    ) -> R:
        """Return the only row; raises RowCountError where there is none, or another."""
        return only_row(shaped(await self._run(sql, params, timeout_s, prepare), into))

    @Both
    async def query_opt(
        self,
        sql: str | Composable,
        params: Params = (),
        *,
        into: Callable[..., R] = Row,  # type: ignore[assignment]
        timeout_s: float | None = None,
        prepare: bool | None = None,
    ) -> R | None:
        """Return the only row, or None; raises RowCountError where there is another."""
        rows = at_most_one(shaped(await self._run(sql, params, timeout_s, prepare), into))
        return rows[0] if rows else None

    @Both
    async def query_scalar(
        self,
        sql: str | Composable,
        params: Params = (),
        *,
        timeout_s: float | None = None,
        prepare: bool | None = None,
    ) -> Any:
        """Return the first column of the only row; raises RowCountError."""
        return only_value(await self._run(sql, params, timeout_s, prepare))

    @Both
    async def exists(
        self,
        sql: str | Composable,
        params: Params = (),
        *,
        timeout_s: float | None = None,
        prepare: bool | None = None,
    ) -> bool:
        """Say whether a query has any row; the server stops at the first."""
        from psycopg.sql import SQL

        found = SQL("SELECT EXISTS ({}\n)").format(within(sql))
        return bool(only_value(await self._run(found, params, timeout_s, prepare)))

    @Both
    async def execute_batch(
        self,
        statements: Iterable[str | tuple[str | Composable, Params]],
        *,
        timeout_s: float | None = None,
    ) -> list[int]:
        """Return how many rows each statement touched; either all of them hold, or none.

        All are sent before the first answer is waited for. `timeout_s` is for
        the whole batch.
        """
        if isinstance(statements, str):
            raise TypeError("statements is a str: pass them in a list")
        pairs = [(one, ()) if isinstance(one, str) else one for one in statements]
        limit_s = self._limit(timeout_s)
        connection = await self._acquire()
        try:
            return await run_batch(connection, pairs, limit_s)
        finally:
            await self._release(connection)

    @Both
    async def notify(self, channel: str, payload: str = "") -> None:
        """Send a notification, in a transaction when that commits; 7999 bytes at most."""
        await self._run("SELECT pg_notify($1, $2)", [channel, payload], None)
