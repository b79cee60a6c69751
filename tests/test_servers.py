"""Plain DuckDB reads from every test server and table, and is refused with wrong credentials."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from tests import tables
from tests.servers.iceberg_rest import Auth, IcebergRest
from tests.servers.postgres import Postgres, running_postgres
from tests.servers.proxy import Mode, Proxy
from tests.servers.s3 import S3

pytestmark = pytest.mark.servers

StartRest = Callable[..., IcebergRest]
PutProxy = Callable[[str, int], Proxy]

S3_SECRET = """CREATE OR REPLACE SECRET s (TYPE s3, KEY_ID ?, SECRET ?, REGION ?, ENDPOINT ?,
    URL_STYLE 'path', USE_SSL false)"""
TOKEN_SECRET = "CREATE OR REPLACE SECRET ics (TYPE iceberg, TOKEN ?)"
OAUTH2_SECRET = """CREATE OR REPLACE SECRET ics
    (TYPE iceberg, CLIENT_ID ?, CLIENT_SECRET ?, OAUTH2_SERVER_URI ?)"""
POSTGRES_SECRET = """CREATE OR REPLACE SECRET pg
    (TYPE postgres, HOST ?, PORT ?, DATABASE ?, USER ?, PASSWORD ?)"""


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """Return an instance of DuckDB for this test alone, one that does not retry."""
    # DuckDB 1.5.5 may send a catalog's token to the catalog that was detached
    # before it on the same connection.
    with duckdb.connect() as made:
        tables.load_extensions(made, "httpfs")
        made.execute("SET http_retries = 0")
        yield made


def count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    """Return the number of rows of a relation."""
    rows = connection.execute(f"SELECT count(*) FROM {relation}").fetchall()
    return int(rows[0][0])


def log_in(connection: duckdb.DuckDBPyConnection, s3: S3, secret: str | None = None) -> None:
    """Create the secret for `s3`, with a wrong key where `secret` gives one."""
    connection.execute(S3_SECRET, [s3.key_id, secret or s3.secret, s3.region, s3.endpoint])


@pytest.fixture(scope="module")
def bucket(s3: S3, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URI of a bucket with `orders of=1/a.parquet` and the Delta table `delta`."""
    bucket = s3.make_bucket("test-servers")
    file = tmp_path_factory.mktemp("parquet") / "a.parquet"
    tables.write_parquet(file)
    s3.put("test-servers", "orders of=1/a.parquet", file)
    tables.write_delta(f"{bucket}/delta", s3.delta_options)
    return bucket


@pytest.mark.parametrize("path", ["orders of=1/a.parquet", "orders*/*.parquet"])
def test_s3_parquet_is_read_and_counted(
    connection: duckdb.DuckDBPyConnection, s3: S3, bucket: str, path: str
) -> None:
    log_in(connection, s3)
    before = len(s3.requests)
    assert count(connection, f"'{bucket}/{path}'") == 2
    assert len(s3.requests) == before + 2  # HEAD or LIST, and the footer


@pytest.mark.parametrize("path", ["'{}/orders*/*.parquet'", "delta_scan('{}/delta')"])
def test_s3_refuses_a_wrong_secret(
    connection: duckdb.DuckDBPyConnection, s3: S3, bucket: str, path: str
) -> None:
    tables.load_extensions(connection, "delta")
    log_in(connection, s3, secret="wrong")
    with pytest.raises(duckdb.IOException, match="SignatureDoesNotMatch"):
        count(connection, path.format(bucket))


def test_s3_refuses_an_unknown_key(
    connection: duckdb.DuckDBPyConnection, s3: S3, bucket: str
) -> None:
    connection.execute(S3_SECRET, ["nobody", s3.secret, s3.region, s3.endpoint])
    with pytest.raises(duckdb.HTTPException, match="InvalidAccessKeyId"):
        count(connection, f"'{bucket}/orders*/*.parquet'")


def test_delta_on_s3_is_read(connection: duckdb.DuckDBPyConnection, s3: S3, bucket: str) -> None:
    tables.load_extensions(connection, "delta")
    log_in(connection, s3)
    assert count(connection, f"delta_scan('{bucket}/delta')") == 3


