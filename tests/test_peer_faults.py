"""What the public package of the same idea gets wrong, each fault a test that we do not have it.

The numbers are those of the list that was made by running it (0.2.0 and 0.6.3).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

import duckalog
from tests import tables
from tests.catalogs import change, content_of, held_open, views_of
from tests.conftest import RunCli, WriteConfig
from tests.servers.iceberg_rest import IcebergRest
from tests.servers.postgres import Postgres

Query = Callable[..., list[Any]]

HEAD = "version: 1\nduckdb: {database: catalog.duckdb}\n"


def problems_of(config: Path) -> list[str]:
    """Return the message of each problem of a config, each with a line of the file."""
    with pytest.raises(duckalog.ConfigError) as caught:
        duckalog.validate_config(config)
    assert all(problem.origin.line for problem in caught.value.problems)
    return [problem.message for problem in caught.value.problems]


@pytest.mark.servers
def test_01_postgres_and_iceberg_catalogs_attach(
    postgres: Postgres,
    iceberg_rest: Callable[..., IcebergRest],
    write_config: WriteConfig,
    query_in_new_process: Query,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    postgres.create_database("peer")
    postgres.run("CREATE TABLE orders AS SELECT 1 AS id", "peer")
    rest = iceberg_rest("bearer")
    tables.write_iceberg_table(rest.catalog, "analytics.orders")
    monkeypatch.setenv("PG_PASSWORD", postgres.password)
    monkeypatch.setenv("ICEBERG_TOKEN", rest.token)
    config = write_config(
        HEAD
        + f"""\
attachments:
  postgres:
    - alias: dw
      host: {postgres.host}
      port: {postgres.port}
      database: peer
      user: {postgres.user}
      password: "${{env:PG_PASSWORD}}"
      sslmode: prefer
iceberg_catalogs:
  - name: main_ic
    catalog_type: rest
    uri: {rest.endpoint}
    warehouse: {rest.warehouse}
    options: {{token: "${{env:ICEBERG_TOKEN}}"}}
views:
  - {{name: from_postgres, source: postgres, database: dw, table: public.orders}}
  - {{name: from_iceberg, source: iceberg, catalog: main_ic, table: analytics.orders}}
"""
    )
    duckalog.build(config)
    assert query_in_new_process(config, "FROM from_postgres") == [[1]]
    assert query_in_new_process(config, "SELECT count(*) FROM from_iceberg") == [[3]]


def test_02_names_are_quoted_part_by_part(
    write_config: WriteConfig, query_in_new_process: Query, tmp_path: Path
) -> None:
    change(
        tmp_path / "ref.duckdb",
        "CREATE SCHEMA sales",
        "CREATE TABLE sales.orders AS SELECT 1 AS i",
        'CREATE SCHEMA "select"',
        'CREATE TABLE "select"."odd.table" AS SELECT 2 AS i',
    )
    config = write_config(
        HEAD
        + """\
attachments: {duckdb: [{alias: order, path: ref.duckdb}]}
views:
  - {name: table, source: duckdb, database: order, table: sales.orders}
  - {name: odd view, source: duckdb, database: order, table: 'select."odd.table"'}
