"""The report's drawings of errors: by region, by hour of day, by lead.

``forecasts`` is the long table of :mod:`gridcast.evaluation.forecasts`, of those contestants that
are drawn; ``scores`` are :class:`gridcast.evaluation.scores.Scores`.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from gridcast.evaluation.backtest_scores import BacktestScores
from gridcast.evaluation.contestants import Contestant, of_kind
from gridcast.evaluation.measure import (
    LABELS,
    SMAPE,
    MeasureName,
    measure_by,
    norms_by_row,
    percent_errors,
)
from gridcast.evaluation.scores import MAX_SHOWN_REGIONS, Scores
from gridcast.report import article
from gridcast.report.drawing import (
    BLEND_COLOUR,
    BLEND_MARKER,
    CELL_COLOURS,
    ERROR_COLOUR_MAP,
    FAINT,
    FITTED_COLOURS,
    FITTED_MARKER,
    INK,
    MEAN_COLOUR,
    MEAN_MARKERS,
    MODEL_MARKER,
    NAIVE_GREYS,
    NAIVE_MARKERS,
    PAPER,
    TEXT_SIZE,
    cell_colour,
    format_percent,
    new_figure,
    style_axes,
)

_MEAN_PLACE = -0.3  # below the regions, which stand at 1, 2, ...


def draw_error_heat_map(
    forecasts: pd.DataFrame, model: Contestant, *, norms: Mapping[str, float] | None = None
) -> Figure:
    """The error of ``model`` by local hour and region, the region with the largest on top.

    Of very many regions those of both ends stand there, and the mean of all between them.
    ``norms`` is what errors are told in percent of (MW, by region); none: each hour's own load.
    """
    label = LABELS[measure_by(norms)]
    rows = forecasts[forecasts["contestant"] == model.name]
    errors, horizon = errors_by_hour(rows, norms), int(rows["lead"].max())
    overall = _error_by(rows, ["region"], norms).sort_values(ascending=False)
    errors, overall, mean = *_ends_and_mean(errors, overall), float(overall.mean())
    figure = new_figure(1.7 + 0.32 * len(errors))
    axes = figure.subplots()
    colours = mpl.colormaps[ERROR_COLOUR_MAP].with_extremes(bad=FAINT)
    image = axes.imshow(np.ma.masked_invalid(errors.to_numpy()), cmap=colours, aspect="auto")
    leads = f", of leads 1 to {horizon}" if horizon > 1 else ""
    title = f"{model.label}: error by hour of day{leads}"
    style_axes(axes, title=title, x_label="Local hour of day")
    axes.set_xticks(range(24), [f"{hour:02d}" for hour in range(24)])
    labels = [f"{region}  {format_percent(overall[region])}" for region in errors.index]
    axes.set_yticks(range(len(errors)), labels)
    bar = figure.colorbar(image, ax=axes, pad=0.015)
    bar.ax.axhline(mean, color=INK, linewidth=2)
    style_axes(bar.ax, y_label=f"{label} (%); line: mean of the regions, {mean:.3f}")
    figure.set_label(_heat_map_sentence(errors, model, overall, label))
    return figure


def draw_error_by_lead(
    scores: Scores, contestants: Sequence[Contestant], *, measure: MeasureName = SMAPE
) -> Figure:
    """The error of every contestant by lead, the mean over the regions."""
    table, label = lead_table(scores, measure), LABELS[measure]
    figure = new_figure(4.6)
    axes = figure.subplots()
    for family in _families(contestants):
        for number, name in enumerate(family.names):
            axes.plot(
                table.index.to_numpy(), table[name].to_numpy(), color=family.colour,
                marker=family.marker, markersize=4.5, linewidth=1.5,
                linestyle="--" if family.marker in NAIVE_MARKERS else "-",
                label=None if number else family.legend,
            )  # fmt: skip
    style_axes(
        axes, title="Error by lead: lower is better", x_label="Lead (hours ahead)", grid=True
    )
    axes.set_ylabel(f"{label} (%), mean of the regions", fontsize=TEXT_SIZE, color=INK)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend_below(figure)
    first, last = table.iloc[0], table.iloc[-1]
    listed = ", ".join(
        f"{each.label} {format_percent(first[each.name])} and {format_percent(last[each.name])}"
        for each in contestants
    )
    figure.set_label(
        f"Lines of the {label} by lead. At leads {table.index[0]} and {table.index[-1]}: {listed}. "
        "The numbers are tabled below."
    )
    return figure


def draw_scores(
    scores: Scores,
    contestants: Sequence[Contestant],
    *,
    show_article: bool = False,
    measure: MeasureName = SMAPE,
) -> Figure:
    """The error of every contestant by region; ``show_article`` where the labels are its own."""
    table, overall = error_table(scores, measure), overall_error(scores, measure)
    regions = sorted(table.index, reverse=True)
    if len(regions) > MAX_SHOWN_REGIONS:
        return _draw_distribution(scores, contestants, show_article=show_article, measure=measure)
    places = np.arange(1.0, len(regions) + 1)
    figure = new_figure(1.9 + 0.33 * (len(regions) + 1))
    axes = figure.subplots()
    for family in _families(contestants):
        regional = table.loc[regions, family.names].to_numpy()
        errors = np.vstack([regional, overall[family.names].to_numpy()])
        axes.scatter(
            errors.ravel(), np.repeat([*places, _MEAN_PLACE], len(family.names)),
            s=family.size, color=family.colour, marker=family.marker, label=family.legend,
            edgecolors=PAPER, linewidths=0.6, zorder=3 if family.marker in NAIVE_MARKERS else 4,
        )  # fmt: skip
    style_axes(axes, title="Error by region: further left is better", grid=True)
    _scale_errors(axes, table, LABELS[measure])
    axes.set_yticks([*places, _MEAN_PLACE], [*regions, f"mean of {len(regions)}"])
    axes.axhspan(-1.0, 0.35, color=FAINT, alpha=0.45, linewidth=0)
    axes.set_ylim(-1.0, len(regions) + 0.7)
    if show_article:
        _mark_article(axes)
    _legend_below(figure)
    figure.set_label(
        _scores_sentence(overall, contestants, LABELS[measure], show_article=show_article)
    )
    return figure


def _draw_distribution(
    scores: Scores,
    contestants: Sequence[Contestant],
    *,
    show_article: bool,
    measure: MeasureName,
) -> Figure:
    """Of very many regions: in which share of them each contestant's error is at most so large."""
    figure, table = new_figure(5.2), error_table(scores, measure)
    axes = figure.subplots()
    for family in _families(contestants):
        for number, name in enumerate(family.names):
            errors = np.sort(table[name].dropna().to_numpy())
            share = np.arange(1, len(errors) + 1) / max(1, len(errors))
            is_model = family.marker == MODEL_MARKER
            axes.step(
                errors, share, where="post", color=family.colour,
                linewidth=1.8 if is_model else 1.2, linestyle="-" if is_model else "--",
                label=None if number else family.legend,
            )  # fmt: skip
    style_axes(axes, title=f"Error in {len(table):,} regions: further left is better", grid=True)
    _scale_errors(axes, table, LABELS[measure])
    axes.set_ylabel("share of the regions below", fontsize=TEXT_SIZE, color=INK)
    axes.set_ylim(0, 1)
    if show_article:
        _mark_article(axes)
    _legend_below(figure)
    sentence = _scores_sentence(
        overall_error(scores, measure), contestants, LABELS[measure], show_article=show_article
    )
    figure.set_label(sentence.replace("Dot plot of the", "Distribution of the"))
    return figure


