"""Forecasts with covariates: as in training, one way or the other, and never from the future."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from gridcast.config import Config
from gridcast.covariates.values import ISSUED, TIME, Covariates
from gridcast.features.load_scale import LoadScale
from gridcast.features.table import build_features
from gridcast.forecasting.calibration import learn_errors
from gridcast.forecasting.issue import forecast_regions
from gridcast.forecasting.model import NETWORK, STAND_INS, Contestants, ForecastModel
from gridcast.forecasting.rolling import forecast_origins, rolling_table
from gridcast.operation.issue_span import issue_span
from gridcast.training.lead_windows import forecast_windows
from tests.builders.covariates import make_issued, make_observed, with_temperature
from tests.builders.trainings import make_by_lead, make_forecaster, tiny, tiny_by_lead
from tests.builders.values import make_load, make_load_frame, make_training_data

NUM, HORIZON = 900, 6
OWN: dict[str, Any] = {
    "forecasting": {
        "horizon": HORIZON, "max_stale_hours": 2, "bands": {"learn_days": 7},
        "calibration_origins": 20,
    },
    "split": {"test_share": 0.1, "validation_share": 0.2, "article_lookback": 10},
}  # fmt: skip
READINGS = {"AEP": make_load_frame(make_load(NUM), flags={})}
FIRST = pd.Timestamp("2017-01-01 05:00", tz="UTC")
HOUR = pd.Timedelta(hours=1)
SINCE = {"AEP": "2017-01-09T05:00:00+00:00"}
SCALES = {"AEP": LoadScale(10_000.0, 1_500.0, {"temperature": (15.0, 8.0)})}


def config_of(head: str, as_known: str = "issued") -> Config:
    own = tiny_by_lead(**OWN) if head == "by_lead" else tiny(**OWN)
    return with_temperature(own, as_known=as_known)


def model_of(config: Config, covariates: Covariates) -> ForecastModel:
    """A network that has learned nothing, preferred at every lead."""
    network = (
        make_by_lead(config, "gru", num_regions=1)
        if config.model.head == "by_lead"
        else make_forecaster(config, "gru", num_regions=1)
    )
    given = {"AEP": covariates}
    frame = build_features(READINGS, config, covariates=given, scales=SCALES).frame
    learned = learn_errors(
        Contestants({"gru": network}, {"gru": ("gru",)}), frame, SCALES, config, covariates=given
    ).calibrations["gru"]
    errors = {NETWORK: 0.0} | dict.fromkeys(STAND_INS, 9.0)
    calibrations = {
        name: replace(each, error_RK=np.full_like(each.error_RK, errors[name]), gain_error_RK=None)
        for name, each in learned.items()
    }
    return ForecastModel("gru", "a" * 64, config, SCALES, (network,), calibrations, {}, given)


def issue(model: ForecastModel, issue_time: pd.Timestamp) -> pd.DataFrame:
    return forecast_regions(
        model, READINGS, issue_time=issue_time, horizon=HORIZON, max_stale_hours=2
    ).rows


@pytest.mark.parametrize("head", ["linear", "by_lead"])
@pytest.mark.parametrize("as_known", ["issued", "observed"])
def test_noise_in_the_place_of_what_was_issued_later_moves_no_byte(
    head: str, as_known: str
) -> None:
    covariates = make_issued(NUM)
    model = model_of(config_of(head, as_known), covariates)
    issue_time = FIRST + 700 * HOUR
    rng = np.random.default_rng(3)
    is_later = covariates.frame[ISSUED] > issue_time
    noise = rng.normal(0, 50, len(covariates.frame))
    value = covariates.frame["temperature"]
    other = Covariates(covariates.frame.assign(temperature=value.where(~is_later, noise)))
    before, after = issue(model, issue_time), issue(model.given({"AEP": other}), issue_time)
    pd.testing.assert_frame_equal(before, after, check_exact=True)
    # and what had been issued has a say
    noisy = Covariates(covariates.frame.assign(temperature=value.where(is_later, noise)))
    moved = issue(model.given({"AEP": noisy}), issue_time)
    assert not np.allclose(before["load_mw"], moved["load_mw"])


@pytest.mark.parametrize("head", ["linear", "by_lead"])
def test_an_hour_s_temperature_has_a_say_in_that_hour_s_forecast(head: str) -> None:
    """A shift by an hour would move another lead first."""
    covariates = make_observed(NUM, ahead=48)
    config = config_of(head, "observed")
    config = with_temperature(config, as_known="observed", lags_hours=(), mean_hours=())
    model = model_of(config, covariates)
    issue_time = FIRST + 700 * HOUR
    before = issue(model, issue_time)["load_mw"].to_numpy()
    for lead in (1, 3, 5):
        is_own = covariates.frame[TIME] == issue_time + (lead - 1) * HOUR
        value = covariates.frame["temperature"]
        hot = Covariates(covariates.frame.assign(temperature=value.where(~is_own, 45.0)))
        moved = issue(model.given({"AEP": hot}), issue_time)["load_mw"].to_numpy() != before
        assert moved[lead - 1]
        assert not moved[: lead - 1].any()


@pytest.mark.parametrize("hour", [0, 7])
@pytest.mark.parametrize("as_known", ["issued", "observed"])
def test_a_live_forecast_by_lead_is_that_of_training_s_windows(hour: int, as_known: str) -> None:
    config = config_of("by_lead", as_known)
    covariates = make_issued(NUM) if as_known == "issued" else make_observed(NUM, ahead=48)
    given = {"AEP": covariates}
    built = build_features(READINGS, config, covariates=given, scales=SCALES)
    network = make_by_lead(config, "gru", num_regions=1)
    origin = np.array([24 * 20 - 6 + hour])
    horizon = config.windows.horizon
    table = rolling_table(built.frame, SCALES, config, num_leads=horizon, covariates=given)
    found = forecast_origins([network], table, origin, config, num_leads=horizon)
    start = torch.tensor([24 * 20 - 6 - config.windows.lookback + 1])
    if hour:  # a live forecast reads from 00:00 on; a window as long reads that
        windows = config.windows.model_copy(update={"lookback": config.windows.lookback + hour})
    else:
        windows = config.windows
    data = make_training_data(built, config.model)
    at = torch.tensor([[windows.lookback - 1]])
    with torch.no_grad():
        scaled = forecast_windows(network.eval(), data, start, at, windows)[0, 0].numpy()
    np.testing.assert_allclose(found[0], 10_000.0 + 1_500.0 * scaled, rtol=1e-4)


@pytest.mark.parametrize("head", ["linear", "by_lead"])
def test_many_issue_times_at_once_give_the_rows_of_one_after_the_other(head: str) -> None:
    covariates = make_issued(NUM, leads=12, every=12)  # of later leads not all is known
    model = model_of(config_of(head), covariates)
    times = pd.date_range("2017-01-30T22:00", periods=5, freq="h", tz="UTC")
    rows = issue_span(model, READINGS, SINCE, model.config.forecasting, issue_times=times)
    assert (rows["fallback"] == "").all()
    assert 0 < (rows["fallback_reason"] != "").sum() < len(rows)
    each = pd.concat([issue(model, time) for time in times], ignore_index=True)
    for name in ("timestamp", "lead", "fallback", "fallback_reason"):
        assert rows[name].tolist() == each[name].tolist()
    np.testing.assert_allclose(rows["load_mw"], each["load_mw"], rtol=1e-6)


def test_a_row_without_a_value_says_so_and_is_forecast_all_the_same() -> None:
    covariates = make_observed(700, ahead=2)
    model = model_of(config_of("linear", "observed"), covariates)
    rows = issue(model, FIRST + 700 * HOUR)
    lacking = "without temperature: nothing had been issued for this hour"
    assert rows["fallback_reason"].tolist() == [""] * 2 + [lacking] * (HORIZON - 2)
    assert (rows["fallback"] == "").all()
    assert np.isfinite(rows["load_mw"]).all()
