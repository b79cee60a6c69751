"""Configs of several files: imports, merged; queries in files of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from duckalog.errors import ConfigError
from duckalog.load import load_config
from duckalog.plan import plan
from tests.configs import Load, Refused, config_of
from tests.conftest import WriteConfig


class TestSqlFiles:
    def test_a_query_is_read_from_beside_the_file_that_states_it(
        self, load: Load, write_config: WriteConfig
    ) -> None:
        write_config("SELECT 1 AS é;\n-- end", "parts/queries/a.sql")
        write_config("views: [{name: v, sql_file: queries/a.sql}]", "parts/part.yaml")
        (view,) = load("imports: [parts/part.yaml]").views
        assert plan(config_of(view)).views[0].query == "SELECT 1 AS é;\n-- end"

    def test_values_in_it_are_data(self, load: Load, write_config: WriteConfig) -> None:
        write_config("SELECT '${env:X}'", "a.sql")
        (view,) = load("views: [{name: v, sql_file: a.sql}]", X="it's").views
        assert view.query() == "SELECT 'it''s'"

    def test_each_that_cannot_be_read_is_told_at_once(
        self, refused: Refused, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        write_config(" \n", "empty.sql")
        write_config("SELECT '${env:MISSING}', ${env:}", "filled.sql")
        (tmp_path / "latin.sql").write_bytes(b"SELECT\n'\xe9'")
        (tmp_path / "folder.sql").mkdir()
        names = ["missing.sql", "empty.sql", "latin.sql", "folder.sql", "filled.sql"]
        views = "".join(f"- name: {name}\n  sql_file: {name}\n" for name in names)
        assert refused(f"views:\n{views}") == [
            "catalog.yaml:4: views[0].sql_file: missing.sql: there is no such file",
            "catalog.yaml:6: views[1].sql_file: the file of the query is empty",
            "catalog.yaml:8: views[2].sql_file: latin.sql:2: the file is not UTF-8 text (byte 8)",
            "catalog.yaml:10: views[3].sql_file: folder.sql: this is a folder, not a file",
            'catalog.yaml:12: views[4].sql_file: "${env:}" is not a placeholder',
        ]


class TestImports:
    def test_every_list_is_merged_and_the_importing_file_comes_last(
        self, load: Load, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        write_config(
            """
duckdb:
  database: deep.duckdb
  settings: {threads: 1}
  secrets: [{type: s3, name: s}]
  pragmas: [SET a = 1]
attachments: {sqlite: [{alias: x, path: x.db}]}
iceberg_catalogs: [{name: ic, catalog_type: rest, uri: u}]
views: [{name: a, sql: SELECT 1}]
""",
            "parts/a.yaml",
        )
        write_config('{"version": 1, "views": [{"name": "b", "sql": "SELECT 2"}]}', "b.json")
        config = load(
            """
imports: [parts/a.yaml, b.json]
duckdb: {settings: {memory_limit: 1GB}, pragmas: [SET b = 2]}
views: [{name: c, sql: SELECT 3}]
"""
        )
        assert [view.name for view in config.views] == ["a", "b", "c"]
        assert config.database == str(tmp_path / "parts" / "deep.duckdb")
        assert list(config.duckdb.settings) == ["threads", "memory_limit"]
        assert [one.sql for one in config.duckdb.pragmas] == ["SET a = 1", "SET b = 2"]
        assert [one.alias for one in config.attachments] == ["x"]
        assert [one.name for one in config.iceberg_catalogs] == ["ic"]
        assert [os.path.basename(file) for file in config.files] == [
            "a.yaml",
            "b.json",
            "catalog.yaml",
        ]

    def test_paths_start_from_the_file_that_states_them(
        self, load: Load, write_config: WriteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_config(
            """
