"""What is known of regions as arrays, held to the table of features of the same readings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.features.load_scale import LoadScale
from gridcast.features.table import region_features
from gridcast.forecasting.region_state import RegionState, region_state, table_of_states
from gridcast.forecasting.rolling import rolling_table
from tests.builders.trainings import tiny, tiny_by_lead
from tests.builders.values import make_load, make_load_frame

SCALES = {"AEP": LoadScale(10_000.0, 1_500.0), "DOM": LoadScale(900.0, 150.0)}
NUM_HOURS, NUM_LEADS = 900, 30


def readings(config: Config) -> dict[str, pd.DataFrame]:
    """With gaps short and long, wrong readings, and a region that is late."""
    aep, dom = make_load(NUM_HOURS), make_load(NUM_HOURS - 3, mean_mw=900, seed=1)
    aep[850], dom[700] = 0.0, 9e6
    gaps = [*range(600, 640), 880, 881]
    return {
        "AEP": make_load_frame(aep, missing=gaps, first="2017-06-01 05:00", config=config),
        "DOM": make_load_frame(dom, missing=[895], first="2017-06-01 05:00", config=config),
    }


@pytest.mark.parametrize("hours_late", [0, 1, 23])
@pytest.mark.parametrize(
    "config",
    [
        tiny(features={"lags_hours": [1, 24, 168], "holidays": "US", "next_day_holiday": True}),
        tiny(features={"lags_hours": [24], "holidays": None}, windows={"unit": "rows"}),
        tiny(features={"lags_hours": [24, 48], "holidays": "US"}, windows={"unit": "rows"}),
        tiny_by_lead(),
    ],
    ids=["hours", "rows", "rows-holidays", "by-lead"],
)
def test_what_is_read_is_what_the_table_of_features_has_bit_for_bit(
    config: Config, hours_late: int
) -> None:
    known = readings(config)
    issue_time = known["AEP"]["timestamp"].iloc[-1] + pd.Timedelta(hours=1 - hours_late)
    states = [state_of(name, each, config, issue_time) for name, each in known.items()]
    found = table_of_states(states, SCALES, config, num_leads=NUM_LEADS)
    before = [each[each["timestamp"] < issue_time] for each in known.values()]
    frames = [
        region_features(name, each, config, regions=list(SCALES), scale=SCALES[name])[0]
        for name, each in zip(known, before, strict=True)
    ]
    whole = rolling_table(pd.concat(frames), SCALES, config, num_leads=NUM_LEADS)
    num_read = config.windows.lookback + 24
    for ours, theirs in zip(found.last_steps(), whole.last_steps(), strict=True):
        place, at = (slice(end - num_read + 1, end + 1) for end in (ours, theirs))
        assert found.x_TF[place].tobytes() == whole.x_TF[at].tobytes()
        assert found.load_T[place].tobytes() == whole.load_T[at].tobytes()
        assert (found.timestamp_T[place] == whole.timestamp_T[at]).all()
        ahead, beyond = found.hour_T[ours] + np.arange(30), whole.hour_T[theirs] + np.arange(30)
        assert found.calendar_ZGC[0, ahead].tobytes() == whole.calendar_ZGC[0, beyond].tobytes()
        if whole.signals_GW is not None and found.signals_GW is not None:
            own = found.signals_GW[found.hour_T[place]]
            assert own.tobytes() == whole.signals_GW[whole.hour_T[at]].tobytes()
            assert own.any()


def state_of(
    name: str, known: pd.DataFrame, config: Config, issue_time: pd.Timestamp
) -> RegionState:
    state = region_state(name, known, config, issue_time=issue_time, max_stale_hours=6)
    assert state is not None
    return state


def test_a_region_with_fewer_hours_than_are_kept_is_told_as_it_is() -> None:
    config = tiny(features={"lags_hours": [24], "holidays": "US"})
    few = make_load_frame(make_load(30), flags={})
    long = make_load_frame(make_load(NUM_HOURS), flags={})
    issue_time = few["timestamp"].iloc[-1] + pd.Timedelta(hours=1)
    states = [
        state_of("AEP", long[long["timestamp"] < issue_time], config, issue_time),
        state_of("DOM", few, config, issue_time),
    ]
    assert [len(each.load_mw_T) for each in states] == [30, 30]
    table = table_of_states(states, SCALES, config, num_leads=5)
    frame, _ = region_features("DOM", few, config, regions=list(SCALES), scale=SCALES["DOM"])
    names = [name for name in frame.columns if name.startswith("x_")]
    assert table.x_TF[30:].tobytes() == frame[names].to_numpy(np.float32).tobytes()
    assert table.last_steps().tolist() == [29, 59]
