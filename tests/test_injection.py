"""Whatever a config says is data: it works exactly as it is written, or is refused at its place."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import duckalog
from duckalog.engine.build import build as build_plan
from duckalog.engine.build import open_session
from duckalog.load import load_config
from duckalog.plan import Plan
from duckalog.plan import plan as plan_of
from duckalog.script import full_script
from tests.tables import load_extensions

Config = dict[str, Any]
Place = tuple[str | int, ...]

KEPT = [(1, "kept")]
ROWS = [(1, "ann"), (2, "bob")]
CSV = "id,name\n1,ann\n2,bob\n"

PIECES = [
    *"'\";\\%$?.:/*[]{}()<>`~|&#@!=,+-_ \t\n\r\0",
    *("--", "/*", "*/", "$$", "$tag$", "''", '""', "\\'", "E'", "::INT", ":=", "${", "}}"),
    *("'; DROP TABLE sentinel; --", '"; DROP TABLE sentinel; --', "$$; DROP TABLE sentinel; --"),
    *(") AS t; DROP TABLE sentinel; --", "||(DELETE FROM sentinel)||", "\n;DROP TABLE sentinel"),
    *("select", "sentinel", "main", "x", "A", "0", "NULL", "true"),
    *("ß", "ü", "日本", "🦆", "\u202e", "\ufeff"),
]
hostile = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=5).map("".join)
# What a variable of the environment can hold, and what a file can be called.
value = hostile.filter(lambda text: "\0" not in text)
file_name = hostile.map(lambda text: text.replace("/", "").replace("\0", "")).filter(
    lambda text: text not in ("", ".", "..") and len(text.encode()) < 200
)
GLOB = set("*?[")

few = settings(max_examples=10, deadline=None)


@cache
def _untouched() -> bytes:
    """Return a catalog file with a table that no build may touch."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "catalog.duckdb")
        with duckdb.connect(str(file)) as connection:
            connection.execute("CREATE TABLE sentinel AS SELECT 1 AS id, 'kept' AS name")
        return file.read_bytes()


class Catalog:
    """A catalog that holds the sentinel, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "catalog.duckdb"
        self.file.write_bytes(_untouched())
        self.names = {"catalog.duckdb", "catalog.json"}
        self.plan: Plan | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None

    def put(self, name: str, content: str | bytes = CSV) -> None:
        """Write a file that belongs to the folder."""
        raw = content if isinstance(content, bytes) else content.encode()
        (self.folder / name).write_bytes(raw)
        self.names.add(name)

    def load(self, environment: dict[str, str] | None = None, **config: Any) -> Plan:
        """Write a config over the catalog and return its plan."""
        path = self.folder / "catalog.json"
        section = {"database": "catalog.duckdb", **config.pop("duckdb", {})}
        path.write_text(json.dumps({"version": 1, "duckdb": section, **config}), encoding="utf-8")
        return plan_of(load_config(path, environment=environment or {}))

    def is_built(
        self, place: Place, environment: dict[str, str] | None = None, **config: Any
    ) -> bool:
        """Say whether a config builds; where not, a problem must be told at `place`."""
        try:
            plan = self.load(environment, **config)
            build_plan(plan)
        except duckalog.DuckalogError as error:
            problems = error.problems
        else:
            self.plan = plan
            return True
        assert any(problem.origin.path[: len(place)] == place for problem in problems), problems
        return False

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query over the catalog, in its session where it is built."""
        if self._connection is None:
            if self.plan is None:
                self._connection = duckdb.connect(str(self.file), read_only=True)
            else:
                self._connection = open_session(self.plan, read_only=True, lock_timeout_s=1)
        return self._connection.execute(sql).fetchall()

    def views(self) -> dict[tuple[str, str], str | None]:
        """Return the catalog's views, schema and name, with their comments."""
        sql = "SELECT schema_name, view_name, comment FROM duckdb_views() WHERE NOT internal"
        rows = self.query(f"{sql} AND database_name = current_database()")
        return {(schema, name): comment for schema, name, comment in rows}

    def columns(self) -> list[tuple[str, str | None]]:
        """Return the columns of the view v, with their comments."""
        sql = "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'v'"
        return self.query(f"{sql} ORDER BY column_index")

    def assert_unharmed(self) -> None:
        """Fail where the sentinel, the tables, or the folder's files are not as before."""
        own = "schema_name <> '_duckalog' AND database_name = current_database()"
        tables = self.query(f"SELECT table_name FROM duckdb_tables() WHERE {own}")
        if self.plan is None or self.plan.database == str(self.file):
            assert tables == [("sentinel",)]
            assert self.query("SELECT * FROM catalog.main.sentinel") == KEPT
        assert {path.name for path in self.folder.iterdir()} <= self.names

    def close(self) -> None:
        """Close the connection that the checks used."""
        if self._connection is not None:
            self._connection.close()


