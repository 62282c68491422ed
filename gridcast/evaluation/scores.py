"""How well contestants forecast: by region, by lead, by hour; overall in a table of its own.

The project's headline figures are means over the regions, as the article has it; they stand in
``overall`` and never among the regions, whose names are anybody's.

Legend: ``N`` labels, ``G`` groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gridcast.evaluation.measure import SMAPE, MeasureName, mean_load, percent_errors
from gridcast.evaluation.metrics import relative_errors, seasonal_naive_mae
from gridcast.features.label_days import label_days
from gridcast.features.splits import TRAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gridcast.evaluation.contestants import Contestant
    from gridcast.evaluation.forecasts import Forecasts
    from gridcast.features.windows import Ints

METRICS = ("smape", "nmae", "mae", "rmse", "mase")
_FIGURES = (*METRICS, "under")
MAX_SHOWN_REGIONS = 24  # regions


@dataclass(frozen=True, slots=True)
class Scores:
    """``METRICS`` (percent, MW) and ``num_labels`` in each table.

    ``under`` too: the share of the labels (percent) that were taken for less than they became.
    ``overall``: a row a contestant, the mean over the regions; it has its ``kind`` too.
    ``by_region``: a row a contestant and ``region``. ``by_lead``, ``by_hour``,
    ``by_month``, ``by_holiday``: a row a contestant and ``lead`` (steps), ``local_hour`` (0 to 23),
    local ``month`` (1 to 12) or ``holiday`` (1 in a public one, else 0), the mean over the regions
    that have such labels.
    """

    overall: pd.DataFrame
    by_region: pd.DataFrame
    by_lead: pd.DataFrame
    by_hour: pd.DataFrame
    by_month: pd.DataFrame
    by_holiday: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """Each by its name."""
        return {name: getattr(self, name) for name in SCORE_KEYS}

    def of(self, contestants: Iterable[Contestant]) -> Scores:
        """The rows of these alone."""
        names = {each.name for each in contestants}
        return Scores(
            **{
                name: table[table["contestant"].isin(names)].reset_index(drop=True)
                for name, table in self.tables().items()
            }
        )


# Of each table of scores the columns that tell a row.
SCORE_KEYS: Mapping[str, tuple[str, ...]] = {
    "overall": ("contestant", "kind"),
    "by_region": ("contestant", "region"),
    "by_lead": ("contestant", "lead"),
    "by_hour": ("contestant", "local_hour"),
    "by_month": ("contestant", "month"),
    "by_holiday": ("contestant", "holiday"),
}


def score_forecasts(
    tables: Iterable[pd.DataFrame],
    contestants: Sequence[Contestant],
    *,
    naive_mae: Mapping[str, float],
    mean_mw: Mapping[str, float],
    calendars: Mapping[str, tuple[str, str | None]] | None = None,
) -> Scores:
    """The scores of forecasts that stand beside their truth.

    Args:
        tables: the long table (see :mod:`gridcast.evaluation.forecasts`), whole or in pieces; all
            rows of a contestant stand in one of them.
        contestants: who they are, in the order of the scores.
        naive_mae: region to the scale of MASE (MW), see :func:`naive_maes`.
        mean_mw: region to that of the nMAE (MW), see :func:`mean_loads`.
        calendars: region to zone and holidays, see :func:`gridcast.features.label_days`.
    """
    scored = {
        name: _score(own, naive_mae, mean_mw, calendars or {})
        for table in tables
        for name, own in _by_contestant(table)
    }
    present = [each for each in contestants if each.name in scored]
    return Scores(
        **{
            name: _table(name, [(each, scored[each.name][name]) for each in present])
            for name in SCORE_KEYS
        }
    )


def mean_errors(forecasts: Forecasts, norms: Mapping[str, float]) -> dict[str, float]:
    """Each contestant's error (percent), the mean over the regions; empty if there are no labels.

    That of ``score_forecasts(...).overall``, without all that else stands there: the nMAE with
    ``norms`` (MW, by region), of a region without one its sMAPE.
    """
    if forecasts.labels.empty:
        return {}
    region_N = _codes(forecasts.labels["region"])
    y_true_N = forecasts.labels["y_true"].to_numpy()
    num_R = np.bincount(region_N)
    names = forecasts.labels["region"].cat.categories
    norm_N = np.array([norms.get(str(name), np.nan) for name in names])[region_N]
    return {
        each.name: float(
            np.mean(
                (np.bincount(region_N, percent_errors(y_true_N, own, norm_N)) / num_R)[num_R > 0]
            )
        )
        for each, own in forecasts.y_pred.items()
    }


_Columns = dict[str, np.ndarray]


def _by_contestant(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    names, codes = table["contestant"].cat.categories, table["contestant"].cat.codes.to_numpy()
    if len(table) and (codes == codes[0]).all():
        yield str(names[codes[0]]), table
        return
    for code in np.unique(codes):
        yield str(names[code]), table[codes == code]


def _score(
    rows: pd.DataFrame,
    naive_mae: Mapping[str, float],
    mean_mw: Mapping[str, float],
    calendars: Mapping[str, tuple[str, str | None]],
) -> dict[str, _Columns]:
    """Of one contestant, what each table has of it."""
    errors = _label_errors(rows)
    regions = np.array([str(name) for name in rows["region"].cat.categories], dtype=object)
    scale_R = np.array([naive_mae.get(region, np.nan) for region in regions])
    mean_R = np.array([mean_mw.get(region, np.nan) for region in regions])
    region_N = _codes(rows["region"])

    days = label_days(rows, calendars)

    def mean_over_regions(key: str, code_N: Ints) -> _Columns:
        num_codes = int(code_N.max(initial=0)) + 1
        groups = _group_means(errors, region_N * num_codes + code_N)
        region_G, code_G = np.divmod(groups.pop("group"), num_codes)
        return _means(_metrics(groups, scale_R[region_G], mean_R[region_G]), code_G, key)

    groups = _group_means(errors, region_N)
    region_G = groups.pop("group")
    metrics = _metrics(groups, scale_R[region_G], mean_R[region_G])
    overall = _means(metrics, np.zeros(len(region_G), dtype="int64"), "one")
    del overall["one"]
    return {
        "overall": overall,
        "by_region": {"region": regions[region_G], **metrics},
        "by_lead": mean_over_regions("lead", rows["lead"].to_numpy("int64")),
        "by_hour": mean_over_regions("local_hour", rows["local_hour"].to_numpy("int64")),
        "by_month": mean_over_regions("month", days.month_N),
        "by_holiday": mean_over_regions("holiday", days.holiday_N),
    }


def _codes(regions: pd.Series[Any]) -> Ints:
    codes: Ints = regions.cat.codes.to_numpy().astype(np.int64)
    return codes


def _label_errors(rows: pd.DataFrame) -> _Columns:
    """What the metrics are means of, label by label."""
    y_true, y_pred = rows["y_true"].to_numpy(), rows["y_pred"].to_numpy()
    error = y_pred - y_true
    return {
        "relative": relative_errors(y_true, y_pred),
        "absolute": np.abs(error),
        "squared": error**2,
        "under": (error < 0).astype(float),
    }


def _group_means(values: _Columns, group_N: Ints) -> _Columns:
    """``group`` (ascending), the mean of each of ``values`` in it, and its ``num_labels``."""
    num_all = np.bincount(group_N)
    group_G = np.flatnonzero(num_all)
    num_G = num_all[group_G]
    means = {name: np.bincount(group_N, value)[group_G] / num_G for name, value in values.items()}
    return {"group": group_G, **means, "num_labels": num_G}


def _metrics(groups: _Columns, scale_G: np.ndarray, mean_G: np.ndarray) -> _Columns:
    """``METRICS``, ``under`` and ``num_labels``; MASE and nMAE on a scale of 0 are infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mase = np.where(scale_G == 0, np.inf, groups["absolute"] / scale_G)
        nmae = np.where(mean_G == 0, np.inf, 100 * groups["absolute"] / mean_G)
    return {
        "smape": 100 * groups["relative"],
        "nmae": nmae,
        "mae": groups["absolute"],
        "rmse": np.sqrt(groups["squared"]),
        "mase": mase,
        "under": 100 * groups["under"],
        "num_labels": groups["num_labels"],
    }


