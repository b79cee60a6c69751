"""Reads on replicas and writes on the primary, with a real primary and a streaming replica."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from psycopg.sql import SQL

from duckalog import ConfigError
from duckalog.postgres import (
    CallableCredentials,
    ConnectionLost,
    ConnectionRole,
    Credentials,
    PgClient,
    PgConfig,
    PgError,
    PoolConfig,
    QueryError,
    QueryTimeout,
    RoutingPolicy,
)
from duckalog.postgres.config import secret
from duckalog.postgres.intent import WRITE, Intent, intent_of
from duckalog.postgres.routing import LagClock, Replica, Router
from tests.postgres.conftest import in_use
from tests.postgres.faces import MakeClient, stated
from tests.servers.postgres import Postgres, running_postgres, running_replica
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.servers

WHERE = "SELECT inet_server_port()"
CONNINFO = "postgresql://{0.host}:{0.port}"
SMALL = PoolConfig(min_size=1, max_size=4, acquire_timeout_s=20)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestIntent:
    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT 1",
            "select * from t where a = $1 -- INSERT",
            "WITH x AS (SELECT 1) SELECT * FROM x",
            "SELECT 1 UNION SELECT 2",
            "(SELECT 1) ORDER BY 1",
            "SELECT 'INSERT INTO t'",
            "VALUES (1)",
            "SELECT * FROM t WHERE i IN ($1,$2) AND f($1,$2)",
            "SELECT count(*), lower(a), coalesce(b, 1) FROM t GROUP BY 2",
        ],
    )
    def test_a_select_reads(self, sql: str) -> None:
        assert intent_of(sql).is_read

    @pytest.mark.parametrize(
        "sql",
        [
            "INSERT INTO t VALUES (1)",
            "UPDATE t SET a = 1",
            "DELETE FROM t",
            "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
            "WITH x AS (INSERT INTO t VALUES (1) RETURNING a) SELECT a FROM x",
            "SELECT * INTO u FROM t",
            "SELECT * FROM t FOR UPDATE",
            "SELECT * FROM (SELECT * FROM t FOR SHARE) x",
            "SELECT 1; DELETE FROM t",
            "CREATE TABLE t (a int)",
            "TRUNCATE t",
            "CALL p()",
            "DO $$ BEGIN END $$",
            "SET x = 1",
            "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE",
            "COPY t FROM STDIN",
            "REFRESH MATERIALIZED VIEW v",
            "SELEKT 1",
            "SELECT (",
            "",
        ],
    )
    def test_all_else_writes(self, sql: str) -> None:
        assert intent_of(sql) == WRITE

    def test_functions_that_are_not_of_sql_are_named(self) -> None:
        sql = "SELECT nextval('s'), s.F(a), pg_notify('c', '') FROM g(1)"
        assert intent_of(sql) == Intent(True, frozenset(["nextval", "f", "pg_notify", "g"]))


class TestChoices:
    def router(self, policy: RoutingPolicy) -> Router:
        return Router(policy, [Replica(name) for name in "abc"])

    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            (RoutingPolicy.PRIMARY, [[]] * 3),
            (RoutingPolicy.REPLICA, [[0, 1, 2]] * 3),
            (RoutingPolicy.ROUND_ROBIN, [[1, 2, 0], [2, 0, 1], [0, 1, 2]]),
            (RoutingPolicy.LEAST_CONNECTIONS, [[1, 2, 0]] * 3),
        ],
    )
    def test_each_policy_has_its_order(
        self, policy: RoutingPolicy, expected: list[list[int]]
    ) -> None:
        router = self.router(policy)
        assert [router.candidates(0, [5, 1, 2]) for _ in range(3)] == expected

    def test_random_takes_each_in_turn_sometimes(self) -> None:
        router = self.router(RoutingPolicy.RANDOM)
        found = [tuple(router.candidates(0, [0, 0, 0])) for _ in range(200)]
        assert {one[0] for one in found} == {0, 1, 2}
        assert {frozenset(one) for one in found} == {frozenset([0, 1, 2])}

    def test_a_replica_that_failed_or_is_a_primary_is_left_out(self) -> None:
        router = self.router(RoutingPolicy.REPLICA)
        router.replicas[0].down_until = 5
        router.replicas[2].role = ConnectionRole.PRIMARY
        assert router.candidates(4, [0, 0, 0]) == [1]
        assert router.candidates(5, [0, 0, 0]) == [0, 1]

    def test_lag_is_the_age_of_the_newest_position_that_is_there(self) -> None:
        clock = LagClock()
        assert clock.age(100, 0) == float("inf")
        for at, lsn in ((1, 100), (2, 200), (3, 300)):
            clock.note(at, lsn)
        assert [clock.age(lsn, 5) for lsn in (99, 100, 250, 300, 999)] == [
            float("inf"),
            4,
            3,
            2,
            2,
        ]
        router = Router(RoutingPolicy.REPLICA, [Replica("a", replay_lsn=250)], clock)
        assert router.candidates(5, [0], max_lag_s=3) == [0]
        assert router.candidates(5, [0], max_lag_s=2.9) == []


class TestConfig:
    def test_replicas_have_what_they_do_not_state_from_the_primary(self) -> None:
        config = PgConfig(
            "postgresql://ann:hush@a/shop?sslmode=require",
            replicas=["b", "c:5433", "postgresql://bob:other@d:1/shop2", "host=/run dbname=e"],
        )
        found = [
            (*one.servers[0], one.parameters["user"], one.database, one.parameters["sslmode"])
            for one in config.replicas
        ]
        assert found == [
            ("b", "5432", "ann", "shop", "require"),
            ("c", "5433", "ann", "shop", "require"),
            ("d", "1", "bob", "shop2", "require"),
            ("/run", "5432", "ann", "e", "require"),
        ]
        assert [one.secrets["password"].reveal() for one in config.replicas][:3] == [
            "hush",
            "hush",
            "other",
        ]
        assert "hush" not in repr(config)
        assert "other" not in repr(config)
        primary = config.for_primary().parameters
        assert primary["host"] == "a,b,c,d,/run"
        assert primary["port"] == "5432,5432,5433,1,5432"
        assert primary["target_session_attrs"] == "read-write"

    def test_addresses_stand_beside_the_hosts(self, pair: Pair) -> None:
        one = pair.primary
        config = PgConfig(
            f"hostaddr={one.host} port={one.port} dbname=postgres",
            username=one.user,
            password=one.password,
            replicas=[CONNINFO.format(pair.replica)],
            credentials=CallableCredentials(lambda: one.password),
        )
        assert config.for_primary().parameters["hostaddr"] == f"{one.host},"
        with PgClient(config) as client:
            assert client.query_on_primary(WHERE) == [(one.port,)]
        with PgClient(config._with(credentials=None)) as client:
            assert client.query_on_primary(WHERE) == [(one.port,)]
        two = PgConfig("hostaddr=::1,127.0.0.1 port=1,2 dbname=d")
        assert two.servers == [("", "1"), ("", "2")]
        assert two.addresses == ["::1", "127.0.0.1"]

    def test_the_environment_lists_them(self) -> None:
        environment = {"PG_HOST": "a", "PG_DATABASE": "d", "PG_USERNAME": "u", "PG_PASSWORD": "p"}
        config = PgConfig.from_env({**environment, "PG_REPLICA_HOSTS": "b, c:5433,"})
        assert [one.servers for one in config.replicas] == [[("b", "5432")], [("c", "5433")]]

    def test_each_problem_names_its_replica(self) -> None:
        with pytest.raises(ConfigError) as caught:
            PgConfig(
                "host=a", replicas=["b:99999", "dbname=x", "postgresql://%zz"], routing_policy="x"
            )
        assert [one.message for one in caught.value.problems] == [
            'routing_policy: there is no policy "x"',
            "replicas[0].port: expected a port from 1 to 65535, got 99999",
            "replicas[1]: it has no host",
            "replicas[2]: libpq cannot read it: invalid percent-encoded token",
            "replicas[2]: it has no host",
        ]


class Pair(NamedTuple):
    primary: Postgres
    replica: Postgres


@contextlib.contextmanager
def running_pair() -> Iterator[Pair]:
    with running_postgres() as primary:
        primary.run("CREATE TABLE numbers (i integer); CREATE SEQUENCE seq")
        with running_replica(primary) as replica:
            yield Pair(primary, replica)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A primary and its streaming replica."""
    with running_pair() as made:
        yield made


