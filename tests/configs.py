"""Configs that are loaded, or refused, from a text: fixtures of the tests of the format."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pytest

from duckalog.config import Config
from duckalog.errors import ConfigError
from duckalog.load import load_config
from duckalog.plan import plan
from tests.conftest import WriteConfig


def config_of(*views: Any) -> Config:
    return Config(version=1, views=views)


class Load(Protocol):
    """Loads a config whose first line is its version, in an environment of its own."""

    def __call__(self, text: str, **environment: str) -> Config: ...


class Refused(Protocol):
    """Returns what is told about a config: `file:line: keys: message`, remedies left out."""

    def __call__(self, text: str, **environment: str) -> list[str]: ...


@pytest.fixture
def load(write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Load:
    monkeypatch.chdir(tmp_path)

    def loaded(text: str, **environment: str) -> Config:
        return load_config(write_config(f"version: 1\n{text}"), environment=environment)

    return loaded


@pytest.fixture
def refused(load: Load) -> Refused:
    def told(text: str, **environment: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, **environment)
        return [str(problem).splitlines()[0] for problem in caught.value.problems]

    return told


def remedies_of(load: Load, text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, **environment)
    return [problem.remedy for problem in caught.value.problems]


def session_of(config: Config) -> list[str]:
    """Return the session half as scripts show it."""
    return [one.script for step in plan(config).session for one in step.statements]
