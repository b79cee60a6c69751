"""`duckalog query`: statements, values, formats, and answers that are larger than memory."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click.testing
import duckdb
import pytest

import duckalog
from duckalog.cli.group import cli
from tests.conftest import WriteConfig

Ask = Callable[..., click.testing.Result]

CATALOG = """\
version: 1
duckdb: {database: shop.duckdb, settings: {threads: 2}}
views:
  - name: orders
    sql: >-
      SELECT i AS id, 'name ' || i AS name, i * 0.5 AS amount, NULL::INTEGER AS n
      FROM range(5) t(i)
  - {name: plan, sql: SELECT 7 AS seven}
"""
MANY = 10_000_000
ROWS = "SELECT i, -i AS j FROM range($count::BIGINT) t(i)"
MOST_MEMORY_KB = 250_000
"""An answer of `MANY` rows that is held takes 160 MB more than a small one's 150."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog file that the tests copy."""
    path = tmp_path_factory.mktemp("built") / "catalog.yaml"
    path.write_text(CATALOG, encoding="utf-8")
    duckalog.build(path)
    return path.with_name("shop.duckdb")


@pytest.fixture
def config(write_config: WriteConfig, built: Path, tmp_path: Path) -> Path:
    shutil.copy(built, tmp_path)
    return write_config(CATALOG)


