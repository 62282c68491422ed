"""A model lived through a span: a forecast from every hour, as it would have been issued then.

What is known at an issue time, who reads what, and the bands of a day are those of a live forecast;
a year of them is computed at once.

Legend: ``N`` origins, ``K`` leads, ``R`` regions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gridcast.errors import UsageError
from gridcast.evaluation.backtest_scores import Backtest, score_rows
from gridcast.evaluation.forecasts import quantile_column
from gridcast.features.grid_hours import local_hours_from
from gridcast.forecasting.bands import offsets
from gridcast.forecasting.hindcast import (
    Hindcast,
    bands_by_day,
    first_learned,
    hindcast,
    num_leads_of,
)
from gridcast.forecasting.rolling import rolling_table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from gridcast.config import Config, ForecastingConfig
    from gridcast.forecasting.bands import BandState
    from gridcast.forecasting.model import ForecastModel

_DAY = 24
_MOST_REGIONS = 64  # whose rows are made: of more every so-and-so-many-th


def backtest(
    model: ForecastModel,
    frame: pd.DataFrame,
    since: Mapping[str, str],
    *,
    first: np.datetime64,
    end: np.datetime64,
    horizon: int,
) -> Backtest:
    """Issue forecasts at every hour from ``first`` to before ``end``, and score them.

    Args:
        model: with the settings of a live forecast.
        frame: rows of ``FeatureTable.frame``, from some weeks before ``first`` on.
        since: the first hour of each region that the model was not trained on; what comes before
            is not forecast.
        first: a day (UTC).
        end: a day.
        horizon: leads that are scored, at most ``forecasting.horizon``.

    Raises:
        UsageError: no region has an hour with a truth in this span that is new to the model.
    """
    config = model.config
    num_leads = num_leads_of(config.forecasting)
    table = rolling_table(
        frame, model.scales, config, num_leads=num_leads, covariates=model.covariates
    )
    # The truth of the last forecasts comes in the days after.
    days_ahead = np.timedelta64(1 - -num_leads // _DAY, "D")
    past = hindcast(
        model.as_contestants(model.name), table, frame, since, config,
        first=first_learned(first, config.forecasting), end=end + days_ahead,
    )  # fmt: skip
    scored = score_hindcast(
        past, config.forecasting, model.regions, first=first, end=end, horizon=horizon,
        norms=model.norms,
    )  # fmt: skip
    if scored is None:
        oldest = min(since.values(), default="nowhere")
        where, found = "the span", f"no hour from {first} to {end} that the model had not been told"
        raise UsageError(where, found=found, expected=f"hours from {oldest} on")
    return scored


def beside_refits(
    once: Backtest,
    refits: Sequence[pd.DataFrame],
    config: Config,
    *,
    name: str,
    norms: Mapping[str, float] | None = None,
) -> Backtest:
    """A span lived through with models trained anew as it went on, beside one that was not.

    All are scored on the same labels: those of which the refitted models and ``once`` have a
    forecast.

    Args:
        once: by a model that was trained before the span, and what may stand in for it.
        refits: rows of ``Backtest.rows`` of each model, from its training to the next one.
        config: of the models.
        name: of the contestant that the refits are; it comes first.
        norms: as :func:`score_rows` has them.
    """
    anew = pd.concat([each.astype({"region": str}) for each in refits], ignore_index=True)
    others = once.rows.astype({"region": str, "contestant": str})
    rows = pd.concat([anew.assign(contestant=name), others], ignore_index=True)
    regions = sorted(set(others["region"]))
    region = pd.Categorical(rows["region"], categories=regions)
    label = rows["issue_time"].astype("int64") * len(regions) + region.codes
    is_anew = (rows["contestant"] == name).to_numpy()
    both = np.intersect1d(label[is_anew], label[~is_anew])
    names = [name, *map(str, once.rows["contestant"].cat.categories)]
    rows = rows.assign(
        region=region, contestant=pd.Categorical(rows["contestant"], categories=names)
    )
    is_told = np.isin(label, both) & (region.codes >= 0)
    own = config.forecasting
    return score_rows(
        rows[is_told].reset_index(drop=True), own.quantiles,
        timezone=config.ingestion.timezone, issue_hour=own.next_day_hour, norms=norms,
    )  # fmt: skip


def score_hindcast(
    past: Hindcast,
    config: ForecastingConfig,
    regions: Sequence[str],
    *,
    first: np.datetime64,
    end: np.datetime64,
    horizon: int,
    norms: Mapping[str, float] | None = None,
    banded: Collection[str] | None = None,
) -> Backtest | None:
    """What each contestant would have issued from ``first`` to before ``end``, and its scores.

    Of at most 64 regions, spread over all of them; the bands are made of the errors of all. None
    where no hour has a truth. ``norms`` as :func:`score_rows` has them. ``past``
    goes back to :func:`first_learned` of ``first``; ``regions`` in the order of their numbers.
    Of ``banded`` alone the bands are made, which take most of the time; None: of all.
    """
    tables = []
    for number, name in enumerate(past.forecasts):
        has_bands = banded is None or name in banded
        days = _days(past, name, config, first=first, end=end, has_bands=has_bands)
        rows = _rows(past, name, days, config.quantiles, horizon=horizon)
        tables.append(rows.assign(contestant=number))
    rows = pd.concat(tables, ignore_index=True)
    if rows.empty:
        return None
    rows = _named(rows, list(past.forecasts), regions)
    return score_rows(
        rows, config.quantiles, timezone=past.timezone, issue_hour=config.next_day_hour, norms=norms
    )


def _days(
    past: Hindcast,
    name: str,
    own: ForecastingConfig,
    *,
    first: np.datetime64,
    end: np.datetime64,
    has_bands: bool,
) -> Iterator[tuple[np.datetime64, BandState | None]]:
    """Each day that is scored, with a contestant's bands of it or without."""
    if not has_bands:
        yield from ((day, None) for day in np.arange(first, end))
        return
    for state in bands_by_day(past.errors(name), own, first=first):
        if state.day < end:
            yield state.day, state


