"""Environment variables: filled as data, missing ones told at once, and never shown."""

from __future__ import annotations

import copy
import json
import os
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from duckalog.document import parse_document
from duckalog.environment import (
    Filled,
    Secret,
    Use,
    escaped,
    fill,
    fill_text,
    read_environment,
    redactor_for,
    shell_expression,
    variables_in,
)
from duckalog.errors import ConfigError, Origin, Problem
from duckalog.load import load_config
from duckalog.plan import plan
from duckalog.redaction import Redactor, looks_secret
from duckalog.sql import libpq_value, literal
from tests.conftest import WriteConfig

FILE = "/folder/catalog.yaml"
VALUE = st.text(st.characters(exclude_categories=["Cs"])) | st.text("'\"\\;-/*$eE\n\r a1.%\0")


def filled(text: str, environment: Mapping[str, str] | None) -> Any:
    """Return a document's data, filled without a problem."""
    data, _, problems = fill(parse_document(text, FILE), environment)
    assert not problems
    return data


def problems_of(text: str, environment: Mapping[str, str] | None) -> list[Problem]:
    return fill(parse_document(text, FILE), environment)[2]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        yield connection


class TestFilling:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("${env:A}", "1"),
            ("x${env:A}y${env:B}z", "x1y2z"),
            ("${env:A}${env:A}", "11"),
            ("${env:a_1}", "lower"),
            ("${env:_X}", "_"),
            ("$${env:A}", "${env:A}"),
            ("$$${env:A}", "$${env:A}"),
            ("$${env:A}${env:A}", "${env:A}1"),
            ("${NOT_OURS}", "${NOT_OURS}"),
            ("$env:A", "$env:A"),
            ("{env:A}", "{env:A}"),
            ("${environment}", "${environment}"),
            ("${}", "${}"),
        ],
    )
    def test_each_placeholder_becomes_its_value(self, text: str, expected: str) -> None:
        environment = {"A": "1", "B": "2", "a_1": "lower", "_X": "_"}
        assert filled(f"x: '{text}'", environment) == {"x": expected}

    def test_values_are_found_at_any_depth_and_keys_are_left(self) -> None:
        text = "a: [{'${env:A}': '${env:A}'}, [['${env:A}']]]"
        assert filled(text, {"A": "v"}) == {"a": [{"${env:A}": "v"}, [["v"]]]}

    def test_a_value_is_not_filled_again(self) -> None:
        assert filled("x: '${env:A}'", {"A": "${env:B}", "B": "2"}) == {"x": "${env:B}"}

    def test_an_empty_value_is_a_value(self) -> None:
        assert filled("x: 'a${env:A}b'", {"A": ""}) == {"x": "ab"}

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("${env:A:b}", "b"),
            ("${env:A:}", ""),
            ("${env:A:a b:c/d}", "a b:c/d"),
            ("${env:A:$}${env:A:$x}", "$$x"),
            ("${env:A:{}", "{"),
            ("${env:SET:b}", "set"),
        ],
    )
    def test_a_default_stands_in_for_a_variable_that_is_not_set(
        self, text: str, expected: str
    ) -> None:
        assert filled(f"x: '{text}'", {"SET": "set"}) == {"x": expected}

    def test_a_variable_that_is_set_but_empty_beats_its_default(self) -> None:
        assert filled("x: '${env:A:b}'", {"A": ""}) == {"x": ""}

    def test_a_filled_text_remembers_how_the_file_has_it(self) -> None:
        value = filled("x: 'a${env:A}'", {"A": "1"})["x"]
        assert isinstance(value, Filled)
        assert value.template == "a${env:A}"

    def test_data_without_placeholders_is_left_alone(self) -> None:
        document = parse_document("a: [1, null, 1.5, true, 'x$y', {b: c}]", FILE)
        assert fill(document, {})[0] is document.data

    def test_without_an_environment_the_placeholders_stay(self) -> None:
        assert filled("x: '${env:A}'", None) == {"x": "${env:A}"}

    def test_each_use_is_remembered_with_its_place(self) -> None:
        document = parse_document("a: 1\nb:\n- x${env:A}\n- ${env:B:d}\n", FILE)
        uses = fill(document, {"A": "v"})[1]
        assert uses == [
            Use("A", "v", Origin(FILE, 3, ("b", 0)), False, "x${env:A}"),
            Use("B", "d", Origin(FILE, 4, ("b", 1)), True, "${env:B:d}"),
        ]


