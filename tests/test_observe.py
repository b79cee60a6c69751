"""The state of sources: a version that moves when their data does, and not before."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import pytest

import duckalog
from tests import tables
from tests.conftest import WriteConfig
from tests.servers.iceberg_rest import IcebergRest
from tests.servers.postgres import Postgres
from tests.servers.s3 import S3

HEAD = "version: 1\nduckdb: {database: catalog.duckdb}\n"


def versions(config: Path) -> dict[str, str | None]:
    """Return the version of each source by its location."""
    return {".".join(one.source.location): one.version for one in duckalog.observe(config)}


class TestLocalSources:
    def test_files_move_with_their_names_sizes_and_times(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        config = write_config(HEAD + "views: [{name: v, source: csv, uri: 'data/*.csv'}]")
        folder = tmp_path / "data"
        folder.mkdir()
        (folder / "a.csv").write_text("i\n1\n")
        first = versions(config)
        assert first == versions(config)
        (folder / "b.csv").write_text("i\n2\n")
        second = versions(config)
        os.utime(folder / "a.csv", ns=(1, 1))
        assert len({*first.values(), *second.values(), *versions(config).values()}) == 3

    def test_files_are_counted(self, write_config: WriteConfig, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("i\n1\n")
        config = write_config(HEAD + "views: [{name: v, source: csv, uri: '*.csv'}]")
        (found,) = duckalog.observe(config)
        assert (found.files, found.bytes, found.problem) == (1, 4, "")

    def test_databases_move_with_their_files(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        tables.write_duckdb(tmp_path / "a.duckdb")
        config = write_config(
            HEAD + "attachments: {duckdb: [{alias: a, path: a.duckdb}]}\n"
            "views: [{name: v, sql: FROM a.main.orders}]"
        )
        before = versions(config)
        with duckdb.connect(str(tmp_path / "a.duckdb")) as database:
            database.execute("INSERT INTO orders SELECT * FROM orders")
        after = versions(config)
        assert list(before) == list(after) == ["a.main.orders"]
        assert before != after

    def test_those_that_are_asked_for_are_told(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        config = write_config(HEAD + "views: [{name: v, source: csv, uri: [a.csv, b.csv]}]")
        key = duckalog.load_plan(config).views[0].sources[1].key
        (found,) = duckalog.observe(config, sources=[key])
        assert found.source.location == (str(tmp_path / "b.csv"),)


@pytest.mark.servers
class TestTables:
    def test_a_delta_table_moves_with_its_log(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        tables.write_delta(tmp_path / "orders")
        config = write_config(HEAD + "views: [{name: v, source: delta, uri: orders}]")
        before = versions(config)
        assert before == versions(config)
        tables.write_delta(tmp_path / "orders")
        assert before != versions(config)

    def test_an_iceberg_table_moves_with_its_metadata(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        table = tables.write_iceberg(tmp_path / "lake")
        config = write_config(HEAD + f"views: [{{name: v, source: iceberg, uri: '{table.uri}'}}]")
        before = versions(config)
        assert before == versions(config)
        os.unlink(table.metadata[1])
        assert before != versions(config)

    def test_a_table_of_an_iceberg_catalog_is_as_its_last_snapshot(
        self, write_config: WriteConfig, iceberg_rest: Callable[..., IcebergRest]
    ) -> None:
        rest = iceberg_rest("none")
        table = tables.write_iceberg_table(rest.catalog, "sales.orders")
        config = write_config(
            HEAD + "iceberg_catalogs:\n"
            f"  - {{name: ice, catalog_type: rest, uri: '{rest.endpoint}',"
            f" warehouse: {rest.warehouse}}}\n"
            "views: [{name: v, source: iceberg, catalog: ice, table: sales.orders}]"
        )
        assert versions(config) == {"ice.sales.orders": str(table.versions[1])}

    def test_a_postgres_table_moves_with_the_rows_that_are_written(
        self, write_config: WriteConfig, postgres: Postgres
    ) -> None:
        postgres.create_database("observed")
        postgres.run("CREATE TABLE orders (id int)", "observed")
        config = write_config(
            HEAD + "attachments:\n  postgres:\n"
            f"    - {{alias: pg, host: {postgres.host}, port: {postgres.port},\n"
            f"       database: observed, user: {postgres.user}, password: '{postgres.password}'}}\n"
            "views: [{name: v, source: postgres, database: pg, table: public.orders}]"
        )
        before = versions(config)
        assert before["pg.public.orders"]
        assert before == versions(config)
        postgres.run("INSERT INTO orders SELECT 1", "observed")
        assert before != versions(config)

    def test_files_in_a_bucket_move_with_what_lies_there(
        self, write_config: WriteConfig, s3: S3, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        s3.make_bucket("observed")
        s3.put("observed", "a.csv", b"i\n1\n")
        monkeypatch.setenv("KEY_ID", s3.key_id)
        monkeypatch.setenv("SECRET_KEY", s3.secret)
        config = write_config(
            "version: 1\nduckdb:\n  database: catalog.duckdb\n  secrets:\n"
            f"    - {{type: s3, key_id: '${{env:KEY_ID}}', secret: '${{env:SECRET_KEY}}',"
            f" region: {s3.region},\n       endpoint: '{s3.endpoint}', url_style: path,"
            " use_ssl: false}\n"
            "views: [{name: v, source: csv, uri: 's3://observed/*.csv'}]"
        )
        (before,) = duckalog.observe(config)
        assert (before.files, before.bytes) == (1, 4)
        s3.put("observed", "b.csv", b"i\n2\n")
        (after,) = duckalog.observe(config)
        assert after.files == 2
        assert before.version != after.version

    def test_one_that_cannot_be_asked_is_told_without_secrets(
        self, write_config: WriteConfig, s3: S3, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET_KEY", "wrong-secret-key")
        config = write_config(
            "version: 1\nduckdb:\n  database: catalog.duckdb\n  settings: {http_retries: 0}\n"
            f"  secrets:\n    - {{type: s3, key_id: {s3.key_id}, secret: '${{env:SECRET_KEY}}',"
            f" region: {s3.region},\n       endpoint: '{s3.endpoint}', url_style: path,"
            " use_ssl: false}\n"
            "views: [{name: v, source: csv, uri: 's3://nowhere/a.csv'}]"
        )
        (found,) = duckalog.observe(config)
        assert found.version is None
        assert found.problem
        assert "wrong-secret-key" not in found.problem


class Together(ThreadingHTTPServer):
    """A web server that answers once as many files are asked for as there are, and never for some.

    Those are called `silent.csv`; they do not count.
    """

    def __init__(self, files: int) -> None:
        super().__init__(("127.0.0.1", 0), _Meeting)
        self.daemon_threads = True
        self.meeting = threading.Barrier(files)
        self.closes = threading.Event()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class _Meeting(BaseHTTPRequestHandler):
    server: Together

    def do_GET(self) -> None:
        if self.path == "/silent.csv":
            self.server.closes.wait(30)
            return
        self.server.meeting.wait(30)
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(b"i\n1\n")

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def together() -> Iterator[Together]:
    with Together(files=3) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.closes.set()
        server.meeting.abort()
        server.shutdown()


@pytest.mark.servers
class TestManySources:
    def test_are_asked_at_once_and_one_that_is_silent_keeps_nobody_waiting(
        self, write_config: WriteConfig, together: Together
    ) -> None:
        names = ("a.csv", "silent.csv", "b.csv", "c.csv")
        views = "".join(
            f"  - {{name: v{number}, source: csv, uri: '{together.url(name)}'}}\n"
            for number, name in enumerate(names)
        )
        config = write_config(HEAD + f"views:\n{views}")
        reports = duckalog.observe(config, timeout_s=3)
        found = {one.source.location[0].rpartition("/")[2]: one for one in reports}
        assert list(found) == list(names)
        assert found["silent.csv"].problem == "no answer within 3 s"
        assert [found[name].bytes for name in names] == [4, None, 4, 4]

    def test_of_a_database_that_is_gone_do_not_keep_others_from_being_told(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        (tmp_path / "a.csv").write_text("i\n1\n")
        config = write_config(
            HEAD + "attachments: {postgres: [{alias: pg, host: 127.0.0.1, port: 1,"
            " database: d, user: u, password: p}]}\n"
            "views:\n  - {name: v, source: postgres, database: pg, table: public.orders}\n"
            "  - {name: w, source: csv, uri: a.csv}"
        )
        gone, there = duckalog.observe(config)
        assert 'attachments.postgres[0] "pg": ' in gone.problem
        assert there.version
