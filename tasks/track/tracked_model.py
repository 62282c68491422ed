"""Hold what MLflow has of a model against the chain: its tags, figures, parameters and copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridcast.audit.lineage import UnlikeError, require_figures, require_parts, require_same
from gridcast.evaluation.scores import overall_scores
from tasks.runs.keys import file_sha256, key_of
from tasks.track.logged_contestant import mean_sha256
from tasks.track.mlflow_client import (
    LATEST,
    LINEAGE_TAG,
    download,
    mlflow_parts,
    open_client,
    read_uri,
)

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

    from gridcast.audit.lineage import Link
    from tasks.track.recomputation import Recomputation


def check_tracked(link: Link, *, recomputation: Recomputation, lineage_sha256: str) -> str:
    """What MLflow has of the model is what was logged, and what the links before it say.

    Raises:
        UnlikeError: naming the tag, parameter, metric or file.
    """
    require_same(f"the key of {link.name}", key_of(**link.parts), link.key)
    found, uri = _ask(link, recomputation)
    where = f"{uri}, run {link.facts['run_id']}"
    if found.info.lifecycle_stage != "active":
        raise UnlikeError(where=where, found=found.info.lifecycle_stage, expected="an active run")
    require_parts(where, mlflow_parts(found), link.parts)
    _require_chain(where, found, link, recomputation)
    _require_lineage(where, found, link, recomputation, lineage_sha256)
    return f"run {link.facts['run_id'][:8]}…, {len(link.files)} files"


def _ask(link: Link, recomputation: Recomputation) -> tuple[MlflowRun, str]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = read_uri(link.facts["uri"], recomputation.artifacts)
    try:
        return open_client(uri).get_run(link.facts["run_id"]), link.facts["uri"]
    except (MlflowException, SQLAlchemyError) as error:
        message = str(error).splitlines()[0]
        expected = f"the MLflow run {link.facts['run_id']}"
        raise UnlikeError(
            where=link.facts["uri"], found=f"no answer ({message})", expected=expected
        ) from error


def _require_chain(where: str, found: MlflowRun, link: Link, recomputation: Recomputation) -> None:
    """The tags and the final figures are those of the links that led here."""
    name = link.name.partition(" ")[2]
    lineage = recomputation.lineage
    features = lineage.link("features")
    weights = [lineage.link(each) for each in link.made_of if each.startswith("weights ")]
    shas = [each.facts["weights_sha256"] for each in weights]
    is_network = [f"weights {name}"] == [each.name for each in weights]
    expected = {
        "features_key": features.key,
        "features_sha256": next(iter(features.files.values())),
        "weights_sha256": shas[0] if is_network else mean_sha256(shas),
    }
    if is_network:
        expected["job_key"] = lineage.link(f"job {name}").key
    require_parts(f"{where}, tag", found.data.tags, expected)
    if recomputation.scores is not None:
        scores = overall_scores(recomputation.scores, name)
        again = {f"test/{metric}": each for metric, each in scores.items()}
        require_figures(f"{where}, metric ", found.data.metrics, again)


def _require_lineage(
    where: str, found: MlflowRun, link: Link, recomputation: Recomputation, lineage_sha256: str
) -> None:
    """The tag has the hash of this lineage, and MLflow's copy of the first one has its own."""
    tags, run_id = found.data.tags, recomputation.lineage.run_id
    for owner, tag in (
        ("pipeline_run", LINEAGE_TAG),
        ("pipeline_run" + LATEST, LINEAGE_TAG + LATEST),
    ):
        if tags.get(owner) == run_id:
            require_same(f"{where}, tag {tag}", lineage_sha256, tags.get(tag, "no such tag"))
    folder = link.facts["folder"]
    path = (
        recomputation.artifacts / folder / "lineage.json"
        if folder
        else download(f"runs:/{link.facts['run_id']}/lineage.json")
    )
    if LINEAGE_TAG in tags:
        copied = file_sha256(path) if path.is_file() else "no file"
        require_same(str(path), copied, tags[LINEAGE_TAG])
