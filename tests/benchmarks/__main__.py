"""`python -m tests.benchmarks`: measures, and prints a table or JSON."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import peer, report
from tests.benchmarks.cases import catalog_cases, start_case
from tests.benchmarks.processes import environment, medians
from tests.benchmarks.workloads import parquet_views, select_views

LARGE = 10_000


def main() -> None:
    """Measure what the arguments say; what fails is told in the table."""
    chosen = _arguments()
    cache = Path(tempfile.gettempdir()) / "duckalog-benchmarks"
    cache.mkdir(exist_ok=True)
    executable = peer.installed(cache) if chosen.peer else None
    counts = [*chosen.views, *([LARGE] if chosen.large else [])]
    with tempfile.TemporaryDirectory(prefix="duckalog-benchmark-") as folder:
        workloads = [parquet_views(Path(folder, f"parquet-{count}"), count) for count in counts]
        workloads.append(select_views(Path(folder, "sql"), max(chosen.views)))
        cases = [start_case(executable)]
        cases += [case for workload in workloads for case in catalog_cases(workload, executable)]
        found = iter(
            medians(
                [command for case in cases for command in case.commands.values()],
                chosen.rounds,
                environment(cache / "bytecode"),
                lambda text: print(text, file=sys.stderr),
            )
        )
    costs: list[report.Costs] = [{name: next(found) for name in case.commands} for case in cases]
    measured = report.document(cases, costs, chosen.rounds)
    print(json.dumps(measured, indent=2) if chosen.json else report.table(measured), end="")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--views", type=int, nargs="+", default=[100, 500, 1_000], help="sizes of the catalogs"
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs of each process (default 5)")
    parser.add_argument("--large", action="store_true", help=f"also {LARGE:,} views")
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="install no peer")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


if __name__ == "__main__":
    main()
