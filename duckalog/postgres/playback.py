"""What looks like psycopg's connections and cursors, and answers from a recording."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, ClassVar, NoReturn, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.adapt import AdaptersMap
from psycopg.pq import TransactionStatus
from psycopg.waiting import Ready, Wait

from duckalog.errors import Origin, Problem
from duckalog.postgres.answers import Result, bytes_of, error_of
from duckalog.postgres.errors import SimulationError, UnrecordedError
from duckalog.postgres.faces import Both, Faced
from duckalog.postgres.questions import (
    BATCH,
    COPY_IN,
    COPY_OUT,
    QUERY,
    STREAM,
    copy_kind,
    question,
)
from duckalog.postgres.recording import Answer, Recording
from duckalog.postgres.redaction import Redaction
from duckalog.postgres.tape import Sent

T = TypeVar("T")

ENDS = ("commit", "rollback")


class ReplayedConnection(Faced[Any]):
    """What looks like one of psycopg's connections, and answers from a recording."""

    face: Any
    home: Any
    connection = None
    adapters = psycopg.adapters
    is_async: ClassVar[bool]
    is_over_limit = has_stale_plans = False
    until: float | None = None
    server = within = None

    def __init__(self, recording: Recording, redaction: Redaction, database: str | None) -> None:
        self.closed = False
        self.spare_cursors: list[Any] = []
        self.info = SimpleNamespace(
            server_version=recording.server_version,
            transaction_status=TransactionStatus.IDLE,
            host=recording.file,
            port=0,
            dbname=self.home.config.database,
            user=self.home.config.parameters.get("user", ""),
            backend_pid=0,
        )
        self._recording = recording
        self.redaction = redaction
        self._database = database
        self._counts: Iterator[int] | None = None
        self._is_astray = False

    def limit(self, seconds: float | None) -> None:  # noqa: ARG002
        """Forget that a statement was over its limit."""
        self.is_over_limit = False

    limit_each = limit

    def cursor(self, name: str = "") -> Any:
        """Return a cursor that answers from the recording."""
        return ReplayedCursor(self, STREAM if name else QUERY)

    def execute(self, *statement: Any) -> Any:
        """Return a cursor with the result that was recorded for a statement."""
        return ReplayedCursor(self, QUERY).execute(*statement)

    @asynccontextmanager
    async def batch(self, statements: Sequence[tuple[Any, Sequence[Any]]]) -> AsyncIterator[None]:
        """Answer the block's statements as they were answered at once."""
        said = self.answer(BATCH, statements).said
        self.raise_error(said)
        self._counts = iter(said["counts"])
        try:
            yield
        finally:
            self._counts = None

    @property
    def next_count(self) -> int | None:
        """The rows that the next statement of a batch touched; None where there is no batch."""
        return None if self._counts is None else next(self._counts)

    def answer(
        self, kind: str, statements: Sequence[tuple[Any, Any]], sent: Sent | None = None
    ) -> Answer:
        """Return what was recorded for statements; raises UnrecordedError."""
        hidden = sent and sent.said()
        plain = sent and sent.plain()
        # A secret may be hidden in the recording that this client, without a password, knows not.
        asked = [
            question(kind, self._database, statements, redaction, what)
            for redaction, what in ((self.redaction, hidden), (Redaction(), plain))
        ]
        try:
            return self._recording.answer(*asked)
        except UnrecordedError:
            if kind == QUERY and self._is_astray and asked[0].key in ENDS:
                # A block that ends because of such an error is to raise that one.
                return Answer(0, {"becomes": TransactionStatus.IDLE.name})
            self._is_astray = True
            self._failed()
            raise

    def origin(self, answer: Answer) -> Origin:
        """Return where an answer is recorded."""
        return self._recording.origin(answer)

    def end_of(self, answer: Answer) -> NoReturn:
        """Raise the error that tells that more is asked for than was recorded."""
        message = "the recording of this ends before its result did"
        raise UnrecordedError(Problem(self.origin(answer), message, "Record it anew."))

    def became(self, said: Mapping[str, Any]) -> None:
        """Take note of what became of the transaction."""
        if "becomes" in said:
            self.info.transaction_status = TransactionStatus[said["becomes"]]

    def raise_error(self, said: Mapping[str, Any]) -> None:
        """Raise the error that was recorded, if one was."""
        error = said.get("error")
        if error is None:
            return
        if error.get("is_lost"):
            self.closed = True
            self.info.transaction_status = TransactionStatus.UNKNOWN
        elif "becomes" not in said:
            self._failed()
        self.is_over_limit = bool(error.get("is_over_limit"))
        raise error_of(error)

    def _failed(self) -> None:
        if self.info.transaction_status == TransactionStatus.INTRANS:
            self.info.transaction_status = TransactionStatus.INERROR


