"""Iceberg catalogs that give no answer: from which views that is learned."""

from __future__ import annotations

from duckalog.api import load_plan
from duckalog.engine.silence import Silence
from duckalog.errors import Origin, Problem
from tests.conftest import WriteConfig

CATALOG = """\
version: 1
duckdb: {database: c.duckdb}
iceberg_catalogs:
  - {name: ic, catalog_type: rest, uri: "http://x", warehouse: w}
  - {name: other, catalog_type: rest, uri: "http://y", warehouse: w}
views:
  - {name: orders, source: iceberg, catalog: ic, table: a.orders}
  - {name: with_a_file, sql: "SELECT * FROM ic.a.orders, 'https://z/a.parquet'"}
  - {name: of_both, sql: "SELECT * FROM ic.a.orders, other.a.orders"}
"""


def test_a_catalog_is_not_taken_for_silent_where_something_else_may_be(
    write_config: WriteConfig,
) -> None:
    plan = load_plan(write_config(CATALOG))
    by_name = {step.view: step for step in plan.views}
    no_answer = Problem(Origin(), "DuckDB refused the view", cause="Timeout error for HTTP GET")
    silence = Silence(plan)
    for name in ("with_a_file", "of_both"):
        silence.hear(by_name[name], no_answer, 99)
        assert silence.problem_of(by_name["orders"]) is None
    silence.hear(by_name["orders"], no_answer, 99)
    assert all(silence.problem_of(step) for step in plan.views)
