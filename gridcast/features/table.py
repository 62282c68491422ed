"""What the network sees at each step, and what it is asked for.

Legend: ``T`` steps, ``F`` features. A feature at step ``t`` never uses a load after ``t``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gridcast.covariates.inputs import CovariateInputs, names_ahead, names_past
from gridcast.features.columns import (
    LOAD_FEATURE,
    feature_columns,
    names_issued,
)
from gridcast.features.grid_hours import grid_hours
from gridcast.features.holiday_dates import holiday_dates
from gridcast.features.load_scale import LoadScale
from gridcast.features.scaling import fit_scale
from gridcast.features.series import to_steps
from gridcast.features.splits import NO_PART, TRAIN, assign_parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gridcast.config import Config, CovariatesConfig, FeaturesConfig
    from gridcast.covariates.values import Covariates

_ORDINALS = ("x_hour", "x_day_of_week", "x_month", "x_day_of_year")


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """All regions' steps end to end, and the scale of each region.

    ``frame`` columns: ``region``, ``timestamp``, ``local_hour``, ``load_mw`` as read, ``input_mw``
    (bridged), ``is_imputed`` (``input_mw`` was filled, not read), ``part`` (see ``splits``),
    ``is_input`` (may the step be part of a window), ``target`` (scaled load, 0 where there is none)
    and the features, named ``x_...`` (float32). Where training sees what had been issued
    (:func:`sees_issued`), ``issued_...`` has the same of the hours after the next one.
    """

    frame: pd.DataFrame
    scales: dict[str, LoadScale]

    @property
    def feature_names(self) -> list[str]:
        """The features' columns, in the network's order."""
        return feature_columns(self.frame.columns)


def build_features(
    readings: Mapping[str, pd.DataFrame],
    config: Config,
    *,
    covariates: Mapping[str, Covariates] | None = None,
    scales: Mapping[str, LoadScale] | None = None,
    regions: Sequence[str] | None = None,
) -> FeatureTable:
    """From each region's readings (see ``RegionLoad.frame``, with ``flag``) to the table.

    A region's scale is the one given in ``scales``, or else fitted as ``config.scaling`` says.
    ``regions``: all that a model knows, in the order of their numbers; none: those of the readings.
    ``covariates``, by region: of one that is not there nothing is known.
    """
    given = covariates or {}
    scales = dict(scales or {})
    names, frames = sorted(readings), []
    for region in names:
        frame, scales[region] = region_features(
            region, readings[region], config, regions=regions or names, scale=scales.get(region),
            covariates=given.get(region),
        )  # fmt: skip
        frames.append(frame)
    return FeatureTable(pd.concat(frames, ignore_index=True), scales)


def region_features(
    region: str,
    readings: pd.DataFrame,
    config: Config,
    *,
    regions: Sequence[str],
    scale: LoadScale | None = None,
    covariates: Covariates | None = None,
) -> tuple[pd.DataFrame, LoadScale]:
    """The rows of ``FeatureTable.frame`` of one region out of ``regions``, and its scale.

    Where the scale is fitted, for a training, some days of the training part have no covariates
    that are known ahead (``covariates.hidden_share``).
    """
    steps = labelled_steps(region, readings, config)
    part_T, load_mw = steps["part"].to_numpy(), steps["load_mw"].to_numpy()
    fitted_on = part_T == TRAIN if config.scaling.fit_on == "train" else ~np.isnan(load_mw)
    is_training = scale is None
    if scale is None:
        scale = fit_scale(load_mw[fitted_on], config.scaling)
    inputs = CovariateInputs.of(covariates, config.covariates, dict(scale.covariates))
    hour_T = grid_hours(steps["timestamp"].dt.tz_localize(None).to_numpy()).astype(np.int64)
    if is_training and config.covariates.columns:
        inputs = inputs.fitted(hour_T[fitted_on])
        scale = replace(scale, covariates=inputs.scales)
    load = scale.scale(steps["input_mw"].to_numpy())
    if config.features.kind == "article":
        features = _article_features(load, steps["local_label"])
    else:
        next_hour = steps["timestamp"] + pd.Timedelta(hours=1)
        timezone, holidays = calendar_kind(config, region)
        local = next_hour.dt.tz_convert(timezone)
        features = load_features(load, config.features)
        past_TC = inputs.past(hour_T)
        features |= dict(zip(names_past(config.covariates), past_TC.T, strict=True))
        features |= calendar_features(local, config.features, holidays=holidays)
    target = np.where(part_T > 0, scale.scale(load_mw), 0.0)
    region_T = pd.Categorical.from_codes(
        [regions.index(region)] * len(steps), categories=pd.Index(regions)
    )
    table = steps[["timestamp", "local_hour", "load_mw", "input_mw", "is_imputed", "part"]].assign(
        is_input=steps["is_input"], target=target.astype(np.float32)
    )
    table.insert(0, "region", pd.Series(region_T))
    if config.covariates.columns:
        seen = part_T if is_training else np.full(len(part_T), NO_PART)
        features |= ahead_features(inputs, region, hour_T, seen, config)
    clean = {name: np.nan_to_num(value).astype(np.float32) for name, value in features.items()}
    return pd.concat([table, pd.DataFrame(clean)], axis=1), scale


def sees_issued(config: Config) -> bool:
    """Whether a training has to know what had been issued of each lead when a step ended.

    A next-hour network is told of the next hour alone, which stands in the step's features; and of
    what is known always (``as_known: observed``) a later step tells no more.
    """
    is_issued = config.covariates.as_known == "issued"
    return is_issued and config.model.head == "by_lead" and bool(names_ahead(config.covariates))


def ahead_features(
    inputs: CovariateInputs, region: str, hour_T: np.ndarray, part_T: np.ndarray, config: Config
) -> dict[str, np.ndarray]:
    """What had been known of the hours ahead when each step ended: of the next one, or of more.

    Up to the last label for training (``part_T``) some days are hidden.
    """
    num_hours = config.windows.horizon if sees_issued(config) else 1
    issue_T = hour_T + 1
    ahead_TKC = inputs.ahead(issue_T, num_hours)
    num_taught = int(np.flatnonzero(part_T == TRAIN).max(initial=-1)) + 1
    if num_taught and config.covariates.hidden_share:
        some = inputs.with_some_hidden(region)
        # the step before a label tells of it
        ahead_TKC[: num_taught - 1] = some.ahead(issue_T[: num_taught - 1], num_hours)
    names = names_ahead(config.covariates)
    names += names_issued(names, num_hours)
    return dict(zip(names, ahead_TKC.reshape(len(hour_T), -1).T, strict=True))


def labelled_steps(region: str, readings: pd.DataFrame, config: Config) -> pd.DataFrame:
    """The steps of a region (see ``to_steps``) with ``part`` and ``is_input``, as windows need."""
    steps = to_steps(
        readings,
        rules=config.rules.of(region).repaired,
        unit=config.windows.unit,
        timezone=config.ingestion.of(region).timezone,
    )
    is_observed, is_trusted = steps["is_observed"].to_numpy(), steps["is_trusted"].to_numpy()
    return steps.assign(
        part=assign_parts(is_observed, is_trusted, config.split), is_input=steps["input_mw"].notna()
    )


def names_of_features(config: FeaturesConfig, covariates: CovariatesConfig) -> list[str]:
    """The features that these settings ask for, in the network's order."""
    if config.kind == "article":
        return [LOAD_FEATURE, *_ORDINALS]
    lags = [f"x_lag_{lag}h" for lag in config.lags_hours]
    waves = [
        name
        for cycle, num_harmonics in _cycles(config)
        for harmonic in range(1, num_harmonics + 1)
        for name in _waves(cycle, harmonic)
    ]
    with_changes = [name for lag in lags for name in (lag, f"{lag}_change")]
    past = [LOAD_FEATURE, "x_load_change", *with_changes, *names_past(covariates)]
    return [*past, *waves, *_holiday_names(config), *names_ahead(covariates)]


