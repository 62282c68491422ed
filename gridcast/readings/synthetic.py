"""A seeded stand-in for the PJM files, so that a newcomer without data can run the pipeline.

Outdoor temperature drives load: warmth above a knee runs air conditioning, cold below another runs
heating, and the daily and weekly rhythm of people lies under both. The temperature's anomaly is a
second-order autoregression, mostly common to all regions; it moves slowly, so that recent load
tells a recurrent model what comes next. Labels, order of rows, dropouts and gaps follow the real
files. "Real" below means measured on the 12 ``*_hourly.csv`` of Kaggle's "Hourly Energy
Consumption" (PJM).

Shapes: ``N`` hours of one region, in the order of time everywhere but in the finished frame.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np
import pandas as pd

from gridcast.errors import UsageError
from gridcast.readings.quality import NO_FLAG

if TYPE_CHECKING:
    from collections.abc import Iterable

TIMEZONE: Final = "America/New_York"
DEFAULT_END: Final = "2018-08-03 00:00:00"  # real: the last label
MIN_NUM_HOURS: Final = 24
_HOUR: Final = pd.Timedelta(hours=1)


class RegionTraits(NamedTuple):
    """What sets one region apart."""

    mean_mw: float
    swing: float  # size of the daily rhythm, 1 = `DAILY_RHYTHM`
    weather: float  # size of the response to temperature, 1 = `COOLING_PER_C`, `HEATING_PER_C`
    share: float  # of the longest region's hours


# Means: real, rounded. Shares: real rows over those of PJME, at least 0.5. Swing and weather: so
# that persistence ranks the regions as it does on the real files (AEP 2.9 %, EKPC 4.3 %).
REGION_TRAITS: Final[dict[str, RegionTraits]] = {
    "AEP": RegionTraits(15_500, 0.80, 0.85, 0.83),
    "COMED": RegionTraits(11_400, 0.85, 1.00, 0.50),
    "DAYTON": RegionTraits(2_040, 0.95, 0.95, 0.83),
    "DEOK": RegionTraits(3_110, 0.85, 1.05, 0.50),
    "DOM": RegionTraits(10_950, 1.00, 1.20, 0.80),
    "DUQ": RegionTraits(1_660, 0.85, 0.85, 0.82),
    "EKPC": RegionTraits(1_460, 1.05, 1.45, 0.50),
    "FE": RegionTraits(7_790, 0.80, 0.80, 0.50),
    "NI": RegionTraits(11_700, 0.95, 0.95, 0.50),
    "PJME": RegionTraits(32_100, 0.95, 1.05, 1.00),
    "PJMW": RegionTraits(5_600, 0.85, 0.90, 0.99),
    "PJM_Load": RegionTraits(29_800, 1.00, 0.95, 0.50),
}
SYNTHETIC_REGIONS: Final = tuple(REGION_TRAITS)
# Further regions are named by their number. Their traits are drawn between those of the 12.
_NUMBERED: Final = re.compile(r"R(\d{5})")
MEAN_MW_OF_NUMBERED: Final = (1_500.0, 30_000.0)  # spread evenly on a logarithmic scale
SWING_OF_NUMBERED: Final = (0.8, 1.05)
WEATHER_OF_NUMBERED: Final = (0.8, 1.45)

# Real: PJME in April, a month of little weather; mean by local hour over the month's mean.
# fmt: off
DAILY_RHYTHM: Final = np.array([
    0.863, 0.828, 0.811, 0.807, 0.823, 0.880, 0.972, 1.033, 1.062, 1.077, 1.086, 1.085,
    1.078, 1.073, 1.063, 1.057, 1.059, 1.063, 1.062, 1.086, 1.122, 1.082, 1.004, 0.922,
])
# fmt: on
# Real: PJME; mean by weekday, Monday first, over the mean, less one.
WEEKLY_RHYTHM: Final = np.array([0.020, 0.037, 0.037, 0.031, 0.019, -0.061, -0.083])

MEAN_TEMPERATURE_C: Final = 12.0
YEARLY_SWING_C: Final = 12.0
DAILY_SWING_C: Final = 4.5
ANOMALY_C: Final = 5.0  # standard deviation
ANOMALY_POLES: Final = (0.975, 0.90)  # memories of 40 and 10 hours
ANOMALY_KERNEL_HOURS: Final = 800  # by then 1e-8 of a shock is left
COMMON_WEATHER: Final = 0.7  # share of the anomaly's variance common to all regions
COOLING_KNEE_C: Final = 18.0
COOLING_PER_C: Final = 0.034  # share of the mean load
HEATING_KNEE_C: Final = 13.0
HEATING_PER_C: Final = 0.018
MEAN_RESPONSE: Final = 0.176  # to temperature, over a year; taken off so that the mean load stays
WHITE_NOISE: Final = 0.0035  # standard deviation over the load

NUM_REGIONS_WITH_DROPOUT: Final = 4
NUM_REGIONS_WITH_GAP: Final = 4
FAULTY_PART: Final = (0.05, 0.84)  # of a series; what follows is what a pipeline tests on


class PlantedFaults(NamedTuple):
    """What is wrong with a region on purpose; hours are their beginnings in UTC."""

    dropout_hour: pd.Timestamp | None  # its load is multiplied by `dropout_level`
    dropout_level: float
    missing_hours: tuple[pd.Timestamp, ...]  # have no row


def synthetic_regions(num: int) -> tuple[str, ...]:
    """The names of ``num`` regions: PJM's first, then those that have a number only.

    >>> synthetic_regions(14)[10:]
    ('PJMW', 'PJM_Load', 'R00013', 'R00014')
    """
    numbers = range(len(SYNTHETIC_REGIONS) + 1, num + 1)
    return (*SYNTHETIC_REGIONS[:num], *(f"R{number:05d}" for number in numbers))


def synthesize(
    regions: Iterable[str] = SYNTHETIC_REGIONS, *, num_hours: int, seed: int, end: str = DEFAULT_END
) -> dict[str, pd.DataFrame]:
    """Make several regions that end together, as ``synthesize_region`` makes each.

    Args:
        regions: names out of ``synthetic_regions(...)``.
        num_hours: length of PJME, the longest; another has the share that ``REGION_TRAITS`` gives
            it (0.5 to 1; of a numbered region 1), whichever regions are asked for.
        seed: at least 0; the same seed gives the same bytes (with the same NumPy).
        end: last label, ``YYYY-MM-DD HH:MM:SS``.

    Raises:
        UsageError: an unknown region, or a share of ``num_hours`` below ``MIN_NUM_HOURS``.
    """
    return {
        region: synthesize_region(
            region, num_hours=round(num_hours * _traits_of(region).share), seed=seed, end=end
        )
        for region in regions
    }


def synthesize_region(
    region: str, *, num_hours: int, seed: int, end: str = DEFAULT_END
) -> pd.DataFrame:
    """Make one region's file as a frame.

    A longer series only adds to the past: but for the planted faults, the loads of the hours that
    two lengths share are the same.

    Args:
        region: a name out of ``synthetic_regions(...)``.
        num_hours: hours from first to last; a few of them may be missing (``planted_faults``).
        seed: at least 0.
        end: last label: local, on the hour, naming the end of its hour.

    Returns:
        One row an hour, unsorted as the real files are: ``Datetime`` (string, local hour-ending
        label; 02:00 twice on the autumn change, no 03:00 on the spring change) and ``<REGION>_MW``
        (MW, whole numbers as float).

    Raises:
        UsageError: an unknown region, or ``num_hours`` below ``MIN_NUM_HOURS``.
        ValueError: ``end`` is no date, or a label that stands for two hours or none.
    """
    timestamps = _timestamps(num_hours, end)
    faults = planted_faults(region, num_hours=num_hours, seed=seed, end=end)
    load_mw = np.round(_healthy_load_mw(region, timestamps, seed))
    if faults.dropout_hour is not None:
        row = timestamps.get_loc(faults.dropout_hour)
        load_mw[row] = np.round(load_mw[row] * faults.dropout_level)
    kept = ~timestamps.isin(faults.missing_hours)
    return _file_rows(region, timestamps[kept], load_mw[kept], _generator(seed, region, "rows"))


def synthesize_readings(
    region: str, *, num_hours: int, seed: int, end: str = DEFAULT_END
) -> pd.DataFrame:
    """The same region without its faults, as ingestion would leave it: no file is made or read.

    Returns:
        ``timestamp`` (UTC), ``local_label``, ``load_mw`` and ``flag`` (empty), in order of time.

    Raises:
        As ``synthesize_region``.
    """
    timestamps = _timestamps(num_hours, end)
    labels = timestamps.tz_convert(TIMEZONE).tz_localize(None) + _HOUR
    load_mw = np.round(_healthy_load_mw(region, timestamps, seed))
    columns = {"timestamp": timestamps, "local_label": labels, "load_mw": load_mw}
    return pd.DataFrame(columns).assign(flag=pd.Series(NO_FLAG, range(num_hours), dtype="str"))


def planted_faults(
    region: str, *, num_hours: int, seed: int, end: str = DEFAULT_END
) -> PlantedFaults:
    """Tell what is wrong on purpose with the region that the same arguments make.

    Of the 12 regions, four (by seed) have one dropout: to 0 in one of them, to 10 to 20 % of the
    load in the others; four others have one gap of one or two hours. Of the numbered regions chance
    gives a third the one, and a third the other. Faults are planted by day,
    clear of the clock changes, and never in the last 15 % of a series.

    Raises:
        As ``synthesize_region``.
    """
    _traits_of(region)
    low, high = (int(num_hours * edge) for edge in FAULTY_PART)
    timestamps = _timestamps(num_hours, end)[low:high]
    by_day = timestamps[timestamps.hour >= 12]  # noqa: PLR2004 - UTC: from 07 or 08 h to 19 h here
    generator = _generator(seed, region, "faults")
    hour = by_day[int(generator.integers(len(by_day)))]
    level, num_missing = generator.uniform(0.1, 0.2), int(generator.integers(1, 3))
    if region in SYNTHETIC_REGIONS:
        shuffled = _generator(seed, None, "faults").permutation(SYNTHETIC_REGIONS).tolist()
        rank = shuffled.index(region)
    else:
        rank = int(generator.integers(len(SYNTHETIC_REGIONS)))
    if rank < NUM_REGIONS_WITH_DROPOUT:
        return PlantedFaults(hour, 0.0 if rank == 0 else level, ())
    if rank < NUM_REGIONS_WITH_DROPOUT + NUM_REGIONS_WITH_GAP:
        return PlantedFaults(None, 1.0, tuple(hour + i * _HOUR for i in range(num_missing)))
    return PlantedFaults(None, 1.0, ())


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """The file's content: header, LF line ends, loads with one decimal."""
    text: str = frame.to_csv(index=False, float_format="%.1f", lineterminator="\n")
    return text.encode("ascii")


