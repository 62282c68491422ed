"""What a snapshot is made of: the hash of a region's table, and what differs between two tables.

Legend: ``N`` rows, ``C`` hours that both tables have.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
import pandas as pd

from gridcast.record import Record, RunRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridcast.readings.records import RegionRecord

NUM_EXAMPLES = 5
_ID_DIGITS = 16
# Where a row stood in the file says nothing about the load: shuffled rows make the same table.
_PROVENANCE = frozenset({"source_line"})


class Hours(Record):
    """A set of hours (UTC): how many, the first and the last."""

    count: int = 0
    first: datetime | None = None
    last: datetime | None = None


class Example(Record):
    """One hour that differs: load (MW) and flag before and after; null where there was none."""

    timestamp: datetime
    before_mw: float | None
    after_mw: float | None
    before_flag: str | None
    after_flag: str | None


class RegionChange(Record):
    """What became of one region between two snapshots.

    ``revised`` are hours with another load, ``reflagged`` those with the same load and another
    flag; ``largest_change_mw`` is the largest absolute difference of the revised loads.
    ``has_other_covariates``: those of the region are not as they were.
    """

    status: Literal["added", "removed", "changed", "unchanged"]
    rows_before: int
    rows_after: int
    added: Hours = Hours()
    removed: Hours = Hours()
    revised: Hours = Hours()
    reflagged: Hours = Hours()
    largest_change_mw: float = 0.0
    has_other_covariates: bool = False
    examples: tuple[Example, ...] = ()


class SnapshotChanges(RunRecord):
    """What changed from the snapshot ``before`` (null: there was none) to ``after``."""

    kind: ClassVar[str] = "changes"

    before: str | None
    after: str
    regions: dict[str, RegionChange]

    @property
    def changed(self) -> dict[str, RegionChange]:
        """The regions that are not as they were."""
        return {name: each for name, each in self.regions.items() if each.status != "unchanged"}


def table_sha256(frame: pd.DataFrame) -> str:
    """SHA-256 of a region's table, by values: times, loads, flags and all else but ``source_line``.

    Neither the order of the columns, nor the resolution of the times, nor the file's format count.
    """
    digest = hashlib.sha256()
    for name in sorted(set(frame.columns) - _PROVENANCE):
        content = _column_bytes(frame[name])
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def snapshot_id(regions: Mapping[str, RegionRecord]) -> str:
    """The name of a snapshot: the first 16 digits of the SHA-256 over its regions' table hashes.

    A region with covariates has two tables.
    """
    lines = (f"{name} {_tables_of(regions[name])}\n" for name in sorted(regions))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:_ID_DIGITS]


def _tables_of(region: RegionRecord) -> str:
    covariates = region.covariates
    return region.table_sha256 + (f" {covariates.table_sha256}" if covariates else "")


def compare_tables(
    before: pd.DataFrame, after: pd.DataFrame, *, num_examples: int = NUM_EXAMPLES
) -> RegionChange:
    """Rows added, removed and revised between two tables of one region, hour by hour.

    Args:
        before: has ``timestamp`` (UTC, each once, rising), ``load_mw`` and ``flag``.
        after: the same.
        num_examples: at most so many hours are shown, revised ones first, the largest change first.
    """
    num_same = _num_same(before, after)  # mostly nearly all: hours are added at the end
    old, new = _hours_of(before.iloc[num_same:]), _hours_of(after.iloc[num_same:])
    old_C, new_C = _in_both(old.hours, new.hours)
    change_C = np.abs(new.load_mw[new_C] - old.load_mw[old_C])
    is_revised_C = ~(
        (change_C == 0) | (np.isnan(old.load_mw[old_C]) & np.isnan(new.load_mw[new_C]))
    )
    is_reflagged_C = ~is_revised_C & (old.flag[old_C] != new.flag[new_C])
    removed_N = np.delete(np.arange(len(old.hours)), old_C)
    added_N = np.delete(np.arange(len(new.hours)), new_C)
    largest_first = np.flatnonzero(is_revised_C)[
        np.argsort(-np.nan_to_num(change_C[is_revised_C], nan=np.inf), kind="stable")
    ]
    both = [*largest_first[:num_examples], *np.flatnonzero(is_reflagged_C)[:num_examples]]
    examples = [_example(old, new, int(old_C[i]), int(new_C[i])) for i in both]
    examples += [_example(old, new, int(i), None) for i in removed_N[:num_examples]]
    examples += [_example(old, new, None, int(i)) for i in added_N[:num_examples]]
    return RegionChange(
        status="changed",
        rows_before=len(before),
        rows_after=len(after),
        added=_summed(new.hours[added_N]),
        removed=_summed(old.hours[removed_N]),
        revised=_summed(old.hours[old_C[is_revised_C]]),
        reflagged=_summed(old.hours[old_C[is_reflagged_C]]),
        largest_change_mw=float(np.nanmax(change_C, initial=0.0)),
        examples=tuple(examples[:num_examples]),
    )


def _num_same(before: pd.DataFrame, after: pd.DataFrame) -> int:
    """How many rows at the start are alike."""
    num = min(len(before), len(after))
    is_same = np.ones(num, dtype=bool)
    for name in ("timestamp", "load_mw", "flag"):
        is_same &= np.asarray(before[name].array[:num] == after[name].array[:num], dtype=bool)
    return num if is_same.all() else int(is_same.argmin())


class _Hours(NamedTuple):
    hours: np.ndarray  # seconds since 1970, UTC
    load_mw: np.ndarray
    flag: np.ndarray


def _hours_of(frame: pd.DataFrame) -> _Hours:
    seconds = frame["timestamp"].dt.tz_convert(None).astype("datetime64[s]").to_numpy()
    return _Hours(
        seconds.astype("int64"),
        frame["load_mw"].to_numpy(dtype="float64"),
        frame["flag"].to_numpy(dtype="object"),
    )


def _in_both(old: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the hours that both have, in either; both rise."""
    place = np.searchsorted(new, old)
    is_inside = place < len(new)
    old_C = np.flatnonzero(is_inside)[new[place[is_inside]] == old[is_inside]]
    return old_C, place[old_C]


def _summed(hours: np.ndarray) -> Hours:
    if not len(hours):
        return Hours()
    return Hours(count=len(hours), first=_time(hours.min()), last=_time(hours.max()))


def _example(old: _Hours, new: _Hours, before: int | None, after: int | None) -> Example:
    hours, row = (old.hours, before) if after is None else (new.hours, after)
    return Example(
        timestamp=_time(hours[row]),
        before_mw=None if before is None else _number(old.load_mw[before]),
        after_mw=None if after is None else _number(new.load_mw[after]),
        before_flag=None if before is None else str(old.flag[before]),
        after_flag=None if after is None else str(new.flag[after]),
    )


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)


def _time(seconds: Any) -> datetime:  # noqa: ANN401 - numpy's whole numbers have many types
    return datetime.fromtimestamp(int(seconds), UTC)


def _column_bytes(column: pd.Series[Any]) -> bytes:
    """The values as bytes that are the same on every machine."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert(None)
    if column.dtype.kind == "M":
        return column.astype("datetime64[s]").to_numpy().astype("<i8").tobytes()
    if column.dtype.kind in "biuf":
        return column.to_numpy().astype("<f8").tobytes()
    codes, names = pd.factorize(column, sort=True)
    words = "\n".join(f"{len(name)} {name}" for name in map(str, names))
    return words.encode() + codes.astype("<i8").tobytes()
