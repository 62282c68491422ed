"""What ``gridcast forecast`` prints and writes: a line a region, a CSV, a picture."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from gridcast.config import Config
from gridcast.errors import ForecastDoubtError, UsageError
from gridcast.evaluation.forecasts import levels_of, quantile_column
from gridcast.evaluation.measure import format_mw
from gridcast.forecasting.issue import with_zone
from tasks.forecast.forecast_store import export, require_known_form
from tasks.forecast.issue_forecast import end_of_data, issue_forecast
from tasks.runs.storage import publishing

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.forecast.issue_forecast import Issued

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH_OF_FILES = 160
_DAY = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastRequest:
    """What is asked for on the command line; ``as_of`` is ISO text, none: where the data end."""

    artifacts: Path
    profile: str
    overrides: tuple[str, ...]
    as_of: str | None
    folder: Path | None
    regions: tuple[str, ...]
    run_id: str | None
    out: Path | None
    picture: Path | None


def forecast_and_show(asked: ForecastRequest) -> None:
    """Issue the forecast, show it, write what was asked for.

    Raises:
        UsageError, ConfigError, IntegrityError: nothing was forecast.
        ForecastDoubtError: a region has a naive forecast, or none, for want of data.
    """
    config = Config.load(asked.profile, overrides=asked.overrides)
    _require_known_forms(asked)
    if asked.as_of is None:
        instant = end_of_data(asked.artifacts, folder=asked.folder)
    else:
        instant = instant_of(asked.as_of)
    issued = issue_forecast(
        asked.artifacts, config, as_of=instant, folder=asked.folder,
        regions=asked.regions, run_id=asked.run_id,
    )  # fmt: skip
    show_forecast(issued)
    if asked.out is not None:
        export(issued.rows, asked.out)
        sys.stdout.write(f"Rows:      {asked.out}\n")
    if asked.picture is not None:
        _draw(issued, asked.picture)
        sys.stdout.write(f"Picture:   {asked.picture}\n")
    if doubts := issued.missing | issued.doubts:
        raise ForecastDoubtError(doubts, stored=issued.stored)


def _require_known_forms(asked: ForecastRequest) -> None:
    """What is wrong with a file's name, told before anything is computed."""
    if asked.out is not None:
        require_known_form(asked.out)
    if asked.picture is not None and asked.picture.suffix not in {".svg", ".png"}:
        found = f"the ending {asked.picture.suffix!r}"
        raise UsageError(asked.picture, found=found, expected=".svg or .png")


def instant_of(text: str) -> pd.Timestamp:
    """An ISO time as an instant, UTC where it names no zone.

    Raises:
        UsageError: it is none.

    >>> str(instant_of("2018-07-01T09:00-04:00"))
    '2018-07-01 13:00:00+00:00'
    """
    try:
        instant = pd.Timestamp(datetime.fromisoformat(text))
    except ValueError:
        where, expected = "--as-of", "an ISO time, as 2018-07-01T09:00 or 2018-07-01T09:00-04:00"
        raise UsageError(where, found=repr(text), expected=expected) from None
    return with_zone(instant)


def show_forecast(issued: Issued) -> None:
    """A line a region: the next hour and its band, the next day's peak, and how the load goes."""
    timezone = issued.timezone
    local = issued.issue_time.tz_convert(timezone)
    levels = levels_of(issued.rows.columns)
    low, high = (quantile_column(levels[place]) for place in (0, -1))
    horizon = int(issued.rows["lead"].max())
    share = f"{100 * (levels[-1] - levels[0]):.0f} %"
    table = Table(
        title=f"{horizon} hours from {local:%Y-%m-%d %H:%M} ({timezone}), by {issued.model}",
        box=box.SIMPLE_HEAD,
    )
    for name in ("region", "next hour, MW", f"{share} band", "peak of 24 h, MW", "at", "by"):
        table.add_column(name, justify="left" if name in {"region", "by"} else "right")
    table.add_column("the hours to come")
    for region, rows in issued.rows.groupby("region", sort=True):
        table.add_row(str(region), *_cells(rows, low, high, timezone=timezone))
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
    console.print(table)
    for region, reason in issued.fallbacks.items():
        console.print(f"{region}: {reason}", highlight=False)
    for region, reason in issued.lacking.items():
        console.print(f"{region}: {reason}", highlight=False)
    if issued.ended:
        ended = ", ".join(f"{name} ({time:%Y-%m-%d})" for name, time in issued.ended.items())
        console.print(f"No longer reported, and not forecast: {ended}", highlight=False)
    kept = issued.stored or "nothing: a run was named, whoever is in charge"
    console.print(f"Kept:      {kept}", highlight=False, soft_wrap=True)


def _cells(rows: pd.DataFrame, low: str, high: str, *, timezone: str) -> list[str]:
    """What the table says of one region."""
    load_mw = rows["load_mw"].to_numpy()
    peak = int(load_mw[:_DAY].argmax())
    at = rows["timestamp"].iloc[peak].tz_convert(timezone)
    return [
        _mw(load_mw[0]),
        f"{_mw(rows[low].iloc[0])} – {_mw(rows[high].iloc[0])}",
        _mw(load_mw[peak]),
        f"{at:%a %H:%M}",
        _makers(rows),
        sparkline(load_mw),
    ]


def _mw(value: float) -> str:
    return format_mw(value, digits=0)


def _makers(rows: pd.DataFrame) -> str:
    """Who forecasts, and from which lead on another one does."""
    names = [name.replace("_", " ") or "network" for name in rows["fallback"]]
    changes = [n for n in range(1, len(names)) if names[n] != names[n - 1]]
    later = (f"from {rows['lead'].iloc[n]} h {names[n]}" for n in changes)
    return "; ".join([names[0], *later])


def sparkline(values: np.ndarray) -> str:
    """One block a value, the lowest to the highest.

    >>> sparkline(np.array([1.0, 2.0, 8.0]))
    '▁▂█'
    """
    low, span = values.min(), np.ptp(values)
    places = (values - low) / span * (len(_BLOCKS) - 1) if span else np.zeros(len(values))
    return "".join(_BLOCKS[round(place)] for place in places)


def _draw(issued: Issued, path: Path) -> None:
    from gridcast.report.outlook import draw_outlook

    figure = draw_outlook(issued.rows, issued.loads, timezone=issued.timezone)
    with publishing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)