class TestProblems:
    def test_every_missing_variable_is_told_at_once(self) -> None:
        text = "a: ${env:A}\nb:\n  c: x${env:B}${env:C}\nd: ${env:D:x}\ne: [1, '${env:E}']\n"
        problems = problems_of(text, {})
        assert [str(problem).splitlines()[0] for problem in problems] == [
            f"{FILE}:1: a: environment variable A is not set",
            f"{FILE}:3: b.c: environment variable B is not set",
            f"{FILE}:3: b.c: environment variable C is not set",
            f"{FILE}:5: e[1]: environment variable E is not set",
        ]

    def test_a_missing_variable_is_told_how_to_mend_it(self) -> None:
        (problem,) = problems_of("a: ${env:AWS_SECRET}", {"AWS_SECRETS": "hunter2"})
        assert problem.remedy == (
            'Did you mean "AWS_SECRETS"? Export it, or write a default: ${env:AWS_SECRET:…}'
        )

    @pytest.mark.parametrize(
        "text",
        [
            "${env:FOO-BAR}",
            "${env:}",
            "${env:1A}",
            "${env: A}",
            "${env:A }",
            "${ env:A}",
            "${ENV:A}",
            "${Env:A}",
            "${env.A}",
            "${env A}",
            "${env}",
            "${env:A",
            "${env:A:b",
            "${env:A-b}",
            "${env:Ä}",
            "${env:A:${env:B}}",
            "${env:A}${env:B:${env:C}}",
            "${env:A} ${env:",
        ],
    )
    def test_what_is_nearly_a_placeholder_is_refused(self, text: str) -> None:
        (problem,) = problems_of(f"a: 1\nb: '{text}'", {"A": "a", "B": "b", "C": "c"})
        assert "is not a placeholder" in problem.message
        assert problem.remedy.startswith("Write ${env:NAME}, or ${env:NAME:default}")
        assert (problem.origin.line, problem.origin.path) == (2, ("b",))

    def test_what_is_nearly_a_placeholder_is_refused_without_an_environment_too(self) -> None:
        assert len(problems_of("a: ${env:FOO-BAR}\nb: ${env:X}", None)) == 1

    @pytest.mark.parametrize(
        ("value", "reason"),
        [("a\0b", "text cannot contain NUL"), ("\udcff", "half a surrogate pair")],
    )
    def test_a_value_that_duckdb_cannot_hold_is_refused(self, value: str, reason: str) -> None:
        (problem,) = problems_of("a: ${env:A}", {"A": value})
        assert problem.message.startswith("environment variable A: ")
        assert reason in problem.message

    def test_every_problem_of_every_kind_is_told_at_once(self) -> None:
        text = "a: ${env:NO}\nb: ${env:}\nc: ${env:NUL}\nviews: [{sql: 'SELECT ${env:BAD}'}]\n"
        problems = problems_of(text, {"NUL": "\0", "BAD": "1; DROP TABLE x"})
        assert [problem.origin.line for problem in problems] == [1, 2, 3, 4]


NUMERIC = """
version: 1
attachments:
  postgres:
    - {{alias: pg, host: h, database: d, user: u, port: "{port}", read_only: "{read_only}"}}
  sqlite:
    - {{alias: old, path: old.db, busy_timeout: "{timeout}"}}
"""


