"""Rows of forecasts that two machines have issued on the same day."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_KEY = ["issue_time", "region"]
_ORDER = ["issue_time", "region", "lead"]


def merge_days(theirs: Path, ours: Path) -> None:
    """Add to ``theirs`` the rows of ``ours`` whose region and issue time it has not.

    Both are Parquet with ``issue_time``, ``region``, ``lead``. What was published first stands.
    """
    import pandas as pd

    first, second = pd.read_parquet(theirs), pd.read_parquet(ours)
    known = pd.MultiIndex.from_frame(first[_KEY].drop_duplicates())
    more = second[~pd.MultiIndex.from_frame(second[_KEY]).isin(known)]
    both = pd.concat([first, more], ignore_index=True).sort_values(_ORDER, kind="stable")
    both.to_parquet(theirs, compression="zstd", index=False)
