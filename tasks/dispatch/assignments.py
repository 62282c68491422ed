"""Assignments of a run: what others are asked to do of it, by files of the run's folder.

An assignment is a job or a shard of regions. Prefect is told the run's id and its name; what they
stand for lies in ``live/assigned/`` of the run, where all machines see the artifacts.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from gridcast.config import Labels
from gridcast.errors import Fault, RegionRefusedError, UsageError
from gridcast.record import Record, StoredRecord
from tasks.dispatch.signs_of_life import signs_of_life
from tasks.fetch.records import SourceFile
from tasks.ingest.records import Published
from tasks.runs.killed_runs import own_flow_run
from tasks.runs.lives import is_alive
from tasks.runs.places import resolved_path
from tasks.runs.record_files import read_record, write_record
from tasks.runs.run import Run, part_of
from tasks.train.records import BaselineJob, Features, NetworkJob

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

P = TypeVar("P", bound="Assignment")


class Assignment(StoredRecord):
    """What a worker is asked; ``name`` tells the assignments of a run apart."""

    advice: ClassVar[str] = "run the same command again: a run begins with a folder of its own"
    flow: ClassVar[str]

    name: str
    fresh: bool = False


class JobAssignment(Assignment):
    """A job, and the table of features that it learns from."""

    flow: ClassVar[str] = "run-job"

    job: NetworkJob | BaselineJob
    features: Features


class ShardAssignment(Assignment):
    """Regions of a shard, whose files are to be read."""

    flow: ClassVar[str] = "ingest-shard"

    files: tuple[SourceFile, ...]
    labels: Labels


class RefusedRegion(Record):
    """A region whose file breaks the rules, and how."""

    region: str
    faults: tuple[Fault, ...]


class ShardResult(StoredRecord):
    """What became of a shard's regions."""

    published: tuple[Published, ...]
    refused: tuple[RefusedRegion, ...]

    @property
    def errors(self) -> list[RegionRefusedError]:
        """The refused ones as the errors that they were."""
        return [RegionRefusedError(each.region, each.faults) for each in self.refused]


def file_of(run: Run, name: str) -> Path:
    """A file that tells something of the run's assignments."""
    return run.live / "assigned" / name


def ask(run: Run, assignment: Assignment) -> None:
    """Leave what is asked, before anybody is told of it."""
    write_record(file_of(run, f"{assignment.name}.json"), assignment, artifacts=run.artifacts)


@contextmanager
def taking_part(artifacts: str, run_id: str, name: str, kind: type[P]) -> Iterator[tuple[Run, P]]:
    """On another machine: the run and the assignment, with signs of life until it is done.

    Raises:
        RecordError, UsageError: they are not there, or the run has ended.
    """
    folder = Path(artifacts).resolve()
    run = part_of(run_id, kind.flow, folder)
    if not is_alive(run.folder):
        where, expected = f"run_id {run_id!r}", "one that waits for this"
        raise UsageError(where, found="a run that has ended", expected=expected)
    assignment = _placed(read_record(file_of(run, f"{name}.json"), kind), folder)
    sign = file_of(run, f"{own_flow_run()}.sign")
    with signs_of_life(sign, lost_seconds=run.config.execution.lost_seconds):
        yield run, assignment


def _placed(assignment: P, artifacts: Path) -> P:
    """With its paths as they are on this machine."""
    if isinstance(assignment, JobAssignment):
        job, features = assignment.job, assignment.features
        update = {
            "job": job.model_copy(update={"folder": resolved_path(job.folder, artifacts)}),
            "features": features.model_copy(
                update={"path": resolved_path(features.path, artifacts)}
            ),
        }
        return assignment.model_copy(update=update)
    if isinstance(assignment, ShardAssignment):
        files = [
            each.model_copy(update={"path": Path(resolved_path(str(each.path), artifacts))})
            for each in assignment.files
        ]
        return assignment.model_copy(update={"files": tuple(files)})
    return assignment


def leave_shard(
    run: Run,
    assignment: ShardAssignment,
    published: Sequence[Published],
    refused: Sequence[RegionRefusedError],
) -> None:
    """Tell what became of its regions, last of all."""
    result = ShardResult(
        published=tuple(published),
        refused=tuple(RefusedRegion(region=e.region, faults=e.faults) for e in refused),
    )
    write_record(file_of(run, f"{assignment.name}.done.json"), result, artifacts=run.artifacts)


def found_shard(run: Run, assignment: ShardAssignment) -> ShardResult | None:
    """What became of its regions; None while they are not all read."""
    path = file_of(run, f"{assignment.name}.done.json")
    result = read_record(path, ShardResult, may_lack=True)
    if result is None:
        return None
    published = [
        each.model_copy(
            update={
                "record": each.record.model_copy(
                    update={"path": resolved_path(each.record.path or "", run.artifacts)}
                )
            }
        )
        for each in result.published
    ]
    return result.model_copy(update={"published": tuple(published)})
