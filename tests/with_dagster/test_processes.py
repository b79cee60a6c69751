"""Dagster's own programs run a catalog: its command line, webserver, executors and daemon code."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("dagster")

from dagster import (
    AssetKey,
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    RunRequest,
    SkipReason,
    build_schedule_context,
    build_sensor_context,
    materialize,
)

import duckalog
from duckalog_dagster import (
    build_duckalog_assets,
    build_duckalog_config_sensor,
    build_duckalog_definitions,
    build_schedule_from_duckalog_selection,
)
from tests.conftest import ROOT, WriteConfig

pytestmark = pytest.mark.servers

MARK = "zqxzqxzqxzqx"  # of a secret that no event may tell

CONFIG = """
version: 1
duckdb:
  database: shop.duckdb
  secrets:
    - {type: s3, key_id: "${env:SHOP_KEY_ID}", secret: "${env:SHOP_SECRET}"}
views:
  - {name: v0, sql: SELECT 0 AS i}
""" + "".join(
    f"  - {{name: v{number}, sql: SELECT i + 1 AS i FROM v{number - 1}, tags: [core]}}\n"
    for number in range(1, 6)
)

ATTACHMENTS = """
attachments:
  postgres:
    - {alias: dw, host: 127.0.0.1, port: 1, database: d, user: u, password: "${env:SHOP_SECRET}"}
"""

DEFINITIONS = """
from pathlib import Path
from duckalog_dagster import build_duckalog_definitions
defs = build_duckalog_definitions(Path(__file__).with_name("catalog.yaml"), assets_per_op=2)
"""

INSTANCE = """
telemetry: {enabled: false}
nux: {enabled: false}
run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}
"""


@pytest.fixture
def project(write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a code location in three ops, with an instance of its own."""
    config = write_config(CONFIG)
    (config.parent / "definitions.py").write_text(DEFINITIONS)
    home = config.parent / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(INSTANCE)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("SHOP_KEY_ID", f"{MARK}-key")
    monkeypatch.setenv("SHOP_SECRET", f"{MARK}-secret")
    return config.parent