def _legend_below(figure: Figure) -> None:
    figure.legend(
        loc="outside lower center", ncols=3, fontsize=TEXT_SIZE, frameon=False, labelcolor=INK
    )


def _ends_and_mean(
    errors: pd.DataFrame, overall: pd.Series[float]
) -> tuple[pd.DataFrame, pd.Series[float]]:
    """Rows in order of ``overall``; of very many the ends, and a row of the mean of all."""
    if len(overall) <= MAX_SHOWN_REGIONS:
        return errors.loc[overall.index], overall
    half = MAX_SHOWN_REGIONS // 2
    name = f"mean of {len(overall):,}"
    mean = errors.mean().rename(name).to_frame().T
    first, last = overall.head(half), overall.tail(half)
    rows = pd.concat([errors.loc[first.index], mean, errors.loc[last.index]])
    return rows, pd.concat([first, pd.Series({name: overall.mean()}), last])


def errors_by_hour(rows: pd.DataFrame, norms: Mapping[str, float] | None = None) -> pd.DataFrame:
    """The error (percent) of one contestant's rows: a row a region, a column a local hour."""
    errors = _error_by(rows, ["region", "local_hour"], norms)
    return errors.unstack().reindex(columns=range(24))  # noqa: PD010 - a Series


def error_table(scores: Scores, measure: MeasureName) -> pd.DataFrame:
    """One row a region, one column a contestant in the order of the scores; percent."""
    return _wide(scores.by_region.astype({"region": str}), "region", measure)


