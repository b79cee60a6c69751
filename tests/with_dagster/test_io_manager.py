"""A Python asset has a view as a table of the type that it states."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("dagster")

import pandas
import polars
import pyarrow
from dagster import AssetIn, AssetKey, AssetsDefinition, AssetSpec, asset, materialize

import duckalog
from duckalog_dagster import (
    DuckalogResource,
    build_duckalog_definitions,
    build_duckalog_io_manager,
)
from tests.conftest import WriteConfig

pytestmark = pytest.mark.servers

VIEW = AssetKey(["shop", "marts", "revenue"])


@pytest.fixture
def shop(write_config: WriteConfig, tmp_path: Path) -> Path:
    """Return the config of a catalog that was built, whose view is over an attachment."""
    with sqlite3.connect(tmp_path / "crm.db") as database:
        database.execute('CREATE TABLE revenue (amount INTEGER, "the country" TEXT)')
        database.execute("INSERT INTO revenue VALUES (7, 'de')")
    database.close()
    config = write_config(
        "version: 1\nduckdb: {database: shop.duckdb}\n"
        "attachments: {sqlite: [{alias: crm, path: crm.db}]}\n"
        "views: [{name: revenue, schema: marts, source: sqlite, database: crm, table: revenue}]\n"
    )
    duckalog.build(config)
    return config


def reader(kind: Any, found: list[Any], **options: Any) -> AssetsDefinition:
    """Return an asset that keeps the view, as its parameter's type says."""

    def read(revenue: Any) -> None:
        found.append(revenue)

    if kind is not None:
        read.__annotations__["revenue"] = kind
    else:
        del read.__annotations__["revenue"]
    read.__annotations__["return"] = None
    ins = {"revenue": AssetIn(VIEW, input_manager_key="duckalog_views", **options)}
    return asset(ins=ins, name="reader")(read)


def alone(config: Path, **options: Any) -> dict[str, Any]:
    """Return the resources without the catalog's assets."""
    return {
        "duckalog": DuckalogResource(config=str(config)),
        "duckalog_views": build_duckalog_io_manager(**options),
    }


Read = Callable[..., Any]


@pytest.fixture
def read(shop: Path) -> Read:
    def given(kind: Any, **options: Any) -> Any:
        found: list[Any] = []
        defs = build_duckalog_definitions(shop)
        one = reader(kind, found, **options)
        materialize([*(defs.assets or ()), one], resources=defs.resources, selection=[one])
        return found[0]

    return given


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        (pandas.DataFrame, lambda table: table.to_dict("records")),
        (polars.DataFrame, lambda table: table.to_dicts()),
        (polars.LazyFrame, lambda table: table.collect().to_dicts()),
        (pyarrow.Table, lambda table: table.to_pylist()),
    ],
)
def test_the_type_of_the_parameter_decides(read: Read, kind: Any, rows: Callable[..., Any]) -> None:
    table = read(kind)
    assert isinstance(table, kind)
    assert rows(table) == [{"amount": 7, "the country": "de"}]


def test_without_a_type_it_is_the_default(read: Read) -> None:
    assert isinstance(read(None), pandas.DataFrame)


def test_columns_may_be_chosen(read: Read) -> None:
    table = read(pyarrow.Table, metadata={"columns": ["the country"]})
    assert table.to_pylist() == [{"the country": "de"}]


def test_another_type_is_refused(read: Read) -> None:
    with pytest.raises(TypeError, match=r"one of pandas\.DataFrame, polars"):
        read(dict)


def test_a_view_of_another_code_location_is_found_by_its_key(shop: Path) -> None:
    found: list[Any] = []
    resources = alone(shop, default="polars")
    one = reader(None, found)
    assets = [AssetSpec(VIEW), one]
    materialize(assets, resources=resources, selection=[one])
    assert isinstance(found[0], polars.DataFrame)


def test_what_is_no_view_is_told(shop: Path) -> None:
    resources = alone(shop)

    @asset(ins={"other": AssetIn(AssetKey("other"), input_manager_key="duckalog_views")})
    def wrong(other: pandas.DataFrame) -> None:
        del other

    assets = [AssetSpec(AssetKey("other")), wrong]
    with pytest.raises(ValueError, match=r"other is no view of .*catalog.yaml"):
        materialize(assets, resources=resources, selection=[wrong])


def test_an_asset_cannot_be_written_as_a_view(shop: Path) -> None:
    @asset(io_manager_key="duckalog_views")
    def wrong() -> int:
        return 1

    resources = alone(shop)
    with pytest.raises(TypeError, match="wrong cannot be written as a view"):
        materialize([wrong], resources=resources)
