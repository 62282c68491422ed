"""The report and its drawings: what they show is in the numbers, and nothing is fetched or run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from gridcast.evaluation.contestants import MOST_TOLD, OVERALL, kind_of
from gridcast.report import article
from gridcast.report.facts import ModelFacts, OtherFacts, RegionFacts, RunFacts
from gridcast.report.figures import draw_error_heat_map, draw_panels, draw_scores, errors_by_hour
from gridcast.report.run_page import (
    _article_rows,
    article_sentence,
    choice,
    run_report_html,
    score_rows,
    verdict,
)
from tests.builders.html_pages import Page

pytestmark = pytest.mark.slow  # 5 s of drawing

MODELS = ("gru-seed0", "lstm-seed0")
NAIVE = ("persistence", "same_hour_yesterday", "same_hour_last_week")
SCRIPT = "<script>alert(1)</script>"


def make_forecasts(num_regions: int = 12, num_hours: int = 240, *, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    timestamp = pd.date_range("2018-03-01", periods=num_hours, freq="h", tz="UTC")
    parts = []
    for number in range(num_regions):
        y_true = 1000.0 * (number + 1) * rng.uniform(0.7, 1.3, num_hours)
        part = pd.DataFrame({"region": f"R{number:02d}", "timestamp": timestamp, "y_true": y_true})
        part.insert(2, "local_hour", timestamp.tz_convert("America/New_York").hour)
        for name in (*MODELS, *NAIVE):
            part[name] = y_true * (1 + rng.normal(0, 0.05 if name in NAIVE else 0.01, num_hours))
        parts.append(part)
    return pd.concat(parts, ignore_index=True).astype({"region": "category"})


def make_scores(smape_by_contestant: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Scores with these sMAPEs in the regions R00, R01 and so on, and their mean under ALL."""
    rows = [
        {"contestant": name, "region": region, "smape": error}
        for name, errors in smape_by_contestant.items()
        for region, error in [
            *((f"R{number:02d}", error) for number, error in enumerate(errors)),
            (OVERALL, float(np.mean(errors))),
        ]
    ]
    scores = pd.DataFrame(rows).assign(mae=12.5, rmse=20.25, mase=0.5, num_labels=100)
    scores["kind"] = [kind_of(name) for name in scores["contestant"]]
    return scores


def make_run(
    *, jobs: Sequence[str] = MODELS, data_kind: Literal["real", "synthetic"] = "real"
) -> RunFacts:
    regions = [
        RegionFacts(
            region=f"R{number:02d}",
            num_rows=1000,
            num_hours=1000,
            num_missing_hours=number,
            num_flagged=0,
            status="used",
        )
        for number in range(3)
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
        num_test_labels=108_902,
        follows_article=False,
    )


CLEAR = {"gru-seed0": [0.9, 0.8, 0.9], "lstm-seed0": [0.8, 0.9, 0.7], "persistence": [3, 3, 3.3]}


def make_page(
    run: RunFacts | None = None,
    scores: pd.DataFrame | None = None,
    figures: dict[str, Figure] | None = None,
) -> tuple[str, Page]:
    html = run_report_html(
        title="GRU against LSTM",
        summary=run or make_run(),
        scores=make_scores(CLEAR) if scores is None else scores,
        figures=figures or {},
    )
    return html, Page(html)


# ----------------------------------------------------------------------------------------- the page


def test_the_page_is_well_formed_and_names_every_region() -> None:
    _, page = make_page()
    assert page.open == []
    assert all(page.text.count(f"R{number:02d}") == 2 for number in range(3))  # scores and data


def test_nothing_is_loaded_from_elsewhere_and_no_script_is_there() -> None:
    html, page = make_page(figures={"Panels": draw_panels(make_forecasts(), MODELS)})
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
        "Panels": draw_panels(forecasts, MODELS),
        "Hours": draw_error_heat_map(forecasts, "lstm-seed0"),
        "Scores": draw_scores(make_scores(CLEAR)),
    }
    _, page = make_page(figures=figures)
    alts = [image["alt"] for image in page.of("img")]
    assert alts == [figure.get_label() for figure in figures.values()]
    assert all(len(alt) > 60 for alt in alts)


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
    run = make_run()
    scores = make_scores(CLEAR).replace({"region": {"R00": f"Y{SCRIPT}"}})
    _, page = make_page(replace(run, regions=[*run.regions, hostile]), scores)
    assert not page.of("script")
    assert f"X{SCRIPT}" in page.text
    assert f"Y{SCRIPT}" in page.text
    assert f'set aside: found "{SCRIPT}"' in page.text
    assert "3 of 4 used" in page.text


