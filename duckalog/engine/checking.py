"""The checks of one view, run on a connection: few scans, and samples of what fails."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import Column, ViewName, folded
from duckalog.changes import drift
from duckalog.check_sql import aggregate, first_row, sample_of
from duckalog.checks.columns import SchemaCheck
from duckalog.engine.execution import is_abandoned, within
from duckalog.engine.probe import no_such_column
from duckalog.engine.verdicts import Sample, Status, Verdict
from duckalog.entry import MAIN_SCHEMA
from duckalog.errors import Problem
from duckalog.plan import CheckStep, view_key
from duckalog.sql import literal, search_path, select_all
from duckalog.statements import describe, reset_option, set_option
from duckalog.values import execute_with

SAMPLE_ROWS = 5
SAMPLE_CHARACTERS = 200
"""Characters of a value that a sample shows."""

_READ_CHARACTERS = 10 * SAMPLE_CHARACTERS
"""More are read than shown: a secret is found before its end is cut off."""

Result = TypeVar("Result")

BuiltColumns = Mapping[ViewName, tuple[Column, ...]]


class CheckContext(NamedTuple):
    """What checks are run with.

    `sample` is how many failing rows come with a verdict, and `limit_s` how long a query
    may take, if there is a limit. `built` are the columns that the last build found;
    without them DuckDB is asked what it stored, before it binds the view.
    """

    sample: int = SAMPLE_ROWS
    limit_s: float | None = None
    built: BuiltColumns | None = None


def run_check(
    connection: DuckDBPyConnection,
    check: CheckStep,
    *,
    sample: int = SAMPLE_ROWS,
    timeout_s: float | None = None,
) -> Verdict:
    """Return what a check of a plan finds on a connection that `duckalog.connect` made.

    At most `sample` failing rows come with it, and none of sensitive views and
    columns. A check that takes longer than `timeout_s` is not run; where DuckDB
    does not let go of a source, the connection cannot be used after that.
    """
    (verdict,) = verdicts_of(connection, [check], CheckContext(sample, timeout_s))
    return verdict


def verdicts_of(
    connection: DuckDBPyConnection, checks: Sequence[CheckStep], context: CheckContext
) -> list[Verdict]:
    """Return the verdict of each check; they are of one view."""
    if not checks:
        return []
    with _names_found_as_in(connection, checks[0].schema):
        return _ViewChecks(connection, checks, context).verdicts()


@contextlib.contextmanager
def _names_found_as_in(connection: DuckDBPyConnection, schema: str) -> Iterator[None]:
    """Find the names in a check's SQL as DuckDB does in a view of that schema."""
    ((before,),) = connection.execute("SELECT current_setting('search_path')").fetchall()
    schemas = dict.fromkeys(((schema,), (MAIN_SCHEMA,)))
    connection.execute(set_option("search_path", search_path(*schemas)).text)
    try:
        yield
    finally:
        if not is_abandoned(connection):
            back = set_option("search_path", literal(before)) if before else None
            connection.execute((back or reset_option("search_path")).text)


def verdict_on(check: CheckStep, status: Status) -> Verdict:
    """Return the bare verdict on a check of a view."""
    return Verdict(
        subject=view_key(check.schema, check.view),
        name=check.name,
        kind=check.kind,
        severity=check.severity,
        status=status,
        sql=check.redact(check.sql),
        origin=check.origin,
        description=check.description,
    )


def not_run(check: CheckStep, message: str, remedy: str = "", cause: str = "") -> Verdict:
    """Return the verdict on a check that could not be run."""
    problem = Problem(check.origin, message, remedy, f"{check.view}: {check.name}", cause)
    problem = check.redact.problem(problem)
    return verdict_on(check, "not run")._replace(message=problem.message, problem=problem)


class _Failed(Exception):
    """A query that DuckDB refused, or that took too long."""

    def __init__(self, reason: str, *, is_late: bool = False) -> None:
        super().__init__(reason)
        self.is_late = is_late


