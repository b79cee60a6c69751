"""DuckDB as a parser: it binds nothing, and opens nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from duckalog.user_sql import regions_of
from duckalog.values import execute_with

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SESSION_STATEMENTS = frozenset(
    ("ATTACH", "CALL", "DETACH", "EXTENSION", "LOAD", "MULTI", "PRAGMA", "SELECT", "SET")
)
_SESSION_CREATE = re.compile(
    r"\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:(?:PERSISTENT\s+)?SECRET|TEMP(?:ORARY)?)\b", re.IGNORECASE
)

MAX_BRACKETS = 500
"""Brackets inside each other: DuckDB 2.0 ends the process for some 100,000 of them."""


class Parser:
    """A DuckDB that parses, started when it is first asked: that takes longer than parsing."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._connection: DuckDBPyConnection | None = None

    def __enter__(self) -> Parser:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._connection = None

    def _started(self) -> DuckDBPyConnection:
        if self._connection is None:
            import duckdb

            self._connection = self._open.enter_context(
                duckdb.connect(":memory:", config={"python_enable_replacements": False})
            )
        return self._connection

    def trees_of(self, queries: Sequence[str]) -> list[str]:
        """Return DuckDB's tree of each query as JSON, or an empty text where it is too deep."""
        if not queries:
            return []
        is_deep = [_is_deep(query) for query in queries]
        asked = ["" if deep else query for query, deep in zip(queries, is_deep, strict=True)]
        rows = execute_with(
            self._started(),
            "SELECT json_serialize_sql(query, skip_null := true, skip_empty := true)"
            " FROM (SELECT unnest($1::JSON::VARCHAR[]) AS query)",
            [json.dumps(asked)],
        )
        found = rows.fetchall()
        return ["" if deep else text for (text,), deep in zip(found, is_deep, strict=True)]

    def writes_of(self, statements: Sequence[str]) -> list[str]:
        """Return for each SQL text the kind of statement by which it would write, or an empty text.

        Only what touches a session and nothing else does not write: settings,
        secrets, temporary objects. A text that DuckDB cannot parse is not judged.
        """
        return [self._write_of(text) for text in statements]

    def _write_of(self, text: str) -> str:
        connection = self._started()
        import duckdb

        try:
            parsed = connection.extract_statements(text)
        except duckdb.Error:
            return ""
        kinds = (
            one.type.name
            for one in parsed
            if one.type.name not in _SESSION_STATEMENTS
            and not (one.type.name == "CREATE" and _SESSION_CREATE.match(one.query))
        )
        return next(kinds, "")


def _is_deep(query: str) -> bool:
    if sum(map(query.count, "([{")) <= MAX_BRACKETS:
        return False
    depth = deepest = 0
    for bracket in re.findall(
        r"[\[\](){}]", "".join(piece for kind, piece in regions_of(query) if not kind)
    ):
        depth += 1 if bracket in "([{" else -1
        deepest = max(deepest, depth)
    return deepest > MAX_BRACKETS
