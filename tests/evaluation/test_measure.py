"""Where loads pass near zero, errors are told in percent of the mean load, and decided by so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.evaluation.comparison import compare_contestants
from gridcast.evaluation.contestants import Contestant
from gridcast.evaluation.measure import (
    NMAE,
    SMAPE,
    MeasureName,
    mean_load,
    measure_of,
    measure_of_run,
    near_zero_share,
    norms_of,
    percent_errors,
    sizes_of,
    why_nmae,
)
from gridcast.evaluation.metrics import mae, smape
from gridcast.evaluation.scores import mean_errors, mean_loads
from gridcast.evaluation.search import error_of_mean_forecast
from gridcast.features.load_scale import LoadScale
from gridcast.features.splits import TEST, TRAIN, VALIDATION
from gridcast.forecasting.calibration import error_of
from tests.builders.evaluations import GRU, LSTM, make_job_forecasts, make_table

HOURS = np.arange(24 * 60)


def net_load(noon_mw: float = 21.0) -> np.ndarray:
    """20 MW with the sun over it: by day down to less than nothing."""
    load: np.ndarray = 20.0 - noon_mw * np.clip(np.sin((HOURS % 24 - 6) / 12 * np.pi), 0, None)
    return load


def test_errors_are_those_of_the_metrics_that_define_them() -> None:
    rng = np.random.default_rng(0)
    truth, forecast = rng.normal(5, 10, (2, 400))
    assert percent_errors(truth, forecast, np.nan).mean() == pytest.approx(smape(truth, forecast))
    of_mean = 100 * mae(truth, forecast) / 8.0
    assert percent_errors(truth, forecast, 8.0).mean() == pytest.approx(of_mean)
    both = percent_errors(truth, forecast, np.where(HOURS[:400] < 200, 8.0, np.nan))
    np.testing.assert_allclose(both[:200], 100 * np.abs(truth - forecast)[:200] / 8.0)
    assert both[200:].mean() == pytest.approx(smape(truth[200:], forecast[200:]))


def test_a_signed_error_is_divided_by_the_same() -> None:
    truth = np.array([4.0, -4.0, 0.0])
    np.testing.assert_array_equal(sizes_of(truth, np.nan), [4.0, 4.0, np.nan])
    np.testing.assert_array_equal(sizes_of(truth, 10.0), [10.0, 10.0, 10.0])


@pytest.mark.parametrize(
    ("load_mw", "measure"),
    [
        pytest.param(net_load(), NMAE, id="a_substation_with_solar_passes_zero"),
        pytest.param(net_load(40.0), NMAE, id="and_one_with_much_of_it"),
        pytest.param(np.where(HOURS % 24 < 8, 0.001, 0.05), NMAE, id="a_building_sleeps_at_night"),
        pytest.param(net_load(10.0), SMAPE, id="some_solar_leaves_half_the_load"),
        pytest.param(np.where(HOURS == 700, 0.0, net_load(5.0)), SMAPE, id="one_hour_of_nothing"),
    ],
)
def test_loads_near_zero_decide_and_single_hours_do_not(
    load_mw: np.ndarray, measure: MeasureName
) -> None:
    shares = {"PLAIN": 0.0, "OWN": near_zero_share(load_mw)}
    assert measure_of_run(shares.values()) == measure
    assert ("OWN" in why_nmae(shares)) == (measure == NMAE)


def test_one_region_near_zero_decides_for_all_of_a_run() -> None:
    scales = {"A": LoadScale(0.0, 1.0, norm_mw=12.0), "B": LoadScale(0.0, 1.0, norm_mw=900.0)}
    assert measure_of(scales.values()) == NMAE
    assert norms_of(scales.values()).tolist() == [12.0, 900.0]
    assert measure_of([LoadScale(0.0, 1.0)]) == SMAPE
    assert np.isnan(norms_of([LoadScale(0.0, 1.0)])).all()


def passing_zero() -> tuple[pd.DataFrame, dict[Contestant, pd.DataFrame]]:
    """GRU is off by 0.5 MW at hours near zero, LSTM by 4 MW at the others: MAE prefers GRU."""
    table = make_table(regions=("SUB",), num_hours=600)
    load = np.where(np.arange(len(table)) % 24 == 12, 0.1, 20.0 + np.arange(len(table)) % 5)
    table = table.assign(load_mw=np.where(table["load_mw"].isna(), np.nan, load), input_mw=load)
    jobs = {}
    for each, error in ((GRU, np.where(load < 1, 0.5, 0.0)), (LSTM, np.where(load < 1, 0.0, 1.0))):
        parts = [make_job_forecasts(table, part=part) for part in (VALIDATION, TEST)]
        rows = pd.concat(parts)
        jobs[each] = rows.assign(y_pred=rows["y_pred"] + error[rows["step"].to_numpy()])
    return table, jobs


@pytest.mark.parametrize(("measure", "preferred"), [(SMAPE, LSTM), (NMAE, GRU)])
def test_the_choice_follows_the_measure_and_so_the_mae(
    measure: MeasureName, preferred: Contestant
) -> None:
    table, jobs = passing_zero()
    found = compare_contestants(table, jobs, season_length=24, measure=measure)
    assert found.preferred == preferred.name
    overall = found.scores.overall.set_index("contestant")
    mean = table.loc[table["part"] == TRAIN, "load_mw"].abs().mean()
    np.testing.assert_allclose(overall["nmae"], 100 * overall["mae"] / mean)
    assert overall["mae"].idxmin() == "gru-seed0"
    assert found.validation_nmae["gru-seed0"] < found.validation_nmae["lstm-seed0"]
    assert found.validation_smape["gru-seed0"] > found.validation_smape["lstm-seed0"]


def test_the_mean_load_is_that_of_the_training_part_alone() -> None:
    table, _ = passing_zero()
    own = mean_loads(table)
    later = table.assign(load_mw=table["load_mw"].where(table["part"] == TRAIN, 1e6))
    assert mean_loads(later) == own
    assert own["SUB"] == mean_load(table.loc[table["part"] == TRAIN, "load_mw"].to_numpy())


def test_a_search_is_led_by_the_same_errors() -> None:
    table, jobs = passing_zero()
    rows = [each[each["part"] == "validation"] for each in jobs.values()]
    truth = table["load_mw"].to_numpy()[rows[0]["step"].to_numpy()]
    mean = (rows[0]["y_pred"].to_numpy() + rows[1]["y_pred"].to_numpy()) / 2
    norms = {"SUB": 20.0}
    found = error_of_mean_forecast(table[["region", "load_mw"]], rows, norms)
    assert found == pytest.approx(100 * mae(truth, mean) / 20.0)
    assert error_of_mean_forecast(table, rows) == pytest.approx(smape(truth, mean))


def test_errors_of_a_part_are_the_maes_in_percent_of_the_mean_loads() -> None:
    from gridcast.evaluation.forecasts import collect_forecasts

    table, jobs = passing_zero()
    forecasts = collect_forecasts(table, jobs, part=VALIDATION)
    own = forecasts.labels["y_true"].to_numpy()
    found = mean_errors(forecasts, {"SUB": 16.0})
    for each, y_pred in forecasts.y_pred.items():
        assert found[each.name] == pytest.approx(100 * mae(own, y_pred) / 16.0)


def test_errors_by_lead_are_held_against_each_regions_own_norm() -> None:
    truth = np.array([[10.0, 0.0], [30.0, np.nan], [5.0, 5.0]])
    forecast = truth + np.array([[1.0, 2.0], [3.0, 1.0], [-1.0, 1.0]])
    found = error_of(truth, forecast, np.array([0, 0, 1]), np.array([20.0, np.nan]))
    np.testing.assert_allclose(found[0], [100 * (1 + 3) / 2 / 20, 100 * 2 / 20])
    np.testing.assert_allclose(found[1], [100 * 1 / 4.5, 100 * 1 / 5.5])
