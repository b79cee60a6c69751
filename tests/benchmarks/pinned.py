"""`python -m tests.benchmarks.pinned`: a pinned view and an unpinned one over many files on S3.

The server (moto) runs in a process of its own, behind a proxy that adds
latency to every answer. Times are of the wall clock: what counts is waiting.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import duckdb

import duckalog

KINDS = (
    "SELECT {n}::INTEGER AS id, 'name' AS name, 1.5 AS amount",
    "SELECT 'name' AS name, {n}::BIGINT AS id",
    "SELECT {n}::INTEGER AS id, 'name' AS name, 2.5::DOUBLE AS amount, true AS is_vip",
)
"""A column is missing, columns are reordered, numbers are widened."""

PARTITIONS = 10
GOAL = 50
QUERIES = {
    "first row": "FROM {view} LIMIT 1",
    "first row of a partition": "FROM {view} WHERE day = 3 LIMIT 1",
    "a whole partition": "SELECT count(*), sum(id), sum(amount) FROM {view} WHERE day = 3",
    "everything": "SELECT count(*), sum(id), sum(amount), sum(day) FROM {view}",
}


class Place(NamedTuple):
    """Where the server is, through the proxy, and its credentials."""

    endpoint: str
    key_id: str
    secret: str
    region: str


def serve(files: int, latency_ms: float, answer: Connection) -> None:
    """Serve a bucket of `files` until the other end closes."""
    from tests.servers.proxy import Proxy
    from tests.servers.s3 import running_s3

    with running_s3() as s3, tempfile.TemporaryDirectory() as folder:
        s3.make_bucket("pinned")
        client = s3.client()
        bodies = []
        for number, kind in enumerate(KINDS):
            file = Path(folder, f"{number}.parquet")
            duckdb.sql(kind.format(n=number)).write_parquet(str(file))
            bodies.append(file.read_bytes())
        for number in range(files):
            key = f"events/day={number % PARTITIONS}/part-{number:06}.parquet"
            client.put_object(Bucket="pinned", Key=key, Body=bodies[number % len(bodies)])
        host, port = s3.endpoint.split(":")
        proxy = Proxy(host, int(port))
        proxy.behave("pass", latency_ms=latency_ms)
        answer.send(Place(f"{proxy.host}:{proxy.port}", s3.key_id, s3.secret, s3.region))
        answer.recv()
        proxy.close()


def config_of(folder: Path, view: str, place: Place) -> Path:
    """Write the config of one view, `pinned` or `plain`, and return its path."""
    os.environ.update(PINNED_KEY_ID=place.key_id, PINNED_SECRET=place.secret)
    document = {
        "version": 1,
        "duckdb": {
            "database": f"{view}.duckdb",
            "secrets": [
                {
                    "type": "s3",
                    "key_id": "${env:PINNED_KEY_ID}",
                    "secret": "${env:PINNED_SECRET}",
                    "region": place.region,
                    "endpoint": place.endpoint,
                    "url_style": "path",
                    "use_ssl": False,
                }
            ],
        },
        "views": [
            {
                "name": view,
                "source": "parquet",
                "uri": "s3://pinned/events/*/*.parquet",
                "options": {"union_by_name": True, "hive_partitioning": True},
                "pin": view == "pinned",
            }
        ],
    }
    config = folder / f"{view}.json"
    config.write_text(json.dumps(document), encoding="utf-8")
    return config


def seconds(action: Callable[[], object]) -> float:
    """Return the seconds that an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def seconds_of_query(config: Path, query: str) -> float:
    """Return the seconds until a query's rows are there, on a connection that knows nothing."""
    with duckalog.connect(config) as connection:
        return seconds(lambda: connection.execute(query).fetchall())


def measure(config: Path, rounds: int) -> dict[str, float]:
    """Return the medians of each query on new connections, and of building twice."""
    found = {
        "build": seconds(lambda: duckalog.build(config)),
        "rebuild": seconds(lambda: duckalog.build(config)),
    }
    for what, query in QUERIES.items():
        asked = query.format(view=config.stem)
        found[what] = median(seconds_of_query(config, asked) for _ in range(rounds))
    return found


def main() -> None:
    """Print a row for each action: both views, and how much sooner the pinned one answers."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.pinned", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--files", type=int, default=1_000, help="files on S3 (default 1000)")
    parser.add_argument("--latency", type=float, default=50, help="milliseconds (default 50)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each query (default 3)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(chosen.files, chosen.latency, there), daemon=True
    )
    server.start()
    try:
        place = here.recv()
        with tempfile.TemporaryDirectory(prefix="duckalog-pinned-") as folder:
            configs = [config_of(Path(folder), view, place) for view in ("pinned", "plain")]
            pinned, plain = (measure(config, chosen.rounds) for config in configs)
    finally:
        here.send(None)
        server.join(10)
        server.terminate()
    rows = [
        {"action": what, "pinned": pinned[what], "plain": plain[what],
         "ratio": plain[what] / pinned[what]}
        for what in pinned
    ]  # fmt: skip
    measured: dict[str, Any] = {
        "files": chosen.files,
        "latency_ms": chosen.latency,
        "cpus": os.cpu_count(),
        "duckdb": duckdb.__version__,
        "goal": {"action": "first row", "at_least": GOAL,
                 "is_met": plain["first row"] / pinned["first row"] >= GOAL},
        "rows": rows,
    }  # fmt: skip
    sys.stdout.write(json.dumps(measured, indent=2) + "\n" if chosen.json else table(measured))


def table(measured: dict[str, Any]) -> str:
    """Return the Markdown table of what was measured."""
    lines = ["| action | pinned s | unpinned s | times sooner |", "|---|---|---|---|"]
    lines += [
        f"| {row['action']} | {row['pinned']:.3f} | {row['plain']:.3f} | {row['ratio']:.1f} |"
        for row in measured["rows"]
    ]
    goal = measured["goal"]
    verdict = "met" if goal["is_met"] else "missed"
    lines += [
        "",
        f"{measured['files']:,} files on S3, {measured['latency_ms']:g} ms of added latency,"
        f" {measured['cpus']} cores, DuckDB {measured['duckdb']};"
        f" {goal['action']} at least {goal['at_least']} times sooner: {verdict}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
