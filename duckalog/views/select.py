"""Views that are raw SQL, in the config or in a file of their own."""

from __future__ import annotations

from duckalog.decode import Unfit
from duckalog.entry import View
from duckalog.locations import TextFile


class SelectView(View, frozen=True, kw_only=True):
    """A view that is a SELECT; `sql_file` is read into `sql` when the config is loaded."""

    sql: str | None = None
    """The query: one SELECT.
    Example: `SELECT country, count(*) AS orders FROM orders GROUP BY country`"""
    sql_file: TextFile | None = None
    """The file that holds the query, in place of `sql`. Example: `queries/funnel.sql`"""

    def __post_init__(self) -> None:
        if self.sql is not None and not self.sql.strip():
            raise Unfit("the query is empty", "", ("sql",))

    def query(self) -> str:
        """Return the SELECT as the user wrote it, the semicolon at its end taken off."""
        return (self.sql or "").strip().rstrip(";").rstrip()
