"""COPY and batches against a real server."""

from __future__ import annotations

import datetime
import io
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from duckalog.postgres import (
    ConnectionLost,
    CopyFormat,
    IntegrityError,
    PoolConfig,
    QueryError,
    QueryTimeout,
)
from tests.hostile import HOSTILE, NAME, TEXT
from tests.postgres.faces import MakeClient
from tests.servers.postgres import Postgres
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.servers

CSV = b'1,"a, b"\n2,\n3,""\n'


@dataclass
class Pair:
    i: int
    t: str


def rows(client: Any, table: str) -> list[tuple[Any, ...]]:
    return list(client.query(f"SELECT i, t FROM {table} ORDER BY i", into=tuple))


@pytest.fixture
def wide(postgres: Postgres, database: str) -> Iterator[str]:
    """A table with a column of many a type, in a schema that has to be quoted."""
    name = '"Odd ""Schema""".wide'
    columns = (
        "i int PRIMARY KEY, n numeric(20,5), ts timestamptz, d date, u uuid, b bytea, "
        'js jsonb, a int[], tt text[], ok bool, "Select" varchar(9), iv interval, bb bytea[]'
    )
    postgres.run('CREATE SCHEMA "Odd ""Schema"""', database)
    postgres.run(f"CREATE TABLE {name} ({columns})", database)
    yield name
    postgres.run('DROP SCHEMA "Odd ""Schema""" CASCADE', database)


WIDE = ["i", "n", "ts", "d", "u", "b", "js", "a", "tt", "ok", "Select", "iv", "bb"]
VALUES: tuple[Any, ...] = (
    1,
    Decimal("-12.34500"),
    datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc),
    datetime.date(2024, 2, 29),
    uuid.UUID(int=7),
    b"\0\xff'\\",
    Jsonb({"a": [1, "x'"]}),
    [1, None, 3],
    ["a,b", '"', "\\", "NULL", ""],
    True,
    "o'er",
    datetime.timedelta(days=1, seconds=2),
    [b"\0\\'\"", b""],
)
SHOWN = tuple({"a": [1, "x'"]} if isinstance(one, Jsonb) else one for one in VALUES)
NULLS: tuple[Any, ...] = (2, *[None] * (len(WIDE) - 1))


