"""Configs that are not on this machine: over HTTP and in S3, as good as local ones."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

import duckalog
from duckalog import ConfigError
from duckalog.cli.group import cli
from duckalog.document import MAX_BYTES
from tests import tables
from tests.conftest import RunCli, WriteConfig
from tests.servers.s3 import S3
from tests.test_architecture import RUN, modules_loaded_by

pytestmark = pytest.mark.servers

CONFIG = """version: 1
duckdb: {database: catalog.duckdb}
views:
  - {name: orders, source: parquet, uri: data/orders.parquet}
  - {name: named, sql_file: sql/named.sql}
"""
CANARY = "CANARY-signature"


class Site:
    """Files over HTTP; those under `signed/` want a parameter, those under `private/` a login."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer()

            def do_GET(self) -> None:
                content = self._answer()
                if content is not None:
                    self.wfile.write(content)

            def _answer(self) -> bytes | None:
                path, _, query = self.path.lstrip("/").partition("?")
                site.asked.append(self.path)
                content = site.files.get(path)
                status = 404 if content is None else 200
                if path.startswith("signed/") and query != f"X-Amz-Signature={CANARY}":
                    status = 403
                login = base64.b64encode(f"ann:{CANARY}".encode()).decode()
                if (
                    path.startswith("private/")
                    and self.headers["Authorization"] != f"Basic {login}"
                ):
                    status = 401
                start, end = 0, len(content or b"")
                asked = self.headers["Range"]
                if status == 200 and asked:
                    first, _, last = asked.removeprefix("bytes=").partition("-")
                    start, end, status = int(first), int(last or end) + 1, 206
                self.send_response(status)
                body = (content or b"")[start:end] if status < 300 else b""
                self.send_header("Content-Length", str(len(body)))
                if status == 206:
                    self.send_header(
                        "Content-Range", f"bytes {start}-{end - 1}/{len(content or b'')}"
                    )
                self.send_header("Accept-Ranges", "bytes")
                self.end_headers()
                return body if status < 300 else None

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def put(self, path: str, content: str | bytes) -> str:
        """Serve a file, and return its URL."""
        self.files[path] = content.encode() if isinstance(content, str) else content
        return f"http://{self.host}/{path}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def site(server: Site) -> Site:
    server.files.clear()
    server.asked.clear()
    return server


@pytest.fixture
def orders(tmp_path: Path) -> bytes:
    tables.write_parquet(tmp_path / "orders.parquet")
    return (tmp_path / "orders.parquet").read_bytes()


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli, list(map(str, arguments)))


Invoke = Callable[..., Result]


def rows(config: str, database: Path, query: str) -> list[Any]:
    with duckalog.connect(config, db_path=database) as connection:
        return connection.execute(query).fetchall()


class TestHttp:
    def test_a_config_builds_with_its_own_data_and_queries(
        self, site: Site, orders: bytes, tmp_path: Path
    ) -> None:
        url = site.put("team/catalog.yaml", CONFIG)
        site.put("team/data/orders.parquet", orders)
        site.put("team/sql/named.sql", "SELECT name FROM orders ORDER BY id")
        database = tmp_path / "built.duckdb"
        report = duckalog.build(url, database)
        assert {view.origin.file for view in report.views} == {url}
        assert rows(url, database, "FROM named") == [("ann",), ("bob",)]

    def test_imports_are_found_beside_it_and_elsewhere(
        self, site: Site, write_config: WriteConfig
    ) -> None:
        site.put("shared/base.yaml", "imports: [more/one.json]\nviews: [{name: a, sql: SELECT 1}]")
        site.put("shared/more/one.json", '{"views": [{"name": "b", "sql": "SELECT 2"}]}')
        config = write_config(f"version: 1\nimports: ['http://{site.host}/shared/base.yaml']")
        assert [view.name for view in duckalog.load_config(config).views] == ["b", "a"]
        assert "/shared/more/one.json" in site.asked

    def test_problems_have_their_lines(self, site: Site, invoke: Invoke) -> None:
        url = site.put("bad.yaml", "version: 1\nviews:\n  - {name: a}\n  - {name: b, sqll: x}\n")
        result = invoke("validate", url)
        assert result.exit_code == 1
        lines = [line for line in result.output.splitlines() if not line.startswith("    ")]
        assert lines[0].startswith(f"{url}:3: views[0]: a view needs")
        assert lines[1].startswith(f"{url}:4: views[1]")

    def test_a_circle_of_imports_is_told(self, site: Site, invoke: Invoke) -> None:
        url = site.put("a.yaml", "version: 1\nimports: [b.yaml]")
        site.put("b.yaml", "imports: [a.yaml]")
        result = invoke("validate", url)
        assert "the imports go round in a circle: a.yaml → b.yaml → a.yaml" in result.output

    @pytest.mark.parametrize(
        ("path", "told"),
        [
            ("nothing.yaml", "the file cannot be read\n    HTTP Error"),
            ("latin.yaml", "the file is not UTF-8 text (byte 0)"),
            ("large.yaml", "the file is larger than 16 MiB"),
            ("page.html", '".html" is not an ending of a config'),
            ("broken.yaml", ":2: this is not YAML"),
        ],
    )
    def test_what_cannot_be_read_is_told(
        self, path: str, told: str, site: Site, invoke: Invoke
    ) -> None:
        site.put("latin.yaml", b"\xff")
        site.put("large.yaml", b" " * (MAX_BYTES + 1))
        site.put("page.html", "<html>")
        site.put("broken.yaml", "version: 1\n]")
        result = invoke("validate", f"http://{site.host}/{path}")
        assert result.exit_code == 1
        assert result.output.startswith(f"http://{site.host}/{path}")
        assert told in result.output

    def test_a_server_that_is_not_there_is_told(self, invoke: Invoke) -> None:
        result = invoke("validate", "http://127.0.0.1:1/catalog.yaml")
        assert result.exit_code == 1
        assert "http://127.0.0.1:1/catalog.yaml: the file cannot be read" in result.output

    def test_another_scheme_is_refused_by_name(self, invoke: Invoke) -> None:
        result = invoke("validate", "ftp://ann:pw@host/catalog.yaml")
        assert result.output == (
            'ftp://host/catalog.yaml: a config cannot be read from "ftp"\n'
            "    It can from http, https, s3.\n"
        )

    def test_patterns_of_imports_are_refused(self, site: Site, invoke: Invoke) -> None:
        url = site.put("a.yaml", "version: 1\nimports: ['domains/*.yaml']")
        assert "nobody lists files over HTTP" in invoke("validate", url).output


