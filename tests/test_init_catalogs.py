"""`init --from old.duckdb`, then `build`: the same views, columns, comments and results."""

# ruff: noqa: E501

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import duckalog
from duckalog.sql import identifier, libpq_value, literal, qualified
from tests import tables
from tests.catalogs import change, comments_of, content_of
from tests.hostile import HOSTILE, NAME
from tests.servers.postgres import Postgres
from tests.servers.s3 import S3

TABLE = "CREATE TABLE t AS FROM (VALUES (1, 'x'), (2, 'y'), (3, NULL)) t(a, b)"


class Old(NamedTuple):
    """An old catalog: what made it, and what cannot be carried over from it.

    `{folder}` is its folder; `attached` are further files, by alias, and what made them.
    """

    statements: tuple[str, ...]
    left_out: frozenset[str] = frozenset()
    attached: dict[str, tuple[str, ...]] = {}
    file: str = "old.duckdb"


def old(*statements: str, left_out: tuple[str, ...] = (), **rest: Any) -> Old:
    return Old(statements, frozenset(left_out), **rest)


CATALOGS = {
    "views of nothing": old("CREATE VIEW one AS SELECT 1 AS i, 'x' AS s"),
    "no views at all": old(TABLE, left_out=('table "t"',)),
    "views over tables": old(
        TABLE,
        "CREATE VIEW plain AS FROM t",
        "CREATE VIEW filtered AS SELECT a FROM main.t WHERE b IS NOT NULL ORDER BY a DESC",
        left_out=('table "t"',),
    ),
    "views over views": old(
        "CREATE VIEW z AS SELECT 1 AS i",
        "CREATE VIEW y AS SELECT i + 1 AS i FROM z",
        "CREATE VIEW a AS SELECT * FROM y, z",
    ),
    "schemas": old(
        "CREATE SCHEMA raw",
        'CREATE SCHEMA "Odd. \'\'""Schema"""',
        "CREATE SCHEMA empty",
        "CREATE TABLE raw.t AS SELECT 7 AS a",
        TABLE,
        "CREATE VIEW raw.own AS FROM t",
        "CREATE VIEW raw.both AS SELECT * FROM main.t UNION ALL SELECT a, 'r' FROM raw.t",
        'CREATE VIEW "Odd. \'\'""Schema""".v AS FROM raw.own',
        'CREATE VIEW "Odd. \'\'""Schema""".w AS FROM v JOIN t USING (a)',
        left_out=('table "t"', 'table "raw.t"', 'schema "empty"'),
    ),
    "names with everything": old(
        *(
            f"CREATE VIEW {identifier(name)} AS SELECT {number} AS {identifier(name)}"
            for number, name in enumerate(HOSTILE)
            if name
        )
    ),
    "names of YAML's own": old(
        *(
            f"CREATE VIEW {identifier(name)} AS SELECT 1 AS {identifier(name)}"
            for name in (
                "yes",
                "null",
                "~",
                "1",
                "1.5",
                "1e3",
                "0x1",
                "1:30",
                "2020-01-01",
                "- a",
                "# b",
                "a: b",
                "&a",
                "*a",
                "!a",
                "{a}",
                "[a]",
                "|",
                ">",
                "%a",
                "@a",
                "`a",
                "a ",
                " a",
                "=",
                "<<",
                "?",
                "a #b",
                "true",
                "NaN",
                ".inf",
            )
        )
    ),
    "names in case": old(
        'CREATE TABLE "TaBlE" AS SELECT 1 AS "AbC"',
        'CREATE VIEW "Upper" AS SELECT abc FROM TABLE_'.replace("TABLE_", '"table"'),
        'CREATE VIEW lower AS SELECT "ABC" FROM UPPER',
        left_out=('table "TaBlE"',),
    ),
    "unicode": old(
        'CREATE SCHEMA "Привет"',
        'CREATE TABLE "Привет"."таблица" AS SELECT \'ü🦆\' AS "колонка"',
        'CREATE VIEW "Привет"."вид🦆" AS SELECT \'é🦆é\', "колонка" AS k FROM "Привет"."таблица"',
        'CREATE VIEW v AS SELECT \'🦆🦆🦆\' AS d, w.* FROM "Привет"."вид🦆" w, "Привет"."таблица" t',
        left_out=('table "Привет.таблица"',),
    ),
    "self-qualified names": old(
        TABLE,
        "CREATE SCHEMA s",
        "CREATE VIEW v AS SELECT * FROM old.main.t",
        "CREATE VIEW s.w AS SELECT * FROM old.main.v JOIN old.main.t USING (a)",
        "CREATE VIEW x AS SELECT w.a, old.s.w.b FROM old.s.w",
        left_out=('table "t"',),
    ),
    "a name like the schema's": old(
        "CREATE SCHEMA sales",
        "CREATE TABLE sales.sales.t AS SELECT 1 AS i",
        "USE sales.sales",
        "CREATE VIEW v AS FROM t",
        left_out=('table "sales.t"',),
        file="sales.duckdb",
    ),
    "a file of an odd name": old(
        TABLE,
        "CREATE VIEW v AS FROM t",
        left_out=('table "t"',),
        file="My Old-Catalog.v1.duckdb",
    ),
    "a file named like the new one": old(
        TABLE, "CREATE VIEW v AS FROM t", left_out=('table "t"',), file="catalog.duckdb"
    ),
    "column aliases": old(
        TABLE,
        'CREATE VIEW renamed(x, "Y ""z""") AS SELECT a, b FROM t',
        "CREATE VIEW over AS SELECT x FROM renamed",
        "CREATE VIEW first_one(x) AS SELECT a, b FROM t ORDER BY a DESC LIMIT 2",
        left_out=('table "t"',),
    ),
    "recursion": old(
        "CREATE RECURSIVE VIEW nums(n) AS SELECT 1 UNION ALL SELECT n + 1 FROM nums WHERE n < 5",
        "CREATE VIEW tree AS WITH RECURSIVE c(i) AS (SELECT 1 UNION SELECT i + 1 FROM c WHERE i < 3)"
        " FROM c",
    ),
    "shadowing CTEs": old(
        TABLE,
        "CREATE VIEW v AS WITH t AS (SELECT 9 AS a) SELECT * FROM t",
        "CREATE VIEW w AS WITH u AS (SELECT a FROM t) SELECT * FROM u JOIN t USING (a)",
        left_out=('table "t"',),
    ),
    "comments": old(
        TABLE,
        "CREATE VIEW v AS FROM t",
        "COMMENT ON VIEW v IS 'It''s: a \"view\" # of\n  two lines \t and ünïcode'",
        "COMMENT ON COLUMN v.a IS '- a\n- list'",
        "COMMENT ON COLUMN v.b IS ''",
        "CREATE VIEW w AS SELECT 1 AS \"odd: 'name'\"",
        "COMMENT ON VIEW w IS ''",
        "COMMENT ON COLUMN w.\"odd: 'name'\" IS ' leading'",
        left_out=('table "t"',),
    ),
    "placeholders that are none": old(
        "CREATE VIEW v AS SELECT '${env:HOME}' AS a, '$${env:X:it''s}' AS b, '${env:}' AS c,"
        " '${ ENV }' AS d, '${env:${env:X}}' AS \"${env:Y}\"",
        "CREATE VIEW \"${env:NAME}\" AS SELECT '$$' || '${' AS a",
        "COMMENT ON VIEW v IS 'read ${env:HOME} and ${env:}'",
    ),
    "odd text": old(
        "CREATE VIEW v AS SELECT $$a\tb\r\nc -- '$$ AS s, E'\\x41\\n\\'' AS e -- trailing",
        "CREATE VIEW w AS /* a /* nested */ comment */ SELECT 'x' -- one\n AS i, '\u2028\u0085' AS j",
        "CREATE VIEW long AS SELECT "
        + ", ".join(f"'{'x' * 50}, FROM {number}' AS column_{number}" for number in range(200)),
        "CREATE VIEW tabs AS SELECT\t1\tAS\ti\r\nWHERE\ttrue",
    ),
    "clauses": old(
        TABLE,
        "CREATE VIEW wide AS SELECT a, count(*) FILTER (WHERE a > 1) OVER (PARTITION BY b ORDER BY a"
        " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS n, extract(year FROM DATE '2020-01-01') AS y"
        " FROM t WHERE a IS DISTINCT FROM 3 AND b IN (SELECT b FROM t) QUALIFY n IS NOT NULL"
        " ORDER BY a LIMIT 10",
        "CREATE VIEW piled AS (SELECT a, b FROM t WHERE a > 1 ORDER BY a LIMIT 1) UNION ALL BY NAME"
        " (SELECT b, a FROM t EXCEPT SELECT 'x' AS b, 1 AS a) ORDER BY ALL",
        "CREATE VIEW joined AS SELECT * FROM t LEFT JOIN (SELECT a, 'l' AS l FROM t) u USING (a)"
        " ASOF JOIN (SELECT 0 AS z) w ON t.a >= w.z POSITIONAL JOIN (SELECT 5 AS p) ORDER BY ALL",
        "CREATE VIEW pivoted AS SELECT * FROM (PIVOT t ON b IN ('x', 'y') USING sum(a))"
        " ORDER BY ALL",
        "CREATE VIEW unpivoted AS SELECT * FROM t UNPIVOT (v FOR n IN (a)) ORDER BY ALL",
        "CREATE VIEW starred AS SELECT * EXCLUDE (b) REPLACE (a + 1 AS a), COLUMNS('b') FROM t"
        " ORDER BY ALL",
        "CREATE VIEW grouped AS SELECT a, b, count(*) AS n FROM t GROUP BY ROLLUP (a, b)"
        " HAVING n > 0 ORDER BY ALL",
        "CREATE VIEW whole AS SELECT t, (t).a AS a, main.t.b FROM main.t ORDER BY a",
        "CREATE VIEW laterally AS SELECT * FROM t, LATERAL (SELECT a * 2 AS twice) ORDER BY a",
        "CREATE VIEW rows AS VALUES (1, 'a'), (2, 'b')",
        left_out=('table "t"',),
    ),
    "types": old(
        "CREATE VIEW v AS SELECT 1::HUGEINT AS h, 1.5::DECIMAL(30, 2) AS d, [1]::INT[1] AS arr,"
        " {'a': 1, 'B c': [2]} AS s, MAP {'k': 1} AS m, union_value(u := 1) AS u, '1'::BLOB AS bl,"
        " TIMESTAMP_NS '2020-01-01 00:00:00' AS tz, INTERVAL 3 DAY AS iv, NULL AS n,"
        " '101'::BIT AS bi, 'a' COLLATE NOCASE AS c, '00000000-0000-0000-0000-000000000001'::UUID",
    ),
    "enums": old(
        "CREATE TYPE mood AS ENUM ('sad', 'it''s ok')",
        "CREATE VIEW v AS SELECT 'sad'::mood AS m, enum_range(NULL::mood) AS r",
    ),
    "macros": old(
        TABLE,
        "CREATE MACRO z_plus(x, y := 2) AS x + y",
        "CREATE MACRO a_twice(x) AS z_plus(z_plus(x), y := 3)",
        "CREATE MACRO over(x) AS x, (x, y) AS x * y",
        "CREATE MACRO rows_of(n) AS TABLE SELECT range AS r FROM range(n)",
        "CREATE SCHEMA s",
        "CREATE MACRO s.tag(x) AS '<' || x || '>'",
        "CREATE VIEW v AS SELECT a_twice(a) AS x, over(a) AS o, over(a, 3) AS p FROM t ORDER BY a",
        "CREATE VIEW w AS SELECT * FROM rows_of(3)",
        "CREATE VIEW s.q AS SELECT s.tag('é') AS a, s.tag('b') AS b FROM main.t",
        left_out=('table "t"',),
    ),
    "macros over tables": old(
        TABLE,
        "CREATE MACRO largest() AS (SELECT max(a) FROM t)",
        "CREATE VIEW v AS SELECT largest() AS m",
        "CREATE VIEW w AS SELECT m + 1 AS n FROM v",
        "CREATE VIEW fine AS SELECT 1 AS i",
        left_out=('table "t"', 'macro "largest"', 'view "v"', 'view "w"'),
    ),
    "sequences and indexes": old(
        TABLE,
        "CREATE SEQUENCE counter",
        "CREATE INDEX by_a ON t(a)",
        "CREATE VIEW numbered AS SELECT nextval('counter') AS n",
        "CREATE VIEW fine AS SELECT a FROM t WHERE a = 2",
        left_out=('table "t"', 'sequence "counter"', 'index "by_a"', 'view "numbered"'),
    ),
    "broken views": old(
        TABLE,
        "CREATE TABLE gone AS SELECT 1 AS i",
        "CREATE VIEW broken AS FROM gone",
        "CREATE VIEW over_broken AS SELECT i + 1 AS j FROM broken",
        "DROP TABLE gone",
        "COPY (SELECT 1 AS a) TO '{folder}/gone.csv'",
        "CREATE VIEW file AS FROM read_csv('{folder}/gone.csv', columns = {{'i': 'INT'}}, header = false)",
        "CREATE VIEW a AS SELECT 1 AS i",
        "CREATE VIEW b AS FROM a",
        "CREATE OR REPLACE VIEW a AS FROM b",
        "CREATE VIEW fine AS FROM t",
        left_out=(
            'table "t"',
            'view "broken"',
            'view "over_broken"',
            'view "file"',
            'view "a"',
            'view "b"',
        ),
    ),
    "temporary objects": old(
        "CREATE TEMP TABLE passing AS SELECT 1 AS i",
        "CREATE VIEW v AS FROM passing",
        "CREATE VIEW fine AS SELECT 1 AS i",
        left_out=('view "v"',),
    ),
    "files": old(
        "COPY (SELECT 1 AS a, 'x' AS b) TO '{folder}/one.parquet'",
        "COPY (SELECT 1 AS a, 'x' AS b) TO '{folder}/one.csv'",
        "COPY (SELECT 1 AS a, 'x' AS b) TO '{folder}/one.json'",
        "COPY (SELECT 1 AS a, 2 AS k) TO '{folder}/hive' (FORMAT parquet, PARTITION_BY k)",
        "CREATE VIEW p AS SELECT * FROM read_parquet('{folder}/one.parquet')",
        "CREATE VIEW q AS FROM '{folder}/one.parquet'",
        "CREATE VIEW h AS FROM read_parquet('{folder}/hive/**/*.parquet', hive_partitioning = true,"
        " hive_types = {{'k': 'BIGINT'}})",
        "CREATE VIEW l AS FROM read_parquet(['{folder}/one.parquet', '{folder}/one.parquet'],"
        " union_by_name := true, filename := true)",
        "CREATE VIEW c AS FROM read_csv('{folder}/one.csv', delim = ',', header = true,"
        " columns = {{'a': 'INTEGER', 'b': 'VARCHAR'}})",
        "CREATE VIEW j AS FROM read_json_auto('{folder}/one.json')",
        "CREATE VIEW k AS FROM read_json('{folder}/one.json', sample_size = -1)",
        "CREATE VIEW aliased(x, y) AS FROM read_parquet('{folder}/one.parquet')",
        "CREATE VIEW part AS SELECT a FROM read_parquet('{folder}/one.parquet') WHERE b = 'x'",
    ),
    "attachments": old(
        "CREATE VIEW users AS SELECT * FROM legacy.main.users",
        "CREATE VIEW short AS SELECT * FROM legacy.users",
        'CREATE VIEW odd AS SELECT * FROM "odd ""alias"."s.x"."t ""y"',
        'CREATE VIEW mixed AS SELECT u.id, o.i FROM legacy.users u, "odd ""alias"."s.x"."t ""y" o'
        " WHERE u.name LIKE 'a%'",
        attached={
            "legacy": ("CREATE TABLE users AS SELECT 1 AS id, 'ann' AS name",),
            'odd "alias': ('CREATE SCHEMA "s.x"', 'CREATE TABLE "s.x"."t ""y" AS SELECT 5 AS i'),
        },
    ),
    "attachments and own tables": old(
        TABLE,
        "CREATE VIEW joined AS SELECT * FROM t JOIN old_file.main.more USING (a) ORDER BY a",
        left_out=('table "t"',),
        attached={"old_file": ("CREATE TABLE more AS SELECT 1 AS a, 'm' AS m",)},
    ),
    "credentials": old(
        "CREATE VIEW v AS SELECT 1 AS i",
        "CREATE VIEW a AS SELECT 'sw0rdfish-sw0rdfish' AS api_key",
        "CREATE VIEW b AS SELECT 'https://me:sw0rdfish-sw0rdfish@example.com/x' AS url",
        "CREATE VIEW c AS SELECT 'host=h password=sw0rdfish-sw0rdfish' AS dsn",
        "CREATE VIEW d AS SELECT MAP {{'api_token': 'sw0rdfish-sw0rdfish'}} AS m",
        "CREATE VIEW e AS SELECT {{'secret': 'sw0rdfish-sw0rdfish'}} AS m",
        "CREATE VIEW f AS SELECT 'https://h/x?sig=sw0rdfish-sw0rdfish' AS url",
        "CREATE VIEW g AS FROM b",
        "COMMENT ON VIEW v IS 'ask me: password=sw0rdfish-sw0rdfish'",
        left_out=(*(f'view "{name}"' for name in "abcdefg"), "the comment of v"),
    ),
    "built by duckalog": old(
        "CREATE SCHEMA _duckalog",
        "CREATE TABLE _duckalog.views AS SELECT 1 AS i",
        "CREATE VIEW v AS SELECT 1 AS i",
    ),
    "system relations": old(
        TABLE,
        "CREATE VIEW tables AS SELECT count(*) > 0 AS n FROM information_schema.tables",
        "CREATE VIEW settings AS SELECT name FROM duckdb_settings() WHERE name = 'threads'",
        "CREATE VIEW types AS SELECT typname FROM pg_catalog.pg_type WHERE typname = 'bigint'",
        left_out=('table "t"',),
    ),
}


