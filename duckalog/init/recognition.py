"""Queries that only read one place, as a source with options instead of SQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from duckalog.init.draft import Data
from duckalog.sql import joined_name
from duckalog.values import execute_with
from duckalog.views import VIEW_TYPES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SOURCES = {
    "read_parquet": "parquet",
    "read_csv": "csv",
    "read_json": "json",
    "delta_scan": "delta",
    "iceberg_scan": "iceberg",
}


class Recognizer:
    """Finds the source that gives the very view that a query does; `kinds` are of attachments."""

    def __init__(self, connection: DuckDBPyConnection, kinds: Mapping[str, str]) -> None:
        self.connection = connection
        self.kinds = {alias.lower(): kind for alias, kind in kinds.items()}

    def source_of(self, query: str) -> Data | None:
        """Return the keys of a view's source, or None where the query does more than read it."""
        tree = self._tree(query)
        if tree is None or not query.upper().startswith("SELECT * FROM "):
            return None
        relation = tree.get("from_table") or {}
        try:
            if relation.get("type") == "TABLE_FUNCTION":
                data = _of_function(relation["function"])
            else:
                data = self._of_table(relation)
            if data is None:
                return None
            view = VIEW_TYPES[data["source"]](name="v", **_converted(data))
            return data if self._is_same(tree, view.query()) else None
        except (_Unknown, ValueError, TypeError):
            return None

    def _of_table(self, relation: Mapping[str, Any]) -> Data | None:
        parts = [relation.get(f"{one}_name") for one in ("catalog", "schema", "table")]
        alias, *table = [part for part in parts if part] or [""]
        kind = self.kinds.get(alias.lower())
        if kind is None or not table:
            return None
        return {"source": kind, "database": alias, "table": joined_name(table)}

    def _tree(self, query: str) -> dict[str, Any] | None:
        ((text,),) = execute_with(
            self.connection,
            "SELECT json_serialize_sql($1, skip_null := true, skip_empty := true)",
            [query],
        ).fetchall()
        tree = json.loads(text)
        if tree["error"] or len(tree["statements"]) != 1:
            return None
        node: dict[str, Any] = tree["statements"][0]["node"]
        return node

    def _is_same(self, tree: dict[str, Any], candidate: str) -> bool:
        other = self._tree(candidate)
        return other is not None and _compared(tree) == _compared(other)


class _Unknown(Exception):
    """Raised for a part of a query that no key stands for."""


def _converted(data: Data) -> Data:
    """Return a source's keys as the views' own fields have them."""
    fields = dict(data)
    if data["source"] in ("parquet", "csv", "json"):
        uri = data["uri"]
        fields["uri"] = tuple(uri) if isinstance(uri, list) else (uri,)
    return fields


def _of_function(function: Mapping[str, Any]) -> Data | None:
    source = SOURCES.get(function["function_name"].lower())
    if source is None or function.get("schema"):
        return None
    arguments = list(_arguments(function))
    if not arguments or arguments[0][0]:
        return None
    uri = _value(arguments[0][1])
    options: Data = {}
    for name, expression in arguments[1:]:
        if not name:
            return None
        is_snapshot = source == "iceberg" and name == "snapshot_from_id"
        options["snapshot_id" if is_snapshot else name] = _value(expression)
    if not uri or (isinstance(uri, list) and source in ("delta", "iceberg")):
        return None
    if isinstance(uri, list) and not all(isinstance(one, str) for one in uri):
        return None
    data: Data = {"source": source, "uri": uri}
    return {**data, "options": options} if options else data


def _arguments(function: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield a call's arguments, each with its name or an empty text (DuckDB 1.x, then 2.0)."""
    for one in function.get("children") or function.get("arguments") or ():
        expression = one.get("expression", one)
        name = one.get("name") or expression.get("alias") or ""
        if not name and expression.get("type") == "COMPARE_EQUAL":
            left = expression["left"].get("column_names") or [""]
            if len(left) == 1:
                name, expression = left[0], expression["right"]
        yield name, expression


_LITERALS: dict[str, Callable[[str], Any]] = {
    "STRING": str,
    "INTEGER": lambda text: int(text.replace("_", "")),
    "BOOLEAN": lambda text: text == "true",
}
"""How DuckDB 2.0's literals are read, by their kinds."""

_NUMBERS = frozenset(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"))


def _value(expression: Mapping[str, Any]) -> Any:
    """Return the value that an expression states; raises _Unknown where it has to be computed."""
    kind = expression.get("class")
    if kind == "CONSTANT" and "literal" in expression:
        literal = expression["literal"]
        if literal["kind"] not in _LITERALS:
            raise _Unknown
        return _LITERALS[literal["kind"]](literal["text"])
    if kind == "CONSTANT":
        value, name = expression["value"], expression["value"]["type"]["id"]
        if value["is_null"] or (name not in _NUMBERS and name not in ("VARCHAR", "BOOLEAN")):
            raise _Unknown
        return value["value"]
    if kind == "CAST" and (expression.get("cast_type") or {}).get("id") == "BOOLEAN":
        return {"t": True, "f": False}.get(_value(expression["child"]))
    if kind == "FUNCTION" and expression["function_name"] == "list_value":
        return [_value(one) for _, one in _arguments(expression)]
    if kind == "FUNCTION" and expression["function_name"] == "struct_pack":
        return {name: _value(one) for name, one in _arguments(expression)}
    raise _Unknown


def _compared(node: Any) -> Any:
    """Return a tree without the places in the text, and with `=` and `:=` alike."""
    if isinstance(node, list):
        return [_compared(one) for one in node]
    if not isinstance(node, dict):
        return node
    if node.get("class") == "FUNCTION":
        rest = {
            key: _compared(value)
            for key, value in node.items()
            if key not in ("children", "arguments") and not key.startswith("query_location")
        }
        return {
            **rest,
            "arguments": [(name, _compared(_bare(one))) for name, one in _arguments(node)],
        }
    return {
        key: _compared(value) for key, value in node.items() if not key.startswith("query_location")
    }


def _bare(expression: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in expression.items() if key != "alias"}
