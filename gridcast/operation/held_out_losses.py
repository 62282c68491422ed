"""What models would have lost on labels that none of them was fitted to: a loss an issue time.

A model's labels are those of its validation part: of what comes before it was told the truth, and
what comes after is its test part, on which nothing is decided.

Legend: ``N`` origins, ``K`` leads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gridcast.evaluation.measure import norms_by_row, percent_errors
from gridcast.features.table import build_features
from gridcast.forecasting.hindcast import Hindcast, hindcast, num_leads_of
from gridcast.forecasting.issue import utc_day_of
from gridcast.forecasting.rolling import rolling_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridcast.forecasting.model import ForecastModel

_HOUR = pd.Timedelta(hours=1)


def held_out_losses(
    name: str,
    model: ForecastModel,
    readings: Mapping[str, pd.DataFrame],
    since: Mapping[str, str],
    until: Mapping[str, str],
    *,
    leads: int,
    norms: Mapping[str, float] | None = None,
) -> dict[str, pd.DataFrame]:
    """Losses (percent, the mean of ``leads``) of the model and of the naive forecasts.

    By issue time (UTC), a column a region; NaN where not all leads have a truth. The model's stand
    under ``name``.

    Args:
        name: what the model is called.
        model: its forecasts are those that it would have issued.
        readings: as published, by region, from some weeks before on.
        since: of each region the first hour (ISO, UTC) that may be a label.
        until: the first one that may not be any more; a region without: to its end.
        leads: at most those of the model.
        norms: what errors of each region are told in percent of (MW), so that both sides of a
            contest are judged alike; none: as those of the model are.
    """
    known = {
        region: _before(own, until.get(region)) for region, own in readings.items() if len(own)
    }
    known = {region: own for region, own in known.items() if len(own) and region in model.scales}
    if not known:
        return {}
    asked = model.config.forecasting.model_copy(update={"horizon": leads, "max_stale_hours": 0})
    config = model.config.model_copy(update={"forecasting": asked})
    frame = build_features(
        known, config, covariates=model.covariates, scales=model.scales, regions=model.regions
    ).frame
    table = rolling_table(
        frame, model.scales, config, num_leads=num_leads_of(asked), covariates=model.covariates
    )
    last = frame["timestamp"].max()
    first = min((pd.Timestamp(each) for each in since.values()), default=last)
    past = hindcast(
        model.as_contestants(name), table, frame, since, config,
        first=utc_day_of(first), end=utc_day_of(last + _HOUR) + np.timedelta64(1, "D"),
    )  # fmt: skip
    norm_R = norms_by_row(pd.Series(model.regions), model.norms if norms is None else norms)
    return {
        contestant: losses_of(past, contestant, model.regions, leads=leads, norm_R=norm_R)
        for contestant in past.forecasts
    }


def _before(readings: pd.DataFrame, until: str | None) -> pd.DataFrame:
    if until is None:
        return readings
    return readings[readings["timestamp"] < pd.Timestamp(until)]


def losses_of(
    past: Hindcast, name: str, regions: list[str], *, leads: int, norm_R: np.ndarray
) -> pd.DataFrame:
    """The mean over ``leads`` of a contestant's errors, percent (``norm_R``: see ``norms_of``)."""
    truth_NK, forecast_NK = past.truth_NK[:, :leads], past.forecasts[name][:, :leads]
    percent_NK = percent_errors(truth_NK, forecast_NK, norm_R[past.region_N][:, None])
    loss_N = percent_NK.mean(axis=1)  # NaN: a truth is not known
    index = pd.DatetimeIndex(past.issue_time_N).tz_localize("UTC")
    long = pd.DataFrame({"issue_time": index, "region": past.region_N, "loss": loss_N})
    wide = long.pivot_table(index="issue_time", columns="region", values="loss")
    return wide.rename(columns=dict(enumerate(regions))).rename_axis(index=None, columns=None)
