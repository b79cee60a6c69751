"""Relative paths inside raw SQL: they start from the file that states them, for every reader."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

import duckalog
from tests.conftest import WriteConfig


def query_of(write_config: WriteConfig, sql: str, **more: str) -> str:
    """Return the query of the view `v` that is stated as `sql`."""
    rest = "".join(f"{key}: {value}\n" for key, value in more.items())
    text = "\n".join(f"      {line}" for line in sql.splitlines())
    config = write_config(f"version: 1\n{rest}views:\n  - name: v\n    sql: |-\n{text}\n")
    (step,) = (one for one in duckalog.load_plan(config).views if one.view == "v")
    return step.query


@pytest.mark.parametrize(
    ("stated", "stored"),
    [
        ("FROM 'a.csv'", "FROM '@/a.csv'"),
        ('FROM "a.csv" AS x', 'FROM "@/a.csv" AS x'),
        (
            "FROM 'd/*.parquet' WHERE n = 'd/*.parquet'",
            "FROM '@/d/*.parquet' WHERE n = 'd/*.parquet'",
        ),
        (
            "SELECT 'é' FROM read_csv('ü.csv', sep = ',')",
            "SELECT 'é' FROM read_csv('@/ü.csv', sep = ',')",
        ),
        (
            "FROM read_csv(['a.csv', '/b.csv', 'c.csv'])",
            "FROM read_csv(['@/a.csv', '/b.csv', '@/c.csv'])",
        ),
        ("FROM read_parquet('d/' || 'x.parquet')", "FROM read_parquet('@/d/' || 'x.parquet')"),
        (
            "FROM read_json(concat('d', '.json')::VARCHAR)",
            "FROM read_json(concat('@/d', '.json')::VARCHAR)",
        ),
        ("FROM read_text(E'it\\'s.txt')", "FROM read_text('@/it''s.txt')"),
        ("FROM delta_scan('./d')", "FROM delta_scan('@/d')"),
        ("FROM glob('../*.x')", "FROM glob('@@/*.x')"),
        ("FROM 's3://b/a.csv'", "FROM 's3://b/a.csv'"),
        ("FROM read_csv('~/a.csv')", "FROM read_csv('~/a.csv')"),
        ("FROM read_csv('/a.csv')", "FROM read_csv('/a.csv')"),
        ("SELECT 'a.csv' AS file", "SELECT 'a.csv' AS file"),
        ("FROM range(3) WHERE 'x.csv' = 'x.csv'", "FROM range(3) WHERE 'x.csv' = 'x.csv'"),
        ('WITH "a.csv" AS (SELECT 1) FROM "a.csv"', 'WITH "a.csv" AS (SELECT 1) FROM "a.csv"'),
        ('FROM main."a.csv"', 'FROM main."a.csv"'),
        (
            "WITH a AS (FROM 'a.csv'), b AS (FROM 'b.csv')\nFROM a JOIN b USING (x) -- 'a.csv'",
            "WITH a AS (FROM '@/a.csv'), b AS (FROM '@/b.csv')\nFROM a JOIN b USING (x) -- 'a.csv'",
        ),
        (
            "SELECT (SELECT count(*) FROM 'b.csv') FROM read_csv(\n  'a.csv'\n)",
            "SELECT (SELECT count(*) FROM '@/b.csv') FROM read_csv(\n  '@/a.csv'\n)",
        ),
        (
            "PIVOT 'a.csv' ON k IN ('x', 'y') USING sum(n)",
            "PIVOT '@/a.csv' ON k IN ('x', 'y') USING sum(n)",
        ),
    ],
)
def test_a_relative_path_starts_from_the_config(
    write_config: WriteConfig, tmp_path: Path, stated: str, stored: str
) -> None:
    expected = stored.replace("@@", str(tmp_path.parent)).replace("@", str(tmp_path))
    assert query_of(write_config, stated) == expected


def test_a_view_that_is_called_like_a_file_is_the_view(write_config: WriteConfig) -> None:
    config = write_config(
        "version: 1\nviews:\n"
        "  - {name: a.csv, sql: SELECT 1}\n"
        "  - {name: v, schema: team, sql: 'FROM \"a.csv\"'}\n"
    )
    steps = duckalog.load_plan(config).views
    assert steps[1].query == 'FROM "a.csv"'
    assert steps[1].needs == (steps[0].key,)


def test_a_path_in_a_query_file_starts_from_that_file(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "v.sql").write_text("FROM 'a.csv'")
    config = write_config("version: 1\nviews: [{name: v, sql_file: sql/v.sql}]")
    (step,) = duckalog.load_plan(config).views
    assert step.query == f"FROM '{tmp_path}/sql/a.csv'"


def test_a_search_path_of_the_config_counts_instead(write_config: WriteConfig) -> None:
    query = query_of(write_config, "FROM 'a.csv'", duckdb="{settings: {FILE_SEARCH_PATH: d}}")
    assert query == "FROM 'a.csv'"


def test_a_path_in_two_pieces_is_refused(write_config: WriteConfig) -> None:
    with pytest.raises(duckalog.ConfigError) as raised:
        query_of(write_config, "FROM read_csv('d/'\n'a.csv')")
    (problem,) = raised.value.problems
    assert problem.message.startswith("a path is written in two pieces: ")
    assert problem.origin.path == ("views", 0, "sql")


def test_a_pattern_below_a_folder_that_looks_like_one_is_refused(
    write_config: WriteConfig,
) -> None:
    text = "version: 1\nviews: [{name: v, sql: \"FROM 'd/*.csv'\"}]"
    with pytest.raises(duckalog.ConfigError, match="takes the name of the folder"):
        duckalog.load_plan(write_config(text, "a[1]/catalog.yaml"))


def test_neither_the_working_directory_nor_another_config_is_searched(
    write_config: WriteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "version: 1\nduckdb: {database: c.duckdb}\nimports: [team/part.yaml]\n"
    config = write_config(
        text + "views: [{name: own, sql: SELECT people.id FROM 'people.csv'}]", "a,b/catalog.yaml"
    )
    write_config("views: [{name: theirs, sql: FROM 'people.csv'}]", "a,b/team/part.yaml")
    (tmp_path / "elsewhere").mkdir()
    for number, folder in enumerate(("a,b", "a,b/team", "elsewhere")):
        (tmp_path / folder / "people.csv").write_text(f"id\n{number}\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    duckalog.build(config)
    with duckdb.connect(str(tmp_path / "a,b" / "c.duckdb"), read_only=True) as connection:
        assert connection.execute("FROM own").fetchall() == [(0,)]
        assert connection.execute("FROM theirs").fetchall() == [(1,)]
