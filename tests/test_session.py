"""The session half: what every connection to a catalog gets, and what it is refused for."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

import duckalog
from duckalog.engine.execution import refused, within
from duckalog.engine.session import apply_session
from tests import tables
from tests.catalogs import held_open
from tests.conftest import WriteConfig

Connect = Callable[..., duckdb.DuckDBPyConnection]

HEAD = "version: 1\nduckdb:\n  database: catalog.duckdb\n"


@pytest.fixture
def built(write_config: WriteConfig) -> Callable[[str], Path]:
    """Return a function that builds the rest of a config and returns its path."""

    def build(text: str, name: str = "catalog.yaml") -> Path:
        config = write_config(HEAD + text, name)
        duckalog.build(config)
        return config

    return build


def problems_of(config: Path) -> list[tuple[str, int, str]]:
    """Return the message, line and name of each problem of a build that fails."""
    with pytest.raises(duckalog.EngineError) as caught:
        duckalog.build(config)
    return [
        (problem.message, problem.origin.line, problem.name) for problem in caught.value.problems
    ]


def setting(connection: duckdb.DuckDBPyConnection, name: str) -> Any:
    """Return the value of a DuckDB setting."""
    return connection.execute("SELECT current_setting($1)", [name]).fetchall()[0][0]


class TestSettings:
    def test_settings_and_pragmas_hold_on_every_connection(
        self, built: Callable[[str], Path]
    ) -> None:
        config = built("""\
  settings: {threads: 1, TimeZone: Asia/Tokyo, preserve_insertion_order: false}
  pragmas: ["SET default_null_order = 'nulls_first'", PRAGMA disable_progress_bar;]
views: [{name: v, sql: SELECT 1 AS x}]
""")
        for read_only in (True, False):
            with duckalog.connect(config, read_only=read_only) as connection:
                assert setting(connection, "threads") == 1
                assert setting(connection, "TimeZone") == "Asia/Tokyo"
                assert setting(connection, "preserve_insertion_order") is False
                assert str(setting(connection, "default_null_order")).lower() == "nulls_first"

    def test_views_are_bound_under_the_settings(self, built: Callable[[str], Path]) -> None:
        config = built("""\
  settings: {integer_division: true}
views: [{name: v, sql: SELECT 7 / 2 AS half}]
""")
        with duckalog.connect(config) as connection:
            assert connection.execute("FROM v").fetchall() == [(3,)]

    def test_a_plain_connection_has_none_of_them(
        self, built: Callable[[str], Path], tmp_path: Path
    ) -> None:
        built("  settings: {TimeZone: Asia/Tokyo}\nviews: []")
        with duckdb.connect(str(tmp_path / "catalog.duckdb")) as connection:
            assert setting(connection, "TimeZone") != "Asia/Tokyo"

    def test_everything_that_fails_is_told_with_its_line(self, write_config: WriteConfig) -> None:
        config = write_config(
            HEAD
            + """\
  settings:
    threads: many
    thread: 1
  pragmas:
    - SET nonsense = 1
    - PRAGMA nonsense
attachments:
  duckdb:
    - {alias: gone, path: gone.duckdb}
    - {alias: text, path: catalog.yaml}
views:
  - {name: v, source: duckdb, database: gone, table: t}