@pytest.fixture
def routed(make_client: MakeClient, pair: Pair) -> Any:
    """A client of both, who has written nothing; the table is empty."""
    pair.primary.run("TRUNCATE numbers")
    wait_until(lambda: replayed(pair))
    return make_client(pair.primary, replicas=[CONNINFO.format(pair.replica)], pool=SMALL)


class TestRouting:
    def test_reads_go_to_the_replica_and_writes_to_the_primary(
        self, routed: Any, pair: Pair
    ) -> None:
        assert routed.query_scalar(WHERE) == pair.replica.port
        assert routed.query_scalar(SQL(WHERE)) == pair.replica.port
        assert routed.exists("SELECT 1 WHERE inet_server_port() = $1", [pair.replica.port])
        assert routed.query_on_primary(WHERE) == [(pair.primary.port,)]
        returning = "INSERT INTO numbers VALUES (0) RETURNING inet_server_port()"
        assert routed.query_scalar(returning) == pair.primary.port
        assert routed.query_scalar("SELECT nextval('seq') * 0 + inet_server_port()") == (
            pair.primary.port
        )
        with routed.transaction() as transaction:
            assert transaction.query_scalar(WHERE) == pair.primary.port
        stats = routed.get_routing_stats()
        assert (stats.reads_on_primary, stats.writes) == (1, 2)
        assert stats.replicas[0].reads == 3
        assert stats.replicas[0].role is ConnectionRole.REPLICA

    def test_the_policy_primary_uses_no_replica(self, make_client: MakeClient, pair: Pair) -> None:
        replicas = [CONNINFO.format(pair.replica)]
        client = make_client(pair.primary, replicas=replicas, routing_policy="primary")
        assert client.query_scalar(WHERE) == pair.primary.port

    def test_a_read_that_the_replica_refuses_is_done_on_the_primary(
        self, routed: Any, pair: Pair
    ) -> None:
        pair.primary.run(
            "CREATE OR REPLACE FUNCTION sly() RETURNS int STABLE LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM nextval('seq'); RETURN inet_server_port(); END $$"
        )
        wait_until(lambda: replayed(pair))
        assert routed.query_scalar("SELECT sly()") == pair.primary.port
        assert routed.get_routing_stats().refused == 1

    def test_an_error_of_the_statement_is_the_caller_s(self, routed: Any) -> None:
        with pytest.raises(QueryError, match="division by zero"):
            routed.query("SELECT 1 / 0")
        assert routed.get_routing_stats().fallbacks == 0

    def test_a_statement_that_takes_too_long_is_no_fault_of_the_replica(self, routed: Any) -> None:
        with pytest.raises(QueryTimeout, match="cancelled"):
            routed.query("SELECT count(*) FROM generate_series(1, 1000000000)", timeout_s=0.1)
        (replica,) = routed.get_routing_stats().replicas
        assert (replica.failures, replica.is_up) == (0, True)


