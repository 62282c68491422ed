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

    from pandas.arrays import DatetimeArray

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
    time_N = _in_utc(frame["timestamp"], config.ingestion.timezone).to_numpy()
    time_N, load_N = time_N.astype("datetime64[us]"), _loads(frame["load_mw"], config)
    order_N = np.lexsort((time_N, number_N))
    number_N, time_N, load_N = number_N[order_N], time_N[order_N], load_N[order_N]
    _require_hours(number_N, time_N, known, config)
    _require_once(number_N, time_N, known)
    is_read_N = ~np.isnan(load_N)
    if not is_read_N.any():
        _refuse("no load in any row", "loads in MW")
    number_N, time_N, load_N = number_N[is_read_N], time_N[is_read_N], load_N[is_read_N]
    times = pd.DatetimeIndex(time_N).tz_localize("UTC").array
    ends = np.searchsorted(number_N, np.arange(len(known)), side="right")
    return {
        name: _flagged(times[first:end], load_N[first:end], config.rules.of(name).flagged)
        for name, first, end in zip(known, [0, *ends[:-1]], ends, strict=True)
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
    """Each text is read once: regions that lie side by side have the same hours."""
    number_N, texts = pd.factorize(times)
    if (number_N < 0).any():
        _refuse("a row without a timestamp", "a time in each row")
    text = pd.Series(texts).astype("string").str.strip()
    has_zone = text.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True)
    if has_zone.any() and not has_zone.all():
        _refuse("times with an offset and times without", "one or the other")
    try:
        instants = pd.to_datetime(text, format="ISO8601", utc=bool(has_zone.all()))
    except ValueError as error:
        _refuse(f"{error}".splitlines()[0], "ISO times, as 2018-07-01T09:00:00Z")
    return instants.take(number_N).reset_index(drop=True)


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


def _require_hours(
    number_N: np.ndarray, time_N: np.ndarray, regions: Sequence[str], config: Config
) -> None:
    """Each is a full hour of UTC, or of what the clocks of its region show."""
    is_off_N = time_N != time_N.astype("datetime64[h]")
    for number in np.unique(number_N[is_off_N]):
        at = np.flatnonzero(is_off_N & (number_N == number))
        local = pd.Series(time_N[at]).dt.tz_localize("UTC")
        local = local.dt.tz_convert(config.ingestion.of(regions[number]).timezone)
        wall = local.dt.tz_localize(None)
        is_off_N[at] = (wall != wall.dt.floor("h")).to_numpy()
    if is_off_N.any():
        found = f"the time {_utc_text(time_N[is_off_N][0])}"
        _refuse(found, "the start of an hour; bring finer data to hours first")


def _require_once(number_N: np.ndarray, time_N: np.ndarray, regions: Sequence[str]) -> None:
    """No hour of a region stands twice; rows are sorted."""
    is_same = (time_N[1:] == time_N[:-1]) & (number_N[1:] == number_N[:-1])
    if is_same.any():
        place = int(is_same.argmax())
        found = f"{regions[number_N[place]]} twice at {_utc_text(time_N[place])}"
        _refuse(found, "each hour once")


def _utc_text(time: np.datetime64) -> str:
    return pd.Timestamp(time).tz_localize("UTC").isoformat()


def _flagged(times: DatetimeArray, load_N: np.ndarray, rules: FlaggedRules) -> pd.DataFrame:
    flags = flag_readings(pd.Series(load_N), rules).array
    return pd.DataFrame({"timestamp": times, "load_mw": load_N, "flag": flags}, copy=False)
