"""The settings: one frozen tree, a section a class, a field a key of ``base.yaml``.

What is computed with them does not live here.
"""

from gridcast.config.data import (
    ArchivesConfig,
    EiaConfig,
    FlaggedRules,
    IngestionConfig,
    RegionRules,
    RepairedRules,
    RequiredRules,
    RulesConfig,
    SyntheticConfig,
    merged,
)
from gridcast.config.layers import BASE_PROFILE, CONFIGS_FOLDER, Layer, profile_names, profile_path
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
    BandsConfig,
    EvaluationConfig,
    ForecastingConfig,
    TrackingConfig,
)
from gridcast.config.section import (
    Cell,
    Count,
    Fill,
    Fitted,
    Flag,
    Harmonics,
    Labels,
    Positive,
    RegionName,
    Section,
    Share,
    Unkeyed,
)
from gridcast.config.tree import Config, completed

__all__ = [
    "BASE_PROFILE",
    "CONFIGS_FOLDER",
    "ArchivesConfig",
    "BandsConfig",
    "BaselinesConfig",
    "Cell",
    "Config",
    "Count",
    "EiaConfig",
    "EvaluationConfig",
    "FeaturesConfig",
    "Fill",
    "Fitted",
    "Flag",
    "FlaggedRules",
    "ForecastingConfig",
    "Harmonics",
    "IngestionConfig",
    "Labels",
    "Layer",
    "ModelConfig",
    "Positive",
    "RegionName",
    "RegionRules",
    "RepairedRules",
    "RequiredRules",
    "RulesConfig",
    "ScalingConfig",
    "Section",
    "Share",
    "SplitConfig",
    "SyntheticConfig",
    "TrackingConfig",
    "TrainingConfig",
    "TuningConfig",
    "Unkeyed",
    "WindowsConfig",
    "completed",
    "merged",
    "profile_names",
    "profile_path",
]
