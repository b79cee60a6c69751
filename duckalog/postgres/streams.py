"""Results too large to hold: server-side cursors, and pages by key."""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, cast

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Composable, Identifier

from duckalog.postgres.connection import CHECK_LIMIT_S, AnyConnection
from duckalog.postgres.errors import MaskError, PgError, QueryError, TransactionError
from duckalog.postgres.execution import Loads, Params, at_most, checked, failure, limited
from duckalog.postgres.execution import run_own as run
from duckalog.postgres.faces import Blocking, Both, F, Scope, finished, settled
from duckalog.postgres.hooks import Operation, OperationKind
from duckalog.postgres.queries import Queries, within
from duckalog.postgres.rows import Column, Row, columns_of, maker, names_of
from duckalog.postgres.values import unloaded

if sys.version_info >= (3, 13):
    from typing import TypeVar
else:
    from typing_extensions import TypeVar

R = TypeVar("R", default=Row)

FETCH_SIZE = 1000
_NUMBERS = itertools.count(1)


class RowCursor(Scope[F], Generic[F, R]):
    """The rows of a query, fetched from the server some at a time.

    It is iterated over by itself, or opened in a `with` block and asked for
    more by `fetch_next`. Until it is closed it has a connection, and the
    server a portal, in a transaction. No time passes while its caller works:
    `timeout_s` is the limit of each fetch.
    """

    _loads: Loads | None = None

    def __init__(
        self,
        source: Queries[F],
        sql: Any,
        params: Params,
        into: Callable[..., R],
        fetch_size: int,
        limit_s: float | None,
    ) -> None:
        if fetch_size < 1:
            raise ValueError("fetch_size: expected at least 1")
        self.face = source.face
        self.fetch_size = fetch_size
        self._source: Queries[F] = source
        self._statement = (sql, checked(params))
        self._into = into
        self._limit_s = limit_s
        self._connection: AnyConnection | None = None
        self._cursor: Any = None
        self._owns_transaction = False
        self._operation: Operation | None = None
        self._count = 0

    @property
    def is_open(self) -> bool:
        """Whether it has a portal on the server."""
        return self._cursor is not None

    async def _enter(self) -> None:
        if self._cursor is not None:
            return
        connection = await self._source._acquire()
        try:
            self._operation = connection.observing.start(
                OperationKind.STREAM, self._statement[0], connection, _params=self._statement[1]
            )
        except BaseException:
            await self._source._release(connection)
            raise
        try:
            status = connection.info.transaction_status
            self._owns_transaction = status == TransactionStatus.IDLE
            if self._owns_transaction:
                await run(connection, "BEGIN", (), self._limit_s)
            cursor = connection.cursor(f"duckalog_{next(_NUMBERS)}")
            if self._loads is not None:
                self._loads(cursor)
            try:
                async with limited(connection, self._limit_s):
                    await settled(cursor.execute(*self._statement))
            except BaseException:
                await settled(cursor.close())  # it warns of one that is not, though none is there
                raise
        except BaseException as error:
            self._end(connection, error)
            await self._give_back(connection, self._limit_s)
            raise
        self._connection, self._cursor = connection, cursor
        self._source._has_portal(self, True)

    def _end(self, connection: AnyConnection, error: BaseException | None) -> None:
        if self._operation is not None:
            self._operation.rows = self._count
        connection.observing.end(self._operation, error)

    async def _leave(self, error: BaseException | None) -> None:
        connection, cursor = self._connection, self._cursor
        if connection is None or not self._source._has(connection):
            return
        self._source._has_portal(self, False)
        self._connection = self._cursor = None
        limit_s = self._limit_s
        if error is not None:  # nobody waits for rows any more
            limit_s = at_most(limit_s, CHECK_LIMIT_S)
        try:
            # Sends nothing where the transaction has failed, or the connection is lost.
            async with limited(connection, limit_s):
                await settled(cursor.close())
        except PgError as failed:
            await settled(cursor.close())  # sends nothing now, and is closed
            if error is None:
                error = failed
                raise
        finally:
            # Who stops iterating over rows has all that was wanted.
            self._end(connection, None if isinstance(error, GeneratorExit) else error)
            await self._give_back(connection, limit_s)

    async def _end_with_transaction(self, error: BaseException | None) -> None:
        """Forget the portal, which has gone with the transaction that it was in."""
        connection, cursor = self._connection, self._cursor
        self._connection = self._cursor = None
        if connection is not None:
            await settled(cursor.close())
            self._end(connection, error)

    async def _give_back(self, connection: AnyConnection, limit_s: float | None) -> None:
        try:
            if self._owns_transaction and not connection.closed:
                status = connection.info.transaction_status
                end = "COMMIT" if status == TransactionStatus.INTRANS else "ROLLBACK"
                await run(connection, end, (), limit_s)
        finally:
            await self._source._release(connection)

    async def _fetch(self) -> list[R]:
        connection, cursor = self._connection, self._cursor
        if connection is None or not self._source._has(connection):
            raise TransactionError("the cursor is not open", "Use it in a with block.")
        connection.limit(self._limit_s)
        try:
            rows = await settled(cursor.fetchmany(self.fetch_size))
            columns = columns_of(cursor)
            if connection.masking is not None:
                columns, rows = await connection.masking.masked(connection, cursor, rows)
        except psycopg.Error as error:
            raise unloaded(error, cursor) or failure(error, connection, self._limit_s) from None
        finally:
            connection.limit(None)
        self._count += len(rows)
        return self._shaped(columns, rows)

    def _shaped(self, columns: tuple[Column, ...], rows: list[tuple[Any, ...]]) -> list[R]:
        if self._into is tuple:
            return cast("list[R]", rows)
        return list(map(maker(self._into, names_of(columns)), rows))

    @Both
    async def fetch_next(self) -> list[R]:
        """Return the next rows, `fetch_size` at most; none at the end."""
        return await self._fetch()

    @Both
    async def close(self) -> None:
        """Close the portal, and give the connection back."""
        await self._leave(None)

    def __iter__(self: RowCursor[Blocking, R]) -> Iterator[R]:
        if self.face is not Blocking:
            raise TypeError("iterate with `async for`")
        was_open = self.is_open
        finished(self._enter())
        try:
            while rows := finished(self._fetch()):
                yield from rows
        except BaseException as error:
            if not was_open:
                finished(self._leave(error))
            raise
        if not was_open:
            finished(self._leave(None))

    async def __aiter__(self) -> AsyncIterator[R]:
        if self.face is Blocking:
            raise TypeError("iterate with `for`")
        was_open = self.is_open
        await self._enter()
        try:
            while rows := await self._fetch():
                for row in rows:
                    yield row
        except BaseException as error:
            if not was_open:
                await self._leave(error)
            raise
        if not was_open:
            await self._leave(None)