def lead_table(scores: Scores, measure: MeasureName) -> pd.DataFrame:
    """One row a lead, one column a contestant; percent, the mean over the regions."""
    return _wide(scores.by_lead, "lead", measure)


def day_table(scores: Scores, measure: MeasureName) -> pd.DataFrame:
    """A row a kind of day, months and then holidays; percent, means over the regions."""
    months = _wide(scores.by_month, "month", measure)
    months = months.rename(index=dict(enumerate(calendar.month_name)))
    days = _wide(scores.by_holiday, "holiday", measure)
    return pd.concat([months, days.rename(index={0: "Other days", 1: "Public holidays"})])


def under_shares(scores: Scores) -> pd.Series[float]:
    """Contestant to the share of labels, percent, taken for less than they became."""
    return scores.overall.set_index(scores.overall["contestant"].astype(str))["under"]


def _wide(table: pd.DataFrame, key: str, measure: MeasureName) -> pd.DataFrame:
    order = list(dict.fromkeys(table["contestant"].astype(str)))
    plain = table.astype({"contestant": str})
    return plain.pivot(index=key, columns="contestant", values=measure)[order]  # noqa: PD010


def overall_error(scores: Scores, measure: MeasureName) -> pd.Series[float]:
    """Contestant to its error in percent, the mean over the regions."""
    return scores.overall.set_index(scores.overall["contestant"].astype(str))[measure]


def _error_by(
    rows: pd.DataFrame, keys: list[str], norms: Mapping[str, float] | None
) -> pd.Series[float]:
    known = rows[["region", "local_hour", "y_true", "y_pred"]].dropna()
    truth, forecast = (known[name].to_numpy() for name in ("y_true", "y_pred"))
    error = percent_errors(truth, forecast, norms_by_row(known["region"], norms or {}))
    means = known.assign(error=error).groupby(keys, observed=True)["error"].mean()
    errors: pd.Series[float] = means.rename(None).rename_axis(index=[None] * means.index.nlevels)
    return errors


class _Family(NamedTuple):
    """Contestants that share a look: the seeds of one cell, their means, or one baseline."""

    names: list[str]
    colour: str
    marker: str
    legend: str
    size: int = 52  # square points


def _families(contestants: Sequence[Contestant]) -> Iterator[_Family]:
    models, means = of_kind(contestants, "model"), of_kind(contestants, "mean")
    for number, cell in enumerate(dict.fromkeys(each.cell or "" for each in models)):
        own = [each for each in models if each.cell == cell]
        yield _family(own, cell_colour(cell, number), MODEL_MARKER, cell.upper())
    of_seeds = [each for each in means if each.seed is not None]
    of_all = [each for each in means if each.seed is None]
    for own, marker in zip((of_seeds, of_all), MEAN_MARKERS, strict=True):
        if own:
            yield _family(own, MEAN_COLOUR, marker, "mean of the cells")._replace(size=75)
    for each in of_kind(contestants, "blend"):
        yield _Family([each.name], BLEND_COLOUR, BLEND_MARKER, each.label, 75)
    for number, each in enumerate(of_kind(contestants, "fitted")):
        colour = FITTED_COLOURS[number % len(FITTED_COLOURS)]
        yield _Family([each.name], colour, FITTED_MARKER, each.label, 64)
    for number, each in enumerate(of_kind(contestants, "naive")):
        grey = NAIVE_GREYS[number % len(NAIVE_GREYS)]
        yield _Family([each.name], grey, NAIVE_MARKERS[number % len(NAIVE_MARKERS)], each.label)


