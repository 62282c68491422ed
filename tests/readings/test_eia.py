"""What the answers of the EIA's interface mean: hours, loads, what is left out, what is refused."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridcast.errors import EXIT_USAGE, FetchError, UsageError
from gridcast.readings.eia import (
    HOUR,
    OPERATOR,
    SUB_REGIONS,
    Readings,
    csv_text,
    first_hour_to_ask,
    merge,
    query,
    read_page,
    regions_of,
)
from gridcast.readings.parsing import parse_region
from tests.builders.values import make_config

NEW_YEAR = datetime(2026, 1, 1)  # noqa: DTZ001 - UTC, as everywhere in gridcast.readings.eia


def make_row(**changes: object) -> dict[str, object]:
    row = {"period": "2026-01-01T05", "subba": "AEP", "parent": "PJM", "value": "14246",
           "value-units": "megawatthours"}  # fmt: skip
    return {**row, **changes}


def make_body(*rows: dict[str, object], total: object = None, **response: object) -> bytes:
    count = str(len(rows)) if total is None else total
    return json.dumps({"response": {"total": count, "data": rows, **response}}).encode()


def test_a_period_is_the_end_of_its_hour_in_utc_and_a_value_may_be_a_string() -> None:
    page = read_page(make_body(make_row(), make_row(period="2026-01-01T06", value=2)), region="AEP")
    assert page.readings == {NEW_YEAR + 5 * HOUR: 14246.0, NEW_YEAR + 6 * HOUR: 2.0}
    assert (page.total, page.num_rows, page.dropped, page.warnings) == (2, 2, {}, ())


@pytest.mark.parametrize("value", [None, "", "-5", -5.0, "nan", "inf"])
def test_a_row_without_a_load_is_dropped_and_kept_apart_as_it_stood(value: object) -> None:
    page = read_page(make_body(make_row(value=value)), region="AEP")
    assert page.readings == {}
    assert page.dropped == {NEW_YEAR + 5 * HOUR: str(value)}
    assert page.num_rows == 1


def test_warnings_of_the_interface_are_passed_on() -> None:
    body = make_body(make_row(), warnings=[{"warning": "incomplete return"}])
    assert "incomplete return" in read_page(body, region="AEP").warnings[0]


@pytest.mark.parametrize(
    "row",
    [
        make_row(subba="DOM"), make_row(parent="MISO"), make_row(period="2026-01-01"),
        make_row(period="2026-01-01T24"), make_row(period=5), make_row(value="many"),
        make_row(value=[1]), make_row(value=True), {"period": "2026-01-01T05"},
        make_row(**{"value-units": "kilowatthours"}),
    ],
)  # fmt: skip
def test_a_row_that_is_not_what_is_documented_is_refused_naming_the_region(row: Any) -> None:  # noqa: ANN401
    with pytest.raises(FetchError, match=r"ERROR EIA AEP: found .*expected an answer as EIA"):
        read_page(make_body(row), region="AEP")


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"null", b"3", b'{"response": {}}', b'{"response": {"total": "x"}}']
)
def test_another_answer_is_refused(body: bytes) -> None:
    with pytest.raises(FetchError):
        read_page(body, region="AEP")


def test_an_error_with_status_200_is_told_in_its_own_words() -> None:
    with pytest.raises(FetchError, match="found No such route"):
        read_page(b'{"error": "No such route.", "code": 404}', region="AEP")


@pytest.mark.parametrize("body", [b"", b'{"response": {"da', b"<html>", b"\xff"])
def test_a_body_that_is_no_json_is_a_value_error_since_asking_again_may_help(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        read_page(body, region="AEP")


@given(st.binary(max_size=200) | st.text(max_size=50).map(lambda text: json.dumps(text).encode()))
def test_no_body_gives_any_other_error(body: bytes) -> None:
    try:
        read_page(body, region="AEP")
    except (FetchError, ValueError):
        return


def test_what_is_asked_names_the_sub_region_by_its_code_in_an_order_that_pages_need() -> None:
    asked = query("COMED", first=NEW_YEAR, last=NEW_YEAR + 9 * HOUR, offset=5000, rows=5000)
    assert (asked["facets[parent][]"], asked["facets[subba][]"]) == ("PJM", "CE")
    assert (asked["start"], asked["end"]) == ("2026-01-01T00", "2026-01-01T09")
    assert (asked["sort[0][column]"], asked["offset"], asked["length"]) == (
        "period",
        "5000",
        "5000",
    )
    assert "api_key" not in asked


def test_the_whole_and_what_its_operator_forecasts_are_asked_for_by_type() -> None:
    asked = query(OPERATOR, first=NEW_YEAR, last=NEW_YEAR, offset=0, rows=1)
    assert (asked["facets[respondent][]"], asked["facets[type][]"]) == ("PJM", "DF")
    assert "facets[subba][]" not in asked
    row: dict[str, object] = {
        "period": "2026-01-01T05", "respondent": "PJM", "type": "DF", "value": "90000",
        "value-units": "megawatthours",
    }  # fmt: skip
    assert read_page(make_body(row), region=OPERATOR).readings == {NEW_YEAR + 5 * HOUR: 90000.0}
    with pytest.raises(FetchError, match="a row of PJM/DF, asked for PJM/D"):
        read_page(make_body(row), region="PJM")


def test_regions_are_named_as_in_files_or_as_the_interface_names_them_each_once() -> None:
    assert regions_of(["ATSI", "AEP", "FE", "DAY"]) == ["FE", "AEP", "DAYTON"]
    assert regions_of(None) == [*SUB_REGIONS, "PJM"]
    assert len(set(SUB_REGIONS.values())) == len(SUB_REGIONS) == 20


@pytest.mark.parametrize("name", ["../../etc/x", "PJME", "", "aep"])
def test_an_unknown_region_is_refused_as_wrong_usage(name: str) -> None:
    with pytest.raises(UsageError, match="no region of PJM") as refused:
        regions_of(["AEP", name])
    assert refused.value.exit_code == EXIT_USAGE


# -- what is held --------------------------------------------------------------------------------

HELD: Readings = {NEW_YEAR + i * HOUR: 100.0 + i for i in range(24 * 30)}
NEWEST = max(HELD)


@pytest.mark.parametrize(
    ("since", "first"),
    [
        pytest.param(None, NEWEST - timedelta(days=7), id="no_since"),
        pytest.param(NEW_YEAR, NEWEST - timedelta(days=7), id="since_what_is_held"),
        pytest.param(NEWEST, NEWEST - timedelta(days=7), id="since_the_newest"),
        pytest.param(NEWEST + 99 * HOUR, NEWEST - timedelta(days=7), id="later_leaves_no_gap"),
        pytest.param(NEW_YEAR - HOUR, NEW_YEAR - HOUR, id="earlier_goes_back"),
    ],
)
def test_a_fetch_asks_for_the_last_days_again(since: datetime | None, first: datetime) -> None:
    assert first_hour_to_ask(HELD, since=since, revised_days=7, region="AEP") == first


def test_the_first_fetch_needs_to_be_told_since_when() -> None:
    assert first_hour_to_ask({}, since=NEW_YEAR, revised_days=7, region="AEP") == NEW_YEAR
    with pytest.raises(UsageError, match="--since 2026-01-01"):
        first_hour_to_ask({}, since=None, revised_days=7, region="AEP")


def test_the_newer_answer_wins_and_new_and_revised_hours_are_counted() -> None:
    fetched = {NEWEST - HOUR: 5.0, NEWEST: HELD[NEWEST], NEWEST + HOUR: 6.0, NEWEST + 3 * HOUR: 7.0}
    merged = merge(HELD, fetched)
    assert (merged.num_new, merged.num_revised) == (2, 1)
    assert merged.readings == {**HELD, **fetched}
    assert NEWEST + 2 * HOUR not in merged.readings  # a missing hour stays missing


@given(
    st.dictionaries(st.integers(0, 20), st.floats(0, 1e6), max_size=20),
    st.dictionaries(st.integers(0, 20), st.floats(0, 1e6), max_size=20),
)
def test_merging_an_answer_again_changes_nothing(
    held: dict[int, float], fetched: dict[int, float]
) -> None:
    def readings(by_hour: dict[int, float]) -> Readings:
        return {NEW_YEAR + hour * HOUR: load for hour, load in by_hour.items()}

    once = merge(readings(held), readings(fetched))
    assert merge(once.readings, readings(fetched)) == (once.readings, 0, 0)
    assert once.num_new == len(once.readings) - len(held)


def test_what_is_written_is_read_back_by_the_parser_hour_by_hour() -> None:
    readings = {NEW_YEAR + i * HOUR: 14000.5 - 7.25 * i for i in (3, 0, 1, 7)}
    config = make_config().ingestion.reading("utc")
    content = csv_text(readings, region="AEP").encode()
    load = parse_region(content, region="AEP", file="AEP_hourly.csv", config=config)
    starts = [f"{hour - HOUR:%Y-%m-%d %H:%M:%S+00:00}" for hour in sorted(readings)]
    assert [str(stamp) for stamp in load.frame["timestamp"]] == starts
    assert list(load.frame["load_mw"]) == [readings[hour] for hour in sorted(readings)]


def test_an_answer_nested_without_end_is_another_answer() -> None:
    with pytest.raises(FetchError, match="ERROR EIA AEP: found JSON without end"):
        read_page(b"[" * 100_000 + b"]" * 100_000, region="AEP")
