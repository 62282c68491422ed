"""The report of a run: one HTML file that needs nothing else, pictures first.

Every figure is embedded, as SVG or PNG, whichever is smaller. No script, no request: a content
security policy in the file forbids both. Whatever comes from files or configuration is escaped.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from gridcast.evaluation.contestants import (
    MEAN_OF_ALL,
    MOST_TOLD,
    OVERALL,
    ContestantKind,
    told_regions,
)
from gridcast.report import article
from gridcast.report.facts import ModelFacts, RegionFacts, RunFacts
from gridcast.report.figures import contestant_label, format_percent, smape_table

PNG_DPI: Final = 160  # 1600 pixels of width, sharp on a dense screen
CSS_PIXELS_PER_INCH: Final = 96
_QUANTILES: Final = {"best": 0.0, "best 5 %": 0.05, "best quarter": 0.25, "median": 0.5,
                     "worst quarter": 0.75, "worst 5 %": 0.95, "worst": 1.0}  # fmt: skip


class ScoreCell(NamedTuple):
    """One sMAPE (percent) of the score table and how it is marked."""

    smape: float
    is_best: bool  # of those that were trained, in this row
    loses: bool  # one of them whose error is larger than that of a naive forecast


class Picture(NamedTuple):
    """A figure as an image element of the page."""

    heading: str
    alt: str
    uri: str
    width: int  # CSS pixels
    height: int


def run_report_html(
    *,
    title: str,
    summary: RunFacts,
    scores: pd.DataFrame,
    figures: dict[str, Figure],
) -> str:
    """The report as one HTML document.

    ``scores`` is described in :mod:`gridcast.report.figures` and has ``mae``, ``rmse`` (MW) and
    ``mase`` too.
    ``figures`` maps a heading to a figure; the figure's label is its alternative text.
    """
    overall = scores[scores["region"] == OVERALL].set_index("contestant")
    return _template().render(
        title=title,
        run=summary,
        choice=choice(summary),
        verdict=verdict(scores, summary),
        article=article_sentence(scores, summary),
        article_rows=_article_rows(scores, summary),
        pictures=[_picture(heading, figure) for heading, figure in figures.items()],
        contestants=list(smape_table(scores).columns),
        score_rows=score_rows(scores),
        quantile_rows=_quantile_rows(scores),
        num_regions=scores.loc[scores["region"] != OVERALL, "region"].nunique(),
        told_data=_told_data(summary.regions),
        errors=overall[["smape", "mae", "rmse", "mase"]].to_dict(orient="index"),
        longest_seconds=max(summary.timings.values(), default=0.0),
    )


def choice(summary: RunFacts) -> str:
    """One sentence on which contestant to run, by the validation part alone."""
    if summary.preferred is None:
        return "There is none, so nothing is preferred."
    errors = pd.Series(summary.validation_smape).sort_values(kind="stable")
    first, rest = errors[summary.preferred], errors.drop(summary.preferred)
    sentence = f"It prefers {contestant_label(summary.preferred)}: sMAPE {format_percent(first)}"
    if not rest.empty:
        after = contestant_label(str(rest.index[0]))
        sentence += f", before {after} with {format_percent(rest.iloc[0])}"
    return f"{sentence}."


def verdict(scores: pd.DataFrame, summary: RunFacts) -> str:
    """One sentence on who did better in the test part, by how much, against what.

    It says no more than the numbers, and chooses nobody: see :func:`choice`. Seeds of a cell are
    averaged region by region. A region in which the smallest error is shared counts for no cell.
    """
    errors, num_seeds = _errors_by_cell(scores, summary.models)
    if errors.empty:
        return "No model was scored."
    overall = errors.T[OVERALL]
    leader = _leader_clause(errors) if len(errors.columns) > 1 else "one cell was scored"
    naive = _naive_clause(overall, smape_table(scores).T[OVERALL][_names(scores, "naive")])
    listed = _listed(pd.concat([overall, _errors_of_others(scores)]))
    sentence = f"{leader}: sMAPE {listed}{naive} ({_seeds_clause(num_seeds)})."
    if summary.data_kind == "synthetic":
        return f"On synthetic data {sentence}"
    return sentence[0].upper() + sentence[1:]


def article_sentence(scores: pd.DataFrame, summary: RunFacts) -> str:
    """The run beside the article's true figures; empty where the two do not compare."""
    errors, _ = _errors_by_cell(scores, summary.models)
    if summary.data_kind != "real" or errors.empty:
        return ""
    theirs = pd.Series({cell.upper(): percent for cell, percent in article.SMAPE.items()})
    ours = errors.T[OVERALL].reindex(theirs.index).dropna()
    if ours.empty:
        return ""
    changes = (100 * (ours / theirs[ours.index] - 1)).items()
    here = " and ".join(
        f"{cell} {abs(change):.1f} % {'lower' if change < 0 else 'higher'}"
        for cell, change in changes
    )
    same = summary.num_test_labels == article.NUM_TEST_LABELS
    labels = "as many as" if same else f"not the {article.NUM_TEST_LABELS:,} of"
    return (
        f"The article's errors are {_listed(theirs)} (it prints "
        f"{_listed(theirs / article.FACTOR, digits=4)}: "
        f"its code computes a quarter of its formula); this run's are {here}, with profile "
        f"{summary.profile} on {summary.num_test_labels:,} test labels, {labels} the article."
    )


