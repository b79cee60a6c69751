"""The call of a table function in raw SQL, by itself: what a view over it must not ask again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import Column
from duckalog.values import execute_with

_FUNCTIONS = frozenset(
    """
    delta_scan iceberg_scan parquet_scan read_csv read_csv_auto read_json read_json_auto
    read_ndjson read_ndjson_auto read_parquet
    """.split()
)
_SHELL = "SELECT * FROM range(1)"


class Call(NamedTuple):
    """A table function, the names of the options that are stated, and its columns."""

    function: str
    options: tuple[str, ...]
    columns: tuple[Column, ...] = ()


def only_call_in(cursor: DuckDBPyConnection, query: str) -> tuple[Call, str] | None:
    """Return the one table function that a query calls, and the query of all that it returns.

    None where there are several, which a single stub could not stand for, or
    where its arguments are not all stated.
    """
    tree = _tree_of(cursor, query)
    found = list(_calls(tree)) if tree else []
    if len(found) != 1:
        return None
    function = found[0].get("function", {})
    name, arguments = str(function.get("function_name", "")).lower(), _arguments(function)
    if name not in _FUNCTIONS or function.get("schema") or function.get("catalog"):
        return None
    options = [_option(one) for one in arguments[1:]]
    if not arguments or _option(arguments[0]) or not all(options):
        return None
    shell = _tree_of(cursor, _SHELL)
    if shell is None:
        return None
    shell["statements"][0]["node"]["from_table"] = {
        **found[0],
        "alias": "",
        "column_name_alias": [],
    }
    asked = execute_with(cursor, "SELECT json_deserialize_sql($1)", [json.dumps(shell)])
    ((alone,),) = asked.fetchall()
    return Call(name, tuple(options)), alone


def _tree_of(cursor: DuckDBPyConnection, query: str) -> Any:
    ((text,),) = execute_with(cursor, "SELECT json_serialize_sql($1)", [query]).fetchall()
    tree = json.loads(text)
    return None if tree.get("error") else tree


def _calls(tree: Any) -> Iterator[dict[str, Any]]:
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if node.get("type") == "TABLE_FUNCTION":
                yield node
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def _arguments(function: dict[str, Any]) -> list[dict[str, Any]]:
    if "arguments" in function:  # DuckDB 2.0
        return [{**one["expression"], "alias": one["name"]} for one in function["arguments"]]
    return list(function.get("children", []))


def _option(argument: dict[str, Any]) -> str:
    """Return the name of an option, `name = value` or `name := value`; empty for a plain value."""
    if argument.get("type") == "COMPARE_EQUAL":
        names = argument.get("left", {}).get("column_names", [])
        return str(names[0]) if len(names) == 1 else ""
    return str(argument.get("alias", ""))
