"""`python -m tests.benchmarks.postgres`: the PostgreSQL client beside bare psycopg.

Every pair is measured in one run, in short rounds that take turns, on one real
server: a ratio is the median of the rounds' ratios. Small statements run with
the server and this program on one core, where they take least: across cores a
wake-up costs more than the client does, and hides it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import resource
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, NamedTuple

import psutil
import psycopg
import psycopg_pool

from duckalog.postgres import AsyncPgClient, PgClient, PoolConfig
from duckalog.postgres.execution import run
from duckalog.postgres.faces import finished
from tests.benchmarks.postgres_pairs import (
    CALLS,
    SMALL,
    Action,
    Pairs,
    bulk_pairs,
    small_pairs,
)
from tests.servers.postgres import Postgres, running_postgres

DDL = "(i bigint, t text, f float8, at timestamptz)"
SOME_ROWS = "SELECT i, 'text ' || i, i / 7.0::float8, 'epoch'::timestamptz + i * interval '1 s'"
PLACES = 16
CONNECTIONS = 8


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int
    rows: int
    stream_rows: int
    calls: int


def seconds(action: Action) -> float:
    """Return the seconds that an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


class Taken(NamedTuple):
    """What an action took: seconds of the wall's clock, and of this program's processor time."""

    wall: float
    processor: float


def taken(action: Action) -> Taken:
    """Return what an action takes."""
    processor = time.process_time()
    wall = seconds(action)
    return Taken(wall, time.process_time() - processor)


def compared(pairs: Pairs, rounds: int, each: int) -> dict[str, dict[str, float]]:
    """Return the median seconds of both sides of each pair, and of their ratios by round."""
    took: dict[str, list[tuple[Taken, Taken]]] = {name: [] for name in pairs}
    for number in range(rounds + 1):
        for name, (own, bare) in pairs.items():
            found = (taken(own), taken(bare)) if number % 2 else (taken(bare), taken(own))[::-1]
            took[name] += [found] if number else []
    return {
        name: {
            "own": median(own.wall for own, _ in found) / each,
            "bare": median(bare.wall for _, bare in found) / each,
            "ratio": median(own.wall / bare.wall for own, bare in found),
            "processor": median(own.processor / bare.processor for own, bare in found),
        }
        for name, found in took.items()
    }


@contextlib.contextmanager
def one_core(server: Postgres) -> Iterator[None]:
    """Run this program, and what the server starts from now on, on one core."""
    assert server._server is not None
    processes = [psutil.Process(), psutil.Process(server._server.pid)]
    if not hasattr(processes[0], "cpu_affinity"):
        yield  # macOS: as it comes
        return
    before = [process.cpu_affinity() for process in processes]
    for process in processes:
        process.cpu_affinity([max(before[0])])
    try:
        yield
    finally:
        for process, cores in zip(processes, before, strict=True):
            process.cpu_affinity(cores)


def arguments(server: Postgres, most: int = 4) -> dict[str, Any]:
    """Return the client's arguments, with a pool of so many."""
    return {
        "host": server.host,
        "port": server.port,
        "username": server.user,
        "password": server.password,
        "database": "postgres",
        "query_timeout_s": 600,
        "pool": PoolConfig(min_size=most, max_size=most),
    }


def bare_arguments(server: Postgres, most: int = 4, **more: Any) -> dict[str, Any]:
    """Return psycopg_pool's arguments: its defaults, but that each statement is a transaction."""
    link = f"host={server.host} port={server.port} user={server.user} dbname=postgres"
    return {
        "conninfo": f"{link} password={server.password}",
        "min_size": most,
        "max_size": most,
        "open": False,
        **more,
    }


async def _opened(server: Postgres) -> tuple[Any, Any]:
    client = AsyncPgClient("", **arguments(server, 1))
    await client.open()
    kwargs = {"autocommit": True, "cursor_factory": psycopg.AsyncRawCursor}
    pool = psycopg_pool.AsyncConnectionPool(**bare_arguments(server, 1, kwargs=kwargs))
    await pool.open(wait=True)
    return client, pool


async def _closed(client: Any, pool: Any) -> None:
    await client.close()
    await pool.close()