def _article_rows(scores: pd.DataFrame, summary: RunFacts) -> list[article.ArticleRow]:
    """Empty where the run does not follow the article's protocol, or not on real data."""
    if not summary.follows_article or summary.data_kind != "real":
        return []
    smape_of = smape_table(scores).T[OVERALL].dropna().to_dict()
    return article.article_rows(summary.models, {str(job): smape_of[job] for job in smape_of})


def score_rows(scores: pd.DataFrame) -> list[tuple[str, list[ScoreCell]]]:
    """Region and its errors in the order of the contestants; the mean over the regions last."""
    table = smape_table(scores)
    is_naive = table.columns.isin(_names(scores, "naive"))
    rows = []
    for region in [*_told(table.drop(index=OVERALL)), OVERALL]:
        errors = table.loc[region].to_numpy(dtype=float)
        best, bar = (pd.Series(errors[mask]).min() for mask in (~is_naive, is_naive))
        cells = [
            ScoreCell(error, is_best=not naive and error == best, loses=not naive and error > bar)
            for error, naive in zip(errors.tolist(), is_naive, strict=True)
        ]
        rows.append((region, cells))
    return rows


def _told(regional: pd.DataFrame) -> list[str]:
    """All regions, or of very many the ends by the first contestant's error."""
    first = regional.iloc[:, 0].fillna(float("inf"))
    return told_regions({str(region): float(error) for region, error in first.items()})


def _quantile_rows(scores: pd.DataFrame) -> list[tuple[str, list[float]]]:
    """How each contestant's sMAPE is distributed over the regions; empty if all are named."""
    regional = smape_table(scores).drop(index=OVERALL)
    if len(regional) <= MOST_TOLD:
        return []
    return [(name, regional.quantile(share).tolist()) for name, share in _QUANTILES.items()]


def _told_data(regions: Sequence[RegionFacts]) -> list[RegionFacts]:
    """All regions, or of very many those set aside and with the most missing and flagged hours."""
    if len(regions) <= MOST_TOLD:
        return list(regions)

    def trouble(each: RegionFacts) -> tuple[bool, int]:
        return each.status == "used", -(each.num_missing_hours or 0) - (each.num_flagged or 0)

    return sorted(regions, key=trouble)[:MOST_TOLD]


