"""The catalog's file: whole or not there, opened under DuckDB's lock, refused with a reason."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import get_args

import duckdb
import pytest

import duckalog
from duckalog.engine.locks import Patience
from duckalog.engine.opening import check_file
from duckalog.engine.publish import Publish, file_to_build
from tests import tables
from tests.catalogs import change, content_of, held_open, views_of
from tests.conftest import RunCli, WriteConfig

VIEWS = "views: [{name: v, sql: SELECT 1 AS x}]\n"


@pytest.fixture
def config(write_config: WriteConfig) -> Path:
    """Return a config of one view, whose catalog is catalog.duckdb beside it."""
    return write_config(f"version: 1\nduckdb: {{database: catalog.duckdb}}\n{VIEWS}")


@pytest.fixture
def catalog(config: Path) -> Path:
    """Return the catalog of the config, built."""
    duckalog.build(config)
    return config.with_name("catalog.duckdb")


def changed(config: Path) -> Path:
    """Return the config after its view was changed."""
    config.write_text(config.read_text().replace("SELECT 1", "SELECT 2"))
    return config


def refusal(config: Path, db_path: Path | None = None, publish: Publish = "auto") -> str:
    """Return what a build says that fails at its file."""
    with pytest.raises(duckalog.EngineError) as caught:
        duckalog.build(config, db_path, lock_timeout_s=0, publish=publish)
    (problem,) = caught.value.problems
    assert problem.origin.file == str(db_path or config.with_name("catalog.duckdb"))
    return f"{problem.message}\n{problem.remedy}"


def foreseen(config: Path, db_path: Path) -> str:
    """Return what a build says that fails at its place, which `diff` says beside the rest."""
    told = refusal(config, db_path)
    found = duckalog.diff(config, db_path)
    (problem,) = found.failures
    assert f"{problem.message}\n{problem.remedy}" == told
    assert [change.action for change in found.changes] == ["created"]
    return told


class TestNewFile:
    def test_a_build_leaves_nothing_but_the_catalog(self, catalog: Path, tmp_path: Path) -> None:
        assert sorted(tmp_path.iterdir()) == [catalog, tmp_path / "catalog.yaml"]

    def test_it_has_the_permissions_that_duckdb_gives(self, catalog: Path, tmp_path: Path) -> None:
        plain = tmp_path / "plain.duckdb"
        change(plain, "CREATE VIEW v AS SELECT 1")
        assert catalog.stat().st_mode == plain.stat().st_mode

    @pytest.mark.parametrize(
        "name",
        [
            "no_ending",
            "two.dots.duckdb",
            ".hidden.duckdb",
            ".duckdb",
            "with space.duckdb",
            "ünïcode.duckdb",
            "it's.duckdb",
            'say "so".duckdb',
            "main.duckdb",
            "temp.duckdb",
            "system.duckdb",
            "select.duckdb",
        ],
    )
    def test_it_may_have_any_name(self, name: str, config: Path, tmp_path: Path) -> None:
        file = tmp_path / name
        for action in ("created", "unchanged"):
            report = duckalog.build(config, file)
            assert [view.action for view in report.views] == [action]
        with duckalog.connect(config, db_path=file) as connection:
            assert connection.execute("FROM v").fetchall() == [(1,)]

    def test_what_another_program_made_meanwhile_is_not_overwritten(self, tmp_path: Path) -> None:
        place = tmp_path / "catalog.duckdb"

        def build_while_another_does() -> None:
            with file_to_build(str(place), "auto", Patience(0), lambda _: False) as file:
                file.connection.execute("CREATE VIEW second AS SELECT 2")
                change(place, "CREATE VIEW first AS SELECT 1")

        with pytest.raises(duckalog.EngineError, match="another program made the catalog"):
            build_while_another_does()
        assert list(views_of(place)) == ["main.first"]
        assert list(tmp_path.iterdir()) == [place]

    def test_a_file_system_without_hard_links_will_do(
        self, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_links(*_: object) -> None:
            raise OSError("Operation not supported")

        monkeypatch.setattr(os, "link", no_links)
        duckalog.build(config)
        assert list(views_of(tmp_path / "catalog.duckdb")) == ["main.v"]
        assert sorted(os.listdir(tmp_path)) == ["catalog.duckdb", "catalog.yaml"]

    def test_the_log_of_a_catalog_that_is_gone_is_not_replayed_into_it(
        self, config: Path, tmp_path: Path
    ) -> None:
        log = tmp_path / "catalog.duckdb.wal"
        log.write_bytes(b"of another catalog")
        assert f"Move it away: {log}" in foreseen(config, tmp_path / "catalog.duckdb")
        assert not (tmp_path / "catalog.duckdb").exists()


class TestPlace:
    def test_a_missing_folder_is_told_with_the_command_that_makes_it(
        self, config: Path, tmp_path: Path
    ) -> None:
        told = foreseen(config, tmp_path / "no" / "where" / "catalog.duckdb")
        assert told.startswith("the folder of the catalog does not exist")
        assert f"mkdir -p {tmp_path / 'no' / 'where'}" in told
        assert not (tmp_path / "no").exists()

    def test_a_folder_cannot_be_the_catalog(self, config: Path, tmp_path: Path) -> None:
        (tmp_path / "folder.duckdb").mkdir()
        assert "the catalog's path is a folder" in foreseen(config, tmp_path / "folder.duckdb")

    def test_a_device_or_a_pipe_cannot_be_the_catalog(self, config: Path, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe.duckdb"
        os.mkfifo(pipe)
        assert "the catalog's path is a device or a pipe" in foreseen(config, pipe)
        with pytest.raises(duckalog.EngineError, match="a device or a pipe"):
            duckalog.connect(config, db_path=pipe)

    @pytest.mark.parametrize("kind", ["text", "sqlite", "parquet", "csv", "short", "empty"])
    def test_a_file_that_is_no_duckdb_database_is_told_and_left_alone(
        self, kind: str, config: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / f"catalog.{kind}"
        if kind == "sqlite":
            tables.write_sqlite(file)
        elif kind == "parquet":
            duckdb.sql("SELECT 1 AS x").write_parquet(str(file))
        else:
            file.write_text(
                {"text": "my notes\n" * 1000, "csv": "a,b\n1,2\n", "short": "x"}.get(kind, "")
            )
        content = file.read_bytes()
        for publish in get_args(Publish):
            assert refusal(config, file, publish).startswith("this file is not a DuckDB database")
        for look in (
            partial(duckalog.connect, config, True),
            partial(duckalog.connect, config, False),
            partial(duckalog.diff, config),
        ):
            with pytest.raises(duckalog.EngineError, match="this file is not a DuckDB database"):
                look(db_path=file)
        assert file.read_bytes() == content
        assert sorted(tmp_path.iterdir()) == [file, config]

    @pytest.mark.parametrize("opened_by", ["sqlite3", "nobody"])
    def test_that_is_told_whoever_has_it_open(
        self, opened_by: str, config: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "catalog.db"
        tables.write_sqlite(file)
        with contextlib.ExitStack() as stack:
            if opened_by == "sqlite3":
                connection = stack.enter_context(contextlib.closing(sqlite3.connect(file)))
                connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
            assert refusal(config, file).startswith("this file is not a DuckDB database")

    def test_looking_at_a_file_drops_no_lock_that_this_process_has_on_it(
        self, config: Path, catalog: Path
    ) -> None:
        with duckalog.connect(config, read_only=False):
            check_file(str(catalog))
            with pytest.raises(AssertionError), held_open(catalog, "writer"):
                pass

    def test_a_broken_database_is_told_in_duckdbs_words(self, config: Path, catalog: Path) -> None:
        whole = catalog.read_bytes()
        catalog.write_bytes(whole[:5000])
        assert "DuckDB cannot open the catalog" in refusal(config)
        assert catalog.read_bytes() == whole[:5000]
        with pytest.raises(duckalog.EngineError, match="DuckDB cannot open the catalog"):
            duckalog.diff(config)

    def test_a_catalog_that_a_newer_duckdb_made_is_told(self, config: Path, catalog: Path) -> None:
        header = bytearray(catalog.read_bytes())
        struct.pack_into("<Q", header, 12, 9999)
        catalog.write_bytes(header)
        with pytest.raises(duckdb.Error) as caught:
            duckdb.connect(str(catalog))
        (checksum,) = re.findall(r"computed checksum (\d+)", str(caught.value))
        struct.pack_into("<Q", header, 0, int(checksum))
        catalog.write_bytes(header)
        told = refusal(config)
        assert told.splitlines()[0] == "a newer DuckDB made this catalog"
        with pytest.raises(duckalog.EngineError) as foreseen:
            duckalog.diff(config)
        (problem,) = foreseen.value.problems
        assert f"{problem.message}\n{problem.remedy}" == told

    def test_memory_is_no_place_for_a_build(self, config: Path, tmp_path: Path) -> None:
        with pytest.raises(duckalog.ConfigError, match="would be gone when the build ends"):
            duckalog.build(config, ":memory:")
        assert list(tmp_path.iterdir()) == [config]

    def test_a_name_that_the_file_system_refuses_is_told(
        self, config: Path, tmp_path: Path
    ) -> None:
        assert "File name too long" in foreseen(config, tmp_path / ("x" * 300))

    @pytest.mark.parametrize("name", ["what?.duckdb", "why?/catalog.duckdb"])
    def test_a_path_with_a_question_mark_is_told(
        self, name: str, config: Path, tmp_path: Path
    ) -> None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        assert "the path has a question mark" in foreseen(config, tmp_path / name)
        assert not (tmp_path / name).exists()

    def test_a_path_that_is_not_text_is_told(
        self, config: Path, run_cli: RunCli, tmp_path: Path
    ) -> None:
        folder = tmp_path / os.fsdecode(b"not-\xff-text")
        folder.mkdir()
        assert "the path is not UTF-8 text" in refusal(config, folder / "catalog.duckdb")
        config.rename(folder / "catalog.yaml")
        result = run_cli("build", "catalog.yaml", cwd=folder)
        assert result.returncode == 1
        assert result.stderr.startswith("catalog.yaml: the path is not UTF-8 text")


class TestSymbolicLink:
    def test_a_catalog_is_built_where_the_link_leads(
        self, config: Path, catalog: Path, tmp_path: Path
    ) -> None:
        link = tmp_path / "link.duckdb"
        link.symlink_to(catalog)
        duckalog.build(config, link)
        assert link.is_symlink()
        assert content_of(link) == content_of(catalog)

    def test_a_new_catalog_is_made_where_the_link_leads(self, config: Path, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        link = tmp_path / "link.duckdb"
        link.symlink_to(tmp_path / "elsewhere" / "real.duckdb")
        duckalog.build(config, link)
        assert link.is_symlink()
        assert list(views_of(tmp_path / "elsewhere" / "real.duckdb")) == ["main.v"]

    def test_a_query_names_the_catalog_as_the_file_is_called(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        (tmp_path / "link.duckdb").symlink_to(tmp_path / "real.duckdb")
        config = write_config("""\
