"""One truth, written as each of the publishers does, comes back as the same hours."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from gridcast.config import Config, layout_names
from gridcast.layouts.reading import File, LaidOut, read_files
from gridcast.readings.local_time import RegionLoad
from tests.builders.layouts import LAYOUTS, Truth, Written, make_truth, whole_days


def read(written: Written, *overrides: str) -> LaidOut:
    config = Config.load(overrides=overrides).ingestion
    return read_files([File(written.name, written.name, written.content)], config, config.layout)


def load_in(found: LaidOut, region: str) -> RegionLoad:
    one = found.regions[region]
    assert one.refusal is None, one.refusal
    assert one.load is not None
    return one.load


def hours_of(load: RegionLoad) -> Truth:
    times: list[datetime] = [each.to_pydatetime() for each in load.frame["timestamp"]]
    return dict(zip(times, load.frame["load_mw"].tolist(), strict=True))


def test_each_layout_that_comes_with_gridcast_is_tried_here() -> None:
    assert layout_names() == sorted(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_publishers_file_gives_the_hours_that_were_written(name: str) -> None:
    written = LAYOUTS[name]()
    found = read(written, f"layout_file={name}")
    assert sorted(found.regions) == sorted(written.regions)
    for number, region in enumerate(written.regions):
        truth = make_truth(number)
        if name == "elexon":
            truth = whole_days(truth, ZoneInfo("Europe/London"))
        hours = hours_of(load_in(found, region))
        assert hours.keys() == truth.keys()
        assert hours == pytest.approx(truth, abs=1e-6)
