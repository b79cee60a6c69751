"""JSON to events."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from duckalog.document.events import Data, Event
from duckalog.errors import ConfigError, Origin, Problem

_JSON_TOKEN = re.compile(
    r'(?P<string>"[^"\\]*(?:\\.[^"\\]*)*")|(?P<open>[\[{])|(?P<close>[\]}])'
    r'|(?P<other>[^\s,:\[\]{}"]+)|\n'
)


def json_events(text: str, file: str) -> Iterator[Event]:
    """Yield the events of a JSON text, which `json` has found valid before."""
    if not text.strip():
        return
    problem = _refusal_of(text, file)
    if problem:
        raise ConfigError(problem)
    line = 1
    for token in _JSON_TOKEN.finditer(text):
        if token.lastgroup is None:
            line += 1
        elif token.lastgroup == "open":
            yield Event(token.group(), line)
        elif token.lastgroup == "close":
            yield Event("end", line)
        else:
            yield Event("value", line, _plain(token.group(), Origin(file, line)))


def _plain(token: str, origin: Origin) -> Data:
    try:
        return _DECODER.decode(token)
    except OverflowError:
        problem = Problem(origin, "NaN and Infinity are not JSON", 'Write "NaN" or "Infinity".')
    except ValueError:
        problem = Problem(origin, "the number has too many digits")
    raise ConfigError(problem)


def _refuse(_constant: str) -> None:
    raise OverflowError


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _refusal_of(text: str, file: str) -> Problem | None:
    """Return why a text is not JSON; Python's own error, which holds the text, is let go."""

    try:
        json.loads(text, parse_int=len)
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at").removesuffix(" starting")
        message = f"this is not JSON: {what[:1].lower()}{what[1:]}"
        return Problem(Origin(file, error.lineno), message)
    except RecursionError:
        return Problem(Origin(file), "nested too deeply")
    return None
