"""The catalog half: all or nothing, and never what a user made by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

import duckalog
from tests.catalogs import change, comments_of, content_of, views_of
from tests.conftest import WriteConfig

Actions = dict[str, str]
Build = Callable[..., Actions]

HEAD = "version: 1\nduckdb:\n  database: catalog.duckdb\n"
EARLIER = """\
views:
  - {name: numbers, sql: SELECT 1 AS x, description: first, columns: {x: the number}}
  - {name: doubled, schema: derived, sql: SELECT x * 2 AS y FROM numbers}
"""

FAILURES = {
    "the third view": """\
views:
  - {name: numbers, sql: SELECT 2 AS x}
  - {name: added, schema: fresh, sql: SELECT 3 AS x}
  - {name: broken, sql: SELECT * FROM missing}
""",
    "a file that is missing": "views: [{name: files, source: parquet, uri: 'none/*.parquet'}]",
    "a comment on a column that is missing": """\
views: [{name: numbers, sql: SELECT 2 AS x, columns: {y: no such column}}]
""",
    "a view that has the name of a table": "views: [{name: precious, sql: SELECT 2}]",
    "a view that was made by hand": "views: [{name: handmade, sql: SELECT 2}]",
    "a DuckDB attachment": """\
attachments: {duckdb: [{alias: gone, path: gone.duckdb}]}
views: [{name: numbers, sql: SELECT 2 AS x}]
""",
    "a setting": "  settings: {threads: many}\nviews: [{name: numbers, sql: SELECT 2 AS x}]",
    "a pragma": "  pragmas: [SET nonsense = 1]\nviews: [{name: numbers, sql: SELECT 2 AS x}]",
    "an extension": """\
  load_extensions: [{name: missing, repository: ./no_such_folder}]
views: [{name: numbers, sql: SELECT 2 AS x}]
""",
    "a secret": """\
  secrets: [{type: s3, provider: credential_chain, chain: nonsense}]
views: [{name: numbers, sql: SELECT 2 AS x}]
""",
    "a SQLite attachment": """\
attachments: {sqlite: [{alias: gone, path: gone.db}]}
views: [{name: numbers, sql: SELECT 2 AS x}]
""",
}
NEED_EXTENSIONS = {"a secret", "a SQLite attachment"}
FIRST_BUILD_SUCCEEDS = {"a view that has the name of a table", "a view that was made by hand"}


def failures(names: set[str]) -> list[object]:
    """Return pytest parameters for the failures of these names."""
    return [
        pytest.param(text, id=name, marks=[pytest.mark.servers] * (name in NEED_EXTENSIONS))
        for name, text in FAILURES.items()
        if name in names
    ]


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Return where the tests' catalog is built."""
    return tmp_path / "catalog.duckdb"


@pytest.fixture
def build(write_config: WriteConfig) -> Build:
    """Return a function that builds the rest of a config, and returns what befell each view."""

    def built(text: str, **options: bool) -> Actions:
        report = duckalog.build(write_config(HEAD + text), **options)
        return {f"{view.schema}.{view.name}": view.action for view in report.views}

    return built


@pytest.fixture
def earlier(build: Build, catalog: Path) -> Path:
    """Return a catalog that was built before, and to which a user added things."""
    build(EARLIER)
    change(
        catalog,
        "CREATE TABLE precious AS SELECT 42 AS answer",
        "COMMENT ON TABLE precious IS 'do not lose'",
        "CREATE SCHEMA own",
        "CREATE VIEW own.handmade AS SELECT answer FROM precious",
        "CREATE VIEW handmade AS SELECT 1",
    )
    return catalog


def schemas_of(file: Path) -> set[str]:
    """Return the schemas in a catalog file."""
    return {schema for schema, _ in content_of(file)["schemas"]}


