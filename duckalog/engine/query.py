"""Questions put to a built catalog: values bound, answers written as their rows come."""

from __future__ import annotations

import contextlib
import io
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.engine.execution import within
from duckalog.engine.versions import COMPUTES_PARAMETERS_AT_ONCE
from duckalog.errors import EngineError, Origin, Problem, nearest, sentences
from duckalog.redaction import Redactor
from duckalog.sql import count_of, literal, rows_of
from duckalog.statements import copy_to, set_option
from duckalog.user_sql import statements_in

if TYPE_CHECKING:
    import pyarrow  # type: ignore[import-untyped]

COPIED = {
    "csv": {"format": "csv", "header": "true"},
    "json": {"format": "json", "array": "true"},
    "jsonl": {"format": "json"},
    "parquet": {"format": "parquet"},
}
"""The formats that DuckDB writes, with the options of COPY."""

_ROWS_IN_BATCH = 100_000
_ROWS_RENDERED = 10_000
"""More rows than these DuckDB's own renderer never reads, and says so (1.4 to 2.0)."""
_LINE = re.compile(r"^LINE (\d+):", re.MULTILINE)

_NO_VALUE = re.compile(
    r"not provided for the following (?:prepared statement )?parameters: ([\w, ]+)"
)
_GONE = re.compile(r"No files found|HTTP 404")


class Script(NamedTuple):
    """SQL that a user asks: its text, the file it is from, and the values of its parameters.

    `has_pins` says whether the catalog has pinned views, whose files may go.
    """

    text: str
    origin: Origin
    values: Mapping[str, str]
    redact: Redactor
    has_pins: bool = False


class Question(NamedTuple):
    """The statement of a script whose rows are its answer."""

    text: str
    line: int
    script: Script
    values: dict[str, str]


def ask(connection: DuckDBPyConnection, script: Script) -> Question | None:
    """Return the last statement of a script, after running those before it.

    None where the last one has no rows, SET say: it was run, too. Raises
    EngineError with DuckDB's words and the script's own lines.
    """
    with contextlib.suppress(duckdb.Error):  # a pragma may have locked the configuration
        connection.execute(set_option("python_enable_replacements", literal(False)).text)
    with _refusals_told(script, 1):
        connection.extract_statements(script.text)
    found = list(statements_in(script.text))
    if not found:
        raise EngineError(Problem(script.origin, "there is no statement to run"))
    questions = [_question(connection, line, text, script) for line, text in found]
    _check_names(script, questions)
    for question in questions[:-1]:
        run(connection, question)
    last = questions[-1]
    if _has_rows(connection, last):
        return last
    run(connection, last)
    return None


def _question(connection: DuckDBPyConnection, line: int, text: str, script: Script) -> Question:
    with _refusals_told(script, line):
        parsed = connection.extract_statements(text)
    names = {name for one in parsed for name in one.named_parameters}
    return Question(text, line, script, {n: v for n, v in script.values.items() if n in names})


def _check_names(script: Script, questions: list[Question]) -> None:
    used = {name for question in questions for name in question.values}
    for name in script.values:
        if name not in used:
            remedy = sentences(nearest(name, used), f"In SQL it is written ${name}.")
            raise EngineError(Problem(script.origin, f'no parameter is called "{name}"', remedy))


def _has_rows(connection: DuckDBPyConnection, question: Question) -> bool:
    (*_, last) = connection.extract_statements(question.text)
    if _kind(last) == "MULTI":  # PIVOT, in 2.0
        return True
    return list(last.expected_result_type) == [duckdb.ExpectedResultType.QUERY_RESULT]


def _kind(parsed: duckdb.Statement) -> str:
    return str(parsed.type).rpartition(".")[2]


def run(connection: DuckDBPyConnection, question: Question) -> None:
    """Run a statement whose rows nobody wants."""
    with _refusals_told(question.script, question.line):
        _stoppable(connection, lambda: _execute(connection, question.text, question))


def _execute(connection: DuckDBPyConnection, text: str, question: Question) -> None:
    connection.execute(text, question.values or None).fetchall()


def _stoppable(connection: DuckDBPyConnection, action: Callable[[], None]) -> None:
    """Run an action that Ctrl-C ends at once: DuckDB does not hear it in every query (1.5.5)."""

    def act() -> bool:
        action()
        return True

    within(threading.TIMEOUT_MAX, connection, act)


def write(connection: DuckDBPyConnection, question: Question, file: str, kind: str) -> None:
    """Write the answer to a file in one of the formats of `COPIED`, as its rows come."""
    (*_, last) = connection.extract_statements(question.text)
    is_query = _kind(last) in ("SELECT", "MULTI")
    queries = (question.text, rows_of(question.text)) if is_query else ()
    copies = [copy_to(query, file, COPIED[kind]).text for query in queries]
    copies = [one for one in copies if _parses(connection, one)]
    if not copies:
        message = f"DuckDB cannot write the rows of this statement as {kind}"
        remedy = "Write a SELECT, or show a table."
        raise EngineError(Problem(question.script.origin, message, remedy))

    def copy() -> None:
        try:
            _execute(connection, copies[0], question)
        except duckdb.BinderException:
            # As JSON, columns of one name are refused, unless a query around it tells them apart.
            if kind not in ("json", "jsonl"):
                raise
            try:
                _execute(connection, copies[-1], question)
                return
            except duckdb.BinderException:
                pass
            raise

    with _refusals_told(question.script, question.line, lines_before=1):
        _stoppable(connection, copy)


def _parses(connection: DuckDBPyConnection, sql: str) -> bool:
    try:
        connection.extract_statements(sql)
    except duckdb.Error:
        return False
    return True


