"""The option `--update-golden`: pytest rewrites what the golden cases expect."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the expected files of tests/golden with what is said now",
    )
