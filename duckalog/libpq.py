"""libpq's connection parameters: what attachments and the client have in common."""

from __future__ import annotations

from typing import Literal

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

DEFAULT_PORT = 5432
MAX_PORT = 65535
CONNECT_TIMEOUT_S = 10

OPTIONS = frozenset(
    """
    application_name channel_binding client_encoding connect_timeout fallback_application_name
    gssdelegation gssencmode gsslib hostaddr keepalives keepalives_count keepalives_idle
    keepalives_interval krbsrvname load_balance_hosts max_protocol_version min_protocol_version
    options passfile require_auth requirepeer service ssl_max_protocol_version
    ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey
    sslnegotiation sslrootcert sslsni target_session_attrs tcp_user_timeout
    """.split()
)
"""libpq's parameters (PostgreSQL 18, §34.1.2) but those with a key of their own, and passwords."""

PATHS = frozenset("passfile sslcert sslcrl sslcrldir sslkey sslrootcert".split())
"""Those that are paths; an `sslrootcert` of "system" means the certificates of the machine."""

SECRETS = frozenset(["password", "sslpassword"])
"""Those that are never shown."""