def write_arrow(
    connection: DuckDBPyConnection, question: Question, sink: str | BinaryIO, *, is_file: bool
) -> None:
    """Write the answer as Arrow's IPC file, or as its stream.

    Raises EngineError where pyarrow is not installed.
    """
    try:
        from pyarrow import ipc
    except ImportError:
        raise EngineError("Arrow needs pyarrow", "Run: pip install 'duckalog[arrow]'") from None

    def copy() -> None:
        reader = _arrow_reader(connection, question)
        new = ipc.new_file if is_file else ipc.new_stream
        with new(sink, reader.schema) as writer:
            for batch in _batches(reader):
                writer.write_batch(batch)

    with _refusals_told(question.script, question.line):
        _stoppable(connection, copy)


def _batches(reader: pyarrow.RecordBatchReader) -> Iterator[pyarrow.RecordBatch]:
    """Yield what a reader reads; what DuckDB refuses on the way is DuckDB's error again."""
    from pyarrow import ArrowException

    try:
        yield from reader
        return
    except (OSError, ArrowException) as error:
        text = str(error)
    raise duckdb.Error(text)


def _arrow_reader(connection: DuckDBPyConnection, question: Question) -> pyarrow.RecordBatchReader:
    result: Any
    if question.values and COMPUTES_PARAMETERS_AT_ONCE:
        result = connection.execute(question.text, question.values)
    else:
        result = _relation(connection, question, question.text)
    # DuckDB 1.5 gave the method another name, and 2.0 took the earlier one away.
    read = getattr(result, "to_arrow_reader", None) or result.fetch_record_batch
    reader: pyarrow.RecordBatchReader = read(_ROWS_IN_BATCH)
    return reader


def show(
    connection: DuckDBPyConnection, question: Question, *, max_rows: int, max_width: int
) -> str:
    """Print the answer as DuckDB's own table, its middle left out where it is long or wide.

    Returns what there is to be told of rows that DuckDB left out without a word.
    """
    (*_, last) = connection.extract_statements(question.text)
    if _kind(last) == "EXPLAIN":
        return _show_plans(connection, question)
    text = question.text
    if question.values and COMPUTES_PARAMETERS_AT_ONCE:
        # DuckDB computes a relation with parameters at once, and whole (1.4, 1.5).
        text = rows_of(text, max(max_rows, _ROWS_RENDERED) + 1)
    table = io.StringIO()
    has_all_rendered = max_rows >= _ROWS_RENDERED
    with (
        _refusals_told(question.script, question.line, lines_before=int(text != question.text)),
        contextlib.redirect_stdout(table) if has_all_rendered else contextlib.nullcontext(),
    ):
        _stoppable(
            connection,
            lambda: _relation(connection, question, text).show(
                max_rows=max_rows, max_width=max_width
            ),
        )
    print(table.getvalue(), end="")
    if table.getvalue().count("\n") < _ROWS_RENDERED:
        return ""
    return _cut_short(connection, question)


def _show_plans(connection: DuckDBPyConnection, question: Question) -> str:
    """Print what EXPLAIN tells as it is drawn: in a table its lines would be one."""
    plans: list[str] = []

    def explain() -> None:
        rows = connection.execute(question.text, question.values or None).fetchall()
        plans.extend(str(drawn) for *_, drawn in rows)

    with _refusals_told(question.script, question.line):
        _stoppable(connection, explain)
    print("\n".join(plans), end="")
    return ""


def _cut_short(connection: DuckDBPyConnection, question: Question) -> str:
    """Return how many rows there are, where those are more than DuckDB rendered."""
    text = count_of(question.text)
    if not _parses(connection, text):
        return f"The first {_ROWS_RENDERED:,} rows: there may be more."
    counted: list[int] = []

    def count() -> None:
        ((rows,),) = connection.execute(text, question.values or None).fetchall()
        counted.append(rows)

    with _refusals_told(question.script, question.line, lines_before=1):
        _stoppable(connection, count)
    if counted[0] <= _ROWS_RENDERED:
        return ""
    return (
        f"The first {_ROWS_RENDERED:,} of {counted[0]:,} rows: a table shows no more."
        " Every other --format has all."
    )


def _relation(
    connection: DuckDBPyConnection, question: Question, text: str
) -> duckdb.DuckDBPyRelation:
    try:
        return connection.query(text, params=question.values or None)
    except duckdb.InterruptException:
        raise
    except duckdb.Error:
        # Executed, the same refusal tells its place in the SQL, too (1.4 to 2.0).
        connection.execute(text, question.values or None)
        raise


@contextlib.contextmanager
def _refusals_told(script: Script, line: int, *, lines_before: int = 0) -> Iterator[None]:
    """Turn DuckDB's errors into EngineError, their line numbers into those of the script.

    The statement starts on `line`, after `lines_before` lines of duckalog's own.
    """
    try:
        yield
        return
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        text = script.redact(str(error)).strip()
    shift = line - 1 - lines_before
    text = _LINE.sub(lambda match: f"LINE {int(match[1]) + shift}:", text)
    remedy = _remedy(script, text)
    raise EngineError(Problem(script.origin, "DuckDB refused the query", remedy, cause=text))


def _remedy(script: Script, refusal: str) -> str:
    """Return how to go on after a refusal, where duckalog has to do with it."""
    if missing := _NO_VALUE.search(refusal):
        names = missing[1].split(", ")
        return f"Give a value: {' '.join(f'--param {name}=…' for name in names)}"
    if "in read-only mode" in refusal:
        return (
            "The catalog is open for reading; query --write opens it for writing."
            " An attachment has to say read_only: false."
        )
    if script.has_pins and _GONE.search(refusal):
        return (
            "A file of a pinned view may be gone since the build:"
            " plan tells, and build takes the files that there are."
        )
    return ""
