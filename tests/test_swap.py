"""Builds beside readers: a copy takes the catalog's place, and nobody's work is lost."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

import duckalog
from duckalog.engine import build as build_module
from duckalog.engine import publish as publish_module
from duckalog.engine.locks import CopyLock, Patience
from duckalog.engine.publish import Publish, file_to_build
from tests.catalogs import change, content_of, held_open, views_of
from tests.conftest import RunCli, WriteConfig

HEAD = "version: 1\nduckdb: {database: catalog.duckdb}\n"

Build = Callable[..., duckalog.BuildReport]


def config_of(value: int, views: int = 1) -> str:
    """Return a config whose views all have the same value."""
    lines = [f"  - {{name: v{number}, sql: SELECT {value} AS x}}" for number in range(views)]
    return HEAD + "views:\n" + "\n".join(lines) + "\n"


@pytest.fixture
def build(write_config: WriteConfig) -> Build:
    """Return a function that builds the catalog whose view has a value."""

    def built(
        value: int, publish: Publish = "auto", lock_timeout_s: float = 0
    ) -> duckalog.BuildReport:
        config = write_config(config_of(value))
        return duckalog.build(config, publish=publish, lock_timeout_s=lock_timeout_s)

    return built


@pytest.fixture
def catalog(build: Build, tmp_path: Path) -> Path:
    """Return a catalog that was built, in which a user made things too."""
    build(1)
    file = tmp_path / "catalog.duckdb"
    change(
        file,
        "CREATE TABLE precious AS SELECT range AS i FROM range(10000)",
        "CREATE VIEW handmade AS SELECT count(*) AS n FROM precious",
        "CREATE SCHEMA own",
        "CREATE MACRO own.twice(x) AS x * 2",
        "CREATE SEQUENCE own.counter START 7",
    )
    return file


def value_in(file: Path) -> int:
    """Return the value of the catalog's view, as a plain reader has it."""
    with duckdb.connect(str(file), read_only=True) as connection:
        ((value,),) = connection.execute("FROM v0").fetchall()
    assert isinstance(value, int)
    return value


def told(build: Build, publish: Publish) -> str:
    """Return what a build says that is refused."""
    with pytest.raises(duckalog.EngineError) as caught:
        build(2, publish)
    (problem,) = caught.value.problems
    return f"{problem.message}\n{problem.remedy}"


class TestChoice:
    def test_a_file_that_is_free_is_built_in_place(self, catalog: Path, build: Build) -> None:
        before = catalog.stat().st_ino
        assert build(2).published == "in-place"
        assert catalog.stat().st_ino == before

    def test_a_file_that_readers_hold_is_swapped_at_once(
        self, catalog: Path, build: Build, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "duckalog")
        with held_open(catalog), held_open(catalog):
            assert build(2, lock_timeout_s=60).published == "swap"
        assert "waiting" not in caplog.text
        assert value_in(catalog) == 2

    @pytest.mark.parametrize("publish", ["auto", "swap"])
    def test_nothing_is_swapped_in_where_all_that_was_to_be_made_fails(
        self, publish: Publish, catalog: Path, write_config: WriteConfig
    ) -> None:
        config = write_config(config_of(1) + "  - {name: broken, sql: FROM nowhere}\n")
        before = catalog.stat().st_ino
        with held_open(catalog):
            report = duckalog.build(config, publish=publish, keep_going=True)
        assert (report.published, report.count("failed")) == ("none", 1)
        assert catalog.stat().st_ino == before

    @pytest.mark.parametrize("publish", ["auto", "in-place", "swap"])
    def test_a_writer_is_waited_for(self, publish: Publish, catalog: Path, build: Build) -> None:
        with held_open(catalog, "writer") as writer:
            said = told(build, publish).splitlines()
        assert said[0] == "another process has the catalog open"
        assert len([line for line in said if f"(PID {writer.pid})" in line]) == 1
        assert said[-1] == "Close it, or wait longer for it: --lock-timeout SECONDS"
        assert value_in(catalog) == 1
        build(2, publish)
        assert value_in(catalog) == 2

    @pytest.mark.parametrize("publish", ["auto", "swap"])
    def test_a_writer_that_leaves_lets_the_build_go_on(
        self, publish: Publish, catalog: Path, build: Build
    ) -> None:
        with held_open(catalog, "writer") as writer:

            class LetGo(logging.Handler):
                def emit(self, record: logging.LogRecord) -> None:
                    if "waiting for the lock" in record.getMessage():
                        writer.communicate("\n")
                        logger.removeHandler(self)

            logger = logging.getLogger("duckalog")
            logger.setLevel(logging.INFO)
            logger.addHandler(LetGo())
            try:
                build(2, publish, lock_timeout_s=60)
            finally:
                logger.setLevel(logging.NOTSET)
        assert value_in(catalog) == 2

    def test_a_way_that_there_is_not_is_refused(self, build: Build) -> None:
        with pytest.raises(ValueError, match="publish is one of"):
            build(1, "sideways")

    def test_how_it_was_published_is_told(self, run_cli: RunCli, write_config: WriteConfig) -> None:
        for value, publish, ending in (
            (1, "auto", " s)\n"),
            (2, "in-place", " s, in place)\n"),
            (3, "swap", " s, swapped in)\n"),
        ):
            config = write_config(config_of(value))
            assert run_cli("build", config, "--publish", publish).stdout.endswith(ending)
        document = json.loads(run_cli("build", config, "--json").stdout)
        assert document["published"] == "none"


