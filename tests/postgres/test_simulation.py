"""What was recorded with a server is replayed without one, with both faces."""

from __future__ import annotations

import fcntl
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb
from psycopg.types.range import Range
from pydantic import BaseModel

from duckalog import ConfigError
from duckalog.postgres import (
    AsyncPgClient,
    CallableCredentials,
    ClosedError,
    ConnectError,
    ConnectionLost,
    Hook,
    IntegrityError,
    Operation,
    PgClient,
    PgConfig,
    PgError,
    PoolConfig,
    QueryError,
    QueryTimeout,
    RetryConfig,
    SimulationError,
    SimulationMode,
    TransactionError,
    UnrecordedError,
    mask_constant,
    mask_partial,
)
from duckalog.redaction import HIDDEN
from tests.postgres.conftest import made_client
from tests.postgres.faces import Awaited, Loop, MakeClient
from tests.servers.postgres import Postgres
from tests.test_canary import MOTIF, assert_silent, canary

pytestmark = pytest.mark.servers

NOWHERE = {"host": "127.0.0.1", "port": 1}
"""Nobody listens here."""


@dataclass
class Pair:
    i: int
    t: str


class Model(BaseModel):
    i: int
    t: str


class Simulated:
    """A recording, clients that make it, and clients that replay it."""

    def __init__(self, file: Path, record: Callable[..., Any], replay: Callable[..., Any]) -> None:
        self.file = file
        self._record, self._replay = record, replay

    def record(self, **changes: Any) -> Any:
        return self._record(simulation="record", simulation_file=self.file, **changes)

    def replay(self, **changes: Any) -> Any:
        return self._replay(simulation="replay", simulation_file=self.file, **changes)

    def both(self, work: Callable[[Any], Any], **changes: Any) -> Any:
        """Return what a function came to, which is the same in the replay."""
        with self.record(**changes) as client:
            recorded = work(client)
        with self.replay() as client:
            replayed = work(client)
        assert repr(replayed) == repr(recorded)  # NaN is not equal to itself
        return replayed

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text("utf-8").splitlines()]

    @property
    def statements(self) -> list[Any]:
        return [line["sql"] for line in self.lines if "sql" in line]


@pytest.fixture
def simulated(
    make_client: MakeClient, face: str, loop: Loop, tmp_path: Path
) -> Iterator[Simulated]:
    made: list[Any] = []

    def replay(**arguments: Any) -> Any:
        made.append(made_client(face, loop, {**NOWHERE, **arguments}))
        return made[-1]

    def record(**arguments: Any) -> Any:
        return make_client(is_open=False, **arguments)

    yield Simulated(tmp_path / "recording.jsonl", record, replay)
    for client in made:
        client.close()


def error_of(function: Callable[[], Any]) -> tuple[Any, ...]:
    """Return all that can be told of an error."""
    with pytest.raises(PgError) as caught:
        function()
    error = caught.value
    named = ("sqlstate", "detail", "hint", "constraint", "table", "column")
    return type(error), str(error), *(getattr(error, name, None) for name in named)


VALUES = [
    "NULL, true, 'é \"\\ '' \U0001f600'::text, 'a'::char(3), 'a'::varchar(5), 'n'::name",
    "1::int2, -2::int4, 9007199254740993::int8, 4294967295::oid, '$12.34'::money",
    "1.5::float4, 'NaN'::float8, '-infinity'::float8, 1e-300::float8",
    "1.50::numeric, 1.5::numeric(10,2), 'NaN'::numeric, 1e30::numeric",
    "'\\x00ff41'::bytea, ''::bytea, B'101', B'101'::varbit",
    "'0044-03-15'::date, '12:00:00.000001'::time, '1:2+05:30'::timetz, '2024-02-29 1:2'::timestamp",
    "1, '2024-07-01 12:00+00'::timestamptz, '0001-01-01 00:10'::timestamptz",
    "'1 year -2 days 3:4:5.6'::interval, '0'::interval",
    "md5('a')::uuid, '{\"a\": [1, null]}'::json, '{\"b\": {\"c\": 1.5}}'::jsonb, '$.a'::jsonpath",
    "'{{1,2},{3,NULL}}'::int[], '{}'::text[], ARRAY['a','b,\"c\\',NULL,''], '[5:6]={1,2}'::int[]",
    "ARRAY['2024-07-01 12:00+00'::timestamptz], ARRAY['{\"a\":1}'::jsonb], ARRAY['\\x00'::bytea]",
    "'[1,5)'::int4range, 'empty'::int8range, '(,1.5]'::numrange, '[2024-01-01,)'::daterange",
    "tstzrange('2024-07-01 12:00+00', NULL)",
    "'10.0.0.1'::inet, '::1/64'::inet, '10.0.0.0/8'::cidr, '08:00:2b:01:02:03'::macaddr",
    "ROW(1,'a',NULL), 'happy'::recorded_mood, ARRAY['sad']::recorded_mood[]",
    "(1,'a')::recorded_pair, 5::recorded_small",
    "'(1,2)'::point, to_tsvector('simple', 'a b'), '1/2'::pg_lsn, 'int4'::regtype",
]