def _means(metrics: _Columns, code_G: Ints, key: str) -> _Columns:
    """The mean of the groups of each code (``key``, ascending), and the sum of their labels.

    A metric that is not known in a group is left out there, as a MASE without a training part.
    """
    found = np.unique(code_G)
    columns: _Columns = {key: found}
    for name in _FIGURES:
        known = ~np.isnan(metrics[name])
        with np.errstate(invalid="ignore"):
            num = np.bincount(code_G[known], minlength=int(code_G.max(initial=0)) + 1)
            total = np.bincount(code_G[known], metrics[name][known], minlength=len(num))
            columns[name] = (total / num)[found]
    columns["num_labels"] = np.bincount(code_G, metrics["num_labels"])[found].astype("int64")
    return columns


def _table(name: str, scored: Sequence[tuple[Contestant, _Columns]]) -> pd.DataFrame:
    """The rows of all contestants, one after another."""
    lengths = [len(columns["smape"]) for _, columns in scored]
    about = {
        "contestant": [each.name for each, _ in scored],
        "kind": [each.kind for each, _ in scored],
    }
    table = {}
    for column in (*SCORE_KEYS[name], *_FIGURES, "num_labels"):
        if column in about:
            table[column] = np.repeat(np.array(about[column], dtype=object), lengths)
        else:
            own = [columns[column] for _, columns in scored]
            table[column] = np.concatenate(own) if own else np.empty(0)
    return pd.DataFrame(table)