def _traits_of(region: str) -> RegionTraits:
    if region in REGION_TRAITS:
        return REGION_TRAITS[region]
    generator = np.random.default_rng(_number_of(region))
    low, high = np.log(MEAN_MW_OF_NUMBERED)
    return RegionTraits(
        mean_mw=float(np.exp(generator.uniform(low, high))),
        swing=float(generator.uniform(*SWING_OF_NUMBERED)),
        weather=float(generator.uniform(*WEATHER_OF_NUMBERED)),
        share=1.0,
    )


def _number_of(region: str) -> int:
    """From 1; that of a numbered region is in its name."""
    if region in REGION_TRAITS:
        return 1 + SYNTHETIC_REGIONS.index(region)
    match = _NUMBERED.fullmatch(region)
    if match is None or int(match[1]) <= len(SYNTHETIC_REGIONS):
        expected = f"one of {', '.join(REGION_TRAITS)}, or R00013 and so on"
        raise UsageError(where="regions", found=repr(region), expected=expected)
    return int(match[1])


def _healthy_load_mw(region: str, timestamps: pd.DatetimeIndex, seed: int) -> np.ndarray:
    """Load in MW, (N,): rhythm and weather, times white noise."""
    traits, local = _traits_of(region), timestamps.tz_convert(TIMEZONE)
    hour = local.hour.to_numpy()
    hour_of_week = 24 * local.day_of_week.to_numpy() + hour
    noons = 12 + 24 * np.arange(7)  # interpolated between them, so that midnight is no step
    rhythm = traits.swing * (DAILY_RHYTHM[hour] - 1) + np.interp(
        hour_of_week, noons, WEEKLY_RHYTHM, period=24 * 7
    )
    weather = traits.weather * (_response(_temperature_c(region, timestamps, seed)) - MEAN_RESPONSE)
    noise = WHITE_NOISE * _newest_first(_generator(seed, region, "noise"), len(hour))
    load_mw: np.ndarray = traits.mean_mw * (1 + rhythm + weather) * (1 + noise)
    _sort_autumn_nights(load_mw, local)
    return load_mw


