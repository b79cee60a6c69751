"""Checks of a view's rows taken together: how many, how often, how new."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from duckalog.check_sql import (
    COUNT,
    NOW,
    epoch_of_newest,
    in_brackets,
    repeated,
    seconds_of,
    sum_of_repeated,
)
from duckalog.checks.rows import Columns
from duckalog.decode import Unfit
from duckalog.entry import Check, Finding, NonEmpty
from duckalog.environment import is_unfilled

Count = Annotated[int, msgspec.Meta(ge=0)]


class RowCountCheck(Check, frozen=True, kw_only=True):
    """The view has not fewer rows than `min`, and not more than `max`."""

    type: Literal["row_count"]
    min: Count | None = None
    """The fewest rows that it may have. Example: `1`"""
    max: Count | None = None
    """The most rows that it may have. Example: `1000000`"""

    def __post_init__(self) -> None:
        if self.min is None and self.max is None:
            raise Unfit('a row count needs "min", "max" or both')
        # One that is not filled yet is a text.
        if isinstance(self.min, int) and isinstance(self.max, int) and self.min > self.max:
            raise Unfit('"min" is more than "max"', "", ("min",))

    def aggregates(self) -> tuple[str, ...]:
        """Return the count of all rows."""
        return (COUNT,)

    def judge(self, values: Sequence[Any]) -> Finding:
        """Return that the count is between the limits."""
        count = values[0]
        if self.min is not None and count < self.min:
            return Finding(None, f"{_rows(count)}, and the fewest is {self.min:,}")
        if self.max is not None and count > self.max:
            return Finding(None, f"{_rows(count)}, and the most is {self.max:,}")
        return Finding()


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


class UniqueCheck(Check, frozen=True, kw_only=True):
    """No two rows have the same value of a column, or the same combination of some.

    A row with NULL in one of them is like no other, as SQL's UNIQUE has it.
    """

    type: Literal["unique"]
    columns: Columns
    """The column, or the list of those that are unique together. Examples: `id` `[order, line]`"""

    @property
    def about(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns

    @property
    def names_columns(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns

    def scanned(self, relation: str) -> str:
        """Return the values that more than one row has; count(DISTINCT) takes longer (1.5.5)."""
        return in_brackets(repeated(relation, self.columns))

    def aggregates(self) -> tuple[str, ...]:
        """Return how many such rows there are, and how many values."""
        return (sum_of_repeated(self.columns), COUNT)

    def judge(self, values: Sequence[Any]) -> Finding:
        """Return that there are no such values."""
        rows, count = values
        if not rows:
            return Finding(0)
        values = f"{count:,} values" if count > 1 else "1 value"
        return Finding(rows, f"the same {', '.join(self.columns)} as others ({values})")

    def failing(self, relation: str) -> str:
        """Return the query of the values, and how many rows have each."""
        return repeated(relation, self.columns)


_UNITS = r"""
    (?:us|microseconds?|ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?
    |d|days?|w|weeks?|mons?|months?|y|years?)
"""
_AGE = re.compile(rf"\s*(?:\d+(?:\.\d+)?\s*{_UNITS}\b\s*)+", re.VERBOSE | re.IGNORECASE)


class FreshnessCheck(Check, frozen=True, kw_only=True):
    """The newest time in a column is not older than `max_age`; a view without any time fails.

    A TIMESTAMP without a time zone is taken as UTC, and a DATE as its midnight.
    """

    type: Literal["freshness"]
    column: NonEmpty
    """The column, a TIMESTAMP, TIMESTAMP WITH TIME ZONE or DATE. Example: `updated_at`"""
    max_age: NonEmpty
    """How old the newest time may be, as a DuckDB interval. Examples: `24h` `2 days`"""

    def __post_init__(self) -> None:
        if not (is_unfilled(self.max_age) or _AGE.fullmatch(self.max_age)):
            message = "this is not a length of time"
            raise Unfit(message, "For example: 24h, 90 minutes, 2 days", ("max_age",))

    @property
    def about(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def names_columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def aggregates(self) -> tuple[str, ...]:
        """Return the newest time, now, and the age that is allowed."""
        return (epoch_of_newest(self.column), NOW, seconds_of(self.max_age))

    def judge(self, values: Sequence[Any]) -> Finding:
        """Return that the newest time is new enough."""
        newest, now, allowed = values
        if newest is None:
            return Finding(None, f"no row has a time in {self.column}")
        if now - newest <= allowed:
            return Finding()
        age = _length(now - newest)
        return Finding(
            None, f"the newest {self.column} is {age} old, and {self.max_age} is allowed"
        )


def _length(seconds: float) -> str:
    """Return a length of time as people say it."""
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} s"
