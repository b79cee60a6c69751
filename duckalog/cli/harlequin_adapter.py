"""A catalog in Harlequin, the SQL IDE for terminals: `harlequin -a duckalog catalog.yaml`.

Harlequin finds this by its entry point, and opens the connection that
`duckalog.connect` returns: no secret leaves the process.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from harlequin import HarlequinAdapter
from harlequin.exception import HarlequinConfigError, HarlequinConnectionError
from harlequin.options import TextOption
from harlequin_duckdb.adapter import DuckDbConnection

from duckalog import api
from duckalog.errors import DuckalogError


class DuckalogAdapter(HarlequinAdapter):
    """Opens a built catalog for reading, its session applied; the connection string is a config."""

    ADAPTER_OPTIONS = [
        TextOption("db-path", description="Where the catalog is, if not where the config says."),
        TextOption("env-file", description="Read variables from this file too."),
    ]
    ADAPTER_DETAILS = "A catalog that duckalog built, its session applied."
    IMPLEMENTS_CANCEL = True
    IMPLEMENTS_READ_ONLY = True

    def __init__(
        self,
        conn_str: Sequence[str],
        read_only: bool = True,
        db_path: str | None = None,
        env_file: str | None = None,
        **_: object,
    ) -> None:
        del read_only  # it is
        if len(conn_str) != 1:
            raise HarlequinConfigError("Give the path of one config, catalog.yaml say.")
        (self.config,) = conn_str
        self.db_path = db_path
        self.env_file = env_file

    @property
    def connection_id(self) -> str:
        """What Harlequin keeps the history of queries by."""
        return f"duckalog:{os.path.abspath(self.config)}"

    def connect(self) -> DuckDbConnection:
        """Return Harlequin's own connection around that of `duckalog.connect`."""
        try:
            plan = api.load_plan(self.config, self.db_path, env_file=self.env_file)
            return DuckDbConnection(api.connect_plan(plan))
        except DuckalogError as error:
            message = str(error)
        raise HarlequinConnectionError(message, title="duckalog cannot open the catalog.")
