"""Relative paths inside raw SQL, made absolute: they start from the file that states them.

DuckDB starts them from the working directory of whoever queries the view.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable

import msgspec

from duckalog.config import Config
from duckalog.decode import Unfit
from duckalog.entry import MAIN_SCHEMA, Check, View
from duckalog.errors import Origin, Problem, without_credentials
from duckalog.locations import absolute_path, is_remote
from duckalog.references import Reading, StatedPath
from duckalog.user_sql import replace_quoted
from duckalog.views.select import SelectView

_SEARCH_PATH = "file_search_path"


def with_absolute_paths(
    config: Config, views: Iterable[SelectView], readings: Iterable[Reading]
) -> list[SelectView | Problem]:
    """Return each view with the relative paths of its query made absolute, or what is wrong.

    Where the config sets DuckDB's own `file_search_path`, that counts instead.
    """
    if has_search_path(config):
        return list(views)
    own = names_of_views(config)
    return [
        _absolute(config, view, paths_of_files(reading, view.schema, own))
        for view, reading in zip(views, readings, strict=True)
    ]


def stated_files(
    config: Config, view: View, reading: Reading, views: set[tuple[str, str]]
) -> tuple[str, ...] | None:
    """Return the paths and URLs that a query reads, or None where only DuckDB knows them all.

    `views` are the names of the config's.
    """
    if reading.reads_unknown:
        return None
    files = [one.text for one in paths_of_files(reading, view.schema, views)]
    if any(map(_is_relative, files)) and has_search_path(config):
        return None
    folder = folder_of(view)
    return tuple(one if is_remote(one) else _from(folder, one) for one in dict.fromkeys(files))


def place_of_query(config: Config, view: SelectView) -> Origin:
    """Return where the SQL of a view is stated, or the file that holds it."""
    return config.at(view, "sql_file" if view.sql_file else "sql")


def folder_of(stated: View | Check) -> str:
    """Return the folder of the file that states a view's or a check's SQL."""
    file = getattr(stated, "sql_file", None) or stated.origin.file
    return os.path.dirname(without_credentials(file) if is_remote(file) else file)


def has_search_path(config: Config) -> bool:
    """Say whether the config itself says where relative paths start."""
    return any(name.lower() == _SEARCH_PATH for name in config.duckdb.settings)


def names_of_views(config: Config) -> set[tuple[str, str]]:
    """Return the schema and name of each view, in lower case."""
    return {(view.schema.lower(), view.name.lower()) for view in config.views}


def paths_of_files(reading: Reading, schema: str, views: set[tuple[str, str]]) -> list[StatedPath]:
    """Return the paths that a query in a schema states, without names of views that look so."""
    return [
        path
        for path in reading.paths
        if not (
            path.is_relation
            and {(schema.lower(), path.text.lower()), (MAIN_SCHEMA, path.text.lower())} & views
        )
    ]


def _absolute(
    config: Config, view: SelectView, paths: Iterable[StatedPath]
) -> SelectView | Problem:
    try:
        query = located(view.query(), paths, folder_of(view))
    except Unfit as error:
        return Problem(place_of_query(config, view), str(error), error.remedy)
    return msgspec.structs.replace(view, sql=query) if query != view.query() else view


def located(query: str, paths: Iterable[StatedPath], folder: str) -> str:
    """Return a query whose relative paths start from a folder; raises Unfit where they cannot."""
    replaced = {path.position: path.text for path in paths if _is_relative(path.text)}
    if not replaced:
        return query
    if any(map(glob.has_magic, replaced.values())) and glob.has_magic(folder):
        message = "DuckDB takes the name of the folder of the query for a pattern"
        raise Unfit(message, "Rename the folder, without *, ? and [.")
    try:
        return replace_quoted(
            query, {position: _from(folder, text) for position, text in replaced.items()}
        )
    except ValueError as error:
        reason = str(error)
    raise Unfit(reason, "Write each path as one literal in single quotes.")


def _is_relative(path: str) -> bool:
    return bool(path) and not (is_remote(path) or os.path.isabs(path) or path.startswith("~"))


def _from(folder: str, path: str) -> str:
    """Return a path that starts from a folder; a slash at its end stays, for what is appended."""
    absolute = absolute_path(path, folder)
    return f"{absolute}/" if path.endswith("/") else absolute
