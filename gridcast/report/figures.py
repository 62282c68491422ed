"""The report's drawings: forecasts beside the truth, errors by hour, scores of every contestant.

Only matplotlib's object API is used, no global state: drawings may be made in several threads. Each
figure carries a sentence of what is to be seen as its label (``figure.get_label()``), for the
report's alternative text.

A frame of ``forecasts`` has one row a scored test label, sorted by region, then time: ``region``,
``timestamp`` (UTC, start of the hour), ``local_hour`` (0 to 23), ``y_true`` (MW) and one column a
contestant (MW, NaN where it has no forecast). A frame of ``scores`` has one row a contestant and
region, with ``contestant``, ``kind`` ("model", "mean", "fitted" or "naive"), ``region`` and
``smape`` (percent); the region ``ALL`` holds the mean over the regions.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from gridcast.evaluation.contestants import MEAN_OF_ALL, MOST_TOLD, OVERALL
from gridcast.evaluation.metrics import relative_errors, smape
from gridcast.report import article

# Colours that the colour-blind tell apart (Okabe and Ito 2008); sizes in points at 10 inches.
INK, FAINT, PAPER = "#1f2430", "#d5d9e0", "#ffffff"
CELL_COLOURS: Final = {"gru": "#0072b2", "lstm": "#d55e00"}
OTHER_COLOURS: Final = ("#cc79a7", "#e69f00")
MEAN_COLOUR: Final = "#009e73"
FITTED_COLOURS: Final = ("#7b4fa3", "#a6761d", "#56b4e9")
NAIVE_GREYS: Final = ("#4d4d4d", "#7a7a7a", "#a0a0a0")
MODEL_MARKER, MEAN_MARKERS, FITTED_MARKER = "o", ("*", "X"), "h"
NAIVE_MARKERS: Final = ("s", "D", "^", "v", "P")
TITLE_SIZE, TEXT_SIZE, TICK_SIZE = 12.0, 10.5, 10.0
ERROR_COLOUR_MAP: Final = "YlGnBu"  # ColorBrewer: safe for the colour-blind; dark is large
WIDTH_INCHES: Final = 10.0
_DAY, _TIME = "%d %b", "%H:%M"
DATE_FORMATS: Final = {  # for a step of years, months, days, hours, minutes, seconds
    "formats": ["%Y", "%b %Y", _DAY, _TIME, _TIME, "%S"],
    "zero_formats": ["", "%Y", _DAY, _DAY, _TIME, _TIME],
}


class Panel(NamedTuple):
    """One of the article's four pictures; regions count from 1 in alphabetical order."""

    model: int  # index into the models drawn
    region_number: int
    first: bool  # the first hours of the test part, or the last
    num_hours: int


ARTICLE_PANELS: Final = (
    Panel(model=0, region_number=1, first=False, num_hours=100),
    Panel(model=0, region_number=9, first=False, num_hours=50),
    Panel(model=0, region_number=5, first=True, num_hours=50),
    Panel(model=-1, region_number=7, first=True, num_hours=100),
)


def contestant_label(contestant: str) -> str:
    """What a reader calls a contestant.

    >>> contestant_label("gru-seed0"), contestant_label("same_hour_last_week")
    ('GRU seed 0', 'same hour last week')
    >>> contestant_label("mean-seed0"), contestant_label("mean-all")
    ('mean of seed 0', 'mean of all')
    """
    if contestant == MEAN_OF_ALL:
        return "mean of all"
    cell, seed_mark, seed = contestant.partition("-seed")
    if not seed_mark:
        return contestant.replace("_", " ")
    return f"mean of seed {seed}" if cell == "mean" else f"{cell.upper()} seed {seed}"


def format_percent(value: float) -> str:
    """Three decimals, a dash for what is not known."""
    return f"{value:.3f} %" if np.isfinite(value) else "–"


def draw_panels(forecasts: pd.DataFrame, models: Sequence[str]) -> Figure:
    """The article's four panels of predicted against actual load, with real dates in UTC."""
    figure = sheet(6.6)
    regions = sorted(map(str, forecasts["region"].unique()))
    seen = [
        _draw_panel(axes, forecasts, panel, models[panel.model], regions)
        for axes, panel in zip(figure.subplots(2, 2).flat, ARTICLE_PANELS, strict=True)
    ]
    figure.set_label(f"Predicted and actual load in four panels. {'; '.join(seen)}.")
    return figure