def naive_maes(table: pd.DataFrame, *, season_length: int) -> dict[str, float]:
    """Each region's scale of MASE (MW): the error of "as one season ago" in the training part.

    ``table`` has ``region``, ``load_mw`` and ``part`` of ``FeatureTable.frame``, regions end to
    end.
    """
    return {
        region: seasonal_naive_mae(own, season_length=season_length)
        for region, own in _histories(table)
    }


def mean_loads(table: pd.DataFrame) -> dict[str, float]:
    """Each region's scale of the nMAE (MW): its mean absolute load in the training part."""
    return {region: mean_load(own) for region, own in _histories(table)}


def _histories(table: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Of each region the loads of its training part, NaN for the others."""
    history = np.where(table["part"].to_numpy() == TRAIN, table["load_mw"].to_numpy(), np.nan)
    codes, names = table["region"].cat.codes.to_numpy(), table["region"].cat.categories
    firsts = np.flatnonzero(np.diff(codes, prepend=-1))
    for first, own in zip(firsts, np.split(history, firsts[1:]), strict=True):
        yield str(names[codes[first]]), own


def errors_by_region(
    scores: Scores, contestant: str, measure: MeasureName = SMAPE
) -> dict[str, float]:
    """One contestant's sMAPE or nMAE (percent) by region."""
    own = scores.by_region[scores.by_region["contestant"] == contestant]
    return dict(zip(own["region"].astype(str), own[measure].astype(float), strict=True))


def overall_scores(scores: Scores, contestant: str) -> dict[str, float]:
    """One contestant's overall ``METRICS``."""
    own = scores.overall[scores.overall["contestant"] == contestant].iloc[0]
    return {name: float(own[name]) for name in METRICS}


def shown_regions(errors: Mapping[str, float]) -> list[str]:
    """The regions that pages and pictures name, in order: all, or those of both ends.

    Of more than ``MAX_SHOWN_REGIONS`` the largest and the smallest of ``errors``, half of each:
    what lies between is told by its distribution.
    """
    if len(errors) <= MAX_SHOWN_REGIONS:
        return sorted(errors)
    by_error = sorted(errors, key=lambda region: (errors[region], region))
    half = MAX_SHOWN_REGIONS // 2
    return sorted([*by_error[:half], *by_error[-half:]])
