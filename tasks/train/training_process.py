"""The process that trains models: ``python -m tasks.train.training_process <job folder> ...``.

It reads ``job.json`` (of several folders, if the jobs differ in cell and seed alone), prints one
JSON object a line on standard output as it goes, and leaves in each folder ``weights.npz``,
``forecasts.parquet`` and, last of all, ``result.json``. Of a trial, which does not score the test
part, no weights are left: there are many, and none are used. It imports neither Prefect nor MLflow,
ends when its standard input closes (its owner is gone), and needs nobody to run again: from a
checkpoint it goes on, if one is there.
"""

from __future__ import annotations

import resource
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from gridcast.errors import GridcastError
from gridcast.features.columns import issued_columns
from gridcast.features.splits import PARTS, TEST
from gridcast.kernels.engine import engine_of, why_no_loops
from gridcast.networks.forecaster import weights_sha256
from gridcast.networks.weights import weights_file
from gridcast.training.data import TrainingData, collect_training_data
from gridcast.training.loop import TrainedModel, train_models
from gridcast.training.prediction import plan_scoring, score_planned
from tasks.machine.devices import devices_sharing
from tasks.machine.owned_process import end_with_owner, exit_process, send_event
from tasks.runs.keys import file_sha256, require_sha256
from tasks.runs.locks import held_file
from tasks.runs.places import artifacts_of, resolved_path
from tasks.runs.record_files import read_record, write_record
from tasks.runs.storage import publishing
from tasks.train.checkpoints import Checkpoints, forget_training, plan_stacks
from tasks.train.records import NetworkJob, Specification, TrainingResult

if TYPE_CHECKING:
    from gridcast.config import Cell, Config, ModelConfig
    from gridcast.engine import Engine
    from gridcast.training.clock import Progress
    from gridcast.training.prediction import Scored, ScoringPlan
    from tasks.train.checkpoints import Stack
    from tasks.train.records import FeaturesFile, PassEnd

JOB, RESULT, FORECASTS, WEIGHTS = "job.json", "result.json", "forecasts.parquet", "weights.npz"
PROCESS_LOCK = "process.lock"


def main(folders: list[Path]) -> int:
    """Train the jobs in ``folders``; 0, or 1 after an ``error`` line.

    Of several jobs one can fail by itself, which a line ``failed`` tells.
    """
    end_with_owner()
    with ExitStack() as alone:
        for folder in sorted(folders):  # one whose owner was killed may not have ended yet
            alone.enter_context(held_file(folder / PROCESS_LOCK, folder.name))
        return _main(folders)


def _main(folders: list[Path]) -> int:
    try:
        asked = [read_record(folder / JOB, Specification[NetworkJob]) for folder in folders]
        failed = run_jobs(asked, folders)
    except (GridcastError, torch.OutOfMemoryError, MemoryError) as error:
        return _fail(str(error) or type(error).__name__)
    if len(folders) == len(failed) == 1:
        return _fail(*failed.values())
    for name, reason in failed.items():
        send_event("failed", job=name, reason=reason)
    return 0


def run_jobs(asked: list[Specification[NetworkJob]], folders: list[Path]) -> dict[str, str]:
    """Features → trained models → the result of each; which jobs failed, and why.

    The jobs differ in cell and seed alone.
    """
    jobs, config = [each.job for each in asked], asked[0].config
    job, device = jobs[0], torch.device(jobs[0].device)
    torch.set_num_threads(job.threads)
    set_fp32_precision(device, config.training.precision)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    begun = time.perf_counter()
    data = read_training_data(
        asked[0].features, device, config.model, artifacts=artifacts_of(folders[0])
    )
    send_event("loaded", seconds=time.perf_counter() - begun)
    names = {(each.cell, each.seed): each.name for each in jobs}
    engine = engine_of(config, device, cells={cell for cell, _ in names})
    if engine.is_fallback and (device.type != "cpu" or not why_no_loops(config)):
        send_event("fallback", reason=engine.reason)  # else the owner has read it from the settings

    def on_progress(cell: Cell, seed: int, progress: Progress) -> None:
        if (cell, seed) in names:  # a company may have more
            send_event("progress", job=names[cell, seed], **asdict(progress))

    others = devices_sharing(job.device, split_over=config.training.split_over)
    stacks = plan_stacks(jobs, folders, engine)
    outcomes = train_models(
        data, config=config, models=list(names), engine=engine, on_progress=on_progress,
        replica_devices=[torch.device(other) for other in others],
        stacks=[(stack.cell, stack.seeds) for stack in stacks],
        watcher=_checkpoints(job, config, stacks, engine=engine, num_devices=1 + len(others)),
    )  # fmt: skip
    plans = {part: plan_scoring(data, part, config) for part in map(PARTS.index, job.scored)}
    failed = {}
    for each, folder in zip(jobs, folders, strict=True):
        outcome = outcomes[each.cell, each.seed]
        if isinstance(outcome, TrainedModel):
            write_record(folder / RESULT, finish(each, folder, outcome, data, config, plans))
        else:
            failed[each.name] = str(outcome)
    for folder in folders:
        forget_training(folder)
    return failed


