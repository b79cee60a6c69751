"""Whether a client records what it is answered, or replays it, and where to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from duckalog.postgres.redaction import Redact

if TYPE_CHECKING:
    from duckalog.postgres.recording import Recording


class SimulationMode(str, Enum):
    """What a client does with a recording."""

    OFF = "off"
    RECORD = "record"
    REPLAY = "replay"


@dataclass(frozen=True)
class Simulation:
    """A mode, the recording's file, and what is not to be in it.

    `database` is the other database that a client was opened for. The clients
    of one config share the recording, and so how far it is replayed.
    """

    mode: SimulationMode = SimulationMode.OFF
    file: str = ""
    redact: Redact = field(default=(), repr=False)
    database: str | None = None
    _opened: list[Recording] = field(default_factory=list, repr=False, compare=False)

    def recording(self) -> Recording:
        """Return the recording to replay; raises SimulationError."""
        if not self._opened:
            from duckalog.postgres.recording import Recording

            self._opened.append(Recording(self.file))
        return self._opened[0]

    def of(self, database: str) -> Simulation:
        """Return the same for another database."""
        return replace(self, database=database)


def problems_of(mode: Any, file: Any, redact: Any) -> Sequence[tuple[str, str, str]]:
    """Return what is wrong: each field's name, a message, and how to mend it."""
    found = []
    if mode not in list(SimulationMode):
        known = ", ".join(one.value for one in SimulationMode)
        found.append(("simulation", f'there is no mode "{mode}"', f"Modes: {known}."))
    elif mode != SimulationMode.OFF and not file:
        found.append(
            (
                "simulation_file",
                f'the mode "{SimulationMode(mode).value}" needs a file',
                "State it.",
            )
        )
    if isinstance(redact, str):
        remedy = "Give a list of names, or a function."
        found.append(("simulation_redact", "expected several names of columns, got a text", remedy))
    return found


def simulation_of(mode: Any, file: Any, redact: Redact) -> Simulation:
    """Return the simulation that arguments without problems state."""
    names = redact if callable(redact) else tuple(redact)
    return Simulation(SimulationMode(mode), os.fspath(file) if file else "", names)
