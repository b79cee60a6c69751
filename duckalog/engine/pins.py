"""What is found of pinned views, and how they are to be made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from duckalog.bookkeeping import File
from duckalog.engine.probe import Answer
from duckalog.errors import Problem
from duckalog.plan import ViewStep

if TYPE_CHECKING:
    from duckalog.engine.pin_kinds import Kinds  # most catalogs pin nothing


class PinnedSource(NamedTuple):
    """What the source of a pinned view is now: its files, or the version of a table."""

    files: tuple[File, ...] = ()
    version: int = 0
    problem: Problem | None = None

    @property
    def state(self) -> str | None:
        """A hash of it, to compare with that of the last build; None where it is not known."""
        if self.problem:
            return None
        digest = hashlib.sha256(f"pinned at {self.version}\n".encode())
        for path, size, modified in self.files:
            digest.update(f"{path}\0{size}\0{modified}\n".encode())
        return digest.hexdigest()


class Pins(NamedTuple):
    """Pinned views to make, by their keys: steps with the final query, sources, and answers.

    `kinds` are those of the sources' files.
    """

    steps: dict[str, ViewStep]
    sources: Mapping[str, PinnedSource]
    answers: dict[str, Answer]
    kinds: Mapping[str, Kinds]


NO_PINS = Pins({}, {}, {}, {})
