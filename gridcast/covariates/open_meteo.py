"""Open-Meteo's interfaces: what is asked of them, and what their answers mean. No key is needed.

The archive (``archive-api``) has the weather as it was analysed afterwards; previous runs
(``previous-runs-api``) the forecasts as they were so many days before their hour, as variables
named ``..._previous_day1``; the forecast (``api``) the hours to come. Hours are asked for in UTC.
https://open-meteo.com/en/docs

Legend: ``P`` places.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal

import pandas as pd

from gridcast.covariates.values import ISSUED, TIME, Covariates, sorted_covariates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from gridcast.config import Coordinates, OpenMeteoConfig

Kind = Literal["archive", "issued", "live"]
ADDRESSES: Final[dict[Kind, str]] = {
    "archive": "https://archive-api.open-meteo.com/v1/archive",
    "issued": "https://previous-runs-api.open-meteo.com/v1/forecast",
    "live": "https://api.open-meteo.com/v1/forecast",
}
_DAYS_TO_COME = 7


def names_of(kind: Kind, config: OpenMeteoConfig) -> list[str]:
    """The variables that are asked for."""
    variables = list(config.variables.values())
    if kind != "issued":
        return variables
    return [f"{name}_previous_day{days}" for name in variables for days in config.days_ahead]


def query(
    kind: Kind, place: Coordinates, config: OpenMeteoConfig, *, first: date, last: date
) -> dict[str, str]:
    """The parameters of one request; ``last`` is asked for too."""
    asked = {
        "latitude": f"{place.latitude:g}",
        "longitude": f"{place.longitude:g}",
        "hourly": ",".join(names_of(kind, config)),
        "timezone": "GMT",
    }
    if kind == "live":
        return asked | {"forecast_days": f"{_DAYS_TO_COME}"}
    return asked | {"start_date": first.isoformat(), "end_date": last.isoformat()}


def read_answer(body: bytes, kind: Kind, config: OpenMeteoConfig) -> pd.DataFrame:
    """A column a variable by the start of the hour (UTC); NaN where there is no value.

    Raises:
        ValueError: it is no answer as documented; the message says what is there.
    """
    answer = json.loads(body)
    hourly: Any = answer.get("hourly") if isinstance(answer, dict) else None
    names = names_of(kind, config)
    if not isinstance(hourly, dict) or "time" not in hourly:
        message = "no hourly values"
        raise ValueError(message)
    if answer.get("utc_offset_seconds", 0) != 0:
        message = f"times {answer['utc_offset_seconds']} s from UTC"
        raise ValueError(message)
    lacking = [name for name in names if name not in hourly]
    if lacking or any(len(hourly[name]) != len(hourly["time"]) for name in names):
        message = f"no {', '.join(lacking)}" if lacking else "columns of different lengths"
        raise ValueError(message)
    times = pd.Series(hourly["time"], dtype="str")
    index = pd.DatetimeIndex(pd.to_datetime(times, format="%Y-%m-%dT%H:%M", utc=True))
    columns = {name: pd.to_numeric(pd.Series(hourly[name], dtype=object)) for name in names}
    return pd.DataFrame(columns).astype(float).set_axis(index)


def mean_of_places(answers: Sequence[pd.DataFrame], places: Sequence[Coordinates]) -> pd.DataFrame:
    """Weighted; where a place has no value, there is none of the region."""
    total = sum(place.weight for place in places)
    parts = [own * (place.weight / total) for own, place in zip(answers, places, strict=True)]
    found = parts[0]
    for own in parts[1:]:
        found = found + own
    return found


def covariates_of(
    answer: pd.DataFrame, kind: Kind, config: OpenMeteoConfig, *, now: pd.Timestamp
) -> Covariates:
    """The values by hour and issue time; hours without any are left out.

    The archive's have no issue time. A forecast of so many days before was there ``delay_hours``
    after that; the hours to come, from ``now`` on, are issued now.
    """
    tables = []
    steps: tuple[int | None, ...] = config.days_ahead if kind == "issued" else (None,)
    for days in steps:
        end = "" if days is None else f"_previous_day{days}"
        table = pd.DataFrame({TIME: answer.index, ISSUED: pd.NaT})
        table[ISSUED] = table[ISSUED].dt.tz_localize("UTC")
        if days is not None:
            table[ISSUED] = table[TIME] - pd.Timedelta(hours=24 * days - config.delay_hours)
        elif kind == "live":
            table[ISSUED] = now.ceil("min")
        for name, variable in config.variables.items():
            table[name] = answer[f"{variable}{end}"].to_numpy()
        tables.append(table)
    found = pd.concat(tables, ignore_index=True).dropna(subset=list(config.variables), how="all")
    if kind == "live":
        found = found[found[TIME] >= now.floor("h")]
    return sorted_covariates(found)


def merged(held: Covariates | None, new: Covariates) -> Covariates:
    """What is held and what came; of the same hour and issue what came."""
    frames = [] if held is None else [held.frame]
    both = pd.concat([*frames, new.frame], ignore_index=True)
    return sorted_covariates(both.drop_duplicates([TIME, ISSUED], keep="last"))


def csv_of(covariates: Covariates) -> bytes:
    """As ``<REGION>_weather.csv`` with the settings of ``base.yaml``."""
    form = "%Y-%m-%dT%H:%MZ"
    frame = covariates.frame.copy()
    frame[TIME] = frame[TIME].dt.strftime(form)
    frame[ISSUED] = frame[ISSUED].dt.strftime(form)
    return frame.to_csv(index=False, lineterminator="\n").encode()
