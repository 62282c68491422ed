"""The configuration: one frozen tree, one class a section, one field a key of ``base.yaml``.

All sections stand here and not beside what they configure, because a flow and ``gridcast --help``
read the configuration without paying two seconds to import torch.

The key in the YAML file, the field's name and the argument's name are the same word.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gridcast.errors import ConfigError

CONFIGS_FOLDER = Path(__file__).resolve().parent.parent / "configs"
BASE_PROFILE = "base"

Cell = Literal["gru", "lstm"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the tree: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Bounds(Section):
    """What a region's load can be at all, in MW, both ends included."""

    min_mw: float = Field(ge=0.0, description="lowest possible load (MW)")
    max_mw: float = Field(gt=0.0, description="highest possible load (MW)")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_mw >= self.max_mw:
            message = f"min_mw below max_mw ({self.max_mw})"
            raise ValueError(message)
        return self


class IngestionConfig(Section):
    """How a CSV is read and what is asked of it before it is published."""

    timezone: str = Field(description="IANA zone of the labels")
    label: Literal["hour_ending", "hour_beginning"] = Field(description="what a label names")
    min_rows: Count = Field(description="fewest rows of a region")
    max_missing_share: Share = Field(description="share of hours that may be missing (0 to 1)")
    bounds_mw: dict[str, Bounds] = Field(description="`default` and, by name, other regions (MW)")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            message = "an IANA time zone such as America/New_York"
            raise ValueError(message)
        return value

    @field_validator("bounds_mw")
    @classmethod
    def _has_default(cls, value: dict[str, Bounds]) -> dict[str, Bounds]:
        if "default" not in value:
            message = "an entry named `default`"
            raise ValueError(message)
        return value

    def bounds_of(self, region: str) -> Bounds:
        """The bounds of ``region``: its own, or the default."""
        return self.bounds_mw.get(region, self.bounds_mw["default"])


class QualityConfig(Section):
    """Which accepted readings are doubtful: flagged, never a training label, still readable."""

    reference_hours: int = Field(ge=24, description="past the reading is compared with (hours)")
    dropout_ratio: Share = Field(description="flag below this share of the past median")
    spike_ratio: float = Field(ge=1.0, description="flag above this multiple of the past median")
    max_flat_hours: Count = Field(description="flag a run of one value longer than this (hours)")
    max_flagged_share: Share = Field(description="share of flagged readings that fails a region")


class FeaturesConfig(Section):
    """What the network sees at each step."""

    kind: Literal["base", "article"] = Field(description="set of inputs")
    lags_hours: tuple[Count, ...] = Field(description="lags of the hour being forecast (hours)")
    change_gain: Positive = Field(description="factor on hourly changes (changes are small)")
    max_fill_hours: int = Field(ge=0, description="longest gap filled as input (hours)")
    exclude_flagged: bool = Field(description="flagged readings: no labels; if wrong, no inputs")


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
    horizon: Count = Field(description="steps forecast from each step (steps)")
    stride: Count = Field(description="distance of two training windows (steps)")
    random_phase: bool = Field(description="shift the cut in each pass")

    @model_validator(mode="after")
    def _warmup_leaves_a_label(self) -> Self:
        if self.warmup >= self.lookback:
            message = f"warmup below lookback ({self.lookback})"
            raise ValueError(message)
        return self


class ModelConfig(Section):
    """The network; GRU and LSTM differ in the cell only."""

    cells: tuple[Cell, ...] = Field(min_length=1, description="one job a cell and seed")
    hidden_size: Count = Field(description="units of a layer")
    num_layers: Count = Field(description="recurrent layers")
    dropout: float = Field(ge=0.0, lt=1.0, description="between layers, in training (share)")
    head_relu: bool = Field(description="ReLU between the last layer and the head")
    target: Literal["change", "level"] = Field(description="what the head gives")
    change_scale: Positive = Field(description="factor on the head where target is `change`")


class TrainingConfig(Section):
    """How the network is fitted, and on what."""

    device: str = Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:N")
    seeds: tuple[int, ...] = Field(min_length=1, description="one job a cell and seed")
    passes: Count = Field(description="times through the training part")
    max_steps: Count | None = Field(description="stop after so many steps; null: all")
    batch_size: Count = Field(description="windows a step")
    drop_last: bool = Field(description="leave out the last, smaller batch of a pass")
    loss: Literal["l1", "mse"] = Field(description="on the scaled load")
    optimizer: Literal["adam", "adamw"] = Field(description="PyTorch optimizer")
    learning_rate: Positive = Field(description="constant, or the peak of the cycle")
    schedule: Literal["one_cycle", "constant"] = Field(description="of the learning rate")
    weight_decay: float = Field(ge=0.0, description="AdamW's")
    clip_norm: Positive | None = Field(description="largest gradient norm; null: none")
    clip_value: Positive | None = Field(description="largest gradient value; null: none")
    carry_hidden: bool = Field(description="hidden state goes on from batch to batch of a pass")
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = Field(
        description="of the matrix products"
    )
    threads: Count | None = Field(description="CPU threads a job; null: the cores shared out")
    confirm_above_hours: Positive | None = Field(
        description="on a CPU, refuse a longer training without --yes (h); null: never"
    )
    time_limit_seconds: Positive = Field(description="a job is stopped after this (s)")

    @model_validator(mode="after")
    def _carried_batches_are_alike(self) -> Self:
        if self.carry_hidden and not self.drop_last:
            message = "drop_last true where carry_hidden is (all batches of one size)"
            raise ValueError(message)
        return self


