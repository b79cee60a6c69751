"""`duckalog shell` in a real terminal: the DuckDB shell, and the prompt of our own."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import click.testing
import pytest

import duckalog
from duckalog.cli.group import cli
from duckalog.engine.shell import duckdb_shell, shell_session
from tests.conftest import WriteConfig

CATALOG = """\
version: 1
duckdb:
  database: shop.duckdb
  settings: {http_proxy_password: "${env:PROXY_PASSWORD}"}
views:
  - {name: orders, sql: SELECT 41 + 1 AS answer}
"""
CANARY = "zqxzqxzqxzqx"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")


@pytest.fixture
def config(write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROXY_PASSWORD", CANARY)
    path = write_config(CATALOG)
    duckalog.build(path)
    return path


def started(config: Path, kind: str, *options: str, **environment: str) -> Any:
    pexpect = pytest.importorskip("pexpect")
    return pexpect.spawn(
        sys.executable,
        ["-m", "duckalog", "shell", str(config), "--with", kind, *options],
        env={**os.environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", **environment},
        encoding="utf-8",
        timeout=20,
        dimensions=(30, 100),
    )


@pytest.mark.servers
def test_the_duckdb_shell_has_the_session_and_reads_only(config: Path) -> None:
    shell = started(config, "duckdb")
    shell.sendline("SELECT answer, current_setting('http_proxy_password') AS p FROM orders;\r")
    shell.expect("42")
    shell.expect(CANARY)
    shell.sendline("CREATE TABLE mine (i INTEGER);\r")
    shell.expect("read-only")
    shell.sendline(".exit\r")
    shell.expect_exact("", timeout=1)
    shell.close(force=True)


@pytest.mark.servers
def test_the_prompt_answers_completes_and_survives_errors_and_ctrl_c(config: Path) -> None:
    shell = started(config, "prompt")
    shell.expect("Ctrl-D leaves")
    shell.expect("duckalog>")
    shell.send("SELECT ans\t")
    shell.expect("wer")
    shell.send("\rFROM orders;\r")
    shell.expect("42")
    shell.send("FROM nowhere;\r")
    shell.expect("nowhere does not exist")
    shell.expect("duckalog>")
    shell.send("SELECT count(*) FROM range(1000000000000) a;\r")
    shell.expect(r"\x1b\[\?2004l")  # the prompt has let the terminal go
    time.sleep(1)
    shell.sendintr()
    shell.expect("Interrupted")
    shell.send("SELECT 6 * 7 + 1 AS next;\r")
    shell.expect("43")
    shell.expect("duckalog>")
    shell.sendeof()
    shell.expect(pytest.importorskip("pexpect").EOF)
    shell.close(force=True)
    assert shell.exitstatus == 0


@pytest.mark.servers
def test_the_prompt_knows_a_few_commands(config: Path) -> None:
    shell = started(config, "prompt")
    shell.expect("duckalog>")
    shell.send(".tables\r")
    shell.expect("orders")
    shell.send(".schema\r")
    shell.expect("A statement ends with a semicolon")
    shell.send("SELECT 6 * 7 + 1 AS next;\r")
    shell.expect("43")
    shell.send(".exit\r")
    shell.expect(pytest.importorskip("pexpect").EOF)
    shell.close(force=True)


@pytest.mark.servers
def test_no_color_has_no_colours(config: Path) -> None:
    shell = started(config, "prompt", NO_COLOR="1")
    shell.expect("duckalog>")
    shell.send("SELECT 'text';\r")
    shell.expect("varchar")
    assert "\x1b[38;" not in shell.before
    shell.close(force=True)


def test_secrets_are_in_the_environment_and_not_in_the_script(config: Path) -> None:
    found = shell_session(duckalog.load_plan(config), {})
    assert found
    script, environment = found
    assert CANARY not in script
    assert environment == {"PROXY_PASSWORD": CANARY}


def test_a_secret_that_a_shell_cannot_read_is_no_session(
    write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URL_TOKEN", CANARY)
    config = write_config(
        "version: 1\nduckdb: {database: shop.duckdb}\n"
        'attachments: {duckdb: [{alias: far, path: "http://h/x?t=${env:URL_TOKEN}"}]}\nviews: []\n'
    )
    assert shell_session(duckalog.load_plan(config), dict(os.environ)) is None


def test_a_prompt_without_its_libraries_names_the_command(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prompt_toolkit", None)
    result = click.testing.CliRunner().invoke(cli, ["shell", str(config), "--with", "prompt"])
    assert result.exit_code == 1
    assert "pip install 'duckalog[shell]'" in result.stderr


@pytest.mark.servers
def test_a_prompt_in_a_pipe_names_the_command_for_it(config: Path) -> None:
    arguments = ["shell", str(config), "--with", "prompt"]
    result = click.testing.CliRunner().invoke(cli, arguments, input="FROM orders;\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"duckalog query {config} -" in result.stderr
    assert "Warning" not in result.stderr


def test_a_catalog_that_no_duckdb_shell_can_open_is_told(config: Path) -> None:
    (config.parent / "shop.duckdb").unlink()
    result = click.testing.CliRunner().invoke(cli, ["shell", str(config), "--with", "duckdb"])
    assert result.exit_code == 1
    is_there = duckdb_shell() is not None
    told = "is not built yet" if is_there else "pip install duckdb-cli"
    assert told in result.stderr


@pytest.mark.servers
def test_the_prompt_opens_the_file_that_the_command_names(config: Path) -> None:
    moved = config.with_name("moved.duckdb")
    config.with_name("shop.duckdb").rename(moved)
    shell = started(config, "prompt", "--db-path", str(moved))
    shell.expect("moved, for reading")
    shell.close(force=True)


def test_harlequin_is_named_with_the_way_to_have_it(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from duckalog.engine import shell

    monkeypatch.setattr(shell, "harlequin", lambda: None)
    result = click.testing.CliRunner().invoke(cli, ["shell", str(config), "--with", "harlequin"])
    assert result.exit_code == 1
    assert "pip install harlequin" in result.output
