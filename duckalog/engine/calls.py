"""What raw SQL reads of files by itself: stubs of it, so that a view over it asks nothing again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import Column
from duckalog.engine.execution import execute
from duckalog.locations import is_remote
from duckalog.sql import Statement, identifier
from duckalog.statements import (
    describe,
    drop_stub_of_file,
    drop_stub_of_function,
    stub_of_calls,
    stub_of_file,
    stub_of_function,
)
from duckalog.values import execute_with

_FUNCTIONS = frozenset(
    """
    delta_scan iceberg_scan parquet_scan read_csv read_csv_auto read_json read_json_auto
    read_ndjson read_ndjson_auto read_parquet
    """.split()
)
_FROM_FUNCTION = "SELECT * FROM range(1)"
_AS_TEXT = "SELECT CAST(1 AS VARCHAR)"

Columns = tuple[Column, ...]


class Stub(NamedTuple):
    """What stands in for a table function, or a file, while a view is made over it."""

    create: Statement
    drop: Statement


class Call(NamedTuple):
    """A call of a table function: the options that are stated, and queries of it by itself.

    `source` is one of the text of its first argument, `alone` of all that it returns.
    """

    function: str
    options: tuple[str, ...]
    source: str
    alone: str


def columns_of(cursor: DuckDBPyConnection, query: str) -> Columns:
    """Return the columns of a query, which is bound and not run."""
    execute(cursor, describe(f"\n{query}"))  # DuckDB shows the line that it cannot bind
    return tuple(Column(row[0], row[1]) for row in cursor.fetchall())


def stub_of(function: str, options: tuple[str, ...], columns: Columns) -> Stub:
    """Return the stub of a table function that is called once."""
    return Stub(stub_of_function(function, options, columns), drop_stub_of_function(function))


def stubs_for(cursor: DuckDBPyConnection, query: str, columns: Columns) -> tuple[Stub, ...]:
    """Return stubs with which a query has the same `columns`; none where there are no such."""
    tree = _tree_of(cursor, query)
    stubs = [*_of_functions(cursor, tree), *_of_files(cursor, tree)] if tree else []
    made: list[Stub] = []
    try:
        for stub in stubs:
            execute(cursor, stub.create)
            made.append(stub)
        # It may read what is no column: the name of the file, say.
        return tuple(stubs) if stubs and columns_of(cursor, query) == columns else ()
    except duckdb.BinderException:
        return ()
    finally:
        for stub in made:
            execute(cursor, stub.drop)


def calls_in(cursor: DuckDBPyConnection, tree: Any) -> dict[str, list[Call]]:
    """Return the calls of each table function that a stub could stand for."""
    found: dict[str, list[Call]] = {}
    unfit = set()
    for node in _nodes(tree, "TABLE_FUNCTION"):
        function = node.get("function", {})
        name = str(function.get("function_name", "")).lower()
        call = _call(cursor, node, name) if name in _FUNCTIONS else None
        if call is None or function.get("schema") or function.get("catalog"):
            unfit.add(name)
        else:
            found.setdefault(name, []).append(call)
    return {name: calls for name, calls in found.items() if name not in unfit}


def files_in(tree: Any) -> list[str]:
    """Return the remote files that a query reads by their names."""
    nodes = _nodes(tree, "BASE_TABLE")
    return [
        name for node in nodes if is_remote(name := node["table_name"]) and not node["schema_name"]
    ]


def _of_functions(cursor: DuckDBPyConnection, tree: Any) -> Iterator[Stub]:
    for name, calls in calls_in(cursor, tree).items():
        columns = {call: columns_of(cursor, call.alone) for call in dict.fromkeys(calls)}
        options = tuple(dict.fromkeys(one for call in calls for one in call.options))
        if len(set(columns.values())) == 1:
            yield stub_of(name, options, columns[calls[0]])
            continue
        by_source: dict[str, Columns] = {}
        for call, of_call in columns.items():
            ((source,),) = cursor.execute(call.source).fetchall()
            if by_source.setdefault(source, of_call) != of_call:  # its options make the difference
                break
        else:
            yield Stub(stub_of_calls(name, options, by_source), drop_stub_of_function(name))


def _of_files(cursor: DuckDBPyConnection, tree: Any) -> Iterator[Stub]:
    for name in dict.fromkeys(files_in(tree)):
        columns = columns_of(cursor, f"SELECT * FROM {identifier(name)}")
        yield Stub(stub_of_file(name, columns), drop_stub_of_file(name))


def _call(cursor: DuckDBPyConnection, node: dict[str, Any], name: str) -> Call | None:
    """Return a call; None where its arguments are not all stated."""
    arguments = _arguments(node["function"])
    options = [_option(one) for one in arguments[1:]]
    if not arguments or _option(arguments[0]) or not all(options):
        return None
    alone, source = _tree_of(cursor, _FROM_FUNCTION), _tree_of(cursor, _AS_TEXT)
    alone["statements"][0]["node"]["from_table"] = {**node, "alias": "", "column_name_alias": []}
    source["statements"][0]["node"]["select_list"][0]["child"] = arguments[0]
    return Call(name, tuple(options), _text_of(cursor, source), _text_of(cursor, alone))


def _tree_of(cursor: DuckDBPyConnection, query: str) -> Any:
    ((text,),) = execute_with(cursor, "SELECT json_serialize_sql($1)", [query]).fetchall()
    tree = json.loads(text)
    return None if tree.get("error") else tree


def _text_of(cursor: DuckDBPyConnection, tree: Any) -> str:
    asked = execute_with(cursor, "SELECT json_deserialize_sql($1)", [json.dumps(tree)])
    ((text,),) = asked.fetchall()
    return str(text)


def _nodes(tree: Any, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a kind, in no order."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if node.get("type") == kind:
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
