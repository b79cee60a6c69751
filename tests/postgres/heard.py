"""A hook that remembers what it was told."""

from __future__ import annotations

from typing import Any

from duckalog.postgres import Decision, Hook, Operation, OperationKind


class Heard(Hook):
    """What started and ended, in order."""

    def __init__(self) -> None:
        self.begun: list[Operation] = []
        self.done: list[Operation] = []
        self.decisions: list[tuple[Decision, str]] = []
        self.clients: list[Any] = []

    def opened(self, client: Any) -> None:
        self.clients.append(client)

    def closed(self, client: Any) -> None:
        self.clients.remove(client)

    def started(self, operation: Operation) -> None:
        self.begun.append(operation)

    def ended(self, operation: Operation) -> None:
        self.done.append(operation)

    def routed(self, decision: Decision, pool: str) -> None:
        self.decisions.append((decision, pool))

    def of(self, kind: str) -> list[Operation]:
        """Return what ended of one kind."""
        return [one for one in self.done if one.kind is OperationKind(kind)]

    @property
    def texts(self) -> list[str]:
        """The texts of the statements that ended."""
        return [one.sql for one in self.of("statement")]
