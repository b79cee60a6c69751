"""Pools over a real server: sizes, credentials, and connections that die."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from duckalog import ConfigError
from duckalog.postgres import (
    AcquireTimeout,
    AsyncPgClient,
    CallableCredentials,
    ClosedError,
    ConnectError,
    ConnectionLost,
    Credentials,
    EnvironmentCredentials,
    Hook,
    Operation,
    PgClient,
    PoolConfig,
    QueryTimeout,
    RdsIamCredentials,
    RetryConfig,
)
from duckalog.postgres.config import secret
from duckalog.postgres.credentials import RDS_LIFETIME_S, CachedCredentials
from duckalog.postgres.faces import Awaiting
from tests.postgres.conftest import in_use
from tests.postgres.faces import MakeClient, stated
from tests.servers.postgres import Postgres, running_postgres
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.servers

ONE = PoolConfig(min_size=1, max_size=1, acquire_timeout_s=5)
BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"


def stats(client: Any) -> Any:
    (found,) = client.pool_stats().values()
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_statistics_tell_how_long_connections_were_given_away(make_client: MakeClient) -> None:
    client = make_client()
    client.query("SELECT pg_sleep(0.2)")
    assert 200 <= stats(client).usage_ms < 1000


@pytest.fixture(scope="module")
def doomed() -> Iterator[Postgres]:
    """A server that tests may kill; the next one starts it again."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def mortal(doomed: Postgres) -> Iterator[Postgres]:
    yield doomed
    if doomed._server is None:
        doomed.start()


class TestSizes:
    def test_a_pool_has_its_least_size_and_grows_to_its_largest(
        self, make_client: MakeClient, client: Any
    ) -> None:
        name = "sizes"
        small = make_client(
            application_name=name,
            pool=PoolConfig(min_size=2, max_size=3, acquire_timeout_s=0.3),
        )
        wait_until(lambda: stats(small).available == 2)
        held = [small.begin() for _ in range(3)]
        assert client.query_scalar(BACKENDS, [name]) == 3
        with pytest.raises(AcquireTimeout, match=r"within 0\.3 s: all 3 are in use"):
            small.query("SELECT 1")
        assert (stats(small).in_use, stats(small).acquire_errors) == (3, 1)
        for one in held:
            one.rollback()
        assert (stats(small).in_use, stats(small).size) == (0, 3)

    def test_resize_and_drain_change_a_pool_in_use(
        self, make_client: MakeClient, client: Any
    ) -> None:
        name = "resized"
        small = make_client(application_name=name, pool=PoolConfig(min_size=1, max_size=1))
        small.resize(3, 5)
        wait_until(lambda: stats(small).available == 3)
        assert (stats(small).min_size, stats(small).max_size) == (3, 5)
        pids = "SELECT array_agg(pid) FROM pg_stat_activity WHERE application_name = $1"
        before = client.query_scalar(pids, [name])
        small.drain()
        wait_until(
            lambda: (
                not set(client.query_scalar(pids, [name]) or before) & set(before)
                and client.query_scalar(BACKENDS, [name]) == 3
            )
        )
        assert small.query_scalar("SELECT 1") == 1

    def test_idle_connections_above_the_least_size_are_closed(
        self, make_client: MakeClient
    ) -> None:
        small = make_client(pool=PoolConfig(min_size=1, max_size=3, idle_timeout_s=0.2))
        held = [small.begin() for _ in range(3)]
        for one in held:
            one.rollback()
        wait_until(lambda: stats(small).size == 1)

    def test_connections_over_their_lifetime_are_replaced(self, make_client: MakeClient) -> None:
        small = make_client(pool=PoolConfig(min_size=1, max_size=1, max_lifetime_s=0.2))
        pid = small.query_scalar("SELECT pg_backend_pid()")
        wait_until(lambda: small.query_scalar("SELECT pg_backend_pid()") != pid)

    def test_databases_have_pools_of_their_own(self, make_client: MakeClient) -> None:
        client = make_client()
        other = client.database("postgres")
        assert other.query_scalar("SELECT current_database()") == "postgres"
        assert client.query_scalar("SELECT current_database()") == "client"
        (seen,) = client.database("postgres").pool_stats().values()
        assert (seen.name, seen.acquired) == ("primary of postgres", 1)
        with ThreadPoolExecutor(4) as threads:
            asked = threads.map(lambda _: client.database("template1"), range(4))
            assert len({id(getattr(one, "_inner", one)) for one in asked}) == 1
        with pytest.raises(ConnectError, match='database "nope" does not exist'):
            client.database("nope")
        client.close()
        assert not other.is_open
        with pytest.raises(ClosedError, match="not open"):
            client.database("postgres")