def load_features(
    load_T: np.ndarray, config: FeaturesConfig, *, last: int | None = None
) -> dict[str, np.ndarray]:
    """The load, its last change, and the load at each lag of the hour being forecast.

    ``load_T`` is scaled; further dimensions may stand before ``T``, series side by side. ``last``:
    of the last steps only, the others being there to look back to.
    """
    num_steps = load_T.shape[-1] if last is None else last

    def before(hours: int) -> np.ndarray:
        return _last_steps(load_T, num_steps, hours)

    def change(hours: int) -> np.ndarray:
        difference = before(hours) - before(hours + 1)
        return np.asarray(config.change_gain * np.where(np.isnan(difference), 0.0, difference))

    now = before(0)
    features = {LOAD_FEATURE: now, "x_load_change": change(0)}
    for lag in config.lags_hours:
        lagged = before(lag - 1)
        features[f"x_lag_{lag}h"] = np.where(np.isnan(lagged), now, lagged)
        features[f"x_lag_{lag}h_change"] = change(lag - 1)
    return features


def load_features_now(load_BT: np.ndarray, config: FeaturesConfig) -> np.ndarray:
    """What :func:`load_features` gives of the last step, ``(B, F)``, at a fraction of its calls."""
    back_F = np.array([0, *(lag - 1 for lag in config.lags_hours)])
    place_F = load_BT.shape[1] - 1 - back_F
    if place_F.min() < 1:
        return np.concatenate(list(load_features(load_BT, config, last=1).values()), axis=1)
    load_BF = load_BT[:, place_F]
    change_BF = config.change_gain * (load_BF - load_BT[:, place_F - 1])
    found_BF2 = np.stack([np.where(np.isnan(load_BF), load_BF[:, :1], load_BF),
                          np.where(np.isnan(change_BF), 0.0, change_BF)], axis=-1)  # fmt: skip
    return found_BF2.reshape(len(load_BT), -1)