"""
    )
    duckalog.build(config)
    assert query_in_new_process(config, 'FROM "table"') == [[1]]
    assert query_in_new_process(config, 'FROM "odd view"') == [[2]]


def test_03_views_are_built_in_the_order_they_need_and_circles_are_refused(
    write_config: WriteConfig,
) -> None:
    config = write_config(
        HEAD + "views: [{name: late, sql: FROM early}, {name: early, sql: SELECT 1 AS x}]"
    )
    assert [view.name for view in duckalog.build(config).views] == ["early", "late"]
    circle = write_config(
        HEAD + "views: [{name: a, sql: FROM b}, {name: b, sql: FROM c}, {name: c, sql: FROM a}]"
    )
    (message,) = problems_of(circle)
    assert message == "views read each other in a circle: a → b → c → a"


def test_04_an_edited_view_is_rebuilt_and_a_removed_one_is_dropped(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    duckalog.build(
        write_config(HEAD + "views: [{name: v, sql: SELECT 1 AS x}, {name: w, sql: SELECT 1}]")
    )
    duckalog.build(write_config(HEAD + "views: [{name: v, sql: SELECT 2 AS x}]"))
    assert views_of(tmp_path / "catalog.duckdb") == {
        "main.v": "CREATE VIEW v AS SELECT 2 AS x;",
    }


def test_05_a_build_that_fails_half_way_leaves_the_catalog_as_it_was(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    many = [{"name": f"v{number}", "sql": f"SELECT {number} AS x"} for number in range(200)]
    broken = [*many[:100], {"name": "broken", "sql": "FROM missing"}, *many[100:]]
    config = write_config(HEAD + f"views: {json.dumps(broken)}")
    with pytest.raises(duckalog.EngineError):
        duckalog.build(config)
    assert os.listdir(tmp_path) == ["catalog.yaml"]
    duckalog.build(write_config(HEAD + f"views: {json.dumps(many[:50])}"))
    before = content_of(tmp_path / "catalog.duckdb")
    with pytest.raises(duckalog.EngineError):
        duckalog.build(write_config(HEAD + f"views: {json.dumps(broken)}"))
    assert content_of(tmp_path / "catalog.duckdb") == before


def test_06_a_reader_that_stays_neither_fails_a_build_nor_blocks_it(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    config = write_config(HEAD + "views: [{name: v, sql: SELECT 1 AS x}]")
    duckalog.build(config)
    changed = write_config(HEAD + "views: [{name: v, sql: SELECT 2 AS x}]")
    with held_open(tmp_path / "catalog.duckdb"):
        report = duckalog.build(changed, lock_timeout_s=0)
        assert report.published == "swap"
        with held_open(tmp_path / "catalog.duckdb"):  # new readers come as they like
            assert "SELECT 2" in views_of(tmp_path / "catalog.duckdb")["main.v"]


def test_06_readers_wait_for_a_build(write_config: WriteConfig, tmp_path: Path) -> None:
    config = write_config(HEAD + "views: [{name: v, sql: SELECT 1 AS x}]")
    duckalog.build(config)
    program = """
import logging, sys, duckalog
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
duckalog.connect(sys.argv[1]).close()
print("done", flush=True)
"""
    with (
        held_open(tmp_path / "catalog.duckdb", "writer") as writer,
        subprocess.Popen(
            [sys.executable, "-c", program, str(config)], stdout=subprocess.PIPE, text=True
        ) as waiting,
    ):
        limit = threading.Timer(60, waiting.kill)
        limit.start()
        assert waiting.stdout
        assert writer.stdin
        assert waiting.stdout.readline().startswith("waiting for the lock on ")
        writer.stdin.write("\n")
        writer.stdin.flush()
        assert waiting.stdout.read().splitlines()[-1] == "done"
        limit.cancel()


def test_07_views_over_attachments_work_after_the_file_was_closed(
    write_config: WriteConfig, query_in_new_process: Query, tmp_path: Path
) -> None:
    change(tmp_path / "ref.duckdb", "CREATE TABLE t AS SELECT 7 AS i")
    config = write_config(
        HEAD
        + """\
attachments: {duckdb: [{alias: ref, path: ref.duckdb}]}
views: [{name: v, source: duckdb, database: ref, table: t}, {name: w, sql: FROM v}]
"""
    )
    duckalog.build(config)
    with (
        duckdb.connect(str(tmp_path / "catalog.duckdb"), read_only=True) as plain,
        pytest.raises(duckdb.Error),
    ):
        plain.execute("FROM w")
    assert query_in_new_process(config, "FROM w") == [[7]]


@pytest.mark.servers
def test_08_a_missing_database_is_not_created_and_nothing_is_no_success(
    write_config: WriteConfig, run_cli: RunCli, tmp_path: Path
) -> None:
    config = write_config(
        HEAD
        + """\
