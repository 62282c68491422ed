"""Figures of forecasts in use, and alarms: each planted fault is noticed, and told once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from gridcast.evaluation.metrics import smape
from gridcast.monitoring.alarms import Alarm, missing_forecast_alarm, raised
from gridcast.monitoring.look import Monitored, monitor
from gridcast.monitoring.track_record import (
    figures_by_day,
    figures_by_lead,
    figures_by_region,
    with_truth,
)
from tests.builders.issued import FIRST, HOUR, make_issued, make_promise, make_readings
from tests.builders.values import make_config

CONFIG = make_config().operation.monitoring
READINGS = make_readings()
DAY = 24 * HOUR
AT = FIRST + 30 * DAY
BEGIN = AT - 8 * DAY
ROWS = make_issued(READINGS, first=BEGIN, num=8 * 24 + 1)
Readings = dict[str, pd.DataFrame]


def seen(
    rows: pd.DataFrame = ROWS,
    readings: Readings = READINGS,
    at: pd.Timestamp = AT,
    *,
    naive: float = 2.0,
) -> Monitored:
    return monitor(rows, readings, make_promise(naive=naive), CONFIG, at=at)


def kinds(found: Monitored) -> set[tuple[str, str]]:
    return {(each.kind, each.region) for each in found.alarms}


def changed(region: str, change: Callable[[pd.DataFrame], pd.Series[float]]) -> Readings:
    own = READINGS[region]
    return READINGS | {region: own.assign(load_mw=change(own))}


def test_the_figures_are_those_of_the_rows_whose_hour_has_ended() -> None:
    found = seen()
    begin = AT - CONFIG.window_days * DAY
    own = ROWS[(ROWS["region"] == "DOM") & (ROWS["timestamp"] >= begin) & (ROWS["timestamp"] < AT)]
    load = READINGS["DOM"].set_index("timestamp")["load_mw"]
    truth = load[own["timestamp"]].to_numpy()
    figures = found.by_region.loc["DOM"]
    forecast = own["load_mw"].to_numpy()
    assert figures["num_hours"] == CONFIG.window_days * 24
    assert figures["error"] == pytest.approx(smape(truth, forecast))
    assert figures["bias"] == pytest.approx(100 * np.mean((forecast - truth) / truth))
    inside = (own["q05"] <= truth) & (truth <= own["q95"])
    assert figures["coverage"] == pytest.approx(100 * inside.mean())
    naive = load[own["timestamp"] - DAY].to_numpy()
    assert figures["naive_error"] == pytest.approx(smape(truth, naive))
    lead = found.by_lead[(found.by_lead["region"] == "DOM") & (found.by_lead["lead"] == 5)]
    fifth = (own["lead"] == 5).to_numpy()
    assert lead["error"].item() == pytest.approx(smape(truth[fifth], forecast[fifth]))


def test_a_days_figures_are_those_of_its_hours_and_the_peak_is_of_whole_days() -> None:
    joined = with_truth(ROWS[ROWS["timestamp"] < AT], READINGS)
    days = figures_by_day(joined, {})
    assert days.groupby("region").size().tolist() == [9, 9]
    some = joined[
        (joined["region"] == "AEP") & (joined["timestamp"].dt.floor("D") == days["day"][3])
    ]
    expected = smape(some["y_true"].to_numpy(), some["load_mw"].to_numpy())
    assert days["error"][3] == pytest.approx(expected)
    whole = joined[joined["issue_time"] <= AT - DAY]
    errors = [
        100 * abs(own["load_mw"].max() - own["y_true"].max()) / own["y_true"].max()
        for _, own in whole[whole["region"] == "AEP"].groupby("issue_time")
    ]
    assert figures_by_region(joined, {}).loc["AEP", "peak_error"] == pytest.approx(np.mean(errors))
    assert set(figures_by_lead(joined, {})["lead"]) == set(range(1, 25))


def test_a_flagged_reading_is_no_truth() -> None:
    flagged = READINGS["AEP"].assign(flag=["spike"] * 10 + [""] * (len(READINGS["AEP"]) - 10))
    rows = make_issued(READINGS, first=FIRST, num=1)
    joined = with_truth(rows, {"AEP": flagged})
    assert set(joined["region"]) == {"AEP"}
    assert joined["timestamp"].min() == FIRST + 10 * HOUR


def test_forecasts_as_promised_alarm_nobody() -> None:
    assert seen().alarms == ()


def test_errors_that_have_doubled_alarm_unless_the_hours_are_as_much_harder() -> None:
    bad = make_issued(READINGS, first=BEGIN, num=8 * 24 + 1, error=0.03, half_width=0.2)
    assert kinds(seen(bad)) == {("degraded", "AEP"), ("degraded", "DOM")}
    alarm = seen(bad).alarms[0]
    assert f"{alarm.value:.2f} %" in alarm.message
    assert alarm.at == AT.isoformat()
    assert kinds(seen(bad, naive=0.2)) == set()


def test_a_band_that_holds_too_little_and_a_bias_are_told() -> None:
    narrow = make_issued(READINGS, first=BEGIN, num=8 * 24 + 1, half_width=0.005)
    assert kinds(seen(narrow)) == {("coverage", "AEP"), ("coverage", "DOM")}
    off = make_issued(READINGS, first=BEGIN, num=8 * 24 + 1, bias=0.015, error=0.0)
    assert kinds(seen(off, naive=9.0)) == {("bias", "AEP"), ("bias", "DOM")}


def test_too_few_hours_say_nothing() -> None:
    bad = make_issued(READINGS, first=AT - 30 * HOUR, num=31, error=0.05)
    assert seen(bad).alarms == ()


def test_a_dead_feed_is_told_after_six_hours_and_gets_critical_after_a_day() -> None:
    for hours, expected in ((5, None), (6, "warning"), (24, "critical")):
        late = READINGS | {"DOM": READINGS["DOM"][READINGS["DOM"]["timestamp"] < AT - hours * HOUR]}
        found = seen(readings=late).alarms
        assert [each.severity for each in found if each.kind == "late"] == (
            [expected] if expected else []
        )
    ended = READINGS | {"DOM": READINGS["DOM"].iloc[:10]}
    assert ("late", "DOM") not in kinds(seen(readings=ended, at=FIRST + 60 * DAY))


def test_a_feed_that_is_stuck_is_told() -> None:
    stuck = changed("AEP", lambda own: own["load_mw"].where(own["timestamp"] < AT - 6 * HOUR, 9e3))
    assert ("stuck", "AEP") in kinds(seen(readings=stuck))


def test_an_hour_that_can_hardly_be_right_is_told_once() -> None:
    hour = AT - 10 * HOUR
    twice = changed("AEP", lambda own: own["load_mw"].mask(own["timestamp"] == hour, 2e4))
    (alarm,) = (each for each in seen(readings=twice).alarms if each.kind == "outlier")
    assert (alarm.region, f"{hour:%Y-%m-%d %H:%M} UTC" in alarm.message) == ("AEP", True)
    assert ("outlier", "AEP") not in kinds(seen(readings=twice, at=AT + 15 * HOUR))
    own = READINGS["DOM"]
    flagged = READINGS | {
        "DOM": own.assign(flag=own["flag"].mask(own["timestamp"] == hour, "zero"))
    }
    assert ("outlier", "DOM") in kinds(seen(readings=flagged))


@pytest.mark.parametrize("factor", [1.1, 0.9])
def test_a_level_that_changes_for_good_is_noticed_when_it_has_stayed_for_a_day(
    factor: float,
) -> None:
    since = AT - 3 * DAY
    level = changed(
        "AEP", lambda own: own["load_mw"].where(own["timestamp"] < since, own["load_mw"] * factor)
    )
    known = make_issued(level, first=BEGIN, num=8 * 24 + 1)
    before = known["issue_time"] <= since  # foresaw nothing
    foreseen = ROWS.set_index(["region", "issue_time", "lead"])["load_mw"]
    was = foreseen.reindex(pd.MultiIndex.from_frame(known[["region", "issue_time", "lead"]]))
    rows = known.assign(load_mw=known["load_mw"].mask(before, was.to_numpy()))
    for hours, is_noticed in ((23, False), (24, True), (60, True)):
        at = since + hours * HOUR
        found = seen(rows[rows["issue_time"] <= at], level, at)
        assert (("level", "AEP") in kinds(found)) == is_noticed, hours
        assert ("level", "DOM") not in kinds(found)


def test_a_spike_of_an_hour_is_no_change_of_level() -> None:
    spike = changed("AEP", lambda own: own["load_mw"].mask(own["timestamp"] == AT - 50 * HOUR, 2e4))
    assert ("level", "AEP") not in kinds(seen(readings=spike))


@pytest.mark.parametrize(("minutes", "num"), [(4, 0), (5, 1), (59, 1)])
def test_a_forecast_is_missed_five_minutes_after_its_hour_began(minutes: int, num: int) -> None:
    hour = pd.Timestamp("2018-07-01T09:00", tz="UTC")
    at = hour + pd.Timedelta(minutes=minutes)
    found = missing_forecast_alarm([hour - HOUR, hour - 2 * HOUR], CONFIG, at=at)
    assert len(found) == num
    assert missing_forecast_alarm([hour], CONFIG, at=at) == []
    (never,) = missing_forecast_alarm([], CONFIG, at=at)
    assert "none was ever issued" in never.message


def test_nothing_after_the_instant_is_looked_at() -> None:
    later = {
        name: own.assign(load_mw=own["load_mw"].where(own["timestamp"] < AT, 1.0))
        for name, own in READINGS.items()
    }
    ours, theirs = seen(), seen(readings=later)
    pd.testing.assert_frame_equal(ours.by_region, theirs.by_region)
    assert ours.alarms == theirs.alarms


def test_an_alarm_is_told_once_in_its_quiet_days_and_a_late_feed_each_day() -> None:
    def alarm(kind: str, at: pd.Timestamp, region: str = "AEP") -> Alarm:
        return Alarm.model_validate({
            "kind": kind, "severity": "warning", "region": region, "at": at.isoformat(),
            "value": 1.0, "limit": 1.0, "message": "so",
        })  # fmt: skip

    known = [alarm("bias", AT), alarm("late", AT)]
    soon, later = AT + 2 * DAY, AT + CONFIG.quiet_days * DAY
    assert raised([alarm("bias", soon)], known, CONFIG) == []
    for new in (alarm("late", soon), alarm("bias", later), alarm("bias", soon, "DOM")):
        assert raised([new], known, CONFIG) == [new]


def test_without_forecasts_the_data_are_watched_all_the_same() -> None:
    late = {"AEP": READINGS["AEP"][READINGS["AEP"]["timestamp"] < AT - 9 * HOUR]}
    found = monitor(ROWS.iloc[:0], late, None, CONFIG, at=AT)
    assert {each.kind for each in found.alarms} == {"late", "missing_forecast"}
    assert found.by_region.empty


def below_zero(rows: pd.DataFrame, readings: Readings) -> tuple[pd.DataFrame, Readings]:
    """As though so much of each load were generated on site that it passes zero."""
    columns = ["load_mw", *(name for name in rows.columns if name.startswith("q"))]
    own = rows.assign(**{name: rows[name] - rows["region"].map(NORMS) for name in columns})
    return own, {n: e.assign(load_mw=e["load_mw"] - NORMS[n]) for n, e in readings.items()}


NORMS = {name: float(own["load_mw"].mean()) for name, own in READINGS.items()}


def test_loads_that_pass_zero_are_judged_as_they_would_be_without_what_is_taken_off() -> None:
    """In percent of a norm no figure, no alarm depends on where zero is."""
    readings = changed("AEP", lambda own: own["load_mw"] * (1 + 0.08 * (own["timestamp"] > BEGIN)))
    promise = make_promise(error=0.8).model_copy(update={"norms": NORMS})
    plain = monitor(ROWS, readings, promise, CONFIG, at=AT)
    net = monitor(*below_zero(ROWS, readings), promise, CONFIG, at=AT)
    assert net.by_region.notna().all(axis=None)
    pd.testing.assert_frame_equal(net.by_region, plain.by_region)
    pd.testing.assert_frame_equal(net.by_lead, plain.by_lead)
    assert kinds(net) == kinds(plain) >= {("degraded", "AEP"), ("bias", "AEP")}
    truth = readings["DOM"].set_index("timestamp")["load_mw"]
    own = ROWS[(ROWS["region"] == "DOM") & (ROWS["timestamp"] >= AT - CONFIG.window_days * DAY)]
    own = own[own["timestamp"] < AT]
    error = (own["load_mw"].to_numpy() - truth[own["timestamp"]].to_numpy()) / NORMS["DOM"]
    assert plain.by_region.loc["DOM", "error"] == pytest.approx(100 * np.abs(error).mean())
    assert plain.by_region.loc["DOM", "bias"] == pytest.approx(100 * error.mean())
