"""Small inputs for the core's tests: each builder has a default for all that a test is not about.

Legend: ``T`` steps, ``F`` features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from gridcast.config import Config, RulesConfig, Section, merged
from gridcast.features.splits import NO_PART, TEST, TRAIN, VALIDATION
from gridcast.features.windows import Steps
from gridcast.readings.quality import flag_readings

if TYPE_CHECKING:
    from gridcast.config import ModelConfig
    from gridcast.features.table import FeatureTable
    from gridcast.training.data import TrainingData

EASTERN = ZoneInfo("America/New_York")
HOUR = timedelta(hours=1)
LABEL_FORMAT = "%Y-%m-%d %H:%M:%S"
Row = tuple[str, str]


def make_config(profile: str = "base", **sections: Mapping[str, object]) -> Config:
    """A profile with other values: ``make_config(windows={"lookback": 8, "warmup": 2})``.

    Mappings in mappings are laid over: ``make_config(rules={"default": {"flagged": {...}}})``.
    """
    base = _profile(profile)
    changed = {}
    for name, values in sections.items():
        section: Section = getattr(base, name)
        changed[name] = section.model_validate(merged(section.model_dump(), values))
    return base.model_copy(update=changed)


def make_rules(
    *, regions: Mapping[str, object] | None = None, **default: Mapping[str, object]
) -> RulesConfig:
    """The base profile's rules with others: ``make_rules(repaired={"max_fill_hours": 2})``."""
    return make_config(rules={"default": default, "regions": dict(regions or {})}).rules


_profile = cache(Config.load)


def make_rows(
    num: int = 6, *, first: str = "2017-03-01 05:00", load_mw: Iterable[float] | None = None
) -> list[Row]:
    """The rows of ``num`` hours from ``first`` (start of the hour, UTC) on, as PJM writes them.

    By default the load falls by 10 MW an hour: continuous, and no two readings are alike.
    """
    loads = list(load_mw) if load_mw is not None else [13_000.0 - 10 * i for i in range(num)]
    start = datetime.fromisoformat(first).replace(tzinfo=UTC)
    # What a wall clock shows when the hour began, and an hour on: "hour ending".
    wall = [(start + i * HOUR).astimezone(EASTERN).replace(tzinfo=None) for i in range(num)]
    return [
        ((w + HOUR).strftime(LABEL_FORMAT), f"{x:.1f}") for w, x in zip(wall, loads, strict=True)
    ]


def make_csv(
    rows: Sequence[Row | str] | None = None,
    *,
    region: str = "AEP",
    header: str | None = None,
    newline: str = "\n",
    bom: bool = False,
) -> bytes:
    """A regional file; a row is a pair of cells, or a line as it is."""
    rows = make_rows() if rows is None else rows
    lines = [f"Datetime,{region}_MW" if header is None else header]
    lines += [row if isinstance(row, str) else ",".join(row) for row in rows]
    text = "".join(line + newline for line in lines)
    return text.encode("utf-8-sig" if bom else "utf-8")


def make_load(num: int, *, mean_mw: float = 10_000.0, seed: int = 0) -> np.ndarray:
    """A daily and a weekly rhythm with noise, MW."""
    hours = np.arange(num)
    rhythm = 0.2 * np.sin(2 * np.pi * hours / 24) + 0.05 * np.sin(2 * np.pi * hours / 168)
    noise = 0.01 * np.random.default_rng(seed).standard_normal(num)
    load: np.ndarray = mean_mw * (1 + rhythm + noise)
    return load.round(1)


def make_load_frame(
    load_mw: Sequence[float] | np.ndarray,
    *,
    first: str = "2017-01-01 05:00",
    missing: Iterable[int] = (),
    flags: Mapping[int, str] | None = None,
    config: Config | None = None,
) -> pd.DataFrame:
    """One region's readings as ingestion leaves them, without the hours ``missing``.

    ``flags`` names them by hour; by default they are what the quality rules say.
    """
    hours = pd.date_range(first, periods=len(load_mw), freq="h", tz="UTC")
    label = hours.tz_convert(EASTERN).tz_localize(None) + HOUR
    frame = pd.DataFrame(
        {"timestamp": hours, "local_label": label, "load_mw": np.asarray(load_mw, dtype=float)}
    )
    kept = frame.drop(index=list(missing))
    if flags is None:
        flag = flag_readings(kept["load_mw"], (config or make_config()).rules.default.flagged)
    else:
        flag = pd.Series([flags.get(hour, "") for hour in kept.index], kept.index, dtype="str")
    return kept.assign(flag=flag).reset_index(drop=True)


_PART_OF = {"T": TRAIN, "V": VALIDATION, "E": TEST, ".": NO_PART, "-": NO_PART}


def make_steps(drawing: str) -> Steps:
    """Steps as drawn: T train, V validation, E test, ``.`` no label, ``-`` gap; | ends a region."""
    regions = drawing.split("|")
    drawn = "".join(regions)
    return Steps(
        region_T=np.repeat(np.arange(len(regions)), [len(region) for region in regions]),
        part_T=np.array([_PART_OF[letter] for letter in drawn], dtype=np.int8),
        is_input_T=np.array([letter != "-" for letter in drawn], dtype=np.bool_),
    )


def make_training_data(table: FeatureTable, model: ModelConfig | None = None) -> TrainingData:
    """The table as a training process holds it, on the CPU, for such a network."""
    import torch

    from gridcast.training.data import training_data

    scales = {name: (scale.offset_mw, scale.scale_mw) for name, scale in table.scales.items()}
    device = torch.device("cpu")
    return training_data(table.frame, scales, device, model=model)
