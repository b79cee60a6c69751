"""A build that is killed, or interrupted by Ctrl-C, at any moment leaves a whole catalog."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

import duckalog

SEED = 20260210
KILLS = 10  # of each signal, over each start
VIEWS = 500
INTERRUPTED = 130
MESSAGE = "Interrupted: the catalog is whole, as it was or as the config has it.\n"

# Says when the build itself begins: what Python does before is not ours.
_BUILD = """
import sys
from duckalog.cli import main
sys.argv = ["duckalog", "build", sys.argv[1]]
print("start", flush=True)
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two configs of one catalog, and the catalog as each builds it."""
    folder = tmp_path_factory.mktemp("kill")
    for value, name in ((1, "old"), (2, "new")):
        views = "\n".join(
            f"  - {{name: v{number}, sql: SELECT {value} AS x, description: number {number}}}"
            for number in range(VIEWS)
        )
        config = folder / f"{name}.yaml"
        config.write_text(f"version: 1\nduckdb: {{database: catalog.duckdb}}\nviews:\n{views}\n")
        catalog = folder / "catalog.duckdb"
        duckalog.build(config)
        catalog.rename(folder / f"{name}.duckdb")
    return folder


def start_build(folder: Path) -> subprocess.Popen[str]:
    """Return a process that builds the new catalog, once it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", _BUILD, str(folder / "new.yaml")],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "start\n"
    return process


def prepare(folder: Path, over: str) -> None:
    """Put the catalog in place that the build starts from: the old one, or none."""
    for leftover in folder.glob("catalog.duckdb*"):
        leftover.unlink()
    for leftover in folder.glob(".catalog.duckdb.building-*"):
        shutil.rmtree(leftover)
    if over == "earlier":
        shutil.copy(folder / "old.duckdb", folder / "catalog.duckdb")


def duration_s(folder: Path, over: str) -> float:
    """Return how long a build takes that is left alone."""
    prepare(folder, over)
    process = start_build(folder)
    start = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return time.monotonic() - start


def holds(folder: Path) -> str:
    """Return which catalog is in place: none, the old one whole, or the new one whole."""
    file = folder / "catalog.duckdb"
    if not file.exists():
        return "none"
    found = _definitions(file)
    for name in ("old", "new"):
        if found == _definitions(folder / f"{name}.duckdb"):
            return name
    raise AssertionError(f"half a catalog: {len(found)} views")


def _definitions(file: Path) -> list[tuple[object, ...]]:
    """Return the views with their comments, and the fingerprints of the bookkeeping."""
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(
            "SELECT schema_name, view_name, sql, comment, fingerprint FROM duckdb_views()"
            " FULL JOIN _duckalog.views USING (schema_name, view_name)"
            " WHERE NOT coalesce(internal, false) ORDER BY ALL"
        ).fetchall()


@pytest.mark.parametrize("over", ["nothing", "earlier"])
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT], ids=["kill", "interrupt"])
def test_a_build_stopped_at_any_moment_leaves_the_old_catalog_or_the_new_one(
    stop: signal.Signals, over: str, folder: Path
) -> None:
    lasts_s = duration_s(folder, over)
    chance = random.Random(f"{SEED} {stop} {over}")
    moments = [lasts_s * (index + chance.random()) / KILLS for index in range(KILLS)]
    found: list[str] = []
    for moment in moments:
        prepare(folder, over)
        process = start_build(folder)
        time.sleep(moment)
        process.send_signal(stop)
        _, errors = process.communicate(timeout=60)
        found.append(holds(folder))
        assert "Traceback" not in errors, f"after {moment:.3f} s"
        if stop is signal.SIGINT:
            # A build that was about to end may be done before it hears of it.
            assert process.returncode in (INTERRUPTED, 0, -signal.SIGINT), errors
            assert errors == (MESSAGE if process.returncode == INTERRUPTED else "")
            assert not list(folder.glob(".catalog.duckdb.building-*"))
    assert set(found) <= ({"none", "new"} if over == "nothing" else {"old", "new"})
    assert found[0] == ("none" if over == "nothing" else "old"), "no build was stopped early"


@pytest.mark.parametrize("over", ["nothing", "earlier"])
def test_the_build_after_one_that_was_killed_succeeds(over: str, folder: Path) -> None:
    half_s = duration_s(folder, over) / 2
    for factor in (0.5, 1, 1.5):
        prepare(folder, over)
        process = start_build(folder)
        time.sleep(half_s * factor)
        process.kill()
        process.communicate(timeout=60)
        duckalog.build(folder / "new.yaml")
        assert holds(folder) == "new"


@pytest.mark.servers
def test_ctrl_c_does_not_wait_for_sources_that_hang(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        views = "\n".join(
            f"  - {{name: v{number}, source: csv, uri: 'http://127.0.0.1:{port}/{number}.csv'}}"
            for port in [silent.getsockname()[1]]
            for number in range(40)
        )
        config = tmp_path / "new.yaml"
        config.write_text(f"version: 1\nduckdb: {{database: catalog.duckdb}}\nviews:\n{views}\n")
        process = start_build(tmp_path)
        silent.settimeout(30)
        with silent.accept()[0]:  # DuckDB asks, and waits for the answer
            process.send_signal(signal.SIGINT)
            start = time.monotonic()
            _, errors = process.communicate(timeout=60)
    assert time.monotonic() - start < 5
    assert (process.returncode, errors) == (INTERRUPTED, MESSAGE)
    assert [path.name for path in tmp_path.iterdir()] == ["new.yaml"]
