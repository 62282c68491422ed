"""Tests of differences between forecasters, held to their formulas, and planted ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from gridcast.config import PromotionConfig
from gridcast.operation.significance import EVERY_REGION, difference_test, differences
from tests.builders.promotions import PROMOTION, make_losses, planted_losses


def newey_west_error(difference_N: np.ndarray, lags: int) -> float:
    """The standard error of the mean, by the article's formula (Bartlett's weights)."""
    num = len(difference_N)
    centred = difference_N - difference_N.mean()
    variance = centred @ centred
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * (centred[lag:] @ centred[:-lag])
    return float(np.sqrt(variance) / num)


@pytest.mark.parametrize("lags", [167, 200])
def test_the_error_of_a_mean_is_newey_wests_with_the_correction_of_harvey(lags: int) -> None:
    losses = planted_losses(0, num_hours=900, regions=1)
    own, other = (losses[name]["R0"].to_numpy() for name in ("challenger", "champion"))
    found = difference_test(own, other, lags=lags, horizon=24)
    correction = np.sqrt((900 + 1 - 2 * 24 + 24 * 23 / 900) / 900)
    assert found.mean == pytest.approx(np.mean(own - other))
    assert found.error == pytest.approx(newey_west_error(own - other, lags) / correction)
    assert 0 < found.p_value < 1


def test_regions_are_corrected_by_holm_and_the_mean_stands_by_itself() -> None:
    losses = planted_losses(1, num_hours=2000, regions=5, better=0.01)
    found = differences(losses["challenger"], losses["champion"], PROMOTION, horizon=24)
    mean = found.pop(EVERY_REGION)
    assert mean.p_adjusted == mean.p_value
    expected = multipletests([each.p_value for each in found.values()], method="holm")[1]
    assert [each.p_adjusted for each in found.values()] == pytest.approx(expected)


def test_the_same_forecasts_are_no_difference() -> None:
    own = make_losses(np.linspace(2, 3, 800))
    found = differences(own, own, PROMOTION, horizon=24)
    assert {(each.change, each.most, each.p_value) for each in found.values()} == {(0.0, 0.0, 1.0)}


def test_hours_that_only_one_has_do_not_count_and_a_region_with_few_has_no_say() -> None:
    losses = planted_losses(2, num_hours=1000, regions=2)
    own, other = losses["challenger"].copy(), losses["champion"].copy()
    own.iloc[:100, 0] = np.nan
    other.iloc[50:150, 0] = np.nan
    own.iloc[PROMOTION.min_hours - 1 :, 1] = np.nan
    found = differences(own, other, PROMOTION, horizon=24)
    assert found.keys() == {EVERY_REGION, "R0"}
    assert found["R0"].num_hours == 850
    whole = [each["R0"].iloc[150:].mean() for each in (losses["challenger"], losses["champion"])]
    assert [found["R0"].error, found["R0"].other_error] == pytest.approx(whole)
    assert differences(own.iloc[:100], other.iloc[:100], PROMOTION, horizon=24) == {}


def test_an_interval_is_wider_the_surer_one_wants_to_be() -> None:
    losses = planted_losses(3, num_hours=1500, regions=1)
    own, other = losses["challenger"], losses["champion"]
    sure = PROMOTION.model_copy(update={"significance": 0.01})
    ends = [differences(own, other, each, horizon=24)["R0"].most for each in (PROMOTION, sure)]
    assert ends[0] < ends[1]


def test_fewer_lags_than_a_week_of_hours_are_refused() -> None:
    values = PROMOTION.model_dump() | {"hac_lags": 24}
    with pytest.raises(ValueError, match="greater than or equal to 167"):
        PromotionConfig.model_validate(values)


def test_losses_are_a_frame_by_issue_time() -> None:
    assert isinstance(make_losses(np.ones(3)).index, pd.DatetimeIndex)
