"""What a client can be told, and how it says what is wrong with it."""

from __future__ import annotations

import copy
import logging
import pickle
from typing import Any, get_args

import pytest
from pydantic import SecretStr

from duckalog import ConfigError
from duckalog.environment import Secret
from duckalog.libpq import SslMode as LibpqSslMode
from duckalog.postgres import PgConfig, PoolConfig, RetryConfig, SslMode

pytestmark = pytest.mark.servers

ENVIRONMENT = {
    "PG_HOST": "db",
    "PG_DATABASE": "shop",
    "PG_USERNAME": "ann",
    "PG_PASSWORD": "hush",
}


def libpq(config: PgConfig) -> dict[str, str]:
    defaults = {"connect_timeout": "10", "application_name": "duckalog"}
    return {key: text for key, text in config.parameters.items() if defaults.get(key) != text}


class TestConnectionStrings:
    @pytest.mark.parametrize(
        ("conninfo", "expected"),
        [
            ("", {}),
            (
                "postgresql://ann:hush@db:5433/shop?sslmode=require",
                {
                    "host": "db",
                    "port": "5433",
                    "dbname": "shop",
                    "user": "ann",
                    "sslmode": "require",
                },
            ),
            ("host=db dbname='my shop'", {"host": "db", "dbname": "my shop"}),
            (
                "postgresql://a:5432,b:5433/shop?target_session_attrs=read-write",
                {
                    "host": "a,b",
                    "port": "5432,5433",
                    "dbname": "shop",
                    "target_session_attrs": "read-write",
                },
            ),
            ("host=/var/run/postgresql", {"host": "/var/run/postgresql"}),
        ],
    )
    def test_libpq_reads_them(self, conninfo: str, expected: dict[str, str]) -> None:
        config = PgConfig(conninfo)
        assert libpq(config) == expected
        assert "hush" not in f"{config!r}"

    def test_arguments_have_the_last_word(self) -> None:
        config = PgConfig(
            "postgresql://ann:old@db/shop",
            host="other",
            port=1,
            database="d",
            username="bob",
            password="new",
            ssl_mode=SslMode.VERIFY_FULL,
            ssl_cert="c",
            ssl_key="k",
            ssl_root_cert="r",
            connect_timeout_s=4,
            application_name="app",
            options={"keepalives_idle": 5},
        )
        assert config.parameters == {
            "host": "other",
            "port": "1",
            "dbname": "d",
            "user": "bob",
            "sslmode": "verify-full",
            "sslcert": "c",
            "sslkey": "k",
            "sslrootcert": "r",
            "connect_timeout": "4",
            "application_name": "app",
            "keepalives_idle": "5",
        }
        assert config.secrets == {"password": Secret("new")}
        assert config.place == "other:1/d"

    @pytest.mark.parametrize(
        "conninfo",
        [
            "postgresql://ann:zq%zz@db",
            "host=db zqzqzq",
            "host='zqzq",
        ],
    )
    def test_what_libpq_cannot_read_is_told_without_a_piece_of_it(self, conninfo: str) -> None:
        with pytest.raises(ConfigError, match="conninfo: libpq cannot read it: ") as caught:
            PgConfig(conninfo)
        assert "zq" not in str(caught.value)

    def test_each_host_has_an_address_or_none_has(self) -> None:
        with pytest.raises(ConfigError, match="hostaddr: there are 1 addresses for 2 hosts"):
            PgConfig("host=a,b hostaddr=::1 dbname=d")

    def test_a_url_that_names_a_driver_is_told(self) -> None:
        with pytest.raises(ConfigError, match=r"names a driver\n.*Leave \+psycopg out"):
            PgConfig("postgresql+psycopg://ann:hush@h/db")

    @pytest.mark.parametrize("password", ["hush", Secret("hush"), SecretStr("hush")])
    def test_a_password_is_shown_nowhere(self, password: Any) -> None:
        config = PgConfig("host=db", password=password)
        assert config.secrets["password"].reveal() == "hush"
        for shown in (repr(config), str(config), repr(copy.copy(config)), config.place):
            assert "hush" not in shown

    def test_the_modes_are_libpq_s(self) -> None:
        assert [mode.value for mode in SslMode] == list(get_args(LibpqSslMode))


