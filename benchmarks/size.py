"""What size costs: regions and units against time and memory, and what a plan says of them.

``python benchmarks/size.py`` makes a year of synthetic hours of 12, 48 and 192 regions (on a GPU of
12, 100, 1,000 and 5,000), and trains one model of all regions on each, in the pipeline's own
training process. Before each training its memory is planned as ``gridcast run --plan`` does. It
writes ``benchmarks/results/size-<device>.json``. Bars: the memory within 10 % of the plan, the
time within a factor of two, and the time of a region and pass no longer with more regions.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from math import ceil
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import TYPE_CHECKING, get_args

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.article_accuracy import RESULTS, envelope, slug, write_kept
from benchmarks.jobs import Json, num_cores, train, write_job, write_table
from gridcast.config import Cell, Config
from gridcast.features.windows import steps_of
from gridcast.training.counts import count_data
from gridcast.training.requirements import plan_job
from tasks.train.measure_training import measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridcast.training.counts import DataCounts

HOURS_OF_A_YEAR = 8760
MEMORY_BAR = 0.10  # share of the plan
TIME_BAR = 2.0  # times, either way
_COLUMNS = ("contestant", "num_regions", "num_steps", "windows_per_second", "train_seconds",
            "seconds_per_region_and_pass", "peak_memory_bytes", "planned_memory_bytes")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Train each size; the exit status tells whether the bars are met."""
    options = _options(arguments)
    on_cuda = options.device.startswith("cuda") or (
        options.device == "auto" and torch.cuda.is_available()
    )
    device = torch.device(options.device.replace("auto", "cuda:0") if on_cuda else "cpu")
    numbers = options.regions or ([12, 100, 1_000, 5_000] if on_cuda else [12, 48, 192])
    sizes = options.hidden or ([64, 256] if on_cuda else [64])
    kept = envelope("size", device)
    path = Path(options.output) / f"size-{slug(device)}.json"
    for num_regions in numbers:
        with tempfile.TemporaryDirectory() as folder:
            for row in _rows(Path(folder), num_regions, sizes, device, options):
                kept["rows"].append(row)
                write_kept(path, kept)
    print(_table(kept["rows"]))
    missed = _missed(kept["rows"])
    print("\n".join([*missed, str(path)] if missed else ["All bars are met.", str(path)]))
    return 1 if missed else 0


def _rows(
    folder: Path, num_regions: int, sizes: list[int], device: torch.device, options: Options
) -> list[Json]:
    """All networks on one number of regions."""
    num_hours, config = round(options.years * HOURS_OF_A_YEAR), _config(device, options)
    begun = perf_counter()
    features = write_table(
        folder / "features.parquet", num_regions=num_regions, num_hours=num_hours, config=config
    )
    seconds = perf_counter() - begun
    frame = pd.read_parquet(features["path"], columns=["region", "part", "is_input"])
    counts = count_data([steps_of(frame)], config.windows)
    del frame
    print(f"{num_regions:,} regions: {counts.num_steps:,} steps in {seconds:.0f} s", flush=True)
    rows = []
    for hidden_size in sizes:
        for cell in options.cells:
            row = _row(folder, features, counts, hidden_size, cell, device, options)
            rows.append({**row, "num_regions": num_regions, "num_hours": num_hours,
                         "features_seconds": seconds})  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)
    return rows


