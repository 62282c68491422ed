"""Labels that a zone and label setting do not fit: the line names both, and what would fit."""

from __future__ import annotations

import pandas as pd
import pytest

from gridcast.errors import RegionRefusedError
from gridcast.readings.clock_fit import fitting_settings
from gridcast.readings.parsing import parse_region
from tests.builders.values import make_config

UTC_HOURS = pd.date_range("2024-02-01", "2024-04-20", freq="h", tz="UTC")


def file_of(zone: str, label: str) -> bytes:
    """A regional file whose labels are in that zone and name that."""
    clock = UTC_HOURS.tz_convert(zone).tz_localize(None)
    if label == "hour_ending":
        clock = clock + pd.Timedelta(hours=1)
    if label == "clock_at_end":
        clock = (UTC_HOURS + pd.Timedelta(hours=1)).tz_convert(zone).tz_localize(None)
    rows = "".join(f"{each:%Y-%m-%d %H:%M:%S},{5000 + n}\n" for n, each in enumerate(clock))
    return f"Datetime,AEP_MW\n{rows}".encode()


@pytest.mark.parametrize(
    ("zone", "label", "fits"),
    [
        ("America/New_York", "hour_beginning", "America/New_York with ingestion.label=hour_beg"),
        ("America/New_York", "clock_at_end", "America/New_York with ingestion.label=clock_at_end"),
        ("Europe/Berlin", "hour_beginning", "Europe/Berlin with ingestion.label=hour_beginning"),
        ("Europe/Berlin", "hour_ending", "Europe/Berlin with ingestion.label=hour_ending"),
        ("UTC", "hour_ending", "UTC with ingestion.label=hour_ending"),
    ],
)
def test_a_wrong_zone_or_label_is_told_with_both_settings_and_what_fits(
    zone: str, label: str, fits: str
) -> None:
    with pytest.raises(RegionRefusedError) as refused:
        parse_region(file_of(zone, label), region="AEP", file="f", config=make_config().ingestion)
    reason = refused.value.faults[0].reason
    assert "ingestion.timezone is America/New_York, ingestion.label is hour_ending" in reason
    assert f"ingestion.timezone={fits}" in reason


@pytest.mark.parametrize("label", ["hour_ending", "hour_beginning", "clock_at_end"])
@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin"])
def test_the_right_settings_read_every_hour_at_its_instant(zone: str, label: str) -> None:
    config = make_config(ingestion={"timezone": zone, "label": label}).ingestion
    frame = parse_region(file_of(zone, label), region="AEP", file="f", config=config).frame
    assert frame["timestamp"].tolist() == UTC_HOURS.tolist()


def test_labels_that_nothing_fits_have_no_advice() -> None:
    labels = pd.DatetimeIndex(["2024-01-01 05:00"] * 3).to_numpy().astype("datetime64[s]")
    assert fitting_settings(labels, make_config().ingestion) == []


@pytest.mark.parametrize(
    ("zone", "minute"), [("Asia/Kolkata", 30), ("Asia/Kathmandu", 15), ("Australia/Adelaide", 30)]
)
def test_full_hours_of_a_half_or_quarter_hour_zone_are_read(zone: str, minute: int) -> None:
    hours = pd.date_range("2024-02-01", "2024-04-20", freq="h")
    twice = hours[hours == pd.Timestamp("2024-04-07 02:00")]  # in Adelaide
    labels = hours.append(twice).sort_values() if zone == "Australia/Adelaide" else hours
    rows = "".join(f"{each:%Y-%m-%d %H:%M:%S},{5000 + n}\n" for n, each in enumerate(labels))
    config = make_config(ingestion={"timezone": zone, "label": "hour_beginning"}).ingestion
    content = f"Datetime,AEP_MW\n{rows}".encode()
    frame = parse_region(content, region="AEP", file="f", config=config).frame
    assert frame["timestamp"].dt.minute.unique().tolist() == [minute]
    assert frame["timestamp"].diff().dropna().unique().tolist() == [pd.Timedelta(hours=1)]
    assert frame["load_mw"].tolist() == [5000.0 + n for n in range(len(labels))]
