"""What is asked of a region as a whole: the rules of ``RequiredRules``, their measures and words.

Whoever holds a region against them does it by this table: Great Expectations, which tells the rows
as well, for a file as a whole and for rows that were added to it, and `gridcast run --plan`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from gridcast.readings.quality import NO_FLAG, lasting_change, only_grows

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from gridcast.config import RequiredRules

Measure = Literal["num_rows", "missing_share", "load_mw", "flagged_share"]


class Requirement(NamedTuple):
    """One rule: the measure that it bounds, and from which side; the bound itself passes."""

    rule: str
    measure: Measure
    is_least: bool

    def bound(self, required: RequiredRules) -> float:
        """The bound that a region's rules set."""
        return float(getattr(required, self.rule))

    def is_broken(self, value: float, required: RequiredRules) -> bool:
        """Whether ``value`` lies beyond the bound."""
        bound = self.bound(required)
        return value < bound if self.is_least else value > bound


REQUIREMENTS = (
    Requirement("min_rows", "num_rows", is_least=True),
    Requirement("max_missing_share", "missing_share", is_least=False),
    Requirement("min_mw", "load_mw", is_least=True),
    Requirement("max_mw", "load_mw", is_least=False),
    Requirement("max_flagged_share", "flagged_share", is_least=False),
)


class Measures(NamedTuple):
    """What is asked of a region as a whole, measured; shares from 0 to 1."""

    num_rows: int
    missing_share: float
    flagged_share: float


def measure(*, num_rows: int, num_missing: int, num_flagged: int) -> Measures:
    """The measures of a region with rows (one an hour), hours that lack between them, and flags."""
    return Measures(
        num_rows=num_rows,
        missing_share=num_missing / (num_rows + num_missing) if num_rows else 0.0,
        flagged_share=num_flagged / num_rows if num_rows else 0.0,
    )


def broken_rule(readings: pd.DataFrame, required: RequiredRules) -> str:
    """Which rule a run would refuse these readings (``load_mw``, ``flag``, in order) by, or none.

    A run asks Great Expectations, which tells rows as well.
    """
    times, load_mw = readings["timestamp"], readings["load_mw"]
    span = int((times.iloc[-1] - times.iloc[0]) / np.timedelta64(1, "h")) + 1
    measured = measure(
        num_rows=len(readings),
        num_missing=span - len(readings),
        num_flagged=int((readings["flag"] != NO_FLAG).sum()),
    )
    for each in REQUIREMENTS:
        extreme = load_mw.min() if each.is_least else load_mw.max()
        value = {**measured._asdict(), "load_mw": extreme}[each.measure]
        if each.is_broken(value, required):
            return each.rule
    broken = broken_level(load_mw, required)
    return broken.rule if broken else ""


class BrokenLevel(NamedTuple):
    """A rule on the level of a region's loads that is broken: at which row, and in words."""

    rule: str
    row: int
    found: str
    expected: str


def broken_level(load_mw: pd.Series[float], required: RequiredRules) -> BrokenLevel | None:
    """What of the loads (MW, sorted by time) cannot be one region's load in one unit."""
    if not required.may_only_grow and only_grows(load_mw):
        first, last = float(load_mw.iloc[0]), float(load_mw.iloc[-1])
        found = f"loads that only grow, from {first:,.6g} to {last:,.6g} MW: a meter's register?"
        return BrokenLevel("may_only_grow", 0, found, "loads: take the differences of a register")
    change = lasting_change(load_mw)
    if change is None or required.max_level_factor is None:
        return None
    factor = max(change.after_mw / change.before_mw, change.before_mw / change.after_mw)
    if factor <= required.max_level_factor:
        return None
    found = (
        f"about {change.after_mw:,.6g} MW from here on for weeks, after {change.before_mw:,.6g} MW"
    )
    expected = f"one unit: a change by a factor of at most {required.max_level_factor:g}"
    return BrokenLevel("max_level_factor", change.row, found, expected)


class Wording(NamedTuple):
    """How a rule is told: the kind of a fault, what it found (``{}``), what was expected.

    ``sentence`` is what the Data Docs say that is asked.
    """

    kind: str
    found: str
    expected: str
    sentence: str


def wordings(required: RequiredRules, key_of: Callable[[str], str]) -> dict[Measure, Wording]:
    """The words for each measure; ``key_of`` gives the setting of a rule, which they name."""
    keys = {each.rule: f"({key_of(each.rule)})" for each in REQUIREMENTS}
    least = f"at least {required.min_rows} {keys['min_rows']}"
    missing = f"at most {100 * required.max_missing_share:g}%"
    of_missing = keys["max_missing_share"]
    flagged = f"at most {100 * required.max_flagged_share:g}%"
    of_flagged = keys["max_flagged_share"]
    bounds = f"{required.min_mw} to {required.max_mw} MW"
    of_load = f"{keys['min_mw']} {keys['max_mw']}"
    return {
        "num_rows": Wording(
            "too_few_rows", "{} rows", least,
            f"There are at least {required.min_rows:,} rows {keys['min_rows']}.",
        ),
        "missing_share": Wording(
            "too_many_missing", "{} missing", f"{missing} of them {of_missing}",
            f"Of the hours between first and last, {missing} are missing {of_missing}.",
        ),
        "load_mw": Wording(
            "load_bounds", "a load of {} MW", f"{bounds} {of_load}",
            f"Every load is possible: {bounds}, both ends included {of_load}.",
        ),
        "flagged_share": Wording(
            "flagged_share", "{} flagged", f"{flagged} of them {of_flagged}",
            f"Of the readings, {flagged} are flagged as doubtful {of_flagged}.",
        ),
    }  # fmt: skip
