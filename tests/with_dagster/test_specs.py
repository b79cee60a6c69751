"""What the assets of a catalog are: keys, needs, groups, owners, versions; nothing is opened."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("dagster")

from dagster import AssetKey, AssetSpec, AutomationCondition, Definitions, asset

import duckalog
import duckalog_dagster
from duckalog_dagster import (
    DuckalogTranslator,
    DuckalogTranslatorData,
    DuckalogTranslatorSettings,
    build_duckalog_asset_selection,
    build_duckalog_asset_specs,
    build_duckalog_assets,
    build_duckalog_check_specs,
    build_duckalog_definitions,
    duckalog_assets,
    duckalog_view_condition,
    get_asset_key_for_source,
    get_asset_key_for_view,
)
from tests.conftest import ROOT, WriteConfig

pytestmark = pytest.mark.servers

EVERYTHING = """
version: 1
duckdb: {database: "${env:NOWHERE}/shop.duckdb", settings: {threads: "${env:THREADS}"}}
attachments:
  postgres:
    - {alias: dw, host: "${env:PG_HOST}", port: "${env:PG_PORT}", database: d, user: u,
       password: "${env:PG_PASSWORD}"}
  sqlite: [{alias: crm, path: "${env:CRM}/crm.db"}]
iceberg_catalogs:
  - {name: ice, catalog_type: rest, uri: "${env:ICE}", warehouse: w, options: {token: "${env:T}"}}
views:
  - {name: events, source: parquet, uri: ["s3://bucket/events/**/*.parquet", data/a.parquet]}
  - {name: orders, source: iceberg, catalog: ice, table: sales.orders,
     options: {snapshot_id: "${env:SNAPSHOT}"}}
  - {name: facts, source: postgres, database: dw, table: public.facts}
  - name: report
    schema: marts
    description: What counts.
    tags: [core, "two words"]
    meta: {owner: data-platform}
    sql: |
      SELECT * FROM main.events JOIN crm.customers USING (id)
      WHERE region = '${env:REGION}' LIMIT ${env:LIMIT}
"""


PLACEHOLDERS = """
version: 1
duckdb: {database: shop.duckdb}
attachments: {sqlite: [{alias: "${env:ALIAS}", path: crm.db}]}
views:
  - {name: "orders_${env:REGION}", source: sqlite, database: "${env:ALIAS}", table: orders}
  - {name: recent, sql: "SELECT * FROM ${env:ALIAS}.orders LIMIT ${env:LIMIT:10}"}