def test_synthetic_data_carry_a_banner_and_no_comparison_with_the_article() -> None:
    _, real = make_page()
    _, synthetic = make_page(make_run(data_kind="synthetic"))
    assert "Synthetic data." not in real.text
    assert "1.123 %" in real.text
    assert "Synthetic data." in synthetic.text
    assert "On synthetic data LSTM" in synthetic.text
    assert "1.123 %" not in synthetic.text


def test_a_model_without_scores_is_listed_with_dashes() -> None:
    _, page = make_page(make_run(jobs=["gru-seed0", "lstm-seed7"]))
    assert re.search(r"LSTM\s*7\s*–\s*–\s*–\s*–\s*42\.0", page.text)


# -------------------------------------------------------------------------------------- the verdict


def test_a_clear_winner_is_named_with_its_regions_and_both_errors() -> None:
    assert verdict(make_scores(CLEAR), make_run()) == (
        "LSTM had the smaller error in 2 of 3 regions: sMAPE GRU 0.867 %, LSTM 0.800 %, against "
        "3.100 % for persistence (one seed each, so chance is not ruled out)."
    )


def test_a_tie_names_no_winner() -> None:
    scores = make_scores({"gru-seed0": [0.8, 0.9], "lstm-seed0": [0.9, 0.8]})
    assert verdict(scores, make_run()) == (
        "GRU and LSTM had the smaller error in 1 of 2 regions each: sMAPE GRU 0.850 %, "
        "LSTM 0.850 % (one seed each, so chance is not ruled out)."
    )


def test_equal_errors_everywhere_are_called_the_same() -> None:
    scores = make_scores({"gru-seed0": [0.8, 0.9], "lstm-seed0": [0.8, 0.9]})
    assert verdict(scores, make_run()).startswith("GRU and LSTM had the same error in 2 of 2")


def test_a_model_worse_than_a_naive_forecast_is_said_to_lose() -> None:
    scores = make_scores(
        {
            "gru-seed0": [4.0, 5.0],
            "lstm-seed0": [1.0, 1.0],
            "persistence": [3.0, 3.0],
            "same_hour_yesterday": [7.0, 7.0],
        }
    )
    assert verdict(scores, make_run()) == (
        "LSTM had the smaller error in 2 of 2 regions: sMAPE GRU 4.500 %, LSTM 1.000 %; GRU loses "
        "to persistence (3.000 %), which needs no training (one seed each, so chance is not ruled "
        "out)."
    )


def test_most_regions_and_the_smaller_mean_may_go_to_different_cells() -> None:
    scores = make_scores({"gru-seed0": [0.8, 0.8, 2.0], "lstm-seed0": [0.9, 0.9, 1.0]})
    assert "GRU had the smaller error in 2 of 3 regions, LSTM the smaller mean: sMAPE" in verdict(
        scores, make_run()
    )


def test_seeds_of_a_cell_are_averaged_and_counted() -> None:
    jobs = ["gru-seed0", "gru-seed1", "lstm-seed0", "lstm-seed1"]
    scores = make_scores(dict(zip(jobs, ([1.0], [3.0], [1.5], [1.7]), strict=True)))
    assert verdict(scores, make_run(jobs=jobs)) == (
        "LSTM had the smaller error in 1 of 1 region: sMAPE GRU 2.000 %, LSTM 1.600 % "
        "(means of 2 seeds each)."
    )


def test_a_cell_alone_is_compared_with_no_other() -> None:
    scores = make_scores({"gru-seed0": [0.8, 0.9], "persistence": [3.0, 3.0]})
    assert verdict(scores, make_run()) == (
        "One cell was scored: sMAPE GRU 0.850 %, against 3.000 % for persistence "
        "(one seed, so chance is not ruled out)."
    )


def test_a_cell_without_a_figure_is_not_compared() -> None:
    scores = make_scores({"gru-seed0": [0.8, 0.9], "lstm-seed0": [np.nan, np.nan]})
    assert verdict(scores, make_run()).startswith("One cell was scored: sMAPE GRU 0.850 % (one")


def test_no_model_is_said_to_be_no_model() -> None:
    assert verdict(make_scores({"persistence": [3.0]}), make_run()) == "No model was scored."


