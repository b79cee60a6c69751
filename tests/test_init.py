"""`duckalog init`: what it writes, where, and what it says; and what no config can hold."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import click.testing
import duckdb
import pytest

import duckalog
from duckalog.cli.group import cli
from duckalog.init.given import given_attachment
from duckalog.init.layout import laid_out
from duckalog.init.object_stores import secrets_for
from duckalog.init.recognition import Recognizer
from duckalog.references import mentions_of, readings_of
from tests.catalogs import change

Invoke = Callable[..., click.testing.Result]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> click.testing.Result:
        return click.testing.CliRunner().invoke(cli, ["init", *map(str, arguments)])

    return run


class TestFromNothing:
    def test_it_is_valid_and_builds_as_it_is(self, invoke: Invoke, tmp_path: Path) -> None:
        result = invoke()
        assert (result.exit_code, result.stdout) == (0, "Wrote catalog.yaml: 1 view\n")
        duckalog.validate_config("catalog.yaml")
        duckalog.build("catalog.yaml")
        assert (tmp_path / "catalog.duckdb").exists()
        with duckalog.connect("catalog.yaml") as connection:
            assert connection.execute("FROM hello").fetchall() == [("hello", 42)]

    def test_what_it_comments_out_is_valid_too(self, tmp_path: Path) -> None:
        text = duckalog.init_config(config_path=tmp_path / "catalog.yaml").text
        lines = [line.replace("# ", "", 1) for line in text[text.index("version") :].splitlines()]
        sql_only = [line for line in lines if not line.strip().startswith(("SQL", "Files", "A t"))]
        sql_only.remove("Databases that views read, attached read-only to every session.")
        (tmp_path / "all.yaml").write_text("\n".join(sql_only))
        (tmp_path / "refdata.duckdb").touch()
        environment = {"PG_HOST": "h", "PG_USER": "u", "PG_PASSWORD": "p"}
        config = duckalog.load_config(tmp_path / "all.yaml", environment=environment)
        assert [view.name for view in config.views] == ["hello", "orders", "countries"]
        assert [one.alias for one in config.attachments] == ["refdata", "dw"]

    def test_the_catalog_is_called_like_the_config(self, invoke: Invoke) -> None:
        invoke("--output", "shop it's.yaml")
        assert duckalog.load_config("shop it's.yaml").database == os.path.abspath(
            "shop it's.duckdb"
        )

    def test_editors_find_the_schema_that_lies_beside_it(
        self, invoke: Invoke, tmp_path: Path
    ) -> None:
        assert not invoke("--output", "-").stdout.startswith("# yaml-language-server")
        (tmp_path / "catalog.schema.json").write_text("{}")
        first = invoke("--output", "-").stdout.splitlines()[0]
        assert first == "# yaml-language-server: $schema=catalog.schema.json"


class TestOutput:
    def test_a_file_that_is_there_is_not_written_over(self, invoke: Invoke, tmp_path: Path) -> None:
        (tmp_path / "catalog.yaml").write_text("mine")
        result = invoke()
        assert result.exit_code == 1
        assert result.stderr == (
            "catalog.yaml: there is a file already\n"
            "    Choose another with --output, or write over it with --force.\n"
        )
        assert (tmp_path / "catalog.yaml").read_text() == "mine"
        assert invoke("--force").exit_code == 0
        assert "hello" in (tmp_path / "catalog.yaml").read_text()

    def test_a_link_to_nowhere_is_not_written_through(self, invoke: Invoke, tmp_path: Path) -> None:
        (tmp_path / "catalog.yaml").symlink_to(tmp_path / "elsewhere.yaml")
        assert invoke().exit_code == 1
        assert not (tmp_path / "elsewhere.yaml").exists()

    def test_the_standard_output_gets_the_config_and_nothing_else(
        self, invoke: Invoke, tmp_path: Path
    ) -> None:
        change(
            tmp_path / "old.duckdb", "CREATE TABLE t AS SELECT 1 AS i", "CREATE VIEW v AS FROM t"
        )
        result = invoke("--from", "old.duckdb", "--output", "-")
        assert result.stdout.startswith("# Made from old.duckdb by duckalog init.\nversion: 1\n")
        assert 'left out: table "t"' in result.stderr
        assert not (tmp_path / "catalog.yaml").exists()

    def test_machines_get_the_notes_as_json(self, invoke: Invoke, tmp_path: Path) -> None:
        change(
            tmp_path / "old.duckdb", "CREATE TABLE t AS SELECT 1 AS i", "CREATE VIEW v AS FROM t"
        )
        answer = json.loads(invoke("--from", "old.duckdb", "--json").stdout)
        assert answer["output"] == str(tmp_path / "catalog.yaml")
        assert answer["views"] == 1
        assert answer["config"] == (tmp_path / "catalog.yaml").read_text()
        (note,) = answer["notes"]
        assert note["kind"] == "left out"
        assert note["subject"] == 'table "t"'

    @pytest.mark.parametrize("name", ["catalog.json", "catalog"])
    def test_only_yaml_is_written(self, name: str, invoke: Invoke) -> None:
        result = invoke("--output", name)
        assert result.exit_code == 1
        assert "this is not the name of a YAML file" in result.stderr

    def test_a_folder_that_is_not_there_is_told(self, invoke: Invoke) -> None:
        result = invoke("--output", "no/catalog.yaml")
        assert result.exit_code == 1
        assert "no/catalog.yaml: cannot be written: No such file or directory" in result.stderr

    def test_attach_needs_a_file_to_start_from(self, invoke: Invoke) -> None:
        assert invoke("--attach", "a=b.duckdb").exit_code == 2


class TestFromAFile:
    def test_a_file_that_is_missing_or_no_database_is_told(
        self, invoke: Invoke, tmp_path: Path
    ) -> None:
        assert "no.duckdb: there is no such file" in invoke("--from", "no.duckdb").stderr
        (tmp_path / "text.duckdb").write_text("no database" * 1000)
        result = invoke("--from", "text.duckdb")
        assert result.exit_code == 1
        assert result.stderr.startswith("text.duckdb: ")
        assert not (tmp_path / "catalog.yaml").exists()

    def test_paths_start_from_the_config(self, invoke: Invoke, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        with duckdb.connect() as connection:
            connection.execute("COPY (SELECT 1 AS i) TO 'data/one.parquet'")
        change(
            tmp_path / "old.duckdb",
            f"CREATE VIEW whole AS FROM read_parquet('{tmp_path}/data/one.parquet')",
            "CREATE VIEW relative AS FROM read_parquet('data/*.parquet')",
            "CREATE VIEW in_sql AS SELECT i FROM 'data/one.parquet' WHERE i > 0",
        )
        text = invoke("--from", "old.duckdb", "--output", "-").stdout
        assert text.count("source: parquet") == 2
        assert "uri: data/one.parquet" in text
        assert "uri: data/*.parquet" in text
        assert f'FROM "{tmp_path}/data/one.parquet" WHERE' in " ".join(text.split())

    def test_a_database_of_unknown_place_is_marked_and_named(
        self, invoke: Invoke, tmp_path: Path
    ) -> None:
        change(tmp_path / "crm.duckdb", "CREATE TABLE users AS SELECT 1 AS id")
        with duckdb.connect("old.duckdb") as connection:
            connection.execute("ATTACH 'crm.duckdb' AS legacy")
            connection.execute("CREATE VIEW v AS SELECT * FROM legacy.main.users")
            connection.execute("CREATE VIEW w AS SELECT id FROM v")
        result = invoke("--from", "old.duckdb")
        assert 'to do: attachment "legacy": say where it is, for v' in result.stderr
        text = (tmp_path / "catalog.yaml").read_text()
        assert '# TO DO: where "legacy" is' in text
        assert "# to do: attachment" in text
        fixed = text.replace("/path/to/be/filled/in/legacy.duckdb", "crm.duckdb")
        (tmp_path / "catalog.yaml").write_text(fixed)
        duckalog.build("catalog.yaml")
        with duckalog.connect("catalog.yaml") as connection:
            assert connection.execute("FROM w").fetchall() == [(1,)]

    def test_an_attachment_that_is_given_makes_a_source(
        self, invoke: Invoke, tmp_path: Path
    ) -> None:
        change(tmp_path / "crm.duckdb", "CREATE TABLE users AS SELECT 1 AS id")
        with duckdb.connect("old.duckdb") as connection:
            connection.execute("ATTACH 'crm.duckdb' AS legacy")
            connection.execute("CREATE VIEW v AS SELECT * FROM legacy.main.users")
        invoke("--from", "old.duckdb", "--attach", "legacy=crm.duckdb")
        text = (tmp_path / "catalog.yaml").read_text()
        assert "source: duckdb\n    database: legacy\n    table: main.users" in text

    def test_a_source_that_changed_is_told(self, invoke: Invoke) -> None:
        with duckdb.connect("old.duckdb") as connection:
            connection.execute("COPY (SELECT 1 AS i) TO 'one.parquet'")
            connection.execute("CREATE VIEW v AS FROM 'one.parquet'")
            connection.execute("COPY (SELECT 'x' AS i, 2 AS j) TO 'one.parquet'")
        result = invoke("--from", "old.duckdb")
        assert (
            'changed: view "v": its source changed since it was made: now i VARCHAR, j INTEGER'
            in result.stderr
        )

    def test_a_config_can_be_made_again_after_a_build(self, invoke: Invoke, tmp_path: Path) -> None:
        change(tmp_path / "old.duckdb", "CREATE VIEW v AS SELECT 1 AS i")
        invoke("--from", "old.duckdb")
        before = (tmp_path / "catalog.yaml").read_text()
        duckalog.build("catalog.yaml")
        invoke("--from", "old.duckdb", "--force")
        assert (tmp_path / "catalog.yaml").read_text() == before

    def test_a_catalog_made_by_hand_is_not_built_over(self, invoke: Invoke, tmp_path: Path) -> None:
        change(tmp_path / "old.duckdb", "CREATE VIEW v AS SELECT 1 AS i")
        change(tmp_path / "catalog.duckdb", "CREATE VIEW v AS SELECT 2 AS i")
        invoke("--from", "old.duckdb")
        assert "database: catalog_2.duckdb" in (tmp_path / "catalog.yaml").read_text()


class TestGivenAttachments:
    @pytest.mark.parametrize(
        "dsn",
        [
            "postgresql://me:s3cret%2Fword@db.example:5433/sales?sslmode=require",
            "host=db.example port=5433 dbname=sales user=me password='s3cret/word' sslmode=require",
        ],
    )
    def test_a_password_becomes_a_placeholder(self, dsn: str, tmp_path: Path) -> None:
        change(tmp_path / "old.duckdb", "CREATE VIEW v AS SELECT 1 AS i")
        start = duckalog.init_config(
            tmp_path / "old.duckdb", tmp_path / "catalog.yaml", attach=[f"my dw={dsn}"]
        )
        assert "s3cret" not in start.text + repr(start)
        (tmp_path / "catalog.yaml").write_text(start.text)
        environment = {"MY_DW_PASSWORD": "x"}
        config = duckalog.load_config(tmp_path / "catalog.yaml", environment=environment)
        (given,) = config.attachments.postgres
        assert (given.alias, given.host, given.port) == ("my dw", "db.example", 5433)
        assert (given.database, given.user, given.sslmode) == ("sales", "me", "require")
        assert given.password
        assert given.password.reveal() == "x"

    @pytest.mark.servers
    def test_parameters_that_a_config_cannot_have_are_counted(self, tmp_path: Path) -> None:
        change(tmp_path / "old.duckdb", "CREATE VIEW v AS SELECT 1 AS i")
        dsn = "host=h dbname=d application_name=etl sslpassword=s3cret s3cret=pool"
        start = duckalog.init_config(
            tmp_path / "old.duckdb", tmp_path / "catalog.yaml", attach=[f"dw={dsn}"]
        )
        assert "application_name: etl" in start.text
        assert [str(note) for note in start.notes] == [
            'changed: attachment "dw": 2 parameters of its DSN have no place in a config'
        ]
        assert "s3cret" not in start.text + repr(start)

    @pytest.mark.parametrize(
        "given", ["legacy", "=x.duckdb", "a=", "a=missing.duckdb", "a=s3://me:pw@bucket/x.duckdb"]
    )
    def test_what_is_none_is_told(self, given: str, invoke: Invoke, tmp_path: Path) -> None:
        change(tmp_path / "old.duckdb", "CREATE VIEW v AS SELECT 1 AS i")
        result = invoke("--from", "old.duckdb", "--attach", given)
        assert result.exit_code == 1
        assert "pw" not in result.stderr


LONG = "SELECT a, b, concat(a, ', ', b, ' FROM x') AS c, " + ", ".join(f"c{i}" for i in range(30))


class TestLayout:
    QUERIES = (
        f"{LONG} FROM t INNER JOIN (SELECT x FROM u WHERE (y = 1)) AS u USING (a) WHERE (a > 1)",
        f"{LONG} FROM t UNION ALL ({LONG} FROM u ORDER BY a) ORDER BY a LIMIT 3",
        f"WITH c AS ({LONG} FROM t)SELECT * FROM c, t WHERE a IS DISTINCT FROM b GROUP BY ALL",
    )

    @pytest.mark.parametrize("query", QUERIES)
    def test_only_white_space_differs(self, query: str) -> None:
        text = laid_out(query)
        assert "\n" in text
        assert "".join(text.split()) == "".join(query.split())
        assert readings_of([text])[0] == readings_of([query])[0]
        assert "\nFROM" in text

    def test_what_fits_on_a_line_stays_there(self) -> None:
        assert laid_out("SELECT 1 FROM t") == "SELECT 1 FROM t"


class TestMentions:
    def test_every_name_is_found_at_its_bytes(self) -> None:
        query = (
            "WITH c AS (SELECT 1 AS i) SELECT 'ü🦆' AS x, f(1), s.g(old.main.t.a) FROM t AS é, c,"
            ' "a b"."c""d", tf(3), pg.public.u'
        )
        raw = query.encode()
        (mentions,) = mentions_of([query])
        found = {(one.kind, raw[one.start : one.end].decode()) for one in mentions}
        assert found == {
            ("function", "f"),
            ("function", "s.g"),
            ("function", "tf"),
            ("column", "old.main.t.a"),
            ("relation", "t"),
            ("relation", '"a b"."c""d"'),
            ("relation", "pg.public.u"),
        }

    def test_what_does_not_parse_names_nothing(self) -> None:
        assert mentions_of(["SELECT FROM FROM", "(" * 600]) == [[], []]


class TestSources:
    @pytest.mark.parametrize(
        ("query", "source"),
        [
            ("FROM read_parquet('a.parquet')", "parquet"),
            ("FROM read_parquet(['a.parquet'], filename := true, hive_types = {'k': INT})", None),
            ("FROM read_csv('a.csv', delim = ';', nullstr = ['x', 'y'], skip = 1)", "csv"),
            ("FROM read_csv('a.csv', columns = {'a': 'INT'}, header = false)", "csv"),
            ("FROM read_json('a.json', sample_size = -1)", "json"),
            ("FROM read_parquet('a' || '.parquet')", None),
            ("FROM read_parquet('a.parquet') AS t", None),
            ("FROM read_parquet('a.parquet') LIMIT 3", None),
            ("SELECT * EXCLUDE (i) FROM read_parquet('a.parquet')", None),
            ("FROM parquet_scan('a.parquet')", None),
            ("FROM read_csv('a.csv', quote = chr(34))", None),
            ("FROM read_csv('a.csv', sample_size = 1.5)", None),
            ("FROM range(3)", None),
            ("SELECT * FROM crm.users", "duckdb"),
            ('SELECT * FROM crm."a.b"."c"', "duckdb"),
            ("SELECT * FROM other.users", None),
            ("SELECT id FROM crm.users", None),
        ],
    )
    def test_a_source_gives_the_very_view(self, query: str, source: str | None) -> None:
        query = query if query.startswith("SELECT") else f"SELECT * {query}"
        with duckdb.connect() as connection:
            found = Recognizer(connection, {"crm": "duckdb"}).source_of(query)
        assert (found or {}).get("source") == source


class TestMacrosAndTypes:
    def test_what_a_session_cannot_have_is_named(self, invoke: Invoke, tmp_path: Path) -> None:
        change(
            tmp_path / "old.duckdb",
            "CREATE SCHEMA s",
            "CREATE MACRO twice(x) AS 2 * x",
            "CREATE MACRO s.twice(x) AS 3 * x",
            "CREATE MACRO key() AS {'secret': 'sw0rdfish'}",
            "CREATE TYPE amount AS DECIMAL(10, 2)",
            "CREATE VIEW v AS SELECT twice(1)::amount AS a",
        )
        result = invoke("--from", "old.duckdb")
        assert 'left out: macro "s.twice": another schema has one of the same name' in result.stderr
        assert 'left out: macro "key": its definition holds a value for "secret"' in result.stderr
        assert "sw0rdfish" not in (tmp_path / "catalog.yaml").read_text() + result.stderr
        duckalog.build("catalog.yaml")
        with duckalog.connect("catalog.yaml") as connection:
            assert connection.execute("SELECT typeof(a), a::INT FROM v").fetchall() == [
                ("DECIMAL(10,2)", 2)
            ]


class TestObjectStores:
    def test_each_bucket_has_a_secret_of_placeholders(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        urls = ["s3://a-b.c/x", "s3://a-b.c/y", "gs://g/x", "r2://r/x", "https://h/x", "file.csv"]
        first, gcs, r2 = (entry.data for entry in secrets_for(urls))
        assert first == {
            "type": "s3",
            "name": "s3_a_b_c",
            "provider": "credential_chain",
            "scope": "s3://a-b.c",
        }
        assert (gcs["key_id"], r2["account_id"]) == (
            "${env:GCS_ACCESS_KEY_ID}",
            "${env:R2_ACCOUNT_ID}",
        )
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "sw0rdfish")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "sw0rdfish")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "https://me:sw0rdfish@host")
        (entry,) = secrets_for(["s3://a/x"])
        assert entry.data["session_token"] == "${env:AWS_SESSION_TOKEN}"
        assert "sw0rdfish" not in str(entry)


def test_files_are_given_by_their_kind(tmp_path: Path) -> None:
    (tmp_path / "meta.ducklake").touch()
    kinds = {
        text: given_attachment(f"a={text}").kind
        for text in (
            f"ducklake:{tmp_path}/meta.ducklake",
            f"sqlite:{tmp_path}/meta.ducklake",
            f"{tmp_path}/meta.ducklake",
            "s3://bucket/x.duckdb",
            "dbname=x",
        )
    }
    assert list(kinds.values()) == ["ducklake", "sqlite", "duckdb", "duckdb", "postgres"]
    for bad in ("postgres://host:port/x", "host='unclosed", "host=a oops"):
        with pytest.raises(duckalog.ConfigError, match="cannot be read"):
            given_attachment(f"a={bad}")