@dataclass(frozen=True)
class Page(Generic[R]):
    """Some rows of a query, and the token that leads to those after them; None at the end."""

    rows: list[R]
    next_token: str | None


class Streams(Queries[F]):
    """Queries whose results are not held as a whole."""

    def query_stream(
        self,
        sql: str | Composable,
        params: Params = (),
        *,
        into: Callable[..., R] = Row,  # type: ignore[assignment]
        fetch_size: int = FETCH_SIZE,
        timeout_s: float | None = None,
    ) -> RowCursor[F, R]:
        """Return the rows to iterate over, with `for` or `async for`.

        The server keeps the result, and hands out `fetch_size` rows at a time.
        Within a `with` block `fetch_next` returns them as lists.
        """
        return RowCursor(self, sql, params, into, fetch_size, self._limit(timeout_s))

    @Both
    async def query_page(
        self,
        sql: str | Composable,
        params: Params = (),
        *,
        key: Sequence[str],
        size: int = 100,
        after: str | None = None,
        descending: bool = False,
        into: Callable[..., R] = Row,  # type: ignore[assignment]
        timeout_s: float | None = None,
    ) -> Page[R]:
        """Return a page of a query's rows in the order of `key`, those after a token.

        `key` names columns of the query that together are unique and not
        NULL. Pages neither skip nor repeat rows that stay, whatever comes and
        goes before them, and the last costs what the first does where the key
        has an index. A token is good for the same query and key only.
        """
        if size < 1 or not key:
            raise ValueError("a page has at least one row, and a key at least one column")
        text = within(sql)
        mark = _mark(text, key, descending)
        values: list[str] = [] if after is None else _read_token(after, mark, len(key))
        statement = _page(text, key, len(params), size, descending, is_first=after is None)
        outcome = await self._run(statement, [*params, *values], timeout_s)
        _refuse_masked_key(outcome.columns, key)
        width = len(outcome.columns) - len(key)
        make = maker(into, names_of(outcome.columns[:width]))
        found = outcome.rows
        if any(None in row[width:] for row in found):
            raise QueryError(
                f"a column of the key ({', '.join(key)}) is NULL", None, "Leave it out."
            )
        is_last = len(found) <= size
        token = None if is_last else _token(mark, found[size - 1][width:])
        return Page([make(row[:width]) for row in found[:size]], token)


def _page(
    text: Composable, key: Sequence[str], number: int, size: int, descending: bool, is_first: bool
) -> Composable:
    columns = [Identifier("page", name) for name in key]
    keys = SQL(", ").join(columns)
    # By the names of their columns, so that what is masked or hidden is so in these as well.
    texts = SQL(", ").join(
        SQL("{}::text AS {}").format(one, Identifier(name))
        for one, name in zip(columns, key, strict=True)
    )
    places = SQL(", ").join(SQL(f"${number + place}") for place in range(1, len(key) + 1))
    condition = (
        SQL("true")
        if is_first
        else SQL("({}) {} ({})").format(keys, SQL("<" if descending else ">"), places)
    )
    order = SQL(", ").join(
        SQL("{} DESC" if descending else "{} ASC").format(one) for one in columns
    )
    return SQL("SELECT page.*, {} FROM ({}\n) AS page WHERE {} ORDER BY {} LIMIT {}").format(
        texts, text, condition, order, SQL(str(size + 1))
    )


def _refuse_masked_key(columns: Sequence[Column], key: Sequence[str]) -> None:
    masked = [one.name for one in columns if one.is_masked and one.name in key]
    if masked:
        raise MaskError(
            f"the key has a masked column, whose values a page token shows: {', '.join(masked)}",
            "Choose another key.",
        )


def _mark(text: Composable, key: Sequence[str], descending: bool) -> str:
    """Return a short digest of what a token is good for."""
    said = json.dumps([text.as_string(None), list(key), descending])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _token(mark: str, values: Sequence[str]) -> str:
    text = json.dumps([mark, *values], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(token: str, mark: str, number: int) -> list[str]:
    try:
        found = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, binascii.Error):
        found = None
    if (
        not isinstance(found, list)
        or len(found) != number + 1
        or not all(isinstance(one, str) for one in found)
    ):
        raise PgError("the page token is not one of this client's")
    if found[0] != mark:
        raise PgError("the page token belongs to another query, key or direction")
    values: list[str] = found[1:]
    return values