WITH_MEAN = {**CLEAR, "mean-seed0": [0.7, 0.7, 0.7], "linear": [1.0, 1.0, 1.3]}


def test_means_and_fitted_baselines_stand_beside_the_cells() -> None:
    assert verdict(make_scores(WITH_MEAN), make_run()) == (
        "LSTM had the smaller error in 2 of 3 regions: sMAPE GRU 0.867 %, LSTM 0.800 %, "
        "their mean 0.700 %, linear 1.100 %, against 3.100 % for persistence (one seed each, so "
        "chance is not ruled out)."
    )


def test_means_of_several_seeds_are_told_as_one_figure_and_that_of_all_as_another() -> None:
    cells = ["gru-seed0", "gru-seed1", "lstm-seed0", "lstm-seed1"]
    errors = {**{name: [1.0] for name in cells}, "mean-seed0": [0.8], "mean-seed1": [0.6],
              "mean-all": [0.5]}  # fmt: skip
    told = verdict(make_scores(errors), make_run(jobs=cells))
    assert "LSTM 1.000 %, their mean 0.700 %, all together 0.500 % (means of 2 seeds" in told


def test_the_validation_part_alone_says_what_to_run() -> None:
    validation = {"gru-seed0": 0.5, "lstm-seed0": 0.7, "mean-seed0": 0.6, "persistence": 3.0}
    run = replace(
        make_run(),
        validation_smape=validation,
        preferred="gru-seed0",
        others=[OtherFacts(contestant="mean-seed0", training_seconds=84.0, num_parameters=31_874)],
    )
    told = "It prefers GRU seed 0: sMAPE 0.500 %, before mean of seed 0 with 0.600 %."
    assert choice(run) == told  # though GRU has the largest error of the three in the test part
    html, page = make_page(run, make_scores(WITH_MEAN))
    assert told in page.text
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
    scores, run = make_scores(CLEAR), make_run()
    sentence = article_sentence(scores, run)
    assert "GRU 1.123 %, LSTM 1.081 % (it prints GRU 0.2808 %, LSTM 0.2701 %" in sentence
    assert "GRU 22.8 % lower and LSTM 26.0 % lower" in sentence
    assert "on 108,902 test labels, as many as the article" in sentence
    fewer = article_sentence(scores, replace(run, num_test_labels=500))
    assert "on 500 test labels, not the 108,902 of the article" in fewer


def test_a_run_of_the_articles_protocol_stands_beside_its_printed_output() -> None:
    errors = {"gru-seed0": [1.0], "gru-seed1": [1.2], "lstm-seed0": [1.08]}
    run = replace(make_run(jobs=tuple(errors)), follows_article=True)
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


def test_other_protocols_and_synthetic_data_are_not_set_beside_the_article() -> None:
    run, scores = make_run(), make_scores(CLEAR)
    assert _article_rows(scores, run) == []
    assert _article_rows(scores, replace(run, follows_article=True, data_kind="synthetic")) == []


def test_the_score_table_marks_the_best_model_and_those_that_lose() -> None:
    scores = make_scores({"gru-seed0": [4.0], "lstm-seed0": [1.0], "persistence": [3.0]})
    rows = score_rows(scores)
    assert [region for region, _ in rows] == ["R00", OVERALL]
    assert rows[0][1] == [(4.0, False, True), (1.0, True, False), (3.0, False, False)]


# ------------------------------------------------------------------------------------- the drawings


def panel_points(axes: Axes) -> tuple[list[float], list[float]]:
    actual, predicted = (np.asarray(line.get_ydata()).tolist() for line in axes.get_lines())
    return actual, predicted


def test_the_panels_are_those_of_the_article() -> None:
    forecasts = make_forecasts()
    axes = draw_panels(forecasts, MODELS).axes
    wanted = [
        ("R00", "gru-seed0", slice(-100, None)),
        ("R08", "gru-seed0", slice(-50, None)),
        ("R04", "gru-seed0", slice(None, 50)),
        ("R06", "lstm-seed0", slice(None, 100)),
    ]
    assert len(axes) == 4
    for panel, (region, model, hours) in zip(axes, wanted, strict=True):
        rows = forecasts[forecasts["region"] == region].iloc[hours]
        assert panel.get_title(loc="left").startswith(region)
        assert panel_points(panel) == (rows["y_true"].to_list(), rows[model].to_list())


