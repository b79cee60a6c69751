"""The compose file of the docs: its variables are the client's, and its replica replicates."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import yaml

from duckalog.postgres import PgClient, PgConfig
from tests.conftest import ROOT
from tests.postgres.load import wait_until
from tests.servers.postgres import Postgres, _free_port, running_postgres

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "postgres-compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
PASSWORDS = {"PG_PASSWORD": "of the program", "PG_REPLICATION_PASSWORD": "of the replica"}


def filled(text: str) -> str:
    """Return a text of the file as compose has it: variables in, `$$` as `$`."""
    text = re.sub(r"\$\{(\w+)(:\?[^}]*)?\}", lambda found: PASSWORDS[found[1]], text)
    return text.replace("$$", "$")


def test_the_program_s_variables_are_those_that_the_client_reads() -> None:
    stated = {name: filled(value) for name, value in SERVICES["program"]["environment"].items()}
    config = PgConfig.from_env(stated)
    told = config.parameters
    assert (told["host"], told["port"], told["dbname"]) == ("primary", "5432", "app")
    replicas = {one.parameters["host"] for one in config.replicas}
    assert (config.pool.min_size, config.pool.max_size) == (2, 10)
    page = (ROOT / "docs" / "postgres.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in stated)
    assert {told["host"], *replicas} <= set(SERVICES)
    assert SERVICES["primary"]["environment"]["POSTGRES_USER"] == told["user"]
    assert SERVICES["primary"]["environment"]["POSTGRES_DB"] == told["dbname"]


def test_what_a_service_takes_from_the_file_is_there() -> None:
    for service in SERVICES.values():
        assert {one["source"] for one in service.get("configs", [])} <= set(COMPOSE["configs"])
        named = {one.partition(":")[0] for one in service.get("volumes", [])}
        assert named <= set(COMPOSE["volumes"])
        assert set(service.get("depends_on", {})) <= set(SERVICES)


@pytest.fixture
def primary() -> Iterator[Postgres]:
    """A server as the file configures its primary."""
    with running_postgres() as server:
        (server.folder / "pg_hba.conf").write_text(COMPOSE["configs"]["hba"]["content"])
        server.run("SELECT pg_reload_conf()")
        server.run(filled(COMPOSE["configs"]["replicator"]["content"]))
        server.run(f"CREATE ROLE app SUPERUSER LOGIN PASSWORD '{PASSWORDS['PG_PASSWORD']}'")
        server.run("CREATE DATABASE app OWNER app")
        yield server


@pytest.mark.servers
def test_its_settings_are_postgresql_s(primary: Postgres) -> None:
    with primary.connect() as connection:
        for option in SERVICES["primary"]["command"][1:]:
            name = option.removeprefix("-c").partition("=")[0]
            found = connection.execute("SELECT 1 FROM pg_settings WHERE name = %s", [name])
            is_older = connection.info.server_version < 130000  # had no wal_keep_size
            assert found.fetchone() or is_older, name
        refused = "SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL"
        assert not connection.execute(refused).fetchall()


@pytest.mark.servers
def test_its_replica_replicates_and_is_read(primary: Postgres) -> None:
    if not (primary.binaries / "pg_basebackup").exists():
        pytest.skip("these programs of PostgreSQL are without pg_basebackup")
    service = SERVICES["replica"]
    folder = primary.folder.with_name("replica")
    port = _free_port()
    stated = {name: filled(value) for name, value in service["environment"].items()}
    script = filled(service["command"][-1])
    script = script.replace("exec postgres", f"exec postgres -p {port}").replace(
        "/etc/postgresql/pg_hba.conf", str(primary.folder / "pg_hba.conf")
    )
    there = {"PGHOST": primary.host, "PGPORT": str(primary.port), "PGDATA": str(folder)}
    path = f"{primary.binaries}{os.pathsep}{os.environ['PATH']}"
    account = {**primary.account, "env": {**os.environ, **stated, **there, "PATH": path}}
    process = subprocess.Popen(["bash", "-c", script], start_new_session=True, **account)
    try:
        variables = {
            name: filled(value) for name, value in SERVICES["program"]["environment"].items()
        }
        variables |= {
            "PG_HOST": primary.host,
            "PG_PORT": str(primary.port),
            "PG_REPLICA_HOSTS": f"{primary.host}:{port}",
        }
        wait_until(lambda: answers(variables, port))
        with PgClient.from_env(variables) as client:
            client.execute("CREATE TABLE t (i int)")
            client.execute("INSERT INTO t VALUES (1)")
            wait_until(lambda: client.query_scalar("SELECT inet_server_port() FROM t") == port)
    finally:
        process.terminate()
        process.wait(10)


def answers(variables: dict[str, str], port: int) -> bool:
    try:
        psycopg.connect(
            host=variables["PG_HOST"],
            port=port,
            user=variables["PG_USERNAME"],
            password=variables["PG_PASSWORD"],
            dbname=variables["PG_DATABASE"],
        ).close()
    except psycopg.OperationalError:
        return False
    return True
