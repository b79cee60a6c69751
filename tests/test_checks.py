"""Checks as a config declares them: what is refused, their names, steps and queries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

import duckalog
from duckalog.checks import CHECK_TYPES, names_of
from duckalog.checks.rows import ExpressionCheck, NotNullCheck
from duckalog.checks.whole import FreshnessCheck, UniqueCheck
from duckalog.decode import Unfit
from tests.conftest import WriteConfig
from tests.hostile import HOSTILE, NAME

GOLDEN = Path(__file__).parent / "golden" / "checks"


def config_of(*checks: dict[str, Any], **view: Any) -> str:
    """Return a config of one view that has these checks."""
    views = [{"name": "v", "sql": "SELECT 1 AS id", "checks": checks, **view}]
    return json.dumps({"version": 1, "duckdb": {"database": "c.duckdb"}, "views": views})


def steps_of(path: Path, view: int = 0) -> tuple[duckalog.CheckStep, ...]:
    return duckalog.load_plan(path).views[view].checks


@pytest.mark.parametrize(
    ("check", "told"),
    [
        ({"type": "nope"}, 'checks[0].type: there is no type "nope"'),
        ({"columns": "id"}, 'checks[0]: the key "type" is missing'),
        ({"type": "unique"}, 'checks[0]: the key "columns" is missing'),
        ({"type": "unique", "columns": []}, "checks[0].columns: expected items, got an empty list"),
        ({"type": "unique", "columns": "id", "min": 1}, 'checks[0].min: unknown key "min"'),
        ({"type": "unique", "columns": 1}, "checks[0].columns: expected text, got a whole number"),
        ({"type": "row_count"}, 'checks[0]: a row count needs "min", "max" or both'),
        ({"type": "row_count", "min": 2, "max": 1}, 'checks[0].min: "min" is more than "max"'),
        ({"type": "row_count", "min": -1}, "checks[0].min: expected a whole number"),
        ({"type": "accepted_values", "column": "id", "values": []}, "values: the list of values"),
        (
            {"type": "accepted_values", "column": "id", "values": [None]},
            "values[0]: expected text or a whole number or a number or true or false",
        ),
        ({"type": "relationships", "column": "id", "to": "a.b.c.d", "field": "x"}, "has 4 parts"),
        ({"type": "relationships", "column": "id", "to": 'a"', "field": "x"}, "is not a name"),
        ({"type": "freshness", "column": "id", "max_age": "soon"}, "not a length of time"),
        ({"type": "freshness", "column": "id", "max_age": "24"}, "not a length of time"),
        ({"type": "schema", "exact": True}, 'checks[0].exact: "exact" needs "columns"'),
        ({"type": "sql"}, 'checks[0]: this check needs "sql" or "sql_file"'),
        ({"type": "sql", "sql": " "}, "checks[0].sql: the query is empty"),
        ({"type": "sql", "sql": "DROP TABLE x"}, "a check is one SELECT"),
        ({"type": "sql", "sql": "SELECT 1; SELECT 2"}, "this is 2 statements"),
        ({"type": "sql", "sql": "SELECT $1"}, "a check has no parameters"),
        ({"type": "sql", "sql_file": "none.sql"}, "there is no such file"),
        ({"type": "expression", "expression": "id >"}, "DuckDB cannot parse it"),
        ({"type": "expression", "expression": "1) FROM x; --"}, "this is not one expression"),
        ({"type": "expression", "expression": "(1"}, "this is not one expression"),
        ({"type": "expression", "expression": " "}, "the expression is empty"),
        ({"type": "unique", "columns": "id", "name": "a b"}, "expected letters, digits and under"),
        (
            {"type": "unique", "columns": "id", "severity": "fatal"},
            'expected one of "error", "warn"',
        ),
    ],
)
def test_a_check_that_cannot_be_is_refused(
    check: dict[str, Any], told: str, write_config: WriteConfig
) -> None:
    path = write_config(config_of(check))
    with pytest.raises(duckalog.ConfigError) as raised:
        duckalog.load_plan(path)
    assert told in str(raised.value)
    assert raised.value.problems[0].origin.path[:2] == ("views", 0)


def test_every_problem_of_every_check_is_told_with_its_line(write_config: WriteConfig) -> None:
    path = write_config(
        """\
