"""What the article measured, and this run beside it: the report's section for the profile ``seed``.

Source: Gabriel Loye, "Gated Recurrent Unit (GRU) With PyTorch", its printed output. It trained each
network once. Its times are those of ``time.clock``, on a GPU that it does not name.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from gridcast.report.facts import ModelFacts

PRINTED_SMAPE: Final = {"gru": 0.28081167222194775, "lstm": 0.27014616762377464}
TRAIN_SECONDS: Final = {"gru": 390.527, "lstm": 462.734}
FIRST_PASS_SECONDS: Final = {"gru": 78.0223}  # it shows no pass of the LSTM
EVALUATION_SECONDS: Final = {"gru": 1.9825, "lstm": 2.6029}
FACTOR: Final = 4  # its code computes e / (2 s) where its formula has 2 e / s
NUM_TEST_LABELS: Final = 108_902
REGIONS: Final = frozenset(
    {"AEP", "COMED", "DAYTON", "DEOK", "DOM", "DUQ", "EKPC", "FE", "NI", "PJME", "PJMW", "PJM_Load"}
)
HORIZON: Final = 1  # steps
SMAPE: Final = {cell: FACTOR * printed for cell, printed in PRINTED_SMAPE.items()}


class ArticleRow(NamedTuple):
    """One network: times in seconds, errors in percent. ``None``: not printed, or one seed."""

    name: str
    num_seeds: int
    first_pass_seconds: float | None
    train_seconds: float
    evaluation_seconds: float
    printed_smape: float  # as the article's code would print it
    smape: float
    deviation: float | None
    train_ratio: float | None  # the article's time over this one


def article_rows(models: Sequence[ModelFacts], smape_of: dict[str, float]) -> list[ArticleRow]:
    """The article's two networks, each above this run's of the same cell, the mean of its seeds.

    ``smape_of`` maps a job to its mean sMAPE (percent) over the regions.
    """
    rows = []
    for cell, printed in PRINTED_SMAPE.items():
        name, seconds = cell.upper(), TRAIN_SECONDS[cell]
        first, evaluation = FIRST_PASS_SECONDS.get(cell), EVALUATION_SECONDS[cell]
        rows.append(
            ArticleRow(f"{name}, the article", 1, first, seconds, evaluation,
                       printed, FACTOR * printed, None, None)
        )  # fmt: skip
        ours = [each for each in models if each.cell == cell and each.job in smape_of]
        if ours:
            rows.append(_our_row(f"{name}, this run", ours, smape_of, seconds))
    return rows


def _our_row(
    name: str, ours: list[ModelFacts], smape_of: dict[str, float], seconds: float
) -> ArticleRow:
    errors = [smape_of[each.job] for each in ours]
    train_seconds = mean(each.training_seconds for each in ours)
    return ArticleRow(
        name,
        len(ours),
        mean(each.pass_seconds[0] for each in ours),
        train_seconds,
        mean(each.evaluation_seconds for each in ours),
        mean(errors) / FACTOR,
        mean(errors),
        stdev(errors) if len(errors) > 1 else None,
        seconds / train_seconds,
    )