def _errors_by_cell(
    scores: pd.DataFrame, models: Sequence[ModelFacts]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """SMAPE by region and cell, the mean over its seeds; and how many seeds were scored."""
    table = smape_table(scores)
    scored = set(table.columns[table.T[OVERALL].notna()])
    jobs: dict[str, list[str]] = {}
    for model in models:
        if model.job in scored:
            jobs.setdefault(model.cell.upper(), []).append(model.job)
    errors = pd.DataFrame({cell: table[names].mean(axis=1) for cell, names in jobs.items()})
    return errors, {cell: len(names) for cell, names in jobs.items()}


def _errors_of_others(scores: pd.DataFrame) -> pd.Series[float]:
    """Overall sMAPE of the means and the fitted baselines, by what the verdict calls them."""
    errors = smape_table(scores).T[OVERALL]
    means = _names(scores, "mean")
    of_seeds = [name for name in means if name != MEAN_OF_ALL]
    told = {"their mean": float(errors[of_seeds].mean())} if of_seeds else {}
    told |= {"all together": float(errors[MEAN_OF_ALL])} if MEAN_OF_ALL in means else {}
    told |= {contestant_label(name): float(errors[name]) for name in _names(scores, "fitted")}
    return pd.Series(told, dtype="float64")


def _leader_clause(errors: pd.DataFrame) -> str:
    regional, overall = errors.drop(index=OVERALL), errors.T[OVERALL]
    smallest = regional.eq(regional.min(axis=1), axis=0)
    wins = smallest[smallest.sum(axis=1) == 1].sum()
    regions = f"{len(regional)} region{'s' if len(regional) > 1 else ''}"
    leaders = list(wins.index[wins == wins.max()])
    if wins.max() == 0:
        return f"{' and '.join(errors.columns)} had the same error in {len(regional)} of {regions}"
    degree = "smaller" if len(errors.columns) == 2 else "smallest"  # noqa: PLR2004 - grammar
    each = " each" if len(leaders) > 1 else ""
    clause = f"{' and '.join(leaders)} had the {degree} error in {wins.max()} of {regions}{each}"
    if not each and overall.min() < overall[leaders[0]]:
        clause += f", {overall.idxmin()} the {degree} mean"
    return clause


def _naive_clause(overall: pd.Series[float], naive: pd.Series[float]) -> str:
    if naive.dropna().empty:
        return ""
    best, error = contestant_label(str(naive.idxmin())), format_percent(float(naive.min()))
    losers = list(overall.index[overall > naive.min()])
    if losers:
        verb = "loses" if len(losers) == 1 else "lose"
        return f"; {' and '.join(losers)} {verb} to {best} ({error}), which needs no training"
    return f", against {error} for {best}" + (", the best naive forecast" if len(naive) > 1 else "")


def _seeds_clause(num_seeds: dict[str, int]) -> str:
    counts, each = set(num_seeds.values()), " each" if len(num_seeds) > 1 else ""
    if counts == {1}:
        return f"one seed{each}, so chance is not ruled out"
    if len(counts) == 1:
        return f"means of {counts.pop()} seeds{each}"
    return "means over seeds: " + ", ".join(f"{cell} {count}" for cell, count in num_seeds.items())


def _listed(errors: pd.Series[float], *, digits: int = 3) -> str:
    return ", ".join(f"{cell} {error:.{digits}f} %" for cell, error in errors.items())


def _names(scores: pd.DataFrame, kind: ContestantKind) -> list[str]:
    return list(scores.loc[scores["kind"] == kind, "contestant"].astype(str).unique())


def _picture(heading: str, figure: Figure) -> Picture:
    """The figure as SVG or PNG, whichever is smaller.

    As an image, not as inline SVG: identifiers of several SVGs in one page would clash.
    """
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    figure.savefig(png, format="png", dpi=PNG_DPI)
    kind, data = min(
        ("svg+xml", svg.getvalue()), ("png", png.getvalue()), key=lambda image: len(image[1])
    )
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    width, height = (round(inches * CSS_PIXELS_PER_INCH) for inches in figure.get_size_inches())
    return Picture(heading, str(figure.get_label()) or heading, uri, width, height)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["label"] = contestant_label
    environment.filters["percent"] = format_percent
    environment.filters["number"] = _number
    return environment.get_template("run_page.html.jinja")


def _number(value: float | None, digits: int = 0) -> str:
    """Thousands in groups; a dash for what is not known."""
    return "–" if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"
