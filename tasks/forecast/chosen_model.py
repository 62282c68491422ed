"""Which model forecasts: what the newest run that trained some recommends, checked before it loads.

A run's lineage names the files of each network and their SHA-256; nothing is loaded that differs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from gridcast.audit.lineage import Lineage
from gridcast.errors import UsageError
from gridcast.features.load_scale import LoadScale
from gridcast.networks.building import Forecaster, build_forecaster
from gridcast.networks.forecaster import weights_sha256
from tasks.runs.keys import key_of, require_sha256
from tasks.runs.lives import oldest_first
from tasks.runs.record_files import read_record
from tasks.runs.run import read_summary
from tasks.train.records import NetworkJob, Specification

if TYPE_CHECKING:
    from pathlib import Path

    from gridcast.config import Config
    from gridcast.evaluation.records import MeanRecord, ModelRecord
    from gridcast.summary import Summary

_PROGRAM = "model.pt2"
_MODULE = "forecaster."  # of the exported program: `LastStep` holds the network under this name
_log = logging.getLogger("gridcast.forecast")


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """The networks whose mean is forecast with, and what they were trained on.

    ``sha256`` tells the model apart: one network's weights, or a hash over those of all.
    """

    name: str
    run_id: str
    sha256: str
    snapshot: str | None
    config: Config
    features_path: Path
    features_sha256: str
    scales: dict[str, LoadScale]
    forecasters: tuple[Forecaster, ...]

    @property
    def regions(self) -> list[str]:
        """Those that it was trained on, in the order of their numbers."""
        return sorted(self.scales)


def choose_model(artifacts: Path, *, run_id: str | None = None) -> ChosenModel:
    """What the run (none named: the newest that trained) recommends, by its validation part.

    Where it recommends a baseline, which keeps no model, its best network or mean is taken; the
    bands then show how good that is, and a region for which a naive forecast is better gets it.

    Raises:
        UsageError: no run has trained a model, or not the named one.
        IntegrityError: a file of the model is gone or was changed.
        RecordError: what its run left is damaged, or of a newer version.
    """
    folder, summary = _run_with_models(artifacts, run_id)
    able: dict[str, ModelRecord | MeanRecord] = {**summary.models, **summary.means}
    name = summary.preferred if summary.preferred in able else _best(able)
    record = able[name]
    members = getattr(record, "members", (name,))
    lineage = read_record(folder / "lineage.json", Lineage)
    asked = [_read_job(artifacts, lineage, member) for member in members]
    config, features = asked[0].config, asked[0].features
    if config.features.kind == "article":
        found = f"run {summary.run_id} of the article's protocol: its inputs know no calendar ahead"
        raise UsageError(artifacts, found=found, expected="a run of another profile, such as base")
    scales = {name: LoadScale(*each) for name, each in features.scales.items()}
    forecasters = tuple(
        _load(artifacts, lineage, member, each) for member, each in zip(members, asked, strict=True)
    )
    weights = [weights_sha256(each) for each in forecasters]
    return ChosenModel(
        name=name,
        run_id=summary.run_id,
        sha256=weights[0] if len(weights) == 1 else key_of(members=weights),
        snapshot=summary.snapshot,
        config=config,
        features_path=artifacts / features.path,
        features_sha256=features.file_sha256,
        scales=scales,
        forecasters=forecasters,
    )


def _run_with_models(artifacts: Path, run_id: str | None) -> tuple[Path, Summary]:
    for folder in reversed(oldest_first(artifacts / "runs")):
        path = folder / "summary.json"
        if (run_id and folder.name != run_id) or not path.is_file():
            continue
        summary = read_summary(path)
        if summary.models and (folder / "lineage.json").is_file():
            return folder, summary
    found = f"no run {run_id} with a trained model" if run_id else "no run that has trained a model"
    raise UsageError(
        artifacts, found=found, expected="one; train first: gridcast run --data FOLDER"
    )


def _best(able: dict[str, ModelRecord | MeanRecord]) -> str:
    """The smallest error on the validation part; the first where there is none."""
    errors = {name: each.validation_smape for name, each in able.items()}
    known = {name: error for name, error in errors.items() if error is not None}
    return min(known, key=lambda name: known[name], default=next(iter(able)))


def _read_job(artifacts: Path, lineage: Lineage, name: str) -> Specification[NetworkJob]:
    """What the job's process was asked, as it was when the run ended."""
    ((path, sha256),) = lineage.link(f"job {name}").files.items()
    require_sha256(artifacts / path, sha256)
    return read_record(artifacts / path, Specification[NetworkJob])


def _load(
    artifacts: Path,
    lineage: Lineage,
    name: str,
    asked: Specification[NetworkJob],
) -> Forecaster:
    """The network with the weights of its exported program, which holds no pickle."""
    link = lineage.link(f"weights {name}")
    path, sha256 = next(each for each in link.files.items() if each[0].endswith(_PROGRAM))
    require_sha256(artifacts / path, sha256)
    program = torch.export.load(artifacts / path)
    forecaster = build_forecaster(
        asked.config,
        cell=asked.job.cell,
        feature_names=asked.features.feature_names,
        num_regions=len(asked.features.scales),
    )
    weights = {key.removeprefix(_MODULE): value for key, value in program.state_dict.items()}
    forecaster.load_state_dict(weights)
    return forecaster.eval()
