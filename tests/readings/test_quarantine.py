"""Who has to mend a file finds every row of it that was refused or flagged, with its own text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gridcast.errors import Fault, RegionRefusedError
from gridcast.readings import quarantine
from gridcast.readings.local_time import RegionLoad
from gridcast.readings.parsing import parse_region
from gridcast.readings.quality import flag_readings
from gridcast.readings.quarantine import MOST_BYTES, flagged_rows, raw_lines, refused_rows
from tests.builders.values import make_config, make_csv, make_load, make_rows, make_rules

RULES = make_rules().default.flagged
COLUMNS = [
    "region", "source_line", "column", "rule", "raw_text", "timestamp", "load_mw", "reason",
]  # fmt: skip


def parse(content: bytes) -> RegionLoad:
    config = make_config().ingestion
    load = parse_region(content, region="AEP", file="AEP_hourly.csv", config=config)
    load.frame["flag"] = flag_readings(load.frame["load_mw"], RULES)
    return load


def refused(content: bytes) -> pd.DataFrame:
    with pytest.raises(RegionRefusedError) as error:
        parse(content)
    return refused_rows(content, error.value.rows, region="AEP")


def flagged(content: bytes) -> pd.DataFrame:
    return flagged_rows(content, parse(content).frame, region="AEP", rules=RULES)


def make_doubtful_csv(newline: str = "\n") -> bytes:
    """Two weeks with a zero, a dropout, a spike and eight hours of one value, newest row first."""
    load = make_load(336)
    load[[60, 90, 120]] = [0.0, 907.0, 99_000.0]
    load[200:208] = 9_999.0
    return make_csv(make_rows(336, load_mw=load)[::-1], newline=newline)


# -- flagged -------------------------------------------------------------------------------------


def test_every_flagged_reading_is_a_row_in_the_order_of_the_file() -> None:
    rows = flagged(make_doubtful_csv())
    assert list(rows.columns) == COLUMNS
    assert rows["rule"].tolist() == ["flat", "flat", "spike", "dropout", "zero"]
    assert rows["source_line"].tolist() == [337 - hour for hour in (207, 206, 120, 90, 60)]
    assert rows["load_mw"].tolist() == [9_999.0, 9_999.0, 99_000.0, 907.0, 0.0]
    assert set(rows["region"]) == {"AEP"}
    assert set(rows["column"]) == {21}


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_a_flagged_row_has_the_files_own_line_and_its_hour(newline: str) -> None:
    content = make_doubtful_csv(newline=newline)
    rows = flagged(content)
    lines = content.decode().split(newline)
    assert rows["raw_text"].tolist() == [lines[line - 1] for line in rows["source_line"]]
    assert rows["raw_text"].iloc[-1].endswith(",0.0")
    first = pd.Timestamp("2017-03-01 05:00", tz="UTC")
    assert rows["timestamp"].tolist() == [
        first + pd.Timedelta(hours=hour) for hour in (207, 206, 120, 90, 60)
    ]


def test_the_reason_of_a_flag_says_what_was_found_and_what_the_rule_expects() -> None:
    content = make_doubtful_csv()
    before = parse(content).frame["load_mw"]
    reasons = dict(zip(flagged(content)["rule"], flagged(content)["reason"], strict=True))
    assert reasons == {
        "zero": "found 0.0 MW, expected a load above it",
        "dropout": f"found 907.0 MW, expected at least 0.35 times {before[:90].median():.1f} MW, "
        "the median of the hours before",
        "spike": f"found 99000.0 MW, expected at most 2.5 times {before[:120].median():.1f} MW, "
        "the median of the hours before",
        "flat": "found 9999.0 MW for 7 hours in a row, expected at most 6",
    }


def test_a_file_without_a_doubt_has_no_rows_but_the_same_columns() -> None:
    clean, doubtful = flagged(make_csv(make_rows(48))), flagged(make_doubtful_csv())
    assert len(clean) == 0
    assert clean.dtypes.equals(doubtful.dtypes)


# -- refused -------------------------------------------------------------------------------------

BAD_CELLS = ["NaN", "inf", "1e400", "", '"12,5"', "text"]


def test_all_refused_rows_are_set_aside_not_one_a_kind() -> None:
    rows = [f"2017-03-{day:02d} 01:00:00,{cell}" for day, cell in enumerate(BAD_CELLS * 3, start=1)]
    table = refused(make_csv(rows))
    assert table["raw_text"].tolist() == rows
    assert table["source_line"].tolist() == list(range(2, 2 + len(rows)))
    assert table["rule"].tolist() == [
        "load_nan", "load_infinite", "load_overflow", "load_empty", "load_decimal_comma",
        "load_text",
    ] * 3  # fmt: skip
    assert set(table["column"]) == {21}
    assert table["reason"].str.startswith("found ").all()
    assert table["timestamp"].isna().all()
    assert table["load_mw"].isna().all()


def test_rows_at_fault_for_their_time_are_set_aside_too() -> None:
    first, second, *rest = make_rows(6)
    table = refused(make_csv([first, second, *rest, second, ("2017-03-01 01:30:00", "5.0")]))
    assert table["rule"].tolist() == ["duplicate_hour", "label_off_hour"]
    assert table["raw_text"].tolist() == [",".join(second), "2017-03-01 01:30:00,5.0"]


@pytest.mark.parametrize(
    ("content", "line", "text"),
    [
        (make_csv(header="date,AEP_MW"), 1, "date,AEP_MW"),
        (make_csv([*make_rows(2), "2017-03-09 01:00:00,1\x003.0"]), 4,
         "2017-03-09 01:00:00,1\x003.0"),
        (make_csv(make_rows(2))[:-4], 3, ",".join(make_rows(2)[1])[:-3]),
        (make_csv(make_rows(2)) + b"2017-03-09 01:00:00,\xff\n", 4, r"2017-03-09 01:00:00,\xff"),
    ],
    ids=["header", "nul", "cut", "not_utf_8"],
)  # fmt: skip
def test_a_file_that_is_broken_at_one_place_has_that_line_set_aside(
    content: bytes, line: int, text: str
) -> None:
    table = refused(content)
    assert table[["source_line", "raw_text"]].to_numpy().tolist() == [[line, text]]


@pytest.mark.parametrize("content", [b"", b"\n", make_csv([])], ids=["empty", "blank", "header"])
def test_a_file_without_rows_is_refused_and_has_none_to_set_aside(content: bytes) -> None:
    assert len(refused(content)) == 0


def test_refused_and_flagged_rows_are_one_table_that_parquet_gives_back(tmp_path: Path) -> None:
    tables = [refused(make_csv(["x"])), flagged(make_doubtful_csv())]
    assert tables[0].dtypes.equals(tables[1].dtypes)
    both = pd.concat(tables, ignore_index=True)
    both.to_parquet(tmp_path / "AEP.parquet", index=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "AEP.parquet"), both)


# -- limits --------------------------------------------------------------------------------------


def test_of_very_many_rows_the_first_of_the_file_are_set_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quarantine, "MOST_ROWS", 3)
    assert flagged(make_doubtful_csv())["source_line"].tolist() == [130, 131, 217]
    assert refused(make_csv(["x"] * 9))["source_line"].tolist() == [2, 3, 4]


def test_of_a_very_long_line_its_beginning_is_kept() -> None:
    content = b"a\n" + b"x" * (MOST_BYTES + 10) + b"\nb"
    assert raw_lines(content, [2, 3, 4]) == ["x" * MOST_BYTES, "b", ""]


_LINES = st.lists(
    st.one_of(
        st.sampled_from(["2017-03-01 01:00:00,5.0", "2017-03-01 02:00:00,7.5", ",", "", "a,b,c"]),
        st.text(st.characters(blacklist_characters="\n\0", blacklist_categories=["Cs"])),
    ),
    max_size=12,
)


@given(lines=_LINES, newline=st.sampled_from(["\n", "\r\n"]))
@example(lines=["\r", "ä,ö"], newline="\n")
def test_raw_text_is_the_files_own_line_whatever_stands_in_it(
    lines: list[str], newline: str
) -> None:
    content = make_csv(lines, newline=newline)
    try:
        load = parse_region(
            content, region="AEP", file="AEP_hourly.csv", config=make_config().ingestion
        )
    except RegionRefusedError as error:
        table = refused_rows(content, error.rows, region="AEP")
        kinds = {fault.kind: fault.count for fault in error.faults if fault.kind != "empty"}
        assert table["rule"].value_counts().to_dict() == kinds
        own = content.decode().split("\n")
        for row in table.itertuples():
            assert row.raw_text == own[int(str(row.source_line)) - 1].removesuffix("\r")
    else:
        numbers = load.frame["source_line"]
        assert raw_lines(content, numbers) == [lines[line - 2] for line in numbers]


@given(st.binary(max_size=200), st.integers(1, 20))
def test_the_lines_of_any_bytes_are_those_between_its_line_feeds(content: bytes, line: int) -> None:
    parts = content.split(b"\n")
    own = parts[line - 1] if line <= len(parts) else b""
    expected = own.removesuffix(b"\r").decode("utf-8", errors="backslashreplace")
    assert raw_lines(content, [line]) == [expected]


def test_a_table_of_faults_is_in_the_order_of_the_file_however_they_came() -> None:
    faults = [Fault("f", line, 1, "kind", "reason") for line in np.array([5, 2, 9]).tolist()]
    assert refused_rows(b"\n" * 9, faults, region="AEP")["source_line"].tolist() == [2, 5, 9]
