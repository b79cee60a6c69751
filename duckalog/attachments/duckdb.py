"""Attached DuckDB databases."""

from __future__ import annotations

from collections.abc import Iterator

from duckalog.entry import Attachment, extension_of, located
from duckalog.locations import Uri, is_remote
from duckalog.sql import Statement
from duckalog.statements import attach


class DuckdbAttachment(Attachment, frozen=True, kw_only=True):
    """A DuckDB file, local or remote (remote ones are read-only)."""

    kind = "duckdb"

    path: Uri
    """The file, or its URL. Examples: `refdata.duckdb` `https://data.example/refdata.duckdb`"""

    def extensions(self) -> Iterator[str]:
        """Yield what a URL needs."""
        yield from extension_of(self.path)

    def attach(self) -> Statement:
        """Return the ATTACH statement."""
        return attach(located(self.path), self.alias, {"type": "duckdb"}, read_only=self.read_only)

    @property
    def file(self) -> str | None:
        """The file, where it is local."""
        return None if is_remote(self.path) else self.path
