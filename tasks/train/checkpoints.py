"""Where a training stands, kept in its job's folder now and then: one that is killed goes on there.

A checkpoint is one file, whole or absent: a line with the SHA-256 of the rest, a line that says
whose it is, and the state as arrays (``gridcast/training/state.py``), no pickle. The last two are
kept, and none of a job that has come to its end.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from pydantic import ValidationError

from gridcast.engine import Kernels
from gridcast.errors import GridcastError, RecordError
from gridcast.record import StoredRecord
from tasks.machine.owned_process import exit_process, send_event
from tasks.runs.keys import sha256_of
from tasks.runs.record_files import read_record, write_record
from tasks.runs.storage import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import FrameType

    from gridcast.config import Cell
    from gridcast.engine import Engine
    from gridcast.training.state import Resumable, TrainingState
    from tasks.train.records import NetworkJob

TERMINATED: Final = 128 + signal.SIGTERM
_FOLDER, _SUFFIX, _COMPANY = "checkpoints", ".checkpoint", "company.json"
_KEPT = 2
# A state that takes long to write is written so much more seldom: a checkpoint costs under 2 %.
_TIMES_ITS_COST = 50.0
_ADVICE = "run the same command again: it begins anew"


class CheckpointNote(StoredRecord):
    """Whose training a checkpoint is of, and on what: one goes on from a state of its own alone."""

    advice: ClassVar[str] = _ADVICE

    key: str  # of the job
    layers: Kernels
    adam: Kernels
    num_devices: int


class Company(StoredRecord):
    """The jobs whose seeds share a pass, in order; in each one's folder while they are trained.

    To rounding a seed comes out as it does alone; byte for byte it does in the same company.
    """

    advice: ClassVar[str] = _ADVICE

    seeds: tuple[int, ...]
    keys: dict[str, str]  # of each job, by the name of its folder; the last has the checkpoints


@dataclass(frozen=True, slots=True)
class Stack:
    """Seeds of a cell that are trained in one pass; the folder and the key of whose state is kept.

    That is the last of them to get its result, so that all have theirs when the state goes.
    """

    cell: Cell
    seeds: tuple[int, ...]
    folder: Path
    key: str


def plan_stacks(jobs: Sequence[NetworkJob], folders: Sequence[Path], engine: Engine) -> list[Stack]:
    """Which seeds go through a pass together: those that did so before they were killed, do again.

    ``folders`` are those of the jobs.
    """
    from gridcast.training.stack import max_seeds_per_pass, stacks_of

    places = {
        (job.cell, job.seed): (folder, job.key)
        for job, folder in zip(jobs, folders, strict=True)
    }  # fmt: skip
    most = max_seeds_per_pass(engine)
    stacks = dict[Stack, None]()  # each once, in order
    alone = []
    for (cell, seed), (folder, key) in places.items():
        stack = _stack_before(cell, folder, key)
        if stack is not None and seed in stack.seeds and len(stack.seeds) <= most:
            stacks[stack] = None
        else:
            alone.append((cell, seed))
    for cell, seeds in stacks_of(alone, most=most) if alone else ():
        members = [places[cell, seed] for seed in seeds]
        stacks[Stack(cell, tuple(seeds), *members[-1])] = None
        if len(seeds) > 1:
            keys = {folder.name: key for folder, key in members}
            for folder, _ in members:
                write_record(folder / _COMPANY, Company(seeds=tuple(seeds), keys=keys))
    return list(stacks)


def forget_training(folder: Path) -> None:
    """The job there has its result, or is to begin anew: no state of it is wanted any more."""
    (folder / _COMPANY).unlink(missing_ok=True)
    shutil.rmtree(folder / _FOLDER, ignore_errors=True)


class Checkpoints:
    """Keeps the states of a process's trainings every ``seconds``, and has them go on from there.

    It hears of the trainings as their ``Watcher``. SIGTERM ends the process with a last checkpoint
    of each.
    """

    def __init__(
        self, stacks: Sequence[Stack], *, engine: Engine, num_devices: int, seconds: float
    ) -> None:
        self._stacks = {(stack.cell, stack.seeds): stack for stack in stacks}
        self._engine, self._num_devices, self._seconds = engine, num_devices, seconds
        self._due: dict[Resumable, float] = {}  # of those that are under way
        self._is_to_end, self._is_told_of_a_failure = False, False
        signal.signal(signal.SIGTERM, self._hear)

    def begins(self, training: Resumable) -> None:
        """Put the newest state that is whole, if there is one."""
        stack = self._stack_of(training)
        if (state := newest_state(stack.folder, self._note(stack))) is not None:
            training.put_state(state)
            at = state.record
            where = f"step {at.batch} of pass {at.pass_number} of {at.num_passes}"
            _tell(f"{stack.folder.name}: goes on from {where}")
        self._due[training] = time.monotonic() + self._seconds

    def has_stepped(self, training: Resumable) -> None:
        """Keep its state if that is due."""
        if self._is_to_end:
            for each in self._due:
                self._keep(each)
            exit_process(TERMINATED)
        if time.monotonic() >= self._due[training]:
            begun = time.monotonic()
            self._keep(training)
            now = time.monotonic()
            self._due[training] = now + max(self._seconds, _TIMES_ITS_COST * (now - begun))

    def has_ended(self, training: Resumable) -> None:
        """It is not under way any more."""
        del self._due[training]

    def _keep(self, training: Resumable) -> None:
        stack = self._stack_of(training)
        try:
            write_checkpoint(stack.folder, self._note(stack), training.take_state())
        except (GridcastError, OSError) as error:  # it trains on: the disk may have room by its end
            if not self._is_told_of_a_failure:
                _tell(f"{stack.folder.name}: no checkpoint was written ({error})")
            self._is_told_of_a_failure = True

    def _stack_of(self, training: Resumable) -> Stack:
        return self._stacks[training.cell, training.seeds]

    def _note(self, stack: Stack) -> CheckpointNote:
        return CheckpointNote(
            key=stack.key, layers=self._engine.layers, adam=self._engine.adam,
            num_devices=self._num_devices,
        )  # fmt: skip

    def _hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if not self._due:
            os._exit(TERMINATED)
        self._is_to_end = True


# -- the files -------------------------------------------------------------------------------------


def write_checkpoint(folder: Path, note: CheckpointNote, state: TrainingState) -> None:
    """Keep the state in the job's folder, as the newest; all but the last two are deleted.

    Raises:
        NoSpaceError: the disk is full.
    """
    from gridcast.training.state import state_file

    body = note.model_dump_json().encode() + b"\n" + state_file(state)
    before = _newest_first(folder)
    number = _number_of(before[0]) + 1 if before else 1
    path = folder / _FOLDER / f"{number:08d}{_SUFFIX}"
    write_bytes(path, sha256_of(body).encode() + b"\n" + body)
    for old in before[_KEPT - 1 :]:
        old.unlink(missing_ok=True)


def newest_state(folder: Path, note: CheckpointNote) -> TrainingState | None:
    """The newest state in the job's folder that is whole and of this training; None without one.

    Each that is not is told in one line, and the one before it is looked at.
    """
    for path in _newest_first(folder):
        try:
            return _read(path, note)
        except RecordError as error:
            _tell(f"{path}: found {error.found}; it is passed over")
    return None


def _read(path: Path, note: CheckpointNote) -> TrainingState:
    """Raises RecordError: the file is damaged, or of another training."""
    from gridcast.training.state import state_of_file

    try:
        sha256, _, body = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise _refused(path, f"what cannot be read ({error.strerror})") from None
    if sha256 != sha256_of(body).encode():
        raise _refused(path, "a checkpoint that was changed after it was written")
    words, _, arrays = body.partition(b"\n")
    try:
        found = CheckpointNote.model_validate_json(words)
    except ValidationError:
        raise _refused(path, "a checkpoint of another version") from None
    if found != note:
        differs = [name for name, value in note if getattr(found, name) != value]
        raise _refused(path, f"the state of another training ({', '.join(differs)})")
    return state_of_file(arrays, where=path)


def _refused(path: Path, found: str) -> RecordError:
    return RecordError(path, found=found, expected="a state of this training", advice=_ADVICE)


def _newest_first(folder: Path) -> list[Path]:
    named = [each for each in (folder / _FOLDER).glob(f"*{_SUFFIX}") if each.stem.isdigit()]
    return sorted(named, key=_number_of, reverse=True)


def _number_of(path: Path) -> int:
    return int(path.stem)


def _stack_before(cell: Cell, folder: Path, key: str) -> Stack | None:
    """In which company the job was trained when it was killed; None if alone, or not at all."""
    try:
        company = read_record(folder / _COMPANY, Company, may_lack=True)
    except RecordError as error:
        _tell(f"{error.path}: found {error.found}; it is passed over")
        return None
    if company is None or company.keys.get(folder.name) != key:
        return None
    *_, (holder, key_of_holder) = company.keys.items()
    return Stack(cell, company.seeds, folder.parent / holder, key_of_holder)


def _tell(text: str) -> None:
    send_event("notice", text=text)
