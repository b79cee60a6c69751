"""Checks that are a query: of failures, and whether the view answers at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from duckalog.check_sql import COUNT, in_brackets
from duckalog.decode import Unfit
from duckalog.entry import Check, Finding
from duckalog.locations import TextFile


class AnswersCheck(Check, frozen=True, kw_only=True):
    """The view binds, and gives all columns of its first row; every view has this check."""

    type: Literal["answers"]


class SqlCheck(Check, frozen=True, kw_only=True):
    """A query returns no rows: those that it returns are failures."""

    type: Literal["sql"]
    sql: str | None = None
    """The query: one SELECT.
    Example: `SELECT * FROM orders JOIN refunds USING (id) WHERE refunds.amount > orders.amount`"""
    sql_file: TextFile | None = None
    """The file that holds the query, in place of `sql`. Example: `checks/refunds.sql`"""

    def __post_init__(self) -> None:
        if self.sql is None and self.sql_file is None:
            raise Unfit('this check needs "sql" or "sql_file"')
        if self.sql is not None and not self.sql.strip():
            raise Unfit("the query is empty", "", ("sql",))

    @property
    def about(self) -> tuple[str, ...]:
        """Nothing that would make a name: a hash of the query is in it."""
        return ("",)

    @property
    def query(self) -> str | None:
        """The query without the semicolon at its end."""
        return (self.sql or "").strip().rstrip(";").rstrip()

    def with_query(self, query: str) -> Check:
        """Return the check with another query."""
        return msgspec.structs.replace(self, sql=query)

    def scanned(self, _relation: str) -> str:
        """Return the query: the view itself is only read if it says so."""
        return in_brackets(self.query or "")

    def aggregates(self) -> tuple[str, ...]:
        """Return the number of rows."""
        return (COUNT,)

    def judge(self, values: Sequence[Any]) -> Finding:
        """Return that there are no rows."""
        return Finding(values[0], "the query returns them" if values[0] else "")

    def failing(self, _relation: str) -> str:
        """Return the query."""
        return self.query or ""
