"""Pinned views read what their source was at build, and the same as views that are not pinned."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

import duckalog
from tests.catalogs import views_of
from tests.conftest import RunCli, WriteConfig

Files = dict[str, str]


class Mix(NamedTuple):
    """Files by their names, as queries or texts, and the options that they are read with."""

    source: str
    files: Files
    options: dict[str, Any]


def parquet(files: Files, **options: Any) -> Mix:
    return Mix("parquet", files, {"union_by_name": True, **options})


def csv(files: Files, **options: Any) -> Mix:
    return Mix("csv", files, {"union_by_name": True, **options})


def as_json(files: Files, **options: Any) -> Mix:
    return Mix("json", files, {"union_by_name": True, **options})


MIXES = {
    "a column is missing": parquet({"a": "SELECT 1 id, 'x' n", "b": "SELECT 2 id"}),
    "a column comes later": parquet({"a": "SELECT 1 id", "b": "SELECT 2 id, 'x' n"}),
    "nothing in common": parquet({"a": "SELECT 1 a", "b": "SELECT 2 b"}),
    "columns are reordered": parquet({"a": "SELECT 1 id, 'x' n", "b": "SELECT 'y' n, 2 id"}),
    "numbers are widened": parquet(
        {
            "a": "SELECT 1::TINYINT id, 1.5::DECIMAL(3, 1) d",
            "b": "SELECT 3000000000 id, 2.25::DECIMAL(10, 4) d",
            "c": "SELECT 3.5::DOUBLE id",
        }
    ),
    "some are text": parquet(
        {
            "a": "SELECT 1 id, 1.50 d, DATE '2020-01-01' t, true b",
            "b": "SELECT 'x' id, 'y' d, 'z' t, 'maybe' b",
        }
    ),
    "dates and times are widened": parquet(
        {
            "a": "SELECT DATE '2020-01-01' a, TIMESTAMP '2020-01-01 10:00' b, TIME '10:00' c",
            "b": "SELECT TIMESTAMP '2020-01-02 11:00' a,"
            " TIMESTAMP_NS '2020-01-01 10:00:00.123456789' b",
        }
    ),
    "all kinds of types": parquet(
        {
            "a": "SELECT 'x'::BLOB e, 1::HUGEINT f, 2::UBIGINT g, uuid '"
            "00000000-0000-0000-0000-000000000001' u, INTERVAL 1 DAY i",
            "b": "SELECT 1::FLOAT h, [1, 2] l",
        }
    ),
    "structs, lists and maps": parquet(
        {
            "a": "SELECT {'a': 1, 'b': {'c': 1}} s, [{'k': 1}] l, MAP {'a': 1} m",
            "b": "SELECT {'b': {'d': 'x'}, 'a': 2.5} s, [{'j': 'x', 'k': 2}] l, MAP {'b': 2.5} m",
        }
    ),
    "names differ in case": parquet({"a": "SELECT 1 Id, 'x' N", "b": "SELECT 'y' n, 2 iD"}),
    "odd names": parquet(
        {
            "it's": """SELECT 1 "o'dd", 2 "da""sh", 3 "ü ñ" """,
            "[b]": """SELECT 4 "o'dd", 5 "new\nline" """,
        }
    ),
    "hive partitions": parquet(
        {"y=1/a": "SELECT 1 id", "y=2/a": "SELECT 2 id, 'z' n"}, hive_partitioning=True
    ),
    "hive partitions that DuckDB finds by itself": parquet(
        {"y=1/m=a/a": "SELECT 1 id", "y=2/m=b/a": "SELECT 2 id, 'z' n"}
    ),
    "hive partitions with stated types": parquet(
        {"y=1/m=01/a": "SELECT 1 id", "y=2/m=02/a": "SELECT 2 id"},
        hive_types={"y": "SMALLINT", "m": "VARCHAR"},
    ),
    "hive partitions without types": parquet(
        {"y=1/a": "SELECT 1 id", "y=2/a": "SELECT 2 id"}, hive_types_autocast=False
    ),
    "hive partitions that do not count": parquet(
        {"y=1/a": "SELECT 1 id", "y=2/a": "SELECT 2 id, 'z' n"}, hive_partitioning=False
    ),
    "partitions of some files only": parquet({"y=1/a": "SELECT 1 id", "b": "SELECT 2 id"}),
    "hive partitions of dates": parquet(
        {"d=2020-01-01/a": "SELECT 1 id", "d=2020-01-02/a": "SELECT 2 id, 3 x"}
    ),
    "hive partitions that are odd": parquet(
        {
            "k=a%20b/a": "SELECT 1 id",
            "k=NULL/a": "SELECT 2 id",
            "k=null/a": "SELECT 3 id",
            "k=__HIVE_DEFAULT_PARTITION__/a": "SELECT 4 id",
            "k=/a": "SELECT 5 id",
            "k=x+y %zz 100%/a": "SELECT 6 id",
            "k=ü/a=b": "SELECT 7 id",
        }
    ),
    "hive partitions that are NULL numbers": parquet(
        {"k=1/a": "SELECT 1 id", "k=/a": "SELECT 2 id"}, hive_types={"k": "INTEGER"}
    ),
    "hive partitions that are columns too": parquet(
        {"y=1/a": "SELECT 1 id, 7 y, 'k' z", "y=2/a": "SELECT 2 id, 8 y, 'l' z"}
    ),
    "a hive partition with an odd name": parquet(
        {"a.b (c)=1/a": "SELECT 1 id", "a.b (c)=2/a": "SELECT 2 id, 3 x"}
    ),
    "the file's name": parquet({"a": "SELECT 1 id", "b": "SELECT 2 id, 3 x"}, filename=True),
    "the file's name under another": parquet(
        {"y=1/a": "SELECT 1 id", "y=2/b": "SELECT 2 id, 3 x"}, filename="src"
    ),
    "numbers of rows": parquet(
        {
            "a": "SELECT range id FROM range(3)",
            "b": "SELECT range::DOUBLE id, 3 x FROM range(2)",
        },
        file_row_number=True,
    ),
    "blobs as text": parquet(
        {"a": "SELECT 'x'::BLOB b", "b": "SELECT 'y'::BLOB b, 1 x"}, binary_as_string=True
    ),
    "the first file's columns": parquet(
        {"a": "SELECT 1 id, 'x' n", "b": "SELECT 'y' n, 2::BIGINT id, 3 z"}, union_by_name=False
    ),
    "the first file's columns, and partitions": parquet(
        {"y=1/a": "SELECT 1 id", "y=2/b": "SELECT 2 id, 3 z"}, union_by_name=None
    ),
    "CSV of several kinds": csv(
        {"a": "id,x\n1,1.10\n2,2\n", "b": "x;id\nabc;3\n", "c": "id,y\n4,2020-01-01\n"}
    ),
    "CSV with dates of several formats": csv(
        {"a": "id,x\n1,01/02/2020\n", "b": "id,x\n1,13/02/2020\n", "c": "id,x\n4,2020-01-01\n"},
        filename=True,
    ),
    "CSV with partitions": csv({"y=1/a": "id,x\n1,a\n", "y=2/b": "id;z\n1;true\n"}),
    "CSV with numbers that are widened": csv({"a": "id,x\n1,\n", "b": "id,x\n4,2.5\n"}),
    "CSV where some are text": csv(
        {"a": "id\n1.50\n2\n", "b": "id\n1e3\n", "c": "id\nabc\n", "d": "id\n2020-01-02\n"}
    ),
    "CSV with stated types": csv(
        {
            "a": "id\n2020-01-01\n",
            "b": "id\n2020-01-01 10:00:00\n",
            "c": 'id,q\n2020-01-05,"a,b"\n',
            "d": "id,q\n2020-01-05 10:00,true\n",
        },
        types={"q": "VARCHAR"},
    ),
    "CSV without a header": csv({"a": "1,a\n", "b": "2,b\n"}, header=False, names=["k", "v"]),
    "CSV of stated columns": csv(
        {"a": "id,n\n1,a\n", "b": "id,n\n2,b\n"}, columns={"id": "INTEGER", "n": "VARCHAR"}
    ),
    "CSV like the first": csv({"a": "id,x\n1,a\n", "b": "id,x\n2,b\n"}, union_by_name=None),
    "JSON": as_json({"a": '{"id": 1, "s": {"a": 1}}\n', "b": '[{"id": 2.5, "z": [1]}]'}),
    "JSON with partitions": as_json(
        {"y=1/a": '{"id": 1}\n', "y=2/b": '[{"id": 2.5, "z": [1]}]'}, filename=True
    ),
    "JSON with dates": as_json({"a": '{"id": 1, "d": "2020-01-31"}\n', "b": '{"id": 2}'}),
    "JSON with odd dates": as_json({"a": '{"id": 1, "d": "31-01-2020"}\n', "b": '{"id": 2}'}),
    "JSON with dates of a stated format": as_json(
        {"a": '{"id": 1, "d": "31-01-2020"}\n', "b": '{"id": 2}'},
        dateformat="%d-%m-%Y",
        timestampformat="%d-%m-%Y %H:%M",
    ),
    "JSON without union": as_json({"a": '{"id": 1}\n', "b": '{"z": 1}'}, union_by_name=None),
}


def write_files(folder: Path, mix: Mix) -> str:
    """Write a mix's files and return the pattern that matches them."""
    for name, content in mix.files.items():
        file = folder / f"{name}.{mix.source}"
        file.parent.mkdir(parents=True, exist_ok=True)
        if mix.source == "parquet":
            duckdb.sql(content).write_parquet(str(file))
        else:
            file.write_text(content, encoding="utf-8")
    return str(folder / "**" / f"*.{mix.source}")


