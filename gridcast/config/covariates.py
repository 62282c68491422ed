"""The section about covariates: weather and whatever else has a say in the load."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gridcast.config.data import merged
from gridcast.config.layout import NATIVE, LayoutConfig, StepMinutes
from gridcast.config.section import Count, Positive, RegionName, Section, Share

Known = Literal["ahead", "past"]
CovariateSource = Literal["weather", "load_file"]
_RESERVED = {"timestamp", "issued", "region", "load_mw", "flag", "local_label", "source_line"}


def _check_name(name: object) -> object:
    """A name that can be part of a column's, a setting's and a metric's."""
    is_word = isinstance(name, str) and name.isascii() and name.isidentifier()
    if not is_word or not str(name).islower() or name in _RESERVED:
        others = ", ".join(sorted(_RESERVED))
        message = f"a name of small letters, digits and underscores, none of {others}"
        raise ValueError(message)
    return name


CovariateName = Annotated[str, BeforeValidator(_check_name)]


class CovariateColumn(Section):
    """One covariate; what is not said of it is as in ``covariates.default``."""

    unit: str = Field(description="for people, as °C or W/m²")
    known: Known = Field(
        description="ahead: forecast or planned, before its hour; past: only afterwards"
    )
    column: str | None = Field(
        min_length=1, description="of the file; {region} is the region; null: its name"
    )
    source: CovariateSource = Field(
        description="weather (<REGION>_weather.csv), or load_file (a column beside the loads)"
    )

    def column_of(self, name: str, region: str) -> str:
        """What the column is called in the file of a region."""
        return (self.column or name).replace("{region}", region)


class WeatherFileConfig(Section):
    """How ``<REGION>_weather.csv`` lies, which stands beside the region's file of loads."""

    time_column: str = Field(min_length=1, description="of the labels")
    time_format: str = Field(description="as ingestion.layout.time_format")
    time_zone: str = Field(description="as ingestion.layout.time_zone")
    label: Literal["hour_ending", "hour_beginning", "clock_at_end"] = Field(
        description="as ingestion.label"
    )
    issued_column: str = Field(
        min_length=1, description="of the times at which values were issued; a file may lack it"
    )
    separator: str = Field(min_length=1, max_length=1, description="between cells")
    decimal: Literal[".", ","] = Field(description="mark of the fraction")
    missing: tuple[str, ...] = Field(description="cells without a value; '' is the empty one")
    step_minutes: StepMinutes = Field(description="length of the file's intervals (minutes)")

    @model_validator(mode="after")
    def _as_a_layout(self) -> Self:
        self.layout()
        return self

    def layout(self) -> LayoutConfig:
        """The same as the layout of a file of loads: what reads those reads this."""
        own = {
            "files": "{region}_weather.csv", "separator": self.separator,
            "time_columns": (self.time_column,), "time_format": self.time_format,
            "time_zone": self.time_zone, "decimal": self.decimal, "missing": self.missing,
            "step_minutes": self.step_minutes,
        }  # fmt: skip
        return LayoutConfig.model_validate({**NATIVE.model_dump(), **own})


def _ascending(hours: tuple[int, ...]) -> tuple[int, ...]:
    if list(hours) != sorted(set(hours)):
        message = "hours in ascending order, each once"
        raise ValueError(message)
    return hours


Hours = Annotated[tuple[Annotated[int, Field(ge=1, le=336)], ...], AfterValidator(_ascending)]


class Coordinates(Section):
    """A place, and how much it counts in its region."""

    latitude: float = Field(ge=-90, le=90, description="degrees north")
    longitude: float = Field(ge=-180, le=180, description="degrees east")
    weight: Positive = Field(default=1.0, description="of the place in the region's mean")


class OpenMeteoConfig(Section):
    """How Open-Meteo is asked by `gridcast fetch weather`: which variables, of which places."""

    variables: dict[CovariateName, str] = Field(
        min_length=1, description="Open-Meteo's hourly variable by the column that it becomes"
    )
    places: dict[RegionName, tuple[Coordinates, ...]] = Field(description="of each region")
    days_ahead: tuple[Annotated[int, Field(ge=1, le=7)], ...] = Field(
        description="of forecasts as they were issued: so many days before their hour (days)"
    )
    delay_hours: Annotated[int, Field(ge=0, le=48)] = Field(
        description="from the start of a model's run until its forecast is there (h)"
    )
    span_days: Count = Field(description="asked for at once (days)")
    requests_per_second: float = Field(gt=0.0, le=10.0, description="at most")
    timeout_seconds: Positive = Field(description="of one request (s)")
    backoff_seconds: Positive = Field(description="first wait after a failure; doubles (s)")
    give_up_seconds: Positive = Field(description="lost to failures and waits in all (s)")


class CovariatesConfig(Section):
    """What has a say in the load beside its past and the calendar."""

    default: CovariateColumn
    columns: dict[CovariateName, CovariateColumn] = Field(
        description="laid over `default`, by name; {}: none"
    )
    as_known: Literal["issued", "observed"] = Field(
        description="when a value without an issue time is known: issued, after its hour; "
        "observed, always, as if it had been forecast without an error"
    )
    lags_hours: Hours = Field(description="before the hour; the difference to then is an input")
    mean_hours: Hours = Field(description="up to the hour, of which the mean is an input")
    hidden_share: Annotated[Share, Field(lt=1.0)] = Field(
        description="share of training days without what is known ahead, so that its lack is borne"
    )
    weather: WeatherFileConfig

    @model_validator(mode="before")
    @classmethod
    def _columns_over_default(cls, tree: object) -> object:
        """Complete what is said of each column; what is no mapping stays so."""
        if not isinstance(tree, dict) or not isinstance(tree.get("columns"), dict):
            return tree
        default = tree.get("default")
        columns = {name: merged(default, own) for name, own in tree["columns"].items()}
        return {**tree, "columns": columns}

    def of_kind(self, known: Known) -> tuple[str, ...]:
        """The names of those that are known ahead, or only afterwards, in their order."""
        return tuple(name for name, each in self.columns.items() if each.known == known)

    def of_source(self, source: CovariateSource) -> dict[str, CovariateColumn]:
        """Those that come from there."""
        return {name: each for name, each in self.columns.items() if each.source == source}
