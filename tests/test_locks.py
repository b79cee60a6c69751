"""Who has a catalog's file: builders in turn, no writer while it is copied, no lock lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import pytest

import duckalog
from duckalog.engine import locks
from duckalog.engine.locks import CopyLock, Patience, builders_turn, is_replaced
from tests.catalogs import change, held_open


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Return a catalog of one table."""
    change(tmp_path / "catalog.duckdb", "CREATE TABLE t AS SELECT 1 AS x")
    return tmp_path / "catalog.duckdb"


_BUILDER = """
import sys
from duckalog.engine.locks import Patience, builders_turn
with builders_turn(sys.argv[1], Patience(30)):
    print("in turn", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def builder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Have another process in the builders' turn, until it is sent a line."""
    with subprocess.Popen(
        [sys.executable, "-c", _BUILDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "in turn\n"
        try:
            yield process
        finally:
            process.communicate()


class TestBuildersTurn:
    def test_it_leaves_nothing(self, tmp_path: Path) -> None:
        with builders_turn(str(tmp_path / "c.duckdb"), Patience(0)) as was_killed:
            assert not was_killed
            assert os.listdir(tmp_path) == [".c.duckdb.lock"]
        assert os.listdir(tmp_path) == []

    def test_another_process_waits_and_is_told_which_it_waited_for(self, tmp_path: Path) -> None:
        path = tmp_path / "c.duckdb"
        with builder(path) as process, pytest.raises(duckalog.EngineError) as caught:
            builders_turn(str(path), Patience(0.1)).__enter__()
        (problem,) = caught.value.problems
        assert problem.message == "another build of the catalog is under way"
        assert problem.remedy == (
            f"It is process {process.pid}.\nWait longer for it: --lock-timeout SECONDS"
        )
        with builders_turn(str(path), Patience(0)):
            pass

    def test_threads_of_a_process_take_turns_too(self, tmp_path: Path) -> None:
        inside, most = [0], [0]
        changing = threading.Lock()

        def take_turns() -> None:
            for _ in range(5):
                with builders_turn(str(tmp_path / "c.duckdb"), Patience(60)):
                    with changing:
                        inside[0] += 1
                        most[0] = max(most[0], inside[0])
                    with changing:
                        inside[0] -= 1

        threads = [threading.Thread(target=take_turns) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == [1]
        assert os.listdir(tmp_path) == []

    def test_catalogs_of_one_folder_do_not_wait_for_each_other(self, tmp_path: Path) -> None:
        with (
            builders_turn(str(tmp_path / "a.duckdb"), Patience(0)),
            builders_turn(str(tmp_path / "b.duckdb"), Patience(0)),
        ):
            assert len(os.listdir(tmp_path)) == 2

    def test_a_builder_that_is_killed_blocks_nobody_and_is_known(self, tmp_path: Path) -> None:
        path = tmp_path / "c.duckdb"
        with builder(path) as process:
            process.send_signal(signal.SIGKILL)
            process.wait()
            with builders_turn(str(path), Patience(0)) as was_killed:
                assert was_killed
        assert os.listdir(tmp_path) == []

    def test_a_child_forked_in_the_turn_does_not_keep_it(self, tmp_path: Path) -> None:
        path = tmp_path / "c.duckdb"
        program = f"""
import os, sys
from duckalog.engine.locks import Patience, builders_turn
with builders_turn({str(path)!r}, Patience(0)):
    if os.fork() == 0:
        sys.stdin.readline()
        os._exit(0)
print("done", flush=True)
"""
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == "done\n"
            with builders_turn(str(path), Patience(0)) as was_killed:
                assert not was_killed
            process.communicate("\n")

    def test_the_lock_that_another_user_left_is_taken_over(self) -> None:
        with tempfile.TemporaryDirectory(prefix="duckalog-test-") as name:
            folder = Path(name)
            folder.chmod(0o777)
            left = folder / ".c.duckdb.lock"
            left.touch()
            left.chmod(0o444)
            program = f"""
import os
from duckalog.engine.locks import Patience, builders_turn
if os.geteuid() == 0:
    os.setuid(65534)
with builders_turn({name!r} + "/c.duckdb", Patience(0)) as was_killed:
    print(was_killed)
"""
            result = subprocess.run(
                [sys.executable, "-c", program],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (result.stdout, result.stderr) == ("True\n", "")
            assert not left.exists()

    def test_a_link_in_the_place_of_the_lock_leads_nowhere(self, tmp_path: Path) -> None:
        precious = tmp_path / "precious"
        precious.write_text("rows")
        (tmp_path / ".c.duckdb.lock").symlink_to(precious)
        with builders_turn(str(tmp_path / "c.duckdb"), Patience(0)):
            assert precious.read_text() == "rows"

    def test_where_the_file_system_has_no_locks_there_is_no_turn(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_locks(*_: object) -> None:
            raise OSError("No locks available")

        path = str(tmp_path / "c.duckdb")
        monkeypatch.setattr(locks.fcntl, "flock", no_locks)
        with builders_turn(path, Patience(0)), builders_turn(path, Patience(0)):
            pass
        monkeypatch.undo()
        monkeypatch.setattr(locks, "CAN_LOCK", False)
        with builders_turn(path, Patience(0)), builders_turn(path, Patience(0)):
            pass


class TestCopyLock:
    def test_readers_come_and_go_and_writers_stay_out(self, catalog: Path) -> None:
        lock = CopyLock.take(str(catalog))
        assert lock
        with closing(lock):
            with held_open(catalog):
                pass
            with closing(duckdb.connect(str(catalog), read_only=True)):
                pass
            result = subprocess.run(
                [sys.executable, "-c", f"import duckdb; duckdb.connect({str(catalog)!r})"],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert "Could not set lock on file" in result.stderr
            assert lock.is_as_copied()
        with held_open(catalog, "writer"):
            assert CopyLock.take(str(catalog)) is None

    def test_a_copy_is_the_same_file(self, catalog: Path, tmp_path: Path) -> None:
        lock = CopyLock.take(str(catalog))
        assert lock
        with closing(lock):
            for name in ("first", "second"):
                lock.copy_to(str(tmp_path / name))
                assert (tmp_path / name).read_bytes() == catalog.read_bytes()

    def test_a_file_that_was_written_or_replaced_or_removed_is_noticed(self, catalog: Path) -> None:
        content = catalog.read_bytes()
        for spoil in (
            lambda: catalog.write_bytes(content + b"more"),
            lambda: os.replace(catalog.with_name("other"), catalog),
            lambda: catalog.unlink(),
        ):
            catalog.with_name("other").write_bytes(content)
            lock = CopyLock.take(str(catalog))
            assert lock
            with closing(lock):
                assert lock.is_as_copied()
                spoil()
                assert not lock.is_as_copied()

    def test_an_own_reader_keeps_its_lock(self, catalog: Path) -> None:
        program = f"import duckdb; duckdb.connect({str(catalog)!r})"
        with closing(duckdb.connect(str(catalog), read_only=True)):
            for _ in range(3):
                lock = CopyLock.take(str(catalog))
                assert lock
                assert lock.is_open_otherwise()
                lock.close()
                result = subprocess.run(
                    [sys.executable, "-c", program],
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
                assert "Could not set lock on file" in result.stderr
            assert len(locks._kept) == 1
        with held_open(catalog, "writer"):
            pass
        lock = CopyLock.take(str(catalog))
        assert lock
        lock.close()
        assert not locks._kept

    def test_systems_that_lock_for_processes_only_keep_writers_out_too(
        self, catalog: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(locks.fcntl, "F_OFD_SETLK", raising=False)
        with held_open(catalog, "writer"):
            assert CopyLock.take(str(catalog)) is None
        lock = CopyLock.take(str(catalog))
        assert lock
        lock.close()
        with held_open(catalog, "writer"):
            pass


def test_what_duckdb_opened_before_a_file_was_replaced_is_known(catalog: Path) -> None:
    with closing(duckdb.connect(str(catalog), read_only=True)):
        assert not is_replaced(str(catalog))
        other = catalog.with_name("other.duckdb")
        change(other, "CREATE TABLE t AS SELECT 2 AS x")
        os.replace(other, catalog)
        assert is_replaced(str(catalog))
    with closing(duckdb.connect(str(catalog), read_only=True)) as connection:
        assert not is_replaced(str(catalog))
        assert connection.execute("FROM t").fetchall() == [(2,)]
