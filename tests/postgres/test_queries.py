"""Queries against a real server, with both faces."""

from __future__ import annotations

import math
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from psycopg.sql import SQL, Identifier
from pydantic import BaseModel

from duckalog.postgres import (
    ClosedError,
    Column,
    IntegrityError,
    PgClient,
    PoolConfig,
    QueryError,
    QueryTimeout,
    Row,
    RowCountError,
)
from duckalog.postgres.execution import run
from duckalog.postgres.faces import finished
from tests.hostile import HOSTILE, NAME, TEXT
from tests.postgres.faces import MakeClient, stated
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.servers

TWO = "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v(i, t) WHERE i > $1 ORDER BY i"


@dataclass
class Pair:
    i: int
    t: str


class Model(BaseModel):
    i: int
    t: str


class TestRows:
    def test_a_row_is_a_tuple_whose_values_have_names(self, client: Any) -> None:
        row, other = client.query(TWO, [0])
        assert row == (1, "a")
        assert (row["i"], row["t"], row[0], row[-1], row[:1]) == (1, "a", 1, "a", (1,))
        assert row.get("t") == "a"
        assert row.get("x", 7) == 7
        assert row.keys() == ("i", "t")
        assert other.to_dict() == {"i": 2, "t": "b"}
        assert repr(other) == "Row(i=2, t='b')"
        assert pickle.loads(pickle.dumps(other))["t"] == "b"

    def test_an_unknown_name_lists_the_columns(self, client: Any) -> None:
        with pytest.raises(KeyError, match='no column "x"; columns: i, t'):
            client.query_one(TWO, [1])["x"]

    def test_a_name_that_columns_share_means_the_first(self, client: Any) -> None:
        row = client.query_one("SELECT 1 AS i, 2 AS i")
        assert (row["i"], tuple(row)) == (1, (1, 2))

    @pytest.mark.parametrize(
        ("into", "expected"),
        [
            (Row, (2, "b")),
            (tuple, (2, "b")),
            (dict, {"i": 2, "t": "b"}),
            (Pair, Pair(2, "b")),
            (Model, Model(i=2, t="b")),
            (lambda i, t: f"{i}{t}", "2b"),
        ],
    )
    def test_rows_become_what_is_asked_for(self, client: Any, into: Any, expected: Any) -> None:
        assert client.query(TWO, [1], into=into) == [expected]
        assert client.query_one(TWO, [1], into=into) == expected
        assert client.query_opt(TWO, [1], into=into) == expected
        assert client.query(TWO, [9], into=into) == []

    def test_columns_have_the_names_of_their_types(self, client: Any) -> None:
        result = client.query_result("SELECT 1::int8 AS a, 'x'::varchar(5) b, 1::numeric(4,2) c")
        assert result.columns == (
            Column("a", 20, "int8"),
            Column("b", 1043, "varchar(5)"),
            Column("c", 1700, "numeric(4,2)"),
        )
        assert result.rows_affected == 1


