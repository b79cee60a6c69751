"""Where columns come from: the answers to hard queries are written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from duckalog.lineage import Field, Lineage, Relation, Source, lineage_of
from duckalog.lineage.bound_plan import trace
from duckalog.lineage.expressions import Untraceable
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


QUERIES_OF_UNKNOWN = {
    "a query that is computed": "FROM query('SELECT a FROM ' || 'missing')",
    "files that the query reads itself": "FROM read_parquet('/data/more.parquet')",
    "a file in place of a name": "FROM '/data/more.csv'",
    "a table that nobody knows": "SELECT a FROM nowhere.missing",
    "a table of an attached database, its columns unknown": "SELECT id FROM dw.public.secrets",
    "a function of an extension": "SELECT ST_Area(a) FROM t",
    "a column that is not there": "SELECT missing FROM t",
    "a database inside the query": "FROM postgres_query('dw', 'SELECT 1 AS a')",
}


@pytest.mark.parametrize("what", QUERIES_OF_UNKNOWN)
def test_what_cannot_be_known_is_told_as_unknown(what: str, write_config: WriteConfig) -> None:
    views = (
        {"name": "v", "sql": QUERIES_OF_UNKNOWN[what]},
        {"name": "above", "sql": "SELECT * FROM v"},
        {"name": "beside", "sql": "SELECT a FROM t"},
    )
    lineage = lineage_of(planned(write_config, *views), COLUMNS)
    assert lineage.view("v").unknown
    assert not lineage.view("v").columns
    assert lineage.view("above").unknown == "the columns of main.v are not known"
    assert columns_of(lineage, "beside") == {"a": {"t.a"}}


def test_a_name_that_is_found_elsewhere_is_never_taken_for_one_that_is_unknown(
    write_config: WriteConfig,
) -> None:
    known = {name: columns for name, columns in COLUMNS.items() if name != ("other", "t")}
    views = (
        {"name": "v", "schema": "other", "sql": "SELECT a FROM t"},
        {"name": "w", "schema": "other", "sql": "SELECT a FROM query('FROM t')"},
        {
            "name": "x",
            "schema": "other",
            "sql": "SELECT (SELECT a FROM t) AS a FROM main.t AS outside",
        },
    )
    lineage = lineage_of(planned(write_config, *views), known)
    assert lineage.view("v", "other").unknown == "the columns of other.t are not known"
    assert lineage.view("w", "other").unknown
    assert lineage.view("x", "other").unknown


def test_views_over_one_that_cannot_be_traced_are_traced_to_it(write_config: WriteConfig) -> None:
    views = (
        {"name": "v", "sql": "FROM read_parquet('/data/more.parquet')"},
        {"name": "above", "sql": "SELECT k + 1 AS k FROM v"},
    )
    known = {**COLUMNS, ("main", "v"): (("k", "INTEGER"),)}
    lineage = lineage_of(planned(write_config, *views), known)
    assert lineage.view("v").unknown.startswith("it reads files by itself")
    assert columns_of(lineage, "above") == {"k": {"of v.k"}}
    assert [shown(one) for one in lineage.origins("above", "k")] == ["of v.k"]


def test_nothing_outside_is_opened(write_config: WriteConfig, tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("a\n1\n")
    view = {"name": "v", "sql": f"SELECT * FROM read_csv('{file}')"}
    assert lineage_of(planned(write_config, view), COLUMNS).view("v").unknown


def test_origins_go_through_views_to_files_and_tables(write_config: WriteConfig) -> None:
    views = (
        {"name": "one", "sql": "SELECT a, b + 1 AS b, 1 AS k FROM t"},
        {"name": "two", "sql": "SELECT a, sum(b) AS b, k FROM one GROUP BY ALL"},
        {"name": "three", "sql": "SELECT CASE WHEN a > 1 THEN b END AS c, b AS b, k FROM two"},
        {"name": "four", "sql": "SELECT max(amount) AS most FROM orders"},
    )
    lineage = lineage_of(planned(write_config, *views), COLUMNS)
    files = Relation("files", ("s3://bucket/t/*.parquet",))
    assert lineage.origins("three", "c") == (
        Source(files, "a", "condition"),
        Source(files, "b", "aggregation"),
    )
    assert lineage.origins("three", "K") == ()
    table = Relation("table", ("dw", "public", "orders"))
    assert lineage.origins("four", "most") == (Source(table, "amount", "aggregation"),)
    with pytest.raises(KeyError):
        lineage.origins("three", "missing")
    with pytest.raises(KeyError):
        lineage.view("three").sources_of("missing")


@pytest.mark.parametrize(
    "name", ['odd "name', "größe 数", "semi;colon--", "o'clock", "a.b", "select"]
)
def test_names_are_names_whatever_is_in_them(name: str, write_config: WriteConfig) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    views = (
        {"name": name, "schema": name, "sql": f"SELECT a AS {quoted} FROM t"},
        {"name": "over", "schema": name, "sql": f"SELECT {quoted} AS k FROM {quoted}"},
    )
    lineage = lineage_of(planned(write_config, *views), COLUMNS)
    (source,) = lineage.view("over", name).sources_of("k")
    assert source == Source(Relation("view", (name, name)), name, "identity")


def test_what_a_view_reads_is_told_where_no_column_comes_from_it(write_config: WriteConfig) -> None:
    view = {"name": "v", "sql": "SELECT count(*) AS n FROM t, (SELECT 1 FROM u)"}
    lineage = lineage_of(planned(write_config, view), COLUMNS)
    assert lineage.view("v").reads == (
        Relation("view", ("main", "t")),
        Relation("view", ("main", "u")),
    )


def test_a_query_nested_too_deeply_is_unknown(write_config: WriteConfig) -> None:
    sql = " UNION ALL ".join(f"(SELECT a + {n} AS a FROM t)" for n in range(400))
    nested = "SELECT a FROM t"
    for _ in range(120):
        nested = f"SELECT a FROM ({nested}) LIMIT 1"
    views = ({"name": "wide", "sql": sql}, {"name": "deep", "sql": nested})
    lineage = lineage_of(planned(write_config, *views), COLUMNS)
    for name in ("wide", "deep"):
        view = lineage.view(name)
        assert view.unknown or {one.field for one in view.sources_of("a")} == {
            Field(Relation("view", ("main", "t")), "a")
        }


GET = {"type": "LOGICAL_DUMMY_SCAN"}
ONE = {"expression_class": "BOUND_CONSTANT", "type": "VALUE_CONSTANT"}
STRANGE_PLANS: dict[str, dict[str, Any]] = {
    "an operator": {"type": "LOGICAL_TIME_TRAVEL"},
    "an expression": {
        "type": "LOGICAL_PROJECTION",
        "children": [GET],
        "expressions": [{"expression_class": "BOUND_WISH", "type": "WISH"}],
    },
    "a column that is not there": {
        "type": "LOGICAL_PROJECTION",
        "children": [GET],
        "expressions": [{"expression_class": "BOUND_REF", "type": "BOUND_REF", "index": 7}],
    },
    "a name that is not there": {
        "type": "LOGICAL_PROJECTION",
        "children": [GET],
        "expressions": [
            {
                "expression_class": "BOUND_COLUMN_REF",
                "type": "COLUMN",
                "binding": {"table_index": 9},
            }
        ],
    },
    "a join": {"type": "LOGICAL_COMPARISON_JOIN", "children": [GET, GET], "join_type": "MAYBE"},
    "a correlated join that is turned round": {
        "type": "LOGICAL_DELIM_JOIN",
        "children": [GET, GET],
        "join_type": "SINGLE",
        "delim_flipped": True,
    },
    "correlated columns of nothing": {"type": "LOGICAL_DELIM_GET", "chunk_types": [{}]},
    "a CTE that is not defined": {"type": "LOGICAL_CTE_REF", "cte_index": 3, "chunk_types": [{}]},
    "sides of different widths": {
        "type": "LOGICAL_UNION",
        "children": [
            GET,
            {"type": "LOGICAL_PROJECTION", "children": [GET], "expressions": [ONE, ONE]},
        ],
    },
    "a PIVOT": {
        "type": "LOGICAL_PIVOT",
        "children": [GET],
        "bound_pivot": {"types": [{}, {}, {}]},
    },
    "a table that lineage did not make": {
        "type": "LOGICAL_GET",
        "name": "seq_scan",
        "function_data": {"catalog": "c", "schema": "s", "table": "t"},
        "column_indexes": [{"index": 0}],
        "names": ["a"],
    },
}


@pytest.mark.parametrize("what", STRANGE_PLANS)
def test_a_plan_that_is_not_understood_is_refused(what: str) -> None:
    with pytest.raises(Untraceable):
        trace(STRANGE_PLANS[what], {})


def test_a_plan_of_endless_depth_is_refused() -> None:
    deep: dict[str, Any] = dict(GET)
    for _ in range(5_000):
        deep = {"type": "LOGICAL_LIMIT", "children": [deep]}
    with pytest.raises(Untraceable, match="nested too deeply"):
        trace(deep, {})
