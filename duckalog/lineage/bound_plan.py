"""Where the columns of a bound query come from, read off DuckDB's own plan of it.

The plan is the JSON of `json_serialize_plan(query, optimize := false)`, DuckDB
1.4 to 2.0. Its expressions refer to the columns of the operators below by
position, so nothing is resolved by name here. What is not known for certain is
refused: every operator and expression is listed with its meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from duckalog.lineage.expressions import (
    UNBOUND,
    Column,
    Node,
    Untraceable,
    name_of,
    ordered_by,
    value_of,
)
from duckalog.lineage.model import Field, Relation, Value, merged

TableName = tuple[str, str, str]

_NO_INDEX = 2**64 - 1

Item = TypeVar("Item")


class Traced(NamedTuple):
    """What a query's columns are computed from, what decides its rows, and what it reads."""

    columns: list[Value]
    influences: frozenset[Field]
    reads: tuple[Relation, ...]


def trace(plan: Node, tables: Mapping[TableName, Relation]) -> Traced:
    """Return where the columns of a bound query come from; `tables` are those of the stub catalog.

    Raises Untraceable where that is not known for certain.
    """
    tracer = _Tracer(tables)
    try:
        columns = tracer.columns_of(plan, _TOP)
    except RecursionError:
        raise Untraceable("the query is nested too deeply") from None
    except (KeyError, IndexError, TypeError) as error:
        raise Untraceable(f"DuckDB's plan has another shape ({error!r})") from error
    values = [one.value for one in columns]
    return Traced(values, frozenset(tracer.influences), tuple(tracer.reads))


class _Scope(NamedTuple):
    """What stands above an operator: the correlated columns, and whether the planner added it."""

    correlated: tuple[list[Column], ...] = ()
    is_deduplication: bool = False
    is_decorrelated: bool = False


_TOP = _Scope()


