"""Changed files of twelve publishers are read or refused by type, whatever was changed."""

from __future__ import annotations

import random

import pytest

from gridcast.config import Config
from gridcast.layouts.reading import File, read_files
from tests.builders.layout_promises import NAMES, WORDS, changed, check_layout, seed_of
from tests.builders.layouts import LAYOUTS

NUM = 12  # of each layout; `make fuzz` tries more


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_file_is_read_or_refused_by_a_fault_with_a_place(name: str) -> None:
    file, content = seed_of(name)
    assert check_layout(name, content, file) == "read"
    found = {
        check_layout(name, changed(content, random.Random(number)), file)  # noqa: S311
        for number in range(NUM)
    }
    assert found <= {"read", "refused"}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_ends_in_the_midst_or_is_of_another_kind_is_refused(name: str) -> None:
    file, content = seed_of(name)
    for part in (b"", content[:1], content[: len(content) // 3], b"PK\x03\x04" + content, *WORDS):
        assert check_layout(name, part, file) in {"read", "refused"}


# -- what the fuzzer found ----------------------------------------------------------------------


def test_a_line_that_is_no_row_of_its_own_is_refused_at_it() -> None:
    """A quote without its pair and a carriage return within a line."""
    header, first, *_, last = LAYOUTS["entsoe"]().content.split(b"\n")[:3]
    content = b"\n".join([header, first, b'"01\r', last])
    config = Config.load(overrides=("layout_file=entsoe",)).ingestion
    found = read_files([File("AT_2024.csv", "AT_2024.csv", content)], config, config.layout)
    refusal = found.regions["AT"].refusal
    assert refusal is not None
    (fault,) = refusal.faults
    assert (fault.line, fault.kind) == (3, "rows")
    assert "expected a row a line" in fault.reason


def test_a_file_without_rows_is_refused_at_a_line_that_is_there() -> None:
    config = Config.load(overrides=("layout_file=isone",)).ingestion
    found = read_files([File("a.csv", "a.csv", b"\n")], config, config.layout)
    faults = [fault for each in found.unread.values() for fault in each.faults]
    faults += [f for each in found.regions.values() if each.refusal for f in each.refusal.faults]
    assert [fault.line for fault in faults] == [1]
