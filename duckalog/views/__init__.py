"""Views, one file for one kind of source; a new source is one line in `VIEW_TYPES`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from duckalog.decode import chosen_by
from duckalog.document import Data
from duckalog.entry import View
from duckalog.errors import NOWHERE, Problem, nearest, sentences, shown
from duckalog.views.attached import DuckdbView, DucklakeView, PostgresView, SqliteView
from duckalog.views.delta import DeltaView
from duckalog.views.files import CsvView, JsonView, ParquetView
from duckalog.views.iceberg import IcebergView
from duckalog.views.select import SelectView

VIEW_TYPES: dict[str, type[View]] = {
    "parquet": ParquetView,
    "csv": CsvView,
    "json": JsonView,
    "delta": DeltaView,
    "iceberg": IcebergView,
    "duckdb": DuckdbView,
    "sqlite": SqliteView,
    "postgres": PostgresView,
    "ducklake": DucklakeView,
}

SQL_KEYS = ("sql", "sql_file")
_OTHER_WORDS = {"type": "source", "kind": "source", "format": "source", "query": "sql"}
_SOURCE_KEYS = ("source", "uri", "database", "table", "catalog", "options")


def view_type(data: Mapping[str, Data]) -> type[View] | Problem:
    """Return the struct for a view's keys, or what is wrong with them."""
    stated = [key for key in SQL_KEYS if data.get(key) is not None]
    if len(stated) > 1:
        return _problem('"sql" and "sql_file" exclude each other', "Keep one of them.", "sql_file")
    if stated:
        other = next((key for key in _SOURCE_KEYS if data.get(key) is not None), None)
        if other:
            message = f'"{stated[0]}" and "{other}" exclude each other'
            return _problem(message, "A view is either SQL or a source.", other)
        return SelectView
    if data.get("source") is None:
        meant = next((key for key in data if key in _OTHER_WORDS), "")
        hint = f'"{meant}" is called "{_OTHER_WORDS[meant]}" here.' if meant else _unknown_in(data)
        sources = f"Sources: {', '.join(VIEW_TYPES)}"
        return _problem('a view needs "source", "sql" or "sql_file"', sentences(hint, sources))
    return chosen_by("source", VIEW_TYPES, "source", data)


def _unknown_in(data: Mapping[str, Data]) -> str:
    """Return which key no view has, and what may be meant by it."""
    kinds: tuple[type[View], ...] = (*VIEW_TYPES.values(), SelectView)
    known = {one.encode_name for kind in kinds for one in msgspec.structs.fields(kind)}
    unknown = next((key for key in data if key not in known), None)
    if unknown is None:
        return ""
    return sentences(f'No view has a key "{shown(unknown)}".', nearest(unknown, known))


def _problem(message: str, remedy: str = "", key: str = "") -> Problem:
    return Problem(NOWHERE._replace(path=(key,) if key else ()), message, remedy)
