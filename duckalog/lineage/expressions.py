"""Which fields a bound expression's value comes from; the expressions are DuckDB's own JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from duckalog.lineage.model import Kind, Value, merged

Node = dict[str, Any]


class Untraceable(Exception):
    """The plan has something whose meaning is not known."""


class Column(NamedTuple):
    """A column of an operator: how plans may name it beside its position, and its value."""

    binding: tuple[int, int]
    value: Value


UNBOUND = (-1, -1)
"""The binding of a column that is referred to by position only."""


def value_of(expression: Node, inputs: Sequence[Column]) -> Value:
    """Return the fields that an expression's value comes from; `inputs` are what it refers to.

    Raises Untraceable for an expression whose meaning is not known.
    """
    kind = expression["expression_class"]
    if kind == "BOUND_REF":
        return inputs[expression.get("index", 0)].value
    if kind == "BOUND_COLUMN_REF":
        return _named(expression, inputs)
    if kind == "BOUND_CONSTANT":
        return {}
    if kind == "BOUND_CASE":
        return _case(expression, inputs)
    if kind not in _PARTS:
        raise Untraceable(f"DuckDB's expression {kind} is not known")
    return merged(*((value_of(one, inputs), role) for one, role in _parts(expression, kind)))


def name_of(node: Node) -> str:
    """Return the name of a function, without its catalog and schema."""
    found = node.get("name") or (node.get("qname") or {}).get("path") or ""
    return found if isinstance(found, str) else str(found[-1])


def ordered_by(node: Node) -> Iterator[Node]:
    """Yield what a node's ORDER BY orders by."""
    for one in node.get("orders") or ():
        yield one["expression"]


def _named(expression: Node, inputs: Sequence[Column]) -> Value:
    """Return the value of a column that DuckDB left named, below functions over other columns."""
    place = expression["binding"]
    binding = (place.get("table_index", 0), place.get("column_index", 0))
    for column in inputs:
        if column.binding == binding:
            return column.value
    raise Untraceable("DuckDB's plan refers to a column that is not there")


_PARTS: Mapping[str, Mapping[str, Kind]] = {
    "BOUND_FUNCTION": {"children": "transformation"},
    "BOUND_OPERATOR": {"children": "transformation"},
    "BOUND_CONJUNCTION": {"children": "transformation"},
    "BOUND_CAST": {"child": "transformation"},
    "BOUND_UNNEST": {"child": "transformation"},
    "BOUND_COMPARISON": {"left": "transformation", "right": "transformation"},
    "BOUND_BETWEEN": dict.fromkeys(("input", "lower", "upper"), "transformation"),
    # What a lambda takes from outside also stands beside it; its body only sees its parameters.
    "BOUND_LAMBDA": {"captures": "transformation"},
    "BOUND_AGGREGATE": {"children": "aggregation", "filter": "condition"},
    "BOUND_WINDOW": {
        "children": "transformation",
        "default_expr": "transformation",
        **dict.fromkeys(
            (
                "partitions",
                "filters",
                "filter_expr",
                "start_expr",
                "end_expr",
                "offset_expr",
                "sql_range_start",
                "sql_range_end",
            ),
            "condition",
        ),
    },
}
"""Where expressions have expressions inside, and what role these play."""


def _parts(expression: Node, kind: str) -> Iterator[tuple[Node, Kind]]:
    for key, role in _PARTS[kind].items():
        found = expression.get(key)
        if not found:
            continue
        if key == "children" and expression["type"] == "WINDOW_AGGREGATE":
            role = "aggregation"
        for one in found if isinstance(found, list) else [found]:
            yield one, role
    if kind == "BOUND_AGGREGATE":
        for one in ordered_by(expression.get("order_bys") or {}):
            yield one, "condition"
    elif kind == "BOUND_WINDOW":
        for one in ordered_by(expression):
            yield one, "condition"
        for order in expression.get("arg_orders") or ():
            yield order["expression"], "condition"


def _case(expression: Node, inputs: Sequence[Column]) -> Value:
    parts: list[tuple[Value, Kind]] = []
    for check in expression.get("case_checks", ()):
        tested, chosen = (value_of(check[key], inputs) for key in ("when_expr", "then_expr"))
        if not tested and name_of(check["then_expr"]) == "error":
            continue  # the planner's own check that a scalar subquery has one row
        parts += [(tested, "condition"), (chosen, "transformation")]
    otherwise = value_of(expression["else_expr"], inputs)
    return merged(*parts, (otherwise, "transformation")) if parts else otherwise
