"""Signs of life of who does an assignment of a run, and what is to be made of their absence.

Who does it counts in a file of the run's folder; who gave it out looks whether the file changes,
by a clock of its own. No time of a file or of another machine decides anything.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Verdict = Literal["wait", "failed", "lost"]
_MOST_SECONDS: Final = 5.0  # between two signs
_SIGNS_BEFORE_LOST: Final = 6.0
_FAILED: Final = ("FAILED", "CANCELLED")
_UNDER_WAY: Final = ("PENDING", "RUNNING", "CANCELLING")
COMPLETED: Final = "COMPLETED"
CRASHED: Final = "CRASHED"


@contextmanager
def signs_of_life(path: Path, *, lost_seconds: float) -> Iterator[None]:
    """Give signs at ``path`` while what is inside is done."""
    is_over, seconds = threading.Event(), min(_MOST_SECONDS, lost_seconds / _SIGNS_BEFORE_LOST)
    path.parent.mkdir(parents=True, exist_ok=True)

    def count() -> None:
        number = 0
        while True:
            with suppress(OSError):  # a full disk: the next sign may have room
                path.write_text(str(number), encoding="utf-8")
            number += 1
            if is_over.wait(seconds):
                return

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


class Silence:
    """For how long what was seen of an assignment has been the same."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: object = None
        self._since = clock()

    def seconds(self, seen: object) -> float:
        """Since ``seen`` (the assignment's state, its last sign) was first seen."""
        if seen != self._seen:
            self._seen, self._since = seen, self._clock()
        return self._clock() - self._since


def last_sign(path: Path) -> str:
    """The last sign at ``path``; empty where there was none yet."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def verdict(state: str | None, *, silent_seconds: float, lost_seconds: float) -> Verdict:
    """What to make of an assignment without a result, in this state (Prefect's type; None: untold).

    Nobody has taken what is scheduled: that can last. What says that it is under way and gives no
    sign is lost, and so is what crashed. What has ended well has left its result, which a shared
    disk may show somewhat later.

    >>> verdict("RUNNING", silent_seconds=9.0, lost_seconds=60.0)
    'wait'
    >>> verdict("RUNNING", silent_seconds=61.0, lost_seconds=60.0)
    'lost'
    """
    is_silent = silent_seconds >= lost_seconds
    if state in _FAILED or (state == COMPLETED and is_silent):
        return "failed"
    if state == CRASHED or (state in _UNDER_WAY and is_silent):
        return "lost"
    return "wait"