class TestFieldsThatAreNotText:
    def test_numbers_and_truths_are_read_from_values(self, write_config: WriteConfig) -> None:
        path = write_config(
            NUMERIC.format(port="${env:P}", read_only="${env:R}", timeout="${env:T:9}")
        )
        config = load_config(path, environment={"P": "6543", "R": "false"})
        postgres, sqlite = config.attachments.postgres[0], config.attachments.sqlite[0]
        assert (postgres.port, postgres.read_only, sqlite.busy_timeout) == (6543, False, 9)

    def test_a_value_of_another_type_is_told_by_its_variable_alone(
        self, write_config: WriteConfig
    ) -> None:
        path = write_config(
            NUMERIC.format(port="${env:P}", read_only="${env:R}", timeout="${env:T}")
        )
        with pytest.raises(ConfigError) as caught:
            load_config(path, environment={"P": "hunter2", "R": "hunter3", "T": "-1"})
        assert [problem.message for problem in caught.value.problems] == [
            "expected a port from 1 to 65535, got the value of ${env:P}",
            "expected true or false, got the value of ${env:R}",
            "expected milliseconds, from 0, got the value of ${env:T}",
        ]

    def test_a_number_in_quotes_is_no_number(self, write_config: WriteConfig) -> None:
        path = write_config(NUMERIC.format(port="5432", read_only="true", timeout="1"))
        with pytest.raises(ConfigError) as caught:
            load_config(path, environment={})
        assert len(caught.value.problems) == 3

    def test_a_missing_variable_is_told_once(self, write_config: WriteConfig) -> None:
        path = write_config(
            NUMERIC.format(port="${env:P}", read_only="${env:R}", timeout="${env:T}")
        )
        with pytest.raises(ConfigError) as caught:
            load_config(path, environment={})
        assert [problem.message for problem in caught.value.problems] == [
            "environment variable P is not set",
            "environment variable R is not set",
            "environment variable T is not set",
        ]

    def test_the_version_may_come_from_the_environment(self, write_config: WriteConfig) -> None:
        path = write_config("version: ${env:V}")
        assert load_config(path, environment={"V": "1"}).version == 1

    def test_without_an_environment_placeholders_stand_anywhere(
        self, write_config: WriteConfig
    ) -> None:
        path = write_config(
            NUMERIC.format(port="${env:P}", read_only="${env:R}", timeout="${env:T}")
        )
        config = load_config(path, fill_environment=False)
        port: object = config.attachments.postgres[0].port
        assert port == "${env:P}"

    def test_without_an_environment_a_credential_in_clear_is_not_shown(
        self, write_config: WriteConfig
    ) -> None:
        stated = '{type: s3, key_id: "${env:K}", secret: hunter2}'
        path = write_config(f"version: 1\nduckdb: {{secrets: [{stated}]}}\n")
        shown = repr(load_config(path, fill_environment=False).duckdb.secrets)
        assert "hunter2" not in shown
        assert "${env:K}" in shown


SQL_TEXTS = [
    ("duckdb", "pragmas", 0),
    ("views", 0, "sql"),
]


def sql_filled(template: str, value: str) -> str | None:
    """Return SQL with its placeholder filled, or None where the value is refused."""
    text, _, problems = fill_text(template, Origin(FILE, 1, ("views", 0)), {"X": value})
    return None if problems else text