class TestAllOrNothing:
    @pytest.mark.parametrize("failing", failures(set(FAILURES)))
    def test_a_build_that_fails_leaves_the_earlier_catalog_as_it_was(
        self, failing: str, earlier: Path, build: Build
    ) -> None:
        before = content_of(earlier)
        with pytest.raises(duckalog.EngineError):
            build(failing)
        assert content_of(earlier) == before

    @pytest.mark.parametrize("failing", failures(set(FAILURES) - FIRST_BUILD_SUCCEEDS))
    def test_a_first_build_that_fails_leaves_nothing(
        self, failing: str, build: Build, tmp_path: Path
    ) -> None:
        with pytest.raises(duckalog.EngineError):
            build(failing)
        assert [path.name for path in tmp_path.iterdir()] == ["catalog.yaml"]

    @pytest.mark.usefixtures("earlier")
    def test_the_build_after_one_that_failed_succeeds(self, build: Build) -> None:
        with pytest.raises(duckalog.EngineError):
            build(FAILURES["the third view"])
        assert build(EARLIER) == {"main.numbers": "unchanged", "derived.doubled": "unchanged"}

    def test_a_view_that_leaves_is_kept_where_another_fails(
        self, earlier: Path, build: Build
    ) -> None:
        with pytest.raises(duckalog.EngineError):
            build("views: [{name: other, sql: FROM missing}]")
        assert "derived.doubled" in views_of(earlier)


