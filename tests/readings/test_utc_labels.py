"""A folder whose marker says ``labels: utc``: hours are exact, the calendar stays local."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from gridcast.config import IngestionConfig
from gridcast.errors import RegionRefusedError
from gridcast.readings.parsing import parse_region
from tests.builders.values import HOUR, make_config, make_csv

if TYPE_CHECKING:
    from gridcast.readings.local_time import RegionLoad

CONFIG = make_config().ingestion
# 2025-11-02 in New York: 25 hours, from 04:00 UTC on; 05:00 and 06:00 UTC both begin at 01:00.
DAY = pd.date_range("2025-11-02 04:00", periods=25, freq="h", tz="UTC")
LABELS = [f"{hour + HOUR:%Y-%m-%d %H:%M:%S}" for hour in DAY]


def parse(content: bytes, config: IngestionConfig) -> RegionLoad:
    return parse_region(content, region="AEP", file="AEP_hourly.csv", config=config)


def test_an_autumn_day_has_25_hours_in_exact_order_whatever_the_loads_suggest() -> None:
    # A jump that local labels would be turned round for: the second 01:00 fits the hour before.
    loads = 1000.0 + 10 * np.arange(25)
    loads[[1, 2]] = loads[[2, 1]]
    rows = [(label, str(load)) for label, load in zip(LABELS, loads, strict=True)]
    rng = np.random.default_rng(1)
    shuffled = [rows[i] for i in rng.permutation(25)]
    frame = parse(make_csv(shuffled), CONFIG.reading("utc")).frame
    assert list(frame["timestamp"]) == list(DAY)
    assert list(frame["load_mw"]) == list(loads)
    local = frame["timestamp"].dt.tz_convert("America/New_York")
    assert list(local.dt.hour[:4]) == [0, 1, 1, 2]
    assert list(local.dt.day.unique()) == [2]


def test_an_hour_that_stands_twice_is_refused_also_in_autumn() -> None:
    rows = [(label, "1000.0") for label in [*LABELS, LABELS[2]]]
    with pytest.raises(RegionRefusedError, match="it stands in line 4"):
        parse(make_csv(rows), CONFIG.reading("utc"))


def test_the_hour_that_spring_leaves_out_is_an_hour_like_others() -> None:
    rows = [("2026-03-08 03:00:00", "1.0"), ("2026-03-08 08:00:00", "2.0")]
    assert len(parse(make_csv(rows), CONFIG.reading("utc")).frame) == 2
    with pytest.raises(RegionRefusedError):
        parse(make_csv(rows), CONFIG)


def test_utc_labels_name_the_end_of_their_hour_whatever_the_configuration_says_of_others() -> None:
    other = make_config(ingestion={"label": "hour_beginning", "timezone": "Europe/Berlin"})
    reading = other.ingestion.reading("utc")
    rows = [("2026-01-01 05:00:00", "1.0")]
    (stamp,) = parse(make_csv(rows), reading).frame["timestamp"]
    assert stamp == pd.Timestamp("2026-01-01 04:00", tz="UTC")
    assert other.ingestion.reading("local") is other.ingestion
    assert other.ingestion.timezone == "Europe/Berlin"  # what the calendar of the features uses


def test_the_same_file_read_as_utc_is_another_region(tmp_path: Path) -> None:
    rows = [(label, "1000.0") for label in LABELS if not label.startswith("2025-11-02 02")]
    as_local = parse(make_csv(rows), CONFIG)
    as_utc = parse(make_csv(rows), CONFIG.reading("utc"))
    assert as_local.content_sha256 != as_utc.content_sha256
    assert not list(tmp_path.iterdir())
