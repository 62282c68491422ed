"""What every section of the configuration is made of, and which of its fields keys hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

Cell = Literal["gru", "lstm"]


Fitted = Literal["linear", "linear_neighbours", "histogram_boosting", "lightgbm"]


Flag = Literal["zero", "dropout", "spike", "level", "flat"]


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


@cache
def known_zones() -> frozenset[str]:
    """The names of all IANA time zones that this machine has: 600 files are looked at, once."""
    return frozenset(available_timezones())


@dataclass(frozen=True, slots=True)
class Unkeyed:
    """Marks a field that no key of a result holds, and says ``why`` no result depends on it.

    ``threads: Annotated[Count | None, Unkeyed("...")] = Field(...)``; a field without the mark
    matters. An unkeyed field is not searched either: no value of it gives a better model.
    """

    why: str


class Section(BaseModel):
    """A part of the tree: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def keyed_fields(cls) -> tuple[str, ...]:
        """The names of the fields on which a result can depend: those that are not unkeyed."""
        return tuple(
            name
            for name, field in cls.model_fields.items()
            if not any(isinstance(mark, Unkeyed) for mark in field.metadata)
        )

    def keyed(self, *names: str) -> dict[str, Any]:
        """Its keyed fields as JSON, those of sections below it too: what belongs into a key.

        ``names``: of these fields alone, as the parts that a stage is given.

        Raises:
            KeyError: one of ``names`` is no field, or an unkeyed one.
        """
        fields: dict[str, Any] = _keyed(self, self.model_dump(mode="json"))
        return {name: fields[name] for name in names or fields}


def _keyed(value: object, dumped: Any) -> Any:  # noqa: ANN401 - JSON
    """``dumped``, the JSON of ``value``, without the unkeyed fields of the sections in it."""
    if isinstance(value, Section):
        return {name: _keyed(getattr(value, name), dumped[name]) for name in value.keyed_fields()}
    if isinstance(value, dict):
        return {key: _keyed(value[key], each) for key, each in dumped.items()}
    return dumped
