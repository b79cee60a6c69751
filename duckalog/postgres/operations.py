"""All that can be done on a connection: what clients and transactions share."""

from __future__ import annotations

from duckalog.postgres.arrow import Arrow
from duckalog.postgres.bulk import Bulk
from duckalog.postgres.faces import F
from duckalog.postgres.streams import Streams


class Operations(Arrow[F], Streams[F], Bulk[F]):
    """Queries, streams and bulk operations, on connections that a subclass provides."""
