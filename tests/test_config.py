"""Whole configs: every rule of the format, told by file, line and key path, all at once."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent
from typing import Any, Protocol

import pytest

import duckalog
from duckalog.config import Config, catalog_name
from duckalog.errors import MAX_PROBLEMS, ConfigError
from duckalog.libpq import OPTIONS
from duckalog.load import load_config
from duckalog.plan import Plan, plan
from duckalog.secrets import SECRET_TYPES
from duckalog.views import VIEW_TYPES
from tests.conftest import WriteConfig


def config_of(*views: Any) -> Config:
    return Config(version=1, views=views)


class Load(Protocol):
    """Loads a config whose first line is its version, in an environment of its own."""

    def __call__(self, text: str, **environment: str) -> Config: ...


class Refused(Protocol):
    """Returns what is told about a config: `file:line: keys: message`, remedies left out."""

    def __call__(self, text: str, **environment: str) -> list[str]: ...


@pytest.fixture
def load(write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Load:
    monkeypatch.chdir(tmp_path)

    def loaded(text: str, **environment: str) -> Config:
        return load_config(write_config(f"version: 1\n{text}"), environment=environment)

    return loaded


@pytest.fixture
def refused(load: Load) -> Refused:
    def told(text: str, **environment: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, **environment)
        return [str(problem).splitlines()[0] for problem in caught.value.problems]

    return told


def remedies_of(load: Load, text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, **environment)
    return [problem.remedy for problem in caught.value.problems]


def session_of(config: Config) -> list[str]:
    """Return the session half as scripts show it."""
    return [one.script for step in plan(config).session for one in step.statements]


UC_5 = """
views:
  - name: users
    source: parquet
    uri: "s3://my-bucket/data/users/*.parquet"
    options:
      hive_partitioning: true
      union_by_name: true
"""
UC_6 = """
duckdb:
  database: my_catalog.duckdb
  pragmas:
    - "SET s3_region='eu-central-1'"
    - "SET s3_access_key_id='${env:AWS_ACCESS_KEY_ID}'"
    - "SET s3_secret_access_key='${env:AWS_SECRET_ACCESS_KEY}'"
"""
UC_7 = """
attachments:
  duckdb:
    - alias: refdata
      path: ./refdata.duckdb
      read_only: true

  sqlite:
    - alias: legacy
      path: ./legacy.db

  postgres:
    - alias: dw
      host: "${env:PG_HOST}"
      port: 5432
      database: dw
      user: "${env:PG_USER}"
      password: "${env:PG_PASSWORD}"
      sslmode: require

views:
  - name: dim_country
    source: duckdb
    database: refdata
    table: public.dim_country

  - name: legacy_users
    source: sqlite
    database: legacy
    table: users

  - name: fact_orders
    source: postgres
    database: dw
    table: public.fact_orders
"""
UC_8 = """
iceberg_catalogs:
  - name: main_ic
    catalog_type: rest
    uri: "https://iceberg-catalog.internal"
    warehouse: "s3://my-warehouse/"
    options:
      token: "${env:ICEBERG_TOKEN}"

views:
  - name: events_delta
    source: delta
    uri: "s3://my-bucket/delta/events"

  - name: ic_orders
    source: iceberg
    catalog: main_ic
    table: analytics.orders
    options:
      snapshot_id: 123456789
"""
UC_9 = """
views:
  - name: vip_users
    sql: |
      SELECT *
      FROM users
      WHERE is_vip = TRUE
"""
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIA",
    "AWS_SECRET_ACCESS_KEY": "it's",
    "PG_HOST": "db.internal",
    "PG_USER": "ann",
    "PG_PASSWORD": "p'w",
    "ICEBERG_TOKEN": "token",
}


class TestRequirements:
    """The YAML of the requirements' use cases, as it is written there."""

    def planned(self, load: Load, text: str) -> Plan:
        return plan(load(text, **ENVIRONMENT))

    def test_uc_5_is_a_view_over_parquet(self, load: Load) -> None:
        (view,) = self.planned(load, UC_5).views
        assert view.query == (
            "SELECT * FROM read_parquet('s3://my-bucket/data/users/*.parquet', "
            "hive_partitioning = true, union_by_name = true)"
        )

    def test_uc_6_is_three_statements_of_each_session_and_their_extension(
        self, load: Load, tmp_path: Path
    ) -> None:
        made = self.planned(load, UC_6)
        assert made.database == str(tmp_path / "my_catalog.duckdb")
        assert [one.text for step in made.session for one in step.statements] == [
            'INSTALL "httpfs"',
            'LOAD "httpfs"',
            "SET s3_region='eu-central-1'",
            "SET s3_access_key_id='AKIA'",
            "SET s3_secret_access_key='it''s'",
        ]

    def test_uc_7_is_three_attachments_and_a_view_of_each(self, load: Load) -> None:
        made = self.planned(load, UC_7)
        assert [view.query for view in made.views] == [
            'SELECT * FROM "refdata"."public"."dim_country"',
            'SELECT * FROM "legacy"."users"',
            'SELECT * FROM "dw"."public"."fact_orders"',
        ]
        names = [step.name for step in made.session if step.kind == "attachment"]
        assert names == ["refdata", "legacy", "dw"]

    def test_uc_8_is_a_catalog_and_two_tables(self, load: Load) -> None:
        made = self.planned(load, UC_8)
        assert [view.query for view in made.views] == [
            "SELECT * FROM delta_scan('s3://my-bucket/delta/events')",
            'SELECT * FROM "main_ic"."analytics"."orders" AT (VERSION => 123456789)',
        ]
        assert [step.name for step in made.session if step.kind == "catalog"] == ["main_ic"]

    def test_uc_9_is_the_query_as_it_is_written(self, load: Load) -> None:
        (view,) = self.planned(load, UC_9).views
        assert view.query == "SELECT *\nFROM users\nWHERE is_vip = TRUE"

    def test_all_of_them_go_together_by_imports(
        self, load: Load, write_config: WriteConfig
    ) -> None:
        for number, text in enumerate((UC_5, UC_6, UC_7, UC_8, UC_9), 5):
            write_config(text, f"parts/uc_{number}.yaml")
        made = self.planned(load, "imports: ['parts/*.yaml']")
        assert [view.view for view in made.views] == [
            "users",
            "dim_country",
            "legacy_users",
            "fact_orders",
            "events_delta",
            "ic_orders",
            "vip_users",
        ]
        assert made.views[-1].needs == ("view:main.users",)


class TestVersion:
    def test_another_version_is_refused_at_its_line(self, write_config: WriteConfig) -> None:
        path = write_config("views: []\nversion: 2\n")
        with pytest.raises(ConfigError) as caught:
            load_config(path, environment={})
        (problem,) = caught.value.problems
        assert (problem.origin.line, problem.origin.path) == (2, ("version",))
        assert problem.message == "version 2 is not supported"
        assert problem.remedy == "This duckalog reads version 1."

    def test_another_version_hides_nothing_else(self, write_config: WriteConfig) -> None:
        path = write_config("version: 2\nviews: [{name: a, source: duckdb, database: b, table: c}]")
        with pytest.raises(ConfigError) as caught:
            load_config(path, environment={})
        assert [problem.message for problem in caught.value.problems] == [
            "version 2 is not supported",
            'no attachment is called "b"',
        ]

    def test_a_config_without_one_is_refused(self, write_config: WriteConfig) -> None:
        with pytest.raises(ConfigError, match='the key "version" is missing'):
            load_config(write_config("views: []"), environment={})

    @pytest.mark.parametrize("version", ["'1'", "1.0", "true", "[1]", "0", "-1", "999"])
    def test_only_the_number_one_is_a_version(
        self, write_config: WriteConfig, version: str
    ) -> None:
        with pytest.raises(ConfigError, match=r"catalog\.yaml:1: version: "):
            load_config(write_config(f"version: {version}"), environment={})

    @pytest.mark.parametrize("text", ["- version: 1", "hello", "~", "5"])
    def test_what_is_no_map_is_no_config(self, write_config: WriteConfig, text: str) -> None:
        with pytest.raises(ConfigError, match="a config is a map"):
            load_config(write_config(text), environment={})

    def test_a_version_alone_is_a_config(self, load: Load) -> None:
        config = load("")
        assert config.database == ":memory:"
        assert config.views == ()


class TestUnknownKeys:
    @pytest.mark.parametrize(
        ("text", "place", "suggestion"),
        [
            ("view: []", "catalog.yaml:2: view", "views"),
            ("duckdb: {databse: x}", "catalog.yaml:2: duckdb.databse", "database"),
            ("duckdb:\n  pragma: []", "catalog.yaml:3: duckdb.pragma", "pragmas"),
            ("attachments: {sqlit: []}", "catalog.yaml:2: attachments.sqlit", "sqlite"),
            (
                "attachments:\n  sqlite:\n  - {alias: a, paht: b}",
                "catalog.yaml:4: attachments.sqlite[0].paht",
                "path",
            ),
            (
                "iceberg_catalogs:\n- {name: a, catalog_type: rest, uri: u, options: {tokn: t}}",
                "catalog.yaml:3: iceberg_catalogs[0].options.tokn",
                "token",
            ),
            (
                "views:\n- name: v\n  sql: SELECT 1\n  desciption: x",
                "catalog.yaml:5: views[0].desciption",
                "description",
            ),
            (
                "views:\n- {name: v, sql: SELECT 1, columns: {a: {descripton: x}}}",
                "catalog.yaml:3: views[0].columns.a.descripton",
                "description",
            ),
            (
                "duckdb: {secrets: [{type: s3, regoin: x}]}",
                "catalog.yaml:2: duckdb.secrets[0].regoin",
                "region",
            ),
        ],
    )
    def test_they_are_told_with_the_nearest_at_every_level(
        self, load: Load, refused: Refused, text: str, place: str, suggestion: str
    ) -> None:
        key = place.rpartition(".")[2].rpartition(": ")[2]
        assert refused(text)[0] == f'{place}: unknown key "{key}"'
        assert remedies_of(load, text)[0].startswith(f'Did you mean "{suggestion}"? Keys here: ')

    @pytest.mark.parametrize(
        ("text", "remedy"),
        [
            ("secrets: []", 'It goes under "duckdb". Keys here: '),
            ("postgres: []", 'It goes under "attachments". Keys here: '),
            ("views: [{name: v, type: csv, uri: x}]", '"type" is called "source" here. Sources: '),
            ("views: [{name: v, query: SELECT 1}]", '"query" is called "sql" here. Sources: '),
        ],
    )
    def test_what_others_call_it_or_where_it_goes_is_told(
        self, load: Load, text: str, remedy: str
    ) -> None:
        assert remedies_of(load, text)[0].startswith(remedy)

    @pytest.mark.parametrize(
        ("source", "key"),
        [("parquet", "table"), ("csv", "database"), ("delta", "catalog"), ("sqlite", "uri")],
    )
    def test_a_key_of_another_source_is_unknown(
        self, refused: Refused, source: str, key: str
    ) -> None:
        text = f"views: [{{name: v, source: {source}, {key}: x}}]"
        assert f'views[0].{key}: unknown key "{key}"' in refused(text)[0]


