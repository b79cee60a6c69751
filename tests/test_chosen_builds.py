"""Builds of chosen parts, and builds that several processes share by an id."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import duckalog
from tests.catalogs import views_of
from tests.conftest import WriteConfig

CONFIG = """
version: 1
duckdb: {database: catalog.duckdb}
attachments: {duckdb: [{alias: crm, path: crm.duckdb}, {alias: gone, path: gone.duckdb}]}
views:
  - {name: numbers, sql: SELECT 1 AS x}
  - {name: doubled, schema: derived, sql: SELECT x * 2 AS y FROM main.numbers}
  - {name: again, sql: SELECT y FROM derived.doubled}
  - {name: customers, source: duckdb, database: crm, table: customers}
  - {name: broken, source: duckdb, database: gone, table: t}
"""


@pytest.fixture
def config(write_config: WriteConfig, tmp_path: Path) -> Path:
    import duckdb

    with duckdb.connect(str(tmp_path / "crm.duckdb")) as crm:
        crm.execute("CREATE TABLE customers AS SELECT 1 AS id")
    return write_config(CONFIG)


def actions(report: duckalog.BuildReport) -> dict[str, str]:
    return {view.name: view.action for view in report.views}


def edit(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


GOOD = ("numbers", "derived.doubled", "again", "customers")


class TestChosen:
    @pytest.mark.parametrize("name", ["doubled", "Derived.Doubled", "view:derived.doubled"])
    def test_a_view_is_named_as_duckdb_compares_names(self, config: Path, name: str) -> None:
        if name == "doubled":
            with pytest.raises(duckalog.ConfigError, match='no view is called "doubled"'):
                duckalog.build(config, select=[name])
            return
        report = duckalog.build(config, select=["numbers", name])
        assert actions(report) == {"numbers": "created", "doubled": "created"}

    def test_nothing_else_is_made_attached_or_dropped(self, config: Path) -> None:
        duckalog.build(config, select=GOOD)
        edit(config, "{name: again,", "{name: anew,")
        report = duckalog.build(config, select=["numbers"])
        assert actions(report) == {"numbers": "unchanged"}
        assert report.databases == ()
        assert "main.again" in views_of(config.with_name("catalog.duckdb"))

    def test_what_a_view_needs_is_attached_also_through_others(self, config: Path) -> None:
        edit(config, "SELECT 1 AS x", "SELECT id AS x FROM crm.customers")
        duckalog.build(config, select=["numbers"])
        report = duckalog.build(config, select=["derived.doubled"])
        assert [one.key for one in report.databases] == ["attachment:crm"]

    def test_choosing_every_view_drops_what_left(self, config: Path) -> None:
        duckalog.build(config, select=GOOD)
        edit(config, "  - {name: broken, source: duckdb, database: gone, table: t}\n", "")
        edit(config, "  - {name: customers, source: duckdb, database: crm, table: customers}\n", "")
        report = duckalog.build(config, select=["numbers", "derived.doubled", "again"])
        assert actions(report)["customers"] == "removed"

    def test_a_database_alone_is_attached_and_told(self, config: Path) -> None:
        report = duckalog.build(config, select=["attachment:crm"])
        assert report.views == ()
        (crm,) = report.databases
        assert (crm.key, crm.database_type) == ("attachment:crm", "duckdb")
        assert crm.seconds > 0

    def test_an_unknown_name_is_refused_with_one_like_it(self, config: Path) -> None:
        with pytest.raises(duckalog.ConfigError, match=r'Did you mean "numbers"\?'):
            duckalog.build(config, select=["numbrs"])


class TestReadersOfWhatWasMade:
    def test_are_told_where_it_was_made_otherwise(self, config: Path) -> None:
        assert duckalog.build(config, select=["numbers"]).invalidated == ()
        duckalog.build(config, select=GOOD)
        assert duckalog.build(config, select=["numbers"]).invalidated == ()
        edit(config, "SELECT 1 AS x", "SELECT 2.5 AS x")
        report = duckalog.build(config, select=["numbers"])
        assert report.invalidated == ("derived.doubled", "main.again")

    def test_are_made_again_by_the_next_build(self, config: Path) -> None:
        duckalog.build(config, select=GOOD)
        edit(config, "SELECT 1 AS x", "SELECT 1::DOUBLE AS x")
        duckalog.build(config, select=["numbers"])
        reasons = {one.step.view: one.reason for one in duckalog.diff(config).changes}
        assert reasons["doubled"] == "the last build left it behind"
        duckalog.build(config, select=GOOD)
        with duckalog.connect(duckalog.load_plan(config).chosen(GOOD)) as connection:
            assert connection.execute("SELECT typeof(y) FROM again").fetchall() == [("DOUBLE",)]
        assert [one.reason for one in duckalog.diff(config).changes][:4] == [""] * 4


class TestBuildsWithAnId:
    def test_are_not_done_twice(self, config: Path) -> None:
        first = duckalog.build(config, select=GOOD, build_id="one")
        assert set(actions(first).values()) == {"created"}
        edit(config, "SELECT 1 AS x", "SELECT 2 AS x")
        assert duckalog.build(config, select=GOOD, build_id="one") == first
        assert actions(duckalog.build(config, select=GOOD, build_id="two"))["numbers"] == "replaced"

    def test_that_failed_are_done_again(self, config: Path) -> None:
        with pytest.raises(duckalog.EngineError):
            duckalog.build(config, build_id="one")
        edit(config, "  - {name: broken, source: duckdb, database: gone, table: t}\n", "")
        edit(config, ", {alias: gone, path: gone.duckdb}", "")
        assert set(actions(duckalog.build(config, build_id="one")).values()) == {"created"}

    def test_are_shared_by_processes_that_start_at_once(self, config: Path) -> None:
        program = (
            "import json, sys, duckalog\n"
            f"report = duckalog.build(sys.argv[1], select={GOOD!r}, build_id='one')\n"
            "print(json.dumps([view.action for view in report.views]))\n"
        )
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", program, str(config)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        ended = [process.communicate(timeout=60) for process in processes]
        assert [json.loads(out) for out, _ in ended] == [["created"] * 4] * 3, ended

    def test_tell_a_version_of_what_each_view_returns(self, config: Path) -> None:
        def versions(build_id: str) -> dict[str, str]:
            report = duckalog.build(config, select=GOOD, build_id=build_id)
            return {view.name: view.data_version for view in report.views}

        first = versions("one")
        assert first == versions("two")
        edit(config, "SELECT 1 AS x", "SELECT 3 AS x")
        third = versions("three")
        assert {name for name in first if first[name] != third[name]} == {
            "numbers",
            "doubled",
            "again",
        }

    def test_of_a_part_tell_the_same_versions_as_the_whole(self, config: Path) -> None:
        whole = duckalog.build(config, select=GOOD, build_id="one")
        part = duckalog.build(config, select=["again"], build_id="two")
        assert part.views[0].data_version == whole.views[2].data_version
