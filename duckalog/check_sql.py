"""The SQL of checks: conditions that failing rows meet, and the queries over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from duckalog.sql import ended, identifier, literal, select, select_all

COUNT = "count(*)"


def is_null(columns: Iterable[str]) -> str:
    """Return the condition that any of some columns is NULL."""
    return " OR ".join(f"{identifier(column)} IS NULL" for column in columns)


def is_not_among(column: str, values: Iterable[object]) -> str:
    """Return the condition that a column has a value, and it is none of `values`."""
    name = identifier(column)
    return f"{name} IS NOT NULL AND {name} NOT IN ({', '.join(map(literal, values))})"


def is_not_in(column: str, relation: str, other: str) -> str:
    """Return the condition that a column has a value that a relation's column does not have."""
    name, field = identifier(column), identifier(other)
    others = f"SELECT {field} FROM {relation} WHERE {field} IS NOT NULL"
    return f"{name} IS NOT NULL AND {name} NOT IN ({others})"


def is_not_true(query: str) -> str:
    """Return the condition that an expression, written as `select_expression` does, is not true."""
    return f"{query.removeprefix(_SELECT)} IS NOT TRUE"


_SELECT = "SELECT "


def select_expression(expression: str) -> str:
    """Return the query of an expression alone, in brackets."""
    return f"{_SELECT}({ended(expression)})"


def expression_in(query: str) -> str:
    """Return the expression of such a query."""
    return query.removeprefix(f"{_SELECT}(").removesuffix(")")


def count_if(condition: str) -> str:
    """Return the aggregate of how many rows meet a condition; FILTER takes longer (1.5.5)."""
    return f"count_if({condition})"


def where(relation: str, condition: str) -> str:
    """Return the query of the rows that meet a condition."""
    return f"{select_all(relation)} WHERE {condition}"


def repeated(relation: str, columns: Sequence[str]) -> str:
    """Return the query of the values that more than one row has, and how many rows do."""
    names = ", ".join(map(identifier, columns))
    known = " AND ".join(f"{identifier(column)} IS NOT NULL" for column in columns)
    return (
        f"SELECT {names}, count(*) AS {identifier(_count_beside(columns))}"
        f" FROM {relation} WHERE {known} GROUP BY {names} HAVING count(*) > 1"
    )


def _count_beside(columns: Sequence[str]) -> str:
    """Return a name for the number of rows that no column has."""
    taken = {column.lower() for column in columns}
    name = "rows"
    while name in taken:
        name += "_"
    return name


def sum_of_repeated(columns: Sequence[str]) -> str:
    """Return the aggregate of how many rows share their values with others."""
    return f"coalesce(sum({identifier(_count_beside(columns))}), 0)::BIGINT"


def epoch_of_newest(column: str) -> str:
    """Return the aggregate of a column's newest time, in seconds since 1970 UTC."""
    return f"epoch(max({identifier(column)}))"


def seconds_of(interval: str) -> str:
    """Return an interval's length in seconds."""
    return f"epoch({literal(interval)}::INTERVAL)"


NOW = "epoch(now())"


def in_brackets(query: str) -> str:
    """Return a query as what another one selects from."""
    return f"(\n{ended(query)}\n)"


def aggregate(aggregates: Iterable[str], relation: str) -> str:
    """Return the query of aggregates over a relation."""
    return select(aggregates, relation)


def sample_of(query: str, rows: int, characters: int) -> str:
    """Return the query of a query's first rows, each value as text of so many characters."""
    first = f"{select_all(in_brackets(query))} LIMIT {rows}"
    return f"SELECT left(COLUMNS(*)::VARCHAR, {characters}) FROM ({first})"


def first_row(relation: str) -> str:
    """Return the query of all columns of a relation's first row."""
    return f"{select_all(relation)} LIMIT 1"