@pytest.mark.parametrize("num_regions", [1, 5])
def test_the_panels_cope_with_few_regions_hours_and_models(num_regions: int) -> None:
    figure = draw_panels(make_forecasts(num_regions, num_hours=30), ["gru-seed0"])
    assert [len(panel_points(panel)[0]) for panel in figure.axes] == [30] * 4


def test_the_heat_map_equals_a_plain_loop_over_the_labels() -> None:
    forecasts = make_forecasts(3, num_hours=100)
    forecasts.loc[7, "lstm-seed0"] = np.nan
    forecasts.loc[8, ["y_true", "lstm-seed0"]] = 0.0
    terms: dict[tuple[str, int], list[float]] = {}
    for row in forecasts.to_dict(orient="records"):
        truth, forecast = row["y_true"], row["lstm-seed0"]
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

    axes = draw_error_heat_map(forecasts, "lstm-seed0").axes[0]
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), expected)
    assert [label.get_text().split()[0] for label in axes.get_yticklabels()] == order


def test_an_hour_without_labels_is_left_blank() -> None:
    forecasts = make_forecasts(2).query("local_hour != 3")
    assert errors_by_hour(forecasts, "gru-seed0")[3].isna().all()
    array = draw_error_heat_map(forecasts, "gru-seed0").axes[0].images[0].get_array()
    assert np.ma.getmaskarray(np.ma.asarray(array))[:, 3].all()


def test_the_dot_plot_shows_every_contestant_in_every_region_and_the_mean() -> None:
    axes = draw_scores(make_scores(CLEAR)).axes[0]
    dots = [found for found in axes.collections if isinstance(found, PathCollection)]
    shown = {str(found.get_label()): np.asarray(found.get_offsets()) for found in dots}
    assert set(shown) == {"GRU seed 0", "LSTM seed 0", "persistence"}
    np.testing.assert_allclose(sorted(shown["LSTM seed 0"][:, 0]), [0.7, 0.8, 0.8, 0.9])


def test_means_and_fitted_baselines_have_looks_of_their_own_and_seeds_share_one() -> None:
    errors = {name: [1.0] for name in ("gru-seed0", "gru-seed1", "lstm-seed0", "lstm-seed1")}
    errors |= {"mean-seed0": [0.8], "mean-seed1": [0.9], "mean-all": [0.7], "linear": [1.2]}
    dots = [
        each
        for each in draw_scores(make_scores(errors)).axes[0].collections
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
    scores = make_scores(CLEAR)
    assert not draw_scores(scores).axes[0].get_lines()
    lines = draw_scores(scores, show_article=True).axes[0].get_lines()
    assert [float(np.ravel(line.get_xdata())[0]) for line in lines] == list(article.SMAPE.values())


def test_threads_draw_the_same_pictures_as_one_after_the_other() -> None:
    forecasts = make_forecasts(2, num_hours=120)

    def png(model: str) -> bytes:
        buffer = BytesIO()
        draw_error_heat_map(forecasts, model).savefig(buffer, format="png", dpi=50)
        return buffer.getvalue()

    with ThreadPoolExecutor(max_workers=4) as pool:
        assert list(pool.map(png, MODELS * 2)) == [png(model) for model in MODELS * 2]


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
    rows = score_rows(scores)
    assert len(rows) == MOST_TOLD + 1
    assert rows[-1][0] == OVERALL
    assert rows[-1][1][0].smape == pytest.approx(1.75)


def test_of_very_many_regions_the_pictures_stay_readable() -> None:
    num, hours = 200, pd.date_range("2020-01-01", periods=24, freq="h", tz="UTC")
    regions = np.repeat([f"R{number:03d}" for number in range(num)], 24)
    y_true = np.full(24 * num, 100.0)
    forecasts = pd.DataFrame(
        {
            "region": regions,
            "timestamp": np.tile(hours, num),
            "local_hour": np.tile(np.arange(24), num),
            "y_true": y_true,
            "gru-seed0": y_true + np.repeat(np.arange(num) / 10, 24),
        }
    )
    heat_map = draw_error_heat_map(forecasts, "gru-seed0")
    rows = [label.get_text() for label in heat_map.axes[0].get_yticklabels()]
    assert len(rows) == MOST_TOLD + 1
    assert rows[0].startswith("R199")
    assert rows[MOST_TOLD // 2].startswith("mean of 200")
    distribution = draw_scores(make_scores({"gru-seed0": list(range(1, 201))}))
    (line,) = distribution.axes[0].get_lines()
    assert np.asarray(line.get_ydata())[-1] == 1.0
    assert distribution.get_size_inches()[1] < 6