imports: [../c.yaml]
attachments: {sqlite: [{alias: x, path: x.db}]}
views: [{name: a, source: parquet, uri: [a/*.parquet, 's3://b']}]
""",
            "parts/a.yaml",
        )
        write_config("views: [{name: c, source: csv, uri: c.csv}]", "c.yaml")
        monkeypatch.chdir("/")
        config = load("imports: [parts/a.yaml]")
        assert [getattr(view, "uri", ()) for view in config.views] == [
            (f"{tmp_path}/c.csv",),
            (f"{tmp_path}/parts/a/*.parquet", "s3://b"),
        ]
        assert config.attachments.sqlite[0].path == f"{tmp_path}/parts/x.db"

    def test_globs_are_taken_in_the_order_of_the_names(
        self, load: Load, write_config: WriteConfig
    ) -> None:
        for name in ("views/b.yaml", "views/a.yaml", "views/deep/c.yml", "views/no.txt"):
            write_config(f"views: [{{name: {Path(name).stem}, sql: SELECT 1}}]", name)
        assert [one.name for one in load("imports: ['views/*.yaml']").views] == ["a", "b"]
        assert [one.name for one in load("imports: ['views/**/*.y*ml']").views] == ["a", "b", "c"]

    def test_a_glob_leaves_out_the_file_that_states_it(
        self, load: Load, write_config: WriteConfig
    ) -> None:
        write_config("views: [{name: a, sql: SELECT 1}]", "other.yaml")
        assert [view.name for view in load("imports: ['*.yaml']").views] == ["a"]

    def test_a_glob_that_matches_nothing_is_told(self, refused: Refused) -> None:
        assert refused("imports: ['nothing/*.yaml']") == [
            'catalog.yaml:2: imports[0]: no file matches "nothing/*.yaml"'
        ]

    def test_a_file_that_cannot_be_read_is_told_with_who_imports_it(
        self, refused: Refused, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        write_config("a: [", "bad.yaml")
        (tmp_path / "folder.yaml").mkdir()
        text = "imports:\n- missing.yaml\n- bad.yaml\n- folder.yaml\n- notes.txt"
        write_config("", "notes.txt")
        problems = refused(text)
        assert problems[0] == "missing.yaml: there is no such file (imported at catalog.yaml:3)"
        assert problems[1].startswith("bad.yaml:2: this is not YAML: ")
        assert problems[1].endswith("(imported at catalog.yaml:4)")
        assert problems[2].startswith("folder.yaml: this is a folder, not a file (imported at")
        assert problems[3].startswith('notes.txt: ".txt" is not an ending of a config (imported')

    @pytest.mark.parametrize(
        ("imports", "problem"),
        [
            ("a.yaml", "imports: expected a list, got text"),
            ("[5]", "imports[0]: expected text, got a whole number"),
            ("['']", "imports[0]: expected text, got empty text"),
        ],
    )
    def test_what_is_no_list_of_files_is_told(
        self, refused: Refused, imports: str, problem: str
    ) -> None:
        assert refused(f"imports: {imports}") == [f"catalog.yaml:2: {problem}"]

    def test_a_file_that_is_imported_twice_counts_once(
        self, load: Load, write_config: WriteConfig, tmp_path: Path
    ) -> None:
        write_config("views: [{name: base, sql: SELECT 1}]", "base.yaml")
        for side in ("left", "right"):
            write_config(f"imports: [base.yaml]\nviews: [{{name: {side}, sql: x}}]", f"{side}.yaml")
        (tmp_path / "link.yaml").symlink_to(tmp_path / "base.yaml")
        config = load("imports: [left.yaml, right.yaml, base.yaml, ./base.yaml, link.yaml]")
        assert [view.name for view in config.views] == ["base", "left", "right"]

    @pytest.mark.parametrize(
        ("files", "circle"),
        [
            ({"catalog": "catalog"}, "catalog.yaml → catalog.yaml"),
            ({"catalog": "a", "a": "catalog"}, "catalog.yaml → a.yaml → catalog.yaml"),
            (
                {"catalog": "a", "a": "b", "b": "c", "c": "a"},
                "catalog.yaml → a.yaml → b.yaml → c.yaml → a.yaml",
            ),
        ],
    )
    def test_a_circle_is_refused_with_every_file_in_it(
        self, refused: Refused, write_config: WriteConfig, files: dict[str, str], circle: str
    ) -> None:
        for name, imported in files.items():
            if name != "catalog":
                write_config(f"imports: [{imported}.yaml]", f"{name}.yaml")
        (problem,) = refused(f"imports: [{files['catalog']}.yaml]")
        assert problem.endswith(f": imports[0]: the imports go round in a circle: {circle}")

    @pytest.mark.parametrize(
        ("part", "root", "problem"),
        [
            (
                "views:\n- {name: a, sql: SELECT 1}",
                "views:\n- {name: b, sql: x}\n- {name: A, sql: x}",
                "catalog.yaml:5: views[1].name: "
                'there is a view called "a" already, at part.yaml:2: views[0]',
            ),
            (
                "attachments: {sqlite: [{alias: a, path: x}]}",
                "attachments: {duckdb: [{alias: A, path: x}]}",
                "part.yaml:1: attachments.sqlite[0].alias: "
                'there is a database called "A" already, at catalog.yaml:3: attachments.duckdb[0]',
            ),
            (
                "duckdb:\n  secrets:\n  - {type: s3, name: a}",
                "duckdb: {secrets: [{type: s3, name: a}]}",
                "catalog.yaml:3: duckdb.secrets[0].name: "
                'there is a secret called "a" already, at part.yaml:3: duckdb.secrets[0]',
            ),
            (
                "duckdb:\n  settings:\n    threads: 1",
                "duckdb: {settings: {THREADS: 2}}",
                "catalog.yaml:3: duckdb.settings.THREADS: "
                'the setting "THREADS" is stated in part.yaml:3 too',
            ),
            (
                "duckdb:\n  database: a",
                "duckdb: {database: b}",
                "catalog.yaml:3: duckdb.database: duckdb.database is stated in part.yaml:2 too",
            ),
            (
                "duckdb:\n\n  extension_directory: a",
                "duckdb: {extension_directory: b}",
                "catalog.yaml:3: duckdb.extension_directory: "
                "duckdb.extension_directory is stated in part.yaml:3 too",
            ),
        ],
    )
    def test_the_same_name_twice_names_both_places(
        self, refused: Refused, write_config: WriteConfig, part: str, root: str, problem: str
    ) -> None:
        write_config(part, "part.yaml")
        assert refused(f"imports: [part.yaml]\n{root}") == [problem]

    def test_another_version_in_an_imported_file_is_refused(
        self, refused: Refused, write_config: WriteConfig
    ) -> None:
        write_config("version: 2", "part.yaml")
        assert refused("imports: [part.yaml]") == [
            "part.yaml:1: version: version 2 is not supported"
        ]

    def test_placeholders_in_imports_are_filled(
        self, load: Load, write_config: WriteConfig
    ) -> None:
        write_config("views: [{name: a, sql: SELECT 1}]", "prod.yaml")
        assert len(load("imports: ['${env:STAGE}.yaml']", STAGE="prod").views) == 1

    def test_names_are_known_across_files(self, load: Load, write_config: WriteConfig) -> None:
        write_config("views: [{name: v, source: sqlite, database: x, table: t}]", "part.yaml")
        config = load("imports: [part.yaml]\nattachments: {sqlite: [{alias: x, path: y}]}")
        assert plan(config).views[0].needs == ("attachment:x",)

    def test_a_chain_may_not_be_endless(self, refused: Refused, write_config: WriteConfig) -> None:
        for number in range(150):
            write_config(f"imports: [part{number + 1}.yaml]", f"part{number}.yaml")
        (problem,) = refused("imports: [part0.yaml]")
        assert problem.startswith("part150.yaml: there is no such file")

    def test_there_may_not_be_more_files_than_the_limit(
        self, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("duckalog.load.MAX_FILES", 5)
        for number in range(6):
            (tmp_path / f"part{number}.yaml").write_text("views: []")
        assert refused("imports: ['part*.yaml']") == [
            "catalog.yaml:2: imports[0]: more than 5 files are imported"
        ]


def test_a_folder_whose_name_is_a_pattern_is_refused_for_views_and_not_for_imports(
    write_config: WriteConfig,
) -> None:
    write_config("views: [{name: v, sql: SELECT 1}]", "odd[x]/other.yaml")
    views = "views: [{name: p, source: parquet, uri: orders/a.parquet}]"
    imports = "imports: [other.yaml, 'o*.yaml']"
    config = write_config(f"version: 1\n{imports}\n{views}", "odd[x]/c.yaml")
    with pytest.raises(ConfigError, match="folder for a pattern") as caught:
        load_config(config)
    assert len(caught.value.problems) == 1