@pytest.fixture
def ask(config: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Return a function that runs `duckalog query` on the catalog, in its folder."""
    monkeypatch.chdir(config.parent)

    def run(*arguments: str, stdin: str | None = None) -> click.testing.Result:
        everything = ["query", "catalog.yaml", *arguments]
        return click.testing.CliRunner().invoke(cli, everything, input=stdin)

    return run


class TestSql:
    def test_the_rows_of_a_statement_are_a_table(self, ask: Ask) -> None:
        result = ask("SELECT id, n, name FROM orders WHERE id = 3")
        assert (result.exit_code, result.stderr) == (0, "")
        assert re.search(r"│ +3 │ +NULL │ name 3 +│", result.stdout)

    def test_the_session_of_the_config_is_applied(self, ask: Ask) -> None:
        result = ask("SELECT current_setting('threads') AS threads", "--format", "csv")
        assert result.stdout == "threads\n2\n"

    @pytest.mark.parametrize("arguments", [("-",), ("--file", "-"), ("-f", "-")])
    def test_it_is_read_from_stdin(self, arguments: tuple[str, ...], ask: Ask) -> None:
        result = ask(*arguments, "--format", "csv", stdin="SELECT 'größe' AS was")
        assert result.stdout == "was\ngröße\n"

    def test_it_is_read_from_a_file(self, ask: Ask, tmp_path: Path) -> None:
        (tmp_path / "q.sql").write_text("SELECT 1 AS i -- ;\n", encoding="utf-8")
        assert ask("-f", "q.sql", "--format", "csv").stdout == "i\n1\n"

    def test_all_statements_are_run_and_the_last_one_answers(self, ask: Ask) -> None:
        sql = "SET VARIABLE x = ';'; CREATE TEMP TABLE t AS SELECT getvariable('x') AS x; FROM t;"
        assert ask(sql, "--format", "csv").stdout == "x\n;\n"

    def test_a_statement_without_rows_says_nothing(self, ask: Ask) -> None:
        result = ask("SET VARIABLE x = 1")
        assert (result.exit_code, result.output) == (0, "")

    @pytest.mark.parametrize(
        "sql",
        ["DESCRIBE orders", "SHOW TABLES", "SUMMARIZE orders", "PIVOT orders ON id USING sum(id)"],
    )
    @pytest.mark.parametrize("kind", ["table", "csv", "json"])
    def test_statements_about_relations_answer_in_any_format(
        self, sql: str, kind: str, ask: Ask
    ) -> None:
        result = ask(sql, "--format", kind)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout

    @pytest.mark.parametrize("sql", ["PRAGMA database_list", "EXPLAIN FROM orders"])
    def test_others_answer_as_a_table_and_say_so_for_the_rest(self, sql: str, ask: Ask) -> None:
        assert ask(sql).exit_code == 0
        result = ask(sql, "--format", "csv")
        assert result.exit_code == 1
        assert "cannot write the rows of this statement as csv" in result.stderr

    def test_a_view_is_not_mistaken_for_a_variable_of_the_program(self, ask: Ask) -> None:
        assert ask("FROM plan", "--format", "csv").stdout == "seven\n7\n"
        assert "question does not exist" in ask("FROM question").stderr

    @pytest.mark.parametrize("sql", ["", " ; -- nothing\n;"])
    def test_nothing_to_run_is_told(self, sql: str, ask: Ask) -> None:
        assert "no statement" in ask(sql).stderr

    def test_the_catalog_is_read_only_unless_write(self, ask: Ask) -> None:
        result = ask("CREATE TABLE mine AS SELECT 1 AS i")
        assert (result.exit_code, "read-only" in result.stderr) == (1, True)
        assert "query --write opens it for writing" in result.stderr
        assert ask("CREATE TABLE mine AS SELECT 1 AS i", "--write").exit_code == 0
        assert ask("FROM mine", "--format", "csv").stdout == "i\n1\n"

    def test_a_catalog_that_is_not_built_is_told(self, ask: Ask, tmp_path: Path) -> None:
        (tmp_path / "shop.duckdb").unlink()
        result = ask("FROM orders")
        assert (result.exit_code, "not built yet" in result.stderr) == (1, True)


class TestValues:
    @pytest.mark.parametrize(
        ("sql", "params", "rows"),
        [
            ("SELECT id FROM orders WHERE id >= $low LIMIT $n", ["low=2", "n=2"], "2\n3\n"),
            ("SELECT ? || ? AS x", ["1=a", "2=b"], "ab\n"),
            ("SELECT $1 AS x", ["$1=a=b"], "a=b\n"),
            ("SELECT 1 WHERE $day < DATE '2024-01-02'", ["day=2024-01-01"], "1\n"),
            ("SELECT $x", ["x='; DROP TABLE orders; --"], "'; DROP TABLE orders; --\n"),
            ("SET VARIABLE a = $a; SELECT getvariable('a') || $b", ["a=1", "b=2"], "12\n"),
        ],
    )
    @pytest.mark.parametrize("kind", ["csv", "table"])
    def test_they_are_bound(
        self, sql: str, params: list[str], rows: str, kind: str, ask: Ask
    ) -> None:
        options = [word for param in params for word in ("--param", param)]
        result = ask(sql, *options, "--format", kind)
        assert (result.exit_code, result.stderr) == (0, "")
        if kind == "csv":
            assert result.stdout.partition("\n")[2] == rows
        else:
            assert all(row in result.stdout for row in rows.splitlines())

    def test_one_that_nothing_asks_for_is_told(self, ask: Ask) -> None:
        result = ask("SELECT $low", "-p", "low=1", "-p", "lwo=2")
        assert result.exit_code == 1
        assert 'no parameter is called "lwo"\n    Did you mean "low"?' in result.stderr

    def test_one_that_is_missing_is_told(self, ask: Ask) -> None:
        result = ask("SELECT $low, $high", "-p", "low=1")
        assert result.exit_code == 1
        assert "parameters: high\n    Give a value: --param high=…\n" in result.stderr
        result = ask("SELECT ?, ?")
        assert "Give a value: --param 1=… --param 2=…\n" in result.stderr


class TestErrors:
    @pytest.mark.parametrize("kind", ["table", "csv"])
    def test_duckdbs_words_come_with_the_line_of_the_script(self, kind: str, ask: Ask) -> None:
        result = ask(
            "SELECT 1;\n\n-- about orders\nSELECT id,\n  nope FROM orders", "--format", kind
        )
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("DuckDB refused the query\n    Binder Error: ")
        if kind == "csv" or duckdb.__version__ < "2":  # of a table's query 2.0 tells no place
            assert "    LINE 5:   nope FROM orders\n" in result.stderr

    def test_a_syntax_error_is_told_with_the_file(self, ask: Ask, tmp_path: Path) -> None:
        (tmp_path / "q.sql").write_text("SELECT 1;\nSELEC 2")
        result = ask("-f", "q.sql")
        assert result.stderr.startswith("q.sql: DuckDB refused the query\n    Parser Error: ")
        assert "LINE 2: SELEC 2" in result.stderr

    def test_a_row_that_fails_late_is_told(self, ask: Ask) -> None:
        sql = "SELECT if(i = 100000, 'x', '1')::INTEGER AS i FROM range(200000) t(i)"
        for kind in ("csv", "parquet"):
            result = ask(sql, "--format", kind)
            assert (result.exit_code, "Could not convert" in result.stderr) == (1, True)

    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            ("SELECT 1", "--file", "q.sql"),
            ("SELECT $a", "--param", "a"),
            ("SELECT 1", "--output", "x.odd"),
            ("SELECT 1", "--format", "odd"),
            ("SELECT 1", "--max-rows", "0"),
            ("SELECT 1", "--max-rows", "10001"),
        ],
    )
    def test_wrong_arguments_end_with_2(self, arguments: tuple[str, ...], ask: Ask) -> None:
        result = ask(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")

    def test_a_file_of_a_pinned_view_that_is_gone_is_told_with_what_to_do(
        self, tmp_path: Path, write_config: WriteConfig
    ) -> None:
        (tmp_path / "a.csv").write_text("i\n1\n")
        view = "{name: a, source: csv, uri: '*.csv', pin: true}"
        config = write_config(f"version: 1\nduckdb: {{database: c.duckdb}}\nviews: [{view}]\n")
        duckalog.build(config)
        (tmp_path / "a.csv").unlink()
        result = click.testing.CliRunner().invoke(cli, ["query", str(config), "FROM a"])
        assert "A file of a pinned view may be gone since the build" in result.stderr

    def test_a_file_that_cannot_be_read_is_told(self, ask: Ask, tmp_path: Path) -> None:
        assert ask("-f", "no.sql").stderr == "no.sql: cannot be read: No such file or directory\n"
        (tmp_path / "odd.sql").write_bytes(b"SELECT '\xff'")
        assert ask("-f", "odd.sql").stderr == "odd.sql: cannot be read: it is not UTF-8 text\n"


class TestFormats:
    SQL = "SELECT id, name, n FROM orders WHERE id < 2 ORDER BY id"

    def test_csv(self, ask: Ask) -> None:
        assert list(csv.reader(io.StringIO(ask(self.SQL, "--format", "csv").stdout))) == [
            ["id", "name", "n"],
            ["0", "name 0", ""],
            ["1", "name 1", ""],
        ]

    def test_json(self, ask: Ask) -> None:
        rows = [{"id": i, "name": f"name {i}", "n": None} for i in range(2)]
        assert json.loads(ask(self.SQL, "--format", "json").stdout) == rows
        lines = ask(self.SQL, "--format", "jsonl").stdout.splitlines()
        assert [json.loads(line) for line in lines] == rows

    def test_columns_of_one_name_are_told_apart(self, ask: Ask) -> None:
        sql = "SELECT a.id, b.id FROM orders a JOIN orders b USING (n) UNION ALL SELECT 1, 2"
        assert json.loads(ask(sql, "--format", "json").stdout) == [{"id": 1, "id_1": 2}]
        result = ask("SELECT nope, 1 AS a", "--format", "jsonl")
        assert "LINE 1: SELECT nope, 1 AS a" in result.stderr

    def test_a_query_plan_is_shown_as_it_is_drawn(self, ask: Ask) -> None:
        lines = ask("EXPLAIN FROM range($n::BIGINT)", "--param", "n=3").stdout.splitlines()
        assert lines[0].startswith(("┌────", "╭─ Range "))  # DuckDB 1, and 2

    def test_an_answer_without_rows_is_valid_too(self, ask: Ask) -> None:
        sql = "FROM orders WHERE false"
        assert json.loads(ask(sql, "--format", "json").stdout) == []
        assert ask(sql, "--format", "jsonl").stdout == ""
        assert ask(sql, "--format", "csv").stdout == "id,name,amount,n\n"

    @pytest.mark.parametrize(
        "name", ["x.csv", "x.json", "x.jsonl", "x.ndjson", "x.parquet", "x.csv.gz"]
    )
    def test_the_suffix_of_the_output_is_the_format(
        self, name: str, ask: Ask, tmp_path: Path
    ) -> None:
        (tmp_path / name).write_text("earlier")
        result = ask(self.SQL, "--output", name)
        assert (result.exit_code, result.output) == (0, "")
        assert duckdb.execute(f"SELECT id, name FROM '{tmp_path / name}'").fetchall() == [
            (0, "name 0"),
            (1, "name 1"),
        ]
        assert not list(tmp_path.glob(".duckalog-*"))
        if name.endswith(".gz"):
            assert gzip.decompress((tmp_path / name).read_bytes()).startswith(b"id,name,n\n")

    def test_a_table_may_be_a_file(self, ask: Ask, tmp_path: Path) -> None:
        assert ask(self.SQL, "-o", "x.txt").output == ""
        assert "name 1" in (tmp_path / "x.txt").read_text(encoding="utf-8")

    @pytest.mark.parametrize("rows", [9_999, 10_000, 10_001, 25_000])
    @pytest.mark.parametrize("output", [(), ("-o", "x.txt")])
    def test_rows_that_a_table_has_no_room_for_are_told_below_it(
        self, rows: int, output: tuple[str, ...], ask: Ask, tmp_path: Path
    ) -> None:
        result = ask("FROM range($n::INTEGER) t(i)", "-p", f"n={rows}", *output)
        told = f"The first 10,000 of {rows:,} rows: a table shows no more."
        text = (tmp_path / "x.txt").read_text(encoding="utf-8") if output else result.stdout
        assert result.exit_code == 0
        assert len(re.findall(r"│ +\d+ │", text)) == min(rows, 10_000)
        assert text.count(told) == (rows > 10_000)
        assert result.stderr.count(told) == (rows > 10_000 and bool(output))

    def test_a_statement_that_cannot_be_counted_may_have_more(
        self, ask: Ask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("duckalog.engine.query._parses", lambda *_: False)
        assert ask("FROM range(10_001)").stdout.endswith(
            "The first 10,000 rows: there may be more.\n"
        )

    def test_an_answer_that_fails_leaves_the_earlier_file(self, ask: Ask, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_text("earlier")
        sql = "SELECT if(i = 100000, 'x', '1')::INTEGER AS i FROM range(200000) t(i)"
        assert ask(sql, "-o", "x.csv").exit_code == 1
        assert (tmp_path / "x.csv").read_text() == "earlier"
        assert not list(tmp_path.glob(".duckalog-*"))

    def test_an_output_that_cannot_be_written_is_told(self, ask: Ask) -> None:
        result = ask(self.SQL, "-o", "missing/x.csv")
        assert result.exit_code == 1
        assert result.stderr == "missing/x.csv: cannot be written: No such file or directory\n"

    def test_without_a_folder_of_descriptors_a_file_stands_between(
        self, ask: Ask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("os.path.isdir", lambda _path: False)
        assert ask("SELECT 1 AS i", "--format", "csv").stdout == "i\n1\n"

    def test_arrow_without_pyarrow_names_the_command(
        self, ask: Ask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        result = ask(self.SQL, "--format", "arrow")
        assert result.exit_code == 1
        assert result.stderr == "Arrow needs pyarrow\n    Run: pip install 'duckalog[arrow]'\n"

    @pytest.mark.servers
    def test_arrow_is_a_stream_or_a_file(self, ask: Ask, tmp_path: Path) -> None:
        from pyarrow import ipc

        expected = [{"id": i, "name": f"name {i}", "n": None} for i in range(2)]
        params = ("SELECT id, name, n FROM orders WHERE id < $n", "-p", "n=2")
        stream = ask(*params, "--format", "arrow").stdout_bytes
        assert ipc.open_stream(stream).read_all().to_pylist() == expected
        ask(*params, "-o", "x.arrow")
        with ipc.open_file(tmp_path / "x.arrow") as reader:
            assert reader.read_all().to_pylist() == expected
        ask(self.SQL, "-o", "x.arrows")
        with ipc.open_stream(tmp_path / "x.arrows") as reader:
            assert reader.read_all().to_pylist() == expected

    @pytest.mark.servers
    def test_a_row_that_fails_late_is_told_for_arrow_too(self, ask: Ask) -> None:
        # On several threads DuckDB 1.5.5 tells now and then of the others, which it interrupts.
        sql = (
            "SET threads = 1;"
            " SELECT if(i = 900000, 'x', '1')::INTEGER AS i FROM range(1000000) t(i)"
        )
        result = ask(sql, "--format", "arrow")
        assert (result.exit_code, "Could not convert" in result.stderr) == (1, True)


_MEASURED = """
import resource, subprocess, sys
with open(sys.argv[1], "wb") as out:
    subprocess.run([sys.executable, "-m", "duckalog", *sys.argv[2:]], stdout=out, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
class TestProcesses:
    def memory_kb(self, out: Path, arguments: Sequence[str | Path]) -> int:
        """Return the most memory that a process took, its standard output in a file."""
        words = [sys.executable, "-c", _MEASURED, str(out), *map(str, arguments)]
        return int(subprocess.run(words, capture_output=True, check=True).stdout)

    @pytest.mark.thorough
    @pytest.mark.parametrize(
        "kind",
        ["csv", "jsonl", "parquet", pytest.param("arrow", marks=pytest.mark.servers)],
    )
    def test_ten_million_rows_are_not_held_in_memory(
        self, kind: str, config: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / f"rows.{kind}"
        arguments = ["query", config, ROWS, "--param", f"count={MANY}", "--format", kind]
        assert self.memory_kb(out, arguments) < MOST_MEMORY_KB
        if kind == "arrow":
            from pyarrow import ipc

            with ipc.open_stream(str(out)) as reader:
                assert sum(len(batch) for batch in reader) == MANY
        else:
            counted = duckdb.execute(f"SELECT count(*), max(i) FROM '{out}'").fetchall()
            assert counted == [(MANY, MANY - 1)]
        out.unlink()

    def test_output_is_appended_where_the_shell_says_so(self, config: Path, tmp_path: Path) -> None:
        with open(tmp_path / "all.csv", "ab") as out:
            for _ in range(2):
                words = [sys.executable, "-m", "duckalog", "query", config, "FROM plan"]
                subprocess.run([*words, "--format", "csv"], stdout=out, check=True)
        assert (tmp_path / "all.csv").read_text() == "seven\n7\n" * 2

    @pytest.mark.parametrize("kind", ["csv", pytest.param("arrow", marks=pytest.mark.servers)])
    def test_a_reader_that_leaves_early_is_no_error(self, kind: str, config: Path) -> None:
        sql = "SELECT * FROM range(1_000_000_000)"
        words = [sys.executable, "-m", "duckalog", "query", str(config), sql, "--format", kind]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stderr
            assert len(process.stdout.read(1000)) == 1000
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(20) == 1

    @pytest.mark.parametrize("kind", ["csv", "table"])
    def test_ctrl_c_ends_a_long_query(self, kind: str, config: Path) -> None:
        sql = "SELECT count(*) FROM range(1_000_000_000) a, range(1_000_000) b"
        words = [sys.executable, "-m", "duckalog", "query", str(config), sql, "--format", kind]
        with subprocess.Popen(words, stderr=subprocess.PIPE) as process:
            # Its threads are busy once the query runs.
            deadline = time.monotonic() + 20
            while cpu_seconds(process.pid) < 1.0 and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
            assert process.stderr
            assert b"Traceback" not in process.stderr.read()

    def test_a_full_disk_is_told(self, config: Path) -> None:
        words = [sys.executable, "-m", "duckalog", "query", str(config), "FROM orders"]
        with open("/dev/full", "wb") as full:
            result = subprocess.run(
                [*words, "--format", "csv"], stdout=full, stderr=subprocess.PIPE, check=False
            )
        assert result.returncode == 1
        assert result.stderr == b"the output: cannot be written or read: No space left on device\n"


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
