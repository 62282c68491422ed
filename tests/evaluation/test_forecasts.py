"""The long table of forecasts: all contestants on the same labels, a row a forecast."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.evaluation.contestants import NAIVE
from gridcast.evaluation.forecasts import COLUMNS, collect_forecasts
from gridcast.features.splits import TEST, VALIDATION
from tests.builders.evaluations import (
    GRU,
    GRU_1,
    LINEAR,
    LSTM,
    LSTM_1,
    make_job_forecasts,
    make_table,
)

HOUR = pd.Timedelta("1h")
NAIVE_NAMES = [each.name for each in NAIVE]
DTYPES = {
    "contestant": "category", "region": "category", "issue_time": "datetime64[us, UTC]",
    "timestamp": "datetime64[us, UTC]", "lead": "int16", "local_hour": "int8",
    "y_true": "float64", "y_pred": "float64",
}  # fmt: skip


def of(long: pd.DataFrame, name: str) -> pd.DataFrame:
    return long[long["contestant"] == name].reset_index(drop=True)


def labels_of(rows: pd.DataFrame) -> list[tuple[str, pd.Timestamp]]:
    """Region and hour of each row."""
    return list(zip(rows["region"].astype(str), rows["timestamp"], strict=True))


def load_of(table: pd.DataFrame) -> dict[tuple[str, pd.Timestamp], float]:
    return dict(zip(labels_of(table), table["load_mw"], strict=True))


def test_each_contestant_has_a_row_a_label_with_its_truth() -> None:
    table = make_table()
    job = make_job_forecasts(table, factor=1.1)
    long = collect_forecasts(table, {GRU: job}, part=TEST).table()
    assert list(long.columns) == list(COLUMNS)
    assert {name: str(kind) for name, kind in long.dtypes.items()} == DTYPES
    assert list(long["contestant"].unique()) == ["gru-seed0", *NAIVE_NAMES]
    step = np.flatnonzero(table["part"] == TEST)
    for name in ("gru-seed0", *NAIVE_NAMES):
        own = of(long, name)
        for column in ("region", "timestamp", "local_hour"):
            assert own[column].tolist() == table[column].iloc[step].tolist()
        assert own["y_true"].tolist() == table["load_mw"].iloc[step].tolist()
        assert set(own["lead"]) == {1}
        assert set(own["timestamp"] - own["issue_time"]) == {0 * HOUR}
    assert of(long, "persistence")["y_pred"].tolist() == table["input_mw"].iloc[step - 1].tolist()
    np.testing.assert_allclose(
        of(long, "gru-seed0")["y_pred"], 1.1 * of(long, "gru-seed0")["y_true"]
    )


def test_a_category_takes_a_byte_where_a_name_took_many() -> None:
    table = make_table()
    long = collect_forecasts(table, {GRU: make_job_forecasts(table)}, part=TEST).table()
    assert long.memory_usage(deep=True, index=False).sum() < 40 * len(long) + 2000


def test_the_pieces_of_the_table_are_the_table() -> None:
    table = make_table()
    forecasts = collect_forecasts(table, {GRU: make_job_forecasts(table)}, part=TEST)
    pieces = list(forecasts.tables())
    assert [set(each["contestant"]) for each in pieces] == [
        {"gru-seed0"},
        *({n} for n in NAIVE_NAMES),
    ]
    assert all(each.dtypes.equals(pieces[0].dtypes) for each in pieces)
    pd.testing.assert_frame_equal(pd.concat(pieces, ignore_index=True), forecasts.table())


def test_rows_of_a_job_in_any_order_and_its_validation_forecasts_change_nothing() -> None:
    table = make_table()
    job = make_job_forecasts(table, factor=1.1, horizon=3)
    validation = make_job_forecasts(table, factor=5.0, horizon=3, part=VALIDATION)
    mixed = pd.concat([job.sample(frac=1, random_state=0), validation])
    expected = collect_forecasts(table, {GRU: job}, part=TEST).table()
    found = collect_forecasts(table, {GRU: mixed}, part=TEST).table()
    pd.testing.assert_frame_equal(found, expected)


def test_contestants_are_held_against_each_other_on_the_labels_that_all_of_them_forecast() -> None:
    table = make_table()
    whole, half = (make_job_forecasts(table, factor=factor) for factor in (1.1, 0.9))
    half = half.iloc[::2]
    long = collect_forecasts(table, {GRU: whole, LSTM: half}, part=TEST).table()
    assert not long.isna().any(axis=None)
    hours = table["timestamp"].to_numpy()[half["step"]].tolist()
    for name, factor in {"gru-seed0": 1.1, "lstm-seed0": 0.9, "persistence": None}.items():
        own = of(long, name)
        assert own["timestamp"].to_numpy().tolist() == hours
        if factor:
            np.testing.assert_allclose(own["y_pred"], factor * own["y_true"])


def test_an_hour_forecast_by_one_job_at_another_lead_is_not_the_same_label() -> None:
    table = make_table()
    long_sighted = make_job_forecasts(table, horizon=3)
    far = long_sighted[long_sighted["lead"] > 1]
    found = collect_forecasts(table, {GRU: long_sighted, LSTM: far}, part=TEST)
    assert set(found.labels["lead"]) == {2, 3}
    assert len(found.labels) == len(far)


FACTORS = {GRU: 1.3, LSTM: 0.9, GRU_1: 1.0, LSTM_1: 1.2}


def test_a_mean_is_that_of_its_members_label_by_label() -> None:
    table = make_table()
    jobs = {each: make_job_forecasts(table, factor=factor) for each, factor in FACTORS.items()}
    linear = {LINEAR: make_job_forecasts(table, factor=2.0)}
    forecasts = collect_forecasts(table, linear | jobs, part=TEST)
    by_hand = {"mean-seed0": 1.1, "mean-seed1": 1.1, "mean-all": 1.1, "linear": 2.0}
    names = [each.name for each in forecasts.contestants]
    assert names == [*(each.name for each in FACTORS), *by_hand, *NAIVE_NAMES]
    long = forecasts.table()
    for name, factor in by_hand.items():
        np.testing.assert_allclose(of(long, name)["y_pred"], factor * of(long, name)["y_true"])


@pytest.mark.parametrize("horizon", [2, 30])
def test_each_row_is_the_hour_so_many_steps_after_the_origin(horizon: int) -> None:
    table = make_table(num_hours=1500)
    job = make_job_forecasts(table, horizon=horizon)
    long = collect_forecasts(table, {GRU: job}, part=TEST).table()
    hours = pd.to_timedelta(long["lead"].to_numpy(dtype="int64") - 1, unit="h")
    assert (long["timestamp"] - long["issue_time"] == hours).all()
    own = of(long, "gru-seed0")
    keys = list(own[["region", "issue_time", "lead"]].itertuples(index=False, name=None))
    assert keys == sorted(set(keys))  # a path lies together, and no row stands twice
    load = load_of(table)
    assert own["y_true"].tolist() == [load[label] for label in labels_of(own)]


def test_a_naive_forecast_never_takes_an_hour_after_its_issue_time() -> None:
    table = make_table(num_hours=1500)
    job = make_job_forecasts(table, horizon=30)
    long = collect_forecasts(table, {GRU: job}, part=TEST).table()
    load = load_of(table)
    backs = {
        "persistence": {1: 1, 24: 24, 25: 25, 30: 30},
        "same_hour_yesterday": {1: 24, 24: 24, 25: 48, 30: 48},
        "same_hour_last_week": {1: 168, 24: 168, 25: 168, 30: 168},
    }
    for name, back_of in backs.items():
        own = of(long, name)
        for lead, back in back_of.items():
            rows = own[own["lead"] == lead]
            expected = [load[region, hour - back * HOUR] for region, hour in labels_of(rows)]
            assert rows["y_pred"].tolist() == expected, (name, lead)
            assert (rows["timestamp"] - back * HOUR < rows["issue_time"]).all()
