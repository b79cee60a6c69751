"""The columns that lineage starts from: of a built catalog, of a report, of the sources."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

import duckalog
from duckalog.lineage import Lineage, Relation
from tests import tables
from tests.conftest import WriteConfig

CATALOG = """\
version: 1
duckdb: {database: catalog.duckdb}
attachments:
  duckdb: [{alias: ref, path: ref.duckdb}]
views:
  - {name: orders, source: parquet, uri: orders.parquet}
  - {name: doubled, sql: "SELECT id, amount * 2 AS twice FROM orders"}
  - name: named
    sql: SELECT d.twice, c.name AS country FROM doubled d JOIN ref.geo.countries c USING (id)
"""


@pytest.fixture
def config(tmp_path: Path, write_config: WriteConfig) -> Path:
    """A config over a Parquet file and an attached DuckDB."""
    tables.write_parquet(tmp_path / "orders.parquet", tables.ORDERS)
    with duckdb.connect(str(tmp_path / "ref.duckdb")) as connection:
        connection.execute("CREATE SCHEMA geo")
        connection.execute("CREATE TABLE geo.countries AS SELECT 1 AS id, 'de' AS name")
    return write_config(CATALOG)


def shown(lineage: Lineage, view: str) -> dict[str, list[str]]:
    return {
        column.name: [f"{one.relation.label}.{one.column}" for one in column.sources]
        for column in lineage.view(view).columns
    }


def test_before_a_build_nothing_is_known_and_nothing_is_opened(config: Path) -> None:
    (config.parent / "orders.parquet").unlink()
    lineage = duckalog.column_lineage(config)
    assert [view.unknown for view in lineage.views] == [
        f"the columns of {config.parent / 'orders.parquet'} are not known",
        "the columns of main.orders are not known",
        "the columns of main.doubled are not known",
    ]
    assert not (config.parent / "catalog.duckdb").exists()


def test_a_built_catalog_tells_the_columns_without_its_sources(config: Path) -> None:
    duckalog.build(config)
    (config.parent / "orders.parquet").unlink()
    (config.parent / "ref.duckdb").unlink()
    lineage = duckalog.column_lineage(config)
    assert shown(lineage, "doubled") == {"id": ["main.orders.id"], "twice": ["main.orders.amount"]}
    assert lineage.view("named").unknown == "the columns of ref.geo.countries are not known"


def test_a_build_report_tells_them_without_the_catalog(config: Path) -> None:
    report = duckalog.build(config)
    (config.parent / "catalog.duckdb").unlink()
    lineage = duckalog.column_lineage(duckalog.load_plan(config), report=report)
    assert shown(lineage, "doubled")["twice"] == ["main.orders.amount"]


def test_a_definition_that_changed_since_the_build_is_not_known(config: Path) -> None:
    duckalog.build(config)
    config.write_text(config.read_text().replace("uri: orders.parquet", "uri: [orders.parquet]"))
    assert duckalog.column_lineage(config).view("orders").columns
    config.write_text(config.read_text().replace("[orders.parquet]", '"order*.parquet"'))
    assert duckalog.column_lineage(config).view("orders").unknown


def test_the_sources_tell_them_when_asked(config: Path) -> None:
    lineage = duckalog.column_lineage(config, connect=True)
    assert shown(lineage, "named") == {
        "twice": ["main.doubled.twice"],
        "country": ["ref.geo.countries.name"],
    }
    assert [(one.relation.kind, one.column) for one in lineage.origins("named", "twice")] == [
        ("files", "amount")
    ]
    assert not (config.parent / "catalog.duckdb").exists()


def test_a_source_that_fails_when_asked_is_an_error(config: Path) -> None:
    (config.parent / "orders.parquet").unlink()
    with pytest.raises(duckalog.EngineError, match="orders"):
        duckalog.column_lineage(config, connect=True)


def test_a_table_that_a_user_made_in_the_catalog_is_known(config: Path) -> None:
    duckalog.build(config)
    with duckalog.connect(config, read_only=False) as connection:
        connection.execute("CREATE TABLE notes AS SELECT 1 AS id, 'x' AS note")
    text = config.read_text() + "  - {name: noted, sql: FROM orders JOIN notes USING (id)}\n"
    config.write_text(text)
    (note,) = duckalog.column_lineage(config).view("noted").sources_of("NOTE")
    assert note.relation == Relation("table", ("catalog", "main", "notes"))


def test_the_columns_of_a_whole_table_are_those_of_the_view_that_shows_it(config: Path) -> None:
    view = "  - {name: countries, source: duckdb, database: ref, table: geo.countries}\n"
    config.write_text(config.read_text() + view)
    duckalog.build(config)
    lineage = duckalog.column_lineage(config)
    assert shown(lineage, "named")["country"] == ["ref.geo.countries.name"]
    assert shown(lineage, "countries")["name"] == ["ref.geo.countries.name"]


def test_a_catalog_in_memory_is_known_only_by_asking(config: Path) -> None:
    config.write_text(config.read_text().replace("duckdb: {database: catalog.duckdb}\n", ""))
    assert all(view.unknown for view in duckalog.column_lineage(config).views)
    assert not any(view.unknown for view in duckalog.column_lineage(config, connect=True).views)