@pytest.fixture(scope="module")
def mixes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a catalog with every mix, as the view of its name and as `…, not pinned`."""
    folder = tmp_path_factory.mktemp("mixes")
    views = []
    for number, (name, mix) in enumerate(MIXES.items()):
        uri = write_files(folder / str(number), mix)
        view = {"name": name, "source": mix.source, "uri": uri, "options": mix.options}
        views += [{**view, "pin": True}, {**view, "name": f"{name}, not pinned"}]
    config = folder / "catalog.json"
    document = {"version": 1, "duckdb": {"database": "mixes.duckdb"}, "views": views}
    config.write_text(json.dumps(document), encoding="utf-8")
    duckalog.build(config)
    with duckalog.connect(config) as connection:
        yield connection


def answer(connection: duckdb.DuckDBPyConnection, view: str) -> tuple[Any, ...]:
    result = connection.execute(f'FROM "{view}" ORDER BY ALL')
    return [(name, str(kind)) for name, kind, *_ in result.description], result.fetchall()


@pytest.mark.parametrize("mix", MIXES)
def test_columns_types_and_rows_are_those_of_the_unpinned_view(
    mixes: duckdb.DuckDBPyConnection, mix: str
) -> None:
    columns, rows = answer(mixes, mix)
    assert rows
    assert (columns, rows) == answer(mixes, f"{mix}, not pinned")


@pytest.mark.parametrize(
    "condition", ["y = 3", "y IN (3, 4)", "y BETWEEN 2 AND 3", "y > 4 AND id > 0", "y + 1 = 4"]
)
def test_filters_on_partitions_open_the_same_files(
    tmp_path: Path, write_config: WriteConfig, condition: str
) -> None:
    mix = parquet({f"y={n}/a": f"SELECT {n} id" + ", 1 x" * (n % 2) for n in range(6)})
    config = write_views(write_config, write_files(tmp_path / "data", mix), mix)
    duckalog.build(config)
    with duckalog.connect(config) as connection:
        opened = []
        for view in ("pinned", "plain"):
            query = f"EXPLAIN ANALYZE SELECT * FROM {view} WHERE {condition}"
            plan = connection.execute(query).fetchall()[0][1]
            (found,) = re.findall(r"Total Files Read: (\d+)", plan)
            opened.append(int(found))
    assert opened[0] == opened[1] < 6


def write_views(write_config: WriteConfig, uri: str, mix: Mix, database: str = "c.duckdb") -> Path:
    """Write a config with a mix's files as the views `pinned` and `plain`."""
    view = {"source": mix.source, "uri": uri, "options": mix.options}
    views = [{"name": "pinned", **view, "pin": True}, {"name": "plain", **view}]
    document = {"version": 1, "duckdb": {"database": database}, "views": views}
    return write_config(json.dumps(document, indent=1))


