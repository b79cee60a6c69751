"""A build that is killed, or interrupted by Ctrl-C, leaves a whole catalog and no obstacle."""

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
from duckalog.engine.publish import Publish
from tests.catalogs import content_of

SEED = 20260210
KILLS = 6  # of each signal, in each way
FULL_KILLS = 200  # with --full-size
VIEWS = 500
INTERRUPTED = 130
MESSAGE = "Interrupted: the catalog is whole, as it was or as the config has it.\n"

# Says when the build itself begins: what Python does before is not ours.
_BUILD = """
import sys
from duckalog.cli import main
sys.argv = ["duckalog", "build", sys.argv[1], "--publish", *sys.argv[2:]]
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


def start_build(
    folder: Path, publish: str = "auto", program: str = _BUILD
) -> subprocess.Popen[str]:
    """Return a process that builds the new catalog, once it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder / "new.yaml"), publish],
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
    for leftover in folder.glob(".*"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    if over == "earlier":
        shutil.copy(folder / "old.duckdb", folder / "catalog.duckdb")


def leftovers(folder: Path) -> list[str]:
    """Return what is in the folder beside the configs and the catalogs."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.name.startswith(".") or path.suffix not in (".yaml", ".duckdb")
    )


def duration_s(folder: Path, over: str, publish: str = "auto") -> float:
    """Return how long a build takes that is left alone."""
    prepare(folder, over)
    process = start_build(folder, publish)
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


WAYS = pytest.mark.parametrize(
    ("over", "publish"),
    [("nothing", "auto"), ("earlier", "in-place"), ("earlier", "swap")],
    ids=["new", "in-place", "swap"],
)


@pytest.mark.thorough
@WAYS
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT], ids=["kill", "interrupt"])
def test_a_build_stopped_at_any_moment_leaves_a_whole_catalog_and_stops_no_other(
    stop: signal.Signals, over: str, publish: Publish, folder: Path, is_full_size: bool
) -> None:
    kills = FULL_KILLS if is_full_size else KILLS
    lasts_s = duration_s(folder, over, publish)
    chance = random.Random(f"{SEED} {stop} {over} {publish}")
    moments = [lasts_s * (index + chance.random()) / kills for index in range(kills)]
    found: list[str] = []
    for moment in moments:
        prepare(folder, over)
        process = start_build(folder, publish)
        time.sleep(moment)
        process.send_signal(stop)
        _, errors = process.communicate(timeout=60)
        found.append(holds(folder))
        assert "Traceback" not in errors, f"after {moment:.3f} s"
        if stop is signal.SIGKILL:
            duckalog.build(folder / "new.yaml", publish=publish, lock_timeout_s=0)
            assert holds(folder) == "new"
            assert not leftovers(folder)
        if stop is signal.SIGINT:
            # A build that was about to end may be done before it hears of it.
            assert process.returncode in (INTERRUPTED, 0, -signal.SIGINT), errors
            assert errors == (MESSAGE if process.returncode == INTERRUPTED else "")
            assert not leftovers(folder)
    assert set(found) <= ({"none", "new"} if over == "nothing" else {"old", "new"})
    assert found[0] == ("none" if over == "nothing" else "old"), "no build was stopped early"


# Stops for good at a point of the build, and says that it is there.
_HELD = """
import sys, time
from duckalog.engine import {module} as module
from duckalog.cli import main
def hold(*arguments, **keywords):
    result = original(*arguments, **keywords)
    print("start", flush=True)
    time.sleep(60)
*path, name = "{name}".split(".")
for part in path:
    module = getattr(module, part)
original = getattr(module, name)
setattr(module, name, hold)
sys.argv = ["duckalog", "build", sys.argv[1], "--publish", *sys.argv[2:]]
main()
"""

_POINTS = [
    # The views are made, and remembered: what is missing is COMMIT.
    ("auto", "apply", "remember", "none"),
    ("in-place", "apply", "remember", "old"),
    ("swap", "apply", "remember", "old"),
    ("in-place", "making", "apply_catalog", "new"),  # after COMMIT, before DuckDB folds its log
    ("swap", "publish", "_copy", "old"),
    ("swap", "publish", "_finish", "old"),
    ("auto", "publish", "_finish", "none"),
    ("swap", "publish", "os.chmod", "old"),
    ("swap", "publish", "os.replace", "new"),  # before the folder is removed
    ("auto", "publish", "os.link", "new"),
]


@pytest.mark.parametrize(("publish", "module", "name", "expected"), _POINTS)
def test_a_build_killed_at_a_known_point(
    publish: str, module: str, name: str, expected: str, folder: Path
) -> None:
    prepare(folder, "nothing" if publish == "auto" else "earlier")
    catalog = folder / "catalog.duckdb"
    before = content_of(catalog) if catalog.exists() else None
    process = start_build(folder, publish, _HELD.format(module=module, name=name))
    process.kill()
    process.communicate(timeout=60)
    assert holds(folder) == expected
    if expected == "old":
        assert content_of(catalog) == before
    if expected == "none":
        assert not catalog.exists()
    duckalog.build(folder / "new.yaml", lock_timeout_s=0)
    assert holds(folder) == "new"
    assert not leftovers(folder)


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
