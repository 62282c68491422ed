"""A span at once, held row for row to forecasts issued one by one with the bands of their day."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gridcast.errors import UsageError
from gridcast.evaluation.backtest_scores import Backtest
from gridcast.evaluation.metrics import smape
from gridcast.features.load_scale import LoadScale
from gridcast.features.table import build_features
from gridcast.forecasting.backtest import backtest, beside_refits, score_hindcast
from gridcast.forecasting.calibration import Calibration
from gridcast.forecasting.hindcast import bands_on, first_learned, hindcast
from gridcast.forecasting.issue import forecast_regions
from gridcast.forecasting.model import NETWORK, STAND_INS, Contestants, ForecastModel
from gridcast.forecasting.rolling import rolling_table
from tests.builders.trainings import make_forecaster, tiny
from tests.builders.values import make_load, make_load_frame

NUM_HOURS, HORIZON, LATE = 900, 6, 2
REGIONS = ("AEP", "DOM")
SCALES = {"AEP": LoadScale(10_000.0, 1_500.0), "DOM": LoadScale(900.0, 150.0)}
LOADS = {"AEP": make_load(NUM_HOURS), "DOM": make_load(NUM_HOURS, mean_mw=900, seed=1)}
SINCE = dict.fromkeys(REGIONS, "2017-01-09T05:00:00+00:00")
CONFIG = tiny(
    features={"lags_hours": [24]},
    forecasting={"horizon": HORIZON, "max_stale_hours": LATE, "bands": {"learn_days": 7}},
)
NETWORKS = {"0": make_forecaster(CONFIG, "gru"), "1": make_forecaster(CONFIG, "lstm")}
FIRST, END = np.datetime64("2017-01-21"), np.datetime64("2017-01-25")  # over a Monday


def frame_of(loads: dict[str, np.ndarray]) -> pd.DataFrame:
    readings = {name: make_load_frame(load, flags={}) for name, load in loads.items()}
    return build_features(readings, CONFIG, scales=SCALES).frame


def model_on(day: np.datetime64) -> ForecastModel:
    """With the bands of a day, and a network that is better than any stand-in."""
    frame = frame_of(LOADS)
    table = rolling_table(frame, SCALES, CONFIG, num_leads=HORIZON + LATE)
    past = hindcast(
        Contestants(NETWORKS, {NETWORK: ("0", "1")}), table, frame, SINCE, CONFIG,
        first=first_learned(day, CONFIG.forecasting), end=day,
    )  # fmt: skip
    bands = bands_on(past, CONFIG.forecasting)
    errors = {NETWORK: 0.0, STAND_INS[0]: 1.0, STAND_INS[1]: 1.0}
    calibrations = {
        name: Calibration(np.full((2, HORIZON), smape), bands[name])
        for name, smape in errors.items()
    }
    return ForecastModel("mean", "a" * 64, CONFIG, SCALES, tuple(NETWORKS.values()), calibrations)


@pytest.fixture(scope="module")
def found() -> Backtest:
    model = model_on(FIRST)
    return backtest(model, frame_of(LOADS), SINCE, first=FIRST, end=END, horizon=HORIZON)


@pytest.mark.parametrize("maker", [NETWORK, "same_hour_last_week"])
@pytest.mark.parametrize("hours", [0, 7, 40, 49, 95])
def test_a_row_is_what_would_have_been_issued_then(found: Backtest, hours: int, maker: str) -> None:
    issue_time = pd.Timestamp(FIRST).tz_localize("UTC") + pd.Timedelta(hours=hours)
    model = model_on(np.datetime64(issue_time.tz_localize(None), "D"))
    if maker != NETWORK:  # every other one loses to it
        kept = {name: replace(each, error_RK=each.error_RK + 9.0 * (name != maker))
                for name, each in model.calibrations.items()}  # fmt: skip
        model = replace(model, calibrations=kept)
    readings = {
        name: own[own["timestamp"] < issue_time]
        for name, own in ((n, make_load_frame(load, flags={})) for n, load in LOADS.items())
    }
    issued = forecast_regions(
        model, readings, issue_time=issue_time, horizon=HORIZON, max_stale_hours=LATE
    ).rows
    rows = found.rows[found.rows["contestant"] == ("mean" if maker == NETWORK else maker)]
    own = rows[rows["issue_time"] == issue_time].reset_index(drop=True)
    assert len(own) == len(issued) == 2 * HORIZON
    pd.testing.assert_series_equal(own["timestamp"], issued["timestamp"], check_dtype=False)
    np.testing.assert_allclose(own["y_pred"], issued["load_mw"], rtol=1e-5)
    for name in ("q05", "q25", "q75", "q95"):
        np.testing.assert_allclose(own[name], issued[name], rtol=1e-4)


def test_each_truth_stands_beside_its_forecast_and_makes_the_scores(found: Backtest) -> None:
    rows = found.rows[(found.rows["contestant"] == "mean") & (found.rows["region"] == "DOM")]
    truth = make_load_frame(LOADS["DOM"], flags={}).set_index("timestamp")["load_mw"]
    assert (truth[rows["timestamp"]].to_numpy() == rows["y_true"].to_numpy()).all()
    assert len(rows) == 4 * 24 * HORIZON
    ahead = pd.to_timedelta(rows["lead"] - 1, unit="h")
    assert (rows["timestamp"] == rows["issue_time"] + ahead).all()
    third = found.rows[(found.rows["contestant"] == "mean") & (found.rows["lead"] == 3)]
    each = [
        smape(own["y_true"].to_numpy(), own["y_pred"].to_numpy())
        for _, own in third.groupby("region", observed=True)
    ]
    told = found.by_lead.set_index(["contestant", "lead"])["error"]["mean", 3]
    assert told == pytest.approx(np.mean(each))
    assert set(found.bands) == {"mean", *STAND_INS}


def test_who_gets_no_bands_has_the_same_rows_and_errors_and_the_others_keep_theirs() -> None:
    table = rolling_table(frame_of(LOADS), SCALES, CONFIG, num_leads=HORIZON + LATE)
    past = hindcast(
        Contestants(NETWORKS, {NETWORK: ("0", "1")}), table, frame_of(LOADS), SINCE, CONFIG,
        first=first_learned(FIRST, CONFIG.forecasting), end=END,
    )  # fmt: skip
    all_of_them, own = (
        score_hindcast(
            past, CONFIG.forecasting, REGIONS, first=FIRST, end=END, horizon=HORIZON, banded=banded
        )
        for banded in (None, [NETWORK])
    )
    assert all_of_them is not None
    assert own is not None
    assert set(own.bands) == {NETWORK}
    pd.testing.assert_frame_equal(own.bands[NETWORK].by_lead, all_of_them.bands[NETWORK].by_lead)
    order = ["contestant", "region", "issue_time", "lead"]
    quantiles = ["q05", "q25", "q75", "q95"]
    one, other = (each.rows.sort_values(order, ignore_index=True) for each in (own, all_of_them))
    pd.testing.assert_frame_equal(one.drop(columns=quantiles), other.drop(columns=quantiles))
    is_network = one["contestant"] == NETWORK
    pd.testing.assert_frame_equal(one[is_network], other[is_network])
    assert one[~is_network][quantiles].isna().all(axis=None)
    pd.testing.assert_frame_equal(own.by_lead, all_of_them.by_lead)


def test_a_truth_after_an_issue_time_has_no_say_in_it() -> None:
    noise = {name: load.copy() for name, load in LOADS.items()}
    begin = int((np.datetime64("2017-01-23T10") - np.datetime64("2017-01-01T05")).astype(int))
    for load in noise.values():
        load[begin:] = np.random.default_rng(1).uniform(1, 9e4, NUM_HOURS - begin)
    columns = ["contestant", "region", "issue_time", "lead", "y_pred", "q05", "q95"]
    until = pd.Timestamp("2017-01-23T10", tz="UTC")
    model = model_on(FIRST)
    ours, theirs = (
        backtest(model, frame_of(each), SINCE, first=FIRST, end=END, horizon=HORIZON).rows
        for each in (LOADS, noise)
    )
    one, other = (
        each[each["issue_time"] <= until][columns].reset_index(drop=True) for each in (ours, theirs)
    )
    pd.testing.assert_frame_equal(one, other)
    assert not ours["y_pred"].equals(theirs["y_pred"])


def test_a_span_that_the_model_was_trained_on_is_refused() -> None:
    first, end = np.datetime64("2017-01-03"), np.datetime64("2017-01-05")
    with pytest.raises(UsageError, match="expected hours from 2017-01-09T05:00:00"):
        backtest(model_on(FIRST), frame_of(LOADS), SINCE, first=first, end=end, horizon=HORIZON)


def test_refits_stand_beside_the_first_model_on_the_labels_that_both_have(found: Backtest) -> None:
    own = found.rows[found.rows["contestant"] == "mean"]
    until, since = (pd.Timestamp(day, tz="UTC") for day in ("2017-01-23", "2017-01-24"))
    later = own[(own["issue_time"] >= since) & (own["region"] == "AEP")]  # knows no other region
    changed = later.assign(y_pred=later["y_pred"] * 1.1)
    both = beside_refits(found, [own[own["issue_time"] < until], changed], CONFIG, name="anew")
    assert list(both.bands) == ["anew", "mean", *STAND_INS]
    keys = ["region", "issue_time", "lead"]
    labels = [
        each[keys].astype({"region": str}).sort_values(keys).reset_index(drop=True)
        for _, each in both.rows.groupby("contestant", observed=True)
    ]
    for each in labels:
        pd.testing.assert_frame_equal(each, labels[0])
    assert len(labels[0]) == (2 * 48 + 24) * HORIZON
    rows = both.rows[both.rows["contestant"] == "anew"].set_index("issue_time").sort_index()
    once = both.rows[both.rows["contestant"] == "mean"].set_index("issue_time").sort_index()
    np.testing.assert_array_equal(rows[:until]["y_pred"], once[:until]["y_pred"])
    np.testing.assert_allclose(rows[since:]["y_pred"], 1.1 * once[since:]["y_pred"])
    truth, forecast = (rows[rows["lead"] == 2][each].to_numpy() for each in ("y_true", "y_pred"))
    regions = rows[rows["lead"] == 2]["region"].astype(str).to_numpy()
    each_smape = [smape(truth[regions == r], forecast[regions == r]) for r in REGIONS]
    told = both.by_lead.set_index(["contestant", "lead"])["error"]["anew", 2]
    assert told == pytest.approx(np.mean(each_smape))
