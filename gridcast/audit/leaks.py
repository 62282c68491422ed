"""Guards against leaks: other data in the test part, or after an hour, move nothing before it.

The loads are replaced, not the hours: which hours are read decides where the parts begin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch

from gridcast.audit.differences import first_difference
from gridcast.baselines.linear_baselines import fit_linear
from gridcast.covariates.values import ISSUED, TIME, Covariates
from gridcast.features.columns import FEATURE_PREFIX
from gridcast.features.splits import TEST
from gridcast.features.table import FeatureTable, build_features
from gridcast.networks.forecaster import weights_sha256
from gridcast.readings.quality import flag_readings
from gridcast.training.data import training_data
from gridcast.training.loop import train_model

if TYPE_CHECKING:
    from gridcast.config import Cell, Config
    from gridcast.features.load_scale import LoadScale

Readings = dict[str, pd.DataFrame]
_HOUR = pd.Timedelta(hours=1)
_FLAT_SHARE = 0.3
_ABOUT_SPLIT = ("part", "target")


class Leak(NamedTuple):
    """What moved although only later data did, where first."""

    artefact: str
    region: str
    hour: str
    column: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.region, self.hour, self.column) if part)
        return f"{self.artefact} of {place}: found {self.found}, expected {self.expected}"


def with_other_loads(
    readings: pd.DataFrame, region: str, *, after: pd.Timestamp, seed: int, config: Config
) -> pd.DataFrame:
    """The readings with other loads after an hour: larger, smaller, zero, flat; flagged anew."""
    rng = np.random.default_rng([seed, *region.encode()])
    is_later = (readings["timestamp"] > after).to_numpy()
    factor = rng.choice([0.0, 0.1, 0.7, 1.4, 30.0], size=len(readings), p=[0.1, 0.1, 0.3, 0.4, 0.1])
    factor[rng.random(len(readings)) < _FLAT_SHARE] = np.nan  # flat: as the hour before
    changed = (readings["load_mw"] * factor).where(is_later, readings["load_mw"]).ffill()
    flags = flag_readings(changed, config.rules.of(region).flagged)
    return readings.assign(load_mw=changed, flag=flags)


def flagged(readings: Readings, config: Config) -> Readings:
    """The readings with the flags that these settings give them."""
    return {
        region: frame.assign(flag=flag_readings(frame["load_mw"], config.rules.of(region).flagged))
        for region, frame in readings.items()
    }


# -- the test part -------------------------------------------------------------------------------


def with_another_test_part(
    readings: Readings, table: FeatureTable, *, seed: int, config: Config
) -> Readings:
    """The readings with other loads in the whole test part of each region."""
    before = _last_hours_before_test(table)
    return {
        region: with_other_loads(readings[region], region, after=hour, seed=seed, config=config)
        for region, hour in before.items()
    } | {region: frame for region, frame in readings.items() if region not in before}


def find_training_leak(found: FeatureTable, expected: FeatureTable) -> Leak | None:
    """What of the scales and of the rows before the test part is not byte for byte the same."""
    before = _last_hours_before_test(expected)
    for region, hour in before.items():
        if leak := _scale_leak(found.scales[region], expected.scales[region], region):
            return leak
        ours, theirs = (_rows_of(table, region, hour) for table in (found, expected))
        if leak := _row_leak(ours, theirs, "feature"):
            return leak
    return None


def num_training_values(table: FeatureTable) -> int:
    """How many values :func:`find_training_leak` compares."""
    before = _last_hours_before_test(table)
    rows = sum(len(_rows_of(table, region, hour)) for region, hour in before.items())
    return rows * (table.frame.shape[1] - 2)


def weights_after(table: FeatureTable, cell: Cell, config: Config) -> tuple[str, list[float]]:
    """The hash of the weights after the few steps of ``config``, and the loss of each pass."""
    scales = {name: (scale.offset_mw, scale.scale_mw) for name, scale in table.scales.items()}
    data = training_data(table.frame, scales, torch.device("cpu"))
    trained = train_model(data, config=config, cell=cell, seed=0, on_progress=lambda _: None)
    return weights_sha256(trained.forecaster), [progress.loss for progress in trained.history]


def find_weights_leak(
    found: FeatureTable, expected: FeatureTable, cell: Cell, config: Config
) -> Leak | None:
    """Train on both tables: do the weights come out byte for byte the same?"""
    ours, theirs = (weights_after(table, cell, config) for table in (found, expected))
    if ours == theirs:
        return None
    return Leak("weights", "all regions", "", cell, f"{ours[0][:16]}…", f"{theirs[0][:16]}…")


def find_linear_leak(found: FeatureTable, expected: FeatureTable) -> Leak | None:
    """Fit linear models on both tables: do they come out byte for byte the same?

    On each region's own past: that of a neighbour whose test part lies long ago may be known.
    """
    ours, theirs = (
        fit_linear(each.frame, with_neighbours=False).models.own.arrays()
        for each in (found, expected)
    )
    for name, weights in theirs.items():
        for number, region in enumerate(expected.scales):
            if ours[name][number].tobytes() != weights[number].tobytes():
                return Leak("linear models", region, "", name, "others", "the same")
    return None


# -- the future ----------------------------------------------------------------------------------


def find_future_leak(
    region: str,
    readings: pd.DataFrame,
    table: FeatureTable,
    *,
    seed: int,
    config: Config,
    covariates: Covariates | None = None,
) -> Leak | None:
    """Replace all loads after a random hour: which flag, filled value or feature before it moved?

    And all values of covariates that became known after its end. Where the hour lies in the test
    part, the scale, the parts and the labels have to stay too; before it, the scale is held: the
    part on which it is fitted has changed.
    """
    cut = draw_cut(readings, seed)
    changed = with_other_loads(readings, region, after=cut, seed=seed, config=config)
    is_before = (readings["timestamp"] <= cut).to_numpy()
    before, then = (frame[is_before].assign(region=region) for frame in (changed, readings))
    if leak := _row_leak(before, then, "flag", columns=["flag"]):
        return leak
    is_test = cut > _last_hours_before_test(table).get(region, cut)
    scales = None if is_test else {region: table.scales[region]}
    given = dict[str, Covariates]()
    if covariates is not None:
        end = cut + _HOUR
        given[region] = with_other_covariates(covariates, after=end, seed=seed, config=config)
    again = build_features({region: changed}, config, covariates=given, scales=scales)
    if leak := _scale_leak(again.scales[region], table.scales[region], region):
        return leak
    ours, theirs = (_rows_of(each, region, cut) for each in (again, table))
    columns = [name for name in _columns(theirs) if is_test or name not in _ABOUT_SPLIT]
    return _row_leak(ours, theirs, "feature", columns=columns)


def with_other_covariates(
    covariates: Covariates, *, after: pd.Timestamp, seed: int, config: Config
) -> Covariates:
    """Noise in the place of each value that became known after an instant."""
    frame, rng = covariates.frame, np.random.default_rng(seed)
    issued = frame[ISSUED]
    if config.covariates.as_known == "issued":
        issued = issued.fillna(frame[TIME] + _HOUR)
    is_later = issued > after
    noise = {
        name: frame[name].where(~is_later, rng.normal(100.0, 50.0, len(frame)))
        for name in config.covariates.columns
        if name in frame
    }
    return Covariates(frame.assign(**noise))


def draw_cut(readings: pd.DataFrame, seed: int) -> pd.Timestamp:
    """An hour of the series; every second seed draws it from the newest tenth."""
    rng = np.random.default_rng([seed, len(readings)])
    first = int(len(readings) * (0.91 if seed % 2 else 0.05))
    cut: pd.Timestamp = readings["timestamp"].iloc[rng.integers(first, len(readings) - 1)]
    return cut


# -- what both need ------------------------------------------------------------------------------


def _last_hours_before_test(table: FeatureTable) -> dict[str, pd.Timestamp]:
    tests = table.frame[table.frame["part"] == TEST]
    first = tests.groupby("region", observed=True)["timestamp"].min()
    return {str(region): hour - pd.Timedelta(seconds=1) for region, hour in first.items()}


def _rows_of(table: FeatureTable, region: str, until: pd.Timestamp) -> pd.DataFrame:
    frame = table.frame
    return frame[(frame["region"] == region) & (frame["timestamp"] <= until)]


def _columns(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame.columns if name not in {"region", "timestamp"}]


def _scale_leak(found: LoadScale, expected: LoadScale, region: str) -> Leak | None:
    if found == expected:
        return None
    scales = [
        {"offset_mw": each.offset_mw, "scale_mw": each.scale_mw, **each.covariates}
        for each in (found, expected)
    ]
    column = next(name for name, value in scales[1].items() if scales[0].get(name) != value)
    values = (f"{np.asarray(each.get(column, np.nan)).round(6)}" for each in scales)
    return Leak("scale", region, "all hours", column, *values)


def _row_leak(
    found: pd.DataFrame,
    expected: pd.DataFrame,
    artefact: str,
    *,
    columns: list[str] | None = None,
) -> Leak | None:
    if len(found) != len(expected):
        region = str(expected["region"].iloc[0])
        return Leak("hours", region, "", "", str(len(found)), str(len(expected)))
    unlike = first_difference(found, expected, columns or _columns(expected))
    if unlike is None:
        return None
    is_feature = unlike.column.startswith(FEATURE_PREFIX)
    kind = artefact if is_feature or artefact == "flag" else "training value"
    hour = f"{unlike.timestamp:%Y-%m-%d %H:%M} UTC"
    return Leak(kind, unlike.region, hour, unlike.column, str(unlike.found), str(unlike.expected))
