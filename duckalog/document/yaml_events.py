"""YAML to events."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from duckalog.document.events import Event
from duckalog.errors import ConfigError, Origin, Problem, shown

_STANDARD_TAGS = "tag:yaml.org,2002:"
_RESOLVERS: dict[str, list[tuple[str, re.Pattern[str]]]] = yaml.SafeLoader.yaml_implicit_resolvers
MAX_DIGITS = 500
"""Characters of a number. YAML 1.1 reads 1:59:59 in base sixty, which is slow for a long one."""
_OPENING = {yaml.MappingStartEvent: ("{", "map"), yaml.SequenceStartEvent: ("[", "seq")}
_CLOSING = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
_PLAIN_TEXT_TAGS = {_STANDARD_TAGS + kind for kind in ("str", "timestamp", "value")}


def yaml_events(text: str, file: str) -> Iterator[Event]:
    """Yield the events of a YAML text.

    Events, not nodes: libyaml's composer recurses in C, and a deep document
    would end the process (PyYAML 6.0.3).
    """
    documents = 0
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        while (kind := type(event := loader.get_event())) is not yaml.StreamEndEvent:
            line = event.start_mark.line + 1
            if kind is yaml.ScalarEvent:
                yield _yaml_scalar(event, line, file)
            elif opening := _OPENING.get(kind):
                bracket, tag = opening
                _refuse_tag(event.tag, tag, line, file)
                yield Event(bracket, line, anchor=event.anchor)
            elif kind in _CLOSING:
                yield Event("end", line)
            elif kind is yaml.AliasEvent:
                yield Event("alias", line, anchor=event.anchor)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    raise ConfigError(
                        Problem(
                            Origin(file, line),
                            "a second YAML document starts here; a config is one",
                            "Remove the line ---, or put the rest in a file under imports.",
                        )
                    )
        return
    except yaml.MarkedYAMLError as error:
        yaml_mark = error.problem_mark or error.context_mark
        line = yaml_mark.line + 1 if yaml_mark else 0
        what = " ".join(part for part in (error.context, error.problem) if part)
        problem = Problem(
            Origin(file, line), f"this is not YAML: {what}", _way_out(text, yaml_mark)
        )
    except yaml.YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0) or 0) + 1
        reason = getattr(error, "reason", None) or str(error).splitlines()[0]
        problem = Problem(Origin(file, line), f"this is not YAML: {reason}")
    except RecursionError:
        problem = Problem(Origin(file), "this YAML is nested too deeply")
    raise ConfigError(problem)


def _way_out(text: str, mark: Any) -> str:
    """Return how to mend what libyaml refuses at a mark, for what people write most."""
    lines = text.splitlines()
    if mark is None or mark.line >= len(lines):
        return ""
    line = lines[mark.line]
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "Indent with spaces: YAML takes no tabs."
    if re.search(r"(?:^|[\s\[{,:])[*@`%&|>!]", line[: mark.column + 1]) or line.count(": ") > 1:
        return (
            "A text that begins with a special character, or has a colon in it, stands in quotes."
        )
    return ""


def _yaml_scalar(event: Any, line: int, file: str) -> Event:
    """Return the event of a plain value, read as its tag or its looks say."""
    value: str = event.value
    tag = event.tag
    if tag is None or tag == "!":
        tag = _STANDARD_TAGS + "str"
        if event.implicit[0]:
            for candidate, pattern in _RESOLVERS.get(value[:1], ()):
                if pattern.match(value):
                    tag = candidate
                    break
    if tag in _PLAIN_TEXT_TAGS:
        return Event("value", line, value, event.anchor)
    if tag == _STANDARD_TAGS + "merge":
        return Event("value", line, value, event.anchor, is_merge=True)
    kind = tag.removeprefix(_STANDARD_TAGS)
    if kind not in ("int", "float", "bool", "null"):
        _refuse_tag(tag, "", line, file)
    node = yaml.ScalarNode(tag, value)
    try:
        if len(value) > MAX_DIGITS:
            raise ValueError("too long")
        plain = getattr(_CONSTRUCTOR, f"construct_yaml_{kind}")(node)
        return Event("value", line, plain, event.anchor)
    except (ValueError, KeyError, IndexError, OverflowError):
        problem = Problem(Origin(file, line), f"this is not a value of the YAML type {kind}")
    raise ConfigError(problem)


_CONSTRUCTOR = yaml.constructor.SafeConstructor()


def _refuse_tag(tag: str | None, kind: str, line: int, file: str) -> None:
    if tag is None or tag in ("!", _STANDARD_TAGS + kind):
        return
    name = tag.replace(_STANDARD_TAGS, "!!")
    raise ConfigError(
        Problem(Origin(file, line), f'the YAML tag "{shown(name)}" means nothing here')
    )
