"""The article's protocol (profile ``seed``) trained by gridcast's core: error, time and memory.

``python benchmarks/article_accuracy.py --precisions fp16 fp32 --seeds 0 1 2 3 4`` trains one
network a precision, seed and cell, in that order, scores each on the article's test labels and
keeps what it has after each in ``benchmarks/results/article-<device>.json``. The data are those of
``GRIDCAST_DATA``, or of ``data/``. ``benchmarks/write_results.py`` makes the pages of it.

``smape`` is that of the last step's weights, as the protocol has it. Beside it each training keeps
the mean of its weights over the last pass, which changes nothing in the training itself
(``training.average_last``); ``averaged_smape`` is that of those weights. The learning rate is
constant to the end, so the last step's weights are a draw from a noisy neighbourhood of that mean.

A run takes half a minute on an H200 and hours on a CPU; without a GPU it asks for ``--device cpu``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, get_args

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.regions import on_device, read_features
from gridcast.config import Cell, Config
from gridcast.features.splits import TEST
from gridcast.features.windows import scored_origins, train_starts
from gridcast.training.data import TrainingData
from gridcast.training.loop import train_model
from gridcast.training.prediction import score
from tasks.train.training_process import peak_memory_bytes, set_fp32_precision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridcast.features.table import FeatureTable

AVERAGED = 0.2  # of the steps: the last of five passes
ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
# The article's rows; of these, windows that train, labels that test, steps a pass; its batch.
ARTICLE_ROWS, ARTICLE_COUNTS, ARTICLE_BATCH = 1_090_167, (980_185, 108_902, 957), 1024
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
_KEY = ("contestant", "precision", "seed", "settings")

Json = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and keep, one run after another."""
    options = _options(arguments)
    if options.device == "auto" and not torch.cuda.is_available():
        print("Not run: there is no GPU, and a run takes hours on a CPU. --device cpu does it.")
        return 0
    device = torch.device("cuda" if options.device == "auto" else options.device)
    config = Config.load("seed", overrides=tuple(options.set))
    table = read_features(config)
    data = on_device(table, device)
    check_counts(data, config)
    path = Path(options.output) / f"article-{slug(device)}.json"
    kept = envelope("article", device)
    earlier = earlier_rows(path) if options.append else []
    _warm_up(data, options)
    for precision in options.precisions:
        for seed in options.seeds:
            for cell in options.cells:
                row = measure(
                    data, table, cell=cell, precision=precision, seed=seed, settings=options.set
                )
                earlier = [each for each in earlier if key_of(each) != key_of(row)]
                # A row goes on into later files (--append), so it says itself where it is from.
                kept["rows"].append({**row, "commit": kept["commit"], "date": kept["date"]})
                write_kept(path, {**kept, "rows": [*earlier, *kept["rows"]]})
                print(
                    f"{cell:4s} {precision} seed {seed}: sMAPE {row['smape']:.4f} % "
                    f"(averaged {row['averaged_smape']:.4f} %), "
                    f"{row['train_seconds']:.1f} s, {row['windows_per_second']:,.0f} windows/s, "
                    f"evaluation {row['evaluation_seconds']:.2f} s, "
                    f"{row['peak_memory_bytes'] / 2**20:,.0f} MiB",
                    flush=True,
                )
    print(path)
    return 0


def _warm_up(data: TrainingData, options: argparse.Namespace) -> None:
    """A few steps of each kind, so that loading the libraries is in no run's time."""
    for precision in options.precisions:
        for cell in options.cells:
            few = (f"training.precision={precision}", *options.set, "training.max_steps=5")
            config = Config.load("seed", overrides=few)
            set_fp32_precision(data.x_TF.device, config.training.precision)
            train_model(data, config=config, cell=cell, seed=0, on_progress=lambda _: None)


