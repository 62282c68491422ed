"""Whether a challenger takes over: better than the champion and any baseline, nowhere worse."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import pandas as pd

from gridcast.evaluation.measure import SMAPE, MeasureName
from gridcast.operation.model_reference import ModelReference
from gridcast.operation.significance import EVERY_REGION, Difference, differences
from gridcast.record import Record, StoredRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridcast.config import PromotionConfig


class Contest(Record):
    """The challenger against one opponent: figures by region, and what they say.

    ``regions`` has the mean of all as ``*`` too; empty: there were too few labels for a test.
    """

    opponent: str
    kind: Literal["champion", "baseline"]
    regions: dict[str, Difference]
    is_won: bool
    reason: str


class Decision(StoredRecord):
    """Whether the challenger is promoted, with all figures.

    ``first`` and ``end`` (ISO, UTC) bound the issue times of the labels on which both were held
    against one another; ``leads`` is over how many a loss is the mean, ``measure`` how it is told.
    """

    advice: ClassVar[str] = "decide again: gridcast promote"

    challenger: ModelReference
    champion: ModelReference | None
    first: str | None
    end: str | None
    leads: int
    contests: tuple[Contest, ...]
    is_promoted: bool
    reason: str
    measure: MeasureName = SMAPE


def decide(
    challenger: ModelReference,
    champion: ModelReference | None,
    losses: Mapping[str, pd.DataFrame],
    config: PromotionConfig,
    *,
    measure: MeasureName = SMAPE,
) -> Decision:
    """Judge the challenger by losses on labels that neither model was fitted to.

    Args:
        challenger: its losses are those under ``"challenger"``.
        champion: who is in charge, under ``"champion"``; None: nobody.
        losses: percent, by issue time, a column a region; the other names are baselines, of which
            the one with the smallest mean is to be beaten.
        config: what is asked.
        measure: how the losses are told.
    """
    own, others = aligned(losses)
    baselines = {name: each for name, each in others.items() if name != "champion"}
    opponents = dict[str, pd.DataFrame]()
    if champion is not None:
        opponents["champion"] = others["champion"]
    if baselines:
        best = min(baselines, key=lambda name: float(baselines[name].mean().mean()))
        opponents[best] = baselines[best]
    contests = tuple(
        contest_of(
            champion.short if champion and name == "champion" else name.replace("_", " "),
            own, each, config, kind="champion" if name == "champion" else "baseline",
            is_first=champion is None,
        )
        for name, each in opponents.items()
    )  # fmt: skip
    lost = [each.reason for each in contests if not each.is_won]
    reason = "; ".join(lost or [each.reason for each in contests])
    return Decision(
        challenger=challenger,
        champion=champion,
        first=own.index[0].isoformat() if len(own) else None,
        end=own.index[-1].isoformat() if len(own) else None,
        leads=config.leads,
        contests=contests,
        is_promoted=not lost,
        reason=reason,
        measure=measure,
    )


def aligned(
    losses: Mapping[str, pd.DataFrame],
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """The challenger's and the others' losses at the issue times and in the regions of all."""
    rows, columns = losses["challenger"].index, losses["challenger"].columns
    for each in losses.values():
        rows, columns = rows.intersection(each.index), columns.intersection(each.columns)
    cut = {name: each.loc[rows.sort_values(), columns] for name, each in losses.items()}
    return cut.pop("challenger"), cut


def contest_of(
    opponent: str,
    own: pd.DataFrame,
    other: pd.DataFrame,
    config: PromotionConfig,
    *,
    kind: Literal["champion", "baseline"],
    is_first: bool = False,
) -> Contest:
    """Won: significantly better in the mean, and in no region significantly worse.

    That a region is not worse by the margin must be shown: the upper end of its interval is below.
    With fewer labels than the test needs nothing is shown; then the first champion (``is_first``)
    has to be better in the plain mean of what there is, and nobody else wins.
    """
    found = differences(own, other, config, horizon=config.leads)
    if found:
        is_won, reason = _judged(opponent, found, config)
    else:
        is_won, reason = _untested(opponent, own, other, config, is_first=is_first)
    return Contest(opponent=opponent, kind=kind, regions=found, is_won=is_won, reason=reason)


def _judged(
    opponent: str, found: Mapping[str, Difference], config: PromotionConfig
) -> tuple[bool, str]:
    mean = found[EVERY_REGION]
    told = f"{mean.error:.3f} % against {mean.other_error:.3f} % of {opponent}"
    if mean.change >= 0:
        return False, f"not better in the mean: {told}"
    if mean.p_value > config.significance:
        return False, f"better by chance alone: {told} (p {mean.p_value:.2g})"
    if worse := [name for name in found if _is_worse(found[name], config)]:
        worst = max(worse, key=lambda name: found[name].most)
        each = found[worst]
        figures = f"{each.change:+.1f} %, at most {each.most:+.1f} %, p {each.p_adjusted:.2g}"
        return (
            False,
            f"in {worst} it is, or may be by the margin, worse than {opponent} ({figures})",
        )
    return True, f"better: {told} (p {mean.p_value:.2g}), in no region worse"


def _untested(
    opponent: str,
    own: pd.DataFrame,
    other: pd.DataFrame,
    config: PromotionConfig,
    *,
    is_first: bool,
) -> tuple[bool, str]:
    """By the plain mean over the hours that both have, where the test needs more of them."""
    own, other = own.where(other.notna()), other.where(own.notna())
    num_hours = int(own.notna().sum().max()) if own.size else 0
    needs = f"{num_hours} hours, where the test needs {config.min_hours}"
    if not is_first:
        return False, (
            f"{needs} (operation.promotion.min_hours) to hold it against {opponent}: raise "
            "split.validation_share, wait for more data, or put it in charge with --because"
        )
    if num_hours == 0:
        return True, f"the first one, with no hour to hold it against {opponent}"
    mean, other_mean = float(own.mean().mean()), float(other.mean().mean())
    told = f"{mean:.3f} % against {other_mean:.3f} % of {opponent} over {needs}"
    if mean >= other_mean:
        return False, f"not better in the mean: {told}"
    return True, f"the first one, better without a test: {told}"


def _is_worse(each: Difference, config: PromotionConfig) -> bool:
    """Significantly, or not shown to be within the margin."""
    is_significant = each.change > 0 and each.p_adjusted <= config.significance
    return is_significant or each.most > 100 * config.margin
