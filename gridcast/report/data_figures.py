"""The drawings of the data report, as SVG written by hand.

A page has some fifty drawings of the same few shapes. Written as text they take milliseconds, where
matplotlib takes seconds that training would miss; they follow the page's colours, also at night,
and a week tells its counts where the pointer rests. ``data_page.html.jinja`` styles the classes.

Legend: ``Y`` years, ``W`` weeks of a year, ``H`` hours, ``Q`` quantiles, ``N`` readings.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from markupsafe import Markup

from gridcast.evaluation.measure import format_mw
from gridcast.report.data_profile import (
    COVERED,
    FLAGGED,
    HOURS_OF_A_WEEK,
    MISSING,
    REPAIRED,
    SEASONS,
    WEEKS_OF_A_YEAR,
    FlaggedStretch,
    RegionProfile,
)

_SVG: Final = Markup(
    '<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
    'aria-label="{label}">{parts}</svg>'
)
_TEXT: Final = Markup('<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{text}</text>')
_PATH: Final = Markup('<path class="{kind}" d="{d}"/>')
_CELL: Final = Markup("<g><title>{title}</title>{marks}</g>")
_RECT: Final = Markup('<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}"/>')

# Calendar: a cell a week, a row a year (CSS pixels).
_YEAR_WIDTH, _MONTHS_HEIGHT, _CELL_WIDTH, _ROW_HEIGHT = 40, 16, 8, 10
_MONTHS: Final = ("Jan", "Mar", "May", "Jul", "Sep", "Nov")
_MANY_HOURS: Final = (3, 24)  # from where on missing hours of a week are shown darker
# Profiles: four seasons and a week beside each other.
_AXIS_WIDTH, _SEASON_WIDTH, _WEEK_WIDTH, _PROFILE_HEIGHT, _GAP = 58, 148, 450, 118, 12
_HOURS: Final = (0, 6, 12, 18)
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_STRETCH_WIDTH, _STRETCH_HEIGHT = 300, 120


class _Axes(NamedTuple):
    """A drawing area and what its edges stand for."""

    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + self.width * (value - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.top + self.height * (high - value) / (high - low)

    def points(self, xs: Sequence[float] | np.ndarray, ys: np.ndarray) -> str:
        pairs = zip(xs, ys, strict=True)
        return "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in pairs)


# -- coverage ------------------------------------------------------------------------------------


def draw_calendar(profile: RegionProfile) -> Markup:
    """A row a year, a cell a week: what is missing, flagged and repaired."""
    hours_SYW = profile.hours_SYW
    num_years = hours_SYW.shape[1]
    parts = [*_months(), *_years(profile.first_year, num_years)]
    parts += _covered(hours_SYW[COVERED] > 0)
    unusual = hours_SYW[[MISSING, FLAGGED, REPAIRED]].sum(axis=0) > 0
    parts += [_week(profile, int(year), int(week)) for year, week in np.argwhere(unusual)]
    return _SVG.format(
        width=_YEAR_WIDTH + WEEKS_OF_A_YEAR * _CELL_WIDTH,
        height=_MONTHS_HEIGHT + num_years * _ROW_HEIGHT,
        label=f"{profile.region}: {profile.num_missing} hours missing, "
        f"{profile.num_flagged} flagged, {profile.num_repaired} repaired, by week",
        parts=Markup("").join(parts),
    )


def _months() -> Iterator[Markup]:
    for number, month in enumerate(_MONTHS):
        x = _YEAR_WIDTH + number * WEEKS_OF_A_YEAR * _CELL_WIDTH / len(_MONTHS)
        yield _TEXT.format(x=x, y=_MONTHS_HEIGHT - 5, kind="start", text=month)


def _years(first: int, num: int) -> Iterator[Markup]:
    step = 2 if num > 4 else 1  # noqa: PLR2004 - labels need the height of two rows
    for row in range(0, num, step):
        y = _MONTHS_HEIGHT + row * _ROW_HEIGHT + _ROW_HEIGHT - 1
        yield _TEXT.format(x=_YEAR_WIDTH - 6, y=y, kind="end", text=first + row)


def _covered(is_covered_YW: np.ndarray) -> Iterator[Markup]:
    """A bar from a year's first week to its last: the span of a region has no hole."""
    for row, is_covered in enumerate(is_covered_YW):
        weeks = np.flatnonzero(is_covered)
        yield _RECT.format(
            kind="covered",
            x=_YEAR_WIDTH + weeks[0] * _CELL_WIDTH,
            y=_MONTHS_HEIGHT + row * _ROW_HEIGHT,
            width=(weeks[-1] - weeks[0] + 1) * _CELL_WIDTH,
            height=_ROW_HEIGHT - 1,
        )