@contextmanager
def a_catalog() -> Iterator[Catalog]:
    """Yield a catalog, and check afterwards that it was not harmed."""
    folder = Path(tempfile.mkdtemp(prefix="duckalog"))
    made = Catalog(folder)
    try:
        yield made
        made.assert_unharmed()
    finally:
        made.close()
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
        with a_catalog() as catalog:
            catalog.put("a.csv")
            if catalog.is_built(("views", 0), views=[csv_view(name=name)]):
                assert catalog.views() == {("main", name): None}
                assert catalog.query(f"FROM {quoted(name)}") == ROWS
            else:
                assert name.lower() in ("", "sentinel", "\ud800") or "\0" in name

    @few
    @given(schema=hostile)
    @example(schema='a"."b')
    def test_a_schema_exists_under_exactly_its_name_or_is_refused(self, schema: str) -> None:
        with a_catalog() as catalog:
            catalog.put("a.csv")
            if catalog.is_built(("views", 0), views=[csv_view(schema=schema)]):
                assert catalog.views() == {(schema, "v"): None}
                assert catalog.query(f"FROM {quoted(schema)}.v") == ROWS
            else:
                assert schema in ("", "catalog") or "\0" in schema

    @few
    @given(alias=hostile)
    @example(alias="main")
    @example(alias="catalog")
    @example(alias='"; DROP TABLE sentinel; --')
    def test_a_database_is_attached_under_exactly_its_alias_or_is_refused(self, alias: str) -> None:
        with a_catalog() as catalog:
            catalog.put("ref.duckdb", _untouched())
            view = {"name": "v", "source": "duckdb", "database": alias, "table": "sentinel"}
            attachments = {"duckdb": [{"alias": alias, "path": "ref.duckdb"}]}
            place = ("attachments", "duckdb", 0)
            if catalog.is_built(place, attachments=attachments, views=[view]):
                assert catalog.query("FROM v") == KEPT
                assert catalog.query(f"FROM {quoted(alias)}.sentinel") == KEPT
            else:
                assert alias.lower() in ("", "main", "temp", "system", "catalog") or "\0" in alias

    @few
    @given(table=value.filter(bool))
    @example(table="country; CREATE TABLE pwned AS SELECT 1")
    def test_a_quoted_table_is_read_under_exactly_its_name(self, table: str) -> None:
        with a_catalog() as catalog:
            with duckdb.connect(str(catalog.folder / "ref.duckdb")) as connection:
                connection.execute(f"CREATE TABLE {quoted(table)} AS SELECT 7 AS id")
            catalog.names.add("ref.duckdb")
            view = {"name": "v", "source": "duckdb", "database": "ref2", "table": quoted(table)}
            attachments = {"duckdb": [{"alias": "ref2", "path": "ref.duckdb"}]}
            assert catalog.is_built((), attachments=attachments, views=[view])
            assert catalog.query("FROM v") == [(7,)]

    @few
    @given(table=hostile)
    @example(table="sentinel; DROP TABLE sentinel")
    def test_an_unquoted_table_reads_nothing_else_or_is_refused(self, table: str) -> None:
        with a_catalog() as catalog:
            catalog.put("ref.duckdb", _untouched())
            view = {"name": "v", "source": "duckdb", "database": "ref2", "table": table}
            attachments = {"duckdb": [{"alias": "ref2", "path": "ref.duckdb"}]}
            if catalog.is_built(("views", 0), attachments=attachments, views=[view]):
                assert catalog.query("FROM v") == KEPT

    @few
    @given(column=hostile, description=value)
    @example(column="", description="x")
    @example(column='"; DROP TABLE sentinel; --', description="'; DROP TABLE sentinel; --")
    def test_a_column_has_exactly_its_name_and_comment_or_is_refused(
        self, column: str, description: str
    ) -> None:
        with a_catalog() as catalog:
            catalog.put("a.csv")
            options = {"header": True, "columns": {column: "INTEGER", "name 2": "VARCHAR"}}
            view = csv_view(options=options, columns={column: description})
            if catalog.is_built(("views", 0), views=[view]):
                assert catalog.columns() == [(column, description), ("name 2", None)]
                assert catalog.query(f"SELECT {quoted(column)} FROM v") == [(1,), (2,)]
            else:
                assert column == "" or "\0" in column


