"""Whatever a config says is data: it works exactly as it is written, or is refused at its place."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import duckalog
from duckalog.engine.build import build as build_plan
from duckalog.load import load_config
from duckalog.plan import Plan
from duckalog.plan import plan as plan_of

Config = dict[str, Any]
Place = tuple[str | int, ...]

KEPT = [(1, "kept")]
ROWS = [(1, "ann"), (2, "bob")]
CSV = "id,name\n1,ann\n2,bob\n"

PIECES = [
    *"'\";\\%$?.:/*[]{}()<>`~|&#@!=,+-_ \t\n\r\0",
    *("--", "/*", "*/", "$$", "$tag$", "''", '""', "\\'", "E'", "::INT", ":=", "${", "}}"),
    *("'; DROP TABLE sentinel; --", '"; DROP TABLE sentinel; --', "$$; DROP TABLE sentinel; --"),
    *(
        ") AS t; DROP TABLE sentinel; --",
        "x'||(DELETE FROM sentinel)||'",
        "\n; DROP TABLE sentinel",
    ),
    *(
        "select",
        "sentinel",
        "main",
        "x",
        "A",
        "0",
        "NULL",
        "ß",
        "ü",
        "日本",
        "🦆",
        "\u202e",
        "\ufeff",
    ),
]
hostile = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=5).map("".join)
# What the environment can hold.
value = hostile.filter(lambda text: "\0" not in text)
file_name = hostile.map(lambda text: text.replace("/", "").replace("\0", "")).filter(
    lambda text: text not in ("", ".", "..") and len(text.encode()) < 200
)

few = settings(max_examples=25, deadline=None)
many = settings(max_examples=150, deadline=None)


@cache
def _untouched() -> bytes:
    """Return a catalog file with a table that no build may touch."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "catalog.duckdb")
        with duckdb.connect(str(file)) as connection:
            connection.execute("CREATE TABLE sentinel AS SELECT 1 AS id, 'kept' AS name")
        return file.read_bytes()


class Built:
    """A folder with a catalog that holds the sentinel, and what is beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = folder / "catalog.duckdb"
        self.catalog.write_bytes(_untouched())
        self.files = {"catalog.duckdb", "catalog.json"}

    def file(self, name: str, content: str = CSV) -> Path:
        """Write a file that belongs to the folder and return its path."""
        path = self.folder / name
        path.write_text(content, encoding="utf-8")
        self.files.add(name)
        return path

    def write(self, **config: Any) -> Path:
        """Write a config over the catalog and return its path."""
        path = self.folder / "catalog.json"
        section = {"database": "catalog.duckdb", **config.pop("duckdb", {})}
        path.write_text(json.dumps({"version": 1, "duckdb": section, **config}), encoding="utf-8")
        return path

    def is_built(self, place: Place, **config: Any) -> bool:
        """Say whether a config builds; where not, each problem must be told at `place`."""
        return self.outcome(self.write(**config), place)

    def outcome(self, path: Path, place: Place, environment: dict[str, str] | None = None) -> bool:
        try:
            build_plan(plan_of(load_config(path, environment=environment or {})))
        except duckalog.DuckalogError as error:
            assert error.problems
            for problem in error.problems:
                assert problem.origin.path[: len(place)] == place
                assert problem.message
            return False
        return True

    def query(self, sql: str, values: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query over the catalog, through its session."""
        with duckalog.connect(self.folder / "catalog.json") as connection:
            return connection.execute(sql, values).fetchall()

    def views(self) -> dict[tuple[str, str], str | None]:
        """Return the catalog's views, schema and name, with their comments."""
        sql = "SELECT schema_name, view_name, comment FROM duckdb_views() WHERE NOT internal"
        with duckdb.connect(str(self.catalog), read_only=True) as connection:
            rows = connection.execute(sql).fetchall()
        return {(schema, name): comment for schema, name, comment in rows}

    def assert_unharmed(self) -> None:
        """Fail where the sentinel, the catalog's tables, or the folder's files are not as before."""
        sql = "SELECT table_name FROM duckdb_tables() WHERE schema_name <> '_duckalog'"
        with duckdb.connect(str(self.catalog), read_only=True) as connection:
            assert connection.execute("FROM sentinel").fetchall() == KEPT
            assert connection.execute(sql).fetchall() == [("sentinel",)]
        assert {path.name for path in self.folder.iterdir()} <= self.files


