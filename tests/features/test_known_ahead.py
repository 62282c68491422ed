"""What is known of an hour ahead: lags that are not shorter than their lead, and nothing later."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridcast.features.known_ahead import NUM_LOADS, SINCE_YESTERDAY, LeadLags, loads_ahead

NUM = 900
FIRST = 100  # where the origin's series begins; another one lies before it


def loads() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(NUM).astype(np.float32))


def lags(horizon: int) -> torch.Tensor:
    return torch.from_numpy(LeadLags.of(horizon).hours_HK)


def found_at(
    load_T: torch.Tensor, origin: int, horizon: int, gap: slice = slice(0, 0)
) -> np.ndarray:
    is_known_T = torch.ones(NUM, dtype=torch.bool)
    is_known_T[gap] = False
    origins, first = torch.tensor([origin]), torch.tensor([FIRST])
    return loads_ahead(load_T, is_known_T, origins, first, lags(horizon))[0].numpy()


@given(st.integers(1, 168))
def test_no_lag_is_shorter_than_its_lead_and_each_is_the_same_hour(horizon: int) -> None:
    hours_HK = LeadLags.of(horizon).hours_HK
    lead_H1 = np.arange(1, horizon + 1)[:, None]
    assert (hours_HK >= lead_H1).all()
    assert (hours_HK[:, :2] % 24 == 0).all()
    assert (hours_HK[:, 2:] % 168 == 0).all()
    assert (hours_HK[:, :1] < lead_H1 + 24).all()  # the latest
    assert (hours_HK[:, 2:3] < lead_H1 + 168).all()


def test_a_lag_shorter_than_its_lead_is_refused() -> None:
    with pytest.raises(ValueError, match="a lag of 24 h for a lead of 25 h"):
        LeadLags(np.full((48, 1), 24))


@pytest.mark.parametrize("origin", [110, 300, 500, 700])
@pytest.mark.parametrize("horizon", [1, 24, 60])
@pytest.mark.parametrize("gap", [slice(0, 0), slice(340, 480)], ids=["whole", "gap"])
def test_loads_are_those_of_the_hours_or_the_origin_s_where_they_are_not_known(
    origin: int, horizon: int, gap: slice
) -> None:
    load_T = loads()
    known = {step for step in range(FIRST, NUM) if not gap.start <= step < gap.stop}

    def load_at(step: int) -> float:
        return float(load_T[step if step in known else origin])

    found = found_at(load_T, origin, horizon, gap)
    assert found.shape == (horizon, NUM_LOADS)
    now = float(load_T[origin])
    for lead in range(1, horizon + 1):
        label = origin + lead
        days, weeks = 24 * -(-lead // 24), 168 * -(-lead // 168)
        same = [load_at(label - back) for back in (days, days + 24, weeks, weeks + 168)]
        changes = [now - load_at(origin - back) for back in (24, 168)]
        expected = [*same, *changes, same[0] - same[2], now - same[0]]
        np.testing.assert_allclose(found[lead - 1], expected, atol=1e-6)
        assert found[lead - 1, SINCE_YESTERDAY] == pytest.approx(changes[0], abs=1e-6)


@pytest.mark.parametrize("horizon", [1, 24, 168])
def test_nothing_after_the_origin_is_looked_at(horizon: int) -> None:
    load_T = loads()
    other_T = load_T.clone()
    other_T[501:] = 1e6
    ours, theirs = (found_at(each, 500, horizon, slice(420, 430)) for each in (load_T, other_T))
    assert ours.tobytes() == theirs.tobytes()
