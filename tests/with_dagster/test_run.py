"""Runs over a catalog in Dagster: what is built, what its events tell, and what fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

pytest.importorskip("dagster")

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    AssetSpec,
    DagsterInstance,
    Definitions,
    EnvVar,
    ExecuteInProcessResult,
    RetryPolicy,
    asset,
    build_resources,
    materialize,
    multi_asset,
)

import duckalog
from duckalog_dagster import (
    DuckalogResource,
    DuckalogTranslator,
    DuckalogTranslatorData,
    build_duckalog_asset_specs,
    build_duckalog_assets,
    build_duckalog_definitions,
    duckalog_assets,
)
from tests.conftest import WriteConfig

pytestmark = pytest.mark.servers

SHOP = """
version: 1
duckdb: {database: shop.duckdb}
attachments:
  duckdb: [{alias: crm, path: crm.duckdb}]
views:
  - {name: orders, source: csv, uri: orders.csv, columns: {id: The order's number.}}
  - {name: customers, source: duckdb, database: crm, table: customers}
  - name: revenue
    schema: marts
    description: What each customer spent.
    sql: >-
      SELECT name, sum(amount) AS amount
      FROM main.orders JOIN main.customers USING (customer) GROUP BY ALL
"""

Run = Callable[..., ExecuteInProcessResult]


@pytest.fixture
def shop(write_config: WriteConfig, tmp_path: Path) -> Path:
    """Return a config whose sources are there."""
    (tmp_path / "orders.csv").write_text("id,customer,amount\n1,1,5\n2,1,7\n")
    with duckdb.connect(str(tmp_path / "crm.duckdb")) as crm:
        crm.execute("CREATE TABLE customers AS SELECT 1 AS customer, 'Ada' AS name")
    return write_config(SHOP)


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as one:
        yield one


@pytest.fixture
def run(instance: DagsterInstance) -> Run:
    def launch(
        defs: Definitions, *keys: str, raise_on_error: bool = True, **options: Any
    ) -> ExecuteInProcessResult:
        selection = AssetSelection.assets(*(key.split("/") for key in keys)) if keys else None
        return materialize(
            list(defs.assets or ()),
            resources=defs.resources,
            instance=instance,
            selection=selection,
            raise_on_error=raise_on_error,
            **options,
        )

    return launch


def materialized(result: ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Return the metadata of each asset that a run made, by its key."""
    found = {}
    for event in result.get_asset_materialization_events():
        one = event.step_materialization_data.materialization
        found["/".join(one.asset_key.path)] = {
            name: value.value for name, value in one.metadata.items()
        }
    return found


def versions(result: ExecuteInProcessResult) -> dict[str, str]:
    """Return the data version of each asset that a run made."""
    found = {}
    for event in result.get_asset_materialization_events():
        one = event.step_materialization_data.materialization
        found["/".join(one.asset_key.path)] = (one.tags or {})["dagster/data_version"]
    return found


def checks(result: ExecuteInProcessResult) -> dict[str, bool]:
    """Return the outcome of each check, by the asset's key and its name."""
    return {
        f"{'/'.join(one.asset_key.path)}:{one.check_name}": one.passed
        for one in result.get_asset_check_evaluations()
    }


def rows(config: Path, sql: str) -> list[Any]:
    with duckalog.connect(config) as connection:
        return connection.execute(sql).fetchall()


class TestAWholeRun:
    def test_builds_the_catalog_and_tells_of_every_asset(self, shop: Path, run: Run) -> None:
        told = materialized(run(build_duckalog_definitions(shop)))
        assert list(told) == [
            "shop/attachments/crm",
            "shop/orders",
            "shop/customers",
            "shop/marts/revenue",
        ]
        assert rows(shop, "FROM marts.revenue") == [("Ada", 12)]
        assert told["shop/marts/revenue"]["duckalog/action"] == "created"
        columns = told["shop/orders"]["dagster/column_schema"].columns
        assert [(one.name, one.type, one.description) for one in columns] == [
            ("id", "BIGINT", "The order's number."),
            ("customer", "BIGINT", None),
            ("amount", "BIGINT", None),
        ]

    def test_tells_where_every_column_comes_from(self, shop: Path, run: Run) -> None:
        told = materialized(run(build_duckalog_definitions(shop, assets_per_op=2)))

        def deps(key: str) -> dict[str, list[tuple[str, str]]]:
            found = told[key]["dagster/column_lineage"].deps_by_column
            return {
                column: [(dep.asset_key.to_user_string(), dep.column_name) for dep in several]
                for column, several in found.items()
            }

        assert deps("shop/marts/revenue") == {
            "name": [("shop/customers", "name")],
            "amount": [("shop/orders", "amount")],
        }
        assert deps("shop/orders")["id"] == [("shop/files/orders_csv", "id")]
        assert deps("shop/customers")["name"] == [("shop/attachments/crm/customers", "name")]

    def test_every_view_and_database_is_checked(self, shop: Path, run: Run) -> None:
        assert checks(run(build_duckalog_definitions(shop))) == {
            "shop/attachments/crm:reachable": True,
            "shop/orders:answers": True,
            "shop/customers:answers": True,
            "shop/marts/revenue:answers": True,
        }

    def test_nothing_changed_is_told_so_and_has_the_same_data_versions(
        self, shop: Path, run: Run
    ) -> None:
        defs = build_duckalog_definitions(shop)
        first, second = run(defs), run(defs)
        assert {one.get("duckalog/action") for one in materialized(second).values()} == {
            "unchanged",
            None,
        }
        assert versions(first) == versions(second)

    def test_data_that_moved_is_a_new_version_of_all_that_reads_it(
        self, shop: Path, run: Run, tmp_path: Path
    ) -> None:
        defs = build_duckalog_definitions(shop)
        first = versions(run(defs))
        (tmp_path / "orders.csv").write_text("id,customer,amount\n1,1,5\n")
        second = versions(run(defs))
        assert {key for key in first if first[key] != second[key]} == {
            "shop/orders",
            "shop/marts/revenue",
        }

    def test_a_view_that_left_the_config_is_dropped(self, shop: Path, run: Run) -> None:
        run(build_duckalog_definitions(shop))
        text = shop.read_text().replace("name: orders, ", "name: sales, ")
        shop.write_text(text.replace("main.orders", "main.sales"))
        run(build_duckalog_definitions(shop))
        assert rows(shop, "SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY 1") == [
            ("customers",),
            ("revenue",),
            ("sales",),
        ]

    def test_row_counts_are_told_where_they_are_asked_for(self, shop: Path, run: Run) -> None:
        told = materialized(run(build_duckalog_definitions(shop, row_counts=True)))
        assert told["shop/orders"]["dagster/row_count"] == 2
        assert told["shop/marts/revenue"]["dagster/row_count"] == 1

    def test_a_database_tells_its_version_and_its_tables(
        self, write_config: WriteConfig, run: Run, tmp_path: Path
    ) -> None:
        with sqlite3.connect(tmp_path / "crm.db") as database:
            database.execute("CREATE TABLE customers (customer INTEGER)")
        database.close()
        config = write_config(
            "version: 1\n"
            "duckdb: {database: shop.duckdb}\n"
            "attachments: {sqlite: [{alias: crm, path: crm.db}]}\n"
            "views: [{name: customers, source: sqlite, database: crm, table: customers}]\n"
        )
        told = materialized(run(build_duckalog_definitions(config)))["shop/attachments/crm"]
        assert told["duckalog/tables"] == 1
        assert told["duckalog/server_version"].startswith("3.")
        assert told["duckalog/seconds"] > 0

    def test_names_with_placeholders_are_filled_in_the_run(
        self, write_config: WriteConfig, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with duckdb.connect(str(tmp_path / "crm.duckdb")) as crm:
            crm.execute("CREATE TABLE orders AS SELECT 1 AS id")
        config = write_config(
            "version: 1\n"
            "duckdb: {database: shop.duckdb}\n"
            "attachments: {duckdb: [{alias: '${env:ALIAS}', path: crm.duckdb}]}\n"
            "views:\n"
            "  - {name: 'of_${env:REGION}', source: duckdb, database: '${env:ALIAS}',"
            " table: orders}\n"
            "  - {name: recent, sql: 'SELECT id FROM ${env:ALIAS}.orders'}\n"
        )
        defs = build_duckalog_definitions(config, row_counts=True)
        monkeypatch.setenv("ALIAS", "crm")
        monkeypatch.setenv("REGION", "eu")
        result = run(defs)
        told = materialized(result)
        assert list(told) == ["shop/attachments/ALIAS", "shop/of_REGION", "shop/recent"]
        assert checks(result) == {
            "shop/attachments/ALIAS:reachable": True,
            "shop/of_REGION:answers": True,
            "shop/recent:answers": True,
        }
        (dep,) = told["shop/recent"]["dagster/column_lineage"].deps_by_column["id"]
        assert dep.asset_key == AssetKey(["shop", "attachments", "ALIAS", "orders"])
        assert rows(config, "FROM of_eu") == [(1,)]
        assert list(materialized(run(defs, "shop/of_REGION"))) == ["shop/of_REGION"]


class TestASubset:
    def test_makes_the_view_and_nothing_else(self, shop: Path, run: Run) -> None:
        told = materialized(run(build_duckalog_definitions(shop), "shop/orders"))
        assert list(told) == ["shop/orders"]
        assert rows(shop, "SELECT view_name FROM duckdb_views() WHERE NOT internal") == [
            ("orders",)
        ]

    def test_drops_nothing(self, shop: Path, run: Run) -> None:
        run(build_duckalog_definitions(shop))
        shop.write_text(shop.read_text().replace("name: revenue", "name: income"))
        run(build_duckalog_definitions(shop), "shop/orders")
        assert rows(shop, "FROM marts.revenue") == [("Ada", 12)]

    def test_tells_which_views_its_change_made_out_of_date(self, shop: Path, run: Run) -> None:
        run(build_duckalog_definitions(shop))
        shop.write_text(shop.read_text().replace("uri: orders.csv", "uri: [orders.csv]"))
        defs = build_duckalog_definitions(shop)
        assert "duckalog/invalidated" not in materialized(run(defs, "shop/orders"))["shop/orders"]
        shop.write_text(shop.read_text().replace("[orders.csv]", "orders.csv, options: {skip: 0}"))
        defs = build_duckalog_definitions(shop)
        told = materialized(run(defs, "shop/orders"))["shop/orders"]
        assert told["duckalog/invalidated"] == ["marts.revenue"]

    def test_of_a_database_connects_to_it_only(self, shop: Path, run: Run, tmp_path: Path) -> None:
        (tmp_path / "orders.csv").unlink()
        told = materialized(run(build_duckalog_definitions(shop), "shop/attachments/crm"))
        assert list(told) == ["shop/attachments/crm"]


class TestSeveralOps:
    def test_build_as_one_and_tell_each_for_itself(self, shop: Path, run: Run) -> None:
        defs = build_duckalog_definitions(shop, assets_per_op=1)
        result = run(defs)
        assert len(result.get_step_success_events()) == 4
        assert {one.get("duckalog/action") for one in materialized(result).values()} == {
            "created",
            None,
        }
        assert rows(shop, "SELECT count(*) FROM _duckalog.builds") == [(1,)]

    def test_are_all_or_nothing_over_the_whole_run(self, shop: Path, run: Run) -> None:
        shop.write_text(shop.read_text().replace("GROUP BY ALL", "GROUP BY nope"))
        result = run(build_duckalog_definitions(shop, assets_per_op=1), raise_on_error=False)
        assert not result.success
        assert materialized(result) == {}
        assert not shop.with_name("shop.duckdb").exists()

    def test_a_part_of_a_run_is_all_or_nothing_too(self, shop: Path, run: Run) -> None:
        shop.write_text(shop.read_text().replace("GROUP BY ALL", "GROUP BY nope"))
        defs = build_duckalog_definitions(shop, assets_per_op=1)
        keys = ("shop/orders", "shop/customers")
        assert list(materialized(run(defs, *keys))) == list(keys)
        both = run(defs, *keys, "shop/marts/revenue", raise_on_error=False)
        assert not both.success


class TestFailures:
    def test_a_config_that_cannot_be_filled_is_told_as_what_failed(
        self, write_config: WriteConfig, run: Run
    ) -> None:
        config = write_config(
            "version: 1\nduckdb: {database: '${env:SHOP_NOWHERE}'}\n"
            "views: [{name: v, sql: SELECT 1}]\n"
        )
        result = run(build_duckalog_definitions(config), raise_on_error=False)
        (event,) = [one for one in result.all_events if one.is_step_failure]
        error = event.step_failure_data.error
        assert "Failure: " in error.message
        assert "duckdb.database: environment variable SHOP_NOWHERE is not set" in error.message
        assert error.cause is None

    def test_the_failing_view_fails_its_check_and_names_its_line(
        self, shop: Path, run: Run
    ) -> None:
        run(build_duckalog_definitions(shop))
        shop.write_text(shop.read_text().replace("sum(amount)", "sum(nope)"))
        result = run(build_duckalog_definitions(shop), raise_on_error=False)
        assert not result.success
        assert checks(result) == {"shop/marts/revenue:answers": False}
        (event,) = [one for one in result.all_events if one.is_step_failure]
        message = event.step_failure_data.error.message
        assert 'catalog.yaml:9: views[2] "revenue": DuckDB refused the view' in message
        assert "The catalog was left as it was." in message
        assert rows(shop, "FROM marts.revenue") == [("Ada", 12)]

    def test_a_database_that_is_gone_fails_its_check(self, shop: Path, run: Run) -> None:
        shop.with_name("crm.duckdb").unlink()
        result = run(build_duckalog_definitions(shop), raise_on_error=False)
        assert checks(result) == {"shop/attachments/crm:reachable": False}

    def test_keep_going_makes_what_can_be_made(self, shop: Path, run: Run) -> None:
        shop.write_text(shop.read_text().replace("sum(amount)", "sum(nope)"))
        resource = DuckalogResource(config=str(shop), keep_going=True)
        defs = build_duckalog_definitions(shop, resource=resource)
        result = run(defs, raise_on_error=False)
        assert not result.success
        assert list(materialized(result)) == [
            "shop/attachments/crm",
            "shop/orders",
            "shop/customers",
        ]
        assert checks(result)["shop/marts/revenue:answers"] is False

    def test_keep_going_makes_what_needs_no_database_that_is_gone(
        self, shop: Path, run: Run
    ) -> None:
        run(build_duckalog_definitions(shop))
        shop.with_name("crm.duckdb").unlink()
        shop.write_text(shop.read_text().replace("order's number", "number of the order"))
        resource = DuckalogResource(config=str(shop), keep_going=True)
        defs = build_duckalog_definitions(shop, resource=resource, row_counts=True)
        result = run(defs, raise_on_error=False)
        assert not result.success
        assert list(materialized(result)) == ["shop/orders"]
        assert materialized(result)["shop/orders"]["duckalog/action"] == "replaced"
        assert checks(result) == {
            "shop/attachments/crm:reachable": False,
            "shop/orders:answers": True,
            "shop/customers:answers": False,
            "shop/marts/revenue:answers": False,
        }
        (event,) = [one for one in result.all_events if one.is_step_failure]
        message = event.step_failure_data.error.message
        assert 'attachments.duckdb[0] "crm": there is no file' in message
        assert 'views[1] "customers": the attachment "crm" cannot be reached' in message
        assert 'views[2] "revenue": a view that it reads failed' in message
        with duckdb.connect(str(shop.with_name("shop.duckdb"))) as catalog:
            views = catalog.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal")
            assert views.fetchone()[0] >= 3  # the others stand as they were

    def test_a_retry_builds_again_after_a_failure(self, shop: Path, run: Run) -> None:
        crm = shop.with_name("crm.duckdb")
        away = shop.with_name("away.duckdb")
        crm.rename(away)

        class Mended(DuckalogResource):
            def plan(self) -> duckalog.Plan:
                found = super().plan()
                if len(attempts) == 1:
                    away.rename(crm)
                attempts.append(1)
                return found

        attempts: list[int] = []
        defs = build_duckalog_definitions(
            shop,
            resource=Mended(config=str(shop)),
            retry_policy=RetryPolicy(max_retries=1),
            assets_per_op=2,
        )
        told = materialized(run(defs))
        assert len(attempts) == 3  # of two ops, the first of which is run again
        assert len(told) == 4
        # Both tell of one build: for a second one all views would be as they should be.
        assert told["shop/marts/revenue"]["duckalog/action"] == "created"

    def test_a_python_asset_between_views_is_waited_for(
        self, write_config: WriteConfig, run: Run, tmp_path: Path
    ) -> None:
        config = write_config(
            "version: 1\n"
            "duckdb: {database: shop.duckdb}\n"
            "views:\n"
            "  - {name: first, sql: SELECT 1 AS one}\n"
            "  - name: last\n"
            "    source: csv\n"
            "    uri: made.csv\n"
            "    meta: {dagster: {deps: [made]}}\n"
        )

        @asset(deps=[AssetKey(["shop", "first"])])
        def made() -> None:
            (tmp_path / "made.csv").write_text("two\n2\n")

        defs = Definitions.merge(build_duckalog_definitions(config), Definitions(assets=[made]))
        result = run(defs)
        assert list(materialized(result)) == ["shop/first", "made", "shop/last"]
        assert rows(config, "FROM first, last") == [(1, 2)]


class TestTheDecorator:
    def test_lets_a_function_wrap_the_build(self, shop: Path, run: Run) -> None:
        @duckalog_assets(config=shop, name="our_shop")
        def ours(context: AssetExecutionContext, catalog: DuckalogResource) -> Iterator[Any]:
            context.log.info("before")
            yield from catalog.build(context).fetch_column_metadata().fetch_row_count()

        defs = Definitions(assets=[ours], resources={"catalog": DuckalogResource(config=str(shop))})
        told = materialized(run(defs))
        assert told["shop/orders"]["dagster/row_count"] == 2
        assert ours.op.name == "our_shop"

    def test_rows_that_cannot_be_counted_are_not_told(
        self, write_config: WriteConfig, run: Run
    ) -> None:
        config = write_config(
            "version: 1\n"
            "duckdb: {database: s.duckdb}\n"
            "views:\n"
            "  - {name: broken, sql: SELECT 1 AS i WHERE error('hush') IS NULL}\n"
            "  - {name: whole, sql: SELECT 1 AS i}\n"
        )

        @duckalog_assets(config=config)
        def ours(context: AssetExecutionContext, duckalog: DuckalogResource) -> Iterator[Any]:
            yield from duckalog.build(context).fetch_row_count()

        defs = Definitions(
            assets=[ours], resources={"duckalog": DuckalogResource(config=str(config))}
        )
        told = materialized(run(defs))
        assert "dagster/row_count" not in told["s/broken"]
        assert told["s/whole"]["dagster/row_count"] == 1

    def test_an_op_over_specs_states_their_translator(self, shop: Path, run: Run) -> None:
        class Ours(DuckalogTranslator):
            def get_asset_spec(self, data: DuckalogTranslatorData) -> AssetSpec:
                spec = super().get_asset_spec(data)
                return spec.replace_attributes(key=spec.key.with_prefix("ours"))

        def defs(*stated: DuckalogTranslator) -> Definitions:
            specs = [spec for spec in build_duckalog_asset_specs(shop, Ours()) if spec.code_version]

            @multi_asset(specs=specs, required_resource_keys={"duckalog"})
            def op(context):  # type: ignore[no-untyped-def]  # Dagster reads no text
                yield from context.resources.duckalog.build(context, *stated)

            resource = DuckalogResource(config=str(shop))
            return Definitions(assets=[op], resources={"duckalog": resource})

        assert "ours/shop/orders" in materialized(run(defs(Ours())))
        refused = run(defs(), raise_on_error=False)
        (event,) = [one for one in refused.all_events if one.is_step_failure]
        assert "has no assets called ours/" in str(event.step_failure_data.error)

    def test_parts_of_a_catalog_are_built_in_one_run(self, shop: Path, run: Run) -> None:
        def part(name: str, **chosen: str) -> AssetsDefinition:
            @duckalog_assets(config=shop, name=name, **chosen)
            def ours(context: AssetExecutionContext, catalog: DuckalogResource) -> Iterator[Any]:
                yield from catalog.build(context)

            return ours

        resources = {"catalog": DuckalogResource(config=str(shop))}
        assets = [part("marts", select="marts.*"), part("rest", exclude="marts.*")]
        told = materialized(run(Definitions(assets=assets, resources=resources)))
        assert {one.get("duckalog/action") for one in told.values()} == {"created", None}
        assert list(told)[-1] == "shop/marts/revenue"
        assert rows(shop, "FROM marts.revenue") == [("Ada", 12)]

    def test_assets_alone_take_the_resource_called_duckalog(self, shop: Path, run: Run) -> None:
        resources = {"duckalog": DuckalogResource(config=str(shop))}
        defs = Definitions(assets=build_duckalog_assets(shop), resources=resources)
        assert len(materialized(run(defs))) == 4


class TestTheResource:
    def test_a_python_asset_reads_a_view(self, shop: Path, run: Run) -> None:
        found = []

        @asset(deps=[AssetKey(["shop", "marts", "revenue"])])
        def report(duckalog: DuckalogResource) -> None:
            with duckalog.get_connection() as connection:
                found.extend(connection.execute("FROM marts.revenue").fetchall())

        run(Definitions.merge(build_duckalog_definitions(shop), Definitions(assets=[report])))
        assert found == [("Ada", 12)]

    def test_a_connection_reads_only_and_is_closed_when_its_body_raises(self, shop: Path) -> None:
        duckalog.build(shop)
        resource = DuckalogResource(config=str(shop))
        with pytest.raises(Exception, match="read-only"), resource.get_connection() as connection:
            connection.execute("CREATE TABLE t (i INTEGER)")
        with pytest.raises(Exception, match="closed"):
            connection.execute("SELECT 1")

    def test_variables_and_database_override_the_config(
        self,
        write_config: WriteConfig,
        run: Run,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("PROD_REGION", "eu")
        config = write_config(
            "version: 1\n"
            "duckdb: {database: '${env:SHOP_DATABASE}'}\n"
            "views: [{name: v, sql: \"SELECT '${env:SHOP_REGION}' AS region\"}]\n"
        )
        resource = DuckalogResource(
            config=str(config),
            database=str(tmp_path / "other.duckdb"),
            variables={"SHOP_REGION": EnvVar("PROD_REGION"), "SHOP_DATABASE": "unused.duckdb"},
        )
        defs = build_duckalog_definitions(config, resource=resource)
        assert list(materialized(run(defs))) == ["catalog/v"]
        with duckdb.connect(str(tmp_path / "other.duckdb")) as catalog:
            assert catalog.execute("FROM v").fetchall() == [("eu",)]


CANARY = """
version: 1
duckdb:
  database: shop.duckdb
  secrets:
    - {type: s3, key_id: "${env:SHOP_KEY}", secret: "${env:SHOP_SECRET}"}
attachments:
  postgres:
    - {alias: dw, host: 127.0.0.1, port: 1, database: d, user: u, password: "${env:SHOP_PASSWORD}"}
views:
  - {name: fine, sql: SELECT 1 AS one}
  - {name: facts, source: postgres, database: dw, table: public.facts}
"""


class TestSecrets:
    def test_are_not_in_what_the_resource_prints(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PROD_PASSWORD", "zqxzqxzqx")
        stated = DuckalogResource(config="c.yaml", variables={"P": EnvVar("PROD_PASSWORD")})
        with build_resources({"duckalog": stated}) as resources:
            assert resources.duckalog.variables == {"P": "zqxzqxzqx"}
            assert "zqxzqxzqx" not in f"{resources.duckalog!r} {resources.duckalog}"

    @pytest.mark.parametrize("keys", [(), ("shop/fine",), ("shop/attachments/dw",)])
    def test_are_in_no_event_also_of_runs_that_fail(
        self,
        write_config: WriteConfig,
        run: Run,
        instance: DagsterInstance,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
        keys: tuple[str, ...],
    ) -> None:
        mark = "zqxzqxzqx"
        for name in ("KEY", "SECRET"):
            monkeypatch.setenv(f"SHOP_{name}", f"{mark}'{name}")
        config = write_config(CANARY)
        # One is filled from the resource, whose own configuration is shown nowhere either.
        monkeypatch.setenv("PROD_PASSWORD", f"{mark}'password")
        variables = {"SHOP_PASSWORD": EnvVar("PROD_PASSWORD")}
        resource = DuckalogResource(config=str(config), variables=variables)
        defs = build_duckalog_definitions(config, resource=resource)
        result = run(defs, *keys, raise_on_error=False)
        assert result.success == (keys == ("shop/fine",))
        logged = instance.all_logs(result.run_id)
        assert logged
        assert mark not in repr([one.to_json() for one in logged])
        assert mark not in repr(result.dagster_run)
        assert mark not in "".join(capfd.readouterr())
        assert mark.encode() not in b"".join(
            one.read_bytes() for one in config.parent.iterdir() if one.is_file()
        )