class TestSwap:
    def test_readers_keep_the_old_catalog_and_new_ones_have_the_new(
        self, catalog: Path, build: Build
    ) -> None:
        program = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=True)
for line in sys.stdin:
    print(connection.execute("SELECT x, n FROM v0, handmade").fetchall(), flush=True)
"""
        with subprocess.Popen(
            [sys.executable, "-c", program, str(catalog)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as reader:
            assert reader.stdin
            assert reader.stdout

            def answer() -> str:
                assert reader.stdin
                assert reader.stdout
                reader.stdin.write("\n")
                reader.stdin.flush()
                return reader.stdout.readline().strip()

            assert answer() == "[(1, 10000)]"
            # The reader's file is the catalog no longer, so the next build finds that free.
            for value, published in ((2, "swap"), (3, "in-place")):
                assert build(value).published == published
                assert answer() == "[(1, 10000)]"
                assert value_in(catalog) == value
            reader.communicate()

    @pytest.mark.parametrize("publish", ["in-place", "swap"])
    def test_what_a_user_made_survives(self, publish: Publish, catalog: Path, build: Build) -> None:
        before = content_of(catalog)
        for value in (2, 3):
            build(value, publish)
        after = content_of(catalog)
        assert after["rows of main.precious"] == before["rows of main.precious"]
        assert views_of(catalog)["main.handmade"]
        with duckdb.connect(str(catalog)) as connection:
            row = connection.execute("SELECT n, own.twice(4), nextval('own.counter') FROM handmade")
            assert row.fetchall() == [(10000, 8, 7)]

    def test_nothing_is_left_beside_it(self, catalog: Path, build: Build, tmp_path: Path) -> None:
        build(2, "swap")
        assert sorted(os.listdir(tmp_path)) == ["catalog.duckdb", "catalog.yaml"]
        assert catalog.stat().st_nlink == 1

    def test_the_file_keeps_its_mode_and_owner(self, catalog: Path, build: Build) -> None:
        catalog.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(catalog, 65534, 65534)
        before = catalog.stat()
        build(2, "swap")
        after = catalog.stat()
        assert after.st_ino != before.st_ino
        assert (after.st_mode, after.st_uid, after.st_gid) == (
            before.st_mode,
            before.st_uid,
            before.st_gid,
        )

    def test_a_symbolic_link_stays_and_its_target_is_replaced(
        self, catalog: Path, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        target = tmp_path / "elsewhere" / "catalog.duckdb"
        catalog.rename(target)
        catalog.symlink_to(Path("elsewhere", "catalog.duckdb"))
        before = target.stat().st_ino
        with held_open(catalog):
            report = duckalog.build(write_config(config_of(2)), lock_timeout_s=0)
        assert report.published == "swap"
        assert catalog.is_symlink()
        assert target.stat().st_ino != before
        assert value_in(target) == 2
        assert os.listdir(tmp_path / "elsewhere") == ["catalog.duckdb"]

    @pytest.mark.parametrize("publish", ["auto", "swap"])
    def test_a_catalog_that_is_as_it_should_be_is_neither_copied_nor_replaced(
        self, publish: Publish, catalog: Path, build: Build, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(CopyLock, "copy_to")
        before = catalog.stat()
        with held_open(catalog):
            report = build(1, publish)
        assert (report.published, report.count("unchanged")) == ("none", 1)
        after = catalog.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    def test_a_view_that_fails_leaves_the_catalog_and_its_readers_alone(
        self, catalog: Path, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        before = catalog.stat().st_ino
        config = write_config(HEAD + "views: [{name: v0, sql: FROM missing}]")
        with held_open(catalog), pytest.raises(duckalog.EngineError, match="refused the view"):
            duckalog.build(config, lock_timeout_s=0)
        assert catalog.stat().st_ino == before
        assert sorted(os.listdir(tmp_path)) == ["catalog.duckdb", "catalog.yaml"]

    def test_a_file_that_is_no_database_is_left_alone(self, build: Build, tmp_path: Path) -> None:
        file = tmp_path / "catalog.duckdb"
        file.write_text("my notes\n" * 1000)
        assert "this file is not a DuckDB database" in told(build, "swap")
        assert file.read_text() == "my notes\n" * 1000

    def test_what_duckdb_stored_is_learned_beside_readers_that_came_meanwhile(
        self,
        catalog: Path,
        build: Build,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        afterwards = build_module._learn_afterwards

        def learn_beside_a_reader(*arguments: object) -> object:
            with held_open(catalog):
                return afterwards(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(build_module, "_learn_afterwards", learn_beside_a_reader)
        report = build(2)
        assert report.published == "in-place"
        assert [column.name for column in report.views[0].columns] == ["x"]
        assert not caplog.records
        monkeypatch.undo()
        assert build(2).published == "none"


class TestObstacles:
    def crashed_writer(self, catalog: Path) -> Path:
        """Have a writer killed whose row is in the log only; return the log."""
        program = f"""
