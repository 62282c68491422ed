"""Sections about learning: features, windows, the network, its training, the search."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from gridcast.config.section import (
    Cell,
    Count,
    Fitted,
    Harmonics,
    Positive,
    RegionName,
    Section,
    Share,
    Unkeyed,
)

_JOB_EACH: Final = Unkeyed("there is a job for each, and its own is in its key")
_WHERE: Final = Unkeyed("where and how fast it is computed; a job's key has the device's type")
_LIMIT: Final = Unkeyed("how long may be computed; what is stopped leaves no result")
_OFTEN: Final = Unkeyed("how often is kept what a training that was killed goes on from")
_SEARCH: Final = Unkeyed("how, and how long, is searched: a study's trials stand, however found")


def _require_place(place: object) -> None:
    """Refuse a place that the library ``holidays`` does not know, before anything is read."""
    import holidays  # noqa: PLC0415 - a tenth of a second, paid only where it is asked for

    country, _, part = str(place).partition("-")
    known = holidays.list_supported_countries(include_aliases=False)
    if country not in known or (part and part not in known[country]):
        message = "a country, or country-part, that the library holidays knows, as US-PA"
        raise ValueError(message)


class FeaturesConfig(Section):
    """What the network sees at each step."""

    kind: Literal["base", "article"] = Field(description="set of inputs")
    lags_hours: tuple[Count, ...] = Field(description="lags of the hour being forecast (hours)")
    change_gain: Positive = Field(description="factor on hourly changes (changes are small)")
    hour_harmonics: Harmonics = Field(description="sine and cosine pairs of the hour")
    weekday_harmonics: Harmonics = Field(description="sine and cosine pairs of the weekday")
    year_harmonics: Harmonics = Field(description="sine and cosine pairs of the day of year")
    holidays: str | None = Field(
        pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$",
        description="place whose public holidays are inputs, as US or US-PA; null: none",
    )
    holidays_by_region: dict[RegionName, str] = Field(
        description="other places of single regions, where holidays is one"
    )
    next_day_holiday: bool = Field(
        description="whether the day after is a holiday too (bridge days)"
    )

    @field_validator("holidays", mode="before")
    @classmethod
    def _norway_without_quotes(cls, place: object) -> object:
        """YAML reads an unquoted NO as false."""
        return "NO" if place is False else place

    @field_validator("holidays")
    @classmethod
    def _holidays_are_known(cls, place: str | None) -> str | None:
        """Refuse a place that the library ``holidays`` does not know, before anything is read."""
        if place is not None:
            _require_place(place)
        return place

    @field_validator("holidays_by_region", mode="before")
    @classmethod
    def _places_are_known(cls, places: object) -> object:
        if not isinstance(places, dict):
            return places
        told = {region: "NO" if place is False else place for region, place in places.items()}
        for place in told.values():
            _require_place(place)
        return told

    def holidays_of(self, region: str) -> str | None:
        """The place whose public holidays are inputs of a region; None: none are inputs."""
        if self.holidays is None:
            return None
        return self.holidays_by_region.get(region, self.holidays)


class ScalingConfig(Section):
    """How each region's load is brought to a common scale."""

    method: Literal["standard", "minmax"] = Field(description="scikit-learn scaler")
    fit_on: Literal["train", "all"] = Field(description="`all` leaks, as the article does")


class SplitConfig(Section):
    """Which labels train, validate and test, by time within each region."""

    test_share: Share = Field(description="share of a region's windows that test (0 to 1)")
    validation_share: Share = Field(description="share of the remaining labels, the newest")
    article_lookback: Count = Field(description="rows that carry no label in the count of windows")


class WindowsConfig(Section):
    """How the series is cut. A window is an index; it is never materialised."""

    unit: Literal["hours", "rows"] = Field(description="hourly grid, or rows as they come")
    lookback: Count = Field(description="steps of a window (hours or rows)")
    warmup: int = Field(ge=0, description="first steps of a window without loss (steps)")
    horizon: Annotated[int, Field(ge=1, le=168)] = Field(
        description="steps forecast from each step (steps)"
    )
    stride: Count = Field(description="distance of two training windows (steps)")
    origin_stride: Count = Field(
        description="distance of two origins of a training window that carry loss (steps)"
    )
    random_phase: bool = Field(description="shift the cut in each pass")

    @model_validator(mode="after")
    def _warmup_leaves_a_label(self) -> Self:
        if self.warmup >= self.lookback:
            message = f"warmup below lookback ({self.lookback})"
            raise ValueError(message)
        return self


class ModelConfig(Section):
    """The network; GRU and LSTM differ in the cell only."""

    cells: Annotated[tuple[Cell, ...], _JOB_EACH] = Field(
        min_length=1, description="one job a cell and seed"
    )
    hidden_size: Count = Field(description="units of a layer")
    num_layers: Count = Field(description="recurrent layers")
    dropout: float = Field(ge=0.0, lt=1.0, description="between layers, in training (share)")
    region_units: int = Field(ge=0, le=64, description="learned numbers of each region; 0: none")
    head_relu: bool = Field(description="ReLU between the last layer and the head")
    head: Literal["linear", "by_lead"] = Field(
        description="all leads from the state alone, or each with what is known of its hour"
    )
    lead_units: Count = Field(description="units of the head's two layers where it is by lead")
    neighbour_units: int = Field(
        ge=0, le=64, description="learned mixes of all regions' past, an input; 0: none"
    )
    neighbour_dropout: float = Field(
        ge=0.0, lt=1.0, description="share of regions whose past is hidden in training"
    )
    target: Literal["change", "level"] = Field(description="what the head gives")
    change_scale: Positive = Field(description="factor on the head where target is `change`")


