"""Errors that compose their own message: what was found, where, what was expected, what to do.

Every error that gridcast raises on purpose is a :class:`GridcastError`; its ``exit_code`` is the
status of the command that ends with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

EXIT_OK = 0
EXIT_PARTIAL = 1
EXIT_USAGE = 2
EXIT_LOCKED = 75


_MASK = "***"
_SECRET = re.compile(r"(?i)passw|secret|token|credential|api_?key")
# Control characters but the end of a line, and what turns the direction of writing.
_STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_OF_AN_ADDRESS = re.compile(r"://[^/\s'\"@]*:[^\s'\"@]*@")  # name and password


def masked(text: str) -> str:
    """The text without the names and passwords of addresses.

    >>> masked("found http://me:word@host:5000/x")
    'found http://***@host:5000/x'
    """
    return _OF_AN_ADDRESS.sub(f"://{_MASK}@", text)


def printable(text: str) -> str:
    r"""The text as a terminal may be given it: what would steer the terminal is spelt out.

    >>> printable("a\x1b[31m.csv")
    'a\\x1b[31m.csv'
    """
    return _STEERS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def is_secret(name: str) -> bool:
    """Whether a setting of that name would hold what nobody is to read."""
    return _SECRET.search(name) is not None


def has_password(text: str) -> bool:
    """Whether an address in the text has one."""
    return _OF_AN_ADDRESS.search(text) is not None


class GridcastError(Exception):
    """Anything that gridcast refuses, with a message fit for the person who has to act on it.

    It comes whole from another process or machine, though it is made of other arguments than its
    message.
    """

    exit_code: ClassVar[int] = EXIT_PARTIAL

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, without being made anew."""
        return _as_it_was, (type(self), self.args, vars(self))


def _as_it_was(
    kind: type[GridcastError], args: tuple[Any, ...], fields: dict[str, Any]
) -> GridcastError:
    error = kind.__new__(kind, *args)
    vars(error).update(fields)
    return error


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault in one source file, at the first place where it occurs.

    ``line`` and ``column`` count from 1, as editors do; ``count`` is how many cells or rows of the
    file show this kind.
    """

    file: str
    line: int
    column: int
    kind: str
    reason: str
    count: int = 1

    def __str__(self) -> str:
        more = f" (and {self.count - 1} more of this kind)" if self.count > 1 else ""
        return f"ERROR {self.file}:{self.line}:{self.column}: {self.reason}{more}"


class RegionRefusedError(GridcastError):
    """A region's file breaks the rules; nothing of it was published.

    ``faults`` has the first of each kind, for people; ``rows`` one for each row at fault, and none
    for what is wrong with the file as a whole.
    """

    def __init__(self, region: str, faults: Sequence[Fault], *, rows: Sequence[Fault] = ()) -> None:
        self.region = region
        self.faults = tuple(faults)
        self.rows = tuple(rows)
        super().__init__("\n".join(str(fault) for fault in faults))

    @property
    def reason(self) -> str:
        """The first fault in one line, for tables and summaries."""
        return str(self.faults[0]).removeprefix("ERROR ")


class ConfigError(GridcastError):
    """A profile, a key or a value that the configuration does not allow."""

    exit_code = EXIT_USAGE

    def __init__(self, *, where: str, key: str, found: object, expected: str) -> None:
        self.where, self.key, self.found, self.expected = where, key, found, expected
        shown = _MASK if is_secret(key) else found
        super().__init__(masked(f"ERROR {where}: {key}: found {shown!r}, expected {expected}"))


class UsageError(GridcastError):
    """A folder, file or argument that the command cannot work with."""

    exit_code = EXIT_USAGE

    def __init__(self, where: object, *, found: str, expected: str) -> None:
        super().__init__(f"ERROR {where}: found {found}, expected {expected}")


class LayoutRefusedError(GridcastError):
    """Files that are not as ``ingestion.layout`` says, and tell of no region by their names."""

    exit_code = EXIT_USAGE

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, faults)))


class ArchiveRefusedError(UsageError):
    """An archive that is unsafe, too large or broken; not a byte of it was published."""

    def __init__(self, archive: object, *, found: str, expected: str) -> None:
        super().__init__(archive, found=found, expected=f"{expected}; nothing was unpacked")


class LockHeldError(GridcastError):
    """Others are at work where this must be alone, and it would not do to wait for them."""

    exit_code = EXIT_LOCKED

    def __init__(self, where: object, *, found: str, expected: str) -> None:
        super().__init__(f"ERROR {where}: found {found}, expected {expected}")


class WaitEndedError(GridcastError):
    """What was waited for was still held when the run was interrupted."""

    def __init__(self, lock: object) -> None:
        super().__init__(
            f"ERROR {lock}: found it held by another process until this run was interrupted, "
            "expected it free; run the same command again"
        )


class NoSpaceError(GridcastError):
    """The disk is full, or its quota used up; what stood there before stands there still."""

    def __init__(self, path: object) -> None:
        super().__init__(
            f"ERROR {path}: found no space left on its disk, expected room for it; make room and "
            "run the same command again: what was published before is unchanged"
        )


class IntegrityError(GridcastError):
    """A stored file is not the one that was written: its SHA-256 differs from the recorded one."""

    def __init__(self, path: object, *, found: str, expected: str) -> None:
        super().__init__(
            f"ERROR {path}: found SHA-256 {found[:16]}…, expected {expected[:16]}…; the file was "
            "changed after it was written: run again with --fresh to make it anew"
        )


class StoreError(GridcastError):
    """The store that machines share does not answer, or refuses; what this machine has stays."""

    def __init__(self, address: str, *, reason: str) -> None:
        line = masked(" ".join(reason.split()))
        super().__init__(
            f"ERROR {address}: found a store that cannot be used ({line}), expected one that "
            "answers; what was done here is kept, and goes there with the next run or "
            "`gridcast store push`"
        )


class RecordError(GridcastError):
    """A record in a file is not one that this version can take: damaged, or of a newer version."""

    def __init__(
        self, path: object, *, found: str, expected: str, advice: str, is_newer: bool = False
    ) -> None:
        self.path, self.found, self.is_newer = path, found, is_newer
        super().__init__(f"ERROR {path}: found {found}, expected {expected}; {advice}")


class LeftTwiceError(GridcastError):
    """A stage would write over what a stage of the same run has left."""

    def __init__(self, path: object) -> None:
        super().__init__(
            f"ERROR {path}: found it left by a stage of this run before, expected each record once;"
            " run the same command again: it begins a run of its own"
        )


class FetchError(GridcastError):
    """A source did not give what was asked for; what the folder held before stays as it is.

    ``seconds_lost`` to failures and waits, over the whole fetch so far.
    """

    def __init__(
        self, where: object, *, found: str, expected: str, seconds_lost: float = 0.0
    ) -> None:
        self.seconds_lost = seconds_lost
        super().__init__(f"ERROR {where}: found {found}, expected {expected}")


class TrainingJobError(GridcastError):
    """A training job ended without a model; the other jobs are not affected."""

    def __init__(self, job: str, *, reason: str, log: object) -> None:
        self.job, self.reason = job, reason
        super().__init__(f"ERROR {job}: {reason}; its log is {log}")


class NotDoneError(GridcastError):
    """What a run gave to other machines was not done there."""

    def __init__(self, assignment: str, reason: str) -> None:
        self.assignment, self.reason = assignment, reason
        super().__init__(f"ERROR {assignment}: {reason}")


class NoTrialError(GridcastError):
    """Not one trial of a study came to its end."""

    def __init__(self, study: str, reason: str) -> None:
        super().__init__(
            f"ERROR {study}: found no trial that was trained to its end (the last: {reason}), "
            "expected at least one"
        )


class NotFiniteError(GridcastError):
    """The training loss is NaN or infinite."""

    def __init__(self, *, cell: str, seed: int, step: int, loss: float) -> None:
        self.cell, self.seed, self.step, self.loss = cell, seed, step, loss
        super().__init__(
            f"ERROR {cell} seed {seed}: found a training loss of {loss} at step {step}, expected a "
            "finite number; lower training.learning_rate or look at the features"
        )


class StateRefusedError(GridcastError):
    """A training cannot go on from a state, since it was taken from one of another kind."""

    def __init__(self, where: str, *, found: object, expected: object) -> None:
        super().__init__(
            f"ERROR state of a training: {where}: found {found}, expected {expected}; a training "
            "goes on from a state of the same data, settings, seeds and devices: begin it anew"
        )


class TrackingError(GridcastError):
    """MLflow did not take what a run has to log; the models and their scores are kept."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(
            f"ERROR {uri}: found MLflow not taking the runs ({reason.splitlines()[0]}), expected a "
            "server that does; what it was to be told is kept: the next run tells it, or "
            "`gridcast track`"
        )


