"""Views over tables of attached databases."""

from __future__ import annotations

from typing import Literal

from duckalog.decode import Unfit
from duckalog.entry import NonEmpty, View
from duckalog.sql import qualified, select_all, split_name


class AttachedView(View, frozen=True, kw_only=True):
    """A view over a table of an attached database: `table`, or `schema.table`."""

    database: NonEmpty
    """The alias of the attachment. Example: `crm`"""
    table: NonEmpty
    """The table: `table`, or `schema.table`; quote a part that has dots.
    Examples: `public.orders` `'"odd.schema".orders'`"""

    def __post_init__(self) -> None:
        try:
            parts = split_name(self.table)
        except ValueError as error:
            raise Unfit(str(error), "", ("table",)) from None
        if len(parts) > 2:
            raise Unfit(
                f'"{self.table}" has {len(parts)} parts',
                'Write table, or schema.table; quote a part with dots: "odd.schema".table',
                ("table",),
            )

    def query(self) -> str:
        """Return the SELECT over the attached table."""
        return select_all(qualified(self.database, *split_name(self.table)))

    @property
    def locations(self) -> tuple[tuple[str, ...], ...]:
        """The attachment's alias and the table's names."""
        return ((self.database, *split_name(self.table)),)

    @property
    def reads_from(self) -> str | None:
        """The alias of the attachment."""
        return self.database


class DuckdbView(AttachedView, frozen=True, kw_only=True):
    """A view over a table of an attached DuckDB database."""

    source: Literal["duckdb"]


class SqliteView(AttachedView, frozen=True, kw_only=True):
    """A view over a table of an attached SQLite database."""

    source: Literal["sqlite"]


class PostgresView(AttachedView, frozen=True, kw_only=True):
    """A view over a table of an attached PostgreSQL database."""

    source: Literal["postgres"]


class DucklakeView(AttachedView, frozen=True, kw_only=True):
    """A view over a table of an attached DuckLake."""

    source: Literal["ducklake"]
