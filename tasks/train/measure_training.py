"""Have a short training measured in a process of its own (see ``measuring_process``)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import gridcast
from gridcast.errors import MeasuringError
from gridcast.features.table import names_of_features
from gridcast.training.counts import DataCounts
from gridcast.training.requirements import Measurement
from tasks.machine.owned_process import numerical_environment

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
    """A short training of that cell, in a process like that of training.

    It has as many of the ``num_seeds`` that the device is given as share a pass there.

    Raises:
        MeasuringError: it failed.
    """
    root = Path(gridcast.__file__).resolve().parent.parent
    specification = {
        "config": config.model_dump(mode="json"),
        "cell": cell,
        "num_seeds": num_seeds,
        "device": device,
        "threads": threads,
        "num_features": len(names_of_features(config.features)),
        "num_tiles": counts.num_tiles,
    }
    result = subprocess.run(
        [sys.executable, "-m", "tasks.train.measuring_process"],
        cwd=root,
        env=numerical_environment(threads),
        input=json.dumps(specification),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        told = (result.stdout or result.stderr).strip().splitlines()
        reason = told[-1] if told else f"status {result.returncode}"
        raise MeasuringError(cell, device=device, reason=reason)
    return Measurement.model_validate_json(result.stdout.splitlines()[-1])
