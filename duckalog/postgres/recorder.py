"""Connections that record what they are asked, and what the server says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from duckalog.postgres.answers import said_of_bytes
from duckalog.postgres.errors import is_stale
from duckalog.postgres.execution import FORGET_PLANS
from duckalog.postgres.faces import Both, Faced, entered, settled
from duckalog.postgres.intent import VOLATILE
from duckalog.postgres.masking import ORIGINS
from duckalog.postgres.pool import Pool
from duckalog.postgres.questions import (
    COPY_IN,
    COPY_OUT,
    QUERY,
    STREAM,
    Question,
    copy_kind,
    text_of,
)
from duckalog.postgres.recording import Recorder
from duckalog.postgres.routed import CURRENT, REPLAYED, Routed, Work
from duckalog.postgres.tape import Sent, Tape, redaction_of
from duckalog.redaction import HIDDEN

T = TypeVar("T")

OWN = frozenset(["", CURRENT, FORGET_PLANS, ORIGINS, REPLAYED, VOLATILE])
"""What the client asks for itself; a replay does without."""

PIECE = 1 << 16
"""Bytes of COPY's data on one line, about."""


class Recording:
    """What connections that record have besides the others'."""

    tape: Tape
    face: Any
    info: Any
    held: list[tuple[Question, dict[str, Any]]] | None = None
    """What is recorded by whoever tries a statement on several servers, once it has its result."""
    _is_known = False
    _batch: list[Any] | None = None

    def cursor(self, name: str = "", **stated: Any) -> Any:
        """Return a cursor whose statements are recorded."""
        made = super().cursor(name, **stated)  # type: ignore[misc]
        if not self._is_known:
            self._is_known = True
            self.tape.learn(self)
        return (RecordingStream if name else RecordingCursor)(self, made)

    @asynccontextmanager
    async def batch(self, statements: Sequence[tuple[Any, Sequence[Any]]]) -> AsyncIterator[None]:
        """Record statements that are sent before the first answer is waited for as one."""
        asked = self.tape.asked_at_once(statements)
        cursors: list[Any] = []
        self._batch = cursors
        try:
            async with super().batch(statements):  # type: ignore[misc]
                yield
        except psycopg.Error as error:
            self.tape.answered(asked, self.tape.refused(error, self))
            raise
        else:
            self.tape.answered(asked, {"counts": [one.rowcount for one in cursors]})
        finally:
            self._batch = None


class _Watched(Faced[Any]):
    """A cursor of psycopg's, some of whose methods are recorded."""

    def __init__(self, connection: Any, cursor: Any) -> None:
        self.face = connection.face
        self._connection = connection
        self._tape: Tape = connection.tape
        self._cursor = cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


class RecordingCursor(_Watched):
    """Records statements with their results, and COPY."""

    @Both
    async def execute(
        self, sql: Any, params: Sequence[Any] | None = None, *, prepare: bool | None = None
    ) -> Any:
        """Return this cursor, with the result of a statement."""
        connection, tape = self._connection, self._tape
        before = connection.info.transaction_status
        try:
            await settled(self._cursor.execute(sql, params, prepare=prepare))
        except psycopg.Error as error:
            is_done_again = is_stale(error) and before == TransactionStatus.IDLE
            if connection._batch is None and text_of(sql) not in OWN and not is_done_again:
                said = {**tape.refused(error, connection), **self._becomes(before)}
                self._answered(tape.asked(QUERY, sql, params), said)
            raise
        if connection._batch is not None:
            connection._batch.append(self._cursor)
        elif text_of(sql) not in OWN:
            said = await tape.said_of(self._cursor, connection)
            said = {**said, "count": self._cursor.rowcount, **self._becomes(before)}
            self._answered(tape.asked(QUERY, sql, params), said)
        return self

    def _answered(self, asked: Question, said: dict[str, Any]) -> None:
        if self._connection.held is None:
            self._tape.answered(asked, said)
        else:
            self._connection.held.append((asked, said))

    def _becomes(self, before: TransactionStatus) -> dict[str, str]:
        """Return what became of the transaction, unless an error made it fail."""
        status = self._connection.info.transaction_status
        is_told = status != before and status in (TransactionStatus.IDLE, TransactionStatus.INTRANS)
        return {"becomes": status.name} if is_told else {}

    @asynccontextmanager
    async def copy(self, statement: Any) -> AsyncIterator[Any]:
        """Record a COPY: the data that comes, and a digest of that which goes."""
        tape, sent, kind = self._tape, Sent(self._tape.redaction), copy_kind(statement)
        copying: RecordingCopy | None = None
        is_over = False
        try:
            async with entered(self._cursor.copy(statement)) as copy:
                begun = tape.answered(tape.asked(kind, statement), {}) if kind == COPY_OUT else 0
                copying = RecordingCopy(self, copy, sent, begun)
                yield copying
                is_over = True
        except psycopg.Error as error:
            # How much was sent before it is chance, unless all was.
            what = sent.said() if is_over else HIDDEN
            self._end(statement, copying, what, tape.refused(error, self._connection))
            raise
        except BaseException:
            if copying is not None:
                copying.flush()
            raise
        self._end(statement, copying, sent.said(), {"count": self._cursor.rowcount})

    def _end(
        self, statement: Any, copying: RecordingCopy | None, sent: Any, said: dict[str, Any]
    ) -> None:
        """Record how a COPY ended."""
        tape, kind = self._tape, copy_kind(statement)
        if copying is not None and copying.begun:
            copying.flush()
            tape.went_on(copying.begun, said)
        else:
            asked = tape.asked(kind, statement, None, sent if kind == COPY_IN else None)
            tape.answered(asked, said)