class _Tracer:
    """Follows columns up through the operators of a plan, a method for each kind of operator."""

    def __init__(self, tables: Mapping[TableName, Relation]) -> None:
        self.tables = tables
        self.influences: set[Field] = set()
        self.reads: dict[Relation, None] = {}
        self.ctes: dict[int, Callable[[], tuple[list[Value], set[Field]]]] = {}

    def columns_of(self, node: Node, scope: _Scope) -> list[Column]:
        operator = _OPERATORS.get(node["type"])
        if operator is None:
            raise Untraceable(f"DuckDB's operator {node['type']} is not known")
        return operator(self, node, scope)

    def below(self, node: Node, scope: _Scope) -> list[Column]:
        """Return the columns of all the operators right below, one after the other."""
        return [
            column for child in node.get("children", ()) for column in self.columns_of(child, scope)
        ]

    def apart(self, node: Node, scope: _Scope) -> tuple[list[Column], set[Field]]:
        """Return an operator's columns, and what decides its rows without noting it."""
        before, self.influences = self.influences, set()
        columns = self.columns_of(node, scope)
        found, self.influences = self.influences, before
        return columns, found

    def decide(self, expressions: Iterable[Node], inputs: Sequence[Column]) -> None:
        """Note that expressions decide which rows there are, or in which order."""
        for expression in expressions:
            self.influences.update(value_of(expression, inputs))

    def passed(self, node: Node, scope: _Scope) -> list[Column]:
        return self.below(node, scope)

    def projection(self, node: Node, scope: _Scope) -> list[Column]:
        inputs = self.below(node, scope)
        values = [value_of(one, inputs) for one in node.get("expressions", ())]
        return _numbered(node, values)

    def filter(self, node: Node, scope: _Scope) -> list[Column]:
        columns = self.below(node, scope)
        self.decide(node.get("expressions", ()), columns)
        return _mapped(columns, node.get("projection_map"))

    def order(self, node: Node, scope: _Scope) -> list[Column]:
        columns = self.below(node, scope)
        self.decide(ordered_by(node), columns)
        return _mapped(columns, node.get("projections"))

    def limit(self, node: Node, scope: _Scope) -> list[Column]:
        columns = self.below(node, scope)
        limits = (node.get(key, {}).get("expression") for key in ("limit_val", "offset_val"))
        self.decide((one for one in limits if one), columns)
        return columns

    def distinct(self, node: Node, scope: _Scope) -> list[Column]:
        columns = self.below(node, scope)
        self.decide(node.get("distinct_targets", ()), columns)
        self.decide(ordered_by(node.get("order_by") or {}), columns)
        return columns

    def aggregate(self, node: Node, scope: _Scope) -> list[Column]:
        inputs = self.below(node, scope)
        groups = [value_of(one, inputs) for one in node.get("groups", ())]
        if not scope.is_deduplication:
            self.decide(node.get("groups", ()), inputs)
        # An aggregate that the planner adds to a scalar subquery has no index for GROUPING.
        is_added = node.get("groupings_index") == _NO_INDEX
        aggregates = [
            value_of(one["children"][0], inputs)
            if is_added and name_of(one) == "first"
            else value_of(one, inputs)
            for one in node.get("expressions", ())
        ]
        groupings: list[Value] = [{} for _ in node.get("grouping_functions", ())]
        return [
            *_indexed(node.get("group_index", 0), groups),
            *_indexed(node.get("aggregate_index", 0), aggregates),
            *_indexed(node.get("groupings_index", 0), groupings),
        ]

    def window(self, node: Node, scope: _Scope) -> list[Column]:
        inputs = self.below(node, scope)
        values = [value_of(one, inputs) for one in node.get("expressions", ())]
        return [*inputs, *_indexed(node.get("window_index", 0), values)]

    def unnest(self, node: Node, scope: _Scope) -> list[Column]:
        inputs = self.below(node, scope)
        values = [value_of(one, inputs) for one in node.get("expressions", ())]
        self.influences.update(*values)  # a row for each item
        return [*inputs, *_indexed(node.get("unnest_index", 0), values)]

    def pivot(self, node: Node, scope: _Scope) -> list[Column]:
        """Return groups, then each aggregate once for each value; the lists to look up come in."""
        inputs = [one.value for one in self.below(node, scope)]
        pivot = node["bound_pivot"]
        count = pivot.get("group_count", 0)
        groups, aggregates, names = inputs[:count], inputs[count:-1], inputs[-1]
        wanted = len(pivot["types"]) - count
        if not aggregates or wanted % len(aggregates):
            raise Untraceable("DuckDB's PIVOT has another shape")
        looked_up = [
            merged((one, "aggregation"), (names, "condition"))
            for _ in range(wanted // len(aggregates))
            for one in aggregates
        ]
        return _indexed(node.get("pivot_index", 0), [*groups, *looked_up])

    def join(self, node: Node, scope: _Scope) -> list[Column]:
        left, right, inside = self._sides(node, scope)
        tests = list(_tests(node, scope, left, right))
        kind = node.get("join_type")
        left = _mapped(left, node.get("left_projection_map"))
        right = _mapped(right, node.get("right_projection_map"))
        if kind == "MARK":  # IN and EXISTS: it tells whether there is a row, and keeps each
            mark = merged(*((one, "condition") for one in tests))
            mark |= dict.fromkeys(inside, "condition")
            return [*left, Column((node.get("mark_index", 0), 0), mark)]
        self.influences.update(inside, *tests)
        if kind in ("SEMI", "ANTI"):
            return left
        if kind in ("RIGHT_SEMI", "RIGHT_ANTI"):
            return right
        if kind not in ("INNER", "LEFT", "RIGHT", "OUTER", "FULL", "SINGLE"):
            raise Untraceable(f"DuckDB's join {kind} is not known")
        return [*left, *right]

    def _sides(self, node: Node, scope: _Scope) -> tuple[list[Column], list[Column], set[Field]]:
        """Return the columns of a join's sides, and what decides the rows of the right one."""
        first, second = node["children"]
        left = self.columns_of(first, scope)
        if node["type"] == "LOGICAL_DELIM_JOIN":
            if node.get("delim_flipped"):
                raise Untraceable("DuckDB's plan of a correlated subquery is turned round")
            repeated = node.get("duplicate_eliminated_columns", ())
            correlated = [Column(UNBOUND, value_of(one, left)) for one in repeated]
            scope = scope._replace(correlated=(*scope.correlated, correlated))
        return left, *self.apart(second, scope)

    def correlated(self, node: Node, scope: _Scope) -> list[Column]:
        columns = scope.correlated[-1]
        if len(columns) != len(node["chunk_types"]):
            raise Untraceable("DuckDB's plan of a correlated subquery has another shape")
        return _numbered(node, [one.value for one in columns])

    def union(self, node: Node, scope: _Scope) -> list[Column]:
        branches = [self.columns_of(child, scope) for child in node["children"]]
        return self._all_or_distinct(node, _side_by_side(branches))

    def _all_or_distinct(self, node: Node, values: list[Value]) -> list[Column]:
        """Return the columns of a set operation; without ALL, all of them decide the rows."""
        if not node.get("setop_all"):
            self.influences.update(*values)
        return _numbered(node, values)

    def kept_rows(self, node: Node, scope: _Scope) -> list[Column]:
        """Return the left side of EXCEPT and INTERSECT: the right one decides which rows stay."""
        left, right = (self.columns_of(child, scope) for child in node.get("children", ()))
        for column in right:
            self.influences.update(column.value)
        return self._all_or_distinct(node, [one.value for one in left])

    def common_table(self, node: Node, scope: _Scope) -> list[Column]:
        definition, query = node["children"]
        inside = scope
        name = str(node.get("ctename", ""))
        if name.startswith("__duckdb_delim_"):  # DuckDB 2.0: what was DELIM_GET before
            inside = scope._replace(is_deduplication=name.startswith("__duckdb_delim_dedup_"))
            scope = scope._replace(is_decorrelated=True)
        found: list[tuple[list[Value], set[Field]]] = []

        def defined() -> tuple[list[Value], set[Field]]:
            if not found:
                columns, influences = self.apart(definition, inside)
                found.append(([one.value for one in columns], influences))
            return found[0]

        self.ctes[node.get("table_index", 0)] = defined
        return self.columns_of(query, scope)

    def recursive(self, node: Node, scope: _Scope) -> list[Column]:
        start, step = node["children"]
        index = node.get("table_index", 0)
        values = [one.value for one in self.columns_of(start, scope)]
        while True:
            so_far = (values, set[Field]())
            self.ctes[index] = lambda so_far=so_far: so_far  # type: ignore[misc]
            more = self.columns_of(step, scope)
            grown = _side_by_side([_numbered(node, values), more])
            if grown == values:
                break
            values = grown
        if node.get("key_targets"):
            self.decide(node["key_targets"], _numbered(node, values))
        elif not node.get("union_all"):
            self.influences.update(*values)
        return _numbered(node, values)

    def reference(self, node: Node, _scope: _Scope) -> list[Column]:
        values, influences = self.ctes[node.get("cte_index", 0)]()
        self.influences |= influences
        if len(values) != len(node["chunk_types"]):
            raise Untraceable("DuckDB's plan of a CTE has another shape")
        return _numbered(node, values)

    def scan(self, node: Node, scope: _Scope) -> list[Column]:
        inputs = self.below(node, scope)
        indexes = [one.get("index", 0) for one in node.get("column_indexes", ())]
        if name_of(node) == "seq_scan":
            values = self._fields(node, indexes)
        else:
            # Nothing outside can be opened: such a function makes its rows from its arguments.
            passed = set(node.get("projected_input", ()))
            arguments = [one.value for at, one in enumerate(inputs) if at not in passed]
            self.influences.update(*arguments)
            made = merged(*((one, "transformation") for one in arguments))
            values = [made for _ in indexes]
        values = _mapped(values, node.get("projection_ids"))
        # A scan whose columns nobody asks for has one all the same.
        columns = _numbered(node, values or [{}])
        return [*columns, *(inputs[at] for at in node.get("projected_input", ()))]

    def _fields(self, node: Node, indexes: Sequence[int]) -> list[Value]:
        table = node["function_data"]
        relation = self.tables.get((table["catalog"], table["schema"], table["table"]))
        if relation is None:
            raise Untraceable(f'"{table["table"]}" is not a relation that lineage knows of')
        self.reads[relation] = None
        names = node["names"]
        return [
            {Field(relation, names[at] if at < len(names) else "rowid"): "identity"}
            for at in indexes
        ]

    def expressions(self, node: Node, scope: _Scope) -> list[Column]:
        inputs = self.below(node, scope)
        rows = [
            [Column(UNBOUND, value_of(one, inputs)) for one in row] for row in node["expressions"]
        ]
        return _numbered(node, _side_by_side(rows))

    def constants(self, node: Node, _scope: _Scope) -> list[Column]:
        types = node.get("chunk_types") or node.get("return_types") or [None]
        return _numbered(node, [{} for _ in types])


def _tests(
    node: Node, scope: _Scope, left: Sequence[Column], right: Sequence[Column]
) -> Iterator[Value]:
    """Yield what a join compares, without the comparisons that the planner adds of itself."""
    is_added = (
        scope.is_decorrelated
        or node["type"] == "LOGICAL_DELIM_JOIN"
        or any(child["type"] == "LOGICAL_DELIM_GET" for child in node.get("children", ()))
    )
    for one in node.get("conditions", ()):
        sides = value_of(one["left"], left), value_of(one["right"], right)
        is_repeated = one["comparison"] == "COMPARE_NOT_DISTINCT_FROM" and sides[0] == sides[1]
        if not (is_added and is_repeated):
            yield from sides
    for key in ("predicate", "condition"):
        if node.get(key):
            yield value_of(node[key], [*left, *right])


def _indexed(table_index: int, values: Iterable[Value]) -> list[Column]:
    return [Column((table_index, at), value) for at, value in enumerate(values)]


def _numbered(node: Node, values: Iterable[Value]) -> list[Column]:
    return _indexed(node.get("table_index", 0), values)


def _mapped(items: list[Item], positions: Sequence[int] | None) -> list[Item]:
    """Return the items at some positions; where the plan has no such list, all of them."""
    return [items[at] for at in positions] if positions else items


def _side_by_side(branches: Sequence[Sequence[Column]]) -> list[Value]:
    """Return the columns that have a row from one branch or another."""
    if len({len(branch) for branch in branches}) != 1:
        raise Untraceable("DuckDB's plan of a set operation has another shape")
    return [
        merged(*((column.value, "identity") for column in columns))
        for columns in zip(*branches, strict=True)
    ]


_OPERATORS: dict[str, Callable[[_Tracer, Node, _Scope], list[Column]]] = {
    "LOGICAL_PROJECTION": _Tracer.projection,
    "LOGICAL_GET": _Tracer.scan,
    "LOGICAL_FILTER": _Tracer.filter,
    "LOGICAL_ORDER_BY": _Tracer.order,
    "LOGICAL_TOP_N": _Tracer.order,
    "LOGICAL_LIMIT": _Tracer.limit,
    "LOGICAL_DISTINCT": _Tracer.distinct,
    "LOGICAL_SAMPLE": _Tracer.passed,
    "LOGICAL_AGGREGATE_AND_GROUP_BY": _Tracer.aggregate,
    "LOGICAL_WINDOW": _Tracer.window,
    "LOGICAL_UNNEST": _Tracer.unnest,
    "LOGICAL_PIVOT": _Tracer.pivot,
    "LOGICAL_COMPARISON_JOIN": _Tracer.join,
    "LOGICAL_ANY_JOIN": _Tracer.join,
    "LOGICAL_ASOF_JOIN": _Tracer.join,
    "LOGICAL_DELIM_JOIN": _Tracer.join,
    "LOGICAL_CROSS_PRODUCT": _Tracer.passed,
    "LOGICAL_POSITIONAL_JOIN": _Tracer.passed,
    "LOGICAL_DELIM_GET": _Tracer.correlated,
    "LOGICAL_UNION": _Tracer.union,
    "LOGICAL_EXCEPT": _Tracer.kept_rows,
    "LOGICAL_INTERSECT": _Tracer.kept_rows,
    "LOGICAL_MATERIALIZED_CTE": _Tracer.common_table,
    "LOGICAL_RECURSIVE_CTE": _Tracer.recursive,
    "LOGICAL_CTE_REF": _Tracer.reference,
    "LOGICAL_EXPRESSION_GET": _Tracer.expressions,
    "LOGICAL_DUMMY_SCAN": _Tracer.constants,
    "LOGICAL_CHUNK_GET": _Tracer.constants,
    "LOGICAL_EMPTY_RESULT": _Tracer.constants,
}
