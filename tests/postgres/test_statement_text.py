"""What is told of a statement's text: never a literal, also where the text is hostile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.sql import SQL, Identifier, Literal

from duckalog.postgres import fingerprint, normalized
from duckalog.postgres.statement_text import MAX_TEXT, UNREADABLE, described

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(
    ("sql", "text", "name"),
    [
        ("SELECT a, 'x' FROM t WHERE i = $1", "SELECT a, ? FROM t WHERE i = $1", "SELECT"),
        ("SELECT E'it\\'s', $x$ a'b $x$, U&'d\\0061'", "SELECT ?", "SELECT"),
        ("select -1.5e3::int, b'1', x'ff', 1_000", "select -?::int, ?", "SELECT"),
        ("SELECT 1 FROM t WHERE i IN (1, 2, $1, 3, 4)", "SELECT ? FROM t WHERE i IN (?, $1, ?)",
         "SELECT"),
        ("SELECT f($1,$2), g($1,$2,'a')", "SELECT f($1,$2), g($1,$2,?)", "SELECT"),
        ("SELECT /* 'a' /* 'b' */ */ 1 -- 'c'\n  FROM t;", "SELECT ? FROM t", "SELECT"),
        ('SELECT "a ""b""".c FROM "t"', 'SELECT "a ""b""".c FROM "t"', "SELECT"),
        ("ALTER ROLE r PASSWORD 'hush'", "ALTER ROLE r PASSWORD ?", "ALTER"),
        ("WITH a AS (SELECT 1) DELETE FROM t", "WITH a AS (SELECT ?) DELETE FROM t", "DELETE"),
        ("WITH a AS (VALUES (1))", "WITH a AS (VALUES (?))", "OTHER"),
        ("(VALUES (1)) UNION TABLE t", "(VALUES (?)) UNION TABLE t", "VALUES"),
        ("EXECUTE p('a', 1)", "EXECUTE p(?)", "EXECUTE"),
        ("vacuum (verbose) t", "vacuum (verbose) t", "VACUUM"),
        ("DO $$ BEGIN RAISE 'a'; END $$", "DO ?", "DO"),
        ("BEGIN; SET LOCAL a = 5", "BEGIN; SET LOCAL a = ?", "BEGIN"),
        ("SELEKT 'a'", "SELEKT ?", "OTHER"),
        ("SELECT E'a\\'b' || E'\\''", "SELECT ? || ?", "SELECT"),
        ("SELECT /*+ a 'b' */ 1", "SELECT ?", "SELECT"),
        ("SELECT 'a", UNREADABLE, "OTHER"),
        ("", "", "OTHER"),
    ],
)  # fmt: skip
def test_a_text_has_no_literal(sql: str, text: str, name: str) -> None:
    assert described(sql)[:2] == (text, name)


@given(st.text().filter(lambda text: "\0" not in text), st.integers())
def test_no_literal_passes_whatever_is_in_it(value: str, number: int) -> None:
    text = SQL("SELECT {} AS a WHERE b = {} AND c = {}").format(value, number, Identifier("d"))
    assert normalized(text).replace("-", "") == 'SELECT ? AS a WHERE b = ? AND c = "d"'


@given(st.text().filter(lambda text: "$x$" not in f"{text}$x$"[:-2]))
def test_nor_one_in_dollars(value: str) -> None:
    assert normalized(f"SELECT $x${value}$x$, 1") == "SELECT ?"


def test_composed_text_counts_as_any_other() -> None:
    composed = SQL("SELECT {} FROM {}").format(Literal("a"), Identifier("t"))
    assert fingerprint(composed) == fingerprint("select 'b'  from \"t\" -- c")


def test_a_fingerprint_is_for_all_that_differ_in_literals_alone() -> None:
    assert fingerprint("SELECT 1 FROM t") == fingerprint("select  'a' FROM T;")
    assert fingerprint("SELECT 1 FROM t") != fingerprint("SELECT 1 FROM u")
    assert fingerprint('SELECT 1 FROM "T"') != fingerprint('SELECT 1 FROM "t"')


def test_a_long_text_is_cut() -> None:
    text = normalized("SELECT " + ", ".join(f"column_{number}" for number in range(2000)))
    assert len(text) == MAX_TEXT + 1


def test_a_text_of_megabytes_is_not_read() -> None:
    text = described(f"insert into t values ('{'x' * 1_000_000}')")
    assert text == ("(a text of 1000025 characters)", "INSERT", "")


def test_what_the_driver_will_refuse_is_no_error_here() -> None:
    assert normalized(SQL("SELECT {}").format(Literal(object()))) == UNREADABLE
    assert normalized("SELECT \udc80") == "SELECT \udc80"


def test_what_is_no_text_is_not_told() -> None:
    assert normalized(b"SELECT 'a'") == UNREADABLE
