"""The events of a build, in the fluent form that dagster-dbt and dagster-dlt have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from duckalog_dagster.run import CatalogRun, Event, Wanted

if TYPE_CHECKING:
    from typing_extensions import Self


class DuckalogEventIterator(Iterator[Event]):
    """Materializations and check results as a build yields them; nothing runs before the first.

    yield from duckalog.build(context).fetch_row_count()
    """

    def __init__(self, run: CatalogRun, wanted: Wanted | None = None) -> None:
        self._run = run
        self._wanted = wanted or Wanted()
        self._events: Iterator[Event] | None = None

    def __next__(self) -> Event:
        if self._events is None:
            self._events = self._run.events(self._wanted)
        return next(self._events)

    def __iter__(self) -> Self:
        return self

    def fetch_column_metadata(self) -> DuckalogEventIterator:
        """Return the same events: a build tells columns and their lineage anyway."""
        return self

    def fetch_row_count(self) -> DuckalogEventIterator:
        """Return the same events, each view with its number of rows: every view is read."""
        return DuckalogEventIterator(self._run, self._wanted._replace(row_counts=True))