NAMES_TWICE = [
    (
        "views:\n- {name: a, sql: SELECT 1}\n- name: A\n  sql: SELECT 2",
        "catalog.yaml:4: views[1].name: "
        'there is a view called "a" already, at catalog.yaml:3: views[0]',
    ),
    (
        "views:\n- {name: a, sql: SELECT 1}\n- {name: a, schema: MAIN, sql: SELECT 2}",
        'catalog.yaml:4: views[1].name: there is a view called "a" already, at catalog.yaml:3:',
    ),
    (
        "views:\n- {name: a, schema: s, sql: SELECT 1}\n- {name: A, schema: S, sql: SELECT 2}",
        'catalog.yaml:4: views[1].name: there is a view called "s.a" already',
    ),
    (
        "attachments:\n  sqlite: [{alias: a, path: x}]\n  duckdb: [{alias: A, path: y}]",
        'catalog.yaml:3: attachments.sqlite[0].alias: there is a database called "A" already',
    ),
    (
        "attachments:\n  sqlite: [{alias: a, path: x}]\n"
        "iceberg_catalogs:\n- catalog_type: rest\n  uri: u\n  name: A",
        'catalog.yaml:7: iceberg_catalogs[0].name: there is a database called "a" already',
    ),
    (
        "duckdb:\n  secrets:\n  - {name: a, type: s3}\n  - {type: http, name: A}",
        'catalog.yaml:5: duckdb.secrets[1].name: there is a secret called "a" already',
    ),
    (
        "duckdb:\n  secrets:\n  - type: s3\n  - type: s3",
        "catalog.yaml:5: duckdb.secrets[1].name: "
        'there is a secret called "__default_s3" already, at catalog.yaml:4: duckdb.secrets[0]',
    ),
    (
        "duckdb:\n  settings:\n    threads: 1\n    Threads: 2",
        'catalog.yaml:5: duckdb.settings.Threads: "threads" and "Threads" differ in case only',
    ),
    (
        "views:\n- {name: v, sql: SELECT 1, columns: {id: a, ID: b}}",
        'catalog.yaml:3: views[0].columns.ID: "id" and "ID" differ in case only',
    ),
    (
        "views:\n- {name: v, source: csv, uri: x, options: {header: true, HEADER: false}}",
        'catalog.yaml:3: views[0].options.HEADER: "header" and "HEADER" differ in case only',
    ),
]


class TestNames:
    @pytest.mark.parametrize(("text", "problem"), NAMES_TWICE)
    def test_names_that_differ_in_case_only_are_refused_with_both_places(
        self, refused: Refused, text: str, problem: str
    ) -> None:
        (told,) = refused(text)
        assert told.startswith(problem)

    def test_the_same_name_in_two_schemas_is_two_names(self, load: Load) -> None:
        config = load("views: [{name: a, sql: SELECT 1}, {name: a, schema: s, sql: SELECT 2}]")
        assert [(view.schema, view.name) for view in config.views] == [("main", "a"), ("s", "a")]

    @pytest.mark.parametrize("alias", ["sales", "SALES"])
    def test_an_alias_equal_to_a_schema_is_refused(self, refused: Refused, alias: str) -> None:
        text = f"""
            attachments: {{sqlite: [{{alias: {alias}, path: x}}]}}
            views: [{{name: v, schema: Sales, sql: SELECT 1}}]
        """
        assert refused(dedent(text)) == [
            f'catalog.yaml:3: attachments.sqlite[0].alias: "{alias}" is also the schema of a view, '
            "at catalog.yaml:4: views[0]"
        ]

    @pytest.mark.parametrize(
        ("database", "alias"),
        [
            ("shop.duckdb", "shop"),
            ("data/Shop.v2.db", "SHOP"),
            (":memory:", "memory"),
            ("main.duckdb", "main_db"),
        ],
    )
    def test_an_alias_equal_to_the_catalog_s_own_name_is_refused(
        self, refused: Refused, database: str, alias: str
    ) -> None:
        text = f"duckdb: {{database: '{database}'}}\nattachments:\n  duckdb:\n  - alias: {alias}\n"
        (problem,) = refused(f"{text}    path: x")
        assert problem == (
            f'catalog.yaml:5: attachments.duckdb[0].alias: "{alias}" '
            "is what DuckDB calls the catalog itself"
        )

    @pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
    @pytest.mark.parametrize("path", ["shop.duckdb", "../{folder}/shop.duckdb", "link"])
    def test_the_catalog_s_own_file_cannot_be_attached(
        self, refused: Refused, tmp_path: Path, kind: str, path: str
    ) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "shop.duckdb")
        path = path.format(folder=tmp_path.name)
        text = f"duckdb: {{database: shop.duckdb}}\nattachments:\n  {kind}:\n  - alias: own\n"
        assert refused(f"{text}    path: {path}") == [
            f'catalog.yaml:6: attachments.{kind}[0].path "own": this is the catalog\'s own file'
        ]

    def test_a_schema_equal_to_the_catalog_s_own_name_is_refused(self, refused: Refused) -> None:
        text = "duckdb: {database: shop.duckdb}\nviews:\n- name: v\n  schema: Shop\n  sql: SELECT 1"
        assert refused(text) == [
            'catalog.yaml:5: views[0].schema: the schema "Shop" has the name of the catalog itself'
        ]

    @pytest.mark.parametrize("alias", ["main", "temp", "SYSTEM", "information_schema", "_duckalog"])
    def test_an_alias_of_duckdb_s_own_is_refused(self, refused: Refused, alias: str) -> None:
        (problem,) = refused(f"attachments: {{sqlite: [{{alias: {alias}, path: x}}]}}")
        assert f'.alias: "{alias}" is a ' in problem
        assert problem.endswith("of DuckDB's own")

    @pytest.mark.parametrize("schema", ["information_schema", "PG_CATALOG", "temp", "_duckalog"])
    def test_a_reserved_schema_is_refused(self, refused: Refused, schema: str) -> None:
        (problem,) = refused(f"views: [{{name: v, schema: {schema}, sql: SELECT 1}}]")
        assert problem.endswith(f'views[0].schema: the schema "{schema}" is reserved')

    @pytest.mark.parametrize(
        "text",
        [
            "views: [{name: '', sql: SELECT 1}]",
            "views: [{name: v, schema: '', sql: SELECT 1}]",
            "views: [{name: v, sql: SELECT 1, columns: {'': x}}]",
            "attachments: {sqlite: [{alias: '', path: x}]}",
            "iceberg_catalogs: [{name: '', catalog_type: rest, uri: u}]",
            "duckdb: {secrets: [{name: '', type: s3}]}",
            "duckdb: {settings: {'': 1}}",
            "duckdb: {load_extensions: ['']}",
        ],
    )
    def test_an_empty_name_is_refused(self, refused: Refused, text: str) -> None:
        assert refused(text)

    @pytest.mark.parametrize(
        ("database", "name"),
        [
            (":memory:", "memory"),
            ("/a/shop.duckdb", "shop"),
            ("/a/shop", "shop"),
            ("/a/shop.v2.duckdb", "shop"),
            ("/a/main.db", "main_db"),
        ],
    )
    def test_a_catalog_is_called_as_its_file(self, database: str, name: str) -> None:
        assert catalog_name(database) == name


class TestUnknownNames:
    ATTACHED = (
        "attachments:\n  duckdb: [{alias: refdata, path: a}]\n  sqlite: [{alias: dw, path: b}]\n"
    )

    def test_an_unknown_attachment_is_told_with_the_nearest(self, load: Load) -> None:
        text = self.ATTACHED + "views:\n- name: v\n  source: duckdb\n  database: refdat\n  table: t"
        with pytest.raises(ConfigError) as caught:
            load(text)
        assert str(caught.value) == (
            'catalog.yaml:8: views[0].database: no attachment is called "refdat"\n'
            '    Did you mean "refdata"? Attachments here: refdata, dw. '
            "Rename it, or add it under attachments."
        )

    def test_an_unknown_catalog_is_told_with_the_nearest(self, load: Load) -> None:
        text = (
            "iceberg_catalogs: [{name: lake, catalog_type: rest, uri: u}]\n"
            "views: [{name: v, source: iceberg, catalog: laek, table: a.b}]"
        )
        with pytest.raises(ConfigError) as caught:
            load(text)
        assert str(caught.value) == (
            'catalog.yaml:3: views[0].catalog: no catalog is called "laek"\n'
            '    Did you mean "lake"? Catalogs here: lake. '
            "Rename it, or add it under iceberg_catalogs."
        )

    def test_where_there_are_none_it_says_so(self, load: Load) -> None:
        text = "views: [{name: v, source: sqlite, database: a, table: t}]"
        assert remedies_of(load, text) == [
            "There are no attachments. Rename it, or add it under attachments."
        ]

    def test_an_attachment_of_another_type_is_told(self, load: Load, refused: Refused) -> None:
        text = self.ATTACHED + "views: [{name: v, source: postgres, database: DW, table: t}]"
        assert refused(text) == [
            'catalog.yaml:5: views[0].database: the attachment "DW" is a sqlite database'
        ]
        assert remedies_of(load, text) == ["Write source: sqlite"]

    def test_names_are_found_in_any_case(self, load: Load) -> None:
        config = load(self.ATTACHED + "views: [{name: v, source: sqlite, database: DW, table: t}]")
        assert plan(config).views[0].needs == ("attachment:dw",)

    @pytest.mark.parametrize(
        ("text", "path", "expected"),
        [
            (
                "attachments: {postgres: [{alias: a, secret: NAME}]}",
                "attachments.postgres[0].secret",
                "postgres",
            ),
            (
                "attachments: {ducklake: [{alias: a, metadata: postgres, secret: NAME}]}",
                "attachments.ducklake[0].secret",
                "postgres",
            ),
            (
                "iceberg_catalogs: [{name: a, catalog_type: rest, uri: u, "
                "options: {secret: NAME}}]",
                "iceberg_catalogs[0].options.secret",
                "iceberg",
            ),
            (
                "iceberg_catalogs: [{name: a, catalog_type: glue, warehouse: ':', "
                "options: {secret: NAME}}]",
                "iceberg_catalogs[0].options.secret",
                "s3",
            ),
        ],
    )
    def test_a_secret_is_known_and_of_the_right_type(
        self, refused: Refused, load: Load, text: str, path: str, expected: str
    ) -> None:
        secrets = (
            "duckdb:\n  secrets:\n  - {type: postgres, name: my_pg}\n  - {type: s3, name: my_s3}\n"
            "  - {type: iceberg, name: my_ice, token: t}\n"
        )
        names = {"postgres": "MY_PG", "s3": "my_s3", "iceberg": "my_ice"}
        assert load(secrets + text.replace("NAME", names.pop(expected)))
        for kind, name in names.items():
            assert refused(secrets + text.replace("NAME", name)) == [
                f'catalog.yaml:7: {path}: the secret "{name}" is of type {kind}, '
                f"and this takes {expected}"
            ]
        assert refused(secrets + text.replace("NAME", "my_sec")) == [
            f'catalog.yaml:7: {path}: no secret is called "my_sec"'
        ]


