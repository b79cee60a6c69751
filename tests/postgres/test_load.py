"""Sixteen threads at work while servers and links fail: what each of them sees of it."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from duckalog.postgres import AcquireTimeout, ConnectionLost, PoolConfig, QueryTimeout
from tests.postgres.conftest import in_use
from tests.postgres.faces import MakeClient
from tests.postgres.load import Load, wait_until
from tests.servers.postgres import Postgres, running_postgres, running_replica
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.servers

POOL = PoolConfig(min_size=8, max_size=8, acquire_timeout_s=20)
CREATE = (
    "DROP TABLE IF EXISTS load;"
    " CREATE TABLE load (writer int, number int, half int, PRIMARY KEY (writer, number, half))"
)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Postgres, Postgres]]:
    """A primary and its streaming replica, which may be killed and are started again."""
    with running_postgres() as primary, running_replica(primary) as replica:
        yield primary, replica


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


def test_backends_that_are_ended_are_one_error_each_at_most(
    make_client: MakeClient, postgres: Postgres, database: str
) -> None:
    postgres.run(CREATE, database)
    client = make_client(application_name="load", pool=POOL)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'load'"
    ended = 0
    with Load(client) as load, postgres.connect(database) as other:
        for _ in range(3):
            ended += len(other.execute(kill).fetchall())
            load.goes_on(32)
    assert all(isinstance(error, ConnectionLost) for _, error, _ in load.errors)
    assert len(load.errors) <= ended
    assert max(Counter(writer for writer, _, _ in load.errors).values(), default=0) <= 3
    load.check(client.query)
    assert not in_use(client)


def test_a_server_that_is_killed_and_comes_back_is_one_error_to_each_at_most(
    make_client: MakeClient, pair: tuple[Postgres, Postgres]
) -> None:
    primary, _ = pair
    primary.run(CREATE)
    client = make_client(primary, pool=POOL)
    with Load(client) as load:
        primary.crash()
        primary.start()
        came_back = time.monotonic()
        load.goes_on(1)
        assert time.monotonic() - came_back < 5
        load.goes_on(64)
    assert all(isinstance(error, ConnectionLost) for _, error, _ in load.errors)
    assert max(Counter(writer for writer, _, _ in load.errors).values(), default=0) <= 1
    load.check(client.query)
    assert not in_use(client)


def test_a_black_hole_takes_no_longer_than_the_limit(
    make_client: MakeClient,
    postgres: Postgres,
    database: str,
    proxy: Callable[[str, int], Proxy],
) -> None:
    postgres.run(CREATE, database)
    link = proxy(postgres.host, postgres.port)
    client = make_client(
        port=link.port,
        query_timeout_s=0.3,
        connect_timeout_s=2,
        pool=PoolConfig(min_size=8, max_size=8, acquire_timeout_s=4),
    )
    with Load(client) as load:
        link.behave("black hole")
        time.sleep(1.0)
        link.behave("reset")
        link.behave("pass")
        load.goes_on(64)
    kinds = (QueryTimeout, ConnectionLost, AcquireTimeout)
    assert all(isinstance(error, kinds) for _, error, _ in load.errors)
    # Of a statement, after waiting for a connection: its limit, a second to cancel, one to close.
    assert max((seconds for _, _, seconds in load.errors), default=0) < 4 + 0.3 + 2 + 1
    load.check(client.query)
    assert not in_use(client)


def test_a_replica_that_stands_still_is_no_error(
    make_client: MakeClient, pair: tuple[Postgres, Postgres]
) -> None:
    primary, replica = pair
    primary.run(CREATE)
    client = make_client(
        primary,
        replicas=[f"postgresql://{replica.host}:{replica.port}"],
        pool=POOL,
        lag_check_interval_s=0.1,
    )
    with replica.connect() as other, Load(client) as load:
        other.execute("SELECT pg_wal_replay_pause()")
        load.goes_on(64)
        fallbacks = client.get_routing_stats().fallbacks
        assert fallbacks > 0
        other.execute("SELECT pg_wal_replay_resume()")
        reads = client.get_routing_stats().replicas[0].reads
        wait_until(lambda: client.get_routing_stats().replicas[0].reads > reads)
    assert not load.errors
    load.check(client.query_on_primary)
    assert not in_use(client)


def test_a_link_that_is_cut_within_a_copy_applies_nothing(
    make_client: MakeClient, table: str, postgres: Postgres, proxy: Callable[[str, int], Proxy]
) -> None:
    link = proxy(postgres.host, postgres.port)
    client = make_client(port=link.port, pool=PoolConfig(min_size=1, max_size=1))

    def rows() -> Iterator[Any]:
        for number in count():
            if number == 20_000:
                link.behave("reset")
            yield number, "x" * 100

    with pytest.raises(ConnectionLost):
        client.copy_rows(table, ["i", "t"], rows())
    link.behave("pass")
    with pytest.raises(ConnectionLost), client.transaction() as transaction:
        transaction.execute(f"INSERT INTO {table} VALUES (1)")
        transaction.batch_insert(table, ["i", "t"], rows())
    link.behave("pass")
    assert not client.exists(f"SELECT 1 FROM {table}")
    assert not in_use(client)