class TrainingConfig(Section):
    """How the network is fitted, and on what."""

    device: Annotated[str, _WHERE] = Field(
        pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:N"
    )
    seeds: Annotated[tuple[int, ...], _JOB_EACH] = Field(
        min_length=1, description="one job a cell and seed"
    )
    passes: Count | None = Field(description="times through the training part; null: by the budget")
    window_budget: Count = Field(description="windows seen where passes is null")
    pass_bounds: tuple[Count, Count] = Field(description="fewest and most where passes is null")
    fewest_steps: Count = Field(description="smaller batches below, where passes is null (steps)")
    smallest_batch: Count = Field(description="windows of them")
    max_steps: Count | None = Field(description="stop after so many steps; null: all")
    batch_size: Count = Field(description="windows a step")
    drop_last: bool = Field(description="leave out the last, smaller batch of a pass")
    loss: Literal["l1", "mse"] = Field(description="on the scaled load")
    optimizer: Literal["adam", "adamw"] = Field(description="PyTorch optimizer")
    learning_rate: Positive = Field(description="constant, or the peak of the cycle")
    schedule: Literal["one_cycle", "constant"] = Field(description="of the learning rate")
    weight_decay: float = Field(ge=0.0, description="AdamW's")
    split_over: int = Field(ge=1, le=64, description="GPUs that share each batch of a job")
    average_last: Share = Field(
        description="share of the steps, the last ones, whose weights are averaged; 0: none"
    )
    clip_norm: Positive | None = Field(description="largest gradient norm; null: none")
    clip_value: Positive | None = Field(description="largest gradient value; null: none")
    carry_hidden: bool = Field(description="hidden state goes on from batch to batch of a pass")
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = Field(
        description="of the matrix products"
    )
    recurrence: Literal["auto", "library"] = Field(
        description="auto (our kernels where they apply) or library (PyTorch alone)"
    )
    threads: Annotated[Count | None, _WHERE] = Field(
        description="CPU threads a job; null: the cores shared out"
    )
    jobs_per_device: Annotated[Count | None, _WHERE] = Field(
        description="jobs at a time on a device; null: 2 on a GPU, on a CPU its cores"
    )
    confirm_above_hours: Annotated[Positive | None, _LIMIT] = Field(
        description="on a CPU, refuse a longer training without --yes (h); null: never"
    )
    checkpoint_seconds: Annotated[Positive | None, _OFTEN] = Field(
        description="between checkpoints, from which a killed training goes on; null: none (s)"
    )
    time_limit_seconds: Annotated[Positive, _LIMIT] = Field(
        description="a job is stopped after this (s)"
    )
    measuring_limit_seconds: Annotated[Positive, _LIMIT] = Field(
        description="of a plan (`--plan`): the short training that it measures is stopped then (s)"
    )

    @model_validator(mode="after")
    def _shares_are_alike(self) -> Self:
        if self.batch_size % self.split_over:
            message = f"batch_size a multiple of split_over ({self.split_over})"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        if self.pass_bounds[0] > self.pass_bounds[1]:
            message = "pass_bounds as [fewest, most]"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _carried_batches_are_alike(self) -> Self:
        if self.carry_hidden and not self.drop_last:
            message = "drop_last true where carry_hidden is (all batches of one size)"
            raise ValueError(message)
        return self


class BaselinesConfig(Section):
    """What is fitted on lags and calendar beside the networks, and held against them."""

    fitted: Annotated[tuple[Fitted, ...] | None, _JOB_EACH] = Field(
        description="each in a process of its own; null: the linear ones where they are cheap"
    )
    cheap_windows: Annotated[Count, _JOB_EACH] = Field(
        description="most training windows for which null means that"
    )

    @field_validator("fitted")
    @classmethod
    def _each_once(cls, value: tuple[Fitted, ...] | None) -> tuple[Fitted, ...] | None:
        if value is not None and len(set(value)) < len(value):
            message = "each baseline once"
            raise ValueError(message)
        return value


class TuningConfig(Section):
    """How better settings are searched for, and among which."""

    trials: Annotated[Count, _SEARCH] = Field(
        description="of a study in all, those of earlier runs counted"
    )
    hours: Annotated[Positive | None, _SEARCH] = Field(
        description="no trial begins later (h); null: no limit"
    )
    at_once: Annotated[Count | None, _SEARCH] = Field(
        description="trials at a time; null: one a GPU, one on a CPU"
    )
    seed: Annotated[int, _SEARCH] = Field(ge=0, description="of the sampler")
    objective: Literal["mean_of_jobs", "mean_forecast"] = Field(
        description="validation sMAPE of each job, then the mean; or of the jobs' mean forecast"
    )
    random_trials: Annotated[Count, _SEARCH] = Field(
        description="before results guide the sampler and the pruner"
    )
    prune_from: Annotated[Share | None, _SEARCH] = Field(
        description="share of its training after which a trial may be given up; null: never"
    )
    space: dict[str, dict[str, Any] | None] = Field(description="what is searched, see `space`")