class TestRefusals:
    def told(self, build: Build, text: str) -> list[tuple[int, str]]:
        """Return the line and the name of each problem of a build that fails."""
        with pytest.raises(duckalog.EngineError) as caught:
            build(text)
        return [(problem.origin.line, problem.name) for problem in caught.value.problems]

    def test_every_view_that_fails_is_told_with_its_line(self, build: Build) -> None:
        problems = self.told(
            build,
            """\
views:
  - {name: fine, sql: SELECT 1 AS x}
  - {name: no_file, source: csv, uri: none.csv}
  - {name: no_column, sql: SELECT nonsense FROM fine}
  - {name: also_fine, sql: FROM fine}
  - {name: no_table, sql: FROM missing}
  - {name: no_function, sql: SELECT missing_function(x) FROM also_fine}
""",
        )
        assert problems == [
            (6, "no_file"),
            (7, "no_column"),
            (9, "no_table"),
            (10, "no_function"),
        ]

    def test_views_that_end_the_transaction_are_all_told(self, build: Build) -> None:
        problems = self.told(
            build,
            """\
views:
  - {name: base, sql: SELECT 1 AS x}
  - {name: one, sql: "SELECT * FROM base, read_csv('none.csv')"}
  - {name: fine, sql: FROM base}
  - {name: two, schema: s, sql: "SELECT * FROM base, read_json('none.json')"}
  - {name: over_two, sql: FROM s.two}
  - {name: three, sql: SELECT nonsense FROM fine}
""",
        )
        assert problems == [(6, "one"), (8, "two"), (10, "three")]

    def test_a_view_over_one_that_fails_is_not_told(self, build: Build) -> None:
        problems = self.told(
            build,
            """\
views:
  - {name: third, sql: FROM second}
  - {name: second, sql: FROM first}
  - {name: first, sql: FROM missing}
""",
        )
        assert problems == [(7, "first")]

    def test_a_view_that_reads_a_table_of_its_own_schema_is_not_told_beside_one_that_fails(
        self, earlier: Path, build: Build
    ) -> None:
        change(earlier, "CREATE TABLE own.things (i INTEGER)")
        problems = self.told(
            build,
            """\
views:
  - {name: reads_own, schema: own, sql: FROM things}
  - {name: broken, sql: FROM missing}
""",
        )
        assert problems == [(6, "broken")]

    def test_a_refusal_has_the_place_the_reason_and_what_became_of_the_catalog(
        self, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(duckalog.EngineError) as caught:
            build("views:\n  - {name: events, source: parquet, uri: 'events/*.parquet'}\n")
        first, *rest = str(caught.value).splitlines()
        assert first == 'catalog.yaml:5: views[0] "events": DuckDB refused the view'
        assert "No files found that match the pattern" in rest[0]
        assert rest[-1] == "    The catalog was left as it was."

    def test_a_column_that_is_not_there_is_told_at_its_own_line(self, build: Build) -> None:
        with pytest.raises(duckalog.EngineError) as caught:
            build("""\
views:
  - name: v
    sql: SELECT 1 AS a
    description: Some text
    columns:
      a: There.
      b: Not there.
""")
        (problem,) = caught.value.problems
        assert (problem.origin.line, problem.origin.path[2:]) == (10, ("columns", "b"))
        assert problem.message == 'the view has no column "b"'
        assert problem.remedy == "Columns: a"

    def test_so_it_is_over_a_view_of_the_same_build(self, build: Build) -> None:
        with pytest.raises(duckalog.EngineError) as caught:
            build("""\
views:
  - {name: base, sql: "SELECT 1 AS a, 2 AS c"}
  - {name: top, sql: FROM base, columns: {a: There., b: Not there.}}
""")
        (problem,) = caught.value.problems
        assert problem.message == 'the view has no column "b"'
        assert problem.remedy == "Columns: a, c"

    def test_the_nearest_column_is_suggested(self, build: Build) -> None:
        with pytest.raises(duckalog.EngineError) as caught:
            build("views: [{name: v, sql: 'SELECT 1 AS price, 2 AS id', columns: {Prices: x}}]")
        assert caught.value.problems[0].remedy == 'Did you mean "price"? Columns: price, id'

    def test_refusals_are_in_the_order_of_the_file(self, build: Build) -> None:
        with pytest.raises(duckalog.EngineError) as caught:
            build("""\
views:
  - {name: reads_a_view, sql: "SELECT nothing FROM fine"}
  - {name: broken, sql: FROM missing}
  - {name: fine, sql: SELECT 1 AS a}
""")
        assert [one.name for one in caught.value.problems] == ["reads_a_view", "broken"]

    def test_what_stops_the_session_left_the_catalog_as_it_was(self, build: Build) -> None:
        with pytest.raises(duckalog.EngineError, match="The catalog was left as it was"):
            build("attachments: {sqlite: [{alias: a, path: missing.db}]}\n")

    @pytest.mark.usefixtures("earlier")
    def test_a_conflict_names_the_way_out(self, build: Build) -> None:
        with pytest.raises(duckalog.EngineError) as caught:
            build("""\
views:
  - {name: handmade, sql: SELECT 2}
  - {name: PRECIOUS, sql: SELECT 2}
""")
        view, table = caught.value.problems
        assert "--adopt" in view.remedy
        assert table.message == "the catalog has a table of this name, which duckalog did not make"
        assert "--adopt" not in table.remedy

    def test_with_keep_going_a_conflict_keeps_no_other_view(
        self, earlier: Path, build: Build
    ) -> None:
        before = content_of(earlier)["rows of main.precious"]
        actions = build(
            """\
views:
  - {name: numbers, sql: SELECT 7 AS x}
  - {name: precious, sql: SELECT 2 AS x}
  - {name: over_it, sql: FROM precious}
""",
            keep_going=True,
        )
        assert actions == {
            "main.numbers": "replaced",
            "main.precious": "failed",
            "main.over_it": "failed",
        }
        assert content_of(earlier)["rows of main.precious"] == before
        assert "derived.doubled" in views_of(earlier)  # nothing is dropped then

    def test_what_a_conflict_held_back_is_made_again_once_it_is_gone(
        self, build: Build, catalog: Path
    ) -> None:
        one = "{name: one, sql: SELECT 1 AS a}"
        both = "{name: both, sql: FROM one CROSS JOIN two}"
        build(f"views: [{one}, {{name: two, sql: SELECT 2 AS b}}, {both}]")
        change(catalog, "DROP VIEW two", "CREATE TABLE two AS SELECT 2 AS b")
        one = "{name: one, sql: 'SELECT 1 AS a, 3 AS c'}"
        views = f"views: [{one}, {{name: two, sql: SELECT 2 AS b}}, {both}]"
        assert build(views, keep_going=True)["main.both"] == "failed"
        assert build(f"views: [{one}, {both}]") == {
            "main.one": "unchanged",
            "main.both": "replaced",
        }

    def test_with_keep_going_nothing_is_dropped_that_a_failed_view_may_read(
        self, earlier: Path, build: Build
    ) -> None:
        rest = "views: [{name: doubled, schema: derived, sql: SELECT x * 2 AS y FROM numbers}]"
        assert build(rest, keep_going=True) == {"derived.doubled": "failed"}
        assert "main.numbers" in views_of(earlier)
        with pytest.raises(duckalog.EngineError):  # it is not forgotten, either
            build(rest)


class TestOwnership:
    def test_a_view_that_leaves_the_config_is_dropped(self, earlier: Path, build: Build) -> None:
        actions = build("views: [{name: numbers, sql: SELECT 1 AS x}]")
        assert actions["derived.doubled"] == "removed"
        assert "derived.doubled" not in views_of(earlier)

    def test_a_view_is_not_dropped_while_another_one_reads_it(
        self, earlier: Path, build: Build
    ) -> None:
        before = content_of(earlier)
        with pytest.raises(duckalog.EngineError) as caught:
            build("""\
views:
  - {name: doubled, schema: derived, sql: SELECT x * 2 AS y FROM numbers}
  - {name: other, sql: FROM numbers}
""")
        assert [one.name for one in caught.value.problems] == ["doubled", "other"]
        assert content_of(earlier) == before

    def test_a_view_is_made_again_that_finds_another_one_for_a_dropped_one(
        self, build: Build
    ) -> None:
        text = "views: [{name: n, sql: SELECT 1 AS x}, {name: v, schema: s, sql: FROM n}%s]"
        build(text % ", {name: n, schema: s, sql: SELECT 2 AS y}")
        assert build(text % "")["s.v"] == "replaced"

    def test_without_prune_it_stays_until_a_build_that_prunes(
        self, earlier: Path, build: Build
    ) -> None:
        rest = "views: [{name: numbers, sql: SELECT 1 AS x}]"
        assert "derived.doubled" not in build(rest, prune=False)
        assert "derived.doubled" in views_of(earlier)
        assert build(rest)["derived.doubled"] == "removed"

    def test_a_view_changed_by_hand_is_kept_in_every_later_build(
        self, earlier: Path, build: Build, caplog: pytest.LogCaptureFixture
    ) -> None:
        change(earlier, "CREATE OR REPLACE VIEW derived.doubled AS SELECT 'mine' AS y")
        for _ in range(3):
            caplog.clear()
            assert list(build("views: [{name: numbers, sql: SELECT 1 AS x}]")) == ["main.numbers"]
            assert "mine" in views_of(earlier)["derived.doubled"]
            assert [record.levelno for record in caplog.records] == [logging.WARNING]
            assert '"derived.doubled" left the config but was changed by hand' in caplog.text
            assert 'DROP VIEW "derived"."doubled"' in caplog.text
        change(earlier, 'DROP VIEW "derived"."doubled"')
        caplog.clear()
        build("views: [{name: numbers, sql: SELECT 1 AS x}]")
        assert not caplog.records

    def test_without_prune_a_view_changed_by_hand_is_still_known_as_changed(
        self, earlier: Path, build: Build
    ) -> None:
        change(earlier, "CREATE OR REPLACE VIEW derived.doubled AS SELECT 'mine' AS y")
        rest = "views: [{name: numbers, sql: SELECT 1 AS x}]"
        build(rest, prune=False)
        build(rest)
        assert "mine" in views_of(earlier)["derived.doubled"]

    def test_a_view_of_the_config_changed_by_hand_is_made_as_the_config_has_it(
        self, earlier: Path, build: Build, caplog: pytest.LogCaptureFixture
    ) -> None:
        before = views_of(earlier)
        change(earlier, "CREATE OR REPLACE VIEW derived.doubled AS SELECT 'mine' AS y")
        assert build(EARLIER) == {"main.numbers": "unchanged", "derived.doubled": "replaced"}
        assert views_of(earlier) == before
        assert '"derived.doubled" was changed by hand' in caplog.text

    def test_a_view_dropped_by_hand_is_created_again(self, earlier: Path, build: Build) -> None:
        change(earlier, "DROP VIEW derived.doubled")
        assert build(EARLIER)["derived.doubled"] == "created"

    def test_a_view_replaced_by_a_table_is_left_to_its_maker(
        self, earlier: Path, build: Build
    ) -> None:
        change(earlier, "DROP VIEW numbers", "CREATE TABLE numbers AS SELECT 7 AS x")
        with pytest.raises(duckalog.EngineError, match="a table of this name"):
            build(EARLIER)
        build("views: []")
        assert content_of(earlier)["rows of main.numbers"] == [(7,)]

    def test_what_a_user_made_is_never_touched(self, earlier: Path, build: Build) -> None:
        before = content_of(earlier)
        build("views: []")
        after = content_of(earlier)
        assert after["rows of main.precious"] == before["rows of main.precious"]
        assert [row for row in before["tables"] if row[0] == "main"] == [
            row for row in after["tables"] if row[0] == "main"
        ]
        assert set(views_of(earlier)) == {"main.handmade", "own.handmade"}

    def test_adopt_takes_over_a_view_made_by_hand(self, earlier: Path, build: Build) -> None:
        handmade = "views: [{name: handmade, sql: SELECT 2 AS x}]"
        assert build(handmade, adopt=True)["main.handmade"] == "replaced"
        assert "SELECT 2" in views_of(earlier)["main.handmade"]
        assert build("views: []")["main.handmade"] == "removed"

    def test_adopt_does_not_take_over_a_table(self, earlier: Path, build: Build) -> None:
        before = content_of(earlier)
        with pytest.raises(duckalog.EngineError, match="a table of this name"):
            build("views: [{name: precious, sql: SELECT 2}]", adopt=True)
        assert content_of(earlier) == before

    @pytest.mark.usefixtures("earlier")
    def test_a_view_that_moves_to_another_schema_leaves_none_behind(self, build: Build) -> None:
        moved = EARLIER.replace("derived", "renamed")
        actions = build(moved)
        assert actions == {
            "main.numbers": "unchanged",
            "renamed.doubled": "created",
            "derived.doubled": "removed",
        }
        assert build(moved) == {"main.numbers": "unchanged", "renamed.doubled": "unchanged"}

    def test_a_schema_that_is_renamed_leaves_none_behind(self, earlier: Path, build: Build) -> None:
        build(EARLIER.replace("derived", "Renamed"))
        assert schemas_of(earlier) == {"_duckalog", "own", "Renamed"}
        build(EARLIER)
        assert schemas_of(earlier) == {"_duckalog", "own", "derived"}

    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE TABLE derived.mine (i INTEGER)",
            "CREATE VIEW derived.mine AS SELECT 1",
            "CREATE MACRO derived.mine(x) AS x",
            "CREATE MACRO derived.mine(x) AS TABLE SELECT x",
            "CREATE SEQUENCE derived.mine",
            "CREATE TYPE derived.mine AS ENUM ('a')",
        ],
    )
    def test_a_schema_in_which_a_user_has_something_stays(
        self, statement: str, earlier: Path, build: Build
    ) -> None:
        change(earlier, statement)
        build("views: []")
        assert "derived" in schemas_of(earlier)
        change(earlier, "DROP SCHEMA derived CASCADE", "CREATE VIEW main.later AS SELECT 1")
        build("views: [{name: numbers, sql: SELECT 1 AS x}]")
        assert "derived" not in schemas_of(earlier)

    def test_of_many_schemas_those_stay_in_which_a_user_has_something(
        self, earlier: Path, build: Build
    ) -> None:
        views = [f'{{name: v, schema: "s \'{number}", sql: SELECT 1 AS x}}' for number in range(9)]
        build(f"views: [{', '.join(views)}]")
        change(earlier, 'CREATE MACRO "s \'4".mine(x) AS x')
        build("views: []")
        assert {name for name in schemas_of(earlier) if name.startswith("s ")} == {"s '4"}
        change(earlier, 'DROP MACRO "s \'4".mine')
        build("views: [{name: v, sql: SELECT 1 AS x}]")
        assert "s '4" not in schemas_of(earlier)

    def test_a_schema_that_a_user_made_stays_when_the_last_view_leaves_it(
        self, earlier: Path, build: Build
    ) -> None:
        change(earlier, "CREATE SCHEMA mine")
        build("views: [{name: v, schema: Mine, sql: SELECT 1 AS x}]")
        build("views: []")
        assert schemas_of(earlier) >= {"mine", "own"}

    def test_a_schema_that_a_user_made_again_after_a_build_stays(
        self, earlier: Path, build: Build
    ) -> None:
        build("views: []")
        assert "derived" not in schemas_of(earlier)
        change(earlier, "CREATE SCHEMA derived")
        build("views: [{name: v, sql: SELECT 1 AS x}]")
        assert "derived" in schemas_of(earlier)

    @pytest.mark.parametrize(
        ("before", "after"),
        [("name: Users", "name: users"), ("name: u, schema: Sales", "name: u, schema: sales")],
    )
    def test_a_name_that_changes_its_case_stays_the_same_view(
        self, before: str, after: str, build: Build, catalog: Path
    ) -> None:
        build(f"views: [{{{before}, sql: SELECT 1 AS x}}]")
        (action,) = build(f"views: [{{{after}, sql: SELECT 1 AS x}}]").values()
        assert action == "replaced"
        (again,) = build(f"views: [{{{after}, sql: SELECT 1 AS x}}]").values()
        assert again == "unchanged"
        assert len(views_of(catalog)) == 1
        assert list(build("views: []").values()) == ["removed"]