class TooLongError(GridcastError):
    """Training would take so long that somebody should say yes to it first."""

    exit_code = EXIT_USAGE

    def __init__(self, *, profile: str, hours: float, limit_hours: float) -> None:
        super().__init__(
            f"ERROR {profile}: found about {hours:.1f} hours of training on this CPU, expected at "
            f"most {limit_hours:g} (training.confirm_above_hours); use a GPU, take a part of it "
            "with --set training.max_steps=N, or say --yes"
        )


class MeasuringError(GridcastError):
    """A short training that was to be measured for a plan did not come to its end."""

    def __init__(self, cell: str, *, device: str, reason: str) -> None:
        super().__init__(
            f"ERROR {cell}: found a short training on {device} that failed ({reason}), expected "
            "one to measure; a training with these settings would fail too"
        )


class BrokenChainError(GridcastError):
    """A link between the CSVs and a model is not what the run left."""

    def __init__(self, link: str, found: str) -> None:
        super().__init__(f"ERROR {link}: {found}")


class LeakFoundError(GridcastError):
    """Something that is learned or fed to a model moved with data that come after it."""

    def __init__(self, check: str, leak: str) -> None:
        super().__init__(
            f"ERROR {check}: {leak}; do not trust the scores of such models: find what reads ahead"
        )


class PartialFailureError(GridcastError):
    """Part of the work failed; what could be done was done and is recorded in the summary."""

    def __init__(self, reasons: Iterable[str], *, summary: object) -> None:
        self.reasons = tuple(reasons)
        listed = "\n".join(self.reasons)
        super().__init__(f"{listed}\nERROR {summary}: part of the work failed (see above)")


class ForecastDoubtError(GridcastError):
    """Regions that have a naive forecast, or none, for want of data; all other rows stand."""

    def __init__(self, doubts: Mapping[str, str], *, stored: object) -> None:
        lines = [f"ERROR {region}: {reason}" for region, reason in doubts.items()]
        where = f" in {stored}" if stored else ""
        lines.append(f"The rows of all other regions stand{where}; ingest newer data")
        super().__init__("\n".join(lines))
