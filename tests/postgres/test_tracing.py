"""Spans, with the parents that they should have and no value in them."""

from __future__ import annotations

import asyncio
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from duckalog.postgres import (
    AsyncPgClient,
    ConnectError,
    OpenTelemetryHook,
    PgClient,
    PoolConfig,
    QueryError,
)
from tests.postgres.faces import MakeClient, stated
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.servers


class Traces:
    """A provider of tracers, and the spans that ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")
        self.hook = OpenTelemetryHook(self.provider)

    @property
    def spans(self) -> list[Any]:
        """All but waits, which depend on how busy the machine is."""
        found = self._exporter.get_finished_spans()
        return [one for one in found if not one.name.startswith("ACQUIRE")]

    @property
    def waits(self) -> list[Any]:
        return [one for one in self._exporter.get_finished_spans() if one not in self.spans]


@pytest.fixture
def traces() -> Traces:
    return Traces()


@pytest.fixture
def client(make_client: MakeClient, traces: Traces) -> Any:
    return make_client(hooks=[traces.hook])


def parent_of(span: Any) -> int | None:
    return span.parent and span.parent.span_id


class TestAttributes:
    def test_they_are_those_of_the_conventions(
        self, client: Any, traces: Traces, postgres: Postgres, database: str, table: str
    ) -> None:
        client.query(f"SELECT 'hush', $1::text FROM {table} WHERE i = $2", ["hush", 1])
        (span,) = traces.spans
        told = dict(span.attributes)
        assert told.pop("duckalog.server.pid") > 0
        assert told == {
            "db.system.name": "postgresql",
            "db.namespace": database,
            "db.operation.name": "SELECT",
            "db.query.text": f"SELECT ?, $1::text FROM {table} WHERE i = $2",
            "db.response.returned_rows": 0,
            "db.client.connection.pool.name": f"primary of {database}",
            "server.address": postgres.host,
            "server.port": postgres.port,
            "duckalog.server.role": "primary",
        }
        assert (span.name, span.kind) == (f"SELECT {database}", SpanKind.CLIENT)
        assert span.status.status_code is StatusCode.UNSET
        assert span.instrumentation_scope.name == "duckalog.postgres"

    def test_a_failure_has_its_sqlstate_and_no_message(self, client: Any, traces: Traces) -> None:
        with pytest.raises(QueryError):
            client.query("SELECT $1::text::int", ["hush"])
        (span,) = traces.spans
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes["db.response.status_code"] == "22P02"
        assert span.attributes["error.type"] == "22P02"
        assert "hush" not in span.to_json()

    def test_batches_copies_and_streams_have_one_each(
        self, client: Any, traces: Traces, table: str, database: str
    ) -> None:
        client.execute_batch([f"INSERT INTO {table} VALUES (1)"] * 1 + ["SELECT 1"])
        client.execute_batch([(f"INSERT INTO {table} VALUES ($1)", [i]) for i in (2, 3)])
        client.copy_out(f"SELECT * FROM {table}", io.BytesIO())
        list(client.query_stream(f"SELECT * FROM {table}"))
        names = ["BATCH", "BATCH INSERT", "COPY", "SELECT"]
        assert [one.name for one in traces.spans] == [f"{name} {database}" for name in names]
        assert [one.attributes.get("db.operation.batch.size") for one in traces.spans] == [
            2,
            2,
            None,
            None,
        ]
        assert [one.attributes["db.response.returned_rows"] for one in traces.spans] == [2, 2, 3, 3]

    def test_a_wait_that_is_told_of_began_when_it_did(
        self, make_client: MakeClient, traces: Traces, database: str
    ) -> None:
        pool = PoolConfig(min_size=1, max_size=1, acquire_timeout_s=0.5)
        client = make_client(hooks=[traces.hook], pool=pool)
        with client.transaction(), pytest.raises(ConnectError):
            client.query("SELECT 1")
        wait = traces.waits[-1]
        assert wait.name == f"ACQUIRE primary of {database}"
        assert wait.end_time - wait.start_time >= 500_000_000
        assert wait.attributes["error.type"] == "AcquireTimeout"


class TestParents:
    def test_in_a_transaction_it_is_the_transaction_unless_another_began_since(
        self, make_client: MakeClient, traces: Traces, face: str
    ) -> None:
        client = make_client(hooks=[traces.hook])
        with client.transaction() as transaction:
            transaction.query("SELECT 1")
        begin, select, commit, whole = traces.spans
        assert whole.name == "TRANSACTION"
        assert whole.attributes["duckalog.transaction.committed"]
        assert [parent_of(one) for one in (begin, select, commit)] == [whole.context.span_id] * 3
        assert parent_of(whole) is None, face

    def test_a_span_within_a_transaction_is_nearer(
        self, traces: Traces, postgres: Postgres
    ) -> None:
        with (
            PgClient("", **stated(postgres), hooks=[traces.hook]) as client,
            traces.tracer.start_as_current_span("outer") as outer,
            client.transaction() as transaction,
        ):
            transaction.query("SELECT 1")
            with traces.tracer.start_as_current_span("step") as step:
                transaction.query("SELECT 2")
        first, second = [one for one in traces.spans if one.name.startswith("SELECT")]
        (whole,) = [one for one in traces.spans if one.name.startswith("TRANSACTION")]
        assert parent_of(first) == whole.context.span_id
        assert parent_of(second) == step.get_span_context().span_id
        assert parent_of(whole) == outer.get_span_context().span_id
        assert {one.context.trace_id for one in traces.spans} == {whole.context.trace_id}

    def test_threads_have_their_own(self, traces: Traces, postgres: Postgres) -> None:
        barrier = threading.Barrier(4)

        def work(number: int) -> tuple[str, int]:
            with traces.tracer.start_as_current_span(f"thread {number}") as span:
                barrier.wait()
                client.query(f"SELECT {number} AS n{number}")
            return f"SELECT ? AS n{number}", span.get_span_context().span_id

        with (
            PgClient("", **stated(postgres), hooks=[traces.hook]) as client,
            ThreadPoolExecutor(4) as threads,
        ):
            expected = dict(threads.map(work, range(4)))
        assert queries(traces) == expected

    def test_tasks_have_their_own(self, traces: Traces, postgres: Postgres) -> None:
        async def work(client: AsyncPgClient, number: int) -> tuple[str, int]:
            with traces.tracer.start_as_current_span(f"task {number}") as span:
                await client.query(f"SELECT pg_sleep(0.01), {number} AS n{number}")
            return f"SELECT pg_sleep(?), ? AS n{number}", span.get_span_context().span_id

        async def main() -> dict[str, int]:
            async with AsyncPgClient("", **stated(postgres), hooks=[traces.hook]) as client:
                return dict(await asyncio.gather(*(work(client, number) for number in range(4))))

        expected = asyncio.run(main())
        assert queries(traces) == expected


def queries(traces: Traces) -> dict[str, int | None]:
    return {
        one.attributes["db.query.text"]: parent_of(one)
        for one in traces.spans
        if "db.query.text" in one.attributes
    }
