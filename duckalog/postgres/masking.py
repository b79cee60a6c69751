"""Columns whose values a client hides from its own program."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

import psycopg
from psycopg import generators
from psycopg.pq import ExecStatus

from duckalog.postgres.errors import MaskError
from duckalog.postgres.faces import settled
from duckalog.postgres.rows import Column, columns_of
from duckalog.sql import split_name

Mask = Callable[[Any], Any]
"""Returns what is shown in place of a value; it is not asked of NULL."""

MAX_PARTS = 3


def mask_constant(shown: Any = "***") -> Mask:
    """Return a mask that shows the same for every value."""
    return lambda value: shown  # noqa: ARG005


def mask_partial(*, first: int = 0, last: int = 4, fill: str = "*") -> Mask:
    """Return a mask that shows a value's first and last characters, if it has as many again."""
    if first < 0 or last < 0:
        raise ValueError("first, last: expected at least 0")

    def masked(value: Any) -> str:
        text = str(value)
        if len(text) < 2 * (first + last):
            return fill * len(text)
        hidden = fill * (len(text) - first - last)
        return f"{text[:first]}{hidden}{text[len(text) - last :]}"

    return masked


def mask_hash(key: Any) -> Mask:
    """Return a mask that shows the same digest for the same value: HMAC-SHA256 with a key.

    The key is text, bytes, or has `get_secret_value()`; whoever has it can
    find short values out by trying.
    """
    reveal = getattr(key, "get_secret_value", None)
    found = reveal() if reveal else key
    secret = found.encode() if isinstance(found, str) else bytes(found)
    if not secret:
        raise ValueError("key: expected at least one character")

    def masked(value: Any) -> str:
        told = bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
        return hmac.new(secret, told, hashlib.sha256).hexdigest()

    return masked


class Names(NamedTuple):
    """Where a value is from: the columns, and the table, with those that it inherits from.

    There are several columns where the value is a whole row.
    """

    tables: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    is_view: bool


class _Rule(NamedTuple):
    parts: tuple[str, ...]
    mask: Mask

    def is_for(self, name: str, origin: Names | None) -> bool:
        """Say whether a column of a result is to be masked, by its name and where it comes from."""
        table, column = self.parts[:-1], self.parts[-1]
        is_named = fnmatchcase(name, column)
        if origin is None:
            return is_named
        is_from = any(fnmatchcase(one, column) for one in origin.columns)
        if not table or origin.is_view:
            return is_named or is_from  # which table a view's column is of is not told
        return is_from and any(self._is_table(table, found) for found in origin.tables)

    @staticmethod
    def _is_table(patterns: Sequence[str], names: Sequence[str]) -> bool:
        pairs = zip(reversed(patterns), reversed(names))  # noqa: B905 - the schema may be left out
        return all(fnmatchcase(name, pattern) for pattern, name in pairs)


ORIGINS = """
WITH RECURSIVE asked AS (
    SELECT * FROM unnest($1::pg_catalog.oid[], $2::pg_catalog.int2[]) AS a(oid, number)
), family AS (
    SELECT oid AS child, oid FROM asked
    UNION
    SELECT child, inhparent FROM family JOIN pg_catalog.pg_inherits ON inhrelid = oid
)
SELECT asked.oid, number, bool_or(relkind IN ('v', 'm')),
    array_agg(nspname::text), array_agg(relname::text), array_agg(attname::text)
FROM asked
JOIN pg_catalog.pg_attribute ON attrelid = asked.oid AND NOT attisdropped
    AND (attnum = number OR number = 0 AND attnum > 0)
JOIN family ON child = asked.oid
JOIN pg_catalog.pg_class ON pg_class.oid = family.oid
JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
GROUP BY asked.oid, number
"""

Origin = tuple[int, int]
"""The table's OID and the column's number, as PostgreSQL tells them.

The number is 0 for a whole row; both are, where a value is of no column.
"""

_OF_A_ROW = mask_constant()