TWO = parquet({"a": "SELECT 1 id", "b": "SELECT 2 id, 'x' n"})


class Data(NamedTuple):
    """A config of the views `pinned` and `plain`, and the folder of their files."""

    config: Path
    folder: Path

    def add(self, name: str, query: str) -> None:
        write_files(self.folder, parquet({name: query}))

    def ids(self, view: str) -> list[int]:
        with duckalog.connect(self.config) as connection:
            rows = connection.execute(f"SELECT id FROM {view} ORDER BY id").fetchall()
        return [row[0] for row in rows]

    def actions(self, **options: Any) -> dict[str, str]:
        report = duckalog.build(self.config, **options)
        return {view.name: view.action if view.seconds else "left alone" for view in report.views}


@pytest.fixture
def data(tmp_path: Path, write_config: WriteConfig) -> Data:
    """Return two files under two views, built."""
    uri = write_files(tmp_path / "data", TWO)
    config = write_views(write_config, uri, TWO)
    duckalog.build(config)
    return Data(config, tmp_path / "data")


class TestRebuild:
    def test_a_new_file_is_read_after_a_build_and_not_before(self, data: Data) -> None:
        data.add("c", "SELECT 3 id, 1.5 extra")
        assert data.ids("pinned") == [1, 2]
        assert data.actions()["pinned"] == "replaced"  # its columns drifted
        assert data.ids("plain") == [1, 2, 3]
        assert data.ids("pinned") == [1, 2, 3]

    def test_an_unchanged_listing_is_left_alone(self, data: Data) -> None:
        before = views_of(data.config.parent / "c.duckdb")
        assert data.actions() == {"pinned": "left alone", "plain": "left alone"}
        assert views_of(data.config.parent / "c.duckdb") == before

    @pytest.mark.parametrize(
        "mix",
        [
            parquet({"a": "SELECT 1 id", "b": "SELECT 2 id"}),
            csv({"a": "id,n\n1,2\n", "b": "id,n\n3,4\n"}),
        ],
        ids=lambda mix: mix.source,
    )
    def test_a_file_that_did_not_change_is_not_opened_again(
        self, tmp_path: Path, write_config: WriteConfig, mix: Mix
    ) -> None:
        config = write_views(write_config, write_files(tmp_path / "data", mix), mix)
        document = json.loads(config.read_text())
        del document["views"][1]
        config.write_text(json.dumps(document))
        duckalog.build(config)
        file = tmp_path / "data" / f"b.{mix.source}"
        stat = file.stat()
        file.write_bytes(b'"' * stat.st_size)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        shutil.copy(tmp_path / "data" / f"a.{mix.source}", file.with_stem("c"))
        (view,) = duckalog.build(config).views
        assert (view.action, view.problem) == ("unchanged", None)
        with pytest.raises(duckdb.Error), duckalog.connect(config) as connection:
            connection.execute("FROM pinned").fetchall()

    def test_refresh_pins_again(self, data: Data) -> None:
        assert data.actions(refresh=True)["pinned"] == "unchanged"

    def test_a_file_that_was_written_again_counts_as_changed(self, data: Data) -> None:
        os.utime(data.folder / "a.parquet", (1, 1))
        (change, _) = duckalog.diff(data.config).changes
        assert change.reason == "its source changed"
        assert change.files.changed == (str(data.folder / "a.parquet"),)
        assert data.actions()["pinned"] == "unchanged"
        assert duckalog.diff(data.config).is_empty

    def test_pinning_a_view_and_freeing_it_make_it_again(self, data: Data) -> None:
        free = data.config.read_text().replace('"pin": true', '"pin": false')
        pinned = data.config.read_text()
        data.config.write_text(free)
        assert data.actions()["pinned"] == "replaced"
        data.add("c", "SELECT 3 id")
        assert data.ids("pinned") == [1, 2, 3]
        data.config.write_text(pinned)
        assert data.actions()["pinned"] == "replaced"

    def test_comments_are_there(self, data: Data) -> None:
        text = data.config.read_text().replace('"pin": true', '"pin": true, "description": "Two"')
        data.config.write_text(text)
        duckalog.build(data.config)
        with duckalog.connect(data.config) as connection:
            rows = connection.execute("SELECT comment FROM duckdb_views() WHERE view_name='pinned'")
            assert rows.fetchall() == [("Two",)]

    def test_views_over_a_pinned_one_read_what_it_reads(self, data: Data) -> None:
        document = json.loads(data.config.read_text())
        document["views"].append({"name": "over", "sql": "SELECT id FROM pinned"})
        data.config.write_text(json.dumps(document))
        duckalog.build(data.config)
        data.add("c", "SELECT 3 id")
        assert data.ids("over") == [1, 2]
        assert data.actions()["over"] == "unchanged"
        assert data.ids("over") == [1, 2, 3]


