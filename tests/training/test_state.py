"""A training that goes on from its state ends as one that was never interrupted, byte for byte.

Legend: ``S`` seeds, ``B`` batches of a pass.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any
from weakref import ReferenceType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from torch import Tensor

from gridcast.config import Cell
from gridcast.errors import NotFiniteError, StateRefusedError
from gridcast.features.windows import Steps
from gridcast.kernels.cpu_kernels import CellKernels
from gridcast.kernels.cuda_graph import Recorded
from gridcast.kernels.engine import engine_of
from gridcast.networks.forecaster import weights_sha256
from gridcast.training.data import TrainingData
from gridcast.training.loop import TrainedModel, Training, train_models
from gridcast.training.state import TrainingState, state_file, state_of_file
from tests.builders.pipelines import ROOT, clean_environment
from tests.builders.trainings import make_data, tiny
from tests.builders.warm_server import warm_python

torch.set_num_threads(1)  # on networks this small, threads only wait for each other

Sections = Mapping[str, Mapping[str, object]]
TWO_LAYERS: dict[str, object] = {"num_layers": 2, "dropout": 0.3, "hidden_size": 6}
LIBRARY: dict[str, object] = {"recurrence": "library"}
OF_THE_ARTICLE: dict[str, object] = {"passes": 2, "batch_size": 64}  # carries the hidden state
LIBRARY_OF_IT = {**OF_THE_ARTICLE, **LIBRARY}
# Some regions' past is hidden by chance.
BY_LEAD: Sections = {
    "windows": {"lookback": 12, "warmup": 4, "horizon": 3, "origin_stride": 2},
    "model": {"head": "by_lead", "lead_units": 4, "neighbour_units": 2, "neighbour_dropout": 0.5},
}
# Profile, sections, devices that share each batch.
KINDS: dict[str, tuple[str, Sections, int]] = {
    "compiled": ("base", {}, 1),
    "library": ("base", {"training": LIBRARY}, 1),
    "averaged": ("base", {"training": {"average_last": 0.6, "clip_norm": 0.1, "passes": 3}}, 1),
    "averaged_library": ("base", {"training": {**LIBRARY, "average_last": 0.6}}, 1),
    "dropout": ("base", {"model": TWO_LAYERS}, 1),
    "dropout_library": ("base", {"model": TWO_LAYERS, "training": LIBRARY}, 1),
    "fp16": ("base", {"training": {"precision": "fp16"}}, 1),  # PyTorch's, with a loss scale
    "fp16_carried": ("seed", {"training": {**OF_THE_ARTICLE, "precision": "fp16"}}, 1),
    "ends_early": ("base", {"training": {"max_steps": 10, "optimizer": "adam"}}, 1),
    "one_phase": ("base", {"windows": {"random_phase": False}}, 1),
    "carried": ("seed", {"training": OF_THE_ARTICLE, "model": {"dropout": 0.0}}, 1),
    "carried_dropout": ("seed", {"training": OF_THE_ARTICLE, "model": TWO_LAYERS}, 1),
    "carried_library": ("seed", {"training": LIBRARY_OF_IT, "model": TWO_LAYERS}, 1),
    "by_lead": ("base", BY_LEAD, 1),
    "shared": ("base", {"training": {"average_last": 0.5}}, 2),
    "shared_carried": ("seed", {"training": OF_THE_ARTICLE, "model": TWO_LAYERS}, 2),
    "shared_library": ("seed", {"training": LIBRARY_OF_IT, "model": TWO_LAYERS}, 2),
}  # fmt: skip
CELLS = pytest.mark.parametrize("cell", ["gru", "lstm"])
# PyTorch has no LSTM in fp16 on every CPU.
PAIRS: list[tuple[str, Cell]] = [
    *((kind, "gru") for kind in KINDS),
    *((kind, "lstm") for kind in KINDS if "fp16" not in kind),
]
ALL_KINDS = pytest.mark.parametrize("kind", KINDS)
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
# Kinds on a GPU, whose seeds share a pass where they have our kernels.
GPU_KINDS: dict[str, tuple[str, Sections, tuple[int, ...]]] = {
    "fused": ("base", {"training": {"precision": "bf16", "average_last": 0.5}}, (0, 3, 5)),
    "fused_fp16": ("base", {"training": {"precision": "fp16", "clip_norm": 0.1}}, (0, 3)),
    "fused_dropout": ("base", {"training": {"precision": "fp16"}, "model": TWO_LAYERS}, (0, 3)),
    "fused_carried": ("seed", {"training": {"precision": "bf16"}, "model": TWO_LAYERS}, (0, 3)),
    "fp32": ("base", {}, (0,)),
    "library": ("seed", {"training": LIBRARY, "model": {"dropout": 0.0}}, (0,)),
    "library_dropout": ("base", {"training": LIBRARY, "model": TWO_LAYERS}, (0,)),
}


class Trainer:
    """Makes trainings of one kind, all alike."""

    def __init__(self, kind: str, cell: Cell, seeds: tuple[int, ...] = (3,)) -> None:
        profile, sections, num_devices = KINDS[kind]
        self.config, self.cell, self.seeds = tiny(profile, **sections), cell, seeds
        self.data = make_data(self.config)
        device = self.data.x_TF.device
        self.replicas = [self.data.to(device) for _ in range(num_devices - 1)]
        self.engine = engine_of(self.config, device, cells=[cell])

    def begin(self, state: TrainingState | None = None) -> Training:
        training = Training(
            self.data, config=self.config, cell=self.cell, seeds=self.seeds,
            engine=self.engine, on_progress=lambda *_: None, replicas=self.replicas,
        )  # fmt: skip
        if state is not None:
            training.put_state(state)
        return training


class GpuTrainer(Trainer):
    def __init__(self, kind: str, cell: Cell) -> None:
        profile, sections, self.seeds = GPU_KINDS[kind]
        sections = {**sections, "model": {**sections.get("model", {}), "hidden_size": 64}}
        if profile == "seed":
            sections["training"] = {**OF_THE_ARTICLE, **sections["training"]}
        self.config, self.cell = tiny(profile, **sections), cell
        self.data = make_data(self.config).to(torch.device("cuda"))
        self.replicas = []
        self.engine = engine_of(self.config, self.data.x_TF.device, cells=[cell])


def advance(training: Training, num: int | None = None) -> Training:
    """So many steps and validations, or all that are left."""
    steps = training.steps()
    for _ in range(num) if num is not None else iter(int, 1):
        if next(steps, "ended") == "ended":
            break
    return training


def places_of(trainer: Trainer) -> int:
    """Steps and validations of a training."""
    return sum(1 for _ in trainer.begin().steps())


@cache
def expected_of(kind: str, cell: Cell) -> tuple[dict[int, dict[str, Any]], int]:
    """What comes of a training that is not interrupted, and its places."""
    trainer = Trainer(kind, cell)
    return result_of(advance(trainer.begin())), places_of(trainer)


def result_of(training: Training) -> dict[int, dict[str, Any]]:
    """All that comes of it but times: of each seed the weights, the history, the steps."""
    return {seed: _outcome_of(outcome) for seed, outcome in training.outcomes.items()}


def _outcome_of(outcome: TrainedModel | NotFiniteError) -> dict[str, Any]:
    if isinstance(outcome, NotFiniteError):
        return {"error": str(outcome)}
    times = ("steps_per_second", "seconds_left", "elapsed_seconds", "pass_seconds")
    return {
        "weights": weights_sha256(outcome.forecaster),
        "last_step": weights_sha256(outcome.last_step),
        "history": [
            {name: value for name, value in asdict(each).items() if name not in times}
            for each in outcome.history
        ],
        "num_steps": outcome.num_steps,
    }


def through_a_file(state: TrainingState) -> TrainingState:
    """As it comes out of the bytes of a file."""
    return state_of_file(state_file(state), where="a state")


def spoil_generators() -> None:
    """Whatever draws from them next draws something else."""
    torch.manual_seed(999)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(999)


# -- from a state to the end ----------------------------------------------------------------------


def check_interrupted_at_every_place(trainer: Trainer) -> None:
    """A training of which each step, and each validation, is done by a new object."""
    expected = result_of(advance(trainer.begin()))
    num_places = places_of(trainer)
    config = trainer.config.training
    assert num_places > (config.passes or 0) + 5
    training, places = trainer.begin(), []
    for _ in range(num_places):
        state = through_a_file(advance(training, 1).take_state())
        places.append((state.record.pass_number, state.record.batch))
        spoil_generators()
        training = trainer.begin(state)
    assert result_of(advance(training)) == expected
    assert (2, 0) in places  # after a validation
    assert (1, max(batch for number, batch in places if number == 1)) in places  # before it
    assert (2, 3) in places  # in the middle of a pass


@pytest.mark.parametrize(("kind", "cell"), PAIRS)
def test_a_training_interrupted_at_every_place_ends_as_one_that_is_not(
    kind: str, cell: Cell
) -> None:
    check_interrupted_at_every_place(Trainer(kind, cell))


@settings(max_examples=25, deadline=None)
@given(
    pair=st.sampled_from(PAIRS),
    cut=st.floats(0, 1),
    more=st.integers(0, 12),
    is_new=st.booleans(),
)
def test_a_state_puts_a_training_back_where_it_was_however_far_it_went_since(
    *, pair: tuple[str, Cell], cut: float, more: int, is_new: bool
) -> None:
    trainer = Trainer(*pair)
    expected, num_places = expected_of(*pair)
    training = advance(trainer.begin(), round(cut * num_places))
    state = training.take_state()
    advance(training, more)
    if is_new:  # one that has gone its own way already
        training = advance(trainer.begin(), more)
    training.put_state(state)
    assert result_of(advance(training)) == expected


def test_a_process_that_begins_goes_on_where_another_ended(tmp_path: Path) -> None:
    trainer = Trainer("carried_dropout", "lstm")
    expected = result_of(advance(trainer.begin()))[3]["weights"]
    state = advance(trainer.begin(), 4).take_state()
    (tmp_path / "state").write_bytes(state_file(state))
    code = """
