"""All contestants on the same labels: one table of forecasts, one of scores.

Legend: ``T`` steps, ``N`` labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from gridcast.baselines import NAIVE_LAGS, naive_forecasts
from gridcast.metrics import mae, mase, rmse, seasonal_naive_mae, smape
from gridcast.splits import PARTS, TEST, TRAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

OVERALL = "ALL"
MOST_TOLD = 24  # regions
_ABOUT_LABELS = ("region", "timestamp", "local_hour", "ahead", "y_true")


def collect_forecasts(table: pd.DataFrame, models: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The test labels with the truth, each model's forecast and the naive ones, in MW.

    Args:
        table: ``FeatureTable.frame``.
        models: name to a job's forecasts (``step``, ``ahead``, ``part``, ``y_pred``).

    Returns:
        One row a label and ``ahead``: ``region``, ``timestamp``, ``local_hour``, ``ahead``,
        ``y_true``, then a column a contestant, the models first.
    """
    joined = _joined(models)
    step_N, ahead_N = joined["step"].to_numpy(), joined["ahead"].to_numpy()
    naive = naive_forecasts(
        table["input_mw"].to_numpy(), table["region"].cat.codes.to_numpy(), step_N, ahead_N
    )
    about = table.iloc[step_N][["region", "timestamp", "local_hour"]].reset_index(drop=True)
    truth = {"ahead": ahead_N, "y_true": table["load_mw"].to_numpy()[step_N]}
    return about.assign(**truth, **{name: joined[name].to_numpy() for name in models}, **naive)


def _joined(models: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """``step``, ``ahead`` and a column a model, of the test labels that all models forecast."""
    keys = ["step", "ahead"]
    joined: pd.DataFrame | None = None
    for name, forecasts in models.items():
        is_test = forecasts["part"] == PARTS[TEST]
        own = forecasts.loc[is_test, [*keys, "y_pred"]].rename(columns={"y_pred": name})
        joined = own if joined is None else joined.merge(own, on=keys)
    if joined is None:
        message = "at least one model"
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
        for contestant in forecasts.columns.difference(list(_ABOUT_LABELS), sort=False):
            y_pred = labels[contestant].to_numpy()
            rows.append(
                {
                    "contestant": contestant,
                    "kind": "naive" if contestant in NAIVE_LAGS else "model",
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
