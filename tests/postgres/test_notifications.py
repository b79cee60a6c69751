"""LISTEN and NOTIFY against a real server, and over links that break."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from duckalog.postgres import (
    AsyncPgClient,
    ClosedError,
    Gap,
    Notification,
    PgClient,
    PoolConfig,
    QueryError,
)
from tests.hostile import HOSTILE
from tests.postgres.faces import MakeClient, stated
from tests.servers.postgres import Postgres
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.servers


def heard(stream: Any) -> tuple[str, str] | Gap | None:
    one = stream.next(timeout_s=10)
    return (one.channel, one.payload) if isinstance(one, Notification) else one


class TestChannels:
    def test_what_is_sent_is_heard_in_order(self, client: Any) -> None:
        with client.listen("a", "b") as stream:
            for number in range(20):
                client.notify("ab"[number % 2], str(number))
            assert [heard(stream) for _ in range(20)] == [("ab"[i % 2], str(i)) for i in range(20)]
            client.notify("a")
            one = stream.next(timeout_s=10)
            assert one == Notification("a", "", one.pid)
            assert one.pid > 0
            assert stream.next(timeout_s=0.05) is None

    def test_channels_come_and_go_while_somebody_waits(self, client: Any) -> None:
        with client.listen() as stream:
            found: list[Any] = []
            waiter = threading.Thread(target=lambda: found.append(heard(stream)))
            waiter.start()
            time.sleep(0.1)
            stream.add_channel("late")
            client.notify("late", "x")
            waiter.join(10)
            assert found == [("late", "x")]
            assert stream.channels == ("late",)
            stream.remove_channel("late")
            client.notify("late", "y")
            assert stream.next(timeout_s=0.1) is None

    def test_a_transaction_sends_when_it_commits(self, client: Any) -> None:
        with client.listen("t") as stream:
            with pytest.raises(ZeroDivisionError), client.transaction() as transaction:
                transaction.notify("t", "undone")
                raise ZeroDivisionError
            with client.transaction() as transaction:
                transaction.notify("t", "done")
                assert stream.next(timeout_s=0.05) is None
            assert heard(stream) == ("t", "done")

    def test_hostile_names_and_payloads_stay_data(self, client: Any) -> None:
        names = [one[:20] for one in HOSTILE if one]
        with client.listen(*names) as stream:
            for name in dict.fromkeys(names):
                client.notify(name, name)
                assert heard(stream) == (name, name)

    def test_a_payload_has_a_limit(self, client: Any) -> None:
        with client.listen("long") as stream:
            client.notify("long", "x" * 7999)
            assert heard(stream) == ("long", "x" * 7999)
            with pytest.raises(QueryError, match="payload string too long"):
                client.notify("long", "x" * 8000)

    def test_closing_ends_an_iteration(self, client: Any) -> None:
        stream = client.listen("c")
        client.notify("c", "one")
        found: list[Any] = []
        reader = threading.Thread(target=lambda: found.extend(stream))
        reader.start()
        time.sleep(0.3)
        stream.close()
        reader.join(10)
        assert not reader.is_alive()
        assert [one.payload for one in found] == ["one"]
        with pytest.raises(ClosedError), stream:
            pass

    def test_closing_the_client_closes_its_streams(self, make_client: MakeClient) -> None:
        client = make_client()
        stream = client.listen("c")
        client.close()
        assert list(stream) == []

    def test_one_that_is_being_opened_closes_with_its_client_too(self, postgres: Postgres) -> None:
        async def main() -> None:
            client = AsyncPgClient("", **stated(postgres))
            await client.open()
            listening = asyncio.create_task(client.listen("c"))
            await asyncio.sleep(0)
            await client.close()
            with pytest.raises(ClosedError, match="closed meanwhile"):
                await listening

        asyncio.run(main())

    def test_one_that_is_closed_while_a_channel_changes_comes_to_its_end(
        self, postgres: Postgres, proxy: Callable[[str, int], Proxy]
    ) -> None:
        link = proxy(postgres.host, postgres.port)

        async def main() -> None:
            async with AsyncPgClient("", **{**stated(postgres), "port": link.port}) as client:
                stream = await client.listen("c")
                link.behave("pass", latency_ms=50)
                tasks = [
                    asyncio.create_task(one) for one in (stream.add_channel("d"), stream.next())
                ]
                await asyncio.sleep(0.01)
                await stream.close()
                assert await asyncio.gather(*tasks) == [None, None]

        asyncio.run(main())

    def test_what_has_come_is_heard_of_without_time_to_wait(self, client: Any) -> None:
        with client.listen("c") as stream:
            client.notify("c", "here")
            deadline = time.monotonic() + 10
            while (found := stream.next(timeout_s=0)) is None:
                assert time.monotonic() < deadline
            assert found.payload == "here"
            assert stream.next(timeout_s=0) is None

    def test_a_channel_that_is_none_is_refused_and_not_kept(self, client: Any) -> None:
        with client.listen("c") as stream:
            with pytest.raises(QueryError):
                stream.add_channel("")
            assert stream.channels == ("c",)


class TestReconnecting:
    def test_one_that_is_closed_meanwhile_leaves_no_connection(
        self, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with PgClient("", **stated(postgres)) as client:
            stream = client.listen("meanwhile")
            connect, made = stream._pool.connect, []

            async def connected(limit_s: float) -> Any:
                made.append(await connect(limit_s))
                stream.close()
                return made[0]

            monkeypatch.setattr(stream._pool, "connect", connected)
            stream._connection.pgconn.finish()
            assert stream.next(timeout_s=10) is None
            assert made[0].closed

    def test_a_connection_that_is_ended_is_made_again_and_told_of(
        self, client: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.CRITICAL)
        find = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%one more%'"
        with client.listen("again", "one more") as stream:
            for number in range(2):
                pid = client.query_scalar(find)
                client.query("SELECT pg_terminate_backend($1)", [pid])
                gap = stream.next(timeout_s=10)
                assert isinstance(gap, Gap)
                assert 0 <= gap.seconds < 5
                client.notify("again", str(number))
                assert heard(stream) == ("again", str(number))

    def test_a_link_that_comes_back_later_is_waited_for(
        self, make_client: MakeClient, postgres: Postgres, proxy: Callable[[str, int], Proxy]
    ) -> None:
        link = proxy(postgres.host, postgres.port)
        client = make_client(port=link.port, pool=PoolConfig(min_size=1, max_size=2))
        with client.listen("back") as stream:
            link.behave("refuse")
            threading.Timer(0.4, link.behave, ["pass"]).start()
            gap = stream.next(timeout_s=20)
            assert isinstance(gap, Gap)
            assert gap.seconds > 0.2
            client.notify("back", "here")
            assert heard(stream) == ("back", "here")

    def test_the_time_to_wait_holds_while_there_is_no_connection(
        self, make_client: MakeClient, postgres: Postgres, proxy: Callable[[str, int], Proxy]
    ) -> None:
        link = proxy(postgres.host, postgres.port)
        client = make_client(port=link.port, pool=PoolConfig(min_size=1, max_size=2))
        with client.listen("time") as stream:
            link.behave("refuse")
            started = time.monotonic()
            assert stream.next(timeout_s=0.3) is None
            assert stream.next(timeout_s=0.3) is None
            assert time.monotonic() - started < 2
            link.behave("pass")
            gap = stream.next(timeout_s=20)
            assert isinstance(gap, Gap)
            assert gap.seconds > 0.5

    def test_channels_that_come_and_go_while_there_is_no_connection_are_not_lost(
        self, make_client: MakeClient, postgres: Postgres, proxy: Callable[[str, int], Proxy]
    ) -> None:
        link = proxy(postgres.host, postgres.port)
        client = make_client(port=link.port, pool=PoolConfig(min_size=1, max_size=2))
        with client.listen("first", "gone") as stream:
            link.behave("reset")  # not heard of yet
            stream.add_channel("second")
            link.behave("pass", latency_ms=20)
            found: list[Any] = []
            waiter = threading.Thread(target=lambda: found.append(stream.next(timeout_s=20)))
            waiter.start()
            for number in range(30):
                stream.add_channel(str(number))
            stream.remove_channel("gone")
            waiter.join(20)
            assert isinstance(found[0], Gap)
            link.behave("pass")
            for channel in ("gone", "second", "29"):
                client.notify(channel)
            assert [heard(stream) for _ in range(2)] == [("second", ""), ("29", "")]

    def test_a_black_hole_is_found_by_asking(
        self, make_client: MakeClient, postgres: Postgres, proxy: Callable[[str, int], Proxy]
    ) -> None:
        link = proxy(postgres.host, postgres.port)
        client = make_client(
            port=link.port,
            connect_timeout_s=2,
            pool=PoolConfig(min_size=1, max_size=2, health_check_interval_s=0.3),
        )
        with client.listen("hole") as stream:
            link.behave("black hole")
            threading.Timer(3, lambda: (link.behave("reset"), link.behave("pass"))).start()
            assert isinstance(stream.next(timeout_s=20), Gap)
            client.notify("hole", "out")
            assert heard(stream) == ("hole", "out")