def draw_error_heat_map(forecasts: pd.DataFrame, model: str) -> Figure:
    """The sMAPE of ``model`` by local hour and region, the region with the largest on top.

    Of very many regions those of both ends stand there, and the mean of all between them.
    """
    errors = errors_by_hour(forecasts, model)
    overall = _smape_by(forecasts, model, "region").sort_values(ascending=False)
    errors, overall, mean = *_ends_and_mean(errors, overall), float(overall.mean())
    figure = sheet(1.7 + 0.32 * len(errors))
    axes = figure.subplots()
    colours = mpl.colormaps[ERROR_COLOUR_MAP].with_extremes(bad=FAINT)
    image = axes.imshow(np.ma.masked_invalid(errors.to_numpy()), cmap=colours, aspect="auto")
    dress(
        axes, title=f"{contestant_label(model)}: error by hour of day", x_label="Local hour of day"
    )
    axes.set_xticks(range(24), [f"{hour:02d}" for hour in range(24)])
    labels = [f"{region}  {format_percent(overall[region])}" for region in errors.index]
    axes.set_yticks(range(len(errors)), labels)
    bar = figure.colorbar(image, ax=axes, pad=0.015)
    bar.ax.axhline(mean, color=INK, linewidth=2)
    dress(bar.ax, y_label=f"sMAPE (%); line: mean of the regions, {mean:.3f}")
    figure.set_label(_heat_map_sentence(errors, model, overall))
    return figure


def draw_scores(scores: pd.DataFrame, *, show_article: bool = False) -> Figure:
    """The sMAPE of every contestant by region; ``show_article`` where the data are PJM's."""
    table = smape_table(scores)
    regions = sorted(set(table.index) - {OVERALL}, reverse=True)
    if len(regions) > MOST_TOLD:
        return _draw_distribution(scores, table, show_article=show_article)
    places = {region: float(place) for place, region in enumerate(regions, start=1)}
    places |= {OVERALL: -0.3} if OVERALL in table.index else {}
    figure = sheet(1.9 + 0.33 * len(places))
    axes = figure.subplots()
    for contestants, colour, marker, legend, size in _families(scores):
        axes.scatter(
            table.loc[list(places), contestants].to_numpy().ravel(),
            np.repeat(list(places.values()), len(contestants)),
            s=size, color=colour, marker=marker, label=legend,
            edgecolors=PAPER, linewidths=0.6, zorder=3 if marker in NAIVE_MARKERS else 4,
        )  # fmt: skip
    dress(axes, title="Error by region: further left is better", grid=True)
    _scale_errors(axes, table)
    names = [f"mean of {len(regions)}" if place < 0 else name for name, place in places.items()]
    axes.set_yticks(list(places.values()), names)
    if OVERALL in places:
        axes.axhspan(-1.0, 0.35, color=FAINT, alpha=0.45, linewidth=0)
        axes.set_ylim(-1.0, len(regions) + 0.7)
    if show_article:
        _mark_article(axes)
    figure.legend(
        loc="outside lower center", ncols=3, fontsize=TEXT_SIZE, frameon=False, labelcolor=INK
    )
    figure.set_label(_scores_sentence(table, show_article=show_article))
    return figure


def _draw_distribution(scores: pd.DataFrame, table: pd.DataFrame, *, show_article: bool) -> Figure:
    """Of very many regions: in which share of them each contestant's sMAPE is at most so large."""
    figure = sheet(5.2)
    axes = figure.subplots()
    regional = table.drop(index=OVERALL, errors="ignore")
    for contestants, colour, marker, legend, _ in _families(scores):
        for number, name in enumerate(contestants):
            errors = np.sort(regional[name].dropna().to_numpy())
            share = np.arange(1, len(errors) + 1) / max(1, len(errors))
            is_model = marker == MODEL_MARKER
            axes.step(
                errors, share, where="post", color=colour, linewidth=1.8 if is_model else 1.2,
                linestyle="-" if is_model else "--", label=None if number else legend,
            )  # fmt: skip
    dress(axes, title=f"Error in {len(regional):,} regions: further left is better", grid=True)
    _scale_errors(axes, regional)
    axes.set_ylabel("share of the regions below", fontsize=TEXT_SIZE, color=INK)
    axes.set_ylim(0, 1)
    if show_article:
        _mark_article(axes)
    figure.legend(
        loc="outside lower center", ncols=3, fontsize=TEXT_SIZE, frameon=False, labelcolor=INK
    )
    sentence = _scores_sentence(table, show_article=show_article)
    figure.set_label(sentence.replace("Dot plot of sMAPE by region.", "Distribution of the sMAPE."))
    return figure


