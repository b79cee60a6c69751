"""Each type of PostgreSQL in and out, as Python's and as Arrow's, against PostgreSQL's own text."""

from __future__ import annotations

import sys
from datetime import timezone
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pytest

from duckalog.postgres import PgError, QueryError
from tests.conftest import ROOT
from tests.postgres.faces import MakeClient
from tests.postgres.type_table import (
    DDL,
    OUTSIDE,
    TWO_DIMENSIONS,
    TYPES,
    Type,
    markdown,
    sql_name,
)
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.servers


@pytest.fixture(scope="session", autouse=True)
def types(postgres: Postgres, database: str) -> None:
    postgres.run(DDL, database)


@pytest.fixture(scope="session")
def known(postgres: Postgres, database: str, types: None) -> list[Type]:  # noqa: ARG001
    """The types that the server has."""
    found = []
    with postgres.connect(database) as connection:
        for one in TYPES:
            if one.since <= connection.info.server_version // 10000:
                try:
                    connection.execute(f"SELECT {literal(one)}")
                except psycopg.errors.FeatureNotSupported:
                    continue  # XML, where the server was built without
                found.append(one)
    assert len(found) > len(TYPES) - 3
    return found


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def literal(one: Type) -> str:
    return f"{quoted(one.literal)}::{sql_name(one.name)}"


def test_a_query_returns_the_value_of_each_type(client: Any, known: list[Type]) -> None:
    for one in known:
        value = client.query_scalar(f"SELECT {literal(one)}")
        assert (repr(value), type(value)) == (repr(value_in_utc(one)), type(one.value)), one.name
        assert client.query_scalar(f"SELECT NULL::{sql_name(one.name)}") is None


def value_in_utc(one: Type) -> Any:
    if one.name == "timestamp with time zone":
        return one.value.astimezone(timezone.utc)
    return one.value


def test_a_parameter_of_each_type_means_what_its_text_does(client: Any, known: list[Type]) -> None:
    for one in known:
        name = sql_name(one.name)
        row = client.query_one(f"SELECT $1::{name}::text, {literal(one)}::text", [one.parameter])
        assert row[0] == row[1], one.name


@pytest.mark.parametrize("form", ["text", "binary"])
def test_a_value_of_each_type_is_copied_as_it_is(client: Any, known: list[Type], form: str) -> None:
    refused = []
    with client.transaction() as transaction:
        for one in known:
            transaction.execute("DROP TABLE IF EXISTS copied")
            transaction.execute(f"CREATE TEMP TABLE copied (c {sql_name(one.name)})")
            before = transaction.savepoint("before")
            try:
                transaction.copy_rows("copied", ["c"], [[one.parameter], [None]], format=form)
            except PgError:
                refused.append(one.name)
                transaction.rollback_to(before)
                continue
            texts = transaction.query(f"SELECT c::text, {literal(one)}::text FROM copied")
            assert [(row[0] in (None, row[1])) for row in texts] == [True, True], one.name
            assert [row[0] is None for row in texts] == [False, True]
    binary_as_text = {  # what is text in Python has no binary form there
        one.name for one in known if isinstance(one.parameter, str) and one.arrow == "string"
    }
    assert set(refused) <= (binary_as_text if form == "binary" else set())


def test_arrow_has_the_value_of_each_type(client: Any, known: list[Type]) -> None:
    for one in known:
        table = client.query_arrow(
            f"SELECT {literal(one)} AS c UNION ALL SELECT NULL::{sql_name(one.name)}"
        )
        assert shown_type(table.schema.field("c").type) == one.arrow, one.name
        value, nothing = table.column("c").to_pylist()
        assert nothing is None
        expected = one.from_arrow
        assert (repr(value) == repr(expected)) or value == expected, one.name


def shown_type(kind: Any) -> str:
    return str(kind).replace("extension<arrow.json[storage_type=string]>", "extension<arrow.json>")


@pytest.mark.parametrize(("name", "text", "kind"), OUTSIDE)
def test_a_value_that_python_has_none_for_is_told_with_its_column(
    client: Any, name: str, text: str, kind: str
) -> None:
    sql = f"SELECT 1 AS i, '{text}'::{name} AS \"When\""
    for ask in (
        lambda: client.query(sql),
        lambda: list(client.query_stream(sql)),
    ):
        with pytest.raises(QueryError) as failure:
            ask()
        (problem,) = failure.value.problems
        assert problem.message.startswith('column "When": Python has no ')
        assert problem.message.endswith(f"like this: {kind}")
        assert problem.remedy == 'Take it as text: "When"::text.'
    assert client.query_scalar(f"SELECT '{text}'::{name}::text")


@pytest.mark.parametrize(("name", "text", "kind"), OUTSIDE)
def test_arrow_gets_it_as_its_text_or_tells(client: Any, name: str, text: str, kind: str) -> None:
    sql = f"SELECT '{text}'::{name} AS c"
    if name == "time with time zone":
        assert client.query_arrow(sql).to_pylist() == [{"c": "24:00:00+00"}]
        return
    with pytest.raises(QueryError, match=f'column "c": .* like this: {kind}'):
        client.query_arrow(sql)


