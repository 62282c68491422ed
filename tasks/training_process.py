"""The process that trains one model: ``python -m tasks.training_process <job folder>``.

It reads ``job.json``, prints one JSON object a line on standard output as it goes, and leaves
``model.pt2``, ``forecasts.parquet`` and, last of all, ``result.json``. It imports neither Prefect
nor MLflow, ends when its standard input closes (its owner is gone), and needs nobody to run again.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from gridcast.config import Config
from gridcast.errors import GridcastError
from gridcast.models import LastStep, weights_sha256
from gridcast.scoring import score
from gridcast.splits import PARTS, TEST, VALIDATION
from gridcast.training import TrainingData, collect_training_data, train_model
from tasks.storage import file_sha256, publishing, read_json, require_sha256, write_json

if TYPE_CHECKING:
    from gridcast.scoring import Scored
    from gridcast.training import Progress, TrainedModel

JOB, RESULT, MODEL, FORECASTS = "job.json", "result.json", "model.pt2", "forecasts.parquet"
# Two windows: torch.export would take a batch of one for a constant.
_EXAMPLE_BATCH = 2


def main(folder: Path) -> int:
    """Train the job in ``folder``; 0, or 1 after an ``error`` line."""
    threading.Thread(target=_end_with_owner, daemon=True).start()
    job = read_json(folder / JOB)
    if job is None:
        return _fail(f"ERROR {folder / JOB}: found no job, expected one written by gridcast")
    try:
        result = run_job(job, folder)
    except (GridcastError, torch.OutOfMemoryError, MemoryError) as error:
        return _fail(str(error) or type(error).__name__)
    write_json(folder / RESULT, result)
    return 0


def run_job(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Features → trained model → its file, its forecasts, and what they cost."""
    device = torch.device(job["device"])
    torch.set_num_threads(job["threads"])
    set_fp32_precision(device, job["config"]["training"]["precision"])
    if device.type == "cuda":
        torch.cuda.set_device(device)
    config = Config.model_validate(job["config"])
    begun = time.perf_counter()
    data = read_training_data(job, device)
    _say("loaded", seconds=time.perf_counter() - begun)
    trained = train_model(
        data, config=config, cell=job["cell"], seed=job["seed"], on_progress=_say_progress
    )
    begun = time.perf_counter()
    scored = {part: score(trained.forecaster, data, part, config) for part in (VALIDATION, TEST)}
    evaluation_seconds = time.perf_counter() - begun
    _say("scored", seconds=evaluation_seconds)
    write_forecasts(folder / FORECASTS, scored)
    peak = peak_memory_bytes(device)
    export_model(folder / MODEL, trained, data, lookback=config.windows.lookback)
    return {
        "num_parameters": trained.forecaster.num_parameters,
        "weights_sha256": weights_sha256(trained.forecaster),
        "train_seconds": trained.train_seconds,
        "evaluation_seconds": evaluation_seconds,
        "num_steps": trained.num_steps,
        "peak_memory_bytes": peak,
        "data_bytes": data.num_bytes,
        "history": [asdict(progress) for progress in trained.history],
        "files": {name: file_sha256(folder / name) for name in (MODEL, FORECASTS)},
    }


def read_training_data(job: dict[str, Any], device: torch.device) -> TrainingData:
    """The table of features on the device. Refused if it is not the file that was written."""
    features = job["features"]
    require_sha256(Path(features["path"]), features["file_sha256"])
    columns = ["region", "part", "is_input", "target", "load_mw", *features["feature_names"]]
    file = pq.ParquetFile(features["path"], pre_buffer=False)
    pieces = (
        file.read_row_group(number, columns).to_pandas() for number in range(file.num_row_groups)
    )
    data = collect_training_data(
        pieces, features["scales"], device, num_steps=file.metadata.num_rows
    )
    pa.default_memory_pool().release_unused()  # else the process keeps it to its end
    return data


def write_forecasts(path: Path, scored: dict[int, Scored]) -> None:
    """One row a forecast label: its ``step`` in the table, ``ahead`` (steps), ``part``, MW."""
    with publishing(path) as temporary:
        writer: pq.ParquetWriter | None = None
        for part, each in scored.items():  # one after the other: with many regions they are large
            num_origins, horizon = each.y_pred_OH.shape
            ahead = np.tile(np.arange(1, horizon + 1), num_origins)
            columns = {
                "step": np.repeat(each.origins_O, horizon) + ahead,
                "ahead": ahead.astype("int16"),
                "part": pa.repeat(PARTS[part], len(ahead)),
                "y_pred": each.y_pred_OH.reshape(-1).astype("float64"),
            }
            table = pa.table(columns)
            writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()


def export_model(path: Path, trained: TrainedModel, data: TrainingData, *, lookback: int) -> None:
    """``torch.export`` in eval mode (in train mode dropout is baked in), any number of windows."""
    model = LastStep(trained.forecaster, lookback=lookback).cpu().eval()
    example_BLF = torch.zeros(_EXAMPLE_BATCH, lookback, data.x_TF.shape[1])
    with warnings.catch_warnings():  # nn.RNN keeps its weights twice, which export remarks upon
        warnings.filterwarnings("ignore", message="The tensor attributes .*_flat_weights")
        program = torch.export.export(
            model, (example_BLF,), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
    program.example_inputs = None  # they alone would be stored as a pickle
    with publishing(path) as temporary, temporary.open("wb") as file:
        torch.export.save(program, file)


def set_fp32_precision(device: torch.device, precision: str) -> None:
    """Let a GPU multiply 32-bit floats in TF32 where ``precision`` is ``tf32``, and only there."""
    if device.type == "cuda":
        # The older switches: with the newer ones, one a kind of layer, torch.export refuses to run.
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = precision == "tf32"


def peak_memory_bytes(device: torch.device) -> int:
    """On a GPU what its allocator held at most; on a CPU the most of this process in memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _say(event: str, **facts: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


def _say_progress(progress: Progress) -> None:
    _say("progress", **asdict(progress))


def _fail(reason: str) -> int:
    _say("error", reason=reason)
    return 1


def _end_with_owner() -> None:
    """Standard input closes when the owner dies, however it dies."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
