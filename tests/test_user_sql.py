"""SQL that users wrote: parted as DuckDB parts it, and filled with values that stay data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duckalog import user_sql
from tests.hostile import HOSTILE, NAME, TEXT


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        yield connection


def value_of(connection: duckdb.DuckDBPyConnection, expression: str) -> Any:
    (row,) = connection.execute(f"SELECT {expression}").fetchall()
    return row[0]


REGIONS = [
    ("'a''b'", "string"),
    ("''", "string"),
    ("'a\\'", "string"),
    ("E'a\\'b'", "string"),
    ("e'\\\\'", "string"),
    ("E'a''b'", "string"),
    ('"a""b"', "name"),
    ("$$ ' $ \" $$", "dollar"),
    ("$tag$ $$ ' $tag$", "dollar"),
    ("$a1$ ' $a1$", "dollar"),
    ("$é$ ' $é$", "dollar"),
    ("-- it's\n", "line"),
    ("-- it's\r", "line"),
    ("/* ' */", "block"),
    ("/* /* ' */ ' */", "block"),
]


class TestRegions:
    @given(st.lists(st.sampled_from([one for one, _ in REGIONS] + [" ", "a", "1", ",", "E", "$1"])))
    @settings(max_examples=200, deadline=None)
    def test_the_pieces_make_the_text(self, pieces: list[str]) -> None:
        text = "".join(pieces)
        assert "".join(piece for _, piece in user_sql.regions_of(text)) == text

    @given(TEXT)
    @settings(max_examples=200, deadline=None)
    def test_the_pieces_of_any_text_make_it(self, text: str) -> None:
        assert "".join(piece for _, piece in user_sql.regions_of(text)) == text

    @pytest.mark.parametrize(("piece", "kind"), REGIONS)
    def test_each_kind_is_found_between_others(self, piece: str, kind: str) -> None:
        found = [(one, text.rstrip("\r\n")) for one, text in user_sql.regions_of(f"a {piece} b")]
        assert (kind, piece.rstrip("\r\n")) in found

    @pytest.mark.parametrize("opening", ["'a", "E'a\\'", '"a', "$$a", "$x$a$$", "/* a", "/*/*a*/"])
    def test_what_is_not_closed_goes_to_the_end(self, opening: str) -> None:
        assert [piece for _, piece in user_sql.regions_of(f"1 {opening} b")] == [
            "1 ",
            f"{opening} b",
        ]

    @pytest.mark.parametrize(
        ("text", "kinds"),
        [
            ("like'x\\'", ["", "string"]),  # the E of a word starts no escape string
            ("a$b$c", [""]),  # a dollar inside a word quotes nothing
            ("$1 $2", [""]),
            ("1 - -2", [""]),
        ],
    )
    def test_what_only_looks_quoted_is_not(self, text: str, kinds: list[str]) -> None:
        assert [kind for kind, _ in user_sql.regions_of(text)] == kinds

    @pytest.mark.parametrize("second", [one for one, kind in REGIONS if kind != "name"])
    @pytest.mark.parametrize("first", [one for one, kind in REGIONS if kind != "name"])
    def test_duckdb_takes_the_same_pieces_for_text(
        self, connection: duckdb.DuckDBPyConnection, first: str, second: str
    ) -> None:
        kinds = dict(REGIONS)
        are_texts = [kinds[piece] in ("string", "dollar") for piece in (first, second)]
        items = [
            f"[{piece}]" if is_text else f"[{piece} 'no text']"
            for piece, is_text in zip((first, second), are_texts, strict=True)
        ]
        found = value_of(connection, f"[x[1] <> 'no text' FOR x IN [{items[0]}, {items[1]}]]")
        assert found == are_texts


# DuckDB 1.4 and 1.5 make them plain spaces outside of quotes, and lose count of the quotes
# where one stands in a block comment or an escape string.
_UNICODE_SPACE = re.compile("[\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f\u2060\u3000\ufeff]")

MARKER = re.compile(r"\{(\w+)\}")


def replaced(text: str, value: str) -> str:
    return user_sql.replace_in_sql(text, MARKER, lambda _match: value)


class TestReplaceInSql:
    @pytest.mark.parametrize(
        "template",
        [
            "'{x}'",
            "'it''s {x}'",
            "/* ' */ '{x}'",
            "-- it's\n '{x}'",
            "-- it's\r '{x}'",
            "E'\\'' || '{x}'",
            "$$ ' $$ || '{x}'",
            "$a1$ ' $a1$ || '{x}'",
            "/* /* */ ' */ '{x}'",
            "'{x}' AS \"{x}_\"",
        ],
    )
    @given(value=TEXT.filter(lambda text: not _UNICODE_SPACE.search(text)))
    @settings(max_examples=60, deadline=None)
    def test_a_quoted_value_is_that_value_to_duckdb(
        self, connection: duckdb.DuckDBPyConnection, template: str, value: str
    ) -> None:
        found = value_of(connection, replaced(template, value))
        assert str(found).endswith(value)

    @pytest.mark.parametrize(
        "template",
        [
            "{x}",
            "5 -{x}",
            "5 {x}- 1",
            "{x}'a'",
            "E'{x}'",
            "E'\\' '{x}' '",
            "$${x}$$",
            "$a${x}$a$",
            "1 -- {x}\n",
            "1 /* {x} */",
            "/* /* */ ' */ {x} -- '",
            "-- it's\r {x} -- '",
            "$a1$ ' $a1$ || {x} -- '",
        ],
    )
    @pytest.mark.parametrize(
        "value", [*HOSTILE, "-3", "- 3", "E", "a'b", "1; SELECT 2", "\n'", "*/ 1", "$$ 1 $$"]
    )
    def test_an_unquoted_value_is_one_word_or_refused(self, template: str, value: str) -> None:
        plain = replaced(template, "7")
        try:
            filled = replaced(template, value)
        except ValueError as error:
            filled = plain
            reason = str(error)
            assert reason.endswith("put single quotes round it")
        kinds = [kind for kind, _ in user_sql.regions_of(filled)]
        assert kinds == [kind for kind, _ in user_sql.regions_of(plain)]
        assert filled == plain or re.fullmatch(r"[\w.+-]+", value, re.ASCII)

    @pytest.mark.parametrize("value", ["8", "-8", "1.5", "1e9", "abc", "data_2026", "a.b"])
    def test_plain_words_and_numbers_need_no_quotes(self, value: str) -> None:
        assert replaced("SELECT {x}", value) == f"SELECT {value}"

    def test_a_value_cannot_begin_a_comment(self) -> None:
        with pytest.raises(ValueError, match="would change how the rest is read"):
            replaced("SELECT 5 -{x}", "-3")

    @given(NAME)
    @settings(max_examples=100, deadline=None)
    def test_a_value_inside_a_quoted_name_is_that_name(
        self, connection: duckdb.DuckDBPyConnection, value: str
    ) -> None:
        connection.execute(replaced('SELECT 1 AS "{x}"', value))
        assert connection.description is not None
        assert connection.description[0][0] == value


class TestShownLiterals:
    def test_a_literal_with_a_marker_becomes_an_expression(self) -> None:
        shown = user_sql.with_expressions("SET a='{x}', b='c'", MARKER, lambda text: f"<{text}>")
        assert shown == "SET a=<{x}>, b='c'"

    def test_quotes_inside_a_literal_are_undone_for_the_expression(self) -> None:
        shown = user_sql.with_expressions("'it''s {x}'", MARKER, lambda text: f"<{text}>")
        assert shown == "<it's {x}>"

    def test_a_marker_without_quotes_becomes_an_expression(self) -> None:
        assert user_sql.with_expressions("SET a={x}", MARKER, lambda _: "getenv('X')") == (
            "SET a=getenv('X')"
        )

    @pytest.mark.parametrize("text", ["-- {x}", "E'{x}'", '"{x}"'])
    def test_elsewhere_a_marker_stays(self, text: str) -> None:
        assert user_sql.with_expressions(text, MARKER, lambda _: "getenv('X')") == text

    def test_the_name_before_a_literal_is_what_it_is_assigned_to(self) -> None:
        seen: list[tuple[str, str]] = []

        def remembered(name: str, content: str) -> str | None:
            seen.append((name, content))
            return "hidden" if name == "s3_secret" else None

        text = "SET s3_secret TO 'it''s'; SET region = 'x'"
        assert user_sql.replace_literals(text, remembered) == (
            "SET s3_secret TO 'hidden'; SET region = 'x'"
        )
        assert seen == [("s3_secret", "it's"), ("region", "x")]