class TestAllAtOnce:
    def test_every_kind_of_problem_is_told_in_the_order_of_the_lines(
        self, refused: Refused
    ) -> None:
        text = dedent(
            """\
            views:
            - {name: a, source: duckdb, database: refdat, table: t}
            - {name: b, sql: "SELECT '${env:MISSING}'"}
            - {name: A, sql: SELECT 1}
            - {nme: c, sql: SELECT 1}
            - {name: d, name: e, sql: SELECT 1}
            - {name: f, source: parquett, uri: x}
            - {name: g, sql_file: missing.sql}
            - {name: h, source: iceberg, catalog: lake, table: a.b}
            attachments:
              duckdb: [{alias: refdata, path: x}, {alias: memory, path: y}]
            """
        )
        assert [one.split(": ")[0] + ": " + one.split(": ")[1] for one in refused(text)] == [
            "catalog.yaml:3: views[0].database",
            "catalog.yaml:4: views[1].sql",
            "catalog.yaml:5: views[2].name",
            "catalog.yaml:6: views[3].nme",
            "catalog.yaml:6: views[3]",
            "catalog.yaml:7: views[4].name",
            "catalog.yaml:8: views[5].source",
            "catalog.yaml:9: views[6].sql_file",
            "catalog.yaml:10: views[7].catalog",
            "catalog.yaml:12: attachments.duckdb[1].alias",
        ]

    def test_they_are_told_across_files(self, write_config: WriteConfig, refused: Refused) -> None:
        write_config("views:\n- {name: a, sql: SELECT 1, x: 1}\n", "parts/a.yaml")
        write_config("views:\n- {name: b, sql: '${env:MISSING}'}\n- {name: B, sql: x}", "b.json")
        write_config('{"views": [\n{"name": "c"}, {"name": "d", "uri": 5}]}', "parts/c.json")
        write_config("not: [yaml", "parts/d.yaml")
        text = "imports: [parts/a.yaml, parts/c.json, parts/d.yaml]\nview: 1"
        assert [one.partition(": ")[0] for one in refused(text)] == [
            "parts/a.yaml:2",
            "parts/c.json:2",
            "parts/c.json:2",
            "parts/d.yaml:2",
            "catalog.yaml:3",
        ]

    def test_a_name_is_not_called_unknown_where_its_section_is_in_doubt(
        self, refused: Refused
    ) -> None:
        view = "views: [{name: v, source: sqlite, database: a, table: t}]\n"
        for wrong in (
            "attachments: {sqlite: [{alias: a, path: 5}]}",
            "attachments: {sqlit: [{alias: a, path: x}]}",
            "attachmnts: {sqlite: [{alias: a, path: x}]}",
            "imports: [missing.yaml]",
        ):
            (problem,) = refused(view + wrong)
            assert "no attachment" not in problem

    def test_doubt_is_about_one_name_and_not_about_its_section(self, refused: Refused) -> None:
        problems = refused("""\
views:
- {name: v, source: sqlite, database: a, table: t}
- {name: w, source: sqlite, database: b, table: t}
attachments: {sqlite: [{alias: a, path: 5}]}
duckdb: {secrets: [{type: s3, key_id: "${env:MISSING}", secret: x}]}
iceberg_catalogs: [{name: main, catalog_type: rest, uri: u, options: {secret: ice}}]
""")
        assert [problem.partition(": ")[2].partition(": ")[2] for problem in problems] == [
            'no attachment is called "b"',
            "expected a path, got a whole number",
            "environment variable MISSING is not set",
            'no secret is called "ice"',
            '"main" is a name of DuckDB\'s own',
        ]

    def test_a_hostile_file_is_not_told_to_its_end(self, refused: Refused) -> None:
        problems = refused("views: [" + "5, " * 20_000 + "]")
        assert len(problems) == MAX_PROBLEMS
        assert "more than 1,000 problems: the rest is not told" in problems[-1]

    def test_where_too_many_are_known_no_more_are_looked_for(
        self, write_config: WriteConfig
    ) -> None:
        same = "- {name: v, sql: SELECT 1}\n"
        config = write_config(f"version: 1\nviews:\n- {{name: w, sql: SELEC}}\n{same * 2_000}")
        with pytest.raises(ConfigError) as caught:
            duckalog.load_plan(config)
        messages = [problem.message for problem in caught.value.problems]
        assert len(messages) == MAX_PROBLEMS
        assert all(one.startswith('there is a view called "v" already') for one in messages)