@contextmanager
def a_catalog() -> Iterator[Built]:
    """Yield a catalog in a folder of its own, and check afterwards that it was not harmed."""
    folder = Path(tempfile.mkdtemp(prefix="duckalog"))
    try:
        built = Built(folder)
        yield built
        built.assert_unharmed()
    finally:
        shutil.rmtree(folder)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def csv_view(**keys: Any) -> Config:
    return {"name": "v", "source": "csv", "uri": "a.csv", **keys}


class TestNames:
    @few
    @given(name=hostile)
    @example(name="")
    @example(name="\0")
    @example(name="\ud800")
    @example(name='"; DROP TABLE sentinel; --')
    def test_a_view_exists_under_exactly_its_name_or_is_refused(self, name: str) -> None:
        with a_catalog() as built:
            built.file("a.csv")
            if built.is_built(("views", 0), views=[csv_view(name=name)]):
                assert built.views() == {("main", name): None}
                assert built.query(f"FROM {quoted(name)}") == ROWS
            else:
                assert name.lower() in ("", "sentinel") or "\0" in name or "\ud800" in name

    @few
    @given(schema=hostile)
    @example(schema='a"."b')
    def test_a_schema_exists_under_exactly_its_name_or_is_refused(self, schema: str) -> None:
        with a_catalog() as built:
            built.file("a.csv")
            if built.is_built(("views", 0), views=[csv_view(schema=schema)]):
                assert built.views() == {(schema, "v"): None}
                assert built.query(f"FROM {quoted(schema)}.v") == ROWS
            else:
                assert schema.lower() in ("", "sentinel", "main", "catalog") or "\0" in schema

    @few
    @given(alias=hostile)
    @example(alias="main")
    @example(alias="catalog")
    @example(alias='"; DROP TABLE sentinel; --')
    def test_a_database_is_attached_under_exactly_its_alias_or_is_refused(self, alias: str) -> None:
        with a_catalog() as built:
            (built.folder / "ref.duckdb").write_bytes(_untouched())
            built.files.add("ref.duckdb")
            view = {"name": "v", "source": "duckdb", "database": alias, "table": "sentinel"}
            attachments = {"duckdb": [{"alias": alias, "path": "ref.duckdb"}]}
            if built.is_built(("attachments", "duckdb", 0), attachments=attachments, views=[view]):
                assert built.query("FROM v") == KEPT
                assert built.query(f"FROM {quoted(alias)}.sentinel") == KEPT
            else:
                assert alias.lower() in ("", "main", "temp", "system", "catalog") or "\0" in alias

    @few
    @given(table=hostile)
    @example(table="country; CREATE TABLE pwned AS SELECT 1")
    def test_a_table_is_read_under_exactly_its_name_or_is_refused(self, table: str) -> None:
        assume(table and "\0" not in table and not table.lower().startswith("sqlite_"))
        with a_catalog() as built:
            with duckdb.connect(str(built.folder / "ref.duckdb")) as connection:
                connection.execute(f"CREATE TABLE {quoted(table)} AS SELECT 7 AS id")
            built.files.add("ref.duckdb")
            view = {"name": "v", "source": "duckdb", "database": "ref2", "table": quoted(table)}
            attachments = {"duckdb": [{"alias": "ref2", "path": "ref.duckdb"}]}
            assert built.is_built((), attachments=attachments, views=[view])
            assert built.query("FROM v") == [(7,)]

    @few
    @given(table=hostile)
    def test_an_unquoted_table_reads_nothing_else_or_is_refused(self, table: str) -> None:
        with a_catalog() as built:
            (built.folder / "ref.duckdb").write_bytes(_untouched())
            built.files.add("ref.duckdb")
            view = {"name": "v", "source": "duckdb", "database": "ref2", "table": table}
            attachments = {"duckdb": [{"alias": "ref2", "path": "ref.duckdb"}]}
            if built.is_built(("views", 0), attachments=attachments, views=[view]):
                assert built.query("FROM v") == KEPT

    @few
    @given(column=hostile, description=value)
    @example(column="", description="x")
    def test_a_column_has_exactly_its_name_and_comment_or_is_refused(
        self, column: str, description: str
    ) -> None:
        with a_catalog() as built:
            built.file("a.csv")
            options = {"header": True, "columns": {column: "INTEGER", "name 2": "VARCHAR"}}
            view = csv_view(options=options, columns={column: description})
            if built.is_built(("views", 0), views=[view]):
                sql = "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'v'"
                found = built.query(f"{sql} ORDER BY column_index")
                assert found == [(column, description or None), ("name 2", None)]
                assert built.query(f"SELECT {quoted(column)} FROM v") == [(1,), (2,)]
            else:
                assert column in ("", "name 2") or "\0" in column