def _last_steps(values_T: np.ndarray, num_steps: int, hours: int) -> np.ndarray:
    """What stood ``hours`` before each of the last ``num_steps``, NaN before the start."""
    end = values_T.shape[-1] - hours
    begin = end - num_steps
    if begin >= 0:
        return values_T[..., begin:end]
    out = np.full((*values_T.shape[:-1], num_steps), np.nan)
    if end > 0:
        out[..., -begin:] = values_T[..., :end]
    return out


def calendar_kind(config: Config, region: str) -> tuple[str, str | None]:
    """What makes the calendar of a region: its zone, and the place of its public holidays."""
    return config.ingestion.of(region).timezone, config.features.holidays_of(region)


def calendars_of(config: Config, regions: Iterable[str]) -> dict[str, tuple[str, str | None]]:
    """Of each of the regions."""
    return {region: calendar_kind(config, region) for region in regions}


def calendar_features(
    next_local: pd.Series[pd.Timestamp], config: FeaturesConfig, *, holidays: str | None
) -> dict[str, np.ndarray]:
    """The calendar of the hours being forecast (local time), which is known years ahead.

    ``holidays`` is the place whose public ones count (see ``FeaturesConfig.holidays_of``).
    """
    features = dict[str, np.ndarray]()
    turns = (
        next_local.dt.hour / 24, next_local.dt.day_of_week / 7, next_local.dt.day_of_year / 365.25
    )  # fmt: skip
    for (cycle, num_harmonics), turn in zip(_cycles(config), turns, strict=True):
        for harmonic in range(1, num_harmonics + 1):
            angle = 2 * np.pi * harmonic * turn.to_numpy()
            sine, cosine = _waves(cycle, harmonic)
            features[sine], features[cosine] = np.sin(angle), np.cos(angle)
    return features | _holiday_features(next_local, config, holidays)


def _cycles(config: FeaturesConfig) -> list[tuple[str, int]]:
    """Each cycle of the calendar, and how many pairs of waves it has."""
    return [
        ("hour", config.hour_harmonics),
        ("weekday", config.weekday_harmonics),
        ("day_of_year", config.year_harmonics),
    ]


def _waves(cycle: str, harmonic: int) -> tuple[str, str]:
    column = f"x_{cycle}" if harmonic == 1 else f"x_{cycle}_{harmonic}"
    return f"{column}_sin", f"{column}_cos"


def _holiday_features(
    next_local: pd.Series[pd.Timestamp], config: FeaturesConfig, place: str | None
) -> dict[str, np.ndarray]:
    """Whether the hour being forecast, and the hour at each lag of it, lies in a public holiday."""
    if place is None:
        return {}
    date_T = next_local.dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    is_holiday_T = np.isin(date_T, holiday_dates(place, date_T)).astype("float64")
    features = {"x_holiday": is_holiday_T, **lagged_holidays(is_holiday_T, config)}
    if config.next_day_holiday:
        next_T = date_T + np.timedelta64(1, "D")
        is_next_T = np.isin(next_T, holiday_dates(place, next_T)).astype("float64")
        features["x_next_day_holiday"] = is_next_T
    return features


def lagged_holidays(
    is_holiday_T: np.ndarray, config: FeaturesConfig, *, last: int | None = None
) -> dict[str, np.ndarray]:
    """Whether the hour at each lag of the one being forecast lay in a holiday; 0 before the start.

    ``last`` and further dimensions before ``T`` as in :func:`load_features`.
    """
    num_steps = is_holiday_T.shape[-1] if last is None else last
    return {
        f"x_lag_{lag}h_holiday": np.nan_to_num(_last_steps(is_holiday_T, num_steps, lag))
        for lag in config.lags_hours
    }


def _holiday_names(config: FeaturesConfig) -> list[str]:
    if config.holidays is None:
        return []
    lagged = [f"x_lag_{lag}h_holiday" for lag in config.lags_hours]
    return ["x_holiday", *lagged, *(["x_next_day_holiday"] if config.next_day_holiday else [])]


def _article_features(
    load_T: np.ndarray,
    label: pd.Series[pd.Timestamp],
) -> dict[str, np.ndarray]:
    """The load and the calendar of its own label as ordinals, each scaled to 0..1 by region."""
    from sklearn.preprocessing import MinMaxScaler  # noqa: PLC0415 - a second

    ordinals = (label.dt.hour, label.dt.day_of_week, label.dt.month, label.dt.day_of_year)
    scaled = MinMaxScaler().fit_transform(np.stack(ordinals, axis=1).astype(float))
    return {LOAD_FEATURE: load_T, **dict(zip(_ORDINALS, scaled.T, strict=True))}