class TestCopyIn:
    @pytest.mark.parametrize(
        "source",
        [
            CSV,
            [CSV[:7], CSV[7:]],
            (piece for piece in [CSV.decode()]),
            io.BytesIO(CSV),
            io.StringIO(CSV.decode()),
        ],
        ids=["bytes", "pieces", "texts", "file", "text file"],
    )
    def test_csv_from_anything_that_has_pieces(self, client: Any, table: str, source: Any) -> None:
        if hasattr(source, "seek"):
            source.seek(0)
        elif hasattr(source, "send"):
            source = iter([CSV.decode()])
        assert client.copy_in(table, source) == 3
        assert rows(client, table) == [(1, "a, b"), (2, None), (3, "")]

    def test_csv_from_a_path_with_a_header_and_columns(
        self, client: Any, table: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "x.csv"
        path.write_text("t,i\nx,1\n")
        assert client.copy_in(table, path, columns=["t", "i"], header=True) == 1
        assert client.copy_in(f"public.{table}", io.StringIO("2\n"), columns=["i"]) == 1
        assert rows(client, table) == [(1, "x"), (2, None)]

    def test_a_bad_line_is_told_and_nothing_holds(self, client: Any, table: str) -> None:
        with pytest.raises(QueryError, match="invalid input syntax") as caught:
            client.copy_in(table, b"1,a\nx,b\n")
        assert caught.value.sqlstate == "22P02"
        with pytest.raises(IntegrityError):
            client.copy_in(table, b"1,a\n1,b\n")
        assert rows(client, table) == []

    def test_an_error_of_the_source_undoes_it(self, client: Any, table: str) -> None:
        def pieces() -> Iterator[bytes]:
            yield b"1,a\n"
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            client.copy_in(table, pieces())
        assert rows(client, table) == []

    def test_a_name_that_is_none_is_refused(self, client: Any) -> None:
        for name in ("", "a.", '"a'):
            with pytest.raises(ValueError, match="is not a name"):
                client.copy_in(name, b"")


class TestCopyOut:
    @pytest.mark.parametrize("format", CopyFormat)
    def test_what_goes_out_comes_in(
        self, client: Any, wide: str, format: CopyFormat, tmp_path: Path
    ) -> None:
        client.batch_insert(wide, WIDE, [VALUES, NULLS])
        path = tmp_path / "copied"
        assert client.copy_out(f"SELECT * FROM {wide} -- all", path, format=format) == 2
        buffer = io.BytesIO()
        client.copy_out(f"SELECT * FROM {wide}", buffer, format=format)
        assert buffer.getvalue() == path.read_bytes()
        client.execute(f"TRUNCATE {wide}")
        assert client.copy_in(wide, path, format=format) == 2
        assert client.query(f"SELECT * FROM {wide} ORDER BY i") == [SHOWN, NULLS]

    def test_text_files_functions_and_headers(self, client: Any) -> None:
        text = io.StringIO()
        assert client.copy_out("SELECT 1 AS i, 'ü' AS t", text, header=True) == 1
        assert text.getvalue() == "i,t\n1,ü\n"
        pieces: list[bytes] = []
        client.copy_out("SELECT 1", pieces.append, format="text")
        assert b"".join(pieces) == b"1\n"

    def test_a_cut_link_is_one_error(
        self, make_client: MakeClient, postgres: Postgres, proxy: Callable[[str, int], Proxy]
    ) -> None:
        link = proxy(postgres.host, postgres.port)
        client = make_client(port=link.port, pool=PoolConfig(min_size=1, max_size=1))
        client.query_scalar("SELECT 1")
        link.behave("pass", cut_after_bytes=100_000)
        with pytest.raises(ConnectionLost):
            client.copy_out("SELECT * FROM generate_series(1, 500000)", io.BytesIO())
        link.behave("pass")
        assert client.query_scalar("SELECT 1") == 1

    def test_its_limit_is_for_what_does_not_move(self, client: Any) -> None:
        with pytest.raises(QueryTimeout):
            client.copy_out("SELECT pg_sleep(9)", io.BytesIO(), timeout_s=0.2)
        slow = "SELECT i, pg_sleep(0.02), repeat('x', 9000) FROM generate_series(1, 25) i"
        assert client.copy_out(slow, io.BytesIO(), timeout_s=0.3) == 25


class TestRows:
    @pytest.mark.parametrize("format", [CopyFormat.TEXT, CopyFormat.BINARY])
    def test_copy_takes_every_type(self, client: Any, wide: str, format: CopyFormat) -> None:
        assert client.copy_rows(wide, WIDE, [VALUES, NULLS], format=format) == 2
        assert client.query(f"SELECT * FROM {wide} ORDER BY i") == [SHOWN, NULLS]

    @pytest.mark.parametrize(
        "given",
        [
            [(1, "a"), [2, "b"]],
            [{"t": "a", "i": 1}, {"i": 2, "t": "b"}],
            [Pair(1, "a"), Pair(2, "b")],
            pyarrow.table({"x": [0, 0], "t": ["a", "b"], "i": [1, 2]}),
            pyarrow.record_batch({"t": ["a", "b"], "i": [1, 2]}),
        ],
        ids=["sequences", "mappings", "objects", "arrow table", "arrow batch"],
    )
    def test_rows_may_be_many_things(self, client: Any, table: str, given: Any) -> None:
        assert client.batch_insert(table, ["i", "t"], given) == 2
        assert rows(client, table) == [(1, "a"), (2, "b")]

    def test_an_arrow_reader_is_rows(self, client: Any, table: str) -> None:
        whole = pyarrow.table({"i": list(range(5000))})
        reader = pyarrow.RecordBatchReader.from_batches(
            whole.schema, whole.to_batches(max_chunksize=999)
        )
        assert client.batch_insert(table, ["i"], reader) == 5000

    def test_csv_is_no_format_of_rows(self, client: Any, table: str) -> None:
        with pytest.raises(ValueError, match="text or binary"):
            client.copy_rows(table, ["i"], [[1]], format="csv")

    def test_all_rows_or_none_are_inserted(self, client: Any, table: str) -> None:
        with pytest.raises(IntegrityError):
            client.batch_insert(table, ["i"], [[1], [2], [1]])
        assert rows(client, table) == []

    def test_chunks_hold_one_by_one(self, client: Any, table: str) -> None:
        with pytest.raises(IntegrityError):
            client.batch_insert(table, ["i"], [[1], [2], [3], [1]], chunk_size=2)
        assert [i for i, _ in rows(client, table)] == [1, 2]
        with pytest.raises(IntegrityError), client.transaction() as transaction:
            transaction.batch_insert(table, ["i"], [[4], [4]], chunk_size=1)
        assert [i for i, _ in rows(client, table)] == [1, 2]
        with pytest.raises(ValueError, match="chunk_size"):
            client.batch_insert(table, ["i"], [], chunk_size=0)

    def test_a_hundred_thousand_rows_a_second_are_no_trouble(self, client: Any, table: str) -> None:
        started = time.monotonic()
        assert (
            client.batch_insert(table, ["i", "t"], ((i, "text") for i in range(50_000))) == 50_000
        )
        assert 50_000 / (time.monotonic() - started) > 10_000  # the requirement's own figure

    def test_hostile_texts_stay_data(self, client: Any, table: str) -> None:
        pairs = list(enumerate(HOSTILE))
        assert client.batch_insert(table, ["i", "t"], pairs) == len(HOSTILE)
        assert rows(client, table) == pairs
        swapped = [(i, f"{text}'") for i, text in pairs]
        assert client.upsert(table, ["i", "t"], swapped, key=["i"]) == len(HOSTILE)
        assert rows(client, table) == swapped

    @settings(
        max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
    )
    @given(NAME, NAME, TEXT)
    def test_any_name_and_any_text_stay_data(
        self, client: Any, table: str, column: str, channel: str, text: str
    ) -> None:
        column, channel = (one.encode()[:60].decode(errors="ignore") for one in (column, channel))
        kept = f'{table}"."{column}'[:40].encode()[:60].decode(errors="ignore")
        name = Identifier(kept).as_string(None)
        with client.transaction() as all_:
            all_.execute(
                SQL("CREATE TABLE {} (i int PRIMARY KEY, {} text)").format(
                    Identifier(kept), Identifier(f"c{column}")
                )
            )
            columns = ["i", f"c{column}"]
            assert all_.batch_insert(name, columns, [(1, text), (2, text)]) == 2
            assert all_.upsert(name, columns, [(1, text + "'")], key=["i"]) == 1
            assert all_.batch_update(name, columns, [(2, text + ";")], key=["i"]) == 1
            out = io.StringIO()
            assert all_.copy_out(SQL("SELECT * FROM {}").format(Identifier(kept)), out) == 2
            assert all_.batch_delete(name, ["i"], [[3]]) == 0
            found = all_.query(SQL("SELECT * FROM {} ORDER BY i").format(Identifier(kept)))
            assert found == [(1, text + "'"), (2, text + ";")]
            assert found[0].keys() == tuple(columns)
            all_.notify(channel, text[:1000])
            all_.rollback()


class TestBatches:
    def test_upsert_inserts_or_updates(self, client: Any, table: str) -> None:
        client.execute(f"INSERT INTO {table} VALUES (1, 'old'), (3, 'other')")
        assert client.upsert(table, ["i", "t"], [(1, "new"), (2, "b")], key=["i"]) == 2
        assert rows(client, table) == [(1, "new"), (2, "b"), (3, "other")]
        kept = client.upsert(table, ["i", "t"], [(1, "newer"), (4, "d")], key=["i"], update=[])
        assert kept == 1
        assert rows(client, table)[0] == (1, "new")

    def test_upsert_takes_every_type(self, client: Any, wide: str) -> None:
        for _ in range(2):
            assert client.upsert(wide, WIDE, [VALUES, NULLS], key=["i"]) == 2
        assert client.query(f"SELECT * FROM {wide} ORDER BY i") == [SHOWN, NULLS]

    def test_update_and_delete_find_rows_by_their_key(self, client: Any, table: str) -> None:
        client.batch_insert(table, ["i", "t"], [(i, "old") for i in range(1, 6)])
        changed = [{"i": 1, "t": "x"}, {"i": 2, "t": None}, {"i": 9, "t": "nobody"}]
        assert client.batch_update(table, ["i", "t"], changed, key=["i"]) == 2
        assert client.batch_delete(table, ["i"], [[3], [4], [99]]) == 2
        assert rows(client, table) == [(1, "x"), (2, None), (5, "old")]

    def test_many_batches_are_one_transaction(self, client: Any, table: str) -> None:
        many = [(i, str(i)) for i in range(25_000)]
        assert client.upsert(table, ["i", "t"], many, key=["i"]) == 25_000
        with pytest.raises(QueryError):
            client.upsert(table, ["i", "t"], [*((i, "new") for i, _ in many), ("x", "")], key=["i"])
        assert not client.exists(f"SELECT 1 FROM {table} WHERE t = 'new'")
        assert client.batch_delete(table, ["i"], ([i] for i, _ in many)) == 25_000

    def test_in_a_transaction_they_go_with_it(self, client: Any, table: str) -> None:
        with pytest.raises(ZeroDivisionError), client.transaction() as transaction:
            assert transaction.upsert(table, ["i"], [[1]], key=["i"], update=[]) == 1
            raise ZeroDivisionError
        assert rows(client, table) == []

    def test_a_value_that_cannot_be_sent_is_told(self, client: Any, table: str) -> None:
        with pytest.raises(QueryError, match=r"type dict\n.*Wrap it: Jsonb"):
            client.upsert(table, ["i", "t"], [(1, {"a": 1})], key=["i"])
        assert not client.exists(f"SELECT 1 FROM {table}")

    def test_no_rows_touch_nothing(self, client: Any, table: str) -> None:
        assert client.batch_insert(table, ["i"], []) == 0
        assert client.upsert(table, ["i", "t"], [], key=["i"]) == 0
        assert client.batch_delete(table, ["i"], []) == 0

    def test_names_that_are_not_there_are_told(self, client: Any, table: str) -> None:
        with pytest.raises(QueryError, match=f'the table "{table}" has no column "tt"') as caught:
            client.upsert(table, ["i", "tt"], [], key=["i"])
        assert 'Did you mean "t"? Columns: i, t' in str(caught.value)
        with pytest.raises(QueryError, match='there is no table "nope"'):
            client.batch_delete("nope", ["i"], [])
        with pytest.raises(ValueError, match='"x" is not among them'):
            client.upsert(table, ["i"], [], key=["x"])
        with pytest.raises(ValueError, match="none but those of the key"):
            client.batch_update(table, ["i"], [], key=["i"])
        for key in ([], "i"):
            with pytest.raises(ValueError, match="key: expected the names"):
                client.upsert(table, ["i", "t"], [(1, "a")], key=key)
        with pytest.raises(ValueError, match="rows: expected 2 values in each, got 1"):
            client.upsert(table, ["i", "t"], [(1,)], key=["i"])
