"""Prometheus metrics of clients: what they did, counted, and what their pools have, when asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakSet

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from duckalog.postgres.errors import ClosedError
from duckalog.postgres.hooks import Decision, Hook, Operation, OperationKind

PREFIX = "duckalog_pg_"
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
WAITS = (0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30)

CONFLICTS = {
    "40001": "serialization_failure",
    "40P01": "deadlock_detected",
    "55P03": "lock_not_available",
}
"""SQLSTATEs that say that another transaction stood in the way, by PostgreSQL's names."""


class PrometheusHook(Hook):
    """Keeps metrics in a registry: one for all clients of a program, which then has them all."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Take the registry, which must not have another of these."""
        self._clients: WeakSet[Any] = WeakSet()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(PREFIX + name, text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: Iterable[float], *labels: str) -> Histogram:
            return Histogram(PREFIX + name, text, labels, registry=registry, buckets=tuple(buckets))

        of_statements = ("kind", "operation", "role")
        self._statements = counter(
            "statements", "Statements that ended.", *of_statements, "outcome"
        )
        self._seconds = histogram(
            "statement_seconds", "How long statements took.", SECONDS, *of_statements
        )
        self._rows = counter("rows", "Rows returned or touched.", *of_statements)
        self._errors = counter(
            "errors", "Statements that failed, by class of SQLSTATE.", "sqlstate_class"
        )
        self._conflicts = counter(
            "conflicts", "Statements that failed for a lock or another transaction.", "reason"
        )
        self._transactions = counter("transactions", "Transactions that ended.", "outcome")
        self._transaction_seconds = histogram(
            "transaction_seconds", "How long transactions took.", SECONDS
        )
        self._retries = counter("transaction_retries", "Transactions that were run again.")
        self._waits = histogram(
            "acquire_seconds", "How long was waited for a connection.", WAITS, "pool"
        )
        self._refusals = counter("acquire_failures", "Waits that ended without one.", "pool")
        self._routed = counter(
            "routed", "Where clients with replicas sent statements.", "decision", "pool"
        )
        registry.register(_Pools(self._clients))

    def opened(self, client: Any) -> None:
        """Ask a client for its pools from now on."""
        self._clients.add(client)

    def closed(self, client: Any) -> None:
        """Ask a client no more."""
        self._clients.discard(client)

    def started(self, operation: Operation) -> None:
        """Count a transaction that is run again."""
        if operation.attempt > 1:
            self._retries.inc()

    def ended(self, operation: Operation) -> None:
        """Count what ended."""
        seconds = operation.seconds or 0.0
        if operation.kind is OperationKind.ACQUIRE:
            self._waits.labels(operation.pool).observe(seconds)
            if operation.error is not None:
                self._refusals.labels(operation.pool).inc()
            return
        if operation.kind is OperationKind.TRANSACTION:
            outcome = "committed" if operation.is_committed else "rolled_back"
            self._transactions.labels(outcome).inc()
            self._transaction_seconds.observe(seconds)
            return
        labels = (operation.kind.value, operation.name, operation.role.value)
        self._statements.labels(*labels, "error" if operation.error else "ok").inc()
        self._seconds.labels(*labels).observe(seconds)
        self._rows.labels(*labels).inc(operation.rows or 0)
        if operation.error is not None:
            sqlstate = operation.sqlstate
            self._errors.labels(sqlstate[:2] if sqlstate else type(operation.error).__name__).inc()
            if sqlstate in CONFLICTS:
                self._conflicts.labels(CONFLICTS[sqlstate]).inc()

    def routed(self, decision: Decision, pool: str) -> None:
        """Count where a statement went."""
        self._routed.labels(decision.value, pool).inc()


class _Pools:
    """Asks clients for their pools and replicas when the registry is read."""

    def __init__(self, clients: WeakSet[Any]) -> None:
        self._clients = clients

    def describe(self) -> Iterable[Metric]:
        return ()  # else the registry would ask at once

    def collect(self) -> Iterable[Metric]:
        pools, replicas = [], []
        for client in list(self._clients):
            try:
                pools += client.pool_stats().values()
                replicas += client.get_routing_stats().replicas
            except ClosedError:
                continue
        yield from _of_pools(pools)
        yield from _of_replicas(replicas)


def _of_pools(pools: Iterable[Any]) -> Iterable[Metric]:
    states: dict[tuple[str, ...], float] = defaultdict(float)
    for one in pools:
        states[one.name, "in_use"] += one.in_use
        states[one.name, "idle"] += one.available
    yield _gauge("pool_connections", "Connections of a pool.", ("pool", "state"), states)
    for name, text, read in _POOL_GAUGES:
        yield _gauge(name, text, ("pool",), _summed(pools, read))
    for name, text, read in _POOL_COUNTERS:
        family = CounterMetricFamily(PREFIX + name, text, labels=("pool",))
        for labels, value in _summed(pools, read).items():
            family.add_metric(labels, value)
        yield family


_POOL_GAUGES: tuple[tuple[str, str, Callable[[Any], float]], ...] = (
    ("pool_size", "Connections that a pool has or makes.", lambda one: one.size),
    ("pool_max_size", "Connections that a pool may have.", lambda one: one.max_size),
    ("pool_waiting", "Callers that wait for a connection.", lambda one: one.waiting),
)
_POOL_COUNTERS: tuple[tuple[str, str, Callable[[Any], float]], ...] = (
    ("connections_made", "Connections made.", lambda one: one.connections_made),
    ("connections_failed", "Connections that failed.", lambda one: one.connections_failed),
    ("connections_lost", "Connections found dead.", lambda one: one.connections_lost),
)


def _summed(pools: Iterable[Any], read: Callable[[Any], float]) -> dict[tuple[str, ...], float]:
    """Return a figure by the pool's name, which pools of several clients may share."""
    found: dict[tuple[str, ...], float] = defaultdict(float)
    for one in pools:
        found[(one.name,)] += read(one)
    return found


def _of_replicas(replicas: Iterable[Any]) -> Iterable[Metric]:
    """Yield what is known of replicas; of several clients' views the worst."""
    found: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
    for one in replicas:
        key = (one.name,)
        found["down"][key] = max(found["down"].get(key, 0), not one.is_up)
        for name, value in (("lag_s", one.lag_s), ("lag_bytes", one.lag_bytes)):
            if value is not None:
                found[name][key] = max(found[name].get(key, 0), value)
    up = {key: 1 - value for key, value in found["down"].items()}
    label = ("replica",)
    yield _gauge("replica_up", "Whether a replica is asked for reads.", label, up)
    yield _gauge("replica_lag_seconds", "How old its data can be.", label, found["lag_s"])
    yield _gauge("replica_lag_bytes", "What it has not replayed.", label, found["lag_bytes"])


def _gauge(
    name: str, text: str, labels: tuple[str, ...], values: dict[tuple[str, ...], float]
) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