class TestWhatHasToBeHere:
    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("attachments: {sqlite: [{alias: a, path: crm.db}]}", "attachments.sqlite[0].path"),
            ("duckdb: {extension_directory: ext}", "duckdb.extension_directory"),
            (
                "attachments: {postgres: [{alias: a, host: h, database: d, user: u, "
                "options: {sslrootcert: ca.pem}}]}",
                "attachments.postgres[0].options.sslrootcert",
            ),
        ],
    )
    def test_a_relative_path_is_refused(
        self, text: str, place: str, site: Site, invoke: Invoke
    ) -> None:
        url = site.put("a.yaml", f"version: 1\n{text}\n")
        assert f"{url}:2: {place}: this has to be a file of this machine" in (
            invoke("validate", url).output
        )

    def test_so_is_the_catalog_unless_the_command_says_where(
        self, site: Site, invoke: Invoke, tmp_path: Path
    ) -> None:
        url = site.put(
            "a.yaml", "version: 1\nduckdb: {database: c.duckdb}\nviews: [{name: a, sql: SELECT 1}]"
        )
        for command in ("build", "plan"):
            result = invoke(command, url)
            assert result.exit_code == 1
            assert (
                '"c.duckdb" starts from the config, which is not on this machine' in result.output
            )
        assert not (tmp_path / "c.duckdb").exists()
        assert invoke("validate", url).output == f"{url}: valid\n"
        assert invoke("build", url, "--db-path", "c.duckdb").exit_code == 0
        assert (tmp_path / "c.duckdb").exists()

    def test_every_command_that_opens_the_catalog_is_told_where_it_is(
        self, site: Site, invoke: Invoke, tmp_path: Path
    ) -> None:
        url = site.put(
            "a.yaml", "version: 1\nduckdb: {database: c.duckdb}\nviews: [{name: a, sql: SELECT 7}]"
        )
        database = tmp_path / "there.duckdb"
        place = ("--db-path", str(database))
        assert invoke("build", url, *place).exit_code == 0
        for command, *words, answer in (
            ("query", "FROM a", "7"),
            ("ls", "built"),
            ("describe", "a", "built at"),
            ("connect", "--as", "sqlalchemy", f"db_path={str(database)!r}"),
            ("connect", "--as", "dbt", f"path: {database}"),
            ("shell", "--with", "prompt", "duckalog"),
            ("serve", ""),
        ):
            refused = invoke(command, url, *words)
            assert refused.exit_code == 1
            assert "Say where it is: --db-path" in refused.output
            if command not in ("shell", "serve"):
                result = invoke(command, url, *words, *place)
                assert result.exit_code == 0, result.output
                assert answer in result.output


