"""Pinned views over real servers and tables: what is asked of them, and what is read later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

import duckalog
from tests import tables
from tests.conftest import WriteConfig
from tests.servers.iceberg_rest import IcebergRest
from tests.servers.s3 import S3

pytestmark = pytest.mark.servers

Build = Callable[..., Path]


@pytest.fixture
def build(write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Return a function that writes a config, builds it, and returns its path."""

    def built(text: str, **environment: str) -> Path:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        config = write_config("version: 1\nduckdb:\n  database: catalog.duckdb\n" + text)
        duckalog.build(config)
        return config

    return built


def s3_secret(s3: S3) -> str:
    return f"""
  secrets:
    - {{type: s3, key_id: "${{env:KEY_ID}}", secret: "${{env:SECRET_KEY}}", region: {s3.region},
       endpoint: "{s3.endpoint}", url_style: path, use_ssl: false}}
"""


def counted(config: Path, view: str) -> int:
    with duckalog.connect(config) as connection:
        ((rows,),) = connection.execute(f"SELECT count(*) FROM {view}").fetchall()
    return int(rows)


class Bucket:
    """Eight Parquet files of two kinds in four partitions of a bucket."""

    def __init__(self, s3: S3, folder: Path, name: str) -> None:
        self.s3, self.folder, self.name = s3, folder, name
        self.uri = f"{s3.make_bucket(name)}/*/*.parquet"
        for number in range(8):
            self.add(f"y={number % 4}/{number}", f"SELECT {number} id" + ", 1.5 x" * (number % 2))

    def add(self, name: str, query: str) -> None:
        file = self.folder / "one.parquet"
        duckdb.sql(query).write_parquet(str(file))
        self.s3.put(self.name, f"{name}.parquet", file)

    def asked(self, ask: Callable[[], object]) -> list[str]:
        """Return the kinds of the requests that are made meanwhile: LIST, HEAD or GET."""
        before = len(self.s3.requests)
        ask()
        return sorted(
            "LIST" if "list-type" in request else request.split()[0]
            for request in self.s3.requests[before:]
        )


@pytest.fixture
def bucket(s3: S3, tmp_path: Path, request: pytest.FixtureRequest) -> Bucket:
    name = request.node.name.replace("_", "-").partition("[")[0][:60]
    return Bucket(s3, tmp_path, name)


