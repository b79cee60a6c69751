"""Dagster's own APIs that still warn as beta, used here so that users are not warned."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dagster import (
    AssetsDefinition,
    AssetSpec,
    BetaWarning,
    CodeReferencesMetadataValue,
    LocalFileCodeReference,
    multi_observable_source_asset,
)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BetaWarning)
        yield


def code_reference(file: str, line: int, label: str) -> CodeReferencesMetadataValue:
    """Return the link to a line of a file."""
    with _without_warnings():
        reference = LocalFileCodeReference(file_path=file, line_number=line or None, label=label)
        return CodeReferencesMetadataValue(code_references=[reference])


def multi_observable(
    specs: Sequence[AssetSpec], name: str, resource_key: str
) -> Callable[[Callable[..., Any]], AssetsDefinition]:
    """Return the decorator of one op that observes several assets."""
    with _without_warnings():
        decorate: Callable[[Callable[..., Any]], AssetsDefinition] = multi_observable_source_asset(
            specs=specs, name=name, can_subset=True, required_resource_keys={resource_key}
        )
    return decorate
