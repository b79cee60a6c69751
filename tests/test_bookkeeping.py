"""What a catalog file remembers of its builds, and of which views are duckalog's own."""

from __future__ import annotations

import errno
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

import duckalog
from duckalog.bookkeeping import FORMAT, Column, Memory, learn, read_memory
from tests.catalogs import change, content_of
from tests.conftest import WriteConfig

TEXT = """\
version: 1
duckdb: {database: catalog.duckdb}
views:
  - {name: Numbers, sql: "SELECT 1 AS x, 'a' AS y"}
  - {name: doubled, schema: Derived, sql: SELECT x * 2 AS z FROM Numbers}
"""


@pytest.fixture
def config(write_config: WriteConfig) -> Path:
    """Return a config that was built."""
    path = write_config(TEXT)
    duckalog.build(path)
    return path


@pytest.fixture
def catalog(config: Path) -> Path:
    """Return the catalog of the config."""
    return config.with_name("catalog.duckdb")


def rows_of(catalog: Path, columns: str) -> list[tuple[Any, ...]]:
    """Return what the bookkeeping has of each view."""
    with duckdb.connect(str(catalog), read_only=True) as connection:
        return connection.execute(f"SELECT {columns} FROM _duckalog.views ORDER BY ALL").fetchall()


def memory_of(catalog: Path) -> Memory:
    """Return the memory of a catalog file."""
    with closing(duckdb.connect(str(catalog), read_only=True)) as connection:
        return read_memory(connection, str(catalog))


class TestWritten:
    def test_each_view_has_where_it_was_stated(self, catalog: Path) -> None:
        assert rows_of(catalog, "schema_name, view_name, stated_at") == [
            ("Derived", "doubled", "catalog.yaml:5: views[1]"),
            ("main", "Numbers", "catalog.yaml:4: views[0]"),
        ]

    def test_a_rebuild_keeps_one_row_for_a_view(self, config: Path, catalog: Path) -> None:
        before = rows_of(catalog, "schema_name, view_name, fingerprint, definition_hash")
        duckalog.build(config, refresh=True)
        after = rows_of(catalog, "schema_name, view_name, fingerprint, definition_hash")
        assert after == before

    def test_the_catalog_says_which_duckalog_built_it(self, catalog: Path) -> None:
        rows = content_of(catalog)["rows of _duckalog.catalog"]
        assert rows == [(FORMAT, duckalog.__version__)]

    def test_the_columns_of_a_build_are_those_that_duckdb_stored(self, config: Path) -> None:
        report = duckalog.build(config)
        assert {view.name: view.columns for view in report.views} == {
            "Numbers": (Column("x", "INTEGER"), Column("y", "VARCHAR")),
            "doubled": (Column("z", "INTEGER"),),
        }

    def test_a_build_with_nothing_to_do_writes_nothing(self, config: Path, catalog: Path) -> None:
        before = content_of(catalog)
        duckalog.build(config)
        assert content_of(catalog) == before

    def test_a_view_that_went_is_forgotten(self, config: Path, catalog: Path) -> None:
        config.write_text(TEXT[: TEXT.index("  - {name: doubled")])
        duckalog.build(config)
        assert rows_of(catalog, "view_name") == [("Numbers",)]

    def test_a_view_dropped_by_hand_is_forgotten_once_it_left_the_config(
        self, config: Path, catalog: Path
    ) -> None:
        change(catalog, "DROP VIEW Derived.doubled")
        config.write_text(TEXT[: TEXT.index("  - {name: doubled")])
        report = duckalog.build(config)
        assert (report.count("removed"), report.published) == (0, "in-place")
        assert rows_of(catalog, "view_name") == [("Numbers",)]
        assert duckalog.build(config).published == "none"


