"""Reads a file that has only grown: its rows before are known, so the new ones alone are read.

What comes out is what a full reading gives, or nothing where that is not certain beforehand: then
the file is read as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gridcast.errors import RegionRefusedError
from gridcast.readings.local_time import Cells, RegionLoad, content_sha256, to_utc
from gridcast.readings.parsing import read_rows
from gridcast.readings.quality import flag_readings, level_reach
from gridcast.readings.required import measure

if TYPE_CHECKING:
    from gridcast.config import FlaggedRules, RegionIngestion, RequiredRules
    from gridcast.readings.records import RegionRecord

# Of the known rows so many are read again with the new ones, and the last of them may come out
# otherwise: which reading of an autumn pair came first depends on the hour after it.
CONTEXT, OPEN = 720, 48
_SETTLED = CONTEXT - OPEN
_HOUR, _MINUTE = pd.Timedelta(hours=1), pd.Timedelta(minutes=1)
_COLUMNS = ["timestamp", "local_label", "source_line", "load_mw"]


def append_rows(
    known: pd.DataFrame,
    added: bytes,
    *,
    region: str,
    file: str,
    config: RegionIngestion,
    rules: FlaggedRules,
) -> RegionLoad | None:
    """The readings of a file with ``flag``, of which all but the last lines are known.

    Args:
        known: ``RegionLoad.frame`` with ``flag`` of the file as it was, by the same rules.
        added: the lines that were added at its end.
        region: as for ``parse_region``.
        file: as for ``parse_region``.
        config: as for ``parse_region``.
        rules: by which readings are flagged.

    Returns:
        What ``parse_region`` and ``flag_readings`` give of the whole file. None if there is a fault
        in the new lines, if they tell of hours far back, or if too little is known.
    """
    reach = max(rules.reference_hours, rules.max_flat_hours or 0, level_reach(rules))
    cells = read_rows(added, region)
    if cells is None or len(known) <= CONTEXT or reach >= _SETTLED:
        return None
    context, was_ordered = known.iloc[-CONTEXT:], known["source_line"].is_monotonic_increasing
    both = Cells(
        pd.concat([context["local_label"].astype(cells.labels.dtype), cells.labels]),
        np.concatenate([context["load_mw"].to_numpy(), cells.loads]),
        np.concatenate([context["source_line"].to_numpy(), cells.lines + len(known)]),
    )
    try:
        recent = to_utc(
            both, region=region, file=file, config=config, is_part_of_ordered=was_ordered
        ).frame
    except RegionRefusedError:
        return None  # a full reading tells all there is to tell
    if was_ordered and not both.labels.is_monotonic_increasing:
        return None  # all autumn pairs may come out otherwise
    recent["flag"] = flag_readings(recent["load_mw"], rules)
    settled = context[_COLUMNS].astype(recent[_COLUMNS].dtypes).reset_index(drop=True)
    if not settled.iloc[:_SETTLED].equals(recent[_COLUMNS].iloc[:_SETTLED]):
        return None
    earlier = known.iloc[:-OPEN].astype(recent.dtypes)
    frame = pd.concat([earlier, recent.iloc[_SETTLED:]], ignore_index=True)[recent.columns]
    sha256 = content_sha256(frame["timestamp"], frame["load_mw"].to_numpy())
    return RegionLoad(region, frame, sha256)


def rows_to_judge(
    load: RegionLoad, record: RegionRecord, *, num_known: int, required: RequiredRules
) -> pd.DataFrame:
    """The rows of a grown file that no rule was asked of yet, each with all that is asked of it.

    The rows before were judged by the same rules, and are as they were.

    Args:
        load: of ``append_rows``.
        record: what is known of ``load`` as a whole.
        num_known: rows that were known.
        required: what is asked of the region.

    Returns:
        The columns of ``load.frame``; ``region``; ``form`` (names and types of those columns);
        ``timestamp_before`` (of the row before); ``minutes_off`` (what is
        left over of whole hours since then); ``num_rows``, ``missing_share`` and
        ``flagged_share`` (of the region as a whole, shares from 0 to 1); each of ``required``.
    """
    # Taken by number, not as a slice, which would hold the whole region in memory.
    places = np.arange(num_known - OPEN, len(load.frame))
    rows = load.frame.take(places)
    whole = measure(
        num_rows=record.rows, num_missing=record.missing_hours, num_flagged=record.flagged
    )
    before = load.frame["timestamp"].take(places - 1).array
    return rows.assign(
        region=load.region,
        form=", ".join(f"{name} {dtype}" for name, dtype in rows.dtypes.items()),
        timestamp_before=before,
        minutes_off=((rows["timestamp"].array - before) % _HOUR) // _MINUTE,
        **whole._asdict(),
        **required.model_dump(),
    )