@pytest.mark.parametrize(("count", "told"), [(1, "1 view (1 created)"), (2, "2 views (2 created)")])
def test_the_log_tells_how_many_views_were_built(
    build: Build, caplog: pytest.LogCaptureFixture, count: int, told: str
) -> None:
    views = [f"{{name: v{number}, sql: SELECT 1 AS a}}" for number in range(count)]
    with caplog.at_level("INFO", logger="duckalog"):
        build(f"views: [{', '.join(views)}]\n")
    assert f"catalog.duckdb: {told} in 0." in caplog.messages[-1]


class TestComments:
    def test_columns_may_be_named_in_any_case(self, build: Build, tmp_path: Path) -> None:
        build(
            "views: [{name: v, sql: 'SELECT 1 AS id, 2 AS \"Name\"',"
            " columns: {ID: The number., name: The name.}}]"
        )
        comments = comments_of(tmp_path / "catalog.duckdb")
        assert comments["main.v.id"] == "The number."
        assert comments["main.v.Name"] == "The name."

    def test_descriptions_become_comments(self, earlier: Path) -> None:
        comments = comments_of(earlier)
        assert comments["main.numbers"] == "first"
        assert comments["main.numbers.x"] == "the number"
        assert comments["derived.doubled"] is None

    def test_comments_go_when_the_config_has_them_no_more(
        self, earlier: Path, build: Build
    ) -> None:
        build("views: [{name: numbers, sql: SELECT 1 AS x}]")
        assert comments_of(earlier)["main.numbers"] is None
        assert comments_of(earlier)["main.numbers.x"] is None

    def test_a_description_that_changes_replaces_the_view(
        self, earlier: Path, build: Build
    ) -> None:
        actions = build(EARLIER.replace("first", "second"))
        assert actions == {"main.numbers": "replaced", "derived.doubled": "unchanged"}
        assert comments_of(earlier)["main.numbers"] == "second"


