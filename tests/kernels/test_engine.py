"""Which kernels run a training: where ours do not apply PyTorch trains, and says why."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from gridcast.engine import LIBRARY, Engine
from gridcast.kernels import nvrtc
from gridcast.kernels.cpu_kernels import KERNELS_OF_CELL
from gridcast.kernels.engine import LOSSES_OF_LOOPS, engine_of, why_no_loops
from gridcast.networks.forecaster import weights_sha256
from gridcast.training import gradients
from gridcast.training.cpu_gradients import CompiledGradient
from gridcast.training.gradients import BatchGradient
from gridcast.training.loop import gradient_of
from tests.builders.pipelines import ROOT, clean_environment
from tests.builders.trainings import make_data, make_stack, tiny, train

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridcast.config import Cell, Config

CPU, CELLS = torch.device("cpu"), pytest.mark.parametrize("cell", ["gru", "lstm"])
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def with_loss(loss: str, **training: Any) -> Config:  # noqa: ANN401
    """A loss that the configuration does not know (yet)."""
    config = tiny(training={"passes": 2, "batch_size": 16, "precision": "fp32", **training})
    changed = config.training.model_copy(update={"loss": loss})
    return config.model_copy(update={"training": changed})


# -- which one -------------------------------------------------------------------------------------


@CELLS
@pytest.mark.parametrize("precision", ["auto", "fp32", "tf32"])
def test_on_a_cpu_our_loops_train(cell: Cell, precision: str) -> None:
    engine = engine_of(tiny(training={"precision": precision}), CPU, cells=[cell])
    assert (engine.layers, engine.adam) == ("cpu-loops", "cpu-loops"), engine.reason
    assert not engine.is_fallback


@pytest.mark.parametrize(
    ("training", "reason"),
    [
        ({"precision": "bf16"}, "training.precision=bf16: on a CPU our loops have 32 bits alone"),
        ({"precision": "fp16"}, "training.precision=fp16: on a CPU our loops have 32 bits alone"),
        ({"recurrence": "library"}, "training.recurrence=library"),
        ({"recurrence": "library", "precision": "bf16"}, "training.recurrence=library"),
    ],
)
def test_pytorch_trains_where_it_is_asked_for_or_our_loops_do_not_know_the_bits(
    training: dict[str, str], reason: str
) -> None:
    config = tiny(training={"passes": 1, "batch_size": 16, **training})
    engine = engine_of(config, CPU)
    assert engine == Engine(layers="pytorch", adam="pytorch", reason=reason)
    assert engine.is_fallback == ("recurrence" not in training)
    data = make_data(config)
    assert isinstance(gradient_of(make_stack(data, config), data, config), BatchGradient)
    assert train(config, data).engine == engine


def test_a_loss_that_our_loops_do_not_know_is_pytorchs_and_has_pytorchs_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def huber(error: torch.Tensor) -> torch.Tensor:
        return nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=0.1)

    monkeypatch.setitem(gradients.LOSSES, "huber", huber)
    config = with_loss("huber")
    engine = engine_of(config, CPU)
    assert engine.is_fallback
    assert engine.reason == "training.loss=huber: our loops know l1, mse"
    data = make_data(config)
    stack = make_stack(data, config)
    gradient, starts_SB = gradient_of(stack, data, config), torch.tensor([[20, 90, 150]])
    _, found_SP = gradient(starts_SB, torch.ones(1))
    found_SP = found_SP.clone()
    windows, steps_L = config.windows, torch.arange(config.windows.lookback)
    index_BL = starts_SB[0][:, None] + steps_L
    labels_BO = index_BL[:, windows.warmup :] + 1
    assert bool(data.is_train_T[labels_BO].all())
    # An oracle without the stack: weights of its own, PyTorch's loss as a whole.
    forecaster = stack.forecaster(0)
    y_BOH = forecaster(data.x_TF[index_BL], windows.warmup, data.region_of(starts_SB[0]))
    loss = nn.functional.huber_loss(y_BOH[..., 0], data.target_T[labels_BO], delta=0.1)
    wanted = torch.autograd.grad(loss, list(forecaster.parameters()))
    wanted_P = torch.cat([each.flatten() for each in wanted])
    torch.testing.assert_close(found_SP[0], wanted_P, rtol=1e-4, atol=1e-6)
    squared = with_loss("mse", recurrence="library")
    other_SP = gradient_of(make_stack(data, squared), data, squared)(starts_SB, torch.ones(1))[1]
    assert not torch.allclose(other_SP, found_SP, rtol=0.1)  # which is what it once got
    with pytest.raises(KeyError, match="huber"):
        CompiledGradient(stack, data, config, kernels=KERNELS_OF_CELL[stack.cell])(
            starts_SB, torch.ones(1)
        )


def test_a_loss_that_nobody_knows_ends_in_no_gradient_at_all() -> None:
    config = with_loss("mape")
    with pytest.raises(KeyError, match="mape"):
        train(config)


def test_the_losses_of_our_loops_are_losses_of_pytorch_too() -> None:
    assert set(LOSSES_OF_LOOPS) <= set(gradients.LOSSES)


# -- numba that refuses, for real ------------------------------------------------------------------

REFUSALS = {
    "not_there": ({}, "import sys\nsys.modules['numba'] = None", "numba is not installed"),
    "switched_off": ({"NUMBA_DISABLE_JIT": "1"}, "", "NotImplementedError"),
    # As a numba that no longer has a private part would.
    "without_an_option": ({}, "from numba.core import cpu\ndel cpu._options_mixin._nrt", "_nrt"),
    "of_another_llvm": ({}, "import sys\nsys.modules['llvmlite'] = None", "ModuleNotFoundError"),
}
# Each in a fork of one process that has not imported numba yet.
_TRAIN = """
import json, os, sys
from tests.builders.trainings import tiny, train
from gridcast.networks.forecaster import weights_sha256
assert "numba" not in sys.modules
for environment, before, _ in json.loads(sys.argv[1]).values():
    child = os.fork()
    if child == 0:
        os.environ.update(environment)
        exec(before)
        trained = train(tiny())
        print(json.dumps([trained.engine.model_dump(), weights_sha256(trained.forecaster)]))
        sys.exit()
    assert os.waitpid(child, 0)[1] == 0
