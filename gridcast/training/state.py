"""A training's state as a value: all that a step changes, to be taken and put back.

It is made of tensors and of what JSON holds, so that a file of it needs no pickle. Tensors are put
back in place: a recorded CUDA graph reads them where they lie.

Legend: ``S`` seeds, ``B`` batches of a pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from pydantic import ConfigDict
from torch import Tensor

from gridcast.array_file import below, packed, unpacked
from gridcast.config import Cell
from gridcast.errors import NotFiniteError, StateRefusedError, UsageError
from gridcast.record import Record
from gridcast.training.clock import Progress


class Failure(Record):
    """A seed whose training has ended without a model."""

    model_config = ConfigDict(ser_json_inf_nan="strings")

    seed: int
    step: int
    loss: float  # not finite


class StateRecord(Record):
    """What is no tensor of a training's state, for JSON."""

    model_config = ConfigDict(ser_json_inf_nan="strings")

    cell: Cell
    seeds: tuple[int, ...]
    num_passes: int
    num_steps: int  # of the whole training
    pass_number: int  # from 1; one more than there are at the end
    batch: int  # steps of that pass that are done; it is validated when all are
    train_seconds: float  # s, of the passes before, without validation
    pass_seconds: float  # s, of this pass
    elapsed_seconds: float  # s, in all
    histories: tuple[tuple[Progress, ...], ...]  # of each seed
    failures: tuple[Failure, ...]

    def check_fits(self, other: StateRecord) -> None:
        """Whether ``other`` is of the same training, as far as a record tells.

        Raises:
            StateRefusedError: it is not.
        """
        for name in ("cell", "seeds", "num_passes", "num_steps"):
            expected, found = getattr(self, name), getattr(other, name)
            if found != expected:
                raise StateRefusedError(where=name, found=found, expected=expected)


@dataclass(frozen=True, slots=True)
class TrainingState:
    """Where a training stands, whole: one that goes on from it ends as though it had not stopped.

    ``tensors`` are copies on the CPU; a name says whose tensor it is. Generators of random numbers
    are among them, as bytes.
    """

    record: StateRecord
    tensors: Mapping[str, Tensor]


class Resumable(Protocol):
    """A training of which the state can be taken and put back, as ``Training``."""

    cell: Cell
    seeds: tuple[int, ...]

    def take_state(self) -> TrainingState:
        """A copy of all that steps change."""

    def put_state(self, state: TrainingState) -> None:
        """Go on from there."""


class Watcher(Protocol):
    """Who hears of trainings as they go, and may take their states and put them back."""

    def begins(self, training: Resumable) -> None:
        """It is about to begin."""

    def has_stepped(self, training: Resumable) -> None:
        """A step of it, or a validation, is done."""

    def has_ended(self, training: Resumable) -> None:
        """It has come to its end."""


def failures_of(outcomes: Mapping[int, object]) -> tuple[Failure, ...]:
    """Of a training's outcomes those that are no model."""
    errors = [each for each in outcomes.values() if isinstance(each, NotFiniteError)]
    return tuple(Failure(seed=each.seed, step=each.step, loss=each.loss) for each in errors)


def errors_of(record: StateRecord) -> dict[int, NotFiniteError]:
    """The outcomes of seeds whose training has ended without a model."""
    return {
        each.seed: NotFiniteError(cell=record.cell, seed=each.seed, step=each.step, loss=each.loss)
        for each in record.failures
    }


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU."""
    return {name: each.detach().to("cpu", copy=True) for name, each in tensors.items()}


@torch.no_grad()
def copy_into(kept: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Overwrite the tensors that are kept, where they lie.

    Raises:
        StateRefusedError: they differ in names, shapes or types.
    """
    check_names(given, kept)
    for name, tensor in kept.items():
        found, expected = ((each.dtype, tuple(each.shape)) for each in (given[name], tensor))
        if found != expected:
            raise StateRefusedError(where=name, found=found, expected=expected)
    for name, tensor in kept.items():
        tensor.copy_(given[name])


def check_names(found: Iterable[str], expected: Iterable[str]) -> None:
    """Whether a training is given the tensors that it keeps.

    Raises:
        StateRefusedError: it is not.
    """
    given, kept = set(found), set(expected)
    if given != kept:
        raise StateRefusedError(
            where="tensors",
            found=", ".join(sorted(given - kept)) or "none of some",
            expected=", ".join(sorted(kept - given)) or "none of these",
        )


def named(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of some parts, each name after that of its part."""
    return {
        f"{part}.{name}": each for part, tensors in parts.items() for name, each in tensors.items()
    }


def of_part(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one part, by the names that it gave them."""
    first = f"{part}."
    return {
        name.removeprefix(first): each for name, each in tensors.items() if name.startswith(first)
    }


def take_generators(devices: Sequence[torch.device]) -> dict[str, Tensor]:
    """PyTorch's own generators of random numbers: of the CPU, and of each device that is a GPU."""
    on_gpus = {str(number): torch.cuda.get_rng_state(device) for number, device in _gpus(devices)}
    return {"cpu": torch.get_rng_state(), **on_gpus}


def put_generators(generators: Mapping[str, Tensor], devices: Sequence[torch.device]) -> None:
    """Go on with the random numbers that come after these states.

    Raises:
        StateRefusedError: there are other devices.
    """
    check_names(generators, ["cpu", *(str(number) for number, _ in _gpus(devices))])
    torch.set_rng_state(generators["cpu"])
    for number, device in _gpus(devices):
        torch.cuda.set_rng_state(generators[str(number)], device)


def _gpus(devices: Sequence[torch.device]) -> Iterable[tuple[int, torch.device]]:
    return ((number, each) for number, each in enumerate(devices) if each.type == "cuda")


# -- as bytes --------------------------------------------------------------------------------------

_RECORD, _TENSOR = "record", "tensor."
_BFLOAT16 = "bfloat16."  # which NumPy does not know: their bytes are kept as those of whole numbers


def state_file(state: TrainingState) -> bytes:
    """The bytes of a file that holds it: arrays of NumPy, and no pickle."""
    arrays = {_RECORD: np.frombuffer(state.record.model_dump_json().encode(), dtype=np.uint8)}
    for name, tensor in state.tensors.items():
        if tensor.dtype == torch.bfloat16:
            arrays[f"{_BFLOAT16}{name}"] = tensor.view(torch.int16).numpy()
        else:
            arrays[f"{_TENSOR}{name}"] = tensor.numpy()
    return packed(arrays)


def state_of_file(content: bytes, *, where: object) -> TrainingState:
    """The state that :func:`state_file` made these bytes of; ``where`` is what an error calls them.

    Raises:
        UsageError: they are no such bytes.
    """
    arrays = unpacked(content, where=where)
    if _RECORD not in arrays:
        raise UsageError(where, found="arrays without a record", expected="a training's state")
    record = StateRecord.model_validate_json(arrays[_RECORD].tobytes())
    tensors = {name: torch.from_numpy(each) for name, each in below(arrays, _TENSOR).items()}
    for name, each in below(arrays, _BFLOAT16).items():
        tensors[name] = torch.from_numpy(each).view(torch.bfloat16)
    return TrainingState(record, tensors)
