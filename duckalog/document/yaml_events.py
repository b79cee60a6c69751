"""YAML to events."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from duckalog.document.events import Event, Position
from duckalog.errors import ConfigError, Origin, Problem, shown

_STANDARD_TAGS = "tag:yaml.org,2002:"
_RESOLVERS: dict[str, list[tuple[str, re.Pattern[str]]]] = yaml.SafeLoader.yaml_implicit_resolvers
MAX_DIGITS = 500
"""Characters of a number. YAML 1.1 reads 1:59:59 in base sixty, which is slow for a long one."""
_PLAIN_TEXT_TAGS = {_STANDARD_TAGS + kind for kind in ("str", "timestamp", "value")}


def yaml_events(text: str, file: str) -> Iterator[Event]:
    """Yield the events of a YAML text.

    Events, not nodes: libyaml's composer recurses in C, and a deep document
    would end the process (PyYAML 6.0.3).
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            mark = event.start_mark
            assert mark is not None
            position = (mark.line + 1, mark.column + 1)
            if isinstance(event, yaml.ScalarEvent):
                yield _yaml_scalar(event, position, file)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                is_map = isinstance(event, yaml.MappingStartEvent)
                _refuse_tag(event.tag, "map" if is_map else "seq", position, file)
                yield Event("{" if is_map else "[", position, anchor=event.anchor)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                yield Event("end", position)
            elif isinstance(event, yaml.AliasEvent):
                yield Event("alias", position, anchor=event.anchor)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise ConfigError(
                        Problem(
                            Origin(file, position[0]),
                            "a second YAML document starts here; a config is one",
                            "Remove the line ---, or put the rest in a file under imports.",
                        )
                    )
        return
    except yaml.MarkedYAMLError as error:
        yaml_mark = error.problem_mark or error.context_mark
        line = yaml_mark.line + 1 if yaml_mark else 0
        what = " ".join(part for part in (error.context, error.problem) if part)
        problem = Problem(Origin(file, line), f"this is not YAML: {what}")
    except yaml.YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0) or 0) + 1
        reason = getattr(error, "reason", None) or str(error).splitlines()[0]
        problem = Problem(Origin(file, line), f"this is not YAML: {reason}")
    except RecursionError:
        problem = Problem(Origin(file), "this YAML is nested too deeply")
    raise ConfigError(problem)


def _yaml_scalar(event: Any, position: Position, file: str) -> Event:
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
        return Event("value", position, value, event.anchor)
    if tag == _STANDARD_TAGS + "merge":
        return Event("value", position, value, event.anchor, is_merge=True)
    kind = tag.removeprefix(_STANDARD_TAGS)
    if kind not in ("int", "float", "bool", "null"):
        _refuse_tag(tag, "", position, file)
    node = yaml.ScalarNode(tag, value)
    try:
        if len(value) > MAX_DIGITS:
            raise ValueError("too long")
        plain = getattr(_CONSTRUCTOR, f"construct_yaml_{kind}")(node)
        return Event("value", position, plain, event.anchor)
    except (ValueError, KeyError, IndexError, OverflowError):
        problem = Problem(Origin(file, position[0]), f"this is not a value of the YAML type {kind}")
    raise ConfigError(problem)


_CONSTRUCTOR = yaml.constructor.SafeConstructor()


def _refuse_tag(tag: str | None, kind: str, position: Position, file: str) -> None:
    if tag is None or tag in ("!", _STANDARD_TAGS + kind):
        return
    name = tag.replace(_STANDARD_TAGS, "!!")
    raise ConfigError(
        Problem(Origin(file, position[0]), f'the YAML tag "{shown(name)}" means nothing here')
    )