"""
        )
        assert problems_of(config) == [
            ("DuckDB refused the setting", 5, ""),
            ("DuckDB refused the setting", 6, ""),
            ("DuckDB refused the pragma", 8, ""),
            ("DuckDB refused the pragma", 9, ""),
            (f'there is no file "{config.with_name("gone.duckdb")}"', 12, "gone"),
            ("the database cannot be attached", 13, "text"),
        ]

    @pytest.mark.parametrize(
        "stated", ["settings: {custom_user_agent: me}", "pragmas: [SET custom_user_agent = 'me']"]
    )
    def test_one_that_is_taken_only_when_a_database_is_opened_is_told(
        self, write_config: WriteConfig, stated: str
    ) -> None:
        told = problems_of(write_config(f"{HEAD}  {stated}\n"))
        assert told == [("DuckDB takes this setting only where it opens a database", 4, "")]


class TestExtensions:
    @pytest.fixture(autouse=True)
    def _none_can_be_had(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_arguments: object, **_options: object) -> None:
            raise duckdb.IOException("Failed to download extension")

        monkeypatch.setattr("duckalog.engine.session.obtain_extension", refuse)

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("  load_extensions: [json,\n    fts]", "5: duckdb.load_extensions[1]"),
            ("  secrets:\n    - {type: mysql, host: h}", "5: duckdb.secrets[0]"),
            ("  settings:\n    threads: 1\n    s3_region: eu", "6: duckdb.settings.s3_region"),
            ("  pragmas: [SET threads = 1,\n    SET s3_region = 'eu']", "5: duckdb.pragmas[1]"),
            ("attachments:\n  sqlite: [{alias: a, path: a.db}]", "5: attachments.sqlite[0]"),
            ("views:\n  - {name: v, source: delta, uri: d}", "5: views[0]"),
            ("views:\n  - name: v\n    sql: FROM 's3://b/x.csv'", "6: views[0].sql"),
            (
                "views:\n  - name: v\n    sql: SELECT 1\n    checks:\n"
                "      - {type: sql, name: c, sql: FROM 's3://b/x.csv'}",
                "8: views[0].checks[0].sql",
            ),
        ],
    )
    def test_one_that_cannot_be_had_is_told_where_it_is_needed(
        self, write_config: WriteConfig, text: str, place: str
    ) -> None:
        with pytest.raises(duckalog.EngineError) as caught:
            duckalog.build(write_config(HEAD + text + "\n"))
        assert str(caught.value.problems[-1].origin).endswith(f"catalog.yaml:{place}")


class TestPaths:
    def test_relative_paths_in_raw_sql_start_from_the_config(
        self, built: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "people.csv").write_text("id,name\n1,ann\n")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        config = built("views: [{name: v, sql: FROM 'data/people.csv'}]")
        with duckalog.connect(config) as connection:
            assert connection.execute("FROM v").fetchall() == [(1, "ann")]

    def test_those_of_an_imported_config_start_from_its_own_folder(
        self, built: Callable[[str], Path], write_config: WriteConfig, tmp_path: Path
    ) -> None:
        write_config("views: [{name: v, sql: FROM 'people.csv'}]", "team/part.yaml")
        (tmp_path / "team" / "people.csv").write_text("id\n7\n")
        config = built("imports: [team/part.yaml]")
        with duckalog.connect(config) as connection:
            assert connection.execute("FROM v").fetchall() == [(7,)]

    def test_a_search_path_that_the_config_states_is_kept(
        self, built: Callable[[str], Path], tmp_path: Path
    ) -> None:
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "people.csv").write_text("id\n8\n")
        config = built("""\
  settings: {file_search_path: own}
