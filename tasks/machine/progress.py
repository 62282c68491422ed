"""Progress of jobs, by files in a run's folder: their owners write it, displays and searches read.

An owner may be in another thread, process or machine than who reads. Each has a file of its own,
``<job>.jsonl``, a line each time that its process tells something; the last one is empty.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from gridcast.evaluation.measure import LABELS, validation_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.progress import TaskID

# One console for the display and for log lines, or they would write over each other.
console = Console(stderr=True)
_PLAIN_EVERY_SECONDS = 15.0
_READ_EVERY_SECONDS = 0.25
_log = logging.getLogger("gridcast.train")


class ProgressWriter:
    """What the owner of a job's process tells of it: in its file, and in the log of a non-terminal.

    Its methods are called by one thread.
    """

    def __init__(self, folder: Path, job: str) -> None:
        self._path, self._job = folder / f"{job}.jsonl", job
        self._last_line = time.monotonic()

    def write(self, progress: dict[str, Any]) -> None:
        """Tell where the job stands (the fields of ``training.Progress``)."""
        self._append(progress)
        now, is_pass_end = time.monotonic(), validation_of(progress)[1] is not None
        if not console.is_terminal and (
            is_pass_end or now - self._last_line > _PLAIN_EVERY_SECONDS
        ):
            self._last_line = now
            _log.info("%s: %s", self._job, describe(progress))

    def close(self) -> None:
        """The job's process has ended."""
        if self._path.exists():
            self._append({})

    def _append(self, progress: dict[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(progress) + "\n")


class JobProgress(NamedTuple):
    """One line of a job's progress; empty where its process has ended."""

    job: str
    progress: dict[str, Any]


class ProgressReader:
    """Reads what was written since it last looked, of all jobs of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}  # bytes

    def news(self) -> Iterator[JobProgress]:
        """New lines, job by job, each job's in order; a line that is half written waits."""
        for path in sorted(self._folder.glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                whole, end, _ = file.read().rpartition(b"\n")
            self._read[path] = self._read.get(path, 0) + len(whole) + len(end)
            for line in whole.splitlines():
                yield JobProgress(path.stem, json.loads(line))


@contextmanager
def shown_progress(folder: Path) -> Iterator[None]:
    """In a terminal, show the jobs of ``folder`` that are being done, a line each."""
    if not console.is_terminal:
        yield
        return
    is_over, display = threading.Event(), _Display(ProgressReader(folder))

    def show() -> None:
        while not is_over.wait(_READ_EVERY_SECONDS):
            display.update()

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        display.close()


class _Display:
    """A line a job; all go with the last one."""

    def __init__(self, reader: ProgressReader) -> None:
        self._reader = reader
        self._lines: dict[str, TaskID] = {}
        self._shown: Progress | None = None

    def update(self) -> None:
        for job, progress in self._reader.news():
            if progress:
                self._show(job, progress)
            else:
                self._lines.pop(job, None)
        if not self._lines:
            self.close()

    def close(self) -> None:
        if self._shown is not None:
            self._shown.stop()
            self._shown = None

    def _show(self, job: str, progress: dict[str, Any]) -> None:
        if self._shown is None:
            columns = (
                TextColumn("{task.description:12}"),
                BarColumn(),
                TextColumn("{task.fields[line]}"),
            )
            self._shown = Progress(*columns, console=console)
            self._shown.start()
        if job not in self._lines:
            self._lines[job] = self._shown.add_task(job, total=progress["num_steps"], line="")
        self._shown.update(self._lines[job], completed=progress["step"], line=describe(progress))


def describe(progress: dict[str, Any]) -> str:
    """One line: pass, loss, error on the validation part, speed, time left."""
    parts = [
        f"pass {progress['pass_number']}/{progress['num_passes']}",
        f"loss {progress['loss']:.4f}",
    ]
    measure, error = validation_of(progress)
    if error is not None:
        parts.append(f"validation {LABELS[measure]} {error:.3f} %")
    parts.append(f"{progress['steps_per_second']:.1f} steps/s")
    parts.append(f"{progress['seconds_left']:.0f} s left")
    return ", ".join(parts)