def made(catalog: Old, folder: Path) -> Path:
    """Make an old catalog in a folder and return its file."""
    file = folder / catalog.file
    for alias, statements in catalog.attached.items():
        change(place_of(alias, folder), *statements)
    with opened(catalog, file) as connection:
        for statement in catalog.statements:
            text = statement.replace("{folder}", str(folder))
            connection.execute(text.replace("{{", "{").replace("}}", "}"))
    (folder / "gone.csv").unlink(missing_ok=True)
    return file


def place_of(alias: str, folder: Path) -> Path:
    return folder / f"{abs(hash(alias))}.duckdb"


@contextlib.contextmanager
def opened(
    catalog: Old, file: Path, *, read_only: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to an old catalog as its users had it."""
    config = {"python_enable_replacements": False}
    with duckdb.connect(str(file), read_only=read_only, config=config) as connection:
        for alias in catalog.attached:
            place = literal(str(place_of(alias, file.parent)))
            connection.execute(f"ATTACH {place} AS {identifier(alias)} (READ_ONLY)")
        yield connection


def columns_of(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return the columns of each view by its `schema.name`, with their types."""
    content = content_of(file)
    views = {(schema, name) for schema, name, *_ in content["views"]}
    with duckdb.connect(str(file), read_only=True) as connection:
        rows = connection.execute(
            "SELECT schema_name, table_name, column_index, column_name, data_type"
            " FROM duckdb_columns() WHERE NOT internal AND database_name = current_database()"
            " ORDER BY ALL"
        ).fetchall()
    found: dict[str, list[tuple[Any, ...]]] = {}
    for schema, name, *column in rows:
        if (schema, name) in views:
            found.setdefault(f"{schema}.{name}", []).append(tuple(column))
    return found


def rows_of(connection: duckdb.DuckDBPyConnection, view: tuple[str, str]) -> list[Any]:
    ((database,),) = connection.execute("SELECT current_database()").fetchall()
    return connection.execute(f"FROM {qualified(database, *view)}").fetchall()


def views_in(file: Path) -> set[tuple[str, str]]:
    return {(schema, name) for schema, name, *_ in content_of(file)["views"]}


def migrated(catalog: Old, file: Path) -> tuple[Path, duckalog.StartingConfig]:
    """Write the config that `init` makes of an old catalog, and return it."""
    config = file.parent / "new" / "catalog.yaml"
    config.parent.mkdir(exist_ok=True)
    attach = [f"{alias}={place_of(alias, file.parent)}" for alias in catalog.attached]
    start = duckalog.init_config(file, config, attach=attach)
    config.write_text(start.text, encoding="utf-8")
    return config, start


def assert_carried_over(catalog: Old, folder: Path) -> None:
    """Build what `init` makes of an old catalog, and compare the two."""
    file = made(catalog, folder) if catalog.statements else folder / catalog.file
    before = file.read_bytes()
    config, start = migrated(catalog, file)
    told = {note.subject for note in start.notes if note.kind == "left out"}
    assert told == catalog.left_out, start.notes
    assert {note.kind for note in start.notes} <= {"left out"}, start.notes
    report = duckalog.build(config)
    assert file.read_bytes() == before
    new = Path(report.database)
    gone = {note.subject for note in start.notes}
    expected = {
        (schema, name)
        for schema, name in views_in(file)
        if f'view "{name}"' not in gone and f'view "{schema}.{name}"' not in gone
    }
    assert views_in(new) == expected
    assert start.views == len(expected)
    names = {f"{schema}.{name}" for schema, name in expected}
    assert columns_of(new) == {key: c for key, c in columns_of(file).items() if key in names}
    unsaid = {subject.removeprefix("the comment of ") for subject in gone}
    old_comments = {
        key: None if key.removeprefix("main.") in unsaid else comment
        for key, comment in comments_of(file).items()
    }
    for key, comment in comments_of(new).items():
        assert comment == old_comments[key], key
    with opened(catalog, file, read_only=True) as connection:
        before_rows = {view: rows_of(connection, view) for view in expected}
    with duckalog.connect(config) as connection:
        after_rows = {view: rows_of(connection, view) for view in expected}
    assert repr(after_rows) == repr({view: before_rows[view] for view in after_rows})


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.thorough] * (number % 3 > 0))
        for number, name in enumerate(CATALOGS)
    ],
)
def test_a_catalog_is_carried_over(name: str, tmp_path: Path) -> None:
    assert_carried_over(CATALOGS[name], tmp_path)