views: [{name: v, sql: FROM 'people.csv'}]
""")
        with duckalog.connect(config) as connection:
            assert connection.execute("FROM v").fetchall() == [(8,)]

    def test_a_folder_may_have_a_comma(self, write_config: WriteConfig, tmp_path: Path) -> None:
        config = write_config(
            "version: 1\nduckdb: {database: c.duckdb}\n"
            "views: [{name: v, source: csv, uri: people.csv}]",
            "a,b/catalog.yaml",
        )
        (tmp_path / "a,b" / "people.csv").write_text("id\n9\n")
        duckalog.build(config)
        with duckalog.connect(config) as connection:
            assert connection.execute("FROM v").fetchall() == [(9,)]


@pytest.fixture
def refdata(tmp_path: Path) -> Path:
    """Return a DuckDB file with the table numbers."""
    file = tmp_path / "refdata.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT 1 AS x")
    return file


ATTACHED = """\
attachments: {duckdb: [{alias: ref, path: refdata.duckdb}]}
views: [{name: v, source: duckdb, database: ref, table: numbers}]
"""


@pytest.mark.usefixtures("refdata")
class TestAttachments:
    def test_a_view_over_one_works_on_every_connection(
        self, built: Callable[[str], Path], query_in_new_process: Callable[..., list[Any]]
    ) -> None:
        assert query_in_new_process(built(ATTACHED), "FROM v") == [[1]]

    def test_two_connections_of_one_process_share_a_catalog(
        self, built: Callable[[str], Path]
    ) -> None:
        config = built(ATTACHED)
        with duckalog.connect(config) as first:
            with duckalog.connect(config) as second:
                assert second.execute("FROM v").fetchall() == [(1,)]
            assert first.execute("FROM v").fetchall() == [(1,)]

    def test_connections_to_two_catalogs_over_one_database_live_side_by_side(
        self, built: Callable[[str], Path], write_config: WriteConfig
    ) -> None:
        config = built(ATTACHED)
        other = write_config(
            "version: 1\nduckdb: {database: other.duckdb}\n" + ATTACHED, "other.yaml"
        )
        duckalog.build(other)
        with duckalog.connect(config) as first:
            with duckalog.connect(other) as second:
                assert second.execute("FROM v").fetchall() == [(1,)]
            assert first.execute("FROM v").fetchall() == [(1,)]

    def test_an_alias_that_stands_for_another_file_in_this_process_is_told(
        self, built: Callable[[str], Path], write_config: WriteConfig, tmp_path: Path
    ) -> None:
        config = built(ATTACHED)
        with duckdb.connect(str(tmp_path / "newer.duckdb")) as connection:
            connection.execute("CREATE TABLE numbers AS SELECT 2 AS x")
        newer = write_config(HEAD + ATTACHED.replace("refdata", "newer"), "newer.yaml")
        with duckalog.connect(config):
            with pytest.raises(duckalog.EngineError, match="attached under this alias") as caught:
                duckalog.connect(newer)
            assert str(tmp_path / "refdata.duckdb") in str(caught.value)
        with duckalog.connect(newer) as connection:
            assert connection.execute("FROM v").fetchall() == [(2,)]

    def test_they_are_read_only_unless_the_config_says_otherwise(
        self, built: Callable[[str], Path]
    ) -> None:
        with (
            duckalog.connect(built(ATTACHED)) as connection,
            pytest.raises(duckdb.Error, match="read-only"),
        ):
            connection.execute("CREATE TABLE ref.t (i INTEGER)")

    def test_a_writable_one_can_be_written_beside_a_catalog_that_cannot(
        self, built: Callable[[str], Path], refdata: Path
    ) -> None:
        writable = ATTACHED.replace("refdata.duckdb", "refdata.duckdb, read_only: false")
        with duckalog.connect(built(writable)) as connection:
            connection.execute("INSERT INTO ref.numbers VALUES (2)")
            with pytest.raises(duckdb.Error, match="read-only"):
                connection.execute("CREATE TABLE t (i INTEGER)")
        with duckdb.connect(str(refdata), read_only=True) as connection:
            assert connection.execute("FROM numbers").fetchall() == [(1,), (2,)]

    def test_a_database_that_another_process_writes_is_told(
        self, write_config: WriteConfig, refdata: Path
    ) -> None:
        config = write_config(HEAD + ATTACHED)
        with held_open(refdata, "writer"):
            assert problems_of(config) == [("the database cannot be attached", 4, "ref")]
        assert duckalog.build(config).count("created") == 1

    @pytest.mark.parametrize("kind", ["duckdb", pytest.param("sqlite", marks=pytest.mark.servers)])
    def test_a_missing_file_is_told_and_never_created(
        self, kind: str, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        config = write_config(
            HEAD + f"attachments: {{{kind}: [{{alias: a, path: gone.db, read_only: false}}]}}"
        )
        assert problems_of(config) == [(f'there is no file "{tmp_path / "gone.db"}"', 4, "a")]
        assert not (tmp_path / "gone.db").exists()

    @pytest.mark.parametrize("kind", ["duckdb", pytest.param("sqlite", marks=pytest.mark.servers)])
    def test_a_folder_is_told(self, kind: str, write_config: WriteConfig, tmp_path: Path) -> None:
        (tmp_path / "folder.db").mkdir()
        config = write_config(HEAD + f"attachments: {{{kind}: [{{alias: a, path: folder.db}}]}}")
        assert problems_of(config) == [(f'"{tmp_path / "folder.db"}" is a folder', 4, "a")]

    @pytest.mark.servers
    def test_a_file_that_is_not_sqlite_is_told(
        self, write_config: WriteConfig, refdata: Path
    ) -> None:
        config = write_config(HEAD + f"attachments: {{sqlite: [{{alias: a, path: {refdata}}}]}}")
        assert problems_of(config) == [(f'"{refdata}" is not a SQLite database', 4, "a")]

    @pytest.mark.servers
    def test_a_sqlite_file_that_is_broken_inside_is_told(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        file = tmp_path / "broken.db"
        tables.write_sqlite(file)
        file.write_bytes(file.read_bytes()[:100] + b"\xff" * 4000)
        config = write_config(HEAD + "attachments: {sqlite: [{alias: a, path: broken.db}]}")
        assert problems_of(config) == [("the database cannot be attached", 4, "a")]

    @pytest.mark.servers
    def test_all_attachments_that_fail_are_told_at_once(
        self, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        tables.write_sqlite(tmp_path / "fine.db")
        config = write_config(
            HEAD
            + """\
