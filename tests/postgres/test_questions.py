"""What makes two statements the same question."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.sql import SQL, Identifier, Literal

from duckalog.postgres.questions import QUERY, normalized, question, question_of, stated
from duckalog.postgres.redaction import Redaction
from tests.hostile import TEXT

pytestmark = pytest.mark.servers

WORDS = st.sampled_from(
    "SELECT FROM WHERE AND users u.id :: int , ( ) = < || ->> [ ] * $1 $2 $10 é".split()
)
LITERALS = st.one_of(
    st.integers(min_value=0, max_value=10**12).map(str),
    st.decimals(min_value=0, max_value=10**6, places=3).map(str),
    TEXT.filter(lambda text: "\0" not in text).map(
        lambda text: "'" + text.replace("'", "''") + "'"
    ),
)
BLANKS = st.sampled_from([" ", "\n", "\t ", " /* why */ ", " -- why\n", " /*+ a hint */ "])


def asked(sql: Any, params: Any = ()) -> Any:
    return question(QUERY, None, [(sql, params)], Redaction())


class TestText:
    @given(st.lists(WORDS | LITERALS, min_size=1), st.data())
    def test_blanks_comments_and_the_case_of_words_do_not_count(
        self, words: list[str], data: st.DataObject
    ) -> None:
        other = data.draw(BLANKS, "first")
        for word in words:
            is_literal = word.startswith("'")
            other += word if is_literal else data.draw(st.sampled_from([word, word.lower()]))
            other += data.draw(BLANKS)
        assert asked(other) == asked(" ".join(words))

    @given(
        st.lists(WORDS | LITERALS | st.sampled_from([" ", "1_0", "e'", "-"])).map("".join) | TEXT
    )
    def test_what_is_recorded_is_the_same_question(self, sql: str) -> None:
        first = asked(sql, [1, "a"])
        assert question_of(stated(first)) == first

    @given(st.lists(WORDS, min_size=1), LITERALS, LITERALS)
    def test_statements_that_differ_in_literals_differ_in_values_alone(
        self, words: list[str], one: str, other: str
    ) -> None:
        first, second = (asked(" ".join([*words, ",", each])) for each in (one, other))
        assert first.key == second.key
        alike = repr(normalized(one).values) == repr(normalized(other).values)
        assert (first == second) == alike

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("SELECT a FROM t", "SELECT b FROM t"),
            ('SELECT "a" FROM t', 'SELECT "A" FROM t'),
            ("SELECT 'a'", "SELECT 'A'"),
            ("SELECT 1", "SELECT '1'"),
            ("SELECT 1", "SELECT 1.0"),
            ("SELECT true", "SELECT 'true'"),
            ("SELECT a -1", "SELECT a, -1"),
            ("SELECT 'a\\n'", "SELECT E'a\\n'"),
            ("SELECT X'1F'", "SELECT B'11'"),
            ("SELECT $$a$$", "SELECT $$b$$"),
            ("SELECT ''", "SELECT NULL"),
            ("SELECT 'unended", "SELECT 'unended too"),
            ("VACUUM a", "VACUUM b"),
            ("SELECT 1e", "SELECT 2e"),
            ("SELECT f(-$1)", "SELECT f($1)"),
            ("SELECT -", "SELECT"),
            ("SELECT date'2024-01-01'", "SELECT dates'2024-01-01'"),
            ("SELECT f($1,$2)", "SELECT f($2,$1)"),
        ],
    )
    def test_other_statements_are_other_questions(self, one: str, other: str) -> None:
        assert asked(one, [1, 2]) != asked(other, [1, 2])


class TestValues:
    @pytest.mark.parametrize(
        ("literal", "value"),
        [
            ("5", 5),
            ("-5", -5),
            ("- 5", -5),
            ("1.50", Decimal("1.50")),
            ("'it''s'", "it's"),
            ("'$1,$2'", "$1,$2"),
            ("true", True),
            ("null", None),
        ],
    )
    def test_a_literal_is_as_good_as_a_parameter(self, literal: str, value: Any) -> None:
        assert asked(f"SELECT f({literal},$1)", [7]) == asked("SELECT f($1,$2)", [value, 7])
        assert asked(f"SELECT f({literal},7)") == asked("SELECT f($2, $1)", [7, value])

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (1, "1"),
            (1, 1.0),
            (1, True),
            (1.0, Decimal(1)),
            (None, "None"),
            (b"a", "a"),
            (date(2024, 1, 1), "2024-01-01"),
            ([1], [1, None]),
            ([1], 1),
            (0.5, float("nan")),
        ],
    )
    def test_values_of_other_types_are_others(self, one: Any, other: Any) -> None:
        assert asked("SELECT $1", [one]) != asked("SELECT $1", [other])
        assert asked("SELECT $1", [one]) == asked("SELECT $1", [one])

    def test_a_composed_statement_is_its_text(self) -> None:
        composed = SQL("SELECT {} FROM t WHERE i = {}").format(Identifier("a"), Literal(3))
        assert asked(composed) == asked('SELECT "a" FROM t WHERE i = $1', [3])

    def test_a_value_that_psycopg_cannot_send_can_be_asked_for(self) -> None:
        assert asked("SELECT $1", [object()]).values == ('{"object": null}',)

    @pytest.mark.parametrize("params", [[], [1, 2]])
    def test_too_few_or_too_many_parameters_are_a_question_too(self, params: list[int]) -> None:
        assert asked("SELECT $1", params) != asked("SELECT $1", [1])
