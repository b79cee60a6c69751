"""What bulk operations read from and write to: files, rows, and what of a COPY has arrived."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg.abc import PQGen

CHUNK = 1 << 18


class Arrivals:
    """The rows of a COPY that have arrived, many at a time.

    psycopg hands them out one by one, and waiting for each costs more than
    reading it.
    """

    def __init__(self, copy: Any) -> None:
        self._copy = copy
        self._pieces: list[Any] = []
        self._reading: PQGen[None] | None = None
        self._wanted: Any = None
        self.is_over = False

    def _read(self) -> PQGen[None]:
        size = 0
        while size < CHUNK:
            piece = yield from self._copy._read_gen()
            if not piece:
                self.is_over = True
                return
            self._pieces.append(piece)
            size += len(piece)

    def next(self) -> PQGen[list[Any]]:
        """Return what is there, having waited for the first of it; none at the end."""
        ready: Any = None
        if self._reading is None:
            self._reading = self._read()
        else:
            ready = yield self._wanted
        try:
            self._wanted = self._reading.send(ready)
            while not self._pieces:
                self._wanted = self._reading.send((yield self._wanted))
        except StopIteration:
            self._reading = None
        pieces, self._pieces = self._pieces, []
        return pieces


@contextmanager
def readable(source: Any) -> Iterator[Any]:
    """Return the pieces of what COPY reads."""
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            yield iter(lambda: file.read(CHUNK), b"")
    elif hasattr(source, "read"):
        yield iter(lambda: source.read(CHUNK) or b"", b"")
    elif isinstance(source, bytes | bytearray):
        yield [source]
    else:
        yield source


async def each_of(pieces: Any) -> AsyncIterator[Any]:
    """Yield pieces of an iterable of either kind."""
    if hasattr(pieces, "__aiter__"):
        async for piece in pieces:
            yield piece
    else:
        for piece in pieces:
            yield piece


@contextmanager
def writable(target: Any) -> Iterator[Callable[[bytes], Any]]:
    """Return what takes the pieces that COPY writes."""
    if isinstance(target, str | os.PathLike):
        with open(target, "wb") as file:
            yield file.write
    elif isinstance(target, io.TextIOBase):
        yield lambda piece: target.write(piece.decode())
    else:
        yield getattr(target, "write", target)


def rows_of(source: Any, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
    """Return rows as sequences in the order of the columns."""
    if isinstance(source, list) and {*map(type, source)} <= {tuple, list}:
        return iter(source)
    return _each_row(source, columns)


def _each_row(source: Any, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
    if hasattr(source, "to_batches"):
        source = source.to_batches()
    elif hasattr(source, "to_pylist"):
        source = [source]
    for item in source:
        kind = type(item)
        if kind is tuple or kind is list:  # first and at once: there may be millions
            yield item
        elif hasattr(item, "to_pylist") and hasattr(item, "schema"):
            yield from zip(*(item.column(one).to_pylist() for one in columns), strict=True)
        elif isinstance(item, Mapping):
            yield [item[one] for one in columns]
        elif isinstance(item, Sequence) and not isinstance(item, str | bytes):
            yield item
        else:
            yield [getattr(item, one) for one in columns]


def chunks_of(rows: Iterator[Any], size: int | None) -> Iterator[Iterable[Any]]:
    """Yield rows so many at a time; all of them at once where no size is told."""
    if size is None:
        yield rows
        return
    while chunk := list(itertools.islice(rows, size)):
        yield chunk
