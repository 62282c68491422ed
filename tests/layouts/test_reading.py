"""What is not as its layout says is refused by file, line and column; the rest is read."""

from __future__ import annotations

import io
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridcast.config import Config
from gridcast.errors import ConfigError, Fault
from gridcast.layouts.kept import bytes_of, kept_region, load_of
from gridcast.layouts.labels import read_labels
from gridcast.layouts.places import column_of
from gridcast.layouts.reading import File, LaidOut, read_files
from tests.builders.layouts import make_workbook

LONG = (
    "layout={files: '*.csv', time_columns: [time], time_format: '%Y-%m-%d %H:%M', "
    "time_zone: UTC, region_column: place, load_column: mw, missing: ['n/e']}"
)


def config_of(*settings_: str) -> Config:
    return Config.load(overrides=tuple(f"ingestion.{each}" for each in settings_))


def read(text: str | bytes, *settings_: str, name: str = "a.csv") -> LaidOut:
    content = text.encode() if isinstance(text, str) else text
    config = config_of(LONG, *settings_).ingestion
    return read_files([File(name, name, content)], config, config.layout)


def faults_of(found: LaidOut, region: str = "A") -> list[Fault]:
    refusal = found.regions[region].refusal
    assert refusal is not None
    return list(refusal.faults)


def frame_of(found: LaidOut, region: str = "A") -> pd.DataFrame:
    load = found.regions[region].load
    assert load is not None, found.regions[region].refusal
    return load.frame


def rows(*lines: str) -> str:
    return "\n".join(("time,place,mw", *lines)) + "\n"


HOURS = ("2024-01-01 01:00,A,5", "2024-01-01 02:00,A,6")


def test_a_region_with_a_bad_cell_is_refused_and_the_others_are_read() -> None:
    found = read(rows(*HOURS, "2024-01-01 03:00,A,six", "2024-01-01 01:00,B,7"))
    (fault,) = faults_of(found)
    assert (fault.file, fault.line, fault.column, fault.kind) == ("a.csv", 4, 20, "load")
    assert fault.reason.startswith("found the load 'six', expected a number")
    assert frame_of(found, "B")["load_mw"].tolist() == [7.0]


@pytest.mark.parametrize(
    ("line", "kind", "column", "words"),
    [
        ("2024-02-30 03:00,A,6", "label", 1, "found the label '2024-02-30 03:00'"),
        ("2024-01-01 03:00,A,", "load", 20, "found an empty load"),
        ("2024-01-01 03:30,A,6", "label_off_hour", 1, "expected a full step of 60 minutes"),
        ("2024-01-01 02:00,A,6", "duplicate_hour", 1, "again (it stands in line 3)"),
    ],
)
def test_a_fault_names_line_column_and_what_was_expected(
    line: str, kind: str, column: int, words: str
) -> None:
    (fault,) = faults_of(read(rows(*HOURS, line)))
    assert (fault.line, fault.column, fault.kind) == (4, column, kind)
    assert words in fault.reason


def test_a_file_without_the_column_names_those_that_there_are_and_the_setting() -> None:
    found = read("time,place,load\n2024-01-01 01:00,A,5\n")
    ((file, error),) = found.unread.items()
    assert file == "a.csv"
    assert str(error) == (
        "ERROR a.csv:1:1: found the columns time, place, load, none of them 'mw', expected it once "
        "(ingestion.layout.load_column); try `gridcast inspect`"
    )


def test_rows_of_another_length_are_named_by_line() -> None:
    found = read(rows(*HOURS, "2024-01-01 03:00,A,6,7", "", "2024-01-01 04:00,A"))
    faults = found.unread["a.csv"].faults
    assert [(fault.line, fault.kind) for fault in faults] == [(4, "columns"), (6, "columns")]


def test_two_names_that_would_be_one_region_are_refused_until_they_are_named() -> None:
    text = rows("2024-01-01 01:00,Nord-West,5", "2024-01-01 01:00,Nord West,6")
    assert "'Nord-West', 'Nord West'" in str(read(text).unread["a.csv"])
    found = read(text, "layout.names={Nord-West: NW, Nord West: NW2}")
    assert sorted(found.regions) == ["NW", "NW2"]


def test_marks_of_missing_readings_leave_hours_out() -> None:
    found = read(rows(*HOURS, "2024-01-01 03:00,A,n/e", "2024-01-01 04:00,A,8"))
    assert frame_of(found)["load_mw"].tolist() == [5.0, 6.0, 8.0]
    assert found.regions["A"].num_missing == 1


def test_equal_readings_of_two_files_count_once_and_others_are_refused() -> None:
    config = config_of(LONG).ingestion
    old, new, other = (
        rows(*HOURS),
        rows(HOURS[1], "2024-01-01 03:00,A,7"),
        rows("2024-01-01 02:00,A,9"),
    )
    files = [File(f"{year}.csv", f"{year}.csv", text.encode()) for year, text in
             ((2023, old), (2024, new))]  # fmt: skip
    found = read_files(files, config, config.layout)
    assert frame_of(found)["load_mw"].tolist() == [5.0, 6.0, 7.0]
    files.append(File("x.csv", "x.csv", other.encode()))
    (fault,) = faults_of(read_files(files, config, config.layout))
    assert (fault.file, fault.line, fault.kind) == ("x.csv", 2, "duplicate_hour")