version: 1
duckdb: {database: link.duckdb}
views: [{name: w, sql: FROM real.main.v}, {name: v, sql: SELECT 1 AS x}]
""")
        duckalog.build(config)
        duckalog.validate_config(config, connect=True)
        with duckalog.connect(config) as connection:
            assert connection.execute("FROM w").fetchall() == [(1,)]

    def test_links_in_a_circle_are_told(self, config: Path, tmp_path: Path) -> None:
        circle = tmp_path / "circle.duckdb"
        circle.symlink_to(circle)
        assert "the symbolic links go round in a circle" in foreseen(config, circle)

    def test_a_plan_that_a_build_would_refuse_ends_with_1(
        self, config: Path, run_cli: RunCli, tmp_path: Path
    ) -> None:
        result = run_cli("plan", config, "--db-path", tmp_path / "no" / "catalog.duckdb")
        assert result.returncode == 1
        assert "+ v  it is new" in result.stdout
        assert result.stderr.startswith("no/catalog.duckdb: the folder of the catalog does not")


# Root may write anywhere, so rights are given up once everything is imported.
_AS_NOBODY = """
import os, sys, duckalog
config, catalog = sys.argv[1:]
duckalog.connect(config, db_path=":memory:").close()
duckalog.diff(config, ":memory:")
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
for problem in duckalog.diff(config, catalog).failures:
    print(problem)
