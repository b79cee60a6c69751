"""The ends of a COPY: what it reads from and writes to, and what of it has arrived."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator, Callable, Iterator
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
