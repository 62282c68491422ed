"""The configuration: one frozen tree, one class a section, one field a key of ``base.yaml``.

The section ``rules`` is a file of its own, which the key ``rules_file`` names.

All sections stand here and not beside what they configure, because a flow and ``gridcast --help``
read the configuration without paying two seconds to import torch.

The key in the YAML file, the field's name and the argument's name are the same word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from gridcast.config.covariates import CovariatesConfig, OpenMeteoConfig
from gridcast.config.data import (
    ArchivesConfig,
    EiaConfig,
    IngestionConfig,
    RulesConfig,
    SyntheticConfig,
)
from gridcast.config.execution import ExecutionConfig
from gridcast.config.layers import (
    BASE_PROFILE,
    _name_of,
    _parse_override,
    _profile_layer,
    _stack,
)
from gridcast.config.learning import (
    BaselinesConfig,
    FeaturesConfig,
    ModelConfig,
    ScalingConfig,
    SplitConfig,
    TrainingConfig,
    TuningConfig,
    WindowsConfig,
)
from gridcast.config.operation import (
    EvaluationConfig,
    ForecastingConfig,
    OperationConfig,
    RunConfig,
    TrackingConfig,
)
from gridcast.config.section import Section, Unkeyed
from gridcast.config.space import Space, read_space
from gridcast.errors import ConfigError

_SEARCHED = ("features", "scaling", "windows", "model", "training")  # not `split`: see `space`
_LEAST_LOOKBACK: Final = 336  # hours: a head by lead reads loads of the last two weeks
_MISMATCH: Final = "mismatch"
_FILE: Final = Unkeyed("names a file, whose values are in the keys")


class Config(Section):
    """Everything a run can be told."""

    profile_on_cuda: Annotated[str | None, _FILE] = Field(
        description="profile laid over this one on a GPU"
    )
    rules_file: Annotated[str, _FILE] = Field(
        description="YAML file of the rules, from the folder of its profile"
    )
    layout_file: Annotated[str | None, _FILE] = Field(
        description="YAML file of a layout: a name in configs/layouts, or a path"
    )
    rules: RulesConfig
    run: RunConfig
    ingestion: IngestionConfig
    covariates: CovariatesConfig
    features: FeaturesConfig
    scaling: ScalingConfig
    split: SplitConfig
    windows: WindowsConfig
    model: ModelConfig
    training: TrainingConfig
    baselines: BaselinesConfig
    evaluation: EvaluationConfig
    forecasting: ForecastingConfig
    operation: OperationConfig
    tracking: TrackingConfig
    execution: ExecutionConfig
    tuning: TuningConfig
    synthetic: SyntheticConfig
    archives: ArchivesConfig
    eia: EiaConfig
    open_meteo: OpenMeteoConfig

    @model_validator(mode="after")
    def _a_head_by_lead_has_what_it_reads(self) -> Self:
        by_lead, windows = self.model.head == "by_lead", self.windows
        if not by_lead:
            _require("windows.origin_stride", windows.origin_stride, 1)
            _require("model.neighbour_units", self.model.neighbour_units, 0)
            return self
        _require("features.kind", self.features.kind, "base")
        _require("windows.unit", windows.unit, "hours")
        _require("training.carry_hidden", self.training.carry_hidden, expected=False)
        if windows.lookback < _LEAST_LOOKBACK:
            expected = f"{_LEAST_LOOKBACK} or more with this model.head"
            raise _mismatch(key="windows.lookback", found=windows.lookback, expected=expected)
        return self

    @model_validator(mode="after")
    def _covariates_go_with_the_features(self) -> Self:
        if self.covariates.columns:
            expected = "with covariates.columns"
            for key, found, wanted in (
                ("features.kind", self.features.kind, "base"),
                ("windows.unit", self.windows.unit, "hours"),
            ):
                if found != wanted:
                    raise _mismatch(key=key, found=found, expected=f"{wanted} {expected}")
        return self

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
        settings = [(_name_of(override), _parse_override(override)) for override in overrides]
        tree, origin = _stack([*profiles, *settings])
        on_cuda = tree.get("profile_on_cuda")
        if device_type == "cuda" and isinstance(on_cuda, str):
            tree, origin = _stack([*profiles, _profile_layer(on_cuda), *settings])
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise _first_fault(error, origin) from None


def completed(stored: object, read: Callable[[object], Config]) -> Config:
    """What a record of an older version says, with the value of ``base.yaml`` for what is newer.

    A setting that comes with a version does by default what was done before it. Of a record that
    lacks nothing no file is read: a served model has none. ``read`` is pydantic's.
    """
    try:
        return read(stored)
    except ValidationError as error:
        lacks = any(fault["type"] == "missing" for fault in error.errors())
        if not isinstance(stored, Mapping) or not lacks:
            raise
    return read(_filled(stored, _stack([])[0], Config))


def _filled(
    stored: Mapping[str, Any], base: Mapping[str, Any], section: type[BaseModel]
) -> dict[str, Any]:
    tree = {name: base[name] for name in section.model_fields if name in base} | dict(stored)
    for name, field in section.model_fields.items():
        kind, own = field.annotation, stored.get(name)
        if isinstance(kind, type) and issubclass(kind, Section) and isinstance(own, Mapping):
            tree[name] = _filled(own, base.get(name, {}), kind)
    return tree


def _require(key: str, found: object, expected: object) -> None:
    if found != expected:
        raise _mismatch(key=key, found=found, expected=f"{expected} with this model.head")


def _mismatch(*, key: str, found: object, expected: str) -> PydanticCustomError:
    """Of settings that are right by themselves and do not go together."""
    return PydanticCustomError(_MISMATCH, "{expected}", {"key": key, "found": found,
                                                         "expected": expected})  # fmt: skip


def _section_at(owner: type[BaseModel], part: str) -> type[BaseModel]:
    """The section that stands in ``owner`` under ``part``; in a mapping, whose keys are names."""
    field = owner.model_fields.get(part)
    if field is None:  # the name of a region or of a covariate
        sections = [
            each for own in owner.model_fields.values() for each in get_args(own.annotation)
            if isinstance(each, type) and issubclass(each, Section)
        ]  # fmt: skip
        return sections[0] if sections else owner
    annotation = field.annotation
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_section else owner  # type: ignore[return-value]


def _first_fault(error: ValidationError, origin: dict[str, str]) -> ConfigError:
    # A misspelt key is also a missing one; what stands there says more.
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    fault = faults[0]
    is_name = fault["loc"][-1:] == ("[key]",)
    path = ".".join(str(part) for part in (fault["loc"][:-2] if is_name else fault["loc"]))
    about = fault["ctx"] if fault["type"] in {"setting", _MISMATCH} else {}
    if about:
        of_search = "tuning.space." if fault["type"] == "setting" else ""
        path = of_search + about["key"]
    where = next(
        name
        for key, name in reversed(origin.items())
        if f"{path}.".startswith(f"{key}.") or key.startswith(f"{path}.")
    )
    if fault["type"] == "extra_forbidden":
        owner: type[BaseModel] = Config
        for part in fault["loc"][:-1]:
            owner = _section_at(owner, str(part))
        expected = f"a known key: {', '.join(owner.model_fields)}"
        return ConfigError(where=where, key=path, found=fault["loc"][-1], expected=expected)
    expected = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    found = None if fault["type"] == "missing" else about.get("found", fault["input"])
    return ConfigError(where=where, key=path or "(file)", found=found, expected=expected)
