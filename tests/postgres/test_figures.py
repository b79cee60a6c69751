"""The requirement's own figures, which a busy machine may miss at times but not always."""

from __future__ import annotations

import pytest

from tests.benchmarks.postgres import GOALS, measure_latency
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.servers

ATTEMPTS = 5


def test_a_small_query_and_a_connection_come_in_time_and_a_busy_pool_is_used(
    postgres: Postgres,
) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        found = measure_latency(postgres, 300)
        asked = {name: GOALS[name] for name in found if name in GOALS}
        assert len(asked) == 3
        missed = {
            name: found[name]
            for name, (bound, limit) in asked.items()
            if (found[name] > limit if bound == "at most" else found[name] < limit)
        }
        if not missed:
            return
        assert attempt < ATTEMPTS, missed