class TestTexts:
    @few
    @given(description=hostile)
    @example(description="it's; DROP TABLE sentinel; --")
    def test_a_comment_is_exactly_the_description_or_it_is_refused(self, description: str) -> None:
        with a_catalog() as built:
            built.file("a.csv")
            views = [csv_view(description=description)]
            if built.is_built(("views", 0, "description"), views=views):
                assert built.views() == {("main", "v"): description or None}
            else:
                assert "\0" in description or "${env" in description

    @few
    @given(text=hostile)
    def test_tags_and_meta_never_reach_the_catalog(self, text: str) -> None:
        with a_catalog() as built:
            built.file("a.csv")
            views = [
                csv_view(tags=[text], meta={text: [text]}, columns={"id": {"meta": {"a": text}}})
            ]
            if built.is_built(("views", 0), views=views):
                assert built.views() == {("main", "v"): None}

    @few
    @given(text=hostile)
    def test_a_setting_is_exactly_its_value_or_is_refused(self, text: str) -> None:
        with a_catalog() as built:
            section = {"settings": {"http_proxy_username": text}}
            if built.is_built(("duckdb", "settings", "http_proxy_username"), duckdb=section):
                assert built.query("SELECT current_setting('http_proxy_username')") == [(text,)]
            else:
                assert "\0" in text or "${env" in text

    @few
    @given(name=hostile)
    @example(name="threads = 1; DROP TABLE sentinel; --")
    @example(name='http_proxy_username" = 1; --')
    def test_the_name_of_a_setting_is_a_name_or_is_refused(self, name: str) -> None:
        with a_catalog() as built:
            assert not built.is_built(("duckdb", "settings"), duckdb={"settings": {name: "x"}})


class TestPaths:
    @few
    @given(name=file_name)
    @example(name="it's ; DROP TABLE sentinel; --")
    @example(name="[a]*?.csv")
    def test_a_view_reads_exactly_its_file_or_is_refused(self, name: str) -> None:
        with a_catalog() as built:
            built.file("other.csv", "id,name\n9,wrong\n")
            built.file(name)
            view = {"name": "v", "source": "csv", "uri": name, "options": {"header": True}}
            if built.is_built(("views", 0), views=[view]):
                assert set(ROWS) <= set(built.query("SELECT id, name FROM v"))
                if not set(name) & set("*?["):
                    assert built.query("SELECT id, name FROM v") == ROWS

    @few
    @given(names=st.lists(file_name, min_size=2, max_size=3, unique=True))
    def test_a_view_reads_exactly_its_list_of_files_or_is_refused(self, names: list[str]) -> None:
        assume(not any(set(name) & set("*?[") for name in names))
        with a_catalog() as built:
            for number, name in enumerate(names):
                built.file(name, f'{{"id": {number}}}\n')
            if built.is_built(("views", 0), views=[{"name": "v", "source": "json", "uri": names}]):
                assert built.query("SELECT id FROM v ORDER BY id") == [
                    (n,) for n in range(len(names))
                ]

    @few
    @given(name=file_name)
    @example(name="ref' (READ_WRITE); DROP TABLE sentinel; --")
    def test_an_attachment_is_exactly_its_file_or_is_refused(self, name: str) -> None:
        assume(name not in ("catalog.duckdb", "catalog.json"))
        with a_catalog() as built:
            (built.folder / name).write_bytes(_untouched())
            built.files.add(name)
            attachments = {"duckdb": [{"alias": "ref2", "path": name}]}
            view = {"name": "v", "source": "duckdb", "database": "ref2", "table": "sentinel"}
            place = ("attachments", "duckdb", 0)
            if built.is_built(place, attachments=attachments, views=[view]):
                assert built.query("FROM v") == KEPT

    @few
    @given(name=file_name)
    @example(name="it's; --.duckdb")
    def test_a_catalog_is_built_at_exactly_its_path_or_is_refused(self, name: str) -> None:
        assume(name not in ("catalog.duckdb", "catalog.json"))
        with a_catalog() as built:
            built.file("a.csv")
            built.files.add(name)
            if built.is_built((), duckdb={"database": name}, views=[csv_view()]):
                assert (built.folder / name).is_file()
                assert built.query("FROM v") == ROWS


