"""Config to Plan: the order of the steps, what each needs, and what cannot be planned."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duckalog.config import Config, DuckdbSection
from duckalog.errors import ConfigError, Origin
from duckalog.load import load_config
from duckalog.locations import DatabasePath
from duckalog.plan import DatabaseStep, ExtensionStep, Plan, plan
from duckalog.script import full_script, session_script, views_script
from duckalog.sql import identifier
from duckalog.views.select import SelectView
from tests.conftest import WriteConfig


def select(name: str, sql: str, schema: str = "main", line: int = 0) -> SelectView:
    return SelectView(name=name, schema=schema, sql=sql, origin=Origin("f.yaml", line))


def planned(*views: SelectView, database: str = ":memory:") -> Plan:
    section = DuckdbSection(database=DatabasePath(database))
    return plan(Config(version=1, duckdb=section, views=views))


def order_of(*views: SelectView) -> list[str]:
    return [step.name.removeprefix("main.") for step in planned(*views).views]


def refusal_of(*views: SelectView) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        planned(*views)
    return [str(problem) for problem in caught.value.problems]


def loaded(write_config: WriteConfig, text: str, **environment: str) -> Plan:
    return plan(load_config(write_config(f"version: 1\n{text}"), environment=environment))


class TestOrder:
    @pytest.mark.parametrize(
        "query",
        [
            "FROM base",
            "SELECT * FROM BASE",
            'SELECT * FROM "Base"',
            "FROM main.base",
            "FROM memory.main.base",
            "FROM memory.base",
            "SELECT (SELECT count(*) FROM base)",
            "WITH x AS (FROM base) FROM x",
            "WITH x AS MATERIALIZED (FROM base) FROM x",
            "WITH base AS (FROM base) FROM base",
            "WITH RECURSIVE x AS (FROM base UNION ALL FROM x WHERE false) FROM x",
            "FROM (VALUES (1)) t(i), LATERAL (SELECT * FROM base WHERE i = 1)",
            "PIVOT base ON kind IN ('a', 'b') USING sum(i)",
            "FROM query_table('base')",
            "FROM query_table(['main.base'])",
        ],
    )
    def test_a_view_comes_after_the_view_that_it_reads(self, query: str) -> None:
        base = select("base", "SELECT 1 AS i, 'a' AS kind")
        steps = planned(select("reader", query), base).views
        assert [step.view for step in steps] == ["base", "reader"]
        assert steps[1].needs == ("view:main.base",)
        with duckdb.connect() as connection:  # and DuckDB reads it so too
            for step in steps:
                connection.execute(step.statements[0].text)
            connection.execute("FROM reader")

    def test_a_cte_of_the_same_name_is_not_the_view(self) -> None:
        views = [select("a", "WITH b AS (SELECT 1) FROM b"), select("b", "FROM a")]
        assert order_of(*views) == ["a", "b"]

    def test_views_that_read_no_other_stay_as_the_config_has_them(self) -> None:
        names = ["z", "a", "m", "B", "y"]
        assert order_of(*(select(name, "SELECT 1") for name in names)) == names

    def test_a_view_moves_no_further_than_it_must(self) -> None:
        views = [select("a", "FROM c"), select("b", "SELECT 1"), select("c", "SELECT 1")]
        assert order_of(*views, select("d", "SELECT 1")) == ["b", "c", "a", "d"]

    def test_the_order_is_the_same_every_time(self) -> None:
        views = [select(f"v{one}", f"FROM v{one // 2 + 50}, v{one // 3 + 60}") for one in range(50)]
        views += [select(f"v{one}", "SELECT 1") for one in range(50, 90)]
        assert order_of(*views) == order_of(*views)

    def test_a_chain_of_a_thousand_views_is_ordered(self) -> None:
        views = [select(f"v{one}", f"FROM v{one + 1}") for one in range(1000)]
        views.append(select("v1000", "SELECT 1"))
        assert order_of(*views) == [f"v{one}" for one in range(1000, -1, -1)]

    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_any_dag_in_any_order_of_the_file_comes_out_in_dependency_order(
        self, data: st.DataObject
    ) -> None:
        size = data.draw(st.integers(1, 12))
        names = [f'{"ABcd"[one % 4]} {one}."x' for one in range(size)]
        reads = {
            one: data.draw(st.sets(st.integers(0, one - 1), max_size=3)) if one else set()
            for one in range(size)
        }
        schemas = [data.draw(st.sampled_from(["main", "s", "S t"])) for _ in range(size)]
        views = []
        for one in range(size):
            tables = [f"{identifier(schemas[two])}.{identifier(names[two])}" for two in reads[one]]
            columns = ", ".join(["1", *(f"(SELECT count(*) FROM {table})" for table in tables)])
            views.append(select(names[one], f"SELECT {columns}", schemas[one]))
        random.Random(data.draw(st.integers())).shuffle(views)
        made = planned(*views)
        with duckdb.connect() as connection:
            for statement in made.schema_statements():
                connection.execute(statement.text)
            for step in made.views:
                connection.execute(step.statements[0].text)
        done: set[str] = set()
        for step in made.views:
            assert done.issuperset(step.needs)
            done.add(step.key)
        assert len(done) == size


class TestNames:
    @pytest.mark.parametrize(
        ("name", "schema", "expected"),
        [
            ("t", "main", "view:main.t"),
            ("t", "s", "view:s.t"),
            ("only_main", "s", "view:main.only_main"),
            ("main.t", "s", "view:main.t"),
            ("s.t", "main", "view:s.t"),
            ("S.T", "main", "view:s.t"),
            ("shop.t", "main", "view:main.t"),
            ("shop.main.t", "s", "view:main.t"),
            ("shop.s.t", "main", "view:s.t"),
        ],
    )
    def test_a_name_is_the_relation_that_duckdb_takes_it_for(
        self, tmp_path: Path, name: str, schema: str, expected: str
    ) -> None:
        path = str(tmp_path / "shop.duckdb")
        views = [
            select("reader", f"FROM {name}", schema),
            select("t", "SELECT 'view:main.t' AS own"),
            select("t", "SELECT 'view:s.t' AS own", "s"),
            select("only_main", "SELECT 'view:main.only_main' AS own"),
        ]
        made = planned(*views, database=path)
        (needs,) = (step.needs for step in made.views if step.view == "reader")
        assert needs == (expected,)
        with duckdb.connect(path) as connection:
            for statement in made.schema_statements():
                connection.execute(statement.text)
            for step in made.views:
                connection.execute(step.statements[0].text)
            assert connection.execute(f"FROM {schema}.reader").fetchall() == [(expected,)]

    def test_what_the_config_does_not_declare_is_not_needed(self) -> None:
        (step,) = planned(select("v", "FROM nowhere, s.nothing, a.b.c")).views
        assert step.needs == ()

    def test_attachments_and_catalogs_are_needed_by_their_aliases(
        self, write_config: WriteConfig
    ) -> None:
        text = """
