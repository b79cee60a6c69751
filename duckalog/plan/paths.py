"""Relative paths inside raw SQL, made absolute: they start from the file that states them.

DuckDB starts them from the working directory of whoever queries the view.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable

import msgspec

from duckalog.config import Config
from duckalog.decode import absolute_path, is_remote
from duckalog.entry import MAIN_SCHEMA, View
from duckalog.errors import Problem, shown_path
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
    if _has_search_path(config):
        return list(views)
    own = {(view.schema.lower(), view.name.lower()) for view in config.views}
    return [
        _absolute(config, view, [path for path in reading.paths if not _is_view(path, view, own)])
        for view, reading in zip(views, readings, strict=True)
    ]


def stated_files(config: Config, view: View, reading: Reading) -> tuple[str, ...] | None:
    """Return the paths and URLs that a query reads, or None where only DuckDB knows them all."""
    if reading.reads_unknown:
        return None
    own = {(one.schema.lower(), one.name.lower()) for one in config.views}
    files = [path.text for path in reading.paths if not _is_view(path, view, own)]
    if any(map(_is_relative, files)) and _has_search_path(config):
        return None
    folder = _folder_of(view)
    return tuple(one if is_remote(one) else _from(folder, one) for one in dict.fromkeys(files))


def _has_search_path(config: Config) -> bool:
    return any(name.lower() == _SEARCH_PATH for name in config.duckdb.settings)


def _folder_of(view: View) -> str:
    file = getattr(view, "sql_file", None) or view.origin.file
    return os.path.dirname(shown_path(file) if is_remote(file) else file)


def _is_view(path: StatedPath, reader: View, own: set[tuple[str, str]]) -> bool:
    """Say whether what looks like the path of a file is the name of a view of the config."""
    name = path.text.lower()
    return path.is_relation and bool({(reader.schema.lower(), name), (MAIN_SCHEMA, name)} & own)


def _absolute(
    config: Config, view: SelectView, paths: Iterable[StatedPath]
) -> SelectView | Problem:
    folder = _folder_of(view)
    replaced = {path.position: path.text for path in paths if _is_relative(path.text)}
    if not replaced:
        return view
    message, remedy = "", ""
    if any(map(glob.has_magic, replaced.values())) and glob.has_magic(folder):
        message = "DuckDB takes the name of the folder of the query for a pattern"
        remedy = "Rename the folder, without *, ? and [."
    query = view.query()
    try:
        query = replace_quoted(
            query, {position: _from(folder, text) for position, text in replaced.items()}
        )
    except ValueError as error:
        message, remedy = str(error), "Write each path as one literal in single quotes."
    if message:
        return Problem(config.at(view, "sql_file" if view.sql_file else "sql"), message, remedy)
    return msgspec.structs.replace(view, sql=query)


def _is_relative(path: str) -> bool:
    return bool(path) and not (is_remote(path) or os.path.isabs(path) or path.startswith("~"))


def _from(folder: str, path: str) -> str:
    """Return a path that starts from a folder; a slash at its end stays, for what is appended."""
    absolute = absolute_path(path, folder)
    return f"{absolute}/" if path.endswith("/") else absolute
