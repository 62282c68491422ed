"""Error on the article's test labels, and its cost: networks, boosting, linear and naive.

``python benchmarks/accuracy.py`` fits each contestant with the profile that a run would take on
this device (``base`` on a CPU, ``gpu`` over it on a GPU), in turn, and keeps what it has after each
in ``benchmarks/results/accuracy-<device>.json``; rows of other contestants stay. The data are those
of ``GRIDCAST_DATA``, or of ``data/``. Nothing is chosen here: the test part is scored once, at the
end.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.article_accuracy import (
    RESULTS,
    earlier_rows,
    envelope,
    reset_peak_memory,
    slug,
    write_kept,
)
from benchmarks.regions import on_device, read_features
from gridcast.baselines.fitted_baselines import fit_baseline
from gridcast.baselines.naive_forecasts import NAIVE_LAGS, naive_forecasts
from gridcast.config import Cell, Config, Fitted
from gridcast.evaluation.metrics import smape
from gridcast.features.load_scale import to_mw
from gridcast.features.splits import TEST, VALIDATION
from gridcast.features.windows import scored_origins
from gridcast.training.loop import train_model
from gridcast.training.prediction import score
from tasks.machine.devices import resolve_precision
from tasks.train.training_process import peak_memory_bytes, set_fp32_precision

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gridcast.features.table import FeatureTable
    from gridcast.training.data import TrainingData

NETWORKS: tuple[Cell, ...] = get_args(Cell)
FITTED: tuple[Fitted, ...] = get_args(Fitted)
MEAN = "mean of gru and lstm"
_COSTS = ("train_seconds", "evaluation_seconds", "num_parameters", "peak_memory_bytes")

Json = dict[str, Any]
Forecasts = dict[int, np.ndarray]


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, score and keep, one contestant after another."""
    options = _options(arguments)
    on_cuda = options.device.startswith("cuda") or (
        options.device == "auto" and torch.cuda.is_available()
    )
    device_type: Literal["cpu", "cuda"] = "cuda" if on_cuda else "cpu"
    device = torch.device(device_type)
    config = resolve_precision(
        Config.load(options.profile, overrides=tuple(options.set), device_type=device_type),
        device_type,
    )
    torch.set_num_threads(options.threads)
    table = read_features(config)
    path = Path(options.output) / f"accuracy-{slug(device)}.json"
    kept = envelope("accuracy", device)
    earlier = earlier_rows(path)
    for row in _rows(_Field(table, on_device(table, device), config), options):
        row.update(profile=options.profile, settings=list(options.set))
        row.update(commit=kept["commit"], date=kept["date"])
        kept["rows"].append(row)
        done = {_key(each) for each in kept["rows"]}
        others = [each for each in earlier if _key(each) not in done]
        write_kept(path, {**kept, "rows": [*others, *kept["rows"]]})
        print(
            f"{row['contestant']:22s} sMAPE {row['smape']:.3f} % (validation "
            f"{row['validation_smape']:.3f} %), fitted in {row['train_seconds']:.1f} s, scored in "
            f"{row['evaluation_seconds']:.2f} s",
            flush=True,
        )
    print(path)
    return 0


class _Field:
    """The labels, and who has forecast them: contestant → part → MW."""

    def __init__(self, table: FeatureTable, data: TrainingData, config: Config) -> None:
        self.table, self.data, self.config = table, data, config
        self.forecasts: dict[str, Forecasts] = {}
        self.origins = {
            part: scored_origins(data.steps, part, config.windows) for part in (VALIDATION, TEST)
        }

    def row(self, name: str, forecasts: Forecasts, costs: Json, seed: int | None = None) -> Json:
        """A contestant's errors and costs; its forecasts stay for the mean."""
        self.forecasts[name] = forecasts
        errors = {part: self._by_region(part, forecast) for part, forecast in forecasts.items()}
        smape_of = {part: float(np.mean(list(each.values()))) for part, each in errors.items()}
        return {
            "contestant": name,
            "seed": seed,
            **costs,
            "smape": smape_of[TEST],
            "validation_smape": smape_of[VALIDATION],
            "num_test_labels": len(self.origins[TEST]),
            "smape_by_region": errors[TEST],
        }

    def _by_region(self, part: int, y_pred_O: np.ndarray) -> dict[str, float]:
        at, data = self.origins[part], self.data
        y_true_O, region_O = data.load_mw_T[at + 1], data.steps.region_T[at]
        names = list(self.table.frame["region"].cat.categories)
        return {
            names[region]: smape(y_true_O[region_O == region], y_pred_O[region_O == region])
            for region in np.unique(region_O)
        }


