"""`duckalog ls` and `duckalog describe`: what is told of a catalog without asking its sources."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import duckdb
import pytest

import duckalog
from duckalog.cli.group import cli
from duckalog.engine.inventory import words_of
from tests.catalogs import change
from tests.conftest import WriteConfig

Invoke = Callable[..., click.testing.Result]

CATALOG = """\
version: 1
duckdb: {database: shop.duckdb}
attachments:
  duckdb: [{alias: ref, path: ref.duckdb}]
views:
  - name: orders
    description: All orders
    columns: {id: The order's id}
    tags: [core, daily]
    meta: {owner: sales}
    sql: SELECT 1::BIGINT AS id, 'x' AS name
  - {name: countries, schema: geo, source: duckdb, database: ref, table: countries}
"""


@pytest.fixture
def config(write_config: WriteConfig, tmp_path: Path) -> Path:
    with duckdb.connect(str(tmp_path / "ref.duckdb")) as connection:
        connection.execute("CREATE TABLE countries (code VARCHAR)")
    return write_config(CATALOG)


@pytest.fixture
def invoke(config: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.chdir(config.parent)

    def run(command: str, *arguments: str) -> click.testing.Result:
        return click.testing.CliRunner().invoke(cli, [command, "catalog.yaml", *arguments])

    return run


def test_the_views_are_told_though_their_sources_are_gone(
    config: Path, invoke: Invoke, tmp_path: Path
) -> None:
    duckalog.build(config)
    (tmp_path / "ref.duckdb").unlink()
    result = invoke("ls")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["view", "state", "source", "columns", "comment"],
        ["orders", "built", "sql", "2", "All", "orders"],
        ["geo.countries", "built", "duckdb", "1"],
    ]
    described = invoke("describe", "geo.countries")
    assert described.exit_code == 0
    assert "code    VARCHAR" in described.stdout
    assert "  reads     ref.main.countries\n" in described.stdout


def test_what_a_prompt_completes_is_read_of_the_file_though_its_sources_are_gone(
    config: Path, tmp_path: Path
) -> None:
    plan = duckalog.load_plan(config)
    names = {"orders", "main.orders", "countries", "geo.countries"}
    assert words_of(plan, 10.0) == names
    duckalog.build(config)
    change(tmp_path / "shop.duckdb", "CREATE TABLE notes (body VARCHAR)")
    (tmp_path / "ref.duckdb").unlink()
    of_the_file = {"id", "name", "code", "notes", "main.notes", "body"}
    assert words_of(plan, 10.0) == names | of_the_file


def test_a_view_is_described_with_all_that_is_known(config: Path, invoke: Invoke) -> None:
    duckalog.build(config)
    result = invoke("describe", "orders")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert (result.exit_code, lines[0]) == (0, "orders")
    assert lines[1:7] == [
        "source sql",
        "state built",
        "comment All orders",
        "stated at catalog.yaml:6",
        "tags core, daily",
        "meta owner: sales",
    ]
    assert lines[7].startswith("built at 20")
    assert lines[8] == f"built by duckalog {duckalog.__version__}"
    assert lines[10:13] == ["column type comment", "id BIGINT The order's id", "name VARCHAR"]
    assert lines[14] == "query"
    assert "AS name" in lines[15]


def test_json_has_it_all(config: Path, invoke: Invoke) -> None:
    duckalog.build(config)
    document: dict[str, Any] = json.loads(invoke("describe", "orders", "--json").stdout)
    built_at = document.pop("built_at")
    assert built_at.endswith("Z")
    assert document == {
        "ok": True,
        "schema": "main",
        "name": "orders",
        "state": "built",
        "source": "sql",
        "comment": "All orders",
        "tags": ["core", "daily"],
        "meta": {"owner": "sales"},
        "query": "SELECT 1::BIGINT AS id, 'x' AS name",
        "columns": [
            {"name": "id", "type": "BIGINT", "comment": "The order's id"},
            {"name": "name", "type": "VARCHAR", "comment": None},
        ],
        "file": str(config),
        "line": 6,
        "stated_at": "catalog.yaml:6: views[0]",
        "built_by": duckalog.__version__,
        "reads": [],
    }
    listed = json.loads(invoke("ls", "--json").stdout)
    assert (listed["ok"], [view["name"] for view in listed["views"]]) == (
        True,
        ["orders", "countries"],
    )


def test_what_a_view_reads_is_named_and_much_of_it_counted(
    write_config: WriteConfig, invoke: Invoke
) -> None:
    files = ", ".join(f"'f{at}.csv'" for at in range(10))
    write_config(
        CATALOG
        + "  - {name: files, source: parquet, uri: ['data/*.parquet', 's3://lake/x.parquet'],"
        + " pin: true}\n"
        + f'  - {{name: many, sql: "SELECT * FROM read_csv([{files}]), geo.countries"}}\n'
    )
    assert "  reads     data/*.parquet, s3://lake/x.parquet\n" in invoke("describe", "files").stdout
    assert "  pinned    to what the build found\n" in invoke("describe", "files").stdout
    text = invoke("describe", "many").stdout
    assert "pinned" not in text
    assert "  reads     geo.countries, f0.csv, f1.csv," in text
    assert "f6.csv, … (11 in all)\n" in text
    document = json.loads(invoke("describe", "files", "--json").stdout)
    assert [one["kind"] for one in document["reads"]] == ["files"]


def test_what_is_not_built_is_told_with_status_1(invoke: Invoke) -> None:
    result = invoke("ls")
    assert result.exit_code == 1
    assert "not built" in result.stdout
    assert result.stderr == "shop.duckdb: not all is built yet. Run: duckalog build catalog.yaml\n"
    result = invoke("describe", "orders")
    assert (result.exit_code, "not built" in result.stdout) == (1, True)
    assert json.loads(invoke("describe", "orders", "--json").stdout)["columns"] is None
    assert json.loads(invoke("ls", "--json").stdout)["ok"] is False


def test_views_that_config_and_catalog_do_not_share_are_told_apart(
    config: Path, invoke: Invoke, write_config: WriteConfig, tmp_path: Path
) -> None:
    duckalog.build(config)
    change(tmp_path / "shop.duckdb", "CREATE VIEW mine AS SELECT 1 AS i")
    write_config(
        CATALOG.replace("name: countries, schema: geo", "name: lands, schema: geo").replace(
            "AS name", "AS title"
        )
    )
    states = {view["name"]: view["state"] for view in _listed(invoke)}
    assert states == {
        "orders": "changed since",
        "lands": "not built",
        "countries": "left the config",
        "mine": "made by hand",
    }
    assert "made by hand" in invoke("describe", "mine").stdout


def _listed(invoke: Invoke) -> list[dict[str, Any]]:
    views: list[dict[str, Any]] = json.loads(invoke("ls", "--json").stdout)["views"]
    return views


def test_a_name_is_found_in_its_schema_and_whatever_its_case(config: Path, invoke: Invoke) -> None:
    duckalog.build(config)
    for name in ("countries", "GEO.Countries", '"geo"."countries"'):
        assert invoke("describe", name).exit_code == 0


@pytest.mark.servers
@pytest.mark.parametrize(
    "arguments",
    [
        ["ls"],
        ["describe", "orders"],
        ["graph"],
        *(["connect", "--as", kind] for kind in ("sqlalchemy", "dbt")),
    ],
)
def test_who_only_looks_needs_no_credentials(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = '{type: s3, key_id: "${env:KEY}", secret: "${env:SECRET}", use_ssl: "${env:SSL}"}'
    config = tmp_path / "catalog.yaml"
    config.write_text(
        f"version: 1\nduckdb: {{database: '${{env:PLACE:here}}.duckdb', secrets: [{secret}]}}\n"
        "views:\n  - {name: orders, sql: \"SELECT 1 AS id, '${env:REGION}' AS region\"}\n"
        '  - {name: told, description: "${env:REGION}", sql: SELECT 1 AS id}\n'
        '  - {name: some, sql: "SELECT * FROM range(9) LIMIT ${env:COUNT}"}\n'
        '  - {name: files, source: csv, uri: "${env:FOLDER}/*.csv", pin: "${env:PIN}"}\n'
    )
    for name, value in {
        "KEY": "k" * 9,
        "SECRET": "s" * 9,
        "SSL": "true",
        "REGION": "eu",
        "COUNT": "3",
        "FOLDER": str(tmp_path),
        "PIN": "true",
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "a.csv").write_text("i\n1\n")
    duckalog.build(config)
    for name in ("KEY", "SECRET", "SSL", "REGION", "COUNT", "FOLDER", "PIN"):
        monkeypatch.delenv(name)
    command, *rest = arguments
    result = click.testing.CliRunner().invoke(cli, [command, str(config), *rest])
    assert (result.exit_code, result.stderr) == (0, "")
    assert "changed since" not in result.stdout
    if "dbt" in arguments:
        assert "use_ssl: '{{ env_var(''SSL'') }}'" in result.stdout


def test_a_view_made_by_hand_is_described_without_the_secrets_of_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "zqxzqxzqx")
    config = tmp_path / "catalog.yaml"
    secret = '{type: s3, key_id: k, secret: "${env:SECRET}"}'
    config.write_text(
        f"version: 1\nduckdb: {{database: c.duckdb, secrets: [{secret}]}}\nviews: []\n"
    )
    change(
        tmp_path / "c.duckdb",
        "CREATE VIEW mine AS SELECT 'zqxzqxzqx' AS s;"
        " COMMENT ON VIEW mine IS 'of zqxzqxzqx'; COMMENT ON COLUMN mine.s IS 'as zqxzqxzqx'",
    )
    for options in ([], ["--json"]):
        result = click.testing.CliRunner().invoke(cli, ["describe", str(config), "mine", *options])
        assert "zqxzqxzqx" not in result.stdout
        assert "${env:SECRET}" in result.stdout


def test_a_secret_is_hidden_that_stands_beside_a_variable_which_is_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "zqxzqxzqx")
    monkeypatch.delenv("UNSET", raising=False)
    config = tmp_path / "catalog.yaml"
    secret = '{type: s3, key_id: k, secret: "${env:SECRET}${env:UNSET}"}'
    config.write_text(
        f"version: 1\nduckdb: {{database: c.duckdb, secrets: [{secret}]}}\nviews: []\n"
    )
    change(tmp_path / "c.duckdb", "CREATE VIEW mine AS SELECT 'zqxzqxzqx' AS s")
    result = click.testing.CliRunner().invoke(cli, ["describe", str(config), "mine"])
    assert "zqxzqxzqx" not in result.output
    assert "${env:SECRET}" in result.stdout


def test_the_place_of_the_catalog_is_needed_to_look_into_it(tmp_path: Path) -> None:
    config = tmp_path / "catalog.yaml"
    config.write_text("version: 1\nduckdb: {database: '${env:UNSET}.duckdb'}\nviews: []\n")
    result = click.testing.CliRunner().invoke(cli, ["ls", str(config)])
    assert "duckdb.database: environment variable UNSET is not set" in result.stderr


def test_an_unknown_name_is_told_with_the_nearest(config: Path, invoke: Invoke) -> None:
    duckalog.build(config)
    result = invoke("describe", "order")
    assert result.exit_code == 1
    assert result.stderr == (
        'catalog.yaml: no view is called "order"\n'
        '    Did you mean "orders"? To see them: duckalog ls catalog.yaml\n'
    )
    assert invoke("describe", 'a"b').exit_code == 2


def test_a_name_in_several_schemas_is_asked_back(invoke: Invoke, write_config: WriteConfig) -> None:
    views = "{name: v, schema: a, sql: SELECT 1}, {name: v, schema: b, sql: SELECT 1}"
    write_config(f"version: 1\nduckdb: {{database: shop.duckdb}}\nviews: [{views}]\n")
    result = invoke("describe", "v")
    assert (result.exit_code, "They are a.v, b.v." in result.stderr) == (1, True)


def test_a_catalog_in_memory_is_told(invoke: Invoke, write_config: WriteConfig) -> None:
    write_config("version: 1\nviews: [{name: v, sql: SELECT 1}]\n")
    result = invoke("ls")
    assert (result.exit_code, "in memory" in result.stderr) == (1, True)


@pytest.mark.parametrize("width", [20, 44, 80])
def test_a_terminal_of_any_width_is_not_overrun(
    width: int, config: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    duckalog.build(config)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _self: True)
    lines = invoke("ls").stdout.splitlines()
    assert max(len(click.unstyle(line)) for line in lines) <= max(width, 40)
