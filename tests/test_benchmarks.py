"""The benchmark program runs, and reports what it promises; figures are not asserted."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import Any

import duckdb
import pytest

import duckalog
from tests.benchmarks.report import table
from tests.conftest import ROOT

pytestmark = pytest.mark.thorough


def reported(program: str, arguments: str) -> dict[str, Any]:
    """Return the JSON that a program of tests/ prints."""
    result = subprocess.run(
        [sys.executable, "-m", f"tests.{program}", *arguments.split(), "--json"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """Return what the program reports of the smallest catalogs."""
    return reported("benchmarks", "--views 3 --rounds 1 --no-peer")


def test_each_action_is_measured_on_each_catalog(measured: dict[str, Any]) -> None:
    rows = [(row["catalog"], row["views"], row["action"]) for row in measured["cases"]]
    actions = ("validate", "generate-sql", "build", "rebuild", "plan", "open", "graph")
    catalogs = ("parquet", "sql")
    assert rows == [("", 0, "--help"), *((one, 3, what) for one in catalogs for what in actions)]


def test_builds_are_ratios_against_plain_duckdb_in_the_same_run(measured: dict[str, Any]) -> None:
    for row in measured["cases"]:
        seconds = row["seconds"]
        assert seconds["duckalog"] > 0
        assert row["mebibytes"] > 5
        if row["action"] in ("--help", "build", "rebuild", "open"):
            assert row["ratios"]["duckdb"] == pytest.approx(seconds["duckalog"] / seconds["duckdb"])


def test_the_report_says_where_it_was_measured(measured: dict[str, Any]) -> None:
    assert measured["rounds"] == 1
    assert measured["machine"] == {
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "duckdb": duckdb.__version__,
        "duckalog": duckalog.__version__,
        "peer": None,
    }


def test_the_table_has_a_row_for_each_case(measured: dict[str, Any]) -> None:
    rows = table(measured).partition("\n\n")[0].splitlines()
    assert [line.count("|") for line in rows] == [12] * (2 + len(measured["cases"]))


@pytest.mark.servers
def test_a_pinned_view_is_measured_against_an_unpinned_one() -> None:
    document = reported("benchmarks.pinned", "--files 12 --latency 1 --rounds 1")
    assert (document["files"], document["latency_ms"]) == (12, 1)
    for row in document["rows"]:
        assert row["ratio"] == pytest.approx(row["plain"] / row["pinned"])


@pytest.mark.servers
def test_a_catalog_over_s3_is_measured_against_its_floor_and_one_by_one() -> None:
    document = reported("benchmarks.remote", "--views 6 --latency 1 --rounds 1")
    assert document["requests"] >= 6
    seconds, ratios = document["seconds"], document["ratios"]
    assert ratios["unchanged ÷ build"] == pytest.approx(seconds["unchanged"] / seconds["build"])
    assert seconds["floor"] == pytest.approx(document["requests"] * 0.001 / 32)


@pytest.mark.servers
def test_the_client_is_measured_beside_bare_psycopg() -> None:
    document = reported(
        "benchmarks.postgres", "--rounds 2 --rows 500 --stream-rows 5000 --calls 100"
    )
    for row in document["pairs"]:
        assert min(row["own"], row["bare"], row["ratio"], row["processor"]) > 0
    figures = {row["figure"]: row["value"] for row in document["figures"]}
    inserted = next(row for row in document["pairs"] if "batch_insert" in row["pair"])
    assert figures["batch_insert, rows/s"] == pytest.approx(500 / inserted["own"])
    assert 0 < figures["pool in use, 16 threads on 8"] <= 1.05
