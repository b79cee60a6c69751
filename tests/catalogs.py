"""What stands in a catalog file, as a plain DuckDB reads it: so two moments can be compared."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from duckalog.sql import qualified

Rows = list[tuple[Any, ...]]

_OWN = "NOT internal AND database_name = current_database()"
_STANDING = {
    "schemas": f"SELECT schema_name, comment FROM duckdb_schemas() WHERE {_OWN}",
    "views": f"SELECT schema_name, view_name, sql, comment FROM duckdb_views() WHERE {_OWN}",
    "tables": f"SELECT schema_name, table_name, sql, comment FROM duckdb_tables() WHERE {_OWN}",
    "columns": "SELECT schema_name, table_name, column_name, data_type, comment"
    f" FROM duckdb_columns() WHERE {_OWN}",
}


def content_of(file: Path) -> dict[str, Rows]:
    """Return all that a catalog file holds, rows and duckalog's own bookkeeping included."""
    with duckdb.connect(str(file), read_only=True) as connection:
        content = {
            what: connection.execute(f"{query} ORDER BY ALL").fetchall()
            for what, query in _STANDING.items()
        }
        ((database,),) = connection.execute("SELECT current_database()").fetchall()
        for schema, table, *_ in content["tables"]:
            relation = qualified(database, schema, table)
            rows = connection.execute(f"FROM {relation} ORDER BY ALL").fetchall()
            content[f"rows of {schema}.{table}"] = rows
    return content


def views_of(file: Path) -> dict[str, str]:
    """Return the SQL of each view in a catalog file by its `schema.name`."""
    return {f"{schema}.{name}": sql for schema, name, sql, _ in content_of(file)["views"]}


def comments_of(file: Path) -> dict[str, str | None]:
    """Return the comment of each view by `schema.name`, of each column by `schema.name.column`."""
    content = content_of(file)
    comments = {f"{schema}.{name}": comment for schema, name, _, comment in content["views"]}
    for schema, name, column, _, comment in content["columns"]:
        if f"{schema}.{name}" in comments:
            comments[f"{schema}.{name}.{column}"] = comment
    return comments


def change(file: Path, *statements: str) -> None:
    """Run statements on a catalog file, as a user with a plain DuckDB would."""
    with duckdb.connect(str(file)) as connection:
        for statement in statements:
            connection.execute(statement)


_HOLDER = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reader")
print("open", flush=True)
sys.stdin.readline()
connection.close()
"""


@contextmanager
def held_open(file: Path, by: str = "reader") -> Iterator[subprocess.Popen[str]]:
    """Have another process, a `reader` or a `writer`, hold a catalog open.

    It lets go when the block ends, or earlier when it is sent a line.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(file), by],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "open\n"
        try:
            yield holder
        finally:
            holder.communicate()
