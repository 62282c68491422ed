"""Whether a challenger takes over: planted models, two hundred times each; reasons."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from gridcast.operation.decision import Decision, decide
from gridcast.operation.significance import EVERY_REGION
from tests.builders.promotions import PROMOTION, make_losses, make_reference, planted_losses

CHALLENGER, CHAMPION = make_reference("lstm-seed0", "b"), make_reference("gru-seed0", "a")
NUM = 200


def decided(seed: int, *, better: float = 0.0, worse: float = 0.0) -> Decision:
    losses = planted_losses(seed, better=better, worse=worse)
    return decide(CHALLENGER, CHAMPION, losses, PROMOTION)


def num_promoted(num: int = NUM, *, better: float = 0.0, worse: float = 0.0) -> int:
    return sum(decided(seed, better=better, worse=worse).is_promoted for seed in range(num))


def test_an_equal_model_takes_over_in_at_most_5_of_100_contests() -> None:
    assert num_promoted() <= 0.05 * NUM


def test_a_model_that_is_2_percent_better_takes_over_in_at_least_80_of_100() -> None:
    assert num_promoted(better=0.02) >= 0.8 * NUM


def test_a_model_that_is_worse_in_one_region_by_more_than_the_margin_never_takes_over() -> None:
    margin = PROMOTION.margin
    assert num_promoted(NUM // 4, better=0.1, worse=0.1 + 1.2 * margin) == 0  # no matter of chance


def test_the_first_champion_has_to_beat_the_best_naive_forecast_alone() -> None:
    losses = planted_losses(0)
    del losses["champion"]
    losses["same_hour_last_week"] = losses["same_hour_yesterday"] * 2
    first = decide(CHALLENGER, None, losses, PROMOTION)
    assert first.is_promoted
    assert [each.opponent for each in first.contests] == ["same hour yesterday"]
    losses["same_hour_yesterday"] = losses["challenger"] * 0.9
    lost = decide(CHALLENGER, None, losses, PROMOTION)
    assert not lost.is_promoted
    assert lost.reason.startswith("not better in the mean")


def test_who_beats_the_champion_and_not_the_baseline_stays_challenger() -> None:
    losses = planted_losses(0, better=0.1)
    losses["same_hour_yesterday"] = losses["challenger"] * 0.9
    found = decide(CHALLENGER, CHAMPION, losses, PROMOTION)
    assert [each.is_won for each in found.contests] == [True, False]
    assert not found.is_promoted
    assert "same hour yesterday" in found.reason


@pytest.mark.parametrize(
    ("of_challenger", "reason"),
    [(1.0, "not better in the mean"), (0.5, "better:")],
)
def test_the_reason_names_the_figures(of_challenger: float, reason: str) -> None:
    flat = 4 + np.sin(np.arange(800) / 5)
    noise = np.random.default_rng(0).normal(0, 0.1, 800)
    losses = {
        "challenger": make_losses(of_challenger * flat),
        "champion": make_losses(flat + noise - 0.001 * (of_challenger == 1.0)),
    }
    found = decide(CHALLENGER, CHAMPION, losses, PROMOTION)
    assert found.reason.startswith(reason)
    assert CHAMPION.short in found.reason
    mean = found.contests[0].regions[EVERY_REGION]
    assert f"{mean.error:.3f} % against {mean.other_error:.3f} %" in found.reason


def test_labels_are_those_that_all_have() -> None:
    losses = planted_losses(0, num_hours=1500)
    losses["champion"] = losses["champion"].iloc[200:]
    losses["same_hour_yesterday"] = losses["same_hour_yesterday"].iloc[:1400]
    found = decide(CHALLENGER, CHAMPION, losses, PROMOTION)
    assert found.first == losses["challenger"].index[200].isoformat()
    assert found.end == losses["challenger"].index[1399].isoformat()
    assert found.contests[0].regions["R0"].num_hours == 1200


FEW = partial(planted_losses, 0, num_hours=PROMOTION.min_hours - 1)


def test_too_few_labels_decide_nothing_against_a_champion_and_say_what_is_needed() -> None:
    found = decide(CHALLENGER, CHAMPION, FEW(better=0.5), PROMOTION)
    assert not found.is_promoted
    assert found.reason.startswith(
        f"{PROMOTION.min_hours - 1} hours, where the test needs {PROMOTION.min_hours}"
    )
    assert "split.validation_share" in found.reason


def test_the_first_champion_of_a_small_set_needs_no_test_but_to_be_better() -> None:
    losses = FEW()
    del losses["champion"]
    first = decide(CHALLENGER, None, losses, PROMOTION)
    assert first.is_promoted
    assert first.reason.startswith("the first one, better without a test: ")
    assert f"over {PROMOTION.min_hours - 1} hours" in first.reason
    worse = decide(CHALLENGER, None, losses | {"same_hour_yesterday": losses["challenger"] * 0.99},
                   PROMOTION)  # fmt: skip
    assert not worse.is_promoted
    assert worse.reason.startswith("not better in the mean")


def test_without_an_hour_in_common_the_first_champion_is_taken_and_no_other() -> None:
    losses = FEW()
    losses["same_hour_yesterday"] = losses["same_hour_yesterday"].iloc[:0]
    assert not decide(CHALLENGER, CHAMPION, losses, PROMOTION).is_promoted
    del losses["champion"]
    first = decide(CHALLENGER, None, losses, PROMOTION)
    assert first.is_promoted
    assert "no hour to hold it against same hour yesterday" in first.reason
