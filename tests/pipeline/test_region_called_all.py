"""A region called ALL and a head by lead through the whole pipeline: on rows of the real files."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.evaluation.metrics import smape
from tasks.forecast.issue_forecast import end_of_data, issue_forecast
from tasks.track.verify import verify
from tests.builders.html_pages import Page
from tests.builders.pipelines import SMALL_MODEL, on_a_server, run_flow, settings

pytestmark = [pytest.mark.real_data, pytest.mark.prefect, pytest.mark.slow]

_ROWS = 3000
# Three hours in one pass, each region with the past of both.
_SETTINGS = (
    *SMALL_MODEL, "windows.horizon=3", "windows.lookback=336", "windows.warmup=312",
    "windows.stride=24", "windows.origin_stride=4", "model.head=by_lead", "model.lead_units=8",
    "model.neighbour_units=2", "model.cells=[gru]", "training.seeds=[0, 1]",
)  # fmt: skip


def write_regions(folder: Path, pjm_folder: Path, names: dict[str, str]) -> None:
    """The newest rows of real regions, under other names."""
    folder.mkdir()
    for ours, theirs in names.items():
        lines = (pjm_folder / f"{theirs}_hourly.csv").read_text(encoding="utf-8").splitlines()
        header, *rows = lines
        newest = [header.replace(theirs, ours), *sorted(rows)[-_ROWS:]]
        (folder / f"{ours}_hourly.csv").write_text("\n".join([*newest, ""]), encoding="utf-8")


def test_its_score_is_its_own_and_the_mean_is_that_of_all_regions(
    pjm_folder: Path, tmp_path: Path
) -> None:
    write_regions(tmp_path / "csv", pjm_folder, {"ALL": "AEP", "DUQ": "DUQ"})
    run = run_flow(
        "run", tmp_path / "csv", tmp_path / "artifacts", *settings(*_SETTINGS),
        environment=on_a_server(),
    )  # fmt: skip
    assert run.result.returncode == 0, run.result.stderr
    long = pd.read_parquet(run.folder / "forecasts.parquet")
    by_lead = pd.read_parquet(run.folder / "scores_by_lead.parquet")
    contestants = run.summary.models | run.summary.means | run.summary.baselines
    assert list(long["contestant"].cat.categories) == list(contestants)
    for name, each in contestants.items():
        own = long[long["contestant"] == name]
        counted = {
            region: smape(rows["y_true"].to_numpy(), rows["y_pred"].to_numpy())
            for region, rows in own.groupby("region", observed=True)
        }
        assert each.smape_by_region == pytest.approx(counted)
        assert sorted(each.smape_by_region) == ["ALL", "DUQ"]
        assert each.smape == pytest.approx((counted["ALL"] + counted["DUQ"]) / 2)
        leads = by_lead[by_lead["contestant"] == name]
        assert leads["lead"].tolist() == [1, 2, 3]
        assert leads["num_labels"].sum() == len(own)
    page = Page((run.folder / "report.html").read_text(encoding="utf-8"))
    assert re.search(r"ALL\s*[\d▲].*DUQ\s*[\d▲].*Mean\s*[\d▲]", page.text, re.DOTALL)
    assert "Errors by lead" in page.text
    assert "1.123 %" not in page.text  # the article's, whose regions and horizon these are not
    verdict = verify(run.folder.name, run.artifacts)
    assert verdict.broken is None
    states = {each.name: each.state for each in verdict.findings}
    assert states["region ALL"] == states["forecasts"] == states["scores"] == "ok"
    _require_forecast(run.artifacts)


def _require_forecast(artifacts: Path) -> None:
    """Seven hours of a network of three: as it was trained, of both regions, told by the networks.

    Of one region alone the same, for its neighbour is read all the same.
    """
    config = Config.load(overrides=("forecasting.horizon=7", "forecasting.calibration_origins=20"))
    as_of = end_of_data(artifacts)
    both = issue_forecast(artifacts, config, as_of=as_of)
    assert both.missing == both.doubts == {}
    assert both.rows.groupby("region")["lead"].agg(list).tolist() == [list(range(1, 8))] * 2
    assert both.rows["load_mw"].notna().all()
    alone = issue_forecast(artifacts, config, as_of=as_of, regions=["DUQ"])
    of_both = both.rows[both.rows["region"] == "DUQ"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone.rows, of_both)