SINCE = {
    140000: "'{[1,3),[5,7)}'::int4multirange, '{}'::datemultirange, 'Infinity'::numeric",
    170000: "'infinity'::interval, '-infinity'::interval",
}


@pytest.fixture(scope="module")
def _types(postgres: Postgres, database: str) -> None:
    postgres.run(
        "DROP TYPE IF EXISTS recorded_mood, recorded_pair; DROP DOMAIN IF EXISTS recorded_small;"
        "CREATE TYPE recorded_mood AS ENUM ('sad', 'happy');"
        "CREATE TYPE recorded_pair AS (i int, t text);"
        "CREATE DOMAIN recorded_small AS int CHECK (VALUE < 10)",
        database,
    )


class TestValues:
    @pytest.mark.usefixtures("_types")
    @pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
    def test_every_type_comes_back_as_it_was(self, simulated: Simulated, zone: str) -> None:
        def work(client: Any) -> Any:
            version = int(client.query_scalar("SHOW server_version_num"))
            newer = [values for since, values in SINCE.items() if version >= since]
            found = [client.query_result(f"SELECT {values}") for values in VALUES + newer]
            return found, [[type(value) for value in one.rows[0]] for one in found]

        found, _ = simulated.both(work, options={"options": f"-c TimeZone={zone}"})
        instant = found[6].rows[0][1]
        assert instant.utcoffset().total_seconds() == (0 if zone == "UTC" else 7200)

    def test_a_value_that_python_has_not_is_the_same_error(self, simulated: Simulated) -> None:
        for text in ("'infinity'::date", "'-infinity'::timestamptz"):
            kind, message, *_ = simulated.both(
                lambda client, text=text: error_of(lambda: client.query(f"SELECT {text}"))
            )
            assert kind is QueryError
            assert "infinity" in message

    def test_every_parameter_finds_its_answer(self, simulated: Simulated) -> None:
        values: list[tuple[str, Any]] = [
            ("int", None),
            ("bool", True),
            ("int", 5),
            ("float8", 1.5),
            ("float8", float("nan")),
            ("text", "é"),
            ("bytea", b"\0\xff"),
            ("int[]", [[1], [None]]),
            ("jsonb", Jsonb({"a": [1]})),
            ("int4range", Range(1, 5)),
            ("date", date(2024, 2, 29)),
        ]

        def work(client: Any) -> Any:
            return [
                client.query_one(f"SELECT $1::{kind} IS NULL, $2::int", [value, number])
                for number, (kind, value) in enumerate(values)
            ]

        simulated.both(work)

    def test_rows_become_what_is_asked_for(self, simulated: Simulated) -> None:
        sql = "SELECT 1 AS i, 'a' AS t"

        def work(client: Any) -> Any:
            row = client.query_one(sql)
            return row["t"], [client.query_one(sql, into=one) for one in (dict, tuple, Pair, Model)]

        assert simulated.both(work)[1][2:] == [Pair(1, "a"), Model(i=1, t="a")]

    def test_a_style_that_cannot_be_read_again_is_told(self, simulated: Simulated) -> None:
        with (
            simulated.record(options={"options": "-c DateStyle=German"}) as client,
            pytest.raises(SimulationError, match="needs the DateStyle ISO"),
        ):
            client.query("SELECT now()")


