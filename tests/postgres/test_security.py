"""TLS and its verification, and passwords that nobody hears of."""

from __future__ import annotations

import copy
import io
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest
from psycopg.sql import SQL, Identifier, Literal

from duckalog import ConfigError
from duckalog.postgres import (
    Audit,
    AuditRecord,
    CallableCredentials,
    ConnectError,
    OpenTelemetryHook,
    PgConfig,
    PgError,
    PoolConfig,
    PrometheusHook,
    RetryConfig,
    SslMode,
    mask_hash,
)
from tests.postgres.faces import MakeClient
from tests.postgres.heard import Heard
from tests.servers.postgres import Postgres
from tests.servers.tls import TlsFront, tls_front
from tests.test_canary import assert_silent, canary

pytestmark = pytest.mark.servers

ONCE = RetryConfig(attempts=1)


@pytest.fixture(scope="module")
def front(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsFront]:
    folder = tmp_path_factory.mktemp("tls")
    with tls_front((postgres.host, postgres.port), "localhost", folder) as made:
        yield made


class TestTls:
    @pytest.mark.parametrize(
        ("mode", "host", "is_known"),
        [
            ("require", "127.0.0.1", False),
            ("verify-ca", "127.0.0.1", True),
            ("verify-full", "localhost", True),
        ],
    )
    def test_a_server_that_is_who_it_says_is_let_in(
        self, make_client: MakeClient, front: TlsFront, mode: str, host: str, is_known: bool
    ) -> None:
        root = str(front.authority) if is_known else None
        client = make_client(host=host, port=front.port, ssl_mode=mode, ssl_root_cert=root)
        assert client.query_scalar("SELECT 1") == 1

    @pytest.mark.parametrize(
        ("mode", "host", "is_stranger", "reason"),
        [
            ("verify-ca", "127.0.0.1", True, "certificate verify failed"),
            ("verify-full", "localhost", True, "certificate verify failed"),
            ("verify-full", "127.0.0.1", False, "does not match host name"),
        ],
    )
    def test_any_other_is_not(
        self,
        make_client: MakeClient,
        front: TlsFront,
        mode: str,
        host: str,
        is_stranger: bool,
        reason: str,
    ) -> None:
        root = str(front.stranger if is_stranger else front.authority)
        with pytest.raises(ConnectError, match=reason):
            make_client(host=host, port=front.port, ssl_mode=mode, ssl_root_cert=root)

    @pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
    def test_a_server_without_tls_is_refused_where_it_is_required(
        self, make_client: MakeClient, front: TlsFront, mode: str
    ) -> None:
        with pytest.raises(ConnectError, match="server does not support SSL"):
            make_client(ssl_mode=mode, ssl_root_cert=str(front.authority), retry=ONCE)

    def test_a_client_without_tls_is_refused_by_the_front(
        self, make_client: MakeClient, front: TlsFront
    ) -> None:
        with pytest.raises(ConnectError):
            make_client(port=front.port, ssl_mode="disable", retry=ONCE)

    def test_a_client_shows_its_certificate_where_it_is_asked_for_one(
        self, make_client: MakeClient, postgres: Postgres, tmp_path: Path
    ) -> None:
        target = (postgres.host, postgres.port)
        with tls_front(target, "localhost", tmp_path, asks_clients=True) as front:
            stated = {"host": "localhost", "port": front.port, "ssl_mode": "verify-full"}
            stated |= {"ssl_root_cert": str(front.authority), "retry": ONCE}
            key = str(tmp_path / "client.key")
            client = make_client(ssl_cert=str(tmp_path / "client.pem"), ssl_key=key, **stated)
            assert client.query_scalar("SELECT 1") == 1
            client.close()
            with pytest.raises(ConnectError):
                make_client(**stated)


