"""What had been known of an hour at an instant: held against a plain loop over all values."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridcast.covariates.values import AsKnown, KnownValues, hours_of, known_values
from gridcast.features.grid_hours import grid_hours
from tests.builders.covariates import FIRST, make_covariates

HOUR = timedelta(hours=1)
# (hour after FIRST, minutes after FIRST at which it was issued or None, value)
Told = tuple[int, int | None, float]


def expected(rows: list[Told], hour: int, issue: int, as_known: AsKnown) -> float:
    """The value that was issued last, by the issue time, of the hour."""
    best: tuple[float, float] = (-np.inf, np.nan)
    for own, minute, value in rows:
        since: float = 60 * (own + 1) if minute is None else minute
        since = -1e9 if minute is None and as_known == "observed" else since
        if own == hour and since <= 60 * issue and since >= best[0]:
            best = (since, value)
    return best[1]


TOLD = st.lists(
    st.tuples(
        st.integers(0, 4), st.one_of(st.none(), st.integers(-300, 400)), st.floats(-9, 9)
    ),
    max_size=12, unique_by=lambda row: row[:2],
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(TOLD, st.sampled_from(["issued", "observed"]))
def test_of_an_hour_that_value_is_known_which_was_issued_last_by_then(
    rows: list[Told], as_known: AsKnown
) -> None:
    known = of(rows, as_known)
    first = int(grid_hours(np.array([FIRST.replace(tzinfo=None)], "datetime64[us]"))[0].astype(int))
    for hour in range(-1, 6):
        for issue in range(-6, 9):
            found = known.at(np.array([first + hour]), np.array([first + issue]))[0]
            wanted = expected(clear(rows, as_known), hour, issue, as_known)
            assert found == wanted or (np.isnan(found) and np.isnan(wanted)), (hour, issue)


def clear(rows: list[Told], as_known: AsKnown) -> list[Told]:
    """Of two values that became known in the same minute, the one whose issue time is told."""
    if as_known == "observed":
        return rows
    ends = {(hour, 60 * (hour + 1)) for hour, minute, _ in rows if minute is None}
    return [row for row in rows if row[1] is None or (row[0], row[1]) not in ends] + [
        row for row in rows if row[1] is not None and (row[0], row[1]) in ends
    ]


def of(rows: list[Told], as_known: AsKnown) -> KnownValues:
    covariates = make_covariates(
        [(FIRST + hour * HOUR, None if minute is None else FIRST + timedelta(minutes=minute), value)
         for hour, minute, value in rows]
    )  # fmt: skip
    return known_values(covariates, ["temperature"], as_known)["temperature"]


def test_nothing_is_known_of_a_region_without_covariates_or_of_a_column_that_is_not_there() -> None:
    hour = np.array([420_000])
    for covariates in (None, make_covariates([(FIRST, None, 1.0)], name="wind")):
        known = known_values(covariates, ["temperature"], "observed")["temperature"]
        assert np.isnan(known.at(hour, hour + 5)).all()


@pytest.mark.parametrize("minute", [0, 30, 45])
def test_hours_lie_on_the_grid_as_those_of_loads_do(minute: int) -> None:
    times = pd.Series([pd.Timestamp(f"2024-05-01 03:{minute:02d}", tz="UTC")])
    wanted = grid_hours(times.dt.tz_localize(None).to_numpy()).astype(np.int64)
    assert hours_of(times).tolist() == wanted.tolist()


def test_what_is_known_by_a_day_holds_neither_later_issues_nor_later_observations() -> None:
    day = FIRST + 24 * HOUR
    rows = [(FIRST, None, 1.0), (FIRST + 30 * HOUR, None, 2.0), (FIRST + 30 * HOUR, day, 3.0),
            (FIRST + 30 * HOUR, day + HOUR, 4.0)]  # fmt: skip
    covariates = make_covariates(rows)
    end = pd.Timestamp(day)
    issued = covariates.known_by(end, "issued", hours_ahead=24)
    observed = covariates.known_by(end, "observed", hours_ahead=24)
    assert issued.frame["temperature"].tolist() == [1.0, 3.0]
    assert observed.frame["temperature"].tolist() == [1.0, 2.0, 3.0]