class TestSqlTexts:
    @given(VALUE)
    @settings(max_examples=300, deadline=None)
    @example("'; DROP TABLE x; --")
    def test_duckdb_reads_any_quoted_value_back_or_it_is_refused(
        self, connection: duckdb.DuckDBPyConnection, value: str
    ) -> None:
        text = sql_filled("SELECT '${env:X}', 'it''s ${env:X}!'", value)
        if text is None:
            assert "\0" in value
        else:
            assert connection.execute(text).fetchall() == [(value, f"it's {value}!")]

    @pytest.mark.parametrize(
        "template",
        ["SELECT ${env:X}", "SELECT 5 -${env:X}", "SELECT E'${env:X}'", "SELECT $$${env:X}$$"],
    )
    @given(value=VALUE)
    @settings(max_examples=100, deadline=None)
    @example(value="1; DROP TABLE x")
    @example(value="-1")
    @example(value="1")
    def test_a_value_without_quotes_makes_no_second_statement(
        self, connection: duckdb.DuckDBPyConnection, template: str, value: str
    ) -> None:
        text = sql_filled(template, value)
        try:
            statements = connection.extract_statements(text or "")
        except duckdb.ParserException:
            statements = []  # "THEN", say, is a word but no value
        assert len(statements) <= 1
        assert text is None or value in text

    @pytest.mark.parametrize(
        "sql", ["SELECT '$${env:X}'", 'SELECT 1 AS "$${env:X}"', "SELECT 1 -- $${env:X}"]
    )
    def test_the_text_itself_may_stand_in_quotes_and_comments(self, sql: str) -> None:
        assert sql_filled(sql, "no") == sql.replace("$$", "$")

    def test_the_text_itself_is_no_sql_outside_of_quotes(self) -> None:
        document = parse_document('{"views": [{"sql": "SELECT $${env:X}"}]}', FILE)
        _, _, (problem,) = fill(document, {"X": "no"})
        assert problem.message == (
            '"$${env" stands for the text "${env", which is no SQL by itself:'
            " put single quotes round it"
        )

    @pytest.mark.parametrize("path", SQL_TEXTS)
    def test_values_are_escaped_in_every_sql_text(self, path: tuple[str | int, ...]) -> None:
        data: Any = "a'${env:X}'"
        for key in reversed(path):
            data = [data] if isinstance(key, int) else {key: data}
        document = parse_document("{}", FILE)._replace(data=data)
        value, _, problems = fill(document, {"X": "it's"})
        for key in path:
            value = value[key]
        assert value == "a'it''s'"
        assert not problems

    def test_values_are_not_escaped_in_other_texts(self) -> None:
        text = 'views: [{name: "${env:X}", description: "\'${env:X}\'"}]'
        assert filled(text, {"X": "it's"})["views"] == [{"name": "it's", "description": "'it's'"}]

    def test_a_refused_value_is_told_by_its_variable_alone(self) -> None:
        (problem,) = problems_of("views: [{sql: 'SELECT ${env:X}'}]", {"X": "hunter2; x"})
        assert problem.message == (
            "environment variable X: "
            "its value is not a plain word or number: put single quotes round it"
        )

    def test_every_missing_variable_in_sql_is_told_once(self) -> None:
        problems = problems_of("views: [{sql: 'SELECT ${env:X}, ${env:Y}'}]", {})
        assert [problem.message for problem in problems] == [
            "environment variable X is not set",
            "environment variable Y is not set",
        ]

    @pytest.mark.parametrize(
        ("template", "expected"),
        [("SELECT '${env:X:a -- b}'", "a -- b"), ("SELECT '${env:X:(it''s)}'", "(it''s)")],
    )
    def test_a_default_is_data_whatever_is_in_it(
        self, connection: duckdb.DuckDBPyConnection, template: str, expected: str
    ) -> None:
        text, _, problems = fill_text(template, Origin(FILE), {})
        assert not problems
        assert connection.execute(text).fetchall() == [(expected,)]

    def test_a_default_without_quotes_round_it_is_refused_as_a_value_is(self) -> None:
        (problem,) = fill_text("SELECT ${env:X:'a'}", Origin(FILE), {})[2]
        assert "its value is not a plain word or number" in problem.message

    def test_a_whole_config_fills_its_queries_as_data(
        self, write_config: WriteConfig, connection: duckdb.DuckDBPyConnection
    ) -> None:
        path = write_config("version: 1\nviews: [{name: v, sql: \"SELECT '${env:X}' AS x\"}]")
        value = "'; DROP TABLE x; --"
        (view,) = plan(load_config(path, environment={"X": value})).views
        assert connection.execute(view.query).fetchall() == [(value,)]


