"""Forecasts of all contestants on the same labels: one long table, a row a forecast.

A row is what a contestant said, when it could be said, of which hour: the table of an evaluation,
of a store, of a report. A wide table, a column a contestant, is a view: ``table.pivot``.

Legend: ``N`` labels (an hour and a lead), ``T`` steps of the table of features.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from gridcast.baselines.naive_forecasts import naive_forecasts
from gridcast.evaluation.contestants import Contestant, contestants_of
from gridcast.features.splits import PARTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gridcast.features.windows import Ints

_QUANTILE = re.compile(r"q\d\d(\.\d)?")
KEYS = ("contestant", "region", "issue_time", "timestamp", "lead")
COLUMNS = (*KEYS, "local_hour", "y_true", "y_pred")
# Of ``FeatureTable.frame``: what labels are told by, and what naive forecasts are made of.
TABLE_COLUMNS = ("region", "timestamp", "local_hour", "load_mw", "input_mw", "part")


def quantile_column(level: float) -> str:
    """What the column of a quantile is called.

    >>> quantile_column(0.05), quantile_column(0.975)
    ('q05', 'q97.5')
    """
    return f"q{100 * level:04.1f}".removesuffix(".0")


def levels_of(columns: Iterable[str]) -> list[float]:
    """The levels of those columns that are quantiles, in the order of the columns.

    >>> levels_of(["load_mw", "q02.5", "q50", "q97.5", "quality"])
    [0.025, 0.5, 0.975]
    """
    return [float(name[1:]) / 100 for name in columns if _QUANTILE.fullmatch(name)]


@dataclass(frozen=True, slots=True)
class Forecasts:
    """What all contestants said of the same ``N`` labels.

    ``labels`` has what all share, sorted by region, issue time and lead: ``region`` (category),
    ``issue_time`` (UTC, end of the origin: the last hour whose load is known), ``timestamp``
    (UTC, start of the hour being forecast), ``lead`` (1 to H: 1 is the hour that begins then),
    ``local_hour`` (0 to 23) and ``y_true`` (MW). With very many regions the long table does not fit
    where this does: it is made of one contestant after another.
    """

    labels: pd.DataFrame
    y_pred: Mapping[Contestant, np.ndarray]  # (N,), MW

    @property
    def contestants(self) -> tuple[Contestant, ...]:
        """In the order of tables."""
        return tuple(self.y_pred)

    def tables(self) -> Iterator[pd.DataFrame]:
        """The long table (``COLUMNS``), one contestant after another.

        All have one dtype a column: ``contestant`` is a category of all names.
        """
        names = pd.Index([each.name for each in self.contestants])
        for code, y_pred in enumerate(self.y_pred.values()):
            codes = np.full(len(y_pred), code, dtype="int8" if len(names) < 128 else "int16")  # noqa: PLR2004
            own = pd.Categorical.from_codes(codes, names)
            yield self.labels.assign(contestant=own, y_pred=y_pred)[list(COLUMNS)]

    def table(self) -> pd.DataFrame:
        """The long table, whole."""
        return pd.concat(self.tables(), ignore_index=True)


def collect_forecasts(
    table: pd.DataFrame, jobs: Mapping[Contestant, pd.DataFrame], *, part: int
) -> Forecasts:
    """The labels of ``part`` that all jobs have forecast, and every contestant's word on them.

    Args:
        table: ``TABLE_COLUMNS`` of ``FeatureTable.frame``.
        jobs: a model or fitted baseline to its forecasts (``step``, ``lead``, ``part``, ``y_pred``
            in MW).
        part: see ``splits``.

    Returns:
        The forecasts of the jobs, of the models' means and the naive ones
        (see :func:`contestants_of`).
    """
    common = _common_labels(jobs, part)
    step_N, lead_N = common.step_N, common.lead_N
    naive = naive_forecasts(
        table["input_mw"].to_numpy(), table["region"].cat.codes.to_numpy(), step_N, lead_N
    )
    y_pred: dict[Contestant, np.ndarray] = {}
    by_name = naive | {each.name: common.y_pred[each] for each in jobs}
    for each in contestants_of(list(jobs)):
        own = [by_name[name] for name in each.members or (each.name,)]
        y_pred[each] = np.mean(own, axis=0) if each.members else own[0]
    return Forecasts(_labels(table, step_N, lead_N), y_pred)


def _labels(table: pd.DataFrame, step_N: Ints, lead_N: Ints) -> pd.DataFrame:
    labels = table[["region", "timestamp", "local_hour"]].take(step_N).reset_index(drop=True)
    origin = table["timestamp"].take(step_N - lead_N).reset_index(drop=True)
    issue_time = origin + pd.Timedelta(hours=1)
    labels.insert(1, "issue_time", issue_time)
    labels.insert(3, "lead", lead_N.astype("int16"))
    return labels.assign(y_true=table["load_mw"].to_numpy()[step_N])


class _Common(NamedTuple):
    """The labels that all jobs have forecast, by origin and lead, and what each job said."""

    step_N: Ints
    lead_N: Ints
    y_pred: dict[Contestant, np.ndarray]


def _common_labels(jobs: Mapping[Contestant, pd.DataFrame], part: int) -> _Common:
    if not jobs:
        message = "at least one job"
        raise ValueError(message)
    frames = {each: frame[frame["part"] == PARTS[part]] for each, frame in jobs.items()}
    span = 1 + max(int(frame["lead"].max()) if len(frame) else 0 for frame in frames.values())
    keys, values = {}, {}
    for each, frame in frames.items():
        lead = frame["lead"].to_numpy(dtype="int64")
        key = (frame["step"].to_numpy(dtype="int64") - lead) * span + lead
        order = np.argsort(key, kind="stable")
        keys[each], values[each] = key[order], frame["y_pred"].to_numpy()[order]
    common = reduce(_intersection, keys.values())
    y_pred = {each: values[each][np.searchsorted(keys[each], common)] for each in jobs}
    lead_N = common % span
    return _Common(common // span + lead_N, lead_N, y_pred)


def _intersection(one: Ints, other: Ints) -> Ints:
    same = len(one) == len(other) and bool((one == other).all())
    return one if same else np.intersect1d(one, other, assume_unique=True)
