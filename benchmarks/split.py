"""One model, each batch split over one, two and four GPUs: where that pays.

``python benchmarks/split.py`` trains the article's network (2 x 256 units, windows of 90 steps) in
fp16 with batches of several sizes, on more and more GPUs in turn, and keeps windows a second in
``benchmarks/results/split-<device>.json``. The data are those of ``GRIDCAST_DATA``, or of
``data/``. It needs two GPUs at least; ``--device cpu`` tries it out on none.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.article_accuracy import RESULTS, envelope, slug, write_kept
from benchmarks.regions import batches_of, on_device, read_features
from benchmarks.turns import Clock
from gridcast.config import Cell, Config
from gridcast.kernels.engine import engine_of
from gridcast.training.loop import gradient_of
from gridcast.training.stack import ForecasterStack
from gridcast.training.step import TrainingStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridcast.training.data import TrainingData

PRECISION = {True: "fp16", False: "fp32"}
_FIRST_STEPS = 10

Json = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    options = _options(arguments)
    on_cuda = options.device == "cuda"
    num_gpus = torch.cuda.device_count() if on_cuda else max(options.gpus)
    if on_cuda and num_gpus < max(2, min(options.gpus)):
        print(f"Not run: found {num_gpus} GPUs, expected 2 at least.")
        return 0
    devices = [torch.device(f"cuda:{each}" if on_cuda else "cpu") for each in range(num_gpus)]
    table = read_features(Config.load("seed", overrides=tuple(options.set)))
    replicas = [on_device(table, device) for device in devices]
    kept = envelope("split", devices[0])
    path = Path(options.output) / f"split-{slug(devices[0])}.json"
    for cell in options.cells:
        for batch_size in options.batch_sizes:
            config = _config(options, batch_size, PRECISION[on_cuda])
            first = 0.0
            for num in (each for each in options.gpus if each <= num_gpus):
                row = _measure(replicas[:num], config, cell, options.steps)
                first = first or row["windows_per_second"]
                kept["rows"].append({**row, "speedup": row["windows_per_second"] / first})
                write_kept(path, kept)
                print(json.dumps(kept["rows"][-1]), flush=True)
    print(path)
    return 0


def _config(options: argparse.Namespace, batch_size: int, precision: str) -> Config:
    sizes = (f"training.batch_size={batch_size}", f"training.precision={precision}")
    return Config.load("seed", overrides=(*options.set, *sizes))


def _measure(replicas: Sequence[TrainingData], config: Config, cell: Cell, num_steps: int) -> Json:
    """Steps of a training, one after the other, after some that load libraries and record them."""
    data = replicas[0]
    engine = engine_of(config, data.x_TF.device, cells=[cell])
    stacks = [
        ForecasterStack(each, config, cell=cell, seeds=[0], engine=engine, share=share)
        for share, each in enumerate(replicas)
    ]
    gradients = [
        gradient_of(stack, each, config, share=share, num_shares=len(replicas))
        for share, (stack, each) in enumerate(zip(stacks, replicas, strict=True))
    ]
    (stack, gradient), *others = zip(stacks, gradients, strict=True)
    total = _FIRST_STEPS + num_steps
    step = TrainingStep(stack, gradient, config, total, others)
    # The first device ends a step last: it adds up what the others send.
    batches = batches_of(data, config)
    clock = Clock(data.x_TF.device, warm_steps=_FIRST_STEPS, steps=num_steps)
    for _ in range(total):
        step(next(batches))
        clock.tick()
    seconds = clock.step_seconds()
    return {
        "contestant": cell,
        "num_gpus": len(replicas),
        "batch_size": config.training.batch_size,
        "hidden_size": config.model.hidden_size,
        "num_layers": config.model.num_layers,
        "lookback": config.windows.lookback,
        "precision": config.training.precision,
        "num_steps": num_steps,
        "step_seconds": seconds,
        "windows_per_second": config.training.batch_size / seconds,
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--gpus", nargs="+", type=int, default=[1, 2, 4])
    add("--batch-sizes", nargs="+", type=int, default=[1024, 4096, 16384])
    add("--cells", nargs="+", choices=get_args(Cell), default=["gru"])
    add("--steps", type=int, default=250)
    add("--device", choices=("cuda", "cpu"), default="cuda")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the profile")
    add("--output", default=str(RESULTS), help="folder of the JSON file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
