"""Who the client logs in as: passwords that come from somewhere, and change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from duckalog.environment import Secret, read_environment
from duckalog.errors import ConfigError

RDS_LIFETIME_S = 900.0
"""How long RDS takes a token (AWS documentation of IAM database authentication)."""


@dataclass(frozen=True)
class Credentials:
    """A user's password; `expires_at` is of `time.monotonic()`, None for never."""

    password: Secret
    username: str | None = None
    expires_at: float | None = None


class CredentialProvider(Protocol):
    """Asked before each new connection; it may block, in a thread of its own."""

    def credentials(self, parameters: Mapping[str, str]) -> Credentials:
        """Return the credentials for the server that libpq's `parameters` lead to."""


class EnvironmentCredentials:
    """Credentials that the environment holds at the time of each connection."""

    def __init__(self, username: str = "PG_USERNAME", password: str = "PG_PASSWORD") -> None:
        self._names = (username, password)

    def credentials(self, parameters: Mapping[str, str]) -> Credentials:  # noqa: ARG002
        """Return what the variables hold now; raises ConfigError where one is not set."""
        environment = read_environment()
        for name in self._names:
            if not environment.get(name):
                raise ConfigError(f"{name}: the variable is not set", "Export it.")
        username, password = (environment[name] for name in self._names)
        return Credentials(Secret(password), username)

    def __repr__(self) -> str:
        return f"EnvironmentCredentials({', '.join(self._names)})"


class CallableCredentials:
    """Credentials that a function returns: a password, or Credentials."""

    def __init__(self, function: Callable[[], str | Credentials]) -> None:
        self._function = function

    def credentials(self, parameters: Mapping[str, str]) -> Credentials:  # noqa: ARG002
        """Return what the function returns."""
        found = self._function()
        return found if isinstance(found, Credentials) else Credentials(Secret(found))


class RdsIamCredentials:
    """Tokens of AWS RDS in place of a password; needs the package boto3.

    `session` is a boto3 Session; the default takes the machine's credentials.
    """

    def __init__(self, region: str, session: Any = None) -> None:
        self._region = region
        self._session = session

    def credentials(self, parameters: Mapping[str, str]) -> Credentials:
        """Return a new token, which is signed here: AWS is not asked."""
        if self._session is None:
            try:
                import boto3
            except ImportError:
                remedy = "pip install boto3"
                raise ConfigError("RDS tokens need the package boto3", remedy) from None
            self._session = boto3.Session()
        token = self._session.client("rds", region_name=self._region).generate_db_auth_token(
            DBHostname=parameters.get("host", ""),
            Port=int(parameters.get("port", "5432")),
            DBUsername=parameters.get("user", ""),
        )
        return Credentials(Secret(token), expires_at=time.monotonic() + RDS_LIFETIME_S)


class CachedCredentials:
    """Another provider's credentials, asked for again `margin_s` before they expire."""

    def __init__(self, provider: CredentialProvider, margin_s: float = 60.0) -> None:
        self._provider = provider
        self._margin_s = margin_s
        self._lock = threading.Lock()
        self._known: dict[tuple[tuple[str, str], ...], Credentials] = {}

    def credentials(self, parameters: Mapping[str, str]) -> Credentials:
        """Return credentials that are good for at least the margin."""
        key = tuple(sorted(parameters.items()))
        with self._lock:
            kept = self._known
            known = kept.get(key)
            if known is None or (
                known.expires_at is not None
                and time.monotonic() >= known.expires_at - self._margin_s
            ):
                known = kept[key] = self._provider.credentials(parameters)
            return replace(known)

    def forget(self) -> None:
        """Ask anew the next time: the password was rotated."""
        self._known = {}  # what somebody is asking for now is kept nowhere