class TestWhatAClientDoes:
    def test_errors_are_the_same(self, simulated: Simulated, table: str) -> None:
        def work(client: Any) -> list[Any]:
            client.execute(f"INSERT INTO {table} VALUES (1)")
            return [
                error_of(lambda sql=sql: client.query(*sql))
                for sql in (
                    ("SELEKT",),
                    ("SELECT 1 / 0",),
                    ("SELECT $1::int", ["x"]),
                    (f"INSERT INTO {table} VALUES (1)",),
                    ("SELECT nope(1)",),
                    ("DO $$ BEGIN RAISE 'own' USING ERRCODE = 'AB123', HINT = 'a hint'; END $$",),
                )
            ]

        found = simulated.both(work)
        assert [one[2] for one in found] == ["42601", "22012", "22P02", "23505", "42883", "AB123"]
        assert found[3][0] is IntegrityError

    def test_a_statement_that_took_too_long_does_so_at_once(self, simulated: Simulated) -> None:
        kind, message, *_ = simulated.both(
            lambda client: error_of(lambda: client.query("SELECT pg_sleep(9)", timeout_s=0.2))
        )
        assert kind is QueryTimeout
        assert "it was cancelled" in message

    def test_a_lost_connection_is_lost_again(self, simulated: Simulated) -> None:
        def work(client: Any) -> Any:
            with pytest.raises(ConnectionLost), client.transaction() as transaction:
                transaction.query("SELECT pg_terminate_backend(pg_backend_pid())")
            return client.query_scalar("SELECT 1")

        assert simulated.both(work) == 1

    def test_a_question_that_comes_again_has_the_answers_in_turn_and_then_the_last(
        self, simulated: Simulated, table: str
    ) -> None:
        count = f"SELECT count(*) FROM {table}"

        def work(client: Any) -> list[int]:
            found = []
            for i in range(3):
                found.append(client.query_scalar(count))
                client.execute(f"INSERT INTO {table} VALUES ($1)", [i])
            return found

        assert simulated.both(work) == [0, 1, 2]
        with simulated.replay() as client:
            assert [client.query_scalar(count) for _ in range(5)] == [0, 1, 2, 2, 2]

    def test_the_clients_of_a_config_go_on_where_others_stopped(
        self, simulated: Simulated, face: str, loop: Loop, postgres: Postgres, database: str
    ) -> None:
        postgres.run("DROP SEQUENCE IF EXISTS numbers; CREATE SEQUENCE numbers", database)
        with simulated.record() as client:
            for _ in range(3):
                client.query("SELECT nextval('numbers')")
        config = PgConfig(simulation="replay", simulation_file=simulated.file)
        kind = PgClient if face == "blocking" else AsyncPgClient
        for expected in (1, 2, 3):
            client = kind(config) if face == "blocking" else Awaited(loop, kind(config))
            with client:
                assert client.query_scalar("SELECT nextval('numbers')") == expected

    def test_batches(self, simulated: Simulated, table: str) -> None:
        insert = f"INSERT INTO {table} VALUES ($1, $2)"

        def work(client: Any) -> Any:
            found = [client.execute_batch([f"DELETE FROM {table}", (insert, [1, "a"])])]
            found.append(
                error_of(lambda: client.execute_batch([(insert, [2, "b"]), (insert, [1, "c"])]))
            )
            with client.transaction() as transaction:
                found.append(
                    transaction.execute_batch([(insert, [3, "d"]), f"DELETE FROM {table}"])
                )
                found.append(transaction.query_scalar(f"SELECT count(*) FROM {table}"))
            found.append(client.execute_batch([]))
            return found

        assert simulated.both(work)[0] == [0, 1]
        assert [
            f"DELETE FROM {table}",
            f"INSERT INTO {table} VALUES ($1, $2)",
        ] in simulated.statements

    def test_transactions(self, simulated: Simulated, table: str) -> None:
        insert = f"INSERT INTO {table} VALUES ($1)"

        def work(client: Any) -> list[Any]:
            found: list[Any] = []
            with client.transaction(isolation="serializable", timeout_s=60) as transaction:
                transaction.execute(insert, [1])
                place = transaction.savepoint("place")
                found.append(error_of(lambda: transaction.execute(insert, [1])))
                found.append(error_of(lambda: transaction.execute(insert, [2])))
                transaction.rollback_to(place)
                transaction.release(place)
            with pytest.raises(ZeroDivisionError), client.transaction() as transaction:
                transaction.execute(insert, [2])
                raise ZeroDivisionError
            with pytest.raises(TransactionError), client.transaction() as transaction:
                found.append(error_of(lambda: transaction.execute(insert, [1])))
            made = client.begin()
            made.execute(insert, [3])
            made.commit()
            found.append(client.query(f"SELECT i FROM {table} ORDER BY i"))
            return found

        assert simulated.both(work)[-1] == [(1,), (3,)]

    def test_an_error_at_the_end_of_a_transaction(self, simulated: Simulated, table: str) -> None:
        def work(client: Any) -> Any:
            client.execute(f"ALTER TABLE {table} ADD CONSTRAINT once UNIQUE (t) INITIALLY DEFERRED")
            transaction = client.begin()
            transaction.execute(f"INSERT INTO {table} VALUES (1, 'a'), (2, 'a')")
            return (
                error_of(transaction.commit),
                transaction.is_open,
                client.query_scalar("SELECT 1"),
            )

        assert simulated.both(work)[0][0] is IntegrityError

    def test_a_transaction_that_conflicts_is_run_again(self, simulated: Simulated) -> None:
        def work(client: Any) -> list[Any]:
            seen: list[int] = []
            conflict = "DO $$ BEGIN RAISE '' USING ERRCODE = '40001'; END $$"

            def function(transaction: Any) -> Any:
                seen.append(len(seen))
                return transaction.execute(conflict if len(seen) < 3 else "SELECT 1")

            return [client.transaction_with_retry(function, max_retries=2), seen]

        assert simulated.both(work) == [1, [0, 1, 2]]
        assert "SerializationFailure" in simulated.file.read_text()

    def test_streams(self, simulated: Simulated) -> None:
        sql = "SELECT i, 'x' AS t FROM generate_series(1, $1::int) i"

        def work(client: Any) -> list[Any]:
            found: list[Any] = [list(client.query_stream(sql, [7], fetch_size=3, into=dict))]
            found.append(list(client.query_stream("SELECT 1 WHERE false")))
            with client.query_stream(sql, [5], fetch_size=2) as cursor:
                found.append([cursor.fetch_next(), cursor.fetch_next()])
            with client.transaction() as transaction:
                found.append(list(transaction.query_stream(sql, [2])))
            rows = iter(client.query_stream("SELECT 1 / (5 - $1::int)", [5]))
            found.append(error_of(lambda: next(rows)))
            found.append(error_of(lambda: list(client.query_stream("SELEKT"))))
            return found

        assert len(simulated.both(work)[0]) == 7

    @pytest.mark.parametrize("size", [1, 2, 3, 10])
    def test_a_stream_may_be_fetched_in_other_pieces(self, simulated: Simulated, size: int) -> None:
        fails = "SELECT 10 / (8 - i) AS n FROM generate_series(1, 9) i"
        with simulated.record() as client:
            list(client.query_stream("SELECT generate_series(1, 7)", fetch_size=3))
            with client.query_stream("SELECT generate_series(1, 9)", fetch_size=3) as cursor:
                cursor.fetch_next()
            error_of(lambda: list(client.query_stream(fails, fetch_size=2)))
        with simulated.replay() as client:
            rows = client.query_stream("SELECT generate_series(1, 7)", fetch_size=size)
            assert [i for (i,) in rows] == list(range(1, 8))
            seen = []
            with pytest.raises(UnrecordedError, match="ends before its result did"):
                for (i,) in client.query_stream("SELECT generate_series(1, 9)", fetch_size=size):
                    seen.append(i)
            assert seen == [1, 2, 3]
            seen = []
            with pytest.raises(QueryError, match="division by zero"):
                for (i,) in client.query_stream(fails, fetch_size=size):
                    seen.append(i)
            assert len(seen) == 6

    def test_results_as_arrow(self, simulated: Simulated) -> None:
        sql = "SELECT 1.50::numeric(9,2) AS n, now() AS t, '{1,2}'::int[] AS a, '{}'::jsonb AS j"

        def work(client: Any) -> list[Any]:
            stream = client.query_arrow_stream(f"SELECT generate_series(1, 5), {sql[7:]}")
            return [client.query_arrow(sql), list(stream), client.query(sql)]

        assert simulated.both(work)[0].num_rows == 1

    def test_pages(self, simulated: Simulated) -> None:
        def work(client: Any) -> list[Any]:
            sql = "SELECT i FROM generate_series(1, 7) i"
            found = [client.query_page(sql, key=["i"], size=3)]
            while found[-1].next_token:
                found.append(client.query_page(sql, key=["i"], size=3, after=found[-1].next_token))
            return found

        assert [len(page.rows) for page in simulated.both(work)] == [3, 3, 1]

    @pytest.mark.parametrize("format", ["text", "csv", "binary"])
    def test_copy_out(self, simulated: Simulated, format: str) -> None:
        sql = "SELECT i, 'é', '\\x00ff'::bytea FROM generate_series(1, 5000) i"

        def work(client: Any) -> Any:
            out = io.BytesIO()
            return client.copy_out(sql, out, format=format), out.getvalue()

        assert simulated.both(work)[0] == 5000

    def test_copy_in(self, simulated: Simulated, table: str, tmp_path: Path) -> None:
        path = tmp_path / "rows.csv"
        path.write_text("4,d\n5,e\n")

        def work(client: Any) -> list[Any]:
            return [
                client.copy_in(table, b"1,a\n2,b\n"),
                client.copy_in(table, ["i,t\n", "3,", "c\n"], header=True),
                client.copy_in(table, path),
                client.copy_rows(table, ["i", "t"], [(6, "f"), (7, None)]),
                client.copy_rows(table, ["i", "t"], [(8, "g")], format="binary"),
                client.batch_insert(table, ["i"], [{"i": i} for i in range(10, 20)], chunk_size=4),
                client.upsert(table, ["i", "t"], [(1, "z"), (30, "y")], key=["i"]),
                client.batch_update(table, ["i", "t"], [(1, "x")], key=["i"]),
                client.batch_delete(table, ["i"], [[30]]),
                error_of(lambda: client.copy_in(table, b"1,a\n")),
                error_of(lambda: client.copy_in(table, b"x,a\n" * 100)),
                error_of(lambda: client.copy_in("nope", b"1\n")),
                error_of(lambda: client.copy_out("SELECT nope", io.BytesIO())),
                error_of(lambda: client.copy_out("SELECT 1 / 0", io.BytesIO())),
                error_of(lambda: client.copy_rows(table, ["i"], [(object(),)])),
            ]

        assert simulated.both(work)[:6] == [2, 1, 2, 2, 1, 10]
        with (
            simulated.replay() as client,
            pytest.raises(UnrecordedError, match=r"recorded with other values[^\n]*\n.*bytes"),
        ):
            client.copy_in(table, b"1,a\n2,c\n")

    def test_a_copy_that_its_caller_breaks_off(self, simulated: Simulated, table: str) -> None:
        def broken(_: bytes) -> None:
            raise ZeroDivisionError

        def work(client: Any) -> None:
            with pytest.raises(ZeroDivisionError):
                client.copy_in(table, (one // 0 for one in [1]))
            with pytest.raises(ZeroDivisionError):
                client.copy_out("SELECT generate_series(1, 9)", broken)

        simulated.both(work)
        with simulated.replay() as client, pytest.raises(UnrecordedError, match="ends before"):
            client.copy_out("SELECT generate_series(1, 9)", io.BytesIO())

    def test_other_databases(self, simulated: Simulated, postgres: Postgres) -> None:
        postgres.run("DROP DATABASE IF EXISTS other")
        postgres.create_database("other")

        def work(client: Any) -> list[Any]:
            sql = "SELECT current_database()::text"
            return [client.query_scalar(sql), client.database("other").query_scalar(sql)]

        assert simulated.both(work) == ["client", "other"]

    def test_what_is_tried_on_replicas_is_recorded_once(
        self, simulated: Simulated, postgres: Postgres, database: str, table: str
    ) -> None:
        postgres.run(
            f"CREATE OR REPLACE FUNCTION add_one() RETURNS int STABLE LANGUAGE plpgsql AS "
            f"$$ BEGIN INSERT INTO {table} VALUES (1); RETURN 1; END $$; "
            "ALTER FUNCTION add_one() STABLE",
            database,
        )
        asked = f"SELECT count(*) FROM {table}"

        def work(client: Any) -> list[Any]:
            return [
                client.query_scalar(asked),
                client.execute(f"INSERT INTO {table} VALUES ($1)", [7]),
                client.query_scalar(asked),
                client.query_on_primary(asked),
                client.query_with_max_lag(asked, max_lag_s=60),
                error_of(lambda: client.query("SELECT add_one()")),
                client.check(),
            ]

        replica = f"postgresql://{postgres.host}:{postgres.port}/{database}"
        found = simulated.both(work, replicas=[replica], lag_check_interval_s=60)
        assert (found[0], found[2]) == (0, 1)
        assert not [sql for sql in simulated.statements if "pg_" in sql]
        assert simulated.statements.count("SELECT add_one()") == 1

    def test_a_replay_has_pools_that_do_nothing(self, simulated: Simulated) -> None:
        def work(client: Any) -> int:
            with client.transaction() as transaction:
                (stats,) = client.pool_stats().values()
                transaction.query("SELECT 1")
            return int(stats.in_use)

        assert simulated.both(work) == 1
        with simulated.replay(pool=PoolConfig(min_size=1, max_size=2)) as client:
            work(client)
            client.resize(1, 3)
            client.drain()
            assert client.check()
            (stats,) = client.pool_stats().values()
            assert (stats.max_size, stats.in_use, stats.acquired) == (3, 0, 1)
            assert client.get_routing_stats().replicas == ()
            transaction = client.transaction()
        with pytest.raises(ClosedError):
            client.query("SELECT 1")
        with pytest.raises(ClosedError), transaction:
            pass

    def test_notifications_are_told_not_to_be_simulated(self, simulated: Simulated) -> None:
        simulated.both(lambda client: client.notify("events", "a"))
        with (
            simulated.replay() as client,
            pytest.raises(SimulationError, match="notifications are not simulated"),
        ):
            client.listen("events")


class TestUnrecorded:
    @pytest.fixture
    def replay(self, simulated: Simulated) -> Iterator[Any]:
        with simulated.record() as client:
            client.query("SELECT i FROM generate_series(1, 3) i")
            client.query("SELECT $1::int + $2::int", [1, 2])
            client.query("SELECT $1::int + $2::int", [5, 6])
            list(client.query_stream("SELECT 'streamed'"))
        with simulated.replay() as client:
            yield client

    def asked(self, simulated: Simulated, function: Callable[[], Any]) -> str:
        with pytest.raises(UnrecordedError) as caught:
            function()
        return str(caught.value).replace(str(simulated.file), "FILE")

    def test_the_nearest_is_named_with_its_line(self, simulated: Simulated, replay: Any) -> None:
        told = self.asked(simulated, lambda: replay.query("SELECT j FROM generate_series(1, 3) j"))
        assert told == (
            "FILE:3: nothing like this is recorded: "
            "query: SELECT j FROM generate_series($1, $2) j\n"
            "    The nearest is at this line: query: SELECT i FROM generate_series($1, $2) i\n"
            "    Record it anew."
        )

    def test_values_that_differ_are_told(self, simulated: Simulated, replay: Any) -> None:
        told = self.asked(simulated, lambda: replay.query("SELECT $1::int + $2::int", [5, 7]))
        assert told.startswith("FILE:5: this was recorded with other values")
        assert "At this line $2 is 6.\n" in told
        told = self.asked(simulated, lambda: replay.query("SELECT $1::int + $2::int", [1, 2, 3]))
        assert "At this line $3 is not there.\n" in told

    def test_another_way_of_asking_is_another_question(
        self, simulated: Simulated, replay: Any
    ) -> None:
        told = self.asked(simulated, lambda: replay.query("SELECT 'streamed'"))
        assert "The nearest is at this line: stream: SELECT $1" in told

    def test_an_error_in_a_block_is_the_one_that_leaves_it(self, simulated: Simulated) -> None:
        with simulated.record() as client, client.transaction() as transaction:
            transaction.query("SELECT 1")
        with simulated.replay() as client:

            def block() -> None:
                with client.transaction() as transaction:
                    transaction.query("SELECT nothing")

            assert "SELECT nothing" in self.asked(simulated, block)
            stream = client.query_stream("SELECT nothing")
            assert "SELECT nothing" in self.asked(simulated, lambda: list(stream))

    def test_a_recording_of_nothing_says_so(self, simulated: Simulated) -> None:
        with simulated.record():
            pass
        with simulated.replay() as client:
            told = self.asked(simulated, lambda: client.query("SELECT 1"))
        assert "Nothing is recorded." in told


class TestFile:
    def test_a_last_line_that_is_torn_is_left_out(
        self, simulated: Simulated, caplog: pytest.LogCaptureFixture
    ) -> None:
        with simulated.record() as client:
            client.query("SELECT 1")
            client.query("SELECT 2")
        simulated.file.write_bytes(simulated.file.read_bytes()[:-9])
        with simulated.replay() as client:
            assert client.query_scalar("SELECT 1") == 1
            with pytest.raises(UnrecordedError):
                client.query_scalar("SELECT 2")
        assert "the last line is torn" in caplog.text

    def test_each_line_is_there_as_soon_as_the_answer_is(self, simulated: Simulated) -> None:
        with simulated.record() as client:
            client.query("SELECT 1")
            assert simulated.lines[-1]["rows"] == [["1"]]

    def test_the_first_client_of_a_process_begins_the_file_and_others_go_on(
        self, simulated: Simulated
    ) -> None:
        simulated.file.write_text("what was there")
        for number in (1, 2):
            with simulated.record() as client, simulated.record() as other:
                client.query("SELECT $1::int", [number])
                other.query("SELECT $1::int", [-number])
        assert [line["rows"] for line in simulated.lines if "sql" in line] == [
            [["1"]],
            [["-1"]],
            [["2"]],
            [["-2"]],
        ]
        simulated.file.unlink()
        with simulated.record() as client:
            client.query("SELECT 3")
        assert [line["rows"] for line in simulated.lines if "sql" in line] == [[["3"]]]

    def test_a_client_that_cannot_connect_leaves_the_file_to_others(
        self, simulated: Simulated
    ) -> None:
        with pytest.raises(ConnectError):
            simulated.record(port=1, retry=RetryConfig(attempts=1)).open()
        simulated.both(lambda client: client.query("SELECT 1"))
        with open(simulated.file) as other:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where somebody has it

    def test_what_comes_after_the_client_is_closed_is_not_recorded(
        self, simulated: Simulated
    ) -> None:
        client = simulated.record()
        client.open()
        transaction = client.begin()
        client.close()
        with pytest.raises(SimulationError, match="the recording is closed"):
            transaction.query("SELECT 1")
        transaction.rollback()

    def test_a_process_has_the_file_to_itself(self, simulated: Simulated) -> None:
        simulated.file.touch()
        with open(simulated.file) as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            for _ in range(2):
                with pytest.raises(SimulationError, match="another process records into this file"):
                    simulated.record().open()

    def test_a_file_that_cannot_be_written_is_told(self, simulated: Simulated) -> None:
        simulated.file = simulated.file.parent / "nowhere" / "recording.jsonl"
        with pytest.raises(
            SimulationError, match=r"recording\.jsonl: the recording cannot be writ"
        ):
            simulated.record().open()

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (None, "cannot be read"),
            ('{"format": "other"}\n', r":1: this is not a recording"),
            ("[]\n", r":1: this is not a recording"),
            ("SELECT 1\n", r":1: this is no line of a recording"),
            ('{"format": "duckalog.postgres recording", "version": 9}\n', "of version 9"),
        ]
        + [
            (
                f'{{"format": "duckalog.postgres recording", "version": 1}}\n{line}\n',
                r":2: this is no",
            )
            for line in ("{", "[]", "7", "{}", '{"of": 7}', '{"kind": "query", "sql": 7}')
        ],
    )
    def test_a_file_that_is_no_recording_is_told(
        self, simulated: Simulated, text: str | None, reason: str
    ) -> None:
        if text is not None:
            simulated.file.write_text(text)
        with pytest.raises(SimulationError, match=reason):
            simulated.replay().open()

    def test_threads_write_whole_lines(self, simulated: Simulated) -> None:
        def work(client: Any) -> list[Any]:
            with ThreadPoolExecutor(8) as threads:
                asked = [
                    threads.submit(client.query_scalar, "SELECT $1::int", [i]) for i in range(40)
                ]
                return [one.result() for one in asked]

        assert simulated.both(work) == list(range(40))


