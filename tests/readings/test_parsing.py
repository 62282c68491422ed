"""A regional CSV becomes hours in UTC, or is refused: where, what was found, what was expected."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gridcast.config import IngestionConfig
from gridcast.errors import Fault, RegionRefusedError
from gridcast.readings.local_time import RegionLoad, content_sha256
from gridcast.readings.parsing import _read_fast, _read_line_by_line, parse_region, region_of
from gridcast.readings.synthetic import csv_bytes
from tests.builders.parser_promises import check_parser
from tests.builders.values import EASTERN, HOUR, LABEL_FORMAT, Row, make_config, make_csv, make_rows
from tests.fuzz.seeds import make_seeds

FILE = "AEP_hourly.csv"
BOM = b"\xef\xbb\xbf"
AUTUMN_2014 = "2014-11-02 04:00"  # its repeated hour begins at 05:00 and at 06:00 UTC


def parse(content: bytes, **ingestion: object) -> RegionLoad:
    config: IngestionConfig = make_config(ingestion=ingestion).ingestion
    return parse_region(content, region="AEP", file=FILE, config=config)


def faults_of(content: bytes) -> tuple[Fault, ...]:
    with pytest.raises(RegionRefusedError) as refused:
        parse(content)
    assert str(refused.value) == "\n".join(str(fault) for fault in refused.value.faults)
    return refused.value.faults


def make_broken(*loads: str) -> bytes:
    """Five rows, of which the second, third and so on have these cells for a load."""
    rows = make_rows(5)
    for number, load in enumerate(loads, start=1):
        rows[number] = (rows[number][0], load)
    return make_csv(rows)


# -- what is accepted ----------------------------------------------------------------------------


def test_a_region_is_the_part_of_the_name_before_hourly_csv_and_nothing_else_is_a_region() -> None:
    assert region_of("PJM_Load_hourly.csv") == "PJM_Load"
    for name in ("pjm_hourly_est.csv", "est_hourly.paruqet", "../AEP_hourly.csv", "_hourly.csv",
                 "AEP_hourly.csv\n", "--_hourly.csv", "AEP_hourly.csv.bak"):  # fmt: skip
        assert region_of(name) is None, name


def test_loads_are_read_as_written_and_rows_keep_label_and_line() -> None:
    load = parse(make_csv(make_rows(3, first="2017-03-01 05:00", load_mw=[5.0, 7.5, 6.0])))
    frame = load.frame
    assert list(frame.columns) == ["timestamp", "local_label", "source_line", "load_mw"]
    assert frame["load_mw"].tolist() == [5.0, 7.5, 6.0]
    assert frame["source_line"].tolist() == [2, 3, 4]
    assert frame["local_label"].astype(str).tolist()[0] == "2017-03-01 01:00:00"
    assert frame["timestamp"].astype(str).tolist()[0] == "2017-03-01 05:00:00+00:00"


def test_a_label_names_the_end_of_its_hour_or_if_so_configured_the_beginning() -> None:
    content = make_csv([("2017-07-01 01:00:00", "5")])
    ending, beginning = parse(content), parse(content, label="hour_beginning")
    assert str(ending.frame["timestamp"][0]) == "2017-07-01 04:00:00+00:00"
    assert str(beginning.frame["timestamp"][0]) == "2017-07-01 05:00:00+00:00"


@pytest.mark.parametrize(
    "first",
    [
        pytest.param("2017-03-11 00:00", id="spring_change"),
        pytest.param("2017-11-04 00:00", id="autumn_change"),
        pytest.param("2006-04-01 00:00", id="spring_change_of_the_rule_before_2007"),
    ],
)
def test_every_hour_comes_back_as_zoneinfo_says_row_by_row(first: str) -> None:
    start = datetime.fromisoformat(first).replace(tzinfo=UTC)
    frame = parse(make_csv(make_rows(72, first=first))).frame
    assert frame["timestamp"].tolist() == [start + i * HOUR for i in range(72)]
    for stamp, label in zip(frame["timestamp"], frame["local_label"], strict=True):
        shown = stamp.to_pydatetime().astimezone(EASTERN).replace(tzinfo=None)
        assert shown + HOUR == label.to_pydatetime()


def test_minus_zero_is_zero_and_has_its_hash() -> None:
    # Found by fuzzing: the two zeros are equal, and their bytes are not.
    rows = [(label, "0") for label, _ in make_rows(3)]
    other = [(label, "-0") for label, _ in rows]
    assert parse(make_csv(other)).content_sha256 == parse(make_csv(rows)).content_sha256


def test_the_labels_zone_is_the_configured_one() -> None:
    content = make_csv([("2017-07-01 01:00:00", "5")])
    berlin = parse(content, timezone="Europe/Berlin", label="hour_beginning")
    assert str(berlin.frame["timestamp"][0]) == "2017-06-30 23:00:00+00:00"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(make_csv(newline="\r\n"), id="crlf"),
        pytest.param(make_csv(bom=True), id="bom"),
        pytest.param(make_csv(newline="\r\n", bom=True), id="bom_and_crlf"),
        pytest.param(make_csv([f'"{a}","{b}"' for a, b in make_rows()]), id="quoted"),
        pytest.param(make_csv([f"{a},+{b}" for a, b in make_rows()]), id="plus_sign"),
        pytest.param(make_csv([f"{a},{float(b):e}" for a, b in make_rows()]), id="exponent"),
    ],
)
def test_another_way_to_write_the_same_rows_has_the_same_hash(content: bytes) -> None:
    assert parse(content).content_sha256 == parse(make_csv()).content_sha256


@settings(max_examples=12)
@given(st.randoms(use_true_random=False))
def test_shuffled_rows_have_the_same_hash_and_order_also_over_the_autumn_change(
    rng: random.Random,
) -> None:
    rows = make_rows(12, first="2017-11-05 00:00")
    shuffled = rng.sample(rows, len(rows))
    straight, mixed = parse(make_csv(rows)), parse(make_csv(shuffled))
    assert mixed.content_sha256 == straight.content_sha256
    assert mixed.frame["load_mw"].tolist() == [float(load) for _, load in rows]
    for line, value in zip(mixed.frame["source_line"], mixed.frame["load_mw"], strict=True):
        assert float(shuffled[line - 2][1]) == value


@pytest.mark.parametrize("row", [0, 5], ids=["first", "last"])
def test_another_load_or_another_hour_has_another_hash(row: int) -> None:
    rows = make_rows()
    other_load, other_hour = list(rows), list(rows)
    other_load[row] = (rows[row][0], "1.0")
    other_hour[row] = ("2017-05-01 05:00:00", rows[row][1])
    hashes = {parse(make_csv(each)).content_sha256 for each in (rows, other_load, other_hour)}
    assert len(hashes) == 3


def test_the_hash_is_that_of_seconds_and_loads_as_little_endian_numbers() -> None:
    import hashlib
    import struct

    load = parse(make_csv([("1970-01-01 01:00:00", "2.5")]))
    # 1970-01-01 00:00 in New York is 05:00 UTC.
    assert load.content_sha256 == hashlib.sha256(struct.pack("<qd", 5 * 3600, 2.5)).hexdigest()
    assert load.content_sha256 == content_sha256(load.frame["timestamp"], np.array([2.5]))


# -- the autumn pair -----------------------------------------------------------------------------


def unordered(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The same rows, of which the first stands last: not in the order of time."""
    return [*rows[1:], rows[0]]