class TestPlan:
    def test_it_tells_which_files_came_and_went(self, data: Data) -> None:
        data.add("c", "SELECT 3 id")
        (data.folder / "b.parquet").unlink()
        (change, _) = duckalog.diff(data.config).changes
        assert change.files.added == (str(data.folder / "c.parquet"),)
        assert change.files.removed == (str(data.folder / "b.parquet"),)
        assert str(change.files) == "files: 1 added, 1 removed"

    def test_the_command_shows_them(self, data: Data, run_cli: RunCli) -> None:
        data.add("c", "SELECT 3 id")
        shown = run_cli("plan", data.config).stdout
        assert "files: 1 added" in shown
        assert "+ data/c.parquet" in shown
        document = json.loads(run_cli("plan", data.config, "--json").stdout)
        files = {"added": [str(data.folder / "c.parquet")], "removed": [], "changed": []}
        assert document["views"][0]["files"] == files

    def test_many_files_are_counted(self, data: Data, run_cli: RunCli) -> None:
        for number in range(12):
            data.add(f"more-{number:02}", "SELECT 3 id")
        shown = run_cli("plan", data.config).stdout
        assert "files: 12 added" in shown
        assert "more-09.parquet" in shown
        assert "more-10.parquet" not in shown
        assert "+ … 2 more" in shown

    def test_a_source_that_cannot_be_listed_is_told_beside_the_rest(
        self, data: Data, run_cli: RunCli
    ) -> None:
        document = json.loads(data.config.read_text())
        document["views"] += [
            {"name": "over", "sql": "FROM pinned"},
            {"name": "new", "sql": "SELECT 1 AS one"},
        ]
        data.config.write_text(json.dumps(document, indent=1))
        for file in data.folder.iterdir():
            file.unlink()
        result = run_cli("plan", data.config)
        assert result.returncode == 1
        assert 'views[0] "pinned": the view cannot be pinned: no file matches' in result.stderr
        signs = [line[:6] for line in result.stdout.splitlines()]
        assert signs == ["! pinn", "· plai", "! over", "+ new ", "Plan: "]
        assert "1 to create, 1 to make again, 2 to fail" in result.stdout
        report = json.loads(run_cli("plan", data.config, "--json").stdout)
        assert not report["ok"]
        assert [problem["name"] for problem in report["problems"]] == ["pinned"]
        actions = [view["action"] for view in report["views"]]
        assert actions == ["failed", "remade", "failed", "created"]
        refreshed = run_cli("plan", data.config, "--refresh")
        assert refreshed.returncode == 1
        assert refreshed.stderr.count('"pinned"') == 1
        assert '"plain"' in refreshed.stderr  # which only a binding tells


