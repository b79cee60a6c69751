"""The command line: each command and option, exit statuses, JSON, and what a terminal may lack."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import click.testing
import duckdb
import pytest

import duckalog
from duckalog.cli.group import cli
from tests.conftest import ROOT, RunCli, WriteConfig

Invoke = Callable[..., click.testing.Result]

CATALOG = """\
version: 1
duckdb: {database: catalog.duckdb}
views:
  - {name: doubled, schema: gold, sql: "SELECT 2 * i AS i FROM größe"}
  - {name: größe, sql: SELECT 1 AS i, description: "${env:WHOSE:nobody's}"}
"""
BROKEN = """\
version: 1
duckdb:
  database: catalog.duckdb
  secrets: [{type: s3, use_ssl: maybe}]
attachments:
  postgres: [{alias: dw, host: h, database: d, user: u}]
views:
  - {name: one, source: duckdb, database: dwh, table: t}
  - {name: two, source: parqet, uri: a.parquet}
  - {name: three, sql: "SELECT '${env:NOT_SET}'"}
  - {name: four, sql: SELECT 1, colour: red}
"""

PROBLEM_KEYS = ["file", "line", "path", "name", "message", "cause", "remedy"]
VIEW_KEYS = ["schema", "name", "action", "seconds", "columns", "drift", "problem", "file", "line"]
COMMANDS = cli.list_commands(click.Context(cli))


def command(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)
    assert found
    return found


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Return a function that runs the command line in this process, in the test's folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> click.testing.Result:
        return click.testing.CliRunner().invoke(cli, list(map(str, arguments)))

    return run


@pytest.fixture
def config(write_config: WriteConfig) -> Path:
    return write_config(CATALOG)


def views_in(catalog: Path) -> list[str]:
    """Return the names of the views in a catalog file."""
    sql = "SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
    with duckdb.connect(str(catalog), read_only=True) as connection:
        return [name for (name,) in connection.execute(sql).fetchall()]


class TestBuild:
    def test_it_says_what_it_did(self, config: Path, invoke: Invoke, tmp_path: Path) -> None:
        result = invoke("build", config)
        assert (result.exit_code, result.stderr) == (0, "")
        assert re.fullmatch(r"Built catalog\.duckdb: 2 created \(\d+\.\d s\)\n", result.stdout)
        assert views_in(tmp_path / "catalog.duckdb") == ["doubled", "größe"]

    def test_db_path_builds_another_file_in_the_working_folder(
        self, config: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        assert invoke("build", config, "--db-path", "other.duckdb").exit_code == 0
        assert views_in(tmp_path / "here" / "other.duckdb") == ["doubled", "größe"]
        assert not (tmp_path / "catalog.duckdb").exists()

    def test_dry_run_prints_the_sql_and_writes_nothing(
        self, config: Path, invoke: Invoke, tmp_path: Path
    ) -> None:
        result = invoke("build", config, "--dry-run")
        assert result.stdout == duckalog.generate_sql(config, part="full")
        assert list(tmp_path.iterdir()) == [config]

    @pytest.mark.parametrize("flag", ["--verbose", "-v"])
    def test_verbose_tells_each_statement_and_the_time_of_each_view(
        self, flag: str, config: Path, invoke: Invoke
    ) -> None:
        result = invoke("build", config, flag)
        assert 'CREATE OR REPLACE VIEW "gold"."doubled" AS' in result.stderr
        lines = result.stdout.splitlines()
        assert re.fullmatch(r"   created +\d+\.\d ms  größe", lines[0])
        assert re.fullmatch(r"   created +\d+\.\d ms  gold\.doubled", lines[1])
        assert lines[2].startswith("Built")

    def test_a_view_that_is_made_again_for_its_source_is_told_as_plan_tells_it(
        self, write_config: WriteConfig, invoke: Invoke, tmp_path: Path
    ) -> None:
        file = tmp_path / "a.csv"
        file.write_text("i\n1\n")
        config = write_config(
            "version: 1\nduckdb: {database: catalog.duckdb}\n"
            "views:\n  - {name: a, source: csv, uri: a.csv, pin: true}\n"
            "  - {name: b, sql: SELECT 1 AS i}\n"
        )
        invoke("build", config)
        file.write_text("i\n1\n2\n")
        assert "Plan: 1 to make again, 1 unchanged\n" in invoke("plan", config).stdout
        told = invoke("build", config, "--verbose").stdout
        assert re.search(r"^made again +\d+\.\d ms  a\n unchanged +0\.0 ms  b\n", told)
        assert "Built catalog.duckdb: 1 made again, 1 unchanged (" in told

    def test_without_verbose_nothing_is_logged(self, config: Path, invoke: Invoke) -> None:
        assert invoke("build", config).stderr == ""

    def test_a_view_that_left_the_config_is_removed_unless_no_prune(
        self, config: Path, write_config: WriteConfig, invoke: Invoke, tmp_path: Path
    ) -> None:
        invoke("build", config)
        write_config(CATALOG.replace("name: doubled", "name: tripled"))
        assert "1 created, 1 unchanged (" in invoke("build", config, "--no-prune").stdout
        assert views_in(tmp_path / "catalog.duckdb") == ["doubled", "größe", "tripled"]
        assert "2 unchanged, 1 removed (" in invoke("build", config).stdout
        assert views_in(tmp_path / "catalog.duckdb") == ["größe", "tripled"]

    def test_a_view_made_by_hand_is_taken_over_only_with_adopt(
        self, config: Path, invoke: Invoke, tmp_path: Path
    ) -> None:
        with duckdb.connect(str(tmp_path / "catalog.duckdb")) as connection:
            connection.execute('CREATE VIEW "größe" AS SELECT 7 AS i')
        result = invoke("build", config)
        assert result.exit_code == 1
        assert "--adopt" in result.stderr
        assert invoke("build", config, "--adopt").exit_code == 0

    def test_keep_going_builds_what_it_can_and_exits_with_1(
        self, write_config: WriteConfig, invoke: Invoke, tmp_path: Path
    ) -> None:
        config = write_config(CATALOG + "  - {name: broken, sql: FROM nowhere}\n")
        assert invoke("build", config).exit_code == 1
        assert not (tmp_path / "catalog.duckdb").exists()
        result = invoke("build", config, "--keep-going")
        assert result.exit_code == 1
        assert 'views[2] "broken"' in result.stderr
        assert "1 failed" in result.stdout
        assert views_in(tmp_path / "catalog.duckdb") == ["doubled", "größe"]

    def test_what_keep_going_left_behind_is_made_or_told_by_the_next_build(
        self, write_config: WriteConfig, invoke: Invoke, tmp_path: Path
    ) -> None:
        file = tmp_path / "o.csv"
        file.write_text("a,b\n1,2\n")
        views = "o, source: csv, uri: o.csv}", "p, sql: SELECT b FROM o}", "q, sql: FROM p}"
        config = write_config(
            "version: 1\nduckdb: {database: catalog.duckdb}\nviews:\n"
            + "".join(f"  - {{name: {view}\n" for view in views)
        )
        assert invoke("build", config).exit_code == 0
        file.write_text("a,c,d\n1,2,3\n")
        told = '"o" has other columns than at the last build: + c BIGINT, + d BIGINT, - b\n'
        assert f"    {told}" in invoke("build", config).stderr
        assert "1 replaced, 2 failed" in invoke("build", config, "--keep-going").stdout
        plan = invoke("plan", config, "--detailed-exitcode")
        assert plan.exit_code == 2
        assert "p  the last build left it behind (catalog.yaml:5)" in plan.stdout
        assert invoke("build", config).exit_code == 1
        file.write_text("a,b\n1,2\n")
        assert invoke("build", config).exit_code == 0
        assert invoke("build", config).stdout.startswith("Built catalog.duckdb: 3 unchanged (")

    def test_keep_going_builds_what_needs_no_database_that_is_gone(
        self, write_config: WriteConfig, invoke: Invoke, tmp_path: Path
    ) -> None:
        attachments = "attachments: {duckdb: [{alias: gone, path: gone.duckdb}]}\n"
        config = write_config(
            CATALOG.replace("views:", attachments + "views:")
            + "  - {name: over_it, sql: FROM gone.t}\n  - {name: last, sql: FROM over_it}\n"
        )
        assert invoke("build", config).exit_code == 1
        assert not (tmp_path / "catalog.duckdb").exists()
        result = invoke("build", config, "--keep-going", "--json")
        assert result.exit_code == 1
        document = json.loads(result.stdout)
        assert [one["name"] for one in document["problems"]] == ["gone", "over_it", "last"]
        assert [one["action"] for one in document["views"]][2:] == ["failed", "failed"]
        assert views_in(tmp_path / "catalog.duckdb") == ["doubled", "größe"]
        again = invoke("build", config, "--keep-going")
        assert 'attachments.duckdb[0] "gone": there is no file' in again.stderr
        assert "2 unchanged, 2 failed" in again.stdout

    def test_lock_timeout_is_how_long_it_waits_for_another_process(
        self, config: Path, run_cli: RunCli, tmp_path: Path
    ) -> None:
        with duckdb.connect(str(tmp_path / "catalog.duckdb")):
            result = run_cli("build", config, "--lock-timeout", "0.1", timeout_s=20)
        assert result.returncode == 1
        assert "catalog.duckdb: another process has the catalog open\n" in result.stderr
        assert "--lock-timeout" in result.stderr

    def test_refresh_and_jobs_are_taken(self, config: Path, invoke: Invoke) -> None:
        invoke("build", config)
        assert "2 made again" in invoke("build", config, "--refresh", "--jobs", "2").stdout


class TestGenerateSql:
    @pytest.mark.parametrize("part", ["views", "full", "session"])
    def test_it_prints_the_part_that_is_asked_for(
        self, part: Any, config: Path, invoke: Invoke
    ) -> None:
        flags = [] if part == "views" else [f"--{part}"]
        result = invoke("generate-sql", config, *flags)
        assert result.exit_code == 0
        assert result.stdout == duckalog.generate_sql(config, part=part)

    @pytest.mark.parametrize("flag", ["--output", "-o"])
    def test_output_writes_a_file_and_prints_nothing(
        self, flag: str, config: Path, invoke: Invoke, tmp_path: Path
    ) -> None:
        (tmp_path / "out.sql").write_text("earlier and much longer" * 1000)
        result = invoke("generate-sql", config, flag, "out.sql")
        assert (result.exit_code, result.output) == (0, "")
        written = (tmp_path / "out.sql").read_bytes()
        assert written == duckalog.generate_sql(config).encode()

    def test_output_dash_is_stdout_and_makes_no_file(
        self, config: Path, invoke: Invoke, tmp_path: Path
    ) -> None:
        result = invoke("generate-sql", config, "--output", "-")
        assert result.stdout == duckalog.generate_sql(config)
        assert list(tmp_path.iterdir()) == [config]

    @pytest.mark.parametrize(
        ("output", "reason"),
        [("missing/out.sql", "No such file or directory"), (".", "Is a directory")],
    )
    def test_an_output_that_cannot_be_written_is_told(
        self, output: str, reason: str, config: Path, invoke: Invoke
    ) -> None:
        result = invoke("generate-sql", config, "--output", output)
        assert result.exit_code == 1
        assert result.stderr == f"{output}: cannot be written: {reason}\n"


class TestValidate:
    def test_it_says_that_a_config_is_valid(self, config: Path, invoke: Invoke) -> None:
        assert invoke("validate", config).output == "catalog.yaml: valid\n"

    def test_it_opens_nothing(self, write_config: WriteConfig, invoke: Invoke) -> None:
        views = "views: [{name: v, source: parquet, uri: nowhere.parquet}]\n"
        assert invoke("validate", write_config(f"version: 1\n{views}")).exit_code == 0

    def test_connect_binds_every_view_and_writes_nothing(
        self, config: Path, write_config: WriteConfig, invoke: Invoke, tmp_path: Path
    ) -> None:
        assert invoke("validate", config, "--connect").output == (
            "catalog.yaml: valid and reachable\n"
        )
        assert list(tmp_path.iterdir()) == [config]
        write_config(CATALOG + "  - {name: broken, sql: FROM nowhere}\n")
        result = invoke("validate", config, "--connect")
        assert result.exit_code == 1
        assert 'catalog.yaml:6: views[2] "broken": DuckDB refused the view\n' in result.stderr


def test_validate_may_let_variables_be_unset(write_config: WriteConfig, invoke: Invoke) -> None:
    text = (
        'version: 1\nduckdb: {database: "${env:D}/c.duckdb", settings: {threads: "${env:N}"}}\n'
        'iceberg_catalogs: [{name: ice, catalog_type: rest, uri: "http://x",'
        ' options: {secret: "${env:S}"}}]\n'
        'views: [{name: v, sql: "SELECT ${env:C} FROM ${env:T}"},'
        ' {name: p, source: postgres, database: "${env:P}", table: t},'
        ' {name: f, sql_file: "${env:F}.sql", checks: [{type: sql, sql_file: "${env:F}"},'
        ' {type: row_count, min: "${env:M}", max: 5},'
        ' {type: freshness, column: x, max_age: "${env:A}"}]}]\n'
    )
    config = write_config(text)
    assert invoke("validate", config).exit_code == 1
    assert invoke("validate", config, "--allow-unset").stdout == "catalog.yaml: valid\n"
    assert invoke("validate", config, "--allow-unset", "--connect").exit_code == 2
    write_config(text.removesuffix("]\n") + ", {name: w, sql: SELEC 1}]\n")
    assert "cannot parse it" in invoke("validate", config, "--allow-unset").stderr


@pytest.mark.parametrize("view", ["sql: 'SELECT ${X}'", "source: csv, uri: '${X}/a.csv'"])
def test_a_variable_as_a_shell_writes_it_is_told_with_the_way_it_is_written(
    view: str, write_config: WriteConfig, invoke: Invoke
) -> None:
    config = write_config(f"version: 1\nviews: [{{name: v, {view}}}]\n")
    told = invoke("validate", config, "--connect").stderr
    assert told.endswith("    A variable is written ${env:X}.\n")


def test_an_option_that_a_reader_does_not_have_is_told_with_the_nearest(
    write_config: WriteConfig, invoke: Invoke, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("i\n1\n")
    view = "{name: v, source: csv, uri: a.csv, options: {delimm: ','}}"
    config = write_config(f"version: 1\nduckdb: {{database: c.duckdb}}\nviews: [{view}]\n")
    told = invoke("build", config).stderr
    assert re.search('Did you mean:? "delim"', told)
    assert told.count("\n") < 12


class TestPlan:
    def test_it_tells_what_a_build_would_do_and_writes_nothing(
        self, config: Path, invoke: Invoke, tmp_path: Path
    ) -> None:
        result = invoke("plan", config)
        assert result.exit_code == 0
        assert "+ größe" in result.stdout
        assert result.stdout.endswith("Plan: 2 to create\n")
        assert list(tmp_path.iterdir()) == [config]

    def test_detailed_exitcode_is_2_where_there_are_changes(
        self, config: Path, invoke: Invoke
    ) -> None:
        assert invoke("plan", config, "--detailed-exitcode").exit_code == 2
        invoke("build", config)
        assert invoke("plan", config, "--detailed-exitcode").exit_code == 0

    def test_some_views_are_planned_and_built_alone(
        self, config: Path, write_config: WriteConfig, invoke: Invoke
    ) -> None:
        invoke("build", config)
        write_config(CATALOG.replace("SELECT 1 AS i", "SELECT 1.5 AS i").replace("2 * i", "3 * i"))
        chosen = ("--select", "größe")
        assert "Plan: 1 to replace\n" in invoke("plan", config, *chosen).stdout
        assert "Plan: 1 to replace\n" in invoke("plan", config, *chosen, "--refresh").stdout
        told = invoke("build", config, *chosen).stdout
        assert "Left to the next build, since they read what was made: gold.doubled\n" in told
        assert "1 replaced (" in told
        assert (
            "~ gold.doubled"
            in invoke("plan", config, "--select", "gold.doubled", "--refresh").stdout
        )
        write_config(CATALOG.replace("SELECT 1 AS i", "SELECT 1.5 AS i"))
        document = json.loads(invoke("build", config, *chosen, "--json").stdout)
        assert document["invalidated"] == []
        result = invoke("plan", config, "--select", "grösse")
        assert 'no view is called "grösse"' in result.stderr

    def test_what_a_view_made_by_hand_has_is_shown(
        self, config: Path, invoke: Invoke, tmp_path: Path
    ) -> None:
        with duckdb.connect(str(tmp_path / "catalog.duckdb")) as connection:
            connection.execute('CREATE VIEW "größe" AS SELECT 7 AS i')
        told = invoke("plan", config, "--adopt").stdout
        assert "~ größe  it was made by hand" in told
        assert "    -SELECT 7 AS i\n    +SELECT 1 AS i\n" in told

    def test_comments_that_changed_are_shown(
        self, write_config: WriteConfig, invoke: Invoke
    ) -> None:
        text = (
            "version: 1\nduckdb: {database: c.duckdb}\nviews:\n"
            "  - {name: a, sql: SELECT 1 AS i, description: old, columns: {I: the number}}\n"
            "  - {name: b, source: csv, uri: b.csv}\n"
        )
        config = write_config(text)
        (config.parent / "b.csv").write_text("i\n1\n")
        assert invoke("build", config).exit_code == 0
        text = text.replace("old, columns: {I: the number}", "new").replace(
            "b.csv", "b.csv, pin: true"
        )
        write_config(text)
        plan = invoke("plan", config)
        assert plan.stdout == (
            "~ a  its comments changed (catalog.yaml:4)\n"
            "    comment: old → new\n"
            "    comment on i: the number → (none)\n"
            "~ b  its pin changed (catalog.yaml:5)\n"
            "Plan: 2 to replace\n"
        )
        (changed, pinned) = json.loads(invoke("plan", config, "--json").stdout)["views"]
        assert len(changed["comments"]) == 2
        assert pinned["comments"] == []


class TestEnvFile:
    def test_its_variables_are_read_and_the_environment_wins(
        self, config: Path, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "own.env").write_text('WHOSE="the file\'s"\n', encoding="utf-8")
        arguments = ("generate-sql", config, "--env-file", "own.env")
        assert "nobody''s" in invoke("generate-sql", config).stdout
        assert "the file''s" in invoke(*arguments).stdout
        monkeypatch.setenv("DUCKALOG_ENV_FILE", "own.env")
        assert "the file''s" in invoke("generate-sql", config).stdout
        monkeypatch.setenv("WHOSE", "the environment's")
        assert "the environment''s" in invoke(*arguments).stdout

    @pytest.mark.parametrize("name", ["build", "validate", "generate-sql", "plan"])
    def test_every_command_with_a_config_takes_one(
        self, name: str, config: Path, invoke: Invoke
    ) -> None:
        result = invoke(name, config, "--env-file", "missing.env")
        assert result.exit_code == 1
        assert result.stderr == (
            "missing.env: the env file cannot be read: No such file or directory\n"
        )

    def test_no_file_is_read_unasked(self, config: Path, invoke: Invoke, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("WHOSE=somebody\n")
        assert "nobody''s" in invoke("generate-sql", config).stdout


def test_validate_tells_of_a_view_that_names_its_own_catalog(
    write_config: WriteConfig, run_cli: RunCli
) -> None:
    config = write_config(CATALOG + "  - {name: again, sql: FROM catalog.main.größe}\n")
    result = run_cli("validate", config)
    assert (result.returncode, result.stdout) == (0, "catalog.yaml: valid\n")
    assert '"again": the query names its own catalog, "catalog"' in result.stderr
    assert "Write: main.größe" in result.stderr


class TestVersion:
    @pytest.mark.parametrize("arguments", [["version"], ["--version"]])
    def test_it_is_the_installed_one(self, arguments: list[str], invoke: Invoke) -> None:
        assert invoke(*arguments).stdout.split()[-1] == duckalog.__version__

    def test_json_has_those_of_duckdb_and_python_too(self, invoke: Invoke) -> None:
        assert json.loads(invoke("version", "--json").stdout) == {
            "duckalog": duckalog.__version__,
            "duckdb": duckdb.__version__,
            "python": platform.python_version(),
        }


class TestJson:
    def document(self, result: click.testing.Result) -> dict[str, Any]:
        """Return the one line that is printed, and nothing is told elsewhere."""
        assert result.stderr == ""
        assert result.stdout.count("\n") == 1
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    def test_of_validate(self, config: Path, invoke: Invoke) -> None:
        assert self.document(invoke("validate", config, "--json")) == {"ok": True, "problems": []}

    def test_of_generate_sql(self, config: Path, invoke: Invoke, tmp_path: Path) -> None:
        document = self.document(invoke("generate-sql", config, "--json"))
        assert document == {"ok": True, "output": None, "sql": duckalog.generate_sql(config)}
        document = self.document(invoke("generate-sql", config, "--json", "-o", "x.sql"))
        assert document["output"] == str(tmp_path / "x.sql")

    def test_of_a_dry_run(self, config: Path, invoke: Invoke) -> None:
        document = self.document(invoke("build", config, "--dry-run", "--json"))
        assert document == {"ok": True, "sql": duckalog.generate_sql(config, part="full")}

    def test_of_a_build(self, config: Path, invoke: Invoke, tmp_path: Path) -> None:
        document = self.document(invoke("build", config, "--json"))
        keys = ["ok", "database", "seconds", "published", "views", "invalidated", "problems"]
        assert list(document) == keys
        assert document["database"] == str(tmp_path / "catalog.duckdb")
        assert [list(view) for view in document["views"]] == [VIEW_KEYS, VIEW_KEYS]
        first = document["views"][0]
        assert first.pop("seconds") >= 0
        assert first == {
            "schema": "main",
            "name": "größe",
            "action": "created",
            "columns": [{"name": "i", "type": "INTEGER"}],
            "drift": [],
            "problem": None,
            "file": str(config),
            "line": 5,
        }

    def test_of_a_build_that_kept_going(self, write_config: WriteConfig, invoke: Invoke) -> None:
        config = write_config(CATALOG + "  - {name: broken, sql: FROM nowhere}\n")
        result = invoke("build", config, "--keep-going", "--json")
        document = self.document(result)
        assert (result.exit_code, document["ok"]) == (1, False)
        (problem,) = (view["problem"] for view in document["views"] if view["problem"])
        assert list(problem) == PROBLEM_KEYS

    def test_verbose_leaves_it_one_document(self, config: Path, invoke: Invoke) -> None:
        result = invoke("build", config, "--json", "--verbose")
        assert json.loads(result.stdout)["ok"] is True
        assert "CREATE OR REPLACE VIEW" in result.stderr

    def test_of_a_plan(self, config: Path, invoke: Invoke) -> None:
        document = self.document(invoke("plan", config, "--json"))
        assert list(document) == ["ok", "is_empty", "problems", "views", "removed", "kept"]
        keys = [
            "schema",
            "name",
            "action",
            "reason",
            "query_before",
            "query",
            "comments",
            "drift",
            "files",
        ]
        assert list(document["views"][0]) == [*keys, "file", "line"]

    def test_of_a_plan_with_conflicts(self, config: Path, invoke: Invoke, tmp_path: Path) -> None:
        with duckdb.connect(str(tmp_path / "catalog.duckdb")) as connection:
            connection.execute('CREATE TABLE "größe" (i INTEGER)')
        result = invoke("plan", config, "--json")
        document = self.document(result)
        assert (result.exit_code, document["ok"]) == (1, False)
        assert [list(problem) for problem in document["problems"]] == [PROBLEM_KEYS]
        actions = {view["name"]: view["action"] for view in document["views"]}
        assert actions == {"größe": "failed", "doubled": "failed"}  # the one reads the other

    @pytest.mark.parametrize("name", ["build", "validate", "generate-sql", "plan"])
    def test_of_a_failure(self, name: str, write_config: WriteConfig, invoke: Invoke) -> None:
        config = write_config(BROKEN)
        result = invoke(name, config, "--json")
        document = self.document(result)
        assert result.exit_code == 1
        assert list(document) == ["ok", "error", "problems", "note"]
        assert (document["ok"], document["error"]) == (False, "ConfigError")
        assert all(list(problem) == PROBLEM_KEYS for problem in document["problems"])
        assert {problem["file"] for problem in document["problems"]} == {str(config)}
        (unknown,) = (one for one in document["problems"] if one["line"] == 11)
        assert unknown["path"] == ["views", 3, "colour"]
        assert unknown["message"] == 'unknown key "colour"'

    def test_of_a_failure_of_duckdb(self, write_config: WriteConfig, invoke: Invoke) -> None:
        config = write_config(CATALOG + "  - {name: broken, sql: FROM nowhere}\n")
        document = self.document(invoke("build", config, "--json"))
        assert document["error"] == "EngineError"
        (problem,) = document["problems"]
        assert (problem["name"], problem["path"]) == ("broken", ["views", 2])
        assert "nowhere" in problem["cause"]
        assert problem["remedy"] is None
        assert document["note"] == "The catalog was left as it was."

    def test_it_may_stand_before_what_fails(self, invoke: Invoke) -> None:
        assert self.document(invoke("build", "--json", "missing.yaml"))["ok"] is False


class TestExitStatus:
    """In processes of their own."""

    @pytest.mark.parametrize("name", ["build", "validate", "generate-sql", "plan"])
    def test_0_where_all_is_well(self, name: str, config: Path, run_cli: RunCli) -> None:
        result = run_cli(name, config)
        assert (result.returncode, result.stderr) == (0, "")

    @pytest.mark.parametrize("name", ["build", "validate", "generate-sql", "plan"])
    def test_1_for_a_config_that_is_wrong(
        self, name: str, write_config: WriteConfig, run_cli: RunCli
    ) -> None:
        result = run_cli(name, write_config(BROKEN))
        assert (result.returncode, result.stdout) == (1, "")
        assert "Traceback" not in result.stderr

    def test_1_for_what_duckdb_refuses(self, write_config: WriteConfig, run_cli: RunCli) -> None:
        config = write_config(CATALOG + "  - {name: broken, sql: FROM nowhere}\n")
        result = run_cli("build", config)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.endswith("    The catalog was left as it was.\n")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["bild"],
            ["build"],
            ["build", "a.yaml", "b.yaml"],
            ["build", "a.yaml", "--nonsense"],
            ["build", "a.yaml", "--lock-timeout", "-1"],
            ["build", "a.yaml", "--lock-timeout", "soon"],
            ["build", "a.yaml", "--jobs", "0"],
            ["generate-sql", "a.yaml", "--full", "--session"],
            ["generate-sql", "a.yaml", "--output"],
            ["--nonsense"],
        ],
    )
    def test_2_for_arguments_that_are_wrong(self, arguments: list[str], invoke: Invoke) -> None:
        result = invoke(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Error: " in result.stderr

    def test_a_config_that_is_missing_is_named_where_one_lies_here(
        self, config: Path, invoke: Invoke
    ) -> None:
        told = "Error: Missing argument 'CONFIG'. Try: cli build catalog.yaml\n"
        assert invoke("build").stderr.endswith(told)
        config.unlink()
        assert invoke("ls").stderr.endswith(
            "Missing argument 'CONFIG'. duckalog init writes one.\n"
        )

    def test_the_nearest_command_is_suggested(self, invoke: Invoke) -> None:
        assert 'No such command "bild". Did you mean "build"?\n' in invoke("bild").stderr
        assert invoke("xyz").stderr.endswith('No such command "xyz".\n')

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
    def test_130_for_ctrl_c_and_the_catalog_stays(self, config: Path, tmp_path: Path) -> None:
        duckalog.build(config)
        arguments = ["build", str(config), "--verbose", "--lock-timeout", "60"]
        with duckdb.connect(str(tmp_path / "catalog.duckdb")), started(*arguments) as process:
            assert process.stderr
            for line in process.stderr:
                if "waiting for the lock" in line:
                    break
            process.send_signal(signal.SIGINT)
            said = process.stderr.read()
            assert process.wait(20) == 130
        assert "Interrupted" in said
        assert "Traceback" not in said
        assert views_in(tmp_path / "catalog.duckdb") == ["doubled", "größe"]

    def test_the_installed_script_is_the_same_program(self, config: Path) -> None:
        script = Path(sys.executable).with_name("duckalog")
        if not script.exists():
            pytest.skip("duckalog is not installed here")
        result = subprocess.run([script, "validate", config], capture_output=True, check=False)
        assert (result.returncode, result.stderr) == (0, b"")


@contextlib.contextmanager
def started(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a running `duckalog`, its output in pipes; it is ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "duckalog", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Unbuffered, Python loses what a pipe does not take at once, without a word (3.11).
        env={**os.environ, "PYTHONUNBUFFERED": "", **environment},
        encoding="utf-8",
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


class TestSurroundings:
    @pytest.mark.parametrize("arguments", [["generate-sql"], ["build", "--dry-run", "--json"]])
    def test_a_reader_that_leaves_early_gives_no_traceback(
        self, arguments: list[str], write_config: WriteConfig
    ) -> None:
        views = "".join(f"  - {{name: v{i}, sql: SELECT {i} AS i}}\n" for i in range(5000))
        config = write_config(f"version: 1\nviews:\n{views}")
        with started(*arguments, str(config)) as process:
            assert process.stdout
            assert process.stderr
            process.stdout.read(10)
            process.stdout.close()
            assert process.stderr.read() == ""
            assert process.wait(20) == 1

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
    @pytest.mark.parametrize("arguments", [["--help"], ["version"], ["build", "--help"]])
    def test_an_output_that_is_full_gives_no_traceback(self, arguments: list[str]) -> None:
        with open("/dev/full", "wb") as full:
            result = subprocess.run(
                [sys.executable, "-m", "duckalog", *arguments],
                stdout=full,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                check=False,
            )
        assert result.returncode == 1
        assert result.stderr == ("the output: cannot be written or read: No space left on device\n")

    @pytest.mark.skipif(sys.platform == "win32", reason="the shell is a POSIX one")
    @pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
    def test_streams_that_are_closed_do_no_harm(
        self, closed: str, config: Path, tmp_path: Path
    ) -> None:
        program = f'"{sys.executable}" -m duckalog build "{config}" --verbose {closed}'
        assert (
            subprocess.run(["sh", "-c", program], check=False, capture_output=True).returncode == 0
        )
        assert views_in(tmp_path / "catalog.duckdb") == ["doubled", "größe"]

    @pytest.mark.parametrize(
        "environment",
        [
            {"LC_ALL": "C"},
            {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"},
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            {"PYTHONIOENCODING": "ascii"},
        ],
        ids=["C", "POSIX", "no UTF-8 mode", "ASCII output"],
    )
    def test_names_that_are_not_ascii_work_in_any_locale(
        self, environment: dict[str, str], config: Path, run_cli: RunCli, tmp_path: Path
    ) -> None:
        result = run_cli("build", config.name, "--verbose", env=environment)
        assert (result.returncode, "größe" in result.stdout) == (0, True)
        assert 'CREATE OR REPLACE VIEW "größe"' in result.stderr
        result = run_cli("generate-sql", config.name, "--output", "x.sql", env=environment)
        assert (result.returncode, result.stderr) == (0, "")
        assert "größe" in (tmp_path / "x.sql").read_text(encoding="utf-8")

    @pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
    def test_paths_that_are_not_ascii_work_in_any_locale(
        self, locale: str, write_config: WriteConfig, run_cli: RunCli, tmp_path: Path
    ) -> None:
        config = write_config(CATALOG, "größe/日本.yaml")
        result = run_cli("build", config.relative_to(tmp_path), env={"LC_ALL": locale})
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith("Built größe/catalog.duckdb: ")

    @pytest.mark.parametrize(
        "environment", [{"COLUMNS": "10"}, {"COLUMNS": "1000"}, {"TERM": "dumb"}, {"TERM": ""}]
    )
    @pytest.mark.parametrize("name", ["", *COMMANDS])
    def test_help_fits_any_terminal(
        self,
        name: str,
        environment: dict[str, str],
        invoke: Invoke,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for variable, setting in environment.items():
            monkeypatch.setenv(variable, setting)
        result = invoke(*([name] if name else []), "--help")
        assert (result.exit_code, result.stderr) == (0, "")
        assert "Usage:" in result.stdout

    def test_output_that_is_no_terminal_has_no_colours(self, config: Path, run_cli: RunCli) -> None:
        assert "\x1b" not in run_cli("plan", config).stdout
        assert "\x1b" not in run_cli("--help").stdout

    def test_it_works_from_any_folder(
        self, config: Path, run_cli: RunCli, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        assert run_cli("build", config, cwd=elsewhere).returncode == 0
        assert list(elsewhere.iterdir()) == []
        assert (config.parent / "catalog.duckdb").exists()


class TestHelp:
    @pytest.mark.parametrize("flag", ["--help", "-h"])
    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_option_of_a_command_says_what_it_does(
        self, name: str, flag: str, invoke: Invoke
    ) -> None:
        result = invoke(name, flag)
        assert result.exit_code == 0
        shown = " ".join(result.stdout.split())
        for parameter in command(name).params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[0] in shown
                assert parameter.help
                assert parameter.help in shown

    def test_every_command_is_listed(self, invoke: Invoke) -> None:
        shown = invoke("--help").stdout
        assert all(re.search(rf"^  {name} +[A-Z].*\.$", shown, re.MULTILINE) for name in COMMANDS)
        assert "..." not in shown.partition("Commands:")[2]

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_is_documented_in_the_readme(self, name: str) -> None:
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        assert f"`duckalog {name}" in readme


class TestCompletion:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_there_is_a_script_for_each_shell(self, shell: str, run_cli: RunCli) -> None:
        result = run_cli(env={"_DUCKALOG_COMPLETE": f"{shell}_source"})
        assert (result.returncode, result.stderr) == (0, "")
        assert "_DUCKALOG_COMPLETE" in result.stdout

    @pytest.mark.parametrize(
        ("words", "completed"),
        [("duckalog gen", ["generate-sql"]), ("duckalog build --db", ["--db-path"])],
    )
    def test_commands_and_options_are_completed(
        self, words: str, completed: list[str], run_cli: RunCli
    ) -> None:
        index = str(len(words.split()) - 1)
        environment = {"COMP_WORDS": words, "COMP_CWORD": index}
        result = run_cli(env={"_DUCKALOG_COMPLETE": "bash_complete", **environment})
        assert [line.partition(",")[2] for line in result.stdout.splitlines()] == completed


PROBLEM_LINE = re.compile(r'catalog\.yaml:(?P<line>\d+): (?P<path>[\w.\[\]]+)( ".+?")?: \S.*')


class TestMessages:
    def test_each_is_a_place_a_key_path_and_what_is_wrong_in_the_order_of_the_file(
        self, write_config: WriteConfig, invoke: Invoke
    ) -> None:
        said = invoke("validate", write_config(BROKEN)).stderr
        heads = [line for line in said.splitlines() if not line.startswith("    ")]
        found = [PROBLEM_LINE.fullmatch(line) for line in heads]
        assert all(found), said
        assert [(match["line"], match["path"]) for match in found if match] == [
            ("4", "duckdb.secrets[0].use_ssl"),
            ("8", "views[0].database"),
            ("9", "views[1].source"),
            ("10", "views[2].sql"),
            ("11", "views[3].colour"),
        ]

    def test_the_way_to_mend_it_is_indented_below(
        self, write_config: WriteConfig, invoke: Invoke
    ) -> None:
        said = invoke("validate", write_config(BROKEN)).stderr.splitlines()
        place = next(number for number, line in enumerate(said) if "views[2].sql" in line)
        assert said[place] == (
            "catalog.yaml:10: views[2].sql: environment variable NOT_SET is not set"
        )
        assert said[place + 1] == "    Export it, or write a default: ${env:NOT_SET:…}"

    def test_the_nearest_name_is_suggested(self, write_config: WriteConfig, invoke: Invoke) -> None:
        said = invoke("validate", write_config(BROKEN)).stderr
        assert 'Did you mean "parquet"?' in said
        assert 'Did you mean "dw"?' in said

    def test_none_says_please_or_shouts(self, write_config: WriteConfig, invoke: Invoke) -> None:
        said = invoke("validate", write_config(BROKEN)).stderr
        said += invoke("build", "missing.yaml").stderr + invoke("build", ".").stderr
        assert "!" not in said
        assert "please" not in said.lower()

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("missing.yaml", "missing.yaml: there is no such file\n"),
            ("missing/catalog.yaml", "missing/catalog.yaml: there is no such file\n"),
            ("", ": this is a folder, not a file\n"),
        ],
    )
    def test_a_config_that_is_no_file_is_told(
        self, path: str, message: str, invoke: Invoke
    ) -> None:
        result = invoke("build", path)
        assert result.exit_code == 1
        assert result.stderr.endswith(message)

    @pytest.mark.usefixtures("config")
    def test_the_config_in_a_folder_is_named(self, invoke: Invoke) -> None:
        assert invoke("build", ".").stderr.endswith("not a file\n    Write catalog.yaml.\n")

    def test_files_are_called_as_seen_from_the_working_folder(
        self, write_config: WriteConfig, invoke: Invoke, tmp_path: Path
    ) -> None:
        write_config(BROKEN, "team/catalog.yaml")
        assert invoke("validate", tmp_path / "team" / "catalog.yaml").stderr.startswith(
            "team/catalog.yaml:4: "
        )