class TestRequireTls:
    @pytest.mark.parametrize(
        "stated",
        [
            {"host": "db.example.com", "ssl_mode": "require"},
            {"host": "db.example.com", "ssl_mode": SslMode.VERIFY_FULL},
            {"conninfo": "postgresql://h/d?sslmode=verify-ca"},
            {"host": "/run/postgresql"},
            {"host": "localhost"},
            {"host": "127.0.0.2,::1"},
            {},
        ],
    )
    def test_a_link_that_nobody_can_read_is_allowed(self, stated: dict[str, Any]) -> None:
        assert PgConfig(require_tls=True, **stated).require_tls

    @pytest.mark.parametrize(
        ("stated", "mode"),
        [
            ({"host": "db.example.com"}, "prefer"),
            ({"host": "db.example.com", "ssl_mode": "prefer"}, "prefer"),
            ({"host": "db.example.com", "ssl_mode": "allow"}, "allow"),
            ({"conninfo": "host=localhost,db.example.com sslmode=disable"}, "disable"),
            ({"host": "localhost", "options": {"hostaddr": "192.0.2.1"}}, "prefer"),
            ({"host": "10.0.0.1"}, "prefer"),
        ],
    )
    def test_any_other_is_refused_by_the_name_of_its_field(
        self, stated: dict[str, Any], mode: str
    ) -> None:
        with pytest.raises(ConfigError, match="and require_tls is set") as caught:
            PgConfig(require_tls=True, **stated)
        (problem,) = caught.value.problems
        assert problem.message.startswith(f'ssl_mode: "{mode}" lets the link to ')
        assert "verify-full" in problem.remedy

    def test_replicas_are_held_to_it_too(self) -> None:
        with pytest.raises(ConfigError) as caught:
            PgConfig(
                "host=a sslmode=require",
                replicas=["b", "host=c sslmode=prefer"],
                require_tls=True,
            )
        assert [one.message for one in caught.value.problems] == [
            'replicas[1].ssl_mode: "prefer" lets the link to c be in clear, and require_tls is set'
        ]

    @pytest.mark.parametrize(("text", "is_required"), [("true", True), ("0", False)])
    def test_the_environment_can_say_so(self, text: str, is_required: bool) -> None:
        environment = {"PG_HOST": "localhost", "PG_DATABASE": "d", "PG_USERNAME": "u"}
        environment |= {"PG_PASSWORD": "p", "PG_REQUIRE_TLS": text}
        assert PgConfig.from_env(environment).require_tls is is_required
        with pytest.raises(ConfigError, match="PG_REQUIRE_TLS: expected true or false"):
            PgConfig.from_env({**environment, "PG_REQUIRE_TLS": "maybe"})

    def test_an_encrypted_link_works(self, make_client: MakeClient, front: TlsFront) -> None:
        client = make_client(port=front.port, ssl_mode="require", require_tls=True)
        assert client.query_scalar("SELECT 1") == 1

    def test_a_link_to_another_machine_in_clear_is_seen_once_it_is_there(
        self,
        make_client: MakeClient,
        postgres: Postgres,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Where the config cannot tell: libpq may have the host from a service file."""
        monkeypatch.setattr("duckalog.postgres.pool.is_local", lambda host: host == "elsewhere")
        client = make_client(pool=PoolConfig(min_size=2, max_size=2))
        assert client.query_scalar("SELECT 1") == 1
        told = f"the link to {postgres.host} is in clear: set ssl_mode to verify-full"
        assert [one.message for one in caplog.records] == [told]
        make_client(ssl_mode="disable")  # it is meant to be
        assert len(caplog.records) == 1
        with pytest.raises(ConnectError, match="is in clear, against require_tls"):
            make_client(require_tls=True, retry=ONCE)


class TestCanary:
    def test_a_password_is_in_no_log_error_nor_repr(
        self, make_client: MakeClient, postgres: Postgres, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        password = canary("PASSWORD")
        postgres.run("DROP ROLE IF EXISTS canary")
        postgres.create_role("canary", password)
        heard: dict[str, str] = {}

        def note(error: BaseException) -> None:
            heard[f"error {len(heard)}"] = "".join(traceback.format_exception(error)) + repr(error)

        stated = {"username": "canary", "password": password, "retry": ONCE}
        client = make_client(pool=PoolConfig(min_size=1, max_size=1), **stated)
        assert client.query_scalar("SELECT current_user") == "canary"
        for sql in ("SELEKT", "SELECT 1 / 0", "SELECT * FROM nope"):
            with pytest.raises(PgError) as caught:
                client.query(sql)
            note(caught.value)
        heard["client"] = f"{client.config!r} {client.pool_stats()!r} {copy.copy(client.config)}"
        client.close()
        wrong: list[dict[str, Any]] = [
            {"username": "nobody"},
            {"port": 1},
            {"database": "nope"},
            {"ssl_mode": "require"},
            {"password": None, "credentials": CallableCredentials(lambda: password + "x")},
        ]
        for changes in wrong:
            with pytest.raises(PgError) as caught:
                make_client(**{**stated, **changes})
            note(caught.value)
        for conninfo in (f"password={password}", f"postgresql://u:{password}@h/d"):
            try:
                heard[conninfo[:9]] = repr(PgConfig(conninfo))
            except Exception as error:
                note(error)
        assert_silent({**heard, "log": caplog.text})

    def test_the_values_and_literals_of_statements_are_told_by_no_channel(
        self,
        make_client: MakeClient,
        postgres: Postgres,
        table: str,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        caplog.set_level(logging.DEBUG)  # the root: psycopg's loggers, too
        password, value = canary("PASSWORD"), canary("VALUE")
        postgres.run("DROP ROLE IF EXISTS canary_of_values")
        postgres.create_role("canary_of_values", password)
        postgres.run("ALTER ROLE canary_of_values SUPERUSER")
        heard, records, registry = Heard(), list[AuditRecord](), CollectorRegistry()
        spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(spans))
        hooks = [
            heard,
            Audit(records.append, required=True),
            PrometheusHook(registry),
            OpenTelemetryHook(provider),
        ]
        client = make_client(
            hooks=hooks,
            credentials=CallableCredentials(lambda: password),
            username="canary_of_values",
            masks={"t": mask_hash(value)},
            slow_statement_s=1e-9,
        )
        told = everything_with(value, client, table)
        scraped = generate_latest(registry).decode()
        client.close()
        assert "22P02" in caplog.text
        assert_silent(
            {
                "log": caplog.text + repr([vars(one) for one in caplog.records]),
                "error": told,
                "operations": repr(heard.done),
                "texts": " ".join(one.sql for one in heard.done),
                "audit": repr(records),
                "metrics": scraped,
                "spans": " ".join(one.to_json() for one in spans.get_finished_spans()),
                "client": f"{client.config!r} {hooks!r}",
                "output": "".join(capfd.readouterr()),
            }
        )


def everything_with(value: str, client: Any, table: str) -> str:
    """Do all that takes values with this one, and return the errors that quote nothing."""
    written = SQL("INSERT INTO {} VALUES (2, {})").format(Identifier(table), Literal(value))
    client.execute(f"INSERT INTO {table} VALUES (1, $1)", [value])
    client.execute(written)
    client.execute_batch([(f"UPDATE {table} SET t = $1", [value]), "SELECT 1"])
    client.copy_rows(table, ["i", "t"], [[3, value]])
    client.upsert(table, ["i", "t"], [[4, value]], key=["i"])
    client.query_page(f"SELECT * FROM {table} WHERE t = $1", [value], key=["i"])
    list(client.query_stream(f"SELECT * FROM {table} WHERE t = $1", [value]))
    client.copy_out(SQL("SELECT {} AS x").format(Literal(value)), io.BytesIO())
    client.notify("canary", value)
    with client.transaction() as transaction:
        transaction.execute(f"DELETE FROM {table} WHERE t = $1", [value])
        transaction.rollback()
    quoting = [
        lambda: client.query("SELECT $1::text::int", [value]),
        lambda: client.query(SQL("SELECT {}::int").format(Literal(value))),
        lambda: client.execute_batch([("SELECT $1::text::int", [value])]),
        lambda: list(client.query_stream("SELECT $1::text::int", [value])),
        lambda: client.copy_rows(table, ["i"], [[value]]),
        lambda: client.query(SQL("{}").format(Literal(value))),
    ]
    for one in quoting:  # the server's message has the value: its caller's, and nobody else's
        with pytest.raises(PgError):
            one()
    with pytest.raises(PgError) as caught:
        client.execute(f"INSERT INTO {table} VALUES (1, $1)", [value])
    return "".join(traceback.format_exception(caught.value)).replace(Path(__file__).name, "")
