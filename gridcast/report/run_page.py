"""The report of a run: one HTML file that needs nothing else, pictures first.

Every figure is embedded: as SVG, or as PNG where that is large and PNG smaller. No script, no
request: a content security policy in the file forbids both. Whatever comes from files or
configuration is escaped.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from gridcast.evaluation.backtest_scores import BacktestScores, LeadFigures, RegionFigures
from gridcast.evaluation.contestants import ContestantKind, of_kind
from gridcast.evaluation.measure import LABELS, SMAPE, format_mw
from gridcast.evaluation.scores import MAX_SHOWN_REGIONS, METRICS, Scores, shown_regions
from gridcast.report import article
from gridcast.report.drawing import format_percent
from gridcast.report.facts import RegionFacts, RunFacts
from gridcast.report.figures import (
    day_table,
    error_table,
    lead_table,
    overall_error,
    under_shares,
)

PNG_DPI: Final = 160  # 1600 pixels of width, sharp on a dense screen
SMALL_SVG: Final = 200_000  # bytes; a PNG is hardly smaller, and takes as long to draw
CSS_PIXELS_PER_INCH: Final = 96
_QUANTILES: Final = {"best": 0.0, "best 5 %": 0.05, "best quarter": 0.25, "median": 0.5,
                     "worst quarter": 0.75, "worst 5 %": 0.95, "worst": 1.0}  # fmt: skip
_MAX_LEADS: Final = 24  # in a table
_SHOWN_LEADS: Final = (1, 2, 3, 6, 12, *range(24, 169, 12))


class ScoreCell(NamedTuple):
    """One error (percent) of the score table and how it is marked."""

    error: float
    is_best: bool  # of those that were trained, in this row
    loses: bool  # one of them whose error is larger than that of a naive forecast


class BacktestRow(NamedTuple):
    """A lead or a region of the backtest: its errors by contestant and its bands, in percent."""

    name: str
    error: list[float]
    coverage: float
    width: float
    winkler: float


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
    scores: Scores,
    figures: dict[str, Figure],
    backtest: BacktestScores | None = None,
    backtest_figures: Sequence[Figure] = (),
) -> str:
    """The report as one HTML document.

    ``figures`` maps a heading to a figure; the figure's label is its alternative text. ``backtest``
    is that of the recommended model (None: there is none).
    """
    overall = scores.overall.set_index("contestant")
    by_name = {each.name: each for each in summary.contestants}
    return _template().render(
        title=title,
        run=summary,
        choice=choice(summary),
        verdict=verdict(scores, summary),
        article=article_sentence(scores, summary),
        article_rows=_article_rows(scores, summary),
        pictures=[_picture(heading, figure) for heading, figure in figures.items()],
        contestants=[by_name[name] for name in error_table(scores, summary.measure).columns],
        score_rows=score_rows(scores, summary),
        mean_cells=mean_cells(scores, summary),
        lead_rows=lead_rows(scores, summary),
        day_rows=day_rows(scores, summary),
        under_shares=list(under_shares(scores)[error_table(scores, summary.measure).columns]),
        backtest=backtest,
        backtest_pictures=[_picture("As forecast", figure) for figure in backtest_figures],
        backtest_leads=backtest_rows(backtest, "by_lead"),
        backtest_regions=backtest_rows(backtest, "by_region"),
        quantile_rows=_quantile_rows(scores, summary),
        num_regions=scores.by_region["region"].nunique(),
        most_troubled=_most_troubled(summary.regions),
        errors=overall[list(METRICS)].to_dict(orient="index"),
        backtest_error=LABELS[backtest.measure] if backtest else "",
        longest_seconds=max(summary.timings.values(), default=0.0),
    )


def choice(summary: RunFacts) -> str:
    """One sentence on which contestant to run, by the validation part alone."""
    if summary.preferred is None:
        return "There is none, so nothing is preferred."
    errors = pd.Series(summary.validation_error).sort_values(kind="stable")
    first, rest = errors[summary.preferred], errors.drop(summary.preferred)
    preferred = summary.label_of(summary.preferred)
    sentence = f"It prefers {preferred}: {summary.error_label} {format_percent(first)}"
    if not rest.empty:
        after = summary.label_of(str(rest.index[0]))
        sentence += f", before {after} with {format_percent(rest.iloc[0])}"
    return f"{sentence}."


def verdict(scores: Scores, summary: RunFacts) -> str:
    """One sentence on who did better in the test part, by how much, against what.

    It says no more than the numbers, and chooses nobody: see :func:`choice`. Seeds of a cell are
    averaged region by region. A region in which the smallest error is shared counts for no cell.
    """
    regional, overall, num_seeds = _errors_by_cell(scores, summary)
    if overall.empty:
        return "No model was scored."
    leader = _leader_clause(regional, overall) if len(overall) > 1 else "one cell was scored"
    naive = _naive_clause(overall, _errors_of_naive(scores, summary))
    listed = _listed(pd.concat([overall, _errors_of_others(scores, summary)]))
    sentence = f"{leader}: {summary.error_label} {listed}{naive} ({_seeds_clause(num_seeds)})."
    if summary.data_kind == "synthetic":
        return f"On synthetic data {sentence}"
    return sentence[0].upper() + sentence[1:]


def article_sentence(scores: Scores, summary: RunFacts) -> str:
    """The run beside the article's true figures; empty where the two do not compare."""
    _, overall, _ = _errors_by_cell(scores, summary)
    if not summary.has_articles_labels:
        return ""
    theirs = pd.Series({cell.upper(): percent for cell, percent in article.SMAPE.items()})
    ours = overall.reindex(theirs.index).dropna()
    if ours.empty:
        return ""
    changes = (100 * (ours / theirs[ours.index] - 1)).items()
    here = " and ".join(
        f"{cell} {abs(change):.1f} % {'lower' if change < 0 else 'higher'}"
        for cell, change in changes
    )
    return (
        f"The article's errors are {_listed(theirs)} (it prints "
        f"{_listed(theirs / article.FACTOR, digits=4)}: "
        f"its code computes a quarter of its formula); this run's are {here}, with profile "
        f"{summary.profile} on {summary.num_test_labels:,} test labels, as many as the article."
    )