@pytest.mark.parametrize("as_in_file", [(13190, 12994), (12994, 13190)], ids=["down", "up"])
def test_the_autumn_pair_stands_one_hour_apart_and_falls_with_the_night(
    as_in_file: tuple[int, int],
) -> None:
    loads = [13500, *as_in_file, 12800]
    rows = make_rows(4, first=AUTUMN_2014, load_mw=loads)
    frame = parse(make_csv(unordered(rows))).frame
    assert frame["load_mw"].tolist() == [13500, 13190, 12994, 12800]
    assert frame["timestamp"].diff().dropna().unique().tolist() == [HOUR]
    assert frame["local_label"].astype(str).tolist()[1:3] == ["2014-11-02 02:00:00"] * 2


def test_the_autumn_pair_rises_where_the_load_rises() -> None:
    rows = make_rows(4, first=AUTUMN_2014, load_mw=[90, 200, 100, 210])
    frame = parse(make_csv(unordered(rows))).frame
    assert frame["load_mw"].tolist() == [90, 100, 200, 210]
    assert frame["source_line"].tolist() == [5, 3, 2, 4]


@pytest.mark.parametrize("pair", [(200, 100), (100, 200)], ids=["down", "up"])
def test_an_autumn_pair_keeps_the_order_of_a_file_whose_rows_are_in_the_order_of_time(
    pair: tuple[int, int],
) -> None:
    rows = make_rows(4, first=AUTUMN_2014, load_mw=[90, *pair, 210])
    frame = parse(make_csv(rows)).frame
    assert frame["load_mw"].tolist() == [90, *pair, 210]
    assert frame["source_line"].tolist() == [2, 3, 4, 5]


