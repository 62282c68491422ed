"""A substation with solar and a building, by the real command: judged by what says something."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from gridcast.evaluation.measure import LABELS
from gridcast.serving.backtest_files import read_backtest
from gridcast.serving.served_model import load_model
from tests.builders.pipelines import (
    SMALL_MODEL,
    PipelineRun,
    gridcast,
    read_json,
    run_flow,
    session_folder,
    settings,
)

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

NUM = 24 * 130
_RULE = "rules.regions.SOLAR.required.min_mw=-50"


def loads() -> dict[str, np.ndarray]:
    """20 MW with clouds and sun over it; an office of 50 kW, nearly nothing at night."""
    rng, hours = np.random.default_rng(0), np.arange(NUM)
    daily = 4 * np.sin((hours % 24 - 9) / 24 * 2 * np.pi)
    sun = 30 * np.clip(np.sin((hours % 24 - 6) / 12 * np.pi), 0, None)
    clouds = rng.uniform(0.3, 1.0, NUM // 24).repeat(24)
    is_open = (hours % 24 >= 8) & (hours % 24 < 18) & (hours // 24 % 7 < 5)
    office = np.where(is_open, 0.05, 0.001) * rng.uniform(0.9, 1.1, NUM)
    return {"SOLAR": 20 + daily - sun * clouds + rng.normal(0, 0.3, NUM), "OFFICE": office}


@cache
def net_run() -> PipelineRun:
    """Once for this module."""
    folder = session_folder() / "net"
    folder.mkdir()
    labels = pd.date_range("2018-01-01 01:00", periods=NUM, freq="h")
    for region, load in loads().items():
        table = pd.DataFrame({"Datetime": labels, f"{region}_MW": load.round(5)})
        # New York's clocks go forward in March: an hour without a label
        table = table[table["Datetime"] != "2018-03-11 03:00"]
        table.to_csv(folder / f"{region}_hourly.csv", index=False)
    words = settings(*SMALL_MODEL, _RULE, "evaluation.backtest_days=5")
    return run_flow("run", folder, session_folder() / "net-artifacts", *words)


def test_the_run_judges_by_the_mean_load_and_says_why() -> None:
    run = net_run()
    assert run.result.returncode == 0, run.result.stderr
    summary = run.summary
    assert summary.measure == "nmae"
    assert "pass near zero" in summary.why_measure
    shown = " ".join(run.result.stdout.split())
    assert f"{LABELS['nmae']} on the test part" in shown
    assert "sMAPE" not in shown.replace("(sMAPE) says nothing", "")
    head = next(line for line in run.result.stdout.splitlines() if "MAE MW" in line)
    assert head.index("MAE MW") < head.index("MASE") < head.index("nMAE %")


def test_preferred_is_who_has_the_smallest_normalised_error_of_the_validation_part() -> None:
    summary = net_run().summary
    contestants = {**summary.forecasters, **summary.baselines}
    errors = {name: each.validation_nmae or np.inf for name, each in contestants.items()}
    assert summary.preferred == min(errors, key=lambda name: errors[name])
    for each in contestants.values():
        mean = np.mean(list(each.nmae_by_region.values()))
        assert each.nmae == pytest.approx(mean)


def test_pages_and_files_tell_the_same_error() -> None:
    run = net_run()
    report = run.place(run.summary.report).read_text(encoding="utf-8")
    assert "Loads near zero." in report
    assert "nMAE in percent" in report
    assert '<th scope="col">sMAPE' not in report
    folder = run.place(next(iter(run.summary.model_folders.values())))
    found = read_backtest(folder)
    assert found is not None
    assert found[0].measure == "nmae"
    norms = load_model(folder).trained.norms
    assert set(norms) == {"OFFICE", "SOLAR"}
    assert norms["SOLAR"] == pytest.approx(np.abs(loads()["SOLAR"]).mean(), rel=0.15)


def test_the_nights_of_an_office_and_the_noons_of_solar_are_not_doubtful() -> None:
    regions = net_run().summary.regions
    assert {name: each.flagged for name, each in regions.items()} == {"OFFICE": 0, "SOLAR": 0}


def test_a_forecast_shows_small_loads_with_their_figures() -> None:
    run = net_run()
    result = gridcast("forecast", "--artifacts", run.artifacts, "--run", run.folder.name)
    assert result.returncode == 0, result.stderr
    line = next(line for line in result.stdout.splitlines() if "OFFICE" in line)
    peak = float(line.split()[5].replace(",", ""))
    assert 0.02 < peak < 0.1
    assert read_json(run.folder / "summary.json")["measure"] == "nmae"
