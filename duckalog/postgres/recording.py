"""The file of a recording: one line of JSON for each thing that a server was asked, or said."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from duckalog.errors import Origin, Problem, shown
from duckalog.postgres.errors import SimulationError, UnrecordedError
from duckalog.postgres.questions import Question, as_json, question_of
from duckalog.redaction import HIDDEN

logger = logging.getLogger("duckalog.postgres")

FORMAT = "duckalog.postgres recording"
VERSION = 1

_LOCK = threading.RLock()
_RECORDERS: dict[str, Recorder] = {}


class Recorder:
    """Writes a recording: each line at once, so that a process that is killed leaves a whole file.

    The clients of a process that record into the same file share it.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self._lines = 0
        self._users = 0
        self._opened: Any = None

    @classmethod
    def of(cls, file: str) -> Recorder:
        """Return this process's recorder into a file."""
        with _LOCK:
            return _RECORDERS.setdefault(os.path.abspath(file), cls(file))

    def open(self) -> None:
        """Begin the file, or go on where this process has begun it; raises SimulationError."""
        with _LOCK:
            if self._opened is None:
                is_new = not self._lines or not os.path.exists(self.file)
                self._opened = _locked(self.file)
                if is_new:
                    self._opened.truncate(0)
                    self._lines = 0
                    self.write({"format": FORMAT, "version": VERSION})
            self._users += 1

    def close(self) -> None:
        """Close the file, if no other client records into it."""
        with _LOCK:
            self._users -= 1
            if not self._users:
                self._opened.close()
                self._opened = None

    def write(self, line: Mapping[str, Any]) -> int:
        """Return the number of the line that was written."""
        with _LOCK:
            if self._opened is None:
                raise _wrong(self.file, 0, "the recording is closed")
            self._opened.write(as_json(line).encode() + b"\n")
            self._lines += 1
            return self._lines


def _locked(path: str) -> Any:
    """Return a file that other processes are kept out of; raises SimulationError."""
    with ExitStack() as unless_locked:
        try:
            file = unless_locked.enter_context(open(path, "ab", buffering=0))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _unwritable(path, error) from None
        unless_locked.pop_all()
    return file


@dataclass
class Answer:
    """What a server said: the line that it is recorded at, and those that go on from there."""

    line: int
    said: Mapping[str, Any]
    parts: list[Mapping[str, Any]] = field(default_factory=list)


