"""What a config is told by environment variables: `PG_HOST`, `PG_PORT` and so on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from duckalog.environment import Secret
from duckalog.errors import NOWHERE, Problem, Problems
from duckalog.postgres.parameters import raise_all
from duckalog.postgres.simulation import SimulationMode


def arguments_of(environment: Mapping[str, str], stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that variables give, besides those stated; raises ConfigError.

    The error has every variable that is missing or wrong.
    """
    problems = Problems()
    mode = stated.get("simulation", environment.get("PG_SIMULATION_MODE"))
    for name, key in _REQUIRED.items() if mode != SimulationMode.REPLAY else ():
        if not environment.get(name) and key not in stated and not _is_provided(key, stated):
            remedy = f'Export it, or state "{key}".'
            problems.append(Problem(NOWHERE, f"{name}: the variable is not set", remedy))
    arguments: dict[str, Any] = {}
    for name, (key, read) in _VARIABLES.items():
        if environment.get(name):
            try:
                arguments[key] = read(environment[name])
            except ValueError as error:
                problems.append(Problem(NOWHERE, f"{name}: {error}"))
    raise_all(problems)
    return arguments


def _is_provided(key: str, stated: Mapping[str, Any]) -> bool:
    return key in ("username", "password") and stated.get("credentials") is not None


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)?\Z")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, None: 1.0}


def duration(text: str) -> float:
    """Return the seconds of `30`, `30s`, `500ms`, `2m` or `1h`; raises ValueError."""
    match = _DURATION.match(text.strip())
    if not match:
        raise ValueError("expected a time, 30s or 500ms say")
    return float(match[1]) * _UNITS[match[2]]


def whole_number(text: str) -> int:
    """Return a number in digits; raises ValueError."""
    if not text.strip().isdigit():
        raise ValueError("expected a whole number")
    return int(text)


def yes_or_no(text: str) -> bool:
    """Return what `true` or `false` says, or 1 or 0; raises ValueError."""
    found = {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower())
    if found is None:
        raise ValueError("expected true or false")
    return found


def comma_separated(text: str) -> list[str]:
    """Return the parts between commas, without blanks."""
    return [one.strip() for one in text.split(",") if one.strip()]


_REQUIRED = {
    "PG_HOST": "host",
    "PG_DATABASE": "database",
    "PG_USERNAME": "username",
    "PG_PASSWORD": "password",
}
OF_THE_POOL = ("min_size", "max_size", "acquire_timeout_s")
_VARIABLES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    **{name: (key, str) for name, key in _REQUIRED.items() if key != "password"},
    "PG_PASSWORD": ("password", Secret),
    "PG_PORT": ("port", whole_number),
    "PG_SSLMODE": ("ssl_mode", str),
    "PG_SSLCERT": ("ssl_cert", str),
    "PG_SSLKEY": ("ssl_key", str),
    "PG_SSLROOTCERT": ("ssl_root_cert", str),
    "PG_POOL_MIN": ("min_size", whole_number),
    "PG_POOL_MAX": ("max_size", whole_number),
    "PG_ACQUIRE_TIMEOUT": ("acquire_timeout_s", duration),
    "PG_QUERY_TIMEOUT": ("query_timeout_s", duration),
    "PG_REPLICA_HOSTS": ("replicas", comma_separated),
    "PG_REQUIRE_TLS": ("require_tls", yes_or_no),
    "PG_SLOW_STATEMENT": ("slow_statement_s", duration),
    "PG_SIMULATION_MODE": ("simulation", str),
    "PG_SIMULATION_FILE": ("simulation_file", str),
}