class TestTexts:
    @few
    @given(description=hostile)
    @example(description="it's; DROP TABLE sentinel; --")
    def test_a_comment_is_exactly_the_description_or_it_is_refused(self, description: str) -> None:
        with a_catalog() as catalog:
            catalog.put("a.csv")
            views = [csv_view(description=description)]
            if catalog.is_built(("views", 0, "description"), views=views):
                assert catalog.views() == {("main", "v"): description}
            else:
                assert "\0" in description or "${env" in description

    @few
    @given(text=hostile)
    def test_tags_and_meta_never_reach_the_catalog(self, text: str) -> None:
        with a_catalog() as catalog:
            catalog.put("a.csv")
            view = csv_view(tags=[text], meta={text: [text]}, columns={"id": {"meta": {"a": text}}})
            if catalog.is_built(("views", 0), views=[view]):
                assert catalog.views() == {("main", "v"): None}

    @few
    @given(text=hostile)
    @example(text="'; DROP TABLE sentinel; --")
    def test_a_setting_is_exactly_its_value_or_is_refused(self, text: str) -> None:
        with a_catalog() as catalog:
            section = {"settings": {"http_proxy_username": text}}
            if catalog.is_built(("duckdb", "settings", "http_proxy_username"), duckdb=section):
                assert catalog.query("SELECT current_setting('http_proxy_username')") == [(text,)]
            else:
                assert "\0" in text or "${env" in text

    @few
    @given(name=hostile)
    @example(name="threads = 1; DROP TABLE sentinel; --")
    @example(name='http_proxy_username" = 1; --')
    def test_a_hostile_name_of_a_setting_is_refused(self, name: str) -> None:
        with a_catalog() as catalog:
            settings = {name: "x"}
            assert not catalog.is_built(("duckdb", "settings"), duckdb={"settings": settings})


class TestPaths:
    @few
    @given(name=file_name)
    @example(name="it's ; DROP TABLE sentinel; --")
    @example(name="[a]*?.csv")
    def test_a_view_reads_exactly_its_file_or_is_refused(self, name: str) -> None:
        with a_catalog() as catalog:
            catalog.put("other.txt", "id,name\n9,wrong\n")
            catalog.put(name)
            views = [csv_view(uri=name, options={"header": True})]
            if catalog.is_built(("views", 0), views=views) and not GLOB & set(name):
                assert catalog.query("SELECT id, name FROM v") == ROWS

    @few
    @given(names=st.lists(file_name, min_size=2, max_size=3, unique=True))
    def test_a_view_reads_exactly_its_list_of_files_or_is_refused(self, names: list[str]) -> None:
        assume(not GLOB & set("".join(names)))
        with a_catalog() as catalog:
            for number, name in enumerate(names):
                catalog.put(name, f'{{"id": {number}}}\n')
            view = {"name": "v", "source": "json", "uri": names}
            if catalog.is_built(("views", 0), views=[view]):
                assert len(catalog.query("SELECT id FROM v")) == len(names)

    @few
    @given(name=file_name)
    @example(name="ref' (READ_WRITE); DROP TABLE sentinel; --")
    def test_an_attachment_is_exactly_its_file_or_is_refused(self, name: str) -> None:
        with a_catalog() as catalog:
            catalog.put(name, _untouched())
            attachments = {"duckdb": [{"alias": "ref2", "path": name}]}
            view = {"name": "v", "source": "duckdb", "database": "ref2", "table": "sentinel"}
            place = ("attachments", "duckdb", 0)
            if catalog.is_built(place, attachments=attachments, views=[view]):
                assert catalog.query("FROM v") == KEPT

    @few
    @given(name=file_name)
    @example(name="it's; --.duckdb")
    @example(name='main"."x')
    def test_a_catalog_is_built_at_exactly_its_path_or_is_refused(self, name: str) -> None:
        with a_catalog() as catalog:
            catalog.put("a.csv")
            catalog.names.add(name)
            if catalog.is_built((), duckdb={"database": name}, views=[csv_view()]):
                assert (catalog.folder / name).is_file()
                assert catalog.query("FROM v") == ROWS


