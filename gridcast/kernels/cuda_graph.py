"""A step as a CUDA graph: recorded once, replayed without waiting for the launch of its kernels.

The first calls run eagerly (they are real, and warm the libraries up), then the step is recorded.
On a CPU it always runs as it stands.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_EAGER_CALLS = 3


class Recorded:
    """``function``, which reads tensors that stay where they are; gives the same ones each time."""

    def __init__(self, function: Callable[[], Tensor], device: torch.device) -> None:
        self._function, self._device = function, device
        self._num_calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given = torch.empty(0)

    def __call__(self) -> Tensor:
        """What the function gives, on the device's present stream, without waiting for it."""
        if self._device.type == "cpu":
            return self._function()
        self._num_calls += 1
        with torch.cuda.device(self._device):
            if self._num_calls <= _EAGER_CALLS:
                return self._function()
            if self._graph is None:
                self._graph = self._record()
            self._graph.replay()
            return self._given

    def _record(self) -> torch.cuda.CUDAGraph:
        """Nothing runs: weights, moments and random numbers stay as they are."""
        graph = torch.cuda.CUDAGraph()
        # On this training's own stream if it has one: cuBLAS keeps a workspace a stream, and graphs
        # that were recorded on one stream would share it when they run side by side.
        stream = torch.cuda.current_stream()
        if stream == torch.cuda.default_stream():
            stream = _recording_stream(self._device)
        with _no_garbage_collected(), torch.cuda.graph(graph, stream=stream):
            self._given = self._function()
        return graph


@contextmanager
def _no_garbage_collected() -> Iterator[None]:
    """An old graph that is freed while another is recorded spoils the recording."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@cache
def _recording_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