def _row(
    folder: Path,
    features: Json,
    counts: DataCounts,
    hidden_size: int,
    cell: Cell,
    device: torch.device,
    options: Options,
) -> Json:
    """One network: planned, then trained."""
    config = _config(device, options, f"model.hidden_size={hidden_size}")
    a_pass = counts.num_by_phase_S.mean() / config.training.batch_size
    passes = max(2, ceil(options.steps / a_pass))
    config = _config(
        device, options, f"model.hidden_size={hidden_size}", f"training.passes={passes}"
    )
    threads = options.threads or num_cores()
    # The first process on a machine compiles the kernels; later ones find them on its disk.
    for _ in range(2 if device.type == "cuda" else 1):
        measured = measure(config, counts, cell=cell, device=str(device), threads=threads)
    plan = plan_job(
        counts, measured, config, cell=cell, seed=0, device=str(device),
        num_features=len(features["feature_names"]),
    )  # fmt: skip
    job = write_job(
        folder / f"{cell}-{hidden_size}", features, config, cell=cell, seed=0, device=str(device),
        threads=threads,
    )  # fmt: skip
    begun = perf_counter()
    (result,) = train([job])
    wall_seconds = perf_counter() - begun
    num_regions = len(features["scales"])
    # The first pass loads libraries and records the step.
    pass_seconds = mean([each["pass_seconds"] for each in result["history"]][1:])
    return {
        "contestant": f"{cell} {hidden_size}",
        "cell": cell,
        "hidden_size": hidden_size,
        "num_layers": config.model.num_layers,
        "precision": config.training.precision,
        "batch_size": config.training.batch_size,
        "series_steps": counts.num_steps,
        "num_steps": result["num_steps"],
        "passes": passes,
        "windows_per_second": result["num_steps"]
        * config.training.batch_size
        / result["train_seconds"],
        "train_seconds": result["train_seconds"],
        "planned_train_seconds": plan.train_seconds,
        "seconds_per_region_and_pass": pass_seconds / num_regions,
        "evaluation_seconds": result["evaluation_seconds"],
        "wall_seconds": wall_seconds,
        "planned_wall_seconds": plan.seconds,
        "peak_memory_bytes": result["peak_memory_bytes"],
        "planned_memory_bytes": plan.peak_memory_bytes,
        "data_bytes": result["data_bytes"],
        "device": str(device),
    }


def _config(device: torch.device, options: Options, *overrides: str) -> Config:
    """The profile, on a GPU with what is laid over it there."""
    precision = [] if device.type == "cuda" else ["training.precision=fp32"]
    return Config.load(
        options.profile,
        overrides=(*precision, *options.set, *overrides),
        device_type="cuda" if device.type == "cuda" else "cpu",
    )


def _table(rows: list[Json]) -> str:
    lines = [
        "".join(f"{name.replace('_bytes', ' MB').replace('_', ' '):>30s}" for name in _COLUMNS)
    ]
    for row in rows:
        cells = [
            f"{row[name] / 1e6:,.0f}"
            if name.endswith("_bytes")
            else f"{row[name]:,.4g}"
            if isinstance(row[name], float)
            else str(row[name])
            for name in _COLUMNS
        ]
        lines.append("".join(f"{cell:>30s}" for cell in cells))
    return "\n".join(lines)


def _missed(rows: list[Json]) -> list[str]:
    """Which bars were not met."""
    missed = []
    for row in rows:
        ratio = row["peak_memory_bytes"] / row["planned_memory_bytes"]
        if abs(ratio - 1) > MEMORY_BAR:
            missed.append(
                f"MISSED {row['contestant']}, {row['num_regions']} regions: memory {ratio:.3f} "
                f"of the plan, bar within {MEMORY_BAR:.0%}"
            )
        slower = row["train_seconds"] / row["planned_train_seconds"]
        if not 1 / TIME_BAR <= slower <= TIME_BAR:
            missed.append(
                f"MISSED {row['contestant']}, {row['num_regions']} regions: time {slower:.2f} "
                f"of the plan, bar within {TIME_BAR:g} times"
            )
    for contestant in dict.fromkeys(row["contestant"] for row in rows):
        own = sorted(
            (row for row in rows if row["contestant"] == contestant),
            key=lambda row: int(row["num_regions"]),
        )
        few, many = (each["seconds_per_region_and_pass"] for each in (own[0], own[-1]))
        if many > few:
            missed.append(
                f"MISSED {contestant}: {many:.5f} s a region and pass with "
                f"{own[-1]['num_regions']} regions, bar {few:.5f} s (with {own[0]['num_regions']})"
            )
    return missed


class Options(argparse.Namespace):
    """The command line."""

    regions: list[int]
    hidden: list[int]
    cells: list[Cell]
    years: float
    steps: int
    threads: int
    device: str
    profile: str
    set: list[str]
    output: str


def _options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--regions", nargs="+", type=int, default=[], help="12 48 192; a GPU: 12 100 1000 5000")
    add("--years", type=float, default=1.0, help="of each region")
    add("--hidden", nargs="+", type=int, default=[], help="units of a layer: 64; on a GPU 64 256")
    add("--cells", nargs="+", choices=get_args(Cell), default=["gru", "lstm"])
    add(
        "--steps", type=int, default=100, help="training steps at least (whole passes, two or more)"
    )
    add("--threads", type=int, default=0, help="of the CPU; 0: all cores")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--profile", default="base")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the profile")
    add("--output", default=str(RESULTS), help="folder of the JSON file")
    return parser.parse_args(arguments, namespace=Options())


if __name__ == "__main__":
    sys.exit(main())