class TestOptions:
    @few
    @given(key=hostile)
    @example(key="header = true) --")
    def test_a_hostile_key_of_an_option_is_refused(self, key: str) -> None:
        with a_catalog() as catalog:
            catalog.put("a.csv")
            assert not catalog.is_built(("views", 0), views=[csv_view(options={key: "x"})])

    @few
    @given(text=hostile)
    @example(text="name'); DROP TABLE sentinel; --")
    def test_a_text_in_an_option_is_exactly_that_text_or_is_refused(self, text: str) -> None:
        with a_catalog() as catalog:
            catalog.put("a.csv")
            options = {"header": True, "names": ["id", text]}
            if catalog.is_built(("views", 0), views=[csv_view(options=options)]):
                assert catalog.columns() == [("id", None), (text, None)]
            else:
                assert text.strip().lower() in ("", "id") or "\0" in text


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
        with a_catalog() as catalog:
            assert not catalog.is_built(("views", 0, "sql"), views=[{"name": "v", "sql": sql}])
            assert catalog.views() == {}

    def test_a_file_with_anything_but_one_select_is_refused(self) -> None:
        views = []
        with a_catalog() as catalog:
            for number, sql in enumerate(NOT_ONE_SELECT):
                catalog.put(f"{number}.sql", sql)
                views.append({"name": f"v{number}", "sql_file": f"{number}.sql"})
            # NUL is found when the file is read, the others when all of them are parsed.
            with pytest.raises(duckalog.ConfigError) as caught:
                catalog.load(views=views[:-1])
            told = [problem.origin.path for problem in caught.value.problems]
            assert told == [("views", number, "sql_file") for number in range(len(views) - 1)]
            assert not catalog.is_built(("views", 0, "sql_file"), views=views[-1:])
            assert catalog.views() == {}

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
        with a_catalog() as catalog:
            assert catalog.is_built((), views=[{"name": "v", "sql": sql}])
            assert catalog.query("FROM v") == [(1,)]
            script = duckalog.generate_sql(catalog.folder / "catalog.json")
            assert statement_types(script) == ["CREATE"]

    @few
    @given(tail=hostile)
    def test_whatever_follows_a_select_belongs_to_it_or_is_refused(self, tail: str) -> None:
        with a_catalog() as catalog:
            views = [{"name": "v", "sql": f"SELECT 1 AS i {tail}"}]
            if catalog.is_built(("views", 0), views=views):
                assert catalog.views() == {("main", "v"): None}
                assert len(catalog.query("FROM v")) <= 1


