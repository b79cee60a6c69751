"""Writers of small real tables, in every format that a catalog can read."""

import importlib.util
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

# deltalake, pyarrow and pyiceberg are imported where they are used: together
# they take two seconds, and most tests need none of them.

ORDERS = "FROM (VALUES (1, 'ann', 10.5::DOUBLE), (2, 'bob', 20)) t(id, name, amount)"
MORE_ORDERS = "FROM (VALUES (3, 'cid', 30::DOUBLE)) t(id, name, amount)"

NEEDED_FIRST = {
    "iceberg": ("avro", "httpfs"),
    "delta": ("httpfs",),
    "ducklake": ("httpfs",),
}


@dataclass(frozen=True)
class Versions:
    """A table with two versions: the first has the rows of ORDERS, the second all three."""

    uri: str  # what DuckDB is to read
    versions: tuple[int, int]  # Delta versions or snapshot ids, the earlier one first
    rows: tuple[int, int] = (2, 3)


@dataclass(frozen=True)
class IcebergTable(Versions):
    """An Iceberg table; `uri` is its folder."""

    metadata: tuple[str, str] = ("", "")  # the metadata file after each version
    times: tuple[str, str] = ("", "")  # when each was written, UTC


def load_extensions(connection: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Load extensions from their PyPI packages, each after what it needs; no network."""
    version = connection.execute("SELECT version()").fetchall()[0][0]
    for name in names:
        for each in (*NEEDED_FIRST.get(name, ()), name):
            spec = importlib.util.find_spec(f"duckdb_extension_{each}")
            assert spec, f"the package duckdb-extension-{each} is not installed"
            assert spec.submodule_search_locations
            package = Path(spec.submodule_search_locations[0])
            file = package / "extensions" / version / f"{each}.duckdb_extension"
            connection.load_extension(str(file))


def install_extensions(home: Path, *names: str) -> None:
    """Put extensions where INSTALL looks for them in a home folder, so that it asks no network."""
    with duckdb.connect() as connection:
        ((platform,),) = connection.execute("PRAGMA platform").fetchall()
    version = f"v{duckdb.__version__}"
    folder = home / ".duckdb" / "extensions" / version / platform
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        spec = importlib.util.find_spec(f"duckdb_extension_{name}")
        assert spec, f"the package duckdb-extension-{name} is not installed"
        assert spec.origin
        file = f"{name}.duckdb_extension"
        if not (folder / file).exists():
            (folder / file).symlink_to(Path(spec.origin).parent / "extensions" / version / file)


def write_parquet(path: Path, rows_sql: str = ORDERS) -> int:
    """Write the rows of a query to a Parquet file and return their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        relation = connection.sql(rows_sql)
        relation.write_parquet(str(path))
        return len(relation)


def write_hive_parquet(folder: Path, rows_sql: str, partition_by: str) -> int:
    """Write `folder`/`column`=`value`/*.parquet and return the number of rows."""
    with duckdb.connect() as connection:
        relation = connection.sql(rows_sql)
        relation.write_parquet(str(folder), partition_by=[partition_by])
        return len(relation)


def write_delta(uri: str | Path, storage_options: dict[str, str] | None = None) -> Versions:
    """Write a Delta table, to a folder or an object store, and append to it once."""
    from deltalake import write_deltalake

    with duckdb.connect() as connection:
        for rows_sql in (ORDERS, MORE_ORDERS):
            rows = connection.sql(rows_sql).to_arrow_table()
            write_deltalake(str(uri), rows, mode="append", storage_options=storage_options)
    return Versions(str(uri), (0, 1))


def write_iceberg(folder: Path) -> IcebergTable:
    """Write the Iceberg table sales.orders below `folder`, through a catalog of its own."""
    from pyiceberg.catalog.sql import SqlCatalog

    folder.mkdir(parents=True, exist_ok=True)
    uri = f"sqlite:///{folder}/catalog.db"
    with closing(SqlCatalog("writer", uri=uri, warehouse=folder.as_uri())) as catalog:
        return write_iceberg_table(catalog, "sales.orders")


def write_iceberg_more(folder: Path) -> None:
    """Append to the table that `write_iceberg` wrote."""
    from pyiceberg.catalog.sql import SqlCatalog

    uri = f"sqlite:///{folder}/catalog.db"
    with (
        closing(SqlCatalog("writer", uri=uri, warehouse=folder.as_uri())) as catalog,
        duckdb.connect() as connection,
    ):
        rows = connection.sql(MORE_ORDERS).to_arrow_table()
        catalog.load_table("sales.orders").append(rows)


def write_iceberg_table(catalog: "Catalog", name: str) -> IcebergTable:
    """Create the table `namespace.name` in a pyiceberg catalog and append to it twice."""
    catalog.create_namespace_if_not_exists(tuple(name.split(".")[:-1]))
    metadata = []
    with duckdb.connect() as connection:
        batches = [connection.sql(sql).to_arrow_table() for sql in (ORDERS, MORE_ORDERS)]
    table = catalog.create_table(name, batches[0].schema)
    for batch in batches:
        table.append(batch)
        metadata.append(table.metadata_location.removeprefix("file://"))
    first, second = table.snapshots()
    return IcebergTable(
        table.location().removeprefix("file://"),
        (first.snapshot_id, second.snapshot_id),
        metadata=(metadata[0], metadata[1]),
        times=(_utc(first.timestamp_ms), _utc(second.timestamp_ms)),
    )


def _utc(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def write_sqlite(path: Path, table: str = "orders", rows_sql: str = ORDERS) -> int:
    """Write the rows of a query to a table of a SQLite file and return their number."""
    with duckdb.connect() as connection:
        relation = connection.sql(rows_sql)
        columns = zip(relation.columns, relation.types, strict=True)
        declared = ", ".join(f'"{name}" {kind}' for name, kind in columns)
        marks = ", ".join("?" * len(relation.columns))
        rows = relation.fetchall()
    with closing(sqlite3.connect(path)) as database:
        database.execute(f'CREATE TABLE "{table}" ({declared})')
        database.executemany(f'INSERT INTO "{table}" VALUES ({marks})', rows)
        database.commit()
    return len(rows)


def write_duckdb(path: Path) -> dict[str, int]:
    """Write main.orders and public.customers to a DuckDB file; return the rows of each."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE TABLE orders AS {ORDERS}")
        connection.execute("CREATE SCHEMA public")
        connection.execute(f"CREATE TABLE public.customers AS {MORE_ORDERS}")
    return {"main.orders": 2, "public.customers": 1}


def write_ducklake(folder: Path) -> Versions:
    """Write a DuckLake with the table orders, `uri` being its metadata file."""
    folder.mkdir(parents=True, exist_ok=True)
    metadata = folder / "meta.ducklake"
    with duckdb.connect() as connection:
        load_extensions(connection, "ducklake")
        connection.execute(f"ATTACH 'ducklake:{metadata}' AS lake (DATA_PATH '{folder}/files')")
        snapshots = []
        for start, rows_sql in (("CREATE TABLE", f"AS {ORDERS}"), ("INSERT INTO", MORE_ORDERS)):
            connection.execute(f"{start} lake.orders {rows_sql}")
            rows = connection.execute("SELECT max(snapshot_id) FROM lake.snapshots()").fetchall()
            snapshots.append(int(rows[0][0]))
    return Versions(str(metadata), (snapshots[0], snapshots[1]))
