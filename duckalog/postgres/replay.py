"""A client's pools that answer from a recording: no server, no network, no password."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, NoReturn

from duckalog.postgres.errors import ClosedError, SimulationError
from duckalog.postgres.intent import intent_of
from duckalog.postgres.masking import Mask, Masking
from duckalog.postgres.playback import ReplayedConnection
from duckalog.postgres.pool import Pool, PoolStats
from duckalog.postgres.questions import text_of
from duckalog.postgres.routed import Routed
from duckalog.postgres.rows import Column
from duckalog.postgres.tape import redaction_of


class ReplayedMasking(Masking):
    """Tells which columns were masked when they were recorded, and masks others by their names."""

    async def masked(
        self, connection: Any, cursor: Any, rows: list[tuple[Any, ...]]
    ) -> tuple[tuple[Column, ...], list[tuple[Any, ...]]]:
        """Return the columns of a cursor's result, and its rows with masks on."""
        columns, rows = await super().masked(connection, cursor, rows)
        told = (
            replace(one, is_masked=one.is_masked or cursor.pgresult.is_masked(place))
            for place, one in enumerate(columns)
        )
        return tuple(told), rows

    async def refuse_if_masked(self, connection: Any, sql: str) -> None:
        """Do nothing: what was masked was not written."""

    async def _masks(
        self,
        connection: Any,  # noqa: ARG002
        result: Any,
        names: Sequence[str],
    ) -> dict[int, Mask]:
        return {
            place: rule.mask
            for place, name in enumerate(names)
            for rule in reversed(self._rules)
            if not result.is_masked(place) and rule.is_for(name, None)
        }


class ReplayedPool(Pool[Any]):
    """A pool whose connections answer from a recording, as many as are asked for."""

    def __init__(self, face: Any, config: Any, *named: Any) -> None:
        super().__init__(face, config, *named)
        self.masking = ReplayedMasking(config.masks)
        self._redaction = redaction_of(config)
        self._lent: set[Any] = set()
        self._lendings = 0
        self._is_open = False

    def _made(self) -> None:
        """Make no pool of psycopg's."""

    async def open(self) -> None:
        """Read the recording; raises SimulationError."""
        self._recording = self.config.simulation.recording()
        self._is_open = True

    open_later = open

    async def close(self) -> None:
        """Lend no more connections."""
        self._is_open = False

    async def acquire(self, timeout_s: float | None = None) -> Any:  # noqa: ARG002
        """Return a connection."""
        if not self._is_open:
            raise ClosedError(f"{self.name} is not open", "Use the client in a with block.")
        kind = self._connection_class()
        made = kind(self._recording, self._redaction, self.config.simulation.database)
        self._lent.add(made)
        self._lendings += 1
        return made

    def _connection_class(self) -> Any:
        members = {**self._of_connections(), "face": self.face, "is_async": self.face.is_async}
        return type("ReplayedConnection", (ReplayedConnection,), members)

    async def release(self, connection: Any) -> None:
        """Take a connection back."""
        self._lent.discard(connection)

    async def connect(self, limit_s: float | None = None) -> NoReturn:  # noqa: ARG002
        """Raise SimulationError: only notifications need a connection of their own."""
        raise SimulationError(
            "notifications are not simulated",
            "Leave listen() out of what is replayed; notify() is a statement like others.",
        )

    async def resize(self, min_size: int, max_size: int) -> None:
        """Change the sizes that are told."""
        self.config = self.config.with_pool(min_size=min_size, max_size=max_size)

    async def drain(self) -> None:
        """Do nothing: there is no connection to replace."""

    async def check(self) -> None:
        """Do nothing: there is no server to ask."""

    def stats(self) -> PoolStats:
        """Return how many connections were lent."""
        told: dict[str, Any] = dict.fromkeys((one.name for one in fields(PoolStats)), 0)
        return PoolStats(
            **{
                **told,
                "name": self.name,
                "min_size": self.config.pool.min_size,
                "max_size": self.config.pool.max_size,
                "size": len(self._lent),
                "in_use": len(self._lent),
                "acquired": self._lendings,
            }
        )


class ReplayedRouted(Routed[Any]):
    """One recording in the place of a primary and its replicas."""

    pool_class = ReplayedPool

    def __init__(self, face: Any, config: Any) -> None:
        super().__init__(face, config.without_replicas())

    async def is_read(self, sql: Any) -> bool:
        """Say whether a statement reads, as far as its text tells."""
        return intent_of(text_of(sql)).is_read

    async def answers(self) -> bool:
        """Say that the recording answers."""
        return True
