"""What the README shows is what happens: its files, commands and programs run here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import duckalog
from tests import tables
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.servers

TIME = re.compile(r"\d+\.\d s")


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the README's files, and the data that its first catalog is over."""
    tables.write_parquet(
        tmp_path / "orders" / "a.parquet",
        "FROM (VALUES (1, 10::DOUBLE), (1, 2.5), (2, 7)) t(customer, amount)",
    )
    tables.write_sqlite(
        tmp_path / "crm.db", "customers", "FROM (VALUES (1, 'de'), (2, 'fr')) t(customer, country)"
    )
    for text in blocks("yaml"):
        name = re.match(r"# (\S+)", text)
        assert name, "a YAML block starts with the name of its file"
        (tmp_path / name[1]).write_text(text, encoding="utf-8")
    domains = tmp_path / "domains"
    domains.mkdir()
    (domains / "one.yaml").write_text("views: [{name: one, sql: SELECT 1 AS i}]", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_screen_works(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(_commands_then(shop, "build"), {})
    assert capsys.readouterr().out == "[('de', 12.5), ('fr', 7.0)]\n"


def _commands_then(shop: Path, command: str) -> str:
    """Run the README's first commands, compare what they print, and return its first program."""
    block = next(text for text in blocks("console") if f"duckalog {command}" in text)
    printed = _run_all(block, shop)
    expected = "".join(
        line for line in block.splitlines(keepends=True) if not line.startswith("$ ")
    )
    assert TIME.sub("", printed) == TIME.sub("", expected)
    return next(one for one in blocks("python") if "duckalog.connect(" in one)


def _run_all(block: str, folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    printed = ""
    for line in block.splitlines():
        if line.startswith("$ "):
            result = subprocess.run(
                line[2:],
                shell=True,
                cwd=folder,
                env={**os.environ, "PATH": path},
                capture_output=True,
                encoding="utf-8",
                check=False,
            )
            assert result.returncode == 0, result.stderr
            printed += result.stdout
    return printed


def test_the_python_block_works(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    duckalog.build(shop / "catalog.yaml")
    (program,) = [text for text in blocks("python") if "generate_sql" in text]
    exec(program, {})
    printed = capsys.readouterr().out
    first, second, *_ = printed.splitlines()
    assert first == "a build would leave the catalog as it is"
    assert second == "3 views are as they were"
    assert 'CREATE OR REPLACE VIEW "revenue"' in printed


def test_the_lineage_block_works(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    duckalog.build(shop / "catalog.yaml")
    (program,) = [text for text in blocks("python") if "column_lineage" in text]
    exec(program, {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == [
        "country [('main.customers', 'country', 'identity')]",
        "revenue [('main.orders', 'amount', 'aggregation')]",
    ]
    assert str(shop / "orders" / "*.parquet") in printed[2]


def test_the_catalog_is_drawn_as_shown(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    assert [duckalog.generate_graph("catalog.yaml")] == blocks("mermaid")


def test_the_catalog_answers_as_shown(shop: Path) -> None:
    duckalog.build(shop / "catalog.yaml")
    _commands_then(shop, "query")


def test_a_catalog_is_checked_as_shown(shop: Path) -> None:
    _commands_then(shop, "check")


def test_data_frames_come_from_connect(shop: Path) -> None:
    duckalog.build(shop / "catalog.yaml")
    (program,) = [text for text in blocks("python") if "polars" in text]
    names: dict[str, Any] = {}
    exec(program, names)
    assert sorted(names["pandas_frame"]["revenue"]) == [7.0, 12.5]
    assert sorted(names["polars_frame"]["revenue"]) == [7.0, 12.5]
    assert names["arrow_table"].num_rows == 2


@pytest.mark.parametrize(
    "name",
    [
        "catalog.yaml",
        "views.yaml",
        "warehouse.yaml",
        "team.yaml",
        "checked.yaml",
        "beside_dbt.yaml",
    ],
)
def test_every_config_is_valid(name: str, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in re.findall(r"\$\{env:(\w+)\}", README):
        monkeypatch.setenv(variable, f"value of {variable}")
    assert duckalog.load_plan(shop / name).file == str(shop / name)


def test_the_example_answers_as_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    duckalog.build("example_project/catalog.yaml", tmp_path / "talknshop.duckdb")
    (shown,) = [one for one in blocks("python") if "example_project" in one]
    program = shown.replace(
        '"example_project/catalog.yaml"',
        f'"example_project/catalog.yaml", db_path={str(tmp_path / "talknshop.duckdb")!r}',
    )
    exec(program, {})
    assert capsys.readouterr().out.strip() == blocks("text")[0].strip()


def test_the_dagster_programs_make_the_catalog(shop: Path) -> None:
    dagster = pytest.importorskip("dagster")
    for name in ("definitions", "report"):
        (program,) = [one for one in blocks("python") if one.startswith(f"# {name}.py\n")]
        found: dict[str, Any] = {}
        exec(program, found)
        result = dagster.materialize(
            [one for one in found["defs"].assets if isinstance(one, dagster.AssetsDefinition)],
            resources=found["defs"].resources,
        )
    assert result.success
    assert result.output_for_node("best_country") == "de"
    assert (shop / "shop.duckdb").exists()


def test_the_session_script_opens_the_catalog_in_a_shell(shop: Path) -> None:
    duckalog.build(shop / "catalog.yaml")
    (block,) = [text for text in blocks("console") if "--session" in text]
    tables.install_extensions(Path.home(), "sqlite_scanner")
    assert "12.5" in _run_all(block, shop)


def test_every_message_shown_is_what_is_said(shop: Path) -> None:
    shown = blocks("text")[1]
    lines = ["version: 1", "attachments:", "  duckdb:"]
    lines += [f"    - {{alias: {alias}, path: a.duckdb}}" for alias in ("refdata", "legacy", "dw")]
    lines += ["views:", *(f"  - {{name: v{i}, sql: SELECT 1}}" for i in range(2))]
    lines += [
        "  - name: orders",
        "    source: duckdb",
        "    # of the company",
        "    # (the warehouse)",
    ]
    lines += ["    database: dwh", "    table: orders"]
    config = shop / "catalog.yaml"
    config.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(duckalog.ConfigError) as caught:
        duckalog.validate_config(config)
    assert str(caught.value).strip() == shown.strip()