@given(loads=st.lists(st.integers(1, 99), min_size=4, max_size=4))
def test_the_autumn_pair_stands_so_that_the_jumps_around_it_are_smallest(
    loads: list[int],
) -> None:
    rows = unordered(make_rows(4, first=AUTUMN_2014, load_mw=loads))
    before, first, second, after = parse(make_csv(rows)).frame["load_mw"]
    assert (before, *sorted([first, second]), after) == (loads[0], *sorted(loads[1:3]), loads[3])
    jumps = abs(before - first) + abs(second - after)
    assert jumps <= abs(before - second) + abs(first - after)


@pytest.mark.parametrize("as_in_file", [("5.0", "7.0"), ("7.0", "5.0")], ids=["up", "down"])
def test_an_autumn_pair_without_neighbours_falls_as_nights_do(as_in_file: tuple[str, str]) -> None:
    rows = [("2014-11-02 02:00:00", load) for load in as_in_file]
    far = [("2014-12-01 02:00:00", "1.0"), ("2014-11-30 02:00:00", "1.0")]
    assert parse(make_csv([*far, *rows])).frame["load_mw"].tolist()[:2] == [7.0, 5.0]


def test_a_lone_autumn_hour_is_the_first_of_the_two() -> None:
    rows = make_rows(4, first=AUTUMN_2014)
    del rows[2]
    stamps = parse(make_csv(rows)).frame["timestamp"].dt.hour.tolist()
    assert stamps == [4, 5, 7]


def test_a_third_row_for_the_autumn_hour_is_refused_naming_both_earlier_lines() -> None:
    rows = make_rows(4, first=AUTUMN_2014)
    [fault] = faults_of(make_csv([*rows, ("2014-11-02 02:00:00", "13000.0")]))
    assert str(fault) == (
        "ERROR AEP_hourly.csv:6:1: found the label '2014-11-02 02:00:00' again (it stands in "
        "line 3 and line 4), expected it at most twice"
    )


def test_a_duplicate_hour_that_is_no_autumn_hour_is_refused_naming_the_earlier_line() -> None:
    rows = make_rows(4)
    [fault] = faults_of(make_csv([*rows, rows[1]]))
    assert str(fault) == (
        "ERROR AEP_hourly.csv:6:1: found the label '2017-03-01 02:00:00' again (it stands in "
        "line 3), expected it once"
    )


def test_the_label_that_spring_leaves_out_is_refused() -> None:
    faults = faults_of(make_csv([("2017-03-12 02:00:00", "5"), ("2017-03-12 03:00:00", "5")]))
    assert [(fault.line, fault.kind) for fault in faults] == [(3, "label_nonexistent")]
    assert "'2017-03-12 03:00:00', which is the end of no hour in America/New_York" in (
        faults[0].reason
    )


