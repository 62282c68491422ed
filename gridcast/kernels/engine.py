"""Which kernels run a training: decided once, by ``engine_of``, and recorded with its result.

PyTorch is always a way that works. Ours are taken where they apply and are not switched off
(``training.recurrence: library``): our CUDA kernels on a GPU, compiled loops on a CPU.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from gridcast.engine import ASKED_FOR, BY_LEAD, LIBRARY, Engine

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from gridcast.config import Cell, Config

# The losses whose gradient the loops for a CPU know, and whether it is that of L1 (``score``). On a
# GPU the loss is PyTorch's in any case.
LOSSES_OF_LOOPS = {"l1": True, "mse": False}
_PRECISIONS_OF_LOOPS = frozenset({"auto", "fp32", "tf32"})  # of 32 bits: a CPU has no TF32
_MOST_WORDS = 200  # letters of a reason


def engine_of(
    config: Config, device: torch.device, *, cells: Iterable[Cell] | None = None
) -> Engine:
    """The engine of trainings of ``cells`` (by default the configuration's) on ``device``.

    What it names has been tried: of the loops for a CPU each was compiled and run, of the kernels
    for a GPU one was.
    """
    if config.training.recurrence == "library":
        return LIBRARY
    if device.type == "cuda":
        return _engine_on_gpu(config, device)
    reason = why_no_loops(config) or _why_loops_fail(cells or config.model.cells)
    if reason:
        return Engine(layers="pytorch", adam="pytorch", reason=reason)
    reason = "training.recurrence=auto, on a CPU"
    return Engine(layers="cpu-loops", adam="cpu-loops", reason=reason)


def why_no_loops(config: Config) -> str:
    """Why the loops for a CPU do not know this training; empty where they do.

    That is read from the settings, and nothing is imported for it.
    """
    training = config.training
    if training.recurrence == "library":
        return ASKED_FOR
    if reason := _why_no_layers(config):
        return reason
    if training.precision not in _PRECISIONS_OF_LOOPS:
        return f"training.precision={training.precision}: on a CPU our loops have 32 bits alone"
    if training.loss not in LOSSES_OF_LOOPS:
        return f"training.loss={training.loss}: our loops know {', '.join(LOSSES_OF_LOOPS)}"
    return "" if find_spec("numba") is not None else "numba is not installed"


def _why_no_layers(config: Config) -> str:
    """Why ours are not for this network, wherever it runs."""
    return BY_LEAD if config.model.head == "by_lead" else ""


def _why_loops_fail(cells: Iterable[Cell]) -> str:
    """Why they do not run on this machine; empty where they do."""
    try:
        from gridcast.kernels.cpu_trial import try_loops

        for cell in cells:
            try_loops(cell)
    except Exception as error:  # noqa: BLE001 - a compiler raises what it likes; PyTorch trains
        return f"numba does not compile our loops here ({_in_short(error)})"
    return ""


def _engine_on_gpu(config: Config, device: torch.device) -> Engine:
    from gridcast.kernels.nvrtc import can_compile
    from gridcast.kernels.recurrence import why_not_fused

    if not can_compile(device):
        reason = "NVIDIA's cuda.bindings are not installed"
        return Engine(layers="pytorch", adam="pytorch", reason=reason)
    if reason := _why_kernels_fail(device):
        return Engine(layers="pytorch", adam="pytorch", reason=reason)
    reason = _why_no_layers(config) or why_not_fused(
        config.model.hidden_size, device, config.training.precision
    )
    if reason:
        return Engine(layers="pytorch", adam="gpu-kernels", reason=reason)
    reason = "training.recurrence=auto, on a Hopper GPU"
    return Engine(layers="gpu-kernels", adam="gpu-kernels", reason=reason)


def _why_kernels_fail(device: torch.device) -> str:
    """Why the GPU's driver does not take what is compiled for it; empty where it does."""
    from gridcast.kernels.nvrtc import CudaError, compiled

    try:
        compiled("adam.cu", "update", device.index or 0)
    except (CudaError, ImportError, OSError) as error:
        return f"this GPU or its driver does not take our kernels ({_in_short(error)})"
    return ""


def _in_short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:_MOST_WORDS].removesuffix(": ")
