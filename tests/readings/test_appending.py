"""A file that has grown gives the same whether it is read as a whole or from where it grew."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridcast.config import IngestionConfig
from gridcast.readings.appending import CONTEXT, append_rows
from gridcast.readings.local_time import RegionLoad
from gridcast.readings.parsing import parse_region
from gridcast.readings.quality import flag_readings
from tests.builders.values import make_config

CONFIG = make_config("base")
RULES = CONFIG.rules.of("AEP").flagged
AUTUMN = pd.Timestamp("2016-11-06 05:00", tz="UTC")  # the first 01:00 to 02:00 in New York


def make_lines(num_hours: int, *, end: pd.Timestamp, seed: int = 0, zero_at: int = -1) -> list[str]:
    """One line an hour up to ``end``, hour-ending local labels, with a rhythm, noise and a flat."""
    starts = pd.date_range(end=end, periods=num_hours, freq="h")
    labels = starts.tz_convert("America/New_York").tz_localize(None) + pd.Timedelta(hours=1)
    rng = np.random.default_rng(seed)
    loads = 1000 * (5 + np.sin(np.arange(num_hours) / 4) + 0.2 * rng.standard_normal(num_hours))
    loads[-30:-18] = loads[-30]
    loads[zero_at] = 0.0
    return [
        f"{label:%Y-%m-%d %H:%M:%S},{load:.1f}\n" for label, load in zip(labels, loads, strict=True)
    ]


def read_whole(lines: list[str], config: IngestionConfig = CONFIG.ingestion) -> RegionLoad:
    text = "".join(["Datetime,AEP_MW\n", *lines]).encode()
    load = parse_region(text, region="AEP", file="a.csv", config=config)
    load.frame["flag"] = flag_readings(load.frame["load_mw"], RULES)
    return load


def read_grown(before: list[str], added: list[str]) -> RegionLoad | None:
    known = read_whole(before).frame.astype({"local_label": "datetime64[ms]"})  # as Parquet has it
    return append_rows(
        known, "".join(added).encode(), region="AEP", file="a.csv", config=CONFIG.ingestion,
        rules=RULES,
    )  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(
    num_added=st.integers(1, 60),
    hours_after_autumn=st.integers(-4, 60),
    is_shuffled=st.booleans(),
    zero_at=st.integers(-120, -1),
    seed=st.integers(0, 5),
)
def test_a_grown_file_reads_as_the_whole_does(
    num_added: int, hours_after_autumn: int, zero_at: int, seed: int, *, is_shuffled: bool
) -> None:
    end = AUTUMN + pd.Timedelta(hours=hours_after_autumn)
    lines = make_lines(900, end=end, seed=seed, zero_at=zero_at)
    before, added = lines[:-num_added], lines[-num_added:]
    if is_shuffled:
        order = np.random.default_rng(seed)
        before = [before[place] for place in order.permutation(len(before))]
        added = [added[place] for place in order.permutation(len(added))]
    whole, grown = read_whole([*before, *added]), read_grown(before, added)
    assert grown is not None
    pd.testing.assert_frame_equal(grown.frame, whole.frame)
    assert grown.content_sha256 == whole.content_sha256


LINES = make_lines(900, end=pd.Timestamp("2016-06-01", tz="UTC"))


@pytest.mark.parametrize(
    "added",
    [
        pytest.param(["2016-05-31 20:00:00,12,5\n"], id="a fault"),
        pytest.param([LINES[-1]], id="an hour that is there already"),
        pytest.param(["2016-01-01 01:00:00,1000.0\n"], id="an hour far back"),
        pytest.param(["2016-06-01 00:30:00,1000.0\n"], id="a label off the hour"),
        pytest.param(["2016-06-01 01:00:00,1000.0"], id="no line end"),
        pytest.param([], id="nothing"),
    ],
)
def test_what_is_not_certain_is_left_to_a_full_reading(added: list[str]) -> None:
    assert read_grown(LINES[:-5] + LINES[-5:], added) is None


def test_a_short_history_is_left_to_a_full_reading() -> None:
    assert read_grown(LINES[:CONTEXT], LINES[CONTEXT : CONTEXT + 1]) is None
