"""What an inspection has found, how sure it is, and what else would fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Sureness = Literal["certain", "likely", "check"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: ``check`` is a guess that somebody has to look at.

    ``others`` are settings that would fit as well, as they are given to ``--set``.
    """

    sureness: Sureness
    about: str
    found: str
    why: str
    others: tuple[str, ...] = ()


@dataclass(slots=True)
class Findings:
    """Findings as they come, and the settings that follow from them."""

    found: list[Finding] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)
    ingestion: dict[str, Any] = field(default_factory=dict)
    features: dict[str, Any] = field(default_factory=dict)

    def note(self, sureness: Sureness, about: str, found: str, why: str, *others: str) -> None:
        """Keep one finding."""
        self.found.append(Finding(sureness, about, found, why, others))

    @property
    def settings(self) -> dict[str, Any]:
        """The proposal, as a layout file has it."""
        tree: dict[str, Any] = {"ingestion": {**self.ingestion, "layout": self.layout}}
        return {**tree, **({"features": self.features} if self.features else {})}
