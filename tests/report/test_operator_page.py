"""The operator's page: what it shows, that it asks for nothing, that no name ends a script."""

from __future__ import annotations

import re

import pandas as pd

from gridcast.report.operator_page import (
    AlarmRow,
    FeedRow,
    OperatorFacts,
    bands_spec,
    errors_spec,
    operator_page,
    outlook_spec,
)
from tests.builders.issued import FIRST, HOUR, make_issued, make_readings

READINGS = make_readings(24 * 5)
ISSUE = FIRST + 48 * HOUR
ROWS = make_issued(READINGS, first=ISSUE, num=1, horizon=6)
LOADS = pd.concat([
    each[each["timestamp"] < ISSUE].assign(region=name) for name, each in READINGS.items()
])  # fmt: skip
DAYS = pd.DataFrame({
    "region": ["AEP", "DOM"] * 2, "day": pd.to_datetime(["2017-01-02"] * 2 + ["2017-01-03"] * 2),
    "error": [1.0, 3.0, 2.0, 2.0], "naive_error": [5.0, 7.0, float("nan"), 8.0],
    "coverage": [90.0, 80.0, 100.0, 90.0],
})  # fmt: skip
EVIL = "</script><script>alert(1)</script>"
FACTS = OperatorFacts(
    dataset=EVIL, at="2017-01-03 05:00 UTC", champion="gru-seed0", reason="better: 3 %",
    window_days=7, alarms=[AlarmRow("2017-01-02 05:00", "critical", "AEP", EVIL)],
    feeds=[FeedRow("DOM", "2017-01-03 04:00", 0, "1.23", "", "", "")],
    promotions=[("2017-01-02T00:00:00+00:00", EVIL)],
)  # fmt: skip


def page() -> str:
    return operator_page(
        FACTS, ROWS.assign(region=EVIL), LOADS, DAYS, vega_js="/* vega */", timezone="UTC"
    )


def test_nothing_is_asked_of_any_server_and_a_policy_forbids_it() -> None:
    text = page()
    assert "default-src 'none'" in text
    assert re.findall(r"(?:src|href|action)=\"(?!data:)[^\"]*\"", text) == []
    assert "/* vega */" in text
    assert text.count("vegaEmbed(") == 3


def test_no_name_ends_a_script_or_becomes_markup() -> None:
    text = page()
    assert EVIL not in text
    assert text.count("</script>") == 2
    assert "&lt;/script&gt;" in text


def test_words_and_figures_stand_in_it() -> None:
    text = page()
    for expected in ("gru-seed0", "better: 3 %", "2017-01-03 04:00", "1.23", "critical"):
        assert expected in text


def test_the_outlook_has_the_truth_the_forecast_and_its_outer_band_in_local_hours() -> None:
    spec = outlook_spec(ROWS, LOADS, timezone="America/New_York")
    values = [each for each in spec["data"]["values"] if each["region"] == "DOM"]
    told = [each for each in values if "forecast" in each]
    assert len(told) == 6
    assert len(values) == 6 + 48
    assert told[0]["t"] == "2017-01-03T00:00:00"  # 05:00 UTC
    own = ROWS[ROWS["region"] == "DOM"].iloc[0]
    assert [told[0][n] for n in ("low", "forecast", "high")] == [
        round(own[n], 1) for n in ("q05", "load_mw", "q95")
    ]
    assert spec["params"][0]["bind"]["options"] == ["AEP", "DOM"]


def test_the_history_is_the_mean_of_the_regions_with_promotions_marked() -> None:
    long_ago = ("2015-08-01T00:00:00+00:00", "gru")  # would squeeze the days into a corner
    promotions = [long_ago, ("2017-01-02T05:00:00+00:00", "lstm")]
    errors, bands = errors_spec(DAYS, promotions), bands_spec(DAYS, promotions)
    assert errors["data"]["values"] == [
        {"day": "2017-01-02", "error": 2.0, "naive_error": 6.0},
        {"day": "2017-01-03", "error": 2.0, "naive_error": 8.0},
    ]
    assert [each["coverage"] for each in bands["data"]["values"]] == [85.0, 95.0]
    for each in (errors, bands):
        assert each["layer"][-1]["data"]["values"] == [{"day": "2017-01-02", "who": "lstm"}]


def test_where_nobody_was_promoted_in_the_days_shown_nothing_is_drawn_without_an_extent() -> None:
    promotions = [("2015-08-01T00:00:00+00:00", "gru")]
    marks = [each["mark"]["type"] for each in errors_spec(DAYS, promotions)["layer"]]
    assert marks == ["line", "line"]


def test_without_a_forecast_or_a_truth_the_page_is_made_all_the_same() -> None:
    empty = operator_page(
        FACTS, ROWS.iloc[:0], LOADS.iloc[:0], pd.DataFrame(), vega_js="", timezone="UTC"
    )
    assert "The hours to come" in empty