@pytest.mark.thorough
class TestPlaceholders:
    @few
    @given(text=value)
    @example(text="'; DROP TABLE sentinel; --")
    @example(text="\\'; DROP TABLE sentinel; --")
    def test_a_value_in_a_literal_is_exactly_that_text(self, text: str) -> None:
        with a_catalog() as catalog:
            views = [{"name": "v", "sql": "SELECT '${env:V}' AS v, 'a${env:V}b' AS w"}]
            assert catalog.is_built((), {"V": text}, views=views)
            assert catalog.query("FROM v") == [(text, f"a{text}b")]

    @few
    @given(text=value)
    @example(text='"; DROP TABLE sentinel; --')
    def test_a_value_in_a_quoted_name_is_exactly_that_name(self, text: str) -> None:
        with a_catalog() as catalog:
            views = [{"name": "v", "sql": 'SELECT 1 AS "a${env:V}"'}]
            assert catalog.is_built((), {"V": text}, views=views)
            assert catalog.columns() == [(f"a{text}", None)]

    @few
    @given(
        text=value,
        sql=st.sampled_from(
            [
                "SELECT ${env:V} AS v",
                "SELECT 1 AS v -- ${env:V}",
                "SELECT 1 AS v /* ${env:V} */",
                "SELECT E'${env:V}' AS v",
                "SELECT $$${env:V}$$ AS v",
                "SELECT $tag$${env:V}$tag$ AS v",
                "SELECT 1 AS v${env:V}",
            ]
        ),
    )
    @example(text="1; DROP TABLE sentinel", sql="SELECT ${env:V} AS v")
    @example(text="x\n; DROP TABLE sentinel", sql="SELECT 1 AS v -- ${env:V}")
    @example(text="*/; DROP TABLE sentinel; /*", sql="SELECT 1 AS v /* ${env:V} */")
    @example(text="\\'; DROP TABLE sentinel; --", sql="SELECT E'${env:V}' AS v")
    @example(text="$$; DROP TABLE sentinel; --", sql="SELECT $$${env:V}$$ AS v")
    @example(text="tag$; DROP TABLE sentinel; --", sql="SELECT $tag$${env:V}$tag$ AS v")
    def test_a_value_outside_of_quotes_is_one_word_or_is_refused(self, sql: str, text: str) -> None:
        with a_catalog() as catalog:
            views = [{"name": "v", "sql": sql}]
            if catalog.is_built(("views", 0), {"V": text}, views=views):
                assert not set(text) & set("'\";\\$() \n\t\r/*=")
                assert "--" not in text
                assert catalog.views() == {("main", "v"): None}

    @few
    @given(text=value)
    @example(text="'; DROP TABLE sentinel; --")
    def test_a_value_in_a_pragma_is_exactly_that_text(self, text: str) -> None:
        pragmas = ["SET VARIABLE v = '${env:V}'", 'SET VARIABLE "w${env:V}" = 1']
        with a_catalog() as catalog:
            assert catalog.is_built((), {"V": text}, duckdb={"pragmas": pragmas})
            assert catalog.query("SELECT getvariable('v')") == [(text,)]

    @few
    @given(text=value.filter(bool))
    @example(text='v"; DROP TABLE sentinel; --')
    def test_a_value_in_a_name_is_exactly_that_name(self, text: str) -> None:
        assume(text.lower() != "sentinel")
        with a_catalog() as catalog:
            catalog.put("a.csv")
            assert catalog.is_built((), {"V": text}, views=[csv_view(name="${env:V}")])
            assert catalog.views() == {("main", text): None}

    @few
    @given(name=file_name)
    @example(name="'); DROP TABLE sentinel; --")
    def test_a_value_in_a_path_is_exactly_that_path_or_is_refused(self, name: str) -> None:
        assume(not GLOB & set(name))
        with a_catalog() as catalog:
            catalog.put(name)
            views = [csv_view(uri="./${env:V}", options={"header": True})]
            if catalog.is_built(("views", 0), {"V": name}, views=views):
                assert catalog.query("SELECT id, name FROM v") == ROWS

    @few
    @given(text=value)
    def test_a_value_is_not_filled_in_a_second_time(self, text: str) -> None:
        stated = f"${{env:OTHER}}{text}"
        with a_catalog() as catalog:
            catalog.put("a.csv")
            views = [csv_view(description="${env:V}")]
            assert catalog.is_built((), {"V": stated, "OTHER": "wrong"}, views=views)
            assert catalog.views() == {("main", "v"): stated}


def statement_types(sql: str) -> list[str]:
    """Return the types of a script's statements, as DuckDB parses it."""
    return [str(one.type).rpartition(".")[2] for one in duckdb.extract_statements(sql)]


TYPES = {
    "extension": {"LOAD"},
    "setting": {"SET"},
    "secret": {"CREATE"},
    "attachment": {"CREATE", "ATTACH"},
    "catalog": {"CREATE", "ATTACH"},
    "view": {"CREATE", "ALTER"},
}


def secrets_with(text: str) -> Iterator[Config]:
    for kind, fields in {
        "s3": {"key_id": text, "secret": text, "region": text, "endpoint": text, "scope": text},
        "azure": {"connection_string": text, "account_name": text},
        "http": {"bearer_token": text, "extra_http_headers": {text: text}, "http_proxy": text},
        "postgres": {"host": text, "database": text, "user": text, "password": text},
        "mysql": {"host": text, "user": text, "password": text, "ssl_ca": text},
        "iceberg": {"token": text, "oauth2_scope": text, "endpoint": text},
        "huggingface": {"token": text},
    }.items():
        yield {"duckdb": {"secrets": [{"type": kind, "name": text, **fields}]}}