def _response(temperature_c: np.ndarray) -> np.ndarray:
    """Cooling and heating as a share of the mean load, (N,); softplus rounds the knees."""
    cooling: np.ndarray = 2 * np.logaddexp(0, (temperature_c - COOLING_KNEE_C) / 2)
    heating: np.ndarray = 3 * np.logaddexp(0, (HEATING_KNEE_C - temperature_c) / 3)
    return COOLING_PER_C * cooling + HEATING_PER_C * heating


def _temperature_c(region: str, timestamps: pd.DatetimeIndex, seed: int) -> np.ndarray:
    """Degrees Celsius, (N,): coldest on 20 January and at 04:00, warmest half a period later."""
    days = timestamps.day_of_year.to_numpy()
    hours = timestamps.hour.to_numpy() - 5  # the sun keeps Eastern standard time all year
    season = -np.cos(2 * np.pi * (days - 20) / 365.25)
    day = -np.cos(2 * np.pi * (hours - 4) / 24)
    common, own = _common_anomaly(seed, len(days)), _anomaly(seed, region, len(days))
    anomaly: np.ndarray = np.sqrt(COMMON_WEATHER) * common + np.sqrt(1 - COMMON_WEATHER) * own
    return MEAN_TEMPERATURE_C + YEARLY_SWING_C * season + DAILY_SWING_C * day + ANOMALY_C * anomaly


