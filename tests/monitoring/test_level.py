"""A change of level: told from weather, from a spike that comes back, from usual noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.monitoring.level import LEADS, LevelScores, level_scores, level_steps
from tests.builders.issued import HOUR, make_readings
from tests.builders.values import make_config

CONFIG = make_config().operation.monitoring
REGIONS = ("AEP", "DOM", "DUQ")
READINGS = make_readings(24 * 60, regions=REGIONS)
FIRST = pd.Timestamp(READINGS["AEP"]["timestamp"].iloc[24])
DAY = 24 * HOUR
NUM = 24 * 50
STEP = FIRST + 45 * DAY
PROMISED = dict.fromkeys(REGIONS, 0.5)
Readings = dict[str, pd.DataFrame]


def issued(noise: float = 0.004, seed: int = 0) -> pd.DataFrame:
    """Forecasts of what was planted nowhere: off by noise alone."""
    rng = np.random.default_rng(seed)
    tables = []
    for region, own in READINGS.items():
        load = own.set_index("timestamp")["load_mw"]
        for lead in LEADS:
            issue = pd.date_range(FIRST, periods=NUM, freq="h")
            time = issue + (lead - 1) * HOUR
            forecast = load.reindex(time).to_numpy() * (1 + noise * rng.standard_normal(NUM))
            tables.append(pd.DataFrame({
                "region": region, "issue_time": issue, "timestamp": time, "lead": lead,
                "load_mw": forecast,
            }))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


ROWS = issued()


def planted(
    factor: float, *, hours: int = 200, regions: tuple[str, ...] = ("AEP",), since: int = 0
) -> Readings:
    """The readings with a factor on some hours from ``STEP`` on."""
    found = dict(READINGS)
    for name in regions:
        own, begin = found[name], STEP + since * HOUR
        is_hit = (own["timestamp"] >= begin) & (own["timestamp"] < begin + hours * HOUR)
        load = own["load_mw"].where(~is_hit, own["load_mw"] * factor)
        found[name] = own.assign(load_mw=load)
    return found


def as_adapted(readings: Readings) -> pd.DataFrame:
    """Forecasts that know the planted factor as soon as one hour of it has been read."""
    rows = ROWS.copy()
    for name, own in readings.items():
        ratio = (
            own.set_index("timestamp")["load_mw"] / READINGS[name].set_index("timestamp")["load_mw"]
        )
        before = rows["issue_time"] - HOUR
        known = ratio.reindex(pd.DatetimeIndex(before)).fillna(1.0).to_numpy()
        rows["load_mw"] *= np.where(rows["region"] == name, known, 1.0)
    return rows


def steps(readings: Readings, at: pd.Timestamp = STEP + 2 * DAY) -> list[tuple[str, pd.Timestamp]]:
    scores = level_scores(as_adapted(readings), readings, {})
    return [(each.region, each.time) for each in level_steps(scores, PROMISED, CONFIG, at=at)]


@pytest.mark.parametrize("factor", [1.1, 0.9])
def test_a_level_that_stays_is_found_with_its_hour_region_and_size(factor: float) -> None:
    scores = level_scores(as_adapted(planted(factor)), planted(factor), {})
    (found,) = level_steps(scores, PROMISED, CONFIG, at=STEP + 2 * DAY)
    assert (found.region, found.time) == ("AEP", STEP)
    assert found.percent == pytest.approx(100 * np.log(factor), abs=0.5)
    assert found.score > found.limit


def test_it_is_known_when_a_day_of_it_has_been_read_and_as_long_as_the_window_has_it() -> None:
    readings = planted(1.1)
    assert steps(readings, STEP + DAY - HOUR) == []
    assert steps(readings, STEP + DAY) == [("AEP", STEP)]
    assert steps(readings, STEP + CONFIG.window_days * DAY) == [("AEP", STEP)]
    assert steps(readings, STEP + CONFIG.window_days * DAY + HOUR) == []


def test_what_all_regions_have_in_common_is_weather() -> None:
    assert steps(planted(1.15, regions=REGIONS)) == []


def test_a_spike_of_hours_comes_back_and_is_no_change_of_level_either_way() -> None:
    for hours in (1, 2, 3):
        assert steps(planted(1.3, hours=hours)) == []


def test_errors_that_grow_over_the_day_are_no_change_of_level() -> None:
    rows = ROWS.copy()
    is_hit = (rows["region"] == "AEP") & (rows["issue_time"] == STEP)
    rows.loc[is_hit, "load_mw"] /= 1 + 0.01 * rows.loc[is_hit, "lead"]
    scores = level_scores(rows, READINGS, {})
    assert level_steps(scores, PROMISED, CONFIG, at=STEP + 2 * DAY) == []


def test_a_region_whose_own_past_shows_such_jumps_has_a_higher_limit() -> None:
    scores = level_scores(as_adapted(planted(1.1)), planted(1.1), {})
    rough = scores.score.copy()
    for day in range(0, 40, 4):  # more than one day in twenty
        rough.loc[FIRST + day * DAY, "AEP"] = 9.0
    at = STEP + 2 * DAY
    assert level_steps(LevelScores(rough, scores.step), PROMISED, CONFIG, at=at) == []
    once = scores.score.copy()
    once.loc[FIRST + 20 * DAY, "AEP"] = 30.0  # a fault of the past does not hide the next one
    assert level_steps(LevelScores(once, scores.step), PROMISED, CONFIG, at=at) != []


def test_a_region_that_was_promised_little_needs_more_and_one_without_a_promise_is_left_out() -> (
    None
):
    readings = planted(1.1)
    scores = level_scores(as_adapted(readings), readings, {})
    at = STEP + 2 * DAY
    assert level_steps(scores, PROMISED | {"AEP": 2.0}, CONFIG, at=at) == []
    assert level_steps(scores, {"DOM": 0.5}, CONFIG, at=at) == []


def test_one_region_alone_is_held_against_itself_and_flagged_hours_say_nothing() -> None:
    readings = planted(1.1)
    alone = level_scores(as_adapted(readings).query("region == 'AEP'"), readings, {})
    assert [each.time for each in level_steps(alone, PROMISED, CONFIG, at=STEP + 2 * DAY)] == [STEP]
    own = readings["AEP"]
    flag = own["flag"].mask(own["timestamp"] == STEP, "spike")
    flagged = readings | {"AEP": own.assign(flag=flag)}
    at_step = level_scores(ROWS, flagged, {}).score.loc[STEP]
    assert at_step.isna().to_dict() == {"AEP": True, "DOM": False, "DUQ": False}


def test_the_others_are_told_of_by_their_median() -> None:
    readings = planted(1.1)
    scores = level_scores(as_adapted(readings), readings, {})
    rows = as_adapted(readings)
    own = rows[rows["issue_time"] == STEP]
    errors = {}
    for name in REGIONS:
        mine = own[own["region"] == name].sort_values("lead")
        load = readings[name].set_index("timestamp")["load_mw"].reindex(mine["timestamp"])
        errors[name] = 100 * np.log(load.to_numpy() / mine["load_mw"].to_numpy())
    excess = errors["AEP"] - np.median([errors["DOM"], errors["DUQ"]], axis=0)
    assert scores.step.loc[STEP, "AEP"] == pytest.approx(excess.mean())
    soon, later = excess[1:6].mean(), excess[6:].mean()
    assert scores.score.loc[STEP, "AEP"] <= min(errors["AEP"][0], 1.3 * soon, 2 * later)


def test_a_step_of_a_load_that_passes_zero_is_found_in_percent_of_the_norm() -> None:
    norms = {name: float(own["load_mw"].mean()) for name, own in READINGS.items()}
    readings, rows = planted(1.1), as_adapted(planted(1.1))
    net = {n: own.assign(load_mw=own["load_mw"] - norms[n]) for n, own in readings.items()}
    net_rows = rows.assign(load_mw=rows["load_mw"] - rows["region"].map(norms))
    scores = level_scores(net_rows, net, norms)
    pd.testing.assert_frame_equal(scores.score, level_scores(rows, readings, norms).score)
    (found,) = level_steps(scores, PROMISED, CONFIG, at=STEP + 2 * DAY)
    assert (found.region, found.time) == ("AEP", STEP)
    assert found.percent == pytest.approx(10, abs=1.5)
