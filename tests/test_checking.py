"""Checks run on built catalogs: their verdicts, samples, sources that are gone or slow."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click.testing
import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import duckalog
from duckalog.cli.group import cli
from tests import tables
from tests.conftest import WriteConfig
from tests.hostile import HOSTILE, NAME

Check = dict[str, Any]

ROWS = """\
SELECT * FROM (VALUES
    (1, 'open', 10.0, 'a@x', 1), (2, 'open', -1, 'b@x', 2), (2, 'lost', 5, NULL, 9),
    (NULL, NULL, NULL, 'd@x', NULL)
) t(id, status, price, email, customer)
"""


def catalog(*checks: Check, sql: str = ROWS, **view: Any) -> str:
    """Return a config of the view `sales.orders`, with these checks, and `main.customers`."""
    orders = {"name": "orders", "schema": "sales", "sql": sql, "checks": checks, **view}
    customers = {"name": "customers", "sql": "SELECT unnest([1, 2]) AS id"}
    config = {"version": 1, "duckdb": {"database": "c.duckdb"}, "views": [orders, customers]}
    return json.dumps(config)


def verdicts_on(path: Path, **options: Any) -> list[duckalog.Verdict]:
    """Return the verdicts on the declared checks of the first view, after a build."""
    duckalog.build(path)
    report = duckalog.check(path, select=["sales.orders"], **options)
    return [one for one in report.verdicts if one.name != "answers"]


@pytest.mark.parametrize(
    ("check", "failing_rows", "message"),
    [
        ({"type": "row_count", "min": 4, "max": 4}, None, ""),
        ({"type": "row_count", "min": 5}, None, "4 rows, and the fewest is 5"),
        ({"type": "row_count", "max": 3}, None, "4 rows, and the most is 3"),
        ({"type": "not_null", "columns": "ID"}, 1, "1 row: NULL in ID"),
        ({"type": "not_null", "columns": ["id", "email"]}, 2, "2 rows: NULL in id or email"),
        ({"type": "unique", "columns": "id"}, 2, "2 rows: the same id as others (1 value)"),
        ({"type": "unique", "columns": ["id", "status"]}, 0, ""),
        ({"type": "accepted_values", "column": "status", "values": ["open", "lost"]}, 0, ""),
        (
            {"type": "accepted_values", "column": "status", "values": ["it's"]},
            3,
            "3 rows: another value in status",
        ),
        ({"type": "accepted_values", "column": "price", "values": [10, -1, 5.0]}, 0, ""),
        (
            {"type": "relationships", "column": "customer", "to": "customers", "field": "id"},
            1,
            "1 row: a customer that customers.id does not have",
        ),
        ({"type": "relationships", "column": "id", "to": "orders", "field": "id"}, 0, ""),
        (
            {"type": "expression", "expression": "price > 0"},
            2,
            "2 rows: the expression is not true",
        ),
        ({"type": "expression", "expression": "price > 0 OR id = 2 OR price IS NULL"}, 0, ""),
        ({"type": "expression", "expression": "EXISTS (FROM customers)"}, 0, ""),
        ({"type": "sql", "sql": "FROM orders WHERE id = 2;"}, 2, "2 rows: the query returns them"),
        ({"type": "sql", "sql": "SELECT 1 WHERE false -- nothing"}, 0, ""),
        ({"type": "schema"}, None, ""),
        ({"type": "schema", "columns": {"ID": "int", "email": "text"}}, None, ""),
        (
            {"type": "schema", "columns": {"id": "BIGINT", "sum": "INT"}},
            None,
            "id is INTEGER, not BIGINT; there is no column sum",
        ),
        (
            {"type": "schema", "columns": {"id": "INT"}, "exact": True},
            None,
            "status is not declared; price is not declared; email is not declared;"
            " customer is not declared",
        ),
    ],
)
def test_a_check_finds_what_fails(
    check: Check, failing_rows: int | None, message: str, write_config: WriteConfig
) -> None:
    (verdict,) = verdicts_on(write_config(catalog(check)))
    assert verdict.problem is None
    assert (verdict.failing_rows, verdict.message) == (failing_rows, message)
    assert verdict.passed == (not message)


def test_columns_in_another_order_are_not_exact(write_config: WriteConfig) -> None:
    check = {"type": "schema", "columns": {"b": "INT", "a": "INT"}, "exact": True}
    (verdict,) = verdicts_on(write_config(catalog(check, sql="SELECT 1 AS a, 2 AS b")))
    assert verdict.message == "the order is a, b"


@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMPTZ", "DATE", "TIMESTAMP_S"])
@pytest.mark.parametrize(("age", "passed"), [("1 hour", True), ("5 days", False)])
def test_freshness_is_of_any_type_of_time(
    kind: str, age: str, passed: bool, write_config: WriteConfig
) -> None:
    check = {"type": "freshness", "column": "at", "max_age": "2 days 1h"}
    sql = f"SELECT ((now() AT TIME ZONE 'UTC') - INTERVAL '{age}')::TIMESTAMP::{kind} AS at"
    (verdict,) = verdicts_on(write_config(catalog(check, sql=f"{sql} UNION ALL SELECT NULL")))
    assert verdict.passed == passed
    assert passed or "old, and 2 days 1h is allowed" in verdict.message


def test_a_view_without_a_time_is_not_fresh(write_config: WriteConfig) -> None:
    check = {"type": "freshness", "column": "at", "max_age": "1h"}
    (verdict,) = verdicts_on(write_config(catalog(check, sql="SELECT NULL::TIMESTAMP AS at")))
    assert verdict.message == "no row has a time in at"


def test_every_wrong_column_is_told_at_once_and_keeps_no_other_check(
    write_config: WriteConfig,
) -> None:
    checks: list[Check] = [
        {"type": "unique", "columns": "emial"},
        {"type": "not_null", "columns": ["id", "nope"]},
        {"type": "row_count", "min": 1},
        {"type": "schema", "columns": {"id": "NOTYPE"}},
    ]
    unique, not_null, row_count, schema = verdicts_on(write_config(catalog(*checks)))
    assert row_count.passed
    assert unique.problem
    assert not_null.problem
    assert schema.problem
    assert unique.problem.message == 'the view has no column "emial"'
    assert unique.problem.remedy.startswith('Did you mean "email"?')
    assert not_null.problem.message == 'the view has no column "nope"'
    assert schema.problem.message == 'there is no type "NOTYPE", declared for the column "id"'


def test_a_check_that_duckdb_refuses_keeps_those_of_the_same_scan(
    write_config: WriteConfig,
) -> None:
    checks = [
        {"type": "expression", "expression": one} for one in ("nope", "count(*) > 1", "id = id")
    ]
    column, total, fine = verdicts_on(write_config(catalog(*checks)))
    assert column.problem
    assert total.problem
    assert 'column "nope" not found' in column.problem.cause
    assert total.status == "not run"
    assert fine.status == "failed"


class TestSamples:
    CHECK: Check = {"type": "not_null", "columns": "id"}

    def test_failing_rows_are_shown_as_text(self, write_config: WriteConfig) -> None:
        (verdict,) = verdicts_on(write_config(catalog(self.CHECK)))
        assert verdict.sample
        assert verdict.sample.columns == ("id", "status", "price", "email", "customer")
        assert verdict.sample.rows == ((None, None, None, "d@x", None),)
        assert verdict.sql == 'SELECT * FROM "sales"."orders" WHERE "id" IS NULL'

    @pytest.mark.parametrize(("sample", "rows"), [(3, 3), (100, 50)])
    def test_there_are_at_most_so_many(
        self, sample: int, rows: int, write_config: WriteConfig
    ) -> None:
        path = write_config(catalog(self.CHECK, sql="SELECT NULL AS id FROM range(50)"))
        (verdict,) = verdicts_on(path, sample=sample)
        assert verdict.sample
        assert len(verdict.sample.rows) == rows
        assert verdict.failing_rows == 50

    def test_none_are_asked_for_none(self, write_config: WriteConfig) -> None:
        (verdict,) = verdicts_on(write_config(catalog(self.CHECK)), sample=0)
        assert (verdict.sample, verdict.withheld) == (None, "")

    def test_a_long_value_is_cut(self, write_config: WriteConfig) -> None:
        path = write_config(catalog(self.CHECK, sql="SELECT NULL AS id, repeat('x', 9999) AS long"))
        (verdict,) = verdicts_on(path)
        assert verdict.sample
        assert len(verdict.sample.rows[0][1] or "") == 200

    def test_rows_of_a_sensitive_view_are_not_shown(self, write_config: WriteConfig) -> None:
        path = write_config(catalog(self.CHECK, tags=["Sensitive"]))
        (verdict,) = verdicts_on(path)
        assert (verdict.sample, verdict.withheld) == (None, "the view is tagged sensitive")
        assert verdict.failing_rows == 1

    def test_sensitive_columns_are_left_out(self, write_config: WriteConfig) -> None:
        columns = {"EMAIL": {"tags": ["sensitive"]}}
        sql = {"type": "sql", "sql": "SELECT email AS other FROM orders"}
        unique = {"type": "unique", "columns": ["email"]}
        path = write_config(
            catalog(self.CHECK, sql, unique, sql=f"{ROWS} UNION ALL {ROWS}", columns=columns)
        )
        not_null, query, twice = verdicts_on(path)
        assert not_null.sample
        assert twice.sample
        assert "email" not in not_null.sample.columns
        assert not_null.withheld == "tagged sensitive: email"
        assert twice.sample.columns == ("rows",)
        assert (query.sample, query.withheld) == (None, "a column of the view is tagged sensitive")
        assert "@x" not in repr([not_null, query, twice])

    def test_nor_are_they_told_by_an_error(self, write_config: WriteConfig) -> None:
        check = {"type": "expression", "expression": "email::DATE > '2020-01-01'"}
        columns = {"email": {"tags": ["sensitive"]}}
        (verdict,) = verdicts_on(write_config(catalog(check, columns=columns)))
        assert verdict.problem
        assert "Conversion Error" in verdict.problem.cause
        assert "@x" not in repr(verdict)

    def test_a_secret_of_the_environment_is_not_in_them(
        self, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DW_PASSWORD", "hunter2hunter2")
        sql = "SELECT NULL AS id, repeat('x', 195) || reverse('2retnuh2retnuh') AS x"
        config = json.loads(catalog(self.CHECK, sql=sql))
        path = write_config(json.dumps(config))
        duckalog.build(path)
        config["attachments"] = {
            "postgres": [
                {
                    "alias": "dw",
                    "host": "127.0.0.1",
                    "port": 1,
                    "database": "dw",
                    "user": "reader",
                    "password": "${env:DW_PASSWORD}",
                }
            ]
        }
        path.write_text(json.dumps(config))
        report = duckalog.check(path, select=["sales.orders"])
        (verdict,) = [one for one in report.verdicts if one.sample]
        assert verdict.sample
        assert "x${en" in (verdict.sample.rows[0][1] or "")
        assert "hunter2" not in repr(report)


def test_names_may_be_any(tmp_path: Path) -> None:
    names = [name for name in HOSTILE if name]

    @settings(
        max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.tuples(NAME, NAME) | st.tuples(*[st.sampled_from(names)] * 2))
    def check_names(odd: tuple[str, str]) -> None:
        column, view = odd
        checks: list[Check] = [
            {"type": "not_null", "columns": column},
            {"type": "unique", "columns": [column]},
            {"type": "accepted_values", "column": column, "values": [column]},
            {"type": "relationships", "column": column, "to": "base", "field": "x"},
        ]
        quoted = '"' + column.replace('"', '""') + '"'
        text = "'" + column.replace("'", "''") + "'"
        config = {
            "version": 1,
            "duckdb": {"database": ":memory:"},
            "views": [
                {"name": "base", "sql": f"SELECT {text} AS x"},
                {"name": f"v{view}", "sql": f"SELECT x AS {quoted} FROM base", "checks": checks},
            ],
        }
        path = tmp_path / "c.json"
        path.write_text(json.dumps(config), "utf-8")
        report = duckalog.check(path)
        assert [one.message for one in report.verdicts if not one.passed] == []

    check_names()


class TestSchemaDrift:
    def write(self, folder: Path, rows: str) -> None:
        tables.write_parquet(folder / "orders.parquet", rows)

    def test_columns_that_changed_since_the_last_build_fail(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        self.write(tmp_path, "SELECT 1 AS a, 'x' AS b")
        view = {
            "name": "orders",
            "source": "parquet",
            "uri": "orders.parquet",
            "checks": [{"type": "schema"}],
        }
        path = write_config(
            json.dumps({"version": 1, "duckdb": {"database": "c.duckdb"}, "views": [view]})
        )
        duckalog.build(path)
        assert duckalog.check(path).passed
        self.write(tmp_path, "SELECT 1::BIGINT AS a, 'x' AS c")
        for _ in range(2):  # DuckDB 1.5 takes the new columns for its own once it has read them
            report = duckalog.check(path)
            (verdict,) = [one for one in report.verdicts if one.kind == "schema"]
            assert verdict.status == "failed"
            assert "last build" in verdict.message
        with duckalog.connect(path) as connection:
            step = duckalog.load_plan(path).views[0].checks[1]
            assert duckalog.run_check(connection, step).status == "failed"


class TestSources:
    def config(self, write_config: WriteConfig, **section: Any) -> Path:
        views: list[dict[str, Any]] = [
            {"name": "orders", "source": "sqlite", "database": "crm", "table": "orders"},
            {"name": "sums", "sql": "SELECT count(*) AS n FROM orders"},
            {
                "name": "own",
                "sql": "SELECT 1 AS id",
                "checks": [
                    {"type": "unique", "columns": "id"},
                    {"type": "relationships", "column": "id", "to": "sums", "field": "n"},
                ],
            },
        ]
        config = {
            "version": 1,
            "duckdb": {"database": "c.duckdb", **section},
            "attachments": {"duckdb": [{"alias": "crm", "path": "crm.duckdb"}]},
            "views": [{**views[0], "source": "duckdb"}, *views[1:]],
        }
        return write_config(json.dumps(config))

    def built(self, write_config: WriteConfig, tmp_path: Path, **section: Any) -> Path:
        with duckdb.connect(str(tmp_path / "crm.duckdb")) as connection:
            connection.execute("CREATE TABLE orders AS SELECT 1 AS id")
        path = self.config(write_config, **section)
        duckalog.build(path)
        return path

    def test_a_database_that_is_gone_keeps_only_what_reads_it(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        path = self.built(write_config, tmp_path)
        assert duckalog.check(path).passed
        (tmp_path / "crm.duckdb").unlink()
        report = duckalog.check(path)
        assert not report.passed
        assert {(one.subject, one.name): one.status for one in report.verdicts} == {
            ("attachment:crm", "reachable"): "not run",
            ("view:main.orders", "answers"): "not run",
            ("view:main.sums", "answers"): "not run",
            ("view:main.own", "answers"): "passed",
            ("view:main.own", "unique_id"): "passed",
            ("view:main.own", "relationships_id_sums"): "not run",
        }
        first, view, *_ = report.verdicts
        assert first.problem
        assert "there is no file" in first.problem.message
        assert view.message == 'the attachment "crm" cannot be reached'

    def test_views_that_do_not_need_it_are_checked_without_it(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        path = self.built(write_config, tmp_path)
        (tmp_path / "crm.duckdb").unlink()
        text = (
            path.read_text()
            .replace('"to": "sums"', '"to": "own"')
            .replace('"field": "n"', '"field": "id"')
        )
        path.write_text(text)
        report = duckalog.check(path, select=["OWN"])
        assert report.passed
        assert {one.subject for one in report.verdicts} == {"view:main.own"}

    def test_a_setting_that_fails_is_told(self, write_config: WriteConfig, tmp_path: Path) -> None:
        path = self.built(write_config, tmp_path)
        path.write_text(
            path.read_text().replace(
                '"database": "c.duckdb"', '"database": "c.duckdb", "settings": {"nope": 1}', 1
            )
        )
        report = duckalog.check(path)
        assert not report.passed
        assert "nope" in str(report.problems[0])
        assert not [one for one in report.verdicts if one.subject == "view:main.own" and one.passed]

    def test_a_view_that_is_not_built_is_told(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        path = self.built(write_config, tmp_path)
        path.write_text(path.read_text().replace('"own"', '"newer"'))
        report = duckalog.check(path, select=["newer"])
        assert {one.message for one in report.verdicts[1:]} == {"the view is not built yet"}

    def test_a_view_that_is_unknown_is_told(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        path = self.built(write_config, tmp_path)
        with pytest.raises(duckalog.ConfigError, match='Did you mean "own"'):
            duckalog.check(path, select=["owm"])

    def test_a_catalog_that_is_not_built_is_told(self, write_config: WriteConfig) -> None:
        with pytest.raises(duckalog.EngineError, match="the catalog is not built yet"):
            duckalog.check(self.config(write_config))

    def test_a_slow_view_does_not_keep_the_others(self, write_config: WriteConfig) -> None:
        path = write_config(
            json.dumps(
                {
                    "version": 1,
                    "duckdb": {"database": "c.duckdb"},
                    "views": [
                        {
                            "name": "slow",
                            "sql": "SELECT sum(a.range * b.range) AS s"
                            " FROM range(10000000) a, range(10000000) b",
                            "checks": [{"type": "row_count", "min": 1}],
                        },
                        {"name": "quick", "sql": "SELECT 1 AS id"},
                    ],
                }
            )
        )
        duckalog.build(path)
        start = time.monotonic()
        report = duckalog.check(path, timeout_s=1)
        assert time.monotonic() - start < 10
        answers, row_count, quick = report.verdicts
        assert answers.problem
        assert row_count.problem
        assert answers.problem.cause == "no answer within 1 s"
        assert row_count.message == "the view does not answer"
        assert quick.passed

    @pytest.mark.servers
    def test_a_server_that_never_answers_does_not_keep_the_others(
        self, write_config: WriteConfig, silent_server: str, tmp_path: Path
    ) -> None:
        tables.write_parquet(tmp_path / "a.parquet", "SELECT 1 AS id")
        config = {
            "version": 1,
            "duckdb": {"database": "c.duckdb", "load_extensions": ["httpfs"]},
            "views": [
                {"name": "far", "sql": "FROM read_parquet('a.parquet')"},
                {"name": "near", "sql": "SELECT 1 AS id"},
            ],
        }
        path = write_config(json.dumps(config))
        duckalog.build(path)
        with duckdb.connect(str(tmp_path / "c.duckdb")) as connection:
            tables.load_extensions(connection, "httpfs")
            connection.execute(
                "CREATE OR REPLACE TEMP MACRO read_parquet(x) AS TABLE SELECT 1 AS id"
            )
            connection.execute(
                f"CREATE OR REPLACE VIEW far AS FROM read_parquet('{silent_server}')"
            )
        start = time.monotonic()
        far, near = duckalog.check(path, timeout_s=1).verdicts
        assert time.monotonic() - start < 10
        assert far.problem
        assert far.problem.cause == "no answer within 1 s"
        assert near.passed

    @pytest.mark.servers
    def test_a_catalog_that_never_answers_does_not_keep_the_others(
        self, write_config: WriteConfig, silent_server: str
    ) -> None:
        views = "views: [{name: near, sql: SELECT 1 AS id}]\n"
        head = f"version: 1\nduckdb: {{database: c.duckdb}}\n{views}"
        duckalog.build(write_config(head))
        path = write_config(f"""\
{head}iceberg_catalogs:
- {{name: far, catalog_type: rest, uri: "{silent_server}", warehouse: w, options: {{token: x}}}}
""")
        start = time.monotonic()
        far, near = duckalog.check(path, timeout_s=1).verdicts
        assert time.monotonic() - start < 8  # HTTP's own limit: closing would wait for it
        assert far.message == "the database gives no answer within 1 s"
        assert near.passed


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Yield the URL of a file on a server that takes connections and never says anything."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/a.parquet"
        server.shutdown(socket.SHUT_RDWR)
    for one in taken:
        one.close()


class TestRunCheck:
    def test_one_check_runs_on_a_connection(self, write_config: WriteConfig) -> None:
        path = write_config(
            catalog({"type": "sql", "sql": "FROM orders JOIN customers USING (id)"})
        )
        duckalog.build(path)
        plan = duckalog.load_plan(path)
        with duckalog.connect(path) as connection:
            connection.execute("SET search_path = 'sales'")
            found = [
                duckalog.run_check(connection, step, sample=1) for step in plan.views[0].checks
            ]
            assert connection.execute("SELECT current_setting('search_path')").fetchone() == (
                "sales",
            )
        assert [(one.name[:3], one.status) for one in found] == [
            ("ans", "passed"),
            ("sql", "failed"),
        ]
        assert found[1].sample
        assert len(found[1].sample.rows) == 1

    def test_a_plan_in_memory_is_built_and_checked(self, write_config: WriteConfig) -> None:
        path = write_config(catalog({"type": "unique", "columns": "id"}))
        report = duckalog.check(path, ":memory:")
        assert report.count("failed") == 1


class TestCommand:
    def run(self, path: Path, *options: str) -> click.testing.Result:
        return click.testing.CliRunner().invoke(cli, ["check", str(path), *options])

    def test_it_exits_with_1_where_an_error_fails(self, write_config: WriteConfig) -> None:
        path = write_config(catalog({"type": "unique", "columns": "id"}))
        duckalog.build(path)
        result = self.run(path)
        assert result.exit_code == 1
        assert "✗ sales.orders: unique_id (" in result.output
        assert "    id  rows\n    2   2\n" in result.output
        assert "2 passed, 1 failed" in result.output

    def test_it_exits_with_0_where_only_warnings_do(self, write_config: WriteConfig) -> None:
        check = {"type": "unique", "columns": "id", "severity": "warn", "description": "Why"}
        path = write_config(catalog(check))
        duckalog.build(path)
        result = self.run(path, "--verbose")
        assert result.exit_code == 0
        assert "! sales.orders: unique_id (" in result.output
        assert "\n    Why\n" in result.output
        assert "✓ customers: answers" in result.output

    def test_json_has_all_of_it(self, write_config: WriteConfig) -> None:
        path = write_config(
            catalog({"type": "unique", "columns": "nope"}, {"type": "row_count", "max": 1})
        )
        duckalog.build(path)
        document = json.loads(self.run(path, "--json", "--select", "sales.orders").output)
        assert not document["ok"]
        answers, unique, row_count = document["checks"]
        assert answers["status"] == "passed"
        assert unique["problem"]["message"] == 'the view has no column "nope"'
        assert row_count["message"] == "4 rows, and the most is 1"
        assert row_count["line"]

    def test_control_characters_do_not_reach_the_terminal(self, write_config: WriteConfig) -> None:
        sql = "SELECT NULL AS id, chr(27) || '[2J' AS x"
        path = write_config(catalog({"type": "not_null", "columns": "id"}, sql=sql))
        duckalog.build(path)
        output = self.run(path).output
        assert "\x1b" not in output
        assert "\\x1b[2J" in output
