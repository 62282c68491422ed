"""Check the chain of a run: find what was written down of it, and hold it against what is there.

Needs no Prefect: it only reads, an auditor's copy of the artifacts may be read-only, and Prefect's
start alone would take as long as the check.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from gridcast.audit.lineage import (
    Finding,
    Lineage,
    Link,
    UnlikeError,
    Verdict,
    finding_of,
    require_figures,
    require_same,
)
from gridcast.errors import RecordError, UsageError
from gridcast.evaluation.measure import LABELS
from gridcast.evaluation.scores import errors_by_region, overall_scores
from gridcast.record import parse_record
from gridcast.summary import Summary
from tasks.runs.keys import file_sha256, sha256_of
from tasks.runs.lives import oldest_first
from tasks.runs.record_files import altered_records, read_record
from tasks.runs.run import RUN_ID
from tasks.runs.storage import SEAL, read_seal
from tasks.track.mlflow_client import download, find_run, open_client, read_uri, tracking_uri
from tasks.track.recomputation import Recomputation, links_of
from tasks.track.tracked_model import check_tracked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_FILE = "lineage.json"
_OF_MLFLOW = re.compile(r"[0-9a-f]{32}|models:/.+")
_FORMS = (
    "a run id, `latest`, a job of the last run such as gru-seed0, an MLflow run id, or a model "
    "such as models:/load/3"
)


class _Target(NamedTuple):
    """The lineage that was asked for, and the one job whose chain is asked for, or ``""``."""

    path: Path
    job: str = ""


def verify(
    target: str, artifacts: Path, *, on_finding: Callable[[Finding], None] = lambda _: None
) -> Verdict:
    """Recompute the chain that leads to ``target``, and look at each record in the folder.

    Each finding is told as it is made.

    Args:
        target: run id, ``latest``, job name, MLflow run id, or ``models:/...``.
        artifacts: folder of everything that runs produce.
        on_finding: hears of each link, in the order of the data.

    Raises:
        UsageError: there is no such run, job or model.
    """
    artifacts = artifacts.resolve()
    path, job = _find(target, artifacts)
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        on_finding(finding)

    is_in_its_run = path.parent.parent == artifacts / "runs"
    sealed = _read_sealed(path.parent, note) if is_in_its_run else {}
    lineage = _read(path, sealed, note)
    if lineage is not None:
        recomputation = Recomputation(artifacts, lineage)
        recomputation.checks["mlflow"] = partial(
            check_tracked, recomputation=recomputation, lineage_sha256=file_sha256(path)
        )
        recomputation.checks["run"] = partial(_check_figures, recomputation=recomputation)
        links = list(_chain(lineage, job))
        if sealed and not job:
            links.append(_folder_link(path.parent, sealed, lineage))
        for link in links:
            note(recomputation.check(link))
    for record, fault in altered_records(artifacts).items():
        if str(record) not in {each.where for each in findings}:  # its link names it
            name = f"record {record.relative_to(artifacts).as_posix()}"
            error = UnlikeError(where=record, found=fault, expected="it as it was written")
            note(finding_of(name, error, kind="record"))
    return Verdict(run_id=lineage.run_id if lineage else path.parent.name, findings=tuple(findings))


# -- which lineage -------------------------------------------------------------------------------


def _find(target: str, artifacts: Path) -> _Target:
    if _OF_MLFLOW.fullmatch(target):
        return _find_tracked(target, artifacts)
    runs = artifacts / "runs"
    if RUN_ID.fullmatch(target):
        if _has_lineage(runs / target):
            return _Target(runs / target / _FILE)
        found = "a run that trained no model" if (runs / target).is_dir() else "no such run"
        raise UsageError(runs / target, found=found, expected=f"a run with {_FILE}")
    newest = next(filter(_has_lineage, reversed(oldest_first(runs))), None)
    if newest is None:
        raise UsageError(runs, found=f"no run with {_FILE}", expected="one; `gridcast run` first")
    path = newest / _FILE
    names = [link.name for link in links_of(path)]
    able = [name.partition(" ")[2] for name in names if name.startswith(("job ", "model "))]
    if target != "latest" and names and target not in able:
        jobs = ", ".join(dict.fromkeys(able))
        found = f"no run, model or job {target!r} (jobs and means of the last run: {jobs})"
        raise UsageError(runs, found=found, expected=_FORMS)
    return _Target(path, "" if target == "latest" else target)


def _has_lineage(folder: Path) -> bool:
    """Whether the run left a lineage; one that was deleted since is still in the seal."""
    return (folder / _FILE).is_file() or _FILE in (read_seal(folder) or {})


def _find_tracked(target: str, artifacts: Path) -> _Target:
    """The lineage of the run that logged the model: in its folder, or MLflow's own copy."""
    uri = _last_uri(artifacts)
    database = uri.removeprefix("sqlite:///")
    if database != uri and not (artifacts / database).is_file():
        raise UsageError(database, found="no MLflow database", expected="one; `gridcast run` first")
    from mlflow.exceptions import MlflowException

    try:
        found = find_run(open_client(uri), target)
        tags = found.data.tags
        path = artifacts / "runs" / tags.get("pipeline_run", "") / _FILE
        if not path.is_file():
            path = download(f"runs:/{found.info.run_id}/{_FILE}")
    except (MlflowException, OSError) as error:
        message = str(error).splitlines()[0]
        raise UsageError(
            uri, found=f"no {target} with a lineage ({message})", expected=_FORMS
        ) from None
    return _Target(path, tags.get("contestant") or f"{tags.get('cell')}-seed{tags.get('seed')}")


