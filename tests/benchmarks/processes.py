"""What whole processes cost: processor seconds and memory, medians of interleaved runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple


class Command(NamedTuple):
    """A process to measure; `fresh` is a file that is removed before."""

    arguments: tuple[str, ...]
    fresh: Path | None = None


class Failed(Exception):
    """A process ended with another status than 0; the text is what it wrote to stderr."""


def environment(bytecode: Path) -> dict[str, str]:
    """Return the environment of every measured process: compiled modules are kept in `bytecode`.

    A user's second run finds them compiled, even where this machine forbids
    Python to write them beside the sources.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(bytecode)}


class Cost(NamedTuple):
    """What a process took: user and system seconds, threads included, and its most memory."""

    seconds: float
    mebibytes: float


def cost(command: Command, env: Mapping[str, str]) -> Cost:
    """Return what one run of a command costs."""
    if command.fresh:
        for ending in ("", ".wal"):
            Path(f"{command.fresh}{ending}").unlink(missing_ok=True)
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            command.arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=stderr, env=env,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            stderr.seek(0)
            raise Failed(stderr.read().decode(errors="replace"))
    # getrusage(2): Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 2**20)


def medians(
    commands: Sequence[Command],
    rounds: int,
    env: Mapping[str, str],
    tell: Callable[[str], None],
) -> list[Cost | None]:
    """Return the median cost of each command; None for one that fails.

    A first round, which is not counted, compiles modules and makes the files
    that later commands expect. Every round runs every command once, so that a
    slow minute of the machine's is shared by all.
    """
    runs: list[list[Cost] | None] = [[] for _ in commands]
    for number in range(rounds + 1):
        tell(f"round {number} of {rounds}" if number else "warming up")
        for index, command in enumerate(commands):
            found = runs[index]
            if found is None:
                continue
            try:
                taken = cost(command, env)
            except Failed as error:
                tell(f"fails: {' '.join(command.arguments)}\n{str(error).strip()[-500:]}")
                runs[index] = None
            else:
                found += [taken] if number else []
    return [found and Cost(*map(median, zip(*found, strict=True))) for found in runs]