def _ends_and_mean(
    errors: pd.DataFrame, overall: pd.Series[float]
) -> tuple[pd.DataFrame, pd.Series[float]]:
    """Rows in order of ``overall``; of very many the ends, and a row of the mean of all."""
    if len(overall) <= MOST_TOLD:
        return errors.loc[overall.index], overall
    half = MOST_TOLD // 2
    name = f"mean of {len(overall):,}"
    mean = errors.mean().rename(name).to_frame().T
    first, last = overall.head(half), overall.tail(half)
    rows = pd.concat([errors.loc[first.index], mean, errors.loc[last.index]])
    return rows, pd.concat([first, pd.Series({name: overall.mean()}), last])


def errors_by_hour(forecasts: pd.DataFrame, model: str) -> pd.DataFrame:
    """The sMAPE (percent) of ``model``: one row a region, one column a local hour from 0 to 23."""
    errors = _smape_by(forecasts, model, ["region", "local_hour"])
    return errors.unstack().reindex(columns=range(24))  # noqa: PD010 - a Series


def smape_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a region, one column a contestant in the order of ``scores``; sMAPE in percent."""
    order = list(dict.fromkeys(scores["contestant"].astype(str)))
    plain = scores.astype({"region": str, "contestant": str})
    return plain.pivot(index="region", columns="contestant", values="smape")[order]  # noqa: PD010


def _smape_by(forecasts: pd.DataFrame, model: str, keys: str | list[str]) -> pd.Series[float]:
    known = forecasts[["region", "local_hour", "y_true", model]].dropna()
    known = known.assign(error=relative_errors(known["y_true"].to_numpy(), known[model].to_numpy()))
    means = 100 * known.groupby(keys, observed=True)["error"].mean()
    errors: pd.Series[float] = means.rename(None).rename_axis(index=[None] * means.index.nlevels)
    return errors


def _draw_panel(
    axes: Axes, forecasts: pd.DataFrame, panel: Panel, model: str, regions: Sequence[str]
) -> str:
    region = regions[(panel.region_number - 1) % len(regions)]
    rows = forecasts[forecasts["region"] == region]
    rows = rows.head(panel.num_hours) if panel.first else rows.tail(panel.num_hours)
    hours: NDArray[np.datetime64] = rows["timestamp"].dt.tz_localize(None).to_numpy()
    colour = _colour(model.partition("-")[0])
    axes.plot(hours, rows["y_true"], color=INK, linewidth=2.0, label="actual")
    axes.plot(
        hours, rows[model], "o-", color=colour, linewidth=0.9, markersize=3.4, label="predicted"
    )
    known = rows.dropna(subset=[model])
    error = format_percent(smape(known["y_true"].to_numpy(), known[model].to_numpy()))
    title = f"{region} · {contestant_label(model)} · sMAPE {error}"
    which = f"{'first' if panel.first else 'last'} {len(rows)} test hours"
    days = f"{rows['timestamp'].iloc[0]:%d %b} to {rows['timestamp'].iloc[-1]:%d %b %Y}"
    x_label = f"{which}, {days} (UTC)"
    dress(axes, title=title, x_label=x_label, y_label="Load (MW)", grid=True)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_major_locator(locator := AutoDateLocator(tz=dt.UTC, minticks=4, maxticks=9))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(
        ConciseDateFormatter(locator, tz=dt.UTC, show_offset=False, **DATE_FORMATS)  # type: ignore[no-untyped-call]
    )
    axes.legend(fontsize=TICK_SIZE, frameon=False, labelcolor=INK)
    return f"{region}, {which}, {contestant_label(model)}: sMAPE {error}"


def sheet(height_inches: float) -> Figure:
    """An empty figure of a page's width."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    return Figure(figsize=(WIDTH_INCHES, height_inches), layout=layout, facecolor=PAPER)


