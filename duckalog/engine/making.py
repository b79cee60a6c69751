"""A plan made so on one connection: its session, what its sources say, and its views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from duckdb import DuckDBPyConnection

from duckalog.bookkeeping import NOTHING, Memory
from duckalog.changes import Diff, diff
from duckalog.engine.apply import apply_catalog, leaves_as_is
from duckalog.engine.execution import execute
from duckalog.engine.opening import LOCK_TIMEOUT_S
from duckalog.engine.parallel import JOBS
from duckalog.engine.pins import NO_PINS, PinnedSource
from duckalog.engine.place import check_writable
from duckalog.engine.probe import asking_remote_files, probe
from duckalog.engine.progress import Progress, untold
from duckalog.engine.publish import Publish
from duckalog.engine.reach import conflicting, leaving_out, reach, with_failures
from duckalog.engine.reports import DatabaseReport, ViewReport, database_reports
from duckalog.engine.session import keeping_tables
from duckalog.engine.source_state import states_of
from duckalog.plan import Plan
from duckalog.sql import literal
from duckalog.statements import set_option


class BuildOptions(NamedTuple):
    """How to build.

    `prune` drops views that left the config, `adopt` takes over views made by
    hand, `refresh` leaves no view alone, `keep_going` builds what can be built,
    `jobs` remote sources are asked at a time, and `progress` is told how far it is.
    `select` is what to build of the plan, by names that `Plan.chosen` knows; nothing
    is dropped then, unless it has every view. A build whose `build_id` the catalog
    remembers is not done again: its report comes back.
    """

    prune: bool = True
    adopt: bool = False
    refresh: bool = False
    keep_going: bool = False
    jobs: int = JOBS
    lock_timeout_s: float = LOCK_TIMEOUT_S
    publish: Publish = "auto"
    progress: Progress = untold
    select: tuple[str, ...] | None = None
    build_id: str = ""


DEFAULTS = BuildOptions()


class ToBeBuilt(Exception):
    """Ends a look at a catalog that is not as it should be."""


class Made(NamedTuple):
    """What was done on a connection: `states` are those of the views' sources, by key."""

    views: list[ViewReport]
    states: dict[str, str | None]
    databases: tuple[DatabaseReport, ...]


def make(
    connection: DuckDBPyConnection,
    plan: Plan,
    memory: Memory,
    options: BuildOptions,
    *,
    whole: Plan | None = None,
    is_look: bool = False,
    place: str = "",
) -> Made:
    """Return what was done with each view of a plan, which may be chosen from a whole one.

    A look raises ToBeBuilt before it would write. `place` is where the file is that is
    written, if it is one that stays. Iceberg catalogs keep what they told of their
    tables: `forget_tables` is for a connection that is used afterwards.
    """
    whole = whole or plan
    # Without this, a view could silently read a variable of the program that builds it.
    execute(connection, set_option("python_enable_replacements", literal(False)))
    options.progress("session", 0, 0)
    asked_for = plan
    plan, seconds, lost, out_of_reach = reach(connection, keeping_tables(plan))
    sources: dict[str, PinnedSource] = {}
    if is_pinned := any(step.pin for step in plan.views):
        from duckalog.engine.pin import find_sources, pin_views  # most catalogs pin nothing

        sources = find_sources(
            connection, plan, plan.views, jobs=options.jobs, progress=options.progress
        )
    states = states_of(plan) | {key: source.state for key, source in sources.items()}
    may_prune = options.prune and len(plan.views) == len(whole.views)
    wanted = wanted_of(plan, memory, states, options._replace(prune=may_prune))
    if wanted.conflicts and options.keep_going:
        plan, problems = leaving_out(plan, conflicting(plan, wanted))
        out_of_reach = {**out_of_reach, **problems}
        states = {step.key: states[step.key] for step in plan.views}
        wanted = wanted_of(plan, memory, states, options._replace(prune=False))
    is_left = leaves_as_is(memory, wanted)
    if is_look and (lost or not is_left):
        raise ToBeBuilt
    if place and not is_left:
        check_writable(place)
    steps = [] if wanted.conflicts else wanted.steps
    with asking_remote_files(connection, plan, steps):
        answers = probe(connection, plan, steps, jobs=options.jobs, progress=options.progress)
        pins = NO_PINS
        if is_pinned:
            pins = pin_views(
                connection,
                plan,
                steps,
                sources,
                NOTHING if options.refresh else memory,
                jobs=options.jobs,
                progress=options.progress,
            )
        made = [step.key for step in steps]
        readers = [step for step in whole.readers_of(made) if step.key not in states]
        views = apply_catalog(
            connection,
            plan,
            memory,
            wanted,
            answers | pins.answers,
            states,
            pins=pins,
            readers=readers,
            lost=() if options.keep_going else tuple(lost.values()),
            keep_going=options.keep_going,
            progress=options.progress,
        )
    databases = database_reports(connection, asked_for, seconds, options.select or (), out_of_reach)
    return Made(with_failures(views, asked_for, out_of_reach), states, databases)


def wanted_of(
    plan: Plan, memory: Memory, states: Mapping[str, str | None], options: BuildOptions
) -> Diff:
    """Return what a build is to do."""
    return diff(
        plan,
        memory,
        states,
        prune=options.prune,
        adopt=options.adopt,
        refresh=options.refresh,
    )