QUERIES = {
    "pivot": "PIVOT (SELECT * FROM (VALUES ('a', 1), ('b', 2)) t(k, v)) ON k IN ('a', 'b')",
    "from first": "FROM numbers",
    "lambda": "SELECT list_transform([1, 2], lambda x: x + 1) AS l",
    "recursive": "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM r WHERE i<3) FROM r",
    "materialized": "WITH m AS MATERIALIZED (SELECT 1 AS x) SELECT * FROM m",
    "window": "SELECT row_number() OVER w AS n FROM numbers WINDOW w AS (ORDER BY x)",
    "qualify": "SELECT x FROM numbers QUALIFY row_number() OVER (PARTITION BY x) = 1",
    "exclude": "SELECT * EXCLUDE (y) FROM (SELECT 1 AS x, 2 AS y)",
    "columns": "SELECT COLUMNS('.*') FROM numbers",
    "struct": "SELECT {'a': 1, 'b': [1, 2]} AS s, MAP {'k': 1} AS m",
    "values": "VALUES (1, 'a'), (2, 'b')",
    "union by name": "SELECT 1 AS a UNION ALL BY NAME SELECT 2 AS b",
    "asof": "SELECT a.x FROM numbers a ASOF JOIN numbers b ON a.x >= b.x",
    "casts": "SELECT '2024-01-01'::DATE AS d, 1.50::DECIMAL(9, 2) AS n, NULL::UUID AS u",
    "interval": "SELECT TIMESTAMP '2024-01-01' + INTERVAL 3 DAY AS t",
    "group by all": "SELECT x, count(*) FROM numbers GROUP BY ALL ORDER BY ALL",
    "trailing comment": "SELECT 1 AS x -- the end",
    "semicolon": "SELECT 1 AS x;",
    "odd names": 'SELECT 1 AS "odd ""name""", 2 AS "sélect"',
}


