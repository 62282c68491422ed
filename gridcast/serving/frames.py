"""A DataFrame of loads, as a user has it, to the readings that a forecast is made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd

from gridcast.covariates.values import ALWAYS, ISSUED, TIME, sorted_covariates
from gridcast.errors import UsageError
from gridcast.readings.quality import flag_readings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridcast.config import Config, FlaggedRules
    from gridcast.covariates.values import Covariates

COLUMNS = ("region", "timestamp", "load_mw")
_WHERE = "the frame"


def readings_of(
    frame: pd.DataFrame, config: Config, *, regions: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """By region, sorted by time and flagged, as :func:`forecast_regions` reads them.

    Args:
        frame: ``region``, ``timestamp`` (start of the hour; with a zone or an offset, or else by
            the clocks of ``ingestion.timezone``; datetimes or ISO text) and ``load_mw`` (MW; empty
            where it is missing), in any order; other columns are those of :func:`covariates_of`,
            or passed over.
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
    known, number_N = _numbered(frame["region"], regions)
    table = pd.DataFrame(
        {
            "number": number_N,
            "timestamp": _in_utc(frame["timestamp"], config.ingestion.timezone).to_numpy(),
            "load_mw": _loads(frame["load_mw"], config),
        }
    )
    _require_hours(table, _local_times(table, known, config), known)
    table = table.dropna(subset=["load_mw"]).sort_values(["number", "timestamp"])
    if table.empty:
        _refuse("no load in any row", "loads in MW")
    table["timestamp"] = table["timestamp"].dt.tz_localize("UTC")
    begins = np.searchsorted(table["number"], np.arange(len(known) + 1))
    return {
        name: _flagged(table.iloc[first:end], config.rules.of(name).flagged)
        for name, first, end in zip(known, begins[:-1], begins[1:], strict=True)
        if end > first
    }


def covariates_of(frame: pd.DataFrame, config: Config) -> dict[str, Covariates]:
    """By region the values of the model's covariates in a frame that :func:`readings_of` takes.

    They are what the one who asks knows now, of whatever hour: rows after the last load are there
    for them. A column that is missing, or an empty cell, says that nothing is known.

    Raises:
        UsageError: a value is no number.
    """
    names = [name for name in config.covariates.columns if name in frame.columns]
    if not names:
        return {}
    times = _in_utc(frame["timestamp"], config.ingestion.timezone).dt.tz_localize("UTC")
    table = pd.DataFrame({TIME: times.to_numpy(), ISSUED: ALWAYS})
    table[TIME] = table[TIME].dt.tz_localize("UTC")
    for name in names:
        table[name] = _numbers(frame[name], name)
    by_region = table.groupby(frame["region"].astype(str).to_numpy(), sort=True)
    return {str(region): sorted_covariates(own) for region, own in by_region}


def _numbers(values: pd.Series[float], name: str) -> np.ndarray:
    try:
        numbers = pd.to_numeric(values).to_numpy(dtype=float)
    except (ValueError, TypeError) as error:
        _refuse(f"a {name} that is no number ({error})", "numbers; empty where none is known")
    if np.isinf(numbers).any():
        _refuse(f"a {name} that is infinite", "numbers; empty where none is known")
    return numbers


def _numbered(given: pd.Series[str], regions: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The regions that there are, by name, and which of them each row is of."""
    numbers, names = pd.factorize(given, use_na_sentinel=False)
    texts = [str(name) for name in names]
    if unknown := sorted(set(texts) - set(regions)):
        _refuse(f"the region {unknown[0]!r}", f"those of the model: {', '.join(regions)}")
    known = sorted(set(texts))
    return known, np.array([known.index(text) for text in texts])[numbers]


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


def _loads(values: pd.Series[float], config: Config) -> np.ndarray:
    """Loads (MW), none below the least that the rules of any region allow."""
    try:
        loads = pd.to_numeric(values).to_numpy(dtype=float)
    except (ValueError, TypeError) as error:
        _refuse(f"a load that is no number ({error})", "loads in MW")
    rules = (config.rules.default, *config.rules.regions.values())
    least = min(each.required.min_mw for each in rules)
    is_bad = np.isinf(loads) | (loads < least)
    if is_bad.any():
        expected = f"loads of at least {least:g} MW; empty where one is missing"
        _refuse(f"a load of {loads[is_bad][0]:g} MW", expected)
    return loads


def _local_times(
    table: pd.DataFrame, regions: Sequence[str], config: Config
) -> pd.Series[pd.Timestamp]:
    """What clocks of each row's region showed, where they are no whole hours from UTC."""
    local = table["timestamp"].copy()
    zones = [config.ingestion.of(region).timezone for region in regions]
    for zone in set(zones):
        own = table["number"].isin([n for n, each in enumerate(zones) if each == zone])
        there = local[own].dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)
        local[own] = there.astype(local.dtype)
    return local


def _require_hours(
    table: pd.DataFrame, local: pd.Series[pd.Timestamp], regions: Sequence[str]
) -> None:
    times = table["timestamp"]
    off = (times != times.dt.floor("h")) & (local != local.dt.floor("h"))
    if off.any():
        found = f"the time {times[off].iloc[0].tz_localize('UTC').isoformat()}"
        _refuse(found, "the start of an hour; bring finer data to hours first")
    twice = table.duplicated(["number", "timestamp"])
    if twice.any():
        row = table[twice].iloc[0]
        time = row["timestamp"].tz_localize("UTC").isoformat()
        _refuse(f"{regions[row['number']]} twice at {time}", "each hour once")


def _flagged(own: pd.DataFrame, rules: FlaggedRules) -> pd.DataFrame:
    own = own[["timestamp", "load_mw"]].reset_index(drop=True)
    return own.assign(flag=flag_readings(own["load_mw"], rules))