def _last_uri(artifacts: Path) -> str:
    """The MLflow server of the last run that logged a model, or the one of the next."""
    for folder in reversed(oldest_first(artifacts / "runs")):
        for link in links_of(folder / _FILE):
            if link.kind == "mlflow":
                return read_uri(link.facts["uri"], artifacts)
    return tracking_uri(artifacts)


def _chain(lineage: Lineage, job: str) -> tuple[Link, ...]:
    """All links, or those that lead to what is known of one job."""
    if not job:
        return lineage.links
    names = {link.name for link in lineage.links}
    ends = (f"mlflow {job}", f"predictions {job}", f"model {job}")
    end = next((name for name in ends if name in names), "")
    if not end:
        raise UsageError(lineage.run_id, found=f"no job {job}", expected="a job of that run")
    return lineage.leading_to(end)


# -- the run's own folder ------------------------------------------------------------------------


def _read_sealed(folder: Path, on_finding: Callable[[Finding], None]) -> dict[str, str]:
    sealed = read_seal(folder)
    if sealed is None:
        is_there = (folder / SEAL).is_file()
        error = UnlikeError(
            where=folder / SEAL,
            found="a last line that does not fit the others" if is_there else "no file",
            expected="the seal that a run leaves at its end",
        )
        on_finding(finding_of("seal", error))
    return sealed or {}


def _read(
    path: Path, sealed: dict[str, str], on_finding: Callable[[Finding], None]
) -> Lineage | None:
    """The lineage, if it is the one that the run left."""
    content = path.read_bytes() if path.is_file() else b""
    found = sha256_of(content)
    try:
        require_same(str(path), found, sealed.get(_FILE, found))
        return parse_record(content, Lineage, where=path)
    except RecordError as error:
        unlike = UnlikeError(where=path, found=error.found, expected="a lineage of this version")
    except UnlikeError as error:
        unlike = error
    on_finding(finding_of("lineage", unlike))
    return None


def _folder_link(folder: Path, sealed: dict[str, str], lineage: Lineage) -> Link:
    """What else the run left in its folder, the summary foremost."""
    known = {written for link in lineage.links for written in link.files}
    files = {f"runs/{folder.name}/{name}": digest for name, digest in sealed.items()}
    own = {
        written: digest
        for written, digest in files.items()
        if written not in known and not written.endswith(f"/{_FILE}")
    }
    return Link(kind="run", name="summary", files=own, made_of=("scores",))


def _check_figures(link: Link, *, recomputation: Recomputation) -> str:
    """The summary's figures are those that come of the forecasts."""
    scores = recomputation.scores
    if scores is None:
        return "figures not computed again"
    path = next(path for path in link.files if path.endswith("/summary.json"))
    try:
        summary = read_record(recomputation.path_of(path), Summary)
    except RecordError as error:
        raise UnlikeError(where=path, found=error.found, expected="a summary") from error
    records = {
        f"{part}.{name}": record.model_dump(mode="json")
        for part in ("models", "means", "baselines")
        for name, record in getattr(summary, part).items()
    }
    for place, record in records.items():
        name = place.partition(".")[2]
        where = f"{path}: {place}."
        overall = overall_scores(scores, name)
        overall = {key: each for key, each in overall.items() if record.get(key) is not None}
        require_figures(where, record, overall)
        for measure in LABELS:
            told = record[f"{measure}_by_region"]
            if told:  # an older run knows no nMAE
                again = errors_by_region(scores, name, measure)
                require_figures(f"{where}{measure}_by_region.", told, again)
    errors = ", ".join(
        f"{name} {model.error(summary.measure):.3f} %" for name, model in summary.models.items()
    )
    return f"{LABELS[summary.measure]} computed again: {errors}"
