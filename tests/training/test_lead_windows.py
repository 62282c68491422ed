"""The losses of a forecaster by lead, held to sums over single labels; and that it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import torch

from gridcast.features.splits import VALIDATION
from gridcast.training.lead_windows import forecast_windows, places_of_loss
from gridcast.training.loop import gradient_of
from gridcast.training.prediction import score
from tests.builders.trainings import (
    LONG_LOADS,
    make_by_lead,
    make_data,
    make_stack,
    tiny_by_lead,
    train,
)

if TYPE_CHECKING:
    from gridcast.networks.lead_forecaster import LeadForecaster


def test_every_origin_after_the_warm_up_has_its_turn() -> None:
    windows = tiny_by_lead(windows={"origin_stride": 5, "warmup": 317}).windows
    seen = set[int]()
    for start in range(5):
        places = places_of_loss(torch.tensor([start]), windows)[0].tolist()
        assert np.diff(places).tolist() == [5] * (len(places) - 1)
        assert windows.warmup <= min(places)
        assert max(places) < windows.lookback
        seen |= set(places)
    assert seen >= set(range(windows.warmup, windows.lookback - 5))


def test_the_loss_is_the_mean_over_the_training_labels_of_all_leads() -> None:
    config = tiny_by_lead(model={"neighbour_dropout": 0.0})
    data = make_data(config, LONG_LOADS)
    stack = make_stack(data, config)
    forecaster = cast("LeadForecaster", stack.alone().eval())
    starts_SB = torch.tensor([[10, 230, 380, -1 - 10]])  # one near its cutoff; the last is filling
    loss_S, grad_SP = gradient_of(stack, data, config)(starts_SB, torch.ones(1))
    errors = []
    for start in (10, 230, 380):
        at_BO = places_of_loss(torch.tensor([start]), config.windows)
        y_BOH = forecast_windows(forecaster, data, torch.tensor([start]), at_BO, config.windows)
        for place, y_H in zip(at_BO[0].tolist(), y_BOH[0], strict=True):
            for lead, forecast in enumerate(y_H.tolist(), start=1):
                label = start + place + lead
                if data.is_train_T[label]:
                    errors.append(abs(forecast - float(data.target_T[label])))
    assert float(loss_S[0]) == pytest.approx(np.mean(errors), rel=1e-4)
    assert grad_SP.shape == stack.weights_SP.shape
    assert (grad_SP != 0).float().mean() > 0.9


def test_it_learns_and_forecasts_all_leads_from_each_origin_of_the_validation_part() -> None:
    config = tiny_by_lead(model={"target": "level"}, training={"passes": 6, "learning_rate": 0.02})
    data = make_data(config, LONG_LOADS)
    begin = score(make_by_lead(config, "gru"), data, VALIDATION, config)
    end = score(train(config, data).forecaster, data, VALIDATION, config)
    assert end.y_pred_OH.shape == (len(begin.origins_O), config.windows.horizon)
    assert end.mean_smape() < begin.mean_smape()
    assert np.isfinite(end.y_pred_OH).all()
