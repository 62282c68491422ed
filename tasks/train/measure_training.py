"""Have a short training measured in a process of its own (see ``measuring_process``)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gridcast.errors import MeasuringError, TrainingJobError
from gridcast.features.table import names_of_features
from gridcast.training.counts import DataCounts
from gridcast.training.requirements import Measurement
from tasks.machine.owned_process import Work, run_owned
from tasks.runs.record_files import write_record
from tasks.train.records import MeasuringSpecification

if TYPE_CHECKING:
    from gridcast.config import Cell, Config


def measure(
    config: Config,
    counts: DataCounts,
    *,
    cell: Cell,
    device: str,
    threads: int,
    num_seeds: int = 1,
) -> Measurement:
    """A short training of that cell, in a process that is owned like that of a training.

    It has as many of the ``num_seeds`` that the device is given as share a pass there.

    Raises:
        MeasuringError: it failed, was killed, or ran past its limit.
    """
    specification = MeasuringSpecification(
        config=config,
        cell=cell,
        num_seeds=num_seeds,
        device=device,
        threads=threads,
        num_features=len(names_of_features(config.features, config.covariates)),
        num_tiles=counts.num_tiles,
    )
    with tempfile.TemporaryDirectory(prefix="gridcast-measuring-") as name:
        work = Work(
            name=cell,
            module="tasks.train.measuring_process",
            folder=Path(name),
            threads=threads,
            limit_seconds=config.training.measuring_limit_seconds,
            limit_setting="training.measuring_limit_seconds",
        )
        write_record(work.folder / "specification.json", specification)
        try:
            run_owned(work, on_event=lambda _: None)
            return Measurement.model_validate_json((work.folder / "result.json").read_bytes())
        except TrainingJobError as error:
            log = work.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            reason = "; ".join([error.reason, *log[-1:]])  # its log goes with its folder
            raise MeasuringError(cell, device=device, reason=reason) from None
