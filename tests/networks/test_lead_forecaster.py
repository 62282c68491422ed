"""A head by lead, held to one window, one origin and one lead at a time.

Legend: see ``lead_forecaster.py``.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gridcast.config import Cell, Config
from gridcast.errors import ConfigError
from gridcast.features.known_ahead import LeadLags
from gridcast.features.neighbours import NUM_SIGNALS
from gridcast.networks.lead_forecaster import LeadForecaster, ahead_of
from tests.builders.trainings import make_by_lead, tiny_by_lead

CELLS = pytest.mark.parametrize("cell", ["gru", "lstm"])


def one_by_one(forecaster: LeadForecaster, x_LF: Tensor, region: int, signals_LW: Tensor,
               place: int, ahead_HZ: Tensor) -> list[float]:  # fmt: skip
    """The forecasts from one place of one window."""
    own_D = forecaster.region_RD[region]
    mix_WM = forecaster.mix_RN[region].view(signals_LW.shape[1], -1)
    inputs = [torch.cat([x_F, own_D, signals_W @ mix_WM])
              for x_F, signals_W in zip(x_LF, signals_LW, strict=True)]  # fmt: skip
    state_U = forecaster.recurrent(torch.stack(inputs)[None, : place + 1])[0][0, -1]
    head, forecasts = forecaster.head, []
    for lead, ahead_Z in enumerate(ahead_HZ):
        hidden = head.of_state(state_U) + head.of_lead(head.lead_HE[lead]) + head.of_hour(ahead_Z)
        change = head.last(head.deep(hidden.relu()).relu())[0]
        base = ahead_Z[0] + head.carried_H[lead] * ahead_Z[4]
        forecasts.append(float(base + head.scale_H[lead] * change))
    return forecasts


@CELLS
def test_forecasts_are_those_of_one_window_origin_and_lead_at_a_time(cell: Cell) -> None:
    config = tiny_by_lead()
    forecaster, rng = make_by_lead(config, cell).eval(), torch.Generator().manual_seed(1)
    num_features = forecaster.recurrent.input_size - 2 - 3
    x_BLF = torch.randn(2, 9, num_features, generator=rng)
    signals_BLW = torch.randn(2, 9, 2 * NUM_SIGNALS, generator=rng)
    at_BO = torch.tensor([[3, 8], [0, 5]])
    num_ahead = forecaster.head.of_hour.in_features
    ahead_BOHZ = torch.randn(2, 2, 5, num_ahead, generator=rng)
    region_B = torch.tensor([1, 0])
    with torch.no_grad():
        found = forecaster(x_BLF, region_B, signals_BLW, at_BO, ahead_BOHZ)
        for window in range(2):
            for origin in range(2):
                expected = one_by_one(
                    forecaster, x_BLF[window], int(region_B[window]), signals_BLW[window],
                    int(at_BO[window, origin]), ahead_BOHZ[window, origin],
                )  # fmt: skip
                np.testing.assert_allclose(found[window, origin], expected, atol=1e-5)


def test_what_is_hidden_in_training_is_all_of_some_regions_and_nothing_of_others() -> None:
    config = tiny_by_lead(model={"neighbour_dropout": 0.5})
    forecaster = make_by_lead(config, "gru", num_regions=3).train()
    ones_BLW = torch.ones(64, 5, 3 * NUM_SIGNALS)
    hidden = forecaster._hide_some(ones_BLW).view(64, 5, 3, NUM_SIGNALS)
    of_region = hidden.mean((1, 3))
    assert set(of_region.flatten().tolist()) == {0.0, 1.0}
    assert 0.35 < float(of_region.mean()) < 0.65


def test_a_trained_network_hides_nothing_and_what_is_not_known_counts_for_nothing() -> None:
    config = tiny_by_lead()
    forecaster = make_by_lead(config, "gru").eval()
    signals_BLW = torch.randn(1, 7, 2 * NUM_SIGNALS)
    first = forecaster._mix(signals_BLW, torch.tensor([0]))
    assert torch.equal(first, forecaster._mix(signals_BLW, torch.tensor([0])))
    nothing = forecaster._mix(torch.zeros_like(signals_BLW), torch.tensor([0]))
    assert not nothing.any()


def test_the_calendar_of_each_hour_ahead_is_that_of_the_step_before_it() -> None:
    x_TF = torch.arange(60.0).view(20, 3)
    lags_HK = torch.from_numpy(LeadLags.of(4).hours_HK)
    origins, first = torch.tensor([10]), torch.tensor([0])
    is_known_T = torch.ones(20, dtype=torch.bool)
    found = ahead_of(x_TF, is_known_T, origins, first, lags_HK, num_known=2)
    assert torch.equal(found[0, :, -2:], x_TF[10:14, 1:])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("windows.lookback=200", "windows.lookback: found 200, expected 336 or more"),
        ("features.kind=article", "features.kind: found 'article', expected base"),
        ("windows.unit=rows", "windows.unit: found 'rows', expected hours"),
        ("model.head=linear", "windows.origin_stride: found 5, expected 1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(override: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        Config.load("day_ahead", overrides=(override,))
