"""The checks that a config declares are asset checks, and tell what they find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("dagster")

from dagster import (
    AssetCheckKey,
    AssetCheckSeverity,
    AssetKey,
    AssetSelection,
    Definitions,
    ExecuteInProcessResult,
    materialize,
)

from duckalog_dagster import build_duckalog_check_specs, build_duckalog_definitions
from tests.conftest import WriteConfig

pytestmark = pytest.mark.servers

SHOP = """
version: 1
duckdb: {database: shop.duckdb}
views:
  - name: orders
    sql: SELECT * FROM (VALUES (1, 'open'), (2, 'lost'), (2, NULL)) AS t(id, status)
    checks:
      - {type: unique, columns: id, description: Each order once.}
      - {type: not_null, columns: status, severity: warn}
      - {type: accepted_values, column: status, values: ["${env:STATUS:open}", lost]}
  - name: people
    tags: [sensitive]
    columns: {name: Who it is.}
    sql: SELECT 'Ada' AS name
    checks:
      - {type: expression, name: no_ada, expression: "name <> 'Ada'"}
      - {type: schema, columns: {name: VARCHAR}}
"""


@pytest.fixture
def shop(write_config: WriteConfig) -> Path:
    return write_config(SHOP)


def run(defs: Definitions, selection: AssetSelection | None = None) -> ExecuteInProcessResult:
    return materialize(list(defs.assets or ()), resources=defs.resources, selection=selection)


def found(result: ExecuteInProcessResult) -> dict[str, Any]:
    """Return what was found of each check, by its view and name."""
    return {
        f"{one.asset_key.path[-1]}:{one.check_name}": one
        for one in result.get_asset_check_evaluations()
    }


def test_each_is_a_check_of_its_view(shop: Path) -> None:
    specs = build_duckalog_check_specs(shop)
    told = {f"{spec.asset_key.path[-1]}:{spec.name}": spec.description for spec in specs}
    assert told["orders:unique_id"] == "Each order once."
    assert {"orders:answers", "people:answers", "people:no_ada"} <= told.keys()
    assert len(told) == 7


def test_what_else_one_reads_is_among_its_deps(write_config: WriteConfig) -> None:
    config = write_config(
        "version: 1\nduckdb: {database: shop.duckdb}\nviews:\n"
        "  - name: orders\n"
        "    sql: SELECT 1 AS person\n"
        "    checks:\n"
        "      - {type: relationships, column: person, to: people, field: id}\n"
        "      - {type: sql, name: few, sql: 'FROM orders, people WHERE id > 9'}\n"
        "  - {name: people, sql: SELECT person AS id FROM orders}\n"
    )
    deps = {
        spec.name: [dep.asset_key.path[-1] for dep in spec.additional_deps]
        for spec in build_duckalog_check_specs(config)
        if spec.asset_key.path[-1] == "orders"
    }
    assert deps.pop("answers") == []
    assert set(map(tuple, deps.values())) == {("people",)}
    for assets_per_op in (1, 2):  # an op cannot wait for a later one
        defs = build_duckalog_definitions(config, assets_per_op=assets_per_op)
        assert [one.passed for one in found(run(defs)).values()] == [True] * 4


def test_they_tell_severity_failing_rows_and_a_sample(shop: Path) -> None:
    told = found(run(build_duckalog_definitions(shop)))
    assert {name for name, one in told.items() if one.passed} == {
        "orders:answers",
        "people:answers",
        "people:schema",
        next(name for name in told if "accepted" in name),
    }
    unique, not_null = told["orders:unique_id"], told["orders:not_null_status"]
    assert unique.severity == AssetCheckSeverity.ERROR
    assert not_null.severity == AssetCheckSeverity.WARN
    assert not_null.metadata["failing_rows"].value == 1
    (row,) = not_null.metadata["sample"].records
    assert row.data == {"id": "2", "status": None}


def test_rows_of_sensitive_views_are_not_told(shop: Path) -> None:
    result = run(build_duckalog_definitions(shop))
    one = found(result)["people:no_ada"]
    assert not one.passed
    assert "sample" not in one.metadata
    assert "sensitive" in one.metadata["sample withheld"].value
    assert one.metadata["failing_rows"].value == 1


def test_one_alone_builds_nothing(shop: Path) -> None:
    defs = build_duckalog_definitions(shop)
    run(defs)
    key = AssetCheckKey(AssetKey(["shop", "orders"]), "unique_id")
    result = run(defs, AssetSelection.checks(key))
    assert list(found(result)) == ["orders:unique_id"]
    assert not result.get_asset_materialization_events()


def test_a_catalog_that_is_not_there_fails_them(shop: Path) -> None:
    defs = build_duckalog_definitions(shop)
    key = AssetCheckKey(AssetKey(["shop", "orders"]), "unique_id")
    one = found(run(defs, AssetSelection.checks(key)))["orders:unique_id"]
    assert not one.passed
    assert "shop.duckdb" in one.metadata["problem"].value


def test_their_names_do_not_depend_on_the_environment(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defs = build_duckalog_definitions(shop)
    monkeypatch.setenv("STATUS", "closed")
    told = found(run(defs))
    (name,) = [name for name in told if "accepted" in name]
    assert not told[name].passed
