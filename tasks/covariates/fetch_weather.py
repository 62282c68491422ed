"""Fetch weather by coordinates into ``<REGION>_weather.csv``, merged with what the file holds."""

from __future__ import annotations

import logging
from datetime import date
from typing import TYPE_CHECKING

import pandas as pd

from gridcast.covariates.open_meteo import covariates_of, csv_of, mean_of_places, merged
from gridcast.covariates.reading import WEATHER, asked_of_weather, read_covariates
from gridcast.errors import UsageError
from gridcast.layouts.reading import File
from tasks.covariates.open_meteo_client import open_meteo_client
from tasks.runs.storage import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gridcast.config import Config, Coordinates
    from gridcast.covariates.open_meteo import Kind
    from gridcast.covariates.values import Covariates
    from tasks.covariates.open_meteo_client import OpenMeteoClient

KINDS: tuple[Kind, ...] = ("archive", "issued", "live")
_PLACES = "open_meteo.places"
_log = logging.getLogger("gridcast.weather")


def fetch_weather(
    folder: Path,
    config: Config,
    *,
    since: str,
    until: str | None,
    kinds: Sequence[Kind],
    regions: Sequence[str] = (),
) -> dict[str, Path]:
    """The file of each region, each written whole or as it was before.

    Args:
        folder: of the regional CSVs.
        config: variables and places (``open_meteo``).
        since: first day (ISO, UTC).
        until: last day; none: today.
        kinds: the archive, forecasts as they were issued, or the hours to come.
        regions: only these; none: all that have places.

    Raises:
        UsageError: no places, a day that is none, or a request that Open-Meteo does not take.
        FetchError: no answer in time.
        RegionRefusedError: the file that is there is not as it should be.
    """
    places = config.open_meteo.places
    unknown = [name for name in regions if name not in places]
    if unknown or not places:
        found = ", ".join(unknown) or "none"
        expected = "{REGION: [{latitude: ..., longitude: ..., weight: ...}]}"
        raise UsageError(_PLACES, found=found, expected=expected)
    first, last = _day(since, "--since"), _day(until, "--until")
    paths = {}
    with open_meteo_client(config.open_meteo) as client:
        for region in regions or places:
            path = folder / f"{region}{WEATHER}"
            held = _held(path, region, config)
            for kind in kinds:
                new = _fetched(client, kind, places[region], first=first, last=last)
                _log.info("%s: %d values (%s)", region, len(new.frame), kind)
                held = merged(held, new)
            if held is not None:
                write_bytes(path, csv_of(held))
                paths[region] = path
    return paths


def _day(text: str | None, option: str) -> date:
    if text is None:
        return pd.Timestamp.now("UTC").date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(option, found=repr(text), expected="a day, as 2024-01-31") from None


def _held(path: Path, region: str, config: Config) -> Covariates | None:
    """What the file holds; it is read as a run reads it."""
    if not path.is_file():
        return None
    columns = dict.fromkeys(config.open_meteo.variables, config.covariates.default)
    own = config.covariates.model_copy(update={"columns": columns})
    asked = asked_of_weather(region, own, config.ingestion.of(region))
    return read_covariates([File(path.name, str(path), path.read_bytes())], asked)


def _fetched(
    client: OpenMeteoClient,
    kind: Kind,
    places: Sequence[Coordinates],
    *,
    first: date,
    last: date,
) -> Covariates:
    now = pd.Timestamp.now("UTC")
    answers = [
        pd.concat(list(client.hours(kind, place, first=first, last=last))) for place in places
    ]
    return covariates_of(mean_of_places(answers, places), kind, client.config, now=now)
