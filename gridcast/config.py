"""The configuration: one frozen tree, one class a section, one field a key of ``base.yaml``.

The section ``rules`` is a file of its own, which the key ``rules_file`` names.

All sections stand here and not beside what they configure, because a flow and ``gridcast --help``
read the configuration without paying two seconds to import torch.

The key in the YAML file, the field's name and the argument's name are the same word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from gridcast.errors import ConfigError
from gridcast.space import Space, read_space

CONFIGS_FOLDER = Path(__file__).resolve().parent.parent / "configs"
BASE_PROFILE = "base"
_NO_PROFILES = {"rules"}  # other files of the folder
_SEARCHED = ("features", "scaling", "windows", "model", "training")  # not `split`: see `space`

Layer = tuple[str, dict[str, Any]]  # a file or an override by name, and what it sets
Cell = Literal["gru", "lstm"]
Fitted = Literal["linear", "histogram_boosting", "lightgbm"]
Flag = Literal["zero", "dropout", "spike", "flat"]
Fill = Literal["last_week_change", "past_weeks_mean"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
Harmonics = Annotated[int, Field(ge=1, le=12)]
Labels = Literal["local", "utc"]


def _check_name(name: object) -> object:
    """YAML reads an unquoted ``NO`` as false and ``12`` as a number."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_]+", name):
        message = "a region's name of letters, digits and underscores, in quotes if YAML needs them"
        raise ValueError(message)
    return name


RegionName = Annotated[str, BeforeValidator(_check_name)]


class Section(BaseModel):
    """A part of the tree: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class IngestionConfig(Section):
    """How the labels of a CSV are read."""

    timezone: str = Field(description="IANA zone of the labels")
    label: Literal["hour_ending", "hour_beginning"] = Field(description="what a label names")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            message = "an IANA time zone such as America/New_York"
            raise ValueError(message)
        return value

    def reading(self, labels: Labels) -> IngestionConfig:
        """The same for a folder whose marker says ``labels``: ``utc`` names the end of UTC hours.

        What is to be read then is the file's business, not the configuration's; the calendar of the
        features goes on using ``timezone``.
        """
        if labels == "local":
            return self
        return self.model_copy(update={"timezone": "UTC", "label": "hour_ending"})


class RequiredRules(Section, strict=True):
    """What is asked of a region; one that breaks a rule is refused as a whole."""

    min_rows: Count = Field(description="fewest rows")
    max_missing_share: Share = Field(description="share of hours that may be missing (0 to 1)")
    min_mw: float = Field(ge=0.0, description="lowest possible load (MW)")
    max_mw: Positive = Field(description="highest possible load (MW)")
    max_flagged_share: Share = Field(description="share of readings that may be flagged (0 to 1)")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_mw >= self.max_mw:
            message = f"min_mw below max_mw ({self.max_mw})"
            raise ValueError(message)
        return self


class FlaggedRules(Section, strict=True):
    """Which accepted readings are doubtful, held against the hours before them alone."""

    zero: bool = Field(description="flag a load of exactly 0")
    dropout_ratio: Share | None = Field(description="flag below this share of the past median")
    spike_ratio: Annotated[float, Field(ge=1.0)] | None = Field(
        description="flag above this multiple of the past median"
    )
    reference_hours: int = Field(ge=24, description="past of which the median is taken (hours)")
    max_flat_hours: Count | None = Field(description="flag a longer run of one value (hours)")


class RepairedRules(Section, strict=True):
    """What the models get in the place of wrong and missing readings."""

    exclude_flagged: bool = Field(description="flagged readings are no training labels")
    replaced_flags: tuple[Flag, ...] = Field(
        strict=False, description="flagged so, a reading is wrong: filled as an input"
    )
    fill: Fill = Field(description="how an hour is filled, from the past alone")
    fill_weeks: Count = Field(description="past weeks of `past_weeks_mean` (weeks)")
    max_fill_hours: int = Field(ge=0, description="longest run that is filled (hours)")


class RegionRules(Section):
    """All rules of one region."""

    required: RequiredRules
    flagged: FlaggedRules
    repaired: RepairedRules


class RulesConfig(Section):
    """The rules as data: `default`, and by name the regions for which some of them differ."""

    default: RegionRules
    regions: dict[RegionName, RegionRules] = Field(description="laid over `default`, by region")

    @model_validator(mode="before")
    @classmethod
    def _regions_over_default(cls, tree: object) -> object:
        """Complete each region's rules by those of ``default``; what is no mapping stays so."""
        if not isinstance(tree, dict) or not isinstance(tree.get("regions"), dict):
            return tree
        default = tree.get("default")
        regions = {name: _merged(default, own) for name, own in tree["regions"].items()}
        return {**tree, "regions": regions}

    def of(self, region: str) -> RegionRules:
        """The rules of ``region``: its own over the default."""
        return self.regions.get(region, self.default)

    def key_of(self, region: str, part: str, rule: str) -> str:
        """Which key gives ``region`` this rule, such as ``rules.default.required.min_rows``."""
        own, default = (getattr(rules, part) for rules in (self.of(region), self.default))
        is_own = getattr(own, rule) != getattr(default, rule)
        return f"rules.{f'regions.{region}' if is_own else 'default'}.{part}.{rule}"


