"""A model depends on its seed and on the training part, byte for byte, and on nothing else.

Legend: ``T`` steps, ``F`` features, ``B`` windows, ``O`` origins, ``H`` horizon.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gridcast.config import Cell, Config
from gridcast.errors import ConfigError, NotFiniteError, UsageError
from gridcast.features.splits import TRAIN
from gridcast.features.windows import Ints, cut_pass, train_starts
from gridcast.kernels.adam import StackedAdam
from gridcast.networks.building import Forecaster
from gridcast.networks.forecaster import RecurrentForecaster
from gridcast.training import step
from gridcast.training.clock import Progress
from gridcast.training.gradients import BatchGradient
from gridcast.training.loop import TrainedModel, Training, run_interleaved, train_model
from gridcast.training.step import averaging_shares, learning_rates
from tests.builders.trainings import LOADS, make_data, make_stack, tiny, train, weights_of

torch.set_num_threads(1)  # on networks this small, threads only wait for each other


def vector_of(forecaster: Forecaster) -> Tensor:
    return nn.utils.parameters_to_vector(forecaster.parameters()).detach()


def plan_orders(starts: Ints, config: Config, seed: int) -> list[Ints]:
    """The windows of each pass, as training takes them."""
    numbers = range(1, (config.training.passes or 0) + 1)
    return [cut_pass(starts, config.windows, pass_number=number, seed=seed) for number in numbers]


@cache
def reference_weights(cell: Cell = "gru") -> str:
    return weights_of(tiny(), cell=cell)


# -- the same, on several devices -----------------------------------------------------------------


@pytest.mark.parametrize("num_devices", [2, 4])
@pytest.mark.parametrize(
    ("profile", "cell", "changes"),
    [
        ("base", "gru", {}),
        ("base", "lstm", {"average_last": 0.5, "clip_norm": 0.1}),
        ("seed", "gru", {"learning_rate": 1e-2}),
    ],
    ids=["gru", "averaged_and_clipped_lstm", "the_articles_carried_state"],
)
def test_devices_that_share_each_batch_train_what_one_trains(
    num_devices: int, profile: str, cell: Cell, changes: Mapping[str, object]
) -> None:
    config = tiny(profile, training={"schedule": "constant", **changes}, model={"dropout": 0.0})
    data = make_data(config)
    alone = train(config, data, cell=cell)
    training = Training(
        data, config=config, cell=cell, seeds=[0], engine=alone.engine,
        on_progress=lambda *_: None,
        replicas=[data.to(torch.device("cpu")) for _ in range(num_devices - 1)],
    )  # fmt: skip
    run_interleaved([training])
    shared = training.outcomes[0]
    assert isinstance(shared, TrainedModel)
    assert shared.num_steps == alone.num_steps > 5
    start = vector_of(train(tiny(profile, training={"max_steps": 1}), data, cell=cell).forecaster)
    found, expected = vector_of(shared.forecaster), vector_of(alone.forecaster)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert float((expected - start).abs().max()) > 100 * float((found - expected).abs().max())


def test_a_batch_that_devices_cannot_share_alike_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"batch_size a multiple of split_over \(3\)"):
        Config.load("base", overrides=("training.split_over=3",))


# -- the same again ------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before() -> None:
    expected = reference_weights()
    torch.rand(1000)
    np.random.default_rng().random(1000)
    assert weights_of(tiny()) == expected


def test_another_seed_or_cell_gives_other_weights() -> None:
    assert len({reference_weights(), weights_of(tiny(), seed=1), reference_weights("lstm")}) == 3


def test_the_seed_decides_the_order_of_the_windows_too() -> None:
    config = tiny()
    starts = np.arange(100)
    plans = [plan_orders(starts, config, seed) for seed in (0, 0, 1)]
    first, again, other = ([order.tolist() for order in plan] for plan in plans)
    assert first == again != other
    assert first[0] != first[1]  # nor are two passes alike


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_loss_falls(cell: Cell) -> None:
    history = train(tiny(training={"passes": 6, "learning_rate": 0.02}), cell=cell).history
    assert history[-1].loss < 0.7 * history[0].loss


def test_the_articles_profile_trains() -> None:
    config = tiny("seed", training={"passes": 2, "batch_size": 64}, features={})
    data = make_data(config)
    trained = train(config, data)
    num_windows = sum(len(load) - 10 - int(0.1 * (len(load) - 90)) for load in LOADS.values())
    assert len(train_starts(data.steps, config.windows)) == num_windows
    assert trained.num_steps == 2 * (num_windows // 64)  # the last, smaller batch is left out
    assert trained.history[-1].loss < trained.history[0].loss
    assert trained.history[-1].validation_smape is None
    assert data.x_TF.shape[1] == 5


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_articles_profile_gives_the_weights_of_the_articles_loop(cell: Cell) -> None:
    config = tiny("seed", training={"passes": 2, "batch_size": 64}, model={"dropout": 0.0})
    data = make_data(config)
    trained = train(config, data, cell=cell)
    starts = train_starts(data.steps, config.windows)
    torch.manual_seed(0)
    net = RecurrentForecaster(config.model, cell=cell, num_features=5, horizon=1)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001)
    for order in plan_orders(starts, config, 0):
        h: Any = None  # zeros; as in the article, what a batch ends with begins the next one
        for i in range(0, len(order) - 63, 64):
            x = torch.stack([data.x_TF[start : start + 10] for start in order[i : i + 64]])
            label = torch.stack([data.target_T[start + 10] for start in order[i : i + 64]])
            if h is not None:
                h = h.data if cell == "gru" else tuple(each.data for each in h)
            net.zero_grad()
            out, h = net.recurrent(x, h)
            loss = torch.nn.MSELoss()(net.head(torch.relu(out[:, -1]))[:, 0], label)
            loss.backward()
            optimizer.step()
    for name, weight in net.named_parameters():
        torch.testing.assert_close(trained.forecaster.get_parameter(name), weight, msg=name)


# -- leaks ---------------------------------------------------------------------------------------


def held_out_from(region: str) -> int:
    """The first hour of a region's test part, by the article's count."""
    return len(LOADS[region]) - int(0.1 * (len(LOADS[region]) - 90))


@pytest.mark.parametrize(
    "corrupt",
    [
        pytest.param(lambda load: load * 3, id="other_level"),
        pytest.param(lambda load: load[::-1], id="reversed"),
        pytest.param(np.zeros_like, id="all_zero"),
        pytest.param(lambda load: np.where(np.arange(len(load)) % 5, load, 7.0), id="dropouts"),
    ],
)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_other_readings_in_the_test_part_leave_every_weight_as_it_was(
    corrupt: Any,  # noqa: ANN401
    cell: Cell,
) -> None:
    config = tiny()
    corrupted = {}
    for region, load in LOADS.items():
        first = held_out_from(region)
        corrupted[region] = np.concatenate([load[:first], corrupt(load[first:])])
        assert (corrupted[region] != load).sum() >= 4
    assert weights_of(config, make_data(config, corrupted), cell=cell) == reference_weights(cell)


def test_a_meter_stuck_from_the_cutoff_on_leaves_every_weight_as_it_was() -> None:
    config, first, load = tiny(), held_out_from("AEP"), LOADS["AEP"]
    stuck = np.concatenate([load[:first], np.full(len(load) - first, load[first - 1])])
    assert weights_of(config, make_data(config, {**LOADS, "AEP": stuck})) == reference_weights()


def test_nothing_held_out_is_read_in_training_not_even_times_zero() -> None:
    config = tiny(model={"hidden_size": 3})
    data = make_data(config)
    expected = weights_of(config, data)
    held_out = torch.tensor(data.steps.part_T > TRAIN)
    data.x_TF[held_out] = float("nan")
    data.target_T[held_out] = float("nan")
    unknown = replace(data, load_mw_T=np.where(held_out, np.nan, data.load_mw_T))
    assert weights_of(config, unknown) == expected


def test_another_training_label_gives_other_weights() -> None:
    config = tiny(training={"loss": "mse"})  # l1 knows of an error no more than its sign
    data = make_data(config)
    before = weights_of(config, data)
    data.target_T[100] += 1.0
    assert weights_of(config, data) != before


# -- the loss ------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["l1", "mse"])
@pytest.mark.parametrize("horizon", [1, 3])
def test_the_loss_is_the_mean_over_the_training_labels_of_the_batch(
    loss: str, horizon: int
) -> None:
    config = tiny(windows={"horizon": horizon}, training={"loss": loss})
    data = make_data(config)
    data.is_train_T[[18, 19, 120]] = 0.0  # doubtful readings
    forecaster = RecurrentForecaster(
        config.model, cell="gru", num_features=data.x_TF.shape[1], horizon=horizon, num_regions=2
    )
    starts_B = torch.tensor([10, 100, 200])
    errors = []
    with torch.no_grad():
        for start in starts_B.tolist():
            region_B = torch.tensor([int(data.steps.region_T[start])])
            y_OH = forecaster(data.x_TF[None, start : start + 12], 4, region_B)[0]
            for origin in range(4, 12):
                for ahead in range(1, horizon + 1):
                    label = start + origin + ahead
                    if data.is_train_T[label]:
                        errors.append(float(y_OH[origin - 4, ahead - 1] - data.target_T[label]))
        stack = make_stack(data, config)
        stack.weights_SP[0] = vector_of(forecaster)
    found = float(BatchGradient(stack, data, config)(starts_B[None], torch.ones(1))[0])
    each = np.abs(errors) if loss == "l1" else np.square(errors)
    assert found == pytest.approx(each.mean(), rel=1e-5)


@pytest.mark.parametrize("pass_number", [1, 2])
def test_a_label_that_is_not_finite_ends_the_training_naming_cell_seed_and_step(
    pass_number: int,
) -> None:
    config = tiny(training={"batch_size": 2}, windows={"stride": 24})  # each pass skips labels
    data = make_data(config)
    starts = train_starts(data.steps, config.windows)
    passes = plan_orders(starts, config, 3)
    batches = [order[i : i + 2] for order in passes for i in range(0, len(order), 2)]
    num_batches = -(-len(passes[0]) // 2)

    def first_step_on(label: int) -> int:
        reads_it = [bool(((b + 4 < label) & (label <= b + 12)).any()) for b in batches]
        return reads_it.index(True) + 1 if any(reads_it) else 0

    label, step = next(
        (label, step)
        for label in range(100, 300)
        if (step := first_step_on(label)) and -(-step // num_batches) == pass_number and step > 1
    )
    data.target_T[label] = float("nan")
    expected = f"lstm seed 3: found a training loss of nan at step {step}, expected a finite number"
    with pytest.raises(NotFiniteError, match=re.escape(expected)):
        train(config, data, cell="lstm", seed=3)


# -- steps and progress --------------------------------------------------------------------------


def test_there_is_a_step_for_each_batch_of_each_pass_and_the_last_one_is_smaller() -> None:
    config = tiny(training={"passes": 3, "batch_size": 16}, windows={"random_phase": False})
    starts = train_starts(make_data(config).steps, config.windows)
    num_windows = int((starts % 6 == 0).sum())
    assert num_windows % 16
    assert train(config).num_steps == 3 * (num_windows // 16 + 1)
    dropping = tiny(training={"passes": 3, "drop_last": True}, windows={"random_phase": False})
    assert train(dropping).num_steps == 3 * (num_windows // 16)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_averaged_weights_are_the_mean_over_the_last_steps(cell: Cell) -> None:
    constant = {"schedule": "constant", "passes": 2}

    def after(num_steps: int, share: float) -> TrainedModel:
        changes = {**constant, "max_steps": num_steps, "average_last": share}
        return train(tiny(training=changes), cell=cell)

    averaged = after(8, 0.5)
    each = [vector_of(after(num_steps, 0.0).forecaster) for num_steps in (5, 6, 7, 8)]
    torch.testing.assert_close(vector_of(averaged.forecaster), torch.stack(each).mean(0))
    torch.testing.assert_close(vector_of(averaged.last_step), each[-1], rtol=0, atol=0)
    assert not torch.equal(vector_of(averaged.forecaster), each[-1])


def test_before_averaging_begins_the_weights_are_those_of_the_last_step() -> None:
    assert averaging_shares(tiny(training={"average_last": 0.25}).training, 8) == [
        1, 1, 1, 1, 1, 1, 1, 1 / 2,
    ]  # fmt: skip
    assert set(averaging_shares(tiny().training, 8)) == {1.0}


@pytest.mark.parametrize(("max_steps", "num_passes"), [(1, 1), (8, 2)])
def test_max_steps_ends_the_training_early(max_steps: int, num_passes: int) -> None:
    trained = train(tiny(training={"passes": 5, "max_steps": max_steps}))
    assert trained.num_steps == max_steps
    assert len(trained.history) == num_passes


def test_progress_is_told_at_the_end_of_each_pass_with_the_validation_error() -> None:
    config, reported = tiny(training={"passes": 3}), list[Progress]()
    trained = train_model(
        make_data(config), config=config, cell="gru", seed=0, on_progress=reported.append
    )
    assert tuple(reported) == trained.history
    assert [(each.pass_number, each.num_passes) for each in reported] == [(1, 3), (2, 3), (3, 3)]
    assert (reported[-1].step, reported[-1].num_steps) == (trained.num_steps, trained.num_steps)
    assert reported[-1].seconds_left == 0.0
    assert all(0 < (each.validation_smape or 0) < 200 for each in reported)
    assert 0 < trained.train_seconds < reported[-1].elapsed_seconds


@pytest.mark.parametrize(
    "section",
    [
        pytest.param({"windows": {"lookback": 400, "warmup": 4}}, id="no_window_fits"),
        pytest.param({"training": {"batch_size": 1024, "drop_last": True}}, id="no_full_batch"),
    ],
)
def test_a_training_part_too_short_for_a_batch_is_refused_naming_the_knobs(section: Any) -> None:  # noqa: ANN401
    with pytest.raises(UsageError, match=r"expected longer series, or a smaller windows\.stride"):
        train(tiny(**section))


# -- optimiser -----------------------------------------------------------------------------------


@contextmanager
def recorded_steps() -> Iterator[list[tuple[Tensor, float]]]:
    """The clipped gradient (all weights in one vector) and the learning rate of each step."""
    steps: list[tuple[Tensor, float]] = []

    class Recorded(StackedAdam):
        def step(self, grad_SP: Tensor, rate: Tensor) -> None:
            steps.append((self._prepared(grad_SP)[0][0].clone(), float(rate)))
            super().step(grad_SP, rate)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "StackedAdam", Recorded)
        yield steps


def first_gradient(clip_norm: float | None = None, clip_value: float | None = None) -> Tensor:
    clip = {"clip_norm": clip_norm, "clip_value": clip_value}
    with recorded_steps() as steps:
        train(tiny(training={"max_steps": 1, **clip}))
    return steps[0][0]


def test_clipping_by_norm_shortens_the_gradient_and_keeps_its_direction() -> None:
    free, clipped = first_gradient(), first_gradient(clip_norm=0.01)
    assert free.norm() > 5 * 0.01  # else nothing is clipped
    assert float(clipped.norm()) == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(clipped / clipped.norm(), free / free.norm())


def test_a_gradient_shorter_than_the_limit_is_not_changed() -> None:
    assert torch.equal(first_gradient(clip_norm=1e6, clip_value=1e6), first_gradient())


def test_clipping_by_value_limits_each_part_of_the_gradient_alone() -> None:
    free, clipped = first_gradient(), first_gradient(clip_value=0.01)
    assert free.abs().max() > 0.01 > free.abs().min()
    assert torch.equal(clipped, free.clamp(-0.01, 0.01))


@pytest.mark.parametrize("num_steps", [1, 2, 3, 9, 10, 1000])
def test_one_cycle_is_pytorchs_to_the_last_bit(num_steps: int) -> None:
    config = tiny(training={"schedule": "one_cycle", "learning_rate": 0.0123})
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.0123)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.0123, total_steps=num_steps + 1, cycle_momentum=False
    )
    wanted = []
    for _ in range(num_steps):
        wanted.append(cycle.get_last_lr()[0])
        optimizer.step()
        cycle.step()
    assert learning_rates(config.training, num_steps) == wanted


def test_one_cycle_rises_to_the_learning_rate_and_falls_to_nothing_over_all_passes() -> None:
    with recorded_steps() as steps:
        train(tiny(training={"passes": 5, "schedule": "one_cycle", "learning_rate": 0.01}))
    rates = [rate for _, rate in steps]
    peak = int(np.argmax(rates))
    assert 0 < peak < len(rates) // 2
    assert rates[peak] == pytest.approx(0.01, rel=0.1)
    assert rates == [*sorted(rates[:peak]), *sorted(rates[peak:], reverse=True)]
    assert rates[-1] < 0.001


def test_a_constant_learning_rate_stays() -> None:
    with recorded_steps() as steps:
        train(tiny(training={"schedule": "constant", "learning_rate": 0.01}))
    assert [rate for _, rate in steps] == pytest.approx([0.01] * len(steps))


def test_the_size_of_the_data_is_that_of_its_tensors() -> None:
    data = make_data(tiny())
    num_steps = len(data.steps.part_T)
    assert data.num_bytes == 4 * num_steps * (data.x_TF.shape[1] + 2)
    assert replace(data, x_TF=data.x_TF[:, :1]).num_bytes == 4 * num_steps * 3