print("--")
try:
    duckalog.build(config, catalog)
except duckalog.EngineError as error:
    print(error)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that other users may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="duckalog-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


def told_without_rights(config: Path, catalog: Path) -> str:
    """Return what a build says to a user who may not write where it is, and a plan foresees."""
    result = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, str(config), str(catalog)],
        capture_output=True,
        text=True,
        cwd=config.parent,
        timeout=60,
        check=False,
    )
    assert result.stderr == ""
    foreseen, _, told = result.stdout.partition("--\n")
    assert told.startswith(foreseen)
    assert bool(foreseen) == bool(told)
    return told


class TestRights:
    def test_a_folder_that_cannot_be_written_is_told(self, open_folder: Path) -> None:
        config = open_folder / "catalog.yaml"
        config.write_text(f"version: 1\n{VIEWS}")
        open_folder.chmod(0o555)
        told = told_without_rights(config, open_folder / "catalog.duckdb")
        assert told.splitlines() == [
            "catalog.duckdb: the catalog cannot be written",
            "    Check the permissions.",
        ]

    def test_a_catalog_that_cannot_be_written_is_told(self, open_folder: Path) -> None:
        config = open_folder / "catalog.yaml"
        config.write_text(f"version: 1\n{VIEWS}")
        catalog = open_folder / "catalog.duckdb"
        duckalog.build(config, catalog)
        catalog.chmod(0o444)
        before = catalog.read_bytes()
        assert told_without_rights(config, catalog) == ""  # nothing is to be written
        assert "the catalog cannot be written" in told_without_rights(changed(config), catalog)
        assert catalog.read_bytes() == before

    def test_a_catalog_in_a_folder_that_cannot_be_written_stays_as_it_was(
        self, open_folder: Path
    ) -> None:
        config = open_folder / "catalog.yaml"
        config.write_text(f"version: 1\n{VIEWS}")
        catalog = open_folder / "catalog.duckdb"
        duckalog.build(config, catalog)
        before = content_of(catalog)
        config.write_text(config.read_text().replace("SELECT 1", "SELECT 2"))
        catalog.chmod(0o666)
        open_folder.chmod(0o555)
        told = told_without_rights(config, catalog)
        assert told.splitlines() == [
            "catalog.duckdb: the catalog cannot be written: DuckDB needs to keep a log beside it",
            f"    Check the permissions of its folder: {open_folder}",
            "    The catalog was left as it was.",
        ]
        assert content_of(catalog) == before


