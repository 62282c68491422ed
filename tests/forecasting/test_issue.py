"""Who forecasts a region, lead by lead: the network as long as it is the better one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gridcast.features.load_scale import LoadScale
from gridcast.features.table import build_features
from gridcast.forecasting.calibration import learn_errors
from gridcast.forecasting.issue import forecast_regions
from gridcast.forecasting.model import NETWORK, STAND_INS, Contestants, ForecastModel
from tests.builders.trainings import make_forecaster, tiny
from tests.builders.values import make_load, make_load_frame

HORIZON, LATE = 6, 3
CONFIG = tiny(
    features={"lags_hours": [24]},
    split={"test_share": 0.1, "validation_share": 0.2, "article_lookback": 10},
    forecasting={"horizon": HORIZON, "max_stale_hours": LATE, "calibration_origins": 20},
)
SCALES = {"AEP": LoadScale(10_000.0, 1_500.0)}
READINGS = {"AEP": make_load_frame(make_load(900), flags={})}
END = READINGS["AEP"]["timestamp"].iloc[-1] + pd.Timedelta(hours=1)
YESTERDAY, LAST_WEEK = STAND_INS
GOOD, BAD = [0.0] * (HORIZON + LATE), [9.0] * (HORIZON + LATE)


@pytest.fixture(scope="module")
def model() -> ForecastModel:
    network = make_forecaster(CONFIG, "gru", num_regions=1)
    frame = build_features(READINGS, CONFIG, scales=SCALES).frame
    learned = learn_errors(Contestants({"gru": network}, {"gru": ("gru",)}), frame, SCALES, CONFIG)
    found = learned.calibrations["gru"]
    return ForecastModel("gru", "a" * 64, CONFIG, SCALES, (network,), found)


def issued(model: ForecastModel, *, hours_late: int = 0, **smape: list[float]) -> pd.DataFrame:
    """The rows where contestants had these errors at each lead."""
    calibrations = {
        name: replace(each, error_RK=np.array([smape[name]]), gain_error_RK=None)
        for name, each in model.calibrations.items()
    }
    return forecast_regions(
        replace(model, calibrations=calibrations), READINGS, horizon=HORIZON, max_stale_hours=LATE,
        issue_time=END + pd.Timedelta(hours=hours_late),
    ).rows  # fmt: skip


def by_one(model: ForecastModel, name: str, *, hours_late: int = 0) -> pd.DataFrame:
    errors = {each: GOOD if each == name else BAD for each in (NETWORK, *STAND_INS)}
    return issued(model, hours_late=hours_late, **errors)


COLUMNS = ["load_mw", "q05", "q25", "q75", "q95"]


@pytest.mark.parametrize("hours_late", [0, 2])
def test_from_the_lead_on_at_which_it_is_better_a_naive_forecast_stands_in(
    model: ForecastModel, hours_late: int
) -> None:
    network = [1.0, 1, 1, 1, 3, 3, 3, 3, 3]
    rows = issued(
        model, hours_late=hours_late, network=network, same_hour_yesterday=[2.0] * 9,
        same_hour_last_week=[2.5] * 9,
    )  # fmt: skip
    num_own = 4 - hours_late
    assert rows["fallback"].tolist() == [""] * num_own + [YESTERDAY] * (HORIZON - num_own)
    own, naive = (by_one(model, each, hours_late=hours_late) for each in (NETWORK, YESTERDAY))
    for name in COLUMNS:
        expected = [*own[name][:num_own], *naive[name][num_own:]]
        assert rows[name].tolist() == expected
    assert set(own["fallback"]) == {""}
    (reason,) = set(rows["fallback_reason"][num_own:])
    assert reason.startswith("from lead 5 on it is better than the network on the validation part")
    assert reason.endswith("(2.00 % against 3.00 %)")
    assert set(rows["fallback_reason"][:num_own]) == {""}


def test_a_lead_that_is_worse_by_chance_makes_no_path_of_two(model: ForecastModel) -> None:
    rows = issued(
        model, network=[1.0, 1, 2.1, 1, 1, 1, 1, 1, 1], same_hour_yesterday=[2.0] * 9,
        same_hour_last_week=[2.0] * 9,
    )  # fmt: skip
    assert set(rows["fallback"]) == {""}


def test_of_two_naive_forecasts_the_one_with_which_all_leads_are_best(model: ForecastModel) -> None:
    rows = issued(
        model, network=[1.0] * 3 + [9.0] * 6, same_hour_yesterday=[2.0] * 9,
        same_hour_last_week=[5.0] * 3 + [1.5] * 6,
    )  # fmt: skip
    assert rows["fallback"].tolist() == [""] * 3 + [LAST_WEEK] * 3


def test_errors_that_nobody_knows_leave_the_network(model: ForecastModel) -> None:
    nobody = [float("nan")] * 9
    rows = issued(model, network=nobody, same_hour_yesterday=nobody, same_hour_last_week=nobody)
    assert set(rows["fallback"]) == {""}


def test_doubts_leave_nothing_to_the_network(model: ForecastModel) -> None:
    rows = by_one(model, NETWORK, hours_late=LATE + 1)
    assert set(rows["fallback"]) <= set(STAND_INS)
    assert rows["fallback_reason"].str.contains("before the issue time").all()
