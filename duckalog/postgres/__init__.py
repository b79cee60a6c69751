"""A PostgreSQL client: pools, queries and transactions, on psycopg.

Needs `pip install 'duckalog[postgres]'`; what is imported here loads it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckalog.postgres.arrow import ArrowCursor
    from duckalog.postgres.audit import Audit, AuditRecord
    from duckalog.postgres.bulk import CopyFormat
    from duckalog.postgres.client import AsyncPgClient, PgClient
    from duckalog.postgres.config import PgConfig, PoolConfig, RetryConfig
    from duckalog.postgres.credentials import (
        CallableCredentials,
        Credentials,
        EnvironmentCredentials,
        RdsIamCredentials,
    )
    from duckalog.postgres.errors import (
        AcquireTimeout,
        ClosedError,
        ConnectError,
        ConnectionLost,
        HookError,
        IntegrityError,
        MaskError,
        PgError,
        QueryError,
        QueryTimeout,
        ReadOnlyError,
        RowCountError,
        SerializationError,
        SimulationError,
        TransactionError,
        UnrecordedError,
    )
    from duckalog.postgres.hooks import Decision, Hook, Operation, OperationKind, Server
    from duckalog.postgres.masking import mask_constant, mask_hash, mask_partial
    from duckalog.postgres.metrics import PrometheusHook
    from duckalog.postgres.notifications import Gap, Notification, NotificationStream
    from duckalog.postgres.parameters import SslMode
    from duckalog.postgres.pool import PoolStats
    from duckalog.postgres.routing import (
        ConnectionRole,
        ReplicaStats,
        RoutingPolicy,
        RoutingStats,
    )
    from duckalog.postgres.rows import Column, Outcome, Row
    from duckalog.postgres.simulation import SimulationMode
    from duckalog.postgres.statement_text import fingerprint, normalized
    from duckalog.postgres.streams import Page, RowCursor
    from duckalog.postgres.tracing import OpenTelemetryHook
    from duckalog.postgres.transactions import (
        IsolationLevel,
        Savepoint,
        Transaction,
        TransactionOptions,
    )

_HOME = {
    "arrow": ("ArrowCursor",),
    "audit": ("Audit", "AuditRecord"),
    "bulk": ("CopyFormat",),
    "client": ("AsyncPgClient", "PgClient"),
    "config": ("PgConfig", "PoolConfig", "RetryConfig"),
    "credentials": (
        "CallableCredentials",
        "Credentials",
        "EnvironmentCredentials",
        "RdsIamCredentials",
    ),
    "errors": (
        "AcquireTimeout",
        "ClosedError",
        "ConnectError",
        "ConnectionLost",
        "HookError",
        "IntegrityError",
        "MaskError",
        "PgError",
        "QueryError",
        "QueryTimeout",
        "ReadOnlyError",
        "RowCountError",
        "SerializationError",
        "SimulationError",
        "TransactionError",
        "UnrecordedError",
    ),
    "hooks": ("Decision", "Hook", "Operation", "OperationKind", "Server"),
    "masking": ("mask_constant", "mask_hash", "mask_partial"),
    "metrics": ("PrometheusHook",),
    "notifications": ("Gap", "Notification", "NotificationStream"),
    "parameters": ("SslMode",),
    "pool": ("PoolStats",),
    "routing": ("ConnectionRole", "ReplicaStats", "RoutingPolicy", "RoutingStats"),
    "rows": ("Column", "Outcome", "Row"),
    "simulation": ("SimulationMode",),
    "statement_text": ("fingerprint", "normalized"),
    "streams": ("Page", "RowCursor"),
    "tracing": ("OpenTelemetryHook",),
    "transactions": ("IsolationLevel", "Savepoint", "Transaction", "TransactionOptions"),
}

__all__ = [
    "AcquireTimeout",
    "ArrowCursor",
    "AsyncPgClient",
    "Audit",
    "AuditRecord",
    "CallableCredentials",
    "ClosedError",
    "Column",
    "ConnectError",
    "ConnectionLost",
    "ConnectionRole",
    "CopyFormat",
    "Credentials",
    "Decision",
    "EnvironmentCredentials",
    "Gap",
    "Hook",
    "HookError",
    "IntegrityError",
    "IsolationLevel",
    "MaskError",
    "Notification",
    "NotificationStream",
    "OpenTelemetryHook",
    "Operation",
    "OperationKind",
    "Outcome",
    "Page",
    "PgClient",
    "PgConfig",
    "PgError",
    "PoolConfig",
    "PoolStats",
    "PrometheusHook",
    "QueryError",
    "QueryTimeout",
    "RdsIamCredentials",
    "ReadOnlyError",
    "ReplicaStats",
    "RetryConfig",
    "RoutingPolicy",
    "RoutingStats",
    "Row",
    "RowCountError",
    "RowCursor",
    "Savepoint",
    "SerializationError",
    "Server",
    "SimulationError",
    "SimulationMode",
    "SslMode",
    "Transaction",
    "TransactionError",
    "TransactionOptions",
    "UnrecordedError",
    "fingerprint",
    "mask_constant",
    "mask_hash",
    "mask_partial",
    "normalized",
]

_EXTRAS = {
    "psycopg": "postgres",
    "psycopg_pool": "postgres",
    "sqlglot": "postgres",
    "opentelemetry": "opentelemetry",
    "prometheus_client": "prometheus",
}
"""The packages that may be missing, and the extras that bring them."""

_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for; raises ImportError that names the extra."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package not in _EXTRAS:
            raise
        raise ImportError(
            f"duckalog.postgres.{name} needs {package}: pip install 'duckalog[{_EXTRAS[package]}]'"
        ) from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
