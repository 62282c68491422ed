"""Hold a challenger against the champion and the naive forecasts; put it in charge if it wins."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from gridcast.errors import IntegrityError, RecordError, UsageError
from gridcast.forecasting.region_state import hours_back
from gridcast.operation.decision import Decision, decide
from gridcast.operation.held_out_losses import held_out_losses
from tasks.forecast.chosen_model import ChosenModel, choose_model, load_reference
from tasks.forecast.issue_forecast import (
    current_snapshot,
    end_of_data,
    published_covariates,
    published_readings,
)
from tasks.promote.champion_alias import follow_log
from tasks.promote.promotion_files import keep_decision, promote, read_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gridcast.config import Config, PromotionConfig
    from gridcast.operation.model_reference import ModelReference
    from gridcast.operation.promotion_log import Promotion, PromotionLog
    from tasks.ingest.snapshots import Current

_log = logging.getLogger("gridcast.promote")


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of it for the ``challenger``; ``promotion`` None: all stays as it is.

    ``alias_problem`` says why MLflow's alias does not follow (None: it does, or nothing changed).
    """

    dataset: str
    challenger: ModelReference
    decision: Decision | None
    promotion: Promotion | None
    reason: str
    alias_problem: str | None = None


def judge_challenger(
    artifacts: Path,
    config: Config,
    *,
    as_of: pd.Timestamp | None = None,
    now: Callable[[], pd.Timestamp] | None = None,
    folder: Path | None = None,
    run_id: str | None = None,
    because: str | None = None,
) -> Judged:
    """Decide whether what a run recommends takes over, and let it.

    Args:
        artifacts: folder of everything that runs produce.
        config: what is asked of it; where MLflow is.
        as_of: no later reading is looked at; from then on it is in charge. None: where data end.
        now: asked when it is decided, from when on it is in charge; none: from ``as_of``.
        folder: whose data; none: those that were ingested last.
        run_id: whose model is the challenger; none: the newest run's.
        because: put it in charge for this reason, whatever the figures say.

    Raises:
        UsageError: there is no model or no data, or ``as_of`` is before the last promotion.
        LockHeldError: somebody else promoted meanwhile.
        IntegrityError: a file of the challenger or the snapshot was changed.
    """
    current = current_snapshot(artifacts, folder)
    since = as_of if as_of is not None else end_of_data(artifacts, folder=folder)
    log = read_log(artifacts, current.dataset)
    challenger = choose_model(artifacts, run_id=run_id)
    reference, newest = challenger.reference, log.newest
    if newest is not None and newest.to.sha256 == reference.sha256:
        already = f"{reference.short} is in charge already"
        return Judged(current.dataset, reference, None, None, already)
    if because is not None:
        decision, reason = None, because
    else:
        asked = config.operation.promotion
        decision = _decision(artifacts, challenger, log, current, asked, as_of=since)
        keep_decision(artifacts, current.dataset, decision, as_of=since)
        reason = decision.reason
        if not decision.is_promoted:
            return Judged(current.dataset, reference, decision, None, reason)
    since = since if now is None else max(since, now())
    entry = promote(
        artifacts, current.dataset, reference, read=log, since=since, reason=reason,
        kind="promotion" if because is None else "order", decision=decision, store=config.run.store,
    )  # fmt: skip
    problem = follow_log(artifacts, current.dataset, config.tracking)
    return Judged(current.dataset, reference, decision, entry, reason, problem)


def roll_back(
    artifacts: Path,
    config: Config,
    *,
    because: str,
    as_of: pd.Timestamp | None = None,
    folder: Path | None = None,
) -> Judged:
    """Put the one back in charge that the champion took over from.

    Raises:
        UsageError: there is none, or ``as_of`` is before the last promotion.
        LockHeldError: somebody else promoted meanwhile.
        IntegrityError: a file of that model was changed.
    """
    current = current_snapshot(artifacts, folder)
    since = as_of if as_of is not None else end_of_data(artifacts, folder=folder)
    log = read_log(artifacts, current.dataset)
    succession = log.succession(since)
    if len(succession) < 2:  # noqa: PLR2004 - it and the one before
        found = f"no champion before {succession[0].short}" if succession else "no champion"
        raise UsageError(
            artifacts, found=found, expected="one to go back to: see gridcast champion"
        )
    load_reference(artifacts, succession[1])
    entry = promote(
        artifacts, current.dataset, succession[1], read=log, since=since, reason=because,
        kind="rollback", store=config.run.store,
    )  # fmt: skip
    problem = follow_log(artifacts, current.dataset, config.tracking)
    return Judged(current.dataset, succession[1], None, entry, because, problem)


def _decision(
    artifacts: Path,
    challenger: ChosenModel,
    log: PromotionLog,
    current: Current,
    config: PromotionConfig,
    *,
    as_of: pd.Timestamp,
) -> Decision:
    """Of the challenger's validation part, as far as the champion was not told of it either.

    A champion that cannot be loaded cannot hold its place: the baselines alone are to be beaten.
    """
    known, champion = challenger.model.regions, _loaded(artifacts, log)
    readings = published_readings(artifacts, current, known)
    challenger = challenger.given(published_covariates(artifacts, current, known))
    if champion is not None:
        champion = champion.given(challenger.model.covariates)
    since, until = challenger.unseen_since, challenger.test_since
    if not until:
        found = f"{challenger.reference.short}, which does not say where its test part begins"
        raise UsageError(artifacts, found=found, expected="a newer one: train again")
    if champion is not None:
        since = {n: max(e, champion.unseen_since.get(n, e)) for n, e in since.items()}
    first = min(pd.Timestamp(each) for each in since.values())
    losses = dict[str, pd.DataFrame]()
    for name, each in (("challenger", challenger), ("champion", champion)):
        if each is None:
            continue
        begin = first - pd.Timedelta(hours=hours_back(each.model.config))
        cut = {n: own[(own["timestamp"] >= begin) & (own["timestamp"] < as_of)]
               for n, own in readings.items()}  # fmt: skip
        _log.info("What %s would have forecast of its validation part", each.reference.short)
        losses |= held_out_losses(
            name, each.model, cut, since, until, leads=_leads(config, challenger, champion),
            norms=challenger.model.norms,
        )  # fmt: skip
    if "challenger" not in losses:
        found = "no reading of the challenger's validation part"
        raise UsageError(artifacts, found=found, expected="the data that it was trained on")
    return decide(
        challenger.reference, champion.reference if champion else None, losses, config,
        measure=challenger.model.measure,
    )  # fmt: skip


def _leads(config: PromotionConfig, *models: ChosenModel | None) -> int:
    horizons = [each.model.config.forecasting.horizon for each in models if each is not None]
    return min(config.leads, *horizons)


def _loaded(artifacts: Path, log: PromotionLog) -> ChosenModel | None:
    if log.newest is None:
        return None
    try:
        return load_reference(artifacts, log.newest.to)
    except (UsageError, RecordError, IntegrityError) as error:
        reason = str(error).removeprefix("ERROR ").splitlines()[0]
        _log.warning("The champion %s cannot be loaded: %s", log.newest.to.short, reason)
        return None
