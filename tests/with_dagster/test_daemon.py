"""Nobody looks: the daemon's own loops tick a catalog's schedules and sensors, and launch its runs.

The daemon has no public Python face; these are the loops that `dagster-daemon` runs.
"""

from __future__ import annotations

import datetime
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("dagster")

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import (
    create_test_daemon_workspace_context,
    freeze_time,
    instance_for_test,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.asset_daemon import AssetDaemon
from dagster._daemon.daemon import SchedulerDaemon, SensorDaemon, SpanMarker

import duckalog
from tests.conftest import WriteConfig

pytestmark = [
    pytest.mark.servers,
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),  # of Dagster's own evaluation
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of what the daemon itself calls
]

DEFINITIONS = """
from pathlib import Path
from dagster import (
    DefaultScheduleStatus,
    DefaultSensorStatus,
    Definitions,
    in_process_executor,
)
from duckalog_dagster import (
    DuckalogTranslator,
    DuckalogTranslatorSettings,
    build_duckalog_assets,
    build_duckalog_config_sensor,
    build_duckalog_definitions,
    build_schedule_from_duckalog_selection,
)
CONFIG = Path(__file__).with_name("catalog.yaml")
defs = Definitions.merge(
    build_duckalog_definitions(
        CONFIG,
        translator=DuckalogTranslator(DuckalogTranslatorSettings(automation="view")),
        observation_cron_schedule="*/10 * * * *",
        default_status="RUNNING",
    ),
    Definitions(
        executor=in_process_executor,
        schedules=[
            build_schedule_from_duckalog_selection(
                build_duckalog_assets(CONFIG),
                "daily",
                "0 6 * * *",
                select="+total",
                default_status=DefaultScheduleStatus.RUNNING,
            )
        ],
        sensors=[
            build_duckalog_config_sensor(CONFIG, default_status=DefaultSensorStatus.RUNNING)
        ],
    ),
)
"""


@pytest.fixture
def config(write_config: WriteConfig, tmp_path: Path) -> Path:
    """Return the config of a view that has the files of its build, in a code location."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("i\n1\n")
    (tmp_path / "definitions.py").write_text(DEFINITIONS)
    return write_config(
        "version: 1\nduckdb: {database: shop.duckdb}\nviews:\n"
        "  - {name: orders, source: csv, uri: data/*.csv, pin: true}\n"
        "  - {name: total, sql: SELECT sum(i) AS total FROM orders}\n"
    )


class Daemon:
    """The loops of a daemon, turned by hand; what they launch runs in this process."""

    def __init__(self, instance: DagsterInstance, workspace: Any) -> None:
        self.instance = instance
        self.workspace = workspace
        tomorrow = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
        self.now = tomorrow.replace(hour=5, minute=56, second=0, microsecond=0)
        self.loops = [
            daemon.core_loop(workspace, _Now())
            for daemon in (
                SchedulerDaemon(),
                SensorDaemon(settings={}),
                AssetDaemon(settings={}, pre_sensor_interval_seconds=30),
            )
        ]

    def tick(self, minutes: int = 1) -> dict[str, list[str]]:
        """Return what was made by the runs that one turn of each loop launched, by their jobs."""
        before = {run.run_id for run in self.instance.get_runs()}
        self.now += datetime.timedelta(minutes=minutes)
        with freeze_time(self.now):
            for loop in self.loops:
                for marker in loop:
                    assert marker is None or isinstance(marker, SpanMarker), marker
                    if marker is SpanMarker.END_SPAN:
                        break
        runs = [run for run in self.instance.get_runs() if run.run_id not in before]
        assert {run.status for run in runs} <= {DagsterRunStatus.SUCCESS}
        return {run.job_name: self._made(run) for run in runs}

    def _made(self, run: DagsterRun) -> list[str]:
        events = self.instance.all_logs(run.run_id)
        keys = [one.asset_materialization.asset_key for one in events if one.asset_materialization]
        return [key.path[-1] for key in keys]


class _Now(threading.Event):
    """What the loops wait for between their turns: nothing."""

    def wait(self, timeout: float | None = None) -> bool:
        del timeout
        return False


@pytest.fixture
def daemon(config: Path) -> Iterator[Daemon]:
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(
            executable_path=sys.executable, python_file=str(config.with_name("definitions.py"))
        ),
        location_name="shop",
    )
    launcher = {
        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
        "class": "SyncInMemoryRunLauncher",
    }
    coordinator = {"module": "dagster.core.run_coordinator", "class": "DefaultRunCoordinator"}
    with (
        instance_for_test(
            overrides={"run_launcher": launcher, "run_coordinator": coordinator}
        ) as instance,
        create_test_daemon_workspace_context(
            InProcessWorkspaceLoadTarget(origin), instance
        ) as workspace,
    ):
        yield Daemon(instance, workspace)


def total(config: Path) -> int:
    with duckalog.connect(config) as connection:
        ((found,),) = connection.execute("FROM total").fetchall()
    return int(found)


def test_what_became_stale_is_made_again_with_nobody_looking(daemon: Daemon, config: Path) -> None:
    assert daemon.tick() == {}  # at 5:57 the loops look for the first time
    assert daemon.tick(minutes=5) == {"daily": ["orders", "total"], "observe_shop_job": []}
    assert daemon.tick() == {}

    # A pinned view has the files of its build; an observation sees that there are more.
    (config.parent / "data" / "b.csv").write_text("i\n2\n")
    assert daemon.tick() == {}
    assert total(config) == 1
    assert daemon.tick(minutes=10) == {"observe_shop_job": [], "__ASSET_JOB": ["orders"]}
    assert daemon.tick() == {"__ASSET_JOB": ["total"]}
    assert total(config) == 3
    assert daemon.tick(minutes=10) == {"observe_shop_job": []}

    config.write_text(config.read_text().replace("sum(i)", "2 * sum(i)"))
    assert list(daemon.tick().values()) == [["orders", "total"]]
    assert total(config) == 6
    assert daemon.tick() == {}
