"""How DuckDB's extensions are had: loaded already, from a PyPI package, or by INSTALL."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from duckalog.sql import Statement
from duckalog.statements import install, load
from duckalog.values import execute_with

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

logger = logging.getLogger("duckalog.extensions")

Execute = Callable[["DuckDBPyConnection", Statement], None]


def obtain_extension(
    connection: DuckDBPyConnection,
    name: str,
    execute: Execute,
    *,
    installing: Statement | None = None,
    is_loaded: bool = True,
) -> None:
    """Have an extension installed and, if `is_loaded`, loaded; raises what DuckDB does."""
    was_installed, was_loaded = _state_of(connection, name)
    if was_loaded or (was_installed and not is_loaded):
        return
    if was_installed and _loads(connection, name, execute):
        return
    for file in packaged(name):
        if not is_loaded or _loads(connection, file, execute):
            return
    execute(connection, installing or install(name))
    if is_loaded:
        execute(connection, load(name))


_ON_PYPI = frozenset(
    """
    avro aws azure delta ducklake excel fts httpfs iceberg inet motherduck mysql_scanner
    postgres_scanner quack spatial sqlite_scanner ui unity_catalog vss
    """.split()
)
"""The extensions that DuckDB's own packages on PyPI bring; any other name may be anybody's."""
_LAST_ON_PYPI: dict[tuple[int, ...], tuple[int, ...]] = {(1, 4): (1, 4, 4), (1, 5): (1, 5, 5)}
"""The last release of each DuckDB that has such packages."""
_FIRST_ON_PYPI: dict[str, tuple[int, ...]] = {"quack": (1, 5, 3)}


def remedy_for(name: str, repository: str = "") -> str:
    """Return how to have an extension on a machine that cannot download it."""
    whose = repository or "DuckDB's"
    ways = [
        f"Let this machine reach {whose} repository, or copy here the extensions of one on which"
        f" INSTALL {name} was run (duckdb.extension_directory names the folder)."
    ]
    if name in _ON_PYPI and not repository:
        ways.append(_package_of(name))
    elif not repository:
        ways.append("Is the name right? One of the community's needs the key repository: community")
    return "\n".join(ways)


def _package_of(name: str) -> str:
    """Return how the package of an extension brings it, to this DuckDB or to another."""
    import duckdb

    package = f"duckdb-extension-{name.replace('_', '-')}"
    version = tuple(int(part) for part in re.findall(r"\d+", duckdb.__version__)[:3])
    last = _LAST_ON_PYPI.get(version[:2], ())
    if _FIRST_ON_PYPI.get(name, ()) <= version <= last:
        return f"Or run: pip install {package}=={duckdb.__version__}"
    newest = ".".join(map(str, max(_LAST_ON_PYPI.values())))
    return (
        f"There is no package of it for DuckDB {duckdb.__version__}. There is for {newest}: "
        f"pip install duckdb=={newest} {package}=={newest}"
    )


def _state_of(connection: DuckDBPyConnection, name: str) -> tuple[bool, bool]:
    """Return whether an extension is installed, and whether it is loaded.

    Asked before LOAD, which goes to the network for what is not installed (DuckDB 1.5.5).
    """
    asked = "SELECT installed, loaded FROM duckdb_extensions() WHERE extension_name = $1"
    found = execute_with(connection, asked, [name]).fetchone()
    return (bool(found[0]), bool(found[1])) if found else (False, False)


def _loads(connection: DuckDBPyConnection, extension: str, execute: Execute) -> bool:
    import duckdb

    try:
        execute(connection, load(extension))
    except duckdb.Error as error:
        logger.debug("LOAD %s: %s", extension, str(error).splitlines()[0])
        return False
    return True


def packaged(name: str) -> Iterator[str]:
    """Yield the file of an extension that its PyPI package has for this DuckDB."""
    import duckdb

    found = importlib.util.find_spec(f"duckdb_extension_{name}")
    for folder in (found.submodule_search_locations or ()) if found else ():
        file = os.path.join(
            folder, "extensions", f"v{duckdb.__version__}", f"{name}.duckdb_extension"
        )
        if os.path.isfile(file):
            yield file
