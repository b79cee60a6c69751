"""What a server answers, as a recording has it and as psycopg has it.

Values are recorded as the texts that PostgreSQL sends for them, and psycopg
makes values of them again: whatever type it knows can be replayed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg.adapt import AdaptersMap, PyFormat, Transformer
from psycopg.pq import DiagnosticField, Format
from psycopg.types.datetime import TimestamptzLoader

from duckalog.postgres.errors import SimulationError
from duckalog.postgres.redaction import Redaction
from duckalog.postgres.rows import columns_of

_STYLES = {"DateStyle": "ISO", "IntervalStyle": "postgres"}
_OF_THE_SOURCE = ("SOURCE_FILE", "SOURCE_LINE", "SOURCE_FUNCTION")
_MAY_HAVE_VALUES = ("MESSAGE_DETAIL", "CONTEXT", "INTERNAL_QUERY")


def said_of_columns(
    cursor: Any, redaction: Redaction, masks: Mapping[int, Any]
) -> list[dict[str, Any]]:
    """Return the columns of a cursor's result; a modifier is told where there is one."""
    columns = []
    for place, column in enumerate(columns_of(cursor)):
        said: dict[str, Any] = {
            "name": redaction.message(column.name),
            "type": column.type_name,
            "oid": column.type_oid,
        }
        modifier = cursor.pgresult.fmod(place)
        if modifier != -1:
            said["modifier"] = modifier
        if place in masks:
            said["is_masked"] = True
        columns.append(said)
    return columns


def said_of_rows(
    connection: Any, result: Any, redaction: Redaction, masks: Mapping[int, Callable[[Any], Any]]
) -> list[list[Any]]:
    """Return the rows of a result: a text for each value, null, or what hides one."""
    hiding = {
        place: hide
        for place in range(result.nfields)
        if (hide := masks.get(place) or redaction.of_column(result.fname(place).decode()))
    }
    transformer = Transformer(connection)
    rows = []
    for row in range(result.ntuples):
        values = [result.get_value(row, place) for place in range(result.nfields)]
        told = [_said(one, redaction) for one in values]
        for place, hide in hiding.items():
            if values[place] is not None:
                loader = transformer.get_loader(result.ftype(place), Format.TEXT)
                told[place] = _hidden(hide(loader.load(values[place])), redaction)
        rows.append(told)
    return rows


def _said(value: bytes | None, redaction: Redaction) -> Any:
    if value is None:
        return None
    text = value.decode(errors="surrogateescape")
    told = redaction.text(text)
    return text if told == text else {"hidden": told}


def _hidden(value: Any, redaction: Redaction) -> Any:
    """Return what a user wants to be told for a value."""
    try:
        return {"value": redaction.of_data(json.loads(json.dumps(value, allow_nan=False)))}
    except (TypeError, ValueError):
        dumped = Transformer().get_dumper(value, PyFormat.TEXT).dump(value)
        return None if dumped is None else _said(bytes(dumped), redaction)


def zone_of(connection: Any) -> str | None:
    """Return the time zone that values are told in, None for UTC; raises SimulationError.

    The values of other styles than the usual could not be read again.
    """
    for name, usual in _STYLES.items():
        style = connection.info.parameter_status(name)
        if style and not style.startswith(usual):
            raise SimulationError(
                f"a recording needs the {name} {usual}, and the session has {style}",
                f"SET {name} TO {usual}, or DEFAULT.",
            )
    key: str | None = getattr(connection.info.timezone, "key", None)
    return key


def said_of_error(error: psycopg.Error, connection: Any, redaction: Redaction) -> dict[str, Any]:
    """Return an error, without the details that may quote values where the user hides some."""
    kept = [one for one in DiagnosticField if one.name not in _OF_THE_SOURCE]
    if redaction.hides_values:
        kept = [one for one in kept if one.name not in _MAY_HAVE_VALUES]
    found = {one.name.lower(): getattr(error.diag, one.name.lower(), None) for one in kept}
    said: dict[str, Any] = {
        "class": type(error).__name__,
        # Its own text quotes the statement, and cuts it.
        "message": redaction.message(error.diag.message_primary or str(error)),
        "diagnostics": {name: redaction.message(one) for name, one in found.items() if one},
    }
    if connection.closed:
        said["is_lost"] = True
    if connection.is_over_limit:
        said["is_over_limit"] = True
    return said


