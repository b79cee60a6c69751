"""A built catalog served to many readers, over DuckDB's own remote protocol (quack)."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.engine.execution import closing
from duckalog.engine.session import have_extension
from duckalog.errors import EngineError, Origin, Problem
from duckalog.plan import ExtensionStep
from duckalog.redaction import HIDDEN, Redactor
from duckalog.sql import literal
from duckalog.statements import call, install, load

_PROTOCOL = "quack"
_EXTENSIONS = ("httpfs", _PROTOCOL)
"""Without httpfs the server of quack 1.5.5 starts, and answers every request with HTTP 500."""


@contextlib.contextmanager
def served(
    connection: DuckDBPyConnection, host: str, port: int, token: str, *, may_be_remote: bool
) -> Iterator[str]:
    """Serve a connection's catalog while the block runs; yield the address for ATTACH.

    Raises EngineError where this DuckDB has no such protocol, the address is taken,
    or nothing answers there.
    """
    address = f"{_PROTOCOL}:{host}:{port}"
    with closing(connection):
        for name in _EXTENSIONS:
            step = ExtensionStep(
                kind="extension", name=name, statements=(install(name), load(name))
            )
            have_extension(connection, step, Redactor())
        if _is_taken(host, port):
            remedy = f"{os.strerror(errno.EADDRINUSE)}. Choose another: --port"
            raise EngineError(Problem(Origin(), f"cannot serve at {address}", remedy))
        options = {
            "token": literal(token),
            "disable_ssl": literal(True),
            "allow_other_hostname": literal(may_be_remote),
        }
        try:
            connection.execute(call("quack_serve", literal(address), options).text).fetchall()
        except duckdb.Error as error:
            # DuckDB may show the statement, in which quotes are doubled: a redactor knows.
            refusal = Redactor({token: HIDDEN})(str(error)).strip()
        else:
            refusal = ""
        if refusal:
            raise EngineError(Problem(Origin(), f"cannot serve at {address}", cause=refusal))
        try:
            if not _is_heard(host, port):
                cause = f"nothing answers there within {_START_S:g} s"
                raise EngineError(Problem(Origin(), f"cannot serve at {address}", cause=cause))
            yield address
        finally:
            with contextlib.suppress(duckdb.Error):
                connection.execute(call("quack_stop", literal(address), {}).text).fetchall()


_START_S = 10.0


def _is_heard(host: str, port: int) -> bool:
    """Say whether somebody listens, in a while: `quack_serve` may return before (1.5.5)."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1.0):
            return True
        time.sleep(0.02)
    return False


def _is_taken(host: str, port: int) -> bool:
    """Return whether somebody listens there; quack shares the port (SO_REUSEPORT) and is silent."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return False  # quack tells what is wrong with the host
    for family, kind, protocol, _, place in found:
        with socket.socket(family, kind, protocol) as probe:
            # Connections that ended a moment ago do not count; listeners do.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(place)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return True
    return False
