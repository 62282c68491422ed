"""A training's state as a value: all that a step changes, to be taken and put back.

It is made of tensors and of what JSON holds, so that a file of it needs no pickle. Tensors are put
back in place: a recorded CUDA graph reads them where they lie.

Legend: ``S`` seeds, ``B`` batches of a pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import ConfigDict
from torch import Tensor

from gridcast.config import Cell
from gridcast.errors import NotFiniteError, StateRefusedError
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
