"""`init --from` a folder or an S3 prefix: a view for each dataset, which builds."""

from __future__ import annotations

import string
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import pytest

import duckalog
from duckalog.init.datasets import grouped
from tests import tables
from tests.catalogs import change
from tests.servers.s3 import S3

LETTERS = string.ascii_lowercase[:20]

ONE = "SELECT 1 AS id, 'x' AS name"
IDS = "0a1b2c3d-1111-2222-3333-444455556666", "ffffffff-1111-2222-3333-444455556666"


def write(folder: Path, path: str, rows_sql: str = ONE) -> None:
    """Write the rows of a query to a file, in the format of its ending."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = {"jsonl": "json", "tsv": "csv"}.get(file.suffix[1:], file.suffix[1:])
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({rows_sql}) TO '{file}' (FORMAT {kind})")


def started(place: str | Path, folder: Path) -> tuple[Path, duckalog.StartingConfig]:
    """Write the config that `init` makes of a place into a folder, and build it."""
    folder.mkdir(exist_ok=True)
    start = duckalog.init_config(place, folder / "catalog.yaml")
    (folder / "catalog.yaml").write_text(start.text, encoding="utf-8")
    duckalog.build(folder / "catalog.yaml")
    return folder / "catalog.yaml", start


def counts_of(config: Path) -> dict[str, int]:
    """Return how many rows each view of a built catalog has."""
    with duckalog.connect(config) as connection:
        names = [view.name for view in duckalog.load_config(config).views]
        return {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchall()[0][0]
            for name in names
        }


def view_of(config: Path, name: str) -> Any:
    (found,) = (view for view in duckalog.load_config(config).views if view.name == name)
    return found


def patterns_of(files: Iterable[str]) -> list[tuple[str, ...]]:
    return [one.patterns for one in grouped(files).datasets]


class TestGrouping:
    @pytest.mark.parametrize(
        ("files", "patterns"),
        [
            (["a.parquet", "b.parquet"], [("a.parquet",), ("b.parquet",)]),
            (["a_1.parquet", "a_2.parquet"], [("*.parquet",)]),
            (["day_1.csv", "day_2.csv", "other.csv"], [("day_*.csv",), ("other.csv",)]),
            (["x.csv", "x.json", "x.parquet"], [("x.csv",), ("x.json",), ("x.parquet",)]),
            (["t/k=1/a.parquet", "t/k=2/b/c.parquet"], [("t/k=*/**/*.parquet",)]),
            (["t/2024/01/a.csv", "t/2024/02/b.csv", "t/c.csv"],
             [("t/[0-9]*/**/*.csv",), ("t/c.csv",)]),
            ([f"p/part-0-{IDS[0]}.parquet", f"p/part-1-{IDS[1]}.parquet"], [("p/part-*.parquet",)]),
            (["d/_delta_log/0.json", "d/a.parquet", "d/k=1/b.parquet"], [("d",)]),
            (["_delta_log/0.json", "a.parquet"], [(".",)]),
            (["i/metadata/00000-a.metadata.json", "i/metadata/00010-b.metadata.json",
              "i/metadata/00009-c.metadata.json", "i/data/a.parquet"],
             [("i/metadata/00010-b.metadata.json",)]),
            (["i/metadata/v1.metadata.json", "i/metadata/version-hint.text"], [("i",)]),
            (["_SUCCESS", ".hidden.parquet", "_temporary/0/a.parquet", "read.me", "x.crc"], []),
            (["odd[1].csv", "odd*.csv"], [("odd[*].csv",), ("odd[[]1].csv",)]),
            (["o/part-00000.parquet", "o/_SUCCESS"], [("o/part-*.parquet",)]),
            ([f"o/{IDS[0]}.snappy.parquet", "o/read.me"], [("o/*.parquet",)]),
            (["o/000000_0.csv", "o/other.csv"], [("o/000000_0.csv",), ("o/other.csv",)]),
            (["a.csv.gz", "b.jsonl.zst"], [("a.csv.gz",), ("b.jsonl.zst",)]),
        ],
    )  # fmt: skip
    def test_which_files_are_one(self, files: list[str], patterns: list[tuple[str, ...]]) -> None:
        assert sorted(patterns_of(files)) == sorted(patterns)

    def test_many_files_stay_in_their_folders(self) -> None:
        files = [f"d{n % 500}/k={n % 7}/part-{n}.parquet" for n in range(20_000)]
        assert len(grouped(files).datasets) == 500

    def test_a_folder_may_have_many_small_datasets(self) -> None:
        words = [f"{first}{second}{third}" for first, second, third in product(LETTERS, repeat=3)]
        found = grouped(f"all/{word}_{day}.csv" for word in words for day in (1, 2))
        assert {one.patterns for one in found.datasets} == {(f"all/{one}_*.csv",) for one in words}


class TestFolder:
    def test_every_dataset_has_a_view(self, tmp_path: Path) -> None:
        lake = tmp_path / "lake"
        for number in (1, 2):
            write(lake, f"events/year=2024/month={number}/a.parquet")
            write(lake, f"logs/2024/0{number}/a.csv")
            write(lake, f"sensor/part-0000{number}-{IDS[0]}.snappy.parquet")
            write(lake, f"Odd [x]/{number}.parquet")
        write(lake, "people/north.parquet")
        write(lake, "people/south.parquet")
        write(lake, "people/codes.parquet", "SELECT 1 AS code")
        write(lake, "top.jsonl")
        write(lake, "2024.csv", "SELECT 1 AS a, 2 AS b")
        config, start = started(lake, tmp_path)
        assert counts_of(config) == {
            "events": 2,
            "logs": 2,
            "sensor": 2,
            "odd_x": 2,
            "people": 2,
            "codes": 1,
            "top": 1,
            "data_2024": 1,
        }
        assert start.notes == ()
        assert view_of(config, "events").options == {"hive_partitioning": True}
        with duckalog.connect(config) as connection:
            rows = connection.execute("SELECT year, month FROM events ORDER BY month").fetchall()
        assert rows == [(2024, 1), (2024, 2)]

    def test_columns_that_come_later_are_read_by_name(self, tmp_path: Path) -> None:
        write(tmp_path, "lake/orders_1.parquet")
        write(tmp_path, "lake/orders_2.parquet", "SELECT 9 AS more, 'y' AS name, 2 AS id")
        config, _ = started(tmp_path / "lake", tmp_path)
        with duckalog.connect(config) as connection:
            rows = connection.execute("SELECT id, more FROM orders ORDER BY id").fetchall()
        assert rows == [(1, None), (2, 9)]

    def test_names_are_given_once(self, tmp_path: Path) -> None:
        for folder in ("eu/raw", "us/raw", "eu"):
            write(tmp_path, f"lake/{folder}/orders.parquet")
        write(tmp_path, "lake/eu/orders.csv")
        config, _ = started(tmp_path / "lake", tmp_path)
        assert sorted(counts_of(config)) == ["eu_orders", "orders", "raw_orders", "us_raw_orders"]

    def test_paths_start_from_the_config(self, tmp_path: Path) -> None:
        write(tmp_path, "lake/a.parquet")
        assert "uri: lake/a.parquet" in started(tmp_path / "lake", tmp_path)[1].text
        (tmp_path / "lake" / "sub").mkdir()
        config, start = started(tmp_path / "lake", tmp_path / "lake" / "sub")
        assert "uri: ../a.parquet" in start.text
        assert counts_of(config) == {"a": 1}
        assert (
            f"uri: {tmp_path}/lake/a.parquet"
            in duckalog.init_config(tmp_path / "lake", "/elsewhere/catalog.yaml").text
        )

    def test_a_file_that_cannot_be_read_is_left_out(self, tmp_path: Path) -> None:
        write(tmp_path, "lake/a.parquet")
        (tmp_path / "lake" / "bad.parquet").write_text("nothing")
        config, start = started(tmp_path / "lake", tmp_path)
        assert counts_of(config) == {"a": 1}
        (note,) = start.notes
        assert note.kind == "left out"
        assert "bad.parquet" in note.subject

    def test_the_tables_of_databases_have_views(self, tmp_path: Path) -> None:
        (tmp_path / "lake").mkdir()
        change(
            tmp_path / "lake" / "ref.duckdb",
            "CREATE TABLE countries AS SELECT 1 AS i",
            'CREATE SCHEMA "odd.s"',
            'CREATE TABLE "odd.s".t AS SELECT 1 AS i',
        )
        (tmp_path / "lake" / "broken.duckdb").write_text("nothing" * 1000)
        config, start = started(tmp_path / "lake", tmp_path)
        assert counts_of(config) == {"countries": 1, "t": 1}
        assert [note.kind for note in start.notes] == ["left out"]

    def test_a_folders_only_file_is_called_like_it_and_read_with_those_to_come(
        self, tmp_path: Path
    ) -> None:
        write(tmp_path, "lake/orders/part-00000.parquet")
        config, _ = started(tmp_path / "lake", tmp_path)
        write(tmp_path, "lake/orders/part-00001.parquet")
        assert counts_of(config) == {"orders": 2}

    def test_one_file_has_one_view(self, tmp_path: Path) -> None:
        write(tmp_path, "lake/orders.csv")
        write(tmp_path, "lake/other.csv")
        config, start = started(tmp_path / "lake" / "orders.csv", tmp_path)
        assert "uri: lake/orders.csv" in start.text
        assert counts_of(config) == {"orders": 1}

    def test_one_file_that_has_a_number_for_a_name_is_read_without_others(
        self, tmp_path: Path
    ) -> None:
        write(tmp_path, "lake/2024.csv")
        write(tmp_path, "lake/2025.csv")
        config, _ = started(tmp_path / "lake" / "2024.csv", tmp_path)
        assert counts_of(config) == {"lake": 1}

    def test_one_file_that_cannot_be_read_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "bad.parquet").write_text("nothing")
        with pytest.raises(
            duckalog.EngineError, match=r'"bad.parquet" cannot be read\n.*too small'
        ):
            duckalog.init_config(tmp_path / "bad.parquet")

    def test_views_of_a_database_that_do_not_bind_are_left_out(self, tmp_path: Path) -> None:
        (tmp_path / "lake").mkdir()
        change(
            tmp_path / "lake" / "shop.duckdb",
            "CREATE TABLE t AS SELECT 1 AS i",
            "CREATE VIEW of_t AS FROM t",
            "ATTACH ':memory:' AS crm",
            "CREATE TABLE crm.customers AS SELECT 1 AS i",
            "CREATE VIEW customers AS FROM crm.customers",
        )
        config, start = started(tmp_path / "lake", tmp_path)
        assert counts_of(config) == {"t": 1, "of_t": 1}
        (note,) = start.notes
        assert (note.kind, note.subject) == ("left out", '"customers" of database "shop"')

    def test_a_folder_without_data_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(duckalog.EngineError, match="there is no data here"):
            duckalog.init_config(tmp_path)

    def test_a_config_can_be_made_again_where_its_catalog_lies(self, tmp_path: Path) -> None:
        write(tmp_path, "a.parquet")
        first = started(tmp_path, tmp_path)[1].text
        assert duckalog.init_config(tmp_path, tmp_path / "catalog.yaml").text == first

    @pytest.mark.parametrize(
        "place", ["https://example.com/data", "s3://me:pw@bucket/data", "s3://bucket/?sig=pw"]
    )
    def test_a_place_that_cannot_be_listed_is_told(self, place: str) -> None:
        with pytest.raises(duckalog.ConfigError, match="cannot be listed") as caught:
            duckalog.init_config(place)
        assert "pw" not in str(caught.value)


@pytest.mark.servers
class TestTables:
    def test_delta_iceberg_and_sqlite_are_found(self, tmp_path: Path) -> None:
        lake = tmp_path / "lake"
        tables.write_delta(lake / "bronze" / "orders")
        tables.write_iceberg(lake / "ice")
        tables.write_sqlite(lake / "crm.db", "customers")
        config, start = started(lake, tmp_path)
        counts = counts_of(config)
        assert counts["bronze_orders" if "bronze_orders" in counts else "orders"] == 3
        kinds = {view.source_name for view in duckalog.load_config(config).views}
        assert kinds == {"delta", "iceberg", "sqlite"}
        assert counts["customers"] == 2
        assert any("version hint" in note.reason for note in start.notes)


@pytest.mark.servers
class TestS3:
    def test_a_prefix_is_listed_and_no_secret_is_written(
        self, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        s3.make_bucket("init-lake")
        for number in (1, 2):
            for path in (f"events/day=2024-01-0{number}/a.parquet", f"top_{number}.csv"):
                write(tmp_path, path)
                s3.put("init-lake", f"the data/{path}", tmp_path / path)
        s3.put("init-lake", "elsewhere/x.csv", b"a\n1\n")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret)
        monkeypatch.setenv("AWS_REGION", s3.region)
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
        config, start = started("s3://init-lake/the data", tmp_path / "new")
        assert counts_of(config) == {"events": 2, "top": 2}
        assert s3.secret not in start.text + repr(start)
        assert s3.key_id not in start.text
        assert "secret: ${env:AWS_SECRET_ACCESS_KEY}" in start.text
        assert "uri: s3://init-lake/the data/events/day=*/**/*.parquet" in start.text

    def test_a_wrong_key_is_told_without_it(self, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody-knows-me")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nobody-knows-this")
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
        with pytest.raises(duckalog.EngineError) as caught:
            duckalog.init_config("s3://init-lake/")
        (problem,) = caught.value.problems
        assert (problem.place, problem.message) == (
            "s3://init-lake",
            "the files cannot be listed",
        )
        assert "LINE" not in problem.cause
        assert "403" in str(caught.value)
        assert "nobody-knows" not in str(caught.value)
