"""What a view's `meta.dagster` may say of its asset."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from dagster import AssetKey

Key = str | list[str]


class ViewMeta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a config says of a view's asset in place of what the translator makes of it.

    Keys are text with slashes between their parts, or lists of the parts.
    """

    asset_key: Key | None = None
    deps: str | list[Key] | None = None
    group: str | None = None
    owners: str | list[str] | None = None
    tags: dict[str, str | int | float | bool | None] | list[str] | None = None
    automation: str | dict[str, str] | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def key(self) -> AssetKey | None:
        """The key that is stated, or None."""
        return _key(self.asset_key) if self.asset_key else None

    @property
    def keys_of_deps(self) -> list[AssetKey]:
        """The keys of what else the view needs."""
        deps = [self.deps] if isinstance(self.deps, str) else self.deps or ()
        return [_key(one) for one in deps]


NOTHING = ViewMeta()

_WORDS = {
    "Expected": "expected",
    "Object": "the map",
    "array": "list",
    "object": "map",
    "str": "text",
    "int": "number",
    "field": "key",
}
"""The words of YAML for those of JSON."""


def view_meta(stated: Mapping[str, Any]) -> ViewMeta:
    """Return what the `meta` of a view says under `dagster`.

    Raises ValueError with the place in it for what Dagster cannot be told.
    """
    if stated.get("dagster") is None:
        return NOTHING
    try:
        return msgspec.convert(stated["dagster"], ViewMeta)
    except msgspec.ValidationError as error:
        what, _, where = str(error).replace(" | null", "").partition(" - at `$")
        words = re.sub(r"\w+", lambda word: _WORDS.get(word[0], word[0]), what).replace("`", '"')
        message = f"meta.dagster{where.rstrip('`')}: {words}"
        if "unknown" in what:
            message += f"; known are {', '.join(ViewMeta.__struct_fields__)}"
        raise ValueError(message) from None


def _key(stated: Key) -> AssetKey:
    parts = stated.split("/") if isinstance(stated, str) else stated
    for part in parts:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", part):
            raise ValueError(
                f'meta.dagster: the key "{"/".join(parts)}" has other characters than letters,'
                " digits, underscores, hyphens and dots between its slashes"
            )
    return AssetKey(parts)
