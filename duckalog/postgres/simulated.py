"""Which pools a client has: those that ask servers, that record as well, or that replay."""

from __future__ import annotations

from typing import Any

from duckalog.postgres.config import PgConfig
from duckalog.postgres.routed import Routed
from duckalog.postgres.simulation import SimulationMode


def routed_of(config: PgConfig) -> type[Routed[Any]]:
    """Return the class of a config's pools."""
    if config.simulation.mode is SimulationMode.RECORD:
        from duckalog.postgres.recorder import RecordingRouted

        return RecordingRouted
    if config.simulation.mode is SimulationMode.REPLAY:
        from duckalog.postgres.replay import ReplayedRouted

        return ReplayedRouted
    return Routed
