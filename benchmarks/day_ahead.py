"""The day ahead: what the profile `day_ahead` learns, by lead, and where its time goes.

``python benchmarks/day_ahead.py [setting=value ...]`` trains its cells one after the other on the
regional CSVs of ``GRIDCAST_DATA`` (or ``data/``), on a GPU if there is one, and prints the errors
of the validation part by lead, of each cell, of their mean, of the linear models and of the blend
of both; ``--test`` those of the test part too (once, at the end: nothing is chosen by them).
``benchmarks/results/day-ahead-cpu.json`` keeps them. ``--profile base`` is the next hour.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.article_accuracy import RESULTS, envelope, slug, write_kept
from benchmarks.regions import data_folder, on_device, read_features
from gridcast.baselines.linear_baselines import fit_linear
from gridcast.config import Config
from gridcast.evaluation.blending import best_weights, blended
from gridcast.evaluation.metrics import relative_errors
from gridcast.features.splits import PARTS, TEST, VALIDATION
from gridcast.training.loop import train_model
from gridcast.training.prediction import score
from tasks.machine.devices import resolve_precision
from tasks.train.training_process import set_fp32_precision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridcast.baselines.linear_baselines import LinearForecasts
    from gridcast.training.data import TrainingData
    from gridcast.training.prediction import Scored

_TOLD = (1, 6, 12, 24, 48)


def main() -> None:
    """Train, score, print, keep."""
    arguments = _arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind: Literal["cpu", "cuda"] = "cuda" if device.type == "cuda" else "cpu"
    overrides = tuple(arguments.settings)
    config = Config.load(arguments.profile, overrides=overrides, device_type=kind)
    config = resolve_precision(config, device.type)
    set_fp32_precision(device, config.training.precision)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    table = read_features(config, data_folder())
    data = on_device(table, device, config)
    parts = [VALIDATION, TEST] if arguments.test else [VALIDATION]
    kept = envelope("day-ahead", device)
    kept["settings"], kept["threads"] = list(overrides), torch.get_num_threads()
    scored: dict[int, list[Scored]] = {part: [] for part in parts}
    for seed in config.training.seeds:
        for cell in config.model.cells:
            trained = train_model(
                data, config=config, cell=cell, seed=seed, on_progress=lambda _: None
            )
            cost = f"{trained.num_steps} steps in {trained.train_seconds:.1f} s"
            print(f"{cell} {seed}: {trained.forecaster.num_parameters:,} weights, {cost}")
            for part in parts:
                scored[part].append(score(trained.forecaster, data, part, config))
            own = {part: each[-1:] for part, each in scored.items()}
            row = _row(f"{cell}-seed{seed}", own)
            kept["rows"].append({**row, "train_seconds": trained.train_seconds})
    kept["rows"].append(_row("mean", scored))
    mean = {part: _mean_of(each) for part, each in scored.items()}
    for name in ("linear", "linear_neighbours"):
        begun = perf_counter()
        fitted = fit_linear(table.frame, with_neighbours=name != "linear")
        seconds = perf_counter() - begun
        linear = {part: _of_linear(fitted, each, data, config) for part, each in mean.items()}
        row = _row(name, {part: [each] for part, each in linear.items()})
        kept["rows"].append({**row, "train_seconds": seconds})
    weight_H = _blend_weights(mean[VALIDATION], linear[VALIDATION])
    blend = {
        part: replace(each, y_pred_OH=blended(each.y_pred_OH, linear[part].y_pred_OH, weight_H))
        for part, each in mean.items()
    }
    row = _row("blend", {part: [each] for part, each in blend.items()})
    kept["rows"].append({**row, "weights": weight_H.tolist()})
    write_kept(Path(arguments.output) / f"day-ahead-{slug(device)}.json", kept)


def _mean_of(members: list[Scored]) -> Scored:
    """The mean of the members' forecasts."""
    return replace(members[0], y_pred_OH=np.mean([each.y_pred_OH for each in members], axis=0))


def _of_linear(
    fitted: LinearForecasts, asked: Scored, data: TrainingData, config: Config
) -> Scored:
    """What linear models say of the same hours (MW)."""
    scaled_OH = fitted.forecast_leads(asked.origins_O, num_leads=config.windows.horizon)
    region_O1 = asked.region_O[:, None]
    mw_OH = scaled_OH * data.scale_mw_R[region_O1] + data.offset_mw_R[region_O1]
    return replace(asked, y_pred_OH=mw_OH)


def _blend_weights(networks: Scored, linear: Scored) -> np.ndarray:
    """How much of a blend is the linear models', by lead: the best on these labels."""
    shape = networks.y_pred_OH.shape
    region_OH = np.broadcast_to(networks.region_O[:, None].astype(np.int64), shape)
    lead_OH = np.broadcast_to(np.arange(shape[1]), shape)
    own_OH = np.full(shape, np.nan)  # errors are told in percent of each hour's own load
    labels = (networks.y_true_OH, networks.y_pred_OH, linear.y_pred_OH, region_OH, lead_OH, own_OH)
    return best_weights(*(each.reshape(-1) for each in labels))


def _row(name: str, scored: Mapping[int, list[Scored]]) -> dict[str, Any]:
    """The errors of a mean of forecasts by part and lead, percent; printed too."""
    row: dict[str, Any] = {"contestant": name}
    for part, members in scored.items():
        print(f"  {name}, {PARTS[part]}: {_told(members)}", flush=True)
        error_H = smape_by_lead(members)
        row[PARTS[part]] = {"smape": float(error_H.mean()), "by_lead": error_H.round(4).tolist()}
    return row


def _told(members: list[Scored]) -> str:
    """The mean over the leads, and some leads, in percent."""
    error_H = smape_by_lead(members)
    leads = [lead for lead in _TOLD if lead <= len(error_H)]
    some = ", ".join(f"{error_H[lead - 1]:.2f}" for lead in leads)
    return f"{error_H.mean():.3f} % (leads {', '.join(map(str, leads))}: {some})"


def smape_by_lead(members: list[Scored]) -> np.ndarray:
    """Of the mean of forecasts: percent, the mean over the regions, shape ``(H,)``."""
    y_pred_OH = np.mean([each.y_pred_OH for each in members], axis=0)
    error_OH = 100 * relative_errors(members[0].y_true_OH, y_pred_OH)
    region_O = members[0].region_O
    by_region = [error_OH[region_O == each].mean(0) for each in np.unique(region_O)]
    return np.asarray(np.mean(by_region, axis=0))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", nargs="*", help="such as model.hidden_size=128")
    parser.add_argument("--profile", default="day_ahead")
    parser.add_argument("--test", action="store_true", help="score the test part too")
    parser.add_argument("--output", default=str(RESULTS), help="folder of the JSON file")
    parser.add_argument("--threads", type=int, help="of PyTorch on a CPU")
    return parser.parse_args()


if __name__ == "__main__":
    main()
