"""Who forecasts: the champion, or whoever stands in where it cannot be loaded; resolved once."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gridcast.errors import IntegrityError, RecordError, UsageError
from tasks.forecast.chosen_model import ChosenModel, choose_model, load_reference
from tasks.promote.promotion_files import read_log

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

CHAMPION_BEFORE = "champion_before"
_log = logging.getLogger("gridcast.forecast")


@dataclass(frozen=True, slots=True)
class InCharge:
    """Who forecasts; ``why`` it is not the champion (empty: it is, or there is none).

    Without ``chosen`` no model that was ever in charge can be loaded.
    """

    chosen: ChosenModel | None
    why: str = ""

    @property
    def run_id(self) -> str:
        """Of the run that kept the model; empty without one."""
        return self.chosen.run_id if self.chosen else ""


def model_in_charge(
    artifacts: Path, dataset: str, *, as_of: pd.Timestamp, run_id: str | None = None
) -> InCharge:
    """The champion at ``as_of``, else the one that it took over from, and so on.

    Args:
        artifacts: folder of everything that runs produce.
        dataset: whose log of promotions.
        as_of: an instant.
        run_id: whose model, whoever is in charge; none: the champion's.

    Before the first promotion it is what the newest run recommends.

    Raises:
        UsageError: nobody is in charge and no run has trained a model.
        IntegrityError: nobody is in charge, and a file of that model was changed.
        RecordError: the log, or what that run left, is damaged.
    """
    succession = () if run_id else read_log(artifacts, dataset).succession(as_of)
    if not succession:
        return InCharge(choose_model(artifacts, run_id=run_id))
    refused = list[str]()
    for reference in succession:
        try:
            return InCharge(load_reference(artifacts, reference), "; ".join(refused))
        except (UsageError, RecordError, IntegrityError) as error:
            reason = str(error).removeprefix("ERROR ").splitlines()[0]
            refused.append(f"champion {reference.short} cannot be loaded: {reason}")
            _log.warning("%s", refused[-1])
    return InCharge(None, "; ".join(refused))


def as_told(rows: pd.DataFrame, charge: InCharge) -> pd.DataFrame:
    """The rows with the reason why their forecast is not the champion's."""
    if not charge.why:
        return rows
    if charge.chosen is None:
        return rows.assign(fallback_reason=charge.why)
    is_own = rows["fallback"] == ""
    reason = rows["fallback_reason"].where(is_own, charge.why + "; " + rows["fallback_reason"])
    return rows.assign(
        fallback=rows["fallback"].mask(is_own, CHAMPION_BEFORE),
        fallback_reason=reason.mask(
            is_own, (charge.why + "; " + rows["fallback_reason"]).str.removesuffix("; ")
        ),
    )
