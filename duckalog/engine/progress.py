"""What a build tells while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Stage = Literal["session", "probe", "apply", "refusals"]
"""Attachments and secrets made; remote sources asked; views made; where one was refused, others."""

Progress = Callable[[Stage, int, int], None]
"""Is called with a stage, how many of its views are done, and how many there are, if known.

It is called often, from the thread that builds: it has to be quick.
"""


def untold(_stage: Stage, _done: int, _total: int) -> None:
    """Take no notice of progress."""