def _family(own: list[Contestant], colour: str, marker: str, of_all: str) -> _Family:
    legend = own[0].label if len(own) == 1 else f"{of_all}, {len(own)} seeds"
    return _Family([each.name for each in own], colour, marker, legend)


def _scale_errors(axes: Axes, table: pd.DataFrame, label: str) -> None:
    axes.set_xlabel(f"{label} (%)", fontsize=TEXT_SIZE, color=INK)
    low, high = float(table.min().min()), float(table.max().max())
    if low <= 0 or high < 5 * low:
        axes.set_xlim(left=0)
        return
    axes.set_xscale("log")
    axes.set_xlabel(f"{label} (%, logarithmic scale)", fontsize=TEXT_SIZE, color=INK)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _mark_article(axes: Axes) -> None:
    for cell, percent in article.SMAPE.items():
        axes.axvline(
            percent, color=CELL_COLOURS[cell], linestyle="--" if cell == "gru" else ":",
            linewidth=1.4, zorder=2,
            label=f"the article's {cell.upper()}, overall: {format_percent(percent)}",
        )  # fmt: skip


def _heat_map_sentence(
    errors: pd.DataFrame, model: Contestant, overall: pd.Series[float], label: str
) -> str:
    hours = errors.mean().dropna()
    return (
        f"Heat map of the {label} of {model.label} by local hour and region. "
        f"Largest in {overall.index[0]} ({format_percent(overall.iloc[0])}), smallest in "
        f"{overall.index[-1]} ({format_percent(overall.iloc[-1])}); over all regions largest at "
        f"{hours.idxmax():02d}:00 and smallest at {hours.idxmin():02d}:00 local time."
    )


def _scores_sentence(
    overall: pd.Series[float], contestants: Sequence[Contestant], label: str, *, show_article: bool
) -> str:
    listed = ", ".join(f"{each.label} {format_percent(overall[each.name])}" for each in contestants)
    article = " Dashed and dotted lines mark the article's figures." if show_article else ""
    plot = f"Dot plot of the {label} by region."
    return f"{plot} Means: {listed}.{article} The numbers are tabled below."


def draw_backtest(scores: BacktestScores) -> Figure:
    """Left the error of each contestant by lead, right what share of truths its bands held."""
    figure = new_figure(3.4)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    leads = [each.lead for each in scores.by_lead]
    for name, colour in zip(scores.error, (MEAN_COLOUR, *NAIVE_GREYS), strict=False):
        errors = [each.error[name] for each in scores.by_lead]
        left.plot(leads, errors, color=colour, label=name.replace("_", " "))
    right.plot(leads, [each.coverage for each in scores.by_lead], color=MEAN_COLOUR)
    right.axhline(scores.share, color=INK, lw=0.8, ls=":")
    right.set_ylim(max(0.0, scores.share - 15), 100)
    titles = (f"{LABELS[scores.measure]} by lead, %", f"held by bands of {scores.share:.0f} %, %")
    for axes, title in zip((left, right), titles, strict=True):
        style_axes(axes, title=title, x_label="lead, h")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_ylim(bottom=0)
    left.legend(frameon=False, fontsize=TEXT_SIZE)
    first, last = scores.by_lead[0], scores.by_lead[-1]
    ends = " and ".join(format_percent(each.error[scores.model]) for each in (first, last))
    figure.set_label(
        f"Lines by lead. The {LABELS[scores.measure]} of {scores.model} at leads {first.lead} and "
        f"{last.lead} is {ends}; its bands held {scores.coverage:.1f} % of the truths."
    )
    return figure
