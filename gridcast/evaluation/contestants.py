"""All contestants on the same labels: one table of forecasts, one of scores.

Legend: ``T`` steps, ``N`` labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd

from gridcast.config import Fitted
from gridcast.evaluation.metrics import mae, mase, rmse, seasonal_naive_mae, smape
from gridcast.evaluation.naive_forecasts import NAIVE_LAGS, naive_forecasts
from gridcast.features.splits import PARTS, TEST, TRAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ContestantKind = Literal["model", "mean", "fitted", "naive"]

OVERALL = "ALL"
MEAN_OF_ALL = "mean-all"
MOST_TOLD = 24  # regions
_MEAN, _SEED = "mean-", "-seed"
_ABOUT_LABELS = ("region", "timestamp", "local_hour", "ahead", "y_true")


def kind_of(contestant: str) -> ContestantKind:
    """What a contestant of this name is.

    >>> [kind_of(name) for name in ("gru-seed0", "mean-seed0", "linear", "persistence")]
    ['model', 'mean', 'fitted', 'naive']
    """
    if contestant in NAIVE_LAGS:
        return "naive"
    if contestant in get_args(Fitted):
        return "fitted"
    return "mean" if contestant.startswith(_MEAN) else "model"


def mean_members(jobs: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Which means there are of these jobs' forecasts, and of whose.

    One of the cells of each seed, where there are at least two; where there are several seeds, one
    of all jobs.

    >>> mean_members(["gru-seed0", "lstm-seed0"])
    {'mean-seed0': ('gru-seed0', 'lstm-seed0')}
    >>> mean_members(["gru-seed0", "gru-seed1"])
    {'mean-all': ('gru-seed0', 'gru-seed1')}
    """
    by_seed: dict[str, list[str]] = {}
    for job in jobs:
        by_seed.setdefault(job.partition(_SEED)[2], []).append(job)
    means = {f"mean{_SEED}{seed}": own for seed, own in by_seed.items() if len(own) > 1}
    if len(by_seed) > 1:
        means[MEAN_OF_ALL] = [job for own in by_seed.values() for job in own]
    return {name: tuple(members) for name, members in means.items()}


def collect_forecasts(
    table: pd.DataFrame, jobs: Mapping[str, pd.DataFrame], *, part: int = TEST
) -> pd.DataFrame:
    """The labels of ``part`` with the truth and every contestant's forecast, in MW.

    Args:
        table: ``FeatureTable.frame``.
        jobs: name of a model or fitted baseline to its forecasts (``step``, ``ahead``, ``part``,
            ``y_pred``).
        part: see ``splits``.

    Returns:
        One row a label and ``ahead`` that all jobs have forecast: ``region``, ``timestamp``,
        ``local_hour``, ``ahead``, ``y_true``, then a column a contestant: the models, their means
        (see :func:`mean_members`), the fitted baselines, the naive forecasts.
    """
    joined = _joined(jobs, part)
    step_N, ahead_N = joined["step"].to_numpy(), joined["ahead"].to_numpy()
    naive = naive_forecasts(
        table["input_mw"].to_numpy(), table["region"].cat.codes.to_numpy(), step_N, ahead_N
    )
    about = table.iloc[step_N][["region", "timestamp", "local_hour"]].reset_index(drop=True)
    truth = {"ahead": ahead_N, "y_true": table["load_mw"].to_numpy()[step_N]}
    models, fitted = (
        {name: joined[name].to_numpy() for name in jobs if kind_of(name) == kind}
        for kind in ("model", "fitted")
    )
    means = {
        name: np.mean([models[member] for member in members], axis=0)
        for name, members in mean_members(models).items()
    }
    return about.assign(**truth, **models, **means, **fitted, **naive)


