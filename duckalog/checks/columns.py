"""The check of a view's columns: as declared, and as the last build found them."""

from __future__ import annotations

from typing import Literal

from duckalog.decode import Unfit
from duckalog.entry import Check, NonEmpty


class SchemaCheck(Check, frozen=True, kw_only=True):
    """The view has the columns that are declared, and those that the last build found.

    Types are compared as DuckDB knows them: `int` is INTEGER. Without `columns`
    only the last build counts.
    """

    type: Literal["schema"]
    columns: dict[str, NonEmpty] = {}
    """The columns and their DuckDB types. Example: `{id: BIGINT, price: "DECIMAL(10, 2)"}`"""
    exact: bool = False
    """Whether these are all its columns, in this order."""

    def __post_init__(self) -> None:
        if self.exact and not self.columns:
            raise Unfit('"exact" needs "columns"', "List the columns.", ("exact",))
