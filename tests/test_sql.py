"""SQL text: whatever a user states is data to a real DuckDB, or is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from duckalog import sql, statements
from duckalog.sql import Bound, Spliced, Statement
from tests.hostile import HOSTILE, NAME, TEXT


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        yield connection


def value_of(connection: duckdb.DuckDBPyConnection, expression: str) -> Any:
    (row,) = connection.execute(f"SELECT {expression}").fetchall()
    return row[0]


class TestIdentifier:
    @given(NAME)
    @settings(max_examples=200, deadline=None)
    @example("a" * 100_000)
    def test_duckdb_reads_any_name_back(
        self, connection: duckdb.DuckDBPyConnection, name: str
    ) -> None:
        connection.execute(f"SELECT 1 AS {sql.identifier(name)}")
        assert connection.description is not None
        assert connection.description[0][0] == name

    @pytest.mark.parametrize("name", [one for one in HOSTILE if one])
    def test_a_hostile_name_is_the_name_of_a_view(
        self, connection: duckdb.DuckDBPyConnection, name: str
    ) -> None:
        relation = sql.qualified("main", name)
        connection.execute(statements.create_view(relation, "SELECT 42 AS answer").text)
        found = connection.execute(
            "SELECT count(*) FROM duckdb_views() WHERE view_name = $1", [name]
        ).fetchone()
        assert found == (1,)
        assert connection.execute(sql.select_all(relation)).fetchall() == [(42,)]
        connection.execute(statements.drop_view(relation).text)

    @pytest.mark.parametrize("name", ["", "a\0b"])
    def test_a_name_that_duckdb_cannot_have_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="a name cannot"):
            sql.identifier(name)


class TestSplitName:
    @given(st.lists(NAME, min_size=1, max_size=4))
    @settings(max_examples=200, deadline=None)
    def test_quoted_parts_come_back(self, parts: list[str]) -> None:
        assert sql.split_name(sql.qualified(*parts)) == tuple(parts)

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("orders", ("orders",)),
            ("public.orders", ("public", "orders")),
            ('"odd.schema".table', ("odd.schema", "table")),
            ('a."b""c".d', ("a", 'b"c', "d")),
            ("odd name;--", ("odd name;--",)),
            ("'a'.b", ("'a'", "b")),
        ],
    )
    def test_dots_part_a_name_and_quotes_keep_it_whole(
        self, text: str, parts: tuple[str, ...]
    ) -> None:
        assert sql.split_name(text) == parts

    @pytest.mark.parametrize(
        "text", ["", ".", "a.", ".a", "a..b", '"a', 'a"b', '"a"b', '""', '"".a', 'a."']
    )
    def test_what_is_no_name_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="is not a name"):
            sql.split_name(text)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ('"a', """'"a' is not a name: a double quote is not closed"""),
            ('"a"b', """'"a"b' is not a name: quotes go round a whole part"""),
            ("a.", '"a." is not a name: write table, or schema.table'),
        ],
    )
    def test_it_is_told_why(self, text: str, told: str) -> None:
        with pytest.raises(ValueError, match=f"^{re.escape(told)}"):
            sql.split_name(text)

    @given(TEXT)
    @settings(max_examples=300, deadline=None)
    def test_any_text_is_a_name_or_refused(self, text: str) -> None:
        try:
            parts = sql.split_name(text)
        except ValueError:
            parts = ("refused",)
        assert parts
        assert all(parts)


class TestLiteral:
    @given(TEXT)
    @settings(max_examples=300, deadline=None)
    def test_duckdb_reads_any_text_back(
        self, connection: duckdb.DuckDBPyConnection, text: str
    ) -> None:
        assert value_of(connection, sql.literal(text)) == text

    @pytest.mark.parametrize("text", HOSTILE)
    def test_a_hostile_text_is_only_text(
        self, connection: duckdb.DuckDBPyConnection, text: str
    ) -> None:
        assert value_of(connection, f"{sql.literal(text)} || {sql.literal('!')}") == text + "!"

    @given(st.integers(-(2**126), 2**126) | st.booleans())
    @settings(max_examples=100, deadline=None)
    def test_duckdb_reads_whole_numbers_and_truths_back(
        self, connection: duckdb.DuckDBPyConnection, value: int
    ) -> None:
        found = value_of(connection, sql.literal(value))
        assert found == value
        assert type(found) is type(value)

    @given(st.floats())
    @settings(max_examples=200, deadline=None)
    @example(1e16)
    @example(5e-324)
    @example(0.1 + 0.2)
    @example(-0.00023567109884226387)
    def test_duckdb_reads_any_float_back(
        self, connection: duckdb.DuckDBPyConnection, value: float
    ) -> None:
        found = value_of(connection, f"({sql.literal(value)})::DOUBLE")
        assert found == value or (math.isnan(found) and math.isnan(value))

    @given(st.lists(TEXT, min_size=1) | st.lists(st.lists(st.integers(0, 9), min_size=1)))
    @settings(max_examples=100, deadline=None)
    def test_duckdb_reads_lists_back(
        self, connection: duckdb.DuckDBPyConnection, value: list[Any]
    ) -> None:
        assert value_of(connection, sql.literal(value)) == value

    @given(st.dictionaries(NAME.map(str.lower), TEXT | st.booleans(), min_size=1))
    @settings(max_examples=100, deadline=None)
    def test_duckdb_reads_a_map_back_as_a_struct(
        self, connection: duckdb.DuckDBPyConnection, value: dict[str, Any]
    ) -> None:
        if len({key.casefold() for key in value}) == len(value):
            assert value_of(connection, sql.literal(value)) == value

    def test_an_empty_map_and_a_decimal_have_literals(
        self, connection: duckdb.DuckDBPyConnection
    ) -> None:
        assert value_of(connection, sql.literal({})) == {}
        assert value_of(connection, sql.literal(Decimal("1.50"))) == Decimal("1.50")

    @pytest.mark.parametrize("value", ["a\0", ["a", "\0"], None, [None], {"a": None}, object()])
    def test_what_has_no_literal_is_refused(self, value: object) -> None:
        with pytest.raises(ValueError, match=r"NUL|null|no SQL literal"):
            sql.literal(value)

    def test_map_entries_that_are_sql_stay_sql(self, connection: duckdb.DuckDBPyConnection) -> None:
        assert value_of(connection, sql.map_literal({"1": "'a'", "2": "'b'"})) == {1: "a", 2: "b"}


class TestOptionNames:
    @pytest.mark.parametrize("name", ["header", "_x", "A1"])
    def test_a_plain_word_is_one(self, name: str) -> None:
        assert sql.is_option_name(name)

    @pytest.mark.parametrize("name", ["", "1a", "a b", "a-b", "é", "a;", "a\n", "a=b", '"a"'])
    def test_anything_else_is_none(self, name: str) -> None:
        assert not sql.is_option_name(name)


def libpq_parsed(text: str) -> dict[str, str]:
    """Return what libpq reads in a connection string (PostgreSQL docs, §34.1.1)."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = re.compile(r"\s*(\w+)\s*=\s*'").match(text, position)
        assert match, text[position:]
        position = match.end()
        value = ""
        while text[position] != "'":
            position += text[position] == "\\"
            value += text[position]
            position += 1
        found[match[1]] = value
        position += 1
    return found


