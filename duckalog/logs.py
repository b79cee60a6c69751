"""Logging for programs that have not set it up themselves."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime, timezone


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as JSON; the time is UTC."""
        return json_line(record.levelname, record.name, record.getMessage(), record.created)


def json_line(level: str, logger: str, message: str, seconds: float, **fields: object) -> str:
    """Return what is logged as JSON, with further `fields`; `seconds` is the time since 1970."""
    time = datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
    line = {"time": time, "level": level.lower(), "logger": logger, "message": message, **fields}
    return json.dumps(line, ensure_ascii=False)


def verbose_logging(enabled: bool) -> contextlib.AbstractContextManager[None]:
    """Send duckalog's log to standard error, statements included, while the block runs."""
    return logging_to_stderr("debug") if enabled else contextlib.nullcontext()


@contextlib.contextmanager
def logging_to_stderr(level: str, *, as_json: bool = False) -> Iterator[None]:
    """Send duckalog's log, from `level` upwards, to standard error while the block runs."""
    logger = logging.getLogger("duckalog")
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if as_json else text)
    level_before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level_before)
