"""What a flow run is called in Prefect's pages: what it does, of which data, when."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from prefect.runtime import flow_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


def run_name() -> str:
    """Of the flow run that begins now."""
    return name_of(flow_run.flow_name, flow_run.parameters, flow_run.scheduled_start_time)


def name_of(flow: str | None, parameters: Mapping[str, Any], start: datetime) -> str:
    """Such as ``forecast-load pjm 2018-08-01 05:00``.

    Args:
        flow: its name.
        parameters: of the run; ``as_of`` goes before ``start``.
        start: when it was to start.

    >>> from datetime import datetime
    >>> name_of("train-models", {"data": "/srv/pjm"}, datetime(2018, 8, 1, 5))
    'train-models pjm 2018-08-01 05:00'
    >>> name_of("forecast-load", {"as_of": "2018-07-01T09:00"}, datetime(2018, 8, 1, 5))
    'forecast-load 2018-07-01 09:00'
    >>> name_of("replay-operation", {"first": "2017-08-01", "end": "2018-08-01"}, datetime.now())
    'replay-operation 2017-08-01 to 2018-08-01'
    """
    words = [flow or "flow"]
    if folder := parameters.get("data") or parameters.get("folder"):
        words.append(PurePath(str(folder)).name)
    if parameters.get("first") and parameters.get("end"):
        words.append(f"{parameters['first']} to {parameters['end']}")
    elif as_of := parameters.get("as_of"):
        words.append(str(as_of)[:16].replace("T", " "))
    else:
        words.append(f"{start:%Y-%m-%d %H:%M}")
    return " ".join(words)
