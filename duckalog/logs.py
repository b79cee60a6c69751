"""Logging for programs that have not set it up themselves."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def verbose_logging(enabled: bool) -> Iterator[None]:
    """Send duckalog's log to standard error, statements included, while the block runs."""
    if not enabled:
        yield
        return
    logger = logging.getLogger("duckalog")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
