"""Sections about the data: how files are read, what is asked of them, where they come from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from gridcast.config.layout import LayoutConfig
from gridcast.config.section import (
    Count,
    Fill,
    Flag,
    Labels,
    Positive,
    RegionName,
    Section,
    Share,
    known_zones,
)

Label = Literal["hour_ending", "hour_beginning", "clock_at_end"]


class RegionIngestion(Section):
    """How the files of one region are read."""

    timezone: str = Field(description="IANA zone of the region: of its calendar, and of its labels")
    label: Label = Field(description="what a label names")
    layout: LayoutConfig

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in known_zones():
            message = "an IANA time zone such as America/New_York"
            raise ValueError(message)
        return value

    def reading(self, labels: Labels) -> Self:
        """The same for a folder whose marker says ``labels``: ``utc`` names the end of UTC hours.

        What is to be read then is the file's business, not the configuration's; the calendar of the
        features goes on using ``timezone``.
        """
        if labels == "local":
            return self
        return self.model_copy(update={"timezone": "UTC", "label": "hour_ending"})


class IngestionConfig(RegionIngestion):
    """How files are read, and by name the regions of which some of it differs."""

    regions: dict[RegionName, RegionIngestion] = Field(description="laid over, by region")

    @model_validator(mode="before")
    @classmethod
    def _regions_over_all(cls, tree: object) -> object:
        """Complete what is said of a region by what is said of all; no mapping stays as it is."""
        if not isinstance(tree, dict) or not isinstance(tree.get("regions"), dict):
            return tree
        of_all = {key: value for key, value in tree.items() if key != "regions"}
        regions = {name: merged(of_all, own) for name, own in tree["regions"].items()}
        return {**tree, "regions": regions}

    def layouts(self) -> list[tuple[LayoutConfig, frozenset[str] | None]]:
        """All layouts that are used, and of which regions: first that of all not named (None)."""
        found: list[tuple[LayoutConfig, frozenset[str] | None]] = [(self.layout, None)]
        own = {region: each.layout for region, each in self.regions.items()}
        for layout in own.values():
            if layout != self.layout and all(layout != known for known, _ in found):
                same = frozenset(name for name, each in own.items() if each == layout)
                found.append((layout, same))
        return found

    def of(self, region: str) -> RegionIngestion:
        """How the files of ``region`` are read: its own over that of all."""
        if region in self.regions:
            return self.regions[region]
        # Of values that were checked when this was made; this is asked for each of 10,000 regions.
        return RegionIngestion.model_construct(
            timezone=self.timezone, label=self.label, layout=self.layout
        )


class RequiredRules(Section, strict=True):
    """What is asked of a region; one that breaks a rule is refused as a whole."""

    min_rows: Count = Field(description="fewest rows")
    max_missing_share: Share = Field(description="share of hours that may be missing (0 to 1)")
    min_mw: float = Field(description="lowest possible load (MW); below 0 where solar is netted")
    max_mw: Positive = Field(description="highest possible load (MW)")
    max_flagged_share: Share = Field(description="share of readings that may be flagged (0 to 1)")
    max_level_factor: Annotated[float, Field(gt=1.0)] | None = Field(
        description="largest factor by which the level of weeks may change at one hour"
    )
    may_only_grow: bool = Field(
        description="allow loads that only grow, as a meter's register does"
    )

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
    level_ratio: Annotated[float, Field(ge=1.1)] | None = Field(
        description="flag what stands beside the level of the days before by this factor"
    )
    max_level_hours: Count = Field(description="after which a new level is the level (hours)")
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

    @model_validator(mode="before")
    @classmethod
    def _net_load_has_no_level(cls, tree: object) -> object:
        """Where a load may pass below 0, no share of a load says anything: the sun shines."""
        if not isinstance(tree, dict):
            return tree
        required, flagged = tree.get("required"), tree.get("flagged")
        least = required.get("min_mw") if isinstance(required, dict) else None
        if isinstance(least, int | float) and least < 0 and isinstance(flagged, dict):
            return {**tree, "flagged": {**flagged, "dropout_ratio": None, "level_ratio": None}}
        return tree


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
        regions = {name: merged(default, own) for name, own in tree["regions"].items()}
        return {**tree, "regions": regions}

    def of(self, region: str) -> RegionRules:
        """The rules of ``region``: its own over the default."""
        return self.regions.get(region, self.default)

    def key_of(self, region: str, part: str, rule: str) -> str:
        """Which key gives ``region`` this rule, such as ``rules.default.required.min_rows``."""
        own, default = (getattr(rules, part) for rules in (self.of(region), self.default))
        is_own = getattr(own, rule) != getattr(default, rule)
        return f"rules.{f'regions.{region}' if is_own else 'default'}.{part}.{rule}"


def merged(under: object, over: object) -> object:
    """``over`` laid over ``under``, key by key where both are mappings."""
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    return {**under, **{key: merged(under.get(key), value) for key, value in over.items()}}


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