def test_labels_off_the_hour_are_refused() -> None:
    [fault] = faults_of(make_csv([("2017-03-01 01:30:00", "5"), ("2017-03-01 02:00:01", "5")]))
    assert (fault.line, fault.column, fault.kind, fault.count) == (2, 1, "label_off_hour", 2)
    assert "expected a full hour" in fault.reason


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "kind", "found"),
    [
        ("", "load_empty", "an empty load"),
        ("NaN", "load_nan", "the load 'NaN'"),
        ("-inf", "load_infinite", "the load '-inf'"),
        ("Infinity", "load_infinite", "the load 'Infinity'"),
        ("1e400", "load_overflow", "the load '1e400', beyond what a number can hold"),
        ("9" * 400, "load_overflow", f"the load '{'9' * 40}', beyond what a number can hold"),
        ('"12,5"', "load_decimal_comma", "the load '12,5' with a comma"),
        ("text", "load_text", "the load 'text'"),
        (" 12", "load_text", "the load ' 12'"),
        ("0x1F", "load_text", "the load '0x1F'"),
        ("1_000", "load_text", "the load '1_000'"),
        ("١٢", "load_text", "the load '١٢'"),
        ("=1+1", "load_text", "the load '=1+1'"),
    ],
)
def test_a_cell_that_is_no_load_is_refused_at_its_place(cell: str, kind: str, found: str) -> None:
    [fault] = faults_of(make_broken(cell))
    assert (fault.file, fault.line, fault.column, fault.kind) == (FILE, 3, 21, kind)
    assert fault.reason == f"found {found}, expected a load in MW such as 13478.0"


@pytest.mark.parametrize(
    "label",
    ["2017-3-01 01:00:00", "2017-02-30 01:00:00", "2017-03-01 24:00:00", "2017-03-01T01:00:00",
     "03/01/2017 01:00", "2017-03-01 01:00:00+00:00", "", "nan", "0001-01-01 01:00:00",
     "9999-12-31 23:00:00"],
)  # fmt: skip
def test_a_cell_that_is_no_label_is_refused_at_its_place(label: str) -> None:
    [fault] = faults_of(make_csv([*make_rows(2), (label, "5.0")]))
    assert (fault.file, fault.line, fault.column, fault.kind) == (FILE, 4, 1, "label")
    expected = f"found the label {label!r}, expected YYYY-MM-DD HH:MM:SS (1900 to 2099)"
    assert fault.reason == expected


@pytest.mark.parametrize(
    ("row", "num_cells"),
    [("2017-03-01 02:00:00", 1), ("2017-03-01 02:00:00,5.0,6.0", 3), ("", 0),
     ("2017-03-01 02:00:00,12,5", 3)],
    ids=["one", "three", "empty_line", "decimal_comma"],
)  # fmt: skip
def test_a_row_with_another_number_of_cells_is_refused(row: str, num_cells: int) -> None:
    [fault] = faults_of(make_csv([*make_rows(1), row]))
    assert (fault.line, fault.column, fault.kind) == (3, 1, "columns")
    assert fault.reason == f"found {num_cells} cells in {row!r}, expected 2 (label,load)"


def test_an_open_quote_is_refused_in_its_line_and_swallows_no_other() -> None:
    [fault] = faults_of(make_csv(['"2017-03-01 01:00:00,5.0', *make_rows(2)]))
    assert (fault.line, fault.kind, fault.count) == (2, "quoting", 1)


@pytest.mark.parametrize("quote", ["", '"'], ids=["fast", "line_by_line"])
def test_a_negative_load_is_read_for_the_rules_to_judge(quote: str) -> None:
    """Where own generation is taken off, load is negative at noon."""
    rows = [(label, f"{quote}{load}{quote}") for (label, _), load in
            zip(make_rows(3), ("-5.25", "0", "-0"), strict=True)]  # fmt: skip
    loads = parse(make_csv(rows)).frame["load_mw"]
    assert loads.tolist() == [-5.25, 0.0, 0.0]
    assert not np.signbit(loads[1:]).any()


