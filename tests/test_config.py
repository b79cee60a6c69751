"""Whole configs: every rule of the format, told by file, line and key path, all at once."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

import duckalog
from duckalog.config import catalog_name
from duckalog.errors import MAX_PROBLEMS, ConfigError
from duckalog.load import load_config
from duckalog.plan import Plan, plan
from duckalog.views import VIEW_TYPES
from tests.configs import Load, Refused, config_of, remedies_of
from tests.conftest import WriteConfig

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
            (
                "views: [{nme: v}]",
                'No view has a key "nme". Did you mean "name"? Sources: ',
            ),
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
