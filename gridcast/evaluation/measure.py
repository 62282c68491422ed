"""In percent of what errors are told: decided once, from the training part, for all of a run.

Of most loads an error is held against the load of its own hour (sMAPE). Where loads pass near zero,
as those of a substation with solar or of a house at night, that says nothing: of 0.1 MW that were
forecast as 0.3 it makes 100 percent, as much as of hundreds. There all errors are held against the
mean absolute load of their region's training part (nMAE), which is the MAE by another unit, so that
whatever is chosen by it is chosen by the MAE. One region that passes near zero decides for all of a
run: figures of regions are set beside one another.

Legend: ``N`` labels, ``R`` regions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gridcast.evaluation.metrics import Floats, relative_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from gridcast.features.load_scale import LoadScale

MeasureName = Literal["smape", "nmae"]
SMAPE: MeasureName = "smape"
NMAE: MeasureName = "nmae"
LABELS: Mapping[MeasureName, str] = {"smape": "sMAPE", "nmae": "nMAE"}
NEAR_ZERO = 0.1  # of the mean absolute load: below it an hour's own load says nothing
MOST_NEAR_ZERO = 0.001  # of the labels: nine hours a year


def near_zero_share(load_mw: Floats) -> float:
    """The share of the known loads (MW) below a tenth of their mean absolute value, 0 to 1.

    >>> near_zero_share(np.array([10.0, -12.0, 0.5, np.nan, 11.0]))
    0.25
    """
    known = np.abs(load_mw[~np.isnan(load_mw)])
    return float(np.mean(known < NEAR_ZERO * known.mean())) if known.size else 0.0


def mean_load(load_mw: Floats) -> float:
    """The mean absolute value of the known loads, MW; NaN where none is known.

    >>> mean_load(np.array([10.0, -20.0, np.nan]))
    15.0
    """
    known = np.abs(load_mw[~np.isnan(load_mw)])
    return float(known.mean()) if known.size else float("nan")


def measure_of_run(shares: Iterable[float]) -> MeasureName:
    """By the share of labels near zero of each region.

    >>> measure_of_run([0.0, 0.0]), measure_of_run([0.0, 0.2])
    ('smape', 'nmae')
    """
    return NMAE if any(share > MOST_NEAR_ZERO for share in shares) else SMAPE


def near_zero_regions(shares: Mapping[str, float]) -> list[str]:
    """Those that ask for the nMAE."""
    return [region for region, share in shares.items() if share > MOST_NEAR_ZERO]


def percent_errors(y_true: Floats, y_pred: Floats, norm_mw: Floats | float) -> Floats:
    """Of each label, percent: of ``norm_mw``, or of its own load where that is NaN (sMAPE).

    ``100 |F - A| / norm_mw``, or ``100 |F - A| / ((|F| + |A|) / 2)``; any shapes that fit.

    >>> percent_errors(np.array([100.0, 1.0]), np.array([110.0, 11.0]), np.array([50.0, np.nan]))
    array([ 20.        , 166.66666667])
    """
    if np.isnan(norm_mw).all():
        return np.asarray(100 * relative_errors(y_true, y_pred))
    own = 100 * relative_errors(y_true, y_pred)
    return np.where(np.isnan(norm_mw), own, 100 * np.abs(y_pred - y_true) / norm_mw)


def norms_by_row(regions: pd.Series[str], norms: Mapping[str, float]) -> np.ndarray:
    """What the error of each row is held against, MW, ``(N,)``; NaN: its hour's own load."""
    if not norms:
        return np.full(len(regions), np.nan)
    return np.asarray(regions.astype(str).map(norms), dtype=float)


def norms_of(scales: Iterable[LoadScale]) -> np.ndarray:
    """What errors of each region are held against, MW, ``(R,)``; NaN: each hour's own load."""
    return np.array([np.nan if each.norm_mw is None else each.norm_mw for each in scales])


def measure_of(scales: Iterable[LoadScale]) -> MeasureName:
    """How the errors of what has these scales are told."""
    return NMAE if any(each.norm_mw is not None for each in scales) else SMAPE


def measure_by(norms: Mapping[str, float] | None) -> MeasureName:
    """How errors are told that are held against ``norms`` (MW, by region), if there are any.

    >>> measure_by({"SUB": 12.0}), measure_by({}), measure_by(None)
    ('nmae', 'smape', 'smape')
    """
    return NMAE if norms else SMAPE


def sizes_of(y_true: Floats, norm_mw: Floats | float) -> Floats:
    """What a signed error of each label is divided by, MW: the norm, or its own load; 0 is NaN."""
    own = np.where(y_true == 0, np.nan, np.abs(y_true))
    return np.where(np.isnan(norm_mw), own, norm_mw)


def why_nmae(shares: Mapping[str, float]) -> str:
    """For people, why errors are told by the nMAE; empty where they are not."""
    regions = near_zero_regions(shares)
    if not regions:
        return ""
    most = max(regions, key=lambda region: shares[region])
    named = most if len(regions) == 1 else f"{most} and {len(regions) - 1} more"
    return (
        f"Loads of {named} pass near zero ({100 * shares[most]:.1f} % of the training part below a "
        "tenth of the mean), where an error in percent of each hour's own load (sMAPE) says "
        "nothing: errors are in percent of a region's mean absolute load (nMAE), and what is "
        "chosen follows it."
    )


def validation_of(progress: Mapping[str, Any]) -> tuple[MeasureName, float | None]:
    """How wrong a training was at the end of a pass, percent; None: it was not looked at.

    >>> validation_of({"validation_smape": 40.0, "validation_nmae": 2.0})
    ('nmae', 2.0)
    """
    nmae = progress.get("validation_nmae")
    return (SMAPE, progress.get("validation_smape")) if nmae is None else (NMAE, nmae)


def format_mw(value: float | None, *, digits: int = 1) -> str:
    """A load or an error in MW: so many decimals, but three figures; a dash: not known.

    >>> [format_mw(each) for each in (13478.0, 58.04, 2.5, 0.03456, 0.0, None)]
    ['13,478.0', '58.0', '2.50', '0.0346', '0.0', '–']
    >>> format_mw(13478.0, digits=0), format_mw(19.23, digits=0)
    ('13,478', '19.2')
    """
    if value is None or not np.isfinite(value):
        return "–"
    size = abs(value)
    figures = 2 - int(np.floor(np.log10(size))) if size else 0
    return f"{value:,.{min(8, max(digits, figures))}f}"
