"""Who forecasts a region: the network its first leads, what stands in the others; and their rows.

Legend: ``N`` regions at an issue time, ``H`` hours that are told from it on, ``K`` leads, ``Q``
quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gridcast.evaluation.forecasts import quantile_column
from gridcast.features.grid_hours import local_hours_from
from gridcast.forecasting.bands import offsets
from gridcast.forecasting.model import NETWORK, stand_ins_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gridcast.forecasting.calibration import Calibration
    from gridcast.forecasting.model import ForecastModel


@dataclass(frozen=True, slots=True)
class Maker:
    """Who forecasts a region: the network its first leads, the stand-in the others, and why."""

    num_network_leads: float  # counted from the last known hour on; infinite: all
    stand_in: str
    reason: str


def maker_of(
    doubt: str, region: int, calibrations: Mapping[str, Calibration], *, least_errors: float
) -> Maker:
    """By the errors on the validation part, or by the ``doubt`` in what is known (empty: none).

    One change from the network to a naive forecast, at the lead at which the sum of the errors is
    the least: a choice lead by lead would make a path of two by chance. From there on the naive
    forecast has to be better by ``least_errors`` standard errors of the difference.
    """
    error_K = {name: each.error_RK[region] for name, each in calibrations.items()}
    stand_ins = stand_ins_of(calibrations)
    margin_K = {name: _margin(calibrations[name], region, least_errors) for name in stand_ins}
    makers = [
        (*_best_change(error_K[NETWORK], error_K[name], margin_K[name]), name) for name in stand_ins
    ]
    _, num_leads, stand_in = min(makers, key=itemgetter(0))
    if doubt:
        stand_in = min(stand_ins, key=lambda name: _mean(error_K[name]))
        return Maker(0, stand_in, doubt)
    if num_leads == len(error_K[NETWORK]):
        return Maker(np.inf, stand_in, "")
    naive, network = _mean(error_K[stand_in][num_leads:]), _mean(error_K[NETWORK][num_leads:])
    since = f"from lead {num_leads + 1} on " if num_leads else ""
    margin = margin_K[stand_in][num_leads]
    by_chance = f"; chance gives {margin:.2f}" if margin else ""
    reason = (
        f"{since}it is better than the network on the validation part "
        f"({naive:.2f} % against {network:.2f} %{by_chance})"
    )
    return Maker(num_leads, stand_in, reason)


def makers_of(model: ForecastModel) -> list[Maker]:
    """Of each region of a model, where there is no doubt in what is known of it."""
    least = model.config.forecasting.stand_in_errors
    numbers = range(len(model.regions))
    return [maker_of("", number, model.calibrations, least_errors=least) for number in numbers]


def _margin(calibration: Calibration, region: int, least_errors: float) -> np.ndarray:
    """By how much it has to be better over the leads from each on, ``(K,)``."""
    if calibration.gain_error_RK is None:
        return np.zeros(calibration.error_RK.shape[1])
    if not least_errors:
        return np.zeros_like(calibration.gain_error_RK[region])
    return np.asarray(least_errors * calibration.gain_error_RK[region])


def _best_change(
    network_K: np.ndarray, naive_K: np.ndarray, margin_K: np.ndarray
) -> tuple[float, int]:
    """The least sum of errors, and of how many first leads the network then makes the forecast.

    Of equal sums the most of the network; leads without a known error count nothing. Where the mean
    gain over the leads from one on is within the margin, there is no change at it.
    """
    gain_K = np.nan_to_num(network_K - naive_K)
    num_K = np.cumsum(~np.isnan(network_K - naive_K)[::-1])[::-1]
    rest_K = np.cumsum(gain_K[::-1])[::-1]
    is_chance_K = rest_K <= margin_K * np.maximum(num_K, 1)
    sums = np.concatenate([[0.0], np.cumsum(gain_K)])
    sums[:-1][is_chance_K] = np.inf
    num_leads = len(sums) - 1 - int(np.argmin(sums[::-1]))
    return float(np.nansum(naive_K) + sums[num_leads]), num_leads


def _mean(error_K: np.ndarray) -> float:
    """Of the known errors; infinite where there is none."""
    known = error_K[~np.isnan(error_K)]
    return float(known.mean()) if len(known) else float("inf")


@dataclass(frozen=True, slots=True)
class ToTell:
    """The regions of which rows are wanted, each at its issue time.

    ``place_NH`` counts the hours from the one after the last known one on, from 0: an hour between
    that and the issue time is forecast too, and not told. ``lacking_NH`` is what a network did not
    know of covariates, as text; none: nothing is lacking.
    """

    region_N: np.ndarray  # number of the region
    issue_N: np.ndarray  # datetime64[h], UTC
    place_NH: np.ndarray
    makers: Sequence[Maker]
    lacking_NH: np.ndarray | None = None


def rows_by_maker(
    model: ForecastModel,
    asked: ToTell,
    forecast_of: Callable[[str, np.ndarray], np.ndarray],
) -> pd.DataFrame:
    """A row a region, issue time and hour, each by its maker with its maker's band.

    ``region``, ``issue_time``, ``timestamp`` (UTC), ``lead`` (h), ``load_mw`` and the quantiles
    (MW), ``fallback`` (empty: the network), ``fallback_reason``. ``forecast_of`` gives what a
    contestant forecasts for some of the regions, by their places, MW ``(those, H)``.
    """
    num, horizon = asked.place_NH.shape
    num_own_N = np.array([each.num_network_leads for each in asked.makers])
    is_network_NH = asked.place_NH < num_own_N[:, None]
    names = [NETWORK, *model.stand_ins]
    stand_in_N = np.array([names.index(each.stand_in) for each in asked.makers], dtype=np.int64)
    maker_NH = np.where(is_network_NH, 0, stand_in_N[:, None])
    forecast_NH, offset_NHQ = _made(model, asked, names, maker_NH, forecast_of)
    lead = np.tile(np.arange(1, horizon + 1), num)
    issued = asked.issue_N.astype("datetime64[us]").repeat(horizon)
    columns: dict[str, Any] = {
        "region": _texts(model.regions, asked.region_N.repeat(horizon)),
        "issue_time": _utc(issued),
        "timestamp": _utc(issued + (lead - 1).astype("timedelta64[h]")),
        "lead": lead,
        "load_mw": forecast_NH.reshape(-1),
    }
    for place, level in enumerate(model.calibrations[NETWORK].bands.level_Q):
        columns[quantile_column(level)] = (forecast_NH + offset_NHQ[..., place]).reshape(-1)
    columns["fallback"] = _texts(["", *names[1:]], maker_NH.reshape(-1))
    columns["fallback_reason"] = _reasons(asked, is_network_NH)
    return pd.DataFrame(columns)


def _made(
    model: ForecastModel,
    asked: ToTell,
    names: Sequence[str],
    maker_NH: np.ndarray,
    forecast_of: Callable[[str, np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """MW by the makers, ``(N, H)``, and how far their quantiles lie above it, ``(N, H, Q)``."""
    num_hours = maker_NH.shape[1]
    hour_NH = local_hours_from(asked.issue_N, num_hours, model.config.ingestion.timezone)
    forecast_NH = np.empty(maker_NH.shape)
    offset_NHQ = np.empty((*maker_NH.shape, len(model.calibrations[NETWORK].bands.level_Q)))
    for number, name in enumerate(names):
        at = np.flatnonzero((maker_NH == number).any(axis=1))
        if not len(at):
            continue
        made_NH = forecast_of(name, at)
        made_NHQ = offsets(
            model.calibrations[name].bands, made_NH, region_B=asked.region_N[at],
            lead_BK=asked.place_NH[at] + 1, hour_BK=hour_NH[at],
        )  # fmt: skip
        is_own_NH = maker_NH[at] == number
        forecast_NH[at] = np.where(is_own_NH, made_NH, forecast_NH[at])
        offset_NHQ[at] = np.where(is_own_NH[..., None], made_NHQ, offset_NHQ[at])
    return forecast_NH, offset_NHQ


def _reasons(asked: ToTell, is_network_NH: np.ndarray) -> Any:  # noqa: ANN401 - pandas' text
    """Why the network did not make a row, or what it did not know."""
    reasons = ["", *dict.fromkeys(each.reason for each in asked.makers)]
    own_N = np.array([reasons.index(each.reason, 1) for each in asked.makers], dtype=np.int64)
    number_NH = np.where(is_network_NH, 0, own_N[:, None])
    if asked.lacking_NH is None:
        return _texts(reasons, number_NH.reshape(-1))
    of_maker_NH = np.array(reasons, dtype=object)[number_NH]
    return np.where(is_network_NH, asked.lacking_NH, of_maker_NH).reshape(-1).astype(str)


def _texts(texts: Sequence[str], number_M: np.ndarray) -> Any:  # noqa: ANN401 - pandas' text
    """The text of each number: pandas' own column, which takes no object a row."""
    return pd.array(list(texts), dtype="str").take(number_M)


def _utc(time_M: np.ndarray) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(time_M).tz_localize("UTC")