class TestConnecting:
    def test_a_client_that_several_open_is_opened_once(
        self, make_client: MakeClient, client: Any
    ) -> None:
        name = "opened"
        several = make_client(application_name=name, is_open=False)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: several.open(), range(4)))
        assert several.query_scalar("SELECT 1") == 1
        several.close()
        wait_until(lambda: client.query_scalar(BACKENDS, [name]) == 0)

    def test_a_wrong_password_is_told_at_once(self, make_client: MakeClient) -> None:
        started = time.monotonic()
        with pytest.raises(ConnectError, match="password authentication failed") as caught:
            make_client(password="wrong-zqx", retry=RetryConfig(first_delay_s=5))
        assert time.monotonic() - started < 3
        assert "zqx" not in str(caught.value)

    def test_nobody_there_is_tried_three_times(
        self, make_client: MakeClient, postgres: Postgres, proxy: Callable[[str, int], Proxy]
    ) -> None:
        link = proxy(postgres.host, postgres.port)
        link.behave("reset")
        with pytest.raises(ConnectError, match=f"no connection to {link.host}:{link.port}/"):
            make_client(port=link.port, retry=RetryConfig(first_delay_s=0.01))
        assert link.connections >= 3

    def test_a_unix_socket_is_a_host(self, make_client: MakeClient, mortal: Postgres) -> None:
        mortal.stop()
        with (mortal.folder / "postgresql.auto.conf").open("a") as file:
            file.write(f"unix_socket_directories = '{mortal.folder}'\n")
        mortal.start()
        client = make_client(mortal, host=str(mortal.folder))
        assert client.query_scalar("SELECT inet_server_port()") is None

    def test_a_server_that_comes_up_meanwhile_is_found(
        self, make_client: MakeClient, mortal: Postgres
    ) -> None:
        mortal.stop()
        starter = threading.Timer(0.3, mortal.start)
        starter.start()
        client = make_client(mortal, retry=RetryConfig(attempts=9, first_delay_s=0.2))
        assert client.query_scalar("SELECT 1") == 1
        starter.join()


