"""What a check for leaks leaves."""

from __future__ import annotations

from typing import ClassVar

from gridcast.record import Record, RunRecord


class LeakCheck(Record):
    """One check: what was done, what was compared, and the leak that it found, or ``""``.

    A control has a known leak: there, finding none is the fault.
    """

    name: str
    done: str
    compared: str
    leak: str = ""
    is_control: bool = False

    @property
    def is_passed(self) -> bool:
        """Whether all is as it should be."""
        return bool(self.leak) == self.is_control


class LeakChecks(RunRecord):
    """What a check for leaks did and found."""

    kind: ClassVar[str] = "leaks"

    checks: tuple[LeakCheck, ...]