attachments:
  duckdb:
    - {alias: one, path: one.duckdb}
  sqlite:
    - {alias: two, path: two.db}
    - {alias: fine, path: fine.db}
  postgres:
    - {alias: three, host: 127.0.0.1, port: 1, database: d, user: u}
"""
        )
        told = problems_of(config)
        assert [(line, name) for _, line, name in told] == [(6, "one"), (8, "two"), (11, "three")]


@pytest.mark.parametrize("is_read", [True, False])
def test_a_delta_table_at_a_version_needs_duckdb_1_5(
    write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch, is_read: bool
) -> None:
    monkeypatch.setattr("duckalog.engine.execution.READS_DELTA_VERSIONS", is_read)
    config = write_config(
        HEAD + "views: [{name: v, source: delta, uri: a, options: {version: 1}},"
        " {name: w, source: delta, uri: a}]"
    )
    plan = duckalog.load_plan(config)
    ours = "DuckDB 1.4 cannot read a Delta table at a version"
    refusals = [refused(step, duckdb.BinderException("no"), plan.redact) for step in plan.views]
    assert [one.message == ours for one in refusals] == [not is_read, False]


class TestInMemory:
    def test_connect_builds_a_catalog_in_memory(self, write_config: WriteConfig) -> None:
        config = write_config("""\
version: 1
views:
  - {name: doubled, schema: s, sql: SELECT x * 2 AS y FROM numbers}
  - {name: numbers, sql: SELECT 21 AS x, description: one number}
