"""The component: a catalog's assets from `defs.yaml`, with what Dagster expects of components."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("dagster")

from dagster import AssetKey, AssetSpec, DefaultSensorStatus, Definitions, EnvVar, materialize
from dagster.components.testing import create_defs_folder_sandbox
from dagster.components.testing.test_cases import TestTranslationBatched

from duckalog_dagster import DuckalogComponent, DuckalogTranslatorData

pytestmark = [
    pytest.mark.servers,
    # Dagster's own, whenever it loads a component.
    pytest.mark.filterwarnings("ignore:.parse_obj_as. is deprecated"),
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
    pytest.mark.filterwarnings("ignore:Accessing .*automation_condition"),
]

CONFIG = """
version: 1
duckdb: {database: "${env:SHOP_DATABASE:shop.duckdb}"}
views:
  - {name: one, sql: SELECT 1 AS i}
  - {name: two, sql: "SELECT i + 1 AS i FROM one"}
"""


@contextmanager
def loaded(
    attributes: Mapping[str, Any],
    component: type[DuckalogComponent] = DuckalogComponent,
    **document: Any,
) -> Iterator[tuple[DuckalogComponent, Definitions, Path]]:
    """Yield a component and its definitions as Dagster loads them, and its folder."""
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            component_cls=component,
            defs_path="shop",
            defs_yaml_contents={
                "type": f"{component.__module__}.{component.__name__}",
                "attributes": {"config": "catalog.yaml", **attributes},
                **document,
            },
        )
        (path / "catalog.yaml").write_text(CONFIG)
        with sandbox.load_component_and_build_defs(defs_path=path) as (found, defs):
            assert isinstance(found, DuckalogComponent)
            yield found, defs, path


def spec_of(defs: Definitions, *key: str) -> AssetSpec:
    return defs.get_assets_def(AssetKey(key)).specs_by_key[AssetKey(key)]


class TestTranslation(TestTranslationBatched):
    def test_translation(
        self, attributes: Mapping[str, Any], assertion: Any, key_modifier: Any
    ) -> None:
        with loaded({"translation": attributes}) as (_, defs, _):
            key = AssetKey(["catalog", "one"])
            key = key_modifier(key) if key_modifier else key
            assert assertion(defs.get_assets_def(key).specs_by_key[key])


class TestTheComponent:
    def test_has_the_assets_of_its_config_and_builds_them(self) -> None:
        with loaded({"include_metadata": ["column_metadata", "row_count"]}) as (_, defs, path):
            result = materialize(list(defs.assets or ()), resources=defs.resources)
            events = result.get_asset_materialization_events()
            made = [one.step_materialization_data.materialization for one in events]
            assert [one.asset_key.path for one in made] == [["catalog", "one"], ["catalog", "two"]]
            assert made[0].metadata["dagster/row_count"].value == 1
            assert (path / "shop.duckdb").exists()

    def test_what_the_catalog_overrides_holds(self, tmp_path: Path) -> None:
        database = str(tmp_path / "other.duckdb")
        catalog = {"variables": {"SHOP_DATABASE": database}, "publish": "swap"}
        with loaded({"catalog": catalog}) as (_, defs, _):
            assert materialize(list(defs.assets or ()), resources=defs.resources).success
        assert Path(database).exists()

    def test_a_variable_may_be_another_of_the_environment_which_is_not_shown(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        catalog = {"variables": {"SHOP_DATABASE": {"env": "PROD_DATABASE"}}}
        with loaded({"catalog": catalog}) as (_, defs, _):  # it is not set yet
            monkeypatch.setenv("PROD_DATABASE", str(tmp_path / "prod.duckdb"))
            (resource,) = (one for key, one in defs.resources.items() if "views" not in key)
            assert resource.variables == {"SHOP_DATABASE": EnvVar("PROD_DATABASE")}
            assert materialize(list(defs.assets or ()), resources=defs.resources).success
        assert (tmp_path / "prod.duckdb").exists()

    def test_has_a_schedule_and_a_sensor_where_they_are_asked_for(self) -> None:
        attributes = {
            "op": {"name": "shop", "tags": {"team": "data"}},
            "schedule": {"cron_schedule": "0 6 * * *", "select": "one", "job_name": "daily"},
            "rebuild_on_config_change": True,
        }
        with loaded(attributes) as (_, defs, _):
            assert [one.name for one in defs.schedules or ()] == ["daily_schedule"]
            assert [one.name for one in defs.sensors or ()] == ["catalog_config"]
            job = defs.resolve_job_def("daily")
            assert {one.name for one in job.nodes} == {"shop"}
            assert defs.get_assets_def(AssetKey(["catalog", "one"])).op.tags["team"] == "data"

    def test_keeps_views_fresh_where_it_is_told_to(self) -> None:
        attributes = {
            "translation_settings": {"automation": "view"},
            "select": "one",
            "observation_cron_schedule": "*/10 * * * *",
            "default_status": "RUNNING",
        }
        with loaded(attributes) as (_, defs, _):
            assert spec_of(defs, "catalog", "one").automation_condition
            (sensor,) = defs.sensors or ()
            assert sensor.name == "build_catalog_automation"
            assert sensor.default_status == DefaultSensorStatus.RUNNING
            assert not defs.schedules  # there is no source to look at
            assert not defs.resolve_asset_graph().has(AssetKey(["catalog", "two"]))

    def test_checks_can_be_left_out(self) -> None:
        with loaded({"translation_settings": {"enable_asset_checks": False}}) as (_, defs, _):
            assert not list(defs.resolve_asset_graph().asset_check_keys)

    def test_post_processing_changes_what_it_chooses(self) -> None:
        post = {"assets": [{"target": "key:catalog/one", "attributes": {"group_name": "g"}}]}
        with loaded({}, post_processing=post) as (_, defs, _):
            assert spec_of(defs, "catalog", "one").group_name == "g"
            assert spec_of(defs, "catalog", "two").group_name == "catalog"

    def test_a_subclass_decides_about_specs_and_events(self) -> None:
        with loaded({}, OurComponent) as (_, defs, _):
            assert spec_of(defs, "catalog", "one").group_name == "ours"
            result = materialize(list(defs.assets or ()), resources=defs.resources)
            (first, *_) = result.get_asset_materialization_events()
            assert first.step_materialization_data.materialization.metadata["ours"].value == "yes"


class OurComponent(DuckalogComponent):
    """A component that overrides what may be overridden."""

    def get_asset_spec(self, data: DuckalogTranslatorData) -> AssetSpec:
        return super().get_asset_spec(data).replace_attributes(group_name="ours")

    def execute(self, context: Any, duckalog: Any) -> Iterator[Any]:
        for event in super().execute(context, duckalog):
            yield event._replace(metadata={**(event.metadata or {}), "ours": "yes"})