class TestSecrets:
    def test_no_password_is_recorded_and_what_has_one_is_found(
        self, simulated: Simulated, postgres: Postgres, database: str, table: str
    ) -> None:
        password = canary("RECORDED")
        postgres.run("DROP ROLE IF EXISTS recorded")
        postgres.create_role("recorded", password)
        postgres.run(f"GRANT ALL ON {table} TO recorded", database)
        encoded = password.encode()
        quoted = password.replace("'", "''")

        def work(client: Any) -> list[Any]:
            def out(sql: str, format: str) -> int:
                return int(client.copy_out(sql, io.BytesIO(), format=format))

            asked = f"SELECT t FROM {table}"
            found: list[Any] = [
                client.execute(f"INSERT INTO {table} VALUES (1, $1)", [password]),
                client.execute(f"INSERT INTO {table} VALUES (2, '{quoted}')"),
                len(client.query(asked)),
                len(client.query(f"SELECT ARRAY[t, 'a'], (1, t), to_jsonb(t) FROM {table}")),
                len(client.query(f"SELECT convert_to(t, 'UTF8') FROM {table}")),
                len(client.query("SELECT $1::bytea, $2::text[]", [encoded, [password]])),
                len(client.query("SELECT $1::jsonb", [Jsonb({"password": password})])),
                len(list(client.query_stream(f"{asked} WHERE t = $1", [password]))),
                client.execute_batch([(f"UPDATE {table} SET t = $1", [password])]),
                client.copy_rows(table, ["i", "t"], [(3, password)]),
                client.copy_rows(table, ["i", "t"], [(4, password)], format="binary"),
                client.copy_in(
                    table, io.BytesIO(b"5\t" + encoded.replace(b"\\", b"\\\\")), format="text"
                ),
                client.upsert(table, ["i", "t"], [(6, password)], key=["i"]),
            ]
            found += [out(asked, one) for one in ("text", "csv", "binary")]
            found += [out(f"SELECT ARRAY[t], (1, t) FROM {table}", one) for one in ("text", "csv")]
            for sql, params in (
                ("SELECT $1::int", [password]),
                (f"SELECT 1 AS a WHERE b = '{quoted}'", []),
                (f"INSERT INTO {table} VALUES (1, $1)", [password]),
                (f"INSERT INTO {table} VALUES (NULL, $1)", [password]),
            ):
                with pytest.raises(QueryError) as caught:
                    client.query(sql, params)
                found.append(caught.value.sqlstate)
            composed = SQL("SELECT 1 AS {}").format(Identifier(password))
            found.append(len(client.query(composed)))
            return found

        stated = {"username": "recorded", "password": password, "retry": RetryConfig(attempts=1)}
        with simulated.record(**stated) as client:
            recorded = work(client)
        heard = simulated.file.read_text("utf-8")
        assert MOTIF.encode().hex() not in heard
        assert_silent({"recording": heard})
        with simulated.replay(password=password) as client:
            assert work(client) == recorded
        with simulated.replay() as client, pytest.raises(UnrecordedError) as caught:
            work(client)  # without the password, all but its use as a name
        assert f'SELECT $1 AS "{HIDDEN}"' in str(caught.value)

    def test_what_a_provider_gives_is_a_secret(
        self, simulated: Simulated, postgres: Postgres
    ) -> None:
        given = CallableCredentials(lambda: postgres.password)
        with simulated.record(password=None, credentials=given) as client:
            client.query("SELECT $1::text", [postgres.password])
        assert postgres.password not in simulated.file.read_text()
        with simulated.replay() as client:
            (shown,) = client.query("SELECT $1::text", [postgres.password])
        assert shown == (HIDDEN,)

    def test_a_number_that_is_the_password_is_hidden(
        self, simulated: Simulated, postgres: Postgres
    ) -> None:
        postgres.run("DROP ROLE IF EXISTS numbered")
        postgres.create_role("numbered", "75319531")
        with simulated.record(username="numbered", password="75319531") as client:
            client.query("SELECT $1::int, ARRAY[75319531], 1", [75319531])
        assert "75319531" not in simulated.file.read_text()
        with simulated.replay() as client:
            assert client.query("SELECT $1::int, ARRAY[75319531], 1", [75319531]) == [
                (HIDDEN, f"{{{HIDDEN}}}", 1)
            ]


