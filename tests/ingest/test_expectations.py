"""Great Expectations refuses what the declared rules refuse, and names line, value and rule."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from gridcast.config import RequiredRules, RulesConfig
from gridcast.errors import RegionRefusedError
from tests.builders.values import make_rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gridcast.errors import Fault
    from tasks.ingest.gate.region_expectations import DataDocs

pytestmark = pytest.mark.slow  # 12 s, of which 3 import Great Expectations

NUM_ROWS = 240
FILE = "AEP_hourly.csv"

# The module imports Great Expectations, which takes 3 to 6 s: each test imports it, collection not.


def requiring(*, regions: dict[str, Any] | None = None, **required: float) -> RulesConfig:
    return make_rules(required={"min_rows": 100, **required}, regions=regions)


def make_load_frame(num_rows: int = NUM_ROWS) -> pd.DataFrame:
    """Hours in the order of time; the file lists them backwards: see ``line_of``."""
    hours = pd.date_range("2018-01-01 06:00", periods=num_rows, freq="h", tz="UTC", unit="us")
    labels = (hours + pd.Timedelta(hours=1)).tz_convert("America/New_York").tz_localize(None)
    return pd.DataFrame(
        {
            "timestamp": hours,
            "local_label": labels.astype("datetime64[s]"),
            "source_line": range(num_rows + 1, 1, -1),
            "load_mw": [13_000.0 + row for row in range(num_rows)],
            "flag": pd.Series("", index=range(num_rows), dtype="str"),
        }
    )


def line_of(row: int) -> int:
    return NUM_ROWS + 1 - row


def shift_timestamp(frame: pd.DataFrame, row: int, *, by: str) -> None:
    shifted = frame["timestamp"] + pd.Timedelta(by)
    frame["timestamp"] = frame["timestamp"].where(frame.index != row, shifted)


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> DataDocs:
    from tasks.ingest.gate.region_expectations import DataDocs

    return DataDocs(tmp_path_factory.mktemp("artifacts") / "data-docs")


def faults_of(
    frame: pd.DataFrame,
    docs: DataDocs,
    *,
    region: str = "AEP",
    rules: RulesConfig | None = None,
) -> list[Fault]:
    from tasks.ingest.gate.region_expectations import validate_region

    try:
        validate_region(frame, region=region, file=FILE, rules=rules or requiring(), docs=docs)
    except RegionRefusedError as refused:
        return list(refused.faults)
    return []


def refusal_of(
    frame: pd.DataFrame, docs: DataDocs, *, rules: RulesConfig | None = None
) -> RegionRefusedError:
    from tasks.ingest.gate.region_expectations import validate_region

    with pytest.raises(RegionRefusedError) as refused:
        validate_region(frame, region="AEP", file=FILE, rules=rules or requiring(), docs=docs)
    return refused.value


def the_fault_of(frame: pd.DataFrame, docs: DataDocs, **options: Any) -> Fault:  # noqa: ANN401
    (fault,) = faults_of(frame, docs, **options)
    return fault


def test_frame_that_keeps_every_rule_has_no_faults(docs: DataDocs) -> None:
    assert faults_of(make_load_frame(), docs) == []


def test_validation_leaves_the_frame_as_it_was(docs: DataDocs) -> None:
    frame = make_load_frame()
    faults_of(frame, docs)
    pd.testing.assert_frame_equal(frame, make_load_frame())


# -- load ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("load_mw", [14_500.5, float("inf")])
def test_load_above_the_bounds_is_refused_naming_line_value_and_bounds(
    docs: DataDocs, load_mw: float
) -> None:
    frame = make_load_frame()
    frame.loc[7, "load_mw"] = load_mw
    fault = the_fault_of(frame, docs, rules=requiring(min_mw=100.0, max_mw=14_000.0))
    assert (fault.file, fault.line, fault.column) == (FILE, line_of(7), 21)
    assert (fault.kind, fault.count) == ("load_bounds", 1)
    assert fault.reason == (
        f"found a load of {load_mw} MW, expected 100.0 to 14000.0 MW "
        "(rules.default.required.min_mw) (rules.default.required.max_mw)"
    )


def test_bounds_belong_to_the_loads_that_are_allowed(docs: DataDocs) -> None:
    rules = requiring(min_mw=13_000.0, max_mw=13_000.0 + NUM_ROWS - 1)
    assert faults_of(make_load_frame(), docs, rules=rules) == []


def test_several_loads_out_of_bounds_are_one_fault_at_the_first_line_of_the_file(
    docs: DataDocs,
) -> None:
    frame = make_load_frame()
    frame.loc[[5, 90, 200], "load_mw"] = [1.0, 2.0, 3.0]
    fault = the_fault_of(frame, docs, rules=requiring(min_mw=100.0))
    assert (fault.line, fault.count) == (line_of(200), 3)
    assert fault.reason.startswith("found a load of 3.0 MW")


def test_value_is_right_beyond_the_200_that_great_expectations_lists(docs: DataDocs) -> None:
    frame = make_load_frame()
    fault = the_fault_of(frame, docs, rules=requiring(max_mw=1_000.0))
    assert (fault.line, fault.count) == (2, NUM_ROWS)
    assert fault.reason.startswith(f"found a load of {13_000.0 + NUM_ROWS - 1} MW")


def test_region_with_bounds_of_its_own_is_held_against_those(docs: DataDocs) -> None:
    rules = requiring(regions={"DEOK": {"required": {"min_mw": 500.0, "max_mw": 6_000.0}}})
    assert faults_of(make_load_frame(), docs, rules=rules) == []
    fault = the_fault_of(make_load_frame(), docs, region="DEOK", rules=rules)
    assert fault.reason.endswith(
        "expected 500.0 to 6000.0 MW "
        "(rules.regions.DEOK.required.min_mw) (rules.regions.DEOK.required.max_mw)"
    )


def test_every_refused_row_is_told_with_its_own_value(docs: DataDocs) -> None:
    frame = make_load_frame()
    frame.loc[[5, 90, 200], "load_mw"] = [1.0, 2.0, 3.0]
    rows = refusal_of(frame, docs, rules=requiring(min_mw=100.0)).rows
    assert [row.line for row in rows] == [line_of(row) for row in (200, 90, 5)]
    assert [row.reason.split()[4] for row in rows] == ["3.0", "2.0", "1.0"]
    assert {(row.kind, row.column, row.count) for row in rows} == {("load_bounds", 21, 1)}


def test_what_is_wrong_with_the_table_as_a_whole_is_told_for_no_row(docs: DataDocs) -> None:
    assert refusal_of(make_load_frame(0), docs).rows == ()


def test_too_many_flagged_readings_are_refused_naming_how_many_and_which(docs: DataDocs) -> None:
    frame = make_load_frame()
    frame.loc[range(3, 8), "flag"] = ["flat", "flat", "zero", "flat", "flat"]
    fault = the_fault_of(frame, docs)
    assert (fault.line, fault.column, fault.kind) == (1, 1, "flagged_share")
    assert fault.reason == (
        "found 5 of 240 readings (2.083%, 4 flat, 1 zero) flagged, expected at most 2% of them "
        "(rules.default.required.max_flagged_share)"
    )
    assert faults_of(frame, docs, rules=requiring(max_flagged_share=5 / 240)) == []


def test_missing_load_is_refused_naming_its_line(docs: DataDocs) -> None:
    frame = make_load_frame()
    frame.loc[3, "load_mw"] = None
    fault = the_fault_of(frame, docs)
    assert (fault.line, fault.column, fault.kind) == (line_of(3), 21, "load_mw_null")
    assert fault.reason == "found no load_mw, expected a value in every row"


# -- time ----------------------------------------------------------------------------------------


def test_missing_timestamp_is_refused_naming_its_line(docs: DataDocs) -> None:
    frame = make_load_frame()
    frame.loc[9, "timestamp"] = pd.NaT
    fault = the_fault_of(frame, docs)
    assert (fault.line, fault.column, fault.kind) == (line_of(9), 1, "timestamp_null")
    assert fault.reason == "found no timestamp, expected a value in every row"


def test_hour_that_stands_twice_is_refused_naming_hour_and_first_line(docs: DataDocs) -> None:
    frame = make_load_frame()
    shift_timestamp(frame, 50, by="-1h")
    fault = the_fault_of(frame, docs)
    assert (fault.line, fault.column, fault.kind) == (line_of(50), 1, "duplicate_hour")
    assert fault.count == 2
    expected = "found the hour 2018-01-03 07:00:00+00:00 again, expected every hour once"
    assert fault.reason == expected


@pytest.mark.parametrize("shift", ["30min", "1s", "1us"])
def test_timestamp_off_the_hour_is_refused_naming_it(docs: DataDocs, shift: str) -> None:
    frame = make_load_frame()
    shift_timestamp(frame, 20, by=shift)
    fault = the_fault_of(frame, docs)
    assert (fault.line, fault.column, fault.kind) == (line_of(20), 1, "off_hour")
    found = pd.Timestamp("2018-01-02 02:00", tz="UTC") + pd.Timedelta(shift)
    assert fault.reason == f"found the timestamp {found}, expected a full hour"


def test_rows_out_of_the_order_of_time_are_refused_naming_the_late_hour(docs: DataDocs) -> None:
    frame = make_load_frame()
    frame.loc[[30, 31], "timestamp"] = frame.loc[[31, 30], "timestamp"].to_list()
    fault = the_fault_of(frame, docs)
    assert (fault.line, fault.column, fault.kind) == (line_of(31), 1, "time_order")
    assert fault.reason.startswith("found the hour 2018-01-02 12:00:00+00:00 below a later one")


def test_too_few_rows_are_refused_naming_both_numbers(docs: DataDocs) -> None:
    rules = requiring(min_rows=NUM_ROWS + 1)
    fault = the_fault_of(make_load_frame(), docs, rules=rules)
    assert (fault.line, fault.column, fault.kind) == (1, 1, "too_few_rows")
    assert fault.reason == "found 240 rows, expected at least 241 (rules.default.required.min_rows)"
    assert faults_of(make_load_frame(), docs, rules=requiring(min_rows=NUM_ROWS)) == []


def test_too_many_missing_hours_are_refused_naming_hours_and_share(docs: DataDocs) -> None:
    frame = make_load_frame().drop(index=range(100, 106))
    fault = the_fault_of(frame, docs, rules=requiring(max_missing_share=0.02))
    first = frame.iloc[100]  # of the hours behind the gap
    assert (fault.line, fault.column, fault.kind) == (
        first["source_line"], 1, "too_many_missing",
    )  # fmt: skip
    assert fault.reason == (
        "found 6 of 240 hours (2.500%) missing, 6 in a row before "
        f"'{first['local_label']}' in this line (the hour before is in "
        f"{frame.iloc[99]['source_line']}), expected at most 2% of them "
        "(rules.default.required.max_missing_share)"
    )


def test_share_of_missing_hours_may_reach_its_limit(docs: DataDocs) -> None:
    frame = make_load_frame().drop(index=range(100, 106))
    assert faults_of(frame, docs, rules=requiring(max_missing_share=6 / 240)) == []


def test_frame_without_rows_has_too_few_and_no_other_fault(docs: DataDocs) -> None:
    assert [fault.kind for fault in faults_of(make_load_frame(0), docs)] == ["too_few_rows"]


# -- form ----------------------------------------------------------------------------------------


def test_columns_in_another_order_are_refused_naming_both_orders(docs: DataDocs) -> None:
    frame = make_load_frame()[["local_label", "timestamp", "source_line", "load_mw", "flag"]]
    fault = the_fault_of(frame, docs)
    assert (fault.line, fault.column, fault.kind) == (1, 1, "columns")
    assert fault.reason == (
        "found the columns ['local_label', 'timestamp', 'source_line', 'load_mw', 'flag'], "
        "expected ['timestamp', 'local_label', 'source_line', 'load_mw', 'flag']"
    )


def test_further_column_is_refused(docs: DataDocs) -> None:
    assert the_fault_of(make_load_frame().assign(weather=1.0), docs).kind == "columns"


def test_rule_about_a_missing_column_is_a_fault_never_a_pass(docs: DataDocs) -> None:
    faults = faults_of(make_load_frame().drop(columns="load_mw"), docs)
    kinds = {fault.kind for fault in faults}
    assert kinds == {"columns", "load_mw_type", "load_mw_null", "load_bounds"}
    (bounds,) = (fault for fault in faults if fault.kind == "load_bounds")
    assert "can't be checked" in bounds.reason
    assert "load_mw" in bounds.reason


def test_rule_that_breaks_on_a_wrong_type_is_a_fault_never_a_pass(docs: DataDocs) -> None:
    frame = make_load_frame()
    frame["timestamp"] = frame["timestamp"].astype("str")
    faults = {fault.kind: fault for fault in faults_of(frame, docs)}
    assert {"timestamp_type", "off_hour", "too_many_missing"} <= set(faults)
    assert "found that off_hour can't be checked" in faults["off_hour"].reason


def without_zone(frame: pd.DataFrame) -> pd.Series[Any]:
    return frame["timestamp"].astype("datetime64[us, UTC]").dt.tz_localize(None)


def in_new_york(frame: pd.DataFrame) -> pd.Series[Any]:
    return frame["timestamp"].astype("datetime64[us, UTC]").dt.tz_convert("America/New_York")


@pytest.mark.parametrize(
    ("column", "convert", "reason"),
    [
        ("timestamp", without_zone, "datetime64[us], expected datetime64[us, UTC]"),
        (
            "timestamp",
            in_new_york,
            "datetime64[us, America/New_York], expected datetime64[us, UTC]",
        ),
        ("local_label", in_new_york, "datetime64[us, America/New_York], expected datetime64"),
        (
            "source_line",
            lambda frame: frame["source_line"].astype("int32"),
            "int32, expected int64",
        ),
        ("load_mw", lambda frame: frame["load_mw"].astype("int64"), "int64, expected float64"),
        ("flag", lambda frame: frame["flag"].astype("object"), "object, expected str"),
    ],
    ids=["no zone", "other zone", "label with a zone", "short lines", "whole loads", "loose flags"],
)
def test_column_of_another_type_is_refused_naming_both_types(
    docs: DataDocs, column: str, convert: Callable[[pd.DataFrame], pd.Series[Any]], reason: str
) -> None:
    frame = make_load_frame()
    frame[column] = convert(frame)
    fault = the_fault_of(frame, docs)
    assert (fault.line, fault.column, fault.kind) == (1, 1, f"{column}_type")
    assert fault.reason == f"found {column} of type {reason}"


def test_rows_without_a_line_are_refused_and_their_faults_name_line_1(docs: DataDocs) -> None:
    frame = make_load_frame()
    frame.loc[4, "source_line"] = None
    frame.loc[4, "load_mw"] = -5.0
    faults = {fault.kind: fault for fault in faults_of(frame, docs)}
    assert set(faults) == {"source_line_type", "source_line_null", "load_bounds"}
    assert (faults["load_bounds"].line, faults["source_line_null"].line) == (1, 1)
    assert faults["load_bounds"].reason.startswith("found a load of -5.0 MW")


def test_frame_without_lines_still_names_the_offending_value(docs: DataDocs) -> None:
    frame = make_load_frame().drop(columns="source_line")
    frame.loc[4, "load_mw"] = -5.0
    faults = {fault.kind: fault for fault in faults_of(frame, docs)}
    assert (faults["load_bounds"].line, faults["load_bounds"].count) == (1, 1)
    assert faults["load_bounds"].reason.startswith("found a load of -5.0 MW")


def test_faults_stand_in_the_order_of_the_file(docs: DataDocs) -> None:
    frame = make_load_frame()
    frame.loc[60, "load_mw"] = -1.0
    shift_timestamp(frame, 120, by="5min")
    faults = faults_of(frame, docs, rules=requiring(min_rows=1_000))
    assert [fault.kind for fault in faults] == ["too_few_rows", "off_hour", "load_bounds"]


@pytest.mark.parametrize(
    ("exception_info", "message"),
    [
        ({"raised_exception": False, "exception_message": None}, None),
        ({"raised_exception": True, "exception_message": "no such column\nmore"}, "no such column"),
        ({"('column.max', ())": {"raised_exception": True, "exception_message": "a"}}, "a"),
        ({"('column.max', ())": {"raised_exception": False, "exception_message": None}}, None),
        ({}, None),
    ],
    ids=["none", "one record", "a record a metric", "a quiet metric", "empty"],
)
def test_both_shapes_of_an_exception_are_understood(
    exception_info: dict[str, Any], message: str | None
) -> None:
    from great_expectations.core import ExpectationValidationResult

    from tasks.ingest.gate.region_expectations import _exception_of

    result = ExpectationValidationResult(success=True, exception_info=exception_info)
    assert _exception_of(result) == message


# -- Data Docs -----------------------------------------------------------------------------------


def pages_of(index: Path) -> dict[str, str]:
    return {
        str(path.relative_to(index.parent)): path.read_text(encoding="utf-8")
        for path in index.parent.rglob("*.html")
    }


def run_of(folder: Path, *regions: str, load_mw: float = 13_000.0) -> Path:
    """What a run does, in a process of its own: validate, then build once."""
    from tasks.ingest.gate.region_expectations import DataDocs

    docs = DataDocs(folder)
    for region in regions:
        faults_of(make_load_frame().assign(load_mw=load_mw), docs, region=region)
    return docs.build()


def test_index_links_a_page_a_region_with_the_rules_in_words(tmp_path: Path) -> None:
    index = run_of(tmp_path / "data-docs", "AEP", "PJM_Load")
    assert index == tmp_path / "data-docs" / "site" / "index.html"
    pages = pages_of(index)
    linked = set(re.findall(r'href="([^"#]+)"', pages["index.html"])) - {"index.html"}
    assert linked == set(pages) - {"index.html"}
    (page,) = (text for name, text in pages.items() if name.startswith("validations/AEP/"))
    assert "Every load is possible: 0.0 to 200000.0 MW, both ends included" in page
    assert "Of the hours between first and last, at most 2% are missing" in page
    assert "0 of 240 hours (0.000%)" in page


OWN_RULES = {
    "min_rows": 7, "max_missing_share": 0.5, "min_mw": 3.0, "max_mw": 9e4, "max_flagged_share": 0.5,
}  # fmt: skip


def test_every_required_rule_is_an_expectation_that_names_the_key_which_sets_it() -> None:
    from tasks.ingest.gate.region_expectations import region_suite

    of_level = {"max_level_factor", "may_only_grow"}  # read_whole asks them, of all loads together
    assert OWN_RULES.keys() == RequiredRules.model_fields.keys() - of_level
    rules = make_rules(regions={"DEOK": {"required": OWN_RULES}})
    for region, key in ("AEP", "default"), ("DEOK", "regions.DEOK"):
        asked = region_suite(region, rules).expectations
        for rule in OWN_RULES:
            key_text = f"(rules.{key}.required.{rule})"
            (one,) = (each for each in asked if key_text in str(each.description))
            assert one.meta is not None
            assert key_text in one.meta["expected"]


def test_the_pages_show_a_rule_of_one_region_on_that_regions_page_alone(tmp_path: Path) -> None:
    from tasks.ingest.gate.region_expectations import DataDocs

    docs = DataDocs(tmp_path)
    rules = requiring(regions={"DEOK": {"required": {"min_rows": 120}}})
    for region in ("AEP", "DEOK"):
        assert faults_of(make_load_frame(), docs, region=region, rules=rules) == []
    pages = pages_of(docs.build())
    own, others = (
        next(text for name, text in pages.items() if name.startswith(f"validations/{region}/"))
        for region in ("DEOK", "AEP")
    )
    assert "There are at least 120 rows (rules.regions.DEOK.required.min_rows)." in own
    assert "There are at least 100 rows (rules.default.required.min_rows)." in others


def test_links_between_the_pages_lead_somewhere(tmp_path: Path) -> None:
    index = run_of(tmp_path, "AEP")
    for name, text in pages_of(index).items():
        for target in re.findall(r'href="([^"#]+)"', text):
            assert (index.parent / name).parent.joinpath(target).is_file(), f"{name}: {target}"


def test_pages_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    for name, text in pages_of(run_of(tmp_path, "AEP")).items():
        assert not re.search(r'(src|href)\s*=\s*["\']?(https?:)?//', text), name
        assert "<script" not in text, name


def test_page_of_a_refused_region_shows_offending_value_and_its_line(tmp_path: Path) -> None:
    from tasks.ingest.gate.region_expectations import DataDocs

    docs = DataDocs(tmp_path)
    frame = make_load_frame()
    frame.loc[7, "load_mw"] = -77.25
    faults_of(frame, docs)
    (page,) = (text for name, text in pages_of(docs.build()).items() if "validations/" in name)
    cells = re.findall(r"<td[^>]*><div[^>]*>\s*([^<]*?)\s*</div></td>", page)
    assert cells[cells.index("-77.25") :][:3] == ["-77.25", "1", str(line_of(7))]


def test_second_run_replaces_its_regions_and_keeps_the_others(tmp_path: Path) -> None:
    first = pages_of(run_of(tmp_path, "AEP", "COMED"))
    second = pages_of(run_of(tmp_path, "AEP", load_mw=-1.0))
    assert len(second) == len(first)
    assert not any(name in second for name in first if name.startswith("validations/AEP/"))
    assert all(name in second for name in first if name.startswith("validations/COMED/"))
    assert len(re.findall(r"<i [^>]*text-danger", second["index.html"])) == 1


@pytest.mark.parametrize(
    "broken", ["expectations/AEP.json", "great_expectations.yml", "made_by.txt"]
)
def test_store_that_a_crash_left_half_written_is_mended(tmp_path: Path, broken: str) -> None:
    run_of(tmp_path, "AEP", "COMED")
    path = tmp_path / "gx" / broken
    path.write_bytes(path.read_bytes()[:20])
    assert "AEP" in run_of(tmp_path, "AEP").read_text(encoding="utf-8")


def test_folder_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    from tasks.ingest.gate.region_expectations import DataDocs

    (tmp_path / "occupied").write_text("a file")
    with pytest.raises(OSError, match="occupied"):
        DataDocs(tmp_path / "occupied")


def test_nothing_is_printed_and_no_progress_is_drawn(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_of(tmp_path, "AEP")
    assert capfd.readouterr() == ("", "")
