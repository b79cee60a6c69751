"""`duckalog connect`: each recipe opens the catalog, and holds no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click.testing
import duckdb
import pytest
import yaml

import duckalog
from duckalog.cli.group import cli
from tests import tables
from tests.conftest import WriteConfig

CATALOG = """\
version: 1
duckdb:
  database: shop.duckdb
  settings: {threads: 2, http_proxy_password: "${env:PROXY_PASSWORD}"}
views:
  - {name: one, sql: SELECT 1 AS i}
"""
WAREHOUSE = """\
version: 1
duckdb:
  database: shop.duckdb
  pragmas: [SET VARIABLE x = 1]
  secrets:
    - {type: s3, key_id: "${env:KEY}", secret: in-clear, region: "${env:REGION:eu}", scope: s3://b}
    - {type: http, name: odd name, extra_http_headers: {X-Api: "${env:TOKEN}"}}
attachments:
  duckdb: [{alias: "odd alias", path: ref.duckdb}]
  sqlite: [{alias: crm, path: crm.db, busy_timeout: 5}]
  postgres: [{alias: dw, host: h, database: d, user: u, password: "${env:PG}", sslmode: require}]
  ducklake: [{alias: lake, path: lake.ducklake, data_path: s3://b/lake}]
iceberg_catalogs:
  - {name: ice, catalog_type: rest, uri: "http://x", warehouse: w, options: {token: "${env:TOKEN}"}}
views: []
"""
CANARY = "zqxzqxzqxzqx"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROXY_PASSWORD", "KEY", "PG", "TOKEN"):
        monkeypatch.setenv(name, f"{CANARY} {name}")


def recipe(config: Path, kind: str) -> str:
    result = click.testing.CliRunner().invoke(cli, ["connect", str(config), "--as", kind])
    assert (result.exit_code, result.stderr) == (0, "")
    assert CANARY not in result.stdout
    return result.stdout


@pytest.mark.parametrize("kind", ["sqlalchemy", "dbt", "init-sql"])
@pytest.mark.parametrize("text", [CATALOG, WAREHOUSE])
def test_no_recipe_holds_a_secret(kind: str, text: str, write_config: WriteConfig) -> None:
    assert "in-clear" not in recipe(write_config(text), kind)


def test_the_init_sql_is_the_session_script(write_config: WriteConfig) -> None:
    config = write_config(CATALOG)
    assert recipe(config, "init-sql") == duckalog.generate_sql(config, part="session")


def test_a_profile_has_what_the_config_states(write_config: WriteConfig, tmp_path: Path) -> None:
    text = recipe(write_config(WAREHOUSE), "dbt")
    assert text.startswith("# duckdb.pragmas have no place")
    assert "fail: ice." in text
    output: dict[str, Any] = yaml.safe_load(text)["duckalog"]["outputs"]["dev"]
    assert set(output["extensions"]) >= {"httpfs", "sqlite_scanner", "postgres_scanner", "ducklake"}
    s3, http, postgres = output["secrets"]
    assert s3 == {
        "type": "s3",
        "name": "__default_s3",
        "scope": "s3://b",
        "key_id": "{{ env_var('KEY') }}",
        "secret": "{{ env_var('DEFAULT_S3_SECRET') }}",
        "region": "{{ env_var('REGION', 'eu') }}",
    }
    assert http["name"] == '"odd name"'
    assert http["extra_http_headers"] == {"X-Api": "{{ env_var('TOKEN') }}"}
    assert postgres["password"] == "{{ env_var('PG') }}"
    attached = {one["alias"]: one for one in output["attach"]}
    assert attached['"odd alias"']["path"] == str(tmp_path / "ref.duckdb")
    assert attached["crm"]["options"] == {"busy_timeout": 5}
    assert attached["dw"]["secret"] == postgres["name"]
    assert attached["dw"]["path"] == "connect_timeout='10' sslmode='require'"
    assert attached["lake"]["path"].startswith("ducklake:")
    assert attached["shop"] == {
        "path": str(tmp_path / "shop.duckdb"),
        "alias": "shop",
        "read_only": True,
    }


def test_a_profile_reads_numbers_and_choices_from_the_environment_too(
    write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG_PORT", "54329")
    monkeypatch.setenv("PG_SSLMODE", "verify-full")
    config = write_config(
        "version: 1\nduckdb: {database: shop.duckdb}\nattachments:\n  postgres:\n"
        "    - alias: dw\n      host: h\n      port: ${env:PG_PORT:5432}\n      database: d\n"
        "      user: u\n      sslmode: ${env:PG_SSLMODE}\n"
        "views: [{name: v, source: postgres, database: dw, table: t}]\n"
    )
    output = yaml.safe_load(recipe(config, "dbt"))["duckalog"]["outputs"]["dev"]
    assert output["secrets"][0]["port"] == "{{ env_var('PG_PORT') }}"
    assert (
        output["attach"][0]["path"] == "connect_timeout='10' sslmode='{{ env_var('PG_SSLMODE') }}'"
    )


def test_a_catalog_in_memory_has_no_profile(write_config: WriteConfig) -> None:
    config = write_config("version: 1\nviews: [{name: v, sql: SELECT 1}]\n")
    arguments = ["connect", str(config), "--as", "dbt"]
    assert click.testing.CliRunner().invoke(cli, arguments).exit_code == 2


@pytest.mark.servers
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_sqlalchemy_engine_asks_views_over_attachments(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    import sqlalchemy

    tables.write_sqlite(tmp_path / "crm.db", "customers", "FROM (VALUES (1, 'de')) t(id, country)")
    config = write_config(
        "version: 1\nduckdb: {database: shop.duckdb}\n"
        "attachments: {sqlite: [{alias: crm, path: crm.db}]}\n"
        "views: [{name: customers, source: sqlite, database: crm, table: customers}]\n"
    )
    duckalog.build(config)
    names: dict[str, Any] = {}
    exec(recipe(config, "sqlalchemy"), names)
    with names["engine"].connect() as connection:
        query = sqlalchemy.text("SELECT country FROM customers WHERE id = :id")
        assert connection.execute(query, {"id": 1}).fetchall() == [("de",)]
    assert "customers" in sqlalchemy.inspect(names["engine"]).get_view_names()
    names["engine"].dispose()


def test_the_catalog_that_a_profile_attaches_is_readable(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    config = write_config(CATALOG)
    duckalog.build(config)
    output = yaml.safe_load(recipe(config, "dbt"))["duckalog"]["outputs"]["dev"]
    (attached,) = output["attach"]
    with duckdb.connect(str(tmp_path / output["path"])) as connection:
        connection.execute(f"ATTACH '{attached['path']}' AS {attached['alias']} (READ_ONLY)")
        assert connection.execute("FROM shop.one").fetchall() == [(1,)]


def test_a_profile_has_the_variables_that_are_not_set(write_config: WriteConfig) -> None:
    databases = '{duckdb: [{alias: d, path: d.duckdb, read_only: "${env:UNSET}"}]}'
    config = write_config(CATALOG + f"attachments: {databases}\n")
    output = yaml.safe_load(recipe(config, "dbt"))["duckalog"]["outputs"]["dev"]
    assert output["attach"][0]["read_only"] == "{{ env_var('UNSET') }}"
