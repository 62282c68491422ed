"""Compiles CUDA sources for the GPU at hand, and launches what they hold.

NVRTC and the driver come with PyTorch's CUDA builds, through NVIDIA's own ``cuda.bindings``; no
compiler is asked for. The bindings are imported where they are used: other machines lack them.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

_FOLDER = Path(__file__).parent


class CudaError(RuntimeError):
    """NVRTC or the driver refused."""


def can_compile(device: torch.device) -> bool:
    """Whether our own kernels can be had there: on a GPU, with NVIDIA's bindings."""
    return device.type == "cuda" and _has_bindings()


@cache
def _has_bindings() -> bool:
    return find_spec("cuda") is not None and find_spec("cuda.bindings") is not None


@dataclass(frozen=True, slots=True)
class Kernel:
    """One compiled function, run by blocks of so many threads."""

    function: Any
    num_threads: int
    shared_bytes: int = 0

    def launch(
        self, grid: tuple[int, int], tensors: Sequence[Tensor | None], *numbers: float
    ) -> None:
        """Put it on the current stream; a CUDA graph may be recording there.

        The function takes the tensors' addresses (none: null), then the numbers, 32 bits
        each.
        """
        from cuda.bindings import driver

        addresses = [0 if each is None else each.data_ptr() for each in tensors]
        types = [ctypes.c_int if isinstance(each, int) else ctypes.c_float for each in numbers]
        values = (*addresses, *numbers), (*[ctypes.c_void_p] * len(addresses), *types)
        stream = torch.cuda.current_stream().cuda_stream
        shape = (*grid, 1, self.num_threads, 1, 1)
        checked(driver.cuLaunchKernel(self.function, *shape, self.shared_bytes, stream, values, 0))


@cache
def compiled(file: str, name: str, device: int, **defines: int) -> Any:  # noqa: ANN401 - untyped
    """The function ``name`` of a source of this folder, for that device (once 0.1 to 3 s).

    Raises:
        CudaError: the GPU or its driver does not take it.
    """
    from cuda.bindings import driver

    module = _module(file, device, tuple(sorted(defines.items())))
    return checked(driver.cuModuleGetFunction(module, name.encode()))


@cache
def _module(file: str, device: int, defines: tuple[tuple[str, int], ...]) -> Any:  # noqa: ANN401
    from cuda.bindings import driver, nvrtc

    major, minor = torch.cuda.get_device_capability(device)
    options = [f"--gpu-architecture=sm_{major}{minor}", "--std=c++17"]
    options += [f"-D{name}={value}" for name, value in defines]
    source = (_FOLDER / file).read_bytes()
    program = checked(nvrtc.nvrtcCreateProgram(source, file.encode(), 0, [], []))
    words = [option.encode() for option in options]
    status = nvrtc.nvrtcCompileProgram(program, len(words), words)
    if int(status[0]) != 0:
        log = b" " * checked(nvrtc.nvrtcGetProgramLogSize(program))
        nvrtc.nvrtcGetProgramLog(program, log)
        raise CudaError(log.decode(errors="replace"))
    binary = b" " * checked(nvrtc.nvrtcGetCUBINSize(program))
    checked(nvrtc.nvrtcGetCUBIN(program, binary))
    checked(nvrtc.nvrtcDestroyProgram(program))
    with torch.cuda.device(device):
        torch.cuda.current_stream().synchronize()  # there is a context now
        return checked(driver.cuModuleLoadData(binary))


def checked(answer: tuple[Any, ...]) -> Any:  # noqa: ANN401 - the bindings are untyped
    """What a call gives after its status.

    Raises:
        CudaError: the status is not one of success.
    """
    status, *values = answer
    if int(status) != 0:
        message = f"{type(status).__name__}.{status.name}"
        raise CudaError(message)
    return values[0] if values else None
