"""Rows as a caller wants them: with names, as dicts, as objects of a class, or as Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import lru_cache, partial
from typing import Any, TypeVar, cast, overload

from duckalog.postgres.errors import RowCountError

T = TypeVar("T")


@dataclass(frozen=True)
class Column:
    """A column of a result; `type_name` is as PostgreSQL writes it, with its modifiers.

    A type that is not part of PostgreSQL, an enum say, has its OID for a name.
    """

    name: str
    type_oid: int
    type_name: str
    is_masked: bool = False


@dataclass(slots=True)
class Outcome:
    """What one statement came to: its columns, its rows as tuples, and how many it touched."""

    columns: tuple[Column, ...]
    rows: list[tuple[Any, ...]]
    rows_affected: int


class Row(tuple[Any, ...]):
    """A row of a result: a tuple whose values have names, too.

    Where columns share a name, the name means the first of them.
    """

    __slots__ = ()
    _places: Mapping[str, int] = {}

    @overload  # type: ignore[override]
    def __getitem__(self, key: int) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    def __getitem__(self, key: int | slice | str) -> Any:
        if isinstance(key, str):
            try:
                key = self._places[key]
            except KeyError:
                known = ", ".join(self._places)
                raise KeyError(f'no column "{key}"; columns: {known}') from None
        return tuple.__getitem__(self, key)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a column's value, or the default where there is no such column."""
        place = self._places.get(name)
        return default if place is None else tuple.__getitem__(self, place)

    def keys(self) -> tuple[str, ...]:
        """Return the columns' names."""
        return tuple(self._places)

    def to_dict(self) -> dict[str, Any]:
        """Return the values by their columns' names."""
        return {name: tuple.__getitem__(self, place) for name, place in self._places.items()}

    def __repr__(self) -> str:
        return f"Row({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _row, (tuple(self._places), tuple(self))


def _row(names: tuple[str, ...], values: tuple[Any, ...]) -> Row:
    return row_maker(names)(values)


@lru_cache(maxsize=256)
def row_maker(names: tuple[str, ...]) -> Callable[[Iterable[Any]], Row]:
    """Return the function that makes Rows with these names of tuples."""
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        places.setdefault(name, place)
    kind = type("Row", (Row,), {"__slots__": (), "_places": places, "__module__": __name__})
    return cast("Callable[[Iterable[Any]], Row]", partial(tuple.__new__, kind))


@lru_cache(maxsize=256)
def maker(into: Any, names: tuple[str, ...]) -> Callable[[tuple[Any, ...]], Any]:
    """Return the function that makes what `into` says of a tuple with these names.

    `into` is Row, tuple, dict, a dataclass, a pydantic model, or any callable
    that takes the columns as keywords.
    """
    if into is Row:
        return row_maker(names)
    if into is tuple:
        return tuple
    if into is dict:
        return lambda values: dict(zip(names, values, strict=True))
    validate = getattr(into, "model_validate", None)
    if validate and not is_dataclass(into):
        return lambda values: validate(dict(zip(names, values, strict=True)))
    return lambda values: into(**dict(zip(names, values, strict=True)))


def shaped(outcome: Outcome, into: Callable[..., T]) -> list[T]:
    """Return the rows of an outcome as `into` says."""
    if into is tuple:
        return cast("list[T]", outcome.rows)
    return list(map(maker(into, names_of(outcome.columns)), outcome.rows))


def names_of(columns: Sequence[Column]) -> tuple[str, ...]:
    """Return the columns' names."""
    return tuple(column.name for column in columns)


def only_row(rows: Sequence[T]) -> T:
    """Return the one row; raises RowCountError."""
    if not rows:
        raise RowCountError("the query returned no row", "query_opt takes none, too.")
    return at_most_one(rows)[0]


def at_most_one(rows: Sequence[T]) -> Sequence[T]:
    """Return the rows if they are no more than one; raises RowCountError."""
    if len(rows) > 1:
        raise RowCountError(
            f"the query returned {len(rows)} rows, not one", "Add a LIMIT, or query."
        )
    return rows


def only_value(outcome: Outcome) -> Any:
    """Return the first column of the one row; raises RowCountError."""
    if not outcome.rows and not outcome.columns:
        raise RowCountError("the statement returns no value", "Add RETURNING, or use execute.")
    return only_row(outcome.rows)[0]


def columns_of(cursor: Any) -> tuple[Column, ...]:
    """Return the columns of a psycopg cursor's result; none where it has no rows."""
    result = cursor.pgresult
    if result is None or not result.nfields:
        return ()
    places = range(result.nfields)
    return _columns(
        tuple(map(result.fname, places)),
        tuple(map(result.ftype, places)),
        tuple(map(result.fmod, places)),
    )


@lru_cache(maxsize=1024)
def _columns(
    names: tuple[bytes, ...], oids: tuple[int, ...], modifiers: tuple[int, ...]
) -> tuple[Column, ...]:
    return tuple(
        Column(name.decode(), oid, _type_name(oid, modifier))
        for name, oid, modifier in zip(names, oids, modifiers, strict=True)
    )


def _type_name(oid: int, modifier: int) -> str:
    from psycopg import adapters

    found = adapters.types.get(oid)
    return found.get_type_display(oid=oid, fmod=modifier) if found else str(oid)
