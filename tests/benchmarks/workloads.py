"""The catalogs that are measured: each as a config, and as a script for plain DuckDB."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import duckdb

CATALOG = "duckalog.duckdb"
CHAIN_LENGTH = 10


class Workload(NamedTuple):
    """A catalog in a folder of its own; `script` has one statement in each line."""

    name: str
    views: int
    config: Path
    script: Path

    @property
    def folder(self) -> Path:
        """The folder of the config, its sources and what is built."""
        return self.config.parent


def parquet_views(folder: Path, count: int) -> Workload:
    """Return a catalog of views that each read a small Parquet file of their own."""
    sources = folder / "sources"
    sources.mkdir(parents=True)
    first = sources / "0.parquet"
    duckdb.sql(
        "SELECT range AS id, 'name ' || range AS name, range / 7 AS amount,"
        " DATE '2025-01-01' + range::INTEGER AS day FROM range(100)"
    ).write_parquet(str(first))
    for number in range(1, count):
        shutil.copy(first, sources / f"{number}.parquet")
    entries = [
        f"  - name: view_{number}\n    source: parquet\n    uri: {sources}/{number}.parquet\n"
        for number in range(count)
    ]
    statements = [
        f'CREATE OR REPLACE VIEW "view_{number}" AS'
        f" SELECT * FROM read_parquet('{sources}/{number}.parquet')"
        for number in range(count)
    ]
    return _written("parquet", folder, entries, statements)


def select_views(folder: Path, count: int) -> Workload:
    """Return a catalog of raw SQL in chains that share a hub, each view before those it reads.

    The order is found by parsing. A chain has ten views, because DuckDB binds
    all that a view reads, however deep, each time.
    """
    queries = [_query(number) for number in range(count)]
    entries = [
        f"  - name: view_{number}\n    sql: {query}\n" for number, query in enumerate(queries)
    ]
    statements = [
        f'CREATE OR REPLACE VIEW "view_{number}" AS {query}' for number, query in enumerate(queries)
    ]
    return _written("sql", folder, entries[::-1], statements)


def _query(number: int) -> str:
    if number == 0:
        return "SELECT range AS id, range % 10 AS kind FROM range(100)"
    if number % CHAIN_LENGTH == 0:
        return f"SELECT id, kind + {number} AS kind FROM view_0 WHERE id > {number % 7}"
    return (
        f"WITH hub AS (SELECT id FROM view_0) SELECT id, kind FROM view_{number - 1}"
        f" JOIN hub USING (id) WHERE kind <> {number}"
    )


def _written(name: str, folder: Path, entries: list[str], statements: list[str]) -> Workload:
    folder.mkdir(parents=True, exist_ok=True)
    config, script = folder / "catalog.yaml", folder / "script.sql"
    head = f"version: 1\nduckdb:\n  database: {folder / CATALOG}\nviews:\n"
    config.write_text(head + "".join(entries), encoding="utf-8")
    lines = ["BEGIN TRANSACTION", *statements, "COMMIT"]
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Workload(name, len(entries), config, script)
