"""What Python programs rely on: names, signatures, reports, logging, errors."""

from __future__ import annotations

import inspect
import io
import logging
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import duckalog
from duckalog.bookkeeping import Column
from duckalog.errors import Origin, Problem
from tests.conftest import WriteConfig

CANARY = "canary-secret-value"


@pytest.fixture
def config(write_config: WriteConfig) -> Path:
    """Return a config of two views in two schemas."""
    return write_config("""\
version: 1
duckdb: {database: catalog.duckdb}
views:
  - {name: doubled, schema: s, sql: SELECT x * 2 AS y FROM numbers}
  - {name: numbers, sql: "SELECT 1 AS x, 'a' AS name"}
""")


class TestNames:
    def test_the_public_names_are_these(self) -> None:
        assert {
            "build_catalog",
            "generate_sql",
            "validate_config",
            "load_config",
            "connect",
            "build",
            "load_plan",
            "Config",
            "ConfigError",
            "EngineError",
            "DuckalogError",
            "BuildReport",
            "ViewReport",
            "Plan",
            "__version__",
        } <= set(duckalog.__all__)

    def test_each_public_name_exists_and_is_listed(self) -> None:
        for name in duckalog.__all__:
            assert getattr(duckalog, name) is not None
        assert dir(duckalog) == sorted(duckalog.__all__)

    def test_a_name_that_does_not_exist_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            _ = duckalog.nonsense

    def test_import_star_takes_them_all(self) -> None:
        taken: dict[str, object] = {}
        exec("from duckalog import *", taken)
        assert set(duckalog.__all__) <= taken.keys()


