"""A built catalog served to many readers, over DuckDB's own remote protocol (quack)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.engine.execution import closing
from duckalog.engine.session import have_extension
from duckalog.environment import Redactor
from duckalog.errors import EngineError, Origin, Problem
from duckalog.plan import ExtensionStep
from duckalog.sql import call, install, literal, load

_PROTOCOL = "quack"


@contextlib.contextmanager
def served(
    connection: DuckDBPyConnection, host: str, port: int, token: str, *, may_be_remote: bool
) -> Iterator[str]:
    """Serve a connection's catalog while the block runs; yield the address for ATTACH.

    Raises EngineError where this DuckDB has no such protocol, or the address
    is taken.
    """
    step = ExtensionStep(
        kind="extension",
        name=_PROTOCOL,
        statements=(install(_PROTOCOL), load(_PROTOCOL)),
    )
    with closing(connection):
        have_extension(connection, step, Redactor())
        address = f"{_PROTOCOL}:{host}:{port}"
        options = {
            "token": literal(token),
            "disable_ssl": literal(True),
            "allow_other_hostname": literal(may_be_remote),
        }
        try:
            connection.execute(call("quack_serve", literal(address), options).text).fetchall()
        except duckdb.Error as error:
            refusal = str(error).replace(token, "**********").strip()
        else:
            refusal = ""
        if refusal:
            raise EngineError(Problem(Origin(), f"cannot serve at {address}", refusal))
        try:
            yield address
        finally:
            with contextlib.suppress(duckdb.Error):
                connection.execute(call("quack_stop", literal(address), {}).text).fetchall()
