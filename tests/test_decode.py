"""Plain data to structs: every problem is told at its place, and no value is echoed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pytest

from duckalog.decode import (
    INVALID,
    Context,
    Derived,
    OneOrMany,
    ShortForm,
    Unfit,
    chosen_by,
    decode,
)
from duckalog.environment import Filled, Secret
from duckalog.errors import KeyPath, Origin, Problem
from duckalog.locations import DatabasePath, LocalPath, Uri, absolute_path, is_remote

Port = Annotated[int, msgspec.Meta(ge=1, le=9, description="a port from 1 to 9")]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    origin: Annotated[Origin, Derived] = Origin()


class Circle(Shape, frozen=True, kw_only=True):
    kind: Literal["circle"]
    radius: float


class Square(Shape, frozen=True, kw_only=True):
    kind: Literal["square"]
    side: int

    def __post_init__(self) -> None:
        if self.side < 0:
            raise Unfit("a side is not negative", "Write a positive number.", ("side",))


class Named(msgspec.Struct, frozen=True):
    name: str


class Everything(msgspec.Struct, frozen=True, kw_only=True):
    text: str | None = None
    number: int | None = None
    real: float | None = None
    truth: bool = False
    mode: Literal["fast", "slow"] | None = None
    port: Port | None = None
    either: str | int | bool = ""
    anything: Any = None
    secret: Secret | None = None
    path: LocalPath | None = None
    database: DatabasePath | None = None
    uri: Uri | None = None
    uris: Annotated[tuple[Uri, ...], OneOrMany] = ()
    numbers: tuple[int, ...] = ()
    by_name: dict[str, int] = {}
    free: dict[str, Any] = {}
    renamed_here: str | None = msgspec.field(default=None, name="schema")
    short: tuple[Annotated[Named, ShortForm("name")], ...] = ()
    shapes: tuple[Shape, ...] = ()
    derived: Annotated[str, Derived] = "not from the file"


class Section(msgspec.Struct, frozen=True, kw_only=True):
    is_section: ClassVar[bool] = True

    shapes: tuple[Shape, ...] = ()
    numbers: tuple[int, ...] = ()
    name: str = "a default"


KINDS: dict[str, type[Shape]] = {"circle": Circle, "square": Square}


def shape_of(data: Mapping[str, Any]) -> type[Shape] | Problem:
    return chosen_by("kind", KINDS, "kind", data)


def context(*, is_filled: bool = True) -> Context:
    def locate(path: KeyPath) -> Origin:
        return Origin("f.yaml", 7, path)

    return Context("/folder", locate, {Shape: shape_of}, [], is_filled=is_filled)


def decoded(data: Any, struct: type[Any] = Everything, *, is_filled: bool = True) -> Any:
    """Return what data is as a struct, decoded without a problem."""
    used = context(is_filled=is_filled)
    value = decode(struct, data, (), used)
    assert not used.problems
    return value


def problems_of(data: Any, struct: type[Any] = Everything) -> list[str]:
    """Return what is wrong with data, as `key path: message | remedy`."""
    used = context()
    value = decode(struct, data, (), used)
    assert used.problems
    assert value is INVALID or getattr(struct, "is_section", False)
    return [
        str(problem._replace(origin=problem.origin._replace(file=""))).replace("\n    ", " | ")
        for problem in used.problems
    ]


class TestPlainFields:
    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("text", ""),
            ("text", "a"),
            ("number", -5),
            ("real", 1.5),
            ("real", 1),
            ("truth", True),
            ("mode", "fast"),
            ("port", 9),
            ("either", "1"),
            ("either", 1),
            ("either", True),
            ("anything", [{"a": None}]),
            ("numbers", (1, 2)),
            ("by_name", {"a": 1}),
            ("free", {"": {"b": [None]}}),
        ],
    )
    def test_a_fitting_value_is_taken_as_it_is(self, key: str, value: Any) -> None:
        data = list(value) if isinstance(value, tuple) else value
        found = getattr(decoded({key: data}), key)
        assert found == value
        assert type(found) is type(value) or key == "real"

    @pytest.mark.parametrize(
        ("key", "value", "problem"),
        [
            ("text", 5, "text: expected text, got a whole number | Put it in quotes."),
            ("text", 1.5, "text: expected text, got a number | Put it in quotes."),
            ("text", True, "text: expected text, got true or false | Put it in quotes."),
            ("text", ["hunter2"], "text: expected text, got a list"),
            ("text", [], "text: expected text, got an empty list"),
            ("text", {"a": "hunter2"}, "text: expected text, got a map"),
            ("number", "hunter2", "number: expected a whole number, got text"),
            ("number", "5", "number: expected a whole number, got text"),
            ("number", 1.5, "number: expected a whole number, got a number"),
            ("number", True, "number: expected a whole number, got true or false"),
            ("number", "", "number: expected a whole number, got empty text"),
            ("real", "hunter2", "real: expected a number, got text"),
            ("truth", 1, "truth: expected true or false, got a whole number"),
            ("truth", "yes", "truth: expected true or false, got text"),
            ("port", 10, "port: expected a port from 1 to 9, got a whole number"),
            (
                "either",
                1.5,
                "either: expected text or a whole number or true or false, got a number",
            ),
            ("numbers", 1, "numbers: expected a list, got a whole number"),
            ("numbers", [1, "hunter2", None], "numbers[1]: expected a whole number, got text"),
            ("by_name", [1], "by_name: expected a map, got a list"),
            ("by_name", {"a": 1, "b": "x"}, "by_name.b: expected a whole number, got text"),
            ("free", 1, "free: expected a map, got a whole number"),
            ("shapes", {}, "shapes: expected a list, got a map"),
            ("shapes", ["hunter2"], "shapes[0]: expected a map, got text"),
        ],
    )
    def test_another_type_is_told_without_the_value(
        self, key: str, value: Any, problem: str
    ) -> None:
        assert problems_of({key: value})[0] == problem

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            ("fats", 'mode: expected one of "fast", "slow", got "fats" | did you mean "fast"?'),
            ("x", 'mode: expected one of "fast", "slow", got "x"'),
            (5, 'mode: expected one of "fast", "slow", got a whole number'),
            (
                Filled("hunter2", "${env:M}"),
                'mode: expected one of "fast", "slow", got the value of ${env:M}',
            ),
        ],
    )
    def test_a_choice_that_there_is_not_is_told_with_the_choices(
        self, value: Any, problem: str
    ) -> None:
        assert problems_of({"mode": value}) == [problem]

    def test_nothing_leaves_an_optional_field_at_its_default(self) -> None:
        assert decoded({"text": None, "numbers": None, "truth": None}) == Everything()

    def test_nothing_is_no_value_of_a_field_that_is_needed(self) -> None:
        assert problems_of({"kind": "square", "name": None, "side": 1}, Shape) == [
            "name: expected text, got nothing"
        ]

    def test_a_field_is_stated_by_the_name_of_its_key(self) -> None:
        assert decoded({"schema": "s"}).renamed_here == "s"
        assert problems_of({"renamed_here": "s"})[0].startswith('renamed_here: unknown key "re')

    def test_a_derived_field_cannot_be_stated(self) -> None:
        assert problems_of({"derived": "x"})[0].startswith('derived: unknown key "derived"')

    def test_the_origin_is_where_the_struct_stands(self) -> None:
        (shape,) = decoded({"shapes": [{"kind": "circle", "name": "a", "radius": 1}]}).shapes
        assert shape.origin == Origin("f.yaml", 7, ("shapes", 0))


class TestKeys:
    def test_an_unknown_key_is_told_with_the_nearest_and_all_others(self) -> None:
        assert problems_of({"kind": "square", "name": "a", "side": 1, "nmae": 1}, Shape) == [
            'nmae: unknown key "nmae" | Did you mean "name"? Keys here: kind, name, side'
        ]

    def test_a_key_far_from_all_is_told_without_a_guess(self) -> None:
        problem = problems_of({"kind": "square", "name": "a", "side": 1, "zzz": 1}, Shape)[0]
        assert problem == 'zzz: unknown key "zzz" | Keys here: kind, name, side'

    def test_a_key_in_capitals_is_unknown(self) -> None:
        assert 'Did you mean "text"?' in problems_of({"TEXT": "a"})[0]

    def test_a_key_is_shown_on_one_line_and_cut(self) -> None:
        problem = problems_of({"a\n\x1b[31m" + "b" * 500: 1})[0]
        assert problem.startswith(r"a\n\x1b[31mbbb")
        assert len(problem.splitlines()) == 1
        assert len(problem) < 600

    def test_every_problem_is_told_at_once(self) -> None:
        data = {"nope": 1, "text": 5, "numbers": ["x", 1, "y"], "shapes": [{"kind": "oval"}, 3]}
        assert [problem.partition(":")[0] for problem in problems_of(data)] == [
            "nope",
            "text",
            "numbers[0]",
            "numbers[2]",
            "shapes[0].kind",
            "shapes[1]",
        ]

    def test_names_that_differ_in_case_only_are_refused(self) -> None:
        assert problems_of({"by_name": {"ab": 1, "c": 2, "AB": 3}}) == [
            'by_name.AB: "ab" and "AB" differ in case only | Keep one of them.'
        ]

    def test_an_empty_name_is_refused(self) -> None:
        assert problems_of({"by_name": {"": 1}}) == ['by_name."": a name cannot be empty']

    def test_keys_of_free_form_maps_are_free(self) -> None:
        assert decoded({"free": {"a": 1, "A": 2, "": 3}}).free == {"a": 1, "A": 2, "": 3}


class TestVariants:
    def test_a_key_chooses_the_struct(self) -> None:
        found = decoded({"kind": "circle", "name": "a", "radius": 2}, Shape)
        assert found == Circle(kind="circle", name="a", radius=2, origin=found.origin)

    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            ({"name": "a"}, 'the key "kind" is missing | Kinds: circle, square'),
            (
                {"kind": "circel"},
                'kind: there is no kind "circel" | Did you mean "circle"? Kinds: circle, square',
            ),
            ({"kind": 5}, "kind: there is no kind | Kinds: circle, square"),
            (
                {"kind": Filled("hunter2", "${env:K}")},
                "kind: there is no kind | Kinds: circle, square",
            ),
        ],
    )
    def test_one_that_there_is_not_is_told_with_the_others(
        self, data: dict[str, Any], problem: str
    ) -> None:
        assert problems_of(data, Shape) == [problem]

    def test_a_key_of_another_variant_is_unknown(self) -> None:
        data = {"kind": "square", "name": "a", "side": 1, "radius": 2}
        assert problems_of(data, Shape)[0].startswith('radius: unknown key "radius"')

    def test_missing_keys_are_told_one_by_one(self) -> None:
        assert problems_of({"kind": "square"}, Shape) == [
            'the key "name" is missing',
            'the key "side" is missing',
        ]

    def test_fields_that_do_not_go_together_are_told_at_their_key(self) -> None:
        assert problems_of({"kind": "square", "name": "a", "side": -1}, Shape) == [
            "side: a side is not negative | Write a positive number."
        ]


class TestShortForms:
    def test_one_item_may_stand_for_a_list(self) -> None:
        assert decoded({"uris": "s3://a"}).uris == ("s3://a",)
        assert decoded({"uris": ["s3://a", "s3://b"]}).uris == ("s3://a", "s3://b")

    def test_an_empty_list_has_no_items(self) -> None:
        assert problems_of({"uris": []}) == ["uris: expected items, got an empty list"]

    def test_what_is_wrong_with_the_only_item_is_told_at_the_key_itself(self) -> None:
        assert problems_of({"uris": 5}) == ["uris: expected a path or URL, got a whole number"]
        assert problems_of({"uris": ["a", 5]})[0].startswith("uris[1]: ")

    def test_a_value_may_stand_for_a_struct_of_one_key(self) -> None:
        assert decoded({"short": ["a", {"name": "b"}]}).short == (Named("a"), Named("b"))
        assert problems_of({"short": ["a", 5]}) == [
            "short[1]: expected text, got a whole number | Put it in quotes."
        ]


class TestSections:
    def test_what_is_right_counts_although_something_is_wrong(self) -> None:
        used = context()
        square = {"kind": "square", "name": "a", "side": 1}
        data = {"shapes": [{"kind": "oval"}, square, 5], "numbers": [1, "x", 3], "nope": 1}
        section = decode(Section, data, (), used)
        assert [shape.name for shape in section.shapes] == ["a"]
        assert section.numbers == (1, 3)
        assert len(used.problems) == 4

    def test_a_field_that_is_wrong_is_left_at_its_default(self) -> None:
        used = context()
        assert decode(Section, {"name": 5}, (), used) == Section()
        assert len(used.problems) == 1

    def test_a_thing_with_something_wrong_inside_is_left_out(self) -> None:
        used = context()
        shapes = [{"kind": "square", "name": "a", "side": 1, "nope": 1}]
        assert decode(Section, {"shapes": shapes}, (), used).shapes == ()
        assert len(used.problems) == 1

    def test_what_is_no_map_is_no_section(self) -> None:
        assert problems_of([1], Section) == ["expected a map, got a list"]


class TestFilledValues:
    def test_numbers_and_truths_are_read_from_filled_texts_alone(self) -> None:
        data = {"number": Filled("5", "${env:N}"), "truth": Filled("true", "${env:T}")}
        assert decoded(data) == Everything(number=5, truth=True)
        assert problems_of({"number": "5"})

    def test_a_filled_text_keeps_its_template(self) -> None:
        assert repr(decoded({"text": Filled("hunter2", "${env:T}")}).text) == "'${env:T}'"

    def test_text_stays_text_in_a_field_of_many_types(self) -> None:
        found = decoded({"either": Filled("true", "${env:T}")}).either
        assert found == "true"

    def test_a_filled_value_of_another_type_is_told_by_its_template(self) -> None:
        assert problems_of({"port": Filled("hunter2", "${env:P}")}) == [
            "port: expected a port from 1 to 9, got the value of ${env:P}"
        ]

    def test_placeholders_stand_for_any_type_where_nothing_is_filled(self) -> None:
        data = dict.fromkeys(("number", "truth", "mode", "port", "secret", "uri"), "${env:X}")
        found = decoded(data, is_filled=False)
        assert (found.number, found.mode, found.uri) == ("${env:X}",) * 3
        assert repr(found.secret) == "Secret(${env:X})"


class TestSecrets:
    @pytest.mark.parametrize("value", ["hunter2", 12345])
    def test_a_value_is_kept_and_never_shown(self, value: Any) -> None:
        used = context()
        found = decode(Everything, {"secret": value}, (), used)
        assert found.secret.reveal() == str(value)
        assert str(value) not in repr(found)
        assert used.secrets == [Secret(str(value))]

    def test_a_filled_secret_shows_its_template(self) -> None:
        found = decoded({"secret": Filled("hunter2", "${env:PW}")})
        assert repr(found.secret) == "Secret(${env:PW})"

    @pytest.mark.parametrize("value", [["hunter2"], {"a": "hunter2"}, True, 1.5])
    def test_another_type_is_told_without_the_value(self, value: Any) -> None:
        (problem,) = problems_of({"secret": value})
        assert problem.startswith("secret: expected text, got ")
        assert "hunter2" not in problem


class TestPlaces:
    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("a.db", "/folder/a.db"),
            ("./a.db", "/folder/a.db"),
            ("../a.db", "/a.db"),
            ("/b/a.db", "/b/a.db"),
            ("file:///b/a.db", "/b/a.db"),
            ("a b/é*.parquet", "/folder/a b/é*.parquet"),
        ],
    )
    def test_a_path_starts_from_the_folder_of_its_file(self, path: str, expected: str) -> None:
        found = decoded({"path": path, "uri": path, "database": path})
        assert {found.path, found.uri, found.database} == {expected}

    def test_a_tilde_is_the_home_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/ann")
        assert absolute_path("~/a.db", "/folder") == "/home/ann/a.db"

    @pytest.mark.parametrize("uri", ["s3://b/x", "https://h/x?a=b", "gs://b", "HF://x"])
    def test_a_url_stays_as_it_is(self, uri: str) -> None:
        assert decoded({"uri": uri}).uri == uri
        assert is_remote(uri)

    @pytest.mark.parametrize("key", ["path", "uri", "database"])
    @pytest.mark.parametrize("value", ["", 5, ["a"], True])
    def test_what_is_no_path_is_told(self, key: str, value: Any) -> None:
        (problem,) = problems_of({key: value})
        assert problem.startswith(f"{key}: expected a path")

    def test_memory_is_no_path(self) -> None:
        assert decoded({"database": ":memory:"}).database == ":memory:"

    @pytest.mark.parametrize("uri", ["s3://b/x.duckdb", "md:mine", "https://h/x.duckdb"])
    def test_a_catalog_is_built_in_no_remote_file(self, uri: str) -> None:
        assert problems_of({"database": uri}) == [
            "database: the catalog is built in a local file | Write a path."
        ]
