"""Figures of a backtest, held to errors and bands counted by hand; paths that begin at midnight."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.evaluation.backtest_scores import (
    BacktestScores,
    paths_at_midnight,
    record_of,
    score_rows,
)
from gridcast.record import parse_record, sealed

LEVELS = [0.05, 0.95]
FIRST, END = np.datetime64("2018-07-01"), np.datetime64("2018-07-11")
ZONE = "America/New_York"


def make_rows(*, num_hours: int = 240, horizon: int = 3) -> pd.DataFrame:
    """Forecasts from every hour: the model is 1 % above, 2 % and 3 %; yesterday twice as far."""
    hours = pd.date_range("2018-07-01", periods=num_hours, freq="h", tz="UTC")
    rows = pd.DataFrame(
        [
            (name, region, hour, lead, mean_mw, mean_mw * (1 + factor * lead / 100))
            for name, factor in (("mean", 1), ("yesterday", 2), ("other", 5))
            for region, mean_mw in (("AEP", 1000.0), ("DOM", 500.0))
            for hour in hours
            for lead in range(1, horizon + 1)
        ],
        columns=["contestant", "region", "issue_time", "lead", "y_true", "y_pred"],
    )
    ahead = pd.to_timedelta(rows["lead"] - 1, unit="h")
    timestamp = rows["issue_time"] + ahead
    return rows.assign(
        timestamp=timestamp,
        local_hour=timestamp.dt.tz_convert(ZONE).dt.hour,
        # The band of lead 1 reaches down to the truth; those of DOM and of other leads do not.
        q05=rows["y_pred"] - np.where(rows["region"] == "AEP", 10.0, 1.0),
        q95=rows["y_pred"] + 5.0,
    ).astype({"region": "category", "contestant": "category"})


def record(rows: pd.DataFrame) -> BacktestScores:
    found = score_rows(rows, LEVELS, timezone=ZONE, issue_hour=9)
    return record_of(found, "mean", "a" * 64, LEVELS, beside=["yesterday"], first=FIRST, end=END)


def test_each_figure_is_that_of_its_lead_and_region() -> None:
    found = record(make_rows())
    assert (found.first, found.end, found.horizon) == ("2018-07-01", "2018-07-11", 3)
    assert found.num_forecasts == 2 * 240 * 3
    assert found.share == pytest.approx(90)
    assert set(found.error) == {"mean", "yesterday"}
    for each in found.by_lead:
        percent = each.lead
        assert each.error["mean"] == pytest.approx(100 * percent / (100 + percent / 2))
        assert each.error["yesterday"] == pytest.approx(100 * 2 * percent / (100 + percent))
        assert each.coverage == (50.0 if each.lead == 1 else 0.0)
        assert each.width == pytest.approx((100 * 15 / 1000 + 100 * 6 / 500) / 2)
    assert found.coverage == pytest.approx(50 / 3)
    assert found.error["mean"] == pytest.approx(np.mean([e.error["mean"] for e in found.by_lead]))
    aep, dom = found.by_region
    assert (aep.region, dom.region) == ("AEP", "DOM")
    assert aep.coverage == pytest.approx(100 / 3)
    assert dom.coverage == 0.0
    assert [each.level for each in found.by_level] == LEVELS
    assert found.by_level[0].below == pytest.approx(100 - found.coverage)
    assert found.by_level[1].below == 100.0


def test_the_record_is_read_as_it_was_written() -> None:
    found = record(make_rows(num_hours=24))
    assert parse_record(sealed(found.model_dump(mode="json")), BacktestScores, where="x") == found


@pytest.mark.parametrize(("horizon", "every"), [(3, 1), (24, 1), (30, 2), (49, 3)])
def test_paths_begin_at_local_midnight_where_the_one_before_has_ended(
    horizon: int, every: int
) -> None:
    rows = make_rows(num_hours=240 + 24, horizon=horizon)
    known = rows[rows["timestamp"] < pd.Timestamp("2018-07-11T12", tz="UTC")]
    paths = paths_at_midnight(known, "mean", timezone=ZONE, horizon=horizon, num_days=6)
    assert set(paths["contestant"]) == {"mean"}
    for _, own in paths.groupby("region", observed=True):
        times = own["issue_time"].drop_duplicates().sort_values().dt.tz_convert(ZONE)
        assert set(times.dt.hour) == {0}
        assert set(times.diff().dropna().dt.days) <= {every}
        assert len(times) == -(-6 // every)
        assert (own.groupby("issue_time")["lead"].count() == horizon).all()
        newest = pd.Timestamp("2018-07-11T12", tz="UTC") - pd.Timedelta(hours=horizon)
        assert newest - pd.Timedelta(days=1) < times.max() <= newest


def test_where_no_whole_path_has_a_truth_there_is_none() -> None:
    rows = make_rows(num_hours=30, horizon=24)
    few = rows[rows["lead"] < 24]
    assert paths_at_midnight(few, "mean", timezone=ZONE, horizon=24, num_days=6).empty
