"""What a SELECT reads: DuckDB parses, nothing is bound, nothing is opened."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from duckalog.errors import shown, variable_hint
from duckalog.parser import Parser
from duckalog.sql import split_name
from duckalog.user_sql import regions_of, statements_in

Name = tuple[str, ...]
"""A name as the query writes it, one to three parts: catalog, schema, relation."""


class StatedPath(NamedTuple):
    """The path or URL of files in a query: its text, and the byte at which its literal begins.

    `is_relation` says that it stands in place of a relation's name.
    """

    position: int
    text: str
    is_relation: bool


class Reading(NamedTuple):
    """What a query reads, or why it cannot be a view."""

    relations: frozenset[Name] = frozenset()
    functions: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    refusal: str = ""
    remedy: str = ""
    paths: tuple[StatedPath, ...] = ()
    """Where the files are that it reads, URLs included."""
    reads_unknown: bool = False
    """Whether it reads more than its relations and paths tell: what a function finds, say."""


def readings_of(queries: Sequence[str], parser: Parser | None = None) -> list[Reading]:
    """Return what each query reads, without its own CTEs; the relations need not exist.

    A query that is not exactly one SELECT without parameters has a refusal.
    Relations that a query only computes the name of (`query()`) are not found.
    """
    return [
        _reading(query, text) for query, text in zip(queries, _trees(queries, parser), strict=True)
    ]


def _trees(queries: Sequence[str], parser: Parser | None) -> list[str]:
    if parser is not None:
        return parser.trees_of(queries)
    with Parser() as own:
        return own.trees_of(queries)


_OF_SESSIONS = (
    "What every session is to run goes under duckdb.pragmas; what changes a database has no place"
    " in a config."
)

MAX_REASON = 300
"""Characters of DuckDB's own message that are told."""

_TOO_DEEP = "the query is nested too deeply"


def _reading(query: str, serialized: str) -> Reading:
    if not serialized:
        return Reading(refusal=_TOO_DEEP)
    try:
        tree = json.loads(serialized)
    except RecursionError:
        return Reading(refusal=_TOO_DEEP)
    if tree["error"]:
        return _refused(query, tree)
    statements = tree["statements"]
    if len(statements) != 1:
        if not statements:
            return _not_one_select("no statement", "")
        return _not_one_select(f"{len(statements)} statements")
    return _walk(statements[0]["node"])


def _not_one_select(what: str, remedy: str = "Make a view of each SELECT.") -> Reading:
    return Reading(refusal=f"a view is one SELECT, and this is {what}", remedy=remedy)


def _refused(query: str, tree: dict[str, Any]) -> Reading:
    if tree.get("error_type") != "parser":
        unquoted = " ".join(piece for kind, piece in regions_of(query) if not kind)
        if re.search(r"\bPIVOT\b", unquoted, re.IGNORECASE):
            refusal = "the PIVOT of a view lists its values: PIVOT … ON column IN (value, …)"
            return Reading(refusal=refusal)
        count = sum(1 for _ in statements_in(query))
        if count > 1:
            return _not_one_select(f"{count} statements")
        word = next(iter(unquoted.split()), "").upper()
        what = f"{shown(word)} …" if word.isalpha() else "something else"
        return _not_one_select(what, _OF_SESSIONS)
    position = int(tree.get("position") or 0)
    # DuckDB 1.x counts characters, 2.0 (which tells a location, too) bytes.
    before = query.encode()[:position] if "location" in tree else query[:position].encode()
    line = before.count(b"\n") + 1
    where = f" in line {line} of the query" if line > 1 else ""
    reason = tree["error_message"]
    if len(reason) > MAX_REASON:  # DuckDB 2.0 repeats the whole token, however long it is
        reason = f"{reason[:MAX_REASON]}…"
    refusal = f"DuckDB cannot parse it{where}: {reason}"
    return Reading(refusal=refusal, remedy=variable_hint(query))


_Scope = frozenset[str]
_NODES = (dict, list)


def _nodes(roots: Iterable[Any]) -> Iterator[tuple[dict[str, Any], _Scope]]:
    """Yield the nodes of trees, each with the CTEs that are visible there."""
    pending: list[tuple[Any, _Scope]] = [(root, frozenset()) for root in roots]
    while pending:
        node, scope = pending.pop()
        if isinstance(node, list):
            pending += [(child, scope) for child in node if isinstance(child, _NODES)]
            continue
        yield node, scope
        if node.get("type") != "COLUMN_REF":  # most nodes are, and nothing is inside
            pending += _children(node, scope)


def _walk(root: dict[str, Any]) -> Reading:
    found = _Found()
    for node, scope in _nodes([root]):
        refusal = found.take_in(node, scope)
        if refusal:
            return Reading(refusal=refusal)
    return found.reading()


