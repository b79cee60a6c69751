"""What can be told of a source without opening it, so that an unchanged one is left alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator

from duckalog.locations import files_matching, is_remote
from duckalog.plan import Plan, ViewStep

REMOTE = "remote"
"""The state of sources that only the network knows: they count as unchanged."""


def states_of(plan: Plan) -> dict[str, str | None]:
    """Return the state of each view's own source, by the step's key.

    For local files, and for local databases that the view reads, it is a hash
    of names, sizes and times; None where only DuckDB knows what a view reads.
    """
    databases = {step.key: step.file for step in plan.databases}
    known: dict[str, str] = {}
    return {step.key: _state(step, databases, known) for step in plan.views}


def _state(step: ViewStep, databases: dict[str, str | None], known: dict[str, str]) -> str | None:
    if step.reads_unknown_files:
        return None
    files = [file for need in step.needs if (file := databases.get(need))]
    local = (one for one in step.stated_files if not is_remote(one))
    files += (one for pattern in local for one in files_matching(pattern))
    if step.scan:
        files += (one for pattern in step.scan.files for one in files_matching(pattern))
        if step.scan.is_remote and not step.scan.files:
            return REMOTE
    digest = hashlib.sha256()
    for line in _lines(files, known):
        digest.update(line.encode())
    return digest.hexdigest()


def _lines(files: Iterable[str], known: dict[str, str]) -> Iterator[str]:
    for file in files:
        if file not in known:
            try:
                stat = os.stat(file)
                known[file] = f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
            except OSError:
                known[file] = f"{file}\0missing\n"
        yield known[file]