class TestLock:
    def test_a_build_waits_for_a_reader_that_leaves(
        self, config: Path, catalog: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "duckalog")
        changed(config)
        with held_open(catalog) as reader:
            waits = threading.Event()

            class Watch(logging.Handler):
                def emit(self, record: logging.LogRecord) -> None:
                    if "waiting for the lock" in record.getMessage():
                        waits.set()

            watch = Watch()
            logging.getLogger("duckalog").addHandler(watch)

            def let_go() -> None:
                assert waits.wait(30)
                assert reader.stdin
                reader.stdin.write("\n")
                reader.stdin.flush()

            thread = threading.Thread(target=let_go)
            thread.start()
            try:
                report = duckalog.build(config, lock_timeout_s=30, publish="in-place")
            finally:
                thread.join()
                logging.getLogger("duckalog").removeHandler(watch)
        assert report.count("replaced") == 1
        assert waits.is_set()

    def test_no_reader_is_waited_for_where_nothing_is_to_be_done(
        self, config: Path, catalog: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "duckalog")
        before = catalog.stat().st_mtime_ns
        with held_open(catalog), held_open(catalog):
            report = duckalog.build(config, publish="in-place", lock_timeout_s=60)
        assert (report.published, report.count("unchanged")) == ("none", 1)
        assert "waiting" not in caplog.text
        assert catalog.stat().st_mtime_ns == before

    @pytest.mark.parametrize("by", ["reader", "writer"])
    def test_a_build_that_waited_long_enough_names_the_process(
        self, by: str, config: Path, catalog: Path
    ) -> None:
        changed(config)
        with held_open(catalog, by) as holder:
            told = refusal(config, publish="in-place")
        assert told.splitlines()[0] == "another process has the catalog open"
        assert f"(PID {holder.pid})" in told
        assert "--lock-timeout SECONDS" in told
        assert "http" not in told

    def test_the_command_line_sets_how_long(
        self, config: Path, catalog: Path, run_cli: RunCli
    ) -> None:
        changed(config)
        with held_open(catalog):
            result = run_cli("build", config, "--publish", "in-place", "--lock-timeout", "0.1")
        assert result.returncode == 1
        assert result.stderr.startswith(
            "catalog.duckdb: another process has the catalog open\n    It is "
        )

    def test_readers_of_other_processes_share_it(self, config: Path, catalog: Path) -> None:
        with held_open(catalog), duckalog.connect(config, lock_timeout_s=0) as connection:
            assert connection.execute("FROM v").fetchall() == [(1,)]

    def test_a_writer_of_another_process_is_waited_for_by_connect(
        self, config: Path, catalog: Path
    ) -> None:
        with (
            held_open(catalog, "writer"),
            pytest.raises(duckalog.EngineError, match="another process has the catalog open"),
        ):
            duckalog.connect(config, lock_timeout_s=0)


