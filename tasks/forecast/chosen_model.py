"""Which model forecasts: what the newest run that trained some recommends, checked before it loads.

A run's lineage names the folder of each of its models with the SHA-256 of its files.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gridcast.audit.lineage import Lineage
from gridcast.errors import UsageError
from gridcast.evaluation.records import recommended_model
from gridcast.forecasting.model import NETWORK
from gridcast.operation.model_reference import ModelReference
from gridcast.serving.model_card import CARD, ModelCard
from gridcast.serving.served_model import read_model
from tasks.runs.keys import file_sha256, require_sha256
from tasks.runs.lives import oldest_first
from tasks.runs.record_files import read_record
from tasks.runs.run import read_summary

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from gridcast.covariates.values import Covariates
    from gridcast.forecasting.model import ForecastModel
    from gridcast.summary import Summary


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """A model and the run that recommends it.

    ``unseen_since`` has the first hour (ISO, UTC) of each region that the model was not trained on.
    ``test_since`` the first one of its test part; ``snapshot``: of what that run read.
    ``trained_to``: the day (UTC) after its newest hour.
    """

    model: ForecastModel
    reference: ModelReference
    snapshot: str | None
    unseen_since: dict[str, str]
    test_since: dict[str, str]
    trained_to: np.datetime64

    def given(self, covariates: Mapping[str, Covariates]) -> ChosenModel:
        """The same with values of covariates for its model."""
        return replace(self, model=self.model.given(covariates))

    @property
    def run_id(self) -> str:
        """Of the run that kept it."""
        return self.reference.run_id


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
    name = recommended_model(summary.preferred, summary.models, summary.means, summary.measure)
    lineage = read_record(folder / "lineage.json", Lineage)
    kept = next((each for each in lineage.of("model") if each.name == f"model {name}"), None)
    if kept is None:
        found = f"run {summary.run_id}, which has kept no model that knows hours to come"
        expected = "a run of another profile than the article's, such as base"
        raise UsageError(artifacts, found=found, expected=expected)
    for path, sha256 in kept.files.items():
        require_sha256(artifacts / path, sha256)
    (card,) = (artifacts / path for path in kept.files if path.endswith(f"/{CARD}"))
    about = read_record(card, ModelCard)
    reference = ModelReference(
        name=about.name, sha256=about.sha256, run_id=summary.run_id,
        folder=card.parent.relative_to(artifacts).as_posix(), card_sha256=file_sha256(card),
    )  # fmt: skip
    return load_reference(artifacts, reference)


def load_reference(artifacts: Path, reference: ModelReference) -> ChosenModel:
    """The model that is meant, each file held against its hash.

    Raises:
        UsageError: it is gone.
        IntegrityError: a file of the model is gone or was changed.
        RecordError: what its run left is damaged, or of a newer version.
    """
    folder = artifacts / reference.folder
    if not folder.is_dir():
        raise UsageError(folder, found="no such folder", expected=f"model {reference.short}")
    require_sha256(folder / CARD, reference.card_sha256)
    about, model = read_model(folder)
    summary = artifacts / "runs" / reference.run_id / "summary.json"
    snapshot = read_summary(summary).snapshot if summary.is_file() else None
    trained_to = model.calibrations[NETWORK].bands.day
    return ChosenModel(model, reference, snapshot, about.unseen_since, about.test_since, trained_to)


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
