"""Checks of each row by itself: it fails, or it does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from duckalog.check_sql import (
    count_if,
    expression_in,
    is_not_among,
    is_not_in,
    is_not_true,
    is_null,
    select_expression,
    where,
)
from duckalog.decode import Derived, OneOrMany, Unfit
from duckalog.entry import Check, Finding, NonEmpty
from duckalog.environment import Filled
from duckalog.sql import literal, qualified, split_name
from duckalog.user_sql import is_closed_in_itself

Columns = Annotated[tuple[NonEmpty, ...], OneOrMany]


def as_stated(value: Any) -> Any:
    """Return a value as the config has it, whatever the environment filled in."""
    return value.template if isinstance(value, Filled) else value


class RowsCheck(Check, frozen=True, kw_only=True):
    """A check of each row by itself."""

    def condition(self) -> str:
        """Return the condition that failing rows meet."""
        raise TypeError(f"{type(self).__name__} is a role, not a check")

    def aggregates(self) -> tuple[str, ...]:
        """Return the aggregate that counts the failing rows."""
        return (count_if(self.condition()),)

    def judge(self, values: Sequence[Any]) -> Finding:
        """Return that no row may fail."""
        return Finding(values[0], self.complaint if values[0] else "")

    def failing(self, relation: str) -> str:
        """Return the query of the failing rows."""
        return where(relation, self.condition())

    @property
    def complaint(self) -> str:
        """What is wrong with failing rows."""
        raise TypeError(f"{type(self).__name__} is a role, not a check")


class NotNullCheck(RowsCheck, frozen=True, kw_only=True):
    """No row has NULL in any of the columns."""

    type: Literal["not_null"]
    columns: Columns
    """The columns, one or a list. Examples: `id` `[id, email]`"""

    @property
    def about(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns

    @property
    def names_columns(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns

    def condition(self) -> str:
        """Return that any column is NULL."""
        return is_null(self.columns)

    @property
    def complaint(self) -> str:
        """What is wrong with failing rows."""
        return f"NULL in {' or '.join(self.columns)}"


class AcceptedValuesCheck(RowsCheck, frozen=True, kw_only=True):
    """Every value of a column is one of a list; NULL is not judged."""

    type: Literal["accepted_values"]
    column: NonEmpty
    """The column. Example: `status`"""
    values: tuple[str | int | float | bool, ...]
    """The values that it may have; dates and times are written as text.
    Example: `[open, shipped, cancelled]`"""

    def __post_init__(self) -> None:
        if not self.values:
            raise Unfit("the list of values is empty", "", ("values",))
        try:
            literal(self.values)
        except ValueError as error:
            raise Unfit(f"a value has no place in SQL: {error}", "", ("values",)) from None

    @property
    def about(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def names_columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def condition(self) -> str:
        """Return that the column has another value."""
        return is_not_among(self.column, self.values)

    @property
    def complaint(self) -> str:
        """What is wrong with failing rows."""
        return f"another value in {self.column}"


class RelationshipsCheck(RowsCheck, frozen=True, kw_only=True):
    """Every value of a column is in a column of another view or table; NULL is not judged."""

    type: Literal["relationships"]
    column: NonEmpty
    """The column. Example: `customer_id`"""
    to: NonEmpty
    """The other view or table: `name`, `schema.name`, or a table of an attached database.
    Examples: `customers` `crm.public.customers`"""
    field: NonEmpty
    """The column of the other one. Example: `id`"""
    target: Annotated[str, Derived] = ""

    def __post_init__(self) -> None:
        try:
            parts = split_name(self.to)
        except ValueError as error:
            raise Unfit(str(error), "", ("to",)) from None
        if len(parts) > 3:
            message = f'"{self.to}" has {len(parts)} parts'
            raise Unfit(message, "Write name, schema.name, or database.schema.name.", ("to",))

    @property
    def about(self) -> tuple[str, ...]:
        """The column and the relation that has its values."""
        return (self.column, *split_name(self.to))

    @property
    def names_columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def names_relation(self) -> tuple[str, ...]:
        """The other view or table, as the config calls it, in parts."""
        return split_name(self.to)

    def condition(self) -> str:
        """Return that the column has a value that the other one does not."""
        return is_not_in(self.column, self.target or qualified(*split_name(self.to)), self.field)

    @property
    def complaint(self) -> str:
        """What is wrong with failing rows."""
        return f"a {self.column} that {self.to}.{self.field} does not have"


class ExpressionCheck(RowsCheck, frozen=True, kw_only=True):
    """An expression is true in every row; a row in which it is NULL fails."""

    type: Literal["expression"]
    expression: str
    """The SQL expression, of type BOOLEAN. Example: `price >= 0 OR price IS NULL`"""

    def __post_init__(self) -> None:
        if not self.expression.strip():
            raise Unfit("the expression is empty", "", ("expression",))
        if not is_closed_in_itself(self.expression):
            message = "this is not one expression: a bracket or a semicolon ends it"
            raise Unfit(message, "", ("expression",))

    @property
    def about(self) -> tuple[str, ...]:
        """The expression, as the config states it."""
        return (as_stated(self.expression),)

    @property
    def query(self) -> str | None:
        """The SELECT of the expression."""
        return select_expression(self.expression)

    def with_query(self, query: str) -> Check:
        """Return the check with another SELECT of its expression."""
        return msgspec.structs.replace(self, expression=expression_in(query))

    def condition(self) -> str:
        """Return that the expression is false or NULL."""
        return is_not_true(select_expression(self.expression))

    @property
    def complaint(self) -> str:
        """What is wrong with failing rows."""
        return "the expression is not true"
