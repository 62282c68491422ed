"""Planted faults: what a replay does to the readings, to see when it is noticed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NoReturn

import numpy as np
import pandas as pd

from gridcast.errors import UsageError
from gridcast.readings.quality import flag_readings
from gridcast.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gridcast.config import RulesConfig

_FORM = re.compile(
    r"(?P<region>\w+) (?P<kind>level|dead|stuck|doubled)(?:\*(?P<factor>\d+(?:\.\d+)?))?"
    r" from (?P<first>\S+)(?: to (?P<end>\S+))?"
)
_EXPECTED = (
    "such as 'AEP level*1.1 from 2017-12-01', 'DOM dead from 2018-01-05 to 2018-01-07', "
    "'DUQ stuck from 2018-02-01 to 2018-02-02' or 'AEP doubled from 2018-03-01T18:00'"
)


class Plant(Record):
    """A fault of a region from ``first`` to before ``end`` (ISO, UTC; null: to the last reading).

    ``level``: loads are multiplied by ``factor``; ``dead``: no reading comes, then or later;
    ``stuck``: the last reading before is repeated; ``doubled``: an hour counted twice, of which
    ``end`` is an hour after ``first`` where none is named.
    """

    region: str
    kind: Literal["level", "dead", "stuck", "doubled"]
    factor: float = 1.0
    first: str
    end: str | None = None

    @property
    def text(self) -> str:
        """As it is asked for.

        >>> parse_plant("AEP level*1.1 from 2017-12-01").text
        'AEP level*1.1 from 2017-12-01T00:00:00+00:00'
        """
        factor = f"*{self.factor:g}" if self.kind == "level" else ""
        until = f" to {self.end}" if self.end else ""
        return f"{self.region} {self.kind}{factor} from {self.first}{until}"


def parse_plant(text: str) -> Plant:
    """The fault that a text asks for.

    Raises:
        UsageError: it is none.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None or (match["kind"] == "level") != (match["factor"] is not None):
        _refuse(text)
    first, end = _instant(match["first"], text), match["end"] and _instant(match["end"], text)
    if match["kind"] == "doubled" and end is None:
        end = (pd.Timestamp(first) + pd.Timedelta(hours=1)).isoformat()
    return Plant.model_validate({
        "region": match["region"], "kind": match["kind"], "factor": float(match["factor"] or 1),
        "first": first, "end": end,
    })  # fmt: skip


def _instant(written: str, text: str) -> str:
    try:
        time = pd.Timestamp(written)
    except ValueError:
        _refuse(text)
    time = time.tz_localize("UTC") if time.tzinfo is None else time.tz_convert("UTC")
    return time.isoformat()


def _refuse(text: str) -> NoReturn:
    where = "--plant"
    raise UsageError(where, found=repr(text), expected=_EXPECTED)


def planted(
    readings: Mapping[str, pd.DataFrame], plants: Iterable[Plant], rules: RulesConfig
) -> dict[str, pd.DataFrame]:
    """The readings with the faults in them, judged anew by the rules where there is one.

    Raises:
        UsageError: a fault is of a region that is not there.
    """
    found = dict(readings)
    for each in plants:
        if each.region not in found:
            expected = f"a region of {', '.join(found)}"
            where = "--plant"
            raise UsageError(where, found=each.region, expected=expected)
        own = _with(found[each.region], each)
        flag = flag_readings(own["load_mw"], rules.of(each.region).flagged)
        found[each.region] = own.assign(flag=flag)
    return found


def _with(readings: pd.DataFrame, plant: Plant) -> pd.DataFrame:
    time = readings["timestamp"]
    is_hit = time >= pd.Timestamp(plant.first)
    if plant.end is not None:
        is_hit &= time < pd.Timestamp(plant.end)
    if plant.kind == "dead":
        return readings[~is_hit].reset_index(drop=True)
    load = readings["load_mw"]
    if plant.kind in {"level", "doubled"}:
        factor = 2.0 if plant.kind == "doubled" else plant.factor
        return readings.assign(load_mw=load.where(~is_hit, load * factor))
    first = int(np.argmax(is_hit.to_numpy()))
    last = load.iloc[max(first - 1, 0)]
    return readings.assign(load_mw=load.mask(is_hit, last))