def attachments_with(text: str) -> Iterator[Config]:
    login = {"host": text, "database": text, "user": text, "password": text}
    options = {"application_name": text, "options": text}
    declared = {"duckdb": {"secrets": [{"type": "postgres", "name": "s", "host": "h"}]}}
    for way in (login, {"secret": "s"}):
        postgres = {"alias": text, **way, "schema": text, "options": options}
        yield {"attachments": {"postgres": [postgres]}, **declared}
    lake = {"data_path": text, "metadata_schema": text, "snapshot_time": text}
    yield {"attachments": {"ducklake": [{"alias": text, "path": text, **lake}]}}
    yield {"attachments": {"sqlite": [{"alias": text, "path": text}]}}


def catalogs_with(text: str) -> Iterator[Config]:
    rest = {"name": text, "catalog_type": "rest", "uri": text, "warehouse": text}
    headers = {"extra_http_headers": {text: text}}
    for options in (
        {"token": text, "oauth2_scope": text, **headers},
        {"client_id": text, "client_secret": text, "default_region": text},
        {"default_schema": text, "max_table_staleness": text, **headers},
    ):
        yield {"iceberg_catalogs": [{**rest, "options": options}]}
    aws = {"name": text, "catalog_type": "s3_tables", "warehouse": f"arn:{text}"}
    yield {"iceberg_catalogs": [{**aws, "options": {"default_schema": text}}]}


def views_with(text: str) -> Iterator[Config]:
    for source in ("parquet", "csv", "json", "delta", "iceberg"):
        options = {"a": text, "b": [text, [text]], "c": {text: text}, "d": {"x": [text]}}
        yield {"views": [{"name": text, "source": source, "uri": text, "options": options}]}
    options = {"schema": {"0": {text: text, "name": text}}}
    yield {"views": [{"name": "v", "source": "parquet", "uri": "u", "options": options}]}
    catalogs = [{"name": "c", "catalog_type": "rest", "uri": "http://h"}]
    for options in ({"snapshot_timestamp": text}, {"snapshot_id": text}):
        table = f'{quoted(text)}."t"'
        view = {"name": "v", "source": "iceberg", "catalog": "c", "table": table}
        yield {"views": [{**view, "options": options}], "iceberg_catalogs": catalogs}


def extensions_with(text: str) -> Iterator[Config]:
    for key in ("install_extensions", "load_extensions"):
        for extension in (text, {"name": "httpfs", "repository": text}):
            yield {"duckdb": {key: [extension]}}


PLACES = (secrets_with, attachments_with, catalogs_with, views_with, extensions_with)


@pytest.mark.thorough
class TestEveryPlace:
    @settings(max_examples=30, deadline=None)
    @given(text=hostile)
    @example(text="")
    @example(text="'; DROP TABLE sentinel; --")
    @example(text='"; DROP TABLE sentinel; --')
    @example(text="\\'); DROP TABLE sentinel; --")
    @example(text="null")
    def test_every_statement_is_one_of_its_kind_or_its_text_is_refused(self, text: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "catalog.json")
            for configs in PLACES:
                for config in configs(text):
                    path.write_text(json.dumps({"version": 1, **config}), encoding="utf-8")
                    try:
                        plan = plan_of(load_config(path, environment={}))
                    except duckalog.ConfigError as error:
                        told = {problem.origin.path[0] for problem in error.problems}
                    else:
                        assert_one_statement_each(plan)
                        continue
                    assert told <= set(config)


def assert_one_statement_each(plan: Plan) -> None:
    """Fail where a statement is not one to DuckDB's parser, as it is run and as it is shown."""
    steps = [*plan.session, *plan.views]
    for step in steps:
        for statement in step.statements:
            for text in (statement.text, statement.script):
                (found,) = statement_types(text)
                assert found in TYPES[step.kind]
    count = sum(len(step.statements) for step in steps) + len(plan.schemas)
    count += 2 if plan.views else 0  # the transaction
    assert len(statement_types(full_script(plan))) == count


