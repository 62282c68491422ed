"""The EIA's open data interface, version 2: what is asked of it, and what its answers mean.

``electricity/rto/region-sub-ba-data`` has the hourly demand of the sub-regions of a balancing
authority (form EIA-930), ``electricity/rto/region-data`` that of the authority as a whole, by type:
D is the demand, DF the operator's forecast of it from the day before. With the frequency ``hourly``
a period is UTC and names the end of its hour. Values are MWh in an hour, so MW on average; the
interface writes them as strings, or null. https://www.eia.gov/opendata/documentation.php
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from gridcast.errors import FetchError, UsageError

PARENT: Final = "PJM"
WHOLE: Final = "PJM"  # the region that is the whole authority
OPERATOR: Final = "PJM day ahead"  # what its operator has forecast of it: no region
# The name of the file, and the interface's code. Where Kaggle's set has the zone, the file has its
# name there: FE is the zone ATSI, which joined PJM on the day on which the series FE begins.
SUB_REGIONS: Final[dict[str, str]] = {
    "AE": "AE", "AEP": "AEP", "AP": "AP", "BC": "BC", "COMED": "CE", "DAYTON": "DAY",
    "DEOK": "DEOK", "DOM": "DOM", "DPL": "DPL", "DUQ": "DUQ", "EKPC": "EKPC", "FE": "ATSI",
    "JC": "JC", "ME": "ME", "PE": "PE", "PEP": "PEP", "PL": "PL", "PN": "PN", "PS": "PS",
    "RECO": "RECO",
}  # fmt: skip


class Series(NamedTuple):
    """Where a series is, and the facets that single it out: each row of an answer has them too."""

    route: str
    facets: dict[str, str]


_PART: Final = "electricity/rto/region-sub-ba-data/data/"
_AUTHORITY: Final = "electricity/rto/region-data/data/"
SERIES: Final[dict[str, Series]] = {
    **{
        name: Series(_PART, {"parent": PARENT, "subba": code}) for name, code in SUB_REGIONS.items()
    },
    WHOLE: Series(_AUTHORITY, {"respondent": PARENT, "type": "D"}),
    OPERATOR: Series(_AUTHORITY, {"respondent": PARENT, "type": "DF"}),
}
REGIONS: Final = (*SUB_REGIONS, WHOLE)
HOUR: Final = timedelta(hours=1)
_PERIOD_FORMAT = "%Y-%m-%dT%H"
_LABEL_FORMAT = "%Y-%m-%d %H:%M:%S"
_PERIOD = re.compile(r"20\d{2}-\d{2}-\d{2}T\d{2}", re.ASCII)
_MEANT = ("an answer as EIA documents it; if its interface has changed, "
          "gridcast/readings/eia.py has to follow")  # fmt: skip

Readings = dict[datetime, float]


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: ``readings`` by the end of their hour (UTC), and what was left out of it.

    ``total`` counts the rows of all pages, ``num_rows`` those of this one; ``dropped`` has the rows
    that hold no load, as they stood.
    """

    total: int
    num_rows: int
    readings: Readings
    dropped: dict[datetime, str]
    warnings: tuple[str, ...]


class Merged(NamedTuple):
    """What is held after a fetch, and how many of its hours are new or have a new value."""

    readings: Readings
    num_new: int
    num_revised: int


def regions_of(names: list[str] | None) -> list[str]:
    """The regions named, by their own name or the interface's code; none named: all.

    Raises:
        UsageError: one that the interface does not have, before anything is asked or written.

    >>> regions_of(["AEP", "CE"])
    ['AEP', 'COMED']
    """
    by_code = {code: name for name, code in SUB_REGIONS.items()}
    for name in names or []:
        if name not in REGIONS and name not in by_code:
            where, known = f"--region {name[:40]!r}", ", ".join(REGIONS)
            raise UsageError(where, found="no region of PJM", expected=known)
    return list(dict.fromkeys(by_code.get(name, name) for name in names or REGIONS))


def query(
    series: str, *, first: datetime, last: datetime, offset: int, rows: int
) -> dict[str, str]:
    """The parameters that ask for the hours from ``first`` to ``last``, both included."""
    return {
        "frequency": "hourly",
        "data[0]": "value",
        **{f"facets[{name}][]": value for name, value in SERIES[series].facets.items()},
        "start": first.strftime(_PERIOD_FORMAT),
        "end": last.strftime(_PERIOD_FORMAT),
        # Without an order the pages of one answer may overlap.
        "sort[0][column]": "period",
        "sort[0][direction]": "asc",
        "offset": str(offset),
        "length": str(rows),
    }


