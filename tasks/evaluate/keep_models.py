"""Keep each network and each mean as a folder that forecasts: `gridcast.load_model` takes it."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.covariates.inputs import note_on
from gridcast.errors import IntegrityError, RecordError, UsageError
from gridcast.evaluation.records import Evaluation, KeptModels, MeanRecord
from gridcast.forecasting.model import LINEAR
from gridcast.readings.records import Ingestion
from gridcast.serving.model_card import Member, ModelCard, linear_file
from gridcast.serving.model_folder import model_files, read_files
from tasks.covariates.stored_covariates import all_stored, hashes_of
from tasks.runs.import_closure import code_sha256
from tasks.runs.keys import key_of, require_sha256
from tasks.runs.locks import held
from tasks.runs.storage import publishing_folder
from tasks.train.records import Features, FittedBaseline, TrainedJob

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridcast.covariates.values import Covariates
    from gridcast.forecasting.model import Contestants
    from tasks.runs.run import Run

_WEIGHTS = "weights.npz"
# Beside those of a training, on which a forecast depends.
_SETTINGS = ("covariates", "features", "ingestion", "rules", "scaling", "split", "windows", "model")
_OF_A_PLACE = {"tracking.uri": None, "run.store": ""}  # and no part of a model
_log = logging.getLogger("gridcast.evaluate")


@task(name="keep-models", cache_policy=NO_CACHE)
def keep_models(
    run: Run,
    features: Features,
    trained: list[TrainedJob],
    fitted: list[FittedBaseline],
    evaluation: Evaluation,
    ingestion: Ingestion,
) -> KeptModels:
    """Weights, scales, settings and bands of each network and mean → a folder of the run each.

    How wrong a model was at each lead is learned from the validation part. Linear models that the
    run has fitted stand in where they are better. The article's features know no hour to come: of
    its models nothing is kept.
    """
    folders = dict[str, str]()
    if run.config.features.kind != "article":
        members: dict[str, tuple[str, ...]] = {each.job.name: (each.job.name,) for each in trained}
        members |= {name: each.members for name, each in evaluation.means.items()}
        blended = {name: each for name, each in evaluation.means.items() if each.linear}
        by_name = {each.job.name: each for each in trained}
        linear = [each for each in fitted if each.job.kind in LINEAR]
        keys = {
            name: _key(
                run, features, [by_name[each] for each in own], linear, blended.get(name), ingestion
            )
            for name, own in members.items()
        }
        places = {
            name: run.artifacts / "models" / f"{name}-{key[:12]}" for name, key in keys.items()
        }
        with held(run.artifacts, "models", is_cancelled=run.stop_file.exists):
            lacking = {name: members[name] for name, path in places.items() if not _is_whole(path)}
            if lacking:
                covariates = all_stored(ingestion.published)
                _make(run, features, by_name, linear, lacking, blended, places, covariates)
        folders = {name: str(path) for name, path in places.items()}
    kept = KeptModels(folders=folders)
    run.leave(kept)
    return kept


def _key(
    run: Run,
    features: Features,
    members: Sequence[TrainedJob],
    linear: Sequence[FittedBaseline],
    blend: MeanRecord | None,
    ingestion: Ingestion,
) -> str:
    """All on which a folder depends: it is made once for all runs that have the same jobs."""
    return key_of(
        jobs={each.job.name: (each.job.key, each.weights_sha256) for each in members},
        linear={each.job.kind: each.files[linear_file(each.job.kind)] for each in linear},
        blend=blend and (blend.linear, blend.weights),
        features=features.file_sha256,
        # what is known ahead goes on after the last hour of the table
        covariates=hashes_of(ingestion.published),
        config=run.config.keyed("forecasting", "evaluation", *_SETTINGS),
        code=code_sha256(__name__),
    )


def _is_whole(folder: Path) -> bool:
    """Whether a model stands there as it was written; what does not is made anew."""
    try:
        read_files(folder)
    except (UsageError, RecordError, IntegrityError) as error:
        if folder.exists():
            _log.warning("%s; it is made anew", str(error).removeprefix("ERROR "))
            shutil.rmtree(folder)
        return False
    return True


def _make(
    run: Run,
    features: Features,
    trained: Mapping[str, TrainedJob],
    fitted: Sequence[FittedBaseline],
    members: Mapping[str, tuple[str, ...]],
    blended: Mapping[str, MeanRecord],
    places: Mapping[str, Path],
    covariates: Mapping[str, Covariates],
) -> None:
    from gridcast.features.splits import TEST, VALIDATION
    from gridcast.forecasting.calibration import CALIBRATED_ON, learn_errors
    from gridcast.forecasting.hindcast import unseen_since
    from gridcast.serving.backtest_files import backtest_files

    needed = sorted({each for own in members.values() for each in own})
    weights = {name: _content(trained[name], _WEIGHTS) for name in needed}
    scales = features.load_scales
    _log.info("Learning how wrong %s are at each lead", ", ".join(members))
    require_sha256(Path(features.path), features.file_sha256)
    frame = pd.read_parquet(features.path, columns=[*CALIBRATED_ON, *features.feature_names])
    of_linear = {
        name: _content(each, name) for each in fitted for name in [linear_file(each.job.kind)]
    }
    contestants = _contestants(run, features, trained, weights, members, of_linear, blended)
    learned = learn_errors(contestants, frame, scales, run.config, covariates=covariates)
    backtest = learned.backtest(run.config, list(scales))
    since = {part: unseen_since(frame, first_part=part) for part in (VALIDATION, TEST)}
    for name, own in members.items():
        card = _card(
            run, features, name, [trained[each] for each in own], blended.get(name), *since.values()
        )
        of_card = {f"{each}.npz": weights[each] for each in own}
        others = of_card | of_linear | backtest_files(learned, backtest, card)
        whole = model_files(card, others, learned.calibrations[name], learned.blends.get(name))
        with publishing_folder(places[name]) as folder:
            for file, content in whole.items():
                (folder / file).write_bytes(content)


def _contestants(
    run: Run,
    features: Features,
    trained: Mapping[str, TrainedJob],
    weights: Mapping[str, bytes],
    members: Mapping[str, tuple[str, ...]],
    of_linear: Mapping[str, bytes],
    blended: Mapping[str, MeanRecord],
) -> Contestants:
    """Networks, means and blends, and the linear models, of their files."""
    from gridcast.array_file import unpacked
    from gridcast.baselines.linear_models import LinearModels
    from gridcast.forecasting.model import Blend, Contestants
    from gridcast.networks.weights import read_forecaster

    networks = {
        name: read_forecaster(
            content, run.config, cell=trained[name].job.cell,
            feature_names=features.feature_names, num_regions=len(features.scales),
            where=trained[name].file(_WEIGHTS),
        )
        for name, content in weights.items()
    }  # fmt: skip
    files = {kind: linear_file(kind) for kind in LINEAR if linear_file(kind) in of_linear}
    linear = {
        kind: LinearModels.of(unpacked(of_linear[name], where=name)) for kind, name in files.items()
    }
    blends = {
        name: Blend(each.linear, np.array(each.weights))
        for name, each in blended.items()
        if name in members and each.linear
    }
    return Contestants(networks, members, linear, blends)


def _card(
    run: Run,
    features: Features,
    name: str,
    members: Sequence[TrainedJob],
    blend: MeanRecord | None,
    unseen: dict[str, str],
    test: dict[str, str],
) -> ModelCard:
    return ModelCard(
        name=name,
        sha256=_model_sha256(members, blend),
        features_sha256=features.file_sha256,
        config=run.config.with_values(_OF_A_PLACE, where="the model's folder"),
        scales=features.scales,
        covariate_scales=features.covariate_scales,
        norms=features.norms,
        note=note_on(run.config.covariates),
        feature_names=features.feature_names,
        members=tuple(
            Member(
                name=each.job.name, cell=each.job.cell, job_key=each.job.key,
                weights=f"{each.job.name}.npz",
            )
            for each in members
        ),
        unseen_since=unseen,
        test_since=test,
        files={},
    )  # fmt: skip


def _content(done: TrainedJob | FittedBaseline, name: str) -> bytes:
    """Of a file that a job has left, as it was written."""
    path = done.file(name)
    require_sha256(path, done.files[name])
    return path.read_bytes()


def _model_sha256(members: Sequence[TrainedJob], blend: MeanRecord | None) -> str:
    """One network's weights, or a hash over those of all and what is blended with them."""
    weights = [each.weights_sha256 for each in members]
    if blend is not None:
        return key_of(members=weights, linear=blend.linear_sha256, weights=blend.weights)
    return weights[0] if len(weights) == 1 else key_of(members=weights)