class TestEnvFile:
    def test_it_lies_below_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("A", "of the process")
        monkeypatch.delenv("B", raising=False)
        (tmp_path / "x.env").write_text("A=of the file\nexport B='of the file'\n# note\nC=\nD\n")
        environment = read_environment(tmp_path / "x.env")
        assert [environment[name] for name in "ABCD"] == ["of the process", "of the file", "", ""]

    def test_nothing_is_written_to_the_process(self, tmp_path: Path) -> None:
        (tmp_path / "x.env").write_text("DUCKALOG_TEST_ONLY=1\n")
        assert read_environment(tmp_path / "x.env")["DUCKALOG_TEST_ONLY"] == "1"
        assert "DUCKALOG_TEST_ONLY" not in os.environ

    def test_values_are_taken_as_they_are(self, tmp_path: Path) -> None:
        (tmp_path / "x.env").write_text("A='$B ${C} ${env:D}'\nE=\"é\"\n", encoding="utf-8")
        environment = read_environment(tmp_path / "x.env")
        assert environment["A"] == "$B ${C} ${env:D}"
        assert environment["E"] == "é"

    def test_it_is_read_only_when_asked_for(
        self, write_config: WriteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_config("version: 1\nduckdb: {database: '${env:ONLY_IN_FILE}'}")
        (tmp_path / ".env").write_text("ONLY_IN_FILE=a.duckdb\n")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigError, match="ONLY_IN_FILE is not set"):
            load_config(path)
        assert load_config(path, env_file=".env").database == str(tmp_path / "a.duckdb")

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("missing.env", "No such file or directory"),
            ("folder", "Is a directory"),
            ("latin.env", "it is not UTF-8 text"),
        ],
    )
    def test_one_that_cannot_be_read_is_refused(
        self, tmp_path: Path, name: str, reason: str
    ) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "latin.env").write_bytes(b"A=\xe9\n")
        with pytest.raises(ConfigError) as caught:
            read_environment(tmp_path / name)
        assert f"{name}: the env file cannot be read: {reason}" in str(caught.value)

    def test_without_one_the_environment_is_the_process_s(self) -> None:
        assert read_environment() is os.environ


CREDENTIAL = "p'w\"d \\;%/é1"


