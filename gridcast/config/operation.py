"""Sections about what is done with the results."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field, field_validator

from gridcast.config.section import Count, Positive, Section, Share, Unkeyed


class EvaluationConfig(Section):
    """What the forecasts are held against."""

    season_length: Count = Field(description="of the naive forecast in MASE's scale (hours)")
    backtest_days: Annotated[int, Field(ge=0)] = Field(
        description="at the end of the data, lived through hour by hour for the report (days)"
    )
    refit_days: Annotated[
        Count | None, Unkeyed("what is trained on a day is the same, however often it is done")
    ] = Field(description="after which a backtest trains a model anew; null: it does not (days)")


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
    stand_in_errors: Annotated[float, Field(ge=0.0)] = Field(
        description="by which something else has to be better than the network there, from a lead"
        " on, to forecast in its stead (standard errors of the difference)"
    )
    bands: BandsConfig
    max_stale_hours: int = Field(
        ge=0, le=168, description="a region whose newest hour is older gets a baseline (h)"
    )
    next_day_hour: int = Field(
        ge=0, le=23, description="when the next day is forecast, as backtests score it (local hour)"
    )

    @field_validator("quantiles")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            message = "each quantile once, in ascending order"
            raise ValueError(message)
        return value


class RunConfig(Section):
    """What a run leaves elsewhere than in its folder of artifacts."""

    store: Annotated[
        str, Unkeyed("where results are kept too, for other machines; they are the same")
    ] = Field(
        pattern=r"^(|file:///.+|s3://[a-z0-9][a-z0-9.-]+(/.*)?)$",
        description="that machines share: '', file:///FOLDER or s3://BUCKET/PREFIX",
    )
    keep_prefect_days: Annotated[
        Count | None, Unkeyed("how long Prefect remembers runs, whatever they kept")
    ] = Field(description="after which flow runs leave Prefect's database; null: never (days)")


class PromotionConfig(Section):
    """When a challenger takes over from the champion."""

    significance: Annotated[float, Field(gt=0.0, lt=0.5)] = Field(
        description="of the Diebold-Mariano tests, two-sided, after Holm's correction (0 to 1)"
    )
    hac_lags: Annotated[int, Field(ge=167)] = Field(
        description="hours over which losses are taken to hang together (h)"
    )
    leads: Annotated[int, Field(ge=1, le=168)] = Field(
        description="over which a loss is the mean, at most forecasting.horizon (h)"
    )
    margin: Share = Field(
        description="by which no region may be worse, of the opponent's error (0 to 1)"
    )
    min_hours: Annotated[int, Field(ge=168)] = Field(
        description="issue times that both must have in a region (h)"
    )


class MonitoringConfig(Section):
    """When it is told that forecasts or data are not what they should be."""

    window_days: Count = Field(description="over which figures are taken (days)")
    min_hours: Count = Field(description="forecasts with a truth that a window must have (h)")
    degraded_ratio: Annotated[float, Field(gt=1.0)] = Field(
        description="error over the promised one, where hours are as hard as usual, that alarms"
    )
    coverage_drop: Share = Field(description="by which the band may hold less than its share")
    bias_ratio: Positive = Field(description="bias over the promised error that alarms")
    late_hours: Count = Field(description="hours without a reading that alarm (h)")
    stuck_hours: Annotated[int, Field(ge=2)] = Field(description="equal readings that alarm (h)")
    level_ratio: Positive = Field(
        description="a change of level that alarms, over the promised error of the next hour"
    )
    level_percent: Positive = Field(description="the least change of level that alarms (%)")
    level_margin: Positive = Field(
        description="a change of level that alarms, over the largest usual one of the region's past"
    )
    level_history_days: Count = Field(description="of that past, before the window (days)")
    outlier_percent: Positive = Field(
        description="error of a next hour that is taken for a wrong reading (%)"
    )
    watched_days: Count = Field(
        description="after its last reading, in which a region is watched (days)"
    )
    quiet_days: Count = Field(description="in which the same alarm is not raised again (days)")
    due_minutes: Count = Field(description="after an hour, when its forecast is due (min)")
    operator_hour: Annotated[int, Field(ge=0, le=23)] = Field(
        description="local hour of the day before, by which an operator's own forecast is there (h)"
    )


class RetrainingConfig(Section):
    """When a challenger is trained anew."""

    every_days: Count | None = Field(description="without a reason; null: never (days)")
    cooldown_days: Count = Field(
        description="after a training, in which no alarm starts one (days)"
    )
    settings: tuple[str, ...] = Field(description="laid over the profile's, as --set has them")


class ClockConfig(Section):
    """Time that runs otherwise than the world's: a rehearsal of operation."""

    begun_at: AwareDatetime = Field(description="when the rehearsal has begun (the world's time)")
    stands_for: AwareDatetime = Field(description="the instant that this stands for")
    hour_seconds: Positive = Field(description="that an hour of the rehearsal lasts (s)")


class OperationConfig(Section):
    """What is done with forecasts in use."""

    promotion: PromotionConfig
    monitoring: MonitoringConfig
    retraining: RetrainingConfig
    backfill_hours: int = Field(
        ge=0,
        description="before an issue time, in which forecast-load makes up what was missed (h)",
    )
    clock: ClockConfig | None = Field(
        description="of a rehearsal: what the time of the world stands for; null: for itself"
    )


class TrackingConfig(Section):
    """Where the results are logged."""

    experiment: str = Field(min_length=1, description="MLflow experiment")
    uri: str | None = Field(description="MLflow server; null: SQLite in the artifacts folder")
    registered_model: str = Field(
        pattern=r"^[^/:{}]*(\{dataset\})?[^/:{}]*$",
        min_length=1,
        description="name in MLflow's registry; {dataset}: that of the data set",
    )
