"""What can be told of the sources' state: a version of each, which moves when its data does."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import duckdb
from duckdb import DuckDBPyConnection

from duckalog.engine.execution import closing, within
from duckalog.engine.parallel import JOBS, in_parallel
from duckalog.engine.session import PROBE_LIMIT_S, try_session
from duckalog.entry import Source
from duckalog.errors import EngineError
from duckalog.locations import files_matching
from duckalog.plan import DatabaseStep, Plan
from duckalog.sql import literal
from duckalog.values import execute_with

_BESIDE = {"sqlite": ("-wal",), "duckdb": (".wal",), "ducklake": (".wal", "-wal")}
"""What a database may have written beside its file, by its type."""


class SourceReport(NamedTuple):
    """The state of a source: `version` is None where nothing can be told, or there is a problem.

    `files` and `bytes` are told of sources that are files.
    """

    source: Source
    version: str | None
    files: int | None = None
    bytes: int | None = None
    problem: str = ""


class _File(NamedTuple):
    """A file, its bytes, and the time that it was last written."""

    name: str
    size: int
    modified: str


def observe(
    plan: Plan,
    keys: Iterable[str] | None = None,
    *,
    jobs: int = JOBS,
    limit_s: float = PROBE_LIMIT_S,
) -> list[SourceReport]:
    """Return the state of each source of a plan, or of those whose keys are given.

    Local files are only looked at from outside; all else is asked through a
    session, `jobs` sources at a time, each within `limit_s`. One that cannot be
    asked, or whose database cannot be reached, has a problem.
    """
    wanted = set(keys) if keys is not None else None
    sources = dict.fromkeys(one for view in plan.views for one in view.sources)
    chosen = [one for one in sources if wanted is None or one.key in wanted]
    databases = {step.key: step for step in plan.databases}
    local: dict[Source, SourceReport] = {}
    for source in chosen:
        files = _local_files(source, databases.get(source.database))
        if files is not None:
            local[source] = _of_files(source, files)
    asked = [one for one in chosen if one not in local]
    found = {**local, **_ask(plan, asked, jobs, limit_s)} if asked else local
    return [found[one] for one in chosen]


def _local_files(source: Source, database: DatabaseStep | None) -> list[_File] | None:
    """Return the files of a source that this machine has, or None where it is elsewhere."""
    if source.database:
        if database is None or not database.file:
            return None
        names = [database.file, *(database.file + one for one in _BESIDE[source.kind])]
        return list(_stated(names))
    (uri,) = source.location
    if "://" in uri:
        return None
    patterns = _patterns(source.kind, uri)
    return list(_stated(name for pattern in patterns for name in files_matching(pattern)))


def _patterns(kind: str, uri: str) -> Iterator[str]:
    """Yield the patterns of the files whose names tell the state of a source."""
    if kind == "delta":
        yield f"{glob.escape(uri)}/_delta_log/*.json"
    elif kind == "iceberg" and not uri.endswith(".json"):
        yield f"{glob.escape(uri)}/metadata/*.json"
    else:
        yield uri


def _stated(names: Iterable[str]) -> Iterator[_File]:
    for name in names:
        try:
            stat = os.stat(name)
        except OSError:
            continue
        yield _File(name, stat.st_size, str(stat.st_mtime_ns))


def _of_files(source: Source, files: list[_File]) -> SourceReport:
    digest = hashlib.sha256(repr(sorted(files)).encode())
    size = sum(one.size for one in files)
    return SourceReport(source, digest.hexdigest(), len(files), size)


def _ask(
    plan: Plan, sources: list[Source], jobs: int, limit_s: float
) -> dict[Source, SourceReport]:
    """Return the state of sources that only a session can be asked about."""
    plan = plan.chosen({one.database for one in sources if one.database})
    with closing(duckdb.connect(":memory:")) as connection:
        outcomes = try_session(connection, plan, probe_limit_s=limit_s)
        databases = {step.key for step in plan.databases}
        problems = {key: outcome.problems for key, outcome in outcomes.items() if outcome.problems}
        if problems.keys() - databases:  # what all sources are read through
            problems_of_all = (problem for of_it in problems.values() for problem in of_it)
            raise EngineError(sorted(problems_of_all, key=plan.place_of))

        def ask(cursor: DuckDBPyConnection, source: Source) -> SourceReport:
            if source.database in problems:
                problem = "\n".join(map(str, problems[source.database]))
                return SourceReport(source, None, problem=problem)
            try:
                return within(limit_s, cursor, lambda: _answer(cursor, source))
            except TimeoutError as error:
                problem = str(error)
            except duckdb.Error as error:
                problem = plan.redact(str(error)).strip()
            return SourceReport(source, None, problem=problem)

        reports = in_parallel(connection, plan, sources, ask, jobs=jobs)
    return dict(zip(sources, reports, strict=True))


def _answer(connection: DuckDBPyConnection, source: Source) -> SourceReport:
    ask = _QUESTIONS.get(source.kind)
    if ask is not None:
        return ask(connection, source)
    # Of a DuckLake whose metadata is on a server, say, nothing is known.
    return SourceReport(source, None) if source.database else _remote_files(connection, source)


def _remote_files(connection: DuckDBPyConnection, source: Source) -> SourceReport:
    (pattern,) = _patterns(source.kind, source.location[0])
    asked = "SELECT filename, size, last_modified::VARCHAR FROM read_blob($1)"
    rows = execute_with(connection, asked, [pattern]).fetchall()
    return _of_files(source, [_File(*row) for row in rows])


def _iceberg(connection: DuckDBPyConnection, source: Source) -> SourceReport:
    if not source.database and not source.location[0].endswith(".json"):
        return _remote_files(connection, source)
    name = ".".join(source.location)
    rows = connection.execute(
        f"SELECT snapshot_id FROM iceberg_snapshots({literal(name)})"
        " ORDER BY sequence_number DESC, timestamp_ms DESC LIMIT 1"
    ).fetchall()
    return SourceReport(source, str(rows[0][0]) if rows else "empty")


def _postgres(connection: DuckDBPyConnection, source: Source) -> SourceReport:
    """Return the state of a table, from what the server counts: rows written, and its file."""
    alias, *names = source.location
    schema, table = names if len(names) == 2 else ("public", names[0])
    question = (
        "SELECT c.oid::text, c.relfilenode::text, c.relnatts::text, s.n_tup_ins::text,"
        " s.n_tup_upd::text, s.n_tup_del::text FROM pg_class AS c"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " JOIN pg_stat_all_tables AS s ON s.relid = c.oid"
        f" WHERE n.nspname = {literal(schema)} AND c.relname = {literal(table)}"
    )
    asked = f"SELECT * FROM postgres_query({literal(alias)}, {literal(question)})"
    rows = connection.execute(asked).fetchall()
    return SourceReport(source, "-".join(rows[0]) if rows else None)


_QUESTIONS: dict[str, Callable[[DuckDBPyConnection, Source], SourceReport]] = {
    "iceberg": _iceberg,
    "postgres": _postgres,
}
