"""`python -m tests.benchmarks.remote`: a catalog of views over S3, where every request waits.

Times are of the wall clock. The floor is the requests that a build makes, times
the latency, divided by how many are made at a time; the other bar is a plain
DuckDB script that makes the same views one by one in one transaction.
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

JOBS = 32
GOALS = {"÷ floor": 1.5, "one by one ÷": 10.0, "unchanged ÷ build": 0.1}


def fill(files: int) -> dict[str, bytes]:
    """Return single files of a bucket."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.parquet")
        duckdb.sql("SELECT 1 AS id, 'name' AS name, 1.5 AS amount").write_parquet(str(file))
        body = file.read_bytes()
    return {f"views/{number}.parquet": body for number in range(files)}


def config_of(folder: Path, count: int, s3: DistantS3) -> Path:
    """Write a config of so many views, each over a file of its own, and return its path."""
    views = [
        {"name": f"v{number}", "source": "parquet", "uri": f"s3://views/{number}.parquet"}
        for number in range(count)
    ]
    document = {
        "version": 1,
        "duckdb": {"database": "catalog.duckdb", "secrets": [s3.secret]},
        "views": views,
    }
    config = folder / "catalog.json"
    config.write_text(json.dumps(document), encoding="utf-8")
    return config


def seconds(action: Callable[[], object]) -> float:
    """Return the seconds that an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def one_by_one(connection: duckdb.DuckDBPyConnection, config: Path) -> None:
    """Make the same views again in one transaction, each bound after the other."""
    connection.execute("BEGIN")
    for step in duckalog.load_plan(config).views:
        connection.execute(step.statements[0].text)
    connection.execute("COMMIT")


def build_anew(config: Path) -> None:
    """Build a catalog that is not there."""
    config.with_name("catalog.duckdb").unlink(missing_ok=True)
    duckalog.build(config, jobs=JOBS)


def measure(config: Path, s3: DistantS3, latency_ms: float, rounds: int) -> dict[str, Any]:
    """Return the seconds of each way, the requests of a build, and their ratios.

    A first build is not counted: it loads modules.
    """
    build_anew(config)
    before = s3.requests()
    build = median(seconds(lambda: build_anew(config)) for _ in range(rounds))
    requests = (s3.requests() - before) // rounds
    unchanged = median(seconds(lambda: duckalog.build(config, jobs=JOBS)) for _ in range(rounds))
    with duckalog.connect(config, read_only=False) as connection:
        plain = seconds(lambda: one_by_one(connection, config))
    floor = requests * latency_ms / 1000 / JOBS
    ratios = {
        "÷ floor": build / floor,
        "one by one ÷": plain / build,
        "unchanged ÷ build": unchanged / build,
    }
    return {
        "requests": requests,
        "seconds": {"build": build, "unchanged": unchanged, "one by one": plain, "floor": floor},
        "ratios": ratios,
    }


def main() -> None:
    """Print the seconds of each way, and the ratios beside their goals."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.remote", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--views", type=int, default=200, help="views over S3 (default 200)")
    parser.add_argument("--latency", type=float, default=50, help="milliseconds (default 50)")
    parser.add_argument("--rounds", type=int, default=5, help="builds (default 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = parser.parse_args()
    with (
        distant_s3(fill, chosen.views, chosen.latency) as s3,
        tempfile.TemporaryDirectory(prefix="duckalog-remote-") as folder,
    ):
        config = config_of(Path(folder), chosen.views, s3)
        measured = measure(config, s3, chosen.latency, chosen.rounds)
    measured |= {
        "views": chosen.views,
        "latency_ms": chosen.latency,
        "cpus": os.cpu_count(),
        "duckdb": duckdb.__version__,
        "goals": GOALS,
    }
    sys.stdout.write(json.dumps(measured, indent=2) + "\n" if chosen.json else table(measured))


def table(measured: dict[str, Any]) -> str:
    """Return the Markdown tables of what was measured."""
    lines = ["| | seconds |", "|---|---|"]
    lines += [f"| {way} | {found:.2f} |" for way, found in measured["seconds"].items()]
    lines += ["", "| ratio | | goal |", "|---|---|---|"]
    for name, ratio in measured["ratios"].items():
        bound = "at least" if name == "one by one ÷" else "at most"
        lines.append(f"| {name} | {ratio:.2f} | {bound} {GOALS[name]:g} |")
    lines += [
        "",
        f"{measured['views']} views, {measured['requests']} requests,"
        f" {measured['latency_ms']:g} ms of added latency, {JOBS} at a time,"
        f" {measured['cpus']} cores, DuckDB {measured['duckdb']}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