class TestRedaction:
    PEOPLE = "SELECT 1 AS id, 'ann@example.com' AS email, date '1990-05-17' AS born, NULL AS t"

    def test_the_columns_that_are_named_are_hidden(self, simulated: Simulated, table: str) -> None:
        person = "ann@example.com"

        def work(client: Any) -> Any:
            client.execute_batch([(f"INSERT INTO {table} (i, t) VALUES ($1, $2)", [1, person])])
            client.execute(f"DELETE FROM {table} WHERE t = '{person}'")
            error_of(lambda: client.execute(f"INSERT INTO {table} (t) VALUES ($1)", [person]))
            client.copy_in(table, f"2,{person}\n".encode())
            list(client.query_stream(f"SELECT t FROM {table}"))
            return client.query(self.PEOPLE.replace("email", "t", 1).replace(", NULL AS t", ""))

        with simulated.record(simulation_redact=["T", "born"]) as client:
            assert work(client)[0][1] == person
            assert client.copy_out(f"SELECT * FROM {table}", io.BytesIO()) == 1
        assert person not in simulated.file.read_text().replace(f"'{person}'", "")
        assert "1990" not in simulated.file.read_text()
        with simulated.replay() as client:
            assert work(client) == [(1, HIDDEN, HIDDEN)]
            with pytest.raises(SimulationError, match="simulation_redact hides values"):
                client.copy_out(f"SELECT * FROM {table}", io.BytesIO())

    def test_a_function_says_what_is_recorded(self, simulated: Simulated) -> None:
        seen = []

        def shown(name: str, value: Any) -> Any:
            seen.append(name)
            if isinstance(value, date):
                return value.replace(month=1, day=1)
            if isinstance(value, str) and "@" in value:
                return "somebody@example.com"
            return {"a": value} if name == "id" else value

        with simulated.record(simulation_redact=shown) as client:
            client.query(self.PEOPLE)
        assert sorted(seen) == ["$1", "$2", "$3", "born", "email", "id"]
        assert "ann@" not in simulated.file.read_text()
        for stated in ({"simulation_redact": shown}, {}):
            with simulated.replay(**stated) as client:
                asked = self.PEOPLE if stated else self.PEOPLE.replace("ann", "somebody")
                assert client.query(asked) == [
                    ({"a": 1}, "somebody@example.com", date(1990, 1, 1), None)
                ]


