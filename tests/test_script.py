"""The SQL text of a plan: golden cases, each statement of which DuckDB parses."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import duckdb
import pytest

import duckalog
from duckalog.attachments import ATTACHMENT_TYPES
from duckalog.catalogs import CATALOG_TYPES
from duckalog.secrets import SECRET_TYPES
from duckalog.views import VIEW_TYPES
from tests.conftest import RunCli, WriteConfig

Part = Literal["views", "full", "session"]

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/catalog.yaml"))
EXPECTED: dict[Part, str] = {
    "views": "expected.sql",
    "full": "expected_full.sql",
    "session": "expected_session.sql",
}
ENVIRONMENT = {
    "AUTHOR": "O'Hara",
    "AWS_REGION": "eu-central-1",
    "BUCKET": "sales-data",
    "CERTIFICATES": "/etc/ssl",
    "COLUMN": 'the "column"',
    "DATA": "/srv/data",
    "ICEBERG_URI": "https://ice.example.com",
    "NAME_OF_USER": "Ann",
    "PG_HOST": "pg.example.com",
    "PG_PORT": "6432",
    "REGION": "it's eu",
    "TENANT": "acme",
    "THREADS": "4",
    **dict.fromkeys(
        "API_LOGIN API_TOKEN AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AZURE_CLIENT_SECRET AZURE_KEY"
        " CLIENT_ID CLIENT_SECRET GCS_KEY GCS_SECRET HF_TOKEN ICEBERG_TOKEN PG_PASSWORD"
        " PROXY_PASSWORD R2_KEY R2_SECRET SIGNATURE_OF_URL".split(),
        "never shown",
    ),
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def script_of(case: str, part: Part) -> str:
    """Return a case's script, its folder called `<folder>` wherever the repository is."""
    folder = GOLDEN / case
    script = duckalog.generate_sql(folder / "catalog.yaml", part=part)
    return script.replace(str(folder), "<folder>").replace(str(GOLDEN), "<golden>")


@pytest.mark.parametrize("part", EXPECTED)
@pytest.mark.parametrize("case", CASES)
def test_a_script_is_as_its_golden_case_expects(
    case: str, part: Part, request: pytest.FixtureRequest
) -> None:
    script = script_of(case, part)
    expected = GOLDEN / case / EXPECTED[part]
    if request.config.getoption("--update-golden", default=False):
        expected.write_text(script, encoding="utf-8")
    assert script == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("part", EXPECTED)
@pytest.mark.parametrize("case", CASES)
def test_duckdb_parses_every_expected_statement(case: str, part: Part) -> None:
    expected = (GOLDEN / case / EXPECTED[part]).read_text(encoding="utf-8")
    statements = duckdb.extract_statements(expected)
    # Each ends a line, and nothing but a statement does.
    assert len(statements) >= sum(line.endswith(";") for line in expected.splitlines())


@pytest.mark.parametrize("case", CASES)
def test_no_expected_script_shows_a_secret(case: str) -> None:
    for expected in EXPECTED.values():
        text = (GOLDEN / case / expected).read_text(encoding="utf-8")
        assert "never shown" not in text
        assert "in clear'" not in text
        assert "hunter2" not in text


@pytest.mark.parametrize("case", CASES)
def test_the_full_script_is_the_session_and_then_the_views(case: str) -> None:
    views, full, session = (_without_header(script_of(case, part)) for part in EXPECTED)
    halves = (session, f"BEGIN TRANSACTION;\n\n{views}\nCOMMIT;\n")
    assert full == "\n".join(half for half in halves if half)


def _without_header(script: str) -> str:
    return script.partition("\n\n")[2]


def test_the_golden_cases_have_every_source_attachment_catalog_and_secret_type() -> None:
    configs = [duckalog.load_config(GOLDEN / case / "catalog.yaml") for case in CASES]
    assert {v.source_name for c in configs for v in c.views} == {*VIEW_TYPES, "sql"}
    assert {a.kind for c in configs for a in c.attachments} == set(ATTACHMENT_TYPES)
    assert {c.catalog_type for one in configs for c in one.iceberg_catalogs} == set(CATALOG_TYPES)
    assert {s.kind for c in configs for s in c.duckdb.secrets} == set(SECRET_TYPES)