def test_what_arrow_alone_cannot_hold_is_told_with_its_column(client: Any) -> None:
    name, text, value = TWO_DIMENSIONS
    assert client.query_scalar(f"SELECT '{text}'::{name}") == value
    assert client.query_scalar(f"SELECT $1::{name}::text", [value]) == text
    with pytest.raises(QueryError, match=r'column "c".*an array of several dimensions'):
        client.query_arrow(f"SELECT '{text}'::{name} AS c")
    with pytest.raises(QueryError, match=r'column "c".*numeric\(5,2\).*NaN or infinity'):
        client.query_arrow("SELECT 'NaN'::numeric(5,2) AS c")


def test_a_month_is_30_days_in_python_and_a_month_in_arrow(client: Any) -> None:
    sql = "SELECT interval '1 year 1 mon' AS c"
    assert client.query_scalar(sql).days == 395
    assert client.query_arrow(sql).to_pylist() == [{"c": "1 year 1 mon"}]


def test_a_numeric_of_more_digits_than_arrow_s_is_text(client: Any) -> None:
    found = client.query_arrow("SELECT '1.5'::numeric(80,2) AS c")
    assert found.to_pylist() == [{"c": "1.50"}]


class TestArrow:
    MANY = "SELECT i, 'text ' || i AS t FROM generate_series(1, $1::int) i"

    def test_rows_become_a_table(self, client: Any) -> None:
        table = client.query_arrow(self.MANY, [25_000])
        assert isinstance(table, pa.Table)
        assert table.num_rows == 25_000
        assert table.slice(24_999).to_pylist() == [{"i": 25_000, "t": "text 25000"}]

    def test_no_row_has_the_same_types(self, client: Any) -> None:
        assert (
            client.query_arrow(self.MANY, [0]).schema == client.query_arrow(self.MANY, [1]).schema
        )
        assert client.query_arrow("CREATE TEMP TABLE gone ()").num_columns == 0

    def test_a_transaction_sees_its_own_rows(self, client: Any, table: str) -> None:
        with client.transaction() as transaction:
            transaction.execute(f"INSERT INTO {table} VALUES (1, 'a')")
            found = transaction.query_arrow(f"SELECT * FROM {table}")
        assert found.to_pylist() == [{"i": 1, "t": "a"}]

    def test_names_may_repeat(self, client: Any) -> None:
        found = client.query_arrow("SELECT 1 AS a, 2 AS a")
        assert [column.to_pylist() for column in found.columns] == [[1], [2]]

    def test_a_stream_yields_batches(self, client: Any) -> None:
        batches = list(client.query_arrow_stream(self.MANY, [2500], fetch_size=1000))
        assert [batch.num_rows for batch in batches] == [1000, 1000, 500]
        assert batches[0].schema == client.query_arrow(self.MANY, [0]).schema

    def test_a_reader_is_an_arrow_stream_of_the_blocking_client(
        self, make_client: MakeClient
    ) -> None:
        client = make_client()
        stream = client.query_arrow_stream(self.MANY, [2500], fetch_size=1000)
        if hasattr(stream, "_inner"):
            with pytest.raises(TypeError, match="async for"):
                stream.to_reader()
            return
        found = duckdb.from_arrow(stream.to_reader()).aggregate("count(*), max(i)")
        assert found.fetchone() == (2500, 2500)

    def test_a_reader_that_nobody_reads_gives_its_connection_back(
        self, make_client: MakeClient
    ) -> None:
        stream = make_client().query_arrow_stream(self.MANY, [2500])
        if not hasattr(stream, "_inner"):
            assert stream.to_reader().schema.names == ["i", "t"]
            assert not stream.is_open

    def test_masked_columns_are_text(self, make_client: MakeClient) -> None:
        client = make_client(masks={"i": lambda _: "***"})
        assert client.query_arrow(self.MANY, [1]).to_pylist() == [{"i": "***", "t": "text 1"}]

    def test_an_error_of_the_server_is_the_client_s(self, client: Any) -> None:
        with pytest.raises(QueryError) as failure:
            client.query_arrow("SELECT 1 / 0")
        assert failure.value.sqlstate == "22012"

    def test_without_pyarrow_the_extra_is_named(
        self, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(PgError, match=r"Arrow needs pyarrow") as failure:
            client.query_arrow("SELECT 1")
        assert "duckalog[arrow]" in failure.value.problems[0].remedy


def test_the_documentation_has_this_table() -> None:
    text = (ROOT / "docs" / "postgres.md").read_text(encoding="utf-8")
    assert markdown(TYPES) in text, markdown(TYPES)


def test_a_server_with_hstore_gives_its_text(postgres: Postgres, client: Any) -> None:
    with postgres.connect() as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_available_extensions WHERE name = 'hstore'"
        ).fetchone()
    assert found
    if found[0]:
        client.execute("CREATE EXTENSION IF NOT EXISTS hstore")
        sql = "SELECT 'a=>1'::hstore AS c"
        assert client.query_scalar(sql) == '"a"=>"1"'
        assert client.query_arrow(sql).to_pylist() == [{"c": '"a"=>"1"'}]
