"""What a terminal of any width shows: cells counted, colours where they are wanted."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from rich.cells import cell_len

import duckalog
from docs.pictures import on_terminal
from duckalog.cli import terminal
from duckalog.errors import Origin, Problem
from tests.conftest import RunCli, WriteConfig

CATALOG = """\
version: 1
duckdb: {database: shop.duckdb}
views:
  - {name: 注文一覧, sql: SELECT 1 AS 名前, description: すべての注文、一行に一つずつ、時間の順に}
  - {name: "a 🎉 view", schema: gold, sql: FROM 注文一覧}
  - {name: a_name_that_is_too_long_for_any_terminal_that_is_not_wide, sql: "SELECT 1 AS i"}
"""
ESCAPE = "\x1b"


pytestmark = pytest.mark.thorough


@pytest.fixture
def folder(write_config: WriteConfig, tmp_path: Path) -> Path:
    """Return a folder with a built catalog, and a config that fails to build."""
    duckalog.build(write_config(CATALOG))
    write_config(
        "version: 1\nduckdb: {database: bad.duckdb}\nviews: [{name: v, sql: FROM nowhere}]",
        "bad.yaml",
    )
    return tmp_path


@pytest.mark.parametrize("columns", [40, 60, 120])
def test_wide_characters_stand_in_columns_on_any_width(columns: int, folder: Path) -> None:
    lines = click.unstyle(on_terminal("ls catalog.yaml", folder, columns)).splitlines()
    places = {
        cell_len(line[: line.index(state)])
        for line, state in zip(lines, ("state", *["built"] * 3), strict=True)
    }
    assert len(places) == 1
    assert max(map(cell_len, lines)) <= columns


def test_a_table_is_not_wrapped_on_a_narrow_terminal(folder: Path) -> None:
    columns = ", ".join(f"'注文 {one}' AS column_{one}" for one in range(9))
    shown = on_terminal(f'query catalog.yaml "SELECT {columns}"', folder, 40)
    lines = shown.splitlines()
    assert "column_0" in lines[1]
    assert {line[-1] for line in lines[:-2]} == {"…"}
    assert max(map(cell_len, lines)) <= 40


@pytest.mark.parametrize(
    ("command", "coloured"),
    [
        ("ls catalog.yaml", "\x1b[32mbuilt\x1b[0m"),
        ("build bad.yaml", '\x1b[1mbad.yaml:3: views[0] "v"\x1b[0m: \x1b[31mDuckDB refused'),
        ("build catalog.yaml --db-path new.duckdb", "\x1b[32m3 created\x1b[0m"),
        ("plan bad.yaml", "\x1b[32m+ v\x1b[0m  it is new"),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    command: str, coloured: str, folder: Path, run_cli: RunCli
) -> None:
    assert coloured in on_terminal(command, folder, 120)
    plain = click.unstyle(coloured)
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        (folder / "new.duckdb").unlink(missing_ok=True)
        shown = on_terminal(command, folder, 120, **environment)
        assert plain in shown
        assert ESCAPE not in shown
    (folder / "new.duckdb").unlink(missing_ok=True)
    piped = run_cli(*command.split())
    assert plain in piped.stdout + piped.stderr
    assert ESCAPE not in piped.stdout + piped.stderr


def test_an_empty_no_color_is_as_good_as_none(folder: Path) -> None:
    assert ESCAPE in on_terminal("ls catalog.yaml", folder, 80, NO_COLOR="")


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("注文", 4, "注文"), ("注文一覧", 6, "注文 …")],
)
def test_a_text_is_cut_by_cells(text: str, width: int, expected: str) -> None:
    assert terminal.cut(text, width) == expected
    assert terminal.width_of(expected) <= width


def test_a_coloured_problem_says_what_a_plain_one_does() -> None:
    origin = Origin("catalog.yaml", 3, ("views", 0))
    for problem in (Problem(origin, "bad", "Mend it.", "v"), Problem(Origin(), "bad")):
        assert click.unstyle(terminal.coloured_problem(problem)) == str(problem)
