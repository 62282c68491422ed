"""How the files of a source lie: which files, which cells tell the time, the region, the load."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from gridcast.config.section import Section, Share, known_zones

FileKind = Literal["csv", "excel", "parquet"]
Unit = Literal["W", "kW", "MW", "GW", "Wh", "kWh", "MWh", "GWh"]
StepMinutes = Literal[1, 5, 10, 15, 20, 30, 60]
OFFSET: Final = re.compile(r"[+-](0\d|1[0-4]):[0-5]\d")
# What a format may ask for, and what of it is read.
DIRECTIVES: Final = "YymdbHIpMSz"
_SPECIAL_FORMATS: Final = ("iso", "epoch_seconds", "epoch_milliseconds")


class LayoutConfig(Section):
    """How a file lies. What stands in ``base.yaml`` is the layout of PJM's ``<REGION>_hourly.csv``.

    A column is named as in the header; where a file has none (``header_line: 0``), by its number
    from 1. ``{region}`` in ``files`` and in ``load_column`` is a region's name.
    """

    files: str = Field(min_length=1, description="names of the files; * is any text")
    kind: FileKind = Field(description="csv, excel (also .ods) or parquet")
    encoding: str = Field(description="of a CSV, such as utf-8, utf-16, latin-1 or cp1252")
    separator: str = Field(min_length=1, max_length=1, description="between the cells of a CSV")
    header_line: int = Field(ge=0, description="line of the columns' names (from 1); 0: none")
    row_prefix: str | None = Field(description="lines of readings begin so; null: all lines")
    sheet: str | None = Field(description="of a workbook; null: the first")
    time_columns: tuple[str, ...] = Field(
        min_length=1, description="whose cells, with a blank between them, are the label"
    )
    time_format: str = Field(
        description=f"strptime's, of %{', %'.join(DIRECTIVES)}; or {', '.join(_SPECIAL_FORMATS)}"
    )
    interval_mark: str | None = Field(
        description="between the two ends of an interval, of which the first is read; null: none"
    )
    period_column: str | None = Field(
        description="number of the interval in its local day, from 1; null: none"
    )
    time_zone: str = Field(
        description="of the labels: local (ingestion.timezone), in_label, UTC, an offset such as "
        "+10:00, or an IANA zone"
    )
    second_hour_mark: str | None = Field(
        description="text in a label of the second autumn hour, as X in 02X; null: none"
    )
    winter_column: str | None = Field(description="that tells winter time; null: none")
    winter_marks: tuple[str, ...] = Field(description="its cells in winter time, as EST")
    load_column: str = Field(min_length=1, description="of the loads; {region}: a column a region")
    region_column: str | None = Field(description="of the region's name (long files); null: none")
    region: str | None = Field(description="name, where neither file nor cell tells it")
    names: dict[str, str] = Field(description="region by its name in the file; {}: all, as named")
    only: dict[str, tuple[str, ...]] = Field(
        description="rows that are read: these cells, by column; {}: all"
    )
    decimal: Literal[".", ","] = Field(description="mark of the fraction")
    thousands: Literal[",", ".", " ", "'"] | None = Field(description="mark of the thousands")
    unit: Unit = Field(description="power is averaged over the hour, energy is summed")
    missing: tuple[str, ...] = Field(description="cells without a reading, as n/e or the empty one")
    step_minutes: StepMinutes = Field(description="length of the file's intervals (minutes)")
    fewest_share: Annotated[Share, Field(gt=0.0)] = Field(
        description="share of an hour's intervals from which the hour is made (0 to 1)"
    )

    @property
    def is_native(self) -> bool:
        """Whether it is that of ``<REGION>_hourly.csv``, which a strict parser of its own reads."""
        return self == NATIVE

    @property
    def is_energy(self) -> bool:
        """Whether the cells hold energy by interval."""
        return self.unit.endswith("h")

    @field_validator("time_format")
    @classmethod
    def _readable_format(cls, value: str) -> str:
        asked = re.findall(r"%(.?)", value)
        if value not in _SPECIAL_FORMATS and (not asked or set(asked) - set(DIRECTIVES)):
            known = ", ".join(f"%{each}" for each in DIRECTIVES)
            message = (
                f"{', '.join(_SPECIAL_FORMATS)}, or a format of {known} such as %d.%m.%Y %H:%M"
            )
            raise ValueError(message)
        return value

    @field_validator("time_zone", mode="before")
    @classmethod
    def _offset_without_quotes(cls, value: object) -> object:
        """YAML reads an unquoted +10:00 as the number 600."""
        if not isinstance(value, int) or isinstance(value, bool):
            return value
        return f"{'-' if value < 0 else '+'}{abs(value) // 60:02d}:{abs(value) % 60:02d}"

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        is_word = value in {"local", "in_label", "UTC"} or OFFSET.fullmatch(value)
        if not is_word and value not in known_zones():
            message = "local, in_label, UTC, an offset in quotes such as '+10:00', or an IANA zone"
            raise ValueError(message)
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            "".encode(value)
        except LookupError:
            message = "an encoding that Python knows, such as utf-8, latin-1 or cp1252"
            raise ValueError(message) from None
        return value

    @model_validator(mode="after")
    def _a_region_is_told(self) -> Self:
        is_told = "{region}" in self.files + self.load_column or self.region or self.region_column
        if not is_told:
            message = "{region} in files or load_column, or a region_column, or a region"
            raise ValueError(message)
        return self


NATIVE: Final = LayoutConfig(
    files="{region}_hourly.csv", kind="csv", encoding="utf-8", separator=",", header_line=1,
    row_prefix=None, sheet=None, time_columns=("Datetime",), time_format="%Y-%m-%d %H:%M:%S",
    interval_mark=None, period_column=None, time_zone="local", second_hour_mark=None,
    winter_column=None, winter_marks=(), load_column="{region}_MW", region_column=None,
    region=None, names={}, only={}, decimal=".", thousands=None, unit="MW", missing=(),
    step_minutes=60, fewest_share=1.0,
)  # fmt: skip