def _article_rows(scores: Scores, summary: RunFacts) -> list[article.ArticleRow]:
    """Empty where the run does not follow the article's protocol, or has other labels."""
    if not summary.follows_article or not summary.has_articles_labels:
        return []
    smape_of = overall_error(scores, SMAPE).dropna().to_dict()
    return article.article_rows(summary.models, {str(job): smape_of[job] for job in smape_of})


def score_rows(scores: Scores, summary: RunFacts) -> list[tuple[str, list[ScoreCell]]]:
    """Region and its errors in the order of the contestants."""
    table = error_table(scores, summary.measure)
    return [(region, _cells(table.T[region], summary)) for region in _shown_regions(table)]


def mean_cells(scores: Scores, summary: RunFacts) -> list[ScoreCell]:
    """The means over the regions, in the order of the contestants."""
    return _cells(
        overall_error(scores, summary.measure)[error_table(scores, summary.measure).columns],
        summary,
    )


def lead_rows(scores: Scores, summary: RunFacts) -> list[tuple[int, list[ScoreCell]]]:
    """Lead and its errors in the order of the contestants; empty one step ahead.

    Of many leads those of the first hours and of each half day.
    """
    table = lead_table(scores, summary.measure)
    leads = [int(lead) for lead in table.index]
    if leads in ([], [1]):
        return []
    if len(leads) > _MAX_LEADS:
        leads = [lead for lead in leads if lead in _SHOWN_LEADS or lead == leads[-1]]
    return [(lead, _cells(table.T[lead], summary)) for lead in leads]


def day_rows(scores: Scores, summary: RunFacts) -> list[tuple[str, list[ScoreCell]]]:
    """Month, holiday or not, and its errors in the order of the contestants."""
    table = day_table(scores, summary.measure)[error_table(scores, summary.measure).columns]
    return [(str(name), _cells(table.T[name], summary)) for name in table.index]


def backtest_rows(
    backtest: BacktestScores | None, kind: Literal["by_lead", "by_region"]
) -> list[BacktestRow]:
    """Those of some leads, or of the regions unless they are very many."""
    if backtest is None or (kind == "by_region" and len(backtest.by_region) > MAX_SHOWN_REGIONS):
        return []
    figures: Sequence[LeadFigures | RegionFigures] = backtest.by_region
    if kind == "by_lead":
        own = backtest.by_lead
        figures = [each for each in own if each.lead in _SHOWN_LEADS or each == own[-1]]
    return [
        BacktestRow(
            str(each.region if isinstance(each, RegionFigures) else each.lead),
            [each.error.get(name, math.nan) for name in backtest.error],
            each.coverage, each.width, each.winkler,
        )
        for each in figures
    ]  # fmt: skip


def _cells(errors_of: pd.Series[float], summary: RunFacts) -> list[ScoreCell]:
    """One row of a table of errors, by contestant, with its marks."""
    is_naive = errors_of.index.isin(_names(summary, "naive"))
    errors = errors_of.to_numpy(dtype=float)
    best, bar = (pd.Series(errors[mask]).min() for mask in (~is_naive, is_naive))
    return [
        ScoreCell(error, is_best=not naive and error == best, loses=not naive and error > bar)
        for error, naive in zip(errors.tolist(), is_naive, strict=True)
    ]


def _shown_regions(regional: pd.DataFrame) -> list[str]:
    """All regions, or of very many the ends by the first contestant's error."""
    first = regional.iloc[:, 0].fillna(float("inf"))
    return shown_regions({str(region): float(error) for region, error in first.items()})


def _quantile_rows(scores: Scores, summary: RunFacts) -> list[tuple[str, list[float]]]:
    """How each contestant's error is distributed over the regions; empty if all are named."""
    regional = error_table(scores, summary.measure)
    if len(regional) <= MAX_SHOWN_REGIONS:
        return []
    return [(name, regional.quantile(share).tolist()) for name, share in _QUANTILES.items()]