"""


def keys(specs: list[AssetSpec]) -> list[str]:
    return [spec.key.to_user_string() for spec in specs]


def spec_of(config: Path, key: str, translator: DuckalogTranslator | None = None) -> AssetSpec:
    (found,) = [
        spec
        for spec in build_duckalog_asset_specs(config, translator)
        if spec.key.to_user_string() == key
    ]
    return found


def view(write_config: WriteConfig, **dagster: Any) -> AssetSpec:
    """Return the spec of a view whose `meta.dagster` says so."""
    import json

    config = write_config(
        "version: 1\nduckdb: {database: shop.duckdb}\n"
        f"views: [{{name: v, sql: SELECT 1, meta: {{dagster: {json.dumps(dagster)}}}}}]\n"
    )
    return build_duckalog_asset_specs(config)[-1]


class TestLoading:
    def test_needs_no_environment_no_file_and_no_network(
        self, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = write_config(EVERYTHING)
        monkeypatch.setattr("socket.socket.connect", None)
        defs = build_duckalog_definitions(config)
        Definitions.validate_loadable(defs)
        assert os.listdir(config.parent) == ["catalog.yaml"]

    def test_has_an_asset_for_each_source_database_and_view(
        self, write_config: WriteConfig
    ) -> None:
        assert keys(build_duckalog_asset_specs(write_config(EVERYTHING))) == [
            "catalog/files/s3/bucket/events",
            "catalog/files/data/a_parquet",
            "catalog/attachments/ice/sales/orders",
            "catalog/attachments/dw/public/facts",
            "catalog/attachments/crm/customers",
            "catalog/attachments/crm",
            "catalog/attachments/dw",
            "catalog/attachments/ice",
            "catalog/events",
            "catalog/orders",
            "catalog/facts",
            "catalog/marts/report",
        ]

    def test_a_view_needs_what_its_sql_reads(self, write_config: WriteConfig) -> None:
        report = spec_of(write_config(EVERYTHING), "catalog/marts/report")
        assert [dep.asset_key.to_user_string() for dep in report.deps] == [
            "catalog/attachments/crm",
            "catalog/events",
            "catalog/attachments/crm/customers",
        ]

    def test_placeholders_are_shown_and_not_their_values(
        self, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REGION", "secret-region")
        report = spec_of(write_config(EVERYTHING), "catalog/marts/report")
        assert (
            "region = '${env:REGION}' LIMIT ${env:LIMIT}" in report.metadata["duckalog/sql"].value
        )

    def test_names_may_have_placeholders(self, write_config: WriteConfig) -> None:
        config = write_config(PLACEHOLDERS)
        told = {
            spec.key.to_user_string(): [dep.asset_key.to_user_string() for dep in spec.deps]
            for spec in build_duckalog_asset_specs(config)
        }
        assert told["shop/orders_REGION"] == [
            "shop/attachments/ALIAS",
            "shop/attachments/ALIAS/orders",
        ]
        assert told["shop/recent"] == told["shop/orders_REGION"]

    def test_imports_are_filled_or_told(
        self, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_config("views: [{name: v, sql: 'SELECT ${env:ONE}'}]", "ours.yaml")
        config = write_config("version: 1\nimports: ['${env:TEAM:ours}.yaml', '${env:MORE}.yaml']")
        with pytest.raises(duckalog.ConfigError, match="variable MORE is not set") as refused:
            build_duckalog_asset_specs(config)
        assert len(refused.value.problems) == 1
        monkeypatch.setenv("MORE", "ours")
        assert keys(build_duckalog_asset_specs(config)) == ["catalog/v"]

    def test_two_catalogs_go_together(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / f"{name}.yaml").write_text(
                f"version: 1\nduckdb: {{database: {name}.duckdb}}\n"
                "views: [{name: v, source: csv, uri: v.csv}]\n"
            )
        both = Definitions.merge(
            build_duckalog_definitions(tmp_path / "a.yaml"),
            build_duckalog_definitions(tmp_path / "b.yaml", resource_key="other"),
        )
        Definitions.validate_loadable(both)


class TestWhatASpecSays:
    def test_of_a_view(self, write_config: WriteConfig) -> None:
        config = write_config(EVERYTHING)
        report = spec_of(config, "catalog/marts/report")
        assert report.description == "What counts."
        assert report.group_name == "catalog"
        assert report.owners == ["team:data-platform"]
        assert report.kinds == {"duckdb", "view"}
        assert {name for name in report.tags if "kind" not in name} == {"core", "two_words"}
        assert report.metadata["dagster/table_name"] == "catalog.marts.report"
        (reference,) = report.metadata["dagster/code_references"].code_references
        line = config.read_text().splitlines().index("  - name: report") + 1
        assert (reference.file_path, reference.line_number) == (str(config), line)

    def test_of_a_database_and_of_a_source(self, write_config: WriteConfig) -> None:
        config = write_config(EVERYTHING)
        assert spec_of(config, "catalog/attachments/dw").kinds == {"postgres"}
        assert spec_of(config, "catalog/attachments/ice").kinds == {"iceberg"}
        assert spec_of(config, "catalog/files/s3/bucket/events").kinds == {"parquet", "s3"}
        assert (
            spec_of(config, "catalog/attachments/dw/public/facts").metadata["dagster/table_name"]
            == "dw.public.facts"
        )

    def test_names_that_dagster_refuses_are_made_fit(self, write_config: WriteConfig) -> None:
        config = write_config(
            "version: 1\nduckdb: {database: s.duckdb}\n"
            "views: [{name: 'größe / x', sql: SELECT 1}]\n"
        )
        (spec,) = build_duckalog_asset_specs(config)
        assert spec.key == AssetKey(["s", "gr_e_x"])
        assert spec.metadata["dagster/table_name"] == "s.main.größe / x"

    def test_names_in_other_letters_stay_different(self, write_config: WriteConfig) -> None:
        config = write_config(
            "version: 1\nduckdb: {database: s.duckdb}\n"
            "views: [{name: 订单, sql: SELECT 1}, {name: 客户, sql: SELECT 1}]\n"
        )
        assert len({spec.key for spec in build_duckalog_asset_specs(config)}) == 2

    def test_what_dagster_would_call_the_same_is_made_by_different_ops(
        self, write_config: WriteConfig
    ) -> None:
        config = write_config(
            "version: 1\nduckdb: {database: s.duckdb}\nviews:\n"
            "  - {name: a, sql: SELECT 1 AS i, checks: [{type: row_count, min: 1, name: rows}]}\n"
            "  - {name: a_rows, sql: SELECT i FROM a}\n"
            "  - {name: a-rows, sql: SELECT i FROM a_rows}\n"
        )
        defs = build_duckalog_definitions(config)
        Definitions.validate_loadable(defs)
        ops = [[key.path[-1] for key in one.keys] for one in defs.assets or ()]
        assert ops == [["a"], ["a_rows"], ["a-rows"]]
        with pytest.raises(ValueError, match='the asset s/a_rows and the check "rows"'):
            duckalog_assets(config=config)

    def test_every_view_and_database_has_a_check(self, write_config: WriteConfig) -> None:
        found = build_duckalog_check_specs(write_config(EVERYTHING))
        assert [(one.asset_key.path[-1], one.name) for one in found] == [
            ("crm", "reachable"),
            ("dw", "reachable"),
            ("ice", "reachable"),
            ("events", "answers"),
            ("orders", "answers"),
            ("facts", "answers"),
            ("report", "answers"),
        ]


class TestTheCodeVersion:
    CONFIG = (
        "version: 1\nduckdb: {database: s.duckdb}\nviews:\n"
        "  - {name: a, source: parquet, uri: a.parquet}\n"
        "  - {name: b, sql: SELECT * FROM a}\n"
    )

    def versions(self, config: Path) -> dict[str, str | None]:
        specs = build_duckalog_asset_specs(config)
        return {spec.key.path[-1]: spec.code_version for spec in specs}

    def test_changes_with_its_own_view_only(self, write_config: WriteConfig) -> None:
        before = self.versions(write_config(self.CONFIG))
        after = self.versions(write_config(self.CONFIG.replace("FROM a}", "FROM a WHERE true}")))
        assert [name for name in before if before[name] != after[name]] == ["b"]

    def test_is_the_same_wherever_the_config_lies(
        self, write_config: WriteConfig, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        config = write_config(self.CONFIG)
        moved = shutil.copy(config, tmp_path_factory.mktemp("elsewhere"))
        assert self.versions(config) == self.versions(Path(moved))

    def test_is_the_same_whatever_the_environment(
        self, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = write_config(EVERYTHING)
        before = self.versions(config)
        for name in ("PG_PASSWORD", "REGION", "SNAPSHOT", "PG_PORT"):
            monkeypatch.setenv(name, "1")
        assert self.versions(config) == before


class TestMetaDagster:
    def test_decides_about_key_group_owners_and_tags(self, write_config: WriteConfig) -> None:
        spec = view(
            write_config,
            asset_key=["finance", "v"],
            group="money",
            owners=["team:finance", "a@b.com"],
            tags={"tier": "1"},
            deps=["dbt/orders", ["other", "team"]],
        )
        assert spec.key == AssetKey(["finance", "v"])
        assert spec.group_name == "money"
        assert spec.owners == ["team:finance", "a@b.com"]
        assert spec.tags["tier"] == "1"
        assert [dep.asset_key.path for dep in spec.deps] == [["dbt", "orders"], ["other", "team"]]

    def test_may_leave_keys_empty(self, write_config: WriteConfig) -> None:
        spec = view(write_config, deps=None, tags=None, owners=None)
        assert spec.deps == view(write_config).deps
        assert spec.tags == view(write_config).tags

    @pytest.mark.parametrize(
        ("stated", "condition"),
        [
            ("eager", AutomationCondition.eager()),
            ("on_missing", AutomationCondition.on_missing()),
            ("view", duckalog_view_condition()),
            ({"on_cron": "0 6 * * *"}, AutomationCondition.on_cron("0 6 * * *")),
        ],
    )
    def test_decides_about_automation(
        self, write_config: WriteConfig, stated: Any, condition: Any
    ) -> None:
        assert view(write_config, automation=stated).automation_condition == condition

    def test_automation_may_be_that_of_all_views(self, write_config: WriteConfig) -> None:
        config = write_config(
            "version: 1\nduckdb: {database: s.duckdb}\nviews:\n"
            "  - {name: a, source: csv, uri: a.csv}\n"
            "  - {name: b, sql: SELECT 1, meta: {dagster: {automation: eager}}}\n"
            "  - {name: c, sql: SELECT 1, meta: {dagster: {automation: null}}}\n"
        )
        settings = DuckalogTranslatorSettings(automation="view")
        specs = build_duckalog_asset_specs(config, DuckalogTranslator(settings))
        assert {spec.key.path[-1]: spec.automation_condition for spec in specs} == {
            "a_csv": None,
            "a": duckalog_view_condition(),
            "b": AutomationCondition.eager(),
            "c": None,
        }

    @pytest.mark.parametrize(
        ("said", "message"),
        [
            ({"automation": "hourly"}, "automation is one of eager, on_missing, view"),
            ({"automation": {"on_cron": "daily"}}, "Invalid cron schedule: daily"),
            (
                {"automation": {"on_cron": "0 6 * * *", "timezone": "Mars/Base"}},
                'there is no time zone "Mars/Base"',
            ),
            ({"deps": {"a": 1}}, r'meta.dagster.deps: expected "text \| list", got "map"'),
            ({"deps": ["a b"]}, 'the key "a b" has other characters'),
            ({"tags": "gold"}, r'meta.dagster.tags: expected "map \| list", got "text"'),
            ({"group": "my group"}, '"my group" is not a valid'),
            ({"asset_keys": "a"}, 'unknown key "asset_keys"; known are asset_key, deps, group'),
        ],
    )
    def test_what_dagster_cannot_be_told_is_refused_with_its_place(
        self, write_config: WriteConfig, said: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=rf'catalog.yaml:\d+: views\[0\] "v": .*{message}'):
            view(write_config, **said)

    def test_one_dep_needs_no_list(self, write_config: WriteConfig) -> None:
        (dep,) = view(write_config, deps="dbt/stg_orders").deps
        assert dep.asset_key == AssetKey(["dbt", "stg_orders"])

    def test_two_assets_of_one_key_are_refused_with_their_place(
        self, write_config: WriteConfig
    ) -> None:
        config = write_config(
            "version: 1\nduckdb: {database: s.duckdb}\nviews:\n"
            "  - {name: a, sql: SELECT 1}\n"
            "  - {name: b, sql: SELECT 1, meta: {dagster: {asset_key: s/a}}}\n"
        )
        with pytest.raises(ValueError, match=r"catalog.yaml:5: views\[1\]: view:main.b and"):
            build_duckalog_asset_specs(config)


class TestATranslator:
    def test_decides_about_every_asset(self, write_config: WriteConfig) -> None:
        class Ours(DuckalogTranslator):
            def get_asset_spec(self, data: DuckalogTranslatorData) -> AssetSpec:
                spec = super().get_asset_spec(data)
                return spec.replace_attributes(key=spec.key.with_prefix("ours"))

        found = build_duckalog_asset_specs(write_config(EVERYTHING), Ours())
        assert {spec.key.path[0] for spec in found} == {"ours"}
        assert {dep.asset_key.path[0] for spec in found for dep in spec.deps} == {"ours"}

    def test_settings_leave_out_what_is_not_wanted(self, write_config: WriteConfig) -> None:
        settings = DuckalogTranslatorSettings(
            enable_asset_checks=False,
            enable_code_references=False,
            enable_source_assets=False,
            enable_sql_metadata=False,
        )
        config = write_config(EVERYTHING)
        translator = DuckalogTranslator(settings)
        report = spec_of(config, "catalog/marts/report", translator)
        assert set(report.metadata) == {"dagster/table_name", "duckalog/step"}
        assert not build_duckalog_check_specs(config, translator)
        assert "catalog/files/data/a_parquet" not in keys(
            build_duckalog_asset_specs(config, translator)
        )


class TestChoosing:
    @pytest.mark.parametrize(
        ("select", "exclude", "chosen"),
        [
            ("orders", "", {"orders"}),
            ("marts.*", "", {"report"}),
            ("tag:core", "", {"report"}),
            ("kind:parquet", "", {"events"}),
            ("attachment:dw", "", {"dw"}),
            ("+facts", "", {"dw", "facts"}),
            ("key:catalog/marts/*", "", {"report"}),
            ("events+ orders", "", {"events", "report", "orders"}),
            ("*", "tag:core orders", {"crm", "dw", "ice", "events", "facts"}),
        ],
    )
    def test_by_names_tags_and_kinds(
        self, write_config: WriteConfig, select: str, exclude: str, chosen: set[str]
    ) -> None:
        assets = build_duckalog_assets(write_config(EVERYTHING), assets_per_op=2)
        found = build_duckalog_asset_selection(assets, select, exclude).resolve(assets)
        assert {key.path[-1] for key in found} == chosen

    @pytest.mark.parametrize(
        ("select", "exclude", "chosen"),
        [
            ("+facts", "", {"dw", "facts"}),
            ("events+", "", {"events", "report"}),
            ("*", "kind:view", {"crm", "dw", "ice"}),
        ],
    )
    def test_of_what_is_made_at_all(
        self, write_config: WriteConfig, select: str, exclude: str, chosen: set[str]
    ) -> None:
        config = write_config(EVERYTHING)
        assets = build_duckalog_assets(config, select=select, exclude=exclude, assets_per_op=1)
        assert {key.path[-1] for one in assets for key in one.keys} == chosen
        defs = build_duckalog_definitions(config, select=select, exclude=exclude)
        Definitions.validate_loadable(defs)

    def test_what_is_needed_and_what_needs_it_is_nothing_beside_it(
        self, write_config: WriteConfig
    ) -> None:
        config = write_config(
            "version: 1\nduckdb: {database: s.duckdb}\nviews:\n"
            "  - {name: first, sql: SELECT 1 AS i}\n"
            "  - {name: beside, sql: FROM first}\n"
            "  - {name: middle, sql: FROM first}\n"
            "  - {name: last, sql: FROM middle}\n"
        )
        assets = build_duckalog_assets(config)
        found = build_duckalog_asset_selection(assets, "+middle+").resolve(assets)
        assert {key.path[-1] for key in found} == {"first", "middle", "last"}
        (chosen,) = build_duckalog_assets(config, select="+middle+")
        assert chosen.keys == found

    def test_parts_that_are_chosen_go_together(self, write_config: WriteConfig) -> None:
        config = write_config(
            "version: 1\nduckdb: {database: s.duckdb}\nviews:\n"
            "  - {name: a, source: csv, uri: a.csv, tags: [core]}\n"
            "  - {name: b, source: csv, uri: b.csv}\n"
        )
        core = build_duckalog_definitions(config, select="tag:core", name="core")
        rest = build_duckalog_definitions(
            config, exclude="tag:core", name="rest", resource_key="rest"
        )
        both = Definitions.merge(core, rest)
        Definitions.validate_loadable(both)
        assert len(both.resolve_asset_graph().get_all_asset_keys()) == 4

    def test_a_word_that_matches_nothing_is_refused(self, write_config: WriteConfig) -> None:
        assets = build_duckalog_assets(write_config(EVERYTHING))
        with pytest.raises(ValueError, match='kind or key matches "ordrs"'):
            build_duckalog_asset_selection(assets, "ordrs")

    def test_the_key_of_a_view(self, write_config: WriteConfig) -> None:
        config = write_config(EVERYTHING)
        assert get_asset_key_for_view(config, "marts.report").path == ["catalog", "marts", "report"]
        with pytest.raises(duckalog.ConfigError, match=r'Did you mean "orders"\?'):
            get_asset_key_for_view(config, "ordrs")

    def test_the_key_of_a_view_of_assets_is_as_their_translator_made_it(
        self, write_config: WriteConfig
    ) -> None:
        class Ours(DuckalogTranslator):
            def get_asset_spec(self, data: DuckalogTranslatorData) -> AssetSpec:
                spec = super().get_asset_spec(data)
                return spec.replace_attributes(key=spec.key.with_prefix("ours"))

        assets = build_duckalog_assets(write_config(EVERYTHING), translator=Ours())
        assert get_asset_key_for_view(assets, "Orders").path == ["ours", "catalog", "orders"]
        for nothing in ("ordrs", "attachment:dw"):
            with pytest.raises(ValueError, match=f'no view is called "{nothing}"'):
                get_asset_key_for_view(assets, nothing)

    def test_a_source_may_be_what_an_asset_writes(self, write_config: WriteConfig) -> None:
        config = write_config(EVERYTHING)
        written = get_asset_key_for_source(config, "data/a.parquet")
        assert get_asset_key_for_source(config, "crm.customers").path[-1] == "customers"
        with pytest.raises(ValueError, match=r'no view reads "a\.parquet"; read are "s3://'):
            get_asset_key_for_source(config, "a.parquet")

        @asset(key=written)
        def writes() -> None: ...

        catalog = build_duckalog_definitions(config, exclude=f"key:{written.to_user_string()}")
        graph = Definitions.merge(catalog, Definitions(assets=[writes])).resolve_asset_graph()
        assert graph.get(written).is_materializable
        assert written in graph.get(AssetKey(["catalog", "events"])).parent_keys
        assert graph.has(get_asset_key_for_source(config, "s3://bucket/events/**/*.parquet"))


def test_the_example_has_all_its_assets() -> None:
    found = build_duckalog_asset_specs(ROOT / "example_project" / "catalog.yaml")
    assert len([spec for spec in found if "view" in spec.kinds]) == 20
    assert {spec.group_name for spec in found} == {"talknshop"}


def test_the_readme_has_every_public_name() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in duckalog_dagster.__all__ if f"{name}`" not in text] == []
