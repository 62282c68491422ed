"""Sections about what is done with the results."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from gridcast.config.section import Count, Positive, Section, Share


class EvaluationConfig(Section):
    """What the forecasts are held against."""

    season_length: Count = Field(description="of the naive forecast in MASE's scale (hours)")
    backtest_days: Annotated[int, Field(ge=0)] = Field(
        description="at the end of the data, lived through hour by hour for the report (days)"
    )


class BandsConfig(Section):
    """How bands adapt to the errors of the days that have passed."""

    learn_days: Annotated[int, Field(ge=7)] = Field(
        description="before the week of the issue time, whose errors bands begin with (days)"
    )
    scale_days: Positive = Field(
        description="half-life of what is typical of an hour, a lead and a region (days)"
    )
    recent_days: Positive = Field(
        description="half-life of how large errors are now against that (days)"
    )
    recent_weight: Share = Field(
        description="power of that: 0 bands know no calm and rough days, 1 they follow at once"
    )
    rate: Share = Field(
        description="how much of what the share below a quantile was off by in a day is made good"
        " by the next, if scores are normal; 0: quantiles stay as they were calibrated"
    )


class ForecastingConfig(Section):
    """How hours to come are forecast, and how bands around them are found."""

    horizon: Annotated[int, Field(ge=1, le=168)] = Field(description="hours that are forecast (h)")
    quantiles: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = Field(
        min_length=2, description="of the load, ascending (0 to 1): the bands"
    )
    calibration_origins: Count = Field(
        description="of the validation part, a region: their errors tell who forecasts it"
    )
    bands: BandsConfig
    max_stale_hours: int = Field(
        ge=0, le=168, description="a region whose newest hour is older gets a baseline (h)"
    )

    @field_validator("quantiles")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            message = "each quantile once, in ascending order"
            raise ValueError(message)
        return value


class TrackingConfig(Section):
    """Where the results are logged."""

    experiment: str = Field(min_length=1, description="MLflow experiment")
    uri: str | None = Field(description="MLflow server; null: SQLite in the artifacts folder")
    registered_model: str = Field(
        pattern=r"^[^/:{}]*(\{dataset\})?[^/:{}]*$",
        min_length=1,
        description="name in MLflow's registry; {dataset}: that of the data set",
    )
