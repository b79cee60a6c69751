"""What generate-sql prints, run by the real DuckDB shell: the same catalog as a build makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import duckdb
import pytest

import duckalog
from tests import tables
from tests.conftest import WriteConfig
from tests.servers.iceberg_rest import IcebergRest
from tests.servers.postgres import Postgres
from tests.servers.s3 import S3

pytestmark = pytest.mark.servers

Part = Literal["views", "full", "session"]

SHELL = Path(sys.executable).with_name("duckdb")
PASSWORD = 'it\'s "the" \\password; -- ü%20'
EXTENSIONS = ("avro", "ducklake", "httpfs", "iceberg", "postgres_scanner", "sqlite_scanner")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home folder with the extensions in it, so that INSTALL asks no network."""
    home = tmp_path / "home"
    tables.install_extensions(home, *EXTENSIONS)
    monkeypatch.setenv("HOME", str(home))
    return home


def shell(*arguments: str | Path, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run the DuckDB shell, with only these variables beside HOME and PATH."""
    kept = {name: os.environ[name] for name in ("HOME", "PATH")}
    return subprocess.run(
        [str(SHELL), "-batch", "-bail", *map(str, arguments)],
        input=stdin,
        env={**kept, **env},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def rows_of(result: subprocess.CompletedProcess[str]) -> list[Any]:
    """Return the rows that a shell printed with -json, after the "Success" of CREATE SECRET."""
    assert result.returncode == 0, result.stderr
    rows: list[Any] = json.loads(result.stdout[result.stdout.index("[{") :])
    return rows


def script(config: Path, part: Part) -> str:
    return duckalog.generate_sql(config, part=part)


STORED = """
SELECT 'view' AS kind, schema_name, view_name, '' AS column_name, sql, comment
FROM duckdb_views() WHERE NOT internal AND database_name = current_database()
UNION ALL
SELECT 'column', schema_name, table_name, column_name, data_type, comment
FROM duckdb_columns() WHERE NOT internal AND database_name = current_database()
AND schema_name <> '_duckalog'
ORDER BY ALL
"""


def stored_in(catalog: Path) -> list[Any]:
    """Return the views and columns of a catalog file, with SQL, types and comments."""
    with duckdb.connect(str(catalog), read_only=True) as connection:
        return connection.execute(STORED).fetchall()


def assert_same(config: Path, db_path: Path, views: list[str], **env: str) -> None:
    """Build a config, run its full script in the shell, and compare all that there is."""
    duckalog.build(config)
    result = shell(db_path, stdin=script(config, "full"), **env)
    assert (result.returncode, result.stderr) == (0, "")
    built = Path(duckalog.load_plan(config).database)
    assert stored_in(db_path) == stored_in(built)
    for view in views:
        query = f"FROM {view} ORDER BY ALL"
        with duckalog.connect(config) as connection:
            expected = connection.execute(query).fetchall()
        with duckalog.connect(config, db_path=db_path) as connection:
            assert connection.execute(query).fetchall() == expected
        assert expected


def test_files_schemas_comments_and_hostile_texts(
    tmp_path: Path, write_config: WriteConfig
) -> None:
    tables.write_parquet(tmp_path / "it's; --.parquet")
    (tmp_path / "a.csv").write_text("id;name\n1;ann\n", encoding="utf-8")
    (tmp_path / "a.ndjson").write_text('{"id": 1, "tags": ["x"]}\n', encoding="utf-8")
    config = write_config(r"""
version: 1
duckdb: {database: catalog.duckdb, settings: {threads: 1}}
views:
  - {name: total, schema: gold, sql: "SELECT count(*) AS n FROM orders -- all of them"}
  - name: orders
    source: parquet
    uri: "it's; --.parquet"
    description: "It's;\n.shell touch pwned\n-- 'quoted'; \"too\" \\ ü"
    columns: {id: "the id;\n.quit", name: ""}
  - {name: people, source: csv, uri: a.csv, options: {delim: ";", header: true}}
  - {name: events, source: json, uri: a.ndjson}
  - {name: 'odd "name"', schema: 'odd "schema"', sql: "SELECT $$;\n.shell touch pwned\n$$ AS t;"}
""")
    views = ["gold.total", "orders", "people", "events", '"odd ""schema"""."odd ""name"""']
    assert_same(config, tmp_path / "by_shell.duckdb", views)
    assert not list(tmp_path.rglob("pwned"))


def test_attached_files(tmp_path: Path, write_config: WriteConfig) -> None:
    tables.write_duckdb(tmp_path / "refdata.duckdb")
    tables.write_sqlite(tmp_path / "legacy.db")
    tables.write_ducklake(tmp_path / "lake")
    config = write_config("""
version: 1
duckdb: {database: catalog.duckdb}
attachments:
  duckdb: [{alias: order, path: refdata.duckdb}]
  sqlite: [{alias: "it's legacy", path: legacy.db}]
  ducklake: [{alias: lake, path: lake/meta.ducklake}]
views:
  - {name: customers, source: duckdb, database: order, table: public.customers}
  - {name: legacy, source: sqlite, database: "it's legacy", table: orders}
  - {name: in_lake, source: ducklake, database: lake, table: orders}
  - {name: joined, sql: "SELECT * FROM legacy SEMI JOIN lake.orders USING (id)"}
""")
    views = ["customers", "legacy", "in_lake", "joined"]
    assert_same(config, tmp_path / "by_shell.duckdb", views)


def test_secrets_of_postgres_are_read_from_the_environment(
    tmp_path: Path, write_config: WriteConfig, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.create_role("shell reader", PASSWORD)
    monkeypatch.setenv("PG_PASSWORD", PASSWORD)
    config = write_config(f"""
version: 1
duckdb:
  database: catalog.duckdb
  pragmas: ["SET VARIABLE greeting = 'it''s ' || '${{env:PG_PASSWORD}}!'"]
attachments:
  postgres:
    - alias: dw
      host: {postgres.host}
      port: {postgres.port}
      database: postgres
      user: shell reader
      password: ${{env:PG_PASSWORD}}
      options: {{application_name: "it's; \\\\ a shell"}}
views:
  - {{name: me, sql: "FROM postgres_query('dw', 'SELECT current_user::text AS name')"}}
""")
    assert_same(config, tmp_path / "by_shell.duckdb", ["me"], PG_PASSWORD=PASSWORD)
    assert PASSWORD.partition(";")[0] not in script(config, "full")
    refused = shell(tmp_path / "other.duckdb", stdin=script(config, "full"), PG_PASSWORD="wrong")
    assert refused.returncode != 0
    assert "password authentication failed" in refused.stderr
    session = tmp_path / "session.sql"
    session.write_text(script(config, "session"), encoding="utf-8")
    sql = "SELECT getvariable('greeting') AS text"
    found = shell("-init", session, "-json", "-c", sql, PG_PASSWORD=PASSWORD)
    assert rows_of(found) == [{"text": f"it's {PASSWORD}!"}]


def test_a_password_in_clear_is_read_from_the_variable_that_the_script_names(
    tmp_path: Path, write_config: WriteConfig, postgres: Postgres
) -> None:
    postgres.create_role("clear reader", PASSWORD)
    config = write_config(
        json.dumps(
            {
                "version": 1,
                "duckdb": {"database": "catalog.duckdb"},
                "attachments": {
                    "postgres": [
                        {"alias": "dw", "host": postgres.host, "port": postgres.port}
                        | {"database": "postgres", "user": "clear reader", "password": PASSWORD}
                    ]
                },
                "views": [{"name": "one", "sql": "FROM postgres_query('dw', 'SELECT 1 AS i')"}],
            }
        ),
        "catalog.json",
    )
    assert "getenv('DW_PASSWORD')" in script(config, "full")
    assert_same(config, tmp_path / "by_shell.duckdb", ["one"], DW_PASSWORD=PASSWORD)


def test_secrets_of_s3_are_read_from_the_environment(
    tmp_path: Path, write_config: WriteConfig, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.accept("it's", PASSWORD)
    s3.make_bucket("shell")
    tables.write_parquet(tmp_path / "a.parquet")
    s3.put("shell", "a.parquet", tmp_path / "a.parquet")
    environment = {"KEY_ID": "it's", "SECRET_KEY": PASSWORD}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = write_config(f"""
version: 1
duckdb:
  database: catalog.duckdb
  settings: {{http_retries: 0}}
  secrets:
    - type: s3
      key_id: ${{env:KEY_ID}}
      secret: ${{env:SECRET_KEY}}
      region: ${{env:A_REGION:{s3.region}}}
      endpoint: {s3.endpoint}
      url_style: path
      use_ssl: false
views: [{{name: orders, source: parquet, uri: "s3://shell/*.parquet"}}]
""")
    assert_same(config, tmp_path / "by_shell.duckdb", ["orders"], **environment)
    refused = shell(tmp_path / "other.duckdb", stdin=script(config, "full"), KEY_ID="it's")
    assert "403" in refused.stderr


@pytest.mark.parametrize(
    ("auth", "options"),
    [
        ("bearer", {"token": "${env:ICE_TOKEN}", "extra_http_headers": {"X-A": "${env:ICE_ID}"}}),
        ("oauth2", {"client_id": "${env:ICE_ID}", "client_secret": "${env:ICE_SECRET}"}),
    ],
)
def test_secrets_of_iceberg_catalogs_are_read_from_the_environment(
    auth: str,
    options: dict[str, Any],
    tmp_path: Path,
    write_config: WriteConfig,
    iceberg_rest: Callable[..., IcebergRest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rest = iceberg_rest(auth)
    tables.write_iceberg_table(rest.catalog, "analytics.orders")
    environment = {
        "ICE_URI": rest.endpoint,
        "ICE_TOKEN": rest.token,
        "ICE_ID": rest.client_id,
        "ICE_SECRET": rest.client_secret,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    catalog = {
        "name": "ice",
        "catalog_type": "rest",
        "uri": "${env:ICE_URI}",
        "warehouse": rest.warehouse,
        "options": options,
    }
    view = {"name": "orders", "source": "iceberg", "catalog": "ice", "table": "analytics.orders"}
    section = {"database": "catalog.duckdb"}
    parts = {"duckdb": section, "iceberg_catalogs": [catalog], "views": [view]}
    config = write_config(json.dumps({"version": 1, **parts}), "catalog.json")
    assert_same(config, tmp_path / "by_shell.duckdb", ["orders"], **environment)


@pytest.mark.parametrize("read_only", [True, False], ids=["read-only", "writable"])
def test_the_session_script_opens_a_built_catalog(
    read_only: bool, tmp_path: Path, write_config: WriteConfig
) -> None:
    tables.write_sqlite(tmp_path / "legacy.db")
    tables.write_duckdb(tmp_path / "refdata.duckdb")
    (tmp_path / "a.csv").write_text("id,name\n1,ann\n", encoding="utf-8")
    config = write_config("""
version: 1
duckdb: {database: catalog.duckdb, pragmas: ["SET VARIABLE limit_of_rows = 1 -- one"]}
attachments:
  sqlite: [{alias: legacy, path: legacy.db}]
  duckdb: [{alias: refdata, path: refdata.duckdb}]
views:
  - {name: orders, source: sqlite, database: legacy, table: orders}
  - {name: customers, source: duckdb, database: refdata, table: public.customers}
  - {name: relative, sql: "FROM 'a.csv'"}
""")
    duckalog.build(config)
    session = tmp_path / "session.sql"
    session.write_text(script(config, "session"), encoding="utf-8")
    access = ["-readonly"] if read_only else []
    catalog = tmp_path / "catalog.duckdb"

    def queried(sql: str) -> list[Any]:
        return rows_of(shell(*access, "-json", "-init", session, catalog, "-c", sql))

    assert queried("SELECT name FROM orders ORDER BY id") == [{"name": "ann"}, {"name": "bob"}]
    assert queried("SELECT name FROM customers") == [{"name": "cid"}]
    assert queried("SELECT name FROM relative") == [{"name": "ann"}]
    assert queried("SELECT getvariable('limit_of_rows') AS n") == [{"n": 1}]
    plain = shell(catalog, "-c", "FROM orders")
    assert 'schema "legacy" does not exist' in plain.stderr


def test_the_script_of_views_is_run_in_an_open_session(
    tmp_path: Path, write_config: WriteConfig
) -> None:
    tables.write_duckdb(tmp_path / "refdata.duckdb")
    config = write_config("""
version: 1
attachments: {duckdb: [{alias: refdata, path: refdata.duckdb}]}
views: [{name: customers, source: duckdb, database: refdata, table: public.customers}]
""")
    session = tmp_path / "session.sql"
    session.write_text(script(config, "session"), encoding="utf-8")
    stdin = script(config, "views") + "SELECT name FROM customers;"
    assert rows_of(shell("-json", "-init", session, stdin=stdin)) == [{"name": "cid"}]


def test_the_script_can_be_run_again(tmp_path: Path, write_config: WriteConfig) -> None:
    tables.write_duckdb(tmp_path / "refdata.duckdb")
    config = write_config("""
version: 1
attachments: {duckdb: [{alias: refdata, path: refdata.duckdb}]}
views:
  - {name: customers, schema: a, source: duckdb, database: refdata, table: public.customers}
""")
    full = script(config, "full")
    for _time in range(2):
        result = shell(tmp_path / "again.duckdb", stdin=full + full)
        assert (result.returncode, result.stderr) == (0, "")


def test_a_statement_that_fails_leaves_nothing_of_the_script(
    tmp_path: Path, write_config: WriteConfig
) -> None:
    config = write_config("""
version: 1
views:
  - {name: first, schema: made, sql: SELECT 1 AS n}
  - {name: second, sql: FROM nothing}
""")
    result = shell(tmp_path / "c.duckdb", stdin=script(config, "full"))
    assert result.returncode == 1
    assert "nothing does not exist" in result.stderr
    with duckdb.connect(str(tmp_path / "c.duckdb")) as connection:
        assert (
            connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
            == []
        )
        assert (
            connection.execute("FROM duckdb_schemas() WHERE schema_name = 'made'").fetchall() == []
        )