attachments: {sqlite: [{alias: Old, path: x}], duckdb: [{alias: ref, path: y}]}
iceberg_catalogs: [{name: lake, catalog_type: rest, uri: u}]
views:
- {name: a, source: sqlite, database: OLD, table: t}
- {name: b, sql: "FROM old.t JOIN ref.s.t USING (id) JOIN LAKE.n.t USING (id) JOIN a USING (id)"}
- {name: c, source: iceberg, catalog: lake, table: n.t}
"""
        needs = {step.view: step.needs for step in loaded(write_config, text).views}
        assert needs == {
            "a": ("attachment:Old",),
            "b": ("attachment:Old", "attachment:ref", "catalog:lake", "view:main.a"),
            "c": ("catalog:lake",),
        }

    def test_a_schema_before_a_database_is_a_schema(self, write_config: WriteConfig) -> None:
        text = """
attachments: {duckdb: [{alias: ref, path: y}]}
views:
- {name: a, sql: FROM sales.t}
- {name: t, schema: sales, sql: SELECT 1}
"""
        (step,) = (one for one in loaded(write_config, text).views if one.view == "a")
        assert step.needs == ("view:sales.t",)


class TestCircles:
    def test_a_cycle_names_every_view_in_it(self) -> None:
        views = [
            select("a", "FROM b", line=3),
            select("b", "FROM c", line=5),
            select("c", "FROM a", line=7),
            select("d", "FROM a", line=9),
        ]
        assert refusal_of(*views) == [
            'f.yaml:3 "a": views read each other in a circle: a → b → c → a\n'
            "    The others: b at f.yaml:5, c at f.yaml:7."
        ]

    def test_a_view_that_reads_itself_is_a_circle(self) -> None:
        assert refusal_of(select("a", "FROM x JOIN A ON true", line=3)) == [
            'f.yaml:3 "a": the view reads itself'
        ]

    def test_a_view_in_a_schema_that_names_itself_reads_itself(self) -> None:
        """DuckDB looks into the view's own schema first, and then says "infinite recursion"."""
        views = [select("a", "FROM a", "s", 3), select("a", "SELECT 1", line=5)]
        assert refusal_of(*views) == ['f.yaml:3 "a": the view reads itself']

    def test_schemas_are_told_where_they_are_not_main(self) -> None:
        views = [select("a", "FROM s.a", line=1), select("a", "FROM main.a", "s", 2)]
        assert "a → s.a → a" in refusal_of(*views)[0]

    def test_every_circle_is_told_at_once(self) -> None:
        views = [
            select("a", "FROM b"),
            select("b", "FROM a"),
            select("c", "FROM c"),
            select("d", "FROM e, a"),
            select("e", "FROM f"),
            select("f", "FROM d"),
        ]
        circles = [problem.splitlines()[0].rpartition(": ")[2] for problem in refusal_of(*views)]
        assert sorted(circles) == ["a → b → a", "d → e → f → d", "the view reads itself"]

    def test_a_circle_by_a_name_in_capitals_is_one(self) -> None:
        assert "a → b → a" in refusal_of(select("a", "FROM B"), select("b", 'FROM "A"'))[0]

    @given(st.data())
    @settings(max_examples=30, deadline=None)
    def test_a_circle_is_found_among_any_other_views(self, data: st.DataObject) -> None:
        length = data.draw(st.integers(1, 6))
        views = [select(f"c{one}", f"FROM c{(one + 1) % length}") for one in range(length)]
        views += [select(f"v{one}", f"FROM c{one % length}") for one in range(5)]
        random.Random(data.draw(st.integers())).shuffle(views)
        (problem,) = refusal_of(*views)
        for one in range(length):
            assert f"c{one}" in problem


