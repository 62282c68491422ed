"""Write the result tables of README.md and docs/model-card.md from a run, so that none is typed.

``python benchmarks/update_readme.py artifacts/runs/latest/summary.json`` keeps the run's figures
in ``benchmarks/results/readme-cpu.json`` and writes the tables from there. Without a path it writes
the tables again from what is kept. Run it on the machine of the run: it notes its cores.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gridcast.report import article
from gridcast.summary import Summary

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "benchmarks" / "results" / "readme-cpu.json"
VERSIONS = ("torch", "prefect", "mlflow", "great-expectations", "pandas", "numpy")
# What the article prints: total training time of its five epochs, on its GPU (s).
NOTHING = "–"

Figures = dict[str, Any]


def figures_of(summary: Summary) -> Figures:
    """What the tables need of a run, with the machine it ran on (this one).

    Raises:
        SystemExit: the run is none that a README may show: synthetic, partial, not from scratch.
    """
    if summary.data is None or summary.data.kind != "real":
        sys.exit("ERROR: found a run on synthetic data, expected one on the PJM files")
    if summary.status != "completed" or any(model.cached for model in summary.models.values()):
        sys.exit("ERROR: found a partial run or one with kept models, expected a whole, fresh one")
    overrides = [f"--set {override}" for override in summary.overrides]
    profile = [] if summary.profile == "base" else [f"--profile {summary.profile}"]
    made = datetime.strptime(summary.run_id[:16], "%Y%m%dT%H%M%S%z")
    fields = {"cell", "seed", "smape", "smape_by_region", "mae", "train_seconds", "num_parameters"}
    return {
        "command": " ".join(["gridcast run --data folder", *profile, *overrides]),
        "date": f"{made:%Y-%m-%d}",
        "device": next(iter(summary.models.values())).device,
        "cores": _num_cores(),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in VERSIONS},
        "num_test_labels": summary.windows.test if summary.windows else 0,
        "models": {name: each.model_dump(include=fields) for name, each in summary.models.items()},
        "means": {name: each.model_dump() for name, each in summary.means.items()},
        "baselines": {name: each.model_dump() for name, each in summary.baselines.items()},
        "timings": summary.timings,
    }


def results_table(kept: Figures) -> str:
    """The README's table: every contestant's mean error, and under what it was measured."""
    rows = [
        "| forecast | sMAPE, mean of 12 regions | MAE, mean | parameters | training |",
        "|---|--:|--:|--:|--:|",
    ]
    ranked = sorted(kept["models"].values(), key=lambda model: float(model["smape"]))
    rows += [
        f"| **{model['cell'].upper()}**, seed {model['seed']} | **{model['smape']:.3f} %** "
        f"| {model['mae']:.1f} MW | {model['num_parameters']:,} | {model['train_seconds']:.1f} s |"
        for model in ranked
    ]
    rows += [
        f"| {_together(mean, kept)} | {mean['smape']:.3f} % | {mean['mae']:.1f} MW "
        f"| {mean['num_parameters']:,} | {mean['train_seconds']:.1f} s |"
        for mean in kept.get("means", {}).values()
    ]
    rows += [
        f"| the article's {cell.upper()}, printed {smape / article.FACTOR:.4f} % × {article.FACTOR}"
        f" | {smape:.3f} % | {NOTHING} | {NOTHING} | {article.TRAIN_SECONDS[cell]:.1f} s, its GPU |"
        for cell, smape in sorted(article.SMAPE.items(), key=lambda each: each[1])
    ]
    rows += [
        f"| {name.replace('_', ' ')} | {baseline['smape']:.3f} % "
        f"| {_or_dash(baseline, 'mae', 'MW')} | {NOTHING} "
        f"| {_or_dash(baseline, 'train_seconds', 's')} |"
        for name, baseline in kept["baselines"].items()
    ]
    timings = kept["timings"]
    versions = ", ".join(f"{name} {number}" for name, number in kept["versions"].items())
    about = (
        f"Measured on {kept['date']} with `{kept['command']}` on {kept['cores']} CPU cores "
        f"({kept['machine']}, Python {kept['python']}, {versions}). "
        f"{kept['num_test_labels']:,} test labels, the article's. "
        f"The run took {timings['total']:.0f} s: {timings['prepare_data']:.0f} s to prepare the "
        f"data, {timings['train_models']:.0f} s to train both models side by side, "
        f"{timings['keep_models']:.0f} s to live through the last weeks with each and make its "
        f"bands. The start of Python and Prefect comes before that clock."
    )
    return "\n".join([*rows, "", about])


def _together(mean: Figures, kept: Figures) -> str:
    """What a mean or a blend is of."""
    members = _members(mean, kept)
    linear = str(mean.get("linear") or "").replace("_", " ")
    if not linear:
        return f"the mean of {members}"
    share = mean["weights"][0]
    return f"**blend**: {1 - share:.0%} the mean of {members}, {share:.0%} {linear}"


def _members(mean: Figures, kept: Figures) -> str:
    models = [kept["models"][member] for member in mean["members"]]
    return " and ".join(f"{each['cell'].upper()}, seed {each['seed']}" for each in models)


def _or_dash(record: Figures, key: str, unit: str) -> str:
    return NOTHING if record.get(key) is None else f"{record[key]:.1f} {unit}"


def regions_table(kept: Figures) -> str:
    """The model card's table: sMAPE by region."""
    contestants = {name: each["smape_by_region"] for name, each in kept["models"].items()}
    naive = kept["baselines"]["persistence"]
    contestants["persistence"] = naive["smape_by_region"]
    rows = [
        "| region | " + " | ".join(contestants) + " |",
        "|---|" + "--:|" * len(contestants),
    ]
    for region in naive["smape_by_region"]:
        values = (f"{by_region[region]:.3f} %" for by_region in contestants.values())
        rows.append(f"| {region} | " + " | ".join(values) + " |")
    return "\n".join(rows)


def _num_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


BLOCKS = {
    ROOT / "README.md": ("results", results_table),
    ROOT / "docs" / "model-card.md": ("regions", regions_table),
}


def with_block(text: str, name: str, block: str) -> str:
    """``text`` with ``block`` between the markers of that name.

    Raises:
        ValueError: the markers do not stand there exactly once.
    """
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    changed, count = pattern.subn(lambda _: f"{start}\n{block}\n{end}", text)
    if count != 1:
        message = f"found {count} blocks between {start} and {end}, expected one"
        raise ValueError(message)
    return changed


def main(arguments: list[str]) -> None:
    """Keep the figures of the summary that is named, if one is; then write the tables."""
    if arguments:
        summary = Summary.model_validate_json(Path(arguments[0]).read_bytes())
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        KEPT.write_text(json.dumps(figures_of(summary), indent=2) + "\n", encoding="utf-8")
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    for path, (name, table) in BLOCKS.items():
        text = path.read_text(encoding="utf-8")
        path.write_text(with_block(text, name, table(kept)), encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
