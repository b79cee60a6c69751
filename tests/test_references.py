"""What a SELECT reads: found by DuckDB's parser, nothing bound, and all else refused."""

from __future__ import annotations

import pytest

from duckalog.parser import MAX_BRACKETS
from duckalog.references import Reading, readings_of


def reading_of(query: str) -> Reading:
    (reading,) = readings_of([query])
    return reading


def relations_in(query: str) -> set[str]:
    """Return the relations that a query reads, their parts joined by dots."""
    reading = reading_of(query)
    assert not reading.refusal
    return {".".join(name) for name in reading.relations}


class TestRelations:
    @pytest.mark.parametrize(
        ("query", "relations"),
        [
            ("SELECT 1", ""),
            ("VALUES (1), (2)", ""),
            ("SELECT * FROM a", "a"),
            ("FROM a", "a"),
            ("TABLE a", "a"),
            ("FROM a SELECT x", "a"),
            ("SELECT * FROM a, b JOIN c USING (x) LEFT JOIN d ON true", "a b c d"),
            ("SELECT * FROM a POSITIONAL JOIN b CROSS JOIN c", "a b c"),
            ("SELECT * FROM a ASOF JOIN b ON a.x >= b.x SEMI JOIN c ON true", "a b c"),
            ("SELECT * FROM a NATURAL JOIN b", "a b"),
            ("SELECT * FROM s.a JOIN c.s.b ON true", "s.a c.s.b"),
            ('SELECT * FROM "odd.name" JOIN "a""b" ON true', 'odd.name a"b'),
            ('SELECT * FROM "Order"."By"', "Order.By"),
            ("SELECT * FROM a AS x JOIN b y ON x.i = y.i", "a b"),
            ("SELECT * FROM a UNION ALL SELECT * FROM b EXCEPT SELECT * FROM c", "a b c"),
            ("SELECT * FROM a UNION BY NAME SELECT * FROM b", "a b"),
            ("(SELECT * FROM a) INTERSECT (SELECT * FROM b)", "a b"),
            ("SELECT * FROM (SELECT * FROM (SELECT * FROM a))", "a"),
            ("SELECT (SELECT max(x) FROM a), EXISTS (FROM b) FROM c", "a b c"),
            ("SELECT * FROM a WHERE x IN (SELECT y FROM b WHERE b.z = a.z)", "a b"),
            ("SELECT x FROM a GROUP BY x HAVING x > (SELECT 1 FROM b)", "a b"),
            ("SELECT x FROM a QUALIFY row_number() OVER (ORDER BY (SELECT 1 FROM b)) = 1", "a b"),
            ("SELECT x FROM a ORDER BY (SELECT 1 FROM b) LIMIT (SELECT 1 FROM c)", "a b c"),
            ("SELECT ARRAY(SELECT x FROM a), [y FOR y IN (SELECT [1] FROM b)]", "a b"),
            ("SELECT CASE WHEN x THEN (SELECT 1 FROM a) ELSE 2 END FROM b", "a b"),
            ("SELECT list_transform([1], lambda y: (SELECT max(i) FROM a))", "a"),
            ("SELECT * FROM a, LATERAL (SELECT * FROM b WHERE b.x = a.x)", "a b"),
            ("SELECT * FROM a, (SELECT a.x + 1), unnest(a.list)", "a"),
            ("SELECT COUNT(*) FILTER (WHERE x IN (FROM b)) FROM a", "a b"),
            ("SELECT * FROM a TABLESAMPLE 10%", "a"),
            ("SELECT * EXCLUDE (x) REPLACE ((SELECT 1 FROM b) AS y) FROM a", "a b"),
            ("SELECT columns('x') FROM a", "a"),
            ("SELECT sum(x) OVER w FROM a WINDOW w AS (PARTITION BY (SELECT 1 FROM b))", "a b"),
            ("PIVOT a ON x IN ('p', 'q') USING sum(y)", "a"),
            ("SELECT * FROM a PIVOT (sum(y) FOR x IN ('p', 'q'))", "a"),
            ("SELECT * FROM (PIVOT (FROM a JOIN b ON true) ON x IN ('p') USING sum(y))", "a b"),
            ("UNPIVOT a ON x, y INTO NAME n VALUE v", "a"),
            ("SELECT * FROM a UNPIVOT (v FOR n IN (x, y))", "a"),
            ("SELECT * FROM a AT (VERSION => 3)", "a"),
            ("SELECT * FROM range(10), read_csv('x.csv'), a", "a"),
            ("SELECT * FROM read_csv((SELECT path FROM a))", "a"),
            ("SELECT a.b.c, d.e FROM f", "f"),
            ("SELECT 'FROM a' -- FROM b\n FROM c /* FROM d */", "c"),
        ],
    )
    def test_they_are_found_wherever_they_stand(self, query: str, relations: str) -> None:
        assert relations_in(query) == set(relations.split())

    @pytest.mark.parametrize(
        ("query", "relations"),
        [
            ("WITH x AS (SELECT * FROM a) SELECT * FROM x", "a"),
            ("WITH x AS (FROM a), y AS (FROM x JOIN b ON true) FROM y", "a b"),
            ("WITH x AS (FROM a) SELECT * FROM X", "a"),
            ("WITH x AS MATERIALIZED (FROM a) FROM x JOIN b ON true", "a b"),
            ("WITH x AS NOT MATERIALIZED (FROM a) FROM x", "a"),
            ("WITH x AS MATERIALIZED (FROM a), y AS MATERIALIZED (FROM x) FROM y", "a"),
            ("WITH x AS (WITH y AS (FROM a) FROM y JOIN z ON true) FROM x", "a z"),
            ("WITH x AS (FROM a) SELECT * FROM b WHERE EXISTS (FROM x)", "a b"),
            ("WITH x AS (FROM a) (FROM x) UNION ALL (FROM x JOIN b ON true)", "a b"),
            ("WITH x AS (VALUES (1)) SELECT (SELECT max(col0) FROM x)", ""),
            ("SELECT * FROM (WITH x AS (FROM a) FROM x)", "a"),
            # A name outside of the WITH that it belongs to is a relation.
            ("SELECT * FROM (WITH x AS (FROM a) FROM x) JOIN x ON true", "a x"),
            ("WITH y AS (FROM x), x AS (FROM a) FROM y", "x a"),
            # A CTE that is named as the relation it reads, reads the relation.
            ("WITH a AS (SELECT * FROM a) SELECT * FROM a", "a"),
            ("WITH a AS (FROM b), b AS (FROM a) FROM b", "b"),
            # A schema before the name makes it a relation again.
            ("WITH x AS (FROM a) SELECT * FROM main.x", "a main.x"),
            (
                "WITH RECURSIVE t AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM t WHERE i < 9)"
                " FROM t",
                "",
            ),
            (
                "WITH RECURSIVE t AS (FROM a UNION SELECT b.* FROM b JOIN t USING (id)) FROM t, c",
                "a b c",
            ),
            (
                "WITH RECURSIVE t AS (FROM a UNION ALL FROM t), u AS (FROM t JOIN b ON true)"
                " FROM u",
                "a b",
            ),
        ],
    )
    def test_ctes_are_not_relations_where_they_are_visible(
        self, query: str, relations: str
    ) -> None:
        assert relations_in(query) == set(relations.split())

    @pytest.mark.parametrize(
        ("query", "relations"),
        [
            ("FROM query_table('a')", "a"),
            ("FROM query_table('s.a')", "s.a"),
            ("FROM query_table('\"odd.name\"')", "odd.name"),
            ("FROM query_table(['a', 's.b'])", "a s.b"),
            ("FROM query_table(['a', 'b'], true)", "a b"),
            ("FROM query_table('a') JOIN c ON true", "a c"),
            ("FROM query_table('no\"name')", 'no"name'),
            ("FROM query_table(), a", "a"),
        ],
    )
    def test_names_that_query_table_is_given_are_relations(
        self, query: str, relations: str
    ) -> None:
        assert relations_in(query) == set(relations.split())

    def test_nothing_has_to_exist_and_nothing_is_opened(self) -> None:
        query = "SELECT nope(x) FROM no.such.table, read_parquet('s3://nowhere/x', a = 1)"
        assert relations_in(query) == {"no.such.table"}

    def test_many_queries_are_read_in_their_order(self) -> None:
        queries = [f"FROM t{number}" for number in range(500)]
        names = [next(iter(reading.relations)) for reading in readings_of(queries)]
        assert names == [(f"t{number}",) for number in range(500)]

    def test_no_queries_have_no_readings(self) -> None:
        assert readings_of([]) == []


