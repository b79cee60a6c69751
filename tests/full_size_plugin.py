"""The option `--full-size`: tests that CI runs smaller run as large as they are meant."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full-size",
        action="store_true",
        help="200 kills of each kind of build, 20 readers beside 20 swaps (some minutes)",
    )


@pytest.fixture(scope="session")
def is_full_size(request: pytest.FixtureRequest) -> bool:
    """Say whether the tests run as large as they are meant."""
    return bool(request.config.getoption("--full-size"))
