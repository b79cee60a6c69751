"""`duckalog serve`: readers in other processes, a token, and a clean end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import duckalog
from duckalog import EngineError
from duckalog.engine import serve
from duckalog.extensions import packaged
from tests import tables
from tests.conftest import RunCli, WriteConfig

CATALOG = """\
version: 1
duckdb: {database: shop.duckdb}
attachments: {sqlite: [{alias: crm, path: crm.db}]}
views:
  - {name: customers, source: sqlite, database: crm, table: customers}
"""
READER = """
import duckdb, sys
address, token, *extensions = sys.argv[1:]
connection = duckdb.connect()
for extension in extensions:
    connection.load_extension(extension)
connection.execute("CREATE SECRET (TYPE quack, TOKEN '" + token + "')")
connection.execute("ATTACH '" + address + "' AS shop (DISABLE_SSL true)")
print(connection.execute("FROM shop.customers ORDER BY ALL").fetchall())
listing = "FROM quack_query_by_name('shop', 'SHOW ALL TABLES');"
print("listed" if ("shop", "main", "customers") in [
    row[:3] for row in connection.execute(listing).fetchall()
] else "not listed")
try:
    connection.execute("CREATE TABLE shop.mine (i INTEGER)")
except duckdb.Error as error:
    print("refused")
"""


@pytest.fixture
def config(write_config: WriteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Nothing is installed there: the server has its extensions from their packages.
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    tables.write_sqlite(tmp_path / "crm.db", "customers", "FROM (VALUES (1, 'de')) t(id, country)")
    path = write_config(CATALOG)
    duckalog.build(path)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(
    config: Path, port: int, *options: str | Path, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-m", "duckalog", "serve", str(config), "--port", str(port)]
    words += map(str, options)
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], end: str) -> str:
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if end in line:
            return said
    assert process.stderr
    pytest.fail(f"it ended: {said} {process.stderr.read()}")


def read(address: str, token: str) -> subprocess.CompletedProcess[str]:
    extensions = [next(packaged(name)) for name in ("httpfs", "quack")]
    words = [sys.executable, "-c", READER, address, token, *extensions]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.servers
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_reader_needs_a_token_only_and_cannot_write(number: signal.Signals, config: Path) -> None:
    port = free_port()
    with serving(config, port) as process:
        said = read_until(process, "Ctrl-C")
        assert "experimental" in said
        assert "  FROM quack_query_by_name('shop', 'SHOW ALL TABLES');  -- what there is\n" in said
        found = re.search(r"TOKEN '([^']+)'", said)
        assert found
        address = f"quack:localhost:{port}"
        result = read(address, found[1])
        assert result.stdout == "[(1, 'de')]\nlisted\nrefused\n", result.stderr
        refused = read(address, "another-token-of-nobody")
        assert refused.returncode != 0
        process.send_signal(number)
        assert process.wait(20) == 0
        assert process.stdout
        assert process.stdout.read() == "Ended.\n"


@pytest.mark.servers
def test_a_rebuild_is_told_or_ends_it(config: Path) -> None:
    with (
        serving(config, free_port()) as told,
        serving(config, free_port(), "--until-rebuilt") as ended,
    ):
        for process in (told, ended):
            read_until(process, "Ctrl-C")
        catalog = config.with_name("shop.duckdb")
        catalog.rename(catalog.with_name("away"))
        time.sleep(1.2)  # it looks twice a second
        assert ended.poll() is None
        catalog.with_name("away").rename(catalog)
        config.write_text(CATALOG + "  - {name: more, sql: SELECT 1 AS i}\n")
        assert duckalog.build(config).published == "swap"
        assert ended.wait(20) == 0
        assert told.stderr
        assert "shop.duckdb was rebuilt: readers have" in told.stderr.readline()


@pytest.mark.servers
def test_the_token_of_the_environment_is_not_printed(config: Path) -> None:
    port, token = free_port(), "zqxzqxzqxzqxzqxzqx"
    moved = config.with_name("moved.duckdb")
    config.with_name("shop.duckdb").rename(moved)
    with serving(config, port, "--db-path", moved, DUCKALOG_SERVE_TOKEN=token) as process:
        said = read_until(process, "Ctrl-C")
        assert token not in said
        assert "AS moved" in said
        address = f"quack:localhost:{port}"
        assert read(address, token).stdout.startswith("[(1, 'de')]")


@pytest.mark.servers
def test_a_port_that_is_taken_is_told(config: Path, run_cli: RunCli) -> None:
    token = "zqxzqxzqxzqxzqxzqx"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = {"DUCKALOG_SERVE_TOKEN": token}
        result = run_cli(
            "serve", config, "--host", "127.0.0.1", "--port", str(port), env=environment
        )
    assert result.returncode == 1
    assert result.stderr.startswith(f"cannot serve at quack:127.0.0.1:{port}\n")
    assert token not in result.stderr


@pytest.mark.servers
def test_a_port_that_another_server_has_is_told(config: Path, run_cli: RunCli) -> None:
    port = free_port()
    with serving(config, port) as process:
        read_until(process, "Ctrl-C")
        socket.create_connection(("localhost", port), timeout=20).close()
        result = run_cli("serve", config, "--port", str(port))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"cannot serve at quack:localhost:{port}\n"
        "    Address already in use. Choose another: --port\n"
    )


@pytest.mark.servers
def test_a_duckdb_without_the_protocol_says_how_to_get_it(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    empty = tmp_path / "nowhere"
    config = write_config(
        "version: 1\nduckdb:\n  database: shop.duckdb\n"
        f"  settings: {{custom_extension_repository: {empty}}}\n"
        f"  extension_directory: {empty}\n"
        "views: [{name: v, sql: SELECT 1}]\n"
    )
    duckalog.build(config)
    hidden = "import sys; sys.modules['duckdb_extension_quack'] = None\n"
    words = [sys.executable, "-c", f"{hidden}from duckalog.cli import main; main()"]
    result = subprocess.run(
        [*words, "serve", str(config)], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    assert 'the extension "quack" cannot be had' in result.stderr
    assert "pip install duckdb-extension-quack==" in result.stderr


@pytest.mark.servers
def test_a_server_that_nobody_hears_is_told(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_START_S", 0)
    port = free_port()
    with (
        pytest.raises(EngineError, match=f"cannot serve at quack:localhost:{port}"),
        serve.served(duckalog.connect(config), "localhost", port, "token", may_be_remote=False),
    ):
        pytest.fail("nobody answers within no time")
