"""Environment variables in a document: `${env:NAME}` and `${env:NAME:default}`.

For configs the environment is read here only: after parsing, before validation.
What it filled in is remembered, so that everything shown later can be redacted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from duckalog.environment.credentials import Secret, credentials_in_urls, with_hidden_credentials
from duckalog.environment.filling import Lenient, Use, fill, fill_text, redactor_for, texts_in
from duckalog.environment.placeholders import (
    PLACEHOLDER,
    Filled,
    escaped,
    is_filled,
    is_unfilled,
    names_a_credential,
    shell_expression,
    variables_in,
)
from duckalog.errors import ConfigError, Origin, Problem

__all__ = [
    "PLACEHOLDER",
    "Filled",
    "Lenient",
    "Secret",
    "Use",
    "credentials_in_urls",
    "escaped",
    "fill",
    "fill_text",
    "is_filled",
    "is_unfilled",
    "names_a_credential",
    "read_environment",
    "redactor_for",
    "shell_expression",
    "texts_in",
    "variables_in",
    "with_hidden_credentials",
]


def read_environment(env_file: str | os.PathLike[str] | None = None) -> Mapping[str, str]:
    """Return the process's environment, and below it the variables of `env_file`.

    Nothing is written to the process's environment. Raises ConfigError where
    the file cannot be read.
    """
    if env_file is None:
        return os.environ
    from dotenv.parser import parse_stream

    file = os.path.abspath(os.fspath(env_file))
    try:
        with open(file, encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
    else:
        broken = [binding.original.line for binding in bindings if binding.error]
        if not broken:
            stated = {one.key: one.value or "" for one in bindings if one.key is not None}
            return {**stated, **os.environ}
        remedy = "Write NAME=value, the value in quotes if it has spaces or quotes."
        raise ConfigError(
            Problem(Origin(file, line), "this line is not NAME=value", remedy) for line in broken
        )
    # Outside of the handler: Python's own error holds the whole text.
    raise ConfigError(Problem(Origin(file), f"the env file cannot be read: {reason}"))
