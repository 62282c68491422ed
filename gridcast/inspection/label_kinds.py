"""Whether labels name the beginning or the end of their interval.

Legend: ``N`` rows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from gridcast.inspection.zone_table import offsets_of

if TYPE_CHECKING:
    from gridcast.inspection.findings import Findings, Sureness
    from gridcast.inspection.time_columns import ReadTimes

_DAY: Final = 86400
_NAMES_END: Final = re.compile(
    r"ending|\bend\b|_end\b|\bhe\b|settlementdate|until|\bbis\b", re.IGNORECASE
)
_NAMES_BEGIN: Final = re.compile(r"begin|start|\bfrom\b|\bvon\b", re.IGNORECASE)


def note_label(
    times: ReadTimes,
    seconds_N: np.ndarray,
    step: int,
    findings: Findings,
    *,
    is_known: bool | None,
) -> None:
    """Note whether labels name the beginning or the end of their interval."""
    words = " ".join(times.guess.columns).replace("_", " ")
    starts = {second % _DAY for second in _first_seconds(seconds_N, findings)}
    sure: Sureness = "likely"
    if times.guess.more.get("interval_mark"):
        found, why, sure = "hour_beginning", "the first end of each interval is read", "certain"
    elif times.guess.form.endswith("%H") and _has_24(times):
        found, why, sure = "hour_ending", "hours go from 1 to 24", "certain"
    elif _NAMES_END.search(words):
        found, why = "hour_ending", f"the column's name {words!r}"
    elif _NAMES_BEGIN.search(words):
        found, why = "hour_beginning", f"the column's name {words!r}"
    elif is_known is False and step in starts:
        found, sure = "clock_at_end", "check"
        why = (
            "the first label is one interval after midnight, and spring leaves out the hour itself"
        )
    elif is_known:
        found, why = "hour_ending", "the hour that spring leaves out is labelled by its end"
    elif step in starts and 0 not in starts:
        found, why, sure = "hour_ending", "the first label is one interval after midnight", "check"
    else:
        is_midnight = 0 in starts and step not in starts
        why = "the first label is midnight" if is_midnight else "nothing tells it"
        found, sure = "hour_beginning", "check"
    is_local = findings.layout.get("time_zone") == "local"
    if found == "hour_beginning" and sure == "check" and is_known is False:
        why += "; by the hours left out and repeated it may be clock_at_end too"
    findings.ingestion["label"] = found
    options = ("hour_beginning", "hour_ending", *(("clock_at_end",) if is_local else ()))
    others = [f"ingestion.label={option}" for option in options if option != found]
    told = {"hour_beginning": "the beginning of its interval",
            "hour_ending": "the end of its interval",
            "clock_at_end": "what the clock showed at its end"}  # fmt: skip
    findings.note(sure, "label", told[found], why, *(others if sure == "check" else ()))


def _first_seconds(seconds_N: np.ndarray, findings: Findings) -> set[int]:
    """The first label, as it stands and as clocks of the region showed it (s)."""
    first = int(seconds_N.min())
    if findings.layout.get("time_zone") == "local":
        return {first}
    instant = np.array([first]).astype("datetime64[s]")
    return {first, first + int(offsets_of(findings.ingestion.get("timezone", "UTC"), instant)[0])}


def _has_24(times: ReadTimes) -> bool:
    text = times.labels.text
    return any(str(each).endswith("24") for each in text[: 24 * 40].to_pylist())