def _merged(under: object, over: object) -> object:
    """``over`` laid over ``under``, key by key where both are mappings."""
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    return {**under, **{key: _merged(under.get(key), value) for key, value in over.items()}}


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

    @field_validator("holidays")
    @classmethod
    def _holidays_are_known(cls, place: str | None) -> str | None:
        """Refuse a place that the library ``holidays`` does not know, before anything is read."""
        if place is None:
            return place
        import holidays  # noqa: PLC0415 - a tenth of a second, paid only where it is asked for

        country, _, part = place.partition("-")
        known = holidays.list_supported_countries(include_aliases=False)
        if country not in known or (part and part not in known[country]):
            message = "a country, or country-part, that the library holidays knows, as US-PA"
            raise ValueError(message)
        return place


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
    region_units: int = Field(ge=0, le=64, description="learned numbers of each region; 0: none")
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
        description="auto (ours where it fits and is faster) or library (PyTorch's)"
    )
    threads: Count | None = Field(description="CPU threads a job; null: the cores shared out")
    jobs_per_device: Count | None = Field(
        description="jobs at a time on a device; null: 2 on a GPU, on a CPU its cores"
    )
    confirm_above_hours: Positive | None = Field(
        description="on a CPU, refuse a longer training without --yes (h); null: never"
    )
    time_limit_seconds: Positive = Field(description="a job is stopped after this (s)")

    @model_validator(mode="after")
    def _shares_are_alike(self) -> Self:
        if self.batch_size % self.split_over:
            message = f"batch_size a multiple of split_over ({self.split_over})"
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

    fitted: tuple[Fitted, ...] = Field(description="each in a process of its own")

    @field_validator("fitted")
    @classmethod
    def _each_once(cls, value: tuple[Fitted, ...]) -> tuple[Fitted, ...]:
        if len(set(value)) < len(value):
            message = "each baseline once"
            raise ValueError(message)
        return value


class EvaluationConfig(Section):
    """What the forecasts are held against."""

    season_length: Count = Field(description="of the naive forecast in MASE's scale (hours)")


class TrackingConfig(Section):
    """Where the results are logged."""

    experiment: str = Field(min_length=1, description="MLflow experiment")
    uri: str | None = Field(description="MLflow server; null: SQLite in the artifacts folder")


class TuningConfig(Section):
    """How better settings are searched for, and among which."""

    trials: Count = Field(description="of a study in all, those of earlier runs counted")
    hours: Positive | None = Field(description="no trial begins later (h); null: no limit")
    at_once: Count | None = Field(description="trials at a time; null: one a GPU, one on a CPU")
    seed: int = Field(ge=0, description="of the sampler")
    objective: Literal["mean_of_jobs", "mean_forecast"] = Field(
        description="validation sMAPE of each job, then the mean; or of the jobs' mean forecast"
    )
    random_trials: Count = Field(description="before results guide the sampler and the pruner")
    prune_from: Share | None = Field(
        description="share of its training after which a trial may be given up; null: never"
    )
    space: dict[str, dict[str, Any] | None] = Field(description="what is searched, see `space`")


class SyntheticConfig(Section):
    """The data that is made where none is given."""

    num_regions: int = Field(ge=1, le=99_999, description="PJM's 12, then further ones")
    num_hours: int = Field(ge=24 * 60, description="of the longest region (hours)")
    seed: int = Field(ge=0, description="of the generator")


class ArchivesConfig(Section):
    """What an archive may hold: checked on its list of members, and again while it is unpacked."""

    max_bytes: Count = Field(description="of all members together, unpacked, and of the file (B)")
    max_ratio: float = Field(ge=1.0, description="unpacked over packed size")
    max_members: Count = Field(description="files and folders in it")


class EiaConfig(Section):
    """How the EIA's open data interface is asked."""

    revised_days: int = Field(ge=0, description="asked for again before what is held (days)")
    page_rows: int = Field(ge=1, le=5000, description="of an answer; the interface gives 5000")
    requests_per_second: float = Field(gt=0.0, le=5.0, description="EIA asks for less than 5")
    timeout_seconds: Positive = Field(description="of one request (s)")
    backoff_seconds: Positive = Field(description="first wait after a failure; doubles (s)")
    give_up_seconds: Positive = Field(description="lost to failures and waits in all (s)")


