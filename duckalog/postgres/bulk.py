"""Many rows at once: COPY in and out, and INSERT, UPDATE, DELETE and upsert in batches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any, NamedTuple

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.sql import SQL, Composable, Identifier

from duckalog.errors import nearest, sentences
from duckalog.postgres.copying import (
    Arrivals,
    chunks_of,
    each_of,
    readable,
    rows_of,
    writable,
)
from duckalog.postgres.errors import QueryError, translated
from duckalog.postgres.execution import limited, run_own
from duckalog.postgres.faces import Both, F, entered, settled
from duckalog.postgres.hooks import OperationKind
from duckalog.postgres.queries import Queries, within
from duckalog.sql import split_name

BATCH_ROWS = 10_000
"""Rows of one UPDATE, DELETE or upsert: their values are parameters of one statement."""


class CopyFormat(str, Enum):
    """The formats of COPY."""

    TEXT = "text"
    CSV = "csv"
    BINARY = "binary"


class _Copying(NamedTuple):
    copy: Any
    cursor: Any


class Bulk(Queries[F]):
    """Rows by the thousand. A table is named `table` or `schema.table`.

    A row is a sequence in the order of the columns, a mapping, or an object
    with their names; an Arrow table, record batch or reader is rows, too.
    """

    @Both
    async def copy_in(
        self,
        table: str,
        source: Any,
        *,
        columns: Sequence[str] = (),
        format: CopyFormat | str = CopyFormat.CSV,
        header: bool = False,
        timeout_s: float | None = None,
    ) -> int:
        """Return how many rows COPY took from a path, a file, or pieces of text or bytes.

        `timeout_s` is how long nothing may move.
        """
        target = _with_columns(_table(table), columns)
        async with self._copying(_copy(target, "FROM STDIN", format, header), timeout_s) as open_:
            with readable(source) as pieces:
                async for piece in each_of(pieces):
                    await settled(open_.copy.write(piece))
        return int(open_.cursor.rowcount)

    @Both
    async def copy_out(
        self,
        source: str | Composable,
        target: Any,
        *,
        format: CopyFormat | str = CopyFormat.CSV,
        header: bool = False,
        timeout_s: float | None = None,
    ) -> int:
        """Return how many rows COPY wrote to a path, a file, or a function that takes bytes.

        The source is a query; PostgreSQL takes no parameters in this one.
        `timeout_s` is how long nothing may move.
        """
        query = SQL("({}\n)").format(within(source))
        statement = _copy(query, "TO STDOUT", format, header)
        async with self._copying(statement, timeout_s, query) as open_:
            with writable(target) as write:
                arrivals = Arrivals(open_.copy)
                while not arrivals.is_over:
                    pieces = await settled(open_.copy.connection.wait(arrivals.next()))
                    await settled(write(b"".join(pieces)))
        return int(open_.cursor.rowcount)

    @Both
    async def copy_rows(
        self,
        table: str,
        columns: Sequence[str],
        rows: Iterable[Any],
        *,
        format: CopyFormat | str = CopyFormat.TEXT,
        timeout_s: float | None = None,
    ) -> int:
        """Return how many rows COPY took; `timeout_s` is how long nothing may move."""
        return await self._copy_rows(table, columns, rows_of(rows, columns), format, timeout_s)

    @Both
    async def batch_insert(
        self,
        table: str,
        columns: Sequence[str],
        rows: Iterable[Any],
        *,
        chunk_size: int | None = None,
        timeout_s: float | None = None,
    ) -> int:
        """Return how many rows were inserted, by COPY.

        Without `chunk_size`, and in a transaction, all of them or none; with
        it each chunk holds as soon as it is done. `timeout_s` is how long
        nothing may move.
        """
        if chunk_size is not None and chunk_size < 1:
            raise ValueError("chunk_size: expected at least 1")
        count = 0
        for chunk in chunks_of(rows_of(rows, columns), chunk_size):
            count += await self._copy_rows(table, columns, chunk, CopyFormat.TEXT, timeout_s)
        return count

    @Both
    async def batch_update(
        self,
        table: str,
        columns: Sequence[str],
        rows: Iterable[Any],
        *,
        key: Sequence[str],
        timeout_s: float | None = None,
    ) -> int:
        """Return how many rows were updated; `key` names the columns that find them."""
        _must_contain(columns, key)
        _must_name_some(key)
        changed = [name for name in columns if name not in key]
        if not changed:
            raise ValueError("columns: there is none but those of the key")
        statement = SQL("UPDATE {} AS old SET {} FROM {} AS new WHERE {}")

        def built(source: Composable) -> Composable:
            return statement.format(_table(table), _assignments(changed, "new"), source, _same(key))

        return await self._in_batches(table, columns, rows, built, timeout_s)

    @Both
    async def batch_delete(
        self,
        table: str,
        key: Sequence[str],
        rows: Iterable[Any],
        *,
        timeout_s: float | None = None,
    ) -> int:
        """Return how many rows were deleted, whose keys are given as rows."""
        _must_name_some(key)
        statement = SQL("DELETE FROM {} AS old USING {} AS new WHERE {}")

        def built(source: Composable) -> Composable:
            return statement.format(_table(table), source, _same(key))

        return await self._in_batches(table, key, rows, built, timeout_s)

    @Both
    async def upsert(
        self,
        table: str,
        columns: Sequence[str],
        rows: Iterable[Any],
        *,
        key: Sequence[str],
        update: Sequence[str] | None = None,
        timeout_s: float | None = None,
    ) -> int:
        """Return how many rows were inserted, or updated because their key was there.

        `update` names the columns to update, all others of the row unless
        told; none leaves the rows that are there alone. A key may be there
        only once in 10,000 rows: PostgreSQL refuses to touch a row twice.
        """
        _must_contain(columns, key)
        _must_name_some(key)
        names = [one for one in columns if one not in key] if update is None else list(update)
        _must_contain(columns, names)
        action = SQL("UPDATE SET {}").format(_assignments(names, "excluded"))
        statement = SQL("INSERT INTO {} ({}) SELECT * FROM {} AS new ON CONFLICT ({}) DO {}")

        def built(source: Composable) -> Composable:
            return statement.format(
                _table(table),
                _names(columns),
                source,
                _names(key),
                action if names else SQL("NOTHING"),
            )

        return await self._in_batches(table, columns, rows, built, timeout_s)

    async def _copy_rows(
        self,
        table: str,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        format: CopyFormat | str,
        timeout_s: float | None,
    ) -> int:
        if CopyFormat(format) is CopyFormat.CSV:
            raise ValueError("format: rows travel as text or binary")
        types: list[int] = []
        if CopyFormat(format) is CopyFormat.BINARY:
            # Binary values are not converted: each must be of its column's very type.
            types = [one.binary_oid for one in await self._types(table, columns)]
        target = _with_columns(_table(table), columns)
        async with self._copying(_copy(target, "FROM STDIN", format), timeout_s) as open_:
            if types:
                open_.copy.set_types(types)
            write_row = open_.copy.write_row
            if self.face.is_async:
                for row in rows:
                    await write_row(row)
            else:
                for row in rows:
                    write_row(row)
        return int(open_.cursor.rowcount)

    @asynccontextmanager
    async def _copying(
        self, statement: Composable, timeout_s: float | None, query: Composable | None = None
    ) -> AsyncIterator[_Copying]:
        """Run a COPY around a block; `query` is what it writes out."""
        limit_s = self._limit(timeout_s)
        connection = await self._acquire()
        try:
            with connection.observing.during(OperationKind.COPY, statement, connection) as told:
                async with limited(connection, limit_s, is_each=True):
                    if query is not None and connection.masking is not None:
                        await connection.masking.refuse_if_masked(connection, query.as_string())
                    cursor = connection.cursor()
                    async with entered(cursor.copy(statement)) as copy:
                        yield _Copying(copy, cursor)
                if told is not None:
                    told.rows = cursor.rowcount
        finally:
            await self._release(connection)

    async def _types(self, table: str, columns: Sequence[str]) -> list[_ColumnType]:
        """Return the types of a table's columns."""
        name = _table(table).as_string(None)
        connection = await self._acquire()
        try:
            outcome = await run_own(connection, _COLUMN_TYPES, [name], self._limit(None))
        finally:
            await self._release(connection)
        known = {name: _ColumnType(*rest) for name, *rest in outcome.rows}
        if not known:
            raise QueryError(f'there is no table "{table}"', "42P01")
        for column in columns:
            if column not in known:
                raise QueryError(
                    f'the table "{table}" has no column "{column}"',
                    "42703",
                    sentences(nearest(column, known), f"columns: {', '.join(known)}"),
                )
        return [known[column] for column in columns]

    async def _in_batches(
        self,
        table: str,
        columns: Sequence[str],
        rows: Iterable[Any],
        built: Callable[[Composable], Composable],
        timeout_s: float | None,
    ) -> int:
        """Run a statement over batches of rows, and return how many rows it touched.

        Values travel as texts, in one array for each column, and the server
        reads them as the column's type: any type, arrays too, can be among them.
        """
        types = [one.name for one in await self._types(table, columns)]
        statement = built(_source(columns, types))
        count = 0
        async with self._whole() as whole:
            for chunk in chunks_of(rows_of(rows, columns), BATCH_ROWS):
                connection = await whole._acquire()
                try:
                    arrays = _texts(Transformer(connection), chunk, len(columns))
                finally:
                    await whole._release(connection)
                if arrays[0]:
                    count += (await whole._run(statement, arrays, timeout_s)).rows_affected
        return count

    @asynccontextmanager
    async def _whole(self) -> AsyncIterator[Queries[F]]:
        """Return a block whose statements hold together: a transaction is one already."""
        yield self