def replayed(pair: Pair) -> bool:
    with pair.primary.connect() as one, pair.replica.connect() as other:
        lsn = one.execute("SELECT pg_current_wal_lsn()").fetchone()
        found = other.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", lsn).fetchone()
    return bool(found and found[0])


class TestLag:
    def test_what_was_written_is_read_though_the_replica_lags(
        self, routed: Any, pair: Pair
    ) -> None:
        count = "SELECT count(*), inet_server_port() FROM numbers WHERE i = $1"
        for number in range(100, 130):
            routed.execute("INSERT INTO numbers VALUES ($1)", [number])
            assert routed.query_one(count, [number])[0] == 1
        pair.replica.run("SELECT pg_wal_replay_pause()")
        routed.execute("INSERT INTO numbers VALUES (200)")
        assert routed.query_one(count, [200]) == (1, pair.primary.port)
        with routed.transaction() as transaction:
            transaction.execute("INSERT INTO numbers VALUES (201)")
        assert routed.query_one(count, [201]) == (1, pair.primary.port)
        routed.batch_insert("numbers", ["i"], [[202]])
        assert routed.query_one(count, [202]) == (1, pair.primary.port)
        pair.replica.run("SELECT pg_wal_replay_resume()")
        wait_until(lambda: routed.query_one(count, [202]) == (1, pair.replica.port))

    def test_so_is_a_commit_that_was_not_waited_for(
        self, make_client: MakeClient, pair: Pair
    ) -> None:
        client = make_client(
            pair.primary,
            replicas=[CONNINFO.format(pair.replica)],
            pool=SMALL,
            options={"options": "-c synchronous_commit=off"},
        )
        for number in range(1000, 1100):
            client.execute("INSERT INTO numbers VALUES ($1)", [number])
            assert client.exists("SELECT 1 FROM numbers WHERE i = $1", [number])

    def test_so_is_what_another_thread_writes_meanwhile(
        self, pair: Pair, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replicas = [CONNINFO.format(pair.replica)]
        with PgClient("", **stated(pair.primary), replicas=replicas) as client:
            servers = client._servers()
            client.execute("INSERT INTO numbers VALUES (2000)")
            ask = servers.on

            async def slow(*args: Any) -> Any:
                found = await ask(*args)
                monkeypatch.setattr(servers, "on", ask)
                wait_until(lambda: replayed(pair))
                pair.replica.run("SELECT pg_wal_replay_pause()")
                client.execute("INSERT INTO numbers VALUES (2001)")
                return found

            monkeypatch.setattr(servers, "on", slow)
            for number in (2000, 2001):
                assert client.exists("SELECT 1 FROM numbers WHERE i = $1", [number])
            pair.replica.run("SELECT pg_wal_replay_resume()")

    def test_a_write_that_fills_a_page_of_the_log_is_read_on_the_replica_soon(
        self, routed: Any, pair: Pair
    ) -> None:
        asked = "SELECT (pg_current_wal_insert_lsn() - '0/0')::int8 % 8192"
        with pair.primary.connect() as connection:

            def position() -> int:
                ((found,),) = connection.execute(asked).fetchall()
                return int(found)

            def write(size: int) -> int:
                before = position()
                text = "SELECT pg_logical_emit_message(false, '', repeat('x', $1))"
                routed.query_scalar(text, [size])
                return position() - before

            overhead = 0
            for _ in range(50):
                if position() in (24, 40):
                    break
                if position() > 6000:
                    write(3000)
                elif not overhead:
                    overhead = write(1000) - 1000
                else:
                    write(8192 - position() - overhead)
            assert position() in (24, 40)
        wait_until(lambda: routed.query_scalar(WHERE) == pair.replica.port)

    def test_a_replica_that_does_not_say_where_it_is_is_not_waited_for(
        self,
        make_client: MakeClient,
        pair: Pair,
        proxy: Callable[[str, int], Proxy],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        link = proxy(pair.replica.host, pair.replica.port)
        client = make_client(
            pair.primary, replicas=[f"{link.host}:{link.port}"], lag_check_interval_s=60
        )
        wait_until(lambda: client.query_scalar(WHERE) == pair.replica.port)
        monkeypatch.setattr("duckalog.postgres.routed.REPLICA_PATIENCE_S", 0.2)
        client.execute("INSERT INTO numbers VALUES (3000)")
        link.behave("black hole")
        assert client.query_scalar(WHERE) == pair.primary.port
        assert client.get_routing_stats().replicas[0].failures == 1
        link.behave("reset")

    def test_who_wrote_nothing_may_read_what_is_old(
        self, make_client: MakeClient, routed: Any, pair: Pair
    ) -> None:
        pair.replica.run("SELECT pg_wal_replay_pause()")
        other = make_client(pair.primary)
        other.execute("INSERT INTO numbers VALUES (300)")
        assert not routed.exists("SELECT 1 FROM numbers WHERE i = 300")
        careless = make_client(
            pair.primary, replicas=[CONNINFO.format(pair.replica)], read_your_writes=False
        )
        careless.execute("INSERT INTO numbers VALUES (301)")
        assert not careless.exists("SELECT 1 FROM numbers WHERE i = 301")
        pair.replica.run("SELECT pg_wal_replay_resume()")

    def test_a_replica_that_lags_too_much_is_not_asked(
        self, routed: Any, make_client: MakeClient, pair: Pair
    ) -> None:
        def port() -> int:
            return int(routed.query_with_max_lag(WHERE, max_lag_s=0.5)[0][0])

        wait_until(lambda: port() == pair.replica.port)
        pair.replica.run("SELECT pg_wal_replay_pause()")
        make_client(pair.primary).execute("INSERT INTO numbers VALUES (400)")
        time.sleep(0.6)
        assert port() == pair.primary.port
        assert routed.query_scalar(WHERE) == pair.replica.port  # who sets no limit
        wait_until(lambda: (routed.get_routing_stats().replicas[0].lag_bytes or 0) > 0)
        assert (routed.get_routing_stats().replicas[0].lag_s or 0) > 0.5
        pair.replica.run("SELECT pg_wal_replay_resume()")
        wait_until(lambda: port() == pair.replica.port)

    def test_an_idle_replica_that_is_there_does_not_lag(self, routed: Any, pair: Pair) -> None:
        wait_until(lambda: replayed(pair))
        time.sleep(0.3)
        found = routed.query_with_max_lag(WHERE, max_lag_s=0.2)
        assert found == [(pair.replica.port,)]


class TestReplicaFaults:
    def test_reads_fall_back_and_come_back(
        self,
        make_client: MakeClient,
        pair: Pair,
        proxy: Callable[[str, int], Proxy],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        link = proxy(pair.replica.host, pair.replica.port)
        client = make_client(
            pair.primary,
            replicas=[f"{link.host}:{link.port}"],
            lag_check_interval_s=0.2,
            pool=SMALL,
        )
        assert client.query_scalar(WHERE) == pair.replica.port
        with caplog.at_level(logging.CRITICAL, "psycopg.pool"):
            link.behave("refuse")
            started = time.monotonic()
            assert [client.query_scalar(WHERE) for _ in range(50)] == [pair.primary.port] * 50
            assert time.monotonic() - started < 5
            assert client.get_routing_stats().fallbacks == 50
            assert not client.get_routing_stats().replicas[0].is_up
            link.behave("pass")
            wait_until(lambda: client.query_scalar(WHERE) == pair.replica.port)

    def test_a_replica_is_read_though_the_primary_is_away(
        self,
        make_client: MakeClient,
        pair: Pair,
        proxy: Callable[[str, int], Proxy],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        link = proxy(pair.primary.host, pair.primary.port)
        client = make_client(
            pair.primary, port=link.port, replicas=[CONNINFO.format(pair.replica)], pool=SMALL
        )
        with caplog.at_level(logging.CRITICAL, "psycopg.pool"):
            link.behave("refuse")
            # Whether they are volatile was not asked before.
            assert client.query_scalar(WHERE) == pair.replica.port
            assert client.query_scalar("SELECT pg_client_encoding()") == "UTF8"
            link.behave("pass")

    def test_a_replica_that_is_down_at_the_start_is_none_for_now(
        self, make_client: MakeClient, pair: Pair, proxy: Callable[[str, int], Proxy]
    ) -> None:
        link = proxy(pair.replica.host, pair.replica.port)
        link.behave("refuse")
        client = make_client(
            pair.primary, replicas=[f"{link.host}:{link.port}"], lag_check_interval_s=0.2
        )
        assert client.query_scalar(WHERE) == pair.primary.port
        link.behave("pass")
        wait_until(lambda: client.query_scalar(WHERE) == pair.replica.port)

    def test_a_client_that_cannot_be_opened_leaves_no_connection(
        self, make_client: MakeClient, pair: Pair
    ) -> None:
        class OfThePrimary:
            def credentials(self, parameters: Mapping[str, str]) -> Credentials:
                if parameters["port"] == str(pair.replica.port):
                    raise LookupError("there are none for the replica")
                return Credentials(secret(pair.primary.password))

        with pytest.raises(LookupError):
            make_client(
                pair.primary,
                is_open=False,
                password=None,
                application_name="unopened",
                credentials=OfThePrimary(),
                replicas=[CONNINFO.format(pair.replica)],
            ).open()
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'unopened'"
        with pair.primary.connect() as other:
            wait_until(lambda: other.execute(count).fetchone() == (0,))

    def test_a_read_under_way_is_done_again_elsewhere(
        self, make_client: MakeClient, pair: Pair
    ) -> None:
        client = make_client(
            pair.primary, replicas=[CONNINFO.format(pair.replica)], application_name="cut"
        )
        kill = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'cut' AND state = 'active' AND query = 'SELECT slow()'"
        )

        def end_it() -> None:
            with pair.replica.connect() as other:
                wait_until(lambda: bool(other.execute(kill).fetchall()))

        pair.primary.run(
            "CREATE OR REPLACE FUNCTION slow() RETURNS int STABLE LANGUAGE plpgsql AS "
            "$$ BEGIN IF pg_is_in_recovery() THEN PERFORM pg_sleep(9); END IF; "
            "RETURN inet_server_port(); END $$"
        )
        wait_until(lambda: replayed(pair))
        killer = threading.Thread(target=end_it)
        killer.start()
        assert client.query_scalar("SELECT slow()") == pair.primary.port
        killer.join()


def test_a_promoted_replica_takes_over_under_load(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    with running_pair() as pair:
        client = make_client(
            pair.primary,
            replicas=[CONNINFO.format(pair.replica)],
            pool=PoolConfig(min_size=4, max_size=16, acquire_timeout_s=20),
            lag_check_interval_s=0.2,
        )
        client.execute("CREATE TABLE load (writer int, number int, half int)")
        stop = threading.Event()
        killed_at = [float("inf")]
        first_write: list[float] = []
        errors: dict[int, list[BaseException]] = {}

        def write(writer: int) -> None:
            errors[writer] = []
            number = 0
            while not stop.is_set():
                number += 1
                began = time.monotonic()
                insert = "INSERT INTO load VALUES ($1, $2, $3)"
                try:
                    with client.transaction() as transaction:
                        for half in (1, 2):
                            transaction.execute(insert, [writer, number, half])
                    client.query("SELECT count(*) FROM load WHERE writer = $1", [writer])
                    if began > killed_at[0]:
                        first_write.append(time.monotonic())
                except PgError as error:
                    errors[writer].append(error)

        threads = [threading.Thread(target=write, args=[i]) for i in range(16)]
        for one in threads:
            one.start()
        time.sleep(0.7)
        killed_at[0] = time.monotonic()
        pair.primary.crash()
        with pair.replica.connect() as other:
            other.execute("SELECT pg_promote()")
        deadline = time.monotonic() + 15
        while len(first_write) < 50 and time.monotonic() < deadline:
            time.sleep(0.01)
        stop.set()
        for one in threads:
            one.join(30)
        assert first_write
        assert min(first_write) - killed_at[0] < 5
        lost = [one for found in errors.values() for one in found]
        assert all(isinstance(one, ConnectionLost) for one in lost)
        assert max(map(len, errors.values())) <= 1  # each lost what it had under way, no more
        halves = (
            "SELECT count(*) FROM (SELECT FROM load GROUP BY writer, number HAVING count(*) <> 2) x"
        )
        assert client.query_on_primary(halves) == [(0,)]
        assert not in_use(client)
        client.close()