class TestViews:
    @pytest.mark.parametrize(
        ("view", "query"),
        [
            ("source: parquet, uri: 's3://b/*.parquet'", "read_parquet('s3://b/*.parquet')"),
            ("source: parquet, uri: ['s3://a', 's3://b']", "read_parquet(['s3://a', 's3://b'])"),
            ("source: csv, uri: 's3://a', options: {sep: ';'}", "read_csv('s3://a', sep = ';')"),
            (
                "source: csv, uri: 's3://a', options: {types: {a: INT}, nullstr: ['', NA]}",
                "read_csv('s3://a', types = {'a': 'INT'}, nullstr = ['', 'NA'])",
            ),
            ("source: json, uri: 's3://a', options: {x: null}", "read_json('s3://a')"),
            (
                "source: parquet, uri: 's3://a', options: {schema: {0: {name: id, type: BIGINT, "
                "default_value: null}}}",
                "read_parquet('s3://a', schema = MAP {0: {'name': 'id', 'type': 'BIGINT', "
                "'default_value': NULL}})",
            ),
            (
                "source: delta, uri: 's3://a', options: {version: 3}",
                "delta_scan('s3://a', version = 3)",
            ),
            ("source: iceberg, uri: 's3://a'", "iceberg_scan('s3://a')"),
            (
                "source: iceberg, uri: 's3://a', options: {snapshot_id: 7, version: '3'}",
                "iceberg_scan('s3://a', version = '3', snapshot_from_id = 7)",
            ),
            (
                "source: iceberg, uri: 's3://a', options: {snapshot_timestamp: 2026-01-31}",
                "iceberg_scan('s3://a', snapshot_from_timestamp = '2026-01-31'::TIMESTAMP)",
            ),
            ("source: iceberg, catalog: ic, table: a.b", '"ic"."a"."b"'),
            ("source: iceberg, catalog: ic, table: a.b.c", '"ic"."a.b"."c"'),
            (
                "source: iceberg, catalog: ic, table: a.b, options: {snapshot_id: '${env:SNAP}'}",
                '"ic"."a"."b" AT (VERSION => 42)',
            ),
            (
                "source: iceberg, catalog: ic, table: a.b, options: {snapshot_timestamp: '2026'}",
                '"ic"."a"."b" AT (TIMESTAMP => \'2026\'::TIMESTAMP)',
            ),
            ("source: duckdb, database: dd, table: t", '"dd"."t"'),
            ("source: sqlite, database: sq, table: 'odd name'", '"sq"."odd name"'),
            ("source: postgres, database: pg, table: s.t", '"pg"."s"."t"'),
            ("source: ducklake, database: dl, table: '\"a.b\".t'", '"dl"."a.b"."t"'),
        ],
    )
    def test_each_source_is_one_select(self, load: Load, view: str, query: str) -> None:
        text = """
            iceberg_catalogs: [{name: ic, catalog_type: rest, uri: u}]
            attachments:
              duckdb: [{alias: dd, path: x}]
              sqlite: [{alias: sq, path: x}]
              postgres: [{alias: pg, host: h, database: d, user: u}]
              ducklake: [{alias: dl, path: x}]
        """
        config = load(f"{dedent(text)}\nviews: [{{name: v, {view}}}]", SNAP="42")
        assert plan(config).views[0].query == f"SELECT * FROM {query}"

    @pytest.mark.parametrize(
        ("view", "problem"),
        [
            ("{sql: SELECT 1}", 'views[0]: the key "name" is missing'),
            ("{name: v}", 'views[0]: a view needs "source", "sql" or "sql_file"'),
            ("[v]", "views[0]: expected a map, got a list"),
            ("{name: v, sql: ' '}", "views[0].sql: the query is empty"),
            ("{name: v, sql: 5}", "views[0].sql: expected text, got a whole number"),
            (
                "{name: v, sql: a, sql_file: b}",
                'views[0].sql_file: "sql" and "sql_file" exclude each other',
            ),
            (
                "{name: v, sql: a, source: csv}",
                'views[0].source: "sql" and "source" exclude each other',
            ),
            ("{name: v, sql: a, uri: x}", 'views[0].uri: "sql" and "uri" exclude each other'),
            (
                "{name: v, sql_file: a, table: x}",
                'views[0].table: "sql_file" and "table" exclude each other',
            ),
            ("{name: v, source: excel, uri: x}", 'views[0].source: there is no source "excel"'),
            ("{name: v, source: 5, uri: x}", "views[0].source: there is no source"),
            ("{name: v, source: csv}", 'views[0]: the key "uri" is missing'),
            (
                "{name: v, source: csv, uri: []}",
                "views[0].uri: expected items, got an empty list",
            ),
            (
                "{name: v, source: delta, uri: [a, b]}",
                "views[0].uri: expected a path or URL, got a list",
            ),
            ("{name: v, source: sqlite, database: a}", 'views[0]: the key "table" is missing'),
            ("{name: v, source: sqlite, table: a}", 'views[0]: the key "database" is missing'),
            (
                "{name: v, source: sqlite, database: a, table: a.b.c}",
                'views[0].table: "a.b.c" has 3 parts',
            ),
            (
                "{name: v, source: sqlite, database: a, table: 'a\"b'}",
                "views[0].table: 'a\"b' is not a name: quotes go round a whole part",
            ),
            (
                "{name: v, source: iceberg}",
                'views[0]: an iceberg view has either "uri", or "catalog" and "table"',
            ),
            (
                "{name: v, source: iceberg, uri: x, table: a.b}",
                'views[0]: an iceberg view has either "uri", or "catalog" and "table"',
            ),
            (
                "{name: v, source: iceberg, catalog: x}",
                'views[0]: the key "table" is missing',
            ),
            (
                "{name: v, source: iceberg, table: a.b}",
                'views[0]: the key "catalog" is missing',
            ),
            (
                "{name: v, source: iceberg, catalog: x, table: b}",
                'views[0].table: "b" has no namespace',
            ),
            (
                "{name: v, source: iceberg, uri: x, options: {snapshot_id: 1, "
                "snapshot_timestamp: x}}",
                'views[0].options: "snapshot_id" and "snapshot_timestamp" exclude each other',
            ),
            (
                "{name: v, source: iceberg, uri: x, options: {snapshot_id: latest}}",
                "views[0].options.snapshot_id: expected a whole number",
            ),
            (
                "{name: v, source: iceberg, uri: x, options: {snapshot_id: true}}",
                "views[0].options.snapshot_id: expected a whole number",
            ),
            (
                "{name: v, source: iceberg, uri: x, options: {snapshot_timestamp: 5}}",
                "views[0].options.snapshot_timestamp: expected a timestamp as text",
            ),
            (
                "{name: v, source: iceberg, catalog: x, table: a.b, options: {version: '1'}}",
                'views[0].options.version: "version" is an option of iceberg_scan, '
                "and a catalog's table has none",
            ),
            (
                "{name: v, source: csv, uri: x, options: {'a, b = 1': 1}}",
                'views[0].options: "a, b = 1" cannot be the name of an option',
            ),
            (
                "{name: v, source: csv, uri: x, options: {nullstr: [a, null]}}",
                "views[0].options.nullstr: the value has no place in SQL: "
                "null cannot stand inside a list or map",
            ),
            (
                "{name: v, source: parquet, uri: x, options: {schema: {a: {name: b}}}}",
                "views[0].options.schema: expected a map from field ids to columns",
            ),
            (
                "{name: v, source: parquet, uri: x, options: {schema: {0: b}}}",
                "views[0].options.schema: expected a map from field ids to columns",
            ),
            (
                "{name: v, source: parquet, uri: x, options: {schema: {'²': {name: b}}}}",
                "views[0].options.schema: expected a map from field ids to columns",
            ),
            ("{name: v, sql: a, tags: x}", "views[0].tags: expected a list, got text"),
            ("{name: v, sql: a, meta: [x]}", "views[0].meta: expected a map, got a list"),
        ],
    )
    def test_what_is_no_view_is_told(self, refused: Refused, view: str, problem: str) -> None:
        assert refused(f"views: [{view}]")[0] == f"catalog.yaml:2: {problem}"

    def test_the_sources_are_told_where_there_is_none(self, load: Load) -> None:
        (remedy,) = remedies_of(load, "views: [{name: v, source: parqet}]")
        assert remedy == f'Did you mean "parquet"? Sources: {", ".join(VIEW_TYPES)}'

    def test_what_a_view_is_told_with_is_kept(self, load: Load) -> None:
        (view,) = load(
            """
views:
- name: v
  schema: sales
  description: It's all.
  columns:
    id: The key.
    total: {description: A sum., tags: [money], meta: {unit: EUR}}
    other: {}
  tags: [a, b]
  meta: {owner: ann, nested: [1, {x: null}]}
  sql: SELECT 1 AS id, 2 AS total, 3 AS other
"""
        ).views
        assert (view.schema, view.description, view.tags) == ("sales", "It's all.", ("a", "b"))
        assert view.columns["total"].meta == {"unit": "EUR"}
        assert view.columns["other"].description is None
        assert view.meta == {"owner": "ann", "nested": [1, {"x": None}]}
        assert [one.text for one in plan(config_of(view)).views[0].statements] == [
            'CREATE OR REPLACE VIEW "sales"."v" AS\nSELECT 1 AS id, 2 AS total, 3 AS other',
            "COMMENT ON VIEW \"sales\".\"v\" IS 'It''s all.'",
            'COMMENT ON COLUMN "sales"."v"."id" IS \'The key.\'',
            'COMMENT ON COLUMN "sales"."v"."total" IS \'A sum.\'',
        ]