class _ColumnType(NamedTuple):
    """A type as PostgreSQL writes it, and the one whose binary form its values have."""

    name: str
    binary_oid: int


_COLUMN_TYPES = """
SELECT attname, format_type(atttypid, atttypmod),
    CASE typtype WHEN 'd' THEN typbasetype WHEN 'e' THEN 'text'::regtype ELSE atttypid END
FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
"""


def _table(name: str) -> Identifier:
    return Identifier(*split_name(name))


def _names(names: Sequence[str]) -> Composable:
    return SQL(", ").join(map(Identifier, names))


def _with_columns(table: Composable, columns: Sequence[str]) -> Composable:
    return SQL("{} ({})").format(table, _names(columns)) if columns else table


def _copy(
    target: Composable, direction: str, format: CopyFormat | str, header: bool = False
) -> Composable:
    options = f"FORMAT {CopyFormat(format).value}" + (", HEADER" if header else "")
    return SQL("COPY {} {} ({})").format(target, SQL(direction), SQL(options))


def _assignments(names: Sequence[str], source: str) -> Composable:
    pairs = (SQL("{} = {}").format(Identifier(one), Identifier(source, one)) for one in names)
    return SQL(", ").join(pairs)


def _same(key: Sequence[str]) -> Composable:
    pairs = (SQL("{} = {}").format(Identifier("old", one), Identifier("new", one)) for one in key)
    return SQL(" AND ").join(pairs)


