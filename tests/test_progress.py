"""What a build tells while it runs: progress on a terminal, logs, and nothing in pipes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import click
import pytest

import duckalog
from tests import tables
from tests.conftest import RunCli, WriteConfig
from tests.servers.s3 import S3

VIEWS = 1_500
IMPATIENT = """
import sys
from duckalog.cli import main, progress
progress.PATIENCE_S = 0
sys.argv[0] = "duckalog"
main()
"""


@pytest.fixture
def config(write_config: WriteConfig) -> Path:
    """Return a config whose build takes long enough for a bar."""
    views = "\n".join(f"  - {{name: v{one}, sql: SELECT {one} AS i}}" for one in range(VIEWS))
    return write_config(f"version: 1\nduckdb: {{database: catalog.duckdb}}\nviews:\n{views}\n")


@pytest.fixture
def secretive(write_config: WriteConfig) -> Path:
    return write_config(
        "version: 1\nduckdb:\n  database: c.duckdb\n"
        "  pragmas: [\"SET VARIABLE api_token = '${env:API_TOKEN}'\"]\n"
        "views: [{name: a, sql: SELECT 1 AS i}]\n"
    )


class Terminal:
    """A process whose standard streams are a terminal, and what it has written there."""

    def __init__(self, folder: Path, arguments: tuple[object, ...], **environment: str) -> None:
        self.text = ""
        self._own, other = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", IMPATIENT, *map(str, arguments)],
            stdin=other,
            stdout=other,
            stderr=other,
            cwd=folder,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "", **environment},
            start_new_session=True,
        )
        os.close(other)

    def read_until(self, wanted: str | None = None) -> str:
        """Return what was written until `wanted` is there, or until the process ends."""
        with contextlib.suppress(OSError):  # EIO: the process has ended
            while wanted is None or wanted not in self.text:
                read = os.read(self._own, 65_536)
                if not read:
                    break
                self.text += read.decode(errors="replace")
        return self.text

    def close(self) -> None:
        """Kill the process, and close the terminal."""
        self.process.kill()
        self.process.wait()
        os.close(self._own)


OnTerminal = Callable[..., Terminal]


@pytest.fixture
def on_terminal(tmp_path: Path) -> Iterator[OnTerminal]:
    """Return a function that runs a command line on a terminal of its own."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: object, **environment: str) -> Terminal:
            terminal = Terminal(tmp_path, arguments, **environment)
            stack.callback(terminal.close)
            return terminal

        yield start


COUNT = re.compile(rf"(\d+)/{VIEWS}\b")


