"""The one call of a table function in raw SQL, taken out of it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from duckalog.engine.calls import only_call_in


@pytest.mark.parametrize(
    ("query", "function", "options"),
    [
        ("SELECT id FROM read_parquet('a.parquet') WHERE id > 1", "read_parquet", ()),
        (
            "WITH o AS (FROM read_parquet(['a.parquet', 'a.parquet'], union_by_name = true,"
            " hive_partitioning := false) AS t(one)) SELECT count(*) FROM o JOIN o p USING (one)",
            "read_parquet",
            ("union_by_name", "hive_partitioning"),
        ),
        ("SELECT (SELECT max(id) FROM Parquet_Scan('a.parquet')) AS m", "parquet_scan", ()),
        ("SELECT n FROM range(2) t(n), read_parquet('a.parquet')", "", ()),
        ("FROM read_parquet('a.parquet') UNION ALL FROM read_parquet('a.parquet')", "", ()),
        ("FROM 'a.parquet'", "", ()),
        ("FROM read_text('a.parquet')", "", ()),
        ("SELECT 1", "", ()),
        ("PIVOT x ON y USING sum(z)", "", ()),
    ],
)
def test_it_is_found_where_it_is_alone(
    query: str, function: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "a.parquet"
    duckdb.sql("SELECT 1 AS id, 'x' AS name").write_parquet(str(file))
    with duckdb.connect() as connection:
        found = only_call_in(connection, query.replace("a.parquet", str(file)))
        if not function:
            assert found is None
            return
        assert found is not None
        call, alone = found
        assert (call.function, call.options) == (function, options)
        described = connection.execute(f"DESCRIBE {alone}").fetchall()
        assert [row[0] for row in described] == ["id", "name"]