class RecordingCopy(Faced[Any]):
    """Records what a COPY moves; `begun` is the line of one that writes out, else 0."""

    def __init__(self, cursor: RecordingCursor, copy: Any, sent: Sent, begun: int) -> None:
        self.face = cursor.face
        self.begun = begun
        self._tape = cursor._tape
        self._copy = copy
        self._sent = sent
        self._kept = bytearray()

    def set_types(self, types: Sequence[str]) -> None:
        """State the types of the rows' values."""
        self._copy.set_types(types)

    @Both
    async def write(self, data: Any) -> None:
        """Send a piece of data."""
        self._sent.write(data)
        await settled(self._copy.write(data))

    @Both
    async def write_row(self, row: Sequence[Any]) -> None:
        """Send a row."""
        self._sent.write_row(row)
        await settled(self._copy.write_row(row))

    @property
    def connection(self) -> Any:
        """The connection that waits for what is read."""
        return self._copy.connection

    def _read_gen(self) -> PQGen[Any]:
        """Return the next piece of data; an empty one at the end."""
        piece = yield from self._copy._read_gen()
        self._kept += piece
        if len(self._kept) >= PIECE:
            self.flush()
        return piece

    def flush(self) -> None:
        """Record what was read, unless the user hides values: they are not told apart in it."""
        if self._kept:
            redaction = self._tape.redaction
            said: dict[str, Any] = {"hidden": True}
            if not redaction.is_asked_for:
                said = said_of_bytes(redaction.bytes(bytes(self._kept)))
            self._tape.went_on(self.begun, said)
        self._kept.clear()


class RecordingStream(_Watched):
    """Records what is fetched from a portal."""

    _begun = 0

    @Both
    async def execute(self, sql: Any, params: Sequence[Any] | None = None) -> Any:
        """Return this cursor, with a portal."""
        connection, tape = self._connection, self._tape
        asked = tape.asked(STREAM, sql, params)
        try:
            await settled(self._cursor.execute(sql, params))
        except psycopg.Error as error:
            tape.answered(asked, tape.refused(error, connection))
            raise
        said = await tape.said_of(self._cursor, connection)
        said.pop("rows", None)
        self._begun = tape.answered(asked, said)
        return self

    @Both
    async def fetchmany(self, size: int) -> list[Any]:
        """Return the next rows, and record them."""
        tape, connection = self._tape, self._connection
        try:
            rows: list[Any] = await settled(self._cursor.fetchmany(size))
        except psycopg.Error as error:
            tape.went_on(self._begun, tape.refused(error, connection))
            raise
        said = await tape.said_of_more(self._cursor, connection)
        tape.went_on(self._begun, {"size": size, "rows": said})
        return rows


class RecordingPool(Pool[Any]):
    """A pool whose connections record."""

    def __init__(self, face: Any, config: Any, *named: Any) -> None:
        stated = config.simulation
        self.tape = Tape(Recorder.of(stated.file), redaction_of(config), stated.database)
        super().__init__(face, config, *named)

    def _connection_class(self) -> Any:
        kind = super()._connection_class()
        members = {"tape": self.tape, "face": self.face}
        return type(f"Recording{kind.__name__}", (Recording, kind), members)


class RecordingRouted(Routed[Any]):
    """Pools that record what they are asked."""

    pool_class = RecordingPool

    async def open(self) -> None:
        """Open the recording, and every pool."""
        self._recorder = Recorder.of(self.primary.config.simulation.file)
        self._recorder.open()
        try:
            await super().open()
        except BaseException:
            self._recorder.close()
            raise

    async def write(self, work: Work[T]) -> T:
        """Return what is done on the primary, and record the last attempt."""
        with self._last(work) as attempt:
            return await super().write(attempt)

    async def read(self, work: Work[T], max_lag_s: float | None = None) -> T:
        """Return what is read, and record the last attempt: a replay has no replicas."""
        with self._last(work) as attempt:
            return await super().read(attempt, max_lag_s)

    @contextmanager
    def _last(self, work: Work[T]) -> Iterator[Work[T]]:
        held: list[tuple[Question, dict[str, Any]]] = []

        async def attempt(connection: Any) -> T:
            held.clear()
            connection.held = held
            try:
                return await work(connection)
            finally:
                connection.held = None

        try:
            yield attempt
        finally:
            tape: Tape = self.primary.tape  # type: ignore[attr-defined]
            for asked, said in held:
                tape.answered(asked, said)

    async def close(self) -> None:
        """Close every pool, and the recording."""
        await super().close()
        self._recorder.close()
