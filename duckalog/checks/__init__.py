"""Checks, one file for one kind of claim; a new type is one line in `CHECK_TYPES`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from duckalog.checks.columns import SchemaCheck
from duckalog.checks.queries import AnswersCheck, SqlCheck
from duckalog.checks.rows import (
    AcceptedValuesCheck,
    ExpressionCheck,
    NotNullCheck,
    RelationshipsCheck,
    as_stated,
)
from duckalog.checks.whole import FreshnessCheck, RowCountCheck, UniqueCheck
from duckalog.decode import chosen_by
from duckalog.document import Data
from duckalog.entry import Check
from duckalog.errors import Problem

CHECK_TYPES: dict[str, type[Check]] = {
    "answers": AnswersCheck,
    "row_count": RowCountCheck,
    "not_null": NotNullCheck,
    "unique": UniqueCheck,
    "accepted_values": AcceptedValuesCheck,
    "relationships": RelationshipsCheck,
    "expression": ExpressionCheck,
    "freshness": FreshnessCheck,
    "schema": SchemaCheck,
    "sql": SqlCheck,
}

_LONGEST = 60
_NOT_CHECKED = ("origin", "name", "description", "severity", "sql_file", "target")
"""Fields that do not say what is checked."""


def check_type(data: Mapping[str, Data]) -> type[Check] | Problem:
    """Return the struct for a check's `type`, or what is wrong with it."""
    return chosen_by("type", CHECK_TYPES, "type", data)


def names_of(checks: Sequence[Check]) -> list[str]:
    """Return a name for each check of a view: the stated one, or one made of what it checks.

    Names are letters, digits and underscores. Made ones depend on the check
    alone, not on its place; only checks that say the same have the same.
    """
    plain = [check.name or _plain_name(check) for check in checks]
    seen = Counter(name.lower() for name in plain)
    return [
        name
        if check.name or (seen[name.lower()] == 1 and _is_exact(check))
        else _with_digest(check)
        for check, name in zip(checks, plain, strict=True)
    ]


def _plain_name(check: Check) -> str:
    words = re.findall(r"[A-Za-z0-9]+", " ".join((check.kind, *check.about)))
    return "_".join(words)[:_LONGEST].rstrip("_")


def _is_exact(check: Check) -> bool:
    """Say whether the name alone tells what is checked."""
    return all(re.fullmatch(r"\w+", word, re.ASCII) for word in check.about)


def _with_digest(check: Check) -> str:
    import hashlib  # it loads OpenSSL, and few checks ask

    fields = {
        name: as_stated(value)
        for name, value in msgspec.structs.asdict(check).items()
        if name not in _NOT_CHECKED
    }
    text = repr([check.kind, *sorted(fields.items())])
    return f"{_plain_name(check)}_{hashlib.sha256(text.encode()).hexdigest()[:6]}"
