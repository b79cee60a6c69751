"""The closest peer: the package `duckalog` 0.2.0 of PyPI, in an environment of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import duckdb

VERSION = "0.2.0"


def installed(cache: Path) -> Path:
    """Return the peer's executable, made on first use: this Python, this DuckDB."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache / f"peer-{VERSION}-python{python}-duckdb{duckdb.__version__}"
    executable = folder / "bin" / "duckalog"
    if not executable.exists():
        shutil.rmtree(folder, ignore_errors=True)
        make_environment(folder, [f"duckalog=={VERSION}", f"duckdb=={duckdb.__version__}"])
    return executable


def make_environment(folder: Path, packages: list[str]) -> None:
    """Make an environment of this Python with some packages, which are installed."""
    uv = shutil.which("uv", path=Path(sys.executable).parent) or shutil.which("uv")
    own = str(folder / "bin" / "python")
    if uv:
        _run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        _run(uv, "pip", "install", "--quiet", "--python", own, *packages)
    else:
        _run(sys.executable, "-m", "venv", str(folder))
        _run(own, "-m", "pip", "install", "--quiet", *packages)


def _run(*arguments: str) -> None:
    subprocess.run(arguments, check=True, stdin=subprocess.DEVNULL)
