"""Which server answers a read: policies, lag, and what a caller wrote before. No I/O."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

DOWN_FOR_S = 2.0
"""How long a replica that failed is left alone, unless the watch finds it well."""

SAMPLES = 4096


class RoutingPolicy(str, Enum):
    """How reads are spread; writes always go to the primary."""

    PRIMARY = "primary"
    REPLICA = "replica"
    ROUND_ROBIN = "round_robin"
    LEAST_CONNECTIONS = "least_connections"
    RANDOM = "random"


class ConnectionRole(str, Enum):
    """What a server was when it was last asked."""

    PRIMARY = "primary"
    REPLICA = "replica"
    UNKNOWN = "unknown"


@dataclass
class Replica:
    """What is known of a replica; times are of `time.monotonic()`."""

    name: str
    role: ConnectionRole = ConnectionRole.UNKNOWN
    replay_lsn: int = 0
    down_until: float = 0.0
    reads: int = 0
    failures: int = 0

    def is_up(self, now: float) -> bool:
        """Say whether it is worth asking."""
        return self.role is not ConnectionRole.PRIMARY and now >= self.down_until


class LagClock:
    """Where the primary was when: tells how old a replica's data can be.

    No server's clock is read, so that none has to be right.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=SAMPLES)

    def note(self, asked_at: float, lsn: int) -> None:
        """Remember that the primary had written up to `lsn` no earlier than `asked_at`."""
        self._samples.append((asked_at, lsn))

    @property
    def latest(self) -> int:
        """The highest position of the primary that is known."""
        return self._samples[-1][1] if self._samples else 0

    def age(self, replay_lsn: int, now: float) -> float:
        """Return the most seconds by which a replica that is there can lag."""
        for at, lsn in reversed(self._samples):
            if lsn <= replay_lsn:
                return now - at
        return float("inf")


@dataclass
class Router:
    """Chooses among replicas, and counts what it chose."""

    policy: RoutingPolicy
    replicas: Sequence[Replica]
    clock: LagClock = field(default_factory=LagClock)
    turn: int = 0

    def candidates(
        self, now: float, in_use: Sequence[int], max_lag_s: float | None = None
    ) -> list[int]:
        """Return the replicas to ask, by their number and in turn; the primary comes after them."""
        if self.policy is RoutingPolicy.PRIMARY:
            return []
        found = [
            number
            for number, one in enumerate(self.replicas)
            if one.is_up(now)
            and (max_lag_s is None or self.clock.age(one.replay_lsn, now) <= max_lag_s)
        ]
        if self.policy is RoutingPolicy.RANDOM:
            random.shuffle(found)
        elif self.policy is RoutingPolicy.LEAST_CONNECTIONS:
            found.sort(key=lambda number: in_use[number])
        elif self.policy is RoutingPolicy.ROUND_ROBIN and found:
            self.turn += 1
            start = self.turn % len(found)
            found = found[start:] + found[:start]
        return found


@dataclass(frozen=True)
class ReplicaStats:
    """What is known of a replica; `lag_s` is the most it can be behind, None where unknown."""

    name: str
    role: ConnectionRole
    is_up: bool
    lag_bytes: int | None
    lag_s: float | None
    reads: int
    failures: int


@dataclass(frozen=True)
class RoutingStats:
    """Where statements went.

    `fallbacks` are reads that went to the primary because no replica could
    take them, and `refused` those that a replica took for a write.
    """

    reads_on_primary: int
    writes: int
    fallbacks: int
    refused: int
    replicas: tuple[ReplicaStats, ...]
