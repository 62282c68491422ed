"""Progress of the jobs where people look: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import TaskID

# One console for the display and for log lines, or they would write over each other.
console = Console(stderr=True)
_PLAIN_EVERY_SECONDS = 15.0
_log = logging.getLogger("gridcast.train")


class ProgressBoard:
    """The jobs of one process that train now, a line each; safe to call from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[str, TaskID] = {}
        self._told: dict[str, float] = {}
        self._listeners: dict[str, Callable[[dict[str, Any]], None]] = {}
        self._display: Progress | None = None

    def listen(self, job: str, listener: Callable[[dict[str, Any]], None]) -> None:
        """Let ``listener`` hear what ``job`` tells; an error that it raises ends the job."""
        self._listeners[job] = listener

    def update(self, job: str, progress: dict[str, Any]) -> None:
        """Show where ``job`` stands (the fields of ``training.Progress``)."""
        if listener := self._listeners.get(job):
            listener(progress)
        line = describe(progress)
        if not console.is_terminal:
            self._tell(job, line, is_pass_end=progress["validation_smape"] is not None)
            return
        with self._lock:
            display = self._shown()
            if job not in self._lines:
                self._lines[job] = display.add_task(job, total=progress["num_steps"], line="")
            display.update(self._lines[job], completed=progress["step"], line=line)

    def close(self, job: str) -> None:
        """``job`` has ended; the display goes with the last one."""
        with self._lock:
            self._listeners.pop(job, None)
            self._told.pop(job, None)
            self._lines.pop(job, None)
            if self._display is not None and not self._lines:
                self._display.stop()
                self._display = None

    def _tell(self, job: str, line: str, *, is_pass_end: bool) -> None:
        now = time.monotonic()
        if is_pass_end or now - self._told.setdefault(job, now) > _PLAIN_EVERY_SECONDS:
            self._told[job] = now
            _log.info("%s: %s", job, line)

    def _shown(self) -> Progress:
        if self._display is None:
            columns = (
                TextColumn("{task.description:12}"),
                BarColumn(),
                TextColumn("{task.fields[line]}"),
            )
            self._display = Progress(*columns, console=console)
            self._display.start()
        return self._display


def describe(progress: dict[str, Any]) -> str:
    """One line: pass, loss, validation sMAPE, speed, time left."""
    parts = [
        f"pass {progress['pass_number']}/{progress['num_passes']}",
        f"loss {progress['loss']:.4f}",
    ]
    if progress["validation_smape"] is not None:
        parts.append(f"validation sMAPE {progress['validation_smape']:.3f} %")
    parts.append(f"{progress['steps_per_second']:.1f} steps/s")
    parts.append(f"{progress['seconds_left']:.0f} s left")
    return ", ".join(parts)


board = ProgressBoard()
