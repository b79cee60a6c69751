"""Where columns come from: the answers to hard queries are written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from duckalog.lineage import Field, Lineage, Relation, Source, lineage_of
from duckalog.load import load_config
from duckalog.plan import Plan, plan
from tests.conftest import WriteConfig

QUERIES = yaml.safe_load(
    (Path(__file__).parent / "lineage" / "queries.yaml").read_text(encoding="utf-8")
)

VERSION = tuple(int(part) for part in duckdb.__version__.split(".")[:2])

CATALOG = """\
version: 1
duckdb:
  database: catalog.duckdb
  pragmas:
    - CREATE TEMP MACRO twice(x) AS x * 2
    - CREATE TEMP MACRO numbers(upto) AS TABLE SELECT range AS k FROM range(upto)
    - SET VARIABLE step = 2
attachments:
  postgres: [{alias: dw, host: db.example, database: dw, user: reader}]
views:
  - {name: t, source: parquet, uri: "s3://bucket/t/*.parquet"}
  - {name: u, source: csv, uri: /data/u.csv}
  - {name: tree, source: parquet, uri: "https://data.example/tree.parquet"}
  - {name: t, schema: other, source: json, uri: /data/t.json}
  - {name: orders, source: postgres, database: dw, table: public.orders}
"""

T = (
    ("a", "INTEGER"),
    ("b", "INTEGER"),
    ("s", "STRUCT(x INTEGER, y STRUCT(z INTEGER))"),
    ("l", "INTEGER[]"),
    ("seen", "TIMESTAMP"),
)
COLUMNS = {
    ("main", "t"): T,
    ("main", "u"): (("a", "INTEGER"), ("c", "INTEGER"), ("d", "VARCHAR")),
    ("main", "tree"): (("id", "INTEGER"), ("parent", "INTEGER"), ("name", "VARCHAR")),
    ("other", "t"): T,
    ("main", "orders"): (("id", "INTEGER"), ("amount", "DOUBLE"), ("customer", "VARCHAR")),
}

ROLES = {
    "identity": "",
    "transformation": "of ",
    "aggregation": "all ",
    "condition": "if ",
}


def document(*views: dict[str, Any]) -> str:
    """Return the config of the catalog and more views."""
    stated = yaml.safe_load(CATALOG)
    stated["views"] += views
    return yaml.safe_dump(stated, allow_unicode=True)


def planned(write_config: WriteConfig, *views: dict[str, Any]) -> Plan:
    """Return the plan of the catalog and more views."""
    return plan(load_config(write_config(document(*views))))


def shown(field: Field | Source) -> str:
    name = field.relation.name
    table = ".".join(name[1:] if name[0] == "main" else name)
    role = ROLES[field.kind] if isinstance(field, Source) else ""
    return f"{role}{table}.{field.column}"


def listed(text: str) -> set[str]:
    return {one.strip() for one in text.split(",") if one.strip()}


def columns_of(lineage: Lineage, view: str = "v") -> dict[str, set[str]]:
    return {
        column.name: {shown(one) for one in column.sources} for column in lineage.view(view).columns
    }


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Lineage:
    """The lineage of all the queries, each a view named by its place in the file."""
    file = tmp_path_factory.mktemp("lineage") / "catalog.yaml"
    views = [{"name": f"v{at}", "sql": case["sql"]} for at, case in enumerate(QUERIES)]
    file.write_text(document(*views), encoding="utf-8")
    return lineage_of(plan(load_config(file)), COLUMNS)


@pytest.mark.parametrize("at", range(len(QUERIES)), ids=lambda at: QUERIES[at]["name"])
def test_a_query_has_the_lineage_written_by_hand(at: int, answers: Lineage) -> None:
    case = QUERIES[at]
    view = answers.view(f"v{at}")
    if tuple(case.get("unknown_since", (9,))) <= VERSION:
        assert view.unknown
        assert not view.columns
        return
    assert view.unknown == ""
    found = {column.name: {shown(one) for one in column.sources} for column in view.columns}
    expected = {name: listed(text) for name, text in case["columns"].items()}
    if case.get("by_position"):
        assert list(found.values()) == list(expected.values())
    else:
        assert found == expected
        assert list(found) == list(expected)
    assert {shown(one) for one in view.influences} == listed(case.get("rows", ""))


def test_there_are_more_than_fifty_hard_queries() -> None:
    assert len({case["sql"] for case in QUERIES}) >= 50
    assert Relation("view", ("main", "t"))