class Config(Section):
    """Everything a run can be told."""

    profile_on_cuda: str | None = Field(description="profile laid over this one on a GPU")
    rules_file: str = Field(description="YAML file of the rules, from the folder of its profile")
    rules: RulesConfig
    ingestion: IngestionConfig
    features: FeaturesConfig
    scaling: ScalingConfig
    split: SplitConfig
    windows: WindowsConfig
    model: ModelConfig
    training: TrainingConfig
    baselines: BaselinesConfig
    evaluation: EvaluationConfig
    tracking: TrackingConfig
    tuning: TuningConfig
    synthetic: SyntheticConfig
    archives: ArchivesConfig
    eia: EiaConfig

    @model_validator(mode="after")
    def _space_is_of_known_settings(self) -> Self:
        self.read_space()
        return self

    def read_space(self) -> Space:
        """What is searched, by setting, such as ``model.hidden_size``."""
        return read_space(self.tuning.space, {name: getattr(self, name) for name in _SEARCHED})

    def with_values(self, values: Mapping[str, Any], *, where: str) -> Config:
        """The same with other values by setting; ``where`` is what an error calls them.

        Raises:
            ConfigError: they do not go together.
        """
        tree = self.model_dump()
        for setting, value in values.items():
            section, _, key = setting.partition(".")
            tree[section][key] = value
        try:
            return Config.model_validate(tree)
        except ValidationError as error:
            raise _first_fault(error, dict.fromkeys(values, where)) from None

    @classmethod
    def load(
        cls,
        profile: str = BASE_PROFILE,
        *,
        overrides: tuple[str, ...] = (),
        device_type: Literal["cpu", "cuda"] = "cpu",
    ) -> Config:
        """Lay the file of rules, the profile and ``key=value`` over ``base.yaml``; check it all.

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
    return sorted({path.stem for path in CONFIGS_FOLDER.glob("*.yaml")} - _NO_PROFILES)


def profile_path(profile: str) -> Path:
    """The file of ``profile``: a path that ends in .yaml, or a name in ``configs/``."""
    if profile.endswith((".yaml", ".yml")):
        return Path(profile)
    return CONFIGS_FOLDER / f"{profile}.yaml"


def _profile_layer(profile: str) -> Layer:
    path = profile_path(profile)
    known = f"one of {', '.join(profile_names())}, or the path of a .yaml file"
    return str(path), _read_yaml(path, key="profile", found=profile, expected=known)


def _rules_layer(layers: list[Layer]) -> Layer:
    """The file that the last ``rules_file`` names: from its YAML file's folder, or from here."""
    where, named = next(
        (name, layer["rules_file"]) for name, layer in reversed(layers) if "rules_file" in layer
    )
    if not isinstance(named, str):
        raise ConfigError(
            where=where,
            key="rules_file",
            found=named,
            expected="the path of a .yaml file that is there",
        )
    path = (Path() if where.startswith("--set ") else Path(where).parent) / named
    rules = _read_yaml(
        path, key="rules_file", found=named, expected="the path of a .yaml file that is there"
    )
    return str(path), {"rules": rules}


def _read_yaml(path: Path, *, key: str, found: str, expected: str) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(where=str(path), key=key, found=found, expected=expected) from None
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


def _stack(layers: list[Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    """``base.yaml``, its rules and the named layers over it, and which layer set which key."""
    tree, origin = dict[str, Any](), dict[str, str]()
    base = _profile_layer(BASE_PROFILE)
    for name, layer in (base, _rules_layer([base, *layers]), *layers):
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
            origin.pop(path, None)  # so that the layer that came last stands last
            origin[path] = name


def _first_fault(error: ValidationError, origin: dict[str, str]) -> ConfigError:
    # A misspelt key is also a missing one; what stands there says more.
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    fault = faults[0]
    is_name = fault["loc"][-1:] == ("[key]",)
    path = ".".join(str(part) for part in (fault["loc"][:-2] if is_name else fault["loc"]))
    about = fault["ctx"] if fault["type"] == "setting" else {}
    if about:  # of the space of a search
        path = f"tuning.space.{about['key']}"
    where = next(
        name
        for key, name in reversed(origin.items())
        if f"{path}.".startswith(f"{key}.") or key.startswith(f"{path}.")
    )
    if fault["type"] == "extra_forbidden":
        owner: type[BaseModel] = Config
        for part in fault["loc"][:-1]:
            field = owner.model_fields.get(str(part))
            annotation = field.annotation if field else RegionRules  # of `regions`: keys are names
            owner = annotation if isinstance(annotation, type) else owner
        expected = f"a known key: {', '.join(owner.model_fields)}"
        return ConfigError(where=where, key=path, found=fault["loc"][-1], expected=expected)
    expected = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    found = None if fault["type"] == "missing" else about.get("found", fault["input"])
    return ConfigError(where=where, key=path or "(file)", found=found, expected=expected)