def measure_small(server: Postgres, rounds: int) -> dict[str, dict[str, float]]:
    """Return the pairs of a small query, in seconds for each."""
    kwargs = {"autocommit": True, "cursor_factory": psycopg.RawCursor}
    check = psycopg_pool.ConnectionPool.check_connection
    loop = asyncio.new_event_loop()

    def looped(function: Callable[[], Awaitable[Any]]) -> Any:
        return loop.run_until_complete(function())

    with (
        one_core(server),
        PgClient("", **arguments(server, 1)) as client,
        psycopg_pool.ConnectionPool(**bare_arguments(server, 1, kwargs=kwargs)) as pool,
        psycopg_pool.ConnectionPool(
            **bare_arguments(server, 1, kwargs=kwargs, check=check)
        ) as checked,
    ):
        others = looped(lambda: _opened(server))
        try:
            pairs = small_pairs(client, pool, checked, looped, others)
            for own, bare in pairs.values():
                own(), bare()  # the statement is prepared
            return compared(pairs, rounds, CALLS)
        finally:
            looped(lambda: _closed(*others))
            loop.close()


def measure_bulk(server: Postgres, sizes: Sizes) -> dict[str, dict[str, float]]:
    """Return the pairs of many rows, in seconds."""
    link = bare_arguments(server)["conninfo"]
    with (
        PgClient("", **arguments(server)) as client,
        psycopg.connect(link, autocommit=True, cursor_factory=psycopg.RawCursor) as bare,
    ):
        bare.execute(f"CREATE TABLE source {DDL}")
        bare.execute(f"CREATE UNLOGGED TABLE target {DDL}")
        bare.execute("CREATE UNLOGGED TABLE few (i int, t text)")
        bare.execute(f"INSERT INTO source {SOME_ROWS} FROM generate_series(1, {sizes.rows}) i")
        rows = bare.execute("SELECT * FROM source").fetchall()
        return compared(bulk_pairs(client, bare, rows), max(2, sizes.rounds // 10), 1)


def percentile_ms(took: list[float], percent: int) -> float:
    """Return a percentile of seconds, in milliseconds."""
    return quantiles(took, n=100)[percent - 1] * 1000


def measure_latency(server: Postgres, calls: int) -> dict[str, float]:
    """Return 99th percentiles in milliseconds, for one caller and eight, and the pool's use."""
    with PgClient("", **arguments(server, CONNECTIONS)) as client:

        def asked(number: int) -> float:
            return seconds(lambda: client.query(SMALL, [number]))

        def acquired(_: int) -> float:
            start = time.perf_counter()
            connection = finished(client._acquire())
            took = time.perf_counter() - start
            finished(run(connection, SMALL, [1], None))
            finished(client._release(connection))
            return took

        for number in range(200):
            asked(number)
        found = {
            "query p99 ms": percentile_ms([asked(number) for number in range(calls)], 99),
            "acquire p99 ms": percentile_ms([acquired(number) for number in range(calls)], 99),
        }
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            together = list(threads.map(asked, range(calls)))
            waited = list(threads.map(acquired, range(calls)))
        found["query p99 ms, 8 threads"] = percentile_ms(together, 99)
        found["acquire p99 ms, 8 threads"] = percentile_ms(waited, 99)
        found["pool in use, 16 threads on 8"] = pool_use(client, calls)
        return found


def pool_use(client: PgClient, calls: int) -> float:
    """Return the share of the time that connections were given away, while callers waited."""
    enough = threading.Event()

    def work() -> None:
        while not enough.is_set():
            client.query("SELECT pg_sleep(0.005)")

    with ThreadPoolExecutor(PLACES) as threads:
        done = [threads.submit(work) for _ in range(PLACES)]
        time.sleep(0.1)
        (before,), start = client.pool_stats().values(), time.perf_counter()
        time.sleep(calls / 1000)
        (after,), took = client.pool_stats().values(), time.perf_counter() - start
        enough.set()
        for one in done:
            one.result()
    return (after.usage_ms - before.usage_ms) / 1000 / took / CONNECTIONS


def measure_memory(server: Postgres, rows: int) -> float:
    """Return the most MiB that streaming so many rows took above the start."""
    # getrusage(2): Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    with PgClient("", **arguments(server, 1)) as client:
        client.query(SMALL, [1])
        before = psutil.Process().memory_info().rss
        query = f"{SOME_ROWS} FROM generate_series(1, $1::int) i"
        count = sum(1 for _ in client.query_stream(query, [rows]))
        assert count == rows
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before) / 2**20


GOALS: Mapping[str, tuple[str, float]] = {
    "query, rows with names ÷ tuples": ("at most", 1.10),
    "query, tuples ÷ tuples": ("at most", 1.10),
    "query, awaited ÷ awaited": ("at most", 1.10),
    "COPY binary out": ("at most", 1 / 0.9),
    "COPY binary in": ("at most", 1 / 0.9),
    "COPY binary, rows": ("at most", 1 / 0.9),
    "query p99 ms": ("at most", 10),
    "acquire p99 ms": ("at most", 5),
    "pool in use, 16 threads on 8": ("at least", 0.9),
    "streaming, MiB above the start": ("at most", 100),
    "batch_insert, rows/s": ("at least", 100_000),
}


def measure(sizes: Sizes) -> dict[str, Any]:
    """Return all figures, with their goals, and the machine's state."""
    load = os.getloadavg()[0]
    with running_postgres() as server:
        # First: memory that others gave back would hide what this takes.
        memory = measure_memory(server, sizes.stream_rows)
        small = measure_small(server, sizes.rounds)
        bulk = measure_bulk(server, sizes)
        latency = measure_latency(server, sizes.calls)
    inserted = sizes.rows / bulk["batch_insert ÷ COPY text, rows"]["own"]
    pairs = [
        {"pair": name, **found, "goal": _judged(name, found["ratio"])}
        for name, found in (small | bulk).items()
    ]
    figures = {
        **latency,
        "streaming, MiB above the start": memory,
        "batch_insert, rows/s": inserted,
    }
    return {
        "machine": {
            "cpus": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "psycopg": psycopg.__version__,
            "load": [load, os.getloadavg()[0]],
        },
        "sizes": vars(sizes),
        "pairs": pairs,
        "figures": [
            {"figure": name, "value": value, "goal": _judged(name, value)}
            for name, value in figures.items()
        ],
    }


def _judged(name: str, value: float) -> dict[str, Any] | None:
    if name not in GOALS:
        return None
    bound, limit = GOALS[name]
    is_met = value <= limit if bound == "at most" else value >= limit
    return {"bound": bound, "limit": limit, "is_met": is_met}


def table(measured: dict[str, Any]) -> str:
    """Return the Markdown tables of what was measured."""
    lines = [
        "| pair | duckalog ms | psycopg ms | ratio | of processor time | goal |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['pair']} | {row['own'] * 1000:.3f} | {row['bare'] * 1000:.3f}"
        f" | {row['ratio']:.2f} | {row['processor']:.2f} | {_shown(row['goal'])} |"
        for row in measured["pairs"]
    ]
    lines += ["", "| figure | | goal |", "|---|---|---|"]
    lines += [
        f"| {row['figure']} | {row['value']:,.{3 if row['value'] < 100 else 0}f}"
        f" | {_shown(row['goal'])} |"
        for row in measured["figures"]
    ]
    machine, sizes = measured["machine"], measured["sizes"]
    lines += [
        "",
        f"Medians of {sizes['rounds']} rounds that take turns ({CALLS} small queries in each), a"
        f" tenth as many for {sizes['rows']:,} rows; {sizes['stream_rows']:,} rows streamed;"
        f" {machine['cpus']} cores, load {machine['load'][0]:.1f} to {machine['load'][1]:.1f},"
        f" Python {machine['python']}, psycopg {machine['psycopg']}.",
    ]
    return "\n".join(lines) + "\n"


def _shown(goal: dict[str, Any] | None) -> str:
    if goal is None:
        return ""
    return f"{goal['bound']} {goal['limit']:,.4g} {'met' if goal['is_met'] else 'missed'}"


def main() -> None:
    """Print every pair and figure beside its goal."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.postgres", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=100, help="rounds of small queries (100)")
    parser.add_argument("--rows", type=int, default=200_000, help="rows of COPY (200000)")
    parser.add_argument("--stream-rows", type=int, default=5_000_000, help="(5000000)")
    parser.add_argument("--calls", type=int, default=5_000, help="calls for percentiles (5000)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    chosen = parser.parse_args()
    sizes = Sizes(chosen.rounds, chosen.rows, chosen.stream_rows, chosen.calls)
    measured = measure(sizes)
    sys.stdout.write(json.dumps(measured, indent=2) + "\n" if chosen.json else table(measured))


if __name__ == "__main__":
    main()
