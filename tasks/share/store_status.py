"""What a store has, and what of this folder it has not, or has otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.promote.promotion_files import FOLDER as CHAMPIONS
from tasks.promote.promotion_files import log_files
from tasks.runs.keys import file_sha256
from tasks.runs.lives import has_ended, oldest_first
from tasks.share.shared_sets import (
    DATA,
    FORECASTS,
    KEPT,
    MONITORING,
    PUBLISHED,
    RUNS,
    data_set_files,
    data_sets_in,
    forecast_files,
    monitoring_files,
)
from tasks.store.kept_sets import read_set, set_names

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.store.kept_sets import KeptSet, WorkingCopy


@dataclass(frozen=True, slots=True)
class KindStatus:
    """Of one kind of set: how many the store has, of what size (bytes).

    ``only_here`` names those that it lacks, ``differing`` those that are otherwise here: this
    folder is ahead, or behind.
    """

    kind: str
    num_sets: int
    size: int
    only_here: tuple[str, ...]
    differing: tuple[str, ...]


def status_of(copy: WorkingCopy) -> list[KindStatus]:
    """By kind: first what is changed, then what never is.

    Raises:
        StoreError, RecordError: the store does not answer, or is damaged.
    """
    here = published_here(copy.artifacts)
    runs = [each for each in oldest_first(copy.artifacts / RUNS) if has_ended(each)]
    kept = {f"{RUNS}/{folder.name}" for folder in runs}
    return [_kind(copy, kind, here, kept) for kind in (*PUBLISHED, *KEPT)]


def published_here(artifacts: Path) -> dict[str, list[Path]]:
    """The sets of this folder that change, and their files.

    Raises:
        RecordError: a pointer is damaged.
    """
    pointers = [path.stem for path in sorted((artifacts / DATA).glob("*.json"))]
    sets = {f"{DATA}/{name}": data_set_files(artifacts, name) for name in pointers}
    for kind, files in ((CHAMPIONS, log_files), (FORECASTS, forecast_files),
                        (MONITORING, monitoring_files)):  # fmt: skip
        sets |= {f"{kind}/{n}": files(artifacts, n) for n in data_sets_in(artifacts / kind)}
    return sets


def _kind(
    copy: WorkingCopy, kind: str, published: dict[str, list[Path]], kept: set[str]
) -> KindStatus:
    names = set_names(copy, f"{kind}/")
    sets = [found[0] for name in names if (found := read_set(copy, name)) is not None]
    own = [name for name in (*published, *sorted(kept)) if name.startswith(f"{kind}/")]
    differing = [
        each.name for each in sets
        if each.name in published and not _is_same(copy.artifacts, each, published[each.name])
    ]  # fmt: skip
    only_here = [name for name in own if name not in names]
    size = sum(each.size for each in sets)
    return KindStatus(kind, len(names), size, tuple(only_here), tuple(differing))


def _is_same(artifacts: Path, kept: KeptSet, files: list[Path]) -> bool:
    here = {path.relative_to(artifacts).as_posix(): file_sha256(path) for path in files}
    return here == {path: each.sha256 for path, each in kept.files.items()}