@pytest.mark.thorough
class TestTerminal:
    def test_a_bar_counts_the_views_and_is_cleared(
        self, config: Path, on_terminal: OnTerminal
    ) -> None:
        text = on_terminal("build", config).read_until()
        counts = [int(one) for one in COUNT.findall(text)]
        assert counts == sorted(counts)
        assert 0 < counts[-1] < VIEWS
        shown, _, after = text.rpartition("\x1b[2K")
        assert "Making views" in shown
        after = click.unstyle(after)
        assert re.fullmatch(rf"Built \S+: {VIEWS:,} created \(\d+\.\d s\)\r\n", after)

    def test_an_error_stands_alone(self, config: Path, on_terminal: OnTerminal) -> None:
        config.write_text(config.read_text("utf-8") + "  - {name: bad, sql: FROM nowhere}\n")
        text = on_terminal("build", config).read_until()
        assert "Making views" in text
        assert click.unstyle(text.rpartition("\x1b[2K")[2]).startswith(
            "catalog.yaml:1504: views[1500]"
        )

    def test_ctrl_c_clears_it(self, config: Path, on_terminal: OnTerminal) -> None:
        terminal = on_terminal("build", config)
        terminal.read_until("Making views")
        os.killpg(terminal.process.pid, signal.SIGINT)
        after = terminal.read_until().rpartition("\x1b[2K")[2]
        assert after.startswith("Interrupted: the catalog is whole")
        assert "\x1b[?25h" in terminal.text, "the cursor is shown again"
        assert terminal.process.wait() == 130

    def test_without_color_it_has_none(self, config: Path, on_terminal: OnTerminal) -> None:
        text = on_terminal("build", config, NO_COLOR="1").read_until()
        assert "Making views" in text
        assert not re.findall(r"\x1b\[[0-9;]*m", text)

    @pytest.mark.parametrize(
        ("arguments", "environment"),
        [
            (["--json"], {}),
            (["--log-level", "info"], {}),
            ([], {"TERM": "dumb"}),
        ],
    )
    def test_there_is_none_where_it_would_be_in_the_way(
        self,
        arguments: list[str],
        environment: dict[str, str],
        secretive: Path,
        on_terminal: OnTerminal,
    ) -> None:
        terminal = on_terminal("build", secretive, *arguments, API_TOKEN="x", **environment)
        text = terminal.read_until()
        assert "Making views" not in text
        assert "\x1b" not in click.unstyle(text)

    def test_in_a_pipe_there_is_none_and_rich_is_not_imported(
        self, secretive: Path, tmp_path: Path
    ) -> None:
        program = (
            "import os, sys\nleave = os._exit\n"
            "def tell(status):\n    print('rich' in sys.modules, flush=True)\n    leave(status)\n"
            "os._exit = tell\n" + IMPATIENT
        )
        result = subprocess.run(
            [sys.executable, "-c", program, "build", str(secretive)],
            cwd=tmp_path,
            env={**os.environ, "API_TOKEN": "x"},
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
        assert result.stderr == ""
        assert re.fullmatch(r"Built .*\nFalse\n", result.stdout)


class TestObserver:
    def test_a_build_tells_how_many_views_are_made(self, config: Path) -> None:
        told: list[tuple[str, int, int]] = []
        duckalog.build(config, progress=lambda *one: told.append(one))
        assert told[:2] == [("session", 0, 0), ("apply", 0, VIEWS)]
        made = [done for stage, done, total in told[1:] if (stage, total) == ("apply", VIEWS)]
        assert len(made) == len(told) - 1
        assert all(0 < later - earlier <= VIEWS // 10 for earlier, later in pairwise(made))
        assert VIEWS - made[-1] <= VIEWS // 10

    def test_after_a_refusal_the_others_are_looked_for(self, write_config: WriteConfig) -> None:
        told: list[tuple[str, int, int]] = []
        config = write_config(
            "version: 1\nduckdb: {database: c.duckdb}\n"
            "views: [{name: a, sql: FROM nowhere}, {name: b, sql: SELECT 1}]"
        )
        with pytest.raises(duckalog.EngineError):
            duckalog.build(config, progress=lambda *one: told.append(one))
        assert told == [("session", 0, 0), ("apply", 0, 2), ("refusals", 0, 0)]

    def test_an_observer_that_fails_ends_the_build(self, config: Path) -> None:
        def fail(_stage: str, done: int, _total: int) -> None:
            if done == 7:
                raise ValueError("seven")

        with pytest.raises(ValueError, match="seven"):
            duckalog.build(config, progress=fail)
        assert duckalog.build(config).count("created") == VIEWS

    @pytest.mark.servers
    def test_every_answer_of_a_remote_source_is_told(
        self, s3: S3, tmp_path: Path, write_config: WriteConfig
    ) -> None:
        tables.write_parquet(tmp_path / "a.parquet")
        s3.make_bucket("progress")
        s3.put("progress", "a.parquet", tmp_path / "a.parquet")
        config = write_config(
            f"""
version: 1
duckdb:
  database: catalog.duckdb
  secrets:
    - {{type: s3, key_id: {s3.key_id}, secret: {s3.secret}, region: {s3.region},
       endpoint: "{s3.endpoint}", url_style: path, use_ssl: false}}
views:
  - {{name: a, source: parquet, uri: "s3://progress/a.parquet"}}
  - {{name: b, source: parquet, uri: "s3://progress/*.parquet"}}
  - {{name: c, sql: SELECT 1}}
"""
        )
        told: list[tuple[str, int, int]] = []
        duckalog.validate_config(config, connect=True, progress=lambda *one: told.append(one))
        probes = [("probe", done, 2) for done in range(3)]
        assert told[:5] == [("session", 0, 0), *probes, ("apply", 0, 3)]
        assert {(stage, total) for stage, _, total in told[4:]} == {("apply", 3)}


@pytest.mark.thorough
class TestLogs:
    def test_json_is_an_object_a_line(self, secretive: Path, run_cli: RunCli) -> None:
        result = run_cli(
            "build", secretive, "-v", "--log-format", "json", env={"API_TOKEN": "CANARY-1"}
        )
        assert result.returncode == 0
        lines = [json.loads(line) for line in result.stderr.splitlines()]
        assert {tuple(line) for line in lines} == {("time", "level", "logger", "message")}
        assert {line["level"] for line in lines} == {"debug", "info"}
        assert any("CREATE OR REPLACE VIEW" in line["message"] for line in lines)
        assert all(re.fullmatch(r"[\d-]+T[\d:.]+\+00:00", line["time"]) for line in lines)
        assert "CANARY-1" not in result.stderr + result.stdout

    def test_errors_are_json_too(self, write_config: WriteConfig, run_cli: RunCli) -> None:
        config = write_config("version: 1\nviews: [{name: a}, {name: b}]")
        result = run_cli("validate", config, "--log-format", "json")
        lines = [json.loads(line) for line in result.stderr.splitlines()]
        assert (result.returncode, [line["level"] for line in lines]) == (1, ["error", "error"])
        assert lines[1]["message"].startswith("catalog.yaml:2: views[1]: a view needs")
        assert lines[1]["problem"]["line"] == 2
        assert lines[1]["problem"]["path"] == ["views", 1]

    def test_a_format_alone_tells_what_was_done(
        self, write_config: WriteConfig, run_cli: RunCli
    ) -> None:
        config = write_config("version: 1\nduckdb: {database: c.duckdb}\nviews: []")
        (line,) = run_cli("build", config, "--log-format", "json").stderr.splitlines()
        assert json.loads(line)["level"] == "info"
        assert "c.duckdb: 0 views in 0." in json.loads(line)["message"]

    @pytest.mark.parametrize("level", ["debug", "info", "error"])
    def test_a_level_is_where_it_starts(self, level: str, secretive: Path, run_cli: RunCli) -> None:
        result = run_cli("build", secretive, "--log-level", level, env={"API_TOKEN": "x"})
        assert ("INFO" in result.stderr) == (level != "error")
        assert ("DEBUG" in result.stderr) == (level == "debug")

    def test_an_unknown_level_is_a_wrong_argument(self, secretive: Path, run_cli: RunCli) -> None:
        assert run_cli("build", secretive, "--log-level", "loud").returncode == 2