class _ViewChecks:
    """The checks of one view, with the verdicts that are `found` so far by their names."""

    def __init__(
        self, connection: DuckDBPyConnection, checks: Sequence[CheckStep], context: CheckContext
    ) -> None:
        self.connection = connection
        self.checks = checks
        self.context = context
        self.first = checks[0]
        self.found: dict[str, Verdict] = {}

    def verdicts(self) -> list[Verdict]:
        """Return the verdicts in the order of the checks."""
        built = self._built()
        columns: tuple[Column, ...] = ()
        problem = ""
        start = time.perf_counter()
        try:
            columns = self._columns()
            if any(check.kind == "answers" for check in self.checks):
                self._ask(sample_of(first_row(self.first.relation), 1, 1))
        except _Failed as failure:
            problem = str(failure)
        seconds = time.perf_counter() - start
        for check in self.checks:
            if check.kind == "answers" or problem:
                self._tell_of_view(check, problem, seconds)
            elif isinstance(check.check, SchemaCheck):
                self._judge_columns(check, check.check, columns, built, seconds)
            elif unknown := _unknown_column(check, columns):
                self._not_run(check, *unknown)
        for group in self._groups():
            self._scan(group)
        return [self.found[check.name] for check in self.checks]

    def _built(self) -> tuple[Column, ...]:
        """Return the columns of the last build, which DuckDB forgets when it binds the view."""
        if not any(isinstance(check.check, SchemaCheck) for check in self.checks):
            return ()
        key = folded((self.first.schema, self.first.view))
        if self.context.built is not None:
            return self.context.built.get(key, ())
        rows = execute_with(
            self.connection,
            "SELECT column_name, data_type FROM duckdb_columns()"
            " WHERE database_name = current_database() AND lower(schema_name) = $1"
            " AND lower(table_name) = $2 ORDER BY column_index",
            [*key],
        ).fetchall()
        return tuple(Column(name, kind) for name, kind in rows)

    def _columns(self) -> tuple[Column, ...]:
        rows = self._ask(describe(select_all(self.first.relation)).text)
        return tuple(Column(row[0], row[1]) for row in rows)

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        return self._within(lambda: self.connection.execute(query).fetchall())

    def _within(self, action: Callable[[], Result]) -> Result:
        """Return what an action returns; raises _Failed with DuckDB's words, secrets taken out."""
        if is_abandoned(self.connection):
            raise _Failed("the source still gives no answer to an earlier query", is_late=True)
        limit = self.context.limit_s
        try:
            return action() if limit is None else within(limit, self.connection, action)
        except TimeoutError as error:
            failure = _Failed(str(error), is_late=True)
        except duckdb.Error as error:
            failure = _Failed(self._shown(str(error)))
        raise failure

    def _shown(self, text: str) -> str:
        """Return DuckDB's words fit to be shown: no secret, and no value that is sensitive."""
        check = self.first
        if check.is_sensitive or check.sensitive_columns:
            # A conversion that fails quotes the value.
            text = text.partition("\n")[0]
            text = re.sub(r"'[^']*'", "'…'", re.sub(r'"[^"]*"', '"…"', text))
        return check.redact(text).strip()

    def _tell_of_view(self, check: CheckStep, problem: str, seconds: float) -> None:
        if not problem:
            self._passed(check, seconds)
        elif isinstance(check.check, SchemaCheck) and _ALTERED in problem:
            self._failed(check, "the source has other columns than the last build found", seconds)
        elif check.kind == "answers":
            self._not_run(check, "the view does not answer", cause=problem, seconds=seconds)
        else:
            self._not_run(check, "the view does not answer", cause=problem)

    def _judge_columns(
        self,
        check: CheckStep,
        declared: SchemaCheck,
        columns: tuple[Column, ...],
        built: tuple[Column, ...],
        seconds: float,
    ) -> None:
        """Find whether the view has the columns that are declared, and those of the last build."""
        try:
            wrong = _differences(self.connection, declared, columns)
        except _Failed as failure:
            self._not_run(check, str(failure))
            return
        if built:
            wrong += [f"since the last build: {one}" for one in drift(built, columns)]
        if wrong:
            self._failed(check, "; ".join(wrong), seconds)
        else:
            self._passed(check, seconds)

    def _groups(self) -> list[list[CheckStep]]:
        """Return the checks that are left, those that one scan answers together.

        What reads another relation too is kept apart: if that is gone or hangs,
        only those that read it are not run.
        """
        groups: dict[tuple[str, tuple[str, ...]], list[CheckStep]] = {}
        for check in self.checks:
            if check.name not in self.found:
                scanned = check.check.scanned(check.relation)
                groups.setdefault((scanned, check.needs), []).append(check)
        return list(groups.values())

    def _scan(self, group: list[CheckStep]) -> None:
        """Find the verdicts of checks by one query; of each by its own where that is refused."""
        aggregates = [one for check in group for one in check.check.aggregates()]
        query = aggregate(dict.fromkeys(aggregates), group[0].check.scanned(group[0].relation))
        start = time.perf_counter()
        try:
            (row,) = self._ask(query)
        except _Failed as failure:
            if len(group) > 1 and not failure.is_late:
                for check in group:  # one of them is at fault: the others are to have their answer
                    self._scan([check])
                return
            for check in group:
                self._not_run(check, "DuckDB cannot run it", cause=str(failure))
            return
        seconds = time.perf_counter() - start
        values = dict(zip(dict.fromkeys(aggregates), row, strict=True))
        for check in group:
            finding = check.check.judge([values[one] for one in check.check.aggregates()])
            if finding.complaint:
                self._failed(check, finding.complaint, seconds, finding.failing_rows)
            else:
                self._passed(check, seconds)

    def _passed(self, check: CheckStep, seconds: float) -> None:
        failing_rows = 0 if check.check.failing(check.relation) else None
        self._tell(check, "passed", failing_rows=failing_rows, seconds=seconds)

    def _failed(
        self, check: CheckStep, complaint: str, seconds: float, failing_rows: int | None = None
    ) -> None:
        message = check.redact(complaint)
        if failing_rows is not None:
            rows = "1 row" if failing_rows == 1 else f"{failing_rows:,} rows"
            message = f"{rows}: {message}"
        sample, withheld = self._sample(check)
        self._tell(
            check,
            "failed",
            message=message,
            failing_rows=failing_rows,
            sample=sample,
            withheld=withheld,
            seconds=seconds,
        )

    def _not_run(
        self,
        check: CheckStep,
        message: str,
        remedy: str = "",
        *,
        cause: str = "",
        seconds: float = 0.0,
    ) -> None:
        verdict = not_run(check, message, remedy, cause)
        self.found[check.name] = verdict._replace(seconds=seconds)

    def _tell(self, check: CheckStep, status: Status, **found: Any) -> None:
        self.found[check.name] = verdict_on(check, status)._replace(**found)

    def _sample(self, check: CheckStep) -> tuple[Sample | None, str]:
        """Return some failing rows, or why they are not shown."""
        query = check.check.failing(check.relation)
        if not query or not self.context.sample:
            return None, ""
        if check.is_sensitive:
            return None, "the view is tagged sensitive"
        if check.sensitive_columns and check.kind == "sql":
            return None, "a column of the view is tagged sensitive"
        sampled = sample_of(query, self.context.sample, _READ_CHARACTERS)
        try:
            columns, rows = self._within(lambda: _rows(self.connection, sampled))
        except _Failed as failure:
            return None, str(failure)
        shown = [
            place
            for place, name in enumerate(columns)
            if name.lower() not in check.sensitive_columns
        ]
        hidden = [name for name in columns if name.lower() in check.sensitive_columns]
        sample = Sample(
            tuple(columns[place] for place in shown),
            tuple(tuple(_cell(row[place], check) for place in shown) for row in rows),
        )
        return sample, f"tagged sensitive: {', '.join(hidden)}" if hidden else ""


