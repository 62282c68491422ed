"""Synthetic regions as a table of features, and training jobs on it, through the core alone.

``size.py`` and ``gpus.py`` train with the very process of the pipeline. It is started without
Prefect, so that a machine with torch, pandas, pyarrow and scikit-learn is enough.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from gridcast.readings.synthetic import synthesize_readings, synthetic_regions  # noqa: E402
from tasks.machine.owned_process import numerical_environment  # noqa: E402
from tasks.runs.keys import file_sha256  # noqa: E402
from tasks.runs.record_files import write_record  # noqa: E402
from tasks.train.feature_table import write_features  # noqa: E402
from tasks.train.records import FeaturesFile, NetworkJob, Specification  # noqa: E402

if TYPE_CHECKING:
    import pandas as pd

    from gridcast.config import Cell, Config

Json = dict[str, Any]
SEED = 7  # of the data


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write_table(path: Path, *, num_regions: int, num_hours: int, config: Config) -> Json:
    """The features of so many synthetic regions; their record, as ``job.json`` wants it."""
    regions = sorted(synthetic_regions(num_regions))
    with _readings_of(regions, num_hours) as readings:
        built = write_features(path, regions, lambda _: next(readings), config)
    record = built._asdict() | {"windows": built.windows.model_dump()}
    return {**record, "path": str(path), "file_sha256": file_sha256(path)}


@contextmanager
def _readings_of(regions: Sequence[str], num_hours: int) -> Iterator[Iterator[pd.DataFrame]]:
    """In order of the regions, made on all cores."""
    make = partial(synthesize_readings, num_hours=num_hours, seed=SEED)
    if num_cores() == 1 or len(regions) < 2 * num_cores():
        yield map(make, regions)
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield pool.map(make, regions, chunksize=8)


def write_job(
    folder: Path,
    features: Json,
    config: Config,
    *,
    cell: Cell,
    seed: int,
    device: str,
    threads: int,
) -> Path:
    """A job that ``tasks.train.training_process`` can train; its folder."""
    job = NetworkJob(
        name=f"{cell}-seed{seed}", cell=cell, seed=seed, device=device, threads=threads,
        limit_seconds=config.training.time_limit_seconds, key="", folder=str(folder), parts={},
    )  # fmt: skip
    file = FeaturesFile(**{n: features[n] for n in FeaturesFile.model_fields if n in features})
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder / "job.json", Specification(job=job, features=file, config=config))
    return folder


def start(folders: Sequence[Path]) -> subprocess.Popen[bytes]:
    """The training process of some jobs of a device; its standard input has to stay open."""
    folder = folders[0]
    threads = json.loads((folder / "job.json").read_bytes())["job"]["threads"]
    environment = numerical_environment(threads)  # as a run starts it
    with (folder / "log.txt").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "tasks.train.training_process", *map(str, folders)],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log,
        )  # fmt: skip


def finish(process: subprocess.Popen[bytes], folders: Sequence[Path]) -> list[Json]:
    """Wait for it; what it measured.

    Raises:
        SystemExit: it failed; its log is shown.
    """
    folder = folders[0]
    code = process.wait()
    if process.stdin is not None:
        process.stdin.close()
    if code or not all((each / "result.json").exists() for each in folders):
        sys.exit(f"ERROR {folder}: ended with status {code}\n{_tail(folder / 'log.txt')}")
    return [json.loads((each / "result.json").read_bytes()) for each in folders]


def train(folders: Sequence[Path]) -> list[Json]:
    """Train the jobs of a device to their end, as a run does; what that measured."""
    return finish(start(folders), folders)


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