class TestProblems:
    @pytest.mark.parametrize(
        ("stated", "message"),
        [
            ({"port": 0}, "port: expected a port from 1 to 65535, got 0"),
            ({"port": "5432,x", "host": "a,b"}, "port: expected a port from 1 to 65535, got x"),
            ({"port": "1,2", "host": "a,b,c"}, "port: there are 2 ports for 3 hosts"),
            ({"ssl_mode": "full"}, 'ssl_mode: there is no mode "full"'),
            ({"query_timeout_s": 0}, "query_timeout_s: expected more than 0, got 0"),
            ({"query_timeout_s": "1"}, "query_timeout_s: expected a number, got str"),
            ({"connect_timeout_s": -1}, "connect_timeout_s: expected more than 0, got -1"),
            ({"prepare_threshold": 1.5}, "prepare_threshold: expected a whole number, got float"),
            ({"options": {"keepalive": 1}}, "options.keepalive: libpq has no such parameter"),
            ({"options": {"password": "x"}}, "options.password: everyone can read these options"),
            ({"options": {"host": "x"}}, "options.host: this has an argument of its own"),
            ({"options": {"client_encoding": "latin1"}}, "the client speaks UTF-8 only"),
            ({"host": "a\0b"}, "host: text cannot contain NUL"),
            ({"replicas": "a:5432"}, "replicas: expected several servers, got a text"),
            ({"pool": {"max_size": 1}}, "pool: expected a PoolConfig, got dict"),
            ({"retry": 3}, "retry: expected a RetryConfig, got int"),
            ({"masks": ["email"]}, "masks: expected masks by their columns' names, got list"),
        ],
    )
    def test_each_names_its_field(self, stated: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            PgConfig("", **stated)
        assert message in str(caught.value)

    @pytest.mark.parametrize(
        ("stated", "message"),
        [
            ({"min_size": -1}, "min_size: expected at least 0, got -1"),
            ({"max_size": 0}, "max_size: expected at least 1, got 0"),
            ({"max_size": True}, "max_size: expected a whole number, got bool"),
            ({"min_size": 21}, "min_size: 21 is more than max_size 20"),
            ({"acquire_timeout_s": 0}, "acquire_timeout_s: expected more than 0, got 0"),
            ({"max_size": 10_001}, "max_size: expected at most 10000, got 10001"),
        ],
    )
    def test_so_do_those_of_a_pool(self, stated: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            PoolConfig(**stated)
        assert str(caught.value) == message

    def test_all_are_told_at_once(self) -> None:
        with pytest.raises(ConfigError) as caught:
            PgConfig("", port=0, ssl_mode="x", query_timeout_s=0)
        assert len(caught.value.problems) == 3


class TestEnvironment:
    def test_all_of_it(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG):
            config = PgConfig.from_env(
                {
                    **ENVIRONMENT,
                    "PG_PORT": "5433",
                    "PG_SSLMODE": "verify-ca",
                    "PG_SSLCERT": "cert",
                    "PG_SSLKEY": "key",
                    "PG_SSLROOTCERT": "root",
                    "PG_POOL_MIN": "2",
                    "PG_POOL_MAX": "3",
                    "PG_ACQUIRE_TIMEOUT": "500ms",
                    "PG_QUERY_TIMEOUT": "2m",
                }
            )
        assert libpq(config) == {
            "host": "db",
            "port": "5433",
            "dbname": "shop",
            "user": "ann",
            "sslmode": "verify-ca",
            "sslcert": "cert",
            "sslkey": "key",
            "sslrootcert": "root",
        }
        assert (config.pool.min_size, config.pool.max_size) == (2, 3)
        assert (config.pool.acquire_timeout_s, config.query_timeout_s) == (0.5, 120)
        assert config.secrets["password"] == Secret("hush")
        assert "hush" not in caplog.text + repr(config)

    def test_what_is_not_set_is_as_documented(self) -> None:
        config = PgConfig.from_env(ENVIRONMENT)
        assert (config.pool.min_size, config.pool.max_size) == (5, 20)
        assert (config.pool.acquire_timeout_s, config.query_timeout_s) == (30, 30)
        assert PgConfig.from_env({**ENVIRONMENT, "PG_POOL_MAX": "3"}).pool.min_size == 3

    def test_the_process_s_own_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        assert PgConfig.from_env(port=1).place == "db:1/shop"

    def test_every_variable_that_is_missing_or_wrong_is_told(self) -> None:
        with pytest.raises(ConfigError) as caught:
            PgConfig.from_env({"PG_HOST": "db", "PG_PORT": "x", "PG_QUERY_TIMEOUT": "soon"})
        messages = [one.message for one in caught.value.problems]
        assert messages == [
            "PG_DATABASE: the variable is not set",
            "PG_USERNAME: the variable is not set",
            "PG_PASSWORD: the variable is not set",
            "PG_PORT: expected a whole number",
            "PG_QUERY_TIMEOUT: expected a time, 30s or 500ms say",
        ]


class TestDelays:
    def test_they_double_up_to_a_limit_and_are_never_alike(self) -> None:
        retry = RetryConfig(attempts=6, first_delay_s=1, max_delay_s=4, jitter=0.25)
        runs = [list(retry.delays()) for _ in range(20)]
        for delays in runs:
            for delay, expected in zip(delays, [1, 2, 4, 4, 4], strict=True):
                assert 0.75 * expected <= delay <= 1.25 * expected
        assert len({run[0] for run in runs}) > 1

    def test_one_attempt_waits_for_nothing(self) -> None:
        assert list(RetryConfig(attempts=1).delays()) == []


def test_another_database_or_pool_leaves_the_rest() -> None:
    config = PgConfig("host=db dbname=a", password="p")
    other = config.with_database("b").with_pool(min_size=0)
    assert (other.database, other.pool.min_size, other.secrets) == ("b", 0, config.secrets)
    assert (config.database, config.pool.min_size) == ("a", 5)
    assert pickle.loads(pickle.dumps(config)) == config