_ALTERED = "Contents of view were altered"
"""What DuckDB 1.4 says where 1.5 takes the columns as they come."""


def _rows(
    connection: DuckDBPyConnection, query: str
) -> tuple[list[str], list[tuple[str | None, ...]]]:
    rows = connection.execute(query).fetchall()
    return [str(column[0]) for column in connection.description or ()], rows


def _cell(value: str | None, check: CheckStep) -> str | None:
    if value is None:
        return None
    shown = check.redact(value)
    return f"{shown[: SAMPLE_CHARACTERS - 1]}…" if len(shown) > SAMPLE_CHARACTERS else shown


def _unknown_column(check: CheckStep, columns: Sequence[Column]) -> tuple[str, str] | None:
    """Return that the view has no such column, and its columns, or None."""
    known = {column.name.lower() for column in columns}
    unknown = [name for name in check.check.names_columns if name.lower() not in known]
    if not unknown:
        return None
    return no_such_column(unknown[0], [column.name for column in columns])


def _differences(
    connection: DuckDBPyConnection, declared: SchemaCheck, columns: Sequence[Column]
) -> list[str]:
    """Return how columns differ from those that are declared."""
    actual = {column.name.lower(): column for column in columns}
    wrong = []
    for name, kind in declared.columns.items():
        try:
            expected = str(connection.sqltype(kind))
        except duckdb.Error:
            failure = f'there is no type "{kind}", declared for the column "{name}"'
        else:
            column = actual.get(name.lower())
            if column is None:
                wrong.append(f"there is no column {name}")
            elif column.type != expected:
                wrong.append(f"{name} is {column.type}, not {expected}")
            continue
        raise _Failed(failure)
    if declared.exact and not wrong:
        stated = [name.lower() for name in declared.columns]
        wrong += [
            f"{one.name} is not declared" for one in columns if one.name.lower() not in stated
        ]
        if not wrong and stated != list(actual):
            wrong.append(f"the order is {', '.join(column.name for column in columns)}")
    return wrong
