"""``gridcast backtest --refit-every``: trained on what was known, taken again, set side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.errors import UsageError
from gridcast.readings.records import Snapshot
from tasks.forecast.chosen_model import choose_model
from tasks.forecast.issue_forecast import current_snapshot
from tasks.forecast.run_backtest import BacktestRecord, PublishedPast, live_through
from tasks.refit.refits import RefitRequest, publish_for_refit, refit_days, refit_folder
from tasks.runs.record_files import read_record
from tasks.runs.run import read_summary
from tests.builders.pipelines import (
    SMALL_MODEL,
    copy_artifacts,
    first_run,
    gridcast,
    on_a_server,
    settings,
)

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

OVERRIDES = (*SMALL_MODEL, "forecasting.bands.learn_days=7", "operation.retraining.settings=[]")
SPAN = ("--from", "2018-07-28", "--to", "2018-08-01", "--horizon", "4")
DAYS = ["2018-07-28", "2018-07-31"]


def request(artifacts: Path, **changed: str | None) -> RefitRequest:
    overrides = (*OVERRIDES, "forecasting.horizon=4", "training.confirm_above_hours=null",
                 "evaluation.refit_days=3")  # fmt: skip
    given = {"first": "2018-07-28", "end": "2018-08-01"} | changed
    return RefitRequest(
        data=None, artifacts=str(artifacts), profile="base", overrides=overrides, **given
    )


def backtested(artifacts: Path) -> tuple[BacktestRecord, pd.DataFrame]:
    (folder,) = (artifacts / "backtests").iterdir()
    rows = pd.read_parquet(folder / "forecasts.parquet")
    return read_record(folder / "backtest.json", BacktestRecord), rows


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four days by the real command, a model for the first three and one for the last."""
    copied = copy_artifacts(tmp_path_factory.mktemp("refits") / "artifacts")
    result = gridcast(
        "backtest", "--artifacts", copied, *SPAN, "--refit-every", "3d", *settings(*OVERRIDES),
        environment=on_a_server(),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "refitted every 3 days" in result.stdout
    assert "Trained on what was known by 2018-07-28, 2018-07-31" in result.stdout
    return copied


@pytest.mark.soak
def test_each_stretch_is_forecast_by_the_model_of_its_day_beside_the_first_one(
    artifacts: Path,
) -> None:
    record, rows = backtested(artifacts)
    asked = request(artifacts)
    assert [each.day for each in record.refits] == refit_days(asked) == DAYS
    first, second = (
        choose_model(refit_folder(asked), run_id=each.run_id) for each in record.refits
    )
    assert first.model.sha256 != second.model.sha256
    past = PublishedPast(artifacts, current_snapshot(artifacts, None), asked.config)
    own = rows[rows["contestant"] == record.model]
    label = ["region", "issue_time", "lead"]
    for chosen, begin, end in ((first, DAYS[0], DAYS[1]), (second, DAYS[1], "2018-08-01")):
        expected = live_through(
            chosen, past, first=np.datetime64(begin), end=np.datetime64(end)
        ).rows
        expected = expected[expected["contestant"] == chosen.model.name]
        is_own = (own["issue_time"] >= begin) & (own["issue_time"] < end)
        found, wanted = (
            each.astype({"region": str}).sort_values(label)[["y_true", "y_pred", "q05", "q95"]]
            for each in (own[is_own], expected)
        )
        np.testing.assert_array_equal(found.to_numpy(), wanted.to_numpy())
    once = rows[rows["contestant"] == first.model.name]
    until = pd.Timestamp(DAYS[1], tz="UTC")
    early, same = (each[each["issue_time"] < until]["y_pred"].to_numpy() for each in (own, once))
    np.testing.assert_array_equal(early, same)
    assert not np.array_equal(own["y_pred"], once["y_pred"])


@pytest.mark.soak
def test_the_leaderboard_has_both_by_lead_on_the_same_labels(artifacts: Path) -> None:
    record, rows = backtested(artifacts)
    assert next(iter(record.error)) == record.model
    assert record.model.removesuffix(" refitted every 3 days") in record.error
    assert {len(each.error) for each in record.by_lead} == {4}
    assert set(rows["contestant"].value_counts()) == {len(rows) // 4}


@pytest.mark.soak
def test_a_training_read_nothing_from_its_day_on(artifacts: Path) -> None:
    record, _ = backtested(artifacts)
    folder = refit_folder(request(artifacts))
    for each in record.refits:
        read = read_summary(folder / "runs" / each.run_id / "summary.json").snapshot
        snapshot = read_record(folder / "data" / "snapshots" / f"{read}.json", Snapshot)
        ends = [
            pd.read_parquet(folder / "data" / own.path, columns=["timestamp"]).max().iloc[0]
            for own in snapshot.regions.values()
        ]
        assert max(ends) == pd.Timestamp(each.day, tz="UTC") - pd.Timedelta(hours=1)


@pytest.mark.soak
def test_what_was_trained_is_not_trained_again_whatever_the_span(artifacts: Path) -> None:
    asked = request(artifacts)
    assert [publish_for_refit(asked, day) for day in (*DAYS, "2018-07-30")] == [False, False, True]
    other = request(artifacts, first="2018-07-31")
    assert refit_folder(other) == refit_folder(asked)
    assert refit_days(other) == ["2018-07-31"]


def test_without_refitting_no_day_is_trained_and_too_little_data_is_refused() -> None:
    artifacts = first_run().artifacts
    plain = RefitRequest(
        data=None, artifacts=str(artifacts), profile="base", overrides=(), first=None, end=None
    )
    assert Config.load().evaluation.refit_days is None
    assert refit_days(plain) == []
    first = min(
        pd.read_parquet(first_run().place(each.path), columns=["timestamp"]).min().iloc[0]
        for each in first_run().summary.regions.values()
        if each.path
    )
    early = f"{first + pd.Timedelta(days=9):%Y-%m-%d}"
    with pytest.raises(UsageError, match="28 days before it"):
        publish_for_refit(request(artifacts, first=early), early)


@pytest.mark.parametrize("wrong", ["4w", "0", "-3d", "d"])
def test_an_interval_that_is_none_is_refused_at_once(wrong: str) -> None:
    result = gridcast("backtest", f"--refit-every={wrong}")
    assert result.returncode == 2
    assert "expected days, such as 28d" in result.stderr
