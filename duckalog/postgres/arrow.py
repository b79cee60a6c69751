"""Results as Arrow: every PostgreSQL type as one that holds it exactly, or as its text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg import adapters
from psycopg.types.multirange import MultirangeInfo
from psycopg.types.range import RangeInfo
from psycopg.types.string import TextLoader

from duckalog.postgres.errors import PgError
from duckalog.postgres.faces import Blocking, Both, F, finished
from duckalog.postgres.queries import Queries
from duckalog.postgres.rows import Column, columns_of
from duckalog.postgres.streams import RowCursor
from duckalog.postgres.values import outside

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]
    from psycopg.sql import Composable

    from duckalog.postgres.execution import Params

BATCH_ROWS = 10_000

_AS_TEXT = tuple(
    adapters.types[name].oid
    for name in ("numeric", "json", "jsonb", "uuid", "inet", "cidr", "interval", "timetz")
)


def load_exactly(cursor: Any) -> None:
    """Make a cursor's values such as Arrow can be made of: texts, where Python's would be less."""
    for oid in _AS_TEXT:
        cursor.adapters.register_loader(oid, TextLoader)


class _Kind(NamedTuple):
    """An Arrow type, and how an array of it is made of values."""

    type: Any
    made: Callable[[Sequence[Any]], Any]


class _NotHeld(Exception):
    """Arrow has no value for one of PostgreSQL's; the text says for which."""


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise PgError("Arrow needs pyarrow", "Run: pip install 'duckalog[arrow]'") from None
    return pyarrow


@lru_cache(maxsize=1)
def _plain() -> dict[str, _Kind]:
    pa = _pyarrow()
    types = {
        "bool": pa.bool_(),
        "int2": pa.int16(),
        "int4": pa.int32(),
        "int8": pa.int64(),
        "oid": pa.uint32(),
        "float4": pa.float32(),
        "float8": pa.float64(),
        "bytea": pa.binary(),
        "date": pa.date32(),
        "time": pa.time64("us"),
        "timestamp": pa.timestamp("us"),
        "timestamptz": pa.timestamp("us", "UTC"),
    }
    found = {name: _Kind(kind, _maker_of(pa, kind)) for name, kind in types.items()}
    if hasattr(pa, "json_"):  # pyarrow 19; before, both are texts
        found["json"] = found["jsonb"] = _extension(pa, pa.json_(), pa.string(), str)
        found["uuid"] = _extension(pa, pa.uuid(), pa.binary(16), _bytes_of_uuid)
    return found


def _maker_of(pa: Any, kind: Any) -> Callable[[Sequence[Any]], Any]:
    return lambda values: pa.array(values, kind)


def _extension(pa: Any, kind: Any, storage: Any, stored: Callable[[Any], Any]) -> _Kind:
    def made(values: Sequence[Any]) -> Any:
        held = pa.array([None if one is None else stored(one) for one in values], storage)
        return pa.ExtensionArray.from_storage(kind, held)

    return _Kind(kind, made)


def _bytes_of_uuid(value: Any) -> bytes:
    return bytes.fromhex(str(value).replace("-", ""))


@lru_cache(maxsize=1)
def _text() -> _Kind:
    pa = _pyarrow()

    def made(values: Sequence[Any]) -> Any:
        return pa.array([None if one is None else str(one) for one in values], pa.string())

    return _Kind(pa.string(), made)


@lru_cache(maxsize=1024)
def _kind_of(type_oid: int, type_name: str) -> _Kind:
    info = adapters.types.get(type_oid)
    if info is None:
        return _text()
    if type_oid == info.array_oid:
        return _list(_kind_of(info.oid, type_name.removesuffix("[]")))
    if isinstance(info, RangeInfo):
        return _range(_kind_of(info.subtype_oid, ""))
    if isinstance(info, MultirangeInfo):
        return _list(_kind_of(info.range_oid, ""))
    if info.name == "numeric":
        return _numeric(type_name)
    return _plain().get(info.name, _text())


def _numeric(type_name: str) -> _Kind:
    """Return a decimal where precision and scale are declared and Arrow has them, or text."""
    pa = _pyarrow()
    found = re.fullmatch(r"numeric\((\d+),(-?\d+)\)", type_name)
    if not found:
        return _text()
    precision, scale = map(int, found.groups())
    precision, scale = max(precision, scale) - min(scale, 0), max(scale, 0)
    if precision > 76:
        return _text()
    kind = (pa.decimal128 if precision <= 38 else pa.decimal256)(precision, scale)

    def made(values: Sequence[Any]) -> Any:
        texts = _text().made(values)
        if any(str(one) in ("NaN", "Infinity", "-Infinity") for one in values):
            raise _NotHeld("NaN or infinity")
        return texts.cast(kind)

    return _Kind(kind, made)