version: 1
duckdb: {database: c.duckdb}
views:
  - name: v
    sql: SELECT 1 AS id
    checks:
      - {type: unique, column: id}
      - {type: sql, sql: SELEC}
      - type: expression
        expression: DROP TABLE x
"""
    )
    with pytest.raises(duckalog.ConfigError) as raised:
        duckalog.load_plan(path)
    assert [one.origin.line for one in raised.value.problems] == [7, 7]
    path.write_text(path.read_text().replace("column: id", "columns: id"))
    with pytest.raises(duckalog.ConfigError) as raised:
        duckalog.load_plan(path)
    assert [one.origin.line for one in raised.value.problems] == [8, 10]


@pytest.mark.parametrize(
    ("checks", "told"),
    [
        (({"type": "unique", "columns": "id"},) * 2, "They check the same"),
        (
            (
                {"type": "unique", "columns": "id", "name": "A"},
                {"type": "unique", "columns": "b", "name": "a"},
            ),
            "Give one of them another name",
        ),
    ],
)
def test_names_are_unique_in_a_view(
    checks: tuple[dict[str, Any], ...], told: str, write_config: WriteConfig
) -> None:
    with pytest.raises(duckalog.ConfigError, match=told):
        duckalog.load_plan(write_config(config_of(*checks)))


class TestNames:
    def test_a_name_is_made_of_the_type_and_the_columns(self) -> None:
        check = NotNullCheck(type="not_null", columns=("id", "email"))
        assert names_of([check]) == ["not_null_id_email"]

    def test_checks_whose_names_would_be_the_same_have_a_hash_each(self) -> None:
        first = NotNullCheck(type="not_null", columns=("a", "b"))
        second = NotNullCheck(type="not_null", columns=("a_b",))
        names = names_of([first, second])
        assert len(set(names)) == 2
        assert names == list(reversed(names_of([second, first])))

    def test_a_stated_name_stays_and_gives_way_to_none(self) -> None:
        stated = NotNullCheck(type="not_null", columns=("b",), name="not_null_a")
        made = NotNullCheck(type="not_null", columns=("a",))
        names = names_of([stated, made])
        assert names[0] == "not_null_a"
        assert names[1].startswith("not_null_a_")

    def test_what_the_environment_fills_in_is_not_in_its_name(
        self, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_config(
            config_of(
                {"type": "expression", "expression": "a <> '${env:WHO}'"},
                {"type": "sql", "sql": "FROM v WHERE a <> '${env:WHO}'"},
            )
        )
        names = []
        for who in ("Ann", "Bob"):
            monkeypatch.setenv("WHO", who)
            names.append([step.name for step in steps_of(path)])
        assert names[0] == names[1]

    def test_the_place_of_a_check_is_not_in_its_name(self) -> None:
        one = ExpressionCheck(type="expression", expression="a > 1")
        other = ExpressionCheck(type="expression", expression="a < 1")
        assert names_of([one, other]) == [*names_of([one]), *names_of([other])]

    @given(
        st.lists(
            st.lists(NAME | st.sampled_from([x for x in HOSTILE if x]), min_size=1), unique_by=tuple
        )
    )
    def test_names_are_what_dagster_takes_and_unique(self, columns: list[list[str]]) -> None:
        checks = [UniqueCheck(type="unique", columns=tuple(one)) for one in columns]
        names = names_of(checks)
        assert all(name.isascii() and name.replace("_", "").isalnum() for name in names)
        assert len({name.lower() for name in names}) == len(names)


@given(
    st.integers(0, 9999), st.sampled_from(["h", " hours", "d", " Days", "m", "min", "s", " weeks"])
)
def test_duckdb_reads_every_length_of_time(count: int, unit: str) -> None:
    check = FreshnessCheck(type="freshness", column="x", max_age=f"{count}{unit}")
    assert duckdb.execute(f"SELECT {check.aggregates()[2]}").fetchall()[0][0] >= 0


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_ends_an_expression(text: str) -> None:
    try:
        check = ExpressionCheck(type="expression", expression=text)
    except Unfit:
        return
    try:
        statements = duckdb.extract_statements(f"SELECT {check.condition()} FROM t")
    except duckdb.Error:
        return
    assert len(statements) == 1


class TestSteps:
    def test_every_view_has_the_check_that_it_answers(self, write_config: WriteConfig) -> None:
        (answers,) = steps_of(write_config(config_of()))
        assert (answers.kind, answers.name, answers.severity) == ("answers", "answers", "error")

    def test_which_a_config_can_make_a_warning(self, write_config: WriteConfig) -> None:
        (answers,) = steps_of(write_config(config_of({"type": "answers", "severity": "warn"})))
        assert answers.severity == "warn"

    def test_checks_are_no_part_of_what_is_built(self, write_config: WriteConfig) -> None:
        (before,) = duckalog.load_plan(write_config(config_of())).views
        checked = config_of({"type": "unique", "columns": "id"})
        (after,) = duckalog.load_plan(write_config(checked)).views
        assert after.fingerprint == before.fingerprint
        assert duckalog.generate_sql(write_config(checked)).count("CREATE") == 1

    def test_what_a_check_reads_besides_its_view_it_needs(self) -> None:
        needs = {step.name: step.needs for step in steps_of(GOLDEN / "catalog.yaml", 1)}
        assert needs["relationships_customer_customers"] == ("view:main.customers",)
        assert needs["relationships_parent_orders"] == ()
        assert needs["refunds"] == ()
        customers = {step.name: step.needs for step in steps_of(GOLDEN / "catalog.yaml")}
        assert customers["relationships_country_crm_countries"] == ("attachment:crm",)

    def test_a_check_needs_the_extension_of_its_urls(self, write_config: WriteConfig) -> None:
        check = {"type": "sql", "sql": "FROM 's3://bucket/x.parquet'"}
        plan = duckalog.load_plan(write_config(config_of(check)))
        assert [step.key for step in plan.session] == ["extension:httpfs"]

    @pytest.mark.parametrize("key", ["sql", "expression"])
    def test_a_credential_in_a_check_is_refused(
        self, key: str, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DW_PASSWORD", "hunter2")
        check = {"type": key, key: "SELECT '${env:DW_PASSWORD}' = 'x'"}
        with pytest.raises(
            duckalog.ConfigError, match="DW_PASSWORD is a credential, and checks are"
        ):
            duckalog.load_plan(write_config(config_of(check)))

    def test_a_value_of_the_environment_stays_data(
        self, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WHO", "O'Hara' OR true --")
        check = {"type": "expression", "expression": "name <> '${env:WHO}'"}
        (_, step) = steps_of(write_config(config_of(check)))
        assert "'O''Hara'' OR true --'" in step.sql


def test_the_golden_case_has_every_type() -> None:
    plan = duckalog.load_plan(GOLDEN / "catalog.yaml")
    assert {step.kind for view in plan.views for step in view.checks} == set(CHECK_TYPES)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHOR", "O'Hara")
    monkeypatch.setenv("NAME_OF_USER", "Ann")


def test_checks_are_as_their_golden_case_expects(request: pytest.FixtureRequest) -> None:
    plan = duckalog.load_plan(GOLDEN / "catalog.yaml")
    text = "".join(
        f"-- {step.key} ({step.severity})\n{step.sql};\n\n"
        for view in plan.views
        for step in view.checks
    ).replace(str(GOLDEN), "<folder>")
    expected = GOLDEN / "expected_checks.sql"
    if request.config.getoption("--update-golden", default=False):
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")
    steps = [step for view in plan.views for step in view.checks]
    assert len(duckdb.extract_statements(text)) == len(steps)