class TestRebuild:
    @pytest.mark.parametrize("query", [pytest.param(q, id=name) for name, q in QUERIES.items()])
    def test_a_view_that_did_not_change_is_unchanged_however_duckdb_words_it(
        self, query: str, build: Build
    ) -> None:
        text = f"""\
views:
  - {{name: numbers, sql: SELECT 1 AS x}}
  - name: tricky
    sql: |
      {query}
"""
        assert build(text)["main.tricky"] == "created"
        assert build(text)["main.tricky"] == "unchanged"
        assert build("views: [{name: numbers, sql: SELECT 1 AS x}]")["main.tricky"] == "removed"

    def test_an_edited_query_replaces_the_view(self, earlier: Path, build: Build) -> None:
        assert build(EARLIER.replace("x * 2", "x * 3"))["derived.doubled"] == "replaced"
        assert "* 3" in views_of(earlier)["derived.doubled"]

    def test_views_are_made_after_those_they_read_wherever_they_stand(self, build: Build) -> None:
        actions = build("""\
views:
  - {name: last, sql: SELECT * FROM middle JOIN first USING (x)}
  - {name: middle, schema: main, sql: FROM main.first}
  - {name: first, sql: SELECT 1 AS x}
""")
        assert list(actions) == ["main.first", "main.middle", "main.last"]

    def test_views_over_one_that_opens_every_file_are_made_without_opening_them_again(
        self, build: Build, catalog: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        duckdb.sql("SELECT 1 AS a").write_parquet(str(tmp_path / "1.parquet"))
        duckdb.sql("SELECT 2::BIGINT AS a, 'x' AS b").write_parquet(str(tmp_path / "2.parquet"))
        text = """\
views:
  - name: files
    source: parquet
    uri: "*.parquet"
    options: {union_by_name: true}
    columns: {b: B}
  - {name: over, schema: s, sql: "SELECT * REPLACE (a + 1 AS a) FROM main.files"}
  - {name: over_that, sql: FROM s.over}
"""
        with caplog.at_level(logging.DEBUG, "duckalog.engine"):
            assert set(build(text).values()) == {"created"}
        made = [record.getMessage() for record in caplog.records]
        stub, stand_in = (
            next(at for at, one in enumerate(made) if word in one)
            for word in ("TEMP MACRO read_parquet", 'VIEW "files" AS\nSELECT NULL::BIGINT')
        )
        assert stand_in < stub
        assert "read_parquet" in views_of(catalog)["main.files"]
        with duckdb.connect(str(catalog), read_only=True) as connection:
            rows = connection.execute("FROM over_that ORDER BY a").fetchall()
            comment = connection.execute(
                "SELECT comment FROM duckdb_columns() WHERE table_name = 'files' AND comment = 'B'"
            ).fetchall()
        assert (rows, comment) == ([(2, None), (3, "x")], [("B",)])
        assert set(build(text).values()) == {"unchanged"}

    def test_a_query_may_name_its_own_catalog(
        self, build: Build, write_config: WriteConfig
    ) -> None:
        text = """\
views:
  - {name: whole, schema: s, sql: FROM catalog.main.inner_view}
  - {name: short, sql: FROM catalog.inner_view}
  - {name: inner_view, sql: SELECT 5 AS x}
"""
        assert next(iter(build(text))) == "main.inner_view"
        with duckalog.connect(write_config(HEAD + text)) as connection:
            assert connection.execute("FROM s.whole").fetchall() == [(5,)]
            assert connection.execute("FROM short").fetchall() == [(5,)]

    def test_a_pragma_does_not_change_where_names_are_looked_for(
        self, build: Build, catalog: Path
    ) -> None:
        text = """\
  pragmas: ["ATTACH ':memory:' AS elsewhere", USE elsewhere]
views: [{name: v, sql: SELECT 1 AS x}, {name: w, sql: FROM v}]
"""
        assert list(build(text)) == ["main.v", "main.w"]
        assert list(views_of(catalog)) == ["main.v", "main.w"]

    def test_a_query_never_reads_a_variable_of_the_program_that_builds(self, build: Build) -> None:
        some_rows = duckdb.sql("SELECT 1 AS x")
        with pytest.raises(duckalog.EngineError, match="some_rows"):
            build("views: [{name: v, sql: FROM some_rows}]")
        assert some_rows.fetchall() == [(1,)]


def test_a_database_that_is_gone_hides_no_refusal(catalog: Path, write_config: WriteConfig) -> None:
    config = write_config(
        HEAD
        + """\
attachments: {duckdb: [{alias: gone, path: gone.duckdb}]}
views:
  - {name: good, sql: SELECT 1 AS x}
  - {name: bad, sql: FROM nowhere}
  - {name: stock, source: duckdb, database: gone, table: t}
"""
    )
    with pytest.raises(duckalog.EngineError) as caught:
        duckalog.build(config)
    assert [problem.name for problem in caught.value.problems] == ["gone", "bad"]
    assert not catalog.exists()


def test_duckdb_may_keep_track_of_who_reads_a_view(
    tmp_path: Path, write_config: WriteConfig
) -> None:
    for name in ("a", "b"):
        duckdb.sql(f"SELECT 1 AS {name}").write_parquet(str(tmp_path / f"{name}.parquet"))
    config = write_config(
        HEAD
        + """\
  pragmas: [SET enable_view_dependencies = true]
views:
  - {name: files, source: parquet, uri: "*.parquet", options: {union_by_name: true}}
  - {name: over, sql: SELECT a + b AS c FROM files}
"""
    )
    assert duckalog.build(config).count("created") == 2


class TestManyViews:
    def test_those_that_are_refused_among_many_are_told_by_name(
        self, catalog: Path, write_config: WriteConfig
    ) -> None:
        odd = {90: "FROM nowhere", 151: "FROM nothing"}
        views = "\n".join(
            f"  - {{name: v{number}, sql: '{odd.get(number, f'SELECT {number} AS x')}'}}"
            for number in range(200)
        )
        config = write_config(f"{HEAD}views:\n{views}\n")
        with pytest.raises(duckalog.EngineError) as caught:
            duckalog.build(config)
        told = [(problem.origin.line, problem.name) for problem in caught.value.problems]
        assert told == [(95, "v90"), (156, "v151")]
        assert not catalog.exists()

    def test_each_has_a_time_of_its_own(self, write_config: WriteConfig) -> None:
        odd = {57: "SELECT 1;", 58: "SELECT 2 -- of two"}
        views = "\n".join(
            f"  - {{name: v{number}, sql: '{odd.get(number, 'SELECT 1')}'}}"
            for number in range(200)
        )
        report = duckalog.build(write_config(f"{HEAD}views:\n{views}\n"))
        assert [view.action for view in report.views] == ["created"] * 200
        assert all(view.seconds > 0 for view in report.views)
