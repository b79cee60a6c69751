"""Graphs as text that other programs read: Mermaid, DOT and JSON, whatever the names are."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pydot
import pytest
import yaml

import duckalog
from duckalog.errors import shown
from tests import tables
from tests.conftest import RunCli, WriteConfig
from tests.hostile import HOSTILE

# pydot's own use of pyparsing.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated - use:DeprecationWarning")

CATALOG = """\
version: 1
duckdb: {database: catalog.duckdb}
attachments:
  postgres: [{alias: dw, host: db.example, database: dw, user: reader}]
iceberg_catalogs:
  - {name: ice, catalog_type: rest, uri: "https://iceberg.example", warehouse: w}
views:
  - {name: orders, source: parquet, uri: orders.parquet}
  - {name: events, source: iceberg, catalog: ice, table: raw.events}
  - {name: users, schema: crm, source: postgres, database: dw, table: users, tags: [core]}
  - name: revenue
    description: What customers spend.
    sql: |
      SELECT name, CASE WHEN id > 1 THEN amount END AS spent
      FROM orders JOIN dw.public.accounts USING (id) SEMI JOIN 's3://bucket/good.parquet' USING (id)
"""

MERMAID_LINE = re.compile(
    r"""
      flowchart\ LR
    | \ +subgraph\ n\d+\[(?P<group>"[^"]*")\]
    | \ +end
    | \ +n\d+(c\d+)?(?:
          \[(?P<view>"[^"]*")\] | \[\((?P<table>"[^"]*")\)\] | \[/(?P<files>"[^"]*")/\]
      )
    | \ +n\d+(c\d+)?\ (?:-->|-\.->)\ n\d+(c\d+)?
    """,
    re.VERBOSE,
)
"""The lines of Mermaid that are written, and no others."""


def mermaid_labels(text: str) -> list[str]:
    """Return the labels of a Mermaid text, read as Mermaid does; every line is known."""
    labels = []
    for line in text.splitlines():
        match = MERMAID_LINE.fullmatch(line)
        assert match, line
        for label in filter(None, match.groupdict().values()):
            assert not re.search(r"[<>&`*\\]", label)
            labels.append(html.unescape(re.sub(r"#(\d+);", r"&#\1;", label[1:-1])))
    return labels


def dot_labels(text: str) -> list[str]:
    """Return the labels of a DOT text, as pydot reads it."""
    (graph,) = pydot.graph_from_dot_data(text) or [None]
    assert graph is not None
    nodes = [*graph.get_nodes()]
    labels = []
    for cluster in graph.get_subgraphs():
        labels.append(cluster.get("label"))
        nodes += cluster.get_nodes()
    labels += [node.get("label") for node in nodes if node.get("label")]
    return [re.sub(r"\\(.)", r"\1", label[1:-1]) for label in labels]


@pytest.fixture
def config(write_config: WriteConfig) -> Path:
    return write_config(CATALOG)


def test_sources_of_every_kind_lead_to_the_views_that_read_them(config: Path) -> None:
    document = json.loads(duckalog.generate_graph(config, format="json"))
    kinds = {relation["id"]: relation["kind"] for relation in document["relations"]}
    folder = config.parent
    assert {(edge["from"], edge["to"]) for edge in document["edges"]} == {
        (f"files:{folder / 'orders.parquet'}", "view:main.orders"),
        ("table:ice.raw.events", "view:main.events"),
        ("table:dw.public.users", "view:crm.users"),
        ("view:main.orders", "view:main.revenue"),
        ("table:dw.public.accounts", "view:main.revenue"),
        ("files:s3://bucket/good.parquet", "view:main.revenue"),
    }
    assert set(kinds) == {end for edge in document["edges"] for end in edge.values()}
    assert all(own_id.startswith(kind) for own_id, kind in kinds.items())


def test_json_says_where_a_view_is_stated_and_what_is_said_of_it(config: Path) -> None:
    relations = json.loads(duckalog.generate_graph(config, format="json"))["relations"]
    (users,) = [one for one in relations if one["id"] == "view:crm.users"]
    assert (users["name"], users["tags"], users["line"]) == (["crm", "users"], ["core"], 10)
    (revenue,) = [one for one in relations if one["id"] == "view:main.revenue"]
    assert (revenue["source"], revenue["description"]) == ("sql", "What customers spend.")


def test_mermaid_shows_names_as_people_know_them(config: Path) -> None:
    assert (
        duckalog.generate_graph(config)
        == """\
flowchart LR
    n0[/"orders.parquet"/]
    n1[("ice.raw.events")]
    n2[("dw.public.users")]
    n3[("dw.public.accounts")]
    n4[/"s3://bucket/good.parquet"/]
    n5["orders"]
    n6["events"]
    n7["crm.users"]
    n8["revenue"]
    n0 --> n5
    n1 --> n6
    n2 --> n7
    n5 --> n8
    n3 --> n8
    n4 --> n8
"""
    )


def test_dot_has_the_same_graph(config: Path) -> None:
    text = duckalog.generate_graph(config, format="dot")
    assert dot_labels(text) == mermaid_labels(duckalog.generate_graph(config))
    (graph,) = pydot.graph_from_dot_data(text) or [None]
    assert graph is not None
    assert len(graph.get_edges()) == 6


@pytest.fixture
def built(tmp_path: Path, write_config: WriteConfig) -> Path:
    """A config whose catalog is built."""
    tables.write_parquet(tmp_path / "orders.parquet", tables.ORDERS)
    config = write_config("""\
version: 1
duckdb: {database: catalog.duckdb}
views:
  - {name: orders, source: parquet, uri: orders.parquet}
  - {name: big, sql: "SELECT name, CASE WHEN id > 1 THEN amount END AS spent FROM orders"}
  - {name: odd, sql: "SELECT * FROM read_parquet('orders.parquet')"}
""")
    duckalog.build(config)
    return config


def test_columns_are_drawn_in_their_relations(built: Path) -> None:
    text = duckalog.generate_graph(built, columns=True)
    assert (
        text
        == """\
flowchart LR
    subgraph n0["orders.parquet"]
        n0c0["id"]
        n0c1["name"]
        n0c2["amount"]
    end
    subgraph n1["orders"]
        n1c0["id"]
        n1c1["name"]
        n1c2["amount"]
    end
    subgraph n2["big"]
        n2c0["name"]
        n2c1["spent"]
    end
    n3["odd"]
    n0c0 --> n1c0
    n0c1 --> n1c1
    n0c2 --> n1c2
    n1c1 --> n2c0
    n1c2 --> n2c1
    n1c0 -.-> n2c1
    n0 --> n3
"""
    )
    dot = duckalog.generate_graph(built, format="dot", columns=True)
    assert sorted(dot_labels(dot)) == sorted(mermaid_labels(text))


def test_json_has_the_lineage(built: Path) -> None:
    lineage = json.loads(duckalog.generate_graph(built, format="json"))["lineage"]
    views = {view["view"]: view for view in lineage}
    assert views["view:main.big"]["columns"] == [
        {
            "name": "name",
            "type": "VARCHAR",
            "sources": [{"relation": "view:main.orders", "column": "name", "kind": "identity"}],
        },
        {
            "name": "spent",
            "type": "DOUBLE",
            "sources": [
                {"relation": "view:main.orders", "column": "amount", "kind": "transformation"},
                {"relation": "view:main.orders", "column": "id", "kind": "condition"},
            ],
        },
    ]
    assert views["view:main.big"]["unknown"] is None
    assert views["view:main.odd"]["unknown"].startswith("it reads files by itself")


MORE_NAMES = (
    'say "hi"', "end", "graph", "1. first", "- item", "# title", "**bold**", "`code`", "_it_",
    "a --> b", "<b>x</b>", "&amp; &#35; #35;", "%%{init: {}}%%", "new\nline", "tab\there",
    "back\\slash", "back\\", "größe 数 🦆", "]);--", "click n0 href", "{{x}}", "$$x$$", "a|b", "'",
)  # fmt: skip


@pytest.mark.parametrize("format", ["mermaid", "dot"])
def test_names_stay_text_whatever_is_in_them(format: Any, write_config: WriteConfig) -> None:
    names = sorted({*MORE_NAMES, *filter(None, HOSTILE)})
    views = [
        {"name": name, "sql": f"SELECT 1 AS {quoted(name)}", "tags": [str(at)]}
        for at, name in enumerate(names)
    ]
    config = write_config(yaml.safe_dump({"version": 1, "views": views}, allow_unicode=True))
    for columns in (False, True):
        text = duckalog.generate_graph(config, format=format, columns=columns)
        labels = mermaid_labels(text) if format == "mermaid" else dot_labels(text)
        expected = [shown(name) for name in names]
        assert sorted(labels) == sorted(expected * (1 + columns))


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class TestCommand:
    def test_it_prints_mermaid(self, built: Path, run_cli: RunCli) -> None:
        result = run_cli("graph", built)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout == duckalog.generate_graph(built)

    def test_it_tells_on_stderr_what_is_unknown(self, built: Path, run_cli: RunCli) -> None:
        result = run_cli("graph", built, "--columns", "--format", "dot")
        assert result.returncode == 0
        assert "main.odd: lineage unknown: it reads files by itself" in result.stderr
        assert result.stdout == duckalog.generate_graph(built, format="dot", columns=True)

    def test_it_draws_what_a_view_comes_from_and_what_is_made_of_it(
        self, built: Path, run_cli: RunCli
    ) -> None:
        whole = mermaid_labels(run_cli("graph", built, "--columns").stdout)
        name = duckalog.load_plan(built).views[-1].name.removeprefix("main.")
        part = run_cli("graph", built, "--columns", "--select", name).stdout
        assert name in mermaid_labels(part)
        assert set(mermaid_labels(part)) <= set(whole)
        relations = json.loads(run_cli("graph", built, "--format", "json", "--select", name).stdout)
        assert {one["id"] for one in relations["relations"]} < {
            one["id"]
            for one in json.loads(run_cli("graph", built, "--format", "json").stdout)["relations"]
        }

    def test_it_writes_to_a_file(self, built: Path, run_cli: RunCli) -> None:
        result = run_cli("graph", built, "-f", "json", "--output", "graph.json")
        assert result.stdout == ""
        text = (built.parent / "graph.json").read_text(encoding="utf-8")
        assert text == duckalog.generate_graph(built, format="json")

    def test_json_of_the_command_holds_the_graph(self, built: Path, run_cli: RunCli) -> None:
        document = json.loads(run_cli("graph", built, "--format", "json", "--json").stdout)
        assert document["ok"]
        assert document["graph"] == json.loads(duckalog.generate_graph(built, format="json"))
        document = json.loads(run_cli("graph", built, "--json").stdout)
        assert document["graph"] == duckalog.generate_graph(built)

    def test_the_sources_are_asked_when_told_so(self, built: Path, run_cli: RunCli) -> None:
        (built.parent / "catalog.duckdb").unlink()
        asked = run_cli("graph", built, "--columns", "--connect")
        assert asked.stdout == run_cli("graph", built, "--columns", "--connect").stdout
        assert 'n2c1["spent"]' in asked.stdout
        assert run_cli("graph", built, "--connect").returncode == 2

    def test_a_file_that_cannot_be_written_is_told(self, built: Path, run_cli: RunCli) -> None:
        result = run_cli("graph", built, "--output", "missing/graph.mmd")
        assert result.returncode == 1
        assert result.stderr.startswith("missing/graph.mmd: cannot be written")