class ReplayedCursor(Faced[Any]):
    """What looks like one of psycopg's cursors, with results that were recorded."""

    connection = None

    def __init__(self, connection: ReplayedConnection, kind: str) -> None:
        self.face = connection.face
        self.adapters = AdaptersMap(psycopg.adapters)
        self._connection = connection
        self._kind = kind
        self._reset()

    def _reset(self) -> None:
        """Forget the result."""
        self.pgresult: Result | None = None
        self.rowcount = -1
        self._answer = Answer(0, {})
        self._parts: deque[Mapping[str, Any]] = deque()
        self._said: deque[Sequence[Any]] = deque()
        self._is_at_end = False

    def ask(self, sql: Any, params: Sequence[Any] | None) -> None:
        """Take the result that was recorded for a statement; raises its error."""
        count = self._connection.next_count
        if count is not None:
            self.rowcount = count
            return
        self._answer = self._connection.answer(self._kind, [(sql, params)])
        said = self._answer.said
        self._connection.became(said)
        self._connection.raise_error(said)
        self.rowcount = said.get("count", -1)
        self._parts = deque(self._answer.parts)
        self._said = deque(said.get("rows", ()))
        if "columns" in said:
            self.pgresult = Result(said["columns"])

    @Both
    async def execute(
        self,
        sql: Any,
        params: Sequence[Any] | None = None,
        *,
        prepare: bool | None = None,  # noqa: ARG002
    ) -> Any:
        """Return this cursor, with the result or portal that was recorded for a statement."""
        self.ask(sql, params)
        return self

    def _loaded(self, rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
        if self.pgresult is None:
            return []
        return self.pgresult.rows(rows, self.adapters, self._answer.said.get("zone"))

    @Both
    async def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows."""
        return self._loaded(self._said)

    @Both
    async def fetchmany(self, size: int) -> list[tuple[Any, ...]]:
        """Return the next rows, as many as are asked for, whatever was fetched at once."""
        while len(self._said) < size and self._goes_on():
            part = self._parts.popleft()
            self._connection.raise_error(part)
            self._said += part["rows"]
            self._is_at_end = len(part["rows"]) < part["size"]
        return self._loaded([self._said.popleft() for _ in range(min(size, len(self._said)))])

    def _goes_on(self) -> bool:
        """Say whether there is more; before an error, or where the recording ends, not at once."""
        if self._parts:
            return not self._said or "error" not in self._parts[0]
        if not self._said and not self._is_at_end:
            self._connection.end_of(self._answer)
        return False

    @Both
    async def close(self) -> None:
        """Close the portal."""

    @asynccontextmanager
    async def copy(self, statement: Any) -> AsyncIterator[Any]:
        """Give the data that a COPY wrote, or take data; what the server said comes at the end."""
        if copy_kind(statement) == COPY_OUT:
            self._kind = COPY_OUT
            self.ask(statement, None)
            yield ReplayedCopyOut(self)
        else:
            copy = ReplayedCopyIn(self.face, self._connection.redaction)
            yield copy
            answer = self._connection.answer(COPY_IN, [(statement, None)], copy.sent)
            self._connection.raise_error(answer.said)
            self.rowcount = answer.said["count"]

    def next_piece(self) -> bytes:
        """Return the next piece of the data that a COPY wrote; an empty one at the end."""
        if not self._parts:
            self._connection.end_of(self._answer)
        part = self._parts[0]
        self._connection.raise_error(part)
        if "count" in part:
            self.rowcount = part["count"]
            return b""
        if "hidden" in part:
            message = "the data of this COPY was not recorded: simulation_redact hides values"
            raise SimulationError(Problem(self._connection.origin(self._answer), message))
        return bytes_of(self._parts.popleft())


class ReplayedCopyOut:
    """The data that a COPY wrote, as what waits for it reads it."""

    def __init__(self, cursor: ReplayedCursor) -> None:
        self.connection = self
        self._cursor = cursor

    def _read_gen(self) -> PQGen[bytes]:
        """Return the next piece; an empty one at the end."""
        yield Wait.R  # lets what waits hand out the pieces before this one
        return self._cursor.next_piece()

    def wait(self, conversation: PQGen[T]) -> T:
        """Return what a conversation comes to: what it waits for is there."""
        try:
            next(conversation)
            while True:
                conversation.send(Ready.R)
        except StopIteration as end:
            found: T = end.value
            return found


class ReplayedCopyIn(Faced[Any]):
    """Takes data, of which it keeps a digest."""

    def __init__(self, face: Any, redaction: Redaction) -> None:
        self.face = face
        self.sent = Sent(redaction)

    def set_types(self, types: Sequence[str]) -> None:
        """Do nothing: what is sent is known by the values."""

    @Both
    async def write(self, data: Any) -> None:
        """Take a piece of data."""
        self.sent.write(data)

    @Both
    async def write_row(self, row: Sequence[Any]) -> None:
        """Take a row."""
        self.sent.write_row(row)