class TestOptions:
    @few
    @given(key=hostile)
    @example(key="header = true) --")
    def test_the_key_of_an_option_is_a_name_or_is_refused(self, key: str) -> None:
        with a_catalog() as built:
            built.file("a.csv")
            assert not built.is_built(("views", 0), views=[csv_view(options={key: "x"})])

    @few
    @given(text=hostile)
    @example(text="name'); DROP TABLE sentinel; --")
    def test_a_text_in_an_option_is_exactly_that_text_or_is_refused(self, text: str) -> None:
        with a_catalog() as built:
            built.file("a.csv")
            options = {"header": True, "names": ["id", text]}
            if built.is_built(("views", 0), views=[csv_view(options=options)]):
                sql = "SELECT column_name FROM duckdb_columns() WHERE table_name = 'v'"
                assert built.query(f"{sql} ORDER BY column_index") == [("id",), (text,)]
            else:
                assert text.lower() in ("", "id") or "\0" in text or text != text.strip()


NOT_ONE_SELECT = [
    "SELECT 1; DROP TABLE sentinel",
    "SELECT 1; SELECT 2",
    "SELECT 1;;DROP TABLE sentinel;",
    "SELECT 1 /* ; */; DROP TABLE sentinel --",
    "; DROP TABLE sentinel",
    ";",
    "-- nothing",
    "DROP TABLE sentinel",
    "DELETE FROM sentinel RETURNING *",
    "INSERT INTO sentinel VALUES (2, 'x') RETURNING *",
    "UPDATE sentinel SET id = 2",
    "TRUNCATE sentinel",
    "CREATE TABLE pwned AS SELECT 1",
    "CREATE OR REPLACE VIEW v AS SELECT 1",
    "ALTER TABLE sentinel RENAME TO gone",
    "COPY sentinel TO 'pwned.csv'",
    "EXPORT DATABASE 'pwned'",
    "ATTACH 'pwned.duckdb' AS p",
    "DETACH catalog",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET threads = 1",
    "RESET threads",
    "PRAGMA table_info('sentinel')",
    "CALL pragma_table_info('sentinel')",
    "EXPLAIN SELECT 1",
    "DESCRIBE sentinel",
    "SHOW TABLES",
    "SUMMARIZE sentinel",
    "FROM (DESCRIBE sentinel)",
    "BEGIN",
    "COMMIT",
    "VACUUM",
    "CHECKPOINT",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "WITH t AS (DELETE FROM sentinel RETURNING *) SELECT * FROM t",
    "SELECT $1",
    "SELECT ?",
    "SELECT $name",
    "SELECT 1 AS i) AS t; DROP TABLE sentinel; --",
    "SELECT '",
    'SELECT "',
    "SELECT $$",
    "SELECT 1 /*",
    "SELECT 1 AS i \0",
]


class TestSql:
    @pytest.mark.parametrize("sql", NOT_ONE_SELECT)
    def test_anything_but_one_select_is_refused(self, sql: str) -> None:
        with a_catalog() as built:
            assert not built.is_built(("views", 0, "sql"), views=[{"name": "v", "sql": sql}])
            assert built.views() == {}

    @pytest.mark.parametrize("sql", NOT_ONE_SELECT)
    def test_a_file_with_anything_but_one_select_is_refused(self, sql: str) -> None:
        with a_catalog() as built:
            built.file("query.sql", sql)
            views = [{"name": "v", "sql_file": "query.sql"}]
            assert not built.is_built(("views", 0, "sql_file"), views=views)
            assert built.views() == {}

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT 1 AS i -- a comment at the end",
            "SELECT 1 AS i -- a comment; DROP TABLE sentinel",
            "SELECT 1 AS i /* ; DROP TABLE sentinel; */",
            "SELECT 1 AS i;",
            "SELECT 1 AS i;;",
            "SELECT 1 AS i; -- a comment after the end",
            "-- a comment before\nSELECT 1 AS i",
            "FROM (VALUES (1)) t(i)",
            "VALUES (1)",
            "WITH t AS (SELECT 1 AS i) FROM t",
            "(SELECT 1 AS i)",
            "SELECT length(';') AS i",
            "SELECT length($$;$$) AS i",
            "SELECT length($tag$;$tag$) AS i",
        ],
    )
    def test_one_select_is_a_view_however_it_is_written(self, sql: str) -> None:
        with a_catalog() as built:
            assert built.is_built((), views=[{"name": "v", "sql": sql}])
            assert built.query("FROM v") == [(1,)]
            assert statement_types(duckalog.generate_sql(built.folder / "catalog.json")) == [
                "CREATE"
            ]

    @few
    @given(tail=hostile)
    def test_whatever_follows_a_select_belongs_to_it_or_is_refused(self, tail: str) -> None:
        with a_catalog() as built:
            views = [{"name": "v", "sql": f"SELECT 1 AS i {tail}"}]
            if built.is_built(("views", 0), views=views):
                assert built.views() == {("main", "v"): None}
                assert len(built.query("FROM v")) <= 1