attachments: {sqlite: [{alias: legacy, path: legacy.db}]}
views: [{name: v, source: sqlite, database: legacy, table: users}]
"""
    )
    result = run_cli("build", config)
    assert result.returncode == 1
    assert f'there is no file "{tmp_path / "legacy.db"}"' in result.stderr
    assert os.listdir(tmp_path) == ["catalog.yaml"]
    in_memory = write_config("version: 1\nviews: [{name: v, sql: SELECT 1}]")
    result = run_cli("build", in_memory)
    assert result.returncode == 1
    assert "a catalog in memory would be gone when the build ends" in result.stderr


INVALID = {
    "an undefined alias": ("views: [{name: v, source: duckdb, database: dwh, table: t}]", "dwh"),
    "two names in different case": (
        "views: [{name: Users, sql: SELECT 1}, {name: users, sql: SELECT 2}]",
        "Users",
    ),
    "a key twice": ("views: [{name: v, sql: SELECT 1, sql: SELECT 2}]", "sql"),
    "a key twice at the top": ("views: []\nviews: []", "views"),
    "a malformed placeholder": (
        "views: [{name: v, source: csv, uri: '${env:FOO-BAR}'}]",
        "FOO-BAR",
    ),
    "an alias twice": (
        "attachments: {duckdb: [{alias: a, path: x.duckdb}], sqlite: [{alias: A, path: x.db}]}",
        "called",
    ),
}


@pytest.mark.parametrize(("text", "told"), list(INVALID.values()), ids=list(INVALID))
def test_09_validate_refuses(text: str, told: str, write_config: WriteConfig) -> None:
    (message,) = problems_of(write_config(HEAD + text))
    assert told in message


def test_09_validate_refuses_an_unknown_version(write_config: WriteConfig) -> None:
    assert problems_of(write_config("version: 999")) == ["version 999 is not supported"]


def test_09_options_that_are_lists_and_structs_build(
    write_config: WriteConfig, query_in_new_process: Query, tmp_path: Path
) -> None:
    (tmp_path / "people.csv").write_text("1;ann\n2;-\n")
    config = write_config(
        HEAD
        + """\
views:
  - name: people
    source: csv
    uri: people.csv
    options:
      header: false
      delim: ";"
      columns: {id: BIGINT, name: VARCHAR}
      nullstr: ["-", "n/a"]
"""
    )
    duckalog.validate_config(config)
    duckalog.build(config)
    assert query_in_new_process(config, "FROM people ORDER BY id") == [[1, "ann"], [2, None]]


def test_10_generate_sql_writes_to_stdout_and_its_script_runs_from_nothing(
    write_config: WriteConfig, run_cli: RunCli, tmp_path: Path
) -> None:
    change(tmp_path / "ref.duckdb", "CREATE TABLE t AS SELECT 7 AS i")
    config = write_config(
        HEAD
        + """\
attachments: {duckdb: [{alias: ref, path: ref.duckdb}]}
views:
  - {name: w, sql: "SELECT i + 1 AS j FROM v -- the next"}
  - {name: v, source: duckdb, database: ref, table: t}
"""
    )
    result = run_cli("generate-sql", config, "--full", "--output", "-")
    assert result.returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["catalog.yaml", "ref.duckdb"]
    with duckdb.connect(":memory:") as connection:
        connection.execute(result.stdout)
        assert connection.execute("FROM w").fetchall() == [(8,)]


def test_11_sql_and_source_together_are_refused(write_config: WriteConfig) -> None:
    assert problems_of(
        write_config(HEAD + "views: [{name: v, sql: SELECT 1, source: csv, uri: a.csv}]")
    ) == ['"sql" and "source" exclude each other']


def test_12_nothing_in_a_config_is_run_but_what_it_declares(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    change(tmp_path / "ref.duckdb", 'CREATE TABLE "country; CREATE TABLE pwned(i int)" (i int)')
    duckalog.build(
        write_config(
            HEAD
            + """\
attachments:
  duckdb: [{alias: 'a" (READ_ONLY); CREATE TABLE pwned(i int); --', path: ref.duckdb}]
views:
  - name: v
    source: duckdb
    database: 'a" (READ_ONLY); CREATE TABLE pwned(i int); --'
    table: 'country; CREATE TABLE pwned(i int)'