class TestMasksAndHooks:
    PERSON = "ann@example.com"

    def test_what_is_masked_is_recorded_so(
        self, simulated: Simulated, table: str, postgres: Postgres, database: str
    ) -> None:
        postgres.run(f"INSERT INTO {table} VALUES (1, '{self.PERSON}'), (2, NULL)", database)

        def work(client: Any) -> list[Any]:
            return [
                client.query_result(f"SELECT i, t AS shown FROM {table} ORDER BY i"),
                list(client.query_stream(f"SELECT t FROM {table} ORDER BY i")),
                client.query_scalar(f"SELECT i FROM {table} WHERE t = '{self.PERSON}'"),
                client.execute(f"UPDATE {table} SET t = $1 WHERE i = 1", [self.PERSON]),
                error_of(lambda: client.query(f"INSERT INTO {table} VALUES (1)")),
                error_of(lambda: client.query_page(f"SELECT i, t FROM {table}", key=["t"], size=1)),
                client.copy_out(f"SELECT i FROM {table}", io.BytesIO()),
            ]

        with simulated.record(masks={f"{table}.t": mask_partial(last=4)}) as client:
            recorded = work(client)
        assert self.PERSON not in simulated.file.read_text()
        shown = recorded[0]
        assert [one.is_masked for one in shown.columns] == [False, True]
        assert shown.rows == [(1, "***********.com"), (2, None)]
        assert recorded[4][3] is not None
        for masks in ({}, {"t": mask_constant("masked again")}):
            with simulated.replay(masks=masks) as client:
                replayed = work(client)
            assert replayed[4][3] is None, "details may have values"
            recorded[4] = replayed[4] = None
            assert replayed == recorded

    def test_what_was_recorded_in_clear_is_masked_by_its_name(self, simulated: Simulated) -> None:
        sql = "SELECT 1 AS i, 'a' AS t"
        simulated.both(lambda client: client.query(sql))
        with simulated.replay(masks={"t": mask_constant()}) as client:
            (row,) = client.query_result(sql).rows
        assert row == (1, "***")

    def test_hooks_hear_of_a_replay(self, simulated: Simulated, table: str) -> None:
        heard: list[tuple[Any, ...]] = []

        class Heard(Hook):
            def ended(self, operation: Operation) -> None:
                server = operation.server and operation.server.host
                heard.append((operation.kind.value, operation.sql, operation.rows, server))

        def work(client: Any) -> None:
            client.query("SELECT 1")
            client.execute_batch([f"DELETE FROM {table}"])
            list(client.query_stream("SELECT 2"))
            client.copy_in(table, b"1,a\n")
            with client.transaction() as transaction:
                transaction.execute("SELECT 3")

        simulated.both(work)
        with simulated.replay(hooks=[Heard()]) as client:
            work(client)
        file = str(simulated.file)
        assert ("statement", "SELECT ?", 1, file) in heard
        assert {"batch", "stream", "copy", "transaction"} <= {kind for kind, *_ in heard}


class TestConfig:
    @pytest.mark.parametrize(
        ("stated", "problem"),
        [
            ({"simulation": "tape"}, 'simulation: there is no mode "tape"'),
            ({"simulation": "replay"}, 'simulation_file: the mode "replay" needs a file'),
            ({"simulation_redact": "email"}, "simulation_redact: expected several names"),
        ],
    )
    def test_what_is_wrong_names_its_field(self, stated: dict[str, Any], problem: str) -> None:
        with pytest.raises(ConfigError, match=problem):
            PgConfig("", **stated)

    def test_the_environment_can_turn_it_on(self, tmp_path: Path) -> None:
        file = str(tmp_path / "recording.jsonl")
        variables = {"PG_SIMULATION_MODE": "replay", "PG_SIMULATION_FILE": file}
        config = PgConfig.from_env(variables)  # where the server is need not be told
        assert (config.simulation.mode, config.simulation.file) == (SimulationMode.REPLAY, file)
        assert PgConfig("").simulation.mode is SimulationMode.OFF
        with pytest.raises(ConfigError, match="PG_HOST: the variable is not set"):
            PgConfig.from_env({**variables, "PG_SIMULATION_MODE": "record"})
