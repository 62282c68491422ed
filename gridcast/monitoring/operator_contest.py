"""Ours against the system operator's own day-ahead forecast, on the hours for which both spoke.

An operator says once a day what the next one will be like. Of ours that day is taken which was
issued at the hour of the day before by which the operator's is there, so that neither knows more.
How sure the difference is, a block bootstrap of the pairs says (Politis and Romano 1994; `arch`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import AliasChoices, Field

from gridcast.evaluation.measure import LABELS, NMAE, SMAPE, MeasureName, percent_errors
from gridcast.monitoring.track_record import with_truth
from gridcast.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

_BLOCK_HOURS = 72  # of the bootstrap, on average: errors of a day hang together, and with the next
_NUM_RESAMPLED = 1000
_SHARE = 0.95


class OperatorContest(Record):
    """Of one region, percent: ours and the operator's error over ``num_hours``, and the difference.

    ``difference`` is ours less the operator's, in points; ``low`` and ``high`` hold it in 95 of 100
    samples: below 0 both, ours is better. Errors are told as ``measure`` has them.
    ``first`` and ``end`` are ISO (UTC).
    """

    region: str
    first: str
    end: str
    num_hours: int
    error: float = Field(validation_alias=AliasChoices("error", "smape"))
    operator_error: float = Field(validation_alias=AliasChoices("operator_error", "operator_smape"))
    difference: float
    low: float
    high: float
    measure: MeasureName = SMAPE

    @property
    def text(self) -> str:
        """In words."""
        return (
            f"{self.region}, day ahead: {LABELS[self.measure]} {self.error:.2f} %, "
            f"the operator's own {self.operator_error:.2f} %; "
            f"the difference {self.difference:+.2f} points "
            f"({self.low:+.2f} to {self.high:+.2f}), over {self.num_hours:,} hours"
        )


def issued_the_day_before(rows: pd.DataFrame, timezone: str, *, hour: int) -> pd.DataFrame:
    """Of each hour the row that was issued at ``hour`` (local) of the day before.

    Args:
        rows: ``issue_time`` and ``timestamp`` in UTC.
        timezone: IANA zone of the operator's days.
        hour: 0 to 23.
    """
    local = pd.DatetimeIndex(rows["timestamp"]).tz_convert(timezone).tz_localize(None)
    before = local.floor("D") - pd.Timedelta(days=1) + pd.Timedelta(hours=hour)
    # An hour that clocks skip or repeat is none by which anybody forecasts.
    zoned = before.tz_localize(timezone, ambiguous="NaT", nonexistent="shift_forward")
    return rows[pd.DatetimeIndex(rows["issue_time"]) == zoned.tz_convert("UTC").floor("h")]


def operator_contests(
    rows: pd.DataFrame,
    readings: Mapping[str, pd.DataFrame],
    operator: pd.DataFrame,
    *,
    timezone: str,
    hour: int,
    min_hours: int,
    norms: Mapping[str, float] | None = None,
) -> tuple[OperatorContest, ...]:
    """Each region of which the operator has forecast at least ``min_hours`` that ours has too.

    Args:
        rows: as they were issued (``region``, ``issue_time``, ``timestamp``, ``lead``,
            ``load_mw``), as far ahead as to the end of the next local day.
        readings: as known, by region; flagged hours are no truth.
        operator: ``region``, ``timestamp`` (UTC), ``operator_mw``.
        timezone: of the operator's days.
        hour: of the day before, by which its forecast is there.
        min_hours: fewer say nothing.
        norms: MW, by region: in percent of what, where not of each hour's own load.
    """
    if rows.empty or operator.empty:
        return ()
    own = rows[rows["region"].isin(operator["region"].unique())]
    own = own.sort_values("issue_time", kind="stable")
    paired = issued_the_day_before(own, timezone, hour=hour).merge(
        operator[["region", "timestamp", "operator_mw"]], on=["region", "timestamp"]
    )
    if paired.empty:
        return ()
    joined = with_truth(paired, readings)
    tables = (table for _, table in joined.groupby("region", sort=True))
    return tuple(_contest(table, norms or {}) for table in tables if len(table) >= min_hours)


def _contest(table: pd.DataFrame, norms: Mapping[str, float]) -> OperatorContest:
    table = table.sort_values("timestamp", kind="stable")
    truth_N = table["y_true"].to_numpy()
    norm = norms.get(str(table["region"].iloc[0]), np.nan)
    own_N, operator_N = (
        percent_errors(truth_N, table[name].to_numpy(), norm) for name in ("load_mw", "operator_mw")
    )
    low, high = interval_of_mean(own_N - operator_N)
    return OperatorContest(
        region=str(table["region"].iloc[0]),
        first=table["timestamp"].iloc[0].isoformat(),
        end=table["timestamp"].iloc[-1].isoformat(),
        num_hours=len(table),
        error=float(own_N.mean()),
        operator_error=float(operator_N.mean()),
        difference=float((own_N - operator_N).mean()),
        low=low,
        high=high,
        measure=SMAPE if np.isnan(norm) else NMAE,
    )


def interval_of_mean(difference_N: np.ndarray) -> tuple[float, float]:
    """Within which the mean of ``N`` differences, in the order of time, lies in 95 of 100 samples.

    Always the same of the same differences.
    """
    from arch.bootstrap import StationaryBootstrap  # noqa: PLC0415 - a second

    block = min(_BLOCK_HOURS, max(len(difference_N) // 2, 1))
    resampled = StationaryBootstrap(block, difference_N, seed=0)
    means = resampled.apply(np.mean, _NUM_RESAMPLED).reshape(-1)
    low, high = np.quantile(means, [(1 - _SHARE) / 2, (1 + _SHARE) / 2])
    return float(low), float(high)
