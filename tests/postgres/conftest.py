"""Clients of a real server, with both faces behind the same calls."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from tests.postgres.faces import Awaited, Loop, MakeClient, stated
from tests.servers.postgres import Postgres

# The tests' own imports fail where the packages for the servers are not installed.
collect_ignore_glob = [] if find_spec("psycopg_pool") and find_spec("pydantic") else ["test_*.py"]
NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.fixture(scope="session")
def database(postgres: Postgres) -> str:
    """The name of a database for the tests of the client."""
    postgres.create_database("client")
    return "client"


@pytest.fixture(scope="session", params=["blocking", "awaiting"])
def face(request: pytest.FixtureRequest) -> str:
    """Each of the two faces in turn."""
    return str(request.param)


def made_client(face: str, loop: Loop, arguments: dict[str, Any]) -> Any:
    from duckalog.postgres import AsyncPgClient, PgClient

    if face == "blocking":
        return PgClient("", **arguments)
    return Awaited(loop, AsyncPgClient("", **arguments))


def in_use(client: Any) -> dict[str, int]:
    """Return how many connections of each pool are given away, and not only for a moment.

    The client's own watch takes some now and then.
    """
    deadline = time.monotonic() + 2
    while True:
        found = {one.name: one.in_use for one in client.pool_stats().values() if one.in_use}
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.01)


@pytest.fixture
def make_client(face: str, loop: Loop, postgres: Postgres, database: str) -> Iterator[MakeClient]:
    """Return a function that opens a client; every connection must be back at the end."""
    made: list[Any] = []

    def make(server: Any = None, *, is_open: bool = True, **changes: Any) -> Any:
        arguments = {**stated(server or postgres, "postgres" if server else database), **changes}
        client = made_client(face, loop, arguments)
        if is_open:
            made.append(client)
            client.open()
        return client

    yield make
    leaked: dict[str, int] = {}
    for client in made:
        if client.is_open:
            leaked.update(in_use(client))
        client.close()
    assert not leaked


@pytest.fixture(scope="session")
def shared_client(face: str, loop: Loop, postgres: Postgres, database: str) -> Iterator[Any]:
    with made_client(face, loop, stated(postgres, database)) as client:
        yield client


@pytest.fixture
def client(shared_client: Any) -> Iterator[Any]:
    """An open client of the tests' database; every connection must be back at the end."""
    yield shared_client
    assert not in_use(shared_client)


@pytest.fixture
def table(postgres: Postgres, database: str) -> Iterator[str]:
    """The name of a new table, with a key `i` and a text `t`."""
    name = f"table_{next(NUMBERS)}"
    postgres.run(f"CREATE TABLE {name} (i integer PRIMARY KEY, t text)", database)
    yield name
    postgres.run(f"DROP TABLE {name}", database)
