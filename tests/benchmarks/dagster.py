"""`python -m tests.benchmarks.dagster`: loading definitions, and runs, as ratios to what is else.

Each figure is that of a process of its own and of those that it starts, in seconds of
their processors, as the median of interleaved rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.benchmarks import dbt
from tests.benchmarks.processes import environment

LOADED = (1_000, 5_000)
RUN = (100, 1_000)
LARGE = (2_000, 5_000)
MODELS = 100

_BEFORE = """
import json, logging, os, sys
import dagster, duckdb
def spent():
    return sum(os.times()[:4])
start = spent()
"""
_AFTER = """
print(json.dumps(spent() - start))
"""

_LOAD = """
from duckalog_dagster import build_duckalog_definitions
build_duckalog_definitions(sys.argv[1]).get_repository_def()
"""

_BUILD = """
import duckalog
start = spent()
duckalog.build(sys.argv[1])
"""

_MATERIALIZE = """
from duckalog_dagster import DuckalogTranslator, DuckalogTranslatorSettings
from duckalog_dagster import build_duckalog_definitions
logging.getLogger("dagster").setLevel("ERROR")
settings = DuckalogTranslatorSettings(enable_asset_checks=CHECKED)
defs = build_duckalog_definitions(sys.argv[1], translator=DuckalogTranslator(settings))
with dagster.DagsterInstance.INSTANCE as instance:
    start = spent()
    dagster.materialize([*defs.assets], resources=defs.resources, instance=instance)
"""

_UNCHECKED = _MATERIALIZE.replace("CHECKED", "False")
"""As dagster-dbt's runs of models are."""
_CHECKED = _MATERIALIZE.replace("CHECKED", "True")

_PLAIN = """
from dagster import AssetCheckResult, AssetCheckSpec, MaterializeResult, asset
logging.getLogger("dagster").setLevel("ERROR")
connection = duckdb.connect(sys.argv[1] + ".plain")
queries = json.loads(open(sys.argv[1] + ".json").read())

def made(number, query):
    needs = [f"v{number - 1}"] if number % 10 else []
    check = AssetCheckSpec("answers", asset=f"v{number}")

    @asset(name=f"v{number}", deps=needs, check_specs=[check])
    def view():
        connection.execute(f"CREATE OR REPLACE VIEW v{number} AS {query}")
        connection.execute(f"SELECT * FROM v{number} LIMIT 1").fetchall()
        return MaterializeResult(check_results=[AssetCheckResult(passed=True)])

    return view

assets = [made(*pair) for pair in enumerate(queries)]
with dagster.DagsterInstance.ephemeral() as instance:
    start = spent()
    dagster.materialize(assets, instance=instance)
"""

_NOTHING = """
from dagster import AssetCheckResult, AssetCheckSpec, AssetSpec, MaterializeResult, multi_asset
logging.getLogger("dagster").setLevel("ERROR")

def op(numbers):
    specs = [
        AssetSpec(f"v{number}", deps=[f"v{number - 1}"] if number % 10 else [], skippable=True)
        for number in numbers
    ]
    checks = [AssetCheckSpec("answers", asset=spec.key) for spec in specs if CHECKED]

    @multi_asset(specs=specs, check_specs=checks, can_subset=True, name=f"op_{numbers[0]}")
    def nothing():
        for spec in specs:
            found = AssetCheckResult(passed=True, asset_key=spec.key, check_name="answers")
            yield MaterializeResult(asset_key=spec.key, check_results=[found] if CHECKED else [])

    return nothing

count = len(json.loads(open(sys.argv[1] + ".json").read()))
assets = [op(range(first, min(first + 150, count))) for first in range(0, count, 150)]
with dagster.DagsterInstance.ephemeral() as instance:
    start = spent()
    dagster.materialize(assets, instance=instance)
"""

_COMMAND = """
import subprocess
definitions = os.path.join(os.path.dirname(sys.argv[1]), "definitions.py")
arguments = ["asset", "materialize", "--select", "*", "-f", definitions]
subprocess.run([sys.executable, "-m", "dagster", *arguments], check=True, capture_output=True)
"""

_DEFINITIONS = """
from pathlib import Path
from dagster import Definitions, in_process_executor
from duckalog_dagster import build_duckalog_definitions
defs = Definitions.merge(
    build_duckalog_definitions(Path(__file__).with_name("catalog.yaml")),
    Definitions(executor=in_process_executor),
)
"""


class Program(NamedTuple):
    """A program to measure, and the config or folder that it is given."""

    text: str
    given: Path
    python: Path = Path(sys.executable)


def queries(count: int, reference: str = "v{}") -> list[str]:
    """Return so many queries that read each other in chains of ten."""
    return [
        f"SELECT i + 1 AS i FROM {reference.format(number - 1)}"
        if number % 10
        else f"SELECT {number} AS i"
        for number in range(count)
    ]


def catalog(folder: Path, count: int) -> Path:
    """Return the config of so many views."""
    folder.mkdir()
    config = folder / "catalog.yaml"
    asked = queries(count)
    views = "".join(f"  - {{name: v{number}, sql: {one}}}\n" for number, one in enumerate(asked))
    config.write_text(f"version: 1\nduckdb: {{database: catalog.duckdb}}\nviews:\n{views}")
    (folder / "catalog.yaml.json").write_text(json.dumps(asked))
    (folder / "definitions.py").write_text(_DEFINITIONS)
    return config


