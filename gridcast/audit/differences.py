"""Two tables that should be the same: where they differ first.

Legend: ``N`` rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd


class Difference(NamedTuple):
    """The first hour at which two tables differ, and the first column that does there.

    A table without hours has None for them, and in the place of a region what tells its rows.
    """

    region: str
    timestamp: pd.Timestamp | None
    column: str
    found: object
    expected: object

    @property
    def place(self) -> str:
        """Region, hour and column in words."""
        hour = "" if self.timestamp is None else f" {self.timestamp:%Y-%m-%d %H:%M} UTC,"
        return f"{self.region},{hour} {self.column}"


def first_difference(
    found: pd.DataFrame, expected: pd.DataFrame, columns: Iterable[str], *, tolerance: float = 0.0
) -> Difference | None:
    """Where two tables of as many rows (``region``, ``timestamp``, ``columns``) differ first.

    Missing equals missing. With ``tolerance`` 0 two numbers are the same if their bytes are;
    otherwise they may differ by so much.
    """
    first = len(expected)
    where = ""
    for column in columns:
        unlike_N = _unlike(found[column], expected[column], tolerance)
        if unlike_N[:first].any():
            first, where = int(unlike_N.argmax()), column
    if not where:
        return None
    row = expected.iloc[first]
    return Difference(
        str(row["region"]), row["timestamp"], where, found[where].iloc[first], row[where]
    )


def _unlike(found: pd.Series, expected: pd.Series, tolerance: float) -> np.ndarray:
    """Which of ``N`` values differ (bool)."""
    ours, theirs = found.to_numpy(), expected.to_numpy()
    if ours.dtype != theirs.dtype:
        return np.ones(len(ours), dtype=np.bool_)
    if ours.dtype.kind != "f":
        return np.asarray(
            (ours != theirs) & ~(found.isna().to_numpy() & expected.isna().to_numpy())
        )
    if tolerance:
        return np.asarray(~np.isclose(ours, theirs, rtol=0.0, atol=tolerance, equal_nan=True))
    bits = f"u{ours.dtype.itemsize}"
    return np.asarray(ours.view(bits) != theirs.view(bits))
