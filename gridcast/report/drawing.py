"""How all drawings of a run and a study look: colours, sizes, an empty figure, a dressed plot.

Only matplotlib's object API is used, no global state: drawings may be made in several threads. Each
figure carries a sentence of what is to be seen as its label (``figure.get_label()``), for the
report's alternative text.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Colours that the colour-blind tell apart (Okabe and Ito 2008); sizes in points at 10 inches.
INK, FAINT, PAPER = "#1f2430", "#d5d9e0", "#ffffff"
CELL_COLOURS: Final = {"gru": "#0072b2", "lstm": "#d55e00"}
OTHER_COLOURS: Final = ("#cc79a7", "#e69f00")
MEAN_COLOUR: Final = "#009e73"
BLEND_COLOUR: Final = "#117733"
FITTED_COLOURS: Final = ("#7b4fa3", "#a6761d", "#56b4e9")
NAIVE_GREYS: Final = ("#4d4d4d", "#7a7a7a", "#a0a0a0")
MODEL_MARKER, MEAN_MARKERS, FITTED_MARKER, BLEND_MARKER = "o", ("*", "X"), "h", "p"
NAIVE_MARKERS: Final = ("s", "D", "^", "v", "P")
TITLE_SIZE, TEXT_SIZE, TICK_SIZE = 12.0, 10.5, 10.0
ERROR_COLOUR_MAP: Final = "YlGnBu"  # ColorBrewer: safe for the colour-blind; dark is large
WIDTH_INCHES: Final = 10.0


def format_percent(value: float) -> str:
    """Three decimals, a dash for what is not known."""
    return f"{value:.3f} %" if np.isfinite(value) else "–"


def new_figure(height_inches: float) -> Figure:
    """An empty figure of a page's width."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    return Figure(figsize=(WIDTH_INCHES, height_inches), layout=layout, facecolor=PAPER)


def style_axes(
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


def cell_colour(cell: str, number: int = 0) -> str:
    """Of a cell; one that is not known takes the next of the others."""
    return CELL_COLOURS.get(cell, OTHER_COLOURS[number % len(OTHER_COLOURS)])