def _rows(
    past: Hindcast,
    name: str,
    days: Iterable[tuple[np.datetime64, BandState | None]],
    levels: Sequence[float],
    *,
    horizon: int,
) -> pd.DataFrame:
    """Those of one contestant, day after day; without bands the quantiles are NaN."""
    day_N = past.issue_time_N.astype("datetime64[D]")
    is_told_N = past.region_N % -(-past.num_regions // _MOST_REGIONS) == 0
    tables = []
    for day, state in days:
        at = np.flatnonzero((day_N == day) & is_told_N)
        if not len(at):
            continue
        forecast_NK = past.forecasts[name][at, :horizon]
        offset_NKQ = np.full((*forecast_NK.shape, len(levels)), np.nan)
        hour_NK = local_hours_from(past.issue_time_N[at], horizon, past.timezone)
        if state is not None:
            lead_NK = np.broadcast_to(np.arange(1, horizon + 1), forecast_NK.shape)
            offset_NKQ = offsets(
                state, forecast_NK, region_B=past.region_N[at], lead_BK=lead_NK, hour_BK=hour_NK
            )
        tables.append(_long(past, at, forecast_NK, offset_NKQ, hour_NK, levels))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _long(
    past: Hindcast,
    at: np.ndarray,
    forecast_NK: np.ndarray,
    offset_NKQ: np.ndarray,
    hour_NK: np.ndarray,
    levels: Sequence[float],
) -> pd.DataFrame:
    """A row a forecast whose truth is known; ``offset_NKQ`` is how far quantiles lie above it."""
    num_leads = forecast_NK.shape[1]
    time_NK = past.issue_time_N[at][:, None] + np.arange(num_leads).astype("timedelta64[h]")
    quantile_NKQ = forecast_NK[..., None] + offset_NKQ
    truth_NK = past.truth_NK[at, :num_leads]
    known = np.flatnonzero(~np.isnan(truth_NK.reshape(-1)))
    place, lead = np.divmod(known, num_leads)
    quantiles = quantile_NKQ.reshape(-1, len(levels))[known]
    early = past.minutes_early_R[past.region_N[at][place]].astype("timedelta64[m]")
    return pd.DataFrame(
        {
            "region": past.region_N[at][place],
            "issue_time": past.issue_time_N[at][place],
            "timestamp": time_NK.reshape(-1)[known].astype("datetime64[us]") - early,
            "lead": lead.astype("int16") + 1,
            "local_hour": hour_NK.reshape(-1)[known].astype("int8"),
            "y_true": truth_NK.reshape(-1)[known],
            "y_pred": forecast_NK.reshape(-1)[known],
            **{quantile_column(each): quantiles[:, n] for n, each in enumerate(levels)},
        }
    )


def _named(rows: pd.DataFrame, names: Sequence[str], regions: Sequence[str]) -> pd.DataFrame:
    """Names for numbers, UTC for times."""
    return rows.assign(
        contestant=pd.Categorical.from_codes(rows["contestant"].to_numpy(), pd.Index(names)),
        region=pd.Categorical.from_codes(rows["region"].to_numpy(), pd.Index(regions)),
        issue_time=rows["issue_time"].dt.tz_localize("UTC"),
        timestamp=rows["timestamp"].dt.tz_localize("UTC"),
    )