def test_faults_come_one_a_kind_at_the_first_place_with_the_count_in_the_files_order() -> None:
    faults = faults_of(make_broken("x", "nan", "y", "nan"))
    wanted = "expected a load in MW such as 13478.0 (and 1 more of this kind)"
    assert [str(fault) for fault in faults] == [
        f"ERROR AEP_hourly.csv:3:21: found the load 'x', {wanted}",
        f"ERROR AEP_hourly.csv:4:21: found the load 'nan', {wanted}",
    ]


def test_the_refusal_names_the_region_and_its_reason_is_the_first_fault_in_one_line() -> None:
    with pytest.raises(RegionRefusedError) as refused:
        parse(make_broken("", "nan"))
    assert refused.value.region == "AEP"
    assert refused.value.reason == (
        "AEP_hourly.csv:3:21: found an empty load, expected a load in MW such as 13478.0"
    )


@pytest.mark.parametrize(
    ("header", "column"),
    [
        pytest.param("date,AEP_MW", 1, id="alias"),
        pytest.param("AEP_MW,Datetime", 1, id="swapped"),
        pytest.param("Datetime,DOM_MW", 10, id="another_region"),
        pytest.param("Datetime", 9, id="missing"),
        pytest.param("Datetime,AEP_MW,NI_MW", 16, id="added"),
        pytest.param("Datetime, AEP_MW", 10, id="space"),
        pytest.param("datetime,aep_mw", 1, id="case"),
        pytest.param("", 1, id="empty_line"),
        pytest.param("\ufeffDatetime,AEP_MW", 1, id="second_bom"),
    ],
)
def test_another_header_is_refused_in_line_1_where_it_differs(header: str, column: int) -> None:
    [fault] = faults_of(make_csv(header=header, bom="\ufeff" in header))
    assert (fault.line, fault.column, fault.kind) == (1, column, "header")
    assert fault.reason == (
        f"found the header {header!r}, expected 'Datetime,AEP_MW'; try `gridcast inspect`"
    )


@pytest.mark.parametrize("content", [b"", BOM, b"\n", b"  \r\n"], ids=repr)
def test_an_empty_file_is_refused_with_0_rows(content: bytes) -> None:
    [fault] = faults_of(content)
    assert (fault.line, fault.column, fault.kind) == (1, 1, "empty")
    assert "found 0 rows" in fault.reason


def test_a_file_with_a_header_alone_is_refused_with_0_rows() -> None:
    [fault] = faults_of(make_csv([]))
    assert str(fault) == (
        "ERROR AEP_hourly.csv:2:1: found 0 rows after the header, expected at least one"
    )


def test_a_cut_last_line_is_refused_where_the_file_ends() -> None:
    [fault] = faults_of(make_csv(make_rows(2))[:-4])
    assert (fault.line, fault.column, fault.kind) == (3, 25, "cut")
    assert "found no line end after the last row, expected one" in fault.reason


def test_a_nul_byte_is_refused_at_its_place() -> None:
    [fault] = faults_of(make_csv(["2017-03-01 01:00:00,5.0", "2017-03-01 \0002:00:00,5.0"]))
    assert (fault.line, fault.column, fault.kind) == (3, 12, "nul")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_utf_16_or_32_is_refused_in_line_1(encoding: str) -> None:
    [fault] = faults_of(make_csv().decode().encode(encoding))
    assert (fault.line, fault.kind) == (
        1,
        "encoding" if encoding in {"utf-16", "utf-32"} else "nul",
    )


@pytest.mark.parametrize("bom", [b"", BOM], ids=["plain", "after_bom"])
def test_a_byte_that_is_not_utf_8_is_refused_at_its_place(bom: bytes) -> None:
    [fault] = faults_of(bom + b"Datetime,AEP_MW\n2017-03-01 01:00:00,5\xe9\n")
    assert str(fault) == "ERROR AEP_hourly.csv:2:22: found byte 0xe9, expected UTF-8"


