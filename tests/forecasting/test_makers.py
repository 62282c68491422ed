"""Who forecasts: planted equals do not take over by chance, the clearly better ones do.

Legend: ``R`` regions, ``N`` origins of each, ``K`` leads, ``T`` hours.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from gridcast.config import Config
from gridcast.evaluation.metrics import NUM_STRETCHES, errors_of_gain
from gridcast.forecasting.bands import BandState
from gridcast.forecasting.calibration import Calibration
from gridcast.forecasting.makers import Maker, maker_of
from gridcast.forecasting.model import NETWORK, STAND_INS

NUM_REGIONS, NUM_LEADS = 200, 12
BETTER = "linear"
LEAST = Config.load().forecasting.stand_in_errors
NO_BANDS = cast("BandState", None)  # nobody asks for them here


def hanging_together(rng: np.random.Generator, num_hours: int, rho: float) -> np.ndarray:
    """Of each region a series whose hours hang together, ``(R, T)``."""
    noise_RT = rng.normal(size=(NUM_REGIONS, num_hours)) * np.sqrt(1 - rho**2)
    found_RT = np.empty_like(noise_RT)
    found_RT[:, 0] = rng.normal(size=NUM_REGIONS)
    for hour in range(1, num_hours):
        found_RT[:, hour] = rho * found_RT[:, hour - 1] + noise_RT[:, hour]
    return np.asarray(found_RT)


def planted(num_origins: int, *, every: int, rho: float, factor: float) -> list[Maker]:
    """Of 200 regions, each with a network and three others; one has ``factor`` times its errors.

    Errors grow with the lead, hang together over hours, and half of them all have in common.
    """
    rng = np.random.default_rng(5)
    hour_N = np.arange(num_origins) * every
    num_hours = hour_N[-1] + NUM_LEADS + 1
    at_NK = hour_N[:, None] + np.arange(NUM_LEADS)
    common_RT = hanging_together(rng, num_hours, rho)

    def errors(times: float) -> np.ndarray:
        both_RT = (common_RT + hanging_together(rng, num_hours, rho)) / np.sqrt(2)
        return np.asarray(times * np.sqrt(1 + np.arange(NUM_LEADS)) * np.abs(both_RT[:, at_NK]))

    network_RNK = errors(1.0)
    calibrations = {NETWORK: Calibration(network_RNK.mean(axis=1), NO_BANDS)}
    region_B = np.repeat(np.arange(NUM_REGIONS), num_origins)
    for name, times in zip((BETTER, *STAND_INS), (factor, 1.0, 1.0), strict=True):
        other_RNK = errors(times)
        gain_BK = (network_RNK - other_RNK).reshape(-1, NUM_LEADS)
        calibrations[name] = Calibration(
            other_RNK.mean(axis=1), NO_BANDS,
            errors_of_gain(
                gain_BK, region_B, np.tile(hour_N, NUM_REGIONS), num_regions=NUM_REGIONS
            ),
        )  # fmt: skip
    return [maker_of("", n, calibrations, least_errors=LEAST) for n in range(NUM_REGIONS)]


def share_of_takeovers(makers: list[Maker]) -> float:
    return float(np.mean([np.isfinite(each.num_network_leads) for each in makers]))


@pytest.mark.parametrize(("num_origins", "every", "rho"), [(100, 1, 0.95), (400, 5, 0.95)])
def test_equal_forecasters_take_over_in_one_of_twenty_or_less(
    num_origins: int, every: int, rho: float
) -> None:
    makers = planted(num_origins, every=every, rho=rho, factor=1.0)
    assert share_of_takeovers(makers) <= 0.05


def test_without_a_margin_chance_takes_over_again_and_again() -> None:
    by_chance = [
        maker_of("", 0, {
            NETWORK: Calibration(np.array([[1.0, 2.0]]), NO_BANDS),
            STAND_INS[0]: Calibration(np.array([[1.1, 1.9]]), NO_BANDS, error),
        }, least_errors=least)
        for error, least in ((None, LEAST), (np.array([[0.5, 0.5]]), 0.0),
                             (np.array([[0.5, 0.5]]), LEAST), (np.array([[0.02, 0.02]]), LEAST))
    ]  # fmt: skip
    assert [each.num_network_leads for each in by_chance] == [1, 1, np.inf, 1]
    assert by_chance[-1].reason == (
        "from lead 2 on it is better than the network on the validation part "
        "(1.90 % against 2.00 %; chance gives 0.08)"
    )


def test_a_clearly_better_one_takes_over_in_four_of_five_or_more_and_is_the_one() -> None:
    makers = planted(400, every=5, rho=0.95, factor=0.6)
    assert share_of_takeovers(makers) >= 0.8
    assert {each.stand_in for each in makers if np.isfinite(each.num_network_leads)} == {BETTER}
    assert all("chance gives" in each.reason for each in makers if each.reason)


def test_the_error_is_that_of_the_stretches_and_unknown_truths_do_not_count() -> None:
    rng = np.random.default_rng(1)
    gain_NK = rng.normal(size=(50 * NUM_STRETCHES, 3))
    gain_NK[7, 1:] = np.nan
    shuffled = rng.permutation(len(gain_NK))
    found_RK = errors_of_gain(
        gain_NK[shuffled], np.ones(len(gain_NK), dtype=int), shuffled, num_regions=2
    )
    for lead in range(3):
        rest = gain_NK[:, lead:]
        means = [np.nanmean(rest[50 * p : 50 * p + 50]) for p in range(NUM_STRETCHES)]
        expected = np.std(means, ddof=1) / np.sqrt(NUM_STRETCHES)
        assert found_RK[1, lead] == pytest.approx(expected)
    assert np.isinf(found_RK[0]).all()


def test_short_stretches_count_as_fewer_and_too_few_origins_tell_nothing() -> None:
    gain_NK = np.random.default_rng(2).normal(size=(80, 2))
    region_N = np.zeros(80, dtype=int)
    short, long = (
        errors_of_gain(gain_NK, region_N, np.arange(80) * every, num_regions=1) for every in (1, 50)
    )
    np.testing.assert_allclose(short, long * np.sqrt(48 / 10))
    few = errors_of_gain(gain_NK[:15], region_N[:15], np.arange(15), num_regions=1)
    assert np.isinf(few).all()