def measure(
    data: TrainingData,
    table: FeatureTable,
    *,
    cell: Cell,
    precision: str,
    seed: int,
    settings: Sequence[str],
) -> Json:
    """One training and its score on the test part, as a flat row."""
    config = Config.load(
        "seed",
        overrides=(
            f"training.average_last={AVERAGED}", f"training.precision={precision}", *settings,
        ),
    )  # fmt: skip
    device = data.x_TF.device
    set_fp32_precision(device, config.training.precision)
    reset_peak_memory(device)
    trained = train_model(data, config=config, cell=cell, seed=seed, on_progress=lambda _: None)
    begun = perf_counter()
    scored = score(trained.last_step, data, TEST, config)
    evaluation_seconds = perf_counter() - begun
    names = list(table.frame["region"].cat.categories)
    return {
        "contestant": cell,
        "precision": config.training.precision,
        "seed": seed,
        "settings": list(settings),
        "passes": len(trained.history),
        "num_steps": trained.num_steps,
        "num_parameters": trained.forecaster.num_parameters,
        "pass_seconds": [each.pass_seconds for each in trained.history],
        "train_seconds": trained.train_seconds,
        "evaluation_seconds": evaluation_seconds,
        "windows_per_second": trained.num_steps
        * config.training.batch_size
        / trained.train_seconds,
        "num_test_labels": len(scored.origins_O),
        "smape": scored.mean_smape(),
        "averaged_smape": score(trained.forecaster, data, TEST, config).mean_smape(),
        "smape_by_region": {names[key]: each for key, each in scored.smape_by_region().items()},
        "peak_memory_bytes": peak_memory_bytes(device),
        "data_bytes": data.num_bytes,
    }


def check_counts(data: TrainingData, config: Config) -> None:
    """Windows, test labels and steps a pass are the article's; says so where the data are others.

    Raises:
        SystemExit: the rows are the article's and the counts are not.
    """
    num_windows = len(train_starts(data.steps, config.windows))
    num_labels = len(scored_origins(data.steps, TEST, config.windows))
    found = (num_windows, num_labels, num_windows // ARTICLE_BATCH)
    text = "{:,} training windows, {:,} test labels, {} steps a pass"
    if found == ARTICLE_COUNTS:
        print(f"{text.format(*found)}: the article's", flush=True)
        return
    if len(data.x_TF) == ARTICLE_ROWS:
        sys.exit(f"ERROR: found {text.format(*found)}, expected {text.format(*ARTICLE_COUNTS)}")
    print(f"{text.format(*found)}: other data, so the article's figures do not compare", flush=True)


def reset_peak_memory(device: torch.device) -> None:
    """Let the peak begin anew, so that each run has its own."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def envelope(benchmark: str, device: torch.device) -> Json:
    """On what, with what and when it was measured; no rows yet."""
    return {
        "benchmark": benchmark,
        "machine": _machine(),
        "device": device_name(device),
        "versions": _versions(device),
        "commit": _commit(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "rows": [],
    }


def device_name(device: torch.device) -> str:
    """``cpu``, or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def slug(device: torch.device) -> str:
    """The device's name as part of a file name: ``nvidia-h200``."""
    return re.sub(r"[^a-z0-9]+", "-", device_name(device).lower()).strip("-")


def write_kept(path: Path, kept: Json) -> None:
    """Whole or not at all: a run may be stopped at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def key_of(row: Json) -> tuple[str, ...]:
    """What makes a row the same measurement."""
    return tuple(json.dumps(row.get(name)) for name in _KEY)


def earlier_rows(path: Path) -> list[Json]:
    """Of the file itself or, where ``--output`` is another folder, of the kept one."""
    for each in (path, RESULTS / path.name):
        if each.is_file():
            rows: list[Json] = json.loads(each.read_text(encoding="utf-8"))["rows"]
            return rows
    return []


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = ""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        if match := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
            model = f", {match[1].strip()}"
    return f"{platform.system()} {platform.machine()}, {cores} CPU cores{model}"


def _versions(device: torch.device) -> dict[str, str]:
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for name in ("numpy", "pandas", "scikit-learn"):
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    if device.type == "cuda":
        versions["cuda"] = str(torch.version.cuda)
        versions["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
    return versions


def _commit() -> str:
    """The commit, ``-dirty`` where tracked files differ; without git ``GRIDCAST_COMMIT``."""

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(ROOT), *arguments]
        run = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        return run.stdout.strip()

    try:
        is_dirty = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("-dirty" if is_dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("GRIDCAST_COMMIT", "unknown")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--precisions", nargs="+", choices=PRECISIONS, default=["fp16", "fp32"])
    add("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    add("--cells", nargs="+", choices=get_args(Cell), default=["gru", "lstm"])
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the profile")
    add("--append", action="store_true", help="keep the rows that are not measured again")
    add("--output", default=str(RESULTS), help="folder of the JSON file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