def test_there_are_thirty_catalogs() -> None:
    assert len(CATALOGS) >= 30


class TestOddNames:
    @pytest.mark.thorough
    @given(names=st.lists(NAME, min_size=3, max_size=5, unique_by=str.lower), text=NAME)
    @settings(
        max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    def test_whatever_names_and_texts_are_they_are_carried_over(
        self, names: list[str], text: str, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.mktemp("odd")
        schema, table, *views = (identifier(name) for name in names)
        columns = f"{table}, {identifier(names[0])}"
        statements = [
            f"CREATE SCHEMA {schema}",
            f"CREATE TABLE {schema}.{table} AS SELECT 1 AS {table}, {literal(text)} AS {schema}",
        ]
        for name in views:
            statements += [
                f"CREATE VIEW {schema}.{name} AS SELECT {columns}, {literal(text)} AS t FROM {table}",
                f"COMMENT ON VIEW {schema}.{name} IS {literal(text)}",
                f"COMMENT ON COLUMN {schema}.{name}.{table} IS {literal(text)}",
            ]
        try:
            made(old(*statements), folder)
        except duckdb.Error:  # DuckDB itself has no such names, or means something else by them
            return
        assert_carried_over(old(left_out=(f'table "{names[0]}.{names[1]}"',)), folder)


def test_paths_in_sql_start_from_the_config_unless_they_are_compared_with(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    duckdb.sql("SELECT 1 id").write_parquet(str(file))
    read = f"SELECT id + 1 AS id FROM read_parquet('{file}', filename = true)"
    (tmp_path / "conf").mkdir()
    with duckdb.connect(str(tmp_path / "old.duckdb")) as connection:
        connection.execute(f"CREATE VIEW plain AS {read}")
        connection.execute(f"CREATE VIEW compared AS {read} WHERE filename = '{file}'")
    config = tmp_path / "conf" / "catalog.yaml"
    config.write_text(duckalog.init_config(tmp_path / "old.duckdb", config).text)
    plain, compared = sorted(duckalog.load_config(config).views, key=lambda view: view.name)[::-1]
    assert "'../rows.parquet'" in plain.query()
    assert "'../rows.parquet'" not in compared.query()
    duckalog.build(config)
    with duckalog.connect(config) as connection:
        assert connection.execute("FROM plain UNION ALL FROM compared").fetchall() == [(2,), (2,)]


@pytest.mark.servers
class TestAttachedDatabases:
    def test_a_sqlite_file_is_told_by_its_first_bytes(self, tmp_path: Path) -> None:
        tables.write_sqlite(tmp_path / "crm.anything", "customers")
        with duckdb.connect(str(tmp_path / "old.duckdb")) as connection:
            tables.load_extensions(connection, "sqlite_scanner")
            connection.execute(f"ATTACH '{tmp_path}/crm.anything' AS crm (TYPE sqlite)")
            connection.execute("CREATE VIEW v AS SELECT * FROM crm.customers")
        config = tmp_path / "catalog.yaml"
        start = duckalog.init_config(
            tmp_path / "old.duckdb", config, attach=[f"crm={tmp_path}/crm.anything"]
        )
        assert "source: sqlite\n    database: crm\n    table: customers" in start.text
        config.write_text(start.text)
        assert duckalog.build(config).count("created") == 1

    def test_a_postgres_server_is_told_by_its_dsn(
        self, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dsn = (
            f"host={postgres.host} port={postgres.port} user={postgres.user}"
            f" password={libpq_value(postgres.password)} dbname=postgres"
        )
        with duckdb.connect(str(tmp_path / "old.duckdb")) as connection:
            tables.load_extensions(connection, "postgres_scanner")
            connection.execute(f"ATTACH {literal(dsn)} AS dw (TYPE postgres, READ_ONLY)")
            connection.execute("CREATE VIEW v AS SELECT tablename FROM dw.pg_catalog.pg_tables")
        config = tmp_path / "catalog.yaml"
        start = duckalog.init_config(tmp_path / "old.duckdb", config, attach=[f"dw={dsn}"])
        assert start.notes == ()
        assert postgres.password not in start.text
        config.write_text(start.text)
        monkeypatch.setenv("DW_PASSWORD", postgres.password)
        assert duckalog.build(config).count("created") == 1

    def test_views_over_s3_are_kept_with_a_secret_to_be_filled(
        self, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        s3.make_bucket("init-old")
        tables.write_parquet(tmp_path / "orders.parquet")
        url = s3.put("init-old", "orders.parquet", tmp_path / "orders.parquet")
        with duckdb.connect(str(tmp_path / "old.duckdb")) as connection:
            tables.load_extensions(connection, "httpfs")
            connection.execute(
                f"CREATE SECRET (TYPE s3, KEY_ID '{s3.key_id}', SECRET '{s3.secret}',"
                f" ENDPOINT '{s3.endpoint}', URL_STYLE 'path', USE_SSL false)"
            )
            connection.execute(f"CREATE VIEW v AS FROM read_parquet('{url}')")
            connection.execute("CREATE VIEW w AS SELECT count(*) AS n FROM v")
        config = tmp_path / "catalog.yaml"
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "not-the-key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
        start = duckalog.init_config(tmp_path / "old.duckdb", config)
        assert [(note.kind, note.subject) for note in start.notes] == [
            ("unchecked", 'view "v"'),
            ("unchecked", 'view "w"'),
        ]
        assert start.views == 2
        config.write_text(start.text)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret)
        duckalog.build(config)
        with duckalog.connect(config) as connection:
            assert connection.execute("FROM w").fetchall() == [(2,)]
