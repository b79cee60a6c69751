"""`python -m tests.benchmarks.pinned`: a pinned view and an unpinned one over many files on S3.

Times are of the wall clock: what counts is waiting.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import duckdb

import duckalog
from tests.benchmarks.distant_s3 import DistantS3, distant_s3

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


def fill(files: int) -> dict[str, bytes]:
    """Return files of three kinds in ten partitions of a bucket."""
    bodies = []
    with tempfile.TemporaryDirectory() as folder:
        for number, kind in enumerate(KINDS):
            file = Path(folder, f"{number}.parquet")
            duckdb.sql(kind.format(n=number)).write_parquet(str(file))
            bodies.append(file.read_bytes())
    return {
        f"pinned/events/day={number % PARTITIONS}/part-{number:06}.parquet": bodies[number % 3]
        for number in range(files)
    }


def config_of(folder: Path, view: str, s3: DistantS3) -> Path:
    """Write the config of one view, `pinned` or `plain`, and return its path."""
    document = {
        "version": 1,
        "duckdb": {"database": f"{view}.duckdb", "secrets": [s3.secret]},
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
    with (
        distant_s3(fill, chosen.files, chosen.latency) as s3,
        tempfile.TemporaryDirectory(prefix="duckalog-pinned-") as folder,
    ):
        configs = [config_of(Path(folder), view, s3) for view in ("pinned", "plain")]
        pinned, plain = (measure(config, chosen.rounds) for config in configs)
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
