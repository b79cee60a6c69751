"""What a client is told: servers, credentials, pools and limits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from random import uniform
from typing import Any

from duckalog.environment import Secret, read_environment
from duckalog.errors import Problems
from duckalog.libpq import CONNECT_TIMEOUT_S, DEFAULT_PORT, SECRETS
from duckalog.postgres.credentials import CredentialProvider
from duckalog.postgres.hooks import Hook
from duckalog.postgres.masking import Mask, parts_of
from duckalog.postgres.observing import Observing
from duckalog.postgres.parameters import (
    SslMode,
    check_number,
    check_option,
    check_parameters,
    check_tls,
    hosts_of,
    parsed,
    problem,
    raise_all,
    replica,
)
from duckalog.postgres.redaction import Redact
from duckalog.postgres.routing import RoutingPolicy
from duckalog.postgres.simulation import Simulation, SimulationMode, problems_of, simulation_of
from duckalog.postgres.variables import OF_THE_POOL, arguments_of

DEFAULT_APPLICATION = "duckalog"
MAX_CONNECTIONS = 10_000


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """The size of a pool, and how long its connections live."""

    min_size: int = 5
    max_size: int = 20
    acquire_timeout_s: float = 30.0
    idle_timeout_s: float = 600.0
    max_lifetime_s: float = 3600.0
    health_check_interval_s: float = 30.0

    def __post_init__(self) -> None:
        problems = Problems()
        check_number(problems, "min_size", self.min_size, least=0, whole=True)
        check_number(problems, "max_size", self.max_size, least=1, most=MAX_CONNECTIONS, whole=True)
        for one in fields(self)[2:]:
            check_number(problems, one.name, getattr(self, one.name), above=0)
        if not problems and self.min_size > self.max_size:
            problem(problems, "min_size", f"{self.min_size} is more than max_size {self.max_size}")
        raise_all(problems)


@dataclass(frozen=True, kw_only=True)
class RetryConfig:
    """How often something that may pass is tried, and how long is waited between."""

    attempts: int = 3
    first_delay_s: float = 0.1
    max_delay_s: float = 2.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        problems = Problems()
        check_number(problems, "attempts", self.attempts, least=1, whole=True)
        for name in ("first_delay_s", "max_delay_s"):
            check_number(problems, name, getattr(self, name), least=0)
        check_number(problems, "jitter", self.jitter, least=0, most=1)
        raise_all(problems)

    def delays(self) -> Iterator[float]:
        """Yield the seconds to wait before each further attempt: doubling, and never alike."""
        for number in range(self.attempts - 1):
            delay = min(self.max_delay_s, self.first_delay_s * 2**number)
            yield delay * uniform(1 - self.jitter, 1 + self.jitter)


@dataclass(frozen=True, init=False)
class PgConfig:
    """What a client needs to know; the password is in no text of it.

    `parameters` are libpq's, without passwords.
    """

    parameters: Mapping[str, str]
    secrets: Mapping[str, Secret] = field(repr=False)
    pool: PoolConfig
    retry: RetryConfig
    query_timeout_s: float | None
    prepare_threshold: int | None
    credentials: CredentialProvider | None
    replicas: tuple[PgConfig, ...]
    routing_policy: RoutingPolicy
    read_your_writes: bool
    lag_check_interval_s: float
    require_tls: bool
    masks: Mapping[str, Mask]
    hooks: tuple[Hook, ...]
    slow_statement_s: float | None
    observing: Observing = field(repr=False, compare=False)
    simulation: Simulation

    def __init__(
        self,
        conninfo: str = "",
        *,
        host: str | None = None,
        port: int | str | None = None,
        database: str | None = None,
        username: str | None = None,
        password: Any = None,
        ssl_mode: SslMode | str | None = None,
        ssl_cert: str | None = None,
        ssl_key: str | None = None,
        ssl_root_cert: str | None = None,
        connect_timeout_s: float | None = None,
        application_name: str | None = None,
        options: Mapping[str, str | int] | None = None,
        pool: PoolConfig | None = None,
        retry: RetryConfig | None = None,
        query_timeout_s: float | None = 30.0,
        prepare_threshold: int | None = 5,
        credentials: CredentialProvider | None = None,
        replicas: Sequence[str] = (),
        routing_policy: RoutingPolicy | str = RoutingPolicy.ROUND_ROBIN,
        read_your_writes: bool = True,
        lag_check_interval_s: float = 1.0,
        require_tls: bool = False,
        masks: Mapping[str, Mask] | None = None,
        hooks: Sequence[Hook] = (),
        slow_statement_s: float | None = None,
        simulation: SimulationMode | str = SimulationMode.OFF,
        simulation_file: str | os.PathLike[str] | None = None,
        simulation_redact: Redact = (),
    ) -> None:
        """Take a URL or libpq's `key=value`, and arguments that have the last word.

        Several hosts and ports are separated by commas; a host that starts with
        a slash is the folder of a Unix socket. `options` are further parameters
        of libpq. A `password` is text, or has `get_secret_value()`. `replicas`
        are connection strings, or `host` or `host:port`; what they do not state
        is as for the primary. With `require_tls`, an `ssl_mode` of at least
        `require` has to be stated for every server that is not on this machine.
        `masks` say what is shown in place of a column's values, `hooks` hear of
        all that is done, and statements that take longer than
        `slow_statement_s` are logged as a warning. `simulation_redact` are
        names of columns whose values are not recorded, or a function of a name
        and a value that returns what is. Raises ConfigError with every problem,
        each with the name of its field.
        """
        problems = Problems()
        parameters = parsed(conninfo, problems)
        stated = {
            "host": host,
            "port": port,
            "dbname": database,
            "user": username,
            "password": password,
            "sslmode": ssl_mode.value if isinstance(ssl_mode, SslMode) else ssl_mode,
            "sslcert": ssl_cert,
            "sslkey": ssl_key,
            "sslrootcert": ssl_root_cert,
            "application_name": application_name,
        }
        parameters.update((name, value) for name, value in stated.items() if value is not None)
        if connect_timeout_s is not None:
            check_number(problems, "connect_timeout_s", connect_timeout_s, above=0)
            # libpq knows whole seconds only, and takes 1 for 2.
            parameters["connect_timeout"] = str(max(2, round(connect_timeout_s)))
        for name, value in (options or {}).items():
            check_option(problems, name)
            parameters[name] = value
        parameters.setdefault("connect_timeout", CONNECT_TIMEOUT_S)
        parameters.setdefault("application_name", DEFAULT_APPLICATION)
        check_parameters(problems, parameters)
        if require_tls:
            check_tls(problems, parameters)
        for name, limit in (
            ("query_timeout_s", query_timeout_s),
            ("slow_statement_s", slow_statement_s),
        ):
            if limit is not None:
                check_number(problems, name, limit, above=0)
        for name, given, kind in (("pool", pool, PoolConfig), ("retry", retry, RetryConfig)):
            if given is not None and not isinstance(given, kind):
                problem(problems, name, f"expected a {kind.__name__}, got {type(given).__name__}")
        _check_masks(problems, {} if masks is None else masks)
        check_number(problems, "lag_check_interval_s", lag_check_interval_s, above=0)
        if routing_policy not in list(RoutingPolicy):
            known = ", ".join(one.value for one in RoutingPolicy)
            message = f'there is no policy "{routing_policy}"'
            problem(problems, "routing_policy", message, f"Policies: {known}.")
        if isinstance(replicas, str):
            problem(problems, "replicas", "expected several servers, got a text", "Give a list.")
            replicas = ()
        others = [
            replica(text, number, problems, parameters, require_tls)
            for number, text in enumerate(replicas)
        ]
        if prepare_threshold is not None:
            check_number(problems, "prepare_threshold", prepare_threshold, least=0, whole=True)
        for one in problems_of(simulation, simulation_file, simulation_redact):
            problem(problems, *one)
        raise_all(problems)
        secrets = {name: parameters.pop(name) for name in SECRETS & parameters.keys()}
        values: dict[str, Any] = {
            "parameters": {name: str(value) for name, value in parameters.items()},
            "secrets": {name: secret(value) for name, value in secrets.items()},
            "pool": pool or PoolConfig(),
            "retry": retry or RetryConfig(),
            "query_timeout_s": query_timeout_s,
            "prepare_threshold": prepare_threshold,
            "credentials": credentials,
            "replicas": (),
            "routing_policy": RoutingPolicy(routing_policy),
            "read_your_writes": read_your_writes,
            "lag_check_interval_s": lag_check_interval_s,
            "require_tls": require_tls,
            "masks": dict(masks or {}),
            "hooks": tuple(hooks),
            "slow_statement_s": slow_statement_s,
            "observing": Observing(hooks, slow_statement_s),
            "simulation": simulation_of(simulation, simulation_file, simulation_redact),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        made = tuple(
            self._with(
                parameters={key: str(one[key]) for key in one if key not in SECRETS},
                secrets={key: secret(one[key]) for key in SECRETS & one.keys()},
            )
            for one in others
        )
        object.__setattr__(self, "replicas", made)

    @property
    def database(self) -> str:
        """The name of the database: libpq takes the user's where there is none."""
        return self.parameters.get("dbname") or self.parameters.get("user", "")

    @property
    def place(self) -> str:
        """What may be shown of where the servers are."""
        host = self.parameters.get("host") or self.parameters.get("hostaddr") or "the local socket"
        port = self.parameters.get("port", str(DEFAULT_PORT))
        return f"{host}:{port}/{self.database}"

    def with_database(self, name: str) -> PgConfig:
        """Return the same config for another database of the same servers."""
        others = tuple(one.with_database(name) for one in self.replicas)
        return self._with(
            parameters={**self.parameters, "dbname": name},
            replicas=others,
            simulation=self.simulation.of(name),
        )

    def without_replicas(self) -> PgConfig:
        """Return the same config for the primary alone."""
        return self._with(replicas=())

    def for_primary(self) -> PgConfig:
        """Return the config that finds the primary, also where a replica has become it."""
        if not self.replicas or "target_session_attrs" in self.parameters:
            return self
        servers = [one for config in (self, *self.replicas) for one in config.servers]
        hosts, ports = zip(*servers, strict=True)
        found = {
            "host": ",".join(hosts),
            "port": ",".join(ports),
            "target_session_attrs": "read-write",
        }
        addresses = [one for config in (self, *self.replicas) for one in config.addresses]
        if any(addresses):
            found["hostaddr"] = ",".join(addresses)
        return self._with(parameters={**self.parameters, **found})

    @property
    def servers(self) -> list[tuple[str, str]]:
        """The hosts, each with its port."""
        hosts = hosts_of(self.parameters)
        ports = self.parameters.get("port", str(DEFAULT_PORT)).split(",")
        return list(zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=True))

    @property
    def addresses(self) -> list[str]:
        """The hosts' IP addresses, empty where the host is looked up."""
        stated = self.parameters.get("hostaddr")
        return stated.split(",") if stated else [""] * len(self.servers)

    def with_pool(self, **changes: Any) -> PgConfig:
        """Return the same config with other fields of its pool."""
        return self._with(pool=replace(self.pool, **changes))

    def _with(self, **changes: Any) -> PgConfig:
        made = object.__new__(PgConfig)
        for one in fields(self):
            object.__setattr__(made, one.name, changes.get(one.name, getattr(self, one.name)))
        return made

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None, **stated: Any) -> PgConfig:
        """Return the config that the variables `PG_HOST`, `PG_PORT` and so on give.

        Arguments have the last word. Raises ConfigError with every variable
        that is missing or wrong.
        """
        found = read_environment() if environment is None else environment
        arguments = arguments_of(found, stated)
        sizes = {key: arguments.pop(key) for key in OF_THE_POOL if key in arguments}
        if sizes and "pool" not in stated:
            arguments["pool"] = PoolConfig(**{**_fitting(sizes), **sizes})
        return cls(**{**arguments, **stated})


def _fitting(sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a least size that fits a largest one that alone was stated."""
    default = PoolConfig()
    return {"min_size": min(default.min_size, sizes.get("max_size", default.max_size))}


def secret(value: Any) -> Secret:
    """Return a value as a Secret; it may be one, or have pydantic's `get_secret_value()`."""
    if isinstance(value, Secret):
        return value
    reveal = getattr(value, "get_secret_value", None)
    return Secret(str(reveal() if reveal else value))


def _check_masks(problems: Problems, masks: Mapping[str, Any]) -> None:
    if not isinstance(masks, Mapping):
        message = f"expected masks by their columns' names, got {type(masks).__name__}"
        return problem(problems, "masks", message)
    for name, mask in masks.items():
        try:
            parts_of(name)
        except ValueError as error:
            problem(problems, f"masks[{name!r}]", str(error))
        if not callable(mask):
            remedy = "mask_constant(), mask_partial() and mask_hash(key) return some."
            problem(problems, f"masks[{name!r}]", "expected a function of the value", remedy)
    return None