class TestRedaction:
    @pytest.mark.parametrize(
        ("form", "shown"),
        [
            (CREDENTIAL, "*"),
            (CREDENTIAL.replace("'", "''"), "*"),
            (CREDENTIAL.replace('"', '""'), "*"),
            (literal(CREDENTIAL), "'*'"),
            (libpq_value(CREDENTIAL), "'*'"),
            (literal(f"password={libpq_value(CREDENTIAL)}"), "'password=''*'''"),
            (quote(CREDENTIAL, safe=""), "*"),
            (quote(CREDENTIAL), "*"),
            (quote_plus(CREDENTIAL), "*"),
            (repr(CREDENTIAL), "'*'"),
        ],
    )
    def test_every_form_of_a_value_becomes_its_placeholder(self, form: str, shown: str) -> None:
        assert Redactor({CREDENTIAL: "*"})(f"DuckDB says {form}.") == f"DuckDB says {shown}."

    @given(st.text(min_size=4), st.text(), st.text())
    @settings(max_examples=200, deadline=None)
    def test_no_value_of_four_characters_or_more_stays(
        self, secret: str, before: str, after: str
    ) -> None:
        if secret not in "${env:PW}" and "${env:PW}" not in secret:
            shown = Redactor({secret: "${env:PW}"})(before + secret + after)
            assert "${env:PW}" in shown

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("a", "*"),
            ("password=a;", "password=*;"),
            ("'a'", "'*'"),
            ("a view has a name", "* view has * name"),
            ("banana", "banana"),
            ("a1 1a", "a1 1a"),
        ],
    )
    def test_a_short_value_counts_only_where_it_stands_by_itself(
        self, text: str, shown: str
    ) -> None:
        assert Redactor({"a": "*"})(text) == shown

    def test_the_longest_value_wins(self) -> None:
        redact = Redactor({"secret": "*", "secret-and-more": "**"})
        assert redact("secret-and-more, secret") == "**, *"

    def test_a_problem_is_redacted_in_all_its_texts(self) -> None:
        problem = Problem(Origin(FILE), "got hunter2", "not hunter2", "hunter2")
        redacted = Redactor({"hunter2": "*"}).problem(problem)
        assert redacted == Problem(Origin(FILE), "got *", "not *", "*")

    def test_nothing_to_hide_changes_nothing(self) -> None:
        assert Redactor()("anything") == "anything"

    def test_the_repr_holds_no_value(self) -> None:
        assert repr(Redactor({"hunter2": "*"})) == "Redactor(1 secrets)"

    @pytest.mark.parametrize(
        ("name", "path", "is_secret"),
        [
            ("PG_HOST", ("attachments", "postgres", 0, "host"), True),
            ("PG_PASSWORD", ("attachments", "postgres", 0, "password"), True),
            ("BUCKET", ("views", 0, "uri"), False),
            ("API_TOKEN", ("views", 0, "uri"), True),
            ("STAGE", ("duckdb", "database"), False),
            ("REGION", ("duckdb", "settings", "s3_region"), True),
            ("WAREHOUSE", ("iceberg_catalogs", 0, "warehouse"), False),
        ],
    )
    def test_places_are_shown_and_all_else_is_hidden(
        self, name: str, path: tuple[str | int, ...], is_secret: bool
    ) -> None:
        use = Use(name, "the value", Origin(FILE, 1, path), False, f"${{env:{name}}}")
        shown = redactor_for([use], [])("this is the value")
        assert shown == (f"this is ${{env:{name}}}" if is_secret else "this is the value")

    def test_a_secret_that_the_file_states_in_clear_is_stars(self) -> None:
        assert redactor_for([], [Secret("hunter2")])("hunter2") == "**********"

    def test_an_empty_value_is_no_secret(self) -> None:
        use = Use("PW", "", Origin(FILE, 1, ("x",)), False, "${env:PW}")
        assert redactor_for([use], [Secret("")])("text") == "text"

    @pytest.mark.parametrize(
        "name",
        "PASSWORD PG_PASSWORD pgpass_passwd AWS_SECRET_ACCESS_KEY API_KEY APIKEY GITHUB_TOKEN"
        " AWS_ACCESS_KEY_ID DB_DSN AZURE_CONNECTION_STRING MY_SAS".split(),
    )
    def test_names_of_credentials_are_known(self, name: str) -> None:
        assert looks_secret(name)

    @pytest.mark.parametrize("name", ["HOST", "REGION", "KEYSPACE", "TOKENIZER", "PASSENGERS"])
    def test_other_names_are_not_taken_for_credentials(self, name: str) -> None:
        assert not looks_secret(name)


