"""Hooks hear of all that is done, of no value, and break nothing."""

from __future__ import annotations

import contextvars
import io
import logging
import sys
from typing import Any

import pytest

import duckalog.postgres
from duckalog import ConfigError
from duckalog.postgres import (
    ConnectError,
    ConnectionRole,
    Decision,
    Hook,
    Operation,
    PgConfig,
    PgError,
    PoolConfig,
    QueryError,
    SerializationError,
)
from duckalog.postgres.observing import Observing
from tests.postgres.faces import MakeClient
from tests.postgres.heard import Heard
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.servers

CALLER: contextvars.ContextVar[str] = contextvars.ContextVar("CALLER", default="nobody")


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def client(make_client: MakeClient, heard: Heard) -> Any:
    return make_client(hooks=[heard], application_name="shop")


class TestOperations:
    def test_a_statement_is_told_with_its_server_rows_and_time(
        self, client: Any, heard: Heard, table: str, postgres: Postgres, database: str
    ) -> None:
        client.execute(f"INSERT INTO {table} VALUES (1, $1), (2, 'b')", ["hush"])
        client.query(f"SELECT * FROM {table}")
        inserted, found = heard.of("statement")
        assert heard.begun[-1] is found
        assert inserted.sql == f"INSERT INTO {table} VALUES (?, $1), (?)"
        assert (inserted.name, inserted.rows) == ("INSERT", 2)
        assert (found.name, found.rows, found.error_type) == ("SELECT", 2, None)
        assert found.seconds
        assert found.server
        assert (found.server.host, found.server.port) == (postgres.host, postgres.port)
        assert (found.server.database, found.server.user) == (database, postgres.user)
        assert found.server.application_name == "shop"
        assert (found.pool, found.role) == (f"primary of {database}", ConnectionRole.PRIMARY)

    def test_a_value_is_given_only_when_asked_for(self, client: Any, heard: Heard) -> None:
        client.query("SELECT $1::text, $2::int", ["hush", 7])
        client.execute_batch([("SELECT $1::text", ["hush"]), ("SELECT $1::int", [7])])
        (statement,), (batch,) = heard.of("statement"), heard.of("batch")
        assert "hush" not in repr(statement) + repr(batch)
        assert (statement.value(1), statement.value(2)) == ("hush", 7)
        assert (batch.value(1), batch.value(1, 1)) == ("hush", 7)

    def test_a_failure_is_told_with_its_sqlstate(self, client: Any, heard: Heard) -> None:
        with pytest.raises(QueryError):
            client.query("SELECT 1 / 0")
        (failed,) = heard.of("statement")
        assert (failed.sqlstate, failed.error_type, failed.rows) == ("22012", "22012", None)
        with pytest.raises(TypeError):
            client.query("SELECT $1", "text")
        assert heard.of("statement")[-1].error_type == "TypeError"

    def test_a_batch_is_one_operation(self, client: Any, heard: Heard, table: str) -> None:
        client.execute_batch([f"INSERT INTO {table} VALUES (1)", f"UPDATE {table} SET t = 'a'"])
        with pytest.raises(QueryError):
            client.execute_batch([f"INSERT INTO {table} VALUES (1)"] * 2)
        whole, failed = heard.of("batch")
        assert (whole.name, whole.rows, whole.row_counts) == ("BATCH", 2, (1, 1))
        assert [one.text for one in whole.statements] == [
            f"INSERT INTO {table} VALUES (?)",
            f"UPDATE {table} SET t = ?",
        ]
        assert (failed.name, failed.sqlstate) == ("INSERT", "23505")
        assert heard.texts == []

    def test_copies_are_operations(self, client: Any, heard: Heard, table: str) -> None:
        client.copy_in(table, b"1,a\n2,b\n")
        client.copy_out(f"SELECT * FROM {table}", io.BytesIO())
        with pytest.raises(QueryError):
            client.copy_in("nope", b"")
        copied, written, failed = heard.of("copy")
        assert (copied.name, copied.rows, written.rows) == ("COPY", 2, 2)
        assert copied.sql == f'COPY "{table}" FROM STDIN (FORMAT csv)'
        assert failed.sqlstate == "42P01"

    def test_a_stream_is_one_operation(self, client: Any, heard: Heard) -> None:
        assert len(list(client.query_stream("SELECT generate_series(1, 30)", fetch_size=7))) == 30
        with client.query_stream("SELECT generate_series(1, 30)", fetch_size=7) as cursor:
            cursor.fetch_next()
        with pytest.raises(QueryError):
            list(client.query_stream("SELECT 1 / (20 - i) FROM generate_series(1, 30) i"))
        with pytest.raises(QueryError):
            list(client.query_stream("SELEKT"))
        assert [(one.rows, one.sqlstate) for one in heard.of("stream")] == [
            (30, None),
            (7, None),
            (0, "22012"),
            (0, "42601"),
        ]
        assert heard.texts == []

    def test_a_stream_has_no_part_in_what_its_caller_mends(self, client: Any, heard: Heard) -> None:
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            list(client.query_stream("SELECT 1"))
        assert [one.error_type for one in heard.of("stream")] == [None]

    def test_statements_know_their_transaction(self, client: Any, heard: Heard, table: str) -> None:
        with client.transaction() as transaction:
            transaction.execute(f"INSERT INTO {table} VALUES (1)")
        client.execute(f"DELETE FROM {table}")
        (whole,) = heard.of("transaction")
        assert whole.is_committed
        assert whole.server
        assert [(one.name, one.transaction) for one in heard.of("statement")] == [
            ("BEGIN", whole),
            ("INSERT", whole),
            ("COMMIT", whole),
            ("DELETE", None),
        ]

    def test_a_transaction_that_an_error_ends_is_rolled_back(
        self, client: Any, heard: Heard, table: str
    ) -> None:
        with pytest.raises(QueryError), client.transaction() as transaction:
            transaction.execute(f"INSERT INTO {table} VALUES (1), (1)")
        begun = client.begin()
        begun.rollback()
        failed, left = heard.of("transaction")
        assert (failed.is_committed, failed.sqlstate) == (False, "23505")
        assert (left.is_committed, left.sqlstate) == (False, None)

    def test_each_attempt_of_a_transaction_is_one(self, client: Any, heard: Heard) -> None:
        def work(transaction: Any) -> None:  # noqa: ARG001
            if len(heard.of("transaction")) < 2:
                raise SerializationError("again", "40001")

        client.transaction_with_retry(work)
        found = [(one.attempt, one.sqlstate, one.is_committed) for one in heard.of("transaction")]
        assert found == [(1, "40001", False), (2, "40001", False), (3, None, True)]

    def test_a_wait_for_a_connection_is_one(self, make_client: MakeClient, heard: Heard) -> None:
        pool = PoolConfig(min_size=1, max_size=1, acquire_timeout_s=0.5)
        client = make_client(hooks=[heard], pool=pool)
        client.query("SELECT 1")
        with client.transaction(), pytest.raises(ConnectError):
            client.query("SELECT 1")
        first, second, refused = heard.of("acquire")
        assert first.server == second.server
        assert refused.error_type == "AcquireTimeout"

    def test_clients_that_open_and_close_are_told(
        self, make_client: MakeClient, heard: Heard
    ) -> None:
        client = make_client(hooks=[heard])
        client.database("postgres")
        assert len(heard.clients) == 2
        client.close()
        assert heard.clients == []

    def test_a_hook_runs_in_the_context_of_the_caller(
        self, make_client: MakeClient, face: str
    ) -> None:
        class Who(Hook):
            callers: list[str] = []

            def started(self, operation: Operation) -> None:  # noqa: ARG002
                self.callers.append(CALLER.get())

        client = make_client(hooks=[Who()])
        CALLER.set("ann")
        client.query("SELECT 1")
        assert set(Who.callers) == {"ann"}, face


