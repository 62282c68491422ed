"""``gridcast monitor`` on what a run left: figures, alarms once, events on a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pandas as pd
import pytest

from gridcast.config import Config
from tasks.forecast.issue_forecast import end_of_data
from tasks.operate.backfill import backfill
from tasks.operate.monitor_forecasts import monitor_forecasts, read_alarms
from tests.builders.pipelines import (
    NUM_REGIONS,
    ROOT,
    copy_artifacts,
    gridcast,
    on_a_server,
    settings,
    wait_for,
)

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

OVERRIDES = (
    "forecasting.horizon=4", "forecasting.bands.learn_days=7",
    "operation.monitoring.window_days=2", "operation.monitoring.min_hours=24",
)  # fmt: skip
CONFIG = Config.load(overrides=OVERRIDES)
HOUR = pd.Timedelta(hours=1)


@pytest.fixture(scope="module")
def forecast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts with the forecasts of two and a half days."""
    artifacts = copy_artifacts(tmp_path_factory.mktemp("monitor") / "artifacts")
    backfill(artifacts, CONFIG, first=end_of_data(artifacts) - 60 * HOUR)
    return artifacts


def test_figures_are_kept_and_a_missed_forecast_is_told_once(forecast: Path) -> None:
    end = end_of_data(forecast)
    looked = monitor_forecasts(forecast, CONFIG, as_of=end)
    assert looked.record.num_regions == NUM_REGIONS
    kept = pd.read_csv(looked.folder / "by_region.csv")
    assert set(kept["num_hours"]) == {48}
    assert looked.record.error == pytest.approx(kept["error"].mean(), abs=1e-3)
    assert len(pd.read_csv(looked.folder / "by_lead.csv")) == NUM_REGIONS * 4
    late = end + HOUR + pd.Timedelta(minutes=CONFIG.operation.monitoring.due_minutes)
    (missed,) = monitor_forecasts(forecast, CONFIG, as_of=late).monitored.alarms
    assert missed.kind == "missing_forecast"
    assert monitor_forecasts(forecast, CONFIG, as_of=late + 2 * HOUR).monitored.alarms == ()
    assert missed in read_alarms(forecast, looked.record.dataset)


def test_the_command_shows_each_region_and_its_alarms(forecast: Path) -> None:
    late = end_of_data(forecast) + 7 * HOUR
    done = gridcast("monitor", "--artifacts", forecast, "--as-of", late.isoformat(),
                    *settings(*OVERRIDES))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "PJMW" in done.stdout
    assert "no reading for 7 hours (late)" in done.stdout
    page = (forecast / "monitoring" / "csv" / "index.html").read_text("utf-8")
    assert "no reading for 7 hours" in page
    assert "vegaEmbed=" in page.replace(" ", "")
    alarms = json.loads((forecast / "monitoring" / "csv" / "alarms.json").read_text("utf-8"))
    assert {each["kind"] for each in alarms["alarms"]} >= {"late"}


def test_an_alarm_of_the_flow_is_an_event_on_the_server(forecast: Path) -> None:
    at = end_of_data(forecast) + 40 * HOUR
    code = (
        "from flows.monitor_forecasts import monitor_forecasts\n"
        f"print(monitor_forecasts(artifacts={str(forecast)!r}, overrides={list(OVERRIDES)!r}, "
        f"as_of={at.isoformat()!r}))"
    )
    environment = on_a_server()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    def told() -> list[str]:
        asked = {"filter": {"event": {"prefix": ["gridcast.alarm."]}}}
        answer = httpx.post(f"{environment['PREFECT_API_URL']}/events/filter", json=asked)
        return [each["event"] for each in answer.json()["events"]]

    assert "gridcast.alarm.late" in wait_for("an event", told)