def test_hours_are_means_of_power_and_sums_of_energy_and_a_hole_leaves_them_out() -> None:
    text = rows(
        "2024-01-01 01:00,A,10", "2024-01-01 01:30,A,20", "2024-01-01 02:00,A,1",
        "2024-01-01 03:00,A,30", "2024-01-01 03:30,A,50",
    )  # fmt: skip
    half_hours = ("label=hour_beginning", "layout.step_minutes=30")
    found = read(text, *half_hours)
    assert frame_of(found)["load_mw"].tolist() == [15.0, 40.0]
    assert found.regions["A"].num_broken == 1
    energy = read(text, *half_hours, "layout.unit=MWh", "layout.fewest_share=0.5")
    assert frame_of(energy)["load_mw"].tolist() == [30.0, 2.0, 80.0]
    assert frame_of(energy)["timestamp"].dt.hour.tolist() == [1, 2, 3]


def test_hours_of_a_half_hour_zone_are_full_hours_of_its_local_time() -> None:
    text = rows(*(f"2024-01-01 {18 + n // 2:02d}:{30 * (n % 2):02d},A,{n}" for n in range(6)))
    found = read(text, "label=hour_beginning", "layout.step_minutes=30", "timezone=Asia/Kolkata")
    frame = frame_of(found)
    assert frame["timestamp"].dt.strftime("%H:%M").tolist() == ["18:30", "19:30"]
    assert frame["load_mw"].tolist() == [1.5, 3.5]


def test_newest_rows_first_keep_the_order_of_an_autumn_pair() -> None:
    lines = ["2024-11-03 00:00,A,1", "2024-11-03 01:00,A,2", "2024-11-03 01:00,A,3",
             "2024-11-03 02:00,A,4"]  # fmt: skip
    local = ("layout.time_zone=local", "label=hour_beginning")
    for order in (lines, lines[::-1]):
        frame = frame_of(read(rows(*order), *local))
        assert frame["load_mw"].tolist() == [1.0, 2.0, 3.0, 4.0]
        assert frame["timestamp"].dt.hour.tolist() == [4, 5, 6, 7]


def test_the_clock_at_the_end_of_an_hour_is_read_at_both_changes() -> None:
    spring = rows(*(f"2024-03-10 {hour:02d}:00,A,{hour}" for hour in (1, 3, 4)))
    autumn = rows(*(f"2024-11-03 {hour:02d}:00,A,1" for hour in (1, 1, 2)))
    eia = ("layout.time_zone=local", "label=clock_at_end")
    assert frame_of(read(spring, *eia))["timestamp"].dt.hour.tolist() == [5, 6, 7]
    assert frame_of(read(autumn, *eia))["timestamp"].dt.hour.tolist() == [4, 5, 6]


def test_a_workbook_is_read_as_a_csv_is() -> None:
    cells: list[list[str | float]] = [
        ["time", "place", "mw"],
        [45292.0 + 1 / 24, "A", 1.0],
        [45292.0 + 2 / 24, "A", 2.5],
    ]
    excel = ("layout.kind=excel", "layout.time_format=iso")
    found = read(make_workbook(cells), *excel)
    assert frame_of(found)["load_mw"].tolist() == [1.0, 2.5]
    assert frame_of(found)["timestamp"].dt.hour.tolist() == [0, 1]
    (fault,) = read(make_workbook(cells), *excel, "layout.sheet=Load").unread["a.csv"].faults
    assert "found the sheets Sheet1, expected Load" in fault.reason


def test_a_parquet_file_is_read_as_a_csv_is() -> None:
    times = pd.date_range("2024-01-01 01:00", periods=3, freq="h")
    frame = pd.DataFrame({"time": times, "place": "A", "mw": [1.0, 2.5, 3.0]})
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), sink)
    found = read(sink.getvalue(), "layout.kind=parquet", "layout.time_format=iso")
    assert frame_of(found)["load_mw"].tolist() == [1.0, 2.5, 3.0]
    assert frame_of(found)["timestamp"].dt.hour.tolist() == [0, 1, 2]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_bytes_of_an_encoding_are_read_as_text(encoding: str) -> None:
    content = rows("2024-01-01 01:00,Süd,5").replace("\n", "\r\n").encode(encoding)
    told = "utf-8" if encoding == "utf-8-sig" else encoding
    assert list(read(content, f"layout.encoding={told}").regions) == ["Sued"]