class Failing(Hook):
    """Cannot hear of anything."""

    def __init__(self, *, is_required: bool = False) -> None:
        self.is_required = is_required

    def started(self, operation: Operation) -> None:  # noqa: ARG002
        raise OSError("the disk is full")

    def ended(self, operation: Operation) -> None:  # noqa: ARG002
        raise OSError("the disk is full")

    def opened(self, client: Any) -> None:  # noqa: ARG002
        raise OSError("the disk is full")


class TestFailures:
    def test_a_hook_that_fails_is_logged_once_and_breaks_nothing(
        self, make_client: MakeClient, heard: Heard, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = make_client(hooks=[Failing(), heard])
        assert client.query_scalar("SELECT 1") == 1
        assert client.query_scalar("SELECT 2") == 2
        assert len(heard.of("statement")) == 2
        assert [one.message for one in caplog.records] == [
            "the hook Failing failed; this is logged only once"
        ]
        assert "the disk is full" in caplog.text

    def test_hooks_before_one_that_refuses_hear_of_the_end(
        self, make_client: MakeClient, heard: Heard
    ) -> None:
        client = make_client(hooks=[heard, Failing(is_required=True)])
        with pytest.raises(PgError, match="Failing did not take note: the statement was not run"):
            client.query("SELECT 1")
        assert [one.error_type for one in heard.done] == ["HookError"]


class TestRouting:
    def test_a_client_without_replicas_decides_nothing(self, client: Any, heard: Heard) -> None:
        client.query("SELECT 1")
        assert heard.decisions == []

    def test_decisions_are_told_and_the_clients_own_statements_are_not(
        self, make_client: MakeClient, heard: Heard, postgres: Postgres, table: str, database: str
    ) -> None:
        # The "replica" is no replica: reads fall back to the primary.
        client = make_client(
            hooks=[heard], replicas=[f"{postgres.host}:{postgres.port}"], lag_check_interval_s=0.01
        )
        client.query(f"SELECT pg_sleep(0.05), i FROM {table}")
        client.execute(f"INSERT INTO {table} VALUES (1)")
        client.query(f"SELECT i FROM {table}")
        client.query_on_primary("SELECT 1")
        client.close()
        primary = f"primary of {database}"
        assert heard.decisions == [
            (Decision.WRITE, primary),  # pg_sleep is volatile
            (Decision.WRITE, primary),
            (Decision.FALLBACK, primary),
            (Decision.READ_ON_PRIMARY, primary),
        ]
        assert heard.texts == [
            f"SELECT pg_sleep(?), i FROM {table}",
            f"INSERT INTO {table} VALUES (?)",
            f"SELECT i FROM {table}",
            "SELECT ?",
        ]


class TestExtras:
    @pytest.mark.parametrize(
        ("name", "module", "package", "extra"),
        [
            ("PoolStats", "pool", "psycopg", "postgres"),
            ("OpenTelemetryHook", "tracing", "opentelemetry", "opentelemetry"),
            ("PrometheusHook", "metrics", "prometheus_client", "prometheus"),
        ],
    )
    def test_a_package_that_is_missing_is_told_with_its_extra(
        self, monkeypatch: pytest.MonkeyPatch, name: str, module: str, package: str, extra: str
    ) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(sys.modules, f"duckalog.postgres.{module}", raising=False)
        monkeypatch.delitem(vars(duckalog.postgres), name, raising=False)
        with pytest.raises(ImportError) as caught:
            getattr(duckalog.postgres, name)
        told = f"duckalog.postgres.{name} needs {package}: pip install 'duckalog[{extra}]'"
        assert str(caught.value) == told


class TestLog:
    def test_statements_are_logged_at_debug_without_values_or_literals(
        self, make_client: MakeClient, table: str, caplog: pytest.LogCaptureFixture, database: str
    ) -> None:
        client = make_client()
        caplog.set_level(logging.DEBUG, "duckalog.postgres")
        client.execute(f"INSERT INTO {table} VALUES (1, $1), (2, 'hush')", ["hush"])
        with pytest.raises(QueryError), client.transaction() as transaction:
            transaction.query("SELECT 1 / 0")
        inserted, _, failed, *_ = caplog.records
        pool = f"primary of {database}"
        assert inserted.message.startswith(f"statement of {pool}: 2 rows in ")
        assert inserted.message.endswith(f" ms: INSERT INTO {table} VALUES (?, $1), (?)")
        told = vars(inserted)
        assert (told["pg_operation"], told["pg_rows"], told["pg_role"]) == ("INSERT", 2, "primary")
        assert told["pg_seconds"] > 0
        assert told["pg_database"] == database
        assert failed.message.startswith(f"statement of {pool}: failed (22012) in ")
        assert vars(failed)["pg_sqlstate"] == "22012"
        assert vars(failed)["pg_transaction"]
        assert "hush" not in caplog.text + repr([vars(one) for one in caplog.records])

    def test_a_slow_statement_is_a_warning(
        self, make_client: MakeClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = make_client(slow_statement_s=0.3)
        client.query("SELECT 1")
        with client.transaction() as transaction:
            transaction.query("SELECT pg_sleep(0.3)")
        (slow,) = caplog.records
        assert slow.levelname == "WARNING"
        assert slow.message.startswith("slow: statement of ")

    def test_nothing_is_logged_nor_measured_unless_somebody_listens(self) -> None:
        assert not Observing((), None).is_on()
        assert Observing((Hook(),), None).is_on()
        assert Observing((), 1.0).is_on()

    def test_a_limit_for_slow_statements_is_more_than_nothing(self) -> None:
        with pytest.raises(ConfigError, match="slow_statement_s: expected more than 0, got 0"):
            PgConfig(slow_statement_s=0)
