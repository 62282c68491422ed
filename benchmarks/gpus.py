"""Eight jobs on one, two and four GPUs: how much sooner they are done.

``python benchmarks/gpus.py`` trains the article's comparison, GRU and LSTM with four seeds each (2
x 256 units, windows of 90 steps, ten passes, in fp16), with 1024 windows a step as the article does
and with 4096, on synthetic regions as many and as long as PJM's, in the pipeline's own training
processes, one a GPU, on more and more GPUs. It writes ``benchmarks/results/gpus-<device>.json``. It
needs two GPUs at least; ``--device cpu`` tries it out on none.

``wall_seconds`` runs from the start of the first process to the end of the last one, with imports,
reading the data, compiling the kernels and scoring. ``longest_train_seconds`` is the training
alone: of a GPU's jobs, which run side by side, the longest. Seeds of a cell on one GPU share a
pass, which fills it better than one of them does with 1024 windows; ten small networks on one GPU
take hardly longer than one (``benchmarks/seeds.py``), and more GPUs are of no use to them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.article_accuracy import RESULTS, envelope, slug, write_kept
from benchmarks.jobs import Json, num_cores, train, write_job, write_table
from gridcast.config import Config
from tasks.machine.devices import spread_over_devices

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the same jobs on each number of GPUs; print and keep the rows."""
    options = _options(arguments)
    on_cuda = options.device == "cuda"
    num_gpus = torch.cuda.device_count() if on_cuda else 1
    numbers = [num for num in options.gpus or (1, 2, 4, 8) if num <= num_gpus]
    if on_cuda and (not numbers or (num_gpus == 1 and not options.gpus)):
        print(f"Not run: found {num_gpus} GPUs, expected {min(options.gpus, default=2)} at least.")
        return 0
    device = torch.device("cuda:0" if on_cuda else "cpu")
    config = _config(options, on_cuda=on_cuda)
    kept, path = envelope("gpus", device), Path(options.output) / f"gpus-{slug(device)}.json"
    with tempfile.TemporaryDirectory() as folder:
        features = write_table(
            Path(folder) / "features.parquet",
            num_regions=options.regions, num_hours=options.hours, config=config,
        )  # fmt: skip
        every = [f"cuda:{number}" for number in range(num_gpus)] if on_cuda else ["cpu"]
        few = _config(options, "training.max_steps=5", on_cuda=on_cuda)
        _row(Path(folder) / "first", features, few, every, options)  # what a disk is slow with once
        for size in options.batch_size:
            config = _config(options, f"training.batch_size={size}", on_cuda=on_cuda)
            first: Json = {}
            for num in numbers:
                own = Path(folder) / f"{size}-{num}"
                row = _row(own, features, config, every[:num], options)
                first = first or row
                for name, seconds in (("", "wall"), ("training_", "longest_train")):
                    row[f"{name}speedup"] = first[f"{seconds}_seconds"] / row[f"{seconds}_seconds"]
                kept["rows"].append(row)
                write_kept(path, kept)
                print(json.dumps(kept["rows"][-1]), flush=True)
    print(path)
    return 0


def _config(options: argparse.Namespace, *overrides: str, on_cuda: bool) -> Config:
    precision = "fp16" if on_cuda else "fp32"
    own = (f"training.passes={options.passes}", f"training.precision={precision}")
    return Config.load(
        options.profile,
        overrides=(*own, *options.set, *overrides),
        device_type="cuda" if on_cuda else "cpu",
    )


def _row(
    folder: Path, features: Json, config: Config, devices: list[str], options: argparse.Namespace
) -> Json:
    """All jobs on these devices: from the start of the first to the end of the last."""
    num_seeds = options.jobs // len(config.model.cells)
    seeds_and_cells = product(range(num_seeds), config.model.cells)
    placed = spread_over_devices(
        num_seeds, len(config.model.cells), devices
    )  # as a run deals them out
    jobs: dict[str, list[Path]] = {device: [] for device in devices}
    for (seed, cell), device in zip(seeds_and_cells, placed, strict=True):
        job = write_job(
            folder / f"{cell}-seed{seed}", features, config, cell=cell, seed=seed, device=device,
            threads=max(1, num_cores() // len(devices)),
        )  # fmt: skip
        jobs[device].append(job)
    begun = perf_counter()
    with ThreadPoolExecutor(len(devices)) as pool:
        results = [each for own in pool.map(train, jobs.values()) for each in own]
    wall_seconds = perf_counter() - begun
    return {
        "num_gpus": len(devices),
        "num_jobs": len(results),
        "num_regions": options.regions,
        "num_hours": options.hours,
        "num_steps": results[0]["num_steps"],
        "hidden_size": config.model.hidden_size,
        "num_layers": config.model.num_layers,
        "batch_size": config.training.batch_size,
        "wall_seconds": wall_seconds,
        "longest_train_seconds": max(each["train_seconds"] for each in results),
        "train_seconds": [each["train_seconds"] for each in results],
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--gpus", nargs="+", type=int, default=[], help="numbers of GPUs: 1 2 4 8, as there are")
    add("--jobs", type=int, default=8, help="half of them GRUs, half LSTMs")
    add("--regions", type=int, default=12)
    add("--hours", type=int, default=90_000, help="of each region")
    add("--passes", type=int, default=10)
    add("--batch-size", nargs="+", type=int, default=[1024, 4096], help="windows a step")
    add("--device", choices=("cuda", "cpu"), default="cuda")
    add("--profile", default="seed")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the profile")
    add("--output", default=str(RESULTS), help="folder of the JSON file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
