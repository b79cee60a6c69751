"""What is measured: commands on catalogs, for duckalog, for the peer, and for plain DuckDB."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from tests.benchmarks.processes import Command
from tests.benchmarks.workloads import Workload

Contestant = Literal["duckalog", "peer", "duckdb"]

_PLAIN_DUCKDB = str(Path(__file__).with_name("plain_duckdb.py"))
_OURS = (sys.executable, "-m", "duckalog")


class Goal(NamedTuple):
    """The most that duckalog may cost, as a multiple of another contestant's cost."""

    against: Contestant
    at_most: float


class Case(NamedTuple):
    """One row: what is done with which catalog, and the process of each contestant."""

    action: str
    catalog: str
    views: int
    commands: dict[Contestant, Command]
    goal: Goal | None = None
    later: Goal | None = None


_A_THIRD_OF_THE_PEER = Goal("peer", 1 / 3)
_GOALS = {
    ("validate", "parquet", 1_000): _A_THIRD_OF_THE_PEER,
    ("generate-sql", "parquet", 1_000): _A_THIRD_OF_THE_PEER,
    ("build", "parquet", 1_000): Goal("duckdb", 1.5),
}
_LATER_GOALS = {
    ("build", "parquet", 100): Goal("duckdb", 1.6),
    ("build", "parquet", 500): Goal("duckdb", 1.3),
    ("build", "parquet", 1_000): Goal("duckdb", 1.2),
}


def start_case(peer: Path | None) -> Case:
    """Return the case of `--help`, whose floor is an empty `import duckdb`."""
    commands: dict[Contestant, Command] = {"duckalog": Command((*_OURS, "--help"))}
    if peer:
        commands["peer"] = Command((str(peer), "--help"))
    commands["duckdb"] = Command((sys.executable, "-c", "import duckdb"))
    return Case("--help", "", 0, commands)


def catalog_cases(workload: Workload, peer: Path | None) -> Iterator[Case]:
    """Yield the cases of a catalog; each rebuilds what the one before it built."""
    config = str(workload.config)
    for action in ("validate", "generate-sql"):
        commands: dict[Contestant, Command] = {"duckalog": Command((*_OURS, action, config))}
        if peer:
            commands["peer"] = Command((str(peer), action, config))
        yield _case(action, workload, commands)
    for action in ("build", "rebuild"):
        commands = {}
        for contestant, built in _builds(workload, peer):
            fresh = workload.folder / f"{contestant}.duckdb" if action == "build" else None
            commands[contestant] = Command(built, fresh)
        yield _case(action, workload, commands)
    yield _case("plan", workload, {"duckalog": Command((*_OURS, "plan", config))})
    opened = "import sys, duckalog; duckalog.connect(sys.argv[1]).execute('SELECT 1').fetchall()"
    plain = "import sys, duckdb; duckdb.connect(sys.argv[1]).execute('SELECT 1').fetchall()"
    commands = {
        "duckalog": Command((sys.executable, "-c", opened, config)),
        "duckdb": Command((sys.executable, "-c", plain, str(workload.folder / "duckdb.duckdb"))),
    }
    yield _case("open", workload, commands)
    graph = Command((*_OURS, "graph", config, "--columns", "--output", os.devnull))
    yield _case("graph", workload, {"duckalog": graph})


def _builds(workload: Workload, peer: Path | None) -> Iterator[tuple[Contestant, tuple[str, ...]]]:
    """Yield how each contestant builds the file of its own name."""
    config = str(workload.config)
    yield "duckalog", (*_OURS, "build", config)
    if peer:
        file = str(workload.folder / "peer.duckdb")
        yield "peer", (str(peer), "build", "--db-path", file, config)
    file = str(workload.folder / "duckdb.duckdb")
    yield "duckdb", (sys.executable, _PLAIN_DUCKDB, file, str(workload.script))


def _case(action: str, workload: Workload, commands: dict[Contestant, Command]) -> Case:
    key = (action, workload.name, workload.views)
    return Case(
        action, workload.name, workload.views, commands, _GOALS.get(key), _LATER_GOALS.get(key)
    )