@pytest.mark.parametrize("end", [b"", b"\0\n", b"\xe9\n"], ids=["cut", "nul", "wrong_byte"])
def test_a_column_counts_characters_as_an_editor_does(end: bytes) -> None:
    # Found by fuzzing: these were counted in bytes, and the byte-order mark with them.
    [fault] = faults_of(BOM + "Datetime,AEP_MW\né€".encode() + end)
    assert (fault.line, fault.column) == (2, 3)
    [fault] = faults_of(BOM + b"Date" + end)
    assert (fault.line, fault.column) == (1, 5)


# -- two ways to read ----------------------------------------------------------------------------

_CELLS = st.sampled_from(
    ["13478.0", "0", "1e3", "+5", "-5", "-0", ".5", "5.", "", " ", "nan", "inf", "1e400", "9" * 400,
     "12,5", '"12,5"', '"5"', '"', "\t5", "5\r", "\r", "\x00", "\x0b", "\x85", "\u2028", "é",
     "0001-01-01 00:00:00", "2017-02-29 01:00:00", "2017-03-12 03:00:00", "2017-11-05 02:00:00",
     "9999-12-31 23:00:00", "2017-03-01 24:00:00", "2017-03-01 23:59:60", "2017-03-01 01:00:00"]
)  # fmt: skip
_ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\r\r\n", "\n\r", ""])
_HEADERS = st.sampled_from(["Datetime,AEP_MW", '"Datetime","AEP_MW"', "\nDatetime,AEP_MW", "date"])


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """A file with a few faults, or none."""
    cells: list[list[str]] = [list(row) for row in make_rows(draw(st.integers(0, 5)))]
    ends = ["\n"] * (len(cells) + 1)
    if cells:
        rows, columns = st.integers(0, len(cells) - 1), st.integers(0, 1)
        for row, column, cell in draw(st.lists(st.tuples(rows, columns, _CELLS), max_size=2)):
            cells[row][column] = cell
        for row, end in draw(st.lists(st.tuples(rows, _ENDS), max_size=1)):
            ends[row] = end
    header = draw(st.one_of(st.just("Datetime,AEP_MW"), _HEADERS))
    lines = [header, *(",".join(row) for row in cells)]
    text = "".join(line + end for line, end in zip(lines, ends, strict=True))
    bom = draw(st.sampled_from([b"", b"", BOM, BOM + BOM]))
    return bom + text.encode()


@example(b"Datetime,AEP_MW\n2017-03-01 01:00:00,5\r2017-03-01 02:00:00,6\n")
@example(b"\nDatetime,AEP_MW\n2017-03-01 01:00:00,5\n")
@example(BOM + BOM + b"Datetime,AEP_MW\n2017-03-01 01:00:00,5\n")
@given(contents())
def test_what_the_fast_way_accepts_the_slow_way_reads_alike(content: bytes) -> None:
    text = content.removeprefix(BOM)
    fast = _read_fast(text, "AEP")
    if fast is not None:
        slow = _read_line_by_line(text, region="AEP", file=FILE)
        assert fast.labels.tolist() == slow.labels.tolist()
        assert fast.loads.tolist() == slow.loads.tolist()
        assert fast.lines.tolist() == slow.lines.tolist()


