"""The check for leaks sees what a covariate that was issued later would tell."""

from __future__ import annotations

import numpy as np
import pytest

from gridcast.audit.leaks import find_future_leak
from gridcast.covariates import values
from gridcast.covariates.values import KnownValues
from gridcast.features.table import build_features
from tests.builders.covariates import make_issued, make_observed, with_temperature
from tests.builders.trainings import tiny, tiny_by_lead
from tests.builders.values import make_load, make_load_frame

NUM = 600
READINGS = {"AEP": make_load_frame(make_load(NUM), flags={})}
SEEDS = range(20, 24)


@pytest.mark.parametrize("head", ["linear", "by_lead"])
@pytest.mark.parametrize("covariates", [make_issued(NUM), make_observed(NUM, ahead=48)])
def test_nothing_moves_before_an_hour_by_what_was_issued_after_it(
    head: str, covariates: values.Covariates
) -> None:
    assert not leaks_of(head, covariates)


def leaks_of(head: str, covariates: values.Covariates) -> list[str]:
    own = tiny_by_lead() if head == "by_lead" else tiny()
    config = with_temperature(own, as_known="issued", hidden_share=0.0)
    given = {"AEP": covariates}
    table = build_features(READINGS, config, covariates=given)
    found = (
        find_future_leak(
            "AEP", READINGS["AEP"], table, seed=seed, config=config, covariates=covariates
        )
        for seed in SEEDS
    )
    return [str(each) for each in found if each]


def test_a_look_at_what_is_issued_an_hour_later_is_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    known_at = KnownValues.at

    def an_hour_late(self: KnownValues, hour: np.ndarray, issue: np.ndarray) -> np.ndarray:
        return known_at(self, hour, issue + 1)

    monkeypatch.setattr(KnownValues, "at", an_hour_late)
    found = leaks_of("by_lead", make_issued(NUM, every=1))
    assert found
    assert "issued_003_x_ahead_temperature" in found[0]  # of the next two nothing new is issued