class TestStatements:
    def test_execute_tells_how_many_rows_it_touched(self, client: Any, table: str) -> None:
        insert = f"INSERT INTO {table} SELECT i, 'x' FROM generate_series(1, $1::int) i"
        assert client.execute(insert, [5]) == 5
        assert client.execute(f"UPDATE {table} SET t = $1 WHERE i < $2", ["y", 3]) == 2
        assert client.execute(f"DELETE FROM {table} WHERE t = 'y'") == 2
        assert client.query_scalar(f"SELECT count(*) FROM {table}") == 3

    def test_returning_returns_rows(self, client: Any, table: str) -> None:
        sql = f"INSERT INTO {table} VALUES ($1, $2) RETURNING i, t"
        assert client.query_one(sql, [1, "x"]) == (1, "x")
        assert client.query_scalar(f"UPDATE {table} SET i = 7 RETURNING i") == 7

    def test_a_percent_sign_is_itself(self, client: Any) -> None:
        assert client.query_scalar("SELECT 5 % 3 FROM (SELECT 1) x WHERE 'ab' LIKE 'a%'") == 2

    @pytest.mark.parametrize("prepare", [None, True, False])
    def test_a_prepared_statement_answers_the_same(self, client: Any, prepare: bool) -> None:
        answers = [client.query_scalar("SELECT $1 + 1", [i], prepare=prepare) for i in range(9)]
        assert answers == list(range(1, 10))

    def test_a_prepared_statement_outlives_a_change_of_its_table(
        self, make_client: MakeClient, client: Any, table: str
    ) -> None:
        one = make_client(pool=PoolConfig(min_size=1, max_size=1))
        sql = f"SELECT * FROM {table} WHERE i = $1"

        def changed(column: str) -> None:
            assert one.query(sql, [1], prepare=True) == one.query(sql, [1]) == []
            client.execute(f"ALTER TABLE {table} ADD COLUMN {column} text")

        changed("c")
        assert one.query_result(sql, [1]).columns[-1].name == "c"
        changed("d")
        with one.transaction() as transaction:
            before = transaction.savepoint("before")
            with pytest.raises(QueryError, match=r"0A000.\n.*run the transaction again"):
                transaction.query(sql, [1])
            transaction.rollback_to(before)
            assert transaction.query_result(sql, [1]).columns[-1].name == "d"
        changed("e")
        with pytest.raises(QueryError, match="0A000"), one.transaction() as transaction:
            transaction.query(sql, [1])
        with one.transaction() as transaction:
            assert transaction.query_result(sql, [1]).columns[-1].name == "e"
        changed("f")
        with pytest.raises(QueryError, match="0A000"):
            one.execute_batch([(sql, [1])])
        assert one.execute_batch([(sql, [1])]) == [0]

    def test_plans_are_forgotten_each_time_also_where_there_were_none(
        self, make_client: MakeClient, client: Any, table: str
    ) -> None:
        one = make_client(pool=PoolConfig(min_size=1, max_size=1))
        sql = f"SELECT * FROM {table} WHERE i = $1"
        for column in "cdefg":
            one.query(sql, [1], prepare=True)
            client.execute(f"ALTER TABLE {table} ADD COLUMN {column} text")
            if column != "g":
                with pytest.raises(QueryError, match="0A000"), one.transaction() as transaction:
                    transaction.query(sql, [1])  # the driver forgets the plans by itself
            assert one.query_result(sql, [1], prepare=True).columns[-1].name == column

    def test_a_statement_that_is_run_again_is_not_prepared(
        self, make_client: MakeClient, client: Any, table: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # As a pooler does that keeps prepared statements of its own.
        monkeypatch.setattr("duckalog.postgres.execution.FORGET_PLANS", "SELECT 1")
        one = make_client(pool=PoolConfig(min_size=1, max_size=1))
        sql = f"SELECT * FROM {table}"
        one.query(sql, prepare=True)
        client.execute(f"ALTER TABLE {table} ADD COLUMN c text")
        assert one.query_result(sql, prepare=True).columns[-1].name == "c"

    def test_prepare_keeps_the_plan_on_the_server(self, make_client: MakeClient) -> None:
        client = make_client(pool=PoolConfig(min_size=1, max_size=1))
        for prepare in (True, False):
            client.query("SELECT 40 + $1::int", [2], prepare=prepare)
        sql = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT 40%'"
        assert client.query_scalar(sql) == 1

    def test_exists_asks_for_no_row(self, client: Any) -> None:
        assert client.exists(TWO, [1])
        assert not client.exists(TWO, [2])
        assert client.exists("SELECT 1 / (2 - i) FROM generate_series(1, 2) i -- one is enough")

    def test_a_semicolon_at_the_end_is_allowed_everywhere(self, client: Any) -> None:
        sql = "SELECT 1 AS i; ;\n"
        assert client.query(sql) == list(client.query_stream(sql)) == [(1,)]
        assert client.exists(sql)
        assert client.exists(SQL("SELECT {};").format(1))
        assert client.query_page(sql, key=["i"]).rows == [(1,)]
        assert client.copy_out(sql, lambda _: None) == 1

    def test_copy_is_told_to_be_done_otherwise(self, client: Any, table: str) -> None:
        for sql in (f"COPY {table} FROM STDIN", f"COPY {table} TO STDOUT"):
            with pytest.raises(QueryError, match="COPY is not run like other statements"):
                client.execute(sql)
        assert client.query_scalar("SELECT 1") == 1

    def test_a_batch_is_done_whole_or_not_at_all(self, client: Any, table: str) -> None:
        insert = f"INSERT INTO {table} VALUES ($1, $2)"
        done = client.execute_batch(
            [(insert, [1, "a"]), (insert, [2, "b"]), f"UPDATE {table} SET t = 'c'"]
        )
        assert done == [1, 1, 2]
        with pytest.raises(IntegrityError) as caught:
            client.execute_batch([(insert, [3, "a"]), (insert, [1, "again"]), (insert, [4, "b"])])
        assert caught.value.constraint == f"{table}_pkey"
        assert client.query(f"SELECT i FROM {table} ORDER BY i") == [(1,), (2,)]

    def test_a_batch_is_no_text(self, client: Any) -> None:
        with pytest.raises(TypeError, match="pass them in a list"):
            client.execute_batch("SELECT 1")

    @pytest.mark.parametrize("params", ["ab", b"ab", {"i": 1}])
    def test_parameters_that_are_no_sequence_are_refused(self, client: Any, params: Any) -> None:
        with pytest.raises(TypeError, match="pass the values in a list or tuple"):
            client.query("SELECT $1", params)


class TestCounts:
    def test_query_one_wants_one(self, client: Any) -> None:
        assert client.query_one(TWO, [1]) == (2, "b")
        with pytest.raises(RowCountError, match="no row"):
            client.query_one(TWO, [2])
        with pytest.raises(RowCountError, match="2 rows, not one"):
            client.query_one(TWO, [0])

    def test_query_opt_takes_none(self, client: Any) -> None:
        assert client.query_opt(TWO, [2]) is None
        with pytest.raises(RowCountError, match="2 rows, not one"):
            client.query_opt(TWO, [0])

    def test_query_scalar_wants_one_value(self, client: Any) -> None:
        assert client.query_scalar("SELECT NULL") is None
        with pytest.raises(RowCountError, match="no row"):
            client.query_scalar(TWO, [2])
        with pytest.raises(RowCountError, match="returns no value"):
            client.query_scalar("DO $$ BEGIN END $$")


class TestErrors:
    def test_the_server_s_reason_is_told_without_the_row_s_values(
        self, client: Any, table: str
    ) -> None:
        insert = f"INSERT INTO {table} VALUES ($1, $2)"
        client.execute(insert, [4711, "a"])
        with pytest.raises(IntegrityError, match=f'unique constraint "{table}_pkey"') as caught:
            client.execute(insert, [4711, "b"])
        error = pickle.loads(pickle.dumps(caught.value))
        assert (error.sqlstate, error.table) == ("23505", table)
        assert "4711" in error.detail
        assert "4711" not in str(error)
        assert caught.value.__cause__ is None

    def test_a_connection_is_as_good_as_new_after_an_error(self, client: Any) -> None:
        with pytest.raises(QueryError, match='syntax error at or near "SELEKT"') as caught:
            client.query("SELEKT 1")
        assert caught.value.sqlstate == "42601"
        assert client.query_scalar("SELECT 1") == 1

    def test_values_that_cannot_be_sent_are_refused(self, client: Any) -> None:
        with pytest.raises(QueryError, match="no type for a value of Python's type object"):
            client.query("SELECT $1", [object()])
        with pytest.raises(QueryError, match="supplies 1 parameters"):
            client.query("SELECT $1, $2", [1])
        with pytest.raises(QueryError, match="NUL"):
            client.query("SELECT $1::text", ["a\0b"])

    def test_a_client_that_is_not_open_says_so(self, make_client: MakeClient) -> None:
        client = make_client(is_open=False)
        with pytest.raises(ClosedError, match="not open"):
            client.query("SELECT 1")
        with client:
            assert client.query_scalar("SELECT 1") == 1
        with pytest.raises(ClosedError, match="not open"):
            client.query("SELECT 1")


class TestLimits:
    def test_a_statement_over_its_limit_is_cancelled_and_the_connection_kept(
        self, make_client: MakeClient
    ) -> None:
        client = make_client(pool=PoolConfig(min_size=1, max_size=1))
        backend = client.query_scalar("SELECT pg_backend_pid()")
        started = time.monotonic()
        with pytest.raises(QueryTimeout, match=r"longer than 0\.2 s: it was cancelled"):
            client.query("SELECT pg_sleep(10)", timeout_s=0.2)
        assert time.monotonic() - started < 1.5
        assert client.query_scalar("SELECT pg_backend_pid()") == backend

    def test_the_client_s_limit_holds_where_a_statement_has_none(
        self, make_client: MakeClient
    ) -> None:
        client = make_client(query_timeout_s=0.2)
        with pytest.raises(QueryTimeout):
            client.execute_batch(["SELECT 1", "SELECT pg_sleep(10)"])
        assert client.query_scalar("SELECT pg_sleep(0.3)::text", timeout_s=math.inf) == ""

    @pytest.mark.parametrize("limit", [0, -1, math.nan])
    def test_a_limit_is_more_than_nothing(self, client: Any, limit: float) -> None:
        with pytest.raises(ValueError, match="expected more than 0"):
            client.query("SELECT 1", timeout_s=limit)

    def test_a_statement_that_waits_for_another_on_its_connection_keeps_its_limit(
        self, client: Any
    ) -> None:
        started = time.monotonic()
        with client.transaction() as shared, ThreadPoolExecutor(1) as threads:
            first = threads.submit(shared.query, "SELECT pg_sleep(0.3)")
            time.sleep(0.1)
            with pytest.raises(QueryTimeout):
                shared.query("SELECT pg_sleep(5)", timeout_s=0.5)
            assert len(first.result()) == 1
            shared.rollback()
        assert time.monotonic() - started < 3


class TestCursors:
    def test_statements_that_share_a_connection_do_not_mix(self, client: Any) -> None:
        numbers = range(400)
        with client.transaction() as shared, ThreadPoolExecutor(8) as threads:
            found = threads.map(
                lambda number: shared.query_scalar(f"SELECT $1 - {number % 3}", [number]), numbers
            )
            assert list(found) == [number - number % 3 for number in numbers]

    def test_an_idle_connection_keeps_neither_results_nor_parameters(
        self, postgres: Postgres
    ) -> None:
        with PgClient("", **stated(postgres)) as client:
            connection = finished(client._acquire())
            finished(run(connection, "SELECT $1::text FROM generate_series(1, 9)", ["x"], None))
            (cursor,) = connection.spare_cursors
            assert cursor.pgresult is None
            assert cursor._query is None
            assert cursor._tx.pgresult.ntuples == 0
            finished(client._release(connection))


def test_the_client_speaks_utf_8_whatever_the_database_s_encoding(
    make_client: MakeClient, postgres: Postgres, face: str
) -> None:
    name = f"latin_{face}"
    how = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    postgres.run(f"CREATE DATABASE {name} {how}")
    client = make_client(database=name)
    assert client.query_one("SELECT 'é' AS \"é\"").to_dict() == {"é": "é"}
    assert client.query_arrow("SELECT 'é' AS \"é\"").to_pylist() == [{"é": "é"}]
    with pytest.raises(QueryError, match="has no equivalent in encoding"):
        client.query("SELECT $1::text", ["日本"])
    client.close()
    postgres.run(f"DROP DATABASE {name}")


class TestInjection:
    def test_hostile_parameters_come_back_as_they_were(self, client: Any) -> None:
        for text in HOSTILE:
            assert client.query_scalar("SELECT $1::text", [text]) == text
            assert client.exists("SELECT 1 WHERE $1::text = $2", [text, text])

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(TEXT, NAME)
    def test_any_parameter_and_any_name_stay_data(self, client: Any, text: str, name: str) -> None:
        name = name.encode()[:63].decode(errors="ignore")  # what PostgreSQL keeps of a name
        row = client.query_one(SQL("SELECT $1::text AS {}").format(Identifier(name)), [text])
        assert row.to_dict() == {name: text}