class _Found:
    """What a query is found to read, node by node."""

    def __init__(self) -> None:
        self.relations: set[Name] = set()
        self.functions: set[str] = set()
        self.urls: set[str] = set()
        self.paths: set[StatedPath] = set()
        self.reads_unknown = False

    def reading(self) -> Reading:
        return Reading(
            frozenset(self.relations),
            frozenset(self.functions),
            frozenset(self.urls),
            paths=tuple(sorted(self.paths)),
            reads_unknown=self.reads_unknown,
        )

    def take_in(self, node: dict[str, Any], scope: _Scope) -> str:
        """Note what a node reads; return why a query with it cannot be a view, if it cannot."""
        kind, kind_of_expression = node.get("type"), node.get("class")
        if kind == "BASE_TABLE":
            self._relation(node, scope)
        elif kind == "TABLE_FUNCTION":
            self._function(node["function"])
        elif kind == "SHOW_REF":
            return "a view is one SELECT, and this is DESCRIBE, SHOW or SUMMARIZE"
        elif kind in _CHANGES:
            return "a view is one SELECT, and this changes data in a CTE"
        elif kind_of_expression == "PARAMETER":
            return "a view has no parameters"
        elif kind_of_expression == "CONSTANT":
            self.urls.update(text for text in _texts(node) if "://" in text)
        return ""

    def _relation(self, node: dict[str, Any], scope: _Scope) -> None:
        name = _name_of(node)
        if "://" in name[-1]:
            self.urls.add(name[-1])
        if len(name) > 1:
            self.relations.add(name)
        elif name[0].lower() not in scope:
            self.relations.add(name)
            if _FILE_NAME.search(name[0]):
                self.paths.add(StatedPath(node["query_location"], name[0], is_relation=True))
            elif "." in name[0]:
                self.reads_unknown = True

    def _function(self, function: dict[str, Any]) -> None:
        called = str(function["function_name"]).lower()
        self.functions.add(called)
        first = _arguments(function)[:1]
        if called == "query_table":
            self.relations.update(map(_name_in, _texts(first)))
        elif called in _READERS_OF_FILES:
            self.paths.update(_paths_in(first))
        tells_all = called in _READERS_OF_NOTHING or (
            called in _READERS_OF_FILES - _READERS_OF_FOLDERS and _is_stated(first)
        )
        self.reads_unknown = self.reads_unknown or not tells_all


_READERS_OF_FILES = frozenset(
    """
    delta_scan glob iceberg_metadata iceberg_scan iceberg_snapshots parquet_bloom_probe
    parquet_file_metadata parquet_full_metadata parquet_kv_metadata parquet_metadata parquet_scan
    parquet_schema read_avro read_blob read_csv read_csv_auto read_json read_json_auto
    read_json_objects read_json_objects_auto read_ndjson read_ndjson_auto read_ndjson_objects
    read_parquet read_text read_xlsx sniff_csv sqlite_scan st_read st_read_meta
    """.split()
)
"""Table functions whose first argument is a path, or a list of paths."""

_READERS_OF_FOLDERS = frozenset(
    ("delta_scan", "iceberg_metadata", "iceberg_scan", "iceberg_snapshots")
)
"""Those of tables that are a folder, which does not tell whether the table changed."""

_READERS_OF_NOTHING = frozenset(
    "generate_series json_each json_tree range repeat repeat_row unnest".split()
)
"""Table functions that give back what they are given."""

_FILE_NAME = re.compile(
    r"[/\\*?]|\.(?:parquet|csv|tsv|json|jsonl|ndjson|avro|xlsx)(?:\.(?:gz|zst))?\Z", re.IGNORECASE
)
"""A name that DuckDB takes for a file's, where no relation has it."""


def _arguments(function: dict[str, Any]) -> list[Any]:
    """Return the arguments of a function call."""
    if "arguments" in function:  # DuckDB 2.0
        return [one.get("expression", one) for one in function["arguments"]]
    return function.get("children") or []


def _paths_in(arguments: list[Any]) -> Iterator[StatedPath]:
    """Yield the paths among arguments; of one that is put together, its first part."""
    for node in arguments:
        kind = node.get("class")
        if kind == "CONSTANT":
            yield from (StatedPath(node["query_location"], text, False) for text in _texts(node))
        elif kind == "CAST":
            yield from _paths_in([node["child"]])
        elif kind == "OPERATOR" and node.get("type") == "ARRAY_CONSTRUCTOR":
            yield from _paths_in(node.get("children", []))
        elif kind == "FUNCTION" and node["function_name"] in ("list_value", "array_value"):
            yield from _paths_in(_arguments(node))
        elif kind == "FUNCTION" and node["function_name"] in ("||", "concat"):
            yield from _paths_in(_arguments(node)[:1])