def dress(
    axes: Axes, *, title: str = "", x_label: str = "", y_label: str = "", grid: bool = False
) -> None:
    """Title, labels and frame of a plot, as all have them."""
    axes.set_title(title, fontsize=TITLE_SIZE, color=INK, loc="left", fontweight="bold")
    axes.set_xlabel(x_label, fontsize=TEXT_SIZE, color=INK)
    axes.set_ylabel(y_label, fontsize=TEXT_SIZE, color=INK)
    axes.tick_params(labelsize=TICK_SIZE, colors=INK, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    if grid:
        axes.grid(visible=True, color=FAINT, linewidth=0.7)
        axes.set_axisbelow(True)


class _Family(NamedTuple):
    """Contestants that share a look: the seeds of one cell, their means, or one baseline."""

    contestants: list[str]
    colour: str
    marker: str
    legend: str
    size: int = 52  # square points


def _families(scores: pd.DataFrame) -> Iterator[_Family]:
    named = scores.astype({"contestant": str}).drop_duplicates("contestant")
    models, means, fitted, naive = (
        list(named.loc[named["kind"] == kind, "contestant"])
        for kind in ("model", "mean", "fitted", "naive")
    )
    for number, cell in enumerate(dict.fromkeys(name.partition("-")[0] for name in models)):
        jobs = [name for name in models if name.partition("-")[0] == cell]
        yield _Family(jobs, _colour(cell, number), MODEL_MARKER, _legend(jobs, cell.upper()))
    of_seeds = [name for name in means if name != MEAN_OF_ALL]
    of_all = [name for name in means if name == MEAN_OF_ALL]
    for own, marker in zip((of_seeds, of_all), MEAN_MARKERS, strict=True):
        if own:
            yield _Family(own, MEAN_COLOUR, marker, _legend(own, "mean of the cells"), 75)
    for number, name in enumerate(fitted):
        colour = FITTED_COLOURS[number % len(FITTED_COLOURS)]
        yield _Family([name], colour, FITTED_MARKER, contestant_label(name), 64)
    for number, name in enumerate(naive):
        grey = NAIVE_GREYS[number % len(NAIVE_GREYS)]
        marker = NAIVE_MARKERS[number % len(NAIVE_MARKERS)]
        yield _Family([name], grey, marker, contestant_label(name))


def _legend(contestants: list[str], together: str) -> str:
    alone = len(contestants) == 1
    return contestant_label(contestants[0]) if alone else f"{together}, {len(contestants)} seeds"


def _colour(cell: str, number: int = 0) -> str:
    """Of a cell; one that is not known takes the next of the others."""
    return CELL_COLOURS.get(cell, OTHER_COLOURS[number % len(OTHER_COLOURS)])


def _scale_errors(axes: Axes, table: pd.DataFrame) -> None:
    axes.set_xlabel("sMAPE (%)", fontsize=TEXT_SIZE, color=INK)
    low, high = float(table.min().min()), float(table.max().max())
    if low <= 0 or high < 5 * low:
        axes.set_xlim(left=0)
        return
    axes.set_xscale("log")
    axes.set_xlabel("sMAPE (%, logarithmic scale)", fontsize=TEXT_SIZE, color=INK)
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


def _heat_map_sentence(errors: pd.DataFrame, model: str, overall: pd.Series[float]) -> str:
    hours = errors.mean().dropna()
    return (
        f"Heat map of the sMAPE of {contestant_label(model)} by local hour and region. "
        f"Largest in {overall.index[0]} ({format_percent(overall.iloc[0])}), smallest in "
        f"{overall.index[-1]} ({format_percent(overall.iloc[-1])}); over all regions largest at "
        f"{hours.idxmax():02d}:00 and smallest at {hours.idxmin():02d}:00 local time."
    )


def _scores_sentence(table: pd.DataFrame, *, show_article: bool) -> str:
    means = table.T[OVERALL] if OVERALL in table.index else table.mean()
    listed = ", ".join(
        f"{contestant_label(str(name))} {format_percent(error)}" for name, error in means.items()
    )
    article = " Dashed and dotted lines mark the article's figures." if show_article else ""
    return f"Dot plot of sMAPE by region. Means: {listed}.{article} The numbers are tabled below."