class TestS3:
    @pytest.fixture
    def config(self, s3: S3, bucket: Bucket, build: Build) -> Path:
        return build(
            f"""{s3_secret(s3)}
views:
  - name: events
    source: parquet
    uri: "{bucket.uri}"
    options: {{union_by_name: true, hive_partitioning: true}}
    pin: true
""",
            KEY_ID=s3.key_id,
            SECRET_KEY=s3.secret,
        )

    def test_a_first_row_opens_one_file_and_lists_nothing(
        self, bucket: Bucket, config: Path
    ) -> None:
        with duckalog.connect(config) as connection:
            connection.execute("SET threads = 1")
            asked = bucket.asked(connection.execute("DESCRIBE events").fetchall)
            assert asked == []
            asked = bucket.asked(lambda: connection.execute("FROM events LIMIT 1").fetchall())
            assert asked == ["GET", "HEAD"]

    def test_a_partition_opens_its_own_files(self, bucket: Bucket, config: Path) -> None:
        query = "SELECT sum(id) FROM events WHERE y = 3"
        with duckalog.connect(config) as connection:
            asked = bucket.asked(lambda: connection.execute(query).fetchall())
            assert asked == ["GET"] * 2 + ["HEAD"] * 2
            assert connection.execute(query).fetchall() == [(10,)]

    def test_a_listing_tells_sizes_to_a_session_that_remembers_them(
        self, bucket: Bucket, config: Path
    ) -> None:
        query = "SELECT sum(id) FROM events"
        with duckalog.connect(config) as connection:
            connection.execute("SET GLOBAL enable_http_metadata_cache = true")
            connection.execute("SELECT size FROM read_blob($1)", [bucket.uri]).fetchall()
            asked = bucket.asked(lambda: connection.execute(query).fetchall())
            assert asked == ["GET"] * 8

    def test_a_build_reads_each_footer_once(self, bucket: Bucket, config: Path) -> None:
        asked = bucket.asked(lambda: duckalog.build(config, refresh=True))
        assert asked == ["GET"] * 8 + ["LIST"] * 2

    def test_a_rebuild_opens_new_files_and_one_of_each_kind(
        self, bucket: Bucket, config: Path
    ) -> None:
        bucket.add("y=9/9", "SELECT 9 id, 'z' z")
        asked = bucket.asked(lambda: duckalog.build(config))
        assert asked == ["GET"] * 3 + ["HEAD"] * 3 + ["LIST"]
        assert counted(config, "events") == 9

    def test_a_rebuild_lists_once_and_a_plan_tells_what_came(
        self, bucket: Bucket, config: Path
    ) -> None:
        assert bucket.asked(lambda: duckalog.build(config)) == ["LIST"]
        bucket.add("y=9/9", "SELECT 9 id")
        (change,) = duckalog.diff(config).changes
        assert change.files.added == (f"s3://{bucket.name}/y=9/9.parquet",)
        assert counted(config, "events") == 8
        duckalog.build(config)
        assert counted(config, "events") == 9
        assert duckalog.diff(config).is_empty

    def test_a_file_that_comes_while_files_are_read_is_left_out(
        self, bucket: Bucket, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from duckalog.engine import pin_files

        listed = pin_files._remote

        def remote(*arguments: object) -> object:
            files = listed(*arguments)  # type: ignore[arg-type]
            bucket.add(f"y=9/{len(files)}", "SELECT 9 id, 'x' later")
            return files

        monkeypatch.setattr(pin_files, "_remote", remote)
        duckalog.build(config, refresh=True)
        assert counted(config, "events") == 8
        with duckalog.connect(config) as connection:
            columns = [row[0] for row in connection.execute("DESCRIBE events").fetchall()]
        assert columns == ["id", "x", "y"]

    def test_a_refusal_is_told_without_the_secret(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET_KEY", "wrong-canary-key")
        with pytest.raises(duckalog.EngineError) as caught:
            duckalog.build(config)
        for problems in (caught.value.problems, duckalog.diff(config).failures):
            (problem,) = problems
            assert problem.name == "events"
            assert "403" in problem.cause
            assert "wrong-canary-key" not in str(problem)


def test_csv_and_json_on_s3_are_read_as_they_were(s3: S3, build: Build) -> None:
    s3.make_bucket("pinned-texts")
    s3.put("pinned-texts", "a.csv", b"id,name\n1,ann\n")
    s3.put("pinned-texts", "b.csv", b"name;id\nbob;2.5\n")
    s3.put("pinned-texts", "a.json", b'{"id": 1}\n')
    s3.put("pinned-texts", "b.json", b'{"name": "bob"}\n')
    options = "options: {union_by_name: true}, pin: true"
    config = build(
        f"""{s3_secret(s3)}
views:
  - {{name: rows, source: csv, uri: "s3://pinned-texts/*.csv", {options}}}
  - {{name: documents, source: json, uri: "s3://pinned-texts/*.json", {options}}}
""",
        KEY_ID=s3.key_id,
        SECRET_KEY=s3.secret,
    )
    s3.put("pinned-texts", "c.csv", b"id\n3\n")
    s3.put("pinned-texts", "c.json", b'{"id": 3}\n')
    with duckalog.connect(config) as connection:
        rows = connection.execute("FROM rows ORDER BY id").fetchall()
        assert rows == [(1.0, "ann"), (2.5, "bob")]
        rows = connection.execute("FROM documents ORDER BY id").fetchall()
        assert rows == [(1, None), (None, "bob")]


def append_to_delta(uri: str) -> None:
    from deltalake import write_deltalake

    with duckdb.connect() as connection:
        rows = connection.sql(tables.MORE_ORDERS).to_arrow_table()
        write_deltalake(uri, rows, mode="append")


class TestDelta:
    def test_a_table_is_read_at_the_version_of_the_build(
        self, tmp_path: Path, build: Build
    ) -> None:
        table = tables.write_delta(tmp_path / "orders")
        config = build("views: [{name: orders, source: delta, uri: orders, pin: true}]")
        append_to_delta(table.uri)
        assert counted(config, "orders") == 3
        (change,) = duckalog.diff(config).changes
        assert change.reason == "its source changed"
        duckalog.build(config)
        assert counted(config, "orders") == 4
        assert duckalog.diff(config).is_empty

    def test_a_checkpoint_alone_tells_the_version(self, tmp_path: Path, build: Build) -> None:
        from deltalake import DeltaTable

        table = tables.write_delta(tmp_path / "orders")
        DeltaTable(table.uri).create_checkpoint()
        for commit in (tmp_path / "orders" / "_delta_log").glob("*.json"):
            commit.unlink()
        config = build("views: [{name: orders, source: delta, uri: orders, pin: true}]")
        assert counted(config, "orders") == 3

    def test_a_folder_without_a_log_is_no_table(self, tmp_path: Path, build: Build) -> None:
        (tmp_path / "orders").mkdir()
        with pytest.raises(duckalog.EngineError, match="not a Delta table: it has no log"):
            build("views: [{name: orders, source: delta, uri: orders, pin: true}]")


def test_an_iceberg_folder_is_read_at_the_snapshot_of_the_build(
    tmp_path: Path, build: Build
) -> None:
    table = tables.write_iceberg(tmp_path / "warehouse")
    config = build(f"""  settings: {{unsafe_enable_version_guessing: true}}
views:
  - {{name: orders, source: iceberg, uri: "{table.uri}", pin: true}}
  - {{name: earlier, source: iceberg, uri: "{table.metadata[0]}", pin: true}}
""")
    assert counted(config, "orders") == 3
    assert counted(config, "earlier") == 2
    tables.write_iceberg_more(tmp_path / "warehouse")
    assert counted(config, "orders") == 3
    reasons = [change.reason for change in duckalog.diff(config).changes]
    assert reasons == ["its source changed", ""]
    duckalog.build(config)
    assert counted(config, "orders") == 4


def test_a_catalogs_table_is_read_at_its_snapshot_also_after_a_rollback(
    iceberg_rest: Callable[..., IcebergRest], build: Build
) -> None:
    rest = iceberg_rest("bearer")
    table = tables.write_iceberg_table(rest.catalog, "analytics.orders")
    config = build(
        f"""
iceberg_catalogs:
  - name: ice
    catalog_type: rest
    uri: {rest.endpoint}
    warehouse: {rest.warehouse}
    options: {{token: "${{env:ICEBERG_TOKEN}}"}}
views: [{{name: orders, source: iceberg, catalog: ice, table: analytics.orders, pin: true}}]
""",
        ICEBERG_TOKEN=rest.token,
    )
    written = rest.catalog.load_table("analytics.orders")
    written.manage_snapshots().rollback_to_snapshot(table.versions[0]).commit()
    assert counted(config, "orders") == 3
    (change,) = duckalog.diff(config).changes
    assert change.reason == "its source changed"
    duckalog.build(config)
    assert counted(config, "orders") == 2
    assert duckalog.diff(config).is_empty


def test_a_table_without_snapshots_is_told(
    iceberg_rest: Callable[..., IcebergRest], build: Build
) -> None:
    rest = iceberg_rest("none")
    rest.catalog.create_namespace_if_not_exists("analytics")
    with duckdb.connect() as connection:
        schema = connection.sql(tables.ORDERS).to_arrow_table().schema
    rest.catalog.create_table("analytics.empty", schema)
    with pytest.raises(duckalog.EngineError, match="the table has no snapshot yet"):
        build(f"""
iceberg_catalogs:
  - {{name: ice, catalog_type: rest, uri: "{rest.endpoint}", warehouse: "{rest.warehouse}"}}
views: [{{name: orders, source: iceberg, catalog: ice, table: analytics.empty, pin: true}}]
""")
