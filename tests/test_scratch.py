"""`validate --connect`: everything is attached and bound, and nothing is written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import duckdb
import pytest

import duckalog
from tests.catalogs import change, content_of, held_open
from tests.conftest import RunCli, WriteConfig

HEAD = "version: 1\nduckdb: {database: catalog.duckdb}\n"


def try_out(config: Path) -> None:
    """Validate a config with everything attached and bound."""
    duckalog.validate_config(config, connect=True)


@pytest.fixture
def catalog(write_config: WriteConfig) -> Path:
    """Return a catalog that was built, and to which a user added things of every kind."""
    config = write_config(HEAD + "views: [{name: v, sql: SELECT 1 AS x}]")
    duckalog.build(config)
    file = config.with_name("catalog.duckdb")
    change(
        file,
        "CREATE SCHEMA own",
        "CREATE TYPE mood AS ENUM ('good', 'bad')",
        'CREATE TABLE own."odd table" (i INTEGER PRIMARY KEY, m mood, j INTEGER AS (i + 1))',
        "INSERT INTO own.\"odd table\" VALUES (1, 'good')",
        'CREATE VIEW own.handmade AS SELECT i FROM own."odd table"',
        "CREATE MACRO plus(a, b := 1) AS a + b",
        "CREATE MACRO ones(n) AS TABLE SELECT 1 AS one FROM range(n)",
        "CREATE SEQUENCE numbers",
    )
    return file


class TestValid:
    def test_nothing_is_written(
        self,
        catalog: Path,
        write_config: WriteConfig,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        config = write_config(HEAD + "views: [{name: other, schema: s, sql: SELECT 2 AS x}]")
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        before = content_of(catalog), catalog.stat().st_mtime_ns, sorted(tmp_path.iterdir())
        try_out(config)
        after = content_of(catalog), catalog.stat().st_mtime_ns, sorted(tmp_path.iterdir())
        assert after == before
        assert list(temporary.iterdir()) == []

    def test_a_catalog_that_is_not_built_is_not_made(self, write_config: WriteConfig) -> None:
        config = write_config(HEAD + "views: [{name: v, sql: SELECT 1 AS x}]")
        try_out(config)
        assert os.listdir(config.parent) == ["catalog.yaml"]

    def test_a_catalog_in_memory_is_tried_too(self, write_config: WriteConfig) -> None:
        with pytest.raises(duckalog.EngineError, match="missing"):
            try_out(write_config("version: 1\nviews: [{name: v, sql: FROM missing}]"))
        try_out(write_config("version: 1\nviews: [{name: v, sql: SELECT 1 AS x}]"))

    @pytest.mark.usefixtures("catalog")
    @pytest.mark.parametrize(
        "query",
        [
            'SELECT i, m, j FROM own."odd table"',
            "SELECT i FROM own.handmade",
            "SELECT plus(1) AS two, plus(1, b := 5) AS six",
            "FROM ones(3)",
            "SELECT nextval('numbers') AS n",
            "FROM catalog.main.v",
        ],
    )
    def test_a_view_may_read_what_a_user_made(self, query: str, write_config: WriteConfig) -> None:
        views = f"views: [{{name: v, sql: SELECT 1 AS x}}, {{name: reads, sql: {query!r}}}]"
        config = write_config(HEAD + views.replace("\\'", "''"))
        try_out(config)
        assert duckalog.build(config).count("created") == 1

    @pytest.mark.usefixtures("catalog")
    def test_a_view_made_by_hand_over_what_is_gone_is_no_problem(
        self, catalog: Path, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        change(
            catalog,
            f"ATTACH '{tmp_path / 'gone.duckdb'}' AS gone",
            "CREATE TABLE gone.t AS SELECT 1 AS x",
            "CREATE VIEW over_gone AS FROM gone.t",
        )
        (tmp_path / "gone.duckdb").unlink()
        try_out(write_config(HEAD + "views: [{name: v, sql: SELECT 1 AS x}]"))
        with duckdb.connect(str(catalog), read_only=True) as connection:
            views = connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal")
            assert ("over_gone",) in views.fetchall()

    def test_readers_and_writers_go_on(self, catalog: Path, write_config: WriteConfig) -> None:
        config = write_config(HEAD + "views: [{name: v, sql: SELECT 1 AS x}]")
        with held_open(catalog, "reader"):
            try_out(config)
        with duckalog.connect(config) as connection:
            try_out(config)
            assert connection.execute("FROM v").fetchall() == [(1,)]
            databases = connection.execute("SELECT database_name FROM duckdb_databases()")
            assert "catalog" in {name for (name,) in databases.fetchall()}


class TestRefused:
    def test_every_view_that_does_not_bind_is_told(self, write_config: WriteConfig) -> None:
        config = write_config(
            HEAD
            + """\
views:
  - {name: fine, sql: SELECT 1 AS x}
  - {name: no_column, sql: SELECT y FROM fine}
  - {name: no_table, sql: FROM missing}
"""
        )
        with pytest.raises(duckalog.EngineError) as caught:
            try_out(config)
        assert [problem.name for problem in caught.value.problems] == ["no_column", "no_table"]

    @pytest.mark.usefixtures("catalog")
    def test_what_a_build_would_refuse_is_refused(self, write_config: WriteConfig) -> None:
        for name in ("handmade", "odd table"):
            config = write_config(HEAD + f"views: [{{name: {name}, schema: own, sql: SELECT 1}}]")
            with pytest.raises(duckalog.EngineError, match="which duckalog did not make"):
                try_out(config)

    @pytest.mark.usefixtures("catalog")
    def test_an_attachment_that_is_missing_is_told(self, write_config: WriteConfig) -> None:
        config = write_config(
            HEAD + "attachments: {duckdb: [{alias: gone, path: gone.duckdb}]}\nviews: []"
        )
        with pytest.raises(duckalog.EngineError, match="there is no file"):
            try_out(config)

    @pytest.mark.usefixtures("catalog")
    def test_only_connect_looks_at_databases(
        self, write_config: WriteConfig, run_cli: RunCli
    ) -> None:
        config = write_config(
            HEAD
            + "attachments: {duckdb: [{alias: gone, path: gone.duckdb}]}\n"
            + "views: [{name: v, source: duckdb, database: gone, table: t}]"
        )
        result = run_cli("validate", config)
        assert (result.returncode, result.stdout) == (0, "catalog.yaml: valid\n")
        result = run_cli("validate", config, "--connect")
        assert result.returncode == 1
        assert result.stderr.startswith('catalog.yaml:3: attachments.duckdb[0] "gone": there is')
