"""An error lies on the day of the hour that was forecast, whenever that was issued."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.forecasting.error_days import error_days, local_hours

ZONE = "America/New_York"
HOUR = np.timedelta64(1, "h")


def test_each_error_stands_at_the_hour_it_is_of_and_at_its_lead() -> None:
    rng = np.random.default_rng(0)
    issue = np.datetime64("2018-01-02T20") + rng.permutation(100)[:60] * HOUR
    region, forecast = rng.integers(0, 3, 60), rng.normal(size=(60, 30))
    truth = rng.normal(size=(60, 30))
    found = error_days(issue, region, forecast, truth, num_regions=3, timezone=ZONE)
    is_set = np.zeros(found.error_DRVK.shape, dtype=bool)
    for row in range(60):
        for lead in range(1, 31):
            hour = issue[row] + (lead - 1) * HOUR  # lead 1 begins as it is issued
            day = int((hour.astype("datetime64[D]") - found.first_day) / np.timedelta64(1, "D"))
            place = day, region[row], int(hour.astype(int) % 24), lead - 1
            assert found.forecast_DRVK[place] == np.float32(forecast[row, lead - 1])
            error = truth[row, lead - 1] - forecast[row, lead - 1]
            assert found.error_DRVK[place] == np.float32(error)
            is_set[place] = True
    assert np.isnan(found.error_DRVK[~is_set]).all()
    assert found.first_day == np.datetime64("2018-01-02")


def test_days_are_a_stretch_of_all() -> None:
    issue = np.datetime64("2018-01-02T00") + np.arange(96) * HOUR
    zeros = np.zeros((96, 1))
    every = error_days(issue, zeros[:, 0].astype(int), zeros, zeros + np.arange(96)[:, None],
                       num_regions=1, timezone=ZONE)  # fmt: skip
    some = every.between(1, 3)
    assert (len(every), len(some)) == (4, 2)
    assert some.first_day == np.datetime64("2018-01-03")
    assert [each.error_RVK[0, 0, 0] for each in some] == [24, 48]


@pytest.mark.parametrize("day", ["2018-03-11", "2018-11-04", "2018-07-01"])
def test_local_hours_are_those_of_a_clock_on_the_wall(day: str) -> None:
    found = local_hours(np.datetime64(day), 1, timezone=ZONE)[0]
    begin = pd.Timestamp(day, tz="UTC")
    wall = [(begin + pd.Timedelta(hours=each)).tz_convert(ZONE).hour for each in range(24)]
    assert found.tolist() == wall


def test_without_a_forecast_there_is_no_day() -> None:
    none = np.zeros(0, dtype="datetime64[h]")
    found = error_days(none, np.zeros(0, int), np.zeros((0, 5)), np.zeros((0, 5)),
                       num_regions=2, timezone=ZONE)  # fmt: skip
    assert (len(found), found.error_DRVK.shape) == (0, (0, 2, 24, 5))
