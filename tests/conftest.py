"""What every test shares: configs in temporary folders, the command line, a clean environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import hypothesis
import pytest

# An example may wait for a core: a test has no time limit for each.
hypothesis.settings.register_profile("shared cores", deadline=None)
hypothesis.settings.load_profile("shared cores")

pytest_plugins = [
    "tests.configs",
    "tests.servers.s3",
    "tests.servers.postgres",
    "tests.servers.iceberg_rest",
    "tests.servers.proxy",
    "tests.golden_plugin",
    "tests.full_size_plugin",
]

ROOT = Path(__file__).parent.parent

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a shell; what a test starts must hear Ctrl-C nevertheless.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_FOREIGN = ("AWS_", "PG", "DUCKALOG_", "AZURE_", "GOOGLE_")


class WriteConfig(Protocol):
    """Writes a config into the test's folder and returns its path."""

    def __call__(self, text: str, name: str = "catalog.yaml") -> Path: ...


class RunCli(Protocol):
    """Runs `duckalog` in a process of its own."""

    def __call__(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout_s: float = 60,
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any) -> None:
    """Give the test a home folder of its own, and no credentials of the machine's."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.getbasetemp() / "home"))
    os.makedirs(os.environ["HOME"], exist_ok=True)


@pytest.fixture
def write_config(tmp_path: Path) -> WriteConfig:
    def write(text: str, name: str = "catalog.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def run_cli(tmp_path: Path) -> RunCli:
    def run(
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout_s: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "duckalog", *map(str, arguments)],
            env={**os.environ, **(env or {})},
            cwd=cwd or tmp_path,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout_s,
            check=False,
        )

    return run


_QUERY = """
import json, sys, duckalog
config, sql = sys.argv[1:3]
with duckalog.connect(config) as connection:
    rows = connection.execute(sql).fetchall()
print(json.dumps(rows, default=str))
"""


@pytest.fixture
def query_in_new_process(tmp_path: Path) -> Callable[..., list[Any]]:
    """Return a function that queries a built catalog through `connect`, in a new process."""

    def query(config: Path, sql: str, env: Mapping[str, str] | None = None) -> list[Any]:
        result = subprocess.run(
            [sys.executable, "-c", _QUERY, str(config), sql],
            env={**os.environ, **(env or {})},
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        rows: list[Any] = json.loads(result.stdout)
        return rows

    return query