import duckdb, os
connection = duckdb.connect({str(catalog)!r})
connection.execute("CREATE TABLE late AS SELECT 5 AS x")
os._exit(9)
"""
        subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
        log = catalog.with_name("catalog.duckdb.wal")
        assert log.exists()
        return log

    @pytest.mark.parametrize("publish", ["auto", "in-place", "swap"])
    def test_the_log_of_a_killed_writer_is_folded_in(
        self, publish: Publish, catalog: Path, build: Build
    ) -> None:
        log = self.crashed_writer(catalog)
        build(2, publish)
        assert not log.exists()
        assert content_of(catalog)["rows of main.late"] == [(5,)]
        assert value_in(catalog) == 2

    @pytest.mark.parametrize("publish", ["auto", "swap"])
    def test_the_log_of_a_killed_writer_that_readers_hold_is_not_lost(
        self, publish: Publish, catalog: Path, build: Build
    ) -> None:
        log = self.crashed_writer(catalog)
        before = catalog.read_bytes(), log.read_bytes()
        with held_open(catalog):
            said = told(build, publish)
        assert "the log of a writer that was killed cannot be folded in beside readers" in said
        assert (catalog.read_bytes(), log.read_bytes()) == before
        build(2, publish)
        assert content_of(catalog)["rows of main.late"] == [(5,)]

    def test_a_writer_cannot_come_between_the_copy_and_its_taking_the_place(
        self, catalog: Path
    ) -> None:
        with (
            held_open(catalog),
            file_to_build(str(catalog), "swap", Patience(0), lambda _: False) as file,
        ):
            file.connection.execute("CREATE VIEW added AS SELECT 1")
            writer = f"import duckdb; duckdb.connect({str(catalog)!r})"
            result = subprocess.run(
                [sys.executable, "-c", writer], capture_output=True, text=True, check=False
            )
            assert "Could not set lock" in result.stderr
        assert "main.added" in views_of(catalog)

    def test_a_change_that_no_lock_kept_out_is_not_lost(
        self, catalog: Path, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        finish = publish_module._finish

        def finish_late(building: str, path: str) -> None:
            finish(building, path)
            other = tmp_path / "other.duckdb"
            change(other, "CREATE TABLE replaced AS SELECT 9 AS x")
            os.replace(other, catalog)

        monkeypatch.setattr(publish_module, "_finish", finish_late)
        said = told(build, "swap")
        assert said.startswith("another program changed the catalog while it was built\nNothing of")
        assert content_of(catalog)["rows of main.replaced"] == [(9,)]

    def test_a_file_that_cannot_be_replaced_stays(
        self, catalog: Path, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def busy(*_: object) -> None:
            raise OSError(16, "Device or resource busy")

        monkeypatch.setattr(os, "replace", busy)
        assert told(build, "swap") == (
            "the catalog cannot be replaced: Device or resource busy\n"
            "Build it in place, when no reader has it open: --publish in-place"
        )
        monkeypatch.undo()
        assert value_in(catalog) == 1
        assert sorted(os.listdir(tmp_path)) == ["catalog.duckdb", "catalog.yaml"]

    def test_a_system_that_cannot_lock_a_copy_builds_in_place(
        self, catalog: Path, build: Build, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(publish_module, "CAN_LOCK", False)
        assert told(build, "swap").startswith("the catalog cannot be swapped: this system has no")
        assert build(2).published == "in-place"
        assert value_in(catalog) == 2

    @pytest.mark.parametrize("limit", [0, 9_000, 300_000])
    def test_a_disk_that_is_full_leaves_the_catalog_as_it_was(
        self, limit: int, catalog: Path, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        assert catalog.stat().st_size > 300_000
        before = catalog.read_bytes()
        config = write_config(config_of(2))
        program = f"""