class Masking:
    """The masks of a config, and what is known of the columns of one database."""

    def __init__(self, masks: Mapping[str, Mask]) -> None:
        """Take masks by column: `email`, `users.email` or `crm.users.email`, with `*` and `?`."""
        self._rules = [_Rule(parts_of(name), mask) for name, mask in masks.items()]
        self._names: dict[Origin, Names | None] = {(0, 0): None}

    async def masked(
        self, connection: Any, cursor: Any, rows: list[tuple[Any, ...]]
    ) -> tuple[tuple[Column, ...], list[tuple[Any, ...]]]:
        """Return the columns of a cursor's result, and its rows with masks on."""
        result = cursor.pgresult
        columns = columns_of(cursor)
        found = await self._masks(connection, result, [one.name for one in columns])
        if not found:
            return columns, rows
        told = tuple(
            replace(one, is_masked=True) if place in found else one
            for place, one in enumerate(columns)
        )
        return told, [tuple(_shown(row, found, columns)) for row in rows]

    def forget(self) -> None:
        """Look names up anew: tables or columns were renamed."""
        self._names = {(0, 0): None}

    async def refuse_if_masked(self, connection: Any, sql: str) -> None:
        """Raise MaskError where a query's result has masked columns; it is not run."""
        result = await settled(connection.wait(_described(connection.pgconn, sql.encode())))
        names = [(result.fname(place) or b"").decode() for place in range(result.nfields)]
        found = await self._masks(connection, result, names)
        if found:
            hidden = ", ".join(names[place] for place in found)
            raise MaskError(
                f"COPY shows values as they are, and these columns are masked: {hidden}",
                "Leave them out, or use query_stream.",
            )

    async def hiding(
        self, connection: Any, columns: Sequence[Column], result: Any
    ) -> dict[int, Mask]:
        """Return what hides the values of a result's columns, by their place."""
        found = await self._masks(connection, result, [one.name for one in columns])
        return {
            place: partial(shown_value, mask, columns[place].name) for place, mask in found.items()
        }

    async def _masks(self, connection: Any, result: Any, names: Sequence[str]) -> dict[int, Mask]:
        """Return the masks of a result's columns by their place; the first that fits counts."""
        origins = [(result.ftable(place), result.ftablecol(place)) for place in range(len(names))]
        known = self._names  # another thread may put an empty one there
        unknown = {one for one in origins if one not in known}
        if unknown:
            known.update(await _looked_up(connection, sorted(unknown)))
        return {
            place: rule.mask if origin[1] or not origin[0] else _OF_A_ROW
            for place, (name, origin) in enumerate(zip(names, origins, strict=True))
            for rule in reversed(self._rules)
            if rule.is_for(name, known[origin])
        }


async def _looked_up(connection: Any, origins: Sequence[Origin]) -> dict[Origin, Names]:
    cursor = await settled(
        connection.execute(ORIGINS, [list(column) for column in zip(*origins, strict=True)])
    )
    found = {}
    for oid, number, is_view, schemas, tables, columns in await settled(cursor.fetchall()):
        names = tuple(zip(schemas, tables, strict=True))
        found[oid, number] = Names(names, tuple(columns), is_view)
    if len(found) < len(origins):
        raise MaskError(
            "it is not known which columns these are, and whether they are masked",
            "Their table was dropped, or made after the transaction's snapshot was taken.",
        )
    return found


def parts_of(name: str) -> tuple[str, ...]:
    """Return the parts of a masked column's name; raises ValueError."""
    parts = split_name(name)
    if len(parts) > MAX_PARTS:
        raise ValueError(f'"{name}" is not a column: write column, table.column, or with a schema')
    return parts


def _shown(row: tuple[Any, ...], masks: Mapping[int, Mask], columns: Sequence[Column]) -> list[Any]:
    values = list(row)
    for place, mask in masks.items():
        if values[place] is not None:
            values[place] = shown_value(mask, columns[place].name, values[place])
    return values


def shown_value(mask: Mask, name: str, value: Any) -> Any:
    """Return what a mask shows for a value of a column; raises MaskError where it fails."""
    try:
        return mask(value)
    except Exception as error:
        # Its text may hold the value.
        reason = type(error).__name__
        raise MaskError(f'the mask of the column "{name}" failed: {reason}') from None


def _described(pgconn: Any, sql: bytes) -> Any:
    """Have the server parse a statement, and return what columns it has."""
    for send in (
        partial(pgconn.send_prepare, b"", sql),
        partial(pgconn.send_describe_prepared, b""),
    ):
        send()
        (result,) = yield from generators.execute(pgconn)
        if result.status != ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result, encoding="utf-8")
    return result
