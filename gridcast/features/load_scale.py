"""A region's scale, and the way back from it: ``scaled = (load_mw - offset_mw) / scale_mw``.

It knows numpy alone: what forecasts starts without the library that fits the scales.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

TO_MW: Final = (
    "scaled * scale_mw + offset_mw"  # as `to_mw`, for who serves a model without gridcast
)


def to_mw(
    scaled: np.ndarray, *, offset_mw: np.ndarray | float, scale_mw: np.ndarray | float
) -> np.ndarray:
    """Scaled to MW, any shape that ``offset_mw`` and ``scale_mw`` (MW) can be laid over."""
    load_mw: np.ndarray = scaled * scale_mw + offset_mw
    return load_mw


@dataclass(frozen=True, slots=True)
class LoadScale:
    """One region's affine scale (MW); and of each covariate offset and scale, in its own unit.

    ``norm_mw`` is what its errors are told in percent of; None: of each hour's own load (see
    ``evaluation.measure``).
    """

    offset_mw: float
    scale_mw: float
    covariates: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    norm_mw: float | None = None

    def scale(self, load_mw: np.ndarray) -> np.ndarray:
        """MW to scaled, any shape."""
        return (load_mw - self.offset_mw) / self.scale_mw

    def to_mw(self, scaled: np.ndarray) -> np.ndarray:
        """Scaled to MW, any shape: what :meth:`scale` takes away."""
        return to_mw(scaled, offset_mw=self.offset_mw, scale_mw=self.scale_mw)