"""
        )
    )
    change(tmp_path / "catalog.duckdb", "CREATE TABLE precious AS SELECT 1 AS i")
    refused = (
        "{name: v, sql: SELECT 1; DROP TABLE precious}",
        "{name: v, sql: CREATE TABLE pwned(i int)}",
        "{name: v, source: csv, uri: a.csv, options: {'x = 1); CREATE TABLE pwned(i int); --': 1}}",
    )
    for view in refused:
        assert len(problems_of(write_config(HEAD + f"views: [{view}]"))) == 1
    tables_now = {name for _, name, *_ in content_of(tmp_path / "catalog.duckdb")["tables"]}
    assert "precious" in tables_now
    assert "pwned" not in tables_now


def test_13_no_value_of_the_environment_is_shown_or_read_unasked(
    write_config: WriteConfig, run_cli: RunCli, tmp_path: Path
) -> None:
    canary = "zqxzqx-canary"
    text = HEAD.rstrip("}\n") + ", settings: {home_directory: '${env:APP_SECRET}'}}\n"
    config = write_config(text + "views: [{name: v, sql: SELECT 1}]", "a/b/catalog.yaml")
    env = {"APP_SECRET": canary}
    said = ""
    for arguments in (
        ["build", config, "--verbose"],
        ["build", config, "--dry-run"],
        ["generate-sql", config, "--full"],
        ["validate", config, "--connect", "--json"],
    ):
        result = run_cli(*arguments, env=env)
        assert result.returncode == 0, result.stderr
        said += result.stdout + result.stderr
    assert "APP_SECRET" in said
    invalid = write_config(
        "version: 1\nduckdb: {secrets: [{type: s3, secret: ['${env:APP_SECRET}']}]}"
    )
    result = run_cli("validate", invalid, env=env)
    assert result.returncode == 1
    assert canary not in said + result.stdout + result.stderr
    assert canary.encode() not in (tmp_path / "a" / "b" / "catalog.duckdb").read_bytes()
    for folder in (tmp_path, tmp_path / "a", tmp_path / "a" / "b"):
        (folder / ".env").write_text(f"APP_SECRET={canary}\n")
    result = run_cli("validate", config, cwd=config.parent)
    assert result.returncode == 1
    assert "environment variable APP_SECRET is not set" in result.stderr


def test_14_bad_input_gives_a_message_and_no_traceback(
    write_config: WriteConfig, run_cli: RunCli, tmp_path: Path
) -> None:
    bad_yaml = run_cli("validate", write_config("version: 1\nviews: [}\n", "bad.yaml"))
    no_folder = run_cli(
        "build", write_config("version: 1", "c.yaml"), "--db-path", tmp_path / "no" / "c.duckdb"
    )
    for result in (bad_yaml, no_folder):
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
    assert bad_yaml.stderr.startswith("bad.yaml:2: this is not YAML")
    assert "the folder of the catalog does not exist" in no_folder.stderr
    unicode = write_config(HEAD + "views: [{name: größe, sql: SELECT 'ß' AS 値}]", "größe.yaml")
    for arguments in (["generate-sql", unicode], ["build", unicode]):
        result = run_cli(*arguments, env={"LC_ALL": "C"})
        assert result.returncode == 0, result.stderr
    assert list(views_of(tmp_path / "catalog.duckdb")) == ["main.größe"]
    tabs = write_config('{\n\t"version": 1,\n\t"views": [\n\t\t]\n}', "tabs.json")
    assert run_cli("validate", tabs).returncode == 0


def test_15_paths_start_from_the_file_that_states_them(
    write_config: WriteConfig, run_cli: RunCli, tmp_path: Path
) -> None:
    write_config("views: [{name: people, source: csv, uri: people.csv}]", "team/part.yaml")
    (tmp_path / "team" / "people.csv").write_text("id\n1\n")
    (tmp_path / "elsewhere").mkdir()
    config = write_config(HEAD + "imports: [team/part.yaml]", "catalog.yaml")
    result = run_cli("build", config, cwd=tmp_path / "elsewhere")
    assert result.returncode == 0, result.stderr
    assert os.listdir(tmp_path / "elsewhere") == []
    with duckdb.connect(str(tmp_path / "catalog.duckdb"), read_only=True) as plain:
        assert plain.execute("FROM people").fetchall() == [(1,)]


_MODULES = """
import os, sys
sys.argv[:] = ["duckalog", *sys.argv[1:]]
from duckalog.cli import main
end = os._exit
def tell_and_end(status):
    print(*sys.modules, sep="\\n", file=sys.stderr, flush=True)
    end(status)
os._exit = tell_and_end
main()
"""


def test_16_help_imports_neither_duckdb_nor_what_reads_configs() -> None:
    for arguments in (["--help"], ["build", "--help"], ["version"]):
        result = subprocess.run(
            [sys.executable, "-c", _MODULES, *arguments], capture_output=True, text=True, check=True
        )
        imported = set(result.stderr.split())
        assert "click" in imported
        assert imported.isdisjoint(
            {"duckdb", "_duckdb", "pydantic", "msgspec", "yaml", "duckalog.config", "numpy"}
        )
    alone = subprocess.run(
        [sys.executable, "-c", "import sys, duckdb; print(len(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(imported) < int(alone.stdout)