def parameters(function: object) -> list[tuple[str, object]]:
    """Return the parameters that may be given by position, each with its default."""
    assert callable(function)
    return [
        (parameter.name, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]


class TestSignatures:
    def test_build_catalog(self) -> None:
        signature = inspect.signature(duckalog.build_catalog)
        assert parameters(duckalog.build_catalog) == [
            ("config_path", inspect.Parameter.empty),
            ("db_path", None),
            ("dry_run", False),
            ("verbose", False),
        ]
        assert signature.return_annotation == "None"

    @pytest.mark.parametrize(
        ("name", "first", "returned"),
        [
            ("generate_sql", "config_path", "str"),
            ("validate_config", "config_path", "None"),
            ("load_config", "path", "Config"),
        ],
    )
    def test_functions_of_a_path_alone(self, name: str, first: str, returned: str) -> None:
        function = getattr(duckalog, name)
        assert parameters(function) == [(first, inspect.Parameter.empty)]
        assert inspect.signature(function).return_annotation == returned

    def test_connect(self) -> None:
        assert parameters(duckalog.connect) == [
            ("config_path", inspect.Parameter.empty),
            ("read_only", True),
        ]
        returned = inspect.signature(duckalog.connect).return_annotation
        assert returned == "duckdb.DuckDBPyConnection"

    @pytest.mark.parametrize("name", ["build_catalog", "generate_sql", "connect", "build"])
    def test_what_else_they_take_is_named_and_optional(self, name: str) -> None:
        for parameter in inspect.signature(getattr(duckalog, name)).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY:
                assert parameter.default is not parameter.empty

    def test_paths_may_be_text_or_path_objects(self, config: Path, tmp_path: Path) -> None:
        for path in (str(config), config):
            assert isinstance(duckalog.load_config(path), duckalog.Config)
            assert "CREATE OR REPLACE VIEW" in duckalog.generate_sql(path)
            duckalog.validate_config(path)
            for db_path in (str(tmp_path / "other.duckdb"), tmp_path / "other.duckdb"):
                duckalog.build_catalog(path, db_path)
                with duckalog.connect(path, db_path=db_path) as connection:
                    assert connection.execute("SELECT y FROM s.doubled").fetchall() == [(2,)]

    def test_a_relative_db_path_starts_from_the_working_directory(
        self, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "work").mkdir()
        monkeypatch.chdir(tmp_path / "work")
        duckalog.build_catalog(config, "here.duckdb")
        assert (tmp_path / "work" / "here.duckdb").exists()
        assert not (tmp_path / "catalog.duckdb").exists()


class TestDryRun:
    def test_it_prints_the_script_and_opens_nothing(
        self, config: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        duckalog.build_catalog(config, dry_run=True)
        assert capsys.readouterr().out == duckalog.generate_sql(config, part="full")
        assert os.listdir(config.parent) == ["catalog.yaml"]


class TestReport:
    def test_it_has_each_view_in_build_order(self, config: Path, tmp_path: Path) -> None:
        report = duckalog.build(config)
        assert report.database == str(tmp_path / "catalog.duckdb")
        assert [(view.schema, view.name, view.action) for view in report.views] == [
            ("main", "numbers", "created"),
            ("s", "doubled", "created"),
        ]
        assert [view.columns for view in report.views] == [
            (Column("x", "INTEGER"), Column("name", "VARCHAR")),
            (Column("y", "INTEGER"),),
        ]
        assert [(view.origin.file, view.origin.line) for view in report.views] == [
            (str(config), 5),
            (str(config), 4),
        ]
        assert 0 < sum(view.seconds for view in report.views) <= report.seconds

    def test_it_counts_what_was_done(self, config: Path) -> None:
        assert duckalog.build(config).count("created") == 2
        config.write_text(config.read_text().replace("x * 2", "x * 3"))
        report = duckalog.build(config)
        assert (report.count("replaced"), report.count("unchanged")) == (1, 1)
        config.write_text("version: 1\nduckdb: {database: catalog.duckdb}\n")
        report = duckalog.build(config)
        assert report.count("removed") == 2
        assert {view.columns for view in report.views} == {()}

    def test_it_is_printed_in_a_few_words(self, config: Path) -> None:
        lines = str(duckalog.diff(config)).splitlines()
        assert all(re.fullmatch(r"\+ [\w.]+  it is new", line) for line in lines)
        report = duckalog.build(config)
        assert re.search(rf"\.duckdb: {len(lines)} created \(\d\.\d s\)$", str(report))
        assert str(duckalog.diff(config)) == "a build would leave the catalog as it is"

    def test_it_can_be_pickled(self, config: Path) -> None:
        report = duckalog.build(config)
        assert pickle.loads(pickle.dumps(report)) == report


@pytest.fixture
def secretive(write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a config with a secret value in its session half."""
    monkeypatch.setenv("APP_TOKEN", CANARY)
    return write_config("""\
version: 1
duckdb:
  database: catalog.duckdb
  pragmas: ["SET VARIABLE app_token = '${env:APP_TOKEN}'"]
  settings: {home_directory: "${env:APP_TOKEN}"}
views: [{name: v, sql: SELECT 1 AS x}]
""")


@pytest.fixture
def duckalog_log() -> Iterator[io.StringIO]:
    """Return the text of all that duckalog logs, DEBUG included."""
    logger = logging.getLogger("duckalog")
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield text
    logger.removeHandler(handler)
    logger.setLevel(level)


class TestLogging:
    def test_sql_is_logged_at_debug_only(
        self, secretive: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG, "duckalog"):
            duckalog.build(secretive)
        statements = [
            record for record in caplog.records if "CREATE OR REPLACE VIEW" in record.getMessage()
        ]
        assert statements
        assert {record.levelno for record in statements} == {logging.DEBUG}
        assert {record.name.partition(".")[0] for record in caplog.records} == {"duckalog"}
        louder = [record for record in caplog.records if record.levelno > logging.DEBUG]
        assert not any("SET " in record.getMessage() for record in louder)

    def test_what_is_logged_shows_no_secret(
        self, secretive: Path, duckalog_log: io.StringIO
    ) -> None:
        duckalog.build(secretive)
        duckalog.connect(secretive).close()
        duckalog.validate_config(secretive, connect=True)
        assert "app_token" in duckalog_log.getvalue()
        assert CANARY not in duckalog_log.getvalue()

    def test_verbose_tells_each_statement_on_stderr(
        self, secretive: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        duckalog.build_catalog(secretive, verbose=True)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "CREATE OR REPLACE VIEW" in captured.err
        assert CANARY not in captured.err

    @pytest.mark.parametrize("fails", [False, True])
    def test_verbose_leaves_no_handler_behind(self, fails: bool, secretive: Path) -> None:
        logger = logging.getLogger("duckalog")
        before = (list(logger.handlers), logger.level, logger.propagate)
        if fails:
            secretive.write_text(secretive.read_text().replace("SELECT 1 AS x", "FROM missing"))
            with pytest.raises(duckalog.EngineError):
                duckalog.build_catalog(secretive, verbose=True)
        else:
            duckalog.build_catalog(secretive, verbose=True)
        assert (list(logger.handlers), logger.level, logger.propagate) == before

    def test_a_quiet_build_prints_nothing(
        self, config: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        duckalog.build_catalog(config)
        assert capsys.readouterr() == ("", "")

    def test_importing_adds_no_handler_and_sets_no_level(self) -> None:
        program = """
import logging, duckalog, duckalog.api
logger = logging.getLogger("duckalog")
print(logger.handlers, logging.getLogger().handlers, logger.level)
"""
        result = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert result.stdout == "[] [] 0\n"


class TestNoGlobalState:
    def test_two_configs_interleaved_know_nothing_of_each_other(
        self, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configs = []
        for number in (1, 2):
            monkeypatch.setenv(f"VALUE_{number}", f"value-{number}")
            configs.append(
                write_config(
                    f"""\
version: 1
duckdb:
  database: catalog.duckdb
  settings: {{threads: {number}, home_directory: "${{env:VALUE_{number}}}"}}
views: [{{name: v, sql: SELECT {number} AS x}}]
""",
                    f"{number}/catalog.yaml",
                )
            )
        plans = [duckalog.load_plan(config) for config in configs]
        for config in reversed(configs):
            duckalog.build(config)
        first, second = (duckalog.connect(config) for config in configs)
        with first, second:
            for number, connection in ((1, first), (2, second), (1, first)):
                assert connection.execute("FROM v").fetchall() == [(number,)]
                found = connection.execute("SELECT current_setting('threads')").fetchall()
                assert found == [(number,)]
        assert plans[0].redact("value-1 value-2") == "${env:VALUE_1} value-2"
        assert plans[1].redact("value-1 value-2") == "value-1 ${env:VALUE_2}"

    def test_the_environment_and_the_working_directory_stay_as_they_were(
        self, config: Path
    ) -> None:
        before = (dict(os.environ), os.getcwd())
        (config.parent / "variables.env").write_text("FROM_THE_FILE=1\n")
        duckalog.build(config, env_file=config.parent / "variables.env")
        assert (dict(os.environ), os.getcwd()) == before

    def test_the_default_connection_of_duckdb_is_left_alone(self, config: Path) -> None:
        duckalog.build(config)
        duckalog.connect(config).close()
        assert duckdb.execute(
            "SELECT current_setting('python_enable_replacements')"
        ).fetchall() == [(True,)]
        databases = duckdb.execute("SELECT database_name FROM duckdb_databases()").fetchall()
        assert ("catalog",) not in databases

    def test_a_config_that_is_edited_is_read_anew(self, config: Path) -> None:
        duckalog.build(config)
        config.write_text(config.read_text().replace("SELECT 1 AS x", "SELECT 5 AS x"))
        duckalog.build(config)
        with duckalog.connect(config) as connection:
            assert connection.execute("SELECT y FROM s.doubled").fetchall() == [(10,)]


class TestErrors:
    def test_both_are_duckalog_errors(self) -> None:
        assert issubclass(duckalog.ConfigError, duckalog.DuckalogError)
        assert issubclass(duckalog.EngineError, duckalog.DuckalogError)
        assert not issubclass(duckalog.ConfigError, duckalog.EngineError)

    @pytest.mark.parametrize("kind", [duckalog.ConfigError, duckalog.EngineError])
    def test_they_survive_pickling(self, kind: type[duckalog.DuckalogError]) -> None:
        origin = Origin("/some/catalog.yaml", 7, ("views", 2, "sql"))
        error = kind(
            [
                Problem(origin, "it is wrong", "Mend it.", "events"),
                Problem(origin, "also", cause="no"),
            ],
            note="Nothing changed.",
        )
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind
        assert (again.problems, again.note) == (error.problems, error.note)
        assert str(again) == str(error)

    def test_a_real_one_survives_pickling(self, write_config: WriteConfig) -> None:
        for text, kind in (
            ("version: 9", duckalog.ConfigError),
            ("version: 1\nviews: [{name: v, sql: FROM missing}]", duckalog.EngineError),
        ):
            with pytest.raises(kind) as caught:
                duckalog.connect(write_config(text))
            assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

    def test_they_chain_no_error_that_may_hold_a_secret(
        self, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("APP_TOKEN", CANARY)
        config = write_config("""\
version: 1
duckdb: {pragmas: ["SET threads = '${env:APP_TOKEN}'"]}
""")
        with pytest.raises(duckalog.EngineError) as caught:
            duckalog.connect(config)
        assert CANARY not in str(caught.value)
        assert "${env:APP_TOKEN}" in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