class TestCredentials:
    @pytest.mark.parametrize("text", [CONFIG, "version: 1\nviews: [{nam: a}]", "]"])
    @pytest.mark.parametrize(
        "url",
        [
            "http://{host}/signed/a.yaml?X-Amz-Signature={canary}",
            "http://ann:{canary}@{host}/private/a.yaml",
        ],
    )
    def test_those_of_a_url_are_in_no_message(
        self,
        url: str,
        text: str,
        site: Site,
        orders: bytes,
        invoke: Invoke,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level("DEBUG")
        for folder in ("signed", "private"):
            site.put(f"{folder}/a.yaml", text)
            site.put(f"{folder}/sql/named.sql", "SELECT 1 AS i")
            site.put(f"{folder}/data/orders.parquet", orders)
        whole = url.format(host=site.host, canary=CANARY)
        for arguments in (
            ["validate", whole],
            ["validate", whole, "--json"],
            ["validate", whole.replace("a.yaml", "nope.yaml"), "--log-format", "json"],
            ["validate", whole.replace(CANARY, f"{CANARY}-wrong")],
            ["generate-sql", whole],
            ["build", whole, "--db-path", "c.duckdb", "--verbose"],
            ["plan", whole, "--db-path", "c.duckdb"],
        ):
            result = invoke(*arguments)
            assert CANARY not in result.output, arguments
            assert not result.exception or isinstance(result.exception, SystemExit)
        assert CANARY not in caplog.text

    def test_a_login_reads_what_is_imported_beside_it(self, site: Site) -> None:
        site.put("private/a.yaml", "version: 1\nimports: [b.yaml]")
        site.put("private/b.yaml", "views: [{name: b, sql: SELECT 1}]")
        config = duckalog.load_config(f"http://ann:{CANARY}@{site.host}/private/a.yaml")
        assert [view.name for view in config.views] == ["b"]
        assert CANARY not in repr(config)

    def test_no_error_holds_them(self, site: Site) -> None:
        with pytest.raises(ConfigError) as caught:
            duckalog.load_config(f"http://{site.host}/signed/nope.yaml?X-Amz-Signature={CANARY}")
        error: BaseException | None = caught.value
        while error:
            assert CANARY not in repr(error)
            error = error.__cause__ or error.__context__


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a new bucket, the environment being that of its owner."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret)
    monkeypatch.setenv("AWS_REGION", s3.region)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    name = f"configs-{uuid4()}"
    s3.make_bucket(name)
    return name


class TestS3:
    def test_a_config_is_read_with_the_credentials_of_the_environment(
        self, s3: S3, bucket: str, tmp_path: Path
    ) -> None:
        s3.put(bucket, "team/catalog.yaml", b"version: 1\nimports: ['domains/*.yaml']")
        s3.put(bucket, "team/domains/b.yaml", b"views: [{name: b, sql_file: ../sql/b.sql}]")
        s3.put(bucket, "team/domains/a.yaml", b"views: [{name: a, sql: SELECT 1 AS i}]")
        s3.put(bucket, "team/sql/b.sql", b"SELECT i + 1 AS i FROM a")
        url = f"s3://{bucket}/team/catalog.yaml"
        report = duckalog.build(url, tmp_path / "c.duckdb")
        assert [view.name for view in report.views] == ["a", "b"]
        assert rows(url, tmp_path / "c.duckdb", "FROM b") == [(2,)]

    def test_the_credentials_may_be_in_the_env_file(
        self, s3: S3, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        (tmp_path / ".env").write_text(f"AWS_SECRET_ACCESS_KEY={s3.secret}\n", "utf-8")
        s3.put(bucket, "a.yaml", b"version: 1\nviews: [{name: a, sql: SELECT 1}]")
        config = duckalog.load_config(f"s3://{bucket}/a.yaml", env_file=tmp_path / ".env")
        assert len(config.views) == 1

    def test_the_credentials_may_be_those_of_a_profile(
        self, s3: S3, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        credentials = tmp_path / "credentials"
        credentials.write_text(
            f"[default]\naws_access_key_id = {s3.key_id}\naws_secret_access_key = {s3.secret}\n"
        )
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
        s3.put(bucket, "a.yaml", b"version: 1\nviews: [{name: a, sql: SELECT 1}]")
        assert len(duckalog.load_config(f"s3://{bucket}/a.yaml").views) == 1

    def test_wrong_credentials_are_told_without_them(
        self, bucket: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
        result = invoke("validate", f"s3://{bucket}/a.yaml")
        assert result.exit_code == 1
        assert result.output.startswith(f"s3://{bucket}/a.yaml: the file cannot be read")
        assert CANARY not in result.output

    def test_a_pattern_that_nothing_matches_is_told(
        self, s3: S3, bucket: str, invoke: Invoke
    ) -> None:
        s3.put(bucket, "a.yaml", b"version: 1\nimports: ['x/*.yaml']")
        result = invoke("validate", f"s3://{bucket}/a.yaml")
        assert f'no file matches "s3://{bucket}/x/*.yaml"' in result.output


class TestCost:
    def test_only_a_remote_config_loads_duckdb_and_only_to_read_it(
        self, site: Site, write_config: WriteConfig
    ) -> None:
        local = write_config("version: 1\nviews: [{name: a, source: csv, uri: a.csv}]")
        assert "duckdb" not in modules_loaded_by(RUN, "validate", str(local))
        url = site.put("a.yaml", local.read_text("utf-8"))
        assert "duckdb" in modules_loaded_by(RUN, "validate", url)

    def test_it_works_in_a_process_of_its_own(self, site: Site, run_cli: RunCli) -> None:
        url = site.put("a.yaml", "version: 1\nviews: [{name: a, sql: SELECT 1 AS i}]")
        result = run_cli("generate-sql", url)
        assert (result.returncode, result.stderr) == (0, "")
        assert 'VIEW "a"' in result.stdout
