"""Covariates as inputs: of each hour ahead what had been known of it at the issue time.

Of a covariate that is known ahead: its value, the difference to some hours before, the mean of the
hours up to it, and 1 where the value is known (else 0, and so is all that hangs on it). Of one that
is known afterwards: the value of the last hour that is over, and 1.

Legend: ``T`` steps, ``B`` issue times, ``K`` hours ahead, ``S`` hours on both sides of an issue
time, ``C`` inputs, ``N`` hours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gridcast.covariates.values import Covariates, KnownValues, known_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridcast.config import CovariatesConfig

AHEAD_PREFIX, PAST_PREFIX = "x_ahead_", "x_past_"
Scales = dict[str, tuple[float, float]]  # offset and scale of each covariate, in its unit
_BLOCK_HOURS = 48  # that are hidden together


UPPER_BOUND = (
    "Covariates without an issue time count as known ahead (covariates.as_known: observed): the "
    "figures are those with a weather forecast that is never wrong, better than can be had."
)


def note_on(config: CovariatesConfig) -> str:
    """What has to be said of figures that come of these settings; empty: nothing."""
    return UPPER_BOUND if config.of_kind("ahead") and config.as_known == "observed" else ""


def names_ahead(config: CovariatesConfig) -> list[str]:
    """The inputs of an hour ahead, in the network's order."""
    return [
        f"{AHEAD_PREFIX}{name}{end}"
        for name in config.of_kind("ahead")
        for end in (
            "",
            *(f"_less_{hours}h" for hours in config.lags_hours),
            *(f"_mean_{hours}h" for hours in config.mean_hours),
            "_known",
        )
    ]


def names_past(config: CovariatesConfig) -> list[str]:
    """The inputs of an hour that is over."""
    return [
        f"{PAST_PREFIX}{name}{end}" for name in config.of_kind("past") for end in ("", "_known")
    ]


@dataclass(frozen=True, slots=True)
class CovariateInputs:
    """What is known of the covariates of one region, and their scales."""

    config: CovariatesConfig
    known: Mapping[str, KnownValues]
    scales: Scales

    @classmethod
    def of(
        cls, covariates: Covariates | None, config: CovariatesConfig, scales: Scales
    ) -> CovariateInputs:
        """Of a region's values; none: nothing is known."""
        return cls(config, known_values(covariates, list(config.columns), config.as_known), scales)

    def ahead(self, issue_B: np.ndarray, num_hours: int) -> np.ndarray:
        """Of the hours from each issue time on (hours since 1970, UTC), ``(B, K, C)``, float32."""
        names = self.config.of_kind("ahead")
        if not names:
            return np.zeros((len(issue_B), num_hours, 0), np.float32)
        each = [self._ahead_of(name, issue_B, num_hours) for name in names]
        return np.concatenate(each, axis=-1)

    def _ahead_of(self, name: str, issue_B: np.ndarray, num_hours: int) -> np.ndarray:
        lags, means = self.config.lags_hours, self.config.mean_hours
        back = max((*lags, *means, 0))
        issue_B1 = issue_B.astype(np.int64)[:, None]
        value_BS = self._scaled(name, issue_B1 + np.arange(-back, num_hours), issue_B1)
        value_BK = value_BS[:, back:]
        before = (value_BS[:, back - lag : back - lag + num_hours] for lag in lags)
        columns = [value_BK, *(value_BK - each for each in before)]
        columns += _means(value_BS, back, means)
        found = [np.nan_to_num(each) for each in columns]
        return np.stack([*found, ~np.isnan(value_BK)], axis=-1).astype(np.float32)

    def past(self, hour_T: np.ndarray) -> np.ndarray:
        """Of the hours that began then (since 1970, UTC), as known when they end, ``(T, C)``."""
        columns = list[np.ndarray]()
        for name in self.config.of_kind("past"):
            value_T = self._scaled(name, hour_T.astype(np.int64), hour_T.astype(np.int64) + 1)
            columns += [np.nan_to_num(value_T), ~np.isnan(value_T)]
        if not columns:
            return np.zeros((len(hour_T), 0), np.float32)
        return np.stack(columns, axis=-1).astype(np.float32)

    def _scaled(self, name: str, hour: np.ndarray, issue: np.ndarray) -> np.ndarray:
        offset, scale = self.scales.get(name, (0.0, 1.0))
        return np.asarray((self.known[name].at(hour, issue) - offset) / scale)

    def fitted(self, hour_N: np.ndarray) -> CovariateInputs:
        """With scales fitted to what was known of these hours, as inputs have it, and no others."""
        hour_N = hour_N.astype(np.int64)
        late = dict.fromkeys(self.config.of_kind("past"), 1)
        found = {
            name: _scale_of(values.at(hour_N, hour_N + late.get(name, 0)))
            for name, values in self.known.items()
        }
        return replace(self, scales=found)

    def with_some_hidden(self, region: str) -> CovariateInputs:
        """As if nobody had known anything ahead on some days: what learns from it bears a lack."""
        share = self.config.hidden_share
        known = {
            name: values.without(_is_hidden(values.hour_N, share, f"{region} {name}"))
            for name, values in self.known.items()
            if name in self.config.of_kind("ahead")
        }
        return replace(self, known={**self.known, **known})


def _means(value_BS: np.ndarray, back: int, means: tuple[int, ...]) -> list[np.ndarray]:
    """The mean of what is known of so many hours up to each one ahead; NaN: nothing."""
    num_ahead = value_BS.shape[1] - back
    total_BK, num_BK = np.zeros((2, len(value_BS), num_ahead))
    found = []
    for lag in range(max(means, default=0)):
        value_BK = value_BS[:, back - lag : back - lag + num_ahead]
        total_BK += np.nan_to_num(value_BK)
        num_BK += ~np.isnan(value_BK)
        if lag + 1 in means:
            found.append(np.where(num_BK > 0, total_BK / np.maximum(num_BK, 1), np.nan))
    return found


def _scale_of(value_N: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of what is known; of what never changes the latter is 1."""
    known = value_N[~np.isnan(value_N)]
    if not len(known):
        return 0.0, 1.0
    spread = float(known.std())
    return float(known.mean()), spread if spread > 0 else 1.0


def _is_hidden(hour_N: np.ndarray, share: float, seed: str) -> np.ndarray:
    """Blocks of days by chance, the same whenever it is asked."""
    blocks, place_N = np.unique(hour_N // _BLOCK_HOURS, return_inverse=True)
    draws = [np.random.default_rng([int(block), *seed.encode()]).random() for block in blocks]
    return np.asarray(np.array(draws, dtype=float) < share)[place_N.reshape(-1)]