import sys
from pathlib import Path
from gridcast.training.state import state_of_file
from tests.training.test_state import Trainer, advance, result_of
path = Path(sys.argv[1]) / "state"
state = state_of_file(path.read_bytes(), where=path)
training = Trainer("carried_dropout", "lstm").begin(state)
print(result_of(advance(training))[3]["weights"])
"""
    done = subprocess.run(
        [warm_python(), "-c", code, tmp_path], cwd=ROOT, env=clean_environment(), check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split()[-1] == expected


def test_who_hears_of_progress_may_take_the_state() -> None:
    trainer = Trainer("averaged", "gru")
    expected = result_of(advance(trainer.begin()))
    taken: list[TrainingState] = []
    training = Training(
        trainer.data, config=trainer.config, cell="gru", seeds=(3,), engine=trainer.engine,
        on_progress=lambda *_: taken.append(training.take_state()),
    )  # fmt: skip
    advance(training)
    ends = [each for each in taken if each.record.batch == 0]
    assert [each.record.pass_number for each in ends] == [2, 3, 4]
    for state in taken:
        assert result_of(advance(trainer.begin(state))) == expected


# -- what a state is -------------------------------------------------------------------------------


@ALL_KINDS
def test_a_taken_state_is_a_copy_that_nothing_changes(kind: str) -> None:
    trainer = Trainer(kind, "gru")
    training = advance(trainer.begin(), 3)
    state = training.take_state()
    record, tensors = state.record.model_dump_json(), copies(state.tensors)
    other = trainer.begin(state)
    for each in (training, other):
        advance(each)
    assert state.record.model_dump_json() == record
    for name, tensor in state.tensors.items():
        assert torch.equal(tensor, tensors[name]), name


def copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: each.clone() for name, each in tensors.items()}


@ALL_KINDS
def test_tensors_are_put_back_where_they_lie(kind: str) -> None:
    """A recorded CUDA graph knows them by their addresses."""
    training = advance(Trainer(kind, "gru").begin(), 5)
    state, update = training.take_state(), training._update
    assert update is not None
    places = {name: each.data_ptr() for name, each in update.state_tensors().items()}
    advance(training, 3)
    training.put_state(state)
    assert update is training._update
    for name, tensor in update.state_tensors().items():
        if not name.startswith("generator") and not name.endswith("rng"):  # no tensors inside
            assert tensor.data_ptr() == places[name], name


def test_times_go_on_from_those_of_the_state() -> None:
    trainer = Trainer("compiled", "gru")
    state = advance(trainer.begin(), 8).take_state()
    longer = {"elapsed_seconds": 1000.0, "pass_seconds": 100.0, "train_seconds": 500.0}
    record = state.record.model_copy(update=longer)
    training = advance(trainer.begin(TrainingState(record, state.tensors)))
    outcome = training.outcomes[3]
    assert isinstance(outcome, TrainedModel)
    assert outcome.train_seconds > 600
    assert outcome.history[-1].elapsed_seconds > 1000
    assert outcome.history[0] == state.record.histories[0][0]


def test_the_time_of_a_training_does_not_begin_before_it_does() -> None:
    """Those of one process are made together, and trained one after the other."""
    trainer = Trainer("compiled", "gru")
    begun = time.perf_counter()
    outcomes = train_models(
        trainer.data, config=trainer.config, models=[("gru", seed) for seed in range(4)],
        engine=trainer.engine, on_progress=lambda *_: None,
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    ends = [each.history[-1] for each in outcomes.values() if isinstance(each, TrainedModel)]
    assert len(ends) == 4
    assert sum(each.elapsed_seconds for each in ends) < seconds


# -- a loss that is not finite ---------------------------------------------------------------------


@pytest.mark.parametrize("num", [3, 7, 8])  # in the pass, before its validation, after it
def test_a_seed_that_has_ended_stays_so(num: int) -> None:
    trainer = Trainer("compiled", "gru")
    first = trainer.begin()._order_of_pass()[0, :16]
    trainer.data.target_T[first[0] + 5] = float("nan")
    expected = result_of(advance(trainer.begin()))
    assert "found a training loss of nan at step" in expected[3]["error"]
    state = through_a_file(advance(trainer.begin(), num).take_state())
    assert len(state.record.failures) == (num == 8)
    training = advance(trainer.begin(state))
    assert result_of(training) == expected
    outcome = training.outcomes[3]
    assert isinstance(outcome, NotFiniteError)
    assert (outcome.cell, outcome.seed) == ("gru", 3)
    assert json.loads(state.record.model_dump_json())  # although JSON has no word for it


# -- another training's state ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "other", "message"),
    [
        (("compiled", "gru", (3,)), ("compiled", "lstm", (3,)), "cell: found lstm, expected gru"),
        (("compiled", "gru", (3,)), ("compiled", "gru", (4,)), "seeds: found (4,), expected (3,)"),
        (("compiled", "gru", (3,)), ("averaged", "gru", (3,)), "num_passes: found 3, expected 2"),
        (("compiled", "gru", (3,)), ("ends_early", "gru", (3,)), "num_steps: found 10, expected"),
        (("compiled", "gru", (3,)), ("library", "gru", (3,)), "expected gradient.0.rng"),
        (("library", "gru", (3,)), ("compiled", "gru", (3,)), "found gradient.0.rng"),
        (("compiled", "gru", (3,)), ("dropout", "gru", (3,)), "stack.weights_SP: found"),
        (("shared", "gru", (3,)), ("compiled", "gru", (3,)), "expected dropout.1.step"),
    ],
)  # fmt: skip
def test_the_state_of_another_training_is_refused_saying_what_differs(
    own: tuple[str, Cell, tuple[int, ...]], other: tuple[str, Cell, tuple[int, ...]], message: str
) -> None:
    state = advance(Trainer(*other).begin(), 3).take_state()
    training = advance(Trainer(*own).begin(), 1)
    with pytest.raises(StateRefusedError) as refused:
        training.put_state(state)
    assert message in str(refused.value)


# -- nothing is forgotten --------------------------------------------------------------------------

# What a step writes before it reads it.
SCRATCH = (
    "._now", "._starts_SB", "._sum_SQ", ".sum_SQ", "._grad_P", "._grads[", "._memory[",
    "._whole", "._cut", ".panels", ".operand", "._bias_4V", "._own_GVD", "._bias_X",
    "._order",
)  # fmt: skip
TIMES = ("_seconds", "._begun", "._resumed", "._last_report", "seconds_left", "steps_per_second")
CONSTANT = (
    BaseModel,
    TrainingData,
    CellKernels,
    Steps,
    Recorded,
    ReferenceType,
    torch.device,
    torch.dtype,
)
CALLED = (FunctionType, MethodType, BuiltinFunctionType, type)


def walk(thing: object, path: str, seen: set[int]) -> Iterator[tuple[str, object]]:
    """Every number, word, tensor and generator that hangs on a thing, by the way to it."""
    if isinstance(thing, (*CONSTANT, *CALLED)) or path.endswith((*SCRATCH, *TIMES)):
        return
    if any(each in path for each in SCRATCH if each.endswith("[")):
        return
    if isinstance(thing, Tensor):
        yield path, (thing.dtype, thing.shape, thing.detach().cpu().contiguous().numpy().tobytes())
    elif isinstance(thing, np.ndarray):
        yield path, (thing.dtype, thing.shape, thing.tobytes())
    elif isinstance(thing, np.random.Generator):
        yield path, str(thing.bit_generator.state)
    elif isinstance(thing, str | int | float | bool | None):
        yield path, repr(thing)
    elif id(thing) not in seen:
        seen.add(id(thing))
        for name, each in parts_of(thing):
            yield from walk(each, f"{path}{name}", seen)


def parts_of(thing: object) -> list[tuple[str, object]]:
    if isinstance(thing, Mapping):
        return [(f"[{name}]", each) for name, each in thing.items()]
    if isinstance(thing, list | tuple | set):
        return [(f"[{number}]", each) for number, each in enumerate(thing)]
    if is_dataclass(thing) and not isinstance(thing, type):
        return [(f".{field.name}", getattr(thing, field.name)) for field in fields(thing)]
    if isinstance(thing, np.generic):
        return [("", thing.item())]
    if not hasattr(thing, "__dict__"):
        message = f"found a {type(thing).__name__}, expected something that this test can look into"
        raise AssertionError(message)
    return [(f".{name}", each) for name, each in vars(thing).items()]


def all_of(training: Training) -> dict[str, object]:
    generator = torch.get_rng_state()
    return dict(walk(training, "training", set())) | {"generator": generator.numpy().tobytes()}


@pytest.mark.parametrize(("kind", "cell"), PAIRS)
def test_no_attribute_that_a_step_changes_is_forgotten(kind: str, cell: Cell) -> None:
    trainer = Trainer(kind, cell)
    one, other = advance(trainer.begin(), 2), advance(trainer.begin(), 5)
    before = all_of(one)
    advance(one, 9)
    after = all_of(one)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    wanted = {"._pass_number", "._batch", "._clock.step", ".num_done", ".stack.weights_SP",
              "._adam._mean_SP", "._adam._square_SP", "._adam._count_S"}  # fmt: skip
    assert all(any(path.endswith(each) for path in changed) for each in wanted)
    other.put_state(one.take_state())
    found = all_of(other)
    assert {path for path in changed if found.get(path) != after.get(path)} == set()


# -- on a GPU --------------------------------------------------------------------------------------


@gpu
@pytest.mark.gpu
@CELLS
@pytest.mark.parametrize("kind", GPU_KINDS)
def test_on_a_gpu_too_it_ends_as_one_that_is_not_interrupted(kind: str, cell: Cell) -> None:
    check_interrupted_at_every_place(GpuTrainer(kind, cell))


@gpu
@pytest.mark.gpu
@CELLS
@pytest.mark.parametrize("kind", GPU_KINDS)
def test_recorded_graphs_go_on_from_a_state_that_is_put_back(kind: str, cell: Cell) -> None:
    trainer = GpuTrainer(kind, cell)
    training = trainer.begin()
    advance(training, 6)  # recorded from the fourth step on
    state = training.take_state()
    expected = result_of(advance(training))
    other = advance(trainer.begin(), 9)
    other.put_state(state)
    assert result_of(advance(other)) == expected


@gpu
@pytest.mark.gpu
@CELLS
def test_the_library_s_dropout_on_a_gpu_depends_on_the_seed_alone(cell: Cell) -> None:
    trainer = GpuTrainer("library_dropout", cell)
    first = result_of(advance(trainer.begin()))
    assert result_of(advance(trainer.begin())) == first
