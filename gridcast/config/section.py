"""What every section of the configuration is made of."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

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
