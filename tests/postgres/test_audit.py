"""An audit has a record of each statement, and can be a condition of running it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from duckalog.postgres import (
    Audit,
    AuditRecord,
    ConnectionLost,
    HookError,
    Operation,
    OperationKind,
    QueryError,
    fingerprint,
)
from tests.postgres.faces import MakeClient
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.servers


class Trail(list[AuditRecord]):
    """Records, as long as there is room."""

    is_full = False

    def write(self, record: AuditRecord) -> None:
        if self.is_full:
            raise OSError("no space left")
        self.append(record)


@pytest.fixture
def trail() -> Trail:
    return Trail()


def test_a_record_says_who_did_what_where_when_and_what_came_of_it(
    make_client: MakeClient, trail: Trail, postgres: Postgres, table: str, database: str
) -> None:
    client = make_client(hooks=[Audit(trail.write)], application_name="shop")
    sql = f"INSERT INTO {table} VALUES (1, $1), (2, 'hush')"
    client.execute(sql, ["hush"])
    (record,) = trail
    assert (record.phase, record.kind, record.operation) == ("ended", "statement", "INSERT")
    assert (record.application_name, record.user) == ("shop", postgres.user)
    assert (record.server, record.database) == (f"{postgres.host}:{postgres.port}", database)
    assert record.sql == f"INSERT INTO {table} VALUES (?, $1), (?)"
    assert record.fingerprint == fingerprint(sql)
    assert (record.rows, record.outcome, record.error) == (2, "done", None)
    assert (record.transaction, record.parameters) == (None, {})
    assert datetime.now(timezone.utc) - record.at < timedelta(minutes=1)
    assert record.seconds
    assert record.pid
    assert "hush" not in repr(record)


def test_failures_streams_copies_and_each_statement_of_a_batch_have_records(
    make_client: MakeClient, trail: Trail, table: str
) -> None:
    client = make_client(hooks=[Audit(trail.write)])
    with pytest.raises(QueryError):
        client.query("SELECT 1 / 0")
    list(client.query_stream(f"SELECT * FROM {table}"))
    client.copy_in(table, b"1,a\n")
    client.execute_batch([f"DELETE FROM {table}", f"INSERT INTO {table} VALUES (1), (2)"])
    found = [(one.kind, one.operation, one.rows, one.outcome, one.error) for one in trail]
    assert found == [
        ("statement", "SELECT", None, "failed", "22012"),
        ("stream", "SELECT", 0, "done", None),
        ("copy", "COPY", 1, "done", None),
        ("batch", "DELETE", 1, "done", None),
        ("batch", "INSERT", 2, "done", None),
    ]
    assert len({one.id for one in trail}) == 5


def test_a_transactions_records_belong_together_and_tell_its_end(
    make_client: MakeClient, trail: Trail, table: str
) -> None:
    client = make_client(hooks=[Audit(trail.write)])
    for _ in range(2):
        transaction = client.begin()
        transaction.execute(f"INSERT INTO {table} VALUES (1)")
        transaction.rollback()
    assert [one.operation for one in trail] == ["BEGIN", "INSERT", "ROLLBACK"] * 2
    first, second = {one.transaction for one in trail[:3]}, {one.transaction for one in trail[3:]}
    assert len(first) == len(second) == 1
    assert first != second


def test_a_statement_whose_connection_is_lost_may_have_been_done(
    make_client: MakeClient, trail: Trail
) -> None:
    client = make_client(hooks=[Audit(trail.write)])
    with pytest.raises(ConnectionLost):
        client.query("SELECT pg_terminate_backend(pg_backend_pid())")
    assert (trail[0].outcome, trail[0].error) == ("unknown", "ConnectionLost")


def test_only_values_that_are_named_are_recorded(
    make_client: MakeClient, trail: Trail, table: str
) -> None:
    delete = f"DELETE FROM {table} WHERE i = $1 AND t = $2"
    client = make_client(hooks=[Audit(trail.write, parameters={delete: [1]})])
    client.execute(delete, [7, "hush"])
    client.execute_batch([("SELECT $1::int", [1]), (delete, [8, "hush"])])
    client.query("SELECT $1::text", ["hush"])
    assert [dict(one.parameters) for one in trail] == [{"$1": 7}, {}, {"$1": 8}, {}]


class TestRequired:
    def test_it_is_written_before_the_statement_and_after(
        self, make_client: MakeClient, trail: Trail
    ) -> None:
        client = make_client(hooks=[Audit(trail.write, required=True)])
        client.query("SELECT 1")
        before, after = trail
        assert (before.phase, before.outcome, before.seconds) == ("started", None, None)
        assert (after.phase, after.outcome, after.rows) == ("ended", "done", 1)
        assert before.id == after.id

    def test_what_it_cannot_write_is_not_run(
        self, make_client: MakeClient, trail: Trail, table: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = make_client(hooks=[Audit(trail.write, required=True)])
        transaction = client.begin()
        transaction.execute(f"INSERT INTO {table} VALUES (1)")
        trail.is_full = True
        work: list[Any] = [
            transaction.commit,
            lambda: client.execute(f"INSERT INTO {table} VALUES (2)"),
            lambda: client.copy_in(table, b"3,\n"),
            lambda: client.batch_insert(table, ["i"], [[4]]),
            lambda: client.execute_batch([f"INSERT INTO {table} VALUES (5)"]),
            lambda: list(client.query_stream("SELECT 1")),
            client.begin,
        ]
        for one in work:
            with pytest.raises(HookError, match="Audit did not take note"):
                one()
        assert "no space left" in caplog.text
        trail.is_full = False
        assert client.query_scalar(f"SELECT count(*) FROM {table}") == 0

    def test_one_that_is_not_required_refuses_nothing(
        self, make_client: MakeClient, trail: Trail
    ) -> None:
        trail.is_full = True
        assert make_client(hooks=[Audit(trail.write)]).query_scalar("SELECT 1") == 1

    def test_one_that_refuses_every_operation_refuses_connections_too(
        self, make_client: MakeClient
    ) -> None:
        class Closed(Audit):
            def started(self, operation: Operation) -> None:
                if operation.kind is OperationKind.ACQUIRE:
                    raise PermissionError

        client = make_client(hooks=[Closed(print, required=True)])
        with pytest.raises(HookError):
            client.query("SELECT 1")
