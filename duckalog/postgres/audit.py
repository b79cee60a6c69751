"""A record of each statement: who, where, what, when, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from duckalog.postgres.errors import ConnectionLost
from duckalog.postgres.hooks import Hook, Operation, OperationKind
from duckalog.postgres.statement_text import StatementText, fingerprint

AUDITED = (
    OperationKind.STATEMENT,
    OperationKind.BATCH,
    OperationKind.COPY,
    OperationKind.STREAM,
)


@dataclass(frozen=True, kw_only=True)
class AuditRecord:
    """A statement that was run, or with the phase `started`, one that is about to be.

    Both records of a statement have the same `id`, and those of a transaction
    the same `transaction`; its end is a record of COMMIT or ROLLBACK.
    `outcome` is `done`, `failed`, or `unknown` where the connection was lost,
    and None at the start. `parameters` has the values that were asked for.
    """

    phase: str
    id: str
    at: datetime
    application_name: str
    user: str
    server: str
    database: str
    pid: int | None
    kind: str
    operation: str
    sql: str
    fingerprint: str
    transaction: str | None
    rows: int | None = None
    seconds: float | None = None
    outcome: str | None = None
    error: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


class Audit(Hook):
    """Gives a function a record of each statement after it was run.

    A `required` audit gives it one before, too: where the function raises then,
    the statement is refused by a HookError, and not run. `parameters` says of
    which statements the record has which values: `{"DELETE FROM users WHERE
    id = $1": [1]}`; statements count as the same that differ in literals alone.
    The function runs in the caller's context, and must be quick.
    """

    def __init__(
        self,
        write: Callable[[AuditRecord], None],
        *,
        required: bool = False,
        parameters: Mapping[str, Collection[int]] | None = None,
    ) -> None:
        self.is_required = required
        self._write = write
        self._asked = {fingerprint(sql): numbers for sql, numbers in (parameters or {}).items()}

    def started(self, operation: Operation) -> None:
        """Write what is about to be done, where that is required."""
        if self.is_required:
            for record in self._records(operation, "started"):
                self._write(record)

    def ended(self, operation: Operation) -> None:
        """Write what was done."""
        for record in self._records(operation, "ended"):
            self._write(record)

    def _records(self, operation: Operation, phase: str) -> Iterator[AuditRecord]:
        if operation.kind not in AUDITED:
            return
        whole = StatementText(operation.sql, operation.name, operation.fingerprint)
        counts = operation.row_counts
        for number, text in enumerate(operation.statements or [whole]):
            server = operation.server
            yield AuditRecord(
                phase=phase,
                id=f"{operation.id}.{number}" if operation.statements else operation.id,
                at=datetime.fromtimestamp(operation.started_at, timezone.utc),
                application_name=server.application_name if server else "",
                user=server.user if server else "",
                server=f"{server.host}:{server.port}" if server else "",
                database=server.database if server else "",
                pid=server.pid if server else None,
                kind=operation.kind.value,
                operation=text.name,
                sql=text.text,
                fingerprint=text.fingerprint,
                transaction=operation.transaction.id if operation.transaction else None,
                rows=counts[number] if counts else operation.rows,
                seconds=operation.seconds,
                outcome=_outcome(operation) if phase == "ended" else None,
                error=operation.error_type,
                parameters={
                    f"${place}": operation.value(place, number)
                    for place in self._asked.get(text.fingerprint, ())
                },
            )


def _outcome(operation: Operation) -> str:
    if operation.error is None:
        return "done"
    return "unknown" if isinstance(operation.error, ConnectionLost) else "failed"
