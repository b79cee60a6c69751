"""`python -m tests.benchmarks.many_files`: a pinned view over very many local Parquet files."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import duckdb

from tests.benchmarks.pinned import KINDS
from tests.benchmarks.processes import Command, cost, environment

FILES_OF_A_FOLDER = 1_000


def write(folder: Path, files: int) -> Path:
    """Write files of three kinds into hive partitions, and the config; return its path."""
    bodies = []
    for number, kind in enumerate(KINDS):
        file = folder / f"{number}.parquet"
        duckdb.sql(kind.format(n=number)).write_parquet(str(file))
        bodies.append(file.read_bytes())
    for number in range(files):
        part = folder / "data" / f"day={number // FILES_OF_A_FOLDER}" / f"{number:06}.parquet"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(bodies[number % len(bodies)])
    view = {
        "name": "pinned",
        "source": "parquet",
        "uri": "data/*/*.parquet",
        "options": {"union_by_name": True, "hive_partitioning": True},
        "pin": True,
    }
    config = folder / "catalog.json"
    document = {"version": 1, "duckdb": {"database": "catalog.duckdb"}, "views": [view]}
    config.write_text(json.dumps(document), encoding="utf-8")
    return config


def main() -> None:
    """Print what each command costs, before and after a file is added."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.many_files", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--files", type=int, default=100_000, help="files (default 100,000)")
    files = parser.parse_args().files
    with tempfile.TemporaryDirectory(prefix="duckalog-many-files-") as name:
        folder = Path(name)
        config = write(folder, files)
        query = "SELECT count(*) FROM pinned WHERE day = 0"
        env = environment(folder / "bytecode")
        run = (sys.executable, "-m", "duckalog")
        cost(Command((*run, "validate", str(config))), env)  # modules are compiled
        sys.stdout.write(f"| {files:,} files | CPU s | MiB |\n|---|---|---|\n")
        for what, *arguments in (
            ("build", "build", str(config)),
            ("rebuild, nothing changed", "build", str(config)),
            ("query of a partition", "query", str(config), query),
            ("plan, a file added", "plan", str(config)),
            ("rebuild, a file added", "build", str(config)),
        ):
            if what == "plan, a file added":
                (folder / "data" / "day=0" / "new.parquet").write_bytes(
                    (folder / "0.parquet").read_bytes()
                )
            found = cost(Command((*run, *arguments)), env)
            sys.stdout.write(f"| {what} | {found.seconds:.2f} | {found.mebibytes:.0f} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