def _source(columns: Sequence[str], types: Sequence[str]) -> Composable:
    """Return the relation that arrays of texts make, with the columns' own types."""
    places = [f"c{place}" for place in range(len(columns))]
    arrays = SQL(", ").join(SQL(f"${place + 1}::text[]") for place in range(len(columns)))
    cast = SQL(", ").join(
        # The type is the server's own text for it, quoted where it has to be.
        SQL("{}::{} AS {}").format(Identifier(place), SQL(kind), Identifier(column))
        for place, kind, column in zip(places, types, columns, strict=True)
    )
    return SQL("(SELECT {} FROM unnest({}) AS s({}))").format(cast, arrays, _names(places))


def _must_contain(columns: Sequence[str], names: Sequence[str]) -> None:
    missing = [one for one in names if one not in columns]
    if missing:
        raise ValueError(f'columns: "{missing[0]}" is not among them')


def _must_name_some(key: Sequence[str]) -> None:
    if not key or isinstance(key, str):
        raise ValueError("key: expected the names of one column or more, in a list")


def _texts(transformer: Any, rows: Iterable[Sequence[Any]], width: int) -> list[list[str | None]]:
    """Return the columns of rows, each value as the text that PostgreSQL reads."""
    arrays: list[list[str | None]] = [[] for _ in range(width)]
    for row in rows:
        if len(row) != width:
            raise ValueError(f"rows: expected {width} values in each, got {len(row)}")
        for array, value in zip(arrays, row, strict=True):
            if isinstance(value, str) or value is None:
                array.append(value)
            else:
                try:
                    dumped = transformer.get_dumper(value, PyFormat.TEXT).dump(value)
                except psycopg.Error as error:
                    raise translated(error, is_lost=False) from None
                array.append(None if dumped is None else bytes(dumped).decode())
    return arrays