def dagster(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dagster", *arguments],
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@pytest.fixture
def webserver(project: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that asks a running webserver by GraphQL; a database is not there."""
    (project / "catalog.yaml").write_text(CONFIG + ATTACHMENTS)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [sys.executable, "-m", "dagster_webserver", "-f", "definitions.py"]
    process = subprocess.Popen(
        [*command, "-h", "127.0.0.1", "-p", str(port)],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def ask(query: str, **variables: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    try:
        until(lambda: ask("{ version }"), within_s=90)
        yield ask
    finally:
        process.terminate()
        process.wait(30)


def until(found: Callable[[], Any], within_s: float) -> Any:
    """Return what a function returns as soon as that is true."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            answer = found()
        except (urllib.error.URLError, ConnectionError):
            answer = None
        if answer or time.monotonic() > deadline:
            assert answer, "not within the time limit"
            return answer
        time.sleep(0.3)


LAUNCH = """
mutation ($selection: [AssetKeyInput!]!, $config: RunConfigData!) {
  launchPipelineExecution(executionParams: {selector: {
    repositoryLocationName: "definitions.py", repositoryName: "__repository__",
    pipelineName: "__ASSET_JOB", assetSelection: $selection
  }, runConfigData: $config, mode: "default"}) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}"""

RUN = """
query ($id: ID!) { runOrError(runId: $id) { ... on Run { status
  assetMaterializations { assetKey { path } metadataEntries { label
    ... on TextMetadataEntry { text }
    ... on TableSchemaMetadataEntry { schema { columns { name type } } }
    ... on TableColumnLineageMetadataEntry {
      lineage { columnName columnDeps { assetKey { path } columnName } }
    }
  } }
  eventConnection { events { __typename ... on MessageEvent { message } } }
} } }"""

GRAPH = """
{ assetNodes { assetKey { path } isObservable kinds opVersion staleStatus
  dependencyKeys { path }
  metadataEntries { label ... on MarkdownMetadataEntry { mdStr } }
  assetChecksOrError { ... on AssetChecks { checks {
    name executionForLatestMaterialization { status }
  } } } } }"""


def test_the_webserver_shows_the_assets_and_launches_runs(
    project: Path, webserver: Callable[..., Any]
) -> None:
    def launched(*keys: list[str], executor: str) -> Any:
        answer = webserver(
            LAUNCH,
            selection=[{"path": key} for key in keys],
            config={"execution": {"config": {executor: {}}}},
        )
        assert "run" in answer["launchPipelineExecution"], answer
        run_id = answer["launchPipelineExecution"]["run"]["runId"]

        def ended() -> Any:
            run = webserver(RUN, id=run_id)["runOrError"]
            return run if run["status"] in ("SUCCESS", "FAILURE") else None

        return until(ended, within_s=120)

    nodes = webserver(GRAPH)["assetNodes"]
    keys = [node["assetKey"]["path"] for node in nodes]
    dw = ["shop", "attachments", "dw"]
    assert keys == [dw, *(["shop", f"v{number}"] for number in range(6))]
    views = keys[1:5]
    run = launched(*views, executor="multiprocess")
    assert run["status"] == "SUCCESS"
    told = {
        tuple(one["assetKey"]["path"]): {entry["label"]: entry for entry in one["metadataEntries"]}
        for one in run["assetMaterializations"]
    }
    assert sorted(map(list, told)) == views
    last = told["shop", "v3"]
    assert last["duckalog/action"]["text"] == "created"
    assert last["dagster/column_schema"]["schema"]["columns"] == [{"name": "i", "type": "INTEGER"}]
    (column,) = last["dagster/column_lineage"]["lineage"]
    assert column == {
        "columnName": "i",
        "columnDeps": [{"assetKey": {"path": ["shop", "v2"]}, "columnName": "i"}],
    }
    with duckalog.connect(duckalog.load_plan(project / "catalog.yaml").chosen(["v3"])) as catalog:
        # Several ops, each in a process of its own, and one build that all of them tell of.
        assert catalog.execute("SELECT count(*) FROM _duckalog.builds").fetchall() == [(1,)]

    after = webserver(GRAPH)["assetNodes"]
    states = {
        tuple(node["assetKey"]["path"]): (
            node["staleStatus"],
            [
                check["executionForLatestMaterialization"]
                and check["executionForLatestMaterialization"]["status"]
                for check in node["assetChecksOrError"]["checks"]
            ],
        )
        for node in after
    }
    assert [states[tuple(key)] for key in views] == [("FRESH", ["SUCCEEDED"])] * 4
    assert states["shop", "v5"] == ("MISSING", [None])

    failed = launched(dw, executor="in_process")
    assert failed["status"] == "FAILURE"
    messages = " ".join(one.get("message") or "" for one in failed["eventConnection"]["events"])
    assert "did not pass" in messages
    assert MARK not in json.dumps([nodes, run, after, failed, webserver(GRAPH)])
    assert not [file for file in project.rglob("*") if file.is_file() and holds_mark(file)]


def holds_mark(file: Path) -> bool:
    return MARK.encode() in file.read_bytes()


class TestAutomation:
    def test_a_schedule_ticks_with_the_chosen_assets(self, project: Path) -> None:
        assets = build_duckalog_assets(project / "catalog.yaml")
        schedule = build_schedule_from_duckalog_selection(
            assets, "daily", "0 6 * * *", select="v0 v1", tags={"team": "data"}
        )
        defs = Definitions.merge(
            build_duckalog_definitions(project / "catalog.yaml"),
            Definitions(schedules=[schedule]),
        )
        with (
            DagsterInstance.ephemeral() as instance,
            build_schedule_context(instance, repository_def=defs.get_repository_def()) as context,
        ):
            (request,) = schedule.evaluate_tick(context).run_requests or ()
            assert request.tags["dagster/schedule_name"] == "daily_schedule"
            job = defs.resolve_job_def("daily")
            assert job.tags["team"] == "data"
            result = job.execute_in_process(instance=instance)
        made = [event.asset_key.path[-1] for event in result.get_asset_materialization_events()]
        assert made == ["v0", "v1"]

    def test_the_config_sensor_runs_what_the_config_has_once_it_changed(
        self, project: Path
    ) -> None:
        config = project / "catalog.yaml"
        sensor = build_duckalog_config_sensor(config)
        defs = build_duckalog_definitions(config)
        with DagsterInstance.ephemeral() as instance:
            with build_sensor_context(instance, repository_def=None) as context:
                first = sensor(context)
                assert isinstance(first, SkipReason)
                assert isinstance(sensor(context), SkipReason)
                config.write_text(config.read_text().replace("# ", "") + "# a comment\n")
                assert isinstance(sensor(context), SkipReason)
                config.write_text(config.read_text().replace("SELECT 0 AS i", "SELECT 2 AS i"))
                request = sensor(context)
            assert isinstance(request, RunRequest)
            assert {key.path[-1] for key in request.asset_selection or ()} == {
                f"v{number}" for number in range(6)
            }
            result = materialize(
                list(defs.assets or ()),
                resources=defs.resources,
                instance=instance,
                selection=list(request.asset_selection or ()),
            )
            assert result.success
        with duckalog.connect(config) as connection:
            assert connection.execute("FROM v5").fetchall() == [(7,)]

    def test_the_config_sensor_builds_a_new_view_once_the_code_location_has_it(
        self, project: Path
    ) -> None:
        config = project / "catalog.yaml"
        before = build_duckalog_config_sensor(config)
        with DagsterInstance.ephemeral() as instance, build_sensor_context(instance) as context:
            before(context)
            config.write_text(config.read_text() + "  - {name: more, sql: SELECT 1}\n")
            skipped = before(context)
            assert isinstance(skipped, SkipReason)
            assert skipped.skip_message == "reload the code location to have shop/more"
            request = build_duckalog_config_sensor(config)(context)
        assert isinstance(request, RunRequest)
        assert AssetKey(["shop", "more"]) in (request.asset_selection or ())

    def test_the_config_sensor_has_a_run_for_every_change_also_back_and_forth(
        self, project: Path
    ) -> None:
        config = project / "catalog.yaml"
        texts = [config.read_text(), config.read_text().replace("SELECT 0 AS i", "SELECT 2 AS i")]
        sensor = build_duckalog_config_sensor(config)
        keys = set()
        with DagsterInstance.ephemeral() as instance, build_sensor_context(instance) as context:
            sensor(context)
            for number in range(1, 5):
                config.write_text(texts[number % 2])
                request = sensor(context)
                assert isinstance(request, RunRequest)
                keys.add(request.run_key)
        assert len(keys) == 4  # Dagster makes one run of each key

    def test_the_config_sensor_tells_why_a_config_cannot_be_built(self, project: Path) -> None:
        config = project / "catalog.yaml"
        sensor = build_duckalog_config_sensor(config)
        config.write_text(config.read_text() + "nope: 1\n")
        with DagsterInstance.ephemeral() as instance, build_sensor_context(instance) as context:
            skipped = sensor(context)
        assert isinstance(skipped, SkipReason)
        assert "catalog.yaml" in (skipped.skip_message or "")


def copy_example(folder: Path) -> None:
    ignored = shutil.ignore_patterns("talknshop.duckdb*", "__pycache__")
    shutil.copytree(ROOT / "example_project", folder, ignore=ignored)


def test_the_example_is_built_by_the_command_line(tmp_path: Path) -> None:
    """On a copy, so that the checkout stays as it is."""
    copy_example(tmp_path / "example_project")
    shutil.copy(ROOT / "workspace.yaml", tmp_path)
    result = dagster(
        *("asset", "materialize", "--select", "*", "-m", "example_project.definitions"),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "example_project" / "talknshop.duckdb").exists()
    assert DagsterRunStatus.SUCCESS.value in result.stderr + result.stdout
    assert os.listdir(tmp_path).count("workspace.yaml") == 1


PYPROJECT = """
[project]
name = "shop_project"
version = "0.1.0"
requires-python = ">=3.10"
dependencies = []
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "shop_project"
"""

LOADED = """
from pathlib import Path
from dagster import definitions, load_from_defs_folder

@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


def test_dg_finds_the_component_checks_it_and_launches_its_assets(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the example, by `defs.yaml`."""
    package = project / "shop_project"
    folder = package / "defs" / "shop"
    copy_example(folder)
    for module in (package, package / "defs"):
        (module / "__init__.py").touch()
    (project / "pyproject.toml").write_text(PYPROJECT)
    (package / "definitions.py").write_text(LOADED)
    (folder / "definitions.py").unlink()
    (folder / "make_data.py").unlink()
    (folder / "defs.yaml").write_text(
        "type: duckalog_dagster.DuckalogComponent\n"
        "attributes: {config: catalog.yaml, observation_cron_schedule: '0 * * * *'}\n"
    )
    scripts = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("VIRTUAL_ENV", str(scripts.parent))
    monkeypatch.setenv("PYTHONPATH", str(project))

    def dg(*arguments: str) -> str:
        result = subprocess.run(
            [scripts / "dg", *arguments],
            cwd=project,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stderr + result.stdout
        return result.stdout

    dg("check", "defs")
    listed = json.loads(dg("list", "defs", "--json"))
    assert "talknshop/products" in {one["asset_key"] for one in listed["assets"]}
    assert [one["name"] for one in listed["schedules"]] == ["observe_talknshop_job_schedule"]
    dg("launch", "--assets", "group:talknshop")
    with duckalog.connect(folder / "catalog.yaml") as connection:
        assert connection.execute(
            "SELECT count(*) FROM analytics.crosspost_success"
        ).fetchall() == [(4,)]
