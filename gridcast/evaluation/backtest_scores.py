"""What a backtest has found: errors and bands by lead and region, also as a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import AliasChoices, Field

from gridcast.evaluation.band_scores import BAND_METRICS, BandScores, score_bands
from gridcast.evaluation.forecasts import quantile_column
from gridcast.evaluation.measure import (
    SMAPE,
    MeasureName,
    measure_by,
    norms_by_row,
    percent_errors,
)
from gridcast.evaluation.next_day_scores import NextDay, next_day_of, next_day_scores
from gridcast.record import Record, StoredRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_DAY = 24
# Version 1 called it by the only measure that there was.
ERROR = Field(validation_alias=AliasChoices("error", "smape"))
_METRICS = ["error", "mae"]


class BandFigures(Record):
    """Of bands: ``coverage`` in percent of the truths, the others of the mean load."""

    coverage: float
    width: float
    winkler: float
    crps: float


class LeadFigures(BandFigures):
    """Of one lead (hours), the mean over the regions; ``error`` (percent) by contestant."""

    lead: int
    error: dict[str, float] = ERROR


class RegionFigures(BandFigures):
    """Of one region, the mean over the leads; ``error`` (percent) by contestant."""

    region: str
    error: dict[str, float] = ERROR


class LevelFigures(Record):
    """Of one quantile, the mean over the regions, in percent.

    ``below`` is the share of truths below it, ``pinball`` its loss, of the mean load.
    """

    level: float
    below: float
    pinball: float


class BacktestScores(StoredRecord):
    """A span of days (UTC) lived through by ``model``, with a forecast from every hour.

    ``error`` (percent, as ``measure`` has it; the mean over leads and regions) is by contestant:
    the model, then what may stand in for it. Bands are to hold ``share`` percent of the truths;
    ``coverage`` and ``winkler`` are the means of what they did.
    """

    model: str
    model_sha256: str
    first: str
    end: str
    horizon: int
    num_forecasts: int
    error: dict[str, float] = ERROR
    measure: MeasureName = SMAPE
    share: float
    coverage: float
    winkler: float
    by_lead: tuple[LeadFigures, ...] = ()
    by_region: tuple[RegionFigures, ...] = ()
    by_level: tuple[LevelFigures, ...] = ()
    next_day: NextDay | None = None  # its forecasts were too short, or no day was whole


@dataclass(frozen=True, slots=True)
class Backtest:
    """What was forecast, and how good it was.

    ``rows`` has a row a region, issue time and lead that has a truth: ``contestant``, ``region``,
    ``issue_time``, ``timestamp`` (UTC), ``lead`` (h), ``local_hour``, ``y_true``, ``y_pred`` and
    the quantiles (MW); first the model's, then each naive forecast's. ``by_lead`` has ``error``
    (percent, as ``measure`` has it) and ``mae`` (MW), the means over the regions, by
    ``contestant`` and ``lead``; ``by_region`` the same by ``region``, the means over the leads;
    ``bands`` has the scores of each contestant's bands; one without any has quantiles of NaN.
    ``next_day`` has the errors of the next day as forecast at ``issue_hour`` (see
    :func:`next_day_scores`).
    """

    rows: pd.DataFrame
    by_lead: pd.DataFrame
    by_region: pd.DataFrame
    bands: Mapping[str, BandScores]
    next_day: pd.DataFrame
    issue_hour: int
    measure: MeasureName


def score_rows(
    rows: pd.DataFrame,
    levels: Sequence[float],
    *,
    timezone: str,
    issue_hour: int,
    norms: Mapping[str, float] | None = None,
) -> Backtest:
    """The scores of ``rows`` (see :class:`Backtest`), with bands of these levels.

    ``issue_hour`` is when the next day is forecast, by the clocks of ``timezone``; ``norms`` is
    what errors of each region are told in percent of (MW; none: each hour's own load).
    """
    norm_N = norms_by_row(rows["region"], norms or {})
    next_day = next_day_scores(rows, timezone=timezone, issue_hour=issue_hour, norms=norms)
    return Backtest(
        rows, *_errors(rows, norm_N), _bands(rows, levels), next_day, issue_hour,
        measure_by(norms),
    )  # fmt: skip


def record_of(
    found: Backtest,
    model: str,
    model_sha256: str,
    levels: Sequence[float],
    *,
    beside: Sequence[str],
    first: np.datetime64,
    end: np.datetime64,
) -> BacktestScores:
    """The figures of ``model``, who is one of the contestants, beside the errors of some others."""
    bands = found.bands[model]
    by_lead, by_region = (
        each[each["contestant"].isin([model, *beside])] for each in (found.by_lead, found.by_region)
    )
    error = by_lead.groupby("contestant", observed=True)["error"].mean()
    columns = list(BAND_METRICS)
    return BacktestScores(
        model=model,
        model_sha256=model_sha256,
        first=str(first),
        end=str(end),
        horizon=int(found.by_lead["lead"].max()),
        num_forecasts=int((found.rows["contestant"] == model).sum()),
        error={str(name): float(value) for name, value in error.items()},
        measure=found.measure,
        share=100 * (levels[-1] - levels[0]),
        coverage=float(bands.by_lead["coverage"].mean()),
        winkler=float(bands.by_lead["winkler"].mean()),
        by_lead=tuple(
            LeadFigures(lead=int(lead), error=error, **figures)
            for lead, error, figures in _beside(by_lead, bands.by_lead, "lead", columns)
        ),
        by_region=tuple(
            RegionFigures(region=str(region), error=error, **figures)
            for region, error, figures in _beside(by_region, bands.by_region, "region", columns)
        ),
        by_level=tuple(
            LevelFigures(**{str(name): float(value) for name, value in each.items()})
            for each in bands.by_quantile[["level", "below", "pinball"]].to_dict("records")
        ),
        next_day=next_day_of(found.next_day, [model, *beside], issue_hour=found.issue_hour),
    )


def _beside(
    errors: pd.DataFrame, bands: pd.DataFrame, key: str, columns: Sequence[str]
) -> Iterator[tuple[Any, dict[str, float], dict[str, float]]]:
    """Of each lead or region that has bands: who had which error, and the scores of the bands."""
    error_of = {each: dict(zip(own["contestant"].astype(str), own["error"], strict=True))
                for each, own in errors.groupby(key, observed=True)}  # fmt: skip
    for each, figures in zip(bands[key], bands[columns].to_dict("records"), strict=True):
        yield each, error_of[each], {str(name): float(value) for name, value in figures.items()}


def _errors(rows: pd.DataFrame, norm_N: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """By lead, and by region."""
    truth, forecast = (rows[each].to_numpy() for each in ("y_true", "y_pred"))
    errors = rows[["contestant", "region", "lead"]].assign(
        error=percent_errors(truth, forecast, norm_N), mae=np.abs(truth - forecast)
    )
    each = errors.groupby(["contestant", "region", "lead"], observed=True)[_METRICS].mean()
    by_lead = each.groupby(["contestant", "lead"], observed=True).mean().reset_index()
    by_region = each.groupby(["contestant", "region"], observed=True).mean().reset_index()
    return by_lead, by_region


def _bands(rows: pd.DataFrame, levels: Sequence[float]) -> dict[str, BandScores]:
    return {
        str(name): score_bands(own, levels)
        for name, own in rows.groupby("contestant", observed=True)
        if own[quantile_column(levels[0])].notna().any()
    }


def paths_at_midnight(
    rows: pd.DataFrame, name: str, *, timezone: str, horizon: int, num_days: int
) -> pd.DataFrame:
    """Rows of a contestant that was issued at local midnight, each path beginning where one ended.

    The last ones of which the whole path has a truth, within ``num_days``; of the others nothing.
    """
    own: pd.DataFrame = rows[rows["contestant"] == name]
    local = own["issue_time"].dt.tz_convert(timezone)
    own = own[local.dt.hour == 0]
    num_known = own.groupby(["region", "issue_time"], observed=True)["lead"].transform("count")
    own = own[num_known == horizon]
    if own.empty:
        return own
    days_ago = (own["issue_time"].max() - own["issue_time"]).dt.round("D").dt.days
    every = -(-horizon // _DAY)
    own = own[(days_ago % every == 0) & (days_ago < num_days)]
    return own.reset_index(drop=True)
