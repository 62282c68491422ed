"""Compiles ``recurrence.cu`` for the GPU at hand, and launches it.

NVRTC and the driver come with PyTorch's CUDA builds, through NVIDIA's own ``cuda.bindings``; no
compiler is asked for. The bindings are imported where they are used: other machines lack them.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

_SOURCE = Path(__file__).with_name("recurrence.cu")
THREADS = 256  # of a block
OWN_UNITS = 64  # of a block
TILE = 16  # windows
MOST_TILES = 3  # of a cluster: more leave no registers
PARTS = 4  # gradients that the backward kernel gives
KEPT = 5  # quantities that the forward kernel keeps


class Kind(NamedTuple):
    """What the kernels are compiled for."""

    is_lstm: bool
    units: int
    tiles: int
    is_bf16: bool

    @property
    def blocks(self) -> int:
        """Thread blocks of a cluster."""
        return self.units // OWN_UNITS


@dataclass(frozen=True, slots=True)
class Kernel:
    """One compiled function."""

    function: Any
    shared_bytes: int

    def launch(self, num_blocks: int, tensors: list[Tensor | None], numbers: list[int]) -> None:
        """Put it on the current stream; a CUDA graph may be recording there."""
        from cuda.bindings import driver

        values = [0 if each is None else each.data_ptr() for each in tensors] + numbers
        types = [ctypes.c_void_p] * len(tensors) + [ctypes.c_int] * len(numbers)
        stream = torch.cuda.current_stream().cuda_stream
        _checked(
            driver.cuLaunchKernel(
                self.function, num_blocks, 1, 1, THREADS, 1, 1, self.shared_bytes, stream,
                (tuple(values), tuple(types)), 0,
            )
        )  # fmt: skip


@cache
def kernel(direction: Literal["forward", "backward"], kind: Kind, device: int) -> Kernel:
    """The kernel of one direction on that device (the first time 1 to 3 s).

    Raises:
        CudaError: the GPU or its driver does not take it.
    """
    from cuda.bindings import driver

    function = _checked(driver.cuModuleGetFunction(_module(kind, device), direction.encode()))
    rows = TILE * kind.tiles
    if direction == "forward":
        shared_bytes = 2 * rows * kind.units * 2
    else:
        sums = kind.blocks * 8 * kind.tiles * 32 * 16
        shared_bytes = 2 * rows * (PARTS * OWN_UNITS + 8) * 2 + 2 * sums
    most = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    _checked(driver.cuFuncSetAttribute(function, most, shared_bytes))
    return Kernel(function, shared_bytes)


@cache
def clusters_at_once(kind: Kind, device: int) -> int:
    """How many clusters the device holds: one keeps within a group of its processors."""
    from cuda.bindings import driver

    backward = kernel("backward", kind, device)
    dimension = driver.CUlaunchAttribute()
    dimension.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
    dimension.value.clusterDim.x = kind.blocks
    dimension.value.clusterDim.y = dimension.value.clusterDim.z = 1
    config = driver.CUlaunchConfig()
    config.gridDimX, config.blockDimX = kind.blocks, THREADS
    config.gridDimY = config.gridDimZ = config.blockDimY = config.blockDimZ = 1
    config.sharedMemBytes, config.attrs, config.numAttrs = backward.shared_bytes, [dimension], 1
    return int(_checked(driver.cuOccupancyMaxActiveClusters(backward.function, config)))


class CudaError(RuntimeError):
    """NVRTC or the driver refused."""


@cache
def _module(kind: Kind, device: int) -> Any:  # noqa: ANN401 - the bindings are untyped
    from cuda.bindings import driver, nvrtc

    major, minor = torch.cuda.get_device_capability(device)
    options = [
        f"--gpu-architecture=sm_{major}{minor}", "--std=c++17", f"-DLSTM={kind.is_lstm:d}",
        f"-DUNITS={kind.units}", f"-DTILES={kind.tiles}", f"-DBF16={kind.is_bf16:d}",
    ]  # fmt: skip
    source = _SOURCE.read_bytes()
    program = _checked(nvrtc.nvrtcCreateProgram(source, _SOURCE.name.encode(), 0, [], []))
    words = [option.encode() for option in options]
    status = nvrtc.nvrtcCompileProgram(program, len(words), words)
    if int(status[0]) != 0:
        log = b" " * _checked(nvrtc.nvrtcGetProgramLogSize(program))
        nvrtc.nvrtcGetProgramLog(program, log)
        raise CudaError(log.decode(errors="replace"))
    binary = b" " * _checked(nvrtc.nvrtcGetCUBINSize(program))
    _checked(nvrtc.nvrtcGetCUBIN(program, binary))
    _checked(nvrtc.nvrtcDestroyProgram(program))
    with torch.cuda.device(device):
        torch.cuda.current_stream().synchronize()  # there is a context now
        return _checked(driver.cuModuleLoadData(binary))


def _checked(answer: tuple[Any, ...]) -> Any:  # noqa: ANN401 - the bindings are untyped
    """What a call gives after its status."""
    status, *values = answer
    if int(status) != 0:
        message = f"{type(status).__name__}.{status.name}"
        raise CudaError(message)
    return values[0] if values else None
