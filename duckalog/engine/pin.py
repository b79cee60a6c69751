"""Pinned views: what their sources are now, and the queries that read just that.

A source is listed at every build. Its files' columns are asked only where the
view is to be made: the listing, with sizes and times, is as it was otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import duckdb
import msgspec
from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import Column, Memory, remembered_files
from duckalog.changes import Diff, file_changes
from duckalog.engine.calls import columns_of
from duckalog.engine.execution import closing, options_set, refused
from duckalog.engine.parallel import in_parallel
from duckalog.engine.pin_files import files_of, pinned_files
from duckalog.engine.pin_kinds import Inquiry, Kinds, inquiries, kinds_known, kinds_of
from duckalog.engine.pin_tables import current_snapshot, current_version
from duckalog.engine.pins import PinnedSource, Pins
from duckalog.engine.probe import Answer
from duckalog.engine.progress import Progress, untold
from duckalog.engine.session import try_session
from duckalog.engine.silence import ask_each
from duckalog.entry import Scan
from duckalog.errors import Problem
from duckalog.plan import Plan, ViewStep
from duckalog.statements import create_view
from duckalog.views.pinned import PinnedDelta, PinnedFiles, PinnedIceberg, Unpinnable


def find_sources(
    connection: DuckDBPyConnection,
    plan: Plan,
    steps: Sequence[ViewStep],
    *,
    jobs: int,
    progress: Progress = untold,
) -> dict[str, PinnedSource]:
    """Return what the source of each pinned one of `steps` is now, by the step's key."""
    pinned = [step for step in steps if step.pin]

    def ask(cursor: DuckDBPyConnection, step: ViewStep) -> PinnedSource:
        return _find(cursor, step, plan)

    def unasked(problem: Problem) -> PinnedSource:
        return PinnedSource(problem=problem)

    return ask_each(connection, plan, pinned, ask, unasked, jobs=jobs, progress=progress)


def sources_of(plan: Plan, *, jobs: int) -> tuple[dict[str, PinnedSource], list[Problem]]:
    """Return the same without a catalog, and all that failed.

    Only what the pinned views need is attached.
    """
    pinned = [step for step in plan.views if step.pin]
    if not pinned:
        return {}, []
    only_those = plan.attaching({need for step in pinned for need in step.needs})
    with closing(duckdb.connect(":memory:")) as connection:
        outcomes = try_session(connection, only_those)
        problems = [one for outcome in outcomes.values() for one in outcome.problems]
        absent = {key for key, outcome in outcomes.items() if not outcome.is_well}
        # All views read through settings, secrets and extensions.
        is_whole = absent <= {step.key for step in only_those.databases}
        within = [step for step in pinned if is_whole and not absent.intersection(step.needs)]
        found = find_sources(connection, only_those, within, jobs=jobs)
    for step in pinned:
        if step.key not in found:
            problem = Problem(step.origin, "what it reads cannot be reached", "", step.view)
            found[step.key] = PinnedSource(problem=problem)
    problems += [source.problem for source in found.values() if source.problem]
    return found, sorted(problems, key=plan.place_of)


def with_file_changes(
    connection: DuckDBPyConnection, memory: Memory, found: Diff, sources: Mapping[str, PinnedSource]
) -> Diff:
    """Return a diff that tells which files of pinned views came and went since their build."""
    changes = []
    for change in found.changes:
        step = change.step
        is_told = change.reason and change.action not in ("created", "failed")
        if step.key in sources and is_told:
            before = remembered_files(connection, memory, (step.schema, step.view))
            if before:
                after = sources[step.key].files
                change = change._replace(files=file_changes(before, after))
        changes.append(change)
    return found._replace(changes=tuple(changes))


