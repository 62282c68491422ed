"""Forecasts that were missed, made up in order: the rows that a live forecast would have left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.errors import UsageError
from tasks.forecast.forecast_store import read_issued, stored_issue_times
from tasks.forecast.issue_forecast import end_of_data, issue_forecast
from tasks.operate.backfill import backfill, make_up_missed
from tests.builders.pipelines import NUM_REGIONS, copy_artifacts, gridcast
from tests.operate.test_judge_challenger import DATASET, put_in_charge

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

CONFIG = Config.load(overrides=("forecasting.horizon=4", "forecasting.bands.learn_days=7"))
HOUR = pd.Timedelta(hours=1)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two champions, the second took over ten hours ago; one forecast, of twenty hours ago."""
    artifacts = copy_artifacts(tmp_path_factory.mktemp("backfill") / "artifacts")
    put_in_charge(artifacts, "gru-seed0", hours_ago=100)
    put_in_charge(artifacts, "lstm-seed0", hours_ago=10)
    issue_forecast(artifacts, CONFIG, as_of=end_of_data(artifacts) - 20 * HOUR)
    return artifacts


def test_missed_hours_are_made_up_by_who_was_in_charge_as_a_live_forecast_would_have(
    artifacts: Path,
) -> None:
    end = end_of_data(artifacts)
    done = backfill(artifacts, CONFIG)
    assert (len(done.made), done.num_there) == (20, 1)
    assert list(done.made) == list(pd.date_range(end - 19 * HOUR, end, freq="h"))
    rows = read_issued(artifacts, DATASET)
    assert len(rows) == 21 * NUM_REGIONS * 4
    assert rows["issue_time"].is_monotonic_increasing
    assert not rows.duplicated(["issue_time", "region", "lead"]).any()
    took_over = end - 10 * HOUR
    assert set(rows[rows["issue_time"] < took_over]["model"]) == {"gru-seed0"}
    assert set(rows[rows["issue_time"] >= took_over]["model"]) == {"lstm-seed0"}
    assert rows["is_backfilled"].sum() == 20 * NUM_REGIONS * 4
    for hours_ago in (13, 4):
        issue_time = end - hours_ago * HOUR
        live = issue_forecast(artifacts, CONFIG, as_of=issue_time).rows
        own = rows[rows["issue_time"] == issue_time].reset_index(drop=True)
        exact = ["region", "timestamp", "lead", "fallback", "fallback_reason", "model_sha256"]
        pd.testing.assert_frame_equal(own[exact], live[exact], check_dtype=False)
        for name in ("load_mw", "q05", "q25", "q75", "q95"):
            np.testing.assert_allclose(own[name], live[name], rtol=1e-4)


def test_what_is_there_stays_and_the_same_again_changes_nothing(artifacts: Path) -> None:
    backfill(artifacts, CONFIG)
    before = read_issued(artifacts, DATASET)
    again = backfill(artifacts, CONFIG)
    assert (len(again.made), again.num_rows) == (0, 0)
    pd.testing.assert_frame_equal(read_issued(artifacts, DATASET), before)


def test_the_flow_makes_up_only_what_was_missed_lately_and_after_the_first(tmp_path: Path) -> None:
    artifacts = copy_artifacts(tmp_path / "artifacts")
    end = end_of_data(artifacts)
    assert make_up_missed(artifacts, CONFIG, issue_time=end) == 0
    for hours_ago in (9, 6):
        issue_forecast(artifacts, CONFIG, as_of=end - hours_ago * HOUR)
    few = CONFIG.operation.model_copy(update={"backfill_hours": 5})
    lately = CONFIG.model_copy(update={"operation": few})
    assert make_up_missed(artifacts, lately, issue_time=end) == 5
    assert make_up_missed(artifacts, CONFIG, issue_time=end) == 2
    expected = pd.date_range(end - 9 * HOUR, end - HOUR, freq="h")
    assert list(stored_issue_times(artifacts, DATASET)) == list(expected)


def test_the_command_says_what_it_made(artifacts: Path) -> None:
    end = end_of_data(artifacts)
    span = ("--from", (end - 30 * HOUR).isoformat(), "--to", (end - 28 * HOUR).isoformat())
    settings = ("--set", "forecasting.horizon=4", "--set", "forecasting.bands.learn_days=7")
    done = gridcast("backfill", "--artifacts", artifacts, *span, *settings)
    assert done.returncode == 0, done.stderr
    assert f"Made:      2 issue times of {DATASET}" in done.stdout
    assert f"Rows:      {2 * NUM_REGIONS * 4}, " in done.stdout


def test_without_any_forecast_one_must_say_where_to_begin(tmp_path: Path) -> None:
    artifacts = copy_artifacts(tmp_path / "artifacts")
    with pytest.raises(UsageError, match="no forecast in the store, expected the first issue"):
        backfill(artifacts, CONFIG)
