"""Several seeds of a model in one pass, against one seed, and against as many trainings in turn.

``python benchmarks/seeds.py`` trains the base profile's network (1 x 64 units) with 1, 2, 5 and 10
seeds in one pass on a Hopper GPU, prints what each costs and how far its models are from those of
separate trainings, and keeps it in ``benchmarks/results/seeds-<device>.json``. The data are those
of ``GRIDCAST_DATA``, or of ``data/``. Elsewhere nothing is run: several seeds in one pass need our
GPU kernels.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, get_args

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.article_accuracy import (
    RESULTS,
    envelope,
    reset_peak_memory,
    slug,
    write_kept,
)
from benchmarks.regions import on_device, read_features
from gridcast.config import Cell, Config
from gridcast.features.splits import VALIDATION
from gridcast.kernels.engine import engine_of
from gridcast.training.data import TrainingData
from gridcast.training.loop import TrainedModel, Training, run_interleaved
from gridcast.training.prediction import score
from tasks.train.training_process import peak_memory_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

_HOPPER = 9
_SETTINGS = ("training.precision=fp16",)

Json = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    options = _options(arguments)
    if not torch.cuda.is_available() or torch.cuda.get_device_capability()[0] != _HOPPER:
        print("Not run: there is no Hopper GPU.")
        return 0
    device = torch.device("cuda")
    config = Config.load("base", overrides=(*_SETTINGS, *options.set))
    data = on_device(read_features(config), device)
    kept = envelope("seeds", device)
    _train(data, config, options.cells[0], range(1))  # what is loaded once is in no one's time
    for cell in options.cells:
        for repetition in range(options.repetitions):
            alone = [_measure(data, config, cell, [seed]) for seed in range(max(options.seeds))]
            for num_seeds in options.seeds:
                row = _measure(data, config, cell, range(num_seeds))
                errors = [each["validation_smapes"][0] for each in alone[:num_seeds]]
                apart = [abs(a - b) for a, b in zip(row["validation_smapes"], errors, strict=True)]
                kept["rows"].append(
                    row
                    | {
                        "repetition": repetition,
                        "in_turn_seconds": sum(each["train_seconds"] for each in alone[:num_seeds]),
                        "largest_smape_difference": max(apart),
                    }
                )
    print(table(kept["rows"]))
    path = Path(options.output) / f"seeds-{slug(device)}.json"
    write_kept(path, kept)
    print(path)
    return 0


def table(rows: Sequence[Json]) -> str:
    """Medians, and each cost as a ratio to one seed's."""
    lines = [f"{'':6s}{'seeds':>6s}{'one pass':>10s}{'to one':>8s}{'in turn':>10s}{'apart':>10s}"]
    for cell in dict.fromkeys(row["contestant"] for row in rows):
        own = [row for row in rows if row["contestant"] == cell]
        for num_seeds in sorted({row["num_seeds"] for row in own}):
            these = [row for row in own if row["num_seeds"] == num_seeds]
            one = median(row["train_seconds"] for row in own if row["num_seeds"] == 1)
            seconds = median(row["train_seconds"] for row in these)
            in_turn = median(row["in_turn_seconds"] for row in these)
            apart = max(row["largest_smape_difference"] for row in these)
            lines.append(
                f"{cell:6s}{num_seeds:6d}{seconds:8.2f} s{seconds / one:8.2f}{in_turn:8.2f} s"
                f"{apart:8.4f} %"
            )
    return "\n".join(lines)


def _measure(data: TrainingData, config: Config, cell: Cell, seeds: Sequence[int]) -> Json:
    device = data.x_TF.device
    reset_peak_memory(device)
    models = _train(data, config, cell, seeds)
    errors = [score(each.forecaster, data, VALIDATION, config).mean_smape() for each in models]
    return {
        "contestant": cell,
        "hidden_size": config.model.hidden_size,
        "num_seeds": len(seeds),
        "train_seconds": models[0].train_seconds,
        "num_steps": models[0].num_steps,
        "validation_smapes": errors,
        "peak_memory_bytes": peak_memory_bytes(device),
    }


def _train(
    data: TrainingData, config: Config, cell: Cell, seeds: Sequence[int]
) -> list[TrainedModel]:
    engine = engine_of(config, data.x_TF.device, cells=[cell])
    training = Training(
        data, config=config, cell=cell, seeds=seeds, engine=engine, on_progress=lambda *_: None
    )
    run_interleaved([training])
    return [each for each in training.outcomes.values() if isinstance(each, TrainedModel)]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--cells", nargs="+", choices=get_args(Cell), default=get_args(Cell))
    add("--seeds", nargs="+", type=int, default=[1, 2, 5, 10], help="how many in one pass")
    add("--repetitions", type=int, default=3)
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the profile")
    add("--output", default=str(RESULTS), help="folder of the JSON file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