def pin_views(
    connection: DuckDBPyConnection,
    plan: Plan,
    steps: Sequence[ViewStep],
    sources: Mapping[str, PinnedSource],
    memory: Memory,
    *,
    jobs: int,
    progress: Progress = untold,
) -> Pins:
    """Return the pinned ones of `steps` with their final queries.

    Files that are as `memory` has them are not opened again. Failures are
    problems in the answers.
    """
    pinned = [step for step in steps if step.pin]
    if not pinned:
        return Pins({}, sources, {}, {})
    kinds: dict[str, dict[str, str]] = {step.key: {} for step in pinned}
    problems: dict[str, Problem] = {}
    to_ask: list[tuple[ViewStep, PinnedFiles, Inquiry]] = []
    for step in pinned:
        if isinstance(step.pin, PinnedFiles) and step.pin.has_kinds:
            files = sources[step.key].files
            remembered = remembered_files(connection, memory, (step.schema, step.view))
            kinds[step.key] = kinds_known(step.pin, files, remembered)
            asked = inquiries(step.pin, files, kinds[step.key])
            to_ask += [(step, step.pin, one) for one in asked]

    def ask_kinds(
        cursor: DuckDBPyConnection, item: tuple[ViewStep, PinnedFiles, Inquiry]
    ) -> dict[str, str] | Problem:
        step, pin, asked = item
        try:
            return kinds_of(cursor, pin, asked)
        except duckdb.Error as error:
            return refused(step, error, plan.redact)

    def ask(cursor: DuckDBPyConnection, step: ViewStep) -> tuple[ViewStep, Answer]:
        source, problem = sources[step.key], problems.get(step.key)
        return _pin(cursor, step, source, problem or kinds[step.key], plan)

    with options_set(connection, _options_for(connection, pinned, jobs)):
        found = in_parallel(connection, plan, to_ask, ask_kinds, jobs=jobs, progress=progress)
        for (step, _, _), result in zip(to_ask, found, strict=True):
            if isinstance(result, Problem):
                problems.setdefault(step.key, result)
            else:
                kinds[step.key] |= result
        answered = in_parallel(connection, plan, pinned, ask, jobs=jobs, progress=progress)
    return Pins(
        {step.key: step for step, _ in answered},
        sources,
        {step.key: answer for step, answer in answered},
        kinds,
    )


def _options_for(
    connection: DuckDBPyConnection, steps: Sequence[ViewStep], jobs: int
) -> dict[str, object]:
    """Return the options with which DuckDB opens the files of `steps` soonest.

    Remote ones it opens on its threads, which only wait: `jobs` at a time. Of
    local ones it would keep what it read, 8 KiB of each (1.4 to 2.0).
    """
    if not any(step.scan and step.scan.is_remote for step in steps):
        return {"enable_external_file_cache": False}
    ((threads,),) = connection.execute("SELECT current_setting('threads')").fetchall()
    return {"threads": max(jobs, threads)}


def _find(cursor: DuckDBPyConnection, step: ViewStep, plan: Plan) -> PinnedSource:
    pin = step.pin
    try:
        if isinstance(pin, PinnedFiles):
            return PinnedSource(files_of(cursor, pin))
        if isinstance(pin, PinnedDelta):
            return PinnedSource(version=current_version(cursor, pin))
        assert isinstance(pin, PinnedIceberg)
        return PinnedSource(version=current_snapshot(cursor, pin))
    except Unpinnable as error:
        problem = _unpinnable(step, error, plan)
    except duckdb.Error as error:
        problem = refused(step, error, plan.redact)
    return PinnedSource(problem=problem)


def _pin(
    cursor: DuckDBPyConnection,
    step: ViewStep,
    source: PinnedSource,
    kinds: Kinds | Problem,
    plan: Plan,
) -> tuple[ViewStep, Answer]:
    """Return a view with its final query, and the columns of the function that it reads."""
    if source.problem:
        return step, Answer((), source.problem, 0.0)
    if isinstance(kinds, Problem):
        return step, Answer((), kinds, 0.0)
    start = time.perf_counter()
    try:
        query, scan, columns = _pinned(cursor, step, source, kinds)
        statements = (create_view(step.relation, query), *step.statements[1:])
        final = msgspec.structs.replace(step, statements=statements, scan=scan)
        return final, Answer(columns, None, time.perf_counter() - start)
    except Unpinnable as error:
        problem = _unpinnable(step, error, plan)
    except duckdb.Error as error:
        problem = refused(step, error, plan.redact)
    return step, Answer((), problem, time.perf_counter() - start)


def _pinned(
    cursor: DuckDBPyConnection, step: ViewStep, source: PinnedSource, kinds: Kinds
) -> tuple[str, Scan | None, tuple[Column, ...]]:
    """Return the final query, and what stands in for its function while the view is made."""
    pin, scan = step.pin, step.scan
    if isinstance(pin, PinnedFiles):
        assert scan
        return pinned_files(cursor, pin, scan, source.files, kinds)
    if isinstance(pin, PinnedDelta):
        query = pin.query(source.version)
    else:
        assert isinstance(pin, PinnedIceberg)
        query = pin.query(source.version)
    if scan:
        scan = scan._replace(options=(*scan.options, "version", "snapshot_from_id"))
    return query, scan, columns_of(cursor, query)


def _unpinnable(step: ViewStep, error: Unpinnable, plan: Plan) -> Problem:
    message = f"the view cannot be pinned: {plan.redact(str(error))}"
    return Problem(step.origin, message, error.remedy, step.view)