def _list(item: _Kind) -> _Kind:
    pa = _pyarrow()

    def made(values: Sequence[Any]) -> Any:
        lists = [() if one is None else one for one in values]
        offsets = [0]
        for one in lists:
            offsets.append(offsets[-1] + len(one))
        flat = list(chain.from_iterable(lists))
        if any(isinstance(one, list) for one in flat):
            raise _NotHeld("an array of several dimensions")
        return pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()),
            item.made(flat),
            mask=pa.array([one is None for one in values], pa.bool_()),
        )

    return _Kind(pa.list_(item.type), made)


def _range(bound: _Kind) -> _Kind:
    pa = _pyarrow()
    parts: dict[str, tuple[_Kind, Callable[[Any], Any]]] = {
        "lower": (bound, lambda one: one.lower),
        "upper": (bound, lambda one: one.upper),
        "lower_inc": (_plain()["bool"], lambda one: one.lower_inc),
        "upper_inc": (_plain()["bool"], lambda one: one.upper_inc),
        "is_empty": (_plain()["bool"], lambda one: one.isempty),
    }

    def made(values: Sequence[Any]) -> Any:
        return pa.StructArray.from_arrays(
            [
                kind.made([None if one is None else part(one) for one in values])
                for kind, part in parts.values()
            ],
            fields=list(kind_of_range),
            mask=pa.array([one is None for one in values], pa.bool_()),
        )

    kind_of_range = pa.struct([(name, kind.type) for name, (kind, _) in parts.items()])
    return _Kind(kind_of_range, made)


def _kind(column: Column) -> _Kind:
    return _text() if column.is_masked else _kind_of(column.type_oid, column.type_name)


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """Return the Arrow schema of a result's columns."""
    return _pyarrow().schema([(column.name, _kind(column).type) for column in columns])


def batch_of(columns: Sequence[Column], rows: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    """Return rows as a record batch; raises QueryError that names the column."""
    pa = _pyarrow()
    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    arrays = [_array(pa, *pair) for pair in zip(columns, values, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema_of(columns))


def _array(pa: Any, column: Column, values: Sequence[Any]) -> Any:
    try:
        return _kind(column).made(values)
    except _NotHeld as error:
        raise outside(column, "Arrow", str(error)) from None
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        raise outside(column, "Arrow", "out of its range") from None


class ArrowCursor(RowCursor[F, Any]):
    """The rows of a query as record batches, of `fetch_size` rows each."""

    _loads = staticmethod(load_exactly)

    def _shaped(self, columns: tuple[Column, ...], rows: list[tuple[Any, ...]]) -> list[Any]:
        return [batch_of(columns, rows)] if rows else []

    def to_reader(self) -> pa.RecordBatchReader:
        """Return a reader of the batches, for whatever takes Arrow streams; blocking only."""
        if self.face is not Blocking:
            raise TypeError("iterate with `async for`")
        pa = _pyarrow()
        was_open = self.is_open
        finished(self._enter())

        def batches() -> Iterator[Any]:
            try:
                yield schema_of(columns_of(self._cursor))
                while found := finished(self._fetch()):
                    yield from found
            finally:
                if not was_open:
                    finished(self._leave(None))

        begun = batches()  # so that it gives the connection back also where nobody reads
        return pa.RecordBatchReader.from_batches(next(begun), begun)


class Arrow(Queries[F]):
    """Queries whose results are Arrow's."""

    @Both
    async def query_arrow(
        self,
        sql: str | Composable,
        params: Params = (),
        *,
        timeout_s: float | None = None,
        prepare: bool | None = None,
    ) -> pa.Table:
        """Return all rows as a pyarrow Table; raises QueryError for what Arrow cannot hold."""
        pa = _pyarrow()
        outcome = await self._run(sql, params, timeout_s, prepare, load_exactly)
        columns, rows = outcome.columns, outcome.rows
        starts = range(0, len(rows), BATCH_ROWS)
        batches = [batch_of(columns, rows[start : start + BATCH_ROWS]) for start in starts]
        return pa.Table.from_batches(batches, schema_of(columns))

    def query_arrow_stream(
        self,
        sql: str | Composable,
        params: Params = (),
        *,
        fetch_size: int = BATCH_ROWS,
        timeout_s: float | None = None,
    ) -> ArrowCursor[F]:
        """Return record batches to iterate over; `to_reader` makes an Arrow stream of them."""
        _pyarrow()
        return ArrowCursor(self, sql, params, tuple, fetch_size, self._limit(timeout_s))
