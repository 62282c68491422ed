"""Scores of the next day, held to loops over days, both clock changes among them."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from gridcast.evaluation.next_day_scores import COLUMNS, next_day_of, next_day_scores

ZONE = "America/New_York"
FIGURES = ["error", "peak", "peak_hours", "under"]


@cache
def make_rows(first: str, *, num_days: int = 4, horizon: int = 42, seed: int = 0) -> pd.DataFrame:
    """Forecasts from every hour of some days (UTC), of two contestants and regions."""
    rng = np.random.default_rng(seed)
    hours = pd.date_range(first, periods=24 * num_days, freq="h", tz="UTC")
    truths = {
        region: dict(zip(range(len(hours) + horizon), rng.uniform(90, 110, 2000), strict=False))
        for region in ("AEP", "DOM")
    }
    rows = pd.DataFrame(
        [
            (name, region, hour, hour + timedelta(hours=lead - 1), lead, truths[region][n + lead])
            for name in ("mean", "yesterday")
            for region in truths
            for n, hour in enumerate(hours)
            for lead in range(1, horizon + 1)
        ],
        columns=["contestant", "region", "issue_time", "timestamp", "lead", "y_true"],
    )
    return rows.assign(
        local_hour=rows["timestamp"].dt.tz_convert(ZONE).dt.hour,
        y_pred=rows["y_true"] * rng.normal(1.0, 0.03, len(rows)),
    ).astype({"region": "category", "contestant": "category"})


def by_hand(rows: pd.DataFrame, issue_hour: int) -> dict[tuple[str, str], dict[str, float]]:
    """The means over days of each contestant and region, day by day."""
    zone = ZoneInfo(ZONE)
    rows = rows[rows["issue_time"].dt.tz_convert(ZONE).dt.hour == issue_hour]
    days: dict[tuple[str, str, date], list[tuple[float, float]]] = {}
    for row in rows.sort_values("timestamp").to_dict("records"):
        issued, hour = row["issue_time"].astimezone(zone), row["timestamp"].astimezone(zone)
        if hour.date() == issued.date() + timedelta(days=1):
            key = (row["contestant"], row["region"], hour.date())
            days.setdefault(key, []).append((row["y_true"], row["y_pred"]))
    found: dict[tuple[str, str], list[list[float]]] = {}
    for (name, region, day), pairs in days.items():
        begin, end = (
            pd.Timestamp(each).tz_localize(ZONE) for each in (day, day + timedelta(days=1))
        )
        if len(pairs) != (end - begin) / pd.Timedelta(hours=1):
            continue
        truth, forecast = np.array(pairs).T
        found.setdefault((name, region), []).append([
            float(np.mean(200 * np.abs(forecast - truth) / (np.abs(forecast) + np.abs(truth)))),
            100 * abs(forecast.max() - truth.max()) / truth.max(),
            float(abs(int(forecast.argmax()) - int(truth.argmax()))),
            100 * float(np.mean(forecast < truth)),
        ])  # fmt: skip
    return {
        key: dict(zip(FIGURES, np.mean(each, axis=0), strict=True)) | {"num_days": len(each)}
        for key, each in found.items()
    }


@pytest.mark.parametrize("first", ["2018-07-01", "2018-03-09", "2018-11-02"])
@pytest.mark.parametrize("issue_hour", [9, 0, 23])
def test_scores_are_those_counted_day_by_day_where_clocks_change_too(
    first: str, issue_hour: int
) -> None:
    rows = make_rows(first, horizon=50)
    expected = by_hand(rows, issue_hour)
    found = next_day_scores(rows, timezone=ZONE, issue_hour=issue_hour)
    assert list(found.columns) == COLUMNS
    assert len(found) == len(expected) == 4
    for row in found.to_dict("records"):
        own = expected[row["contestant"], row["region"]]
        assert {name: row[name] for name in own} == pytest.approx(own)


def test_a_day_that_lacks_an_hour_counts_for_nothing_and_others_do() -> None:
    rows = make_rows("2018-07-01")
    whole = next_day_scores(rows, timezone=ZONE, issue_hour=9)
    gap = (rows["timestamp"] == "2018-07-03T20:00Z") & (rows["region"] == "AEP")
    found = next_day_scores(rows[~gap], timezone=ZONE, issue_hour=9)
    assert whole["num_days"].tolist() == [4, 4, 4, 4]
    assert found["num_days"].tolist() == [3, 4, 3, 4]


@pytest.mark.parametrize(("horizon", "is_enough"), [(39, True), (38, False)])
def test_nothing_is_told_where_no_forecast_reaches_the_end_of_the_day(
    horizon: int, *, is_enough: bool
) -> None:
    """At nine the day ends 39 hours later."""
    found = next_day_scores(make_rows("2018-07-01", horizon=horizon), timezone=ZONE, issue_hour=9)
    assert (len(found) > 0) == is_enough
    assert (next_day_of(found, ["mean"], issue_hour=9) is not None) == is_enough


def test_a_contestants_figures_are_the_means_over_its_regions() -> None:
    scores = next_day_scores(make_rows("2018-07-01"), timezone=ZONE, issue_hour=9)
    found = next_day_of(scores, ["mean"], issue_hour=9)
    assert found is not None
    assert (found.issue_hour, found.num_days, list(found.contestants)) == (9, 4, ["mean"])
    own = scores[scores["contestant"] == "mean"]
    assert found.contestants["mean"].model_dump() == pytest.approx(own[FIGURES].mean().to_dict())