class TestCredentials:
    def test_they_are_asked_for_at_each_connection_and_after_a_rotation(
        self, make_client: MakeClient, postgres: Postgres
    ) -> None:
        postgres.create_role("rotating", "first")
        current = ["first"]
        client = make_client(
            username="rotating",
            password=None,
            credentials=CallableCredentials(lambda: current[0]),
            pool=PoolConfig(min_size=1, max_size=2),
        )
        assert client.query_scalar("SELECT current_user") == "rotating"
        postgres.run("ALTER ROLE rotating PASSWORD 'second'")
        current[0] = "second"
        client.drain()
        wait_until(lambda: stats(client).connections_made >= 2)
        assert client.query_scalar("SELECT current_user") == "rotating"
        client.close()
        postgres.run("DROP ROLE rotating")

    def test_the_environment_gives_them(
        self, make_client: MakeClient, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        provider = EnvironmentCredentials("DB_USER", "DB_PASSWORD")
        with pytest.raises(ConfigError, match="DB_USER: the variable is not set"):
            make_client(credentials=provider, password=None)
        monkeypatch.setenv("DB_USER", postgres.user)
        monkeypatch.setenv("DB_PASSWORD", postgres.password)
        client = make_client(username="nobody", password=None, credentials=provider)
        assert client.query_scalar("SELECT current_user") == postgres.user
        assert repr(provider) == "EnvironmentCredentials(DB_USER, DB_PASSWORD)"

    def test_they_are_kept_until_shortly_before_they_expire(self) -> None:
        made: list[Credentials] = []

        def credentials() -> Credentials:
            lifetime = 60.15 if not made else 900
            made.append(Credentials(secret("x"), expires_at=time.monotonic() + lifetime))
            return made[-1]

        cached = CachedCredentials(CallableCredentials(credentials), margin_s=60)
        for _ in range(3):
            cached.credentials({"host": "a"})
        assert len(made) == 1
        time.sleep(0.2)
        for _ in range(3):
            cached.credentials({"host": "a"})
        assert len(made) == 2
        cached.forget()
        cached.credentials({"host": "a"})
        assert len(made) == 3

    def test_each_of_several_servers_has_its_own(
        self, make_client: MakeClient, postgres: Postgres
    ) -> None:
        asked: list[tuple[str, str]] = []

        class OfOneServer:
            def credentials(self, parameters: Mapping[str, str]) -> Credentials:
                asked.append((parameters["host"], parameters["port"]))
                return Credentials(secret(postgres.password))

        client = make_client(
            host=f"{postgres.host},{postgres.host}",
            port=f"1,{postgres.port}",
            password=None,
            credentials=OfOneServer(),
        )
        assert client.query_scalar("SELECT 1") == 1
        assert asked == [(postgres.host, "1"), (postgres.host, str(postgres.port))]

    def test_a_provider_that_fails_later_is_told_of(
        self, make_client: MakeClient, postgres: Postgres, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.CRITICAL)
        found = [postgres.password]
        client = make_client(
            password=None,
            credentials=CallableCredentials(lambda: found[0]),
            pool=PoolConfig(min_size=1, max_size=1, acquire_timeout_s=0.3),
        )
        assert client.query_scalar("SELECT 1") == 1
        del found[0]
        client.drain()
        with pytest.raises(AcquireTimeout, match="no credentials: list index out of range"):
            client.query("SELECT 1")

    def test_a_connection_that_is_being_made_is_drained_too(
        self, make_client: MakeClient, postgres: Postgres
    ) -> None:
        for name in ("before", "after"):
            postgres.create_role(name, name)
        current, asked, goes_on = ["before"], threading.Event(), threading.Event()

        def credentials() -> Credentials:
            found = current[0]
            if held:
                asked.set()
                goes_on.wait(10)
            return Credentials(secret(found), found)

        held: list[Any] = []
        client = make_client(
            username=None,
            password=None,
            credentials=_Each(credentials),
            pool=PoolConfig(min_size=1, max_size=2),
        )
        wait_until(lambda: stats(client).available == 1)
        held.append(client.begin())
        users: list[str] = []
        asker = threading.Thread(
            target=lambda: users.append(client.query_scalar("SELECT current_user"))
        )
        asker.start()
        assert asked.wait(10)
        current[0] = "after"
        client.drain()
        goes_on.set()
        asker.join(10)
        held[0].rollback()
        assert users == ["after"]
        client.close()
        postgres.run("DROP ROLE before; DROP ROLE after")

    def test_rds_tokens_are_signed_here_for_the_server_and_the_user(self) -> None:
        import boto3

        session = boto3.Session(aws_access_key_id="AKIA", aws_secret_access_key="zqxzqx")
        provider = RdsIamCredentials("eu-central-1", session)
        found = provider.credentials({"host": "db.aws", "port": "5433", "user": "ann"})
        token = found.password.reveal()
        assert token.startswith("db.aws:5433/?Action=connect&DBUser=ann&")
        assert "X-Amz-Signature=" in token
        assert found.expires_at is not None
        assert 0 < found.expires_at - time.monotonic() <= RDS_LIFETIME_S
        assert "X-Amz" not in repr(found)


class _Each(CallableCredentials):
    """Credentials of a function that is asked for every connection."""

    def credentials(self, parameters: Mapping[str, str]) -> Credentials:
        return replace(super().credentials(parameters), expires_at=0.0)


class TestDeath:
    def test_idle_connections_that_the_server_ended_are_never_given_away(
        self, make_client: MakeClient, client: Any
    ) -> None:
        name = "ended"
        small = make_client(application_name=name, pool=PoolConfig(min_size=4, max_size=4))
        wait_until(lambda: stats(small).available == 4)
        kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"
        for _ in range(3):
            assert len(client.query(kill, [name])) == 4
            wait_until(lambda: client.query_scalar(BACKENDS, [name]) == 0)
            started = time.monotonic()
            assert [small.query_scalar("SELECT 1") for _ in range(8)] == [1] * 8
            assert time.monotonic() - started < 2
            wait_until(lambda: client.query_scalar(BACKENDS, [name]) == 4)
        assert stats(small).connections_lost >= 3

    def test_a_restart_of_the_server_is_no_error_to_those_who_wait(
        self, make_client: MakeClient, mortal: Postgres
    ) -> None:
        client = make_client(mortal, pool=PoolConfig(min_size=2, max_size=2))
        assert client.query_scalar("SELECT 1") == 1
        mortal.crash()
        starter = threading.Timer(0.5, mortal.start)
        starter.start()
        assert client.query_scalar("SELECT 1") == 1
        starter.join()

    def test_a_statement_under_way_is_one_error(self, make_client: MakeClient, client: Any) -> None:
        name = "under way"
        small = make_client(application_name=name, pool=PoolConfig(min_size=1, max_size=1))
        kill = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = $1 AND state = 'active'"
        )
        killer = threading.Timer(0.2, client.query, [kill, [name]])
        killer.start()
        with pytest.raises(ConnectionLost, match="during the statement: terminating connection"):
            small.query("SELECT pg_sleep(5)")
        killer.join()
        assert small.query_scalar("SELECT 1") == 1

    def test_a_link_that_breaks_within_a_result_is_one_error(
        self, make_client: MakeClient, postgres: Postgres, proxy: Callable[[str, int], Proxy]
    ) -> None:
        link = proxy(postgres.host, postgres.port)
        client = make_client(port=link.port, pool=PoolConfig(min_size=1, max_size=1))
        link.behave("pass", cut_after_bytes=100_000)
        with pytest.raises(ConnectionLost):
            client.query("SELECT i, repeat('x', 100) FROM generate_series(1, 50000) i")
        link.behave("pass")
        assert client.query_scalar("SELECT 1") == 1

    def test_a_transaction_whose_connection_is_lost_is_not_applied(
        self, client: Any, table: str
    ) -> None:
        transaction = client.begin()
        transaction.execute(f"INSERT INTO {table} VALUES (1)")
        pid = transaction.query_scalar("SELECT pg_backend_pid()")
        client.query("SELECT pg_terminate_backend($1)", [pid])
        with pytest.raises(ConnectionLost):
            transaction.commit()
        with pytest.raises(ConnectionLost), client.transaction() as other:
            other.execute(f"INSERT INTO {table} VALUES (1)")
            pid = other.query_scalar("SELECT pg_backend_pid()")
            client.query("SELECT pg_terminate_backend($1)", [pid])
            other.execute("SELECT 1")
        assert not client.exists(f"SELECT 1 FROM {table}")