class TestRefusals:
    def test_what_is_not_one_select_is_told_with_its_place(self, write_config: WriteConfig) -> None:
        write_config("SELECT 1\n;\nSELECT 2", "two.sql")
        write_config("SELECT 1\nFROM a\nWHER b", "wrong.sql")
        text = """views:
- name: a
  sql: DROP TABLE precious
- name: b
  sql_file: two.sql
- name: c
  sql: DESCRIBE a
- name: d
  sql: SELECT ?
- name: e
  sql_file: wrong.sql
- name: f
  sql: SELECT 1
"""
        with pytest.raises(ConfigError) as caught:
            loaded(write_config, text)
        told = [
            (problem.origin.line, problem.origin.path[-1], problem.name, problem.message)
            for problem in caught.value.problems
        ]
        assert [one[:3] for one in told] == [
            (4, "sql", "a"),
            (6, "sql_file", "b"),
            (8, "sql", "c"),
            (10, "sql", "d"),
            (12, "sql_file", "e"),
        ]
        assert told[1][3] == "a view is one SELECT, and this is 2 statements"
        assert told[4][3].startswith("DuckDB cannot parse it in line 3 of the query: ")

    def test_the_semicolon_at_the_end_of_a_query_is_taken_off(self) -> None:
        for sql in ("SELECT 1;", "SELECT 1 ;;\n", "SELECT 1;\n;"):
            (step,) = planned(select("v", sql)).views
            assert step.query.rstrip("; \n") == "SELECT 1"
            assert len(duckdb.extract_statements(step.statements[0].text)) == 1

    @pytest.mark.parametrize(
        ("query", "better"),
        [
            ("FROM shop.main.a", "main.a"),
            ("FROM SHOP.a", "a"),
            ("SELECT (SELECT max(x) FROM shop.s.b) AS y", "s.b"),
            ('FROM shop.main."a.b"', 'main."a.b"'),
        ],
    )
    def test_a_view_that_names_its_own_catalog_is_warned_of(
        self, write_config: WriteConfig, query: str, better: str
    ) -> None:
        path = write_config(f"""
version: 1
duckdb: {{database: shop.duckdb}}
views:
  - {{name: a, sql: SELECT 1 AS x}}
  - name: v
    sql: {query!r}
""")
        config = load_config(path, environment={})
        (warning,) = plan(config).warnings
        assert warning.message == 'the query names its own catalog, "shop"'
        assert (warning.origin.line, warning.name) == (7, "v")
        assert warning.remedy.endswith(f"Write: {better}")
        assert plan(config, "/a/Shop.db").warnings == (warning,)
        with pytest.raises(ConfigError, match='the query names its own catalog, "shop"'):
            plan(config, "/a/other.duckdb")

    def test_other_databases_and_schemas_may_be_named(self, write_config: WriteConfig) -> None:
        path = write_config("""
version: 1
duckdb: {database: shop.duckdb}
attachments: {sqlite: [{alias: crm, path: crm.db}]}
views:
  - {name: a, schema: s, sql: SELECT 1 AS shop}
  - {name: v, sql: "WITH shop AS (FROM s.a) SELECT shop.shop FROM shop, crm.main.t"}
""")
        assert plan(load_config(path, environment={})).warnings == ()

    def test_another_database_is_checked_against_the_aliases(
        self, write_config: WriteConfig
    ) -> None:
        path = write_config("version: 1\nattachments: {sqlite: [{alias: shop, path: x}]}")
        config = load_config(path, environment={})
        assert plan(config, "/a/other.duckdb").database == "/a/other.duckdb"
        with pytest.raises(ConfigError, match='"shop" is what DuckDB calls the catalog itself'):
            plan(config, "/a/shop.duckdb")


