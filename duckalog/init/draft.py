"""A config that is being drafted: what it states, in the order people read it, and what to tell."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

Data = dict[str, Any]


class Note(NamedTuple):
    """Something that whoever asked for a config should know of one thing in it.

    `left out` is not in the config, `to do` has to be completed by hand,
    `unchecked` could not be tried here, and `changed` is not quite as it was.
    """

    kind: Literal["left out", "to do", "unchecked", "changed"]
    subject: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}: {self.reason}"


class StartingConfig(NamedTuple):
    """A config to start from: its text, how many views it has, and what is to be known of it."""

    text: str
    views: int
    notes: tuple[Note, ...]


class DraftEntry(NamedTuple):
    """A map of the config, with a comment above it where `comment` is not empty."""

    data: Data
    comment: str = ""


class Draft(msgspec.Struct, kw_only=True):
    """The sections of a config; `variables` fill placeholders for a trial, and are written nowhere.

    Paths in it are absolute, until it is rendered for a folder.
    """

    title: str = ""
    database: str
    settings: Data = {}
    pragmas: list[str] = []
    secrets: list[DraftEntry] = []
    attachments: dict[str, list[DraftEntry]] = {}
    views: list[DraftEntry] = []
    notes: list[Note] = []
    variables: dict[str, str] = {}