class TestErrors:
    def problem(self, config: Path) -> duckalog.EngineError:
        with pytest.raises(duckalog.EngineError) as caught:
            duckalog.build(config)
        return caught.value

    def test_no_file_is_told_with_the_pattern(
        self, tmp_path: Path, write_config: WriteConfig
    ) -> None:
        config = write_config("version: 1\nduckdb: {database: c.duckdb}\nviews:\n"
            "  - {name: v, source: parquet, uri: 'data/*.parquet', pin: true}\n")  # fmt: skip
        (problem,) = self.problem(config).problems
        assert problem.origin.line == 4
        pattern = tmp_path / "data" / "*.parquet"
        assert problem.message == f'the view cannot be pinned: no file matches "{pattern}"'

    def test_a_file_that_vanished_is_told_by_its_name(
        self, data: Data, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from duckalog.engine import pin

        data.add("c", "SELECT 3 id")
        listed = pin.files_of

        def files_of(*arguments: Any) -> Any:
            files = listed(*arguments)
            (data.folder / "c.parquet").unlink(missing_ok=True)
            return files

        monkeypatch.setattr(pin, "files_of", files_of)
        (problem,) = self.problem(data.config).problems
        assert (problem.name, problem.origin.path) == ("pinned", ("views", 0))
        assert "c.parquet" in problem.cause
        assert data.ids("pinned") == [1, 2]

    def test_a_file_of_another_kind_is_told_by_its_name(self, data: Data) -> None:
        (data.folder / "c.parquet").write_bytes(b"no Parquet at all")
        pinned, _ = self.problem(data.config).problems
        assert (pinned.name, pinned.origin.path) == ("pinned", ("views", 0))
        assert "c.parquet" in pinned.cause

    def test_types_that_do_not_unite_fail_as_they_do_unpinned(
        self, tmp_path: Path, write_config: WriteConfig
    ) -> None:
        mix = parquet({"a": "SELECT 1 id", "b": "SELECT [2] id"})
        config = write_views(write_config, write_files(tmp_path / "data", mix), mix)
        duckalog.build(config)
        with duckalog.connect(config) as connection:
            for view in ("pinned", "plain"):
                with pytest.raises(duckdb.ConversionException, match=r"a\.parquet.*column \"id\""):
                    connection.execute(f"FROM {view}").fetchall()

    def test_a_column_called_filename_stands_in_the_way_of_partitions(
        self, tmp_path: Path, write_config: WriteConfig
    ) -> None:
        mix = parquet({"y=1/a": "SELECT 1 id, 'x' filename", "y=2/a": "SELECT 2 id"})
        config = write_views(write_config, write_files(tmp_path / "data", mix), mix)
        (problem,) = self.problem(config).problems
        assert 'the files have a column "filename"' in problem.message
        assert "hive_partitioning: false" in problem.remedy

    def test_files_of_nothing_but_partitions_are_refused(
        self, tmp_path: Path, write_config: WriteConfig
    ) -> None:
        mix = parquet({"y=1/a": "SELECT 1 y", "y=2/a": "SELECT 2 y"})
        config = write_views(write_config, write_files(tmp_path / "data", mix), mix)
        (problem,) = self.problem(config).problems
        assert "no columns besides their partitions" in problem.message

    def test_types_by_position_cannot_be_those_of_several_files(
        self, tmp_path: Path, write_config: WriteConfig
    ) -> None:
        mix = csv({"a": "id,n\n1,1\n", "b": "id,n\n2,x\n"}, types=["BIGINT"])
        config = write_views(write_config, write_files(tmp_path / "data", mix), mix)
        (problem,) = self.problem(config).problems
        assert '"types" is a list' in problem.message
        assert problem.remedy.startswith("Write types as a map from names to types.")

    def test_with_keep_going_the_others_are_built(self, data: Data) -> None:
        for file in data.folder.iterdir():
            file.unlink()
        document = json.loads(data.config.read_text())
        document["views"] = [document["views"][0], {"name": "other", "sql": "SELECT 1 id"}]
        data.config.write_text(json.dumps(document))
        report = duckalog.build(data.config, keep_going=True)
        assert [problem.name for problem in report.problems] == ["pinned"]
        assert data.ids("other") == [1]

    @pytest.mark.parametrize(
        "view",
        [
            "source: delta, uri: x, options: {version: 1}",
            "source: iceberg, uri: x, options: {snapshot_id: 1}",
            "source: iceberg, uri: x, options: {snapshot_timestamp: '2026-01-01'}",
        ],
    )
    def test_a_time_that_is_stated_already_excludes_pin(
        self, write_config: WriteConfig, view: str
    ) -> None:
        config = write_config(f"version: 1\nviews: [{{name: v, {view}, pin: true}}]")
        with pytest.raises(duckalog.ConfigError, match=r'"pin" and ".*" exclude each other'):
            duckalog.validate_config(config)

    def test_sources_without_a_listing_have_no_pin(self, write_config: WriteConfig) -> None:
        config = write_config("version: 1\nviews: [{name: v, sql: SELECT 1, pin: true}]")
        with pytest.raises(duckalog.ConfigError, match="pin"):
            duckalog.validate_config(config)


class TestScripts:
    def test_they_have_the_unpinned_query_and_say_so(self, data: Data) -> None:
        script = duckalog.generate_sql(data.config)
        before, _, after = script.partition('CREATE OR REPLACE VIEW "pinned"')
        assert before.endswith("finds of its source then.\n")
        assert "*.parquet" in after.partition(";")[0]
        assert script.count("-- Pinned:") == 1

    def test_a_catalog_in_memory_is_pinned_when_it_is_opened(
        self, tmp_path: Path, write_config: WriteConfig
    ) -> None:
        uri = write_files(tmp_path / "data", TWO)
        config = write_views(write_config, uri, TWO, database=":memory:")
        with duckalog.connect(config) as connection:
            write_files(tmp_path / "data", parquet({"c": "SELECT 3 id"}))
            for view, rows in (("pinned", 2), ("plain", 3)):
                assert connection.execute(f"SELECT count(*) FROM {view}").fetchall() == [(rows,)]

    def test_trying_out_pins_too(self, data: Data) -> None:
        duckalog.validate_config(data.config, connect=True)
        (data.folder / "b.parquet").write_bytes(b"no Parquet")
        with pytest.raises(duckalog.EngineError, match='"pinned"'):
            duckalog.validate_config(data.config, connect=True)

    def test_hundreds_of_files_are_stored_as_one_text(
        self, tmp_path: Path, write_config: WriteConfig
    ) -> None:
        names = [f"y={n % 3}/it's {n:03}" for n in range(300)]
        mix = parquet(dict.fromkeys(names, "SELECT 1 id"))
        config = write_views(write_config, write_files(tmp_path / "data", mix), mix)
        duckalog.build(config)
        assert "string_split" in views_of(tmp_path / "c.duckdb")["main.pinned"]
        with duckalog.connect(config) as connection:
            counted = "SELECT y, count(*) FROM {} GROUP BY y ORDER BY y"
            pinned, plain = (
                connection.execute(counted.format(view)).fetchall() for view in ("pinned", "plain")
            )
        assert pinned == plain == [(0, 100), (1, 100), (2, 100)]


def test_the_log_does_not_repeat_every_file(data: Data, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(300):
        data.add(f"{'long' * 10}-{number}", "SELECT 3 id")
    with caplog.at_level("DEBUG", logger="duckalog.engine"):
        duckalog.build(data.config)
    longest = max(len(record.getMessage()) for record in caplog.records)
    assert 10_000 < longest < 10_100


def test_a_delta_table_needs_duckdb_1_5(monkeypatch: pytest.MonkeyPatch) -> None:
    from duckalog.engine.pin_tables import current_version
    from duckalog.views.pinned import PinnedDelta, Unpinnable

    monkeypatch.setattr("duckalog.engine.pin_tables.READS_DELTA_VERSIONS", False)
    with pytest.raises(Unpinnable, match=r"DuckDB 1\.4 cannot read a Delta table at a version"):
        current_version(duckdb.connect(), PinnedDelta(uri="x", rendered={}))