def seconds(program: Program, env: Mapping[str, str]) -> float:
    """Return the processor seconds that a program tells of itself; its catalogs are removed."""
    folder = program.given if program.given.is_dir() else program.given.parent
    for pattern in ("*.duckdb*", "*.plain*"):
        for file in folder.glob(pattern):
            file.unlink()
    with tempfile.TemporaryDirectory(prefix="duckalog-dagster-home-") as home:
        done = subprocess.run(
            [str(program.python), "-c", f"{_BEFORE}{program.text}{_AFTER}", str(program.given)],
            cwd=folder,
            capture_output=True,
            env={
                **env,
                "DAGSTER_HOME": home,
                "DAGSTER_DISABLE_TELEMETRY": "1",
                "PATH": f"{program.python.parent}{os.pathsep}{env['PATH']}",
            },
            encoding="utf-8",
            check=False,
        )
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return float(json.loads(done.stdout.splitlines()[-1]))


def medians(programs: Sequence[Program], rounds: int, cache: Path) -> list[float]:
    """Return the median of each program; every round runs each once, after one that warms up."""
    env = environment(cache / "bytecode")
    found: list[list[float]] = [[] for _ in programs]
    for number in range(rounds + 1):
        print(f"round {number} of {rounds}" if number else "warming up", file=sys.stderr)
        for program, taken in zip(programs, found, strict=True):
            taken.append(seconds(program, env))
    return [median(taken[1:]) for taken in found]


def loads(folder: Path, counts: Iterable[int], rounds: int, cache: Path) -> None:
    """Print what loading definitions costs."""
    counts = list(counts)
    programs = [Program(_LOAD, catalog(folder / f"load-{count}", count)) for count in counts]
    print("| definitions of | seconds beyond `import dagster` | goal |\n|---|---|---|")
    for count, took in zip(counts, medians(programs, rounds, cache), strict=True):
        print(f"| {count:,} views | {took:.2f} | ≤ {count / 2000:.1f} |", flush=True)


def runs(folder: Path, counts: Iterable[int], rounds: int, cache: Path) -> None:
    """Print what runs cost, in ratios to the build alone and to other ways of running it."""
    titles = "run of | ms an asset | ÷ build | ÷ ops that do nothing | ÷ one op an asset"
    print(f"\n| {titles} | SQLite, ms | no checks, ms | ÷ nothing |\n|{'---|' * 8}")
    for count in counts:
        config = catalog(folder / f"run-{count}", count)
        texts = [
            _CHECKED.replace("INSTANCE", "ephemeral()"),
            _BUILD,
            _NOTHING.replace("CHECKED", "True"),
            _PLAIN,
            _CHECKED.replace("INSTANCE", "get()"),
            _UNCHECKED.replace("INSTANCE", "ephemeral()"),
            _NOTHING.replace("CHECKED", "False"),
        ]
        ours, build, nothing, plain, sqlite, unchecked, less = medians(
            [Program(text, config) for text in texts], rounds, cache
        )
        print(
            f"| {count:,} views | {ours / count * 1000:.1f} | {ours / build:.1f}"
            f" | {ours / nothing:.2f} | {ours / plain:.2f} | {sqlite / count * 1000:.1f}"
            f" | {unchecked / count * 1000:.1f} | {unchecked / less:.2f} |",
            flush=True,
        )


def against_dbt(folder: Path, rounds: int, cache: Path) -> None:
    """Print what dagster-dbt's assets cost over a dbt-duckdb project of the same views."""
    python = dbt.installed(cache)
    config = catalog(folder / "ours", MODELS)
    models = dbt.project(folder / "dbt", python, queries(MODELS, "{{{{ ref('v{}') }}}}"))
    load, run, unchecked, command, dbt_load, dbt_run = medians(
        [
            Program(_LOAD, config),
            Program(_CHECKED.replace("INSTANCE", "ephemeral()"), config),
            Program(_UNCHECKED.replace("INSTANCE", "ephemeral()"), config),
            Program(_COMMAND, config),
            Program(dbt.LOAD, models, python),
            Program(dbt.LOAD + dbt.RUN, models, python),
        ],
        rounds,
        cache,
    )
    print(f"\n| {MODELS} views | ours | dagster-dbt | dagster-dbt ÷ ours |\n|---|---|---|---|")
    print(f"| definitions, s | {load:.2f} | {dbt_load:.2f} | {dbt_load / load:.1f} |")
    each, least, theirs = (took / MODELS * 1000 for took in (run, unchecked, dbt_run))
    print(f"| run, ms an asset | {least:.1f} | {theirs:.1f} | {theirs / least:.1f} |")
    print(f"| run with our checks | {each:.1f} | {theirs:.1f} | {theirs / each:.1f} |")
    print(f"| `dagster asset materialize`, s | {command:.1f} | | |")


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.dagster")
    parser.add_argument("--rounds", type=int, default=3, help="of each; the median counts")
    parser.add_argument("--small", action="store_true", help="without the largest catalogs")
    parser.add_argument("--large", action="store_true", help="runs of 2,000 and 5,000 views too")
    parser.add_argument("--no-dbt", dest="dbt", action="store_false", help="install no dbt")
    chosen = parser.parse_args()
    cache = Path(tempfile.gettempdir()) / "duckalog-benchmarks"
    cache.mkdir(exist_ok=True)
    counts = [*RUN[:1]] if chosen.small else [*RUN, *(LARGE if chosen.large else ())]
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory(prefix="duckalog-dagster-") as name:
        folder = Path(name)
        loads(folder, LOADED[:1] if chosen.small else LOADED, chosen.rounds, cache)
        if chosen.dbt:
            against_dbt(folder, chosen.rounds, cache)
        runs(folder, counts, chosen.rounds, cache)
    print(f"\nload of the machine: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