import resource, duckalog
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
try:
    duckalog.build({str(config)!r}, publish="swap")
except duckalog.EngineError as error:
    print(error)
"""
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            check=False,
        )
        assert result.stderr == ""
        assert result.stdout.splitlines()[0] == (
            "catalog.duckdb: the catalog cannot be copied: File too large"
        )
        assert catalog.read_bytes() == before
        assert sorted(os.listdir(tmp_path)) == ["catalog.duckdb", "catalog.yaml"]

    def test_a_disk_that_fills_while_the_copy_is_built_leaves_the_catalog_as_it_was(
        self, catalog: Path, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        before = catalog.read_bytes()
        config = write_config(config_of(2, views=3000))
        program = f"""
import resource, duckalog
resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before)}, resource.RLIM_INFINITY))
try:
    duckalog.build({str(config)!r}, publish="swap")
except duckalog.EngineError as error:
    print(error)
"""
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            check=False,
        )
        assert "DuckDB cannot write the catalog" in result.stdout, result.stderr
        assert catalog.read_bytes() == before
        assert sorted(os.listdir(tmp_path)) == ["catalog.duckdb", "catalog.yaml"]


# Root may write anywhere, so rights are given up once everything is imported.
_AS_NOBODY = """
import os, sys, duckalog
config, publish = sys.argv[1:]
duckalog.connect(config, db_path=":memory:").close()
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    print(duckalog.build(config, publish=publish, lock_timeout_s=0.1).published)
except duckalog.EngineError as error:
    print(error)