"""


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Engine, str]]:
    """The engine and the weights of a training where numba refuses our loops, by the reason.

    From nothing: a loop that an earlier process kept is not compiled again.
    """
    kept = {"NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp("numba"))}
    ended = subprocess.run(
        [sys.executable, "-c", _TRAIN, json.dumps(REFUSALS)], cwd=ROOT, check=True, text=True,
        env={**clean_environment(), **kept}, stdout=subprocess.PIPE,
    )  # fmt: skip
    found = map(json.loads, ended.stdout.splitlines())
    return {
        name: (Engine.model_validate(engine), weights)
        for name, (engine, weights) in zip(REFUSALS, found, strict=True)
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSALS)
def test_where_numba_refuses_our_loops_pytorch_trains_and_says_why(
    name: str, refused: dict[str, tuple[Engine, str]]
) -> None:
    engine, weights = refused[name]
    assert engine.is_fallback
    assert REFUSALS[name][2] in engine.reason
    assert "\n" not in engine.reason
    library = train(tiny(training={"recurrence": "library"}))
    assert weights == weights_sha256(library.forecaster)


def test_what_is_read_from_the_settings_takes_neither_numba_nor_pytorch() -> None:
    code = "import sys, gridcast.kernels.engine\nassert not {'numba', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean_environment(), check=True)
    assert why_no_loops(tiny()) == ""


# -- what runs -------------------------------------------------------------------------------------

STEP = ("gather", "score", "square_sum", "adam_step")  # of both cells, called from Python


def counted(calls: Counter[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:  # noqa: ANN401
        calls[name] += 1
        return function(*arguments)

    return call


@CELLS
def test_with_library_no_loop_of_ours_is_called_on_a_cpu(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gridcast.kernels import cpu_kernels

    config, library = tiny(), tiny(training={"recurrence": "library"})
    data = make_data(config)
    train(config, data, cell=cell)  # all is compiled: loops that call one another stay as they are
    calls = Counter[str]()
    for name in STEP:
        function = getattr(cpu_kernels, name)
        monkeypatch.setattr(cpu_kernels, name, counted(calls, name, function))
    for each, kernels in list(KERNELS_OF_CELL.items()):
        forward = counted(calls, f"{each}_forward", kernels.forward)
        backward = counted(calls, f"{each}_backward", kernels.backward)
        counting = kernels._replace(forward=forward, backward=backward)
        monkeypatch.setitem(KERNELS_OF_CELL, each, counting)
    assert train(library, data, cell=cell).engine == LIBRARY
    assert calls == Counter()
    train(config, data, cell=cell)
    assert set(calls) == {*STEP, f"{cell}_forward", f"{cell}_backward"}  # so the count is one


@GPU
@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@CELLS
def test_with_library_no_kernel_of_ours_is_launched_on_a_gpu(
    cell: Cell, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"hidden_size": 64, "num_layers": 2, "dropout": 0.1, "region_units": 2}
    training = {"passes": 2, "batch_size": 16, "precision": precision}
    config = tiny(model=model, training=training)
    library = tiny(model=model, training={**training, "recurrence": "library"})
    data = make_data(config).to(torch.device("cuda:0"))
    launches = Counter[str]()
    launch = nvrtc.Kernel.launch

    def counting(kernel: nvrtc.Kernel, *arguments: Any) -> None:  # noqa: ANN401
        launches["kernels"] += 1
        launch(kernel, *arguments)

    monkeypatch.setattr(nvrtc.Kernel, "launch", counting)
    assert train(library, data, cell=cell).engine == LIBRARY
    assert launches == Counter()
    engine = train(config, data, cell=cell).engine
    assert engine.adam == "gpu-kernels"
    assert engine.is_pytorch == (precision == "fp32")
    assert launches["kernels"] > 0


def test_what_is_tried_is_what_a_training_calls_so_that_nothing_is_compiled_twice() -> None:
    names = [
        *("gather", "score", "square_sum", "adam_step"),
        *(f"{cell}_{way}" for cell in KERNELS_OF_CELL for way in ("forward", "backward")),
    ]
    code = f"""
from gridcast.kernels import cpu_kernels
from gridcast.kernels.cpu_trial import try_loops
from tests.builders.trainings import tiny, train
kernels = [getattr(cpu_kernels, name) for name in {names}]
for cell in ("gru", "lstm"):
    try_loops(cell)
tried = [list(each.signatures) for each in kernels]
assert all(tried)
for cell in ("gru", "lstm"):
    train(tiny(model={{"hidden_size": 70, "num_layers": 2}}), cell=cell)
assert [list(each.signatures) for each in kernels] == tried
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean_environment(), check=True)