def _most_troubled(regions: Sequence[RegionFacts]) -> list[RegionFacts]:
    """All regions, or of very many those set aside and with the most missing and flagged hours."""
    if len(regions) <= MAX_SHOWN_REGIONS:
        return list(regions)

    def trouble(each: RegionFacts) -> tuple[bool, int]:
        return each.status == "used", -(each.num_missing_hours or 0) - (each.num_flagged or 0)

    return sorted(regions, key=trouble)[:MAX_SHOWN_REGIONS]


def _errors_by_cell(
    scores: Scores, summary: RunFacts
) -> tuple[pd.DataFrame, pd.Series[float], dict[str, int]]:
    """Errors by region and cell, and overall by cell, means over seeds; how many were scored."""
    table, overall = error_table(scores, summary.measure), overall_error(scores, summary.measure)
    scored = set(overall.index[overall.notna()])
    jobs: dict[str, list[str]] = {}
    for model in summary.models:
        if model.job in scored:
            jobs.setdefault(model.cell.upper(), []).append(model.job)
    regional = pd.DataFrame({cell: table[names].mean(axis=1) for cell, names in jobs.items()})
    means = {cell: float(overall[names].mean()) for cell, names in jobs.items()}
    num_seeds = {cell: len(names) for cell, names in jobs.items()}
    return regional, pd.Series(means, dtype="float64"), num_seeds


def _errors_of_naive(scores: Scores, summary: RunFacts) -> pd.Series[float]:
    """Overall error of the naive forecasts, by what a reader calls them."""
    own = overall_error(scores, summary.measure).reindex(_names(summary, "naive")).dropna()
    return own.rename(index=summary.label_of)


def _errors_of_others(scores: Scores, summary: RunFacts) -> pd.Series[float]:
    """Overall error of the means and the fitted baselines, by what the verdict calls them."""
    errors, means = overall_error(scores, summary.measure), of_kind(summary.contestants, "mean")
    of_seeds = [each.name for each in means if each.seed is not None]
    errors_of = {"their mean": float(errors[of_seeds].mean())} if of_seeds else {}
    for mean in means:
        errors_of |= {"all together": float(errors[mean.name])} if mean.seed is None else {}
    for kind in ("blend", "fitted"):
        errors_of |= {
            each.label: float(errors[each.name]) for each in of_kind(summary.contestants, kind)
        }
    return pd.Series(errors_of, dtype="float64")


def _leader_clause(regional: pd.DataFrame, overall: pd.Series[float]) -> str:
    smallest = regional.eq(regional.min(axis=1), axis=0)
    wins = smallest[smallest.sum(axis=1) == 1].sum()
    regions = f"{len(regional)} region{'s' if len(regional) > 1 else ''}"
    leaders = list(wins.index[wins == wins.max()])
    if wins.max() == 0:
        return (
            f"{' and '.join(regional.columns)} had the same error in {len(regional)} of {regions}"
        )
    degree = "smaller" if len(overall) == 2 else "smallest"  # noqa: PLR2004 - grammar
    each = " each" if len(leaders) > 1 else ""
    clause = f"{' and '.join(leaders)} had the {degree} error in {wins.max()} of {regions}{each}"
    if not each and overall.min() < overall[leaders[0]]:
        clause += f", {overall.idxmin()} the {degree} mean"
    return clause


def _naive_clause(overall: pd.Series[float], naive: pd.Series[float]) -> str:
    if naive.empty:
        return ""
    best, error = str(naive.idxmin()), format_percent(float(naive.min()))
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


def _names(summary: RunFacts, kind: ContestantKind) -> list[str]:
    return [each.name for each in of_kind(summary.contestants, kind)]


def _picture(heading: str, figure: Figure) -> Picture:
    """The figure as SVG; where that is large, as SVG or PNG, whichever is smaller.

    As an image, not as inline SVG: identifiers of several SVGs in one page would clash.
    """
    kind, data = "svg+xml", _drawn(figure, format="svg", metadata={"Date": None})
    if len(data) > SMALL_SVG:
        png = _drawn(figure, format="png", dpi=PNG_DPI)
        kind, data = min((kind, data), ("png", png), key=lambda image: len(image[1]))
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    width, height = (round(inches * CSS_PIXELS_PER_INCH) for inches in figure.get_size_inches())
    return Picture(heading, str(figure.get_label()) or heading, uri, width, height)


def _drawn(figure: Figure, **options: Any) -> bytes:  # noqa: ANN401 - matplotlib's
    file = io.BytesIO()
    figure.savefig(file, **options)
    return file.getvalue()


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = format_percent
    environment.filters["number"] = _number
    environment.filters["mw"] = format_mw
    return environment.get_template("run_page.html.jinja")


def _number(value: float | None, digits: int = 0) -> str:
    """Thousands in groups; a dash for what is not known."""
    return "–" if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"