class TestPlaceholders:
    def is_built(self, built: Built, place: Place, value: str, **config: Any) -> bool:
        return built.outcome(built.write(**config), place, {"V": value})

    @few
    @given(text=value)
    @example(text="'; DROP TABLE sentinel; --")
    @example(text="\\'; DROP TABLE sentinel; --")
    def test_a_value_in_a_literal_is_exactly_that_text(self, text: str) -> None:
        with a_catalog() as built:
            views = [{"name": "v", "sql": "SELECT '${env:V}' AS v, 'a${env:V}b' AS w"}]
            assert self.is_built(built, (), text, views=views)
            with duckdb.connect(str(built.catalog), read_only=True) as connection:
                assert connection.execute("FROM v").fetchall() == [(text, f"a{text}b")]

    @few
    @given(text=value)
    @example(text='"; DROP TABLE sentinel; --')
    def test_a_value_in_a_quoted_name_is_exactly_that_name(self, text: str) -> None:
        with a_catalog() as built:
            views = [{"name": "v", "sql": 'SELECT 1 AS "a${env:V}"'}]
            assert self.is_built(built, (), text, views=views)
            with duckdb.connect(str(built.catalog), read_only=True) as connection:
                assert connection.execute("FROM v").description[0][0] == f"a{text}"

    @few
    @given(text=value)
    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT ${env:V} AS v",
            "SELECT 1 AS v -- ${env:V}",
            "SELECT 1 AS v /* ${env:V} */",
            "SELECT E'${env:V}' AS v",
            "SELECT $$${env:V}$$ AS v",
            "SELECT $tag$${env:V}$tag$ AS v",
            "SELECT 1 AS v${env:V}",
        ],
    )
    def test_a_value_outside_of_quotes_is_one_word_or_is_refused(self, sql: str, text: str) -> None:
        with a_catalog() as built:
            if self.is_built(built, ("views", 0), text, views=[{"name": "v", "sql": sql}]):
                assert not set(text) & set("'\";\\$() \n\t\r/*=")
                assert "--" not in text
                assert built.views() == {("main", "v"): None}

    @few
    @given(text=value)
    @example(text="'; DROP TABLE sentinel; --")
    def test_a_value_in_a_pragma_is_exactly_that_text(self, text: str) -> None:
        pragmas = ["SET VARIABLE v = '${env:V}'", 'SET VARIABLE "w${env:V}" = 1']
        with a_catalog() as built:
            config = built.write(duckdb={"pragmas": pragmas})
            plan = plan_of(load_config(config, environment={"V": text}))
            build_plan(plan)
            with duckdb.connect(str(built.catalog)) as connection:
                for step in plan.session:
                    for one in step.statements:
                        connection.execute(one.text, one.values or None)
                assert connection.execute("SELECT getvariable('v')").fetchall() == [(text,)]

    @few
    @given(text=value.filter(bool))
    @example(text='v"; DROP TABLE sentinel; --')
    def test_a_value_in_a_name_is_exactly_that_name(self, text: str) -> None:
        assume(text.lower() != "sentinel")
        with a_catalog() as built:
            built.file("a.csv")
            assert self.is_built(built, (), text, views=[csv_view(name="${env:V}")])
            assert built.views() == {("main", text): None}

    @few
    @given(name=file_name)
    def test_a_value_in_a_path_is_exactly_that_path_or_is_refused(self, name: str) -> None:
        assume(not set(name) & set("*?["))
        with a_catalog() as built:
            built.file(name)
            views = [csv_view(uri="./${env:V}", options={"header": True})]
            if self.is_built(built, ("views", 0), name, views=views):
                with duckdb.connect(str(built.catalog), read_only=True) as connection:
                    assert connection.execute("FROM v").fetchall() == ROWS

    @few
    @given(text=value)
    def test_a_value_is_not_filled_in_a_second_time(self, text: str) -> None:
        with a_catalog() as built:
            built.file("a.csv")
            stated = f"${{env:OTHER}}{text}"
            views = [csv_view(description="${env:V}")]
            assert self.is_built(built, (), stated, views=views)
            assert built.views() == {("main", "v"): stated}