def _joined(jobs: Mapping[str, pd.DataFrame], part: int) -> pd.DataFrame:
    """``step``, ``ahead`` and a column a job, of the labels of ``part`` that all have forecast."""
    keys = ["step", "ahead"]
    joined: pd.DataFrame | None = None
    for name, forecasts in jobs.items():
        is_wanted = forecasts["part"] == PARTS[part]
        own = forecasts.loc[is_wanted, [*keys, "y_pred"]].rename(columns={"y_pred": name})
        joined = own if joined is None else joined.merge(own, on=keys)
    if joined is None:
        message = "at least one job"
        raise ValueError(message)
    return joined.sort_values(keys, ignore_index=True)


def score_contestants(
    forecasts: pd.DataFrame, table: pd.DataFrame, *, season_length: int
) -> pd.DataFrame:
    """SMAPE (percent), MAE and RMSE (MW) and MASE of each contestant, by region and overall.

    Overall (region ``ALL``) is the mean over the regions, as the article has it.
    """
    rows = []
    history = table["load_mw"].where(table["part"] == TRAIN)  # gaps stay gaps
    rows_of = table.groupby("region", observed=True).indices
    for region, labels in forecasts.groupby("region", observed=True):
        own = history.to_numpy()[rows_of[region]]
        naive_mae = seasonal_naive_mae(own, season_length=season_length)
        y_true = labels["y_true"].to_numpy()
        for contestant in _contestants(forecasts):
            y_pred = labels[contestant].to_numpy()
            rows.append(
                {
                    "contestant": contestant,
                    "kind": kind_of(contestant),
                    "region": region,
                    "smape": smape(y_true, y_pred),
                    "mae": mae(y_true, y_pred),
                    "rmse": rmse(y_true, y_pred),
                    "mase": mase(y_true, y_pred, naive_mae=naive_mae),
                    "num_labels": len(labels),
                }
            )
    scores = pd.DataFrame(rows)
    overall = scores.groupby(["contestant", "kind"], sort=False, as_index=False).agg(
        {"smape": "mean", "mae": "mean", "rmse": "mean", "mase": "mean", "num_labels": "sum"}
    )
    return pd.concat([scores, overall.assign(region=OVERALL)], ignore_index=True)


def mean_smapes(forecasts: pd.DataFrame) -> dict[str, float]:
    """Each contestant's sMAPE (percent), the mean over the regions; empty if there are no labels.

    It takes nothing but forecasts and truth, so that of the validation part it can be had before
    anybody looks at the test part.
    """
    regions = [labels for _, labels in forecasts.groupby("region", observed=True)]
    return {
        name: float(
            np.mean([smape(each["y_true"].to_numpy(), each[name].to_numpy()) for each in regions])
        )
        for name in (_contestants(forecasts) if regions else ())
    }


def smape_by_region(scores: pd.DataFrame, contestant: str) -> dict[str, float]:
    """One contestant's sMAPE (percent) by region, without the overall figure."""
    own = scores[(scores["contestant"] == contestant) & (scores["region"] != OVERALL)]
    return dict(zip(own["region"].astype(str), own["smape"].astype(float), strict=True))


def told_regions(errors: Mapping[str, float]) -> list[str]:
    """The regions that pages and pictures name, in order: all, or those of both ends.

    Of more than ``MOST_TOLD`` the largest and the smallest of ``errors``, half of each: what lies
    between is told by its distribution.
    """
    if len(errors) <= MOST_TOLD:
        return sorted(errors)
    by_error = sorted(errors, key=lambda region: (errors[region], region))
    half = MOST_TOLD // 2
    return sorted([*by_error[:half], *by_error[-half:]])


def overall_scores(scores: pd.DataFrame, contestant: str) -> dict[str, float]:
    """One contestant's overall ``smape``, ``mae``, ``rmse`` and ``mase``."""
    own = scores[(scores["contestant"] == contestant) & (scores["region"] == OVERALL)].iloc[0]
    return {name: float(own[name]) for name in ("smape", "mae", "rmse", "mase")}


def _contestants(forecasts: pd.DataFrame) -> list[str]:
    return [str(name) for name in forecasts.columns if name not in _ABOUT_LABELS]