class TestSameProcess:
    @pytest.mark.usefixtures("catalog")
    def test_a_build_in_place_beside_an_own_reader_is_told(self, config: Path) -> None:
        with duckalog.connect(config):
            told = refusal(config, publish="in-place")
        assert told.startswith("this process has the catalog open in another way\nClose ")

    @pytest.mark.usefixtures("catalog")
    def test_a_reader_beside_an_own_writer_is_told(self, config: Path) -> None:
        with (
            duckalog.connect(config, read_only=False),
            pytest.raises(duckalog.EngineError, match="this process has the catalog open"),
        ):
            duckalog.connect(config)

    @pytest.mark.usefixtures("catalog")
    def test_a_build_beside_an_own_writer_is_seen_by_it(
        self, config: Path, write_config: WriteConfig
    ) -> None:
        with duckalog.connect(config, read_only=False) as connection:
            write_config(config.read_text().replace("SELECT 1", "SELECT 2"))
            duckalog.build(config)
            assert connection.execute("FROM v").fetchall() == [(2,)]

    def test_the_file_is_free_after_a_build(self, catalog: Path) -> None:
        with duckdb.connect(str(catalog)) as connection:
            connection.execute("CREATE TABLE t (i INTEGER)")

    def test_the_file_is_free_after_a_build_that_failed(
        self, catalog: Path, write_config: WriteConfig
    ) -> None:
        config = write_config("version: 1\nviews: [{name: v, sql: FROM missing}]", "bad.yaml")
        with pytest.raises(duckalog.EngineError):
            duckalog.build(config, catalog)
        with held_open(catalog, "writer"):
            pass


# RLIMIT_FSIZE fails every write beyond it, as a full disk does.
_FULL_DISK = """
import resource, sys, duckalog
config, *limits = sys.argv[1:]
everything = resource.getrlimit(resource.RLIMIT_FSIZE)
for limit in limits:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), everything[1]))
    try:
        duckalog.build(config)
        outcome = "built"
    except duckalog.EngineError as error:
        outcome = error.problems[0].message
    resource.setrlimit(resource.RLIMIT_FSIZE, everything)
    print(limit, outcome, sep="|", flush=True)
    if outcome == "built":
        break
"""


LIMITS = (0, 9_000, 60_000, 270_000, 400_000, 800_000, 1_200_000, 50_000_000)


def builds_on_a_full_disk(config: Path, limits: tuple[int, ...] = LIMITS) -> list[tuple[int, str]]:
    """Return what became of builds, each with so many bytes a file, up to one that succeeds."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", _FULL_DISK, str(config), *map(str, limits)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = [line.partition("|") for line in result.stdout.splitlines()]
    return [(int(limit), outcome) for limit, _, outcome in lines]


class TestFullDisk:
    def many_views(self, write_config: WriteConfig, value: int) -> Path:
        """Return a config whose catalog takes more than a megabyte."""
        views = "\n".join(
            f"  - {{name: v{number}, sql: SELECT {value} AS x, description: {'long' * 200}}}"
            for number in range(300)
        )
        return write_config(f"version: 1\nduckdb: {{database: catalog.duckdb}}\nviews:\n{views}\n")

    def test_a_first_build_is_whole_or_leaves_nothing(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        config = self.many_views(write_config, 1)
        *failed, (_, last) = builds_on_a_full_disk(config)
        assert len(failed) >= 5
        # None left a catalog, or the next one would have told of another problem.
        assert {outcome for _, outcome in failed} <= {
            "DuckDB cannot open the catalog",
            "DuckDB cannot write the catalog",
        }
        assert last == "built"
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "catalog.duckdb",
            "catalog.yaml",
        ]
        assert len(views_of(tmp_path / "catalog.duckdb")) == 300

    def test_a_later_build_is_whole_or_leaves_the_earlier_catalog(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        catalog = tmp_path / "catalog.duckdb"
        duckalog.build(self.many_views(write_config, 1))
        before = content_of(catalog)
        builds_on_a_full_disk(self.many_views(write_config, 2), LIMITS[:3])
        assert content_of(catalog) == before
        *failed, (limit, last) = builds_on_a_full_disk(self.many_views(write_config, 2))
        assert len(failed) >= 3
        assert {outcome for _, outcome in failed} == {"DuckDB cannot write the catalog"}
        assert last == "built"
        # DuckDB keeps the log beside the file where the file itself cannot grow.
        assert limit < 50_000_000
        assert {"SELECT 2 AS x" in sql for sql in views_of(catalog).values()} == {True}
        report = duckalog.build(self.many_views(write_config, 2))
        assert report.count("unchanged") == 300
