"""A PostgreSQL client: pools, queries and transactions, on psycopg.

Needs `pip install 'duckalog[postgres]'`; what is imported here loads it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckalog.postgres.bulk import CopyFormat
    from duckalog.postgres.client import AsyncPgClient, PgClient
    from duckalog.postgres.config import PgConfig, PoolConfig, RetryConfig, SslMode
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
        IntegrityError,
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
    from duckalog.postgres.notifications import Gap, Notification, NotificationStream
    from duckalog.postgres.pool import PoolStats
    from duckalog.postgres.routing import (
        ConnectionRole,
        ReplicaStats,
        RoutingPolicy,
        RoutingStats,
    )
    from duckalog.postgres.rows import Column, Outcome, Row
    from duckalog.postgres.simulation import SimulationMode
    from duckalog.postgres.streams import Page, RowCursor
    from duckalog.postgres.transactions import (
        IsolationLevel,
        Savepoint,
        Transaction,
        TransactionOptions,
    )

_HOME = {
    "bulk": ("CopyFormat",),
    "client": ("AsyncPgClient", "PgClient"),
    "config": ("PgConfig", "PoolConfig", "RetryConfig", "SslMode"),
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
        "IntegrityError",
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
    "notifications": ("Gap", "Notification", "NotificationStream"),
    "pool": ("PoolStats",),
    "routing": ("ConnectionRole", "ReplicaStats", "RoutingPolicy", "RoutingStats"),
    "rows": ("Column", "Outcome", "Row"),
    "simulation": ("SimulationMode",),
    "streams": ("Page", "RowCursor"),
    "transactions": ("IsolationLevel", "Savepoint", "Transaction", "TransactionOptions"),
}

__all__ = [
    "AcquireTimeout",
    "AsyncPgClient",
    "CallableCredentials",
    "ClosedError",
    "Column",
    "ConnectError",
    "ConnectionLost",
    "ConnectionRole",
    "CopyFormat",
    "Credentials",
    "EnvironmentCredentials",
    "Gap",
    "IntegrityError",
    "IsolationLevel",
    "Notification",
    "NotificationStream",
    "Outcome",
    "Page",
    "PgClient",
    "PgConfig",
    "PgError",
    "PoolConfig",
    "PoolStats",
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
    "SimulationError",
    "SimulationMode",
    "SslMode",
    "Transaction",
    "TransactionError",
    "TransactionOptions",
    "UnrecordedError",
]

_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for; raises ImportError that names the extra."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name not in ("psycopg", "psycopg_pool", "sqlglot"):
            raise
        raise ImportError(
            f"duckalog.postgres needs {error.name}: pip install 'duckalog[postgres]'"
        ) from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