def statement_types(sql: str) -> list[str]:
    """Return the types of a script's statements, as DuckDB parses it."""
    return [str(one.type).rpartition(".")[2] for one in duckdb.extract_statements(sql)]


TYPES = {
    "extension": {"LOAD"},
    "setting": {"SET", "VARIABLE_SET"},
    "secret": {"CREATE"},
    "attachment": {"CREATE", "ATTACH"},
    "catalog": {"CREATE", "ATTACH"},
    "view": {"CREATE", "ALTER"},
}


def everywhere(text: str) -> Iterator[tuple[Place, Config]]:
    """Yield configs with `text` in each place that a config has for text, and the place."""
    for kind, section in {
        "s3": {"key_id": text, "secret": text, "region": text, "endpoint": text, "scope": text},
        "azure": {"connection_string": text, "account_name": text},
        "http": {"bearer_token": text, "extra_http_headers": {text: text}, "http_proxy": text},
        "postgres": {"host": text, "database": text, "user": text, "password": text},
        "mysql": {"host": text, "user": text, "password": text, "ssl_ca": text},
        "iceberg": {"token": text, "oauth2_scope": text, "endpoint": text},
        "huggingface": {"token": text},
    }.items():
        secret = {"type": kind, "name": text, **section}
        yield ("duckdb", "secrets"), {"duckdb": {"secrets": [secret]}}
    postgres = {"alias": text, "host": text, "database": text, "user": text, "password": text}
    options = {"application_name": text, "options": text}
    for keys in (postgres, {"alias": text, "secret": "s"}):
        attachment = {**keys, "schema": text, "options": options}
        secrets = [{"type": "postgres", "name": "s", "host": "h"}]
        attachments = {"postgres": [attachment]}
        yield ("attachments",), {"attachments": attachments, "duckdb": {"secrets": secrets}}
    for kind in ("sqlite", "ducklake"):
        yield ("attachments",), {"attachments": {kind: [{"alias": text, "path": text}]}}
    lake = {"data_path": text, "metadata_schema": text, "snapshot_time": text}
    yield ("attachments",), {"attachments": {"ducklake": [{"alias": "l", "path": "p", **lake}]}}
    rest = {"name": text, "catalog_type": "rest", "uri": text, "warehouse": text}
    for options in (
        {"token": text, "oauth2_scope": text, "extra_http_headers": {text: text}},
        {"client_id": text, "client_secret": text, "default_region": text},
        {"extra_http_headers": {text: text}, "default_schema": text},
    ):
        yield ("iceberg_catalogs",), {"iceberg_catalogs": [{**rest, "options": options}]}
    aws = {"name": text, "catalog_type": "s3_tables", "warehouse": f"arn:{text}"}
    yield (
        ("iceberg_catalogs",),
        {"iceberg_catalogs": [{**aws, "options": {"default_schema": text}}]},
    )
    for source in ("parquet", "csv", "json", "delta", "iceberg"):
        for options in ({"odd": text}, {"odd": [text]}, {"odd": {text: text}}):
            view = {"name": text, "source": source, "uri": text, "options": options}
            yield ("views", 0), {"views": [view]}
    schema = {"schema": {0: {text: text, "name": text}}}
    view = {"name": "v", "source": "parquet", "uri": "u", "options": schema}
    yield ("views", 0), {"views": [view]}
    catalogs = [{"name": "c", "catalog_type": "rest", "uri": "http://h"}]
    for options in ({"snapshot_timestamp": text}, {"snapshot_id": text}):
        table = f'{quoted(text)}."t"'
        view = {"name": "v", "source": "iceberg", "catalog": "c", "table": table}
        views = [{**view, "options": options}]
        yield ("views", 0), {"views": views, "iceberg_catalogs": catalogs}
    for key in ("install_extensions", "load_extensions"):
        for extension in (text, {"name": "httpfs", "repository": text}):
            yield ("duckdb", key), {"duckdb": {key: [extension]}}


