"""Every kind of source against the real thing: built, closed, and queried from a new process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import duckalog
from duckalog.engine import session
from tests import tables
from tests.conftest import WriteConfig
from tests.servers.iceberg_rest import IcebergRest
from tests.servers.postgres import Postgres
from tests.servers.proxy import Proxy
from tests.servers.s3 import S3

pytestmark = pytest.mark.servers

Query = Callable[..., list[Any]]
Build = Callable[..., Path]

ORDERS = [[1, "ann", 10.5], [2, "bob", 20.0]]
ALL_ORDERS = [*ORDERS, [3, "cid", 30.0]]
READ = "SELECT id, name, amount FROM {} ORDER BY id"


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
    - type: s3
      key_id: ${{env:KEY_ID}}
      secret: ${{env:SECRET_KEY}}
      region: {s3.region}
      endpoint: {s3.endpoint}
      url_style: path
      use_ssl: false
"""


class TestS3:
    @pytest.mark.parametrize(("kind", "scheme"), [("gcs", "gs"), ("r2", "r2")])
    def test_google_cloud_storage_and_r2_are_read_by_the_same_protocol(
        self,
        s3: S3,
        tmp_path: Path,
        build: Build,
        query_in_new_process: Query,
        kind: str,
        scheme: str,
    ) -> None:
        tables.write_parquet(tmp_path / "orders.parquet")
        s3.make_bucket(f"{kind}-orders")
        s3.put(f"{kind}-orders", "orders/a.parquet", tmp_path / "orders.parquet")
        config = build(
            s3_secret(s3).replace("type: s3", f"type: {kind}")
            + f"views: [{{name: o, source: parquet, uri: '{scheme}://{kind}-orders/orders/*.parquet'}}]",
            KEY_ID=s3.key_id,
            SECRET_KEY=s3.secret,
        )
        assert query_in_new_process(config, READ.format("o")) == ORDERS

    def test_parquet_is_read_with_a_secret(
        self, s3: S3, tmp_path: Path, build: Build, query_in_new_process: Query
    ) -> None:
        tables.write_parquet(tmp_path / "orders.parquet")
        s3.make_bucket("plain")
        s3.put("plain", "orders/a.parquet", tmp_path / "orders.parquet")
        config = build(
            s3_secret(s3)
            + "views: [{name: orders, source: parquet, uri: 's3://plain/orders/*.parquet'}]",
            KEY_ID=s3.key_id,
            SECRET_KEY=s3.secret,
        )
        assert query_in_new_process(config, READ.format("orders")) == ORDERS

    def test_parquet_is_read_with_the_pragmas_of_the_requirements(
        self, s3: S3, tmp_path: Path, build: Build, query_in_new_process: Query
    ) -> None:
        tables.write_parquet(tmp_path / "orders.parquet")
        s3.make_bucket("pragmas")
        s3.put("pragmas", "year=2026/a.parquet", tmp_path / "orders.parquet")
        config = build(
            f"""
  load_extensions: [httpfs]
  pragmas:
    - "SET s3_region='{s3.region}'"
    - "SET s3_endpoint='{s3.endpoint}'"
    - "SET s3_url_style='path'"
    - "SET s3_use_ssl=false"
    - "SET s3_access_key_id='${{env:AWS_ACCESS_KEY_ID}}'"
    - "SET s3_secret_access_key='${{env:AWS_SECRET_ACCESS_KEY}}'"
views:
  - name: orders
    source: parquet
    uri: "s3://pragmas/**/*.parquet"
    options: {{hive_partitioning: true, union_by_name: true}}
""",
            AWS_ACCESS_KEY_ID=s3.key_id,
            AWS_SECRET_ACCESS_KEY=s3.secret,
        )
        assert query_in_new_process(config, READ.format("orders")) == ORDERS
        assert query_in_new_process(config, "SELECT DISTINCT year FROM orders") == [[2026]]

    def test_csv_json_and_lists_of_files_are_read(
        self, s3: S3, build: Build, query_in_new_process: Query
    ) -> None:
        s3.make_bucket("texts")
        first = s3.put("texts", "a.csv", b"id,name\n1,ann\n")
        second = s3.put("texts", "b.csv", b"id,name\n2,bob\n")
        s3.put("texts", "c.json", b'{"id": 3, "name": "cid"}\n')
        config = build(
            s3_secret(s3)
            + f"""
views:
  - {{name: people, source: csv, uri: ["{first}", "{second}"], options: {{header: true}}}}
  - {{name: others, source: json, uri: "s3://texts/c.json"}}
""",
            KEY_ID=s3.key_id,
            SECRET_KEY=s3.secret,
        )
        both = "SELECT * FROM people UNION ALL SELECT * FROM others ORDER BY id"
        assert query_in_new_process(config, both) == [[1, "ann"], [2, "bob"], [3, "cid"]]

    def test_views_that_read_a_remote_view_do_not_ask_its_source_again(
        self, s3: S3, tmp_path: Path, build: Build
    ) -> None:
        tables.write_parquet(tmp_path / "orders.parquet")
        s3.make_bucket("asked-once")
        s3.put("asked-once", "orders/a.parquet", tmp_path / "orders.parquet")
        s3.put("asked-once", "one.parquet", tmp_path / "orders.parquet")
        sources = (
            s3_secret(s3)
            + """
views:
  - {name: orders, source: parquet, uri: "s3://asked-once/orders/*.parquet", columns: {id: number}}
  - {name: one, sql: "SELECT id, name FROM read_parquet('s3://asked-once/one.parquet')"}
"""
        )
        readers = (
            sources
            + """
  - {name: names, sql: SELECT name FROM orders}
  - {name: both, schema: mart, sql: "SELECT * FROM main.orders JOIN main.one USING (id, name)"}
  - {name: chain, sql: SELECT * FROM mart.both}
"""
        )

        def requests_of(text: str) -> int:
            before = len(s3.requests)
            build(text, KEY_ID=s3.key_id, SECRET_KEY=s3.secret)
            return len(s3.requests) - before

        alone = requests_of(sources)
        (tmp_path / "catalog.duckdb").unlink()
        assert requests_of(readers) == alone
        with duckalog.connect(tmp_path / "catalog.yaml") as connection:
            assert connection.execute("SELECT count(*) FROM chain").fetchall() == [(2,)]
            kinds = [row[:2] for row in connection.execute("DESCRIBE mart.both").fetchall()]
            comments = connection.execute(
                "SELECT comment FROM duckdb_columns() WHERE table_name = 'orders'"
            ).fetchall()
        assert kinds == [("id", "INTEGER"), ("name", "VARCHAR"), ("amount", "DOUBLE")]
        assert ("number",) in comments
        (tmp_path / "catalog.duckdb").unlink()
        before = len(s3.requests)
        with pytest.raises(duckalog.EngineError, match="not_there"):
            build(readers + "  - {name: bad, sql: SELECT not_there FROM orders}")
        assert len(s3.requests) == before + alone

    def test_raw_sql_over_several_files_asks_nothing_while_its_view_is_made(
        self, s3: S3, tmp_path: Path, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tables.write_parquet(tmp_path / "orders.parquet")
        tables.write_parquet(tmp_path / "labels.parquet", "SELECT 2 AS id, 'new' AS label")
        s3.make_bucket("several")
        for key in ("orders/a.parquet", "orders/b.parquet", "one.parquet"):
            s3.put("several", key, tmp_path / "orders.parquet")
        s3.put("several", "labels/a.parquet", tmp_path / "labels.parquet")
        (tmp_path / "labels.csv").write_text("id,text\n2,two\n")
        s3.put("several", "labels.csv", tmp_path / "labels.csv")
        orders, labels = "s3://several/orders/*.parquet", "s3://several/labels/*.parquet"
        queries = {
            "joined": f"SELECT name, label FROM read_parquet('{orders}') o JOIN read_parquet("
            f"['{labels}'], union_by_name = true) l USING (id)",
            "same": f"FROM read_parquet('{orders}') UNION ALL FROM read_parquet('{orders}')",
            "by_name": f"SELECT id, label FROM '{orders}' JOIN '{labels}' USING (id)",
            "mixed": f"SELECT * FROM '{orders}' NATURAL JOIN read_csv('s3://several/labels.csv')"
            f" SEMI JOIN read_parquet('{labels}') USING (id), range(2) r(n)",
        }
        views = "".join(f'  - {{name: {name}, sql: "{sql}"}}\n' for name, sql in queries.items())
        config = write_config(f"version: 1\nduckdb:\n{s3_secret(s3)}views:\n{views}")
        monkeypatch.setenv("KEY_ID", s3.key_id)
        monkeypatch.setenv("SECRET_KEY", s3.secret)
        asked: list[int] = []

        def progress(stage: str, *_: int) -> None:
            if stage == "apply":
                asked.append(len(s3.requests))

        duckalog.build(config, tmp_path / "catalog.duckdb", progress=progress)
        assert asked[0] == len(s3.requests)
        with duckalog.connect(config, db_path=tmp_path / "catalog.duckdb") as connection:
            stored = connection.execute(
                "SELECT table_name, list(column_name ORDER BY column_index), list(data_type"
                " ORDER BY column_index) FROM duckdb_columns() GROUP BY ALL"
            ).fetchall()
            kinds = {name: (names, types) for name, names, types in stored}
            for name, sql in queries.items():
                described = connection.execute(f"DESCRIBE {sql}").fetchall()
                names, types = ([row[index] for row in described] for index in (0, 1))
                assert kinds[name] == (names, types)
                rows = connection.execute(f"FROM {name} ORDER BY ALL").fetchall()
                assert rows
                assert rows == connection.execute(f"FROM ({sql}) ORDER BY ALL").fetchall()

    def test_raw_sql_finds_its_own_schema_and_the_names_of_files(
        self, s3: S3, tmp_path: Path, build: Build
    ) -> None:
        import duckdb

        tables.write_parquet(tmp_path / "orders.parquet")
        s3.make_bucket("own-schema")
        s3.put("own-schema", "one.parquet", tmp_path / "orders.parquet")
        with duckdb.connect(tmp_path / "catalog.duckdb") as connection:
            connection.execute("CREATE SCHEMA mart")
            connection.execute("CREATE TABLE mart.wanted AS SELECT 2 AS id, 'new' AS label")
            connection.execute("CREATE TABLE main.wanted AS SELECT 'two' AS id, 1 AS other")
        config = build(
            s3_secret(s3)
            + """
views:
  - name: few
    schema: mart
    sql: SELECT * FROM 's3://own-schema/one.parquet' JOIN wanted USING (id)
  - {name: labels, sql: SELECT label FROM mart.few}
  - {name: files, sql: "SELECT filename, id FROM read_parquet('s3://own-schema/*.parquet')"}
""",
            KEY_ID=s3.key_id,
            SECRET_KEY=s3.secret,
        )
        with duckalog.connect(config) as connection:
            assert connection.execute("SELECT name FROM mart.few").fetchall() == [("bob",)]
            assert connection.execute("FROM labels").fetchall() == [("new",)]
            named = connection.execute("SELECT DISTINCT filename FROM files").fetchall()
        assert named == [("s3://own-schema/one.parquet",)]

    def test_a_pragma_may_lock_the_configuration(
        self, s3: S3, tmp_path: Path, build: Build
    ) -> None:
        tables.write_parquet(tmp_path / "orders.parquet")
        s3.make_bucket("locked")
        s3.put("locked", "a.parquet", tmp_path / "orders.parquet")
        config = build(
            s3_secret(s3)
            + """
  pragmas: ["SET lock_configuration = true"]
views:
  - {name: files, source: parquet, uri: "s3://locked/*.parquet"}
  - {name: raw, sql: "SELECT count(*) AS n FROM read_parquet('s3://locked/*.parquet')"}
""",
            KEY_ID=s3.key_id,
            SECRET_KEY=s3.secret,
        )
        with duckalog.connect(config) as connection:
            assert connection.execute("SELECT n FROM raw").fetchall() == [(2,)]

    def test_sources_that_hang_are_told_together_whatever_reads_them(
        self,
        s3: S3,
        proxy: Callable[[str, int], Proxy],
        build: Build,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(
            "duckalog.engine.session.HTTP_LIMITS", {"http_timeout": 1, "http_retries": 0}
        )
        host, _, port = s3.endpoint.partition(":")
        link = proxy(host, int(port))
        link.behave("black hole")
        with pytest.raises(duckalog.EngineError) as caught:
            build(
                s3_secret(s3).replace(s3.endpoint, f"{link.host}:{link.port}")
                + """
views:
  - {name: files, source: parquet, uri: "s3://hung/a.parquet"}
  - {name: raw, sql: "SELECT id FROM read_parquet('s3://hung/b.parquet')"}
""",
                KEY_ID=s3.key_id,
                SECRET_KEY=s3.secret,
            )
        assert [problem.name for problem in caught.value.problems] == ["files", "raw"]

    def test_a_wrong_secret_fails_with_the_view_and_its_line(
        self, s3: S3, tmp_path: Path, build: Build
    ) -> None:
        tables.write_parquet(tmp_path / "orders.parquet")
        s3.make_bucket("closed")
        s3.put("closed", "a.parquet", tmp_path / "orders.parquet")
        with pytest.raises(duckalog.EngineError) as caught:
            build(
                s3_secret(s3)
                + "views: [{name: orders, source: parquet, uri: 's3://closed/a.parquet'}]",
                KEY_ID=s3.key_id,
                SECRET_KEY="wrong-secret-key",
            )
        (problem,) = caught.value.problems
        assert problem.name == "orders"
        assert problem.origin.line == 13
        assert "403" in problem.cause
        assert "wrong-secret-key" not in str(caught.value)


class TestDelta:
    def test_a_table_in_a_folder_is_read(
        self, tmp_path: Path, build: Build, query_in_new_process: Query
    ) -> None:
        tables.write_delta(tmp_path / "orders")
        config = build("views: [{name: orders, source: delta, uri: orders}]")
        assert query_in_new_process(config, READ.format("orders")) == ALL_ORDERS

    def test_a_table_is_read_at_a_version(
        self, tmp_path: Path, build: Build, query_in_new_process: Query
    ) -> None:
        tables.write_delta(tmp_path / "orders")
        config = build("views: [{name: orders, source: delta, uri: orders, options: {version: 0}}]")
        assert query_in_new_process(config, READ.format("orders")) == ORDERS

    def test_a_table_on_s3_is_read_with_a_secret(
        self, s3: S3, build: Build, query_in_new_process: Query
    ) -> None:
        s3.make_bucket("delta")
        tables.write_delta("s3://delta/orders", s3.delta_options)
        config = build(
            s3_secret(s3) + "views: [{name: orders, source: delta, uri: 's3://delta/orders'}]",
            KEY_ID=s3.key_id,
            SECRET_KEY=s3.secret,
        )
        assert query_in_new_process(config, READ.format("orders")) == ALL_ORDERS


class TestIcebergPath:
    def test_a_metadata_file_is_read_now_and_at_a_snapshot(
        self, tmp_path: Path, build: Build, query_in_new_process: Query
    ) -> None:
        table = tables.write_iceberg(tmp_path / "warehouse")
        config = build(f"""
views:
  - {{name: orders, source: iceberg, uri: "{table.metadata[1]}"}}
  - name: earlier
    source: iceberg
    uri: "{table.metadata[1]}"
    options: {{snapshot_id: {table.versions[0]}}}
  - name: at_that_time
    source: iceberg
    uri: "{table.metadata[1]}"
    options: {{snapshot_timestamp: "{table.times[0]}"}}
""")
        assert query_in_new_process(config, READ.format("orders")) == ALL_ORDERS
        assert query_in_new_process(config, READ.format("earlier")) == ORDERS
        assert query_in_new_process(config, READ.format("at_that_time")) == ORDERS


class TestIcebergRest:
    @pytest.mark.parametrize(
        ("auth", "options"),
        [
            ("none", ""),
            ("bearer", "token: '${env:ICEBERG_TOKEN}'"),
            ("oauth2", "client_id: '${env:CLIENT_ID}', client_secret: '${env:CLIENT_SECRET}'"),
        ],
    )
    def test_a_catalog_is_attached_in_every_way_to_log_in(
        self,
        auth: str,
        options: str,
        iceberg_rest: Callable[..., IcebergRest],
        build: Build,
        query_in_new_process: Query,
    ) -> None:
        rest = iceberg_rest(auth)
        table = tables.write_iceberg_table(rest.catalog, "analytics.orders")
        config = build(
            f"""
iceberg_catalogs:
  - name: main_ic
    catalog_type: rest
    uri: {rest.endpoint}
    warehouse: {rest.warehouse}
    options: {{{options}}}
views:
  - {{name: orders, source: iceberg, catalog: main_ic, table: analytics.orders}}
  - name: earlier
    source: iceberg
    catalog: main_ic
    table: analytics.orders
    options: {{snapshot_id: {table.versions[0]}}}
  - name: at_that_time
    source: iceberg
    catalog: main_ic
    table: analytics.orders
    options: {{snapshot_timestamp: "{table.times[0]}"}}
  - {{name: joined, sql: "SELECT * FROM main_ic.analytics.orders SEMI JOIN earlier USING (id)"}}
""",
            ICEBERG_TOKEN=rest.token,
            CLIENT_ID=rest.client_id,
            CLIENT_SECRET=rest.client_secret,
        )
        assert query_in_new_process(config, READ.format("orders")) == ALL_ORDERS
        assert query_in_new_process(config, READ.format("earlier")) == ORDERS
        assert query_in_new_process(config, READ.format("at_that_time")) == ORDERS
        assert query_in_new_process(config, READ.format("joined")) == ORDERS

    def test_a_token_server_that_never_answers_fails_within_the_time_limit(
        self,
        iceberg_rest: Callable[..., IcebergRest],
        proxy: Callable[[str, int], Proxy],
        build: Build,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(
            "duckalog.engine.session.HTTP_LIMITS", {"http_timeout": 1, "http_retries": 0}
        )
        rest = iceberg_rest("oauth2")
        link = proxy("127.0.0.1", int(rest.endpoint.rpartition(":")[2]))
        link.behave("black hole")
        start = time.monotonic()
        with pytest.raises(duckalog.EngineError) as caught:
            build(
                f"""
  secrets:
    - type: iceberg
      name: hung
      client_id: me
      client_secret: "${{env:CLIENT_SECRET}}"
      oauth2_server_uri: http://{link.host}:{link.port}/v1/oauth/tokens
""",
                CLIENT_SECRET=rest.client_secret,
            )
        assert time.monotonic() - start < 20  # by default DuckDB tries for two minutes
        (problem,) = caught.value.problems
        assert problem.message == "DuckDB refused the secret"

    def test_vended_credentials_read_tables_on_s3(
        self,
        s3: S3,
        iceberg_rest: Callable[..., IcebergRest],
        build: Build,
        query_in_new_process: Query,
    ) -> None:
        rest = iceberg_rest("bearer", s3=s3, vend=True)
        tables.write_iceberg_table(rest.catalog, "analytics.orders")
        config = build(
            f"""
iceberg_catalogs:
  - name: ic
    catalog_type: rest
    uri: {rest.endpoint}
    warehouse: {rest.warehouse}
    options: {{token: "${{env:ICEBERG_TOKEN}}", access_delegation_mode: vended_credentials}}
views:
  - {{name: orders, source: iceberg, catalog: ic, table: analytics.orders}}
""",
            ICEBERG_TOKEN=rest.token,
        )
        assert query_in_new_process(config, READ.format("orders")) == ALL_ORDERS

    def test_own_credentials_read_tables_on_s3(
        self,
        s3: S3,
        iceberg_rest: Callable[..., IcebergRest],
        build: Build,
        query_in_new_process: Query,
    ) -> None:
        rest = iceberg_rest("none", s3=s3)
        tables.write_iceberg_table(rest.catalog, "analytics.orders")
        config = build(
            s3_secret(s3)
            + f"""
iceberg_catalogs:
  - name: ic
    catalog_type: rest
    uri: {rest.endpoint}
    warehouse: {rest.warehouse}
    options: {{access_delegation_mode: none}}
views:
  - {{name: orders, source: iceberg, catalog: ic, table: analytics.orders}}
""",
            KEY_ID=s3.key_id,
            SECRET_KEY=s3.secret,
        )
        assert query_in_new_process(config, READ.format("orders")) == ALL_ORDERS

    @pytest.mark.parametrize(
        ("auth", "options"),
        [
            ("bearer", "token: '${env:WRONG_TOKEN}'"),
            ("oauth2", "client_id: me, client_secret: '${env:WRONG_TOKEN}'"),
        ],
    )
    def test_a_catalog_that_refuses_is_named_with_its_line(
        self, auth: str, options: str, iceberg_rest: Callable[..., IcebergRest], build: Build
    ) -> None:
        rest = iceberg_rest(auth)
        with pytest.raises(duckalog.EngineError) as caught:
            build(
                f"""
iceberg_catalogs:
  - {{name: ic, catalog_type: rest, uri: "{rest.endpoint}", options: {{{options}}}}}
views:
  - {{name: orders, source: iceberg, catalog: ic, table: analytics.orders}}
""",
                WRONG_TOKEN="wrong-canary-token",
            )
        (problem,) = caught.value.problems
        assert problem.origin.line == 6
        assert problem.name == "ic"
        assert "wrong-canary-token" not in str(caught.value)

    def test_a_build_asks_once_for_each_table(
        self, s3: S3, iceberg_rest: Callable[..., IcebergRest], build: Build
    ) -> None:
        rest = iceberg_rest("none", s3=s3)
        names = ("sales.orders", "sales.returns", "stock.items")
        written = [tables.write_iceberg_table(rest.catalog, name) for name in names]
        rest.requests.clear()
        s3.requests.clear()
        build(
            s3_secret(s3)
            + f"""
iceberg_catalogs:
  - name: ic
    catalog_type: rest
    uri: {rest.endpoint}
    warehouse: {rest.warehouse}
    options: {{access_delegation_mode: none}}
views:
  - {{name: orders, source: iceberg, catalog: ic, table: sales.orders}}
  - name: earlier
    source: iceberg
    catalog: ic
    table: sales.returns
    options: {{snapshot_id: {written[1].versions[0]}}}
  - {{name: items, sql: "SELECT id, upper(name) AS name FROM ic.stock.items"}}
  - {{name: first_items, sql: "SELECT * FROM items LIMIT 10"}}
""",
            KEY_ID=s3.key_id,
            SECRET_KEY=s3.secret,
        )
        loaded = [one.rpartition("/")[2] for one in rest.requests if "/tables/" in one]
        assert sorted(loaded) == ["items", "orders", "returns"]
        read = [one for one in s3.requests if one.startswith("GET")]
        assert sorted(read) == sorted(set(read))

    def test_a_connection_reads_tables_as_they_are_when_it_reads(
        self, iceberg_rest: Callable[..., IcebergRest], write_config: WriteConfig
    ) -> None:
        rest = iceberg_rest("none")
        tables.write_iceberg_table(rest.catalog, "analytics.orders")
        config = write_config(f"""
version: 1
iceberg_catalogs:
  - {{name: ic, catalog_type: rest, uri: "{rest.endpoint}", warehouse: {rest.warehouse}}}
views:
  - {{name: orders, source: iceberg, catalog: ic, table: analytics.orders}}
""")
        counted = "SELECT count(*) FROM orders"
        with duckalog.connect(config) as connection:
            assert connection.execute(counted).fetchall() == [(len(ALL_ORDERS),)]
            orders = rest.catalog.load_table("analytics.orders")
            orders.append(orders.scan().to_arrow())
            assert connection.execute(counted).fetchall() == [(2 * len(ALL_ORDERS),)]

    @pytest.mark.parametrize("pin", ["", ", pin: true"])
    def test_a_catalog_that_hangs_is_waited_for_once(
        self,
        pin: str,
        iceberg_rest: Callable[..., IcebergRest],
        build: Build,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(session, "HTTP_LIMITS", {"http_timeout": 1, "http_retries": 0})
        rest = iceberg_rest("none")
        tables.write_iceberg_table(rest.catalog, "analytics.orders")
        rest.tells_tables.clear()
        views = [
            f"  - {{name: v{number}, source: iceberg, catalog: ic, table: analytics.orders{pin}}}"
            for number in range(20)
        ]
        with pytest.raises(duckalog.EngineError) as caught:
            build(
                f"""
iceberg_catalogs:
  - {{name: ic, catalog_type: rest, uri: "{rest.endpoint}", warehouse: {rest.warehouse}}}
views:
"""
                + "\n".join(views)
            )
        assert sum("/tables/" in one for one in rest.requests) == 1
        first, *others = caught.value.problems
        assert (first.name, "analytics/tables/orders" in first.cause) == ("v0", True)
        assert len(others) == len(views) - 1
        assert {one.message for one in others} == {'the catalog "ic" gives no answer'}

    def test_every_table_that_is_missing_is_told(
        self, iceberg_rest: Callable[..., IcebergRest], build: Build
    ) -> None:
        rest = iceberg_rest("none")
        tables.write_iceberg_table(rest.catalog, "analytics.orders")
        with pytest.raises(duckalog.EngineError) as caught:
            build(f"""
iceberg_catalogs:
  - {{name: ic, catalog_type: rest, uri: "{rest.endpoint}", warehouse: {rest.warehouse}}}
views:
  - {{name: orders, source: iceberg, catalog: ic, table: analytics.orders}}
  - {{name: gone, source: iceberg, catalog: ic, table: analytics.gone}}
  - {{name: nowhere, source: iceberg, catalog: ic, table: nowhere.orders}}
  - {{name: of_gone, sql: "SELECT * FROM ic.analytics.gone"}}
""")
        told = [(one.name, one.origin.line) for one in caught.value.problems]
        assert told == [("gone", 9), ("nowhere", 10), ("of_gone", 11)]


class TestAttachedFiles:
    def test_duckdb_sqlite_and_ducklake_tables_are_read(
        self, tmp_path: Path, build: Build, query_in_new_process: Query
    ) -> None:
        tables.write_duckdb(tmp_path / "refdata.duckdb")
        tables.write_sqlite(tmp_path / "legacy.db", table="odd table.name")
        lake = tables.write_ducklake(tmp_path / "lake")
        config = build(f"""
attachments:
  duckdb: [{{alias: order, path: refdata.duckdb}}]
  sqlite: [{{alias: legacy, path: ./legacy.db}}]
  ducklake:
    - {{alias: lake, path: lake/meta.ducklake}}
    - {{alias: lake_before, path: lake/meta.ducklake, snapshot_version: {lake.versions[0]}}}
views:
  - {{name: orders, source: duckdb, database: order, table: orders}}
  - {{name: customers, source: duckdb, database: order, table: public.customers}}
  - {{name: legacy_orders, source: sqlite, database: legacy, table: '"odd table.name"'}}
  - {{name: lake_orders, source: ducklake, database: lake, table: orders}}
  - {{name: lake_earlier, source: ducklake, database: lake_before, table: main.orders}}
  - {{name: everything, sql: "SELECT * FROM lake.orders SEMI JOIN legacy_orders USING (id)"}}
""")
        assert query_in_new_process(config, READ.format("orders")) == ORDERS
        assert query_in_new_process(config, READ.format("customers")) == ALL_ORDERS[2:]
        assert query_in_new_process(config, READ.format("legacy_orders")) == ORDERS
        assert query_in_new_process(config, READ.format("lake_orders")) == ALL_ORDERS
        assert query_in_new_process(config, READ.format("lake_earlier")) == ORDERS
        assert query_in_new_process(config, READ.format("everything")) == ORDERS

    def test_attachments_are_read_only_unless_the_config_says_otherwise(
        self, tmp_path: Path, build: Build
    ) -> None:
        import duckdb

        tables.write_duckdb(tmp_path / "refdata.duckdb")
        tables.write_duckdb(tmp_path / "open.duckdb")
        tables.write_sqlite(tmp_path / "legacy.db")
        tables.write_ducklake(tmp_path / "lake")
        config = build("""
attachments:
  duckdb:
    - {alias: ref, path: refdata.duckdb}
    - {alias: writable, path: open.duckdb, read_only: false}
  sqlite: [{alias: legacy, path: legacy.db}]
  ducklake: [{alias: lake, path: lake/meta.ducklake}]
""")
        with duckalog.connect(config) as connection:
            for alias in ("ref", "legacy", "lake"):
                with pytest.raises(duckdb.Error, match="read-only"):
                    connection.execute(f"CREATE TABLE {alias}.t (i INTEGER)")
            connection.execute("CREATE TABLE writable.t (i INTEGER)")


class TestPostgres:
    def attachment(self, postgres: Postgres, **keys: object) -> str:
        stated = {
            "alias": "dw",
            "host": postgres.host,
            "port": postgres.port,
            "database": "postgres",
            "user": postgres.user,
            "password": "${env:PG_PASSWORD}",
            **keys,
        }
        lines = "".join(f"      {key}: {value!r}\n" for key, value in stated.items())
        return f"attachments:\n  postgres:\n    -\n{lines}"

    def test_tables_are_read_in_their_schemas(
        self, postgres: Postgres, build: Build, query_in_new_process: Query
    ) -> None:
        postgres.create_database("sales")
        postgres.run('CREATE SCHEMA "Odd schema"', "sales")
        for table in ("public.orders", '"Odd schema"."Odd.Table"'):
            postgres.run(f"CREATE TABLE {table} (id int, name text, amount float8)", "sales")
            postgres.run(f"INSERT INTO {table} VALUES (1,'ann',10.5), (2,'bob',20)", "sales")
        config = build(
            self.attachment(postgres, database="sales", sslmode="prefer")
            + """
views:
  - {name: fact_orders, source: postgres, database: dw, table: public.orders}
  - {name: odd, source: postgres, database: dw, table: '"Odd schema"."Odd.Table"'}
  - {name: total, sql: "SELECT sum(amount) AS total FROM dw.public.orders"}
""",
            PG_PASSWORD=postgres.password,
        )
        assert query_in_new_process(config, READ.format("fact_orders")) == ORDERS
        assert query_in_new_process(config, READ.format("odd")) == ORDERS
        assert query_in_new_process(config, "FROM total") == [[30.5]]

    @pytest.mark.parametrize(
        ("number", "password"),
        list(
            enumerate(
                ["it's", 'say "so"', "back\\slash\\", "two  spaces ", "semi;--", "ünï%20=&?", "$$'"]
            )
        ),
    )
    def test_a_password_may_hold_anything(
        self,
        number: int,
        password: str,
        postgres: Postgres,
        build: Build,
        query_in_new_process: Query,
    ) -> None:
        postgres.create_role(f"reader {number}", password)
        config = build(
            self.attachment(postgres, user=f"reader {number}")
            + "views: [{name: me, sql: \"FROM postgres_query('dw', 'SELECT current_user')\"}]",
            PG_PASSWORD=password,
        )
        assert query_in_new_process(config, "FROM me") == [[f"reader {number}"]]

    def test_a_wrong_password_is_told_without_the_password(
        self, postgres: Postgres, build: Build
    ) -> None:
        with pytest.raises(duckalog.EngineError) as caught:
            build(self.attachment(postgres), PG_PASSWORD="wrong'canary")
        (problem,) = caught.value.problems
        assert problem.name == "dw"
        assert problem.origin.path == ("attachments", "postgres", 0)
        assert "password authentication failed" in problem.cause
        assert "canary" not in str(caught.value)

    def test_a_declared_secret_carries_the_connection(
        self, postgres: Postgres, build: Build, query_in_new_process: Query
    ) -> None:
        config = build(
            f"""
  secrets:
    - name: warehouse
      type: postgres
      host: {postgres.host}
      port: {postgres.port}
      database: postgres
      user: {postgres.user}
      password: "${{env:PG_PASSWORD}}"
attachments:
  postgres: [{{alias: dw, secret: warehouse}}]
views: [{{name: one, sql: "FROM postgres_query('dw', 'SELECT 1 AS i')"}}]
""",
            PG_PASSWORD=postgres.password,
        )
        assert query_in_new_process(config, "FROM one") == [[1]]

    def test_a_server_that_never_answers_fails_within_the_time_limit(
        self, postgres: Postgres, proxy: Callable[[str, int], Proxy], build: Build
    ) -> None:
        link = proxy(postgres.host, postgres.port)
        link.behave("black hole")
        with pytest.raises(duckalog.EngineError) as caught:
            build(
                self.attachment(postgres, host=link.host, port=link.port).rstrip()
                + "\n      options: {connect_timeout: 2}\n",
                PG_PASSWORD=postgres.password,
            )
        assert caught.value.problems[0].name == "dw"

    def test_the_metadata_of_a_ducklake_may_be_in_postgres(
        self, postgres: Postgres, tmp_path: Path, build: Build, query_in_new_process: Query
    ) -> None:
        import duckdb

        postgres.create_database("lake")
        with duckdb.connect() as connection:
            tables.load_extensions(connection, "postgres_scanner", "ducklake")
            connection.execute(
                f"ATTACH 'ducklake:postgres:host={postgres.host} port={postgres.port} dbname=lake"
                f" user={postgres.user} password={postgres.password}' AS lake"
                f" (DATA_PATH '{tmp_path}/files')"
            )
            connection.execute(f"CREATE TABLE lake.orders AS {tables.ORDERS}")
        config = build(
            f"""
  secrets:
    - name: lake_metadata
      type: postgres
      host: {postgres.host}
      port: {postgres.port}
      database: lake
      user: {postgres.user}
      password: "${{env:PG_PASSWORD}}"
attachments:
  ducklake: [{{alias: shared, metadata: postgres, secret: lake_metadata}}]
views: [{{name: orders, source: ducklake, database: shared, table: orders}}]
""",
            PG_PASSWORD=postgres.password,
        )
        assert query_in_new_process(config, READ.format("orders")) == ORDERS


class TestTwoCatalogs:
    def test_no_catalog_hears_the_token_of_another(
        self, iceberg_rest: Callable[..., IcebergRest], build: Build
    ) -> None:
        """DuckDB 1.5.5 by itself sends the second token to the first host, half of the time."""
        first, second = iceberg_rest("none"), iceberg_rest("bearer")
        catalogs = "".join(
            f"""
  - {{name: absent_{number}, catalog_type: rest, uri: "{first.endpoint}", warehouse: not_there}}
  - name: present_{number}
    catalog_type: rest
    uri: {second.endpoint}
    warehouse: {second.warehouse}
    options: {{token: "${{env:TOKEN}}"}}"""
            for number in range(20)
        )
        with pytest.raises(duckalog.EngineError) as caught:
            build(f"iceberg_catalogs:{catalogs}\n", TOKEN=second.token)
        assert {problem.name for problem in caught.value.problems} == {
            f"absent_{number}" for number in range(20)
        }
        assert all("not_there" in request for request in first.requests)
