"""Two tables that should be the same: where they differ first.

Legend: ``N`` rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gridcast.audit.lineage import UnlikeError, require_figures, require_same
from gridcast.evaluation.forecasts import COLUMNS
from gridcast.features.windows import count_windows, steps_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

    from gridcast.config import WindowsConfig
    from gridcast.features.table import FeatureTable


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


def require_table(
    where: str,
    found: pd.DataFrame,
    expected: pd.DataFrame,
    columns: Sequence[str],
    *,
    tolerance: float,
) -> None:
    """Refuse a table of other rows, naming the first cell that differs.

    Raises:
        UnlikeError: with both values.
    """
    if len(found) != len(expected):
        raise UnlikeError(where=where, found=f"{len(found)} rows", expected=f"{len(expected)}")
    if difference := first_difference(found, expected, columns, tolerance=tolerance):
        place = f"{where}, {difference.place}"
        raise UnlikeError(
            where=place, found=str(difference.found), expected=str(difference.expected)
        )


def require_forecasts(
    where: str, found: pd.DataFrame, expected: pd.DataFrame, *, tolerance: float
) -> None:
    """Refuse other rows of one contestant in the long table.

    Raises:
        UnlikeError: naming the first cell that differs.
    """
    columns = [name for name in COLUMNS if name != "contestant"]
    found, expected = (
        rows.assign(
            **{hour: rows[hour].dt.tz_localize(None) for hour in ("issue_time", "timestamp")}
        )
        for rows in (found, expected)
    )
    require_table(where, found, expected, columns, tolerance=tolerance)


def require_described(
    where: str, told: Mapping[str, Any], built: FeatureTable, windows: WindowsConfig
) -> None:
    """Refuse what is told of a table of features, if it is not what comes of building it.

    That is each region's scale, the features' names, the windows, and how much was filled.

    Raises:
        UnlikeError: naming the first that differs.
    """
    for region, scale in built.scales.items():
        found = dict(zip(("offset_mw", "scale_mw"), told["scales"].get(region, ()), strict=False))
        expected = {"offset_mw": scale.offset_mw, "scale_mw": scale.scale_mw}
        require_figures(f"{where}: scales.{region}.", found, expected)
        own = told["covariate_scales"].get(region, {})
        for name, both in scale.covariates.items():
            found = dict(zip(("offset", "scale"), own.get(name, ()), strict=False))
            expected = dict(zip(("offset", "scale"), both, strict=True))
            require_figures(f"{where}: covariate_scales.{region}.{name}.", found, expected)
    require_same(f"{where}: feature_names", told["feature_names"], built.feature_names)
    counted = count_windows(steps_of(built.frame), windows)
    require_same(f"{where}: windows", told["windows"], counted.model_dump())
    filled = built.frame.groupby("region", observed=True)["is_imputed"].sum()
    require_same(f"{where}: imputed_hours", told["imputed_hours"], filled.to_dict())
