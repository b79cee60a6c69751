"""What sessions have: settings, pragmas and extensions, attachments, Iceberg catalogs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from duckalog.errors import ConfigError
from duckalog.libpq import OPTIONS
from duckalog.plan import plan
from tests.configs import Load, Refused, session_of


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


def test_a_ducklake_whose_path_has_a_scheme_is_told_of_metadata(refused: Refused) -> None:
    (told,) = refused("attachments: {ducklake: [{alias: l, path: 'postgres:host=h password=x'}]}")
    assert 'the path is that of a file, without "postgres:"' in told
    assert "password=x" not in told
