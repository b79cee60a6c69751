"""The floor: a script's statements, one a line, on a DuckDB file, and nothing else."""

import sys

import duckdb

database, script = sys.argv[1:]
with duckdb.connect(database) as connection, open(script, encoding="utf-8") as statements:
    for statement in statements:
        connection.execute(statement)