def _checkpoints(
    job: NetworkJob, config: Config, stacks: list[Stack], *, engine: Engine, num_devices: int
) -> Checkpoints | None:
    """Of a trial, which is short and may be given up, none are kept."""
    seconds = config.training.checkpoint_seconds
    if seconds is None or PARTS[TEST] not in job.scored:
        return None
    return Checkpoints(stacks, engine=engine, num_devices=num_devices, seconds=seconds)


def finish(
    job: NetworkJob,
    folder: Path,
    trained: TrainedModel,
    data: TrainingData,
    config: Config,
    plans: dict[int, ScoringPlan],
) -> TrainingResult:
    """Trained model → its file, its forecasts of the parts in ``plans``, and what they cost."""
    begun = time.perf_counter()
    scored = {
        part: score_planned(trained.forecaster, data, plan, config) for part, plan in plans.items()
    }
    evaluation_seconds = time.perf_counter() - begun
    send_event("scored", job=job.name, seconds=evaluation_seconds)
    write_forecasts(folder / FORECASTS, scored)
    peak = peak_memory_bytes(data.x_TF.device)
    files = [FORECASTS]
    if TEST in plans:
        with publishing(folder / WEIGHTS) as temporary:
            temporary.write_bytes(weights_file(trained.forecaster))
        files.append(WEIGHTS)
    return TrainingResult(
        num_parameters=trained.forecaster.num_parameters,
        weights_sha256=weights_sha256(trained.forecaster),
        train_seconds=trained.train_seconds,
        evaluation_seconds=evaluation_seconds,
        num_steps=trained.num_steps,
        seeds_per_pass=trained.seeds_per_pass,
        engine=trained.engine,
        peak_memory_bytes=peak,
        data_bytes=data.num_bytes,
        history=[cast("PassEnd", asdict(progress)) for progress in trained.history],
        files={name: file_sha256(folder / name) for name in files},
    )


def read_training_data(
    features: FeaturesFile, device: torch.device, model: ModelConfig, *, artifacts: Path = Path()
) -> TrainingData:
    """The table of features on the device, as ``model`` needs it.

    Refused if it is not the file that was written.
    """
    path = Path(resolved_path(features.path, artifacts))
    require_sha256(path, features.file_sha256)
    columns = ["region", "part", "is_input", "target", "load_mw", *features.feature_names]
    columns += ["timestamp"] if model.neighbour_units else []
    file = pq.ParquetFile(path, pre_buffer=False)
    columns += issued_columns(file.schema_arrow.names) if model.head == "by_lead" else []
    pieces = (
        file.read_row_group(number, columns).to_pandas() for number in range(file.num_row_groups)
    )
    data = collect_training_data(
        pieces, features.scales, device, num_steps=file.metadata.num_rows, model=model,
        norms=features.norms,
    )  # fmt: skip
    pa.default_memory_pool().release_unused()  # else the process keeps it to its end
    return data


def write_forecasts(path: Path, scored: dict[int, Scored]) -> None:
    """One row a forecast label: its ``step`` in the table, ``lead`` (steps), ``part``, MW."""
    with publishing(path) as temporary:
        writer: pq.ParquetWriter | None = None
        for part, each in scored.items():  # one after the other: with many regions they are large
            num_origins, horizon = each.y_pred_OH.shape
            lead = np.tile(np.arange(1, horizon + 1), num_origins)
            columns = {
                "step": np.repeat(each.origins_O, horizon) + lead,
                "lead": lead.astype("int16"),
                "part": pa.repeat(PARTS[part], len(lead)),
                "y_pred": each.y_pred_OH.reshape(-1).astype("float64"),
            }
            table = pa.table(columns)
            writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()


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


def _fail(reason: str) -> int:
    send_event("error", reason=reason)
    return 1


if __name__ == "__main__":
    exit_process(main([Path(folder) for folder in sys.argv[1:]]))
