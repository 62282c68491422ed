"""A DataFrame of loads, as a user has it, to the readings that a forecast is made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd

from gridcast.errors import UsageError
from gridcast.readings.quality import flag_readings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridcast.config import Config

COLUMNS = ("region", "timestamp", "load_mw")
_WHERE = "the frame"


def readings_of(
    frame: pd.DataFrame, config: Config, *, regions: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """By region, sorted by time and flagged, as :func:`forecast_regions` takes them.

    Args:
        frame: ``region``, ``timestamp`` (start of the hour; with a zone or an offset, or else by
            the clocks of ``ingestion.timezone``; datetimes or ISO text) and ``load_mw`` (MW; empty
            where it is missing), in any order; further columns are passed over.
        config: of the model.
        regions: that the model knows.

    Raises:
        UsageError: a column is missing, or a value is not what it should be; the first one is told.
    """
    lacking = [name for name in COLUMNS if name not in frame.columns]
    if lacking:
        _refuse(f"columns {', '.join(map(str, frame.columns))}", f"also {', '.join(lacking)}")
    if frame.empty:
        _refuse("no rows", "hours of load, one a row")
    unknown = sorted(set(frame["region"].astype(str)) - set(regions))
    if unknown:
        _refuse(f"the region {unknown[0]!r}", f"those of the model: {', '.join(regions)}")
    table = pd.DataFrame(
        {
            "region": frame["region"].astype(str).to_numpy(),
            "timestamp": _in_utc(frame["timestamp"], config.ingestion.timezone).to_numpy(),
            "load_mw": _loads(frame["load_mw"]),
        }
    )
    table["timestamp"] = table["timestamp"].dt.tz_localize("UTC")
    _require_hours(table)
    table = table.dropna(subset=["load_mw"]).sort_values(["region", "timestamp"])
    return {
        str(region): _flagged(str(region), own, config)
        for region, own in table.groupby("region", sort=True)
    }


def _refuse(found: str, expected: str) -> NoReturn:
    raise UsageError(_WHERE, found=found, expected=expected)


def _in_utc(times: pd.Series[Any], timezone: str) -> pd.Series[Any]:
    """The same instants in UTC, without a zone."""
    if not pd.api.types.is_datetime64_any_dtype(times):
        times = _parsed(times)
    if times.isna().any():
        _refuse("a row without a timestamp", "a time in each row")
    if times.dt.tz is not None:
        return _naive_utc(times)
    try:
        local = times.dt.tz_localize(timezone)
    except ValueError as error:  # pandas' name for an hour that is there twice or never
        _refuse(f"{error}", f"times with an offset or in UTC, as {timezone} turns its clocks")
    return _naive_utc(local)


def _naive_utc(times: pd.Series[Any]) -> pd.Series[Any]:
    found: pd.Series[Any] = times.dt.tz_convert("UTC").dt.tz_localize(None)
    return found


def _parsed(times: pd.Series[Any]) -> pd.Series[pd.Timestamp]:
    text = times.astype("string").str.strip()
    has_zone = text.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True).fillna(value=False)
    if has_zone.any() and not has_zone.all():
        _refuse("times with an offset and times without", "one or the other")
    try:
        return pd.to_datetime(text, format="ISO8601", utc=bool(has_zone.all()))
    except ValueError as error:
        _refuse(f"{error}".splitlines()[0], "ISO times, as 2018-07-01T09:00:00Z")


def _loads(values: pd.Series[float]) -> np.ndarray:
    try:
        loads = pd.to_numeric(values).to_numpy(dtype=float)
    except (ValueError, TypeError) as error:
        _refuse(f"a load that is no number ({error})", "loads in MW")
    if np.isinf(loads).any() or (loads < 0).any():
        bad = loads[np.isinf(loads) | (loads < 0)][0]
        _refuse(f"a load of {bad:g} MW", "loads of at least 0 MW; empty where one is missing")
    return loads


def _require_hours(table: pd.DataFrame) -> None:
    times = table["timestamp"]
    off = times != times.dt.floor("h")
    if off.any():
        found = f"the time {times[off].iloc[0].isoformat()}"
        _refuse(found, "the start of an hour; bring finer data to hours first")
    twice = table.duplicated(["region", "timestamp"])
    if twice.any():
        row = table[twice].iloc[0]
        _refuse(f"{row['region']} twice at {row['timestamp'].isoformat()}", "each hour once")


def _flagged(region: str, own: pd.DataFrame, config: Config) -> pd.DataFrame:
    own = own.drop(columns="region").reset_index(drop=True)
    local = own["timestamp"].dt.tz_convert(config.ingestion.timezone).dt.tz_localize(None)
    flags = flag_readings(own["load_mw"], config.rules.of(region).flagged)
    return own.assign(local_label=local, flag=flags)
