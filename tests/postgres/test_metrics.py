"""Metrics as Prometheus reads them, after work on real servers."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from duckalog.postgres import (
    AcquireTimeout,
    IntegrityError,
    PoolConfig,
    PrometheusHook,
    QueryError,
    SerializationError,
)
from tests.conftest import ROOT
from tests.postgres.faces import MakeClient
from tests.servers.postgres import Postgres, running_replica

pytestmark = pytest.mark.servers


class Metrics:
    """A registry, and what a scrape of it says."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.hook = PrometheusHook(self.registry)

    @property
    def text(self) -> str:
        return generate_latest(self.registry).decode()

    def value(self, name: str, **labels: str) -> float | None:
        """Return a sample's value, summed over the labels that are not stated."""
        found = [
            sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
            if sample.name == f"duckalog_pg_{name}" and labels.items() <= sample.labels.items()
        ]
        return sum(found) if found else None


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def client(make_client: MakeClient, metrics: Metrics) -> Any:
    return make_client(hooks=[metrics.hook])


def test_statements_are_counted_and_timed_by_what_they_do_where_and_how_they_end(
    client: Any, metrics: Metrics, table: str
) -> None:
    client.batch_insert(table, ["i"], [[1], [2]])
    for _ in range(3):
        client.query(f"SELECT * FROM {table}")
    with pytest.raises(IntegrityError):
        client.execute(f"INSERT INTO {table} VALUES (1)")
    labels = {"kind": "statement", "operation": "SELECT", "role": "primary"}
    assert metrics.value("statements_total", **labels, outcome="ok") == 3
    assert metrics.value("statements_total", operation="INSERT", outcome="error") == 1
    assert metrics.value("statements_total", kind="copy", outcome="ok") == 1
    assert metrics.value("statement_seconds_count", **labels) == 3
    assert metrics.value("statement_seconds_bucket", **labels, le="+Inf") == 3
    assert metrics.value("rows_total", **labels) == 6
    assert metrics.value("errors_total", sqlstate_class="23") == 1


def test_transactions_and_their_retries_are_counted(client: Any, metrics: Metrics) -> None:
    attempts = []

    def work(transaction: Any) -> None:  # noqa: ARG001
        attempts.append(1)
        if len(attempts) < 3:
            raise SerializationError("again", "40001")

    client.transaction_with_retry(work)
    assert metrics.value("transaction_retries_total") == 2
    assert metrics.value("transactions_total", outcome="committed") == 1
    assert metrics.value("transactions_total", outcome="rolled_back") == 2
    assert metrics.value("transaction_seconds_count") == 3


def test_conflicts_are_counted_by_their_reason(
    make_client: MakeClient, metrics: Metrics, table: str
) -> None:
    client = make_client(hooks=[metrics.hook], options={"options": "-c deadlock_timeout=20ms"})
    client.execute(f"INSERT INTO {table} VALUES (1), (2)")
    update = f"UPDATE {table} SET t = 'x' WHERE i = $1"
    first, second = (client.begin() for _ in range(2))
    first.execute(update, [1])
    with pytest.raises(QueryError):
        second.query(f"SELECT * FROM {table} FOR UPDATE NOWAIT")
    second.rollback()
    second = client.begin()
    second.execute(update, [2])
    _deadlock(first, second, update)
    for one in (first, second):
        one.rollback()
    assert metrics.value("conflicts_total", reason="lock_not_available") == 1
    assert metrics.value("conflicts_total", reason="deadlock_detected") == 1


def _deadlock(first: Any, second: Any, update: str) -> None:
    """Have two transactions wait for each other: one of them is refused."""
    outcomes: list[BaseException | None] = []

    def work(transaction: Any, key: int) -> None:
        try:
            transaction.execute(update, [key])
        except QueryError as error:
            outcomes.append(error)
            transaction.rollback()

    threads = [threading.Thread(target=work, args=[*one]) for one in ((first, 2), (second, 1))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(outcomes) == 1


def test_pools_are_asked_when_the_registry_is_read(
    make_client: MakeClient, metrics: Metrics, database: str
) -> None:
    pool = PoolConfig(min_size=1, max_size=3, acquire_timeout_s=0.5)
    client = make_client(hooks=[metrics.hook], pool=pool)
    name = f"primary of {database}"
    transactions = [client.begin() for _ in range(3)]
    with pytest.raises(AcquireTimeout):
        client.query("SELECT 1")
    transactions.pop().rollback()
    assert metrics.value("pool_connections", pool=name, state="in_use") == 2
    assert metrics.value("pool_connections", pool=name, state="idle") == 1
    assert metrics.value("pool_size", pool=name) == 3
    assert metrics.value("pool_max_size", pool=name) == 3
    assert metrics.value("pool_waiting", pool=name) == 0
    assert metrics.value("connections_made_total", pool=name) == 3
    assert metrics.value("acquire_seconds_count", pool=name) == 4
    assert metrics.value("acquire_failures_total", pool=name) == 1
    for one in transactions:
        one.rollback()
    client.close()
    assert metrics.value("pool_size") is None


def test_pools_of_several_clients_add_up(make_client: MakeClient, metrics: Metrics) -> None:
    for _ in range(2):
        make_client(hooks=[metrics.hook], pool=PoolConfig(min_size=1, max_size=3))
    assert metrics.value("pool_max_size") == 6
    assert metrics.text.count("duckalog_pg_pool_max_size{") == 1


@pytest.fixture(scope="module")
def replica(postgres: Postgres) -> Iterator[Postgres]:
    with running_replica(postgres) as made:
        yield made


def test_routing_and_lag_are_told_for_each_replica(
    make_client: MakeClient, metrics: Metrics, replica: Postgres, database: str, table: str
) -> None:
    client = make_client(
        hooks=[metrics.hook],
        replicas=[f"{replica.host}:{replica.port}", f"{replica.host}:1"],
        routing_policy="replica",
        lag_check_interval_s=60,
        connect_timeout_s=2,
    )
    client.query("SELECT 1")
    client.execute(f"INSERT INTO {table} VALUES (1)")
    names = [f"replica {number} of {database}" for number in (1, 2)]
    assert metrics.value("routed_total", decision="reads_on_replica", pool=names[0]) == 1
    assert metrics.value("routed_total", decision="writes") == 1
    assert metrics.value("statements_total", role="replica", operation="SELECT") == 1
    assert [metrics.value("replica_up", replica=name) for name in names] == [1, 0]
    for unit in ("seconds", "bytes"):
        assert (metrics.value(f"replica_lag_{unit}", replica=names[0]) or 0) >= 0
        assert metrics.value(f"replica_lag_{unit}", replica=names[1]) is None


def test_the_documentation_lists_them_all(metrics: Metrics) -> None:
    page = (ROOT / "docs" / "postgres.md").read_text(encoding="utf-8")
    listed = [row for row in page.splitlines() if row.startswith("| `duckalog_pg_")]
    names = {name for row in listed for name in re.findall(r"`(duckalog_pg_\w+)`", row)}
    families = text_string_to_metric_families(metrics.text)
    kept = {one.name + "_total" * (one.type == "counter") for one in families}
    assert names == {one for one in kept if not one.endswith("_created")}


def test_nothing_a_statement_says_is_a_label(client: Any, metrics: Metrics) -> None:
    for sql in ("SELECT 'hush'", "HUSH", "hush hush", "SELECT $1::int"):
        with pytest.raises(QueryError):
            client.query(sql, ["hush"])
    assert "hush" not in metrics.text.lower()
    assert metrics.value("statements_total", operation="OTHER") == 2
