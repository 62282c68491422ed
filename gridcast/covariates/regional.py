"""The covariates of all regions of a model, asked side by side.

Legend: ``B`` regions on a day, ``O`` issue times of it, ``K`` hours ahead, ``C`` inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gridcast.covariates.inputs import CovariateInputs, names_ahead

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridcast.config import CovariatesConfig
    from gridcast.covariates.values import Covariates


class Scaled(Protocol):
    """What knows a region's scales."""

    @property
    def covariates(self) -> Mapping[str, tuple[float, float]]:
        """Offset and scale of each covariate."""


@dataclass(frozen=True, slots=True)
class RegionalInputs:
    """By the number of the region; ``num_inputs`` of an hour ahead, ``names`` of the covariates."""

    regions: tuple[CovariateInputs, ...]
    num_inputs: int
    names: tuple[str, ...]

    @classmethod
    def of(
        cls,
        covariates: Mapping[str, Covariates],
        scales: Mapping[str, Scaled],
        config: CovariatesConfig,
    ) -> RegionalInputs:
        """Of all regions of ``scales``, in their order."""
        num_inputs = len(names_ahead(config))
        if not config.columns:
            return cls((), 0, ())
        inputs = (
            CovariateInputs.of(covariates.get(name), config, dict(scale.covariates))
            for name, scale in scales.items()
        )
        return cls(tuple(inputs), num_inputs, config.of_kind("ahead"))

    def ahead(self, region_B: np.ndarray, issue_BO: np.ndarray, num_hours: int) -> np.ndarray:
        """Of the hours from each issue time on (since 1970, UTC), ``(B, O, K, C)``, float32."""
        shape = (*issue_BO.shape, num_hours, self.num_inputs)
        found_BOKC = np.zeros(shape, np.float32)
        if not self.num_inputs:
            return found_BOKC
        for region in np.unique(region_B):
            at = np.flatnonzero(region_B == region)
            own = self.regions[region].ahead(issue_BO[at].reshape(-1), num_hours)
            found_BOKC[at] = own.reshape(len(at), *shape[1:])
        return found_BOKC

    def why_unknown(
        self, region_N: np.ndarray, issue_N: np.ndarray, num_hours: int
    ) -> np.ndarray | None:
        """What was not known of the hours from each issue time on, as text, ``(N, K)``.

        Empty: all were. None: no covariate is known ahead anyhow.
        """
        if not self.names:
            return None
        ahead_NKC = self.ahead(region_N, issue_N[:, None], num_hours)[:, 0]
        per_name = self.num_inputs // len(self.names)
        is_known_NKV = ahead_NKC[..., per_name - 1 :: per_name] > 0
        number_NK = (~is_known_NKV) @ (1 << np.arange(len(self.names)))
        texts = [_without(self.names, number) for number in range(1 << len(self.names))]
        return np.array(texts, dtype=object)[number_NK]


def _without(names: tuple[str, ...], number: int) -> str:
    lacking = [name for place, name in enumerate(names) if number >> place & 1]
    if not lacking:
        return ""
    return f"without {', '.join(lacking)}: nothing had been issued for this hour"
