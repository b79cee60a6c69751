"""Parameters of connections as a config states them: read, and checked field by field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from ipaddress import ip_address
from typing import Any

from duckalog.errors import NOWHERE, ConfigError, Problem, Problems, nearest, sentences
from duckalog.libpq import DEFAULT_PORT, MAX_PORT, OPTIONS, SECRETS

OWN_NAMES = ("host", "port", "dbname", "user", "sslmode")


class SslMode(str, Enum):
    """How far a connection is encrypted, and its server verified."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


def parsed(conninfo: str, problems: Problems, name: str = "conninfo") -> dict[str, Any]:
    """Return the parameters of a connection string, which libpq reads."""
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    try:
        return dict(conninfo_to_dict(conninfo))
    except Error as error:
        # What libpq quotes may be a piece of the password.
        reason = str(error).partition('"')[0].strip().rstrip(":")
        remedy = "Write postgresql://user:password@host:port/database, or key=value with blanks."
        driver = re.match(r"postgres\w*(\+\w+)://", conninfo)
        if driver:  # as in SQLAlchemy's
            reason, remedy = "the URL names a driver", f"Leave {driver[1]} out."
        problem(problems, name, f"libpq cannot read it: {reason}", remedy)
        return {}


def replica(
    text: str, number: int, problems: Problems, primary: Mapping[str, Any], require_tls: bool
) -> dict[str, Any]:
    """Return the parameters of a replica: those that it states, else the primary's."""
    field_name = f"replicas[{number}]"
    simple = _HOST_AND_PORT.match(text)
    own: dict[str, Any] = {}
    if simple:
        own = {"host": simple[1], "port": simple[2] or str(DEFAULT_PORT)}
    else:
        own = parsed(text, problems, field_name)
    if not own.get("host"):
        problem(problems, field_name, "it has no host", "Write host, host:port or a URL.")
    elif "port" not in own:
        own["port"] = str(DEFAULT_PORT)
    own = {**{key: one for key, one in primary.items() if key not in _OF_ONE_SERVER}, **own}
    check_parameters(problems, own, f"{field_name}.")
    if require_tls:
        check_tls(problems, own, f"{field_name}.")
    return own


_HOST_AND_PORT = re.compile(r"([^\s:/=@?,]+|/[^\s:=@?,]*)(?::(\d+))?\Z")
_OF_ONE_SERVER = ("host", "hostaddr", "port", "target_session_attrs", "load_balance_hosts")


def hosts_of(parameters: Mapping[str, Any]) -> list[str]:
    """Return the hosts' names, empty where there are only addresses."""
    addresses = str(parameters.get("hostaddr") or "").split(",")
    return str(parameters.get("host") or "," * (len(addresses) - 1)).split(",")


def check_option(problems: Problems, name: str) -> None:
    """Note what is wrong with the name of a further parameter of libpq's."""
    if name in SECRETS:
        problem(problems, f"options.{name}", "everyone can read these options", "Use password.")
    elif name in OWN_NAMES:
        problem(problems, f"options.{name}", "this has an argument of its own")
    elif name not in OPTIONS:
        known = f"parameters that libpq knows: {', '.join(sorted(OPTIONS))}"
        remedy = sentences(nearest(name, OPTIONS) or known)
        problem(problems, f"options.{name}", "libpq has no such parameter", remedy)


def check_parameters(problems: Problems, parameters: Mapping[str, Any], prefix: str = "") -> None:
    """Note what is wrong with parameters; `prefix` comes before the names of their fields."""
    mode = parameters.get("sslmode")
    if mode is not None and mode not in [one.value for one in SslMode]:
        known = ", ".join(one.value for one in SslMode)
        problem(problems, f"{prefix}ssl_mode", f'there is no mode "{mode}"', f"Modes: {known}.")
    ports = str(parameters.get("port", DEFAULT_PORT)).split(",")
    for port in ports:
        if port and not (port.isdigit() and 1 <= int(port) <= MAX_PORT):
            problem(problems, f"{prefix}port", f"expected a port from 1 to {MAX_PORT}, got {port}")
    hosts = hosts_of(parameters)
    addresses = str(parameters.get("hostaddr") or "").split(",")
    if addresses != [""] and len(addresses) != len(hosts):
        message = f"there are {len(addresses)} addresses for {len(hosts)} hosts"
        problem(problems, f"{prefix}hostaddr", message)
    if len(ports) not in (1, len(hosts)):
        problem(problems, f"{prefix}port", f"there are {len(ports)} ports for {len(hosts)} hosts")
    encoding = str(parameters.get("client_encoding", "utf8"))
    if encoding.lower().replace("-", "") not in ("utf8", "unicode"):
        problem(problems, f"{prefix}options.client_encoding", "the client speaks UTF-8 only")
    for name, value in parameters.items():
        if isinstance(value, str) and "\0" in value:
            problem(problems, f"{prefix}{name}", "text cannot contain NUL")


def check_tls(problems: Problems, parameters: Mapping[str, Any], prefix: str = "") -> None:
    """Note where a link to another machine may be in clear."""
    mode = str(parameters.get("sslmode", SslMode.PREFER.value))
    names = str(parameters.get("hostaddr") or parameters.get("host", "")).split(",")
    remote = [name for name in names if not is_local(name)]
    if remote and mode in (SslMode.DISABLE.value, SslMode.ALLOW.value, SslMode.PREFER.value):
        problem(
            problems,
            f"{prefix}ssl_mode",
            f'"{mode}" lets the link to {remote[0]} be in clear, and require_tls is set',
            "Set it to verify-full, with ssl_root_cert, or at least to require.",
        )


def is_local(host: str) -> bool:
    """Say whether a host, as libpq takes it, is this machine: nobody listens on the way there."""
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_number(
    problems: Problems,
    name: str,
    value: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    whole: bool = False,
) -> None:
    """Note where a field is no number within its bounds."""
    kind = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        problem(problems, name, f"expected {kind}, got {type(value).__name__}")
    elif least is not None and not value >= least:
        problem(problems, name, f"expected at least {least}, got {value}")
    elif above is not None and not value > above:
        problem(problems, name, f"expected more than {above}, got {value}")
    elif most is not None and not value <= most:
        problem(problems, name, f"expected at most {most}, got {value}")


def problem(problems: Problems, name: str, message: str, remedy: str = "") -> None:
    """Note what is wrong with a field."""
    problems.append(Problem(NOWHERE, f"{name}: {message}", remedy))


def raise_all(problems: Problems) -> None:
    """Raise ConfigError if there is any problem."""
    if problems:
        raise ConfigError(problems)
