"""Files to data: exact lines, and every way in which a file can be no config."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from duckalog.document import Document, parse_document, read_document
from duckalog.document.builder import MAX_DEPTH, MAX_VALUES, Marks
from duckalog.errors import ConfigError

YAML = "/folder/catalog.yaml"
JSON = "/folder/catalog.json"


def marks_at(document: Document, *path: str | int) -> Marks:
    marks = document.marks
    for key in path:
        marks = marks.children[key]
    return marks


def refusal_of(text: str, file: str = YAML) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_document(text, file)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("views:\n\t- name: a", "Indent with spaces: YAML takes no tabs."),
        ("uri: *.parquet", "stands in quotes"),
        ("sql: @x", "stands in quotes"),
        ("description: note: two", "stands in quotes"),
    ],
)
def test_what_people_write_most_that_is_no_yaml_is_told_with_the_way_out(
    text: str, remedy: str
) -> None:
    assert remedy in refusal_of(text)


def problems_of(text: str, file: str = YAML) -> list[str]:
    return [str(problem) for problem in parse_document(text, file).problems]


class TestPositions:
    def test_yaml_keys_and_values_are_where_the_file_has_them(self) -> None:
        document = parse_document("version: 1\n\nviews:\n  - name: a\n    sql: x\n", YAML)
        assert document.marks.keys == {"version": 1, "views": 3}
        assert marks_at(document, "version").line == 1
        assert marks_at(document, "views", 0).line == 4
        assert marks_at(document, "views", 0).keys == {"name": 4, "sql": 5}
        assert marks_at(document, "views", 0, "sql").line == 5

    def test_json_keys_and_values_are_where_the_file_has_them(self) -> None:
        text = '{"version": 1,\n\t"views": [\n {"name": "a"},\n {"name": "é", "sql": "x"}]}'
        document = parse_document(text, JSON)
        assert document.marks.keys == {"version": 1, "views": 2}
        assert marks_at(document, "version").line == 1
        assert marks_at(document, "views", 1).keys == {"name": 4, "sql": 4}
        assert marks_at(document, "views", 1, "sql").line == 4

    def test_a_flow_map_has_the_columns_of_its_keys(self) -> None:
        document = parse_document("{a: 1, b: {c: 2}}", YAML)
        assert document.marks.keys == {"a": 1, "b": 1}
        assert marks_at(document, "b").keys == {"c": 1}

    def test_an_origin_is_the_line_of_the_key(self) -> None:
        document = parse_document("views:\n- name: a\n  sql: |\n    SELECT 1\n", YAML)
        assert document.origin(("views", 0, "sql")).line == 3

    def test_an_origin_of_a_key_that_is_not_there_is_the_line_of_its_parent(self) -> None:
        document = parse_document("views:\n- sql: x\n- sql: y\n", YAML)
        origin = document.origin(("views", 1, "schema"))
        assert (origin.line, origin.path) == (3, ("views", 1, "schema"))

    def test_an_origin_of_a_merged_key_is_where_the_anchor_has_it(self) -> None:
        document = parse_document("a: &x\n  b: 1\nc:\n  <<: *x\n", YAML)
        assert document.origin(("c", "b")).line == 2

    def test_a_json_text_and_the_same_yaml_text_are_the_same_data(self) -> None:
        text = '{"version": 1, "x": [null, true, 1.5, "a\\u00e9", {"b": []}]}'
        assert parse_document(text, JSON).data == parse_document(text, YAML).data


class TestDuplicateKeys:
    @pytest.mark.parametrize("file", [YAML, JSON])
    def test_both_lines_are_told(self, file: str) -> None:
        document = parse_document('{"a": {\n"b": 1,\n"c": 2,\n"b": 3}}', file)
        (problem,) = document.problems
        assert problem.origin.line == 4
        assert problem.origin.path == ("a", "b")
        assert problem.message == 'the key "b" stands here a second time; the first is on line 2'

    def test_the_first_one_stays_in_the_data(self) -> None:
        document = parse_document("a: 1\na: {b: [2]}\nc: 3\n", YAML)
        assert document.data == {"a": 1, "c": 3}

    def test_every_one_is_told(self) -> None:
        text = "a: 1\na: 2\na: 3\nb:\n  c: 1\n  c: 2\n"
        lines = [problem.origin.line for problem in parse_document(text, YAML).problems]
        assert lines == [2, 3, 6]

    def test_quotes_do_not_make_a_key_another_one(self) -> None:
        assert len(problems_of("a: 1\n\"a\": 2\n'a': 3\n")) == 2

    def test_a_number_and_its_text_are_the_same_key(self) -> None:
        assert len(problems_of('1: a\n"1": b\n')) == 1

    def test_a_key_of_the_map_beats_a_merged_one_and_is_no_duplicate(self) -> None:
        document = parse_document("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  b: 3\n", YAML)
        assert document.data["d"] == {"b": 3, "c": 2}
        assert not document.problems


class TestAnchors:
    def test_an_alias_repeats_the_value(self) -> None:
        assert parse_document("a: &x [1, 2]\nb: *x\n", YAML).data == {"a": [1, 2], "b": [1, 2]}

    def test_an_alias_repeats_a_key(self) -> None:
        assert parse_document("&k name: a\nb: {*k : c}\nd: *k\n", YAML).data == {
            "name": "a",
            "b": {"name": "c"},
            "d": "name",
        }

    def test_a_list_of_maps_is_merged_and_the_first_one_wins(self) -> None:
        text = "a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc:\n  <<: [*a, *b]\n"
        assert parse_document(text, YAML).data["c"] == {"x": 1, "y": 2}

    def test_a_quoted_merge_key_is_a_plain_key(self) -> None:
        assert parse_document('"<<": {a: 1}\n', YAML).data == {"<<": {"a": 1}}
        assert parse_document('{"<<": {"a": 1}}', JSON).data == {"<<": {"a": 1}}

    def test_merging_what_is_no_map_is_a_problem(self) -> None:
        (problem,) = parse_document("a:\n  b: 1\n  <<: 5\n", YAML).problems
        assert problem.message == '"<<" takes a map, or a list of maps'
        assert problem.origin.line == 3

    def test_an_alias_before_its_anchor_is_refused(self) -> None:
        assert refusal_of("a: *x\nb: &x 1\n").endswith(':1: a: no anchor "&x" stands before')

    @pytest.mark.parametrize(
        "text", ["a: &x [*x]", "a: &x {b: *x}", "&x a: 1\nb: &y\n  - c: *y", "a: &x {<<: *x}"]
    )
    def test_an_alias_that_contains_itself_is_refused(self, text: str) -> None:
        assert "contains itself" in refusal_of(text)

    @pytest.mark.parametrize("levels", [9, 30])
    def test_aliases_cannot_make_a_small_file_huge(self, levels: int) -> None:
        lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
        for level in range(1, levels):
            repeated = ", ".join([f"*a{level - 1}"] * 10)
            lines.append(f"a{level}: &a{level} [{repeated}]")
        assert f"more than {MAX_VALUES:,} values, repeated aliases" in refusal_of("\n".join(lines))

    def test_merged_maps_count_as_values(self) -> None:
        lines = ["a: &a {" + ", ".join(f"k{one}: 1" for one in range(1000)) + "}", "b:"]
        lines += ["- {<<: *a}"] * 1100
        assert "values, repeated aliases" in refusal_of("\n".join(lines))

    def test_aliases_cannot_nest_deeper_than_brackets(self) -> None:
        lines = ["- &a0 [1]"] + [f"- &a{one} [*a{one - 1}]" for one in range(1, 1500)]
        message = refusal_of("\n".join(lines))
        assert message.endswith(f":{MAX_DEPTH}: nested more than {MAX_DEPTH} levels deep")


class TestDepth:
    @pytest.mark.parametrize(
        ("file", "opening", "closing"),
        [(YAML, "[", "]"), (YAML, "{a: ", "}"), (JSON, "[", "]"), (JSON, '{"a":', "}")],
    )
    def test_the_limit_is_exact(self, file: str, opening: str, closing: str) -> None:
        def nested(levels: int) -> str:
            return opening * levels + "1" + closing * levels

        assert parse_document(nested(MAX_DEPTH), file).data
        assert "nested more than" in refusal_of(nested(MAX_DEPTH + 1), file)

    @pytest.mark.parametrize("start", ["[", "{a: ", "- ", "? "])
    def test_a_yaml_text_of_nothing_but_brackets_is_refused(self, start: str) -> None:
        assert refusal_of(start * 200_000)

    @pytest.mark.parametrize("start", ["[", '{"a":', "[[{"])
    def test_a_json_text_of_nothing_but_brackets_is_refused(self, start: str) -> None:
        assert refusal_of(start * 200_000, JSON)

    def test_a_json_text_that_is_deep_and_whole_is_refused(self) -> None:
        assert "nested" in refusal_of("[" * 200_000 + "]" * 200_000, JSON)


class TestTags:
    @pytest.mark.parametrize(
        ("text", "tag"),
        [
            ("!!python/object/apply:os.system [x]", "!!python/object/apply:os.system"),
            ("!custom x", "!custom"),
            ("!!binary aGk=", "!!binary"),
            ("!!set {a}", "!!set"),
            ("!!omap [a: 1]", "!!omap"),
            ("!<tag:example.com,2000:x> {}", "tag:example.com,2000:x"),
        ],
    )
    def test_a_tag_that_says_what_yaml_cannot_hold_is_refused(self, text: str, tag: str) -> None:
        message = refusal_of(f"a: 1\nb: {text}\n")
        assert message.endswith(f':2: the YAML tag "{tag}" means nothing here')

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("!!str 5", "5"),
            ("!!int '5'", 5),
            ("!!float 1", 1.0),
            ("!!bool 'yes'", True),
            ("!!null ''", None),
            ("!!map {}", {}),
            ("!!seq []", []),
        ],
    )
    def test_the_tags_of_plain_data_are_obeyed(self, text: str, value: object) -> None:
        assert parse_document(f"a: {text}\n", YAML).data == {"a": value}

    @pytest.mark.parametrize(
        "text", ["!!int x", "!!bool maybe", "!!float ''", "0b_", "1" * 5000, "0x" + "f" * 5000]
    )
    def test_a_value_that_is_not_of_its_type_is_refused(self, text: str) -> None:
        assert ":2: this is not a value of the YAML type" in refusal_of(f"a: 1\nb: {text}\n")

    @pytest.mark.parametrize("text", ["1" + ":59" * 100_000, "1" + ":0" * 240 + ".5"])
    def test_a_number_in_base_sixty_costs_bounded_time(self, text: str) -> None:
        assert ":2: this is not a value of the YAML type" in refusal_of(f"a: 1\nb: {text}\n")

    @pytest.mark.parametrize("text", ["2026-01-31", "2026-01-31T10:00:00Z", "="])
    def test_dates_stay_text(self, text: str) -> None:
        assert parse_document(f"a: {text}\n", YAML).data == {"a": text}


class TestKeys:
    @pytest.mark.parametrize(
        ("key", "kind"),
        [
            ("yes", "true or false"),
            ("on", "true or false"),
            ("1.5", "a number"),
            ("~", "nothing"),
        ],
    )
    def test_a_key_that_yaml_does_not_read_as_text_is_told(self, key: str, kind: str) -> None:
        document = parse_document(f"a: 1\n{key}: {{b: 2}}\nc: 3\n", YAML)
        (problem,) = document.problems
        assert problem.message == f"a key is text, and YAML reads this one as {kind}"
        assert problem.remedy == "Put it in quotes."
        assert problem.origin.line == 2
        assert document.data == {"a": 1, "c": 3}

    def test_a_whole_number_as_key_is_its_text(self) -> None:
        assert parse_document("7: a\n", YAML).data == {"7": "a"}

    @pytest.mark.parametrize("text", ["? [a]\n: b\n", "? {a: b}\n: c\n", "{[a]: b}"])
    def test_a_list_or_map_as_key_is_refused(self, text: str) -> None:
        assert "a key is text, not a list or map" in refusal_of(text)

    def test_a_list_as_key_by_an_alias_is_told(self) -> None:
        assert "a key is text" in problems_of("a: &x [1]\nb: {*x : 1}\n")[0]


class TestText:
    @pytest.mark.parametrize(
        ("text", "file", "reason"),
        [
            ('a: "b\\0c"', YAML, "text cannot contain NUL"),
            ('"b\\0c": a', YAML, "text cannot contain NUL"),
            ('{"a": "b\\u0000c"}', JSON, "text cannot contain NUL"),
            ('{"a\\u0000": 1}', JSON, "text cannot contain NUL"),
            ('{"a": "\\ud800"}', JSON, "text cannot contain half a surrogate pair"),
            ('{"\\udfff": "b"}', JSON, "text cannot contain half a surrogate pair"),
        ],
    )
    def test_what_duckdb_cannot_hold_is_told(self, text: str, file: str, reason: str) -> None:
        document = parse_document(text, file)
        assert [problem.message for problem in document.problems] == [reason]
        str(document.data).encode()  # what is left can be printed

    def test_a_surrogate_pair_is_one_character(self) -> None:
        assert parse_document('{"a": "\\ud83e\\udd86"}', JSON).data == {"a": "🦆"}

    @pytest.mark.parametrize("text", ["a: b\0c", "a: b\x07c", "a: \x1b[31m", "\ufffe"])
    def test_control_characters_in_yaml_are_refused_with_their_line(self, text: str) -> None:
        message = refusal_of(f"x: 1\n{text}\n")
        assert ":2: this is not YAML" in message
        assert "stands in quotes" not in message

    def test_half_a_surrogate_in_yaml_is_refused(self) -> None:
        assert ":1: this is not YAML" in refusal_of('a: "\\ud800"')


class TestYamlSyntax:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("a: 1\nb: [1\n", 3),
            ("a: 1\n\tb: 2\n", 2),
            ("a: 'b\n", 2),
            ("a: b: c\n", 1),
            ("a: 1\n b: 2\n", 2),
            ("- a\nb: 1\n", 2),
            ("%YAML 3.0\n---\na: 1\n", 1),
            ("a: @b\n", 1),
            ("a: `b\n", 1),
        ],
    )
    def test_an_error_is_told_with_its_line(self, text: str, line: int) -> None:
        assert f"catalog.yaml:{line}: this is not YAML: " in refusal_of(text)

    @pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
    def test_an_empty_file_is_told_how_a_config_starts(self, text: str) -> None:
        assert "the file is empty\n    A config starts with: version: 1" in refusal_of(text)

    def test_a_second_document_is_refused_with_its_line(self) -> None:
        message = refusal_of("version: 1\n---\nversion: 1\n")
        assert ":2: a second YAML document starts here; a config is one" in message

    def test_the_marks_of_one_document_are_allowed(self) -> None:
        assert parse_document("%YAML 1.1\n---\na: 1\n...\n", YAML).data == {"a": 1}


class TestJsonSyntax:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ('{"a": 1,}', 1),
            ('{"a": 1\n"b": 2}', 2),
            ("{'a': 1}", 1),
            ('// note\n{"a": 1}', 1),
            ('{"a": 1}\n{"b": 2}', 2),
            ('{"a": "\n"}', 1),
            ('{"a":\n\n01}', 3),
            ('{"a": tru}', 1),
            ('{"a": 1', 1),
            ("a: 1", 1),
        ],
    )
    def test_an_error_is_told_with_its_line(self, text: str, line: int) -> None:
        assert f"catalog.json:{line}: this is not JSON: " in refusal_of(text, JSON)

    @pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
    def test_what_python_takes_for_json_is_refused_with_its_line(self, text: str) -> None:
        assert ":2: NaN and Infinity are not JSON" in refusal_of(f'{{"a":\n{text}}}', JSON)

    def test_a_number_of_too_many_digits_is_refused_with_its_line(self) -> None:
        text = '{"a":\n' + "9" * 5000 + "}"
        assert ":2: the number has too many digits" in refusal_of(text, JSON)

    def test_tabs_are_white_space(self) -> None:
        assert parse_document('{\n\t"a":\t[\t1\t]\n}\t', JSON).data == {"a": [1]}

    def test_brackets_and_quotes_in_text_are_text(self) -> None:
        text = r'{"a": "]}, \"b\": [\\", "c": "//"}'
        assert parse_document(text, JSON).data == {"a": ']}, "b": [\\', "c": "//"}

    @pytest.mark.parametrize("text", ["", "  \n\t "])
    def test_an_empty_file_is_refused(self, text: str) -> None:
        assert "the file is empty" in refusal_of(text, JSON)


class TestFiles:
    @pytest.mark.parametrize("name", ["c.yaml", "c.yml", "C.YAML", "c.json", "C.Json"])
    def test_the_ending_says_the_format(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text('{"version": 1}')
        assert read_document(tmp_path / name).data == {"version": 1}

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("catalog.toml", '".toml" is not an ending of a config'),
            ("catalog.yaml.bak", '".bak" is not an ending of a config'),
            ("catalog", "the file has no ending"),
            (".yaml", "the file has no ending"),
        ],
    )
    def test_another_ending_is_refused(self, tmp_path: Path, name: str, message: str) -> None:
        (tmp_path / name).write_text("version: 1")
        with pytest.raises(ConfigError) as caught:
            read_document(tmp_path / name)
        assert f"{name}: {message}\n    Name it .yaml, .yml or .json." in str(caught.value)

    @pytest.mark.parametrize("name", ["c.yaml", "c.json"])
    def test_a_byte_order_mark_is_taken_off(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b'\xef\xbb\xbf{"version": 1}')
        document = read_document(tmp_path / name)
        assert document.data == {"version": 1}
        assert document.marks.keys["version"] == 1

    @pytest.mark.parametrize(
        ("raw", "line"),
        [
            (b"a: 1\nb: \xe9\n", 2),
            ("version: 1\n".encode("utf-16"), 1),
            (b"a: 1\n\n\n\xff\xfe", 4),
            (b"a: \xed\xa0\x80", 1),
            (b"\x80", 1),
        ],
    )
    def test_what_is_not_utf8_is_refused_with_its_line(
        self, tmp_path: Path, raw: bytes, line: int
    ) -> None:
        (tmp_path / "c.yaml").write_bytes(raw)
        with pytest.raises(ConfigError) as caught:
            read_document(tmp_path / "c.yaml")
        assert f"c.yaml:{line}: the file is not UTF-8 text (byte " in str(caught.value)

    def test_a_missing_file_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"c\.yaml: there is no such file$"):
            read_document(tmp_path / "c.yaml")
        (tmp_path / "catalog.yaml").touch()
        with pytest.raises(ConfigError, match=r'Did you mean "catalog\.yaml"\?$'):
            read_document(tmp_path / "catalog.yml")

    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").mkdir()
        with pytest.raises(ConfigError, match=r"c\.yaml: this is a folder, not a file"):
            read_document(tmp_path / "c.yaml")

    def test_a_device_is_no_file(self) -> None:
        with pytest.raises(ConfigError, match="this is a device or pipe, not a file"):
            read_document("/dev/zero")

    def test_a_path_with_nul_is_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="the file cannot be read"):
            read_document(f"{tmp_path}/c\0.yaml")

    def test_a_file_that_may_not_be_read_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(path: str, *_: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

        (tmp_path / "c.yaml").write_text("version: 1")
        monkeypatch.setattr("builtins.open", refuse)  # root may read every file
        with pytest.raises(ConfigError, match="the file cannot be read: Permission denied"):
            read_document(tmp_path / "c.yaml")

    def test_a_file_above_the_limit_is_not_read(self, tmp_path: Path) -> None:
        with (tmp_path / "c.yaml").open("wb") as file:
            file.truncate(64 * 1024 * 1024)
        with pytest.raises(ConfigError, match="the file is larger than 16 MiB"):
            read_document(tmp_path / "c.yaml")

    def test_line_ends_of_windows_count_once(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_bytes(b"a: 1\r\nb: 2\r\nc:\r\n  d: 3\r\n")
        assert read_document(tmp_path / "c.yaml").marks.keys["c"] == 3

    def test_the_repr_holds_no_data(self) -> None:
        assert "hunter2" not in repr(parse_document("password: hunter2", YAML))


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@given(PLAIN)
@settings(max_examples=200, deadline=None)
@example({"?": 1, "<<": 2, "": 3})
def test_json_is_read_as_python_reads_it(data: Any) -> None:
    document = parse_document(json.dumps(data, indent=1), JSON)
    assert document.data == data
    assert not document.problems


@given(PLAIN)
@settings(max_examples=100, deadline=None)
def test_yaml_is_read_as_pyyaml_reads_it(data: Any) -> None:
    text = yaml.safe_dump(data)
    assert parse_document(text, YAML).data == yaml.safe_load(text) == data


@given(st.text(max_size=60) | st.text("{}[]:,-&*#!|>'\"%@` \n\tab0<", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_data_or_a_problem(text: str) -> None:
    for file in (YAML, JSON):
        try:
            told = [str(problem) for problem in parse_document(text, file).problems]
        except ConfigError as error:
            told = [str(problem) for problem in error.problems]
        assert all(problem.startswith(file) for problem in told)
