"""The catalog half: one transaction that makes every view, or leaves all as it was."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, takewhile

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import (
    Memory,
    folded,
    forget,
    prepare,
    remember,
    remember_files,
    remember_schemas,
    unsettle,
)
from duckalog.changes import Diff
from duckalog.engine.calls import columns_of
from duckalog.engine.execution import execute, execute_together, options_set, refused
from duckalog.engine.pins import NO_PINS, Pins
from duckalog.engine.probe import (
    Answer,
    no_such_column,
    stand_in,
    stubbed,
    stubs,
)
from duckalog.engine.progress import Progress, untold
from duckalog.engine.reading import options_for
from duckalog.engine.refusals import all_or_nothing, every_refusal
from duckalog.engine.reports import ViewReport
from duckalog.entry import MAIN_SCHEMA
from duckalog.errors import EngineError, Origin, Problem
from duckalog.plan import Plan, ViewStep
from duckalog.sql import Statement, qualified
from duckalog.statements import (
    comment_on_column,
    create_schema,
    drop_view,
    reset_option,
)
from duckalog.version import __version__

logger = logging.getLogger("duckalog.engine")


def apply_catalog(
    connection: DuckDBPyConnection,
    plan: Plan,
    memory: Memory,
    wanted: Diff,
    answers: Mapping[str, Answer],
    states: Mapping[str, str | None],
    *,
    pins: Pins = NO_PINS,
    readers: Sequence[ViewStep] = (),
    lost: Sequence[Problem] = (),
    keep_going: bool = False,
    progress: Progress = untold,
) -> list[ViewReport]:
    """Return what was done with each view, after making the catalog as `wanted` has it.

    `readers` are views outside of `plan` that read what is made again.

    The session half is applied before, and `answers` are those of the remote
    sources. Pinned views are made as `pins` has them. Views that a user made are
    never touched. Raises EngineError with every view that failed and what was `lost`
    before, nothing changed; with `keep_going` the views that can be made are, and
    those that failed are in the report.
    """
    if wanted.conflicts:
        raise EngineError(sorted([*lost, *wanted.conflicts], key=plan.place_of))
    # Whatever a pragma did: a view must bind as it does for those who open the file.
    execute(connection, reset_option("search_path"))
    application = _Application(
        connection, plan, memory, wanted, answers, states, pins, readers, progress
    )
    failed = application.run(is_in_vain=bool(lost))
    if lost or (failed and not keep_going):
        raise EngineError(sorted([*lost, *failed.values()], key=plan.place_of))
    if failed:
        application.leave_out(failed)
        again = application.run()
        if again:
            raise EngineError(again.values())
    for name in wanted.kept:
        shown = ".".join(name)
        logger.warning(
            'the view "%s" left the config but was changed by hand: kept.'
            " Drop it yourself, or declare it again: %s",
            shown,
            drop_view(qualified(*name)).text,
        )
    return application.reports(failed)


def leaves_as_is(memory: Memory, wanted: Diff) -> bool:
    """Say whether applying `wanted` would write nothing, be it that it is refused."""
    is_done = memory.is_prepared and not memory.gone and wanted.is_empty
    return bool(wanted.conflicts) or is_done


_MOST_TOGETHER = 64
_NO_TIME_S = 0.05
"""Views that are made together share their time: those that take longer have their own."""


class _Refused(Exception):
    """Ends the transaction after a view was refused."""


class _RefusedTogether(Exception):
    """Ends the transaction after one of several views was refused."""


class _Application:
    """The making of the views that are not left alone."""

    def __init__(
        self,
        connection: DuckDBPyConnection,
        plan: Plan,
        memory: Memory,
        wanted: Diff,
        answers: Mapping[str, Answer],
        states: Mapping[str, str | None],
        pins: Pins,
        readers: Sequence[ViewStep],
        progress: Progress,
    ) -> None:
        self.connection = connection
        self.readers = readers
        self.plan = plan
        self.memory = memory
        self.wanted = wanted
        self.answers = answers
        self.states = states
        self.pins = pins
        self.progress = progress
        self.steps = [change.step for change in wanted.changes if not change.is_left_alone]
        self.left_out: list[ViewStep] = []
        self.seconds: dict[str, float] = {}

    def run(self, *, is_in_vain: bool = False) -> dict[str, Problem]:
        """Make the views in one transaction; return what was refused, nothing then being made.

        In vain, they are only tried.
        """
        known = {
            step.key: answer.problem
            for step in self.steps
            if (answer := self.answers.get(step.key)) and answer.problem
        }
        gone = self.memory.gone
        if not (self.steps or self.wanted.removed or gone or not self.memory.is_prepared):
            return {}
        failure: str | None = None
        try:
            if not known and not is_in_vain:
                with options_set(self.connection, options_for(self.plan)):
                    self._write(known, gone)
                return {}
        except _Refused:
            pass
        except duckdb.Error as error:
            # Not a view's: the disk is full, say, or the file is broken.
            failure = self.plan.redact(str(error)).strip()
        if failure is not None:
            message = "DuckDB cannot write the catalog"
            raise EngineError(Problem(Origin(self.plan.database), message, cause=failure))
        from duckalog.engine.reasons import with_reasons  # most builds refuse nothing
        from duckalog.engine.silence import Silence

        self.progress("refusals", 0, 0)
        late = self._read_by_others()
        silence = Silence(self.plan)
        removed = {folded(name): name for name in self.wanted.removed}

        def make(step: ViewStep) -> Problem | None:
            problem = silence.problem_of(step)
            if problem:
                return problem
            for name in removed.keys() & step.looked_for:
                with contextlib.suppress(duckdb.Error):  # a pragma may have others depend on it
                    execute(self.connection, drop_view(qualified(*removed[name]), if_exists=True))
            start = time.perf_counter()
            problem = self._refusal_of(step, in_detail=True)
            silence.hear(step, problem, time.perf_counter() - start)
            if step.key in late and problem is None:
                execute(self.connection, stand_in(step, late[step.key]))
            return problem

        refused = every_refusal(self.connection, self.steps, known, make)
        return with_reasons(self.connection, refused, self.steps, self.memory, self.answers)

    def _read_by_others(self) -> dict[str, Answer]:
        """Return the answers of the views that others are made over, by the steps' keys.

        DuckDB binds them in each of those again, and so would ask their sources:
        until the others are made, views that read nothing stand in for them. Not where a
        pragma has DuckDB keep track of who reads a view: that one cannot be made again then.
        """
        if not self.answers or self._tracks_readers():
            return {}
        read = {need for step in self.steps for need in step.needs}
        return {key: one for key, one in self.answers.items() if key in read and one.columns}

    def _tracks_readers(self) -> bool:
        asked = "SELECT current_setting('enable_view_dependencies')"
        ((is_on,),) = self.connection.execute(asked).fetchall()
        return bool(is_on)

    def _write(self, refused_views: dict[str, Problem], gone: list[tuple[str, str]]) -> None:
        """Write it all or nothing; views one by one where DuckDB refuses one among several."""
        with contextlib.suppress(_RefusedTogether), all_or_nothing(self.connection):
            self._write_all(refused_views, gone, _MOST_TOGETHER)
            return
        with all_or_nothing(self.connection):
            self._write_all(refused_views, gone, 1)

    def _write_all(
        self, refused_views: dict[str, Problem], gone: list[tuple[str, str]], most_together: int
    ) -> None:
        connection = self.connection
        prepare(connection)
        schemas = list(dict.fromkeys(step.schema for step in self.steps))
        for schema in schemas:
            execute(connection, create_schema(schema))
        known = {*self.memory.schemas, MAIN_SCHEMA}
        remember_schemas(connection, [one for one in schemas if one.lower() not in known])
        for schema, name in self.wanted.removed:
            execute(connection, drop_view(qualified(schema, name)))
        self._make(refused_views, most_together)
        made = {folded((step.schema, step.view)) for step in self.steps}
        made_again = self.memory.remembered.keys() & made
        forget(connection, [*self.wanted.removed, *gone, *made_again])
        remember(connection, self.steps, self.states, __version__)
        for step in self.steps:
            if step.pin:
                files, kinds = self.pins.sources[step.key].files, self.pins.kinds[step.key]
                remember_files(connection, (step.schema, step.view), files, kinds)
        behind = [*self.readers, *self.left_out]
        unsettle(connection, ((step.schema, step.view) for step in behind))

    def _make(self, refused_views: dict[str, Problem], most_together: int) -> None:
        """Make the views, those that take no time together: each call of DuckDB has its cost."""
        late = self._read_by_others()
        for step in self.steps:
            if step.key in late:
                execute(self.connection, stand_in(step, late[step.key]))
        in_turn = sorted(self.steps, key=lambda step: step.key in late)
        done, together = 0, 1
        while done < len(in_turn):
            self.progress("apply", done, len(in_turn))
            plain = takewhile(self._is_plain, in_turn[done : done + together])
            steps = list(plain) or [in_turn[done]]
            start = time.perf_counter()
            if len(steps) == 1:
                problem = self._refusal_of(steps[0])
                if problem:
                    refused_views[steps[0].key] = problem
                    raise _Refused
            else:
                self._make_together(steps)
            seconds = time.perf_counter() - start
            self.seconds |= dict.fromkeys((step.key for step in steps), seconds / len(steps))
            done += len(steps)
            together = min(2 * together, most_together) if seconds < _NO_TIME_S else 1

    def _is_plain(self, step: ViewStep) -> bool:
        """Say whether a view is made by its statements, and any failure is its query's."""
        has_comments = any(one.description is not None for one in step.columns.values())
        return not (has_comments or step.key in self.pins.steps)

    def _make_together(self, steps: Sequence[ViewStep]) -> None:
        try:
            execute_together(self.connection, [*self._statements(steps)])
        except duckdb.Error:
            raise _RefusedTogether from None

    def _statements(self, steps: Sequence[ViewStep]) -> Iterator[Statement]:
        """Yield what makes views, with one stub for those in a row that one can stand for."""
        for (before, after), alike in groupby(steps, lambda step: stubs(step, self.answers)):
            yield from before
            for step in alike:
                yield from step.statements
            yield from after

    def _refusal_of(self, step: ViewStep, *, in_detail: bool = False) -> Problem | None:
        """Return why DuckDB refuses a view, after trying to make it."""
        step = self.pins.steps.get(step.key, step)
        described = [name for name, one in step.columns.items() if one.description is not None]
        first_of_columns = len(step.statements) - len(described)
        try:
            with stubbed(self.connection, step, self.answers):
                for statement in step.statements[:first_of_columns]:
                    execute(self.connection, statement)
                # They cannot be had later: DuckDB 2.0 aborts the transaction at any error.
                names = self._column_names(step) if described and in_detail else None
                for name, statement in zip(
                    described, step.statements[first_of_columns:], strict=True
                ):
                    problem = self._refusal_of_comment(step, name, statement, names)
                    if problem:
                        return problem
        except duckdb.Error as error:
            return refused(step, error, self.plan.redact)
        return None

    def _refusal_of_comment(
        self, step: ViewStep, name: str, statement: Statement, names: Sequence[str] | None
    ) -> Problem | None:
        """Return why DuckDB refuses the comment on a column, after trying to make it.

        Raises _Refused where nobody asked for the `names` of the columns, and it is too late.
        """
        column = step.columns[name]
        try:
            execute(self.connection, statement)
            return None
        except duckdb.Error as error:
            problem = refused(step, error, self.plan.redact)._replace(origin=column.origin)
        if names is None:
            try:
                names = self._column_names(step)
            except duckdb.Error:
                raise _Refused from None
        # DuckDB 1.4 and 1.5 tell case apart here, and only here.
        actual = next((one for one in names if one.lower() == name.lower()), name)
        if actual != name:
            execute(self.connection, comment_on_column(step.relation, actual, column.description))
            return None
        if name in names:
            return problem
        message, remedy = no_such_column(name, names)
        return Problem(column.origin, message, remedy, step.view)

    def _column_names(self, step: ViewStep) -> list[str]:
        return [column.name for column in columns_of(self.connection, step.query)]

    def leave_out(self, failed: Mapping[str, Problem]) -> None:
        """Leave views that failed, and those that read them, to a later build.

        So nothing is dropped, which they may read as they are.
        """
        without = set(failed)
        for step in self.plan.views:
            if without.intersection(step.needs):
                without.add(step.key)
        self.left_out = [step for step in self.steps if step.key in without]
        self.steps = [step for step in self.steps if step.key not in without]
        self.wanted = self.wanted._replace(removed=())
        self.seconds.clear()

    def reports(self, failed: Mapping[str, Problem]) -> list[ViewReport]:
        """Return a report for each view of the plan, then for each that was removed."""
        made = {step.key for step in self.steps}
        reports: list[ViewReport] = []
        for step, action, reason, *_ in self.wanted.changes:
            seconds = self.seconds.get(step.key, 0.0)
            if step.key in self.answers:
                seconds += self.answers[step.key].seconds
            problem = failed.get(step.key)
            if reason and step.key not in made and problem is None:
                problem = Problem(step.origin, "a view that it reads failed", "", step.view)
            if reason == "it was changed by hand":
                shown = f"{step.schema}.{step.view}"
                logger.warning(
                    'the view "%s" was changed by hand: it is as the config again', shown
                )
            reports.append(
                ViewReport(
                    step.schema,
                    step.view,
                    "failed" if problem else action,
                    seconds,
                    origin=step.origin,
                    problem=problem,
                )
            )
        return [
            *reports,
            *(ViewReport(schema, name, "removed") for schema, name in self.wanted.removed),
        ]
