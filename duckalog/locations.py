"""Paths and URLs as a config states them: what is remote, and where relative ones start."""

from __future__ import annotations

import glob
import os
import posixpath


class LocalPath(str):
    """A path of a file, absolute; relative ones start from the folder of the config."""

    __slots__ = ()


class TextFile(str):
    """The place of a text to read: a URL as it stands, or an absolute local path."""

    __slots__ = ()


class DatabasePath(str):
    """The path of a DuckDB file to build, absolute, or `:memory:`."""

    __slots__ = ()


class Uri(str):
    """The place of data: a URL as it stands, or an absolute local path (globs allowed)."""

    __slots__ = ()


def is_remote(uri: str) -> bool:
    """Say whether `uri` has a scheme that DuckDB opens over the network."""
    return "://" in uri and uri.partition("://")[0].lower() != "file"


def is_relative(path: str) -> bool:
    """Say whether a path starts from the folder of the config."""
    return not (is_remote(path) or os.path.isabs(path) or path.startswith(("~", "file://")))


def files_matching(pattern: str) -> list[str]:
    """Return the local files that a pattern matches, in order; a path without one is itself."""
    return sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else [pattern]


def absolute_path(path: str, directory: str) -> str:
    """Return a path made absolute, a URL where `directory` is one; `~` is the home folder."""
    if is_remote(directory) and is_relative(path):
        scheme, _, folder = directory.partition("://")
        host, _, folder = folder.partition("/")
        # Two slashes at the beginning would stay two.
        joined = posixpath.normpath("/" + f"{folder}/{path}".lstrip("/"))
        return f"{scheme}://{host}{joined}"
    path = os.path.expanduser(path.removeprefix("file://"))
    return os.path.normpath(os.path.join(directory, path))