class TestEveryPlace:
    @settings(max_examples=20, deadline=None)
    @given(text=hostile)
    @example(text="")
    @example(text="'; DROP TABLE sentinel; --")
    @example(text='"; DROP TABLE sentinel; --')
    @example(text="\\'); DROP TABLE sentinel; --")
    def test_every_statement_is_exactly_one_of_its_kind_or_its_text_is_refused(
        self, text: str
    ) -> None:
        folder = Path(tempfile.mkdtemp(prefix="duckalog"))
        try:
            for place, config in everywhere(text):
                path = folder / "catalog.json"
                path.write_text(json.dumps({"version": 1, **config}), encoding="utf-8")
                try:
                    plan = plan_of(load_config(path, environment={}))
                except duckalog.ConfigError as error:
                    for problem in error.problems:
                        assert problem.origin.path[: len(place)] == place
                    continue
                assert_one_statement_each(plan)
        finally:
            shutil.rmtree(folder)


def assert_one_statement_each(plan: Plan) -> None:
    count = 0
    for step in (*plan.session, *plan.views):
        for statement in step.statements:
            for text in (statement.text, statement.script):
                (found,) = statement_types(text)
                assert found in TYPES[step.kind]
            count += 1
    from duckalog.script import full_script

    assert len(statement_types(full_script(plan))) == count + len(plan.schemas)


@pytest.mark.servers
class TestSecrets:
    @few
    @given(text=value.filter(bool))
    @example(text="it's\\ ; DROP TABLE sentinel; --")
    def test_a_password_arrives_exactly_as_it_is(self, text: str) -> None:
        from tests.tables import load_extensions

        secret = {"type": "postgres", "name": text, "host": text, "password": "${env:V}"}
        with a_catalog() as built:
            config = built.write(duckdb={"secrets": [secret]})
            try:
                plan = plan_of(load_config(config, environment={"V": text}))
            except duckalog.ConfigError:
                assert "${env" in text
                return
            step = plan.session[-1]
            with duckdb.connect(config={"allow_unredacted_secrets": True}) as connection:
                load_extensions(connection, "postgres_scanner")
                connection.execute(step.statements[0].text, step.statements[0].values)
                sql = "SELECT name, secret_string FROM duckdb_secrets(redact = false)"
                ((name, shown),) = connection.execute(sql).fetchall()
            assert name.lower() == text.lower()
            assert f";host={text};" in shown
            assert f";password={text}" in shown

    @settings(max_examples=8, deadline=None)
    @given(text=hostile)
    def test_a_server_is_reached_under_exactly_its_alias(self, text: str) -> None:
        with a_catalog() as built:
            keys = {
                "host": "127.0.0.1",
                "port": 1,
                "database": text,
                "user": text,
                "password": text,
            }
            attachments = {"postgres": [{"alias": text, **keys}]}
            path = built.write(attachments=attachments)
            try:
                duckalog.build(path)
                pytest.fail("nothing listens there")
            except duckalog.ConfigError:
                pass
            except duckalog.EngineError as error:
                (problem,) = error.problems
                assert problem.name == text
                assert "Connection refused" in problem.remedy

    @few
    @given(table=hostile)
    def test_a_table_of_sqlite_is_read_under_exactly_its_name(self, table: str) -> None:
        assume(table and "\0" not in table and not table.lower().startswith("sqlite_"))
        with a_catalog() as built:
            with closing(sqlite3.connect(built.folder / "l.db")) as database:
                database.execute(f"CREATE TABLE {quoted(table)} (id INTEGER)")
                database.execute(f"INSERT INTO {quoted(table)} VALUES (7)")
                database.commit()
            built.files.add("l.db")
            view = {"name": "v", "source": "sqlite", "database": "l", "table": quoted(table)}
            attachments = {"sqlite": [{"alias": "l", "path": "l.db"}]}
            assert built.is_built((), attachments=attachments, views=[view])
            assert built.query("FROM v") == [(7,)]
