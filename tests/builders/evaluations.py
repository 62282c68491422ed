"""Contestants, their forecasts and their scores, as small as a test needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from gridcast.evaluation.contestants import NAIVE, Contestant, means_of, network
from gridcast.evaluation.scores import Scores
from gridcast.features.splits import PARTS, TEST
from gridcast.features.table import build_features
from tests.builders.values import make_config, make_load, make_load_frame

GRU, LSTM, GRU_1, LSTM_1 = (
    network(f"{cell}-seed{seed}", cell=cell, seed=seed)
    for seed in (0, 1)
    for cell in ("gru", "lstm")
)
LINEAR = Contestant(name="linear", kind="fitted")


def contestants_named(names: Sequence[str]) -> list[Contestant]:
    """Those that a run with these two cells and seeds knows by such names."""
    models = [GRU, LSTM, GRU_1, LSTM_1]
    lonely = network("lstm-seed7", cell="lstm", seed=7)
    known = {each.name: each for each in [*models, lonely, LINEAR, *means_of(models), *NAIVE]}
    return [known[name] for name in names]


def make_table(
    regions: Sequence[str] = ("AEP", "DOM", "NI"), num_hours: int = 600, **missing: range
) -> pd.DataFrame:
    """Regions of unlike length; ``AEP=range(...)`` are hours without a reading."""
    readings = {}
    for number, region in enumerate(regions):
        load = make_load(num_hours - 100 * number, mean_mw=10_000 / 10**number, seed=number)
        readings[region] = make_load_frame(load, missing=missing.get(region, ()))
    return build_features(readings, make_config()).frame


def make_job_forecasts(
    table: pd.DataFrame, *, factor: float = 1.0, part: int = TEST, horizon: int = 1
) -> pd.DataFrame:
    """A job's forecasts of every label of a part: the truth times ``factor``.

    Further ahead those of the origins whose next ``horizon`` steps are all labels of the part.
    """
    is_label = (table["part"] == part).to_numpy()
    region = table["region"].cat.codes.to_numpy()
    ends = np.arange(len(table) - horizon)
    leads = np.arange(1, horizon + 1)
    whole = is_label[ends[:, None] + leads].all(axis=1) & (region[ends] == region[ends + horizon])
    origin = np.repeat(ends[whole], horizon)
    lead = np.tile(leads, int(whole.sum()))
    y_pred = table["load_mw"].to_numpy()[origin + lead] * factor
    return pd.DataFrame(
        {"step": origin + lead, "lead": lead, "part": PARTS[part], "y_pred": y_pred}
    )


def make_scores(
    smape_by_contestant: Mapping[str, Sequence[float]],
    *,
    regions: Sequence[str] | None = None,
    by_lead: Mapping[str, Sequence[float]] | None = None,
) -> Scores:
    """Scores with these sMAPEs in the regions (by default R00, R01 and so on), and their means."""
    names = list(smape_by_contestant)
    kinds = {each.name: each.kind for each in contestants_named(names)}
    other = {
        "nmae": 7.25, "mae": 12.5, "rmse": 20.25, "mase": 0.5, "under": 48.0, "num_labels": 100,
    }  # fmt: skip
    rows = [
        {"contestant": name, "region": region, "smape": float(error), **other}
        for name, errors in smape_by_contestant.items()
        for region, error in zip(
            regions or [f"R{number:02d}" for number in range(len(errors))], errors, strict=True
        )
    ]
    means = {name: float(np.mean(errors)) for name, errors in smape_by_contestant.items()}
    overall = [
        {"contestant": name, "kind": kinds[name], "smape": mean, **other}
        for name, mean in means.items()
    ]
    leads = by_lead or {name: [mean] for name, mean in means.items()}
    of_leads = [
        {"contestant": name, "lead": lead, "smape": float(error), **other}
        for name, errors in leads.items()
        for lead, error in enumerate(errors, start=1)
    ]
    of_hours = [
        {"contestant": name, "local_hour": hour, "smape": mean, **other}
        for name, mean in means.items()
        for hour in range(24)
    ]
    of_months, of_holidays = (
        [
            {"contestant": name, key: code, "smape": mean, **other}
            for name, mean in means.items()
            for code in codes
        ]
        for key, codes in (("month", (7, 8)), ("holiday", (0, 1)))
    )
    tables = (overall, rows, of_leads, of_hours, of_months, of_holidays)
    return Scores(*map(pd.DataFrame, tables))
