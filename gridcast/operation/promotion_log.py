"""Who was in charge when: the log of promotions as a value.

An entry is never changed. The last one whose ``since`` has come is in force; a rollback is an entry
as any other. MLflow keeps no history of its aliases, so this is the truth and they follow it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import pandas as pd

from gridcast.operation.decision import Decision
from gridcast.operation.model_reference import ModelReference
from gridcast.record import StoredRecord

if TYPE_CHECKING:
    from collections.abc import Iterable


class Promotion(StoredRecord):
    """One entry: from ``since`` (ISO, UTC) on ``to`` is in charge.

    ``number`` counts from 1. ``left`` was in charge before (null: nobody). ``decided_by`` says who,
    ``written_at`` (ISO, UTC) when by the clock; ``decision`` has the figures (null: a rollback or
    an order, which ``reason`` explains).
    """

    advice: ClassVar[str] = "bring it back from a backup: without it nobody knows who is in charge"

    number: int
    dataset: str
    kind: Literal["promotion", "rollback", "order"]
    since: str
    written_at: str
    decided_by: str
    left: ModelReference | None
    to: ModelReference
    reason: str
    decision: Decision | None = None

    @property
    def since_time(self) -> pd.Timestamp:
        """``since`` as an instant."""
        return pd.Timestamp(self.since)


@dataclass(frozen=True, slots=True)
class PromotionLog:
    """All entries of a data set, in their order."""

    entries: tuple[Promotion, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[Promotion]) -> PromotionLog:
        """By number, whatever the order in which they come."""
        return cls(tuple(sorted(entries, key=lambda each: each.number)))

    @property
    def newest(self) -> Promotion | None:
        """The last entry."""
        return self.entries[-1] if self.entries else None

    def in_force(self, time: pd.Timestamp) -> tuple[Promotion, ...]:
        """The entries that had been made by then, the newest first."""
        begun = bisect_right(self.entries, time, key=lambda each: each.since_time)
        return self.entries[:begun][::-1]

    def champion_at(self, time: pd.Timestamp) -> ModelReference | None:
        """Who was in charge at an instant; None before the first promotion."""
        made = self.in_force(time)
        return made[0].to if made else None

    def succession(self, time: pd.Timestamp) -> tuple[ModelReference, ...]:
        """Who was in charge at an instant, then whom it took over from, and so on.

        What a rollback undid is not among them, so that a second rollback goes back further.
        """
        stack = list[ModelReference]()
        for each in reversed(self.in_force(time)):
            if any(one.sha256 == each.to.sha256 for one in stack) and each.kind == "rollback":
                while stack[-1].sha256 != each.to.sha256:
                    stack.pop()
            elif not stack or stack[-1].sha256 != each.to.sha256:
                stack.append(each.to)
        return tuple(reversed(stack))
