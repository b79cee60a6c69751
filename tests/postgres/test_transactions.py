"""Transactions against a real server: what holds, what is undone, and what is run again."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from duckalog.postgres import (
    ClosedError,
    ConnectionLost,
    IntegrityError,
    IsolationLevel,
    PgClient,
    QueryError,
    QueryTimeout,
    ReadOnlyError,
    RetryConfig,
    SerializationError,
    TransactionError,
    TransactionOptions,
)
from tests.postgres.faces import Awaited, MakeClient

pytestmark = pytest.mark.servers


def rows(client: Any, table: str) -> list[int]:
    return [row["i"] for row in client.query(f"SELECT i FROM {table} ORDER BY i")]


class TestBlocks:
    def test_a_block_that_ends_commits(self, client: Any, table: str) -> None:
        with client.transaction() as transaction:
            transaction.execute(f"INSERT INTO {table} VALUES (1)")
            assert rows(transaction, table) == [1]
            assert rows(client, table) == []
        assert rows(client, table) == [1]

    def test_a_block_that_raises_rolls_back(self, client: Any, table: str) -> None:
        with pytest.raises(ZeroDivisionError), client.transaction() as transaction:
            transaction.execute(f"INSERT INTO {table} VALUES (1)")
            raise ZeroDivisionError
        assert rows(client, table) == []
        assert not transaction.is_open

    def test_an_error_that_a_block_swallows_is_no_commit(self, client: Any, table: str) -> None:
        with (
            pytest.raises(TransactionError, match="rolled back: one of its statements had failed"),
            client.transaction() as transaction,
        ):
            transaction.execute(f"INSERT INTO {table} VALUES (1)")
            with pytest.raises(QueryError):
                transaction.execute("SELECT 1 / 0")
        assert rows(client, table) == []

    def test_begin_leaves_the_end_to_its_caller(self, client: Any, table: str) -> None:
        for end, expected in (("rollback", []), ("commit", [1])):
            transaction = client.begin()
            transaction.execute(f"INSERT INTO {table} VALUES (1)")
            getattr(transaction, end)()
            assert rows(client, table) == expected
            with pytest.raises(TransactionError, match="not open"):
                transaction.execute("SELECT 1")

    def test_a_transaction_can_be_ended_within_its_block(self, client: Any, table: str) -> None:
        with client.transaction() as transaction:
            transaction.execute(f"INSERT INTO {table} VALUES (1)")
            transaction.rollback()
        assert rows(client, table) == []

    def test_one_that_its_statements_ended_says_so(self, client: Any, table: str) -> None:
        with (
            pytest.raises(TransactionError, match="had ended the transaction already"),
            client.transaction() as transaction,
        ):
            transaction.execute(f"INSERT INTO {table} VALUES (1)")
            transaction.execute("COMMIT")
        assert rows(client, table) == [1]

    def test_a_batch_in_a_transaction_is_undone_with_it(self, client: Any, table: str) -> None:
        with pytest.raises(ZeroDivisionError), client.transaction() as transaction:
            assert transaction.execute_batch([f"INSERT INTO {table} VALUES (1), (2)"]) == [2]
            raise ZeroDivisionError
        assert rows(client, table) == []

    def test_a_beginning_that_is_lost_again_and_again_is_told(
        self, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = make_client(retry=RetryConfig(attempts=3))
        begun: list[str] = []

        async def lost(connection: Any, *statement: Any) -> None:
            connection.pgconn.finish()
            begun.append(repr(statement[0]))
            raise ConnectionLost("the connection was lost")

        monkeypatch.setattr("duckalog.postgres.transactions.run", lost)
        with pytest.raises(ConnectionLost):
            client.begin()
        assert len(begun) == 3


class TestOptions:
    @pytest.mark.parametrize("level", IsolationLevel)
    def test_the_server_has_the_level_that_was_asked_for(
        self, client: Any, level: IsolationLevel
    ) -> None:
        with client.transaction(isolation=level) as transaction:
            sql = "SHOW transaction_isolation"
            assert transaction.query_scalar(sql) == level.value

    def test_repeatable_read_sees_what_it_saw(self, client: Any, table: str) -> None:
        with client.transaction(isolation="repeatable read") as transaction:
            assert rows(transaction, table) == []
            client.execute(f"INSERT INTO {table} VALUES (1)")
            assert rows(transaction, table) == []

    def test_a_read_only_transaction_writes_nothing(self, client: Any, table: str) -> None:
        with pytest.raises(ReadOnlyError), client.transaction(read_only=True) as transaction:
            transaction.execute(f"INSERT INTO {table} VALUES (1)")

    def test_deferrable_reaches_the_server(self, client: Any) -> None:
        options = {"isolation": "serializable", "read_only": True}
        for deferrable, shown in ((True, "on"), (False, "off")):
            with client.transaction(deferrable=deferrable, **options) as transaction:
                assert transaction.query_scalar("SHOW transaction_deferrable") == shown

    def test_deferred_constraints_are_checked_at_the_end(self, client: Any, table: str) -> None:
        client.execute(f"ALTER TABLE {table} ADD CONSTRAINT once_{table} UNIQUE (t) DEFERRABLE")
        swap = f"INSERT INTO {table} VALUES (1, 'a'), (2, 'a')"
        for names in ((), (f"once_{table}",)):
            with client.transaction() as transaction:
                transaction.defer_constraints(*names)
                transaction.execute(swap)
                transaction.execute(f"DELETE FROM {table}")
        with pytest.raises(IntegrityError), client.transaction() as transaction:
            transaction.defer_constraints()
            transaction.execute(swap)
        assert rows(client, table) == []


class TestSavepoints:
    def test_going_back_undoes_what_came_after_errors_included(
        self, client: Any, table: str
    ) -> None:
        with client.transaction() as transaction:
            transaction.execute(f"INSERT INTO {table} VALUES (1)")
            place = transaction.savepoint('before "risk"; --')
            for _ in range(2):
                with pytest.raises(IntegrityError):
                    transaction.execute(f"INSERT INTO {table} VALUES (2), (1)")
                transaction.rollback_to(place)
            transaction.execute(f"INSERT INTO {table} VALUES (3)")
            transaction.release(place)
            with pytest.raises(QueryError, match="does not exist"):
                transaction.rollback_to(place)
            transaction.rollback()
        with client.transaction() as transaction:
            outer = transaction.savepoint("a")
            transaction.execute(f"INSERT INTO {table} VALUES (1)")
            inner = transaction.savepoint("b")
            transaction.execute(f"INSERT INTO {table} VALUES (2)")
            transaction.rollback_to(inner)
            transaction.release(outer)
        assert rows(client, table) == [1]


class TestLimits:
    def test_no_statement_is_taken_after_the_time(self, client: Any, table: str) -> None:
        started = time.monotonic()
        with (
            pytest.raises((QueryTimeout, QueryError, ConnectionLost)),
            client.transaction(timeout_s=0.3) as transaction,
        ):
            transaction.execute(f"INSERT INTO {table} VALUES (1)")
            transaction.execute("SELECT pg_sleep(5)")
        assert time.monotonic() - started < 2
        assert rows(client, table) == []

    def test_the_server_ends_one_that_does_nothing(self, client: Any, table: str) -> None:
        transaction = client.begin(TransactionOptions(timeout_s=0.2))
        transaction.execute(f"INSERT INTO {table} VALUES (1)")
        time.sleep(0.4)
        client.execute(f"INSERT INTO {table} VALUES (1)", timeout_s=2)  # nobody holds the lock
        with pytest.raises(TransactionError, match=r"over its limit of 0\.2 s"):
            transaction.execute("SELECT 1")
        with pytest.raises(ConnectionLost):
            transaction.commit()

    def test_a_limit_is_more_than_nothing(self, client: Any) -> None:
        with pytest.raises(ValueError, match="expected more than 0"):
            client.transaction(timeout_s=-1)

    def test_a_long_one_is_warned_of_once(
        self, client: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "duckalog.postgres"):
            with client.transaction(warn_after_s=0.05) as transaction:
                time.sleep(0.1)
                transaction.execute("SELECT 1")
                transaction.execute("SELECT 1")
            with client.transaction() as transaction:
                transaction.execute("SELECT 1")
        (record,) = [one for one in caplog.records if one.name == "duckalog.postgres"]
        assert "a transaction is open for 0." in record.message


class TestRetries:
    def test_a_deadlock_is_run_again(self, client: Any, table: str) -> None:
        client.execute(f"INSERT INTO {table} VALUES (1, ''), (2, '')")
        both_hold_one = threading.Barrier(2)
        runs: list[int] = []

        def swap(mine: int) -> None:
            first = True

            def update(transaction: Any) -> None:
                nonlocal first
                runs.append(mine)
                sql = f"UPDATE {table} SET t = t || $1 WHERE i = $2"
                transaction.execute(sql, [f"{mine}", mine])
                if first:
                    first = False
                    both_hold_one.wait(10)
                transaction.execute(sql, [f"{mine}", 3 - mine])

            async def awaited(transaction: Any) -> None:
                import asyncio

                await asyncio.to_thread(update, Awaited(client._loop, transaction))

            client.transaction_with_retry(awaited if isinstance(client, Awaited) else update)

        threads = [threading.Thread(target=swap, args=[i]) for i in (1, 2)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(30)
        assert len(runs) == 3
        texts = [set(row["t"]) for row in client.query(f"SELECT t FROM {table}")]
        assert texts == [{"1", "2"}] * 2

    def test_it_gives_up_after_so_many(self, client: Any) -> None:
        runs = []
        sql = "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"

        def conflict(transaction: Any) -> Any:
            runs.append(1)
            return transaction.execute(sql)

        with pytest.raises(SerializationError):
            client.transaction_with_retry(conflict, max_retries=2)
        assert len(runs) == 3

    def test_another_error_is_not_run_again(self, client: Any) -> None:
        runs = []

        def fail(transaction: Any) -> Any:
            runs.append(1)
            return transaction.execute("SELECT 1 / 0")

        with pytest.raises(QueryError, match="division by zero"):
            client.transaction_with_retry(fail)
        assert len(runs) == 1

    def test_its_value_is_returned(self, client: Any) -> None:
        options = TransactionOptions(isolation="serializable")
        value = client.transaction_with_retry(
            lambda one: one.query_scalar("SELECT 7"), options=options
        )
        assert value == 7


def test_a_transaction_needs_an_open_client(make_client: MakeClient) -> None:
    with pytest.raises(ClosedError, match="not open"):
        make_client(is_open=False).transaction()


def test_a_block_of_the_other_face_is_refused() -> None:
    client: Any = PgClient("host=localhost")

    async def wrong() -> None:
        async with client:
            pass

    with pytest.raises(TypeError, match="`with`"):
        wrong().send(None)