@given(
    rows=st.lists(
        st.tuples(
            st.datetimes(datetime(1900, 1, 1), datetime(2099, 12, 31)),  # noqa: DTZ001 - a label
            st.floats(0, 1e300).map(lambda load: np.format_float_positional(load, trim="0")),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_the_fast_way_accepts_plain_rows_and_both_ways_read_the_same_floats(
    rows: Sequence[tuple[datetime, str]],
) -> None:
    text = make_csv([(label.strftime(LABEL_FORMAT), load) for label, load in rows])
    fast = _read_fast(text, "AEP")
    slow = _read_line_by_line(text, region="AEP", file=FILE)
    assert fast is not None
    assert fast.loads.tolist() == slow.loads.tolist() == [float(load) for _, load in rows]
    assert fast.labels.tolist() == slow.labels.tolist()


@given(contents())
def test_a_file_is_read_as_promised_or_refused_and_no_other_error_comes_out(content: bytes) -> None:
    check_parser(content)


@given(st.binary(max_size=60).map(lambda tail: b"Datetime,AEP_MW\n" + tail))
def test_any_bytes_are_read_as_promised_or_refused_and_no_other_error_comes_out(
    content: bytes,
) -> None:
    check_parser(content)


def test_the_fuzzer_begins_with_every_kind_of_fault() -> None:
    broken = [content for content in make_seeds().values() if not check_parser(content)]
    assert {fault.kind for content in broken for fault in faults_of(content)} == {
        "encoding", "nul", "empty", "cut", "header", "quoting", "columns", "duplicate_hour",
        "label", "label_off_hour", "label_nonexistent", "load_empty", "load_nan", "load_infinite",
        "load_text", "load_decimal_comma", "load_overflow",
    }  # fmt: skip


@pytest.mark.parametrize("content", make_seeds().values(), ids=make_seeds())
def test_the_parser_keeps_its_promises_where_the_fuzzer_begins(content: bytes) -> None:
    check_parser(content)


@given(
    first=st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - made UTC below
    loads=st.lists(st.integers(0, 10**7), min_size=1, max_size=30),
    missing=st.sets(st.integers(0, 29), max_size=5),
)
@example(first=datetime(2017, 11, 5, 4), loads=[1, 2, 3, 4], missing=set())  # noqa: DTZ001
def test_what_is_written_as_csv_is_read_again(
    first: datetime, loads: list[int], missing: set[int]
) -> None:
    # Loads fall, so that an autumn pair can be told; of a lone hour it is not known which it is.
    hours = pd.date_range(first, periods=len(loads), freq="h", tz="UTC").floor("h")
    wall = hours.tz_convert(EASTERN).tz_localize(None)
    is_pair = wall.duplicated(keep=False)
    is_lone = wall.tz_localize(EASTERN, ambiguous="NaT").isna() & ~is_pair
    is_missing = np.isin(np.arange(len(loads)), list(missing)) & ~is_pair
    kept = np.flatnonzero(~is_lone & ~is_missing)
    if len(kept) == 0:
        return
    load_mw = np.array(sorted(loads, reverse=True))[kept] / 10
    labels = (wall[kept] + HOUR).strftime(LABEL_FORMAT)
    written = csv_bytes(pd.DataFrame({"Datetime": labels, "AEP_MW": load_mw}))
    frame = parse(written).frame
    assert frame["timestamp"].tolist() == hours[kept].tolist()
    assert frame["load_mw"].tolist() == load_mw.tolist()
    assert frame["local_label"].dt.strftime(LABEL_FORMAT).tolist() == labels.tolist()


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30))
def test_hours_come_out_once_each_and_ascending_whatever_labels_are_accepted(
    hours: list[int],
) -> None:
    first = datetime(2017, 11, 4, tzinfo=EASTERN).replace(tzinfo=None)
    rows: list[Row] = [
        ((first + timedelta(hours=hour)).strftime(LABEL_FORMAT), f"{100 + i}.0")
        for i, hour in enumerate(hours)
    ]
    content = make_csv(rows)
    autumn = 26  # 2017-11-05 02:00 stands for two hours
    times = {hour: hours.count(hour) for hour in hours}
    if any(count > (2 if hour == autumn else 1) for hour, count in times.items()):
        assert not check_parser(content)
    else:
        frame = parse(content).frame
        assert len(frame) == len(hours)
        assert frame["timestamp"].is_unique
        assert frame["timestamp"].is_monotonic_increasing
