"""TLS and its verification, and passwords that nobody hears of."""

from __future__ import annotations

import copy
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from duckalog.postgres import (
    CallableCredentials,
    ConnectError,
    PgConfig,
    PgError,
    PoolConfig,
    RetryConfig,
)
from tests.postgres.faces import MakeClient
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

    def test_the_values_of_a_statement_are_in_no_log_nor_error_text(
        self, client: Any, table: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        value = canary("VALUE")
        client.execute(f"INSERT INTO {table} VALUES (1, $1)", [value])
        with pytest.raises(PgError) as caught:
            client.execute(f"INSERT INTO {table} VALUES (1, $1)", [value])
        told = "".join(traceback.format_exception(caught.value))
        assert_silent({"log": caplog.text, "error": told.replace(Path(__file__).name, "")})
