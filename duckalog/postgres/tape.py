"""What is written to a recording, and what a replay compares it with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import psycopg

from duckalog.postgres.answers import said_of_columns, said_of_error, said_of_rows, zone_of
from duckalog.postgres.config import PgConfig
from duckalog.postgres.masking import Mask, parts_of
from duckalog.postgres.questions import BATCH, Question, as_json, question, shown, stated
from duckalog.postgres.recording import Recorder
from duckalog.postgres.redaction import Redaction
from duckalog.postgres.rows import columns_of
from duckalog.redaction import HIDDEN


class Sent:
    """The digest of what a COPY took; none where a secret was in it, or the user hides values."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._digest = hashlib.sha256()
        self._size = 0
        self._end = b""
        self._is_hidden = redaction.hides_values

    def write(self, data: Any) -> None:
        """Add a piece of data."""
        piece = data.encode() if isinstance(data, str) else bytes(data)
        self._digest.update(piece)
        self._size += len(piece)
        if not self._is_hidden:
            seen = self._end + piece
            self._is_hidden = self._redaction.bytes(seen) != seen
            self._end = seen[-self._redaction.longest :]

    def write_row(self, row: Sequence[Any]) -> None:
        """Add a row."""
        self.write(as_json([shown(one) for one in row]) + "\n")

    def said(self) -> Any:
        """Return what is told of the data."""
        return HIDDEN if self._is_hidden else self.plain()

    def plain(self) -> Any:
        """Return the digest in any case."""
        return {"bytes": self._size, "sha256": self._digest.hexdigest()}


def redaction_of(config: PgConfig) -> Redaction:
    """Return what hides a config's secrets, and what its user wants hidden."""
    secrets = [one.reveal() for one in config.secrets.values()]
    masked = [parts_of(name)[-1] for name in config.masks]
    return Redaction(config.simulation.redact, secrets, masked)


class Tape:
    """Where the connections of one database record to, and what they hide."""

    def __init__(self, recorder: Recorder, redaction: Redaction, database: str | None) -> None:
        self._recorder = recorder
        self._database = database
        self._version = 0
        self.redaction = redaction

    def learn(self, connection: Any) -> None:
        """Hide the connection's password, and tell its server's version once."""
        self.redaction.learn([connection.info.password])
        version = connection.info.server_version
        if version != self._version:
            self._version = version
            self._recorder.write({"server_version": version})

    def asked(
        self, kind: str, sql: Any, params: Sequence[Any] | None = None, sent: Any = None
    ) -> Question:
        """Return what is asked by a statement, and by the data sent to it."""
        return question(kind, self._database, [(sql, params)], self.redaction, sent)

    def asked_at_once(self, statements: Sequence[tuple[Any, Sequence[Any]]]) -> Question:
        """Return what is asked by a batch."""
        return question(BATCH, self._database, statements, self.redaction)

    def answered(self, asked: Question, said: dict[str, Any]) -> int:
        """Record an answer, and return its line."""
        return self._recorder.write({**stated(asked), **said})

    def went_on(self, line: int, said: dict[str, Any]) -> None:
        """Record more of the answer that began at a line."""
        self._recorder.write({"of": line, **said})

    async def said_of(self, cursor: Any, connection: Any) -> dict[str, Any]:
        """Return the rows of a cursor's result with masks on, and the columns."""
        if not columns_of(cursor):
            return {}
        hiding = await self._hiding(cursor, connection)
        said: dict[str, Any] = {"columns": said_of_columns(cursor, self.redaction, hiding)}
        zone = zone_of(connection)
        if zone is not None:
            said["zone"] = zone
        said["rows"] = said_of_rows(connection, cursor.pgresult, self.redaction, hiding)
        return said

    async def said_of_more(self, cursor: Any, connection: Any) -> list[list[Any]]:
        """Return further rows of a result with masks on."""
        hiding = await self._hiding(cursor, connection)
        return said_of_rows(connection, cursor.pgresult, self.redaction, hiding)

    async def _hiding(self, cursor: Any, connection: Any) -> dict[int, Mask]:
        masking = connection.masking
        if masking is None:
            return {}
        return dict(await masking.hiding(connection, columns_of(cursor), cursor.pgresult))

    def refused(self, error: psycopg.Error, connection: Any) -> dict[str, Any]:
        """Return an error."""
        return {"error": said_of_error(error, connection, self.redaction)}
