"""Results that are not held as a whole: cursors and pages."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import resource
import time
from collections.abc import Callable
from typing import Any

import pytest

from duckalog.postgres import (
    AsyncPgClient,
    ConnectionLost,
    PgError,
    PoolConfig,
    QueryError,
    QueryTimeout,
    TransactionError,
)
from tests.postgres.faces import MakeClient, stated
from tests.servers.postgres import Postgres
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.servers

NUMBERS = "SELECT i, repeat('x', 100) AS t FROM generate_series(1, $1::int) i"
PORTALS = "SELECT count(*) FROM pg_cursors WHERE name LIKE 'duckalog%'"


def in_use(client: Any) -> int:
    return sum(one.in_use for one in client.pool_stats().values())


class TestStreams:
    def test_rows_come_in_order_and_the_connection_goes_back(self, client: Any) -> None:
        rows = client.query_stream(NUMBERS, [2500], fetch_size=1000)
        assert [row["i"] for row in rows] == list(range(1, 2501))
        assert in_use(client) == 0

    def test_rows_become_what_is_asked_for(self, client: Any) -> None:
        rows = client.query_stream("SELECT 1 AS i", into=dict)
        assert list(rows) == [{"i": 1}]
        assert list(client.query_stream("SELECT 1 AS i", into=tuple)) == [(1,)]
        assert list(client.query_stream("SELECT 1 WHERE false")) == []

    def test_a_block_fetches_as_much_as_it_is_told(self, client: Any) -> None:
        with client.query_stream(NUMBERS, [5], fetch_size=2) as cursor:
            assert cursor.is_open
            assert [len(cursor.fetch_next()) for _ in range(4)] == [2, 2, 1, 0]
            assert in_use(client) == 1
        assert not cursor.is_open
        assert in_use(client) == 0
        with pytest.raises(TransactionError, match="not open"):
            cursor.fetch_next()

    def test_a_caller_that_stops_early_leaves_nothing_behind(self, client: Any) -> None:
        with client.query_stream(NUMBERS, [5000]) as cursor:
            for row in cursor:
                if row["i"] == 3:
                    break
        assert in_use(client) == 0
        assert client.query_scalar(PORTALS) == 0

    def test_it_ends_with_its_transaction_and_touches_no_other(
        self, make_client: MakeClient, table: str
    ) -> None:
        client = make_client(pool=PoolConfig(min_size=1, max_size=1))
        with client.transaction() as first:
            kept, closed = (
                first.query_stream(NUMBERS, [9], fetch_size=2).__enter__() for _ in range(2)
            )
        with client.transaction() as second:
            second.execute(f"INSERT INTO {table} VALUES (1)")
            assert not kept.is_open
            with pytest.raises(TransactionError, match="not open"):
                kept.fetch_next()
            closed.close()
        assert client.query_scalar(f"SELECT i FROM {table}") == 1

    def test_an_iteration_that_is_left_may_end_after_its_transaction(
        self, postgres: Postgres
    ) -> None:
        async def main() -> None:
            pool = PoolConfig(min_size=1, max_size=1)
            async with AsyncPgClient("", **stated(postgres, pool=pool)) as client:
                for _ in range(5):
                    async with client.transaction() as transaction:
                        async for _ in transaction.query_stream(NUMBERS, [9], fetch_size=2):
                            break  # the event loop ends it, later
                assert await client.query_scalar(PORTALS) == 0

        asyncio.run(main())

    def test_one_that_was_left_has_its_whole_time_when_it_is_read_again(
        self, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("duckalog.postgres.streams.CHECK_LIMIT_S", 0.05)
        slow = "SELECT pg_sleep(0.1)"
        stream = client.query_stream(slow)
        with pytest.raises(ZeroDivisionError), stream:
            raise ZeroDivisionError
        assert len(list(stream)) == 1

    def test_one_that_outlives_its_client_gives_its_connection_back(
        self, make_client: MakeClient, client: Any
    ) -> None:
        name = "outlived"
        other = make_client(application_name=name)
        cursor = other.query_stream(NUMBERS, [9], fetch_size=2).__enter__()
        other.close()
        assert len(cursor.fetch_next()) == 2
        cursor.close()
        ended = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = $1"
        deadline = time.monotonic() + 10
        while not client.query_scalar(ended, [name]):
            assert time.monotonic() < deadline

    def test_within_a_transaction_it_sees_what_was_done(self, client: Any, table: str) -> None:
        with client.transaction() as transaction:
            transaction.execute(f"INSERT INTO {table} VALUES (1)")
            assert list(transaction.query_stream(f"SELECT i FROM {table}")) == [(1,)]
            with transaction.query_stream(NUMBERS, [10], fetch_size=1) as cursor:
                assert cursor.fetch_next()[0]["i"] == 1
                assert transaction.query_scalar(PORTALS) == 1
            assert transaction.query_scalar(PORTALS) == 0
        assert client.query(f"SELECT i FROM {table}") == [(1,)]

    def test_an_error_in_the_midst_is_told(self, client: Any) -> None:
        rows = client.query_stream(
            "SELECT 1 / (15 - i) FROM generate_series(1, 20) i", fetch_size=10
        )
        seen = []
        with pytest.raises(QueryError, match="division by zero"):
            for row in rows:
                seen.append(row)
        assert len(seen) == 10
        assert in_use(client) == 0
        with pytest.raises(QueryError, match="syntax error"):
            list(client.query_stream("SELEKT 1"))
        assert in_use(client) == 0

    def test_each_fetch_has_the_limit(self, client: Any) -> None:
        sql = "SELECT i, pg_sleep(CASE i WHEN 3 THEN 9 ELSE 0 END) FROM generate_series(1, 4) i"
        with (
            pytest.raises(QueryTimeout),
            client.query_stream(sql, fetch_size=2, timeout_s=0.3) as cursor,
        ):
            assert len(cursor.fetch_next()) == 2
            cursor.fetch_next()
        assert in_use(client) == 0

    def test_a_link_that_breaks_in_the_midst_is_one_error(
        self, make_client: MakeClient, postgres: Postgres, proxy: Callable[[str, int], Proxy]
    ) -> None:
        link = proxy(postgres.host, postgres.port)
        client = make_client(port=link.port, pool=PoolConfig(min_size=1, max_size=1))
        client.query_scalar("SELECT 1")
        link.behave("pass", cut_after_bytes=300_000)
        seen = 0
        with pytest.raises(ConnectionLost):
            for _ in client.query_stream(NUMBERS, [100_000]):
                seen += 1
        assert 0 < seen < 100_000
        link.behave("pass")
        assert client.query_scalar("SELECT 1") == 1

    def test_memory_does_not_grow_with_the_result(self, client: Any) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sql = "SELECT i, repeat('x', 10000) FROM generate_series(1, 10000) i"
        rows = client.query_stream(sql, into=tuple, fetch_size=100)
        assert sum(1 for _ in rows) == 10_000
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
        assert grown < 30_000  # kB, of 100 MB

    def test_a_fetch_has_at_least_one_row(self, client: Any) -> None:
        with pytest.raises(ValueError, match="fetch_size"):
            client.query_stream("SELECT 1", fetch_size=0)


def pages(client: Any, sql: str, params: list[Any], **stated: Any) -> list[list[Any]]:
    found, token = [], None
    while True:
        page = client.query_page(sql, params, after=token, **stated)
        found.append(page.rows)
        token = page.next_token
        if token is None:
            return found


class TestPages:
    @pytest.mark.parametrize("size", [1, 3, 7, 100])
    @pytest.mark.parametrize("descending", [False, True])
    def test_pages_have_every_row_once_in_order(
        self, client: Any, size: int, descending: bool
    ) -> None:
        sql = "SELECT i % 3 AS g, i FROM generate_series(1, $1::int) i -- a comment"
        found = pages(client, sql, [21], key=["g", "i"], size=size, descending=descending)
        expected = sorted(((i % 3, i) for i in range(1, 22)), reverse=descending)
        assert [tuple(row) for rows in found for row in rows] == expected
        assert all(len(rows) == size for rows in found[:-1])
        assert 0 < len(found[-1]) <= size

    @pytest.mark.parametrize(
        "key",
        [
            "timestamptz '2024-02-29 12:00:00.123456+02' + i * interval '1 us'",
            "(i / 10.0)::float8",
            "1e-30::numeric * i",
            "'it''s \"' || chr(200 + i)",
            "md5(i::text)::uuid",
            "date '0044-03-15' + i",
        ],
    )
    def test_any_type_can_be_a_key(self, client: Any, key: str) -> None:
        sql = f"SELECT i, {key} AS k FROM generate_series(1, 5) i"
        found = pages(client, sql, [], key=["k"], size=2, into=lambda i, k: i)  # noqa: ARG005
        assert sorted(i for rows in found for i in rows) == [1, 2, 3, 4, 5]
        assert [len(rows) for rows in found] == [2, 2, 1]

    def test_rows_that_come_and_go_are_neither_skipped_nor_repeated(
        self, client: Any, table: str
    ) -> None:
        kept = list(range(0, 200, 2))
        client.batch_insert(table, ["i"], [(i,) for i in kept])
        chance = random.Random(7)
        seen: list[int] = []
        token = None
        while True:
            page = client.query_page(f"SELECT i FROM {table}", key=["i"], size=9, after=token)
            seen += [row["i"] for row in page.rows]
            token = page.next_token
            if token is None:
                break
            odd = chance.randrange(1, 200, 2)
            client.execute(f"INSERT INTO {table} VALUES ($1) ON CONFLICT DO NOTHING", [odd])
            client.execute(f"DELETE FROM {table} WHERE i = $1", [chance.randrange(1, 200, 2)])
        assert [i for i in seen if i % 2 == 0] == kept
        assert len(set(seen)) == len(seen)

    def test_a_token_is_good_for_its_query_only(self, client: Any) -> None:
        sql = "SELECT i FROM generate_series(1, 9) i"
        token = client.query_page(sql, key=["i"], size=2).next_token
        for other, named in (
            (sql + " WHERE i > 0", {}),
            (sql, {"descending": True}),
        ):
            with pytest.raises(PgError, match="belongs to another query"):
                client.query_page(other, key=["i"], after=token, **named)

    @pytest.mark.parametrize(
        "token", ["", "x", "é", "AAAA", base64.urlsafe_b64encode(b"[1]").decode()]
    )
    def test_a_token_that_is_none_is_refused(self, client: Any, token: str) -> None:
        with pytest.raises(PgError, match="not one of this client's"):
            client.query_page("SELECT 1 AS i", key=["i"], after=token)

    def test_a_forged_token_is_a_parameter_and_nothing_more(self, client: Any, table: str) -> None:
        sql = "SELECT 'a' || i AS k FROM generate_series(1, 3) i"
        token = client.query_page(sql, key=["k"], size=1).next_token
        said = json.loads(base64.urlsafe_b64decode(token + "=="))
        said[1] = f"'); DROP TABLE {table}; --"
        forged = base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
        assert len(client.query_page(sql, key=["k"], after=forged).rows) == 3
        assert client.query_scalar(f"SELECT count(*) FROM {table}") == 0

    def test_a_key_that_is_null_is_told(self, client: Any) -> None:
        with pytest.raises(QueryError, match=r"column of the key \(k\) is NULL"):
            client.query_page("SELECT * FROM (VALUES (1), (NULL)) v(k)", key=["k"])

    def test_a_page_has_a_row_and_a_key_a_column(self, client: Any) -> None:
        for named in ({"size": 0, "key": ["i"]}, {"key": []}):
            with pytest.raises(ValueError, match="at least one"):
                client.query_page("SELECT 1 AS i", **named)
