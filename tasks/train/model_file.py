"""A trained forecaster as a file that PyTorch alone can run: ``model.pt2``."""

from __future__ import annotations

import sys
import warnings
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gridcast.networks.building import as_run, window_shape
from tasks.runs.storage import publishing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gridcast.networks.building import Forecaster

# Two windows: torch.export would take a batch of one for a constant.
_EXAMPLE_BATCH = 2
_LAYERS = (torch.ops.aten.gru.input, torch.ops.aten.lstm.input)
# What the first `torch.export.export` of a process imports; a PyTorch without them does so itself.
_IMPORTED = ("torch._dynamo", "torch.export._trace", "torch._export.non_strict_utils")
_SWITCH_SECONDS = 5e-4


def export_model(path: Path, forecaster: Forecaster, *, num_features: int, lookback: int) -> None:
    """``torch.export`` in eval mode (in train mode dropout is baked in), any number of windows."""
    model = as_run(forecaster, lookback=lookback).cpu().eval()
    importing_export().join()
    num_steps, num_columns = window_shape(forecaster, num_features=num_features, lookback=lookback)
    example_BLF = torch.zeros(_EXAMPLE_BATCH, num_steps, num_columns)
    with warnings.catch_warnings(), shapes_alone():
        # nn.RNN keeps its weights twice, which export remarks upon.
        warnings.filterwarnings("ignore", message="The tensor attributes .*_flat_weights")
        program = torch.export.export(
            model, (example_BLF,), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
    program.example_inputs = None  # they alone would be stored as a pickle
    with publishing(path) as temporary, temporary.open("wb") as file:
        torch.export.save(program, file)


@cache
def importing_export() -> Thread:
    """The thread that imports what an export needs, which takes 1 to 2 s; begun once."""
    thread = Thread(target=_import_for_export, daemon=True)
    thread.start()
    return thread


def _import_for_export() -> None:
    """Other threads get Python's lock often: one that trains must not wait 5 ms at each step."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        for name in _IMPORTED:
            with suppress(ImportError):
                import_module(name)
    finally:
        sys.setswitchinterval(interval)


@contextmanager
def shapes_alone() -> Iterator[None]:
    """Recurrent layers tell the shapes of what they give, and compute nothing.

    In an exported program a layer is one operation. To learn its shape, ``torch.export`` runs it
    on tensors without data, step by step: with 168 steps that takes 5 to 10 s, far longer than all
    else. A PyTorch that keeps its rules elsewhere is left to do so.
    """
    with ExitStack() as replaced:
        for layer in _LAYERS:
            replaced.enter_context(_replaced(layer))
        yield


@contextmanager
def _replaced(layer: Any) -> Iterator[None]:  # noqa: ANN401 - PyTorch does not name the type
    kernels = getattr(layer, "py_kernels", {})
    kept = {key: kernel for key, kernel in kernels.items() if _is_step_by_step(kernel)}
    _register(layer, dict.fromkeys(kept, _shapes_of))
    try:
        yield
    finally:
        _register(layer, kept)


def _register(layer: Any, kernels: dict[Any, Any]) -> None:  # noqa: ANN401
    """``py_impl`` takes none where there is one, and lets the layer choose anew."""
    for key, kernel in kernels.items():
        del layer.py_kernels[key]
        layer.py_impl(key)(kernel)


def _is_step_by_step(kernel: object) -> bool:
    return getattr(kernel, "__module__", "") == "torch._decomp.decompositions"


def _shapes_of(
    x_BLF: Tensor,
    begin: Tensor | Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,  # noqa: FBT001 - PyTorch's own signature
    *rest: Any,  # noqa: ANN401
) -> tuple[Tensor, ...]:
    """What a layer with ``batch_first`` gives: states of all steps, and the last ones."""
    del params, has_biases, rest
    ends = [begin] if isinstance(begin, Tensor) else list(begin)
    batch, lookback, _ = x_BLF.shape
    out_LBU = x_BLF.new_empty(lookback, batch, ends[0].shape[-1])
    return out_LBU.transpose(0, 1), *(torch.empty_like(end) for end in ends)