class TestSqlFiles:
    def test_a_query_is_read_from_beside_the_file_that_states_it(
        self, load: Load, write_config: WriteConfig
    ) -> None:
        write_config("SELECT 1 AS é;\n-- end", "parts/queries/a.sql")
        write_config("views: [{name: v, sql_file: queries/a.sql}]", "parts/part.yaml")
        (view,) = load("imports: [parts/part.yaml]").views
        assert plan(config_of(view)).views[0].query == "SELECT 1 AS é;\n-- end"

    def test_values_in_it_are_data(self, load: Load, write_config: WriteConfig) -> None:
        write_config("SELECT '${env:X}'", "a.sql")
        (view,) = load("views: [{name: v, sql_file: a.sql}]", X="it's").views
        assert view.query() == "SELECT 'it''s'"

    def test_each_that_cannot_be_read_is_told_at_once(
        self, refused: Refused, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        write_config(" \n", "empty.sql")
        write_config("SELECT '${env:MISSING}', ${env:}", "filled.sql")
        (tmp_path / "latin.sql").write_bytes(b"SELECT\n'\xe9'")
        (tmp_path / "folder.sql").mkdir()
        names = ["missing.sql", "empty.sql", "latin.sql", "folder.sql", "filled.sql"]
        views = "".join(f"- name: {name}\n  sql_file: {name}\n" for name in names)
        assert refused(f"views:\n{views}") == [
            "catalog.yaml:4: views[0].sql_file: missing.sql: there is no such file",
            "catalog.yaml:6: views[1].sql_file: the file of the query is empty",
            "catalog.yaml:8: views[2].sql_file: latin.sql:2: the file is not UTF-8 text (byte 8)",
            "catalog.yaml:10: views[3].sql_file: folder.sql: this is a folder, not a file",
            'catalog.yaml:12: views[4].sql_file: "${env:}" is not a placeholder',
        ]


class TestSecretsInViews:
    @pytest.mark.parametrize(
        "view",
        [
            "sql: \"SELECT '${env:API_TOKEN}'\"",
            "sql: \"SELECT '${env:API_TOKEN:x}'\"",
            "source: parquet, uri: 'https://h/x?t=${env:API_TOKEN}'",
            "source: csv, uri: x, options: {a: '${env:API_TOKEN}'}",
            "sql: SELECT 1, description: 'uses ${env:API_TOKEN}'",
            "sql: SELECT 1, columns: {a: '${env:API_TOKEN}'}",
        ],
    )
    def test_a_credential_by_its_name_is_refused(self, refused: Refused, view: str) -> None:
        (problem,) = refused(f"views:\n- {{name: v, {view}}}", API_TOKEN="hunter2")
        assert problem.startswith("catalog.yaml:3: views[0]")
        assert problem.endswith(
            "API_TOKEN is a credential, and views are stored in the catalog file in clear"
        )

    @pytest.mark.parametrize(
        "elsewhere",
        [
            "attachments: {postgres: [{alias: a, host: h, database: d, user: u, "
            "password: '${env:X}'}]}",
            "duckdb: {secrets: [{type: s3, key_id: AKIA, secret: '${env:X}'}]}",
            "duckdb: {settings: {s3_secret_access_key: '${env:X}'}}",
            "duckdb: {pragmas: [\"SET s3_secret_access_key='${env:X}'\"]}",
            "iceberg_catalogs: [{name: a, catalog_type: rest, uri: u, "
            "options: {token: '${env:X}'}}]",
        ],
    )
    def test_a_credential_by_its_use_elsewhere_is_refused(
        self, refused: Refused, elsewhere: str
    ) -> None:
        (problem,) = refused(
            f"{elsewhere}\nviews: [{{name: v, sql: \"SELECT '${{env:X}}'\"}}]", X="hunter2"
        )
        assert problem.startswith("catalog.yaml:3: views[0].sql: X is a credential")

    def test_one_in_the_file_of_a_query_is_refused(
        self, refused: Refused, write_config: WriteConfig
    ) -> None:
        write_config("SELECT '${env:PASSWORD}'", "a.sql")
        (problem,) = refused("views: [{name: v, sql_file: a.sql}]", PASSWORD="hunter2")
        assert problem.startswith("catalog.yaml:2: views[0].sql_file: PASSWORD is a credential")

    def test_it_is_told_where_to_put_it(self, load: Load) -> None:
        text = "views: [{name: v, sql: \"SELECT '${env:PASSWORD}'\"}]"
        (remedy,) = remedies_of(load, text, PASSWORD="hunter2")
        assert remedy.startswith("Put it in a secret under duckdb.secrets")

    def test_a_variable_that_is_no_credential_is_allowed(self, load: Load) -> None:
        (view,) = load("views: [{name: v, sql: \"SELECT '${env:STAGE}'\"}]", STAGE="test").views
        assert view.query() == "SELECT 'test'"


class TestSecrets:
    @pytest.mark.parametrize(
        ("secret", "statement"),
        [
            (
                "type: s3, name: a, key_id: '${env:K}', secret: in-clear, region: x, "
                "use_ssl: false, scope: 's3://b'",
                "CREATE OR REPLACE SECRET \"a\" (\n    TYPE s3,\n    KEY_ID getenv('K'),\n"
                "    SECRET getenv('A_SECRET'),\n    REGION 'x',\n    USE_SSL false,\n"
                "    SCOPE 's3://b'\n)",
            ),
            (
                "type: s3, provider: credential_chain, chain: env;sts, profile: p",
                'CREATE OR REPLACE SECRET "__default_s3" (\n    TYPE s3,\n'
                "    PROVIDER credential_chain,\n    CHAIN 'env;sts',\n    PROFILE 'p'\n)",
            ),
            (
                "type: gcs, key_id: '${env:K}', secret: '${env:K}', scope: ['gs://a', 'gs://b']",
                'CREATE OR REPLACE SECRET "__default_gcs" (\n    TYPE gcs,\n'
                "    KEY_ID getenv('K'),\n    SECRET getenv('K'),\n"
                "    SCOPE ['gs://a', 'gs://b']\n)",
            ),
            (
                "type: r2, account_id: x, persistent: true",
                'CREATE OR REPLACE PERSISTENT SECRET "__default_r2" (\n    TYPE r2,\n'
                "    ACCOUNT_ID 'x'\n)",
            ),
            (
                "type: azure, connection_string: '${env:K}'",
                'CREATE OR REPLACE SECRET "__default_azure" (\n    TYPE azure,\n'
                "    CONNECTION_STRING getenv('K')\n)",
            ),
            (
                "type: azure, provider: service_principal, tenant_id: t, client_id: c, "
                "client_secret: '${env:K}', account_name: n",
                'CREATE OR REPLACE SECRET "__default_azure" (\n    TYPE azure,\n'
                "    PROVIDER service_principal,\n    ACCOUNT_NAME 'n',\n    TENANT_ID 't',\n"
                "    CLIENT_ID 'c',\n    CLIENT_SECRET getenv('K')\n)",
            ),
            (
                "type: http, name: h, bearer_token: '${env:K}', extra_http_headers: {X-A: 'b'}",
                "CREATE OR REPLACE SECRET \"h\" (\n    TYPE http,\n    BEARER_TOKEN getenv('K'),\n"
                "    EXTRA_HTTP_HEADERS MAP {'X-A': getenv('H_EXTRA_HTTP_HEADERS_X_A')}\n)",
            ),
            (
                "type: postgres, host: h, port: 5432, database: d, user: u, password: '${env:K}'",
                'CREATE OR REPLACE SECRET "__default_postgres" (\n    TYPE postgres,\n'
                "    HOST 'h',\n    PORT 5432,\n    DATABASE 'd',\n    USER 'u',\n"
                "    PASSWORD getenv('K')\n)",
            ),
            (
                "type: mysql, host: h, socket: /x, password: '${env:K}'",
                "CREATE OR REPLACE SECRET \"__default_mysql\" (\n    TYPE mysql,\n    HOST 'h',\n"
                "    PASSWORD getenv('K'),\n    SOCKET '/x'\n)",
            ),
            (
                "type: iceberg, client_id: '${env:K}', client_secret: '${env:K}', "
                "oauth2_server_uri: u, oauth2_scope: s",
                'CREATE OR REPLACE SECRET "__default_iceberg" (\n    TYPE iceberg,\n'
                "    CLIENT_ID getenv('K'),\n    CLIENT_SECRET getenv('K'),\n"
                "    OAUTH2_SERVER_URI 'u',\n    OAUTH2_SCOPE 's'\n)",
            ),
            (
                "type: huggingface, token: '${env:K}'",
                'CREATE OR REPLACE SECRET "__default_huggingface" (\n    TYPE huggingface,\n'
                "    TOKEN getenv('K')\n)",
            ),
        ],
    )
    def test_each_type_is_one_statement_without_its_values(
        self, load: Load, secret: str, statement: str
    ) -> None:
        config = load(f"duckdb: {{secrets: [{{{secret}}}]}}", K="hunter2")
        assert session_of(config)[-1] == statement

    @pytest.mark.parametrize(
        ("kind", "key"),
        [
            ("s3, provider: credential_chain", "web_identity_token_file"),
            ("azure", "client_certificate_path"),
            ("postgres", "passfile"),
            ("mysql", "ssl_ca"),
            ("mysql", "ssl_key"),
            ("mysql", "socket"),
        ],
    )
    def test_paths_start_from_the_config(
        self, load: Load, tmp_path: Path, kind: str, key: str
    ) -> None:
        text = f"duckdb: {{secrets: [{{type: {kind}, {key}: keys/PATH}}]}}"
        plain = session_of(load(text.replace("PATH", "a.pem")))[-1]
        assert f"{key.upper()} '{tmp_path}/keys/a.pem'" in plain
        filled = plan(load(text.replace("PATH", "'${env:X}'").replace("keys/", ""), X="b.pem"))
        statement = filled.session[-1].statements[0]
        assert f"{tmp_path}/b.pem" in statement.values
        assert f"{key.upper()} getenv('X')" in statement.script

    def test_every_type_is_tried_above(self) -> None:
        marks = self.test_each_type_is_one_statement_without_its_values.pytestmark  # type: ignore[attr-defined]
        tried = {case[0].partition(",")[0].removeprefix("type: ") for case in marks[0].args[1]}
        assert tried == set(SECRET_TYPES)

    @pytest.mark.parametrize(
        ("secret", "problem"),
        [
            ("type: s4", '.type: there is no secret type "s4"'),
            ("name: a", ': the key "type" is missing'),
            ("type: s3, key_id: a", ': the key "secret" is missing'),
            ("type: s3, secret: hunter2", ': the key "key_id" is missing'),
            ("type: s3, profile: p", '.profile: "profile" belongs to provider credential_chain'),
            ("type: s3, provider: chain", ".provider: expected one of"),
            ("type: s3, url_style: host", '.url_style: expected one of "path", "vhost"'),
            ("type: s3, account_id: a", '.account_id: unknown key "account_id"'),
            ("type: s3, scope: []", ".scope: expected items, got an empty list"),
            ("type: s3, persistent: 'yes'", ".persistent: expected true or false, got text"),
            ("type: http, extra_http_headers: {A: [x]}", ".extra_http_headers.A: expected text"),
            ("type: postgres, port: 0", ".port: expected a port from 1 to 65535"),
            ("type: mysql, passwort: hunter2", '.passwort: unknown key "passwort"'),
        ],
    )
    def test_what_is_no_secret_is_told_without_its_values(
        self, refused: Refused, secret: str, problem: str
    ) -> None:
        told = refused(f"duckdb: {{secrets: [{{{secret}}}]}}")[0]
        assert told.startswith(f"catalog.yaml:2: duckdb.secrets[0]{problem}")
        assert "hunter2" not in told


class TestDuckdbSection:
    def test_everything_has_its_place_in_the_session(self, load: Load) -> None:
        config = load(
            """
duckdb:
  install_extensions: [fts, {name: h3, repository: community}]
  load_extensions: [json]
  settings: {threads: 2, memory_limit: "${env:LIMIT}", s3_region: it's}
  pragmas: ["SET enable_progress_bar = false;", PRAGMA enable_object_cache]
""",
            LIMIT="1GB",
        )
        assert session_of(config) == [
            'INSTALL "fts"',
            'INSTALL "h3" FROM "community"',
            'INSTALL "json"',
            'LOAD "json"',
            'INSTALL "httpfs"',
            'LOAD "httpfs"',
            'SET "threads" = 2',
            "SET \"memory_limit\" = getenv('LIMIT')",
            "SET \"s3_region\" = 'it''s'",
            "SET enable_progress_bar = false",
            "PRAGMA enable_object_cache",
        ]

    def test_the_extension_directory_starts_from_the_config(
        self, load: Load, tmp_path: Path
    ) -> None:
        config = load("duckdb: {extension_directory: ext}")
        assert plan(config).extension_directory == str(tmp_path / "ext")

    @pytest.mark.parametrize(
        ("section", "problem"),
        [
            ("{database: ''}", ".database: expected a path, got empty text"),
            ("{database: 's3://b/x'}", ".database: the catalog is built in a local file"),
            ("{pragmas: ['']}", ".pragmas[0]: expected text, got empty text"),
            ("{pragmas: [' ; ']}", ".pragmas[0]: the statement is empty"),
            ("{pragmas: SET x}", ".pragmas: expected a list, got text"),
            (
                "{load_extensions: ['a; DROP']}",
                '.load_extensions[0]: "a; DROP" cannot be the name of an extension',
            ),
            (
                "{settings: {'a b': 1}}",
                '.settings: "a b" cannot be the name of an option',
            ),
            ("{settings: [a]}", ".settings: expected a map, got a list"),
            (
                "{settings: {a: [null]}}",
                ".settings.a: the value has no place in SQL: "
                "null cannot stand inside a list or map",
            ),
            ("[]", ": expected a map, got an empty list"),
        ],
    )
    def test_what_is_no_part_of_it_is_told(
        self, refused: Refused, section: str, problem: str
    ) -> None:
        assert refused(f"duckdb: {section}")[0] == f"catalog.yaml:2: duckdb{problem}"


POSTGRES = "alias: dw, host: h, database: d, user: u"


class TestAttachments:
    def test_all_are_read_only_unless_they_say_otherwise(self, load: Load) -> None:
        text = """
attachments:
  duckdb: [{alias: a, path: a.duckdb}, {alias: aw, path: a.duckdb, read_only: false}]
  sqlite: [{alias: b, path: b.db, busy_timeout: 500}]
  postgres: [{alias: c, host: h, database: d, user: u}]
  ducklake: [{alias: d, path: d.ducklake, data_path: data, snapshot_version: 3}]
"""
        attached = [one for one in session_of(load(text)) if one.startswith("ATTACH")]
        assert [one.rpartition(" AS ")[2] for one in attached] == [
            '"a" (TYPE duckdb, READ_ONLY)',
            '"aw" (TYPE duckdb, READ_WRITE)',
            '"b" (TYPE sqlite, BUSY_TIMEOUT 500, READ_ONLY)',
            '"c" (TYPE postgres, SECRET "__duckalog_postgres_c", READ_ONLY)',
            '"d" (DATA_PATH \'' + os.getcwd() + "/data', SNAPSHOT_VERSION 3, READ_ONLY)",
        ]

    def test_a_postgres_attachment_keeps_its_credentials_in_a_secret(self, load: Load) -> None:
        text = (
            f"attachments: {{postgres: [{{{POSTGRES}, password: p, sslmode: require, schema: s}}]}}"
        )
        config = load(text)
        assert config.attachments.postgres[0].port == 5432
        secret, attached = session_of(config)[-2:]
        assert secret == (
            'CREATE OR REPLACE SECRET "__duckalog_postgres_dw" (\n    TYPE postgres,\n'
            "    HOST 'h',\n    PORT 5432,\n    DATABASE 'd',\n    USER 'u',\n"
            "    PASSWORD getenv('DW_PASSWORD')\n)"
        )
        assert attached == (
            "ATTACH IF NOT EXISTS 'connect_timeout=''10'' sslmode=''require''' AS \"dw\" "
            "(TYPE postgres, SECRET \"__duckalog_postgres_dw\", SCHEMA 's', READ_ONLY)"
        )

    def test_the_metadata_of_a_ducklake_is_a_file_or_a_declared_secret(
        self, load: Load, tmp_path: Path
    ) -> None:
        text = """
duckdb: {secrets: [{type: postgres, name: my_pg, host: h}]}
attachments:
  ducklake:
  - {alias: a, metadata: sqlite, path: a.db, snapshot_time: "2026-01-31"}
  - {alias: b, metadata: postgres, secret: my_pg, data_path: "s3://b", metadata_schema: s}
"""
        attached = [one for one in session_of(load(text)) if one.startswith("ATTACH")]
        assert attached == [
            f"ATTACH IF NOT EXISTS 'ducklake:sqlite:{tmp_path}/a.db' AS \"a\" "
            "(SNAPSHOT_TIME '2026-01-31', READ_ONLY)",
            "ATTACH IF NOT EXISTS 'ducklake:postgres:' AS \"b\" (DATA_PATH 's3://b', "
            "METADATA_SCHEMA 's', META_SECRET \"my_pg\", READ_ONLY)",
        ]

    def test_postgres_options_are_parameters_of_libpq_as_data(self, load: Load) -> None:
        options = '{application_name: "it\'s\\\\", connect_timeout: 3, keepalives: true}'
        attached = session_of(
            load(f"attachments: {{postgres: [{{{POSTGRES}, options: {options}}}]}}")
        )[-1]
        assert attached.startswith(
            "ATTACH IF NOT EXISTS 'connect_timeout=''3'' "
            r"application_name=''it\''s\\'' keepalives=''1''' AS "
        )

    @pytest.mark.parametrize(
        "option", ["password", "sslpassword", "host", "nosuch", "a b", "dbname"]
    )
    def test_other_postgres_options_are_refused(self, refused: Refused, option: str) -> None:
        assert option not in OPTIONS
        (problem,) = refused(
            f"attachments: {{postgres: [{{{POSTGRES}, options: {{'{option}': hunter2}}}}]}}"
        )
        assert problem == (
            f"catalog.yaml:2: attachments.postgres[0].options.{option}: "
            f'"{option}" is not an option here'
        )

    @pytest.mark.parametrize(
        ("attachment", "problem"),
        [
            ("sqlite: [{alias: a}]", 'sqlite[0]: the key "path" is missing'),
            ("sqlite: [{path: a}]", 'sqlite[0]: the key "alias" is missing'),
            ("sqlite: [{alias: 5, path: a}]", "sqlite[0].alias: expected text, got a whole number"),
            (
                "sqlite: [{alias: a, path: b, busy_timeout: -1}]",
                "sqlite[0].busy_timeout: expected milliseconds, from 0, got a whole number",
            ),
            ("sqlite: {alias: a, path: b}", "sqlite: expected a list, got a map"),
            ("postgres: [{alias: a}]", 'postgres[0]: the key "host" is missing'),
            (
                "postgres: [{alias: a, host: h, database: d}]",
                'postgres[0]: the key "user" is missing',
            ),
            (
                f"postgres: [{{{POSTGRES}, port: 65536}}]",
                "postgres[0].port: expected a port from 1 to 65535, got a whole number",
            ),
            (
                f"postgres: [{{{POSTGRES}, sslmode: requires}}]",
                'postgres[0].sslmode: expected one of "disable", "allow", "prefer", "require", '
                '"verify-ca", "verify-full", got "requires"',
            ),
            (
                "postgres: [{alias: a, secret: s, host: h}]",
                'postgres[0].host: "secret" and "host" exclude each other',
            ),
            (
                "postgres: [{alias: a, secret: s, password: p}]",
                'postgres[0].password: "secret" and "password" exclude each other',
            ),
            ("ducklake: [{alias: a}]", 'ducklake[0]: the key "path" is missing'),
            (
                "ducklake: [{alias: a, metadata: postgres}]",
                'ducklake[0]: the key "secret" is missing',
            ),
            (
                "ducklake: [{alias: a, path: x, secret: y}]",
                'ducklake[0].secret: "secret" does not go with metadata in duckdb',
            ),
            (
                "ducklake: [{alias: a, path: x, snapshot_version: 1, snapshot_time: x}]",
                'ducklake[0]: "snapshot_version" and "snapshot_time" exclude each other',
            ),
            ("mysql: []", 'mysql: unknown key "mysql"'),
        ],
    )
    def test_what_is_no_attachment_is_told(
        self, refused: Refused, attachment: str, problem: str
    ) -> None:
        told = refused(f"attachments: {{{attachment}}}")[0]
        assert told == f"catalog.yaml:2: attachments.{problem}"


class TestCatalogs:
    @pytest.mark.parametrize(
        ("catalog", "statements"),
        [
            (
                "catalog_type: rest, uri: 'https://c'",
                [
                    "ATTACH IF NOT EXISTS '' AS \"ic\" (TYPE iceberg, ENDPOINT 'https://c', "
                    "AUTHORIZATION_TYPE 'none', READ_ONLY)"
                ],
            ),
            (
                "catalog_type: rest, uri: 'https://c', warehouse: w, read_only: false, "
                "options: {token: '${env:T}', access_delegation_mode: none}",
                [
                    'CREATE OR REPLACE SECRET "__duckalog_iceberg_ic" (\n    TYPE iceberg,\n'
                    "    TOKEN getenv('T')\n)",
                    "ATTACH IF NOT EXISTS 'w' AS \"ic\" (TYPE iceberg, ENDPOINT 'https://c', "
                    "SECRET \"__duckalog_iceberg_ic\", ACCESS_DELEGATION_MODE 'none', READ_WRITE)",
                ],
            ),
            (
                "catalog_type: rest, uri: 'https://c/', "
                "options: {client_id: '${env:T}', client_secret: in-clear, oauth2_scope: s}",
                [
                    'CREATE OR REPLACE SECRET "__duckalog_iceberg_ic" (\n    TYPE iceberg,\n'
                    "    CLIENT_ID getenv('T'),\n    CLIENT_SECRET getenv('IC_CLIENT_SECRET'),\n"
                    "    OAUTH2_SERVER_URI 'https://c/v1/oauth/tokens',\n    OAUTH2_SCOPE 's'\n)",
                    "ATTACH IF NOT EXISTS '' AS \"ic\" (TYPE iceberg, ENDPOINT 'https://c/', "
                    'SECRET "__duckalog_iceberg_ic", READ_ONLY)',
                ],
            ),
            (
                "catalog_type: rest, uri: 'https://c', options: {secret: ice, "
                "default_schema: d, max_table_staleness: 5 minutes, "
                "support_nested_namespaces: true}",
                [
                    "ATTACH IF NOT EXISTS '' AS \"ic\" (TYPE iceberg, ENDPOINT 'https://c', "
                    "SECRET \"ice\", DEFAULT_SCHEMA 'd', MAX_TABLE_STALENESS '5 minutes', "
                    "SUPPORT_NESTED_NAMESPACES true, READ_ONLY)"
                ],
            ),
            (
                "catalog_type: glue, warehouse: '123456789012', options: {secret: aws}",
                [
                    "ATTACH IF NOT EXISTS '123456789012' AS \"ic\" (TYPE iceberg, "
                    "ENDPOINT_TYPE 'glue', SECRET \"aws\", READ_ONLY)"
                ],
            ),
            (
                "catalog_type: s3_tables, warehouse: 'arn:aws:s3tables:x', options: {secret: aws}",
                [
                    "ATTACH IF NOT EXISTS 'arn:aws:s3tables:x' AS \"ic\" (TYPE iceberg, "
                    "ENDPOINT_TYPE 's3_tables', SECRET \"aws\", READ_ONLY)"
                ],
            ),
        ],
    )
    def test_each_type_is_attached_without_its_credentials(
        self, load: Load, catalog: str, statements: list[str]
    ) -> None:
        config = load(
            "duckdb: {secrets: [{name: aws, type: s3}, {name: ice, type: iceberg, token: t}]}\n"
            f"iceberg_catalogs: [{{name: ic, {catalog}}}]",
            T="hunter2",
        )
        assert session_of(config)[-len(statements) :] == statements

    def test_hive_is_refused_by_name_with_the_reason(self, load: Load) -> None:
        with pytest.raises(ConfigError) as caught:
            load("iceberg_catalogs:\n- name: a\n  catalog_type: hive\n  uri: thrift://h:9083")
        assert str(caught.value) == (
            "catalog.yaml:4: iceberg_catalogs[0].catalog_type: "
            "DuckDB cannot attach a Hive metastore\n"
            "    Put an Iceberg REST catalog in front of it, or name the table's metadata file "
            'in the view: "uri" with source iceberg.'
        )

    @pytest.mark.parametrize(
        ("catalog", "problem"),
        [
            ("", ': the key "catalog_type" is missing'),
            ("catalog_type: rset", '.catalog_type: there is no catalog type "rset"'),
            ("catalog_type: rest", ': the key "uri" is missing'),
            (
                "catalog_type: rest, uri: u, options: {token: hunter2, secret: s}",
                '.options.secret: "token" and "secret" exclude each other',
            ),
            (
                "catalog_type: rest, uri: u, "
                "options: {token: hunter2, client_id: a, client_secret: b}",
                '.options.client_id: "token" and "client_id" exclude each other',
            ),
            (
                "catalog_type: rest, uri: u, options: {client_id: hunter2}",
                '.options: the key "client_secret" is missing',
            ),
            (
                "catalog_type: rest, uri: u, options: {client_secret: hunter2}",
                '.options: the key "client_id" is missing',
            ),
            (
                "catalog_type: rest, uri: u, options: {authorization_type: oauth2}",
                ".options: oauth2 needs credentials",
            ),
            (
                "catalog_type: rest, uri: u, options: {authorization_type: none, token: hunter2}",
                '.options.token: "token" does not go with authorization_type none',
            ),
            (
                "catalog_type: glue",
                ".warehouse: glue takes an AWS account as its warehouse",
            ),
            (
                "catalog_type: glue, warehouse: my-bucket",
                ".warehouse: glue takes an AWS account as its warehouse",
            ),
            (
                "catalog_type: glue, warehouse: ':', uri: u",
                ".uri: glue has no uri: the region of its secret decides",
            ),
            (
                "catalog_type: s3_tables, warehouse: bucket",
                ".warehouse: s3_tables takes the ARN of a table bucket as its warehouse",
            ),
            (
                "catalog_type: s3_tables, warehouse: 'arn:x', uri: u",
                ".uri: s3_tables has no uri: its ARN says where it is",
            ),
        ],
    )
    def test_what_is_no_catalog_is_told(self, refused: Refused, catalog: str, problem: str) -> None:
        (told,) = refused(f"iceberg_catalogs: [{{name: ic, {catalog}}}]")
        assert told == f"catalog.yaml:2: iceberg_catalogs[0]{problem}"


class TestImports:
    def test_every_list_is_merged_and_the_importing_file_comes_last(
        self, load: Load, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        write_config(
            """
duckdb:
  database: deep.duckdb
  settings: {threads: 1}
  secrets: [{type: s3, name: s}]
  pragmas: [SET a = 1]
attachments: {sqlite: [{alias: x, path: x.db}]}
iceberg_catalogs: [{name: ic, catalog_type: rest, uri: u}]
views: [{name: a, sql: SELECT 1}]
""",
            "parts/a.yaml",
        )
        write_config('{"version": 1, "views": [{"name": "b", "sql": "SELECT 2"}]}', "b.json")
        config = load(
            """
imports: [parts/a.yaml, b.json]
duckdb: {settings: {memory_limit: 1GB}, pragmas: [SET b = 2]}
views: [{name: c, sql: SELECT 3}]
"""
        )
        assert [view.name for view in config.views] == ["a", "b", "c"]
        assert config.database == str(tmp_path / "parts" / "deep.duckdb")
        assert list(config.duckdb.settings) == ["threads", "memory_limit"]
        assert [one.sql for one in config.duckdb.pragmas] == ["SET a = 1", "SET b = 2"]
        assert [one.alias for one in config.attachments] == ["x"]
        assert [one.name for one in config.iceberg_catalogs] == ["ic"]
        assert [os.path.basename(file) for file in config.files] == [
            "a.yaml",
            "b.json",
            "catalog.yaml",
        ]

    def test_paths_start_from_the_file_that_states_them(
        self, load: Load, write_config: WriteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_config(
            """
imports: [../c.yaml]
attachments: {sqlite: [{alias: x, path: x.db}]}
views: [{name: a, source: parquet, uri: [a/*.parquet, 's3://b']}]
""",
            "parts/a.yaml",
        )
        write_config("views: [{name: c, source: csv, uri: c.csv}]", "c.yaml")
        monkeypatch.chdir("/")
        config = load("imports: [parts/a.yaml]")
        assert [getattr(view, "uri", ()) for view in config.views] == [
            (f"{tmp_path}/c.csv",),
            (f"{tmp_path}/parts/a/*.parquet", "s3://b"),
        ]
        assert config.attachments.sqlite[0].path == f"{tmp_path}/parts/x.db"

    def test_globs_are_taken_in_the_order_of_the_names(
        self, load: Load, write_config: WriteConfig
    ) -> None:
        for name in ("views/b.yaml", "views/a.yaml", "views/deep/c.yml", "views/no.txt"):
            write_config(f"views: [{{name: {Path(name).stem}, sql: SELECT 1}}]", name)
        assert [one.name for one in load("imports: ['views/*.yaml']").views] == ["a", "b"]
        assert [one.name for one in load("imports: ['views/**/*.y*ml']").views] == ["a", "b", "c"]

    def test_a_glob_leaves_out_the_file_that_states_it(
        self, load: Load, write_config: WriteConfig
    ) -> None:
        write_config("views: [{name: a, sql: SELECT 1}]", "other.yaml")
        assert [view.name for view in load("imports: ['*.yaml']").views] == ["a"]

    def test_a_glob_that_matches_nothing_is_told(self, refused: Refused) -> None:
        assert refused("imports: ['nothing/*.yaml']") == [
            'catalog.yaml:2: imports[0]: no file matches "nothing/*.yaml"'
        ]

    def test_a_file_that_cannot_be_read_is_told_with_who_imports_it(
        self, refused: Refused, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        write_config("a: [", "bad.yaml")
        (tmp_path / "folder.yaml").mkdir()
        text = "imports:\n- missing.yaml\n- bad.yaml\n- folder.yaml\n- notes.txt"
        write_config("", "notes.txt")
        problems = refused(text)
        assert problems[0] == "missing.yaml: there is no such file (imported at catalog.yaml:3)"
        assert problems[1].startswith("bad.yaml:2: this is not YAML: ")
        assert problems[1].endswith("(imported at catalog.yaml:4)")
        assert problems[2].startswith("folder.yaml: this is a folder, not a file (imported at")
        assert problems[3].startswith('notes.txt: ".txt" is not an ending of a config (imported')

    @pytest.mark.parametrize(
        ("imports", "problem"),
        [
            ("a.yaml", "imports: expected a list, got text"),
            ("[5]", "imports[0]: expected text, got a whole number"),
            ("['']", "imports[0]: expected text, got empty text"),
        ],
    )
    def test_what_is_no_list_of_files_is_told(
        self, refused: Refused, imports: str, problem: str
    ) -> None:
        assert refused(f"imports: {imports}") == [f"catalog.yaml:2: {problem}"]

    def test_a_file_that_is_imported_twice_counts_once(
        self, load: Load, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        write_config("views: [{name: base, sql: SELECT 1}]", "base.yaml")
        for side in ("left", "right"):
            write_config(f"imports: [base.yaml]\nviews: [{{name: {side}, sql: x}}]", f"{side}.yaml")
        (tmp_path / "link.yaml").symlink_to(tmp_path / "base.yaml")
        config = load("imports: [left.yaml, right.yaml, base.yaml, ./base.yaml, link.yaml]")
        assert [view.name for view in config.views] == ["base", "left", "right"]

    @pytest.mark.parametrize(
        ("files", "circle"),
        [
            ({"catalog": "catalog"}, "catalog.yaml → catalog.yaml"),
            ({"catalog": "a", "a": "catalog"}, "catalog.yaml → a.yaml → catalog.yaml"),
            (
                {"catalog": "a", "a": "b", "b": "c", "c": "a"},
                "catalog.yaml → a.yaml → b.yaml → c.yaml → a.yaml",
            ),
        ],
    )
    def test_a_circle_is_refused_with_every_file_in_it(
        self, refused: Refused, write_config: WriteConfig, files: dict[str, str], circle: str
    ) -> None:
        for name, imported in files.items():
            if name != "catalog":
                write_config(f"imports: [{imported}.yaml]", f"{name}.yaml")
        (problem,) = refused(f"imports: [{files['catalog']}.yaml]")
        assert problem.endswith(f": imports[0]: the imports go round in a circle: {circle}")

    @pytest.mark.parametrize(
        ("part", "root", "problem"),
        [
            (
                "views:\n- {name: a, sql: SELECT 1}",
                "views:\n- {name: b, sql: x}\n- {name: A, sql: x}",
                "catalog.yaml:5: views[1].name: "
                'there is a view called "a" already, at part.yaml:2: views[0]',
            ),
            (
                "attachments: {sqlite: [{alias: a, path: x}]}",
                "attachments: {duckdb: [{alias: A, path: x}]}",
                "part.yaml:1: attachments.sqlite[0].alias: "
                'there is a database called "A" already, at catalog.yaml:3: attachments.duckdb[0]',
            ),
            (
                "duckdb:\n  secrets:\n  - {type: s3, name: a}",
                "duckdb: {secrets: [{type: s3, name: a}]}",
                "catalog.yaml:3: duckdb.secrets[0].name: "
                'there is a secret called "a" already, at part.yaml:3: duckdb.secrets[0]',
            ),
            (
                "duckdb:\n  settings:\n    threads: 1",
                "duckdb: {settings: {THREADS: 2}}",
                "catalog.yaml:3: duckdb.settings.THREADS: "
                'the setting "THREADS" is stated in part.yaml:3 too',
            ),
            (
                "duckdb:\n  database: a",
                "duckdb: {database: b}",
                "catalog.yaml:3: duckdb.database: duckdb.database is stated in part.yaml:2 too",
            ),
            (
                "duckdb:\n\n  extension_directory: a",
                "duckdb: {extension_directory: b}",
                "catalog.yaml:3: duckdb.extension_directory: "
                "duckdb.extension_directory is stated in part.yaml:3 too",
            ),
        ],
    )
    def test_the_same_name_twice_names_both_places(
        self, refused: Refused, write_config: WriteConfig, part: str, root: str, problem: str
    ) -> None:
        write_config(part, "part.yaml")
        assert refused(f"imports: [part.yaml]\n{root}") == [problem]

    def test_another_version_in_an_imported_file_is_refused(
        self, refused: Refused, write_config: WriteConfig
    ) -> None:
        write_config("version: 2", "part.yaml")
        assert refused("imports: [part.yaml]") == [
            "part.yaml:1: version: version 2 is not supported"
        ]

    def test_placeholders_in_imports_are_filled(
        self, load: Load, write_config: WriteConfig
    ) -> None:
        write_config("views: [{name: a, sql: SELECT 1}]", "prod.yaml")
        assert len(load("imports: ['${env:STAGE}.yaml']", STAGE="prod").views) == 1

    def test_names_are_known_across_files(self, load: Load, write_config: WriteConfig) -> None:
        write_config("views: [{name: v, source: sqlite, database: x, table: t}]", "part.yaml")
        config = load("imports: [part.yaml]\nattachments: {sqlite: [{alias: x, path: y}]}")
        assert plan(config).views[0].needs == ("attachment:x",)

    def test_a_chain_may_not_be_endless(self, refused: Refused, write_config: WriteConfig) -> None:
        for number in range(150):
            write_config(f"imports: [part{number + 1}.yaml]", f"part{number}.yaml")
        (problem,) = refused("imports: [part0.yaml]")
        assert problem.startswith("part150.yaml: there is no such file")

    def test_there_may_not_be_more_files_than_the_limit(
        self, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("duckalog.load.MAX_FILES", 5)
        for number in range(6):
            (tmp_path / f"part{number}.yaml").write_text("views: []")
        assert refused("imports: ['part*.yaml']") == [
            "catalog.yaml:2: imports[0]: more than 5 files are imported"
        ]


class TestFormats:
    def test_yaml_and_json_are_the_same_config(self, write_config: WriteConfig) -> None:
        yaml = write_config("version: 1\nviews:\n- name: é\n  sql: SELECT 1\n")
        json = write_config(
            '{"version": 1, "views": [\n{"name": "é", "sql": "SELECT 1"}]}', "a.json"
        )
        first, second = (load_config(path, environment={}).views[0] for path in (yaml, json))
        assert (first.name, first.query()) == (second.name, second.query())

    def test_text_is_utf8_whatever_the_locale(
        self, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "ascii")
        path = write_config("version: 1\nviews: [{name: é, sql: SELECT 'ü'}]")
        assert load_config(path, environment={}).views[0].query() == "SELECT 'ü'"

    def test_anchors_and_merge_keys_share_parts_of_views(self, load: Load) -> None:
        config = load(
            """
views:
- &base {name: a, source: parquet, uri: x.parquet, options: {hive_partitioning: true}}
- {<<: *base, name: b}
"""
        )
        first, second = plan(config).views
        assert (first.view, second.view) == ("a", "b")
        assert first.query == second.query


@pytest.mark.parametrize(
    "stated",
    [
        "sql: \"SELECT '${env:PGPASSWORD}'\"",
        "sql: \"SELECT '${env:DBPASS}'\"",
        "source: parquet, uri: 'https://host/x.parquet?sig=${env:AUTH}'",
        "source: parquet, uri: 'https://me:${env:AUTH}@host/x.parquet'",
    ],
)
def test_a_credential_in_a_view_is_refused_by_its_name_or_its_place(
    stated: str, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGPASSWORD", "DBPASS", "AUTH"):
        monkeypatch.setenv(name, "canary-value")
    config = write_config(f"version: 1\nviews:\n  - {{name: v, {stated}}}\n")
    with pytest.raises(ConfigError, match="is a credential") as caught:
        load_config(config)
    assert "canary-value" not in str(caught.value)


def test_a_folder_whose_name_is_a_pattern_is_refused_for_views_and_not_for_imports(
    write_config: WriteConfig,
) -> None:
    write_config("views: [{name: v, sql: SELECT 1}]", "odd[x]/other.yaml")
    views = "views: [{name: p, source: parquet, uri: orders/a.parquet}]"
    imports = "imports: [other.yaml, 'o*.yaml']"
    config = write_config(f"version: 1\n{imports}\n{views}", "odd[x]/c.yaml")
    with pytest.raises(ConfigError, match="folder for a pattern") as caught:
        load_config(config)
    assert len(caught.value.problems) == 1


def test_what_is_wrong_with_sql_is_told_beside_what_is_wrong_with_keys(
    write_config: WriteConfig,
) -> None:
    config = write_config("""\
version: 1
duckdb: {pragmas: [DROP TABLE t]}
views:
- {name: a, source: sqlite, database: nothing, table: t}
- {name: b, sql: SELEC 1}
- {name: c, sql: FROM d}
- {name: d, sql: FROM c}
- {name: e, sql: "SELECT '${env:MISSING}' || "}
- {name: f, sql: SELECT 1, tag: x}
""")
    with pytest.raises(duckalog.ConfigError) as raised:
        duckalog.load_plan(config)
    told = [f"{one.origin.line}: {one.message}" for one in raised.value.problems]
    assert [one.partition(" at ")[0] for one in told] == [
        "2: a pragma is for the session, and DROP changes a database",
        '4: no attachment is called "nothing"',
        "5: DuckDB cannot parse it: syntax error",
        "6: views read each other in a circle: c → d → c",
        "8: environment variable MISSING is not set",
        '9: unknown key "tag"',
    ]


@pytest.mark.parametrize(
    "url",
    [
        "https://ann:hunter2@host/a.csv",
        "https://host/a.csv?sv=1&sig=hunter2",
        "https://host/a.csv?X-Amz-Signature=hunter2",
    ],
)
class TestCredentialsInUrls:
    @pytest.mark.parametrize(
        "view", ["source: csv, uri: '{}'", "sql: \"FROM read_csv('{}')\"", "sql_file: v.sql"]
    )
    def test_a_view_with_one_is_refused(
        self, write_config: WriteConfig, tmp_path: Path, view: str, url: str
    ) -> None:
        (tmp_path / "v.sql").write_text(f"FROM '{url}'")
        text = f"version: 1\nviews: [{{name: v, {view.format(url)}}}]"
        with pytest.raises(duckalog.ConfigError, match="a URL has a credential") as raised:
            duckalog.load_plan(write_config(text))
        assert "hunter2" not in str(raised.value)

    def test_elsewhere_it_is_not_shown(self, write_config: WriteConfig, url: str) -> None:
        text = f"""
version: 1
attachments: {{duckdb: [{{alias: a, path: '{url}'}}]}}
iceberg_catalogs: [{{name: c, catalog_type: rest, uri: '{url}'}}]
duckdb: {{secrets: [{{type: http, http_proxy: '{url}'}}], settings: {{http_proxy: '{url}'}}}}
"""
        plan = duckalog.load_plan(write_config(text))
        assert "hunter2" not in plan.redact(f"IO Error: cannot open {url}")
        assert "hunter2" not in duckalog.generate_sql(write_config(text), part="full")


class TestStatedCredentials:
    def test_a_view_that_has_one_in_its_sql_is_refused(self, write_config: WriteConfig) -> None:
        config = write_config("""\
version: 1
duckdb: {secrets: [{type: s3, key_id: short, secret: long-enough-hunter2}]}
views:
- {name: v, sql: "SELECT 'long-enough-hunter2' AS x"}
- {name: w, sql: "SELECT 'short' AS x"}
""")
        with pytest.raises(duckalog.ConfigError, match="has a credential in it") as raised:
            duckalog.load_plan(config)
        (problem,) = raised.value.problems
        assert problem.name == "v"
        assert "hunter2" not in str(raised.value)

    def test_one_that_a_view_states_and_a_secret_is_filled_with_is_refused(
        self, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KEY", "long-enough-hunter2's")
        monkeypatch.setenv("PIN", "short")
        config = write_config("""\
version: 1
duckdb:
  secrets:
  - {type: s3, key_id: "${env:PIN}", secret: "${env:KEY}"}
  - {type: postgres, password: "${env:PG_PASSWORD:password}"}
views:
- {name: v, sql: "SELECT 'long-enough-hunter2''s' AS x"}
- {name: w, sql: "SELECT 'short' AS x, password FROM v"}
- {name: u, source: csv, uri: "s3://b/a.csv?x=long-enough-hunter2's"}
""")
        with pytest.raises(duckalog.ConfigError, match="has a credential in it") as raised:
            duckalog.load_plan(config)
        assert [problem.name for problem in raised.value.problems] == ["v", "u"]
        assert "hunter2" not in str(raised.value)

    def test_a_word_that_is_a_credential_elsewhere_may_be_a_name(
        self, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PG_PASSWORD", "password")
        config = write_config("""\
version: 1
duckdb: {secrets: [{type: postgres, password: "${env:PG_PASSWORD}"}]}
views: [{name: v, sql: "SELECT password FROM 'people.csv'"}]
""")
        assert len(duckalog.load_plan(config).views) == 1

    def test_those_in_urls_are_in_no_repr(self, write_config: WriteConfig) -> None:
        config = write_config("""\
version: 1
iceberg_catalogs:
- name: c
  catalog_type: rest
  uri: https://ann:hunter2@host
  options: {client_id: a, client_secret: b, oauth2_server_uri: "https://a:hunter2@host/t"}
attachments: {duckdb: [{alias: d, path: "https://h/a.duckdb?sig=hunter2"}]}
""")
        assert "hunter2" not in repr(duckalog.load_config(config))
        assert "hunter2" not in repr(duckalog.load_plan(config))

    def test_a_word_of_our_own_messages_is_not_hidden(self, write_config: WriteConfig) -> None:
        config = write_config("""\
version: 1
attachments: {postgres: [{alias: pg, host: h, database: d, user: u, password: postgres}]}
views: [{name: v, source: sqlite, database: pg, table: t}]
duckdb: {secrets: [{type: s3, key_id: a, secret: b, use_ssl: 1}]}
""")
        with pytest.raises(duckalog.ConfigError) as raised:
            duckalog.load_plan(config)
        told = str(raised.value)
        assert 'the attachment "pg" is a postgres database' in told
        assert "expected true or false, got a whole number" in told


def test_a_ducklake_whose_path_has_a_scheme_is_told_of_metadata(refused: Refused) -> None:
    (told,) = refused("attachments: {ducklake: [{alias: l, path: 'postgres:host=h password=x'}]}")
    assert 'the path is that of a file, without "postgres:"' in told
    assert "password=x" not in told