def _week(profile: RegionProfile, year: int, week: int) -> Markup:
    _, missing, flagged, repaired = (int(num) for num in profile.hours_SYW[:, year, week])
    x, y = _YEAR_WIDTH + week * _CELL_WIDTH, _MONTHS_HEIGHT + year * _ROW_HEIGHT
    marks = Markup("")
    if missing:
        shade = 1 + sum(missing >= hours for hours in _MANY_HOURS)
        kind = f"missing-{shade}"
        marks += _RECT.format(kind=kind, x=x, y=y, width=_CELL_WIDTH, height=_ROW_HEIGHT - 1)
    if repaired:
        top = y + _ROW_HEIGHT - 4
        marks += _RECT.format(kind="repaired", x=x, y=top, width=_CELL_WIDTH, height=3)
    if flagged:
        middle = f"M{x + _CELL_WIDTH / 2} {y - 0.5}l4.5 5l-4.5 5l-4.5 -5z"
        marks += _PATH.format(kind="flagged", d=middle)
    first_day = dt.date(profile.first_year + year, 1, 1) + dt.timedelta(weeks=week)
    title = f"week from {first_day}: {missing} missing, {flagged} flagged, {repaired} repaired"
    return _CELL.format(title=title, marks=marks)


# -- loads ---------------------------------------------------------------------------------------


def draw_profiles(profile: RegionProfile) -> Markup:
    """The load by local hour in each season, and by hour of the week, on one scale."""
    y_range = _range(np.concatenate([profile.day_mw_SHQ[..., [0, -1]].ravel(),
                                     profile.week_mw_HQ[:, [0, -1]].ravel()]))  # fmt: skip
    parts = []
    for number, season in enumerate(SEASONS):
        left = _AXIS_WIDTH + number * (_SEASON_WIDTH + _GAP)
        axes = _Axes(left, 20, _SEASON_WIDTH, _PROFILE_HEIGHT, (0, 23), y_range)
        parts += [*_grid(axes, has_labels=number == 0), *_bands(axes, profile.day_mw_SHQ[number])]
        parts += [_caption(axes, season), *_below(axes, _HOURS, [f"{hour} h" for hour in _HOURS])]
    left = _AXIS_WIDTH + len(SEASONS) * (_SEASON_WIDTH + _GAP)
    axes = _Axes(left, 20, _WEEK_WIDTH, _PROFILE_HEIGHT, (0, HOURS_OF_A_WEEK - 1), y_range)
    parts += [*_grid(axes, has_labels=False), *_bands(axes, profile.week_mw_HQ)]
    noons = [day * 24 + 12 for day in range(len(_DAYS))]
    parts += [_caption(axes, "The week"), *_below(axes, noons, _DAYS)]
    parts += [_upright(axes, day * 24) for day in range(1, len(_DAYS))]
    return _SVG.format(
        width=left + _WEEK_WIDTH + 4,
        height=_PROFILE_HEIGHT + 40,
        label=f"{profile.region}: load in MW by local hour in four seasons, and by hour of the "
        f"week; mean {format_mw(profile.mean_mw, digits=0)} MW",
        parts=Markup("").join(parts),
    )