@given(st.lists(TEXT, min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_libpq_reads_any_values_back(values: list[str]) -> None:
    text = " ".join(f"k{index}={sql.libpq_value(one)}" for index, one in enumerate(values))
    assert list(libpq_parsed(text).values()) == values


class TestStatement:
    def test_bound_values_are_question_marks_and_never_text(self) -> None:
        one = statements.create_secret(
            "s", "s3", {"key_id": Bound("AKIA", "getenv('K')"), "region": "'x'"}
        )
        assert one.text == (
            "CREATE OR REPLACE SECRET \"s\" (\n    TYPE s3,\n    KEY_ID ?,\n    REGION 'x'\n)"
        )
        assert one.values == ["AKIA"]
        assert "KEY_ID getenv('K')" in one.script
        assert "AKIA" not in one.script + repr(one)

    def test_spliced_text_runs_filled_and_shows_as_written(self) -> None:
        one = sql.statement(Spliced("SET x='secret'", "SET x=getenv('X')"))
        assert one.text == "SET x='secret'"
        assert one.values == []
        assert one.script == "SET x=getenv('X')"
        assert "secret" not in repr(one)

    @pytest.mark.parametrize("name", ["a; DROP TABLE x", 'a"b', "a b"])
    def test_the_name_of_a_setting_is_only_a_name(
        self, connection: duckdb.DuckDBPyConnection, name: str
    ) -> None:
        one = statements.set_option(name, sql.literal(1))
        with pytest.raises(duckdb.CatalogException, match="unrecognized configuration parameter"):
            connection.execute(one.text)

    def test_a_setting_takes_a_bound_value(self, connection: duckdb.DuckDBPyConnection) -> None:
        one = statements.set_option("threads", Bound(1, "1"))
        connection.execute(one.text, one.values)
        assert value_of(connection, "current_setting('threads')") == 1

    @pytest.mark.parametrize("comment", [*HOSTILE, None])
    def test_comments_come_back(
        self, connection: duckdb.DuckDBPyConnection, comment: str | None
    ) -> None:
        connection.execute(statements.create_view('"v"', "SELECT 1 AS a").text)
        connection.execute(statements.comment_on_view('"v"', comment).text)
        connection.execute(statements.comment_on_column('"v"', "a", comment).text)
        stored = connection.execute(
            "SELECT v.comment, c.comment FROM duckdb_views() v, duckdb_columns() c"
            " WHERE view_name = 'v' AND table_name = 'v'"
        ).fetchone()
        assert stored == (comment, comment)

    @pytest.mark.parametrize("query", ["SELECT 1 --", "SELECT 1 -- end", "SELECT '--'", "FROM t"])
    def test_a_script_ends_each_query_whatever_ends_the_query(
        self, connection: duckdb.DuckDBPyConnection, query: str
    ) -> None:
        text = sql.script([statements.create_view('"v"', query), statements.drop_view('"v"')])
        kinds = [one.type.name for one in connection.extract_statements(text)]
        assert kinds == ["CREATE", "DROP"]

    def test_install_and_load_name_extensions_or_files(self) -> None:
        assert statements.load("httpfs").text == 'LOAD "httpfs"'
        assert (
            statements.load("/a/it's.duckdb_extension").text == "LOAD '/a/it''s.duckdb_extension'"
        )
        assert (
            statements.install("spatial", "community").text == 'INSTALL "spatial" FROM "community"'
        )

    def test_attach_states_the_access(self) -> None:
        assert statements.attach("'a.db'", 'x"y', {"type": "sqlite"}, read_only=True).text == (
            'ATTACH IF NOT EXISTS \'a.db\' AS "x""y" (TYPE sqlite, READ_ONLY)'
        )
        assert statements.attach("'a'", "x", {}, read_only=False).text.endswith("(READ_WRITE)")

    def test_time_travel_clauses_hold_only_numbers_and_literals(self) -> None:
        assert sql.at_version(12) == " AT (VERSION => 12)"
        assert sql.at_timestamp("2026'") == " AT (TIMESTAMP => '2026'''::TIMESTAMP)"

    @given(TEXT)
    @settings(max_examples=200, deadline=None)
    def test_a_line_comment_holds_any_text(
        self, connection: duckdb.DuckDBPyConnection, text: str
    ) -> None:
        assert value_of(connection, f"{sql.line_comment(text)}42") == 42


def test_an_environment_expression_joins_texts_and_variables() -> None:
    assert sql.environment_expression([("it's ", False), ("A", True)]) == "'it''s ' || getenv('A')"
    assert sql.environment_expression([]) == "''"


def test_a_statement_is_its_parts() -> None:
    assert sql.statement("a", "b") == Statement(("a", "b"))
