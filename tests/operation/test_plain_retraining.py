"""Plain retraining beside a replay: the days of the calendar, the error against the replay's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.evaluation.metrics import relative_errors
from gridcast.monitoring.span_figures import hourly_errors, month_figures
from gridcast.operation.comparison import (
    PLAIN,
    Plain,
    PlainRetraining,
    comparison_lines,
    plain_retraining,
    training_days,
)
from gridcast.operation.comparison_figure import draw_comparison
from tests.builders.issued import FIRST, HOUR, make_issued, make_readings

READINGS = make_readings(24 * 45)
BEGIN, NUM = FIRST + 20 * 24 * HOUR, 24 * 12  # to February


@pytest.fixture(scope="module")
def own() -> pd.DataFrame:
    """What a replay has issued."""
    return make_issued(READINGS, first=BEGIN, num=NUM, error=0.01)


def retrained(
    plain: Plain, rows: pd.DataFrame, own: pd.DataFrame, *, num_trainings: int
) -> PlainRetraining:
    """One way by what was issued that way, and by what a replay has issued."""
    errors, own_errors = (hourly_errors(each, READINGS, {}) for each in (rows, own))
    months = month_figures(rows, READINGS, {})
    return plain_retraining(plain, months, errors, own_errors, num_trainings=num_trainings)


def at(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


@pytest.mark.parametrize("plain", PLAIN)
def test_it_trains_at_the_begin_and_then_on_each_day_of_the_calendar_that_the_way_names(
    plain: Plain,
) -> None:
    first, end = at("2016-11-16"), at("2018-03-06")
    expected, day = [first], first + pd.Timedelta(days=1)
    while day < end:
        is_due = {
            "never": False, "yearly": f"{day:%m-%d}" == "01-01", "monthly": f"{day:%d}" == "01",
            "weekly": f"{day:%a}" == "Mon",
        }[plain]  # fmt: skip
        expected += [day] if is_due else []
        day += pd.Timedelta(days=1)
    assert list(training_days(plain, first, end)) == expected
    assert len(expected) == {"never": 1, "yearly": 3, "monthly": 17, "weekly": 69}[plain]


def test_a_begin_on_a_day_of_training_trains_once() -> None:
    assert training_days("monthly", at("2018-01-01"), at("2018-01-31")) == (at("2018-01-01"),)


def test_the_error_of_an_hour_of_issue_is_the_mean_of_its_leads_in_each_region_then_of_those() -> (
    None
):
    rows = make_issued(READINGS, first=BEGIN, num=3, horizon=30)
    found = hourly_errors(rows, READINGS, {})
    assert list(found.index) == [BEGIN, BEGIN + HOUR, BEGIN + 2 * HOUR]
    truth = {n: each.set_index("timestamp")["load_mw"] for n, each in READINGS.items()}
    for time, own in rows[rows["lead"] <= 24].groupby("issue_time"):
        of_regions = []
        for name, each in own.groupby("region"):
            load = truth[str(name)].reindex(each["timestamp"]).to_numpy()
            of_regions.append(100 * relative_errors(load, each["load_mw"].to_numpy()).mean())
        assert found[time] == pytest.approx(np.mean(of_regions))


def test_the_difference_is_that_of_the_issue_times_which_both_have_and_its_interval_holds_it(
    own: pd.DataFrame,
) -> None:
    worse = make_issued(READINGS, first=BEGIN + 24 * HOUR, num=NUM, error=0.013)
    both = [hourly_errors(rows, READINGS, {}) for rows in (worse, own)]
    shared = both[0].index.intersection(both[1].index)
    assert len(shared) == NUM - 24
    found = retrained("weekly", worse, own, num_trainings=5)
    assert found.difference == pytest.approx((both[0] - both[1])[shared].mean())
    assert 0 < found.low < found.difference < found.high
    assert found.months == tuple(month_figures(worse, READINGS, {}))
    same = retrained("never", own, own, num_trainings=1)
    assert (same.low, same.difference, same.high) == (0, 0, 0)


def test_the_table_has_a_line_a_way_and_a_column_a_way_of_each_month(own: pd.DataFrame) -> None:
    worse = own.assign(load_mw=own["load_mw"] * 1.01)
    months = month_figures(own, READINGS, {})
    ways = [retrained("never", own, own, num_trainings=1),
            retrained("weekly", worse, own, num_trainings=5)]  # fmt: skip
    lines = comparison_lines(ways, months, num_trainings=3, measure="smape")
    assert lines[2].startswith("| as decided | 3 | ")
    assert lines[3].endswith("| +0.00 (+0.00 to +0.00) |")
    assert lines[4].startswith(f"| weekly | 5 | {ways[1].error:.2f} | ")
    assert lines[6] == "| month | as decided | never | weekly |"
    weekly = ways[1].months
    assert lines[8:] == [
        f"| {m.month} | {m.error:.2f} | {m.error:.2f} | {weekly[place].error:.2f} |"
        for place, m in enumerate(months)
    ]
    assert len({line.count("|") for line in lines[6:]}) == 1


def test_the_picture_has_the_mean_of_each_week_and_a_dot_a_training(own: pd.DataFrame) -> None:
    errors = dict.fromkeys(("as decided", "never"), hourly_errors(own, READINGS, {}))
    trained = {"as decided": pd.DatetimeIndex([BEGIN, BEGIN + 8 * 24 * HOUR]),
               "never": pd.DatetimeIndex([BEGIN])}  # fmt: skip
    figure = draw_comparison(errors, trained, "smape")
    (axes,) = figure.axes
    lines = [np.asarray(each.get_ydata(), dtype=float) for each in axes.get_lines()]
    hourly = errors["as decided"]
    weeks = [hourly.iloc[n : n + 168].mean() for n in range(0, len(hourly), 168)]
    np.testing.assert_allclose(lines[0], weeks)
    begins = np.asarray(axes.get_lines()[1].get_xdata())
    assert list(pd.DatetimeIndex(begins)) == [BEGIN, BEGIN + 7 * 24 * HOUR]
    assert [len(each) for each in lines] == [len(weeks), 2, len(weeks), 1]
    assert f"never {hourly.mean():.2f} %" in str(figure.get_label())
