"""What a run prints in the end."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from gridcast.evaluation.records import BaselineRecord, MeanRecord, ModelRecord
from gridcast.summary import Summary
from tasks.show.show_run import _columns, _scores_table


def make_summary(num_seeds: int) -> Summary:
    """Two cells, their means, and a naive forecast; each seed's errors are 1 larger."""

    def errors(first: float) -> dict[str, Any]:
        return {
            "smape": first, "smape_by_region": {"AEP": first, "DOM": first + 10},
            "validation_smape": first + 0.5,
        }  # fmt: skip

    seeds = range(num_seeds)
    models = {
        f"{cell}-seed{seed}": ModelRecord.model_construct(
            cell=cell, seed=seed, **errors(first + seed)
        )
        for seed in seeds
        for cell, first in (("gru", 1.0), ("lstm", 2.0))
    }
    means = {
        f"mean-seed{seed}": MeanRecord.model_construct(
            members=(f"gru-seed{seed}", f"lstm-seed{seed}"), **errors(0.5 + seed)
        )
        for seed in seeds
    }
    naive = BaselineRecord.model_construct(kind="naive", **errors(9.0))
    fields: dict[str, Any] = {
        "models": models, "means": means, "baselines": {"persistence": naive},
        "regions": {"AEP": None, "DOM": None}, "preferred": "gru-seed0",
    }  # fmt: skip
    return Summary.model_construct(**fields)


def printed(summary: Summary) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(_scores_table(summary))
    return capture.get()


def test_few_contestants_have_a_column_each() -> None:
    summary = make_summary(2)
    assert list(_columns(summary)) == [*summary.models, *summary.means, "persistence"]
    assert "1.500←" in printed(summary)
    assert "mean error" not in printed(summary)


def test_of_many_seeds_the_mean_error_of_each_cell_is_shown_and_no_figure_is_cut_off() -> None:
    summary = make_summary(5)
    columns = _columns(summary)
    assert list(columns) == ["gru (5 seeds)", "lstm (5 seeds)", "mean (5 seeds)", "persistence"]
    assert columns["gru (5 seeds)"].error == pytest.approx(3.0)
    assert columns["lstm (5 seeds)"].error_by_region == pytest.approx({"AEP": 4.0, "DOM": 14.0})
    assert columns["mean (5 seeds)"].validation_error == pytest.approx(3.0)
    text = printed(summary)
    assert "mean error" in text
    assert "…" not in text
    assert "13.000" in text