def first_hour_to_ask(
    held: Readings, *, since: datetime | None, revised_days: int, region: str
) -> datetime:
    """Where a fetch begins: some days before the newest hour held, so that revisions come in.

    An earlier ``since`` than the oldest hour held goes before that. No gap is left.

    Raises:
        UsageError: nothing is held, and no ``since`` is given.
    """
    if not held:
        if since is None:
            where, found = f"EIA {region}", "nothing held to go on from"
            expected = "--since on the first fetch, such as --since 2026-01-01"
            raise UsageError(where, found=found, expected=expected)
        return since
    again = max(held) - timedelta(days=revised_days)
    return since if since is not None and since < min(held) else again


def read_page(body: bytes, *, region: str) -> Page:
    """Read one answer strictly.

    Raises:
        ValueError: the body is no JSON: cut off on its way, and worth asking for again.
        FetchError: it is JSON, but not the answer that is documented.
    """
    where = f"EIA {region}"
    try:
        answer = json.loads(body)
    except RecursionError:
        raise FetchError(where, found="JSON without end", expected="EIA's answer") from None
    try:
        response = answer["response"]
        total, rows = int(response["total"]), list(response["data"])
        readings, dropped = Readings(), dict[datetime, str]()
        for row in rows:
            hour = _hour_of(row, SERIES[region].facets)
            load = _load_of(row["value"])
            if load is None:
                dropped[hour] = str(row["value"])
            else:
                readings[hour] = load
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        found = f"{message_of(answer) or 'another answer'} ({type(error).__name__}: {error})"
        raise FetchError(where, found=found[:300], expected=_MEANT) from None
    warnings = tuple(str(each)[:300] for each in response.get("warnings") or ())
    return Page(total, len(rows), readings, dropped, warnings)


def message_of(answer: object) -> str:
    """What an answer that is an error says of itself: its code and message, in one short line.

    >>> message_of({"error": {"code": "API_KEY_INVALID", "message": "An invalid api_key."}})
    'API_KEY_INVALID: An invalid api_key.'
    """
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict):
        error = ": ".join(str(error[key]) for key in ("code", "message") if key in error)
    return " ".join(str(error or "").split())[:200]


def merge(held: Readings, fetched: Readings) -> Merged:
    """The newer answer wins; an hour that it does not have stays as it was held.

    >>> hour = datetime(2026, 1, 1, 5)
    >>> merge({hour: 1.0}, {hour: 2.0, hour + HOUR: 3.0})[1:]
    (1, 1)
    """
    num_new = len(fetched.keys() - held.keys())
    num_revised = sum(1 for hour, load in fetched.items() if held.get(hour, load) != load)
    return Merged({**held, **fetched}, num_new, num_revised)


def csv_text(readings: Readings, *, region: str) -> str:
    """``<REGION>_hourly.csv``, in the order of time; a label names the end of its hour in UTC."""
    lines = [f"{hour.strftime(_LABEL_FORMAT)},{load!r}" for hour, load in sorted(readings.items())]
    return "\n".join([f"Datetime,{region}_MW", *lines]) + "\n"


def _hour_of(row: dict[str, Any], facets: dict[str, str]) -> datetime:
    if any(row[name] != value for name, value in facets.items()):
        found, asked = "/".join(str(row[name]) for name in facets), "/".join(facets.values())
        message = f"a row of {found}, asked for {asked}"
        raise ValueError(message)
    if row.get("value-units", "megawatthours") != "megawatthours":
        message = f"the unit {row['value-units']!r}"
        raise ValueError(message)
    if not _PERIOD.fullmatch(row["period"]):
        message = f"the period {row['period']!r}"
        raise ValueError(message)
    return datetime.strptime(row["period"], _PERIOD_FORMAT)  # noqa: DTZ007 - UTC, as held


def _load_of(value: object) -> float | None:
    """The load in MW; None for null and for what no load can be (negative or endless)."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        message = f"the value {value!r}"
        raise TypeError(message)
    load = float(value)
    return load if math.isfinite(load) and load >= 0 else None