class TestRead:
    def test_a_file_that_duckalog_never_built_has_nothing_remembered(self, tmp_path: Path) -> None:
        file = tmp_path / "plain.duckdb"
        change(file, "CREATE TABLE T (i INTEGER)", "CREATE VIEW V AS SELECT 1 AS x")
        memory = memory_of(file)
        assert memory.remembered == {}
        assert list(memory.views) == [("main", "v")]
        assert memory.tables == {("main", "t")}

    def test_names_are_compared_as_duckdb_does(self, catalog: Path) -> None:
        memory = memory_of(catalog)
        assert memory.is_own(("MAIN", "NUMBERS"))
        assert memory.is_own(("derived", "Doubled"))
        assert not memory.is_own(("main", "doubled"))

    def test_a_view_changed_by_hand_is_no_longer_own(self, catalog: Path) -> None:
        change(catalog, "CREATE OR REPLACE VIEW Numbers AS SELECT 2 AS x")
        memory = memory_of(catalog)
        assert not memory.is_own(("main", "numbers"))
        assert memory.is_own(("derived", "doubled"))

    def test_a_comment_made_by_hand_leaves_a_view_own(self, catalog: Path) -> None:
        change(catalog, "COMMENT ON VIEW Numbers IS 'mine'")
        assert memory_of(catalog).is_own(("main", "numbers"))

    def test_a_view_of_a_build_that_was_cut_off_is_own(self, catalog: Path) -> None:
        change(catalog, "UPDATE _duckalog.views SET definition_hash = NULL")
        assert memory_of(catalog).is_own(("main", "numbers"))

    def test_what_a_build_that_was_cut_off_left_out_is_learned_by_the_next(
        self, config: Path, catalog: Path
    ) -> None:
        before = rows_of(catalog, "definition_hash")
        change(catalog, "UPDATE _duckalog.views SET definition_hash = NULL")
        assert duckalog.build(config).count("unchanged") == 2
        assert rows_of(catalog, "definition_hash") == before

    def test_learning_twice_changes_nothing(self, catalog: Path) -> None:
        before = content_of(catalog)
        with closing(duckdb.connect(str(catalog))) as connection:
            learn(connection)
        assert content_of(catalog) == before


class TestWhatCannotBeWritten:
    @pytest.fixture(autouse=True)
    def _nothing_more_can_be_learned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(_connection: object) -> None:
            raise duckdb.IOException("No space left on device")

        monkeypatch.setattr("duckalog.engine.build.learn", fail)

    def test_a_catalog_whose_bookkeeping_is_not_complete_is_built_and_told(
        self, write_config: WriteConfig, caplog: pytest.LogCaptureFixture
    ) -> None:
        config = write_config(TEXT)
        assert duckalog.build(config).count("created") == 2
        assert "the catalog is built, but its bookkeeping is not complete" in caplog.text

    def test_nothing_is_said_to_be_built_that_is_not(
        self,
        write_config: WriteConfig,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def fail(_path: str) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("duckalog.engine.publish._synchronize", fail)
        config = write_config(TEXT)
        with pytest.raises(duckalog.EngineError, match="cannot be written: No space left"):
            duckalog.build(config)
        assert "is built" not in caplog.text


class TestNewerFormat:
    def test_a_catalog_of_a_newer_duckalog_is_told_and_left_alone(
        self, config: Path, catalog: Path
    ) -> None:
        change(catalog, f"UPDATE _duckalog.catalog SET format = {FORMAT + 1}")
        before = content_of(catalog)
        for refused in (duckalog.build, lambda path: duckalog.validate_config(path, connect=True)):
            with pytest.raises(duckalog.EngineError) as caught:
                refused(config)
            (problem,) = caught.value.problems
            formats = f"format {FORMAT + 1}, this one knows {FORMAT}"
            assert problem.message == f"a newer duckalog built this catalog ({formats})"
            assert problem.remedy == "Upgrade duckalog."
        assert content_of(catalog) == before

    def test_it_can_be_read_all_the_same(self, config: Path, catalog: Path) -> None:
        change(catalog, f"UPDATE _duckalog.catalog SET format = {FORMAT + 1}")
        with duckalog.connect(config) as connection:
            assert connection.execute("SELECT z FROM Derived.doubled").fetchall() == [(2,)]