class TestScript:
    def test_it_is_made_without_opening_a_source(self, write_config: WriteConfig) -> None:
        config = write_config("""
version: 1
duckdb: {database: nowhere/catalog.duckdb}
attachments: {sqlite: [{alias: gone, path: gone.db}]}
views: [{name: v, source: sqlite, database: gone, table: t}]
""")
        assert '"gone"."t"' in duckalog.generate_sql(config)
        assert list(config.parent.iterdir()) == [config]

    def test_a_comment_at_the_end_of_sql_does_not_swallow_the_semicolon(
        self, write_config: WriteConfig
    ) -> None:
        config = write_config("""
version: 1
duckdb:
  pragmas: ["SET threads = 1 -- one", "SET threads = 2"]
views:
  - {name: a, sql: "SELECT 1 AS i -- one"}
  - {name: b, sql: "SELECT 2 AS i"}
""")
        for part, count in (("views", 2), ("full", 6)):
            script = duckalog.generate_sql(config, part=part)
            assert len(duckdb.extract_statements(script)) == count

    def test_it_begins_with_the_variables_it_reads_and_what_they_stand_for(
        self, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PG_HOST", "h")
        config = write_config("""
version: 1
duckdb:
  secrets:
    - {type: http, name: api, extra_http_headers: {X-Key: hunter22}}
attachments:
  postgres:
    - {alias: dw, host: "${env:PG_HOST}", database: d, user: "${env:PG_USER:u}",
       password: hunter23}
views: [{name: v, sql: SELECT 1 AS i}]
""")
        listed = (
            "-- It reads these environment variables:\n"
            "--     API_EXTRA_HTTP_HEADERS_X_KEY, for what is stated in clear at"
            " catalog.yaml:5: duckdb.secrets[0].extra_http_headers.X-Key\n"
            "--     DW_PASSWORD, for what is stated in clear at"
            " catalog.yaml:8: attachments.postgres[0].password\n"
            "--     PG_HOST\n"
            "--     PG_USER (it has a default)\n\n"
        )
        assert listed in duckalog.generate_sql(config, part="session")
        assert listed in duckalog.generate_sql(config, part="full")
        assert "environment" not in duckalog.generate_sql(config)

    def test_a_dry_run_prints_the_full_script(
        self, write_config: WriteConfig, run_cli: RunCli
    ) -> None:
        config = write_config("version: 1\nviews: [{name: v, sql: SELECT 1 AS i}]\n")
        result = run_cli("build", config, "--dry-run")
        assert result.stdout == duckalog.generate_sql(config, part="full")

    def test_the_same_config_gives_the_same_script(self) -> None:
        assert script_of("attached_files", "full") == script_of("attached_files", "full")

    def test_a_plain_duckdb_runs_the_script_of_views(self, write_config: WriteConfig) -> None:
        config = write_config("""
version: 1
views:
  - {name: doubled, schema: later, sql: "SELECT 2 * i AS i FROM one", description: It's two}
  - {name: one, sql: SELECT 1 AS i}
""")
        with duckdb.connect() as connection:
            connection.execute(duckalog.generate_sql(config))
            assert connection.execute("FROM later.doubled").fetchall() == [(2,)]

    def test_a_half_without_statements_leaves_no_gap(self, write_config: WriteConfig) -> None:
        config = write_config("version: 1\nviews: [{name: v, source: csv, uri: /srv/a.csv}]\n")
        assert duckalog.generate_sql(config, part="session") == (
            "-- The session of catalog.yaml, generated by duckalog\n\n"
        )
        assert duckalog.generate_sql(config, part="full") == (
            "-- The whole of catalog.yaml, generated by duckalog\n"
            "-- Run it by: duckdb -bail FILE < SCRIPT (-bail ends it at the first error)\n\n"
            "BEGIN TRANSACTION;\n\n"
            "CREATE OR REPLACE VIEW \"v\" AS\nSELECT * FROM read_csv('/srv/a.csv');\n\n"
            "COMMIT;\n"
        )
