"""Runs of a catalog that are cancelled, or beside readers: nobody finds half a catalog."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("dagster")

from dagster import DagsterInstance, DagsterRunStatus, materialize

import duckalog
from duckalog_dagster import build_duckalog_definitions
from tests.catalogs import held_open
from tests.conftest import WriteConfig

pytestmark = pytest.mark.servers

INSTANCE = """
telemetry: {enabled: false}
run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}
"""

RUN = """
import logging
from dagster import DagsterInstance, materialize
from duckalog_dagster import build_duckalog_definitions
waiting = logging.StreamHandler()
waiting.addFilter(lambda record: "waiting" in record.getMessage())
logging.getLogger("duckalog.engine").addHandler(waiting)
logging.getLogger("duckalog.engine").setLevel("INFO")
logging.getLogger("dagster").setLevel("ERROR")
defs = build_duckalog_definitions("catalog.yaml")
with DagsterInstance.get() as instance:
    result = materialize(
        [*defs.assets], resources=defs.resources, instance=instance, raise_on_error=False
    )
raise SystemExit(not result.success)
"""


class SlowSource(ThreadingHTTPServer):
    """A web server with one CSV file, which it keeps to itself until it is told to give it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _OneFile)
        self.asked = threading.Semaphore(0)
        self.gives = threading.Event()

    def wait_until_asked(self) -> None:
        assert self.asked.acquire(timeout=90), "nobody asked for the file"


class _OneFile(BaseHTTPRequestHandler):
    server: SlowSource

    def do_GET(self) -> None:
        self.server.asked.release()
        assert self.server.gives.wait(90)
        body = b"i\n7\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # whoever asked was killed
            super().handle()


@pytest.fixture
def source() -> Iterator[SlowSource]:
    with SlowSource() as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.gives.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def catalog(write_config: WriteConfig, source: SlowSource, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a config whose catalog was built, and that has changed: a slow view came."""
    views = "version: 1\nduckdb: {database: shop.duckdb}\nviews:\n"
    config = write_config(f"{views}  - {{name: v, sql: SELECT 1 AS i}}\n")
    duckalog.build(config)
    url = f"http://127.0.0.1:{source.server_port}/slow.csv"
    write_config(
        f"{views}  - {{name: v, sql: SELECT 2 AS i}}\n"
        f"  - {{name: slow, source: csv, uri: '{url}'}}\n"
    )
    home = config.parent / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(INSTANCE)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return config


@contextlib.contextmanager
def run(config: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a run worker of its own; it is ended when the block is left."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN],
        cwd=config.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def value(config: Path) -> int:
    """Return what the view says of which config it was made of."""
    with duckalog.connect(duckalog.load_plan(config).chosen(["v"])) as connection:
        ((found,),) = connection.execute("FROM v").fetchall()
    return int(found)


def test_a_run_that_is_cancelled_leaves_the_earlier_catalog(
    catalog: Path, source: SlowSource
) -> None:
    with run(catalog) as process:
        source.wait_until_asked()
        process.send_signal(signal.SIGINT)
        source.gives.set()  # DuckDB does not let go of a request before its own time limit
        assert process.wait(60) != 0
    with DagsterInstance.get() as instance:
        (ended,) = instance.get_runs()
        assert ended.status in (DagsterRunStatus.CANCELED, DagsterRunStatus.FAILURE)
    assert value(catalog) == 1


def test_a_run_that_is_killed_frees_its_turn_for_the_one_that_waits(
    catalog: Path, source: SlowSource
) -> None:
    with run(catalog) as killed:
        source.wait_until_asked()
        with run(catalog) as other:
            assert other.stderr
            assert any("waiting" in line for line in other.stderr)
            killed.kill()
            assert killed.wait(30) == -signal.SIGKILL
            source.gives.set()
            assert other.wait(60) == 0, other.stderr.read()
    assert value(catalog) == 2
    assert sorted(file.name for file in catalog.parent.iterdir() if file.is_file()) == [
        "catalog.yaml",
        "shop.duckdb",
    ]


def test_a_run_beside_readers_puts_another_file_in_their_place(
    catalog: Path, source: SlowSource
) -> None:
    source.gives.set()
    file = catalog.with_name("shop.duckdb")
    before = file.stat().st_ino
    defs = build_duckalog_definitions(catalog)
    with DagsterInstance.ephemeral() as instance, held_open(file):
        result = materialize(list(defs.assets or ()), resources=defs.resources, instance=instance)
        assert result.success
        assert value(catalog) == 2
    assert file.stat().st_ino != before