""")
        with duckalog.connect(config) as connection:
            assert connection.execute("FROM s.doubled").fetchall() == [(42,)]
            comments = connection.execute(
                "SELECT comment FROM duckdb_views() WHERE view_name = 'numbers'"
            )
            assert comments.fetchall() == [("one number",)]
        assert [path.name for path in config.parent.iterdir()] == ["catalog.yaml"]

    def test_two_of_them_share_nothing(self, write_config: WriteConfig) -> None:
        config = write_config("version: 1\nviews: [{name: v, sql: SELECT 1 AS x}]")
        with duckalog.connect(config) as first, duckalog.connect(config) as second:
            first.execute("CREATE TABLE t (i INTEGER)")
            with pytest.raises(duckdb.CatalogException):
                second.execute("FROM t")

    def test_its_user_can_query_python_variables(self, write_config: WriteConfig) -> None:
        config = write_config("version: 1\nviews: [{name: v, sql: SELECT 1 AS x}]")
        with duckalog.connect(config) as connection:
            ones = connection.sql("FROM v")
            assert connection.sql("SELECT x + 1 FROM ones").fetchall() == [(2,)]
            assert ones.columns == ["x"]

    def test_one_that_fails_is_told_like_a_build(self, write_config: WriteConfig) -> None:
        config = write_config("version: 1\nviews: [{name: v, sql: FROM missing}]")
        with pytest.raises(duckalog.EngineError, match='"v": DuckDB refused the view'):
            duckalog.connect(config)


class TestConnect:
    def test_a_catalog_that_is_not_built_is_told_and_not_made(
        self, write_config: WriteConfig
    ) -> None:
        config = write_config(HEAD + "views: []")
        for read_only in (True, False):
            with pytest.raises(duckalog.EngineError, match="the catalog is not built yet"):
                duckalog.connect(config, read_only=read_only)
        assert not config.with_name("catalog.duckdb").exists()

    def test_it_is_read_only_unless_asked(self, built: Callable[[str], Path]) -> None:
        config = built("views: [{name: v, sql: SELECT 1 AS x}]")
        with (
            duckalog.connect(config) as connection,
            pytest.raises(duckdb.Error, match="read-only"),
        ):
            connection.execute("CREATE TABLE t (i INTEGER)")
        with duckalog.connect(config, read_only=False) as connection:
            connection.execute("CREATE TABLE t (i INTEGER)")

    def test_a_session_that_fails_leaves_the_file_free(
        self, built: Callable[[str], Path], write_config: WriteConfig
    ) -> None:
        config = built("views: []")
        write_config(HEAD + "attachments: {duckdb: [{alias: a, path: gone.duckdb}]}")
        with pytest.raises(duckalog.EngineError, match="there is no file"):
            duckalog.connect(config)
        with held_open(config.with_name("catalog.duckdb"), "writer"):
            pass

    def test_views_over_what_is_gone_fail_only_when_they_are_queried(
        self, built: Callable[[str], Path], tmp_path: Path
    ) -> None:
        (tmp_path / "people.csv").write_text("id\n1\n")
        config = built("views: [{name: p, source: csv, uri: people.csv}, {name: v, sql: SELECT 1}]")
        (tmp_path / "people.csv").unlink()
        with duckalog.connect(config) as connection:
            assert connection.execute("FROM v").fetchall() == [(1,)]
            with pytest.raises(duckdb.IOException):
                connection.execute("FROM p")


@pytest.mark.servers
def test_a_database_that_never_answers_is_given_up(write_config: WriteConfig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        config = write_config(f"""\
version: 1
attachments: {{postgres: [{{alias: dw, host: 127.0.0.1, port: {port}, database: d, user: u}}]}}
""")
        start = time.monotonic()
        connection = duckdb.connect()
        with pytest.raises(duckalog.EngineError) as caught:
            apply_session(connection, duckalog.load_plan(config), probe_limit_s=0.5)
        assert time.monotonic() - start < 10
    assert caught.value.problems[0].name == "dw"


def test_a_call_that_is_interrupted_in_time_is_told_as_one_without_an_answer() -> None:
    endless = "SELECT count(*) FROM range(1_000_000_000_000) AS t(i) WHERE hash(i) = 0"
    with duckdb.connect() as connection:
        with pytest.raises(TimeoutError, match=r"^no answer within 0\.1 s$"):
            within(0.1, connection, lambda: connection.execute(endless).fetchall())
        assert connection.execute("SELECT 1").fetchall() == [(1,)]