"""


@pytest.mark.thorough
class TestReadOnlyFolder:
    @pytest.fixture
    def folder(self) -> Iterator[Path]:
        """Return a folder with a catalog that may be written, and where no file may be made."""
        with tempfile.TemporaryDirectory(prefix="duckalog-test-") as name:
            folder = Path(name)
            config = folder / "catalog.yaml"
            config.write_text(config_of(1))
            duckalog.build(config)
            (folder / "catalog.duckdb").chmod(0o666)
            folder.chmod(0o555)
            yield folder
            folder.chmod(0o755)

    def build(self, folder: Path, publish: str) -> str:
        result = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, str(folder / "catalog.yaml"), publish],
            capture_output=True,
            text=True,
            cwd=folder,
            timeout=60,
            check=False,
        )
        assert result.stderr == ""
        return result.stdout.strip()

    def test_a_swap_is_impossible_and_told(self, folder: Path) -> None:
        (folder / "catalog.yaml").write_text(config_of(2))
        assert self.build(folder, "swap").splitlines() == [
            "catalog.duckdb: the catalog cannot be swapped: its folder cannot be written",
            "    Build it in place, when no reader has it open: --publish in-place",
        ]
        assert value_in(folder / "catalog.duckdb") == 1

    def test_beside_readers_it_is_told_why_it_was_not_swapped(self, folder: Path) -> None:
        with held_open(folder / "catalog.duckdb"):
            said = self.build(folder, "auto").splitlines()
        assert said[0] == "catalog.duckdb: another process has the catalog open"
        assert said[-1] == "    the catalog cannot be swapped: its folder cannot be written"

    def test_without_readers_it_is_tried_in_place(self, folder: Path) -> None:
        assert self.build(folder, "auto") == "none"


class TestSameProcess:
    def test_a_build_beside_an_own_reader_is_a_swap(
        self, catalog: Path, build: Build, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        config = tmp_path / "catalog.yaml"
        with duckalog.connect(config) as reader:
            for value in (2, 3):
                assert build(value).published == "swap"
                assert build(value).published == "none"
                assert reader.execute("FROM v0").fetchall() == [(1,)]
            with duckalog.connect(config) as second:
                assert second.execute("FROM v0").fetchall() == [(1,)]
            assert [record.levelno for record in caplog.records] == [logging.WARNING]
            assert "was replaced by a build, and this process still has" in caplog.text
        caplog.clear()
        with duckalog.connect(config) as connection:
            assert connection.execute("FROM v0").fetchall() == [(3,)]
        assert build(4).published == "in-place"
        assert not caplog.records
        assert value_in(catalog) == 4

    def test_an_own_reader_with_settings_of_its_own_is_no_obstacle(
        self, catalog: Path, build: Build
    ) -> None:
        with duckdb.connect(str(catalog), read_only=True, config={"threads": 1}) as reader:
            assert build(2).published == "swap"
            assert reader.execute("FROM v0").fetchall() == [(1,)]
        assert value_in(catalog) == 2

    def test_an_own_reader_and_a_swap_attach_the_same_database(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        change(tmp_path / "ref.duckdb", "CREATE TABLE t AS SELECT 7 AS i")
        text = HEAD + "attachments: {duckdb: [{alias: ref, path: ref.duckdb}]}\nviews: [V]\n"
        for value in (1, 2):
            view = f"{{name: v0, sql: SELECT i * {value} AS x FROM ref.t}}"
            config = write_config(text.replace("V", view))
            if value == 1:
                duckalog.build(config)
                reader = duckalog.connect(config)
        with reader:
            assert duckalog.build(config).published == "swap"
            assert duckalog.build(config).published == "none"
            assert reader.execute("FROM v0").fetchall() == [(7,)]
        with held_open(tmp_path / "catalog.duckdb"):
            assert duckalog.build(config).published == "none"
        with duckalog.connect(config) as connection:
            assert connection.execute("FROM v0").fetchall() == [(14,)]

    def test_an_unchanged_build_beside_an_own_reader_replaces_nothing(
        self, catalog: Path, build: Build
    ) -> None:
        before = catalog.stat().st_ino
        with duckdb.connect(str(catalog), read_only=True):
            assert build(1).published == "none"
        assert catalog.stat().st_ino == before

    def test_an_own_reader_keeps_other_writers_out_after_a_build_that_failed(
        self, catalog: Path, write_config: WriteConfig
    ) -> None:
        config = write_config(HEAD + "views: [{name: v0, sql: FROM missing}]")
        with duckdb.connect(str(catalog), read_only=True):
            with pytest.raises(duckalog.EngineError):
                duckalog.build(config)
            writer = f"import duckdb; duckdb.connect({str(catalog)!r})"
            result = subprocess.run(
                [sys.executable, "-c", writer], capture_output=True, text=True, check=False
            )
            assert "Could not set lock" in result.stderr

    def test_a_build_beside_an_own_writer_is_in_place_or_told(
        self, catalog: Path, build: Build
    ) -> None:
        with duckdb.connect(str(catalog)) as writer:
            assert build(2).published == "in-place"
            assert writer.execute("FROM v0").fetchall() == [(2,)]
            assert told(lambda _, publish: build(3, publish), "swap") == (
                "this process has the catalog open for writing\n"
                "Close its connections first, or build beside them: --publish in-place"
            )
            # It still has its lock.
            reader = f"import duckdb; duckdb.connect({str(catalog)!r}, read_only=True)"
            result = subprocess.run(
                [sys.executable, "-c", reader], capture_output=True, text=True, check=False
            )
            assert "Could not set lock" in result.stderr

    def test_a_file_that_was_replaced_is_not_written_for_one_that_is_gone(
        self, catalog: Path, build: Build, tmp_path: Path
    ) -> None:
        with duckdb.connect(str(catalog)) as stale:
            other = tmp_path / "other.duckdb"
            change(other, "CREATE TABLE newer AS SELECT 1 AS x")
            os.replace(other, catalog)
            message = "this process has the catalog open as it was before a build replaced it"
            said = f"{message}\nClose its other connections first."
            assert told(build, "in-place") == said
            with pytest.raises(duckalog.EngineError, match=message):
                duckalog.connect(tmp_path / "catalog.yaml", read_only=False, lock_timeout_s=0)
            assert stale.execute("FROM v0").fetchall() == [(1,)]
        assert build(2, "in-place").published == "in-place"
        assert content_of(catalog)["rows of main.newer"] == [(1,)]


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start a build in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "duckalog", "build", *map(str, arguments), "--lock-timeout", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.thorough
class TestTogether:
    @pytest.mark.parametrize("publish", ["auto", "swap"])
    def test_builders_of_a_new_catalog_all_succeed(
        self, publish: str, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        config = write_config(config_of(1, views=50))
        builders = [start(config, "--publish", publish) for _ in range(3)]
        for builder in builders:
            out, errors = builder.communicate(timeout=120)
            assert (builder.returncode, errors) == (0, ""), out
        assert len(views_of(tmp_path / "catalog.duckdb")) == 50
        assert sorted(os.listdir(tmp_path)) == ["catalog.duckdb", "catalog.yaml"]

    def test_builders_of_an_earlier_catalog_all_succeed_whatever_their_way(
        self, catalog: Path, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        configs = [
            write_config(config_of(value, views=50), f"{value}.yaml") for value in range(2, 6)
        ]
        with held_open(catalog):
            builders = [start(config, "--publish", "swap") for config in configs[:2]]
            builders += [start(config) for config in configs[2:]]
            for builder in builders:
                out, errors = builder.communicate(timeout=120)
                assert (builder.returncode, errors) == (0, ""), out
        # All views are those of the builder that was last.
        views = [sql for name, sql in views_of(catalog).items() if name.startswith("main.v")]
        assert len(views) == 50
        assert len({sql.partition(" AS ")[2] for sql in views}) == 1
        assert content_of(catalog)["rows of main.precious"][-1] == (9999,)
        assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


_READER = """
import sys, duckdb
catalog, views, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
every = " UNION ALL ".join(f"FROM v{number}" for number in range(views))
seen, looks = [], 0
while last not in seen:
    with duckdb.connect(catalog, read_only=True) as connection:
        for _ in range(5):
            query = f"SELECT count(*), min(x), max(x) FROM ({every})"
            ((count, least, most),) = connection.execute(query).fetchall()
            assert (count, least) == (views, most), (count, least, most)
            looks += 1
            if not seen:
                print("reads", flush=True)
            seen.append(most)
assert seen == sorted(seen), seen
print(looks, len(set(seen)))
"""


@pytest.mark.thorough
def test_readers_never_fail_beside_swaps_and_see_whole_catalogs(
    is_full_size: bool, write_config: WriteConfig, tmp_path: Path
) -> None:
    readers, builds, views = (20, 20, 100) if is_full_size else (4, 5, 20)
    config = write_config(config_of(0, views))
    duckalog.build(config)
    program = [sys.executable, "-c", _READER, str(tmp_path / "catalog.duckdb")]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [*program, str(views), str(builds)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(readers)
        ]
        for process in processes:
            stack.callback(process.kill)
            assert process.stdout
            assert process.stdout.readline() == "reads\n"
        for value in range(1, builds + 1):
            write_config(config_of(value, views))
            report = duckalog.build(config, publish="swap", lock_timeout_s=0)
            assert report.published == "swap"
        looks, kinds = 0, []
        for process in processes:
            out, errors = process.communicate(timeout=60)
            assert (process.returncode, errors) == (0, "")
            count, different = map(int, out.split())
            looks += count
            kinds.append(different)
    assert looks >= readers * builds
    assert max(kinds) > 2, "no reader saw a catalog come"
