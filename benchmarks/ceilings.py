"""What the machine can do at its best: matrix products by precision, and copying.

``python benchmarks/ceilings.py`` multiplies square matrices of random numbers and copies within the
device's memory, some seconds in all, prints one table and writes
``benchmarks/results/ceilings-<device>.json``. A ceiling is the fastest of several spells. A copy
counts its bytes twice: read and written. On a CPU PyTorch's product of large matrices is not the
fastest that there is: our compiled one of small matrices, on all cores, is measured beside it.

What a training step needs of both, at the least, is counted here too; docs/performance.md sets the
one against the other.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.article_accuracy import envelope, slug, write_kept
from benchmarks.tables import RESULTS, aligned
from gridcast.config import Cell, Config
from gridcast.training.counts import num_recurrent_weights
from tasks.train.training_process import set_fp32_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


# Rows of a square matrix, and numbers of a copy of 32 bits: several times the caches.
_ROWS = {"cpu": 2048, "cuda": 8192}
_COPIED = {"cpu": 2**26, "cuda": 2**28}
_DTYPES = {
    "fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16,
}  # fmt: skip
# Of a matrix of 64 columns, which the second-level cache holds; products of a thread at a time.
_SMALL_ROWS, _PRODUCTS = 512, 2_000
_SPELLS, _SPELL_SECONDS = 5, 0.3
# A forward pass multiplies and adds once a weight, the backward pass twice as much.
_FLOPS_A_WEIGHT_AND_STEP = 6
_GATES: dict[Cell, int] = {"gru": 3, "lstm": 4}
_STATES: dict[Cell, int] = {"gru": 1, "lstm": 2}

Json = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    options = _options(arguments)
    on_cuda = options.device == "cuda" or (options.device == "auto" and torch.cuda.is_available())
    device = torch.device("cuda" if on_cuda else "cpu")
    kept = envelope("ceilings", device)
    kept["rows"] = [
        *(matrix_row(device, precision) for precision in _precisions(device)),
        *([] if on_cuda else [small_matrix_row(device)]),
        copy_row(device),
    ]
    head = ("", "precision", "rate", "bytes")
    print(aligned(head, [_line(row) for row in kept["rows"]]))
    path = Path(options.output) / f"ceilings-{slug(device)}.json"
    write_kept(path, kept)
    print(path)
    return 0


def _precisions(device: torch.device) -> list[str]:
    """Those that a training takes there by itself or can be told to; on a CPU that of our loops."""
    if device.type == "cuda":
        return ["fp32", "tf32", "bf16", "fp16"]
    return ["fp32"]


def matrix_row(device: torch.device, precision: str) -> Json:
    """Products of two square matrices."""
    set_fp32_precision(device, precision)
    rows = _ROWS[device.type]
    left, right = (torch.randn(rows, rows, device=device).to(_DTYPES[precision]) for _ in "ab")
    out = torch.empty_like(left)
    seconds = _fastest(lambda: torch.mm(left, right, out=out), device)
    return {
        "contestant": "matrix product",
        "precision": precision,
        "num_rows": rows,
        "seconds": seconds,
        "flops_per_second": 2 * rows**3 / seconds,
    }


def small_matrix_row(device: torch.device) -> Json:
    """Our product by a matrix that lies in the first-level cache, on each core."""
    from gridcast.kernels.cpu_kernels import PANEL, add_product  # noqa: PLC0415 - a GPU needs no numba

    def multiply() -> None:
        sums = np.ones((_SMALL_ROWS, PANEL), np.float32)
        left, right = (np.ones((rows, PANEL), np.float32) for rows in (_SMALL_ROWS, PANEL))
        for _ in range(_PRODUCTS):
            add_product(sums, left, right)

    num_threads = torch.get_num_threads()
    with ThreadPoolExecutor(num_threads) as pool:

        def multiply_on_each() -> None:
            for each in [pool.submit(multiply) for _ in range(num_threads)]:
                each.result()

        seconds = _fastest(multiply_on_each, device)
    flops = 2 * _SMALL_ROWS * PANEL**2 * _PRODUCTS * num_threads
    return {
        "contestant": "compiled product by a small matrix",
        "precision": "fp32",
        "num_rows": _SMALL_ROWS,
        "seconds": seconds,
        "flops_per_second": flops / seconds,
    }


def copy_row(device: torch.device) -> Json:
    """From one place of the device's memory to another."""
    source = torch.randn(_COPIED[device.type], device=device)
    target = torch.empty_like(source)
    seconds = _fastest(lambda: target.copy_(source), device)
    num_bytes = 2 * source.numel() * source.element_size()
    return {
        "contestant": "copy",
        "num_bytes": num_bytes,
        "seconds": seconds,
        "bytes_per_second": num_bytes / seconds,
    }


def _fastest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, in the fastest spell of calls."""
    number = max(1, round(_SPELL_SECONDS / min(_spell(work, device, 1) for _ in range(3))))
    return min(_spell(work, device, number) for _ in range(_SPELLS))


def _spell(work: Callable[[], object], device: torch.device, number: int) -> float:
    _wait_for(device)
    begun = perf_counter()
    for _ in range(number):
        work()
    _wait_for(device)
    return (perf_counter() - begun) / number


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _line(row: Json) -> list[str]:
    if row["contestant"] == "copy":
        return ["copy", "", "", f"{row['bytes_per_second'] / 1e9:,.1f} GB/s"]
    rate = f"{row['flops_per_second'] / 1e12:,.2f} TFLOP/s"
    return [f"{row['contestant']}, {row['num_rows']} rows", row["precision"], rate, ""]


# -- what a training step needs --------------------------------------------------------------------


class Need(NamedTuple):
    """Arithmetic and memory traffic of one training step, at the least."""

    flops: float
    num_bytes: float


def step_need(config: Config, *, cell: Cell, num_features: int, precision: str) -> Need:
    """Of ``config``'s recurrent layers, for one batch.

    Arithmetic: the products with the recurrent layers' weights, 6 operations a weight, step and
    window (a product forward, two backward). Bytes: at each step, window and layer the forward pass
    writes the gates and the states, the backward pass reads them, and writes the gates' gradients
    and reads them again for the weights'. The inputs are read twice. A weight is read forward and
    backward, its gradient written and read; Adam reads and writes it and two moments, in 32 bits. A
    step that reads its weights anew for each of the window's steps moves more.
    """
    model, windows = config.model, config.windows
    positions = config.training.batch_size * windows.lookback
    weights = num_recurrent_weights(config, cell=cell, num_features=num_features)
    width = _DTYPES[precision].itemsize
    kept = 2 * _GATES[cell] + _STATES[cell]  # gates, their gradients, states
    activations = 2 * kept * model.hidden_size * model.num_layers * width
    inputs = 2 * num_features * torch.float32.itemsize
    updates = (2 + 2 + 6) * weights * torch.float32.itemsize
    return Need(
        flops=_FLOPS_A_WEIGHT_AND_STEP * weights * positions,
        num_bytes=positions * (activations + inputs) + updates,
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--output", default=str(RESULTS), help="folder of the JSON file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