class _Answers:
    """The answers to one question, in the order in which they were given."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.all: list[Answer] = []
        self.given = 0
        self._patterns = [
            re.compile(_pattern(one)) if HIDDEN in one else None for one in question.values
        ]
        self.has_hidden = any(self._patterns)

    def next(self) -> Answer:
        found = self.all[min(self.given, len(self.all) - 1)]
        self.given += 1
        return found

    def differences(self, values: Sequence[str]) -> list[int]:
        """Return the places, from 1, of the values that are others."""
        mine, patterns = self.question.values, self._patterns
        common = min(len(mine), len(values))
        found = [
            place + 1
            for place in range(common)
            if mine[place] != values[place]
            and not ((one := patterns[place]) and one.fullmatch(values[place]))
        ]
        return found + list(range(common + 1, max(len(mine), len(values)) + 1))


def _pattern(value: str) -> str:
    """Return the pattern of a value in JSON in which something is hidden."""
    anything = re.escape(HIDDEN)
    return re.escape(value).replace(f'"{anything}"', ".*").replace(anything, ".*")


class Recording:
    """A recording that is replayed: the answers to each question come in the recorded order.

    The last answer is given again where a question comes more often: the
    database stands still at the end of its recording.
    """

    def __init__(self, file: str) -> None:
        """Read a file; raises SimulationError."""
        self.file = file
        self.server_version = 0
        self._answers: dict[Question, _Answers] = {}
        self._by_text: dict[tuple[str, str | None, str], list[_Answers]] = {}
        opened: dict[int, Answer] = {}
        for number, line in _lines(file):
            try:
                self._read(number, line, opened)
            except (KeyError, TypeError, ValueError, AttributeError):
                raise _wrong(file, number, "this is no line of a recording") from None

    def _read(self, number: int, line: Mapping[str, Any], opened: dict[int, Answer]) -> None:
        if "of" in line:
            opened[line["of"]].parts.append(line)
            return
        if "server_version" in line:
            self.server_version = int(line["server_version"])
            return
        question = question_of(line)
        if question not in self._answers:
            made = self._answers[question] = _Answers(question)
            self._by_text.setdefault(_place(question), []).append(made)
        opened[number] = Answer(number, line)
        self._answers[question].all.append(opened[number])

    def answer(self, *asked: Question) -> Answer:
        """Return the next answer to a question, which may be put in several ways.

        Raises UnrecordedError, which names what was recorded that is nearest.
        """
        with _LOCK:
            for one in asked:
                if one in self._answers:
                    return self._answers[one].next()
            for one in asked:
                for answers in self._by_text.get(_place(one), ()):
                    if answers.has_hidden and not answers.differences(one.values):
                        return answers.next()
        raise self._unrecorded(asked[0])

    def origin(self, answer: Answer) -> Origin:
        """Return where an answer is recorded."""
        return Origin(self.file, answer.line)

    def _unrecorded(self, asked: Question) -> UnrecordedError:
        message = f"nothing like this is recorded: {_told(asked)}"
        same = self._by_text.get(_place(asked))
        if same:
            nearest = min(same, key=lambda one: len(one.differences(asked.values)))
            places = nearest.differences(asked.values)
            values = nearest.question.values
            told = [shown(one) for one in values] + ["not there"] * len(asked.values)
            what = ", ".join(f"${place} is {told[place - 1]}" for place in places)
            message = f"this was recorded with other values: {_told(asked)}"
            remedy = f"At this line {what}."
        else:
            known = {one.question.key: one for one in self._answers.values()}
            close = get_close_matches(asked.key, known, n=1, cutoff=0.0)
            if not close:
                return UnrecordedError(Problem(Origin(self.file), message, "Nothing is recorded."))
            nearest = known[close[0]]
            remedy = f"The nearest is at this line: {_told(nearest.question)}"
        origin = self.origin(nearest.all[0])
        return UnrecordedError(Problem(origin, message, f"{remedy}\nRecord it anew."))


def _place(question: Question) -> tuple[str, str | None, str]:
    return question.kind, question.database, question.key


def _told(question: Question) -> str:
    where = f" in the database {question.database}" if question.database else ""
    return f"{question.kind}{where}: {shown('; '.join(question.texts))}"


def _lines(file: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the lines of a recording with their numbers; a last one that is torn is left out."""
    try:
        with open(file, "rb") as opened:
            lines = opened.read().splitlines(keepends=True)
    except OSError as error:
        message = f"the recording cannot be read: {error.strerror}"
        raise _wrong(file, 0, message, "Record it first.") from None
    for number, line in enumerate(lines, 1):
        if number == len(lines) and not line.endswith(b"\n"):
            logger.warning("%s: the last line is torn, and left out", Origin(file, number).location)
            return
        try:
            said = json.loads(line)
        except ValueError:
            raise _wrong(file, number, "this is no line of a recording") from None
        if number > 1:
            yield number, said
        elif not isinstance(said, dict) or said.get("format") != FORMAT:
            raise _wrong(file, number, "this is not a recording of duckalog.postgres")
        elif said.get("version") != VERSION:
            message = f"the recording is of version {said.get('version')}, and this reads {VERSION}"
            raise _wrong(file, number, message, "Record it anew.")


def _unwritable(file: str, error: OSError) -> SimulationError:
    if isinstance(error, BlockingIOError):
        remedy = "Give each process a file of its own."
        return _wrong(file, 0, "another process records into this file", remedy)
    return _wrong(file, 0, f"the recording cannot be written: {error.strerror}")


def _wrong(file: str, line: int, message: str, remedy: str = "") -> SimulationError:
    return SimulationError(Problem(Origin(file, line), message, remedy))
