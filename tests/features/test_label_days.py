"""Labels by month and holiday, as the clocks of their region have them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.evaluation.forecasts import collect_forecasts
from gridcast.evaluation.metrics import smape
from gridcast.evaluation.scores import score_forecasts
from gridcast.features.label_days import label_days
from gridcast.features.splits import TEST
from tests.builders.evaluations import GRU, make_job_forecasts, make_table

CALENDARS = {"NZ": ("Pacific/Auckland", "NZ"), "US": ("America/New_York", "US")}


def make_rows(*rows: tuple[str, str]) -> pd.DataFrame:
    regions, times = zip(*rows, strict=True)
    return pd.DataFrame(
        {"region": pd.Categorical(regions), "timestamp": pd.to_datetime(list(times), utc=True)}
    )


def test_months_and_holidays_are_those_of_the_regions_own_clocks() -> None:
    rows = make_rows(
        ("NZ", "2018-01-31 11:00"),  # midnight of the first of February there
        ("US", "2018-02-01 04:00"),  # 23:00 of the last of January
        ("US", "2018-07-05 03:00"),  # the Fourth of July, 23:00
        ("US", "2018-07-05 04:00"),
        ("NZ", "2018-07-04 12:00"),
        ("XX", "2018-12-25 12:00"),  # of a region without a calendar: UTC, no holidays
    )
    found = label_days(rows, CALENDARS)
    assert found.month_N.tolist() == [2, 1, 7, 7, 7, 12]
    assert found.holiday_N.tolist() == [0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize("key", ["month", "holiday"])
def test_scores_by_day_and_the_share_below_are_those_of_a_plain_loop(key: str) -> None:
    table = make_table(num_hours=2400)
    job = make_job_forecasts(table)
    job["y_pred"] *= np.random.default_rng(0).uniform(0.9, 1.1, len(job))
    forecasts = collect_forecasts(table, {GRU: job}, part=TEST)
    calendars = dict.fromkeys(("AEP", "DOM", "NI"), ("America/New_York", "TH"))  # 6 April
    scores = score_forecasts(
        forecasts.tables(), forecasts.contestants, naive_mae={}, mean_mw={}, calendars=calendars
    )
    rows = forecasts.table()
    rows = rows[rows["contestant"] == "gru-seed0"]
    days = label_days(rows, calendars)
    code_N = days.month_N if key == "month" else days.holiday_N
    found = scores.tables()[f"by_{key}"].set_index(["contestant", key]).loc["gru-seed0"]
    assert found.index.tolist() == sorted(set(code_N.tolist()))
    assert len(found) > 1
    for code, row in found.iterrows():
        own = [each for _, each in rows[code_N == code].groupby("region", observed=True)]
        errors = [smape(each["y_true"].to_numpy(), each["y_pred"].to_numpy()) for each in own]
        under = [100 * (each["y_pred"] < each["y_true"]).mean() for each in own]
        assert row["smape"] == pytest.approx(np.mean(errors))
        assert row["under"] == pytest.approx(np.mean(under))
        assert row["num_labels"] == (code_N == code).sum()
