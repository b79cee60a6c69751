"""What a rebuild leaves alone: the views whose sources look the same, and those that read them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import duckalog
from tests.conftest import WriteConfig

Reasons = Callable[[], dict[str, str]]


@pytest.fixture
def reasons(tmp_path: Path, write_config: WriteConfig) -> Callable[[str], Reasons]:
    """Return a function that builds a catalog, and gives one that tells why views are made."""
    for name in ("a", "b"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{name}.csv").write_text("id\n1\n")
    with closing(sqlite3.connect(tmp_path / "crm.db")) as connection:
        connection.execute("CREATE TABLE t (id INTEGER)")

    def built(text: str) -> Reasons:
        config = write_config(f"version: 1\nduckdb: {{database: c.duckdb}}\n{text}")
        duckalog.build(config)
        return lambda: {change.step.view: change.reason for change in duckalog.diff(config).changes}

    return built


def touch(file: Path) -> None:
    """Give a file a later time of change."""
    later = file.stat().st_mtime_ns + 1_000_000_000
    os.utime(file, ns=(later, later))


VIEWS = """
views:
- {name: one, source: csv, uri: data/a.csv}
- {name: every, source: csv, uri: "data/*.csv"}
- {name: sql_one, sql: FROM 'data/a.csv'}
- {name: sql_list, sql: "FROM read_csv(['data/b.csv', 'data/a.csv'])"}
- {name: sql_every, sql: "WITH x AS (FROM read_csv('data/*.csv')) FROM x"}
- {name: none, sql: "SELECT * FROM range(3), unnest([1]), (SELECT 'data/a.csv')"}
- {name: reads_one, sql: FROM sql_one}
"""


def test_nothing_is_made_again_where_nothing_changed(
    reasons: Callable[[str], Reasons],
) -> None:
    assert set(reasons(VIEWS)().values()) == {""}


def test_what_reads_a_file_that_changed_is_made_again(
    reasons: Callable[[str], Reasons], tmp_path: Path
) -> None:
    again = reasons(VIEWS)
    touch(tmp_path / "data" / "b.csv")
    changed = {name for name, reason in again().items() if reason}
    assert changed == {"every", "sql_list", "sql_every"}
    touch(tmp_path / "data" / "a.csv")
    assert again() == {
        **dict.fromkeys(["one", "every", "sql_one", "sql_list", "sql_every"], "its source changed"),
        "none": "",
        "reads_one": "a view that it reads is made again",
    }


def test_a_file_that_came_is_a_change_of_those_that_match_it(
    reasons: Callable[[str], Reasons], tmp_path: Path
) -> None:
    again = reasons(VIEWS)
    (tmp_path / "data" / "c.csv").write_text("id\n2\n")
    assert {name for name, reason in again().items() if reason} == {"every", "sql_every"}


@pytest.mark.parametrize(
    "sql",
    [
        "FROM read_csv('data/' || 'a.csv')",
        "FROM read_csv(getvariable('file'))",
        "FROM query('SELECT 1')",
        "FROM macro_of_the_session(1)",
        "FROM duckdb_settings()",
    ],
)
def test_what_only_duckdb_knows_is_always_made_again(
    write_config: WriteConfig, tmp_path: Path, sql: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("id\n1\n")
    config = write_config(f"""
version: 1
duckdb:
  database: c.duckdb
  pragmas:
  - SET VARIABLE file = '{tmp_path}/data/a.csv'
  - CREATE TEMP MACRO macro_of_the_session(x) AS TABLE SELECT x
views: [{{name: v, sql: "{sql}"}}]
""")
    (step,) = duckalog.load_plan(config).views
    assert step.reads_unknown_files


def test_a_search_path_leaves_the_files_to_duckdb(write_config: WriteConfig) -> None:
    settings = "duckdb: {settings: {file_search_path: d}}"
    config = write_config(f"version: 1\n{settings}\nviews: [{{name: v, sql: FROM 'a.csv'}}]")
    (step,) = duckalog.load_plan(config).views
    assert step.reads_unknown_files


def test_urls_are_stated_files_that_are_not_asked(write_config: WriteConfig) -> None:
    text = "version: 1\nviews: [{name: v, sql: \"FROM 's3://b/a.csv' JOIN '/b.csv' USING (id)\"}]"
    (step,) = duckalog.load_plan(write_config(text)).views
    assert not step.reads_unknown_files
    assert set(step.stated_files) == {"s3://b/a.csv", "/b.csv"}


def test_stated_files_are_sources_by_their_endings(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    text = "SELECT * FROM read_json('d/*.json.gz'), 's3://b/a.parquet', read_text('notes')"
    config = write_config(f'version: 1\nviews: [{{name: v, sql: "{text}"}}]')
    (step,) = duckalog.load_plan(config).views
    assert {(one.kind, *one.location) for one in step.sources} == {
        ("json", str(tmp_path / "d" / "*.json.gz")),
        ("parquet", "s3://b/a.parquet"),
        ("file", str(tmp_path / "notes")),
    }


@pytest.mark.servers
def test_what_reads_a_local_database_that_changed_is_made_again(
    reasons: Callable[[str], Reasons], tmp_path: Path
) -> None:
    again = reasons("""
attachments: {sqlite: [{alias: crm, path: crm.db}]}
views:
- {name: table, source: sqlite, database: crm, table: t}
- {name: sql, sql: FROM crm.t}
- {name: other, sql: SELECT 1 AS x}
""")
    assert set(again().values()) == {""}
    touch(tmp_path / "crm.db")
    assert {name for name, reason in again().items() if reason} == {"table", "sql"}
