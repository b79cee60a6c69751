"""Masked columns are shown by no way of asking, whatever they are called in the result."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import pytest

from duckalog import ConfigError
from duckalog.postgres import (
    MaskError,
    PgConfig,
    QueryError,
    mask_constant,
    mask_hash,
    mask_partial,
)
from tests.postgres.faces import MakeClient
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.servers

TABLES = """
CREATE SCHEMA crm;
CREATE TABLE crm.users (id int PRIMARY KEY, email text, phone text) PARTITION BY RANGE (id);
CREATE TABLE crm.users_1 PARTITION OF crm.users FOR VALUES FROM (0) TO (100);
CREATE VIEW crm.people AS SELECT id, email, phone AS telephone FROM crm.users;
CREATE TABLE orders (id int, email text);
INSERT INTO crm.users VALUES (1, 'ann@example.com', '0123456789'), (2, NULL, '01');
INSERT INTO orders VALUES (1, 'shop@example.com');
"""
MASKS = {"users.email": mask_constant(), "phone": mask_partial(last=3)}


@pytest.fixture(scope="module", autouse=True)
def _tables(postgres: Postgres, database: str) -> Iterator[None]:
    postgres.run(TABLES, database)
    yield
    postgres.run("DROP SCHEMA crm CASCADE; DROP TABLE orders", database)


@pytest.fixture
def client(make_client: MakeClient) -> Any:
    return make_client(masks=MASKS)


def first(client: Any, sql: str) -> tuple[Any, ...]:
    return tuple(client.query(f"{sql} ORDER BY 1 LIMIT 1")[0])


class TestColumns:
    @pytest.mark.parametrize(
        ("sql", "shown"),
        [
            ("SELECT id, email, phone FROM crm.users", (1, "***", "*******789")),
            ("SELECT id, email AS e, phone AS p FROM crm.users u", (1, "***", "*******789")),
            ("WITH x AS (SELECT id, email AS e FROM crm.users) SELECT * FROM x", (1, "***")),
            ("SELECT * FROM (SELECT id, email AS e FROM crm.users) x", (1, "***")),
            ("SELECT id, email FROM crm.users_1", (1, "***")),  # a partition
            ("SELECT 1, max(email) AS email FROM crm.users", (1, "***")),  # by its name alone
            ("SELECT 1, '0123456789' AS phone", (1, "*******789")),
            ("SELECT id, email FROM crm.people", (1, "***")),  # a view may be of any table
            ("SELECT id, email AS e FROM crm.people", (1, "***")),
            ("SELECT id, email FROM orders", (1, "shop@example.com")),  # another table's
            ("SELECT id AS email FROM crm.users", (1,)),  # is known to be another column
            ("SELECT id, u FROM crm.users u", (1, "***")),  # a whole row
            ("SELECT id, u FROM crm.people u", (1, "***")),
            ("SELECT 1, a FROM pg_class a WHERE relname = 'pg_class' LIMIT 0", None),
            ("SELECT id, tableoid FROM crm.users WHERE tableoid = 0", None),
        ],
    )
    def test_they_are_found_by_where_they_come_from_or_what_they_are_called(
        self, client: Any, sql: str, shown: tuple[Any, ...] | None
    ) -> None:
        assert client.query_opt(f"SELECT * FROM ({sql}) x ORDER BY 1 LIMIT 1", into=tuple) == shown

    def test_a_null_is_shown(self, client: Any) -> None:
        assert client.query_scalar("SELECT email FROM crm.users WHERE id = 2") is None

    def test_the_result_says_which_they_are(self, client: Any) -> None:
        outcome = client.query_result("SELECT id, email FROM crm.users")
        assert [one.is_masked for one in outcome.columns] == [False, True]

    def test_a_table_that_the_snapshot_does_not_see_is_not_shown(
        self, client: Any, postgres: Postgres, database: str
    ) -> None:
        with client.transaction(isolation="repeatable read") as transaction:
            transaction.query("SELECT 1")
            postgres.run("CREATE TABLE later (email text)", database)
            with pytest.raises(MaskError, match="it is not known which columns these are"):
                transaction.query("SELECT email AS e FROM later")
        assert client.query("SELECT email AS e FROM later") == []
        postgres.run("DROP TABLE later", database)

    @pytest.mark.parametrize(
        ("pattern", "is_masked"),
        [
            ("crm.users.email", True),
            ("crm.*.*", True),
            ("em?il", True),
            ("*.email", True),
            ("other.users.email", False),
            ("user.email", False),
            ("Email", False),
        ],
    )
    def test_a_name_may_have_a_schema_and_wildcards(
        self, make_client: MakeClient, pattern: str, is_masked: bool
    ) -> None:
        client = make_client(masks={pattern: mask_constant("-")})
        shown = client.query_scalar("SELECT email FROM crm.users WHERE id = 1")
        assert shown == ("-" if is_masked else "ann@example.com")

    def test_the_first_mask_that_fits_counts(self, make_client: MakeClient) -> None:
        masks = {"users.email": mask_constant("first"), "email": mask_constant("second")}
        client = make_client(masks=masks)
        assert client.query_scalar("SELECT email FROM crm.users WHERE id = 1") == "first"
        assert client.query_scalar("SELECT email FROM orders") == "second"

    def test_a_renamed_column_is_found_after_a_drain(
        self, client: Any, postgres: Postgres, database: str
    ) -> None:
        ask = "SELECT email AS a FROM orders"
        assert first(client, ask) == ("shop@example.com",)
        postgres.run("ALTER TABLE orders RENAME email TO phone", database)
        try:
            client.drain()
            assert first(client, "SELECT phone AS a FROM orders") == ("*************com",)
        finally:
            postgres.run("ALTER TABLE orders RENAME phone TO email", database)


@dataclasses.dataclass
class User:
    id: int
    email: str | None


class TestWays:
    def test_every_way_of_asking_has_them_on(self, client: Any) -> None:
        ask = "SELECT id, email FROM crm.users WHERE id = 1"
        assert client.query(ask, into=dict) == [{"id": 1, "email": "***"}]
        assert client.query(ask, into=tuple) == [(1, "***")]
        assert client.query(ask, into=User) == [User(1, "***")]
        assert client.query_one(ask)["email"] == "***"
        assert client.query_opt(ask)["email"] == "***"
        assert client.query_scalar("SELECT email FROM crm.users WHERE id = 1") == "***"
        assert client.query_on_primary(ask, into=tuple) == [(1, "***")]
        assert client.query_with_max_lag(ask, max_lag_s=1, into=tuple) == [(1, "***")]
        assert list(client.query_stream(ask, into=tuple)) == [(1, "***")]
        assert client.query_page(ask, key=["id"], into=tuple).rows == [(1, "***")]
        with client.transaction() as transaction:
            assert transaction.query(ask, into=tuple) == [(1, "***")]
            assert list(transaction.query_stream(ask, into=tuple)) == [(1, "***")]
            returned = transaction.query(
                "UPDATE crm.users SET phone = '9876543210' WHERE id = 1 RETURNING phone AS p"
            )
            assert tuple(returned[0]) == ("*******210",)
            transaction.rollback()

    def test_a_stream_has_them_on_at_every_fetch(self, client: Any) -> None:
        ask = "SELECT email AS e FROM crm.users, generate_series(1, 10) WHERE id = 1"
        assert {row["e"] for row in client.query_stream(ask, fetch_size=3)} == {"***"}

    def test_copy_refuses_to_write_them(self, client: Any) -> None:
        target = io.BytesIO()
        with pytest.raises(MaskError, match="these columns are masked: e, phone"):
            client.copy_out("SELECT id, email AS e, phone FROM crm.users", target)
        assert target.getvalue() == b""
        with pytest.raises(QueryError, match="42P01"):
            client.copy_out("SELECT * FROM nope", target)
        assert client.copy_out("SELECT id FROM crm.users", target) == 2

    def test_copy_and_batches_take_values_in(self, client: Any, table: str) -> None:
        assert client.copy_in(table, b"1,a\n") == 1
        assert client.upsert(table, ["i", "t"], [[1, "b"]], key=["i"]) == 1

    def test_a_page_token_would_show_them(self, client: Any) -> None:
        with pytest.raises(MaskError, match="a page token shows: phone"):
            client.query_page("SELECT id, phone FROM crm.users", key=["phone"], size=1)

    def test_the_clients_own_statements_have_none_on(
        self, make_client: MakeClient, postgres: Postgres, table: str
    ) -> None:
        replicas = [f"{postgres.host}:{postgres.port}"]
        client = make_client(masks={"*": mask_constant()}, replicas=replicas)
        client.upsert(table, ["i", "t"], [[1, "b"]], key=["i"])
        with pytest.raises(QueryError, match="42883"):
            client.query("SELECT no_such_function()")  # the router asked whether it writes
        assert client.query(f"SELECT t FROM {table}", into=tuple) == [("***",)]


class TestMasks:
    @pytest.mark.parametrize(
        ("mask", "value", "shown"),
        [
            (mask_constant(), 1, "***"),
            (mask_constant(0), 7, 0),
            (mask_partial(), "1234567890", "******7890"),
            (mask_partial(), "1234567", "*******"),
            (mask_partial(), "", ""),
            (mask_partial(first=1, last=0, fill="x"), "abcd", "axxx"),
            (mask_partial(last=2), 12345, "***45"),
            (
                mask_hash("Jefe"),
                "what do ya want for nothing?",  # RFC 4231, test case 2
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                mask_hash(b"\x0b" * 20),
                b"Hi There",  # test case 1
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
        ],
    )
    def test_what_each_shows(self, mask: Any, value: Any, shown: Any) -> None:
        assert mask(value) == shown

    def test_one_that_fails_shows_nothing(self, make_client: MakeClient) -> None:
        def fails(value: Any) -> Any:
            raise ValueError(value)

        client = make_client(masks={"a": fails})
        with pytest.raises(
            MaskError, match='the mask of the column "a" failed: ValueError'
        ) as told:
            client.query("SELECT 'hush' AS a")
        assert told.value.__cause__ is None
        assert told.value.__suppress_context__

    def test_what_cannot_be_one_is_refused(self) -> None:
        with pytest.raises(ConfigError) as caught:
            PgConfig(masks={"a.b.c.d": mask_constant(), "a..b": mask_constant(), "e": "***"})  # type: ignore[dict-item]
        assert [one.message for one in caught.value.problems] == [
            "masks['a.b.c.d']: \"a.b.c.d\" is not a column: "
            "write column, table.column, or with a schema",
            "masks['a..b']: \"a..b\" is not a name: write table, or schema.table",
            "masks['e']: expected a function of the value",
        ]
        for wrong in (lambda: mask_partial(first=-1), lambda: mask_hash("")):
            with pytest.raises(ValueError, match="expected at least"):
                wrong()
