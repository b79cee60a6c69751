"""Views over Delta Lake tables."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from typing import Any, Literal

from duckalog.decode import Unfit
from duckalog.entry import Scan, View, check_options, extension_of, rendered_options
from duckalog.locations import Uri, is_remote
from duckalog.sql import literal, select_all, table_function
from duckalog.views.pinned import PinnedDelta


class DeltaView(View, frozen=True, kw_only=True):
    """A view over a Delta table; `options.version` reads an earlier one (DuckDB 1.5 or newer).

    With `pin` it reads the version that is the last one when it is built.
    """

    source: Literal["delta"]
    uri: Uri
    """The folder of the table, local or remote. Example: `s3://lake/orders`"""
    options: dict[str, Any] = {}
    """Options of `delta_scan`. Example: `{version: 12}`"""
    pin: bool = False
    """Whether to stay with the version of build time until the next build."""

    def __post_init__(self) -> None:
        check_options(self.options)
        if self.pin and any(name.lower() == "version" for name in self.options):
            raise Unfit('"pin" and "version" exclude each other', "Keep one of them.", ("pin",))

    def query(self) -> str:
        """Return the SELECT over `delta_scan`."""
        options = rendered_options(self.options)
        return select_all(table_function("delta_scan", literal(self.uri), options))

    @property
    def locations(self) -> tuple[tuple[str, ...], ...]:
        """The table's URI."""
        return ((str(self.uri),),)

    @property
    def scan(self) -> Scan:
        """The table function over the table; every commit adds a file to its log."""
        options = tuple(rendered_options(self.options))
        if is_remote(self.uri):
            return Scan("delta_scan", options, True, uris=(self.uri,))
        log = os.path.join(glob.escape(self.uri), "_delta_log", "*")
        return Scan("delta_scan", options, False, (log,), (self.uri,))

    @property
    def pinned(self) -> PinnedDelta | None:
        """The table whose version to look up."""
        if not self.pin:
            return None
        return PinnedDelta(uri=self.uri, rendered=rendered_options(self.options))

    def extensions(self) -> Iterator[str]:
        """Yield `delta`, and what the URL needs."""
        yield from extension_of(self.uri)
        yield "delta"
