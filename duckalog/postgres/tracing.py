"""Spans of OpenTelemetry for what a client does, by the semantic conventions for databases."""

from __future__ import annotations

import time
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

from duckalog.postgres.hooks import Hook, Operation, OperationKind

SCHEMA = "https://opentelemetry.io/schemas/1.33.0"
"""The conventions for databases have been stable since."""

TOLD_WAIT_S = 0.001
"""A wait for a connection that is shorter has no span."""


class OpenTelemetryHook(Hook):
    """Makes a span of each statement, batch, COPY, stream and transaction, and of long waits.

    A span's parent is the one that is current where the client is called; in a
    transaction that is the transaction's, unless another became current since.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        """Take a provider of tracers; the default is the program's."""
        self._tracer = trace.get_tracer("duckalog.postgres", None, tracer_provider, SCHEMA)

    def started(self, operation: Operation) -> None:
        """Start a span."""
        if operation.kind is not OperationKind.ACQUIRE:
            outer = trace.get_current_span()
            span = self._tracer.start_span(
                _name(operation),
                _parent(operation, outer, self),
                SpanKind.CLIENT,
                _attributes(operation),
            )
            operation.notes[self] = (span, outer)

    def ended(self, operation: Operation) -> None:
        """End it, with what is known by now."""
        if operation.kind is OperationKind.ACQUIRE:
            seconds = operation.seconds or 0.0
            if seconds < TOLD_WAIT_S and operation.error is None:
                return
            now = time.time_ns()
            began = now - int(seconds * 1e9)
            span = self._tracer.start_span(_name(operation), start_time=began)
            span.set_attributes(_attributes(operation))
        else:
            span, _ = operation.notes[self]
            span.set_attributes(_attributes(operation))
        if operation.error_type:
            # Without a description: the server's message may quote values.
            span.set_status(Status(StatusCode.ERROR))
        span.end()


def _parent(operation: Operation, outer: Span, hook: OpenTelemetryHook) -> Context | None:
    """Return the transaction's span as a context, unless another span began since."""
    if operation.transaction is None or hook not in operation.transaction.notes:
        return None
    span, outer_of_it = operation.transaction.notes[hook]
    return trace.set_span_in_context(span) if outer is outer_of_it else None


def _name(operation: Operation) -> str:
    what = _operation_name(operation)
    if operation.kind is OperationKind.ACQUIRE:
        return f"{what} {operation.pool}"
    return f"{what} {operation.server.database}" if operation.server else what


def _operation_name(operation: Operation) -> str:
    is_of_one_kind = operation.kind is OperationKind.BATCH and operation.name != "BATCH"
    return f"BATCH {operation.name}" if is_of_one_kind else operation.name


def _attributes(operation: Operation) -> dict[str, Any]:
    """Return what is known of an operation, by the names of the conventions."""
    server = operation.server
    size = len(operation.statements)
    found: dict[str, Any] = {
        "db.system.name": "postgresql",
        "db.operation.name": _operation_name(operation),
        "db.query.text": operation.sql or None,
        "db.operation.batch.size": size if size > 1 else None,
        "db.client.connection.pool.name": operation.pool or None,
        "db.response.returned_rows": operation.rows,
        "db.response.status_code": operation.sqlstate,
        "error.type": operation.error_type,
        "duckalog.server.role": operation.role.value,
        "duckalog.transaction.attempt": operation.attempt if operation.attempt > 1 else None,
        "duckalog.transaction.committed": operation.is_committed,
    }
    if server is not None:
        found |= {
            "db.namespace": server.database,
            "server.address": server.host,
            "server.port": server.port,
            "duckalog.server.pid": server.pid,
        }
    return {name: value for name, value in found.items() if value is not None}
