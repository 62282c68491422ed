"""Sections about what is done with the results."""

from __future__ import annotations

from pydantic import (
    Field,
)

from gridcast.config.section import Count, Section


class EvaluationConfig(Section):
    """What the forecasts are held against."""

    season_length: Count = Field(description="of the naive forecast in MASE's scale (hours)")


class TrackingConfig(Section):
    """Where the results are logged."""

    experiment: str = Field(min_length=1, description="MLflow experiment")
    uri: str | None = Field(description="MLflow server; null: SQLite in the artifacts folder")