class TestBlackHole:
    @pytest.fixture
    def link(self, postgres: Postgres, proxy: Callable[[str, int], Proxy]) -> Proxy:
        return proxy(postgres.host, postgres.port)

    def test_the_limit_of_a_statement_holds(self, make_client: MakeClient, link: Proxy) -> None:
        client = make_client(port=link.port, pool=PoolConfig(min_size=1, max_size=1))
        assert client.query_scalar("SELECT 1") == 1
        link.behave("black hole")
        started = time.monotonic()
        with pytest.raises(QueryTimeout, match=r"longer than 0\.5 s: the server did not answer"):
            client.query("SELECT 1", timeout_s=0.5)
        assert time.monotonic() - started < 3.5
        link.behave("reset")  # what is in the hole never comes out
        link.behave("pass")
        assert client.query_scalar("SELECT 1") == 1

    def test_an_idle_connection_is_asked_before_it_is_used(
        self, make_client: MakeClient, link: Proxy
    ) -> None:
        client = make_client(
            port=link.port,
            connect_timeout_s=2,
            pool=PoolConfig(
                min_size=1, max_size=1, acquire_timeout_s=9, health_check_interval_s=0.2
            ),
        )
        assert client.query_scalar("SELECT 1") == 1
        link.behave("black hole")
        threading.Timer(0.5, lambda: (link.behave("reset"), link.behave("pass"))).start()
        time.sleep(0.3)
        assert client.query_scalar("SELECT 1") == 1

    def test_idle_connections_are_asked_after_one_was_lost(
        self, make_client: MakeClient, link: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("duckalog.postgres.pool.CHECK_LIMIT_S", 0.3)
        monkeypatch.setattr("duckalog.postgres.connection.CANCEL_GRACE_S", 0.2)
        size = PoolConfig(min_size=4, max_size=4, acquire_timeout_s=9)
        client = make_client(port=link.port, connect_timeout_s=2, pool=size)
        wait_until(lambda: stats(client).available == 4)
        link.behave("black hole")
        threading.Timer(1, lambda: (link.behave("reset"), link.behave("pass"))).start()
        with pytest.raises(QueryTimeout):
            client.query("SELECT 1", timeout_s=0.3)
        assert client.query_scalar("SELECT 1", timeout_s=0.3) == 1

    def test_checks_and_closing_end(
        self, make_client: MakeClient, link: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("duckalog.postgres.pool.CHECK_LIMIT_S", 0.3)
        client = make_client(
            port=link.port,
            connect_timeout_s=2,
            pool=PoolConfig(min_size=1, max_size=1, health_check_interval_s=0.1),
        )
        assert client.check()
        link.behave("black hole")
        time.sleep(0.2)
        started = time.monotonic()
        assert not client.check()
        client.close()
        assert time.monotonic() - started < 5

    def test_a_task_is_cancelled_soon(
        self, postgres: Postgres, link: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("duckalog.postgres.connection.CANCEL_GRACE_S", 0.2)

        async def main() -> None:
            arguments = {**stated(postgres), "port": link.port}
            async with AsyncPgClient("", **arguments) as client:
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(client.query("SELECT pg_sleep(9)"), 0.2)
                assert await client.query_scalar("SELECT 1") == 1
                assert stats(client).connections_lost == 0
                link.behave("black hole")
                started = time.monotonic()
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(client.query("SELECT 1"), 0.2)
                assert time.monotonic() - started < 2
                link.behave("reset")  # what is in the hole never comes out
                link.behave("pass")
                assert await client.query_scalar("SELECT 1") == 1
                assert not in_use(client)

        asyncio.run(main())


class TestCancelling:
    @pytest.fixture
    def link(self, postgres: Postgres, proxy: Callable[[str, int], Proxy]) -> Proxy:
        return proxy(postgres.host, postgres.port)

    def test_a_connection_that_is_given_back_meanwhile_is_not_lost(
        self, postgres: Postgres
    ) -> None:
        async def main() -> None:
            async with AsyncPgClient("", **stated(postgres, pool=ONE)) as client:
                pool = client._servers().primary
                connection = await pool.acquire()
                async with pool._pool._lock:  # as psycopg's pool does to give one to who waits
                    task = asyncio.create_task(pool.release(connection))
                    await asyncio.sleep(0)
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                assert await client.query_scalar("SELECT 1") == 1

        asyncio.run(main())

    def test_one_that_is_rolled_back_meanwhile_is_not_lost(
        self, postgres: Postgres, link: Proxy
    ) -> None:
        async def main() -> None:
            arguments = {**stated(postgres, pool=ONE), "port": link.port}
            async with AsyncPgClient("", **arguments) as client:
                pool = client._servers().primary
                connection = await pool.acquire()
                await connection.execute("BEGIN")
                link.behave("pass", latency_ms=100)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(pool.release(connection), 0.05)
                link.behave("pass")
                assert await client.query_scalar("SELECT 1") == 1
                assert stats(client).connections_made == 1

        asyncio.run(main())

    def test_a_transaction_and_a_stream_are_left_soon_where_nobody_answers(
        self, postgres: Postgres, link: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("duckalog.postgres.connection.CANCEL_GRACE_S", 0.2)
        monkeypatch.setattr("duckalog.postgres.transactions.CHECK_LIMIT_S", 0.2)
        monkeypatch.setattr("duckalog.postgres.streams.CHECK_LIMIT_S", 0.2)

        async def main() -> None:
            arguments = {**stated(postgres), "port": link.port, "query_timeout_s": None}
            async with AsyncPgClient("", **arguments) as client:
                for made in (client.transaction, lambda: client.query_stream("SELECT 1")):

                    async def block(made: Any = made) -> None:
                        async with made():
                            link.behave("black hole")
                            await asyncio.sleep(60)

                    started = time.monotonic()
                    with pytest.raises(asyncio.TimeoutError):
                        await asyncio.wait_for(block(), 0.3)
                    assert time.monotonic() - started < 3
                    link.behave("reset")
                    link.behave("pass")
                    assert await client.query_scalar("SELECT 1") == 1

        asyncio.run(main())

    def test_one_that_is_given_back_in_a_black_hole_is_closed(
        self, make_client: MakeClient, link: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("CANCEL_GRACE_S", "CHECK_LIMIT_S"):
            monkeypatch.setattr(f"duckalog.postgres.connection.{name}", 0.2)

        def taken(operation: Operation) -> None:
            if operation.name == "BEGIN":
                link.behave("black hole")

        class Hole(Hook):
            ended = staticmethod(taken)

        client = make_client(port=link.port, pool=ONE, hooks=[Hole()])
        started = time.monotonic()
        client.execute("BEGIN")
        assert time.monotonic() - started < 3
        link.behave("reset")
        link.behave("pass")
        assert client.query_scalar("SELECT 1") == 1

    def test_a_check_is_cancelled_at_once_and_breaks_no_connection(
        self, postgres: Postgres, link: Proxy
    ) -> None:
        async def main() -> None:
            arguments = {**stated(postgres), "port": link.port}
            async with AsyncPgClient("", **arguments) as client:
                await client.query("SELECT 1")
                link.behave("pass", latency_ms=150)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(client.check(), 0.05)
                link.behave("pass")
                await client.query("SELECT 1")
                assert stats(client).connections_lost == 0

        asyncio.run(main())

    def test_closing_goes_on_where_it_is_cancelled(self, postgres: Postgres) -> None:
        async def main() -> None:
            client = AsyncPgClient("", **stated(postgres))
            await client.open()
            connection = await client._servers().primary.acquire()
            await client._servers().primary.release(connection)
            closing = asyncio.create_task(client.close())
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            while not connection.closed:
                await asyncio.sleep(0.01)
            assert not client.is_open

        asyncio.run(asyncio.wait_for(main(), 10))


def test_a_health_check_that_fails_is_not_the_last(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rounds: list[int] = []

    async def check() -> None:
        rounds.append(1)
        if len(rounds) == 1:
            raise RuntimeError("CANARY")

    pool = replace(ONE, health_check_interval_s=0.01)
    with PgClient("", **stated(postgres, pool=pool)) as client:
        monkeypatch.setattr(client._servers().primary, "check", check)
        wait_until(lambda: len(rounds) > 2)
    assert "a check of the servers failed (RuntimeError)" in caplog.text
    assert "CANARY" not in caplog.text


def test_a_loop_that_ends_first_closes_the_client(postgres: Postgres) -> None:
    pool = PoolConfig(min_size=3, max_size=3)
    client = AsyncPgClient("", **stated(postgres, pool=pool))
    asyncio.run(client.open())  # ends while two connections are being made
    assert not client.is_open
    with pytest.raises(ClosedError):
        asyncio.run(client.query("SELECT 1"))


def test_a_loop_that_ends_while_a_client_closes_ends(
    postgres: Postgres, proxy: Callable[[str, int], Proxy], caplog: pytest.LogCaptureFixture
) -> None:
    link = proxy(postgres.host, postgres.port)
    at_link = {**stated(postgres, pool=ONE), "port": link.port}

    async def main() -> None:
        client = AsyncPgClient("", **at_link, replicas=[f"host={link.host} port={link.port}"])
        await client.open()
        link.behave("black hole")
        await client.resize(2, 2)
        await asyncio.sleep(0.05)  # both pools connect
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(0.001)
        closing.cancel()

    def run() -> None:
        asyncio.run(main())

    with caplog.at_level(logging.CRITICAL, "psycopg.pool"):
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(20)
    assert not thread.is_alive()


def test_a_process_that_is_forked_has_no_part_in_the_connections(postgres: Postgres) -> None:
    with PgClient("", **stated(postgres, pool=ONE)) as client:
        pid = client.query_scalar("SELECT pg_backend_pid()")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking where threads are
            child = os.fork()
        if not child:
            code = 1
            with contextlib.suppress(BaseException):
                was_open = client.is_open
                client.close()
                client.open()
                code = was_open or client.query_scalar("SELECT pg_backend_pid()") == pid
            os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert client.query_scalar("SELECT pg_backend_pid()") == pid


def test_blocks_that_a_forked_process_leaves_go_on_in_its_parent(postgres: Postgres) -> None:
    with (
        PgClient("", **stated(postgres)) as client,
        client.transaction() as transaction,
        client.query_stream("VALUES (1), (2)", fetch_size=1) as rows,
        client.listen("forked") as notifications,
    ):
        transaction.execute("CREATE TEMP TABLE kept AS SELECT 1 AS i")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking where threads are
            child = os.fork()
        if not child:
            code = 1
            with contextlib.suppress(BaseException):
                notifications.close()
                rows.close()
                transaction.rollback()
            with contextlib.suppress(BaseException):
                transaction.__exit__(None, None, None)
                code = 0
            os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert transaction.query_scalar("SELECT i FROM kept") == 1
        assert rows.fetch_next() == [(1,)]
        client.notify("forked", "heard")
        assert notifications.next(timeout_s=10).payload == "heard"


def test_what_runs_behind_is_not_broken_off() -> None:
    rounds: list[str] = []

    async def body(pause: Any) -> None:
        while await pause(0.001):
            rounds.append("begun")
            await asyncio.sleep(0.1)
            rounds.append("done")

    async def main() -> None:
        background = Awaiting.spawn("rounds", body)
        await asyncio.sleep(0.05)
        await asyncio.wait_for(background.stop(), 10)

    asyncio.run(main())
    assert rounds == ["begun", "done"]


def test_the_health_check_replaces_dead_connections_by_itself(
    make_client: MakeClient, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    name = "healthy"
    with caplog.at_level(logging.CRITICAL, "psycopg.pool"):
        small = make_client(
            application_name=name,
            pool=PoolConfig(min_size=2, max_size=2, health_check_interval_s=0.1),
        )
        wait_until(lambda: client.query_scalar(BACKENDS, [name]) == 2)
        pids = "SELECT array_agg(pid) FROM pg_stat_activity WHERE application_name = $1"
        before = client.query_scalar(pids, [name])
        client.query("SELECT pg_terminate_backend(unnest($1::int[]))", [before])
        wait_until(
            lambda: (
                len(found := client.query_scalar(pids, [name]) or []) == 2
                and not set(found) & set(before)
            )
        )
        assert small.check()