class TestWhatElseIsRead:
    @pytest.mark.parametrize(
        ("query", "functions"),
        [
            ("FROM read_parquet('x')", {"read_parquet"}),
            ("FROM DELTA_SCAN('x'), Iceberg_Scan('y')", {"delta_scan", "iceberg_scan"}),
            ("SELECT * FROM a WHERE x IN (FROM range(3))", {"range"}),
            ("SELECT abs(1)", set()),
        ],
    )
    def test_table_functions_are_found(self, query: str, functions: set[str]) -> None:
        assert reading_of(query).functions == functions

    @pytest.mark.parametrize(
        ("query", "urls"),
        [
            ("FROM read_parquet('s3://b/x')", {"s3://b/x"}),
            ("FROM read_parquet(['s3://b/x', 'https://h/y'])", {"s3://b/x", "https://h/y"}),
            ("FROM 's3://b/x.parquet'", {"s3://b/x.parquet"}),
            ('FROM "https://h/a.csv" JOIN b ON true', {"https://h/a.csv"}),
            ("FROM read_csv('local.csv')", set()),
        ],
    )
    def test_urls_are_found(self, query: str, urls: set[str]) -> None:
        assert reading_of(query).urls == urls


class TestRefusals:
    @pytest.mark.parametrize(
        "query",
        [
            "SELECT 1; SELECT 2",
            "SELECT 1; DROP TABLE precious",
            "SELECT 1;; SELECT 2",
            "SELECT 1 -- x\n; SELECT 2",
            "DROP TABLE precious",
            "CREATE TABLE a AS SELECT 1",
            "INSERT INTO a VALUES (1)",
            "INSERT INTO a SELECT 1 RETURNING *",
            "DELETE FROM a",
            "UPDATE a SET x = 1",
            "COPY a TO 'x'",
            "COPY (SELECT 1) TO 'x'",
            "ATTACH 'x'",
            "PRAGMA version",
            "SET threads = 1",
            "CALL duckdb_functions()",
            "EXPLAIN SELECT 1",
            "PREPARE x AS SELECT 1",
            "EXECUTE x",
            "BEGIN",
            "EXPORT DATABASE 'x'",
            "LOAD httpfs",
            "USE x",
            "PIVOT a ON x USING sum(y)",
            "SELECT 1 INTO a",
            "WITH x AS (INSERT INTO a VALUES (1) RETURNING *) FROM x",
            "WITH x AS (DELETE FROM a RETURNING *) FROM x",
            "WITH x AS (UPDATE a SET x = 1 RETURNING *) FROM x",
        ],
    )
    def test_anything_but_one_select_is_refused(self, query: str) -> None:
        reading = reading_of(query)
        assert reading.refusal
        assert not reading.relations

    @pytest.mark.parametrize("query", ["SELECT 1; SELECT 2", "FROM a; FROM b; FROM c"])
    def test_more_than_one_select_is_told_by_their_number(self, query: str) -> None:
        count = query.count(";") + 1
        assert reading_of(query).refusal == f"a view is one SELECT, and this is {count} statements"

    @pytest.mark.parametrize(
        ("query", "what", "remedy"),
        [
            ("-- c\nattach 'x' AS a", "ATTACH …", "duckdb.pragmas"),
            ("CREATE TABLE t (i INTEGER)", "CREATE …", "no place in a config"),
            ("SELECT 1; DROP TABLE t", "2 statements", "a view of each SELECT"),
        ],
    )
    def test_what_it_is_instead_is_told_with_where_it_belongs(
        self, query: str, what: str, remedy: str
    ) -> None:
        reading = reading_of(query)
        assert reading.refusal == f"a view is one SELECT, and this is {what}"
        assert remedy in reading.remedy

    @pytest.mark.parametrize("query", ["", ";", "-- nothing", "/* nothing */", " \n "])
    def test_nothing_is_no_select(self, query: str) -> None:
        assert reading_of(query).refusal == "a view is one SELECT, and this is no statement"

    @pytest.mark.parametrize(
        "query",
        [
            "DESCRIBE a",
            "DESCRIBE SELECT 1",
            "SHOW TABLES",
            "SHOW ALL TABLES",
            "SUMMARIZE a",
            "FROM (DESCRIBE a)",
            "SELECT * FROM (SUMMARIZE a)",
        ],
    )
    def test_describe_show_and_summarize_are_refused_by_name(self, query: str) -> None:
        assert "DESCRIBE, SHOW or SUMMARIZE" in reading_of(query).refusal

    @pytest.mark.parametrize(
        "query",
        [
            "SELECT ?",
            "SELECT $1",
            "SELECT $name",
            "FROM a WHERE x = ? LIMIT 1",
            "FROM a LIMIT ?",
            "FROM (SELECT * FROM a WHERE x = $x)",
            "WITH x AS (SELECT ?) FROM x",
            "FROM read_csv(?)",
        ],
    )
    def test_parameters_are_refused(self, query: str) -> None:
        assert reading_of(query).refusal == "a view has no parameters"

    @pytest.mark.parametrize("query", ["SELECT '?', \"$1\" FROM a", "SELECT 1 -- ?\n"])
    def test_what_only_looks_like_a_parameter_is_none(self, query: str) -> None:
        assert not reading_of(query).refusal

    @pytest.mark.parametrize(
        ("query", "where"),
        [
            ("SELEC 1", "DuckDB cannot parse it: "),
            ("SELECT 1\nFROM a\nWHER x", "DuckDB cannot parse it in line 3 of the query: "),
            ("SELECT 'éééééééé'\nFROM a\nWHER x\n\n\n\n\n", "DuckDB cannot parse it in line 3 of"),
            ("SELECT 'a", "DuckDB cannot parse it"),
            ("SELECT 1 /* a", "DuckDB cannot parse it"),
            ("SELECT (1", "DuckDB cannot parse it"),
        ],
    )
    def test_a_wrong_syntax_is_told_with_its_line(self, query: str, where: str) -> None:
        assert reading_of(query).refusal.startswith(where)

    def test_a_long_token_is_not_told_to_its_end(self) -> None:
        assert len(reading_of("x" * 100_000).refusal) < 400

    def test_a_deep_tree_is_read_or_refused(self) -> None:
        refusal = reading_of("SELECT 1" + "::INT" * 900).refusal
        assert refusal in ("", "the query is nested too deeply")
        assert reading_of("SELECT " + "abs(" * 450 + "1" + ")" * 450).refusal in (
            "",
            "the query is nested too deeply",
        )

    def test_one_refusal_leaves_the_others_readings(self) -> None:
        first, second, third = readings_of(["FROM a", "DROP TABLE x", "FROM b"])
        assert (first.relations, third.relations) == ({("a",)}, {("b",)})
        assert second.refusal

    @pytest.mark.parametrize(
        ("opening", "inner", "closing"),
        [
            ("(", "SELECT 1", ")"),
            ("SELECT * FROM (", "SELECT 1", ")"),
            ("SELECT [", "1", "]"),
            ("FROM (", "a", ")"),
        ],
    )
    @pytest.mark.parametrize("depth", [MAX_BRACKETS + 1, 200_000])
    def test_brackets_inside_each_other_are_refused_beyond_a_limit(
        self, opening: str, inner: str, closing: str, depth: int
    ) -> None:
        first, *others = opening.rpartition(" ")[::2]
        query = f"{first} {others[0] * depth}{inner}{closing * depth}"
        assert reading_of(query).refusal == "the query is nested too deeply"

    def test_many_brackets_beside_each_other_are_allowed(self) -> None:
        query = "SELECT " + " + ".join(["(x)"] * 100) + ", '" + "(" * 1000 + "'" + ", (1)" * 1000
        assert not reading_of(f"{query} FROM a").refusal

    def test_an_expression_without_brackets_that_is_too_deep_is_refused(self) -> None:
        assert reading_of("SELECT " + "NOT " * 20_000 + "true").refusal


@pytest.mark.parametrize("query", ["PIVOT t ON k USING sum(n)", "FROM (pivot t ON k USING sum(n))"])
def test_a_pivot_without_its_values_says_how_to_list_them(query: str) -> None:
    (reading,) = readings_of([query])
    assert reading.refusal.startswith("the PIVOT of a view lists its values: ")
    (reading,) = readings_of([query.replace("ON k", "ON k IN ('a')")])
    assert not reading.refusal
