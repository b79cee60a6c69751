"""What is logged of statements: never a value, and of their text no literal."""

from __future__ import annotations

import logging
from typing import Any

from duckalog.postgres.hooks import Hook, Operation, OperationKind

logger = logging.getLogger("duckalog.postgres")


class StatementLog(Hook):
    """Logs what is done at DEBUG, and as a warning what is slow."""

    def __init__(self, slow_s: float | None = None) -> None:
        self._slow_s = slow_s

    def ended(self, operation: Operation) -> None:
        """Log an operation; what a program's log may want to sort by is in fields of the record."""
        seconds = operation.seconds or 0.0
        # The time of the other kinds is their caller's, too.
        is_judged = operation.kind in (OperationKind.STATEMENT, OperationKind.BATCH)
        is_slow = is_judged and self._slow_s is not None and seconds >= self._slow_s
        level = logging.WARNING if is_slow else logging.DEBUG
        if operation.kind is OperationKind.ACQUIRE or not logger.isEnabledFor(level):
            return
        logger.log(
            level,
            "%s%s of %s: %s in %.1f ms: %s",
            "slow: " if is_slow else "",
            operation.kind.value,
            operation.pool or "no server",
            _outcome(operation),
            seconds * 1000,
            operation.sql or operation.name,
            extra=fields_of(operation),
        )


def _outcome(operation: Operation) -> str:
    if operation.error_type:
        return f"failed ({operation.error_type})"
    if operation.rows is None:
        return "done"
    return f"{operation.rows} row{'' if operation.rows == 1 else 's'}"


def fields_of(operation: Operation) -> dict[str, Any]:
    """Return what is known of an operation, by names that collide with none of `logging`'s."""
    server = operation.server
    found = {
        "pg_kind": operation.kind.value,
        "pg_transaction": operation.transaction and operation.transaction.id,
        "pg_operation": operation.name,
        "pg_sql": operation.sql,
        "pg_fingerprint": operation.fingerprint,
        "pg_seconds": operation.seconds,
        "pg_rows": operation.rows,
        "pg_pool": operation.pool,
        "pg_role": operation.role.value,
        "pg_error": operation.error_type,
        "pg_sqlstate": operation.sqlstate,
    }
    if server is not None:
        found |= {
            "pg_server": f"{server.host}:{server.port}",
            "pg_database": server.database,
            "pg_user": server.user,
            "pg_pid": server.pid,
        }
    return found
