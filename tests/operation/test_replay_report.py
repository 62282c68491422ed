"""The report of a replay: figures by month, and when each planted fault was told of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.monitoring.alarms import Alarm
from gridcast.monitoring.span_figures import mean_of_months, month_figures
from gridcast.monitoring.track_record import row_figures, with_truth
from gridcast.operation.plant import parse_plant
from gridcast.operation.replay_report import (
    ReplayReport,
    noticed,
    page_of,
    with_costs,
)
from tests.builders.issued import FIRST, HOUR, make_issued, make_readings

READINGS = make_readings(24 * 50)


def alarm(region: str, at: str) -> Alarm:
    return Alarm(
        kind="level", severity="critical", region=region, at=f"{at}T00:00:00+00:00", value=9.0,
        limit=5.0, message="so",
    )  # fmt: skip


def test_a_month_is_the_mean_of_regions_over_the_hours_that_were_forecast() -> None:
    rows = make_issued(READINGS, first=FIRST + 20 * 24 * HOUR, num=24 * 20)
    months = month_figures(rows, READINGS, {})
    assert [each.month for each in months] == ["2017-01", "2017-02"]
    each = row_figures(with_truth(rows, READINGS), {})
    own = each[each["timestamp"] < pd.Timestamp("2017-02-01", tz="UTC")]
    assert months[0].num_rows == len(own)
    by_region = own.groupby("region")["error"].mean()
    assert months[0].error == pytest.approx(by_region.mean())
    total = mean_of_months(months, "error")
    assert min(m.error for m in months) < total < max(m.error for m in months)
    assert np.isclose(total, each["error"].mean())


def test_a_fault_is_noticed_by_the_first_alarm_of_its_region_after_it_began() -> None:
    plants = [parse_plant(f"{n} level*1.1 from 2017-12-01") for n in ("AEP", "DOM", "FE")]
    alarms = [alarm("AEP", "2017-11-20"), alarm("AEP", "2017-12-09"), alarm("AEP", "2017-12-03"),
              alarm("DOM", "2017-12-01")]  # fmt: skip
    found = noticed(plants, alarms)
    assert [each.days for each in found] == [2.0, None, None]
    assert found[0].alarm == alarms[2]


def test_what_a_fault_costs_is_told_by_the_load_without_it_before_and_after_it_began() -> None:
    begin = FIRST + 40 * 24 * HOUR
    good = make_issued(READINGS, first=begin - 30 * 24 * HOUR, num=29 * 24)
    bad = make_issued(READINGS, first=begin, num=6 * 24, error=0.05)
    rows = pd.concat([good, bad], ignore_index=True)
    plants = [parse_plant(f"AEP level*1.1 from {begin.isoformat()}"),
              parse_plant("DOM dead from 2030-01-01")]  # fmt: skip
    cost, none = with_costs(noticed(plants, ()), rows, READINGS, {})
    own = rows[rows["region"] == "AEP"]
    before = (own["timestamp"] >= begin - 28 * 24 * HOUR) & (own["timestamp"] < begin)
    parts = {"error": own[own["timestamp"] >= begin], "error_before": own[before]}
    told = {}
    for name, part in parts.items():
        week = part[part["timestamp"] < begin + 168 * HOUR]
        told[name] = row_figures(with_truth(week, READINGS), {})["error"].mean()
        assert getattr(cost, name) == pytest.approx(told[name])
    assert told["error"] > 2 * told["error_before"]
    assert (none.error, none.error_before) == (None, None)


def test_the_page_tells_all_of_it() -> None:
    rows = make_issued(READINGS, first=FIRST + 20 * 24 * HOUR, num=24)
    months = tuple(month_figures(rows, READINGS, {}))
    plants = [parse_plant("AEP level*1.1 from 2017-12-01"), parse_plant("DOM dead from 2017-12-01")]
    alarms = (alarm("AEP", "2017-12-02"),)
    page = page_of(ReplayReport(
        dataset="pjm", snapshot="s", first="2017-01-01", end="2018-01-01", error=3.21,
        naive_error=7.3, coverage=90.1, num_rows=1234567, num_fallback_rows=5, months=months,
        trainings=(), promotions=("2017-01-01: x",), alarms=alarms,
        noticed=noticed(plants, alarms), seconds=61.0,
    ))  # fmt: skip
    for expected in ("3.21 % sMAPE", "1,234,567 rows", "noticed after 1.0 days", "not noticed",
                     "- 2017-12-02 critical AEP: so", "## 0 trainings"):  # fmt: skip
        assert expected in page
