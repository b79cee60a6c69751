"""`python -m tests.benchmarks.dagster`: loading definitions, and runs, as ratios to what is else.

Each figure is that of a process of its own, in seconds of its processor.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

LOADED = (1_000, 5_000)
BUILT = (100, 1_000)

_LOAD = """
import json, sys, time
import dagster, duckdb
start = time.process_time()
from duckalog_dagster import build_duckalog_definitions
build_duckalog_definitions(sys.argv[1]).get_repository_def()
print(json.dumps(time.process_time() - start))
"""

_BUILD = """
import json, sys, time
import duckalog
start = time.process_time()
duckalog.build(sys.argv[1])
print(json.dumps(time.process_time() - start))
"""

_MATERIALIZE = """
import json, logging, sys, time
from dagster import DagsterInstance, materialize
from duckalog_dagster import build_duckalog_definitions
logging.getLogger("dagster").setLevel("ERROR")
defs = build_duckalog_definitions(sys.argv[1])
with DagsterInstance.ephemeral() as instance:
    start = time.process_time()
    materialize([*defs.assets], resources=defs.resources, instance=instance)
    print(json.dumps(time.process_time() - start))
"""

_PLAIN = """
import json, logging, sys, time
import duckdb
from dagster import DagsterInstance, asset, materialize
logging.getLogger("dagster").setLevel("ERROR")
connection = duckdb.connect(sys.argv[1] + ".plain")

def made(number):
    @asset(name=f"v{number}", deps=[f"v{number - 1}"] if number % 10 else [])
    def view():
        connection.execute(f"CREATE OR REPLACE VIEW v{number} AS SELECT {number} AS i")
    return view

assets = [made(number) for number in range(int(sys.argv[2]))]
with DagsterInstance.ephemeral() as instance:
    start = time.process_time()
    materialize(assets, instance=instance)
    print(json.dumps(time.process_time() - start))
"""


def catalog(folder: Path, count: int) -> Path:
    """Return the config of so many views, in chains of ten."""
    folder.mkdir()
    config = folder / "catalog.yaml"
    views = "".join(
        f"  - {{name: v{number}, sql: SELECT {_read(number)}}}\n" for number in range(count)
    )
    config.write_text(f"version: 1\nduckdb: {{database: catalog.duckdb}}\nviews:\n{views}")
    return config


def _read(number: int) -> str:
    return f"i + 1 AS i FROM v{number - 1}" if number % 10 else f"{number} AS i"


def seconds(program: str, config: Path, *arguments: str) -> float:
    """Return the processor seconds that a program tells of itself; its catalogs are removed."""
    for file in config.parent.glob("*.duckdb*"):
        file.unlink()
    for file in config.parent.glob("*.plain*"):
        file.unlink()
    done = subprocess.run(
        [sys.executable, "-c", program, str(config), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"DAGSTER_DISABLE_TELEMETRY": "1"},
        encoding="utf-8",
        check=True,
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.dagster")
    parser.add_argument("--rounds", type=int, default=3, help="of each; the least counts")
    parser.add_argument("--small", action="store_true", help="without the largest catalogs")
    chosen = parser.parse_args()
    rounds = range(chosen.rounds)
    with tempfile.TemporaryDirectory(prefix="duckalog-dagster-") as folder:
        print("| definitions of | seconds | goal |\n|---|---|---|")
        for count in LOADED[:1] if chosen.small else LOADED:
            config = catalog(Path(folder, f"load-{count}"), count)
            took = min(seconds(_LOAD, config) for _ in rounds)
            print(f"| {count:,} views | {took:.2f} | ≤ {count / 2000:.1f} |", flush=True)
        print(
            "\n| run of | ms an asset | ÷ duckalog build | ÷ one op an asset |\n|---|---|---|---|"
        )
        for count in BUILT[:1] if chosen.small else BUILT:
            config = catalog(Path(folder, f"run-{count}"), count)
            both = [(seconds(_MATERIALIZE, config), seconds(_BUILD, config)) for _ in rounds]
            ours, build = (min(several) for several in zip(*both, strict=True))
            plain = min(seconds(_PLAIN, config, str(count)) for _ in rounds)
            print(
                f"| {count:,} views | {ours / count * 1000:.1f} | {ours / build:.1f}"
                f" | {ours / plain:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