@lru_cache(maxsize=2)
def _common_anomaly(seed: int, num_hours: int) -> np.ndarray:
    return _anomaly(seed, None, num_hours)


def _anomaly(seed: int, region: str | None, num_hours: int) -> np.ndarray:
    """Stationary AR(2) of variance 1, (N,).

    A convolution of shocks with the impulse response of its poles p and q, which is proportional to
    p^k - q^k for k = 1, 2, ...: no loop, no burn-in.
    """
    slow, fast = ANOMALY_POLES
    lags = np.arange(1, ANOMALY_KERNEL_HOURS + 1)
    kernel = slow**lags - fast**lags
    generator = _generator(seed, region, "weather")
    shocks = _newest_first(generator, num_hours + ANOMALY_KERNEL_HOURS - 1)
    return np.convolve(shocks, kernel / np.linalg.norm(kernel), mode="valid")


def _sort_autumn_nights(load_mw: np.ndarray, local: pd.DatetimeIndex) -> None:
    """Order the hours beginning 00:00, 01:00, 01:00 and 02:00 of the autumn change, in place.

    Their labels do not tell the two middle ones apart; a reader can do so only by continuity, and
    that only where noise has not turned the falling night around.
    """
    for second in np.flatnonzero(local.tz_localize(None).duplicated()):
        night = slice(max(second - 2, 0), second + 2)
        load_mw[night] = np.sort(load_mw[night])[::-1]


def _timestamps(num_hours: int, end: str) -> pd.DatetimeIndex:
    """The hours' beginnings in UTC, (N,)."""
    if num_hours < MIN_NUM_HOURS:
        expected = f"at least {MIN_NUM_HOURS} (one day)"
        raise UsageError(where="num_hours", found=str(num_hours), expected=expected)
    last = (pd.Timestamp(end) - _HOUR).tz_localize(TIMEZONE).tz_convert("UTC")
    return pd.date_range(end=last, periods=num_hours, freq="h")


def _file_rows(
    region: str,
    timestamps: pd.DatetimeIndex,
    load_mw: np.ndarray,
    generator: np.random.Generator,
) -> pd.DataFrame:
    """Rows as the real files have them: years up, days within a year down, hours within a day up.

    The two rows of a repeated hour stand in either order.
    """
    local = timestamps.tz_convert(TIMEZONE)
    toss = generator.random(len(local))
    order = np.lexsort((toss, local.hour, -local.day_of_year.to_numpy(), local.year))
    labels = (local.tz_localize(None) + _HOUR).strftime("%Y-%m-%d %H:%M:%S")
    return pd.DataFrame({"Datetime": labels[order], f"{region}_MW": load_mw[order]})


def _generator(
    seed: int, region: str | None, use: Literal["weather", "noise", "faults", "rows"]
) -> np.random.Generator:
    """A stream for each region and use; region None stands for what all regions have in common."""
    key = 0 if region is None else _number_of(region)
    uses = ("weather", "noise", "faults", "rows")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(key, uses.index(use))))


def _newest_first(generator: np.random.Generator, num: int) -> np.ndarray:
    """Standard normal numbers drawn from the last hour back: series of any length end alike."""
    return generator.standard_normal(num)[::-1]