def test_delta_has_two_versions(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    delta = tables.write_delta(tmp_path / "delta")
    tables.load_extensions(connection, "delta")
    connection.execute(f"ATTACH '{delta.uri}' AS d (TYPE delta, READ_ONLY)")
    for version, rows in zip(delta.versions, delta.rows, strict=True):
        assert count(connection, f"d AT (VERSION => {version})") == rows


def test_iceberg_has_two_snapshots(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    table = tables.write_iceberg(tmp_path / "iceberg")
    tables.load_extensions(connection, "iceberg")
    last = table.metadata[-1]
    for snapshot, metadata, rows in zip(table.versions, table.metadata, table.rows, strict=True):
        assert count(connection, f"iceberg_scan('{metadata}')") == rows
        assert count(connection, f"iceberg_scan('{last}', snapshot_from_id = {snapshot})") == rows


def attach(connection: duckdb.DuckDBPyConnection, rest: IcebergRest) -> None:
    """Attach a catalog as `ic`, with the secret `ics` unless it wants none."""
    login = "AUTHORIZATION_TYPE 'none'" if rest.auth == "none" else "SECRET ics"
    connection.execute(
        f"ATTACH '{rest.warehouse}' AS ic"
        f" (TYPE iceberg, ENDPOINT '{rest.endpoint}', {login}, READ_ONLY)"
    )


def create_secret(connection: duckdb.DuckDBPyConnection, rest: IcebergRest, secret: str) -> None:
    """Create the secret `ics` with a token or client secret, whichever the catalog wants."""
    if rest.auth == "bearer":
        connection.execute(TOKEN_SECRET, [secret])
    elif rest.auth == "oauth2":
        connection.execute(OAUTH2_SECRET, [rest.client_id, secret, rest.token_uri])


@pytest.mark.parametrize("auth", ["none", "bearer", "oauth2"])
def test_a_rest_catalog_is_read_at_both_snapshots(
    connection: duckdb.DuckDBPyConnection, iceberg_rest: StartRest, auth: Auth
) -> None:
    rest = iceberg_rest(auth)
    table = tables.write_iceberg_table(rest.catalog, "sales.orders")
    tables.load_extensions(connection, "iceberg")
    create_secret(connection, rest, rest.client_secret if auth == "oauth2" else rest.token)
    attach(connection, rest)
    for snapshot, rows in zip(table.versions, table.rows, strict=True):
        assert count(connection, f"ic.sales.orders AT (VERSION => {snapshot})") == rows
    assert connection.execute("SHOW ALL TABLES").fetchall()[0][:3] == ("ic", "sales", "orders")


@pytest.mark.parametrize("auth", ["bearer", "oauth2"])
def test_a_rest_catalog_refuses_a_wrong_secret(
    connection: duckdb.DuckDBPyConnection, iceberg_rest: StartRest, auth: Auth
) -> None:
    rest = iceberg_rest(auth)
    tables.load_extensions(connection, "iceberg")
    with pytest.raises(duckdb.Error, match="Unauthorized_401"):  # noqa: PT012, oauth2 fails earlier
        create_secret(connection, rest, "wrong")
        attach(connection, rest)


def test_a_rest_catalog_knows_its_warehouse_only(
    connection: duckdb.DuckDBPyConnection, iceberg_rest: StartRest
) -> None:
    rest = iceberg_rest()
    tables.load_extensions(connection, "iceberg")
    with pytest.raises(duckdb.Error, match="NotFound_404"):
        connection.execute(
            f"ATTACH 'other' AS ic (TYPE iceberg, ENDPOINT '{rest.endpoint}',"
            " AUTHORIZATION_TYPE 'none', READ_ONLY)"
        )


def test_vended_credentials_read_s3_without_a_secret(
    connection: duckdb.DuckDBPyConnection, iceberg_rest: StartRest, s3: S3
) -> None:
    rest = iceberg_rest("bearer", s3=s3, vend=True)
    tables.write_iceberg_table(rest.catalog, "sales.orders")
    tables.load_extensions(connection, "iceberg")
    create_secret(connection, rest, rest.token)
    attach(connection, rest)
    assert connection.execute("FROM ic.sales.orders ORDER BY id").fetchall()[-1] == (3, "cid", 30.0)


def test_without_vending_the_client_brings_its_own_secret(
    connection: duckdb.DuckDBPyConnection, iceberg_rest: StartRest, s3: S3
) -> None:
    rest = iceberg_rest("bearer", s3=s3)
    tables.write_iceberg_table(rest.catalog, "sales.orders")
    tables.load_extensions(connection, "iceberg")
    create_secret(connection, rest, rest.token)
    attach(connection, rest)
    log_in(connection, s3, secret="wrong")
    with pytest.raises(duckdb.HTTPException, match="403"):
        connection.execute("FROM ic.sales.orders").fetchall()
    log_in(connection, s3)
    assert len(connection.execute("FROM ic.sales.orders").fetchall()) == 3


@pytest.fixture(scope="module")
def warehouse(postgres: Postgres) -> Postgres:
    """Return the server with the database `dw` of the role ann, and `orders` in it."""
    postgres.create_role("ann", "p'w \\1")
    postgres.create_database("dw", "ann")
    with postgres.connect("dw", "ann", "p'w \\1") as session:
        session.execute("CREATE TABLE orders AS SELECT generate_series(1, 5) AS id")
    return postgres


def attach_postgres(
    connection: duckdb.DuckDBPyConnection, server: Postgres, port: int, password: str
) -> None:
    """Attach `dw` as `dw` through `port`."""
    tables.load_extensions(connection, "postgres_scanner")
    connection.execute(POSTGRES_SECRET, [server.host, port, "dw", "ann", password])
    connection.execute("ATTACH 'connect_timeout=2' AS dw (TYPE postgres, SECRET pg, READ_ONLY)")


def test_postgres_is_read(connection: duckdb.DuckDBPyConnection, warehouse: Postgres) -> None:
    attach_postgres(connection, warehouse, warehouse.port, "p'w \\1")
    assert count(connection, "dw.orders") == 5


def test_postgres_refuses_a_wrong_password(
    connection: duckdb.DuckDBPyConnection, warehouse: Postgres
) -> None:
    with pytest.raises(duckdb.IOException, match='authentication failed for user "ann"'):
        attach_postgres(connection, warehouse, warehouse.port, "wrong")


def test_postgres_comes_back_after_a_crash_and_a_stop() -> None:
    import psycopg

    with running_postgres() as server:
        server.run("CREATE TABLE kept AS SELECT 1 AS id")
        for end in (server.crash, server.stop):
            end()
            with pytest.raises(psycopg.OperationalError):
                server.connect()
            server.start()
            with server.connect() as session:
                assert session.execute("SELECT id FROM kept").fetchall() == [(1,)]


def test_a_proxy_passes_and_delays(
    connection: duckdb.DuckDBPyConnection, s3: S3, bucket: str, proxy: PutProxy
) -> None:
    link = proxy(*_address(s3.endpoint))
    key = [s3.key_id, s3.secret, s3.region, f"{link.host}:{link.port}"]
    connection.execute(S3_SECRET, key)
    assert count(connection, f"'{bucket}/orders*/*.parquet'") == 2
    link.behave("pass", latency_ms=100)
    started = time.monotonic()
    assert count(connection, f"'{bucket}/orders*/*.parquet'") == 2
    assert time.monotonic() - started > 0.1
    assert link.connections > 0


@pytest.mark.parametrize(
    ("mode", "cut_after_bytes"),
    [("refuse", None), ("reset", None), ("black hole", None), ("pass", 20)],
    ids=["refuse", "reset", "black hole", "cut"],
)
def test_a_broken_link_fails_and_mends(
    connection: duckdb.DuckDBPyConnection,
    s3: S3,
    bucket: str,
    proxy: PutProxy,
    mode: Mode,
    cut_after_bytes: int | None,
) -> None:
    link = proxy(*_address(s3.endpoint))
    connection.execute("SET http_timeout = 1")
    key = [s3.key_id, s3.secret, s3.region, f"{link.host}:{link.port}"]
    connection.execute(S3_SECRET, key)
    link.behave(mode, cut_after_bytes=cut_after_bytes)
    with pytest.raises(duckdb.IOException):
        count(connection, f"'{bucket}/orders*/*.parquet'")
    link.behave("pass")
    assert count(connection, f"'{bucket}/orders*/*.parquet'") == 2


def test_a_cut_ends_an_open_postgres_connection(warehouse: Postgres, proxy: PutProxy) -> None:
    import psycopg

    link = proxy(warehouse.host, warehouse.port)
    with psycopg.connect(
        host=link.host,
        port=link.port,
        dbname="dw",
        user="ann",
        password="p'w \\1",
        sslmode="disable",
    ) as session:
        link.behave("pass", cut_after_bytes=100_000)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT repeat('x', 1000) FROM generate_series(1, 1000)")


def _address(endpoint: str) -> tuple[str, int]:
    host, _, port = endpoint.partition(":")
    return host, int(port)


def test_sqlite_is_read(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    rows = tables.write_sqlite(tmp_path / "legacy.db")
    tables.load_extensions(connection, "sqlite_scanner")
    connection.execute(f"ATTACH '{tmp_path / 'legacy.db'}' AS l (TYPE sqlite, READ_ONLY)")
    assert count(connection, "l.orders") == rows


def test_duckdb_is_read_in_both_schemas(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    written = tables.write_duckdb(tmp_path / "ref.duckdb")
    connection.execute(f"ATTACH '{tmp_path / 'ref.duckdb'}' AS ref (READ_ONLY)")
    assert {name: count(connection, f"ref.{name}") for name in written} == written


def test_ducklake_has_two_snapshots(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    lake = tables.write_ducklake(tmp_path / "lake")
    tables.load_extensions(connection, "ducklake")
    connection.execute(f"ATTACH 'ducklake:{lake.uri}' AS lake (READ_ONLY)")
    for snapshot, rows in zip(lake.versions, lake.rows, strict=True):
        assert count(connection, f"lake.orders AT (VERSION => {snapshot})") == rows


def test_hive_partitions_are_folders(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    rows = tables.write_hive_parquet(tmp_path / "orders", tables.ORDERS, "name")
    assert {file.parent.name for file in tmp_path.rglob("*.parquet")} == {"name=ann", "name=bob"}
    assert count(connection, f"read_parquet('{tmp_path}/orders/*/*.parquet')") == rows