class TestSession:
    def steps(self, write_config: WriteConfig, text: str, **environment: str) -> list[Any]:
        return list(loaded(write_config, text, **environment).session)

    def test_the_steps_are_in_the_order_they_need_each_other(
        self, write_config: WriteConfig
    ) -> None:
        text = """
iceberg_catalogs: [{name: lake, catalog_type: rest, uri: u, options: {secret: ice}}]
attachments: {postgres: [{alias: pg, secret: my_pg}]}
duckdb:
  pragmas: [SET a = 1]
  secrets: [{type: postgres, name: my_pg, host: h}, {type: iceberg, name: ice, token: t}]
  settings: {threads: 1}
  load_extensions: [fts]
"""
        steps = self.steps(write_config, text)
        assert [step.key for step in steps] == [
            "extension:fts",
            "extension:postgres_scanner",
            "extension:httpfs",
            "extension:avro",
            "extension:iceberg",
            "setting:threads",
            "pragma:1",
            "secret:my_pg",
            "secret:ice",
            "attachment:pg",
            "catalog:lake",
        ]
        done: set[str] = set()
        for step in steps:
            assert done.issuperset(step.needs)
            done.add(step.key)

    @pytest.mark.parametrize(
        ("text", "extensions"),
        [
            ("views: [{name: v, source: parquet, uri: 's3://b/x'}]", ["httpfs"]),
            ("views: [{name: v, source: parquet, uri: [a, 'az://b/x']}]", ["azure"]),
            ("views: [{name: v, source: parquet, uri: a}]", []),
            ("views: [{name: v, source: delta, uri: a}]", ["httpfs", "delta"]),
            ("views: [{name: v, source: iceberg, uri: a}]", ["httpfs", "avro", "iceberg"]),
            ("views: [{name: v, sql: \"FROM read_csv('https://h/x')\"}]", ["httpfs"]),
            ("views: [{name: v, sql: \"FROM 's3://b/x.parquet'\"}]", ["httpfs"]),
            ("views: [{name: v, sql: \"FROM Delta_Scan('x')\"}]", ["httpfs", "delta"]),
            ("attachments: {duckdb: [{alias: a, path: 'https://h/x.duckdb'}]}", ["httpfs"]),
            ("attachments: {sqlite: [{alias: a, path: x}]}", ["sqlite_scanner"]),
            ("attachments: {ducklake: [{alias: a, path: x}]}", ["ducklake"]),
            (
                "attachments: {ducklake: [{alias: a, path: x, metadata: sqlite, "
                "data_path: 's3://b'}]}",
                ["sqlite_scanner", "httpfs", "ducklake"],
            ),
            ("duckdb: {secrets: [{type: s3, provider: credential_chain}]}", ["httpfs", "aws"]),
            ("duckdb: {secrets: [{type: mysql, host: h}]}", ["mysql_scanner"]),
            ("duckdb: {settings: {s3_region: eu, HTTP_RETRIES: 5, threads: 2}}", ["httpfs"]),
            ("duckdb: {settings: {http_proxy: 'http://p'}}", []),
            (
                "duckdb: {pragmas: [set GLOBAL pg_use_ctid_scan = false, SET threads = 1]}",
                ["postgres_scanner"],
            ),
            (
                "duckdb: {load_extensions: [sqlite, SQLITE_SCANNER, json]}",
                ["sqlite_scanner", "json"],
            ),
        ],
    )
    def test_each_extension_that_is_needed_is_there_once(
        self, write_config: WriteConfig, text: str, extensions: list[str]
    ) -> None:
        steps = self.steps(write_config, text)
        assert [step.name for step in steps if isinstance(step, ExtensionStep)] == extensions

    def test_an_extension_to_install_is_not_loaded(self, write_config: WriteConfig) -> None:
        text = "duckdb: {install_extensions: [fts, json], load_extensions: [json]}"
        steps = self.steps(write_config, text)
        assert [(step.name, step.is_loaded) for step in steps] == [("fts", False), ("json", True)]
        assert [one.text for one in steps[0].statements] == ['INSTALL "fts"']

    @pytest.mark.parametrize(
        ("stated", "value"),
        [
            ("temp_directory: tmp", "'{folder}/tmp'"),
            ("temp_directory: /tmp/duck", "'/tmp/duck'"),
            ("TEMP_DIRECTORY: tmp", "'{folder}/tmp'"),
            ("temp_directory: ''", "''"),
            ("allowed_directories: [a, 's3://b/c']", "['{folder}/a', 's3://b/c']"),
            ("file_search_path: 'a,/b'", "'{folder}/a,/b'"),
            ("memory_limit: 1GB", "'1GB'"),
        ],
    )
    def test_paths_in_settings_start_from_the_file_that_states_them(
        self, write_config: WriteConfig, tmp_path: Path, stated: str, value: str
    ) -> None:
        (step,) = self.steps(write_config, f"duckdb: {{settings: {{{stated}}}}}")
        name = stated.partition(":")[0]
        assert step.statements[0].text == f'SET "{name}" = {value.format(folder=tmp_path)}'

    def test_certificates_of_an_attachment_start_from_the_file_that_states_them(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        text = (
            "attachments: {postgres: [{alias: pg, host: h, database: d, user: u, options: {%s}}]}"
        )
        stated = "sslrootcert: root.pem, sslcert: /c.pem, sslkey: '${env:KEY}', passfile: ''"
        (_, step) = self.steps(write_config, text % stated, KEY="k.pem")
        attach = step.statements[1].text
        for value in (f"{tmp_path}/root.pem", "/c.pem", f"{tmp_path}/k.pem", ""):
            assert f"=''{value}''" in attach
        (_, step) = self.steps(write_config, text % "sslrootcert: system")
        assert "sslrootcert=''system''" in step.statements[1].text

    def test_a_database_step_knows_the_file_that_must_exist(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        text = """
attachments:
  duckdb: [{alias: a, path: a.duckdb}, {alias: b, path: 'https://h/b.duckdb'}]
  sqlite: [{alias: c, path: c.db}]
  postgres: [{alias: d, host: h, database: d, user: u}]
"""
        files = {
            step.name: step.file
            for step in self.steps(write_config, text)
            if isinstance(step, DatabaseStep)
        }
        assert files == {"a": f"{tmp_path}/a.duckdb", "b": None, "c": f"{tmp_path}/c.db", "d": None}

    def test_every_step_knows_where_it_is_stated(self, write_config: WriteConfig) -> None:
        text = """duckdb:
  settings:
    threads: 1
  pragmas:
  - SET a = 1
  secrets:
  - {type: s3}
attachments:
  sqlite:
  - alias: a
    path: x
views:
- name: v
  sql: SELECT 1
"""
        made = loaded(write_config, text)
        lines = {step.key: step.origin.line for step in (*made.session, *made.views)}
        assert lines["setting:threads"] == 4
        assert lines["pragma:1"] == 6
        assert lines["secret:__default_s3"] == 8
        assert lines["attachment:a"] == 11
        assert lines["view:main.v"] == 14


class TestFingerprints:
    def fingerprint(self, **changes: Any) -> str:
        stated: dict[str, Any] = {"name": "v", "sql": "SELECT 1 AS a", **changes}
        (step,) = plan(Config(version=1, views=(SelectView(**stated),))).views
        return step.fingerprint

    def test_the_same_view_has_the_same_one(self) -> None:
        assert self.fingerprint() == self.fingerprint()

    def test_it_does_not_depend_on_what_the_catalog_does_not_store(self) -> None:
        changed = self.fingerprint(
            tags=("x",), meta={"a": 1}, origin=Origin("other.yaml", 99, ("views", 7))
        )
        assert changed == self.fingerprint()

    @pytest.mark.parametrize(
        "changes",
        [
            {"sql": "SELECT 2 AS a"},
            {"sql": "SELECT 1 AS a -- note"},
            {"name": "w"},
            {"schema": "s"},
            {"description": "text"},
            {"description": ""},
        ],
    )
    def test_it_changes_with_what_the_catalog_stores(self, changes: dict[str, Any]) -> None:
        assert self.fingerprint(**changes) != self.fingerprint()

    def test_it_changes_with_the_description_of_a_column(self, write_config: WriteConfig) -> None:
        first, second, third = (
            loaded(write_config, f"views: [{{name: v, sql: SELECT 1 AS a, columns: {columns}}}]")
            for columns in ("{}", "{a: text}", "{a: other}")
        )
        prints = {made.views[0].fingerprint for made in (first, second, third)}
        assert len(prints) == 3

    def test_no_two_views_share_one(self) -> None:
        steps = planned(
            select("a", "SELECT 1"),
            select("b", "SELECT 1"),
            select("a", "SELECT 1", "s"),
            select("s.a", "SELECT 1"),
        ).views
        assert len({step.fingerprint for step in steps}) == 4


class TestPlan:
    def test_schemas_are_made_in_the_order_they_are_needed(self) -> None:
        made = planned(
            select("a", "SELECT 1", "z"),
            select("b", "SELECT 1"),
            select("c", "SELECT 1", 'y"'),
            select("d", "SELECT 1", "z"),
        )
        assert made.schemas == ("z", 'y"')
        assert [one.text for one in made.schema_statements()] == [
            'CREATE SCHEMA IF NOT EXISTS "z"',
            'CREATE SCHEMA IF NOT EXISTS "y"""',
        ]

    def test_a_catalog_in_memory_knows_that_it_is(self) -> None:
        assert planned(select("a", "SELECT 1")).is_in_memory
        on_disk = planned(database="/a/shop.v1.duckdb")
        assert not on_disk.is_in_memory
        assert on_disk.catalog_name == "shop"

    def test_a_view_carries_what_it_is_told_with(self, write_config: WriteConfig) -> None:
        text = """
views:
- name: v
  source: csv
  uri: s3://x
  description: d
  columns: {a: A.}
  tags: [t]
  meta: {m: 1}
"""
        (step,) = loaded(write_config, text).views
        assert (step.source, step.description, step.tags, step.meta) == (
            "csv",
            "d",
            ("t",),
            {"m": 1},
        )
        assert step.columns["a"].description == "A."
        assert (step.name, step.relation, step.key) == ("main.v", '"v"', "view:main.v")

    def test_scripts_are_the_halves_of_the_plan(self, write_config: WriteConfig) -> None:
        text = """
duckdb: {settings: {threads: 1}}
views:
- {name: b, sql: FROM s.a}
- {name: a, schema: s, sql: SELECT 1 -- one}
"""
        made = loaded(write_config, text)
        assert views_script(made) == (
            "-- The views of catalog.yaml, generated by duckalog\n\n"
            'CREATE SCHEMA IF NOT EXISTS "s";\n\n'
            'CREATE OR REPLACE VIEW "s"."a" AS\nSELECT 1 -- one\n;\n\n'
            'CREATE OR REPLACE VIEW "b" AS\nFROM s.a;\n'
        )
        session = session_script(made)
        assert session.startswith("-- The session of catalog.yaml, generated by duckalog\n\n")
        assert 'SET "threads" = 1;\n' in session
        assert "VIEW" not in session
        catalog = views_script(made).partition("\n\n")[2]
        body = session.partition("\n\n")[2]
        assert full_script(made).endswith(f"{body}\nBEGIN TRANSACTION;\n\n{catalog}\nCOMMIT;\n")

    def test_a_placeholder_that_is_not_filled_stays_in_the_query(
        self, write_config: WriteConfig
    ) -> None:
        path = write_config(
            "version: 1\nviews: [{name: v, sql: \"SELECT '${env:X}'\"},"
            " {name: w, source: parquet, uri: '${env:BUCKET}/x'}]"
        )
        first, second = plan(load_config(path, fill_environment=False)).views
        assert first.query == "SELECT '${env:X}'"
        assert "${env:BUCKET}/x" in second.query


@pytest.mark.parametrize(
    ("pragma", "kind"),
    [
        ("DROP TABLE precious", "DROP"),
        ("CREATE MACRO m() AS 1", "CREATE"),
        ("COPY t TO 'x'", "COPY"),
    ],
)
def test_a_pragma_that_would_change_a_database_is_refused(
    pragma: str, kind: str, write_config: WriteConfig
) -> None:
    config = write_config(f'version: 1\nduckdb:\n  pragmas:\n    - "{pragma}"\n')
    with pytest.raises(ConfigError, match=f"{kind} changes a database") as caught:
        plan(load_config(config))
    assert caught.value.problems[0].origin.line == 4


def unfilled(write_config: WriteConfig, text: str) -> Plan:
    """Return a plan whose placeholders stay as they are."""
    return plan(load_config(write_config(f"version: 1\n{text}"), fill_environment=False))


class TestUnfilled:
    @pytest.mark.parametrize(
        "query",
        [
            "SELECT * FROM base WHERE region = '${env:REGION}'",
            "SELECT * FROM base LIMIT ${env:LIMIT}",
            "SELECT i::DECIMAL(${env:DIGITS}, 2) FROM base",
            'SELECT "${env:COLUMN}" FROM base',
            "SELECT ${env:COLUMN:i} FROM base",
        ],
    )
    def test_what_a_query_reads_is_known(self, write_config: WriteConfig, query: str) -> None:
        text = f"views: [{{name: base, sql: SELECT 1 AS i}}, {{name: v, sql: {query!r}}}]"
        assert unfilled(write_config, text).views[1].needs == ("view:main.base",)

    def test_every_other_value_may_wait_too(self, write_config: WriteConfig) -> None:
        found = unfilled(
            write_config,
            """\
duckdb:
  database: ${env:DB}
  settings: {threads: "${env:THREADS}"}
  secrets: [{type: s3, key_id: "${env:K}", secret: "${env:S}", scope: "s3://${env:B}", name: aws}]
attachments:
  postgres: [{alias: dw, host: "${env:H}", port: "${env:P}", database: d, user: u, password: x}]
iceberg_catalogs:
  - {name: g, catalog_type: glue, warehouse: "${env:ACCOUNT}", options: {secret: aws}}
  - {name: t, catalog_type: s3_tables, warehouse: "${env:ARN}", options: {secret: aws}}
views:
  - {name: a, source: iceberg, uri: "${env:I}", options: {snapshot_id: "${env:SNAPSHOT}"}}
  - {name: b, source: iceberg, catalog: g, table: "${env:TABLE}"}
  - {name: c, source: iceberg, catalog: g, table: n.t, options: {snapshot_id: "${env:SNAPSHOT}"}}
""",
        )
        assert [view.needs for view in found.views] == [(), ("catalog:g",), ("catalog:g",)]
        assert "snapshot_from_id = '${env:SNAPSHOT}'" in found.views[0].query
        assert "AT (VERSION => '${env:SNAPSHOT}')" in found.views[2].query

    def test_what_is_wrong_beside_a_placeholder_is_told(self, write_config: WriteConfig) -> None:
        with pytest.raises(ConfigError, match="this is DROP"):
            unfilled(write_config, "views: [{name: v, sql: DROP TABLE t}]")


class TestSources:
    def test_are_the_files_and_tables_that_a_view_names(self, write_config: WriteConfig) -> None:
        found = loaded(
            write_config,
            """\
attachments: {duckdb: [{alias: Crm, path: a.duckdb}]}
views:
  - {name: files, source: csv, uri: [s3://b/a.csv, s3://b/b.csv]}
  - {name: customers, source: duckdb, database: crm, table: sales.customers}
  - {name: joined, sql: "FROM crm.sales.customers JOIN files USING (id), crm.t"}
""",
        )
        assert {view.view: [one.location for one in view.sources] for view in found.views} == {
            "files": [("s3://b/a.csv",), ("s3://b/b.csv",)],
            "customers": [("crm", "sales", "customers")],
            "joined": [("Crm", "sales", "customers"), ("Crm", "t")],
        }
