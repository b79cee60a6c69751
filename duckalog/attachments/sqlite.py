"""Attached SQLite databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from duckalog.entry import Attachment
from duckalog.locations import LocalPath
from duckalog.sql import Statement, literal
from duckalog.statements import attach

Milliseconds = Annotated[int, msgspec.Meta(ge=0, description="milliseconds, from 0")]


class SqliteAttachment(Attachment, frozen=True, kw_only=True):
    """A SQLite file; `busy_timeout` is how many milliseconds to wait for a writer's lock."""

    kind = "sqlite"

    path: LocalPath
    """The file. Example: `crm.db`"""
    busy_timeout: Milliseconds | None = None
    """How many milliseconds to wait for another process's lock. Example: `5000`"""

    def extensions(self) -> Iterator[str]:
        """Yield `sqlite_scanner`."""
        yield "sqlite_scanner"

    def attach(self) -> Statement:
        """Return the ATTACH statement."""
        options: dict[str, str] = {"type": "sqlite"}
        if self.busy_timeout is not None:
            options["busy_timeout"] = str(self.busy_timeout)
        return attach(literal(self.path), self.alias, options, read_only=self.read_only)

    @property
    def file(self) -> str | None:
        """The file: DuckDB attaches a missing one without a word, and fails later elsewhere."""
        return self.path
