"""Sources are observed, and what reads them goes stale when their data moves, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("dagster")

from dagster import (
    AssetKey,
    AssetSelection,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    asset,
    define_asset_job,
    evaluate_automation_conditions,
)

from duckalog_dagster import (
    DuckalogResource,
    build_duckalog_assets,
    build_duckalog_definitions,
    build_duckalog_observation_schedule,
    build_duckalog_source_assets,
    duckalog_view_condition,
    get_asset_key_for_source,
    get_asset_key_for_view,
)
from tests.conftest import WriteConfig
from tests.servers.s3 import S3

pytestmark = pytest.mark.servers

LOCAL = """
version: 1
duckdb: {database: shop.duckdb}
views:
  - {name: orders, source: csv, uri: "${env:FOLDER:data}/*.csv", meta: {dagster: {automation: view}}}
  - {name: total, sql: SELECT sum(i) AS total FROM orders, meta: {dagster: {automation: view}}}
"""  # noqa: E501


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as one:
        yield one


@pytest.fixture
def local(write_config: WriteConfig, tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("i\n1\n")
    return write_config(LOCAL)


def with_jobs(defs: Definitions) -> Definitions:
    assets = [one for one in defs.assets or () if hasattr(one, "is_observable")]
    schedule = build_duckalog_observation_schedule(assets, "*/10 * * * *", job_name="look")
    return Definitions.merge(defs, Definitions(schedules=[schedule]))


def look(defs: Definitions, instance: DagsterInstance, **options: bool) -> ExecuteInProcessResult:
    return defs.resolve_job_def("look").execute_in_process(instance=instance, **options)


def build(defs: Definitions, instance: DagsterInstance) -> ExecuteInProcessResult:
    return defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)


def versions(result: ExecuteInProcessResult) -> dict[str, str | None]:
    return {
        event.asset_key.path[-1]: event.step_materialization_data.materialization.tags[
            "dagster/data_version"
        ]
        for event in result.get_asset_materialization_events()
        if event.asset_key and event.step_materialization_data.materialization.tags
    }


def test_an_observation_tells_what_lies_there(local: Path, instance: DagsterInstance) -> None:
    defs = with_jobs(build_duckalog_definitions(local))
    (event,) = look(defs, instance).get_asset_observation_events()
    observation = event.asset_observation_data.asset_observation
    assert observation.metadata["duckalog/files"].value == 1
    assert observation.data_version


def test_a_run_that_looks_at_sources_too_is_all_or_nothing(
    local: Path, instance: DagsterInstance
) -> None:
    local.write_text(
        local.read_text()
        + "  - {name: alone, sql: SELECT 1}\n  - {name: bad, sql: SELECT nope FROM orders}\n"
    )
    catalog = build_duckalog_definitions(local)
    selection = AssetSelection.assets(*catalog.resolve_asset_graph().get_all_asset_keys())
    everything = define_asset_job("everything", selection)
    defs = Definitions.merge(catalog, Definitions(jobs=[everything]))
    result = defs.resolve_job_def("everything").execute_in_process(
        instance=instance, raise_on_error=False
    )
    assert not result.success
    assert result.get_asset_observation_events()
    assert not local.with_name("shop.duckdb").exists()


def test_the_sources_go_beside_assets_of_ones_own(local: Path, instance: DagsterInstance) -> None:
    assets = build_duckalog_assets(local, select="orders")
    with pytest.raises(ValueError, match="no source is among these assets"):
        build_duckalog_observation_schedule(assets, "@daily")
    sources = build_duckalog_source_assets(local, select="orders")
    resources = {"duckalog": DuckalogResource(config=str(local))}
    defs = with_jobs(Definitions(assets=[*assets, *sources], resources=resources))
    (event,) = look(defs, instance).get_asset_observation_events()
    assert event.asset_key == get_asset_key_for_source(local, "${env:FOLDER:data}/*.csv")


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")  # of Dagster's own evaluation
def test_views_are_made_again_when_their_source_moved_and_only_then(
    local: Path, instance: DagsterInstance
) -> None:
    defs = with_jobs(build_duckalog_definitions(local))

    def requested(cursor: object = None) -> tuple[int, object]:
        result = evaluate_automation_conditions(defs, instance, cursor=cursor)  # type: ignore[arg-type]
        return result.total_requested, result.cursor

    look(defs, instance)
    build(defs, instance)
    _, cursor = requested()  # the first tick of a sensor only looks
    look(defs, instance)
    nothing, cursor = requested(cursor)
    assert nothing == 0
    (local.parent / "data" / "b.csv").write_text("i\n2\n")
    look(defs, instance)
    moved, cursor = requested(cursor)
    assert moved == 1
    build(defs, instance)
    readers, cursor = requested(cursor)
    build(defs, instance)
    assert readers == 0  # that build made them too
    assert requested(cursor)[0] == 0


def test_the_version_of_a_view_moves_with_a_source_that_only_a_network_knows(
    write_config: WriteConfig, s3: S3, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.make_bucket("dagster-observed")
    s3.put("dagster-observed", "a.csv", b"i\n1\n")
    monkeypatch.setenv("SECRET_KEY", s3.secret)
    monkeypatch.setenv("BUCKET", "dagster-observed")
    config = write_config(
        "version: 1\nduckdb:\n  database: shop.duckdb\n  secrets:\n"
        f"    - {{type: s3, key_id: {s3.key_id}, secret: '${{env:SECRET_KEY}}',"
        f" region: {s3.region},\n       endpoint: '{s3.endpoint}', url_style: path,"
        " use_ssl: false}\n"
        "views:\n  - {name: orders, source: csv, uri: 's3://${env:BUCKET}/*.csv'}\n"
        "  - {name: total, sql: SELECT sum(i) AS total FROM orders}\n"
    )
    defs = with_jobs(build_duckalog_definitions(config))
    look(defs, instance)
    first = versions(build(defs, instance))
    look(defs, instance)
    assert versions(build(defs, instance)) == first
    s3.put("dagster-observed", "b.csv", b"i\n2\n")
    look(defs, instance)
    second = versions(build(defs, instance))
    assert {name for name in first if first[name] != second[name]} == {"orders", "total"}


def test_files_that_raw_sql_reads_are_sources_too(
    write_config: WriteConfig, instance: DagsterInstance, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("i\n1\n")
    config = write_config(
        "version: 1\nduckdb: {database: shop.duckdb}\n"
        "views: [{name: total, sql: SELECT sum(i) AS total FROM 'a.csv'}]\n"
    )
    defs = with_jobs(build_duckalog_definitions(config))
    (event,) = look(defs, instance).get_asset_observation_events()
    assert event.asset_key == AssetKey(["shop", "files", "a_csv"])
    first = versions(build(defs, instance))
    assert versions(build(defs, instance)) == first
    (tmp_path / "a.csv").write_text("i\n1\n2\n")
    assert versions(build(defs, instance)) != first


def test_a_source_that_cannot_be_asked_fails_the_observation(
    write_config: WriteConfig, s3: S3, instance: DagsterInstance
) -> None:
    config = write_config(
        "version: 1\nduckdb:\n  database: shop.duckdb\n  settings: {http_retries: 0}\n  secrets:\n"
        f"    - {{type: s3, key_id: {s3.key_id}, secret: wrong-secret-key, region: {s3.region},\n"
        f"       endpoint: '{s3.endpoint}', url_style: path, use_ssl: false}}\n"
        "views:\n  - {name: v, source: csv, uri: 's3://dagster-nowhere/*.csv'}\n"
        "  - {name: w, source: csv, uri: 'local.csv'}\n"
    )
    defs = with_jobs(build_duckalog_definitions(config))
    result = look(defs, instance, raise_on_error=False)
    assert not result.success
    # The other is observed; an observation of this one would say that its data moved.
    (event,) = result.get_asset_observation_events()
    assert event.asset_key == AssetKey(["shop", "files", "local_csv"])
    assert "wrong-secret-key" not in repr(result.all_events)


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")  # of Dagster's own evaluation
def test_what_is_made_from_a_view_is_fresh_until_the_view_says_otherwise(
    local: Path, instance: DagsterInstance
) -> None:
    total = get_asset_key_for_view(local, "total")

    @asset(deps=[total], automation_condition=duckalog_view_condition())
    def report() -> None: ...

    catalog = build_duckalog_definitions(local)
    defs = Definitions.merge(catalog, Definitions(assets=[report]))
    build(defs, instance)
    cursor = None

    def is_asked_for_after_a_build() -> bool:
        nonlocal cursor
        build(catalog, instance)
        result = evaluate_automation_conditions(defs, instance, cursor=cursor)
        cursor = result.cursor
        return bool(result.get_num_requested(report.key))

    assert not is_asked_for_after_a_build()  # the first tick of a sensor only looks
    assert not is_asked_for_after_a_build()
    (local.parent / "data" / "b.csv").write_text("i\n2\n")
    assert is_asked_for_after_a_build()
