"""What raw SQL reads of files by itself, and the stubs that stand in for it."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from duckalog.engine.calls import columns_of, files_in, stubs_for


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Return three files: the last has other columns."""
    paths = [tmp_path / f"{name}.parquet" for name in "abc"]
    for path in paths[:2]:
        duckdb.sql("SELECT 1 AS id, 'x' AS name").write_parquet(str(path))
    duckdb.sql("SELECT 1 AS id, 2.5 AS price").write_parquet(str(paths[2]))
    return paths


@pytest.mark.parametrize(
    ("query", "functions"),
    [
        ("SELECT id FROM read_parquet('a.parquet') WHERE id > 1", ["read_parquet"]),
        (
            "WITH o AS (FROM read_parquet(['a.parquet', 'b.parquet'], union_by_name = true,"
            " hive_partitioning := false) AS t(one)) SELECT count(*) FROM o JOIN o p USING (one)",
            ["read_parquet"],
        ),
        ("SELECT (SELECT max(id) FROM Parquet_Scan('a.parquet')) AS m", ["parquet_scan"]),
        ("SELECT n, id FROM range(2) t(n), read_parquet('a.parquet')", ["read_parquet"]),
        (
            "FROM read_parquet('a.parquet') UNION ALL FROM read_parquet('b.parquet')",
            ["read_parquet"],
        ),
        (
            "FROM read_parquet('a.parquet') a JOIN read_parquet(['c.parquet'], filename = false)"
            " c USING (id) JOIN parquet_scan('b.parquet') b USING (id)",
            ["parquet_scan", "read_parquet"],
        ),
    ],
)
def test_stubs_give_a_query_its_columns_without_its_files(
    query: str, functions: list[str], files: list[Path]
) -> None:
    for file in files:
        query = query.replace(f"'{file.name}'", f"'{file}'")
    with duckdb.connect() as connection:
        columns = columns_of(connection, query)
        stubs = stubs_for(connection, query, columns)
        assert sorted(stub.drop.text.rpartition(".")[2] for stub in stubs) == functions
        for file in files:
            file.unlink()
        with pytest.raises(duckdb.IOException):
            columns_of(connection, query)
        for stub in stubs:
            connection.execute(stub.create.text)
        assert columns_of(connection, query) == columns


@pytest.mark.parametrize(
    "query",
    [
        "SELECT filename FROM read_parquet('a.parquet')",
        "FROM read_parquet('a.parquet') a JOIN"
        " read_parquet('a.parquet', filename = true) b USING (id)",
        "FROM read_text('a.parquet')",
        "FROM 'a.parquet'",
        "SELECT 1",
    ],
)
def test_what_no_stub_can_stand_for_has_none(query: str, files: list[Path]) -> None:
    query = query.replace("a.parquet", str(files[0]))
    with duckdb.connect() as connection:
        columns = columns_of(connection, query)
        assert stubs_for(connection, query, columns) == ()
        assert columns_of(connection, query) == columns


def test_remote_files_are_found_by_their_names() -> None:
    with duckdb.connect() as connection:
        ((text,),) = connection.execute(
            "SELECT json_serialize_sql('FROM ''s3://b/*.csv'' s JOIN ''a.csv'' USING (i),"
            ' main."s3://t"\')'
        ).fetchall()
    assert files_in(json.loads(text)) == ["s3://b/*.csv"]
