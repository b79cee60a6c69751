"""Credentials in a config: DuckDB's secrets, and what is refused or hidden elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

import duckalog
from duckalog.errors import ConfigError
from duckalog.load import load_config
from duckalog.plan import plan
from duckalog.secrets import SECRET_TYPES
from tests.configs import Load, Refused, remedies_of, session_of
from tests.conftest import WriteConfig


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