@pytest.mark.servers
class TestWithExtensions:
    @few
    @given(text=value.filter(bool))
    @example(text="it's\\ ; DROP TABLE sentinel; --")
    def test_a_password_arrives_exactly_as_it_is(self, text: str) -> None:
        secret = {"type": "postgres", "name": "s", "host": "${env:V}", "password": "${env:V}"}
        with a_catalog() as catalog:
            plan = catalog.load({"V": text}, duckdb={"secrets": [secret]})
        (create,) = plan.session[-1].statements
        with duckdb.connect(config={"allow_unredacted_secrets": True}) as connection:
            load_extensions(connection, "postgres_scanner")
            connection.execute(create.text, create.values)
            sql = "SELECT secret_string FROM duckdb_secrets(redact = false)"
            ((shown,),) = connection.execute(sql).fetchall()
        assert f";host={text};" in shown
        assert shown.endswith(f";password={text}")

    @settings(max_examples=8, deadline=None)
    @given(text=hostile)
    @example(text='"; DROP TABLE sentinel; --')
    def test_a_server_is_asked_under_exactly_its_alias(self, text: str) -> None:
        login = {"host": "127.0.0.1", "port": 1, "database": text, "user": text, "password": text}
        attachments = {"postgres": [{"alias": text, **login}]}
        with a_catalog() as catalog:
            try:
                plan = catalog.load(attachments=attachments)
            except duckalog.ConfigError:
                return
            with pytest.raises(duckalog.EngineError) as caught:
                build_plan(plan)
        (problem,) = caught.value.problems
        assert problem.origin.path == ("attachments", "postgres", 0)
        assert "Connection refused" in problem.cause

    @settings(max_examples=8, deadline=None)
    @given(table=value.filter(bool))
    @example(table='t"; DROP TABLE sentinel; --')
    def test_a_table_of_sqlite_is_read_under_exactly_its_name(self, table: str) -> None:
        assume(not table.lower().startswith("sqlite_"))
        with a_catalog() as catalog:
            with closing(sqlite3.connect(catalog.folder / "l.db")) as database:
                database.execute(f"CREATE TABLE {quoted(table)} (id INTEGER)")
                database.execute(f"INSERT INTO {quoted(table)} VALUES (7)")
                database.commit()
            catalog.names.add("l.db")
            view = {"name": "v", "source": "sqlite", "database": "l", "table": quoted(table)}
            attachments = {"sqlite": [{"alias": "l", "path": "l.db"}]}
            assert catalog.is_built((), attachments=attachments, views=[view])
            assert catalog.query("FROM v") == [(7,)]

    @settings(max_examples=8, deadline=None)
    @given(column=value.filter(bool), text=value)
    @example(column='"; DROP TABLE sentinel; --', text="'; DROP TABLE sentinel; --")
    def test_a_remote_file_may_call_its_columns_and_types_anything(
        self, column: str, text: str
    ) -> None:
        typed = f"ENUM ('other', {duckdb_literal(text)})" if text != "other" else "VARCHAR"
        with a_catalog() as catalog:
            with duckdb.connect() as connection:
                struct = f"{{{duckdb_literal(column)}: 1}}"
                connection.execute(
                    f"COPY (SELECT 7 AS {quoted(column)}, {struct} AS {quoted(column + '2')},"
                    f" {duckdb_literal(text)}::{typed} AS {quoted(column + '3')})"
                    f" TO '{catalog.folder}/a.parquet'"
                )
            catalog.names.add("a.parquet")
            with served(catalog.folder) as url:
                view = {"name": "v", "source": "parquet", "uri": f"{url}/a.parquet"}
                assert catalog.is_built((), views=[view])
                names = [column, f"{column}2", f"{column}3"]
                assert catalog.columns() == [(name, None) for name in names]
                assert catalog.query("FROM v") == [(7, {column: 1}, text)]

    @pytest.mark.parametrize("login", [{}, {"token": "t"}], ids=["in ATTACH", "in the secret"])
    @settings(max_examples=5, deadline=None)
    @given(text=st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1))
    @example(text='it\'s "the" \\ {key=value}, [header]; --')
    def test_a_header_of_a_catalog_arrives_exactly_as_it_is(
        self, login: dict[str, str], text: str
    ) -> None:
        heard: list[str | None] = []

        class Rest(_Quiet):
            def do_GET(self) -> None:
                heard.append(self.headers["X-Own"])
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(b'{"defaults": {}, "overrides": {}}')

        with a_catalog() as catalog, served(catalog.folder, Rest) as url:
            options = {**login, "extra_http_headers": {"X-Own": "${env:V}"}}
            rest = {"name": "ice", "catalog_type": "rest", "uri": url, "options": options}
            assert catalog.is_built((), {"V": text}, iceberg_catalogs=[rest])
            catalog.plan = None  # the server will be gone when the catalog is checked
        assert set(heard) == {text}


def duckdb_literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path, handler: type[_Quiet] = _Quiet) -> Iterator[str]:
    """Yield the URL under which a folder's files are served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
