"""Expectations that Great Expectations lacks."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import (
    ColumnAggregateExpectation,
    ColumnMapExpectation,
)
from great_expectations.expectations.metrics.column_aggregate_metric_provider import (
    ColumnAggregateMetricProvider,
    column_aggregate_value,
)
from great_expectations.expectations.metrics.map_metric_provider.column_condition_partial import (
    column_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.column_map_metric_provider import (
    ColumnMapMetricProvider,
)

from gridcast.readings.quality import NO_FLAG

_HOUR = pd.Timedelta(hours=1)
_QUARTERS = [pd.Timedelta(minutes=each) for each in (0, 15, 30, 45)]


class ColumnValuesOnTheHour(ColumnMapMetricProvider):
    """Whether each timestamp is a full hour of local time: in UTC all at the same quarter past."""

    condition_metric_name = "column_values.on_the_hour"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series[pd.Timestamp], **_: object) -> pd.Series[bool]:  # noqa: N805
        past = column - column.dt.floor("h")
        usual = past.mode().iloc[0] if past.notna().any() else pd.Timedelta(0)
        return (past == usual) & past.isin(_QUARTERS)


class ExpectColumnValuesToBeOnTheHour(ColumnMapExpectation):
    """Expect hours of one region: at the same quarter past in UTC, and nothing less."""

    map_metric: ClassVar[str] = ColumnValuesOnTheHour.condition_metric_name


def _at_most(
    max_share: float, num: int, num_all: int, *, unit: str, more: str = ""
) -> dict[str, Any]:
    """What an expectation on a share finds: it holds if ``num`` of ``num_all`` is at most that."""
    share = num / num_all if num_all else 0.0
    observed = f"{num:,} of {num_all:,} {unit} ({share:.3%}{more})"
    return {"success": share <= max_share, "result": {"observed_value": observed}}


class ColumnMissingHours(ColumnAggregateMetricProvider):
    """How many hours lie between the first and the last, both included, and how many lack."""

    metric_name = "column.missing_hours"

    @column_aggregate_value(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series[pd.Timestamp], **_: object) -> tuple[int, int]:  # noqa: N805
        if column.empty:
            return 0, 0
        hours = column.dt.floor("h")
        num_hours = int((hours.max() - hours.min()) / _HOUR) + 1
        return num_hours, num_hours - hours.nunique()


class ExpectShareOfMissingHoursToBeAtMost(ColumnAggregateExpectation):
    """Expect few gaps: missing hours / hours between the first and the last, 0 to 1.

    Hours missing before the first and after the last can't be seen; without rows the share is 0.
    """

    max_share: float

    metric_dependencies: ClassVar[tuple[str, ...]] = (ColumnMissingHours.metric_name,)
    success_keys: ClassVar[tuple[str, ...]] = ("max_share",)

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,  # noqa: ARG002
        execution_engine: object = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        num_hours, num_missing = metrics[ColumnMissingHours.metric_name]
        return _at_most(self.max_share, num_missing, num_hours, unit="hours")


class ColumnFlags(ColumnAggregateMetricProvider):
    """How many flags there are, empty ones too, and how many of each kind."""

    metric_name = "column.flags"

    @column_aggregate_value(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series[str], **_: object) -> tuple[int, dict[str, int]]:  # noqa: N805
        kinds = column[column != NO_FLAG].value_counts()
        return len(column), {str(kind): int(num) for kind, num in kinds.items()}


class ExpectShareOfFlaggedReadingsToBeAtMost(ColumnAggregateExpectation):
    """Expect few doubtful readings: flagged / all, 0 to 1. Without rows the share is 0."""

    max_share: float

    metric_dependencies: ClassVar[tuple[str, ...]] = (ColumnFlags.metric_name,)
    success_keys: ClassVar[tuple[str, ...]] = ("max_share",)

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,  # noqa: ARG002
        execution_engine: object = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        num_readings, by_kind = metrics[ColumnFlags.metric_name]
        num_flagged = sum(by_kind.values())
        kinds = "".join(f", {num:,} {kind}" for kind, num in sorted(by_kind.items()))
        return _at_most(self.max_share, num_flagged, num_readings, unit="readings", more=kinds)
