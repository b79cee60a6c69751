"""The client's calls beside the same ones of bare psycopg's."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from duckalog.postgres import PgClient

SMALL = "SELECT $1::int AS id, 'name' AS name"
COLUMNS = ("i", "t", "f", "at")
BATCH = 200
CALLS = 40

Action = Callable[[], object]
Pairs = dict[str, tuple[Action, Action]]


def small_pairs(
    client: PgClient, pool: Any, checked: Any, looped: Callable[..., Any], others: tuple[Any, Any]
) -> Pairs:
    """Return the pairs of a small query, repeated; the last are the awaited client's and pool's."""

    def own(**how: Any) -> Action:
        def action() -> None:
            for number in range(CALLS):
                client.query(SMALL, [number], **how)

        return action

    def bare(source: Any, factory: Any = None) -> Action:
        def action() -> None:
            for number in range(CALLS):
                with source.connection() as connection:
                    if factory:
                        connection.cursor(row_factory=factory).execute(SMALL, [number]).fetchall()
                    else:
                        connection.execute(SMALL, [number]).fetchall()

        return action

    other, other_pool = others

    async def awaited() -> None:
        for number in range(CALLS):
            await other.query(SMALL, [number])

    async def bare_awaited() -> None:
        for number in range(CALLS):
            async with other_pool.connection() as connection:
                await (await connection.execute(SMALL, [number])).fetchall()

    return {
        "query, rows with names ÷ tuples": (own(), bare(pool)),
        "query, tuples ÷ tuples": (own(into=tuple), bare(pool)),
        "query, rows with names ÷ namedtuples": (own(), bare(pool, namedtuple_row)),
        "query ÷ a pool that checks": (own(), bare(checked)),
        "query, awaited ÷ awaited": (lambda: looped(awaited), lambda: looped(bare_awaited)),
    }


def bulk_pairs(client: PgClient, bare: Any, rows: list[Any]) -> Pairs:
    """Return the pairs of moving many rows, and of many statements at once."""
    out = io.BytesIO()
    client.copy_out("SELECT * FROM source", out, format="binary")
    binary = out.getvalue()
    insert = "INSERT INTO few VALUES ($1, 't')"

    def emptied() -> None:
        bare.execute("TRUNCATE target")

    def bare_out() -> None:
        with bare.cursor().copy("COPY (SELECT * FROM source) TO STDOUT (FORMAT BINARY)") as copy:
            file = io.BytesIO()
            while piece := copy.read():
                file.write(piece)

    def own_in() -> None:
        emptied()
        client.copy_in("target", binary, format="binary")

    def bare_in() -> None:
        emptied()
        with bare.cursor().copy("COPY target FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(binary)

    def own_rows(format: str) -> Action:
        def action() -> None:
            emptied()
            client.copy_rows("target", COLUMNS, rows, format=format)

        return action

    def bare_rows(format: str) -> Action:
        def action() -> None:
            emptied()
            with bare.cursor().copy(f"COPY target FROM STDIN (FORMAT {format})") as copy:
                if format == "binary":
                    copy.set_types(["int8", "text", "float8", "timestamptz"])
                for row in rows:
                    copy.write_row(row)

        return action

    def own_insert() -> None:
        emptied()
        client.batch_insert("target", COLUMNS, rows)

    def own_batch() -> None:
        client.execute_batch([(insert, [number]) for number in range(BATCH)])

    def bare_batch() -> None:
        with bare.transaction(), bare.pipeline():
            for number in range(BATCH):
                bare.execute(insert, [number])

    return {
        "COPY binary out": (
            lambda: client.copy_out("SELECT * FROM source", io.BytesIO(), format="binary"),
            bare_out,
        ),
        "COPY binary in": (own_in, bare_in),
        "COPY binary, rows": (own_rows("binary"), bare_rows("binary")),
        "batch_insert ÷ COPY text, rows": (own_insert, bare_rows("text")),
        f"execute_batch, {BATCH} ÷ pipeline": (own_batch, bare_batch),
        "query_stream ÷ server cursor": (
            lambda: sum(1 for _ in client.query_stream("SELECT * FROM source", into=tuple)),
            lambda: streamed(bare),
        ),
    }


def streamed(connection: Any) -> int:
    """Return the number of rows that psycopg's server cursor yields."""
    with connection.transaction(), psycopg.RawServerCursor(connection, "s") as cursor:
        cursor.itersize = 1000
        cursor.execute("SELECT * FROM source")
        return sum(1 for _ in cursor)