def _networks(field: _Field, cells: list[Cell], seed: int) -> Iterator[Json]:
    rows = []
    for cell in cells:
        rows.append(_network(field, cell, seed))
        yield rows[-1]
    if len(rows) == len(NETWORKS):
        mean = {
            part: np.mean([field.forecasts[cell][part] for cell in NETWORKS], axis=0)
            for part in field.origins
        }
        costs = {cost: sum(row[cost] for row in rows) for cost in _COSTS}
        yield field.row(MEAN, mean, costs, seed)


def _network(field: _Field, cell: Cell, seed: int) -> Json:
    data, config = field.data, field.config
    device = data.x_TF.device
    set_fp32_precision(device, config.training.precision)
    reset_peak_memory(device)
    trained = train_model(data, config=config, cell=cell, seed=seed, on_progress=lambda _: None)
    begun = perf_counter()
    scored = {
        part: score(trained.forecaster, data, part, config).y_pred_OH[:, 0]
        for part in field.origins
    }
    costs = {
        "train_seconds": trained.train_seconds,
        "evaluation_seconds": perf_counter() - begun,
        "num_parameters": trained.forecaster.num_parameters,
        "peak_memory_bytes": peak_memory_bytes(device),
    }
    return field.row(cell, scored, costs, seed)


def _fitted(field: _Field, kinds: list[Fitted], threads: int) -> Iterator[Json]:
    data, frame, region_T = field.data, field.table.frame, field.data.steps.region_T
    for kind in kinds:
        begun = perf_counter()
        baseline = fit_baseline(kind, frame, threads=threads)
        train_seconds, begun = perf_counter() - begun, perf_counter()
        forecasts = {
            part: to_mw(
                baseline.forecast(at + 1),
                offset_mw=data.offset_mw_R[region_T[at]],
                scale_mw=data.scale_mw_R[region_T[at]],
            )
            for part, at in field.origins.items()
        }
        costs = {"train_seconds": train_seconds, "evaluation_seconds": perf_counter() - begun}
        yield field.row(kind, forecasts, costs)


def _naive(field: _Field) -> Iterator[Json]:
    input_mw_T = field.table.frame["input_mw"].to_numpy()
    by_part = {
        part: naive_forecasts(input_mw_T, field.data.steps.region_T, at + 1, np.ones_like(at))
        for part, at in field.origins.items()
    }
    for name in NAIVE_LAGS:
        forecasts = {part: each[name] for part, each in by_part.items()}
        yield field.row(name, forecasts, {"train_seconds": 0.0, "evaluation_seconds": 0.0})


def _rows(field: _Field, options: argparse.Namespace) -> Iterator[Json]:
    cells: list[Cell] = [cell for cell in NETWORKS if cell in options.contestants]
    kinds: list[Fitted] = [kind for kind in FITTED if kind in options.contestants]
    for seed in options.seeds:
        yield from _networks(field, cells, seed)
    yield from _fitted(field, kinds, options.threads)
    if "naive" in options.contestants:
        yield from _naive(field)


def _key(row: Json) -> tuple[object, ...]:
    return row["contestant"], row["seed"], row["profile"], *row["settings"]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    everyone = (*NETWORKS, *FITTED[:3], "naive")
    add("--contestants", nargs="+", choices=(*NETWORKS, *FITTED, "naive"), default=everyone)
    add("--seeds", nargs="+", type=int, default=[0])
    add("--profile", default="base")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the profile")
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    add("--output", default=str(RESULTS), help="folder of the JSON file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
