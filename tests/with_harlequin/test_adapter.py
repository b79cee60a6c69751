"""A catalog in Harlequin has its session, and no secret is written for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

import duckalog
from tests.conftest import WriteConfig

CANARY = "zqxzqxzqxzqx"


@pytest.fixture
def config(write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("PROXY_PASSWORD", CANARY)
    for place in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(place, str(tmp_path / "home"))
    path = write_config("""\
version: 1
duckdb:
  database: shop.duckdb
  settings: {http_proxy_password: "${env:PROXY_PASSWORD}"}
views:
  - {name: orders, sql: SELECT 41 + 1 AS answer}
""")
    duckalog.build(path)
    return path


def hsql(config: Path, query: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "hsql", "-a", "duckalog", config, "-c", query, "--csv"],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_queries_have_the_session_and_read_only(config: Path) -> None:
    query = f"SELECT answer, current_setting('http_proxy_password') = '{CANARY}' AS is_set"
    assert hsql(config, f"{query} FROM orders").stdout.splitlines() == ["answer,is_set", "42,true"]
    refused = hsql(config, "CREATE TABLE mine (i INTEGER)")
    assert refused.returncode != 0
    assert "read-only" in refused.stderr


def test_what_cannot_be_opened_is_told_as_duckalog_tells_it(config: Path) -> None:
    (config.parent / "shop.duckdb").unlink()
    assert "the catalog is not built yet" in hsql(config, "SELECT 1").stderr


def test_the_shell_command_opens_it_and_leaves_no_secret(config: Path, tmp_path: Path) -> None:
    shell = pexpect.spawn(
        sys.executable,
        ["-m", "duckalog", "shell", str(config), "--with", "harlequin"],
        env={**os.environ, "TERM": "xterm-256color"},
        encoding="utf-8",
        timeout=60,
        dimensions=(40, 120),
    )
    shell.expect("shop")
    shell.sendcontrol("q")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 0
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert written
    assert not [file for file in written if CANARY.encode() in file.read_bytes()]
