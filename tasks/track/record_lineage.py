"""Write down what the run was made of, link by link, and leave the same with MLflow."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from gridcast.audit.lineage import Lineage, Link
from gridcast.errors import TrackingError
from gridcast.summary import Tracking
from tasks.ingest.snapshots import manifest_path
from tasks.runs.import_closure import all_code_sha256
from tasks.runs.keys import file_sha256, key_of
from tasks.runs.locks import held
from tasks.runs.places import relative_path
from tasks.track.logged.contestant_runs import leave_lineage
from tasks.track.mlflow_client import (
    kept_files,
    local_folder,
    mlflow_parts,
    open_client,
    told_as_tracking_error,
    tracking_uri,
    written_uri,
)
from tasks.train.records import TrainedJob

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

    from gridcast.evaluation.records import Evaluation, KeptModels
    from gridcast.readings.records import Ingestion
    from tasks.runs.run import Run
    from tasks.train.records import Features, FittedBaseline

_PACKAGES = ("numpy", "pandas", "pyarrow", "scikit-learn", "torch")
_log = logging.getLogger("gridcast.lineage")


@task(name="record-lineage", cache_policy=NO_CACHE)
def record_lineage(
    run: Run,
    ingestion: Ingestion,
    features: Features,
    jobs: list[TrainedJob | FittedBaseline],
    evaluation: Evaluation,
    kept: KeptModels,
    mlflow_run_ids: Mapping[str, str],
) -> str:
    """Every link from the CSVs to the MLflow runs → ``lineage.json``, here and with MLflow."""
    links = [
        *_source_links(run, ingestion),
        *_region_links(run, ingestion),
        *_covariates_links(run, ingestion),
        *_snapshot_links(run, ingestion),
        *_spec_links(run),
        _features_link(run, features, snapshot=["snapshot"] if ingestion.snapshot else []),
        *(link for each in jobs for link in _job_links(run, each)),
        *_result_links(run, jobs, evaluation),
        *_model_links(run, kept, evaluation),
    ]
    try:
        members = {name: mean.members for name, mean in evaluation.means.items()}
        _finish(run, links, mlflow_run_ids, members)
    except TrackingError as error:  # the chain as far as MLflow stands; the next run has all of it
        run.leave(Tracking(stage="record_lineage", error=str(error)))
    _log.info("Lineage: %d links; check them with `gridcast verify %s`", len(links), run.run_id)
    return str(run.folder / "lineage.json")


def _finish(
    run: Run,
    links: list[Link],
    logged: Mapping[str, str],
    members: Mapping[str, tuple[str, ...]],
) -> None:
    """Add MLflow's links, write all of it once, and leave it with MLflow."""
    if not logged:
        _write(run, links)
        return
    with told_as_tracking_error(_uri(run)):
        try:
            client = open_client(_uri(run))
            found = {name: client.get_run(run_id) for name, run_id in logged.items()}
            links += [
                _mlflow_link(run, client, name, each, members=members.get(name, (name,)))
                for name, each in found.items()
            ]
        finally:
            _write(run, links)
        for each in found.values():
            with held(run.artifacts, "mlflow"):
                leave_lineage(run, client, each)


def _write(run: Run, links: list[Link]) -> None:
    created = datetime.now(UTC).isoformat(timespec="seconds")
    run.leave(Lineage(run_id=run.run_id, created=created, links=tuple(links)))


def _source_links(run: Run, ingestion: Ingestion) -> Iterator[Link]:
    folder = Path(ingestion.data.files_folder or ingestion.data.folder)
    for region, record in ingestion.published.items():
        path = folder / ingestion.data.file_of(region)
        yield Link(
            kind="csv", name=f"csv {region}", files={_written(run, path): record.source_sha256}
        )


def _region_links(run: Run, ingestion: Ingestion) -> Iterator[Link]:
    for region, record in ingestion.published.items():
        yield Link(
            kind="region",
            name=f"region {region}",
            files={_written(run, record.path): record.file_sha256},
            made_of=(f"csv {region}",),
            facts={
                "content_sha256": record.content_sha256,
                "table_sha256": record.table_sha256,
                "labels": ingestion.data.labels,
            },
        )


def _covariates_links(run: Run, ingestion: Ingestion) -> Iterator[Link]:
    """The files of covariates, and what was made of them."""
    for region, record in ingestion.published.items():
        own = record.covariates
        if own is None:
            continue
        source = f"csv covariates {region}"
        files = {_written(run, path): sha256 for path, sha256 in own.sources.items()}
        yield Link(kind="csv", name=source, files=files)
        yield Link(
            kind="covariates",
            name=f"covariates {region}",
            files={_written(run, own.path): own.file_sha256},
            made_of=(source,),
            facts={"table_sha256": own.table_sha256},
        )


def _with_covariates(ingestion: Ingestion) -> list[str]:
    return [name for name, each in ingestion.published.items() if each.covariates]


def _snapshot_links(run: Run, ingestion: Ingestion) -> Iterator[Link]:
    if ingestion.snapshot is None:
        return
    path = manifest_path(run.artifacts / "data", ingestion.snapshot)
    yield Link(
        kind="snapshot",
        name="snapshot",
        files={_written(run, path): file_sha256(path)},
        made_of=(
            *(f"region {region}" for region in ingestion.published),
            *(f"covariates {region}" for region in _with_covariates(ingestion)),
        ),
        facts={"id": ingestion.snapshot},
    )


