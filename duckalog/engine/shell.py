"""The session of a catalog for a DuckDB shell: a script without secrets, and their variables."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb

from duckalog.extensions import packaged
from duckalog.plan import ExtensionStep, Plan
from duckalog.script import variables_in_script
from duckalog.sql import Bound, Statement, literal, script
from duckalog.statements import load, set_option

_READ = re.compile(r"getenv\('(\w+)'\)")
_VERSION_LIMIT_S = 10


def duckdb_shell() -> str | None:
    """Return the path of a DuckDB shell of this very version: another may not read the file."""
    beside = shutil.which("duckdb", path=str(Path(sys.executable).parent))
    for found in filter(None, (beside, shutil.which("duckdb"))):
        try:
            answer = subprocess.run(
                [found, "--version"],
                capture_output=True,
                text=True,
                timeout=_VERSION_LIMIT_S,
                check=False,
            ).stdout
        except (OSError, subprocess.SubprocessError):
            continue
        if answer.split()[:1] == [f"v{duckdb.__version__}"]:
            return found
    return None


def harlequin() -> str | None:
    """Return the path of a Harlequin that has duckalog's adapter: one of this environment."""
    is_beside = importlib.util.find_spec("harlequin_duckdb") is not None
    return shutil.which("harlequin", path=str(Path(sys.executable).parent)) if is_beside else None


def shell_session(plan: Plan, environment: Mapping[str, str]) -> tuple[str, dict[str, str]] | None:
    """Return the script that a DuckDB shell starts with, and the environment it reads secrets in.

    None where a shell cannot read a secret so, in the place of an ATTACH say.
    """
    statements = list(_statements(plan))
    variables = dict(environment)
    for statement in statements:
        for part in statement.parts:
            if isinstance(part, Bound) and isinstance(part.value, str):
                whole = _READ.fullmatch(part.shown)
                if whole:
                    variables[whole[1]] = part.value
    text = script(statements)
    read = variables_in_script(text)
    missing = [name for name, has_default in read.items() if not has_default]
    if not variables.keys() >= set(missing) or "${env:" in text:
        return None
    return text, variables


def _statements(plan: Plan) -> Iterator[Statement]:
    if plan.extension_directory:
        yield set_option("extension_directory", literal(plan.extension_directory))
    for step in plan.session:
        file = next(packaged(step.name), None) if isinstance(step, ExtensionStep) else None
        if file:
            yield load(file)
        else:
            yield from step.statements
