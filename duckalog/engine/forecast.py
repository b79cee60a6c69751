"""What a build would do, told before it: from what the catalog remembers and where it stands."""

from __future__ import annotations

import contextlib
import os

from duckalog.bookkeeping import NOTHING, read_memory
from duckalog.changes import Diff
from duckalog.engine.apply import leaves_as_is
from duckalog.engine.execution import closing
from duckalog.engine.inventory import with_comment_changes
from duckalog.engine.making import DEFAULTS, BuildOptions, wanted_of
from duckalog.engine.opening import open_catalog
from duckalog.engine.pin import sources_of, with_file_changes
from duckalog.engine.place import check_place, check_writable
from duckalog.engine.reach import conflicting
from duckalog.engine.source_state import states_of
from duckalog.errors import EngineError, Problem
from duckalog.plan import Plan


def forecast(plan: Plan, options: BuildOptions = DEFAULTS) -> Diff:
    """Return what a build would do, and why it would fail; nothing is written.

    Raises EngineError where there is a catalog that cannot be read.
    """
    path = "" if plan.is_in_memory else os.path.realpath(plan.database)
    memory = NOTHING
    if options.select is not None:
        whole, plan = plan, plan.chosen(options.select)
        options = options._replace(prune=options.prune and len(plan.views) == len(whole.views))
    sources, problems = sources_of(plan, jobs=options.jobs)
    states = states_of(plan) | {key: source.state for key, source in sources.items()}
    with contextlib.ExitStack() as stack:
        if os.path.isfile(path):
            opened = open_catalog(
                plan.database, read_only=True, lock_timeout_s=options.lock_timeout_s
            )
            connection = stack.enter_context(closing(opened))
            memory = read_memory(connection, plan.database)
        found = wanted_of(plan, memory, states, options)
        is_written = not leaves_as_is(memory, found)
        found = found.with_failures(
            {key: one.problem for key, one in sources.items() if one.problem}
            | conflicting(plan, found),
            [*_refusals(path, is_written=is_written), *problems],
        )
        if memory.views:
            found = with_comment_changes(connection, found, plan)
        return with_file_changes(connection, memory, found, sources) if memory.remembered else found


def _refusals(path: str, *, is_written: bool) -> tuple[Problem, ...]:
    """Return why a build would refuse the place of a catalog; one in memory has none."""
    if not path:
        return ()
    try:
        check_place(path)
        if is_written and os.path.exists(path):
            check_writable(path)
    except EngineError as error:
        return error.problems
    return ()