class EvaluationConfig(Section):
    """What the forecasts are held against."""

    season_length: Count = Field(description="of the naive forecast in MASE's scale (hours)")


class TrackingConfig(Section):
    """Where the results are logged."""

    experiment: str = Field(min_length=1, description="MLflow experiment")
    uri: str | None = Field(description="MLflow server; null: SQLite in the artifacts folder")


class SyntheticConfig(Section):
    """The data that is made where none is given."""

    num_hours: int = Field(ge=24 * 60, description="of the longest region (hours)")
    seed: int = Field(ge=0, description="of the generator")


class Config(Section):
    """Everything a run can be told."""

    profile_on_cuda: str | None = Field(description="profile laid over this one on a GPU")
    ingestion: IngestionConfig
    quality: QualityConfig
    features: FeaturesConfig
    scaling: ScalingConfig
    split: SplitConfig
    windows: WindowsConfig
    model: ModelConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    tracking: TrackingConfig
    synthetic: SyntheticConfig

    @classmethod
    def load(
        cls,
        profile: str = BASE_PROFILE,
        *,
        overrides: tuple[str, ...] = (),
        device_type: Literal["cpu", "cuda"] = "cpu",
    ) -> Config:
        """Read ``base.yaml``, lay the profile and ``key=value`` overrides over it, check it all.

        Args:
            profile: a name in ``configs/`` or the path of a YAML file.
            overrides: such as ``training.passes=3``; the value is YAML.
            device_type: on ``cuda`` the profile named by ``profile_on_cuda`` comes in between.

        Raises:
            ConfigError: an unknown profile, key or value, with file, key, found and expected.
        """
        profiles = [] if profile == BASE_PROFILE else [_profile_layer(profile)]
        settings = [(f"--set {override}", _parse_override(override)) for override in overrides]
        tree, origin = _stack([*profiles, *settings])
        on_cuda = tree.get("profile_on_cuda")
        if device_type == "cuda" and isinstance(on_cuda, str):
            tree, origin = _stack([*profiles, _profile_layer(on_cuda), *settings])
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise _first_fault(error, origin) from None


def profile_names() -> list[str]:
    """The profiles that come with gridcast."""
    return sorted(path.stem for path in CONFIGS_FOLDER.glob("*.yaml"))


def profile_path(profile: str) -> Path:
    """The file of ``profile``: a path that ends in .yaml, or a name in ``configs/``."""
    if profile.endswith((".yaml", ".yml")):
        return Path(profile)
    return CONFIGS_FOLDER / f"{profile}.yaml"


def _profile_layer(profile: str) -> tuple[str, dict[str, Any]]:
    return str(profile_path(profile)), _read_profile(profile)


def _read_profile(profile: str) -> dict[str, Any]:
    path = profile_path(profile)
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(
            where=str(path),
            key="profile",
            found=profile,
            expected=f"one of {', '.join(profile_names())}, or the path of a .yaml file",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            where=str(path), key="(file)", found=str(error), expected="valid YAML in UTF-8"
        ) from None
    if not isinstance(tree, dict):
        raise ConfigError(
            where=str(path),
            key="(file)",
            found=tree,
            expected="sections with keys (a YAML mapping)",
        )
    return tree


def _parse_override(override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(
            where="--set", key=override, found=override, expected="key=value, as training.passes=3"
        )
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(where="--set", key=key, found=text, expected="a YAML value") from None
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _stack(layers: list[tuple[str, dict[str, Any]]]) -> tuple[dict[str, Any], dict[str, str]]:
    """``base.yaml`` with the named layers over it, and which layer set which key."""
    tree, origin = _read_profile(BASE_PROFILE), dict[str, str]()
    for name, layer in layers:
        _lay_over(tree, layer, origin, name)
    return tree, origin


def _lay_over(
    tree: dict[str, Any], layer: dict[str, Any], origin: dict[str, str], name: str, prefix: str = ""
) -> None:
    """Merge ``layer`` into ``tree`` in place; ``origin`` remembers which layer set which key."""
    for key, value in layer.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _lay_over(tree[key], value, origin, name, f"{path}.")
        else:
            tree[key] = value
            origin[path] = name


def _first_fault(error: ValidationError, origin: dict[str, str]) -> ConfigError:
    fault = error.errors()[0]
    path = ".".join(str(part) for part in fault["loc"])
    where = next(
        (
            name
            for key, name in reversed(origin.items())
            if f"{path}.".startswith(f"{key}.") or key.startswith(f"{path}.")
        ),
        str(profile_path(BASE_PROFILE)),
    )
    if fault["type"] == "extra_forbidden":
        owner: type[BaseModel] = Config
        for part in fault["loc"][:-1]:
            field = owner.model_fields.get(str(part))
            annotation = field.annotation if field else Bounds  # bounds_mw: keys are regions
            owner = annotation if isinstance(annotation, type) else owner
        expected = f"a known key: {', '.join(owner.model_fields)}"
        return ConfigError(where=where, key=path, found=fault["loc"][-1], expected=expected)
    expected = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return ConfigError(where=where, key=path or "(file)", found=fault["input"], expected=expected)
