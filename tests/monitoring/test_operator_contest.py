"""Ours against the operator's own forecast: the same hours, nobody ahead, how sure it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.evaluation.metrics import smape
from gridcast.monitoring.operator_contest import (
    OperatorContest,
    interval_of_mean,
    issued_the_day_before,
    operator_contests,
)
from tests.builders.issued import FIRST, HOUR, make_issued, make_readings

ZONE = "America/New_York"
READINGS = make_readings(24 * 30, regions=("PJM", "AEP"))
BEGIN = FIRST + 24 * HOUR
ROWS = make_issued(READINGS, first=BEGIN, num=24 * 25, horizon=48, error=0.01)
LOAD = READINGS["PJM"].set_index("timestamp")["load_mw"]


def operator(error: float, num: int = 24 * 28) -> pd.DataFrame:
    own = READINGS["PJM"].iloc[:num]
    noise = 1 + error * np.random.default_rng(1).standard_normal(num)
    return pd.DataFrame({
        "region": "PJM", "timestamp": own["timestamp"], "operator_mw": own["load_mw"] * noise,
    })  # fmt: skip


def contests(told: pd.DataFrame, rows: pd.DataFrame = ROWS) -> tuple[OperatorContest, ...]:
    return operator_contests(rows, READINGS, told, timezone=ZONE, hour=10, min_hours=120)


def test_of_each_hour_that_row_counts_that_was_issued_at_ten_the_day_before() -> None:
    own = issued_the_day_before(ROWS[ROWS["region"] == "PJM"], ZONE, hour=10)
    assert own["timestamp"].is_unique
    local = own["timestamp"].dt.tz_convert(ZONE)
    issued = own["issue_time"].dt.tz_convert(ZONE)
    assert set(issued.dt.hour) == {10}
    assert ((local.dt.normalize() - issued.dt.normalize()) == pd.Timedelta(days=1)).all()
    assert (own["lead"].min(), own["lead"].max()) == (15, 38)


@pytest.mark.parametrize("day", ["2017-03-12", "2017-11-05"])
def test_the_days_of_clock_changes_have_their_own_number_of_hours(day: str) -> None:
    first = pd.Timestamp(day, tz=ZONE)
    hours = pd.date_range(first, first + pd.DateOffset(days=1), freq="h", inclusive="left")
    issued = (first - pd.DateOffset(days=1) + 10 * HOUR).tz_convert("UTC")
    rows = pd.DataFrame({"issue_time": issued, "timestamp": hours.tz_convert("UTC")})
    assert len(issued_the_day_before(rows, ZONE, hour=10)) == (23 if "03" in day[5:7] else 25)


def test_both_are_scored_on_the_same_hours() -> None:
    told = operator(0.03)
    (found,) = contests(told)
    own = issued_the_day_before(ROWS[ROWS["region"] == "PJM"], ZONE, hour=10)
    own = own[own["timestamp"].isin(told["timestamp"])]
    truth = LOAD[own["timestamp"]].to_numpy()
    theirs = told.set_index("timestamp")["operator_mw"][own["timestamp"]].to_numpy()
    assert (found.region, found.num_hours) == ("PJM", len(own))
    assert found.error == pytest.approx(smape(truth, own["load_mw"].to_numpy()))
    assert found.operator_error == pytest.approx(smape(truth, theirs))
    assert found.difference == pytest.approx(found.error - found.operator_error)
    assert found.low < found.difference < found.high < 0
    assert f"{found.num_hours:,} hours" in found.text


def test_too_few_hours_too_short_forecasts_or_no_operator_say_nothing() -> None:
    assert contests(operator(0.03, num=24 * 5)) == ()
    assert contests(operator(0.03).iloc[:0]) == ()
    assert contests(operator(0.03), ROWS[ROWS["lead"] <= 12]) == ()
    assert contests(operator(0.03), ROWS.iloc[:0]) == ()


def test_the_interval_holds_the_mean_of_autocorrelated_differences_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal(24 * 120)
        for place in range(1, len(noise)):
            noise[place] += 0.9 * noise[place - 1]
        low, high = interval_of_mean(noise + 0.5)
        hits += low <= 0.5 <= high
    assert 49 <= hits <= 60  # of 60 some 56; with independent hours 20 would hold it