def _is_stated(arguments: list[Any]) -> bool:
    """Say whether paths are whole in the query: a literal, or a list of literals."""
    for node in arguments:
        kind = node.get("class")
        is_list = kind == "FUNCTION" and node["function_name"] in ("list_value", "array_value")
        if is_list or (kind == "OPERATOR" and node.get("type") == "ARRAY_CONSTRUCTOR"):
            if not _is_stated(_arguments(node)):
                return False
        elif kind != "CONSTANT":
            return False
    return True


class Mention(NamedTuple):
    """A name in a query, and the bytes of the query where it stands.

    A place that cannot be found has an `end` of 0.
    """

    kind: Literal["relation", "function", "column"]
    name: Name
    start: int
    end: int


_PART = rb'(?:"(?:[^"]|"")+"|[^\s".,;()\[\]]+)'
_MENTIONED = re.compile(_PART + rb"(?:\s*\.\s*" + _PART + rb")*")


def mentions_of(queries: Sequence[str]) -> list[list[Mention]]:
    """Return for each query the relations, CTEs left out, functions and columns that it names.

    Empty for what DuckDB cannot parse.
    """
    return [
        _mentions(query, json.loads(text)) if text else []
        for query, text in zip(queries, _trees(queries, None), strict=True)
    ]


def _mentions(query: str, tree: dict[str, Any]) -> list[Mention]:
    if tree["error"]:
        return []
    found: list[Mention] = []
    raw = query.encode()
    of_tables: set[int] = set()
    for node, scope in _nodes(one["node"] for one in tree["statements"]):
        kind, kind_of_expression = node.get("type"), node.get("class")
        if kind == "BASE_TABLE":
            name = _name_of(node)
            if len(name) > 1 or name[0].lower() not in scope:
                found.append(_mention("relation", name, node, raw))
        elif kind == "TABLE_FUNCTION":
            function = node["function"]
            of_tables.add(id(function))
            found.append(_mention("function", _function_name(function), node, raw))
        elif kind_of_expression == "COLUMN_REF":
            found.append(_mention("column", tuple(node["column_names"]), node, raw))
        elif kind_of_expression == "FUNCTION":
            is_named = not node.get("is_operator") and id(node) not in of_tables
            if is_named:
                found.append(_mention("function", _function_name(node), node, raw))
    return found


def _function_name(node: dict[str, Any]) -> Name:
    parts = (node.get("catalog"), node.get("schema"), node["function_name"])
    return tuple(part for part in parts if part)


def _mention(
    kind: Literal["relation", "function", "column"], name: Name, node: dict[str, Any], raw: bytes
) -> Mention:
    start = int(node.get("query_location") or 0)
    match = _MENTIONED.match(raw, start) if start < len(raw) else None
    if match:
        written = _name_in(match.group().decode(errors="replace"))
        if [part.lower() for part in written] == [part.lower() for part in name]:
            return Mention(kind, name, start, match.end())
    return Mention(kind, name, 0, 0)


_CHANGES = ("INSERT_QUERY_NODE", "UPDATE_QUERY_NODE", "DELETE_QUERY_NODE", "MERGE_QUERY_NODE")
"""What DuckDB 2.0 parses in a CTE, and refuses in a view only when it binds it."""


def _name_in(text: str) -> Name:
    try:
        return split_name(text)
    except ValueError:
        return (text,)


def _name_of(node: dict[str, Any]) -> Name:
    parts = (node.get("catalog_name"), node.get("schema_name"), node["table_name"])
    return tuple(part for part in parts if part)


def _children(node: dict[str, Any], scope: _Scope) -> Iterator[tuple[Any, _Scope]]:
    """Yield what is inside a node, each with the CTEs that are visible there."""
    kind = node.get("type")
    if kind == "CTE_NODE":  # a materialized CTE, DuckDB 1.4
        yield node["query"], scope
        yield node["child"], scope | {node["cte_name"].lower()}
        return
    if kind == "RECURSIVE_CTE_NODE":
        scope = scope | {node["cte_name"].lower()}
    for entry in (node.get("cte_map") or {}).get("map", ()):
        yield entry["value"], scope
        scope = scope | {entry["key"].lower()}
    for key, child in node.items():
        if key != "cte_map" and isinstance(child, _NODES):
            yield child, scope


def _texts(node: Any) -> Iterator[str]:
    """Yield the text constants inside a node."""
    if isinstance(node, list):
        for child in node:
            yield from _texts(child)
    elif isinstance(node, dict):
        if node.get("class") == "CONSTANT":
            value = node.get("literal", {}).get("text", node.get("value", {}).get("value"))
            if isinstance(value, str):
                yield value
        else:
            for child in node.values():
                yield from _texts(child)
