"""The chain from the bytes of the CSVs to the MLflow run: its links, and what a check found.

A link names its files with their SHA-256 and the links it was made of. The links stand in the order
of the data, so the first that is broken is the one to look at.
"""

from __future__ import annotations

import hashlib
from math import isclose
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from gridcast.array_file import unpacked
from gridcast.errors import UsageError
from gridcast.record import Record, RunRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal[
    "csv", "region", "covariates", "snapshot", "spec", "config", "code", "features", "job",
    "weights", "predictions", "forecasts", "scores", "model", "report", "mlflow", "run",
]  # fmt: skip
State = Literal["ok", "broken", "gone", "changed", "replaced", "other code"]
_ASK = "find out who changed it"
_ADVICE = {
    "csv": "nothing to do: what was published of it stands, and the next run reads it anew",
    "covariates": f"{_ASK}; `gridcast ingest` publishes the region again",
    "region": f"{_ASK}; `gridcast ingest` publishes the region again",
    "snapshot": f"{_ASK}; `gridcast ingest --fresh` publishes the regions again",
    "mlflow": f"{_ASK}, and do not serve this model; `gridcast run --fresh` logs it anew",
    "record": f"{_ASK}; the next run refuses it, or makes it anew",
    "code": "nothing to do; to compute it again, check out the version of that run",
}
_LONGEST, _SHOWN = 40, 16  # characters of a value that is told
_ROUNDING = 1e-6  # sMAPE in percent, errors in MW


class Link(Record):
    """One thing of a run. ``files``: path (below the artifacts, or absolute) to SHA-256.

    ``key`` is the SHA-256 of ``parts`` as canonical JSON; ``facts`` are other hashes and names.
    """

    kind: Kind
    name: str
    files: dict[str, str] = Field(default_factory=dict)
    made_of: tuple[str, ...] = ()
    key: str = ""
    parts: dict[str, Any] = Field(default_factory=dict)
    facts: dict[str, str] = Field(default_factory=dict)


class Lineage(RunRecord):
    """All links of one run, in the order of the data: the shape of ``lineage.json``."""

    kind: ClassVar[str] = "lineage"

    run_id: str
    created: str
    links: tuple[Link, ...]

    def link(self, name: str) -> Link:
        """The link of that name (KeyError: there is none)."""
        return {link.name: link for link in self.links}[name]

    def of(self, kind: Kind) -> tuple[Link, ...]:
        """The links of one kind."""
        return tuple(link for link in self.links if link.kind == kind)

    def leading_to(self, name: str) -> tuple[Link, ...]:
        """The link ``name`` and all that it was made of, however far back."""
        made_of = {link.name: link.made_of for link in self.links}
        wanted: set[str] = set()
        todo = [name]
        while todo:
            each = todo.pop()
            if each not in wanted:
                wanted.add(each)
                todo += made_of[each]
        return tuple(link for link in self.links if link.name in wanted)


class Finding(Record):
    """What a check of one link found. ``where`` to ``advice`` stand where it is not ``ok``."""

    name: str
    state: State
    found: str = ""
    where: str = ""
    expected: str = ""
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.where}: found {self.found}, expected {self.expected}; {self.advice}"


class UnlikeError(Exception):
    """What is there is not what the chain says."""

    def __init__(
        self, *, where: object, found: str, expected: str, state: State = "broken"
    ) -> None:
        self.where, self.found, self.expected, self.state = str(where), found, expected, state
        super().__init__(f"{where}: found {found}, expected {expected}")


class Verdict(Record):
    """What a check of a whole chain found, in the order of the data."""

    run_id: str
    findings: tuple[Finding, ...]

    @property
    def broken(self) -> Finding | None:
        """The first broken link."""
        return next((finding for finding in self.findings if finding.state == "broken"), None)


def finding_of(name: str, error: UnlikeError, *, kind: str = "") -> Finding:
    """The error as a finding, with what to do."""
    advice = _ADVICE.get(kind, f"{_ASK}; `gridcast run --fresh` makes it anew")
    if error.state in {"gone", "replaced"}:
        advice = "nothing to do: it was pruned or made again, and cannot be checked any more"
    if error.state == "other code":
        advice = _ADVICE["code"]
    return Finding(
        name=name, state=error.state, found=error.found, where=error.where,
        expected=error.expected, advice=advice,
    )  # fmt: skip


def first_unlike(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """The dotted name of the first entry of ``expected`` that ``found`` lacks or has otherwise.

    >>> first_unlike({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}), first_unlike({"x": 1}, {})
    ('a.c', '')
    """
    for name, value in expected.items():
        if name not in found:
            return name
        if isinstance(value, dict) and isinstance(found[name], dict):
            if inner := first_unlike(found[name], value):
                return f"{name}.{inner}"
        elif found[name] != value:
            return name
    return ""


def require_same(where: str, found: object, expected: object) -> None:
    """Refuse another value, naming where it stands.

    Raises:
        UnlikeError: with both, hashes cut short.
    """
    if found != expected:
        raise UnlikeError(where=where, found=_short(found), expected=_short(expected))


def require_parts(where: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse what lacks an entry of ``expected`` or has it otherwise.

    Raises:
        UnlikeError: naming the first such entry.
    """
    if name := first_unlike(found, expected):
        steps = name.split(".")
        ours, theirs = (_short(_at(parts, steps)) for parts in (found, expected))
        raise UnlikeError(where=f"{where}: {name}", found=ours, expected=theirs)


def require_figures(where: str, found: Mapping[str, float], expected: Mapping[str, float]) -> None:
    """Refuse a figure that does not come out again, rounding apart.

    Raises:
        UnlikeError: naming the first one, with both.
    """
    for name, value in expected.items():
        if name not in found or not isclose(found[name], value, abs_tol=_ROUNDING):
            figure = str(found.get(name, "nothing"))
            raise UnlikeError(where=f"{where}{name}", found=figure, expected=f"{value:.6f}")


def _at(parts: Any, steps: list[str]) -> object:  # noqa: ANN401 - JSON
    """The entry of nested ``parts`` under a dotted name whose words may hold dots themselves."""
    for end in range(len(steps), 0, -1):
        name = ".".join(steps[:end])
        if isinstance(parts, dict) and name in parts:
            return _at(parts[name], steps[end:]) if end < len(steps) else parts[name]
    return "nothing"


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:_SHOWN]}…" if len(text) > _LONGEST else text


def stored_weights_sha256(content: bytes) -> str:
    """As ``weights_sha256`` of a network, from the file of its weights: no torch.

    Raises:
        ValueError: these are no weights.
    """
    try:
        arrays = unpacked(content, where="the weights")
    except UsageError as error:
        raise ValueError(str(error)) from None
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}|torch.{array.dtype}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
