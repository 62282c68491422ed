"""Where the fuzzer begins: a file of every kind that is accepted, and one of each kind of fault."""

from __future__ import annotations

from tests.builders.values import Row, make_csv, make_rows

_AUTUMN, _SPRING = "2014-11-02 04:00", "2017-03-12 05:00"
_CELLS = (
    "", " ", "nan", "-inf", "1e400", "-5", "-0", "+5", ".5", "5.", "1e3", '"12,5"', '"5"', '"',
    "1,5", "٣", "0x10", "1_0",
)  # fmt: skip
_LABELS = (
    "2017-02-30 01:00:00", "2017-03-12 03:00:00", "2017-03-01 24:00:00", "2017-03-01 01:30:00",
    "1899-12-31 23:00:00", "1900-01-01 00:00:00", "2099-12-31 23:00:00", "2017-03-01T01:00:00",
)  # fmt: skip
_HEADERS = ("Datetime,PJM_MW", '"Datetime","AEP_MW"', "datetime,AEP_MW", "", "Datetime,AEP_MW,")


def make_seeds() -> dict[str, bytes]:
    """Name to content, some 50 small files."""
    rows = make_rows(4)
    accepted = {
        "plain": make_csv(rows),
        "bom": make_csv(rows, bom=True),
        "crlf": make_csv(rows, newline="\r\n"),
        "reversed": make_csv(rows[::-1]),
        "autumn-pair": make_csv(make_rows(5, first=_AUTUMN)),
        "autumn-pair-reversed": make_csv(make_rows(5, first=_AUTUMN)[::-1]),
        "spring": make_csv(make_rows(4, first=_SPRING)),
        "gap": make_csv([rows[0], rows[3]]),
    }
    return accepted | _broken_files(rows) | _broken_cells(rows)


def _broken_files(rows: list[Row]) -> dict[str, bytes]:
    plain, autumn = make_csv(rows), make_csv([*make_rows(5, first=_AUTUMN)[1:4]] * 2)
    headers = {f"header-{i}": make_csv(rows, header=each) for i, each in enumerate(_HEADERS)}
    return headers | {
        "nothing": b"",
        "blank": b"\n\n",
        "header-alone": make_csv([]),
        "cut": plain[:-1],
        "two-boms": b"\xef\xbb\xbf" + make_csv(rows, bom=True),
        "utf-16": plain.decode().encode("utf-16"),
        "latin-1": plain + "é,5\n".encode("latin-1"),
        "nul": plain + b"\0\n",
        "bare-cr": plain.replace(b"\n", b"\r") + b"\n",
        "empty-line": plain.replace(b"\n2", b"\n\n2"),
        "repeated-hour": make_csv([*rows, rows[0]]),
        "repeated-autumn-hour": autumn,
        "one-cell": make_csv([*rows, "2017-03-01 05:00:00"]),
        "three-cells": make_csv([*rows, "2017-03-01 05:00:00,1,2"]),
        "open-quote": make_csv([*rows, '"2017-03-01 05:00:00,1']),
    }


def _broken_cells(rows: list[Row]) -> dict[str, bytes]:
    loads = {f"load-{i}": make_csv([(rows[0][0], each)]) for i, each in enumerate(_CELLS)}
    labels = {f"label-{i}": make_csv([*rows[1:], (each, "5")]) for i, each in enumerate(_LABELS)}
    return loads | labels