class TestReprs:
    def test_a_secret_shows_its_template_or_stars(self) -> None:
        for shown in (repr, str, "{}".format):
            assert shown(Secret("hunter2", "${env:PW}")) == "Secret(${env:PW})"
            assert shown(Secret("hunter2")) == "Secret(**********)"

    def test_secrets_are_equal_by_value(self) -> None:
        assert Secret("a", "${env:A}") == Secret("a")
        assert Secret("a") != Secret("b")
        assert Secret("a") != "a"
        assert len({Secret("a"), Secret("a", "x")}) == 1
        assert Secret("a").reveal() == "a"

    def test_a_filled_text_shows_its_template(self) -> None:
        assert repr([Filled("hunter2", "${env:PW}")]) == "['${env:PW}']"

    def test_a_whole_config_shows_no_value(self, write_config: WriteConfig) -> None:
        path = write_config(
            """
            version: 1
            duckdb:
              settings: {s3_region: "${env:REGION}"}
              secrets:
                - {type: s3, key_id: "${env:KEY}", secret: in-the-clear}
                - {type: http, extra_http_headers: {X: "${env:KEY}", Y: also-in-clear}}
            attachments:
              postgres:
                - {alias: pg, host: "${env:HOST}", database: d, user: u, password: "${env:PW}"}
            iceberg_catalogs:
              - {name: ic, catalog_type: rest, uri: "https://x", options: {token: "${env:PW}"}}
            """
        )
        environment = {"REGION": "mars-1", "KEY": "AKIA", "HOST": "db.internal", "PW": "hunter2"}
        config = load_config(path, environment=environment)
        shown = repr(config) + repr(plan(config))
        for value in (*environment.values(), "in-the-clear", "also-in-clear"):
            assert value not in shown

    @pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: one])
    def test_a_copy_is_as_silent(self, again: Any) -> None:
        assert repr(again(Secret("hunter2"))) == "Secret(**********)"

    def test_an_error_can_be_pickled(self) -> None:
        error = ConfigError([Problem(Origin(FILE, 3, ("a",)), "wrong", "mend it", "x")])
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is ConfigError
        assert again.problems == error.problems
        assert str(again) == str(error)


class TestShellExpressions:
    @pytest.mark.parametrize(
        ("template", "expression"),
        [
            ("${env:A}", "getenv('A')"),
            ("it's ${env:A}!", "'it''s ' || getenv('A') || '!'"),
            ("$${env:A}", "'${env:A}'"),
            ("${env:A:b}${env:C}", "if(getenv('A') = '', 'b', getenv('A')) || getenv('C')"),
            ("plain", "'plain'"),
            ("", "''"),
        ],
    )
    def test_a_template_is_an_expression_of_the_shell(self, template: str, expression: str) -> None:
        assert shell_expression(template) == expression

    def test_variables_are_found_in_order_and_escapes_are_none(self) -> None:
        assert variables_in("${env:B}${env:A:x}$${env:C}") == ("B", "A")


def test_the_lines_of_an_env_file_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "catalog.yaml").write_text("version: 1")
    (tmp_path / "own.env").write_text("A=1\nthis is hunter2\n# fine\nB='unclosed\nC=2\n")
    with pytest.raises(ConfigError) as raised:
        load_config(tmp_path / "catalog.yaml", env_file=tmp_path / "own.env")
    told = [(one.origin.file, one.origin.line, one.message) for one in raised.value.problems]
    file = str(tmp_path / "own.env")
    assert told == [(file, line, "this line is not NAME=value") for line in (2, 4)]


def test_a_variable_that_stands_twice_in_sql_is_named_once() -> None:
    text = "SELECT ${env:V}, ${env:V}"
    (problem,) = fill_text(text, Origin("f"), {"V": "not a word"})[2]
    assert problem.message.startswith("environment variable V: its value is not")


class TestEscapes:
    @pytest.mark.parametrize(
        "text",
        [
            "${env:X}",
            "$${env:X}",
            "${env:}",
            "${ ENV }",
            "${env:${env:X}} b",
            "${env",
            "$$$${env:X",
        ],
    )
    def test_a_text_that_looks_like_a_placeholder_can_be_stated(self, text: str) -> None:
        sql = f"SELECT '{text}''s'"
        origin = Origin("catalog.yaml", 1, ("views", 0, "sql"))
        assert fill_text(escaped(sql), origin, {"X": "no"}) == (sql, [], [])
        document = parse_document(json.dumps({"a": escaped(text)}), "catalog.json")
        assert fill(document, {"X": "no"}) == ({"a": text}, [], [])
