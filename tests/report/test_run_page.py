"""The report and its drawings: what they show is in the numbers, and nothing is fetched or run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from gridcast.evaluation.contestants import Contestant
from gridcast.evaluation.scores import MAX_SHOWN_REGIONS, Scores
from gridcast.report import article
from gridcast.report.drawing import new_figure
from gridcast.report.facts import ModelFacts, OtherFacts, RegionFacts, RunFacts
from gridcast.report.figures import (
    draw_error_by_lead,
    draw_error_heat_map,
    draw_scores,
    errors_by_hour,
)
from gridcast.report.forecast_panels import draw_panels, whole_paths
from gridcast.report.run_page import (
    _article_rows,
    article_sentence,
    choice,
    lead_rows,
    mean_cells,
    run_report_html,
    score_rows,
    verdict,
)
from tests.builders.evaluations import GRU, LSTM, contestants_named, make_scores
from tests.builders.html_pages import Page

pytestmark = pytest.mark.slow  # 5 s of drawing

MODELS = ("gru-seed0", "lstm-seed0")
NAIVE = ("persistence", "same_hour_yesterday", "same_hour_last_week")
SCRIPT = "<script>alert(1)</script>"


def make_forecasts(
    num_regions: int = 12, num_hours: int = 240, *, horizon: int = 1, seed: int = 0
) -> pd.DataFrame:
    """The long table of both models; further ahead the error grows with the lead."""
    rng = np.random.default_rng(seed)
    hours = pd.date_range("2018-03-01", periods=num_hours, freq="h", tz="UTC")
    origin = np.repeat(np.arange(-1, num_hours - horizon), horizon)
    lead = np.tile(np.arange(1, horizon + 1), num_hours - horizon + 1)
    timestamp, local = hours[origin + lead], hours.tz_convert("America/New_York")
    parts = []
    for name in MODELS:
        for number in range(num_regions):
            y_true = 1000.0 * (number + 1) * (1 + 0.3 * np.sin(np.arange(num_hours)))[origin + lead]
            part = pd.DataFrame({"contestant": name, "region": f"R{number:02d}"}, range(len(lead)))
            part = part.assign(
                issue_time=timestamp - pd.to_timedelta(lead, unit="h"), timestamp=timestamp,
                lead=lead, local_hour=local.hour.to_numpy()[origin + lead], y_true=y_true,
                y_pred=y_true * (1 + 0.01 * lead * rng.normal(0, 1, len(lead))),
            )  # fmt: skip
            parts.append(part)
    kinds = {"region": "category", "contestant": "category"}
    return pd.concat(parts, ignore_index=True).astype(kinds)


def of(forecasts: pd.DataFrame, model: str, region: str | None = None) -> pd.DataFrame:
    own = forecasts[forecasts["contestant"] == model]
    return own if region is None else own[own["region"] == region]


def make_run(
    *,
    jobs: Sequence[str] = MODELS,
    others: Sequence[str] = NAIVE,
    data_kind: Literal["real", "synthetic"] = "real",
    names: Sequence[str] = ("R00", "R01", "R02"),
) -> RunFacts:
    """A run of these jobs, held against ``others``, over regions of these names."""
    regions = [
        RegionFacts(
            region=name,
            num_rows=1000,
            num_hours=1000,
            num_missing_hours=number,
            num_flagged=0,
            status="used",
        )
        for number, name in enumerate(names)
    ]
    models = [
        ModelFacts(
            job=job,
            cell=job.split("-")[0],
            seed=int(job.split("seed")[1]),
            device="cpu",
            num_parameters=15_937,
            training_seconds=42.0,
            pass_seconds=[10.0, 8.0],
            evaluation_seconds=1.5,
            peak_memory_bytes=None,
            mlflow_run_id=None,
            weights_sha256="ab" * 32,
        )
        for job in jobs
    ]
    return RunFacts(
        run_id="run-1",
        profile="base",
        data_kind=data_kind,
        data_folder="data/pjm",
        regions=regions,
        models=models,
        timings={"ingest": 1.5, "train": 60.0},
        contestants=contestants_named([*jobs, *others]),
        horizon=1,
        num_test_labels=108_902,
        follows_article=False,
    )


CLEAR = {"gru-seed0": [0.9, 0.8, 0.9], "lstm-seed0": [0.8, 0.9, 0.7], "persistence": [3, 3, 3.3]}


def run_of(scores: Scores, jobs: Sequence[str] = MODELS) -> RunFacts:
    """A run whose contestants are those of the scores."""
    names = [str(name) for name in scores.overall["contestant"]]
    return replace(make_run(jobs=jobs), contestants=contestants_named(names))


def on_articles_labels(scores: Scores, jobs: Sequence[str] = MODELS) -> RunFacts:
    regions = make_run(names=sorted(article.REGIONS)).regions
    return replace(run_of(scores, jobs), regions=regions)


def make_page(
    run: RunFacts | None = None,
    scores: Scores | None = None,
    figures: dict[str, Figure] | None = None,
) -> tuple[str, Page]:
    scores = scores or make_scores(CLEAR)
    html = run_report_html(
        title="GRU against LSTM",
        summary=run or run_of(scores),
        scores=scores,
        figures=figures or {},
    )
    return html, Page(html)


# ----------------------------------------------------------------------------------------- the page


def test_the_page_is_well_formed_and_names_every_region() -> None:
    _, page = make_page()
    assert page.open == []
    assert all(page.text.count(f"R{number:02d}") == 2 for number in range(3))  # scores and data


def test_nothing_is_loaded_from_elsewhere_and_no_script_is_there() -> None:
    html, page = make_page(figures={"Panels": draw_panels(make_forecasts(), [GRU, LSTM])})
    loads = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "action", "data", "poster"}
    ]
    assert loads
    assert all(value.startswith("data:") for value in loads)
    assert not page.of("script")
    assert not re.search(r"url\(|@import", html)
    assert "default-src 'none'" in html


def test_every_picture_says_what_is_to_be_seen() -> None:
    forecasts = make_forecasts(3)
    figures = {
        "Panels": draw_panels(forecasts, [GRU, LSTM]),
        "Hours": draw_error_heat_map(forecasts, LSTM),
        "Scores": draw_scores(make_scores(CLEAR), contestants_named(list(CLEAR))),
        "Leads": draw_error_by_lead(make_scores(CLEAR), contestants_named(list(CLEAR))),
    }
    _, page = make_page(figures=figures)
    alts = [image["alt"] for image in page.of("img")]
    assert alts == [figure.get_label() for figure in figures.values()]
    assert all(len(alt) > 60 for alt in alts)


def test_a_picture_of_very_many_lines_is_a_png_and_any_other_an_svg() -> None:
    few, many = new_figure(2.0), new_figure(2.0)
    few.subplots().plot([0.0, 1.0])
    many.subplots().plot(np.random.default_rng(0).random((100, 500)))
    _, page = make_page(figures={"Few": few, "Many": many})
    kinds = [image["src"].partition(";")[0] for image in page.of("img")]
    assert kinds == ["data:image/svg+xml", "data:image/png"]


def test_every_table_header_has_a_scope() -> None:
    _, page = make_page()
    assert {header.get("scope") for header in page.of("th")} == {"col", "row"}


def test_a_script_in_a_region_or_a_reason_is_shown_as_text() -> None:
    hostile = RegionFacts(
        region=f"X{SCRIPT}",
        num_rows=None,
        num_hours=None,
        num_missing_hours=None,
        num_flagged=None,
        status="set aside",
        reason=f'found "{SCRIPT}"',
    )
    scores = make_scores(CLEAR, regions=[f"Y{SCRIPT}", "R01", "R02"])
    run = run_of(scores)
    _, page = make_page(replace(run, regions=[*run.regions, hostile]), scores)
    assert not page.of("script")
    assert f"X{SCRIPT}" in page.text
    assert f"Y{SCRIPT}" in page.text
    assert f'set aside: found "{SCRIPT}"' in page.text
    assert "3 of 4 used" in page.text


def test_synthetic_data_carry_a_banner_and_no_comparison_with_the_article() -> None:
    run = on_articles_labels(make_scores(CLEAR))
    _, real = make_page(run)
    _, synthetic = make_page(replace(run, data_kind="synthetic"))
    assert "Synthetic data." not in real.text
    assert "1.123 %" in real.text
    assert "Synthetic data." in synthetic.text
    assert "On synthetic data LSTM" in synthetic.text
    assert "1.123 %" not in synthetic.text


def test_a_model_without_scores_is_listed_with_dashes() -> None:
    _, page = make_page(run_of(make_scores(CLEAR), jobs=["gru-seed0", "lstm-seed7"]))
    assert re.search(r"LSTM\s*7\s*–\s*–\s*–\s*–\s*42\.0", page.text)


# -------------------------------------------------------------------------------------- the verdict


def sentence_of(scores: Scores, jobs: Sequence[str] = MODELS) -> str:
    return verdict(scores, run_of(scores, jobs))


def test_a_clear_winner_is_named_with_its_regions_and_both_errors() -> None:
    assert sentence_of(make_scores(CLEAR)) == (
        "LSTM had the smaller error in 2 of 3 regions: sMAPE GRU 0.867 %, LSTM 0.800 %, against "
        "3.100 % for persistence (one seed each, so chance is not ruled out)."
    )


def test_a_tie_names_no_winner() -> None:
    scores = make_scores({"gru-seed0": [0.8, 0.9], "lstm-seed0": [0.9, 0.8]})
    assert sentence_of(scores) == (
        "GRU and LSTM had the smaller error in 1 of 2 regions each: sMAPE GRU 0.850 %, "
        "LSTM 0.850 % (one seed each, so chance is not ruled out)."
    )


def test_equal_errors_everywhere_are_called_the_same() -> None:
    scores = make_scores({"gru-seed0": [0.8, 0.9], "lstm-seed0": [0.8, 0.9]})
    assert sentence_of(scores).startswith("GRU and LSTM had the same error in 2 of 2")


def test_a_model_worse_than_a_naive_forecast_is_said_to_lose() -> None:
    scores = make_scores(
        {
            "gru-seed0": [4.0, 5.0],
            "lstm-seed0": [1.0, 1.0],
            "persistence": [3.0, 3.0],
            "same_hour_yesterday": [7.0, 7.0],
        }
    )
    assert sentence_of(scores) == (
        "LSTM had the smaller error in 2 of 2 regions: sMAPE GRU 4.500 %, LSTM 1.000 %; GRU loses "
        "to persistence (3.000 %), which needs no training (one seed each, so chance is not ruled "
        "out)."
    )


def test_most_regions_and_the_smaller_mean_may_go_to_different_cells() -> None:
    scores = make_scores({"gru-seed0": [0.8, 0.8, 2.0], "lstm-seed0": [0.9, 0.9, 1.0]})
    sentence = sentence_of(scores)
    assert "GRU had the smaller error in 2 of 3 regions, LSTM the smaller mean: sMAPE" in sentence


def test_seeds_of_a_cell_are_averaged_and_counted() -> None:
    jobs = ["gru-seed0", "gru-seed1", "lstm-seed0", "lstm-seed1"]
    scores = make_scores(dict(zip(jobs, ([1.0], [3.0], [1.5], [1.7]), strict=True)))
    assert sentence_of(scores, jobs) == (
        "LSTM had the smaller error in 1 of 1 region: sMAPE GRU 2.000 %, LSTM 1.600 % "
        "(means of 2 seeds each)."
    )


def test_a_cell_alone_is_compared_with_no_other() -> None:
    scores = make_scores({"gru-seed0": [0.8, 0.9], "persistence": [3.0, 3.0]})
    assert sentence_of(scores) == (
        "One cell was scored: sMAPE GRU 0.850 %, against 3.000 % for persistence "
        "(one seed, so chance is not ruled out)."
    )


def test_a_cell_without_a_figure_is_not_compared() -> None:
    scores = make_scores({"gru-seed0": [0.8, 0.9], "lstm-seed0": [np.nan, np.nan]})
    assert sentence_of(scores).startswith("One cell was scored: sMAPE GRU 0.850 % (one")


def test_no_model_is_said_to_be_no_model() -> None:
    assert sentence_of(make_scores({"persistence": [3.0]})) == "No model was scored."


WITH_MEAN = {**CLEAR, "mean-seed0": [0.7, 0.7, 0.7], "linear": [1.0, 1.0, 1.3]}


def test_means_and_fitted_baselines_stand_beside_the_cells() -> None:
    assert sentence_of(make_scores(WITH_MEAN)) == (
        "LSTM had the smaller error in 2 of 3 regions: sMAPE GRU 0.867 %, LSTM 0.800 %, "
        "their mean 0.700 %, linear 1.100 %, against 3.100 % for persistence (one seed each, so "
        "chance is not ruled out)."
    )


def test_means_of_several_seeds_are_told_as_one_figure_and_that_of_all_as_another() -> None:
    cells = ["gru-seed0", "gru-seed1", "lstm-seed0", "lstm-seed1"]
    errors = {**{name: [1.0] for name in cells}, "mean-seed0": [0.8], "mean-seed1": [0.6],
              "mean-all": [0.5]}  # fmt: skip
    sentence = sentence_of(make_scores(errors), cells)
    assert "LSTM 1.000 %, their mean 0.700 %, all together 0.500 % (means of 2 seeds" in sentence


def test_the_validation_part_alone_says_what_to_run() -> None:
    validation = {"gru-seed0": 0.5, "lstm-seed0": 0.7, "mean-seed0": 0.6, "persistence": 3.0}
    (mean,) = contestants_named(["mean-seed0"])
    run = replace(
        run_of(make_scores(WITH_MEAN)),
        validation_error=validation,
        preferred="gru-seed0",
        others=[OtherFacts(contestant=mean, training_seconds=84.0, num_parameters=31_874)],
    )
    sentence = "It prefers GRU seed 0: sMAPE 0.500 %, before mean of seed 0 with 0.600 %."
    assert choice(run) == sentence  # though GRU has the largest error of the three in the test part
    html, page = make_page(run, make_scores(WITH_MEAN))
    assert sentence in page.text
    assert page.open == []
    assert re.search(r"Mean, validation\s*0\.500\s*0\.700\s*3\.000\s*0\.600\s*–", page.text)
    assert re.search(
        r"mean of seed 0\s*0\.700\s*12\.5\s*20\.2\s*0\.500\s*84\.0\s*31,874", page.text
    )
    assert '<td class="best">0.500</td>' in html


def test_without_a_validation_part_nothing_is_preferred() -> None:
    _, page = make_page()
    assert "There is none, so nothing is preferred." in page.text
    assert "Mean, validation" not in page.text


def test_the_article_is_compared_by_its_true_figures_and_on_how_many_labels() -> None:
    assert {cell: round(error, 3) for cell, error in article.SMAPE.items()} == {
        "gru": 1.123,
        "lstm": 1.081,
    }
    scores = make_scores(CLEAR)
    run = on_articles_labels(scores)
    sentence = article_sentence(scores, run)
    assert "GRU 1.123 %, LSTM 1.081 % (it prints GRU 0.2808 %, LSTM 0.2701 %" in sentence
    assert "GRU 22.8 % lower and LSTM 26.0 % lower" in sentence
    assert "on 108,902 test labels, as many as the article" in sentence


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"num_test_labels": 500}, id="other_labels"),
        pytest.param({"horizon": 24}, id="further_ahead"),
        pytest.param({"regions": make_run().regions}, id="other_regions"),
        pytest.param({"data_kind": "synthetic"}, id="made_up_data"),
    ],
)
def test_what_is_not_on_the_articles_labels_is_not_set_beside_it(change: dict[str, Any]) -> None:
    scores = make_scores(CLEAR)
    run = replace(on_articles_labels(scores), follows_article=True, **change)
    assert not run.has_articles_labels
    assert article_sentence(scores, run) == ""
    assert _article_rows(scores, run) == []
    _, page = make_page(run, scores)
    assert "1.123 %" not in page.text


def test_a_region_of_the_article_that_was_set_aside_is_missed() -> None:
    run = on_articles_labels(make_scores(CLEAR))
    first, *others = run.regions
    assert run.has_articles_labels
    quarantined = replace(first, status="set aside")
    assert not replace(run, regions=[quarantined, *others]).has_articles_labels


def test_a_run_of_the_articles_protocol_stands_beside_its_printed_output() -> None:
    errors = {"gru-seed0": [1.0], "gru-seed1": [1.2], "lstm-seed0": [1.08]}
    run = on_articles_labels(make_scores(errors), jobs=tuple(errors))
    run = replace(run, follows_article=True)
    rows = {row.name: row for row in _article_rows(make_scores(errors), run)}
    theirs, ours = rows["GRU, the article"], rows["GRU, this run"]
    assert (theirs.train_seconds, theirs.printed_smape) == (390.527, 0.28081167222194775)
    assert (ours.num_seeds, ours.first_pass_seconds, ours.train_seconds) == (2, 10.0, 42.0)
    assert ours.smape == pytest.approx(1.1)
    assert ours.printed_smape == pytest.approx(1.1 / 4)
    assert ours.deviation == pytest.approx(0.2 / 2**0.5)
    assert ours.train_ratio == pytest.approx(390.527 / 42.0)
    assert rows["LSTM, this run"].deviation is None
    html = run_report_html(title="t", summary=run, scores=make_scores(errors), figures={})
    assert 'id="article-vs-ours"' in html


def test_another_protocol_is_not_set_beside_the_articles_printed_output() -> None:
    scores = make_scores(CLEAR)
    run = on_articles_labels(scores)
    assert _article_rows(scores, run) == []
    assert _article_rows(scores, replace(run, follows_article=True)) != []


def test_the_score_table_marks_the_best_model_and_those_that_lose() -> None:
    scores = make_scores({"gru-seed0": [4.0], "lstm-seed0": [1.0], "persistence": [3.0]})
    marked = [(4.0, False, True), (1.0, True, False), (3.0, False, False)]
    assert score_rows(scores, run_of(scores)) == [("R00", marked)]
    assert mean_cells(scores, run_of(scores)) == marked


def test_a_region_called_all_stands_among_the_regions_and_the_mean_below_them() -> None:
    errors = {"gru-seed0": [0.0, 66.6], "lstm-seed0": [1.0, 3.0]}
    scores = make_scores(errors, regions=["ALL", "DOM"])
    run = run_of(scores)
    assert [region for region, _ in score_rows(scores, run)] == ["ALL", "DOM"]
    assert [cell.error for cell in mean_cells(scores, run)] == pytest.approx([33.3, 2.0])
    assert verdict(scores, run).startswith(
        "GRU and LSTM had the smaller error in 1 of 2 regions each: sMAPE GRU 33.300 %, LSTM 2.000"
    )
    _, page = make_page(run, scores)
    assert re.search(r"ALL\s*0\.000\s*1\.000\s*DOM\s*66\.600\s*3\.000\s*Mean\s*33\.300", page.text)
    axes = draw_scores(scores, contestants_named(list(errors))).axes[0]
    ticks = [label.get_text() for label in axes.get_yticklabels()]
    assert ticks == ["DOM", "ALL", "mean of 2"]
    assert len(dots_of(axes)["GRU seed 0"]) == 3


BY_LEAD = {"gru-seed0": [1.0, 2.0, 5.0], "lstm-seed0": [1.5, 1.9, 4.0], "persistence": [3, 6, 4.5]}


def test_further_ahead_the_errors_by_lead_are_drawn_and_tabled() -> None:
    scores = make_scores(CLEAR, by_lead=BY_LEAD)
    run = replace(run_of(scores), horizon=3)
    rows = lead_rows(scores, run)
    assert [lead for lead, _ in rows] == [1, 2, 3]
    assert rows[2][1] == [(5.0, False, True), (4.0, True, False), (4.5, False, False)]
    figure = draw_error_by_lead(scores, run.contestants)
    lines = {str(line.get_label()): line for line in figure.axes[0].get_lines()}
    assert set(lines) == {"GRU seed 0", "LSTM seed 0", "persistence"}
    for name, errors in zip(
        ("GRU seed 0", "LSTM seed 0", "persistence"), BY_LEAD.values(), strict=True
    ):
        assert np.asarray(lines[name].get_xdata()).tolist() == [1, 2, 3]
        assert np.asarray(lines[name].get_ydata()).tolist() == errors
    assert "At leads 1 and 3: GRU seed 0 1.000 % and 5.000 %" in str(figure.get_label())
    _, page = make_page(run, scores)
    assert page.open == []
    assert re.search(
        r"Errors by lead.*1\s*1\.000\s*1\.500\s*3\.000\s*2\s*2\.000", page.text, re.DOTALL
    )
    assert "1 to 3 hours" in page.text


def test_of_a_weeks_leads_the_table_has_the_first_hours_and_each_half_day() -> None:
    scores = make_scores(CLEAR, by_lead={name: [1.0] * 167 for name in CLEAR})
    leads = [lead for lead, _ in lead_rows(scores, run_of(scores))]
    assert leads == [1, 2, 3, 6, 12, *range(24, 157, 12), 167]


def test_one_hour_ahead_there_is_no_table_by_lead() -> None:
    scores = make_scores(CLEAR)
    assert lead_rows(scores, run_of(scores)) == []
    _, page = make_page()
    assert "by lead" not in page.text


# ------------------------------------------------------------------------------------- the drawings


def panel_points(axes: Axes) -> tuple[list[float], list[float]]:
    actual, predicted = (np.asarray(line.get_ydata()).tolist() for line in axes.get_lines())
    return actual, predicted


def test_the_panels_are_those_of_the_article() -> None:
    forecasts = make_forecasts()
    axes = draw_panels(forecasts, [GRU, LSTM]).axes
    wanted = [
        ("R00", "gru-seed0", slice(-100, None)),
        ("R08", "gru-seed0", slice(-50, None)),
        ("R04", "gru-seed0", slice(None, 50)),
        ("R06", "lstm-seed0", slice(None, 100)),
    ]
    assert len(axes) == 4
    for panel, (region, model, hours) in zip(axes, wanted, strict=True):
        rows = of(forecasts, model, region).iloc[hours]
        assert panel.get_title(loc="left").startswith(region)
        assert panel_points(panel) == (rows["y_true"].to_list(), rows["y_pred"].to_list())


@pytest.mark.parametrize("horizon", [24, 30])
def test_further_ahead_the_panels_show_whole_forecasts_that_follow_one_another(
    horizon: int,
) -> None:
    forecasts = make_forecasts(12, num_hours=200, horizon=horizon)
    for axes, num in zip(draw_panels(forecasts, [GRU, LSTM]).axes, (100, 50, 50, 100), strict=True):
        actual, *paths = axes.get_lines()
        region = axes.get_title(loc="left").split()[0]
        model = "lstm-seed0" if "LSTM" in axes.get_title(loc="left") else "gru-seed0"
        own = of(forecasts, model, region)
        assert len(paths) == num // horizon
        shown = [own[own["y_pred"].isin(np.asarray(path.get_ydata()))] for path in paths]
        for path, rows in zip(paths, shown, strict=True):
            assert np.asarray(path.get_ydata()).tolist() == rows["y_pred"].tolist()
            assert len(set(rows["issue_time"])) == 1  # said at one time
            assert rows["lead"].tolist() == list(range(1, horizon + 1))
        for before, after in pairwise(shown):
            assert after["timestamp"].iloc[0] - before["timestamp"].iloc[-1] == pd.Timedelta("1h")
        hours = pd.concat(shown)
        assert np.asarray(actual.get_ydata()).tolist() == hours["y_true"].tolist()
        is_first = "first" in axes.get_xlabel()
        end = hours["timestamp"].iloc[0 if is_first else -1]
        assert end == (own["timestamp"].min() if is_first else own["timestamp"].max())
        if len(paths) > 1:
            assert f"{len(paths)} forecasts of {horizon} h" in axes.get_xlabel()


def test_of_a_series_with_a_gap_no_path_reaches_across_it() -> None:
    rows = of(make_forecasts(1, num_hours=200, horizon=10), "gru-seed0")
    gap = rows["timestamp"].iloc[0] + pd.to_timedelta([55, 70], unit="h")
    is_near = (rows["timestamp"] >= gap[0]) & (rows["timestamp"] <= gap[1])
    kept = rows[~rows["issue_time"].isin(rows.loc[is_near, "issue_time"])]
    for first in (True, False):
        paths = whole_paths(kept.sample(frac=1, random_state=0), 100, first=first)
        assert len(paths) == 10
        assert all(path["lead"].tolist() == list(range(1, 11)) for path in paths)
        ends = [(path["issue_time"].iloc[0], path["timestamp"].iloc[-1]) for path in paths]
        assert all(before[1] <= after[0] for before, after in pairwise(ends))
    ((whole),) = whole_paths(kept, 5, first=True)  # less than a path
    assert len(whole) == 10


@pytest.mark.parametrize("num_regions", [1, 5])
def test_the_panels_cope_with_few_regions_hours_and_models(num_regions: int) -> None:
    figure = draw_panels(make_forecasts(num_regions, num_hours=30), [GRU])
    assert [len(panel_points(panel)[0]) for panel in figure.axes] == [30] * 4


def test_the_heat_map_equals_a_plain_loop_over_the_labels() -> None:
    forecasts = make_forecasts(3, num_hours=100, horizon=2)
    rows = of(forecasts, "lstm-seed0")
    forecasts.loc[rows.index[7], "y_pred"] = np.nan
    forecasts.loc[rows.index[8], ["y_true", "y_pred"]] = 0.0
    terms: dict[tuple[str, int], list[float]] = {}
    for row in of(forecasts, "lstm-seed0").to_dict(orient="records"):
        truth, forecast = row["y_true"], row["y_pred"]
        if not np.isnan(forecast):
            half_sum = (abs(truth) + abs(forecast)) / 2
            error = abs(forecast - truth) / half_sum if half_sum else 0.0
            terms.setdefault((row["region"], row["local_hour"]), []).append(100 * error)
    by_region = {
        region: np.mean([e for (r, _), errors in terms.items() if r == region for e in errors])
        for region in ("R00", "R01", "R02")
    }
    order = sorted(by_region, key=lambda region: by_region[region], reverse=True)
    expected = [[np.mean(terms[region, hour]) for hour in range(24)] for region in order]

    axes = draw_error_heat_map(forecasts, LSTM).axes[0]
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), expected)
    assert [label.get_text().split()[0] for label in axes.get_yticklabels()] == order
    assert axes.get_title(loc="left").endswith("error by hour of day, of leads 1 to 2")


def test_an_hour_without_labels_is_left_blank() -> None:
    forecasts = make_forecasts(2).query("local_hour != 3")
    assert errors_by_hour(of(forecasts, "gru-seed0"))[3].isna().all()
    array = draw_error_heat_map(forecasts, GRU).axes[0].images[0].get_array()
    assert np.ma.getmaskarray(np.ma.asarray(array))[:, 3].all()


def dots_of(axes: Axes) -> dict[str, np.ndarray]:
    """Legend to the places of its dots."""
    dots = [found for found in axes.collections if isinstance(found, PathCollection)]
    return {str(found.get_label()): np.asarray(found.get_offsets()) for found in dots}


def test_the_dot_plot_shows_every_contestant_in_every_region_and_the_mean() -> None:
    shown = dots_of(draw_scores(make_scores(CLEAR), contestants_named(list(CLEAR))).axes[0])
    assert set(shown) == {"GRU seed 0", "LSTM seed 0", "persistence"}
    np.testing.assert_allclose(sorted(shown["LSTM seed 0"][:, 0]), [0.7, 0.8, 0.8, 0.9])
    np.testing.assert_allclose(shown["LSTM seed 0"][-1], [0.8, -0.3])


def test_means_and_fitted_baselines_have_looks_of_their_own_and_seeds_share_one() -> None:
    errors = {name: [1.0] for name in ("gru-seed0", "gru-seed1", "lstm-seed0", "lstm-seed1")}
    errors |= {"mean-seed0": [0.8], "mean-seed1": [0.9], "mean-all": [0.7], "linear": [1.2]}
    dots = [
        each
        for each in draw_scores(make_scores(errors), contestants_named(list(errors)))
        .axes[0]
        .collections
        if isinstance(each, PathCollection)
    ]
    names = ["GRU, 2 seeds", "LSTM, 2 seeds", "mean of the cells, 2 seeds", "mean of all", "linear"]
    assert [str(each.get_label()) for each in dots] == names
    looks = {
        (
            np.asarray(each.get_facecolor()).tobytes(),
            np.asarray(each.get_paths()[0].vertices).tobytes(),
        )
        for each in dots
    }
    assert len(looks) == len(names)


def test_the_article_is_marked_only_where_it_is_asked_for() -> None:
    scores, shown = make_scores(CLEAR), contestants_named(list(CLEAR))
    assert not draw_scores(scores, shown).axes[0].get_lines()
    lines = draw_scores(scores, shown, show_article=True).axes[0].get_lines()
    assert [float(np.ravel(line.get_xdata())[0]) for line in lines] == list(article.SMAPE.values())


def test_threads_draw_the_same_pictures_as_one_after_the_other() -> None:
    forecasts = make_forecasts(2, num_hours=120)

    def png(model: Contestant) -> bytes:
        buffer = BytesIO()
        draw_error_heat_map(forecasts, model).savefig(buffer, format="png", dpi=50)
        return buffer.getvalue()

    with ThreadPoolExecutor(max_workers=4) as pool:
        assert list(pool.map(png, [GRU, LSTM] * 2)) == [png(model) for model in [GRU, LSTM] * 2]


def test_of_very_many_regions_the_page_names_both_ends_and_tells_the_distribution() -> None:
    errors = np.linspace(0.5, 3.0, 500).tolist()
    scores = make_scores(
        {"gru-seed0": errors, "lstm-seed0": errors[::-1], "persistence": [4.0] * 500}
    )
    _, page = make_page(scores=scores)
    assert "R00" in page.text
    assert "R499" in page.text
    assert "R250" not in page.text
    assert "Of 500 regions" in page.text
    assert "worst quarter" in page.text
    assert len(score_rows(scores, run_of(scores))) == MAX_SHOWN_REGIONS
    assert mean_cells(scores, run_of(scores))[0].error == pytest.approx(1.75)


def test_of_very_many_regions_the_pictures_stay_readable() -> None:
    num, hours = 200, pd.date_range("2020-01-01", periods=24, freq="h", tz="UTC")
    regions = np.repeat([f"R{number:03d}" for number in range(num)], 24)
    y_true = np.full(24 * num, 100.0)
    forecasts = pd.DataFrame(
        {
            "contestant": "gru-seed0",
            "lead": 1,
            "region": regions,
            "timestamp": np.tile(hours, num),
            "local_hour": np.tile(np.arange(24), num),
            "y_true": y_true,
            "y_pred": y_true + np.repeat(np.arange(num) / 10, 24),
        }
    )
    heat_map = draw_error_heat_map(forecasts, GRU)
    rows = [label.get_text() for label in heat_map.axes[0].get_yticklabels()]
    assert len(rows) == MAX_SHOWN_REGIONS + 1
    assert rows[0].startswith("R199")
    assert rows[MAX_SHOWN_REGIONS // 2].startswith("mean of 200")
    distribution = draw_scores(make_scores({"gru-seed0": list(range(1, 201))}), [GRU])
    (line,) = distribution.axes[0].get_lines()
    assert np.asarray(line.get_ydata())[-1] == 1.0
    assert distribution.get_size_inches()[1] < 6