def error_of(said: Mapping[str, Any]) -> psycopg.Error:
    """Return the error that was recorded, as psycopg raises it."""
    fields: dict[int, bytes | None] = {
        DiagnosticField[name.upper()]: text.encode() for name, text in said["diagnostics"].items()
    }
    kind = getattr(psycopg.errors, said["class"], psycopg.Error)
    made: psycopg.Error = kind(said["message"], info=fields or None)
    return made


class Result:
    """The columns of a recorded result, as libpq's results tell them."""

    def __init__(self, columns: Sequence[Mapping[str, Any]]) -> None:
        self._columns = columns
        self._rows: list[Sequence[Any]] = []
        self.nfields = len(columns)

    @property
    def ntuples(self) -> int:
        """The rows that values were made of last."""
        return len(self._rows)

    def fformat(self, place: int) -> Format:  # noqa: ARG002
        """Return the format of a column's values."""
        return Format.TEXT

    def get_value(self, row: int, place: int) -> bytes | None:
        """Return a value as the server sent it; None for one that is hidden, too."""
        said = self._rows[row][place]
        return said.encode(errors="surrogateescape") if isinstance(said, str) else None

    def clear(self) -> None:
        """Do nothing: a recording is read once, and its answers are given again."""

    def fname(self, place: int) -> bytes:
        """Return a column's name."""
        return str(self._columns[place]["name"]).encode()

    def ftype(self, place: int) -> int:
        """Return the OID of a column's type."""
        return int(self._columns[place]["oid"])

    def fmod(self, place: int) -> int:
        """Return the modifier of a column's type."""
        return int(self._columns[place].get("modifier", -1))

    def is_masked(self, place: int) -> bool:
        """Say whether a column's values were masked when they were recorded."""
        return bool(self._columns[place].get("is_masked"))

    def rows(
        self, rows: Iterable[Sequence[Any]], adapters: AdaptersMap, zone: str | None
    ) -> list[tuple[Any, ...]]:
        """Return recorded rows as values; raises psycopg.DataError where it knows none."""
        self._rows = list(rows)
        transformer = Transformer.from_context(_Adapters(adapters, zone))
        loads = [
            transformer.get_loader(self.ftype(place), Format.TEXT).load
            for place in range(self.nfields)
        ]
        return [
            tuple(_value(one, load) for one, load in zip(row, loads, strict=True))
            for row in self._rows
        ]


def _value(said: Any, load: Callable[[bytes], Any]) -> Any:
    if isinstance(said, str):
        return load(said.encode(errors="surrogateescape"))
    if said is None:
        return None
    if "value" in said:
        return said["value"]
    try:
        return load(said["hidden"].encode())
    except Exception:
        return said["hidden"]


class _Adapters:
    """psycopg's adapters for the values of a session in a time zone."""

    connection = None

    def __init__(self, adapters: AdaptersMap, zone: str | None) -> None:
        self.adapters = adapters
        if zone is not None:
            self.adapters = AdaptersMap(adapters)
            self.adapters.register_loader("timestamptz", _loader_of(zone))


@lru_cache(maxsize=16)
def _loader_of(zone: str) -> type[TimestamptzLoader]:
    place = ZoneInfo(zone)

    class InZone(TimestamptzLoader):
        def load(self, data: Any) -> datetime:
            found = super().load(data)
            try:
                return found.astimezone(place)
            except OverflowError:
                return found

    return InZone


def said_of_bytes(data: bytes) -> dict[str, str]:
    """Return data as text, or where it is none, in base 64."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def bytes_of(said: Mapping[str, str]) -> bytes:
    """Return data that was recorded."""
    return base64.b64decode(said["base64"]) if "base64" in said else said["text"].encode()
