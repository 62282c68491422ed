"""What the system operator itself has forecast of its region, the day before: fetched and kept.

The EIA publishes it beside the load, without saying when it was made. A file ``operator/PJM.csv``
of the folder has an hour a line: the label (the end of the hour, UTC), the forecast (MW), and the
last hour of the fetch that saw it first. What was seen stays: a forecast is what was said before.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pandas as pd

from gridcast.errors import UsageError
from gridcast.readings.eia import HOUR, OPERATOR, WHOLE, first_hour_to_ask
from tasks.fetch.marker import OPERATOR_FOLDER
from tasks.runs.storage import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from gridcast.config import EiaConfig
    from tasks.fetch.eia_client import EiaClient
    from tasks.fetch.eia_plan import FetchPlan

AHEAD_HOURS = 48  # beyond the last hour of a fetch: tomorrow's hours, whatever the zone
_LABEL, _LOAD, _SEEN = "Datetime", f"{WHOLE}_MW", "seen_at"
_FORM = "%Y-%m-%d %H:%M:%S"
_log = logging.getLogger("gridcast.eia")


def fetch_operator(client: EiaClient, plan: FetchPlan, config: EiaConfig) -> int:
    """Ask for what PJM has forecast of itself, and keep what is new; how many hours that is.

    Raises:
        FetchError: no whole answer; what is held stays as it is.
        UsageError: the key is not taken, or the held file is not what a fetch wrote.
    """
    path = plan.folder / OPERATOR_FOLDER / f"{WHOLE}.csv"
    held = _read(path)
    known = dict.fromkeys((each.to_pydatetime() for each in held[_LABEL]), 0.0)
    since = plan.since or plan.until - config.revised_days * 24 * HOUR
    first = first_hour_to_ask(known, since=since, revised_days=config.revised_days, region=OPERATOR)
    last = plan.until + AHEAD_HOURS * HOUR
    answer = client.readings(OPERATOR, first=min(first, last), last=last)
    new = {hour: load for hour, load in answer.readings.items() if hour not in known}
    if not new:
        return 0
    table = pd.DataFrame({
        _LABEL: pd.to_datetime(list(new)), _LOAD: list(new.values()),
        _SEEN: plan.until.strftime(_FORM),
    })  # fmt: skip
    both = pd.concat([held, table], ignore_index=True).sort_values(_LABEL, kind="stable")
    write_bytes(path, both.to_csv(index=False, date_format=_FORM).encode())
    _log.info("%s: %d hours to %s, %d new", OPERATOR, len(both), both[_LABEL].iloc[-1], len(new))
    return len(new)


def read_operator_forecasts(folder: Path) -> pd.DataFrame:
    """What operators have forecast, by ``region`` and ``timestamp`` (UTC, an hour's begin): MW.

    ``seen_at`` (UTC) is by when it was there; empty where a folder has none.

    Raises:
        UsageError: a file is not what a fetch wrote.
    """
    path = folder / OPERATOR_FOLDER / f"{WHOLE}.csv"
    held = _read(path)
    return pd.DataFrame({
        "region": pd.Series(WHOLE, index=held.index, dtype="str"),
        "timestamp": held[_LABEL].dt.tz_localize("UTC") - pd.Timedelta(hours=1),
        "operator_mw": held[_LOAD].astype(float),
        "seen_at": pd.to_datetime(held[_SEEN], format=_FORM).dt.tz_localize("UTC"),
    })  # fmt: skip


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        empty = pd.DatetimeIndex([]).as_unit("us")
        return pd.DataFrame(
            {_LABEL: empty, _LOAD: pd.Series(dtype=float), _SEEN: pd.Series(dtype=str)}
        )
    try:
        held = pd.read_csv(path, dtype={_SEEN: str, _LOAD: float})
        labels = pd.to_datetime(held[_LABEL], format=_FORM)
        held = held.assign(**{_LABEL: labels})[[_LABEL, _LOAD, _SEEN]]
    except (ValueError, KeyError) as error:
        found = str(error).splitlines()[0][:200]
        expected = "what `gridcast fetch eia` wrote; delete it, and fetch with --since"
        raise UsageError(path, found=found, expected=expected) from None
    return held
