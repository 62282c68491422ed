"""The kernels of ``recurrence.cu``: what they are compiled for, and the room that they need."""

from __future__ import annotations

from functools import cache
from math import ceil
from typing import Literal, NamedTuple

from gridcast.kernels.nvrtc import Kernel, checked, compiled

THREADS = 256  # of a block
OWN_UNITS = 64  # of a block
TILE = 16  # windows
MOST_TILES = 3  # of a cluster: more leave no registers
PARTS = 4  # gradients that the backward kernel gives
KEPT = 5  # quantities that the forward kernel keeps
FEATURES = 16  # that it multiplies at once
MOST_INSIDE = 2  # times as many it multiplies itself


class Kind(NamedTuple):
    """What the kernels are compiled for."""

    is_lstm: bool
    units: int
    tiles: int
    is_bf16: bool
    inside: int = 0  # times ``FEATURES`` that the forward kernel multiplies itself

    @property
    def blocks(self) -> int:
        """Thread blocks of a cluster."""
        return self.units // OWN_UNITS


def times_inside(num_features: int) -> int:
    """How many times ``FEATURES`` the forward kernel multiplies itself; 0: there are too many."""
    times = ceil(num_features / FEATURES)
    return times if times <= MOST_INSIDE else 0


@cache
def kernel(direction: Literal["forward", "backward"], kind: Kind, device: int) -> Kernel:
    """The kernel of one direction on that device (the first time up to 3 s).

    Raises:
        CudaError: the GPU or its driver does not take it.
    """
    from cuda.bindings import driver

    is_backward = direction == "backward"
    function = compiled(
        "recurrence.cu", direction, device, BACKWARD=int(is_backward), LSTM=int(kind.is_lstm),
        UNITS=kind.units, TILES=kind.tiles, BF16=int(kind.is_bf16),
        INSIDE=0 if is_backward else kind.inside,
    )  # fmt: skip
    if is_backward:
        sums = 4096 if kind.blocks == 1 else kind.blocks * 2048  # SUMS of the source, in bytes
        shared_bytes = 2 * kind.tiles * sums + 2 * TILE * (PARTS * OWN_UNITS + 8) * 2
    else:
        shared_bytes = 2 * kind.tiles * TILE * kind.units * 2
    most = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    checked(driver.cuFuncSetAttribute(function, most, shared_bytes))
    return Kernel(function, THREADS, shared_bytes)


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
    return int(checked(driver.cuOccupancyMaxActiveClusters(backward.function, config)))
