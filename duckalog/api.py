"""What Python programs call: load, validate, generate, build and connect."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from duckalog.config import MEMORY
from duckalog.environment import PLACEHOLDER, read_environment
from duckalog.errors import MAX_PROBLEMS, ConfigError, Origin, Problem
from duckalog.load import in_order_of_files, read_config
from duckalog.plan import Plan, problems_of
from duckalog.plan import plan as plan_of
from duckalog.script import full_script, session_script, views_script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Literal

    import duckdb

    from duckalog.changes import Diff
    from duckalog.diagram import Format
    from duckalog.engine.observe import SourceReport
    from duckalog.engine.progress import Progress
    from duckalog.engine.publish import Publish
    from duckalog.engine.reports import BuildReport
    from duckalog.engine.verdicts import CheckReport
    from duckalog.init.draft import StartingConfig
    from duckalog.lineage import Lineage

    Part = Literal["views", "session", "full"]

logger = logging.getLogger("duckalog")

PathLike = str | os.PathLike[str]

LOCK_TIMEOUT_S = 10.0


def load_plan(
    config_path: PathLike,
    db_path: PathLike | None = None,
    *,
    env_file: PathLike | None = None,
    variables: Mapping[str, str] | None = None,
    fill: bool = True,
    is_lenient: bool = False,
) -> Plan:
    """Return the plan of a config: its steps in the order they run.

    `db_path` is built instead of `duckdb.database`. Placeholders are filled from
    `variables`, the environment and `env_file`, in this order; with `fill=False`
    they stay as text, but for those of imports, and the plan is only to be looked
    at; so do texts whose variables are not set if it `is_lenient`. Raises ConfigError
    with every problem.
    """
    database = os.fspath(db_path) if db_path is not None else None
    if database is not None and database != MEMORY:
        database = os.path.abspath(database)
    environment = {**read_environment(env_file), **variables} if variables else None
    config, problems = read_config(
        config_path,
        env_file=env_file,
        environment=environment,
        fill_environment=fill,
        is_lenient=is_lenient,
    )
    if config is None or problems:
        found = problems_of(config, problems) if config and len(problems) < MAX_PROBLEMS else []
        raise in_order_of_files([*problems, *found])
    return plan_of(config, database)


def placed(plan: Plan) -> Plan:
    """Return a plan whose catalog file is somewhere; a config that is not here cannot say."""
    if unset := PLACEHOLDER.search(plan.database):
        message = f"environment variable {unset['name']} is not set"
        origin = Origin(plan.file, path=("duckdb", "database"))
        raise ConfigError(Problem(origin, message, "Export it, or pass --db-path."))
    if plan.is_in_memory or os.path.isabs(plan.database):
        return plan
    message = f'"{plan.database}" starts from the config, which is not on this machine'
    remedy = "Say where it is: --db-path, or db_path in Python; or state the whole path."
    raise ConfigError(Problem(Origin(plan.file, path=("duckdb", "database")), message, remedy))


def _planned(
    config_path: PathLike | Plan, db_path: PathLike | None, env_file: PathLike | None
) -> Plan:
    if isinstance(config_path, Plan):
        return config_path
    return load_plan(config_path, db_path, env_file=env_file)


def validate_config(
    config_path: PathLike,
    *,
    env_file: PathLike | None = None,
    connect: bool = False,
    progress: Progress | None = None,
    is_lenient: bool = False,
) -> None:
    """Check a config, without opening anything unless `connect` is true.

    With `connect` the session is made and every view is bound, in a catalog
    that is thrown away; `progress` is told how far it is, as in `build`. Variables may
    be unset if `is_lenient`, but for those of imports, and not with `connect`. Raises
    ConfigError or EngineError with every problem; what only may become one is
    logged as a warning.
    """
    plan = load_plan(config_path, env_file=env_file, is_lenient=is_lenient and not connect)
    for warning in plan.warnings:
        logger.warning("%s", warning)
    if connect:
        from duckalog.engine.progress import untold
        from duckalog.engine.trial import try_out

        try_out(plan, progress or untold)


def generate_sql(
    config_path: PathLike, *, part: Part = "views", env_file: PathLike | None = None
) -> str:
    """Return a config as SQL text, without connecting to anything.

    `part` is `views` (their statements in build order), `session` (what every
    connection needs; usable as `duckdb -init`), or `full` (both, for a plain
    DuckDB shell). Secrets are read from the environment when the script runs.
    Raises ConfigError with every problem.
    """
    render = {"views": views_script, "session": session_script, "full": full_script}[part]
    return render(load_plan(config_path, env_file=env_file))


def build(
    config_path: PathLike | Plan,
    db_path: PathLike | None = None,
    *,
    env_file: PathLike | None = None,
    prune: bool = True,
    adopt: bool = False,
    refresh: bool = False,
    keep_going: bool = False,
    jobs: int = 32,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
    publish: Publish = "auto",
    progress: Progress | None = None,
    select: Iterable[str] | None = None,
    build_id: str = "",
) -> BuildReport:
    """Return the report of building a catalog: for each view the action, columns and seconds.

    `config_path` may be a plan that `load_plan` made.

    All or nothing: a build that fails leaves the earlier catalog as it was.
    Views whose definition and source are unchanged are left alone, unless
    `refresh`. Views that left the config are dropped if `prune`; `adopt` lets it
    take over views that were made by hand. With `keep_going` what can be built
    is, and the report has the problems. `jobs` remote sources are asked at a
    time. A catalog that exists is built `in-place`, or in a copy that is swapped
    in, which readers do not notice; `auto` swaps where readers have it open.
    Another process's lock is waited for, up to `lock_timeout_s`. `progress` is
    called with the stage (`session`, `probe`, `apply`; `refusals` where a view was
    refused), how many of its views are done, and how many there are.

    With `select` only the views and databases of these names are built (`orders`,
    `analytics.orders`, `attachment:crm`), over what they need of the session;
    views that read them are named in the report, and made again by the next
    build. A build whose `build_id` the catalog remembers is not done again: its
    report comes back, so that processes of one run may share it. Raises
    ConfigError or EngineError with every problem.
    """
    from duckalog.engine.build import build as build_plan
    from duckalog.engine.making import BuildOptions
    from duckalog.engine.progress import untold

    plan = placed(_planned(config_path, db_path, env_file))
    return build_plan(
        plan,
        BuildOptions(
            prune=prune,
            adopt=adopt,
            refresh=refresh,
            keep_going=keep_going,
            jobs=jobs,
            lock_timeout_s=lock_timeout_s,
            publish=publish,
            progress=progress or untold,
            select=None if select is None else tuple(select),
            build_id=build_id,
        ),
    )


def diff(
    config_path: PathLike,
    db_path: PathLike | None = None,
    *,
    env_file: PathLike | None = None,
    prune: bool = True,
    adopt: bool = False,
    refresh: bool = False,
    select: Iterable[str] | None = None,
) -> Diff:
    """Return what a build would do: each view's action and reason, and what would be removed.

    The catalog is only read, and no source is asked but those of pinned views,
    which are listed. What of them cannot be reached is among the `failures`, and so
    is why a build would refuse the place of the catalog: a folder that cannot be
    written, say.
    Raises ConfigError with every problem, and EngineError where the catalog
    cannot be read.
    """
    from duckalog.engine.forecast import forecast
    from duckalog.engine.making import BuildOptions

    plan = placed(load_plan(config_path, db_path, env_file=env_file))
    chosen = None if select is None else tuple(select)
    options = BuildOptions(prune=prune, adopt=adopt, refresh=refresh, select=chosen)
    return forecast(plan, options)


def check(
    config: PathLike | Plan,
    db_path: PathLike | None = None,
    *,
    env_file: PathLike | None = None,
    select: Iterable[str] | None = None,
    sample: int = 5,
    jobs: int = 4,
    timeout_s: float = 300.0,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
) -> CheckReport:
    """Return what the checks of a config find in its built catalog; nothing is written.

    `config` is the path of a config, or its plan. Every database is to be
    reachable and every view to answer, and what its `checks` declare is to be
    true. `select` names the views to check. At most `sample` failing rows come
    with a verdict. `jobs` views are checked at a time, and a query that takes
    longer than `timeout_s` is given up. Raises ConfigError or EngineError where
    nothing can be checked.
    """
    from duckalog.engine.check import CheckOptions
    from duckalog.engine.check import check as check_plan

    plan = _planned(config, db_path, env_file)
    chosen = None if select is None else tuple(select)
    return check_plan(plan, CheckOptions(chosen, sample, jobs, timeout_s, lock_timeout_s))


def column_lineage(
    config: PathLike | Plan,
    db_path: PathLike | None = None,
    *,
    env_file: PathLike | None = None,
    connect: bool = False,
    report: BuildReport | None = None,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
) -> Lineage:
    """Return where each column of each view comes from, as DuckDB's binder has it.

    `config` is the path of a config, or its plan. The columns of the sources
    are those that the catalog remembers of its last build, or that the
    `report` of a build has; no source is asked, unless `connect` is true.
    Where they are not known, and for what DuckDB does not tell, a view's
    lineage says why it is unknown. Raises ConfigError or EngineError.
    """
    from duckalog.engine.columns import asked_columns, remembered_columns, reported_columns
    from duckalog.lineage import lineage_of

    plan = _planned(config, db_path, env_file)
    if connect:
        known = asked_columns(plan)
    elif report is not None:
        known = reported_columns(report)
    else:
        known = remembered_columns(plan, lock_timeout_s=lock_timeout_s)
    return lineage_of(plan, known)


def generate_graph(
    config: PathLike | Plan,
    *,
    format: Format = "mermaid",
    select: Iterable[str] | None = None,
    columns: bool = False,
    env_file: PathLike | None = None,
    connect: bool = False,
) -> str:
    """Return which view reads what, as text: Mermaid, DOT or JSON.

    With `select` it has what views of these names come from, and what is made of
    them. With `columns`, and in JSON always, the lineage of the columns is in it (see
    `column_lineage`, also for `connect`). Otherwise nothing is opened. Raises
    ConfigError or EngineError.
    """
    from duckalog.diagram import around, graph_of, render

    plan = _planned(config, None, env_file)
    has_columns = columns or format == "json"
    lineage = column_lineage(plan, connect=connect) if has_columns else None
    graph = graph_of(plan, lineage)
    if select is not None:
        graph = around(graph, plan.chosen(select).views)
    return render(graph, format)


def init_config(
    source: PathLike | None = None,
    config_path: PathLike = "catalog.yaml",
    *,
    attach: Iterable[str] = (),
) -> StartingConfig:
    """Return a config to start from: its text, and what is to be known of it; nothing is written.

    Without a `source` it is small and commented. From a DuckDB file it builds
    the same views; from a folder or an `s3://` prefix it has a view for each
    dataset. `config_path` is where it is to stand, from where its paths start.
    `attach` says as `alias=place` where the databases are that a file's views
    read. Raises ConfigError or EngineError.
    """
    from duckalog.init import starting_config

    place = os.fspath(source) if source is not None else None
    return starting_config(place, os.fspath(config_path), attach)


def observe(
    config_path: PathLike | Plan,
    *,
    env_file: PathLike | None = None,
    sources: Iterable[str] | None = None,
    jobs: int = 32,
    timeout_s: float = 30.0,
) -> list[SourceReport]:
    """Return the state of each source that the views read: a version that moves when its data does.

    `sources` are the keys of those to ask; local files and databases are only
    looked at from outside, and all else is asked through a session, `jobs` at a
    time and each within `timeout_s`. One that gives no answer has a problem in
    its report. The catalog need not be built. `config_path` may be a plan that
    `load_plan` made. Raises ConfigError, or EngineError where settings, secrets
    or extensions cannot be had.
    """
    from duckalog.engine.observe import observe as observe_plan

    plan = _planned(config_path, None, env_file)
    return observe_plan(plan, sources, jobs=jobs, limit_s=timeout_s)


def build_catalog(
    config_path: PathLike,
    db_path: PathLike | None = None,
    dry_run: bool = False,
    verbose: bool = False,
) -> None:
    """Build a catalog; with `dry_run` print its whole script and open nothing.

    `verbose` logs each statement, without secrets, to standard error. Raises
    ConfigError or EngineError with every problem. `build` does the same and
    returns a report.
    """
    if dry_run:
        print(full_script(load_plan(config_path, db_path)), end="")
        return
    from duckalog.logs import verbose_logging

    with verbose_logging(verbose):
        build(config_path, db_path)


def connect(
    config_path: PathLike | Plan,
    read_only: bool = True,
    *,
    db_path: PathLike | None = None,
    env_file: PathLike | None = None,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
) -> duckdb.DuckDBPyConnection:
    """Return a connection to the built catalog, its session half applied.

    So the views over attachments, secrets and settings work, which they do not
    in a plain connection. A catalog in memory is built on the spot. `config_path`
    may be a plan that `load_plan` made. Raises ConfigError or EngineError, also
    where the catalog is not built yet.
    """
    plan = _planned(config_path, db_path, env_file)
    return connect_plan(plan, read_only=read_only, lock_timeout_s=lock_timeout_s)


def connect_plan(
    plan: Plan, *, read_only: bool = True, lock_timeout_s: float = LOCK_TIMEOUT_S
) -> duckdb.DuckDBPyConnection:
    """Return what `connect` returns, for a plan that is loaded already."""
    from duckalog.engine.build import build_in_memory, open_session

    if plan.is_in_memory:
        return build_in_memory(plan)
    return open_session(placed(plan), read_only=read_only, lock_timeout_s=lock_timeout_s)
