"""Statements with values that are no secrets: written into them, as literals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from duckalog.sql import literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_PARAMETER = re.compile(r"\$(\d+)")


def execute_with(
    connection: DuckDBPyConnection, statement: str, values: Sequence[str | int]
) -> DuckDBPyConnection:
    """Return the connection with the result of a statement whose `$1`, `$2` … are values.

    To bind a value DuckDB's client imports pandas where it is installed, to see
    whether it is pandas' NaT (1.4 to 2.0): that takes longer than most builds.
    Secrets are bound all the same, for a literal is in DuckDB's log of queries.
    """
    if any(isinstance(value, str) and "\0" in value for value in values):
        return connection.execute(statement, list(values))
    return connection.execute(
        _PARAMETER.sub(lambda found: literal(values[int(found[1]) - 1]), statement)
    )