def _bands(axes: _Axes, mw_HQ: np.ndarray) -> Iterator[Markup]:
    known = np.flatnonzero(~np.isnan(mw_HQ).any(axis=1))
    if len(known) < 2:  # noqa: PLR2004 - a line has two ends
        middle, height = axes.left + axes.width / 2, axes.top + axes.height / 2
        yield _TEXT.format(x=middle, y=height, kind="middle", text="no readings")
        return
    for kind, low, high in (("band-90", 0, -1), ("band-50", 1, -2)):
        there = axes.points(known, mw_HQ[known, high])
        back = axes.points(known[::-1], mw_HQ[known[::-1], low])
        yield _PATH.format(kind=kind, d=f"M{there}L{back}z")
    yield _PATH.format(kind="line", d="M" + axes.points(known, mw_HQ[known, mw_HQ.shape[1] // 2]))


# -- flags ---------------------------------------------------------------------------------------


def draw_stretch(region: str, stretch: FlaggedStretch) -> Markup:
    """Flagged readings among their neighbours of five days."""
    load_mw = stretch.load_mw_N
    axes = _Axes(
        _AXIS_WIDTH, 18, _STRETCH_WIDTH, _STRETCH_HEIGHT, (0, len(load_mw) - 1), _range(load_mw)
    )
    known = np.flatnonzero(~np.isnan(load_mw))
    runs = np.split(known, np.flatnonzero(np.diff(known) > 1) + 1)
    line = "M".join(axes.points(run, load_mw[run]) for run in runs)
    crosses = "".join(
        f"M{axes.x(mark) - 4:.1f} {axes.y(load_mw[mark]) - 4:.1f}l8 8m0 -8l-8 8"
        for mark in stretch.marks
    )
    parts = [*_grid(axes, has_labels=True), *_dates(axes, stretch)]
    lines = {"line": f"M{line}", "under-mark": crosses, "mark": crosses}
    parts += [_PATH.format(kind=kind, d=d) for kind, d in lines.items()]
    label = (
        f"{region}: {stretch.num_flagged} flagged ({', '.join(stretch.rules)}) from "
        f"{stretch.local_label:%Y-%m-%d %H:%M} on, and the five days before and after"
    )
    return _SVG.format(
        width=_AXIS_WIDTH + _STRETCH_WIDTH + 12,
        height=_STRETCH_HEIGHT + 38,
        label=label,
        parts=Markup("").join(parts),
    )


def _dates(axes: _Axes, stretch: FlaggedStretch) -> Iterator[Markup]:
    """A label for every second or further midnight in UTC, so that at most six stand there."""
    hours_to_midnight = -stretch.first.hour % 24
    midnights = range(hours_to_midnight, len(stretch.load_mw_N), 24)
    step = -(-len(midnights) // 6)
    for hour in midnights[::step]:
        day = stretch.first + dt.timedelta(hours=hour)
        yield _upright(axes, hour)
        yield from _below(axes, [hour], [f"{day:%d %b}"])


# -- axes ----------------------------------------------------------------------------------------


def _range(values: np.ndarray) -> tuple[float, float]:
    """From the lowest to the highest known value, and a little more."""
    known = values[~np.isnan(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _ticks(low: float, high: float, *, most: int = 4) -> list[float]:
    """Round values between ``low`` and ``high``, ``most`` of them or fewer."""
    power = 10.0 ** np.floor(np.log10((high - low) / most))
    step = next(each for each in power * np.array([1, 2, 5, 10]) if (high - low) / each <= most)
    first = np.ceil(low / step)
    return [float(number * step) for number in np.arange(first, np.floor(high / step) + 1)]


def _grid(axes: _Axes, *, has_labels: bool) -> Iterator[Markup]:
    for value in _ticks(*axes.y_range):
        y = axes.y(value)
        yield _PATH.format(kind="grid", d=f"M{axes.left:.1f} {y:.1f}h{axes.width:.1f}")
        if has_labels:
            text = f"{value + 0.0:,.10g}"
            yield _TEXT.format(x=axes.left - 6, y=y + 4, kind="end", text=text)
    if has_labels:
        yield _TEXT.format(x=axes.left - 6, y=axes.top - 10, kind="end", text="MW")


def _upright(axes: _Axes, value: float) -> Markup:
    return _PATH.format(kind="grid", d=f"M{axes.x(value):.1f} {axes.top:.1f}v{axes.height:.1f}")


def _caption(axes: _Axes, text: str) -> Markup:
    return _TEXT.format(x=axes.left, y=axes.top - 7, kind="caption", text=text)


def _below(axes: _Axes, values: Sequence[float], texts: Sequence[str]) -> Iterator[Markup]:
    for value, text in zip(values, texts, strict=True):
        y = axes.top + axes.height + 14
        yield _TEXT.format(x=axes.x(value), y=y, kind="middle", text=text)
