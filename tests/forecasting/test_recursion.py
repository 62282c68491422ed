"""A forecast of many hours, held to one made hour by hour with all features computed anew.

Legend: ``B`` forecasts, ``K`` leads, ``L`` known steps, ``F`` features.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from gridcast.config import Cell, Config
from gridcast.features.columns import calendar_columns
from gridcast.features.load_scale import LoadScale
from gridcast.features.table import region_features
from gridcast.forecasting.region_state import RegionState, region_state, table_of_states
from gridcast.forecasting.rolling import forecast_origins, naive_origins
from gridcast.networks.forecaster import RecurrentForecaster
from tests.builders.trainings import make_forecaster, tiny
from tests.builders.values import make_load, make_load_frame

REGIONS = ("AEP", "DOM")
SCALE = LoadScale(10_000.0, 1_500.0)
NUM_HOURS, NUM_LEADS = 420, 30
FIRST = pd.Timestamp("2017-01-01 05:00", tz="UTC")
HOUR = pd.Timedelta(hours=1)


def found_state(
    readings: pd.DataFrame, config: Config, issue_time: pd.Timestamp
) -> RegionState | None:
    return region_state("DOM", readings, config, issue_time=issue_time, max_stale_hours=6)


def state_of(readings: pd.DataFrame, config: Config, issue_time: pd.Timestamp) -> RegionState:
    state = found_state(readings, config, issue_time)
    assert state is not None
    return state


def forecast(
    forecaster: RecurrentForecaster, state: RegionState, config: Config, *, num_leads: int
) -> np.ndarray:
    """From its last known hour on, MW."""
    scales = dict.fromkeys(REGIONS, SCALE)
    table = table_of_states([state], scales, config, num_leads=num_leads)
    found_BK = forecast_origins(
        [forecaster], table, table.last_steps(), config, num_leads=num_leads
    )
    return np.asarray(found_BK[0])


def hour_by_hour(
    forecaster: RecurrentForecaster, readings: pd.DataFrame, config: Config
) -> list[float]:
    """Each forecast becomes a reading; features are built anew, the network runs from the begin."""
    longer, forecasts = readings, []
    issue_hour = (readings["timestamp"].iloc[-1] + HOUR).hour
    begin = len(readings) - config.windows.lookback - issue_hour  # before 00:00 UTC of the day
    for _ in range(NUM_LEADS):
        frame, _ = region_features("DOM", longer, config, regions=REGIONS, scale=SCALE)
        names = [name for name in frame.columns if name.startswith("x_")]
        x_BLF = torch.from_numpy(frame[names].to_numpy(dtype=np.float32)[None, begin:].copy())
        with torch.no_grad():
            y_BOH = forecaster(x_BLF, x_BLF.shape[1] - 1, torch.tensor([1]))
        forecasts.append(float(y_BOH[0, 0, 0]) * SCALE.scale_mw + SCALE.offset_mw)
        last = longer.iloc[-1:]
        row = last.assign(
            timestamp=last["timestamp"] + HOUR, local_label=last["local_label"] + HOUR,
            load_mw=forecasts[-1], flag="",
        )  # fmt: skip
        longer = pd.concat([longer, row], ignore_index=True)
    return forecasts


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("num_hours", [NUM_HOURS, NUM_HOURS + 7, 403])  # hours of the day, 403: 00
@pytest.mark.parametrize("lags", [[24], [1, 24, 168]], ids=str)
def test_forecasts_are_those_of_one_hour_after_another(
    cell: Cell, lags: list[int], num_hours: int
) -> None:
    config = tiny(features={"lags_hours": lags, "holidays": "US"})
    forecaster = make_forecaster(config, cell)
    readings = make_load_frame(make_load(num_hours), flags={})
    state = state_of(readings, config, FIRST + num_hours * HOUR)
    found = forecast(forecaster, state, config, num_leads=NUM_LEADS)
    assert found == pytest.approx(hour_by_hour(forecaster, readings, config), rel=1e-4)


def test_nothing_after_the_issue_time_exists_for_a_forecast() -> None:
    config = tiny(features={"lags_hours": [24]})
    forecaster = make_forecaster(config, "lstm")
    readings = make_load_frame(make_load(NUM_HOURS), flags={})
    issue_time = FIRST + 300 * HOUR
    noise = np.random.default_rng(1).uniform(1, 9e4, NUM_HOURS - 300)
    other = readings.copy()
    other.loc[300:, "load_mw"] = noise
    found = [
        forecast(forecaster, state_of(each, config, issue_time), config, num_leads=NUM_LEADS)
        for each in (readings, other, readings.iloc[:300])
    ]
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()


def test_the_calendar_ahead_is_what_the_features_of_those_hours_have() -> None:
    config = tiny(features={"lags_hours": [24], "holidays": "US"})
    readings = make_load_frame(make_load(NUM_HOURS), first="2017-06-25 05:00", flags={})
    issue_time = readings["timestamp"].iloc[150]  # 1 July; Independence Day lies ahead
    state = state_of(readings, config, issue_time)
    table = table_of_states([state], dict.fromkeys(REGIONS, SCALE), config, num_leads=200)
    whole, _ = region_features("DOM", readings, config, regions=REGIONS, scale=SCALE)
    names = [name for name in whole.columns if name.startswith("x_")]
    columns = [names[place] for place in calendar_columns(names)]
    assert columns[0] == "x_hour_sin"
    assert any(name.endswith("holiday") for name in columns)
    expected = whole[columns].to_numpy()[150 : 150 + 199]
    num_known = len(table.load_T)
    found = table.calendar_ZGC[0, num_known : num_known + 199]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert expected[:, columns.index("x_holiday")].any()


def test_a_region_that_is_late_is_known_up_to_its_last_hour() -> None:
    config = tiny()
    readings = make_load_frame(make_load(NUM_HOURS), flags={})
    state = state_of(readings, config, FIRST + (NUM_HOURS + 4) * HOUR)
    assert (state.stale_hours, state.doubt) == (4, "")
    doubtful = state_of(readings, config, FIRST + (NUM_HOURS + 7) * HOUR)
    assert doubtful.stale_hours == 7
    assert "7 hours before the issue time" in doubtful.doubt


def test_too_few_hours_and_a_long_gap_are_in_doubt_and_no_hour_at_all_is_nothing() -> None:
    config = tiny()
    few = make_load_frame(make_load(8), flags={})
    # It reads from 12 hours before 00:00 UTC on, and 13 hours have begun since.
    assert "8 hours are known, 25 are needed" in state_of(few, config, FIRST + 8 * HOUR).doubt
    gap = make_load_frame(make_load(NUM_HOURS), missing=range(370, 415), flags={})
    assert "gap" in state_of(gap, config, FIRST + NUM_HOURS * HOUR).doubt
    assert found_state(few, config, FIRST) is None


def test_a_naive_forecast_looks_back_by_whole_days_to_hours_that_are_known() -> None:
    config = tiny()
    load = make_load(NUM_HOURS)
    state = state_of(make_load_frame(load, flags={}), config, FIRST + NUM_HOURS * HOUR)
    table = table_of_states([state], dict.fromkeys(REGIONS, SCALE), config, num_leads=30)
    (found,) = naive_origins(table, table.last_steps(), "same_hour_yesterday", num_leads=30)
    expected = [load[NUM_HOURS + k - 24 * (1 + k // 24)] for k in range(30)]
    assert found == pytest.approx(expected)