def test_bytes_of_another_encoding_are_refused_by_line() -> None:
    found = read(rows(*HOURS, "2024-01-01 01:00,Süd,5").encode("latin-1"))
    (fault,) = found.unread["a.csv"].faults
    assert (fault.line, fault.kind) == (4, "encoding")


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("iso", "2024-01-31T24:00Z", "2024-02-01T00:00:00"),
        ("iso", "2024-01-31 05:00:00.000+05:30", "2024-01-31T05:00:00"),
        ("%d.%m.%Y %H:%M", "31.1.2024 5:00", "2024-01-31T05:00:00"),
        ("%m/%d/%Y %I:%M:%S %p", "1/31/2024 12:00:00 AM", "2024-01-31T00:00:00"),
        ("%m/%d/%y %I %p", "1/31/69 1 pm", "1969-01-31T13:00:00"),
        ("%d-%b-%Y", "31-JAN-2024", "2024-01-31T00:00:00"),
        ("%Y %m %d %H", "2024 1 31 24", "2024-02-01T00:00:00"),
        ("epoch_seconds", "1706677200", "2024-01-31T05:00:00"),
        ("epoch_milliseconds", "1706677200000", "2024-01-31T05:00:00"),
        ("%d.%m.%Y %H:%M", "31.1.2024 24:30", "NaT"),
        ("%d.%m.%Y %H:%M", "31.4.2024 05:00", "NaT"),
        ("%d.%m.%Y %H:%M", "31.1.2024 05:00 ", "NaT"),
        ("%d-%b-%Y", "31-FOO-2024", "NaT"),
    ],
)
def test_a_label_is_read_by_its_format_or_not_at_all(form: str, text: str, expected: str) -> None:
    layout = config_of(LONG).ingestion.layout.model_copy(update={"time_format": form})
    (found,) = read_labels(pa.array([text]), layout).label_N
    assert str(found) == expected


@given(
    moment=st.datetimes(datetime(1970, 1, 1), datetime(2068, 12, 31)),  # noqa: DTZ001 - a wall clock
    form=st.sampled_from(["%Y-%m-%d %H:%M:%S", "%d/%m/%y %I:%M:%S %p", "%b %d, %Y %H:%M:%S"]),
)
@settings(max_examples=60)
def test_what_strftime_writes_is_read_back(moment: datetime, form: str) -> None:
    layout = config_of(LONG).ingestion.layout.model_copy(update={"time_format": form})
    whole = moment.replace(microsecond=0)
    (found,) = read_labels(pa.array([whole.strftime(form)]), layout).label_N
    assert found == np.datetime64(whole, "s")


@given(st.binary(max_size=200), st.sampled_from(["csv", "excel", "parquet"]))
@settings(max_examples=150)
def test_any_bytes_are_read_or_refused_with_a_line(content: bytes, kind: str) -> None:
    for text in (content, rows(*HOURS).encode() + content):
        found = read(text, f"layout.kind={kind}")
        refused = [each.refusal.faults for each in found.regions.values() if each.refusal]
        for fault in (*(f for faults in refused for f in faults),
                      *(f for error in found.unread.values() for f in error.faults)):  # fmt: skip
            assert fault.line >= 1
            assert "expected" in fault.reason


def test_a_region_is_kept_and_found_again_with_its_lines() -> None:
    found = read(rows(*HOURS, "2024-01-01 01:00,B,x"))
    (good, bad) = (kept_region(bytes_of(name, found.regions[name])) for name in "AB")
    assert good.load is not None
    pd.testing.assert_frame_equal(good.load.frame, frame_of(found))
    assert bad.load is None
    assert bad.refusal is not None
    assert bad.refusal.faults == tuple(faults_of(found, "B"))
    content, config = bytes_of("A", found.regions["A"]), config_of(LONG).ingestion
    load = load_of(content, region="A", file="a.parquet", config=config)
    assert load.content_sha256 == good.load.content_sha256


@pytest.mark.parametrize(
    ("line", "cell", "column"), [('"a ""b"", c",5,6', 1, 14), ("a;5", 1, 1), ("x,y", 1, 3)]
)
def test_the_column_of_a_cell_is_counted_in_characters(line: str, cell: int, column: int) -> None:
    assert column_of(line, cell, ",") == column


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("layout.time_format='%Q'", "a format of %Y"),
        ("layout.time_zone=CEST", "an offset in quotes such as '+10:00'"),
        ("layout.encoding=utf-9", "an encoding that Python knows"),
        ("layout.load_column=mw", "{region} in files or load_column"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_with_what_could(setting: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config_of(setting, "layout.files=a.csv")
    assert expected in str(refused.value)


def test_a_layout_file_lies_over_the_base_and_under_the_settings() -> None:
    config = Config.load(overrides=("layout_file=ercot", "ingestion.timezone=America/Denver"))
    assert config.ingestion.layout.second_hour_mark == " DST"
    assert (config.ingestion.timezone, config.features.holidays) == ("America/Denver", "US-TX")
    with pytest.raises(ConfigError, match="one of aemo, eia930"):
        Config.load(overrides=("layout_file=none",))