def _spec_links(run: Run) -> Iterator[Link]:
    """Each section of the configuration, the whole of it, and the code that read it."""
    config = run.config.model_dump(mode="json")
    sections = [name for name, section in config.items() if isinstance(section, dict)]
    for name in sections:
        yield Link(kind="spec", name=f"spec {name}", parts=config[name], key=key_of(**config[name]))
    yield Link(
        kind="config",
        name="config",
        made_of=tuple(f"spec {name}" for name in sections),
        parts={"config": config},
        key=key_of(config=config),
    )
    packages = {name: version(name) for name in _PACKAGES}
    facts = {"version": version("gridcast"), "code_sha256": all_code_sha256()}
    yield Link(kind="code", name="code", facts=facts | packages)


def _features_link(run: Run, features: Features, *, snapshot: Iterable[str]) -> Link:
    path = Path(features.path)
    record = path.with_suffix(".json")
    return Link(
        kind="features",
        name="features",
        files={
            _written(run, path): features.file_sha256,
            _written(run, record): file_sha256(record),
        },
        made_of=(
            *(f"region {name}" for name in features.parts["regions"]),
            *(f"covariates {name}" for name in features.parts["covariates"]),
            *snapshot,
            *(f"spec {name}" for name in (*features.parts["config"], "rules")),
            "code",
        ),
        key=features.key,
        parts=features.parts,
    )


def _job_links(run: Run, done: TrainedJob | FittedBaseline) -> Iterator[Link]:
    """What was asked for, the weights that came of it, and what these forecast.

    A fitted baseline keeps no weights, only forecasts: what it cost stands with what was asked.
    """
    job = done.job
    asked, forecasts = f"job {job.name}", done.file("forecasts.parquet")
    is_network = isinstance(done, TrainedJob)
    facts = ("cell", "seed") if is_network else ("kind",)
    records = ("job.json",) if is_network else ("job.json", "result.json")
    yield Link(
        kind="job",
        name=asked,
        files={
            path: sha for name in records for path, sha in _hashed(run, done.file(name)).items()
        },
        made_of=("features", *(f"spec {name}" for name in job.parts["config"]), "code"),
        key=job.key,
        parts=job.parts,
        facts={fact: str(job.parts[fact]) for fact in facts},
    )
    if isinstance(done, TrainedJob):
        yield _weights_link(run, done)
    yield Link(
        kind="predictions",
        name=f"predictions {job.name}",
        files={_written(run, forecasts): done.files[forecasts.name]},
        made_of=(f"weights {job.name}" if is_network else asked, "features"),
    )


def _weights_link(run: Run, trained: TrainedJob) -> Link:
    weights = trained.file("weights.npz")
    return Link(
        kind="weights",
        name=f"weights {trained.job.name}",
        files={_written(run, weights): trained.files[weights.name]}
        | _hashed(run, trained.file("result.json")),
        made_of=(f"job {trained.job.name}",),
        facts={"weights_sha256": trained.weights_sha256},
    )


def _model_links(run: Run, kept: KeptModels, evaluation: Evaluation) -> Iterator[Link]:
    """The folders that forecast: of each network and mean, with how wrong it was."""
    for name, folder in kept.folders.items():
        mean = evaluation.means.get(name)
        members = mean.members if mean else (name,)
        files = sorted(path for path in Path(folder).iterdir() if path.is_file())
        yield Link(
            kind="model",
            name=f"model {name}",
            files={_written(run, path): file_sha256(path) for path in files},
            made_of=(*(f"weights {each}" for each in members), "features"),
        )


def _result_links(
    run: Run, jobs: list[TrainedJob | FittedBaseline], evaluation: Evaluation
) -> Iterator[Link]:
    predictions = tuple(f"predictions {each.job.name}" for each in jobs)
    yield Link(
        kind="forecasts",
        name="forecasts",
        files=_hashed(run, Path(evaluation.forecasts_path)),
        made_of=("features", *predictions),
    )
    yield Link(
        kind="scores",
        name="scores",
        files={
            path: sha
            for each in evaluation.scores_paths.values()
            for path, sha in _hashed(run, Path(each)).items()
        },
        made_of=("forecasts", "features", "spec evaluation"),
    )
    yield Link(
        kind="report",
        name="report",
        files=_hashed(run, run.folder / "report.html"),
        made_of=("forecasts", "scores"),
    )


def _mlflow_link(
    run: Run, client: MlflowClient, name: str, found: MlflowRun, *, members: Iterable[str]
) -> Link:
    """What MLflow has of a model: tags, parameters, final metrics, and the model's own files."""
    folder = local_folder(found.info.artifact_uri)
    kept = {
        (_written(run, path) if run.artifacts in path.parents else address): path
        for address, path in kept_files(client, found).items()
        if path.name != "lineage.json"
    }
    parts = mlflow_parts(found)
    return Link(
        kind="mlflow",
        name=f"mlflow {name}",
        files={address: file_sha256(path) for address, path in kept.items()},
        made_of=(*(f"weights {each}" for each in members), "scores", "config"),
        key=key_of(**parts),
        parts=parts,
        facts={
            "uri": written_uri(_uri(run), run.artifacts),
            "run_id": str(found.info.run_id),
            "folder": _written(run, folder) if folder else "",
        },
    )


def _uri(run: Run) -> str:
    return tracking_uri(run.artifacts, run.config.tracking)


def _hashed(run: Run, path: Path) -> dict[str, str]:
    return {_written(run, path): file_sha256(path)}


def _written(run: Run, path: Path | str) -> str:
    """A path below the artifacts as seen from there, so that the folder may be moved."""
    return relative_path(path, run.artifacts)
