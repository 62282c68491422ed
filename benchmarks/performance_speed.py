"""Of docs/performance.md: training throughput, and how far it is from the machine's limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from benchmarks import rivals
from benchmarks.article_speed import DATA_BAR
from benchmarks.article_speed import SPEED_BARS as ARTICLE_SPEED_BARS
from benchmarks.ceilings import step_need
from benchmarks.tables import (
    NOT_MEASURED,
    about,
    device_type,
    mebibytes,
    met,
    table,
)
from gridcast.config import Config

NETWORKS = ("gru", "lstm")
_RIVALS_NAMES = ("neuralforecast", "darts")

Json = dict[str, Any]


def loader_section(kept: Json) -> str:
    """Ours against all windows on the host and a DataLoader."""
    rows, notes = [], []
    for cell in NETWORKS:
        article, ours = (_middle(kept["rows"], cell, way) for way in ("article", "ours"))
        if article is None or ours is None:
            continue
        speed = ours["windows_per_second"] / article["windows_per_second"]
        less = article["data_bytes"] / ours["data_bytes"]
        rows.append([
            f"{cell.upper()}, ours in {ours['precision']}",
            f"{article['windows_per_second']:,.0f}",
            f"{ours['windows_per_second']:,.0f}",
            f"**{speed:.2f} ×**",
            mebibytes(article["data_bytes"]),
            mebibytes(ours["data_bytes"]),
            f"**{less:.0f} × less**",
        ])  # fmt: skip
        bar = ARTICLE_SPEED_BARS[device_type(kept)]
        notes.append(
            f"{cell.upper()}: the bars, {bar:g} times the speed and {DATA_BAR:g} times less for"
            f" windows, are {met(speed, bar)} and {met(less, DATA_BAR)}."
        )
    head = ["", "windows/s, article", "ours", "ratio", "windows, article", "ours", "ratio"]
    return "\n\n".join([about(kept), table(head, rows), " ".join(notes)])


def _middle(rows: Iterable[Json], cell: str, way: str) -> Json | None:
    turns = [row for row in rows if (row["cell"], row["contestant"]) == (cell, way)]
    if not turns:
        return None
    fields = ("windows_per_second", "step_seconds", "data_bytes")
    return {**turns[0], **{field: median(row[field] for row in turns) for field in fields}}


def rivals_section(kept: Json) -> str:
    """The same network in gridcast and in the rivals, shape by shape."""
    parts = [about(kept), _RIVALS]
    for (shape, cell, precision), contest in rivals.contests(kept["rows"]).items():
        ours = contest.ours
        sizes = (
            f"{ours['num_layers']} × {ours['hidden_size']} units, {ours['lookback']} steps,"
            f" {ours['batch_size']:,} windows a step"
        )
        if device_type(kept) == "cpu":
            sizes += f", {ours['num_threads']} CPU thread{'s' if ours['num_threads'] > 1 else ''}"
        parts += [
            f"### {cell.upper()}, {precision}, the shape of {shape}: {sizes}",
            table(list(rivals.HEAD), rivals.contest_rows(contest)),
            "; ".join(rivals.verdicts(contest, device_type(kept))) + ".",
        ]
    return "\n\n".join(parts)


_RIVALS = (
    "One network, one set of inputs and windows of one length for all, each contestant in a process"
    " of its own, in turn; medians of the turns. A window counts once it went through the network"
    " forward and backward, whatever labels it has. Windows (bytes): what is kept of data and"
    " windows. Process: the most over what the imports took, activations included. The last two"
    " columns are ours against that line. What each is set to stands in `benchmarks/rivals.py` and"
    " `benchmarks/rival_training.py`; where a rival has two sensible settings the bars ask of the"
    " faster one."
)


# -- the machine's limit ---------------------------------------------------------------------------


def limits(ceilings: dict[str, Json], measured: Iterable[Json]) -> list[str]:
    """How much of each machine's rates training steps reach: ours, and the rivals'."""
    title = "How far from the machine's limit"
    if not ceilings:
        return [f"## {title}", f"{NOT_MEASURED.capitalize()}."]
    files = list(measured)
    text = []
    for device, kept in ceilings.items():
        lines = [
            line
            for each in files
            if each["device"] == device
            for line in shares(each, kept["rows"])
        ]
        head = [
            "", "a step", "arithmetic", "of the matrix rate", "bytes", "of the copy rate",
        ]  # fmt: skip
        steps = table(head, lines) if lines else f"Training steps: {NOT_MEASURED}."
        text += [f"## {title}: {device}", about(kept), ceilings_table(kept["rows"]), steps, _SHARES]
    return text


_SHARES = (
    "Arithmetic: 6 operations a recurrent weight, step of the window and window. Bytes: what one"
    " batch has to move at the least (`step_need` in `benchmarks/ceilings.py` says what is"
    " counted). A matrix product of thousands of rows is the ceiling, on a CPU our own of small"
    " ones, which is faster; a recurrence multiplies a batch by its weights once an hour of the"
    " window, one hour after the other. What a rival reaches of the matrix rate bounds how much"
    " faster anything can be that computes the same in that precision: at 40 %, 2.5 times."
)


def ceilings_table(rows: Iterable[Json]) -> str:
    """What was measured of the machine."""
    lines = []
    for row in rows:
        if row["contestant"] == "copy":
            lines.append(["copy", f"{row['bytes_per_second'] / 1e9:,.0f} GB/s"])
        else:
            rate = f"{row['flops_per_second'] / 1e12:,.2f} TFLOP/s"
            lines.append([f"{row['contestant']}, {row['precision']}", rate])
    return table(["", "at best"], lines)


def shares(kept: Json, ceilings: Sequence[Json]) -> list[list[str]]:
    """One line for each network and contestant that a file has."""
    rates = dict[str, float]()
    for row in ceilings:
        if row["contestant"] != "copy":
            rates[row["precision"]] = max(rates.get(row["precision"], 0.0), row["flops_per_second"])
    copied = next(row["bytes_per_second"] for row in ceilings if row["contestant"] == "copy")
    turns = [row for row in kept["rows"] if row["contestant"] in {"ours", *_RIVALS_NAMES}]
    lines = []
    for (shape, cell, precision, contestant), rows in _by_network(turns).items():
        rate, seconds = rates.get(precision), median(row["step_seconds"] for row in rows)
        need = step_need(
            _config_of(shape, rows[0]),
            cell=cell,
            num_features=rows[0].get("num_inputs", 5),
            precision=precision,
        )
        reached, moved = need.flops / seconds, need.num_bytes / seconds
        lines.append([
            f"{cell.upper()}, {precision}, shape of {shape} ({kept['benchmark']}), {contestant}",
            f"{1000 * seconds:,.2f} ms",
            f"{reached / 1e12:,.3f} TFLOP/s",
            f"{100 * reached / rate:.1f} %" if rate else NOT_MEASURED,
            f"{moved / 1e9:,.1f} GB/s",
            f"{100 * moved / copied:.1f} %",
        ])  # fmt: skip
    return lines


def _by_network(turns: Iterable[Json]) -> dict[tuple[Any, Any, str, str], list[Json]]:
    """Of a contestant with several settings the fastest."""
    groups: dict[tuple[Any, Any, str, str], dict[str, list[Json]]] = {}
    for row in turns:
        key = (row.get("shape", "article"), row["cell"], row["precision"], row["contestant"])
        groups.setdefault(key, {}).setdefault(row.get("setting", ""), []).append(row)
    return {
        key: min(settings.values(), key=lambda rows: median(row["step_seconds"] for row in rows))
        for key, settings in groups.items()
    }


def _config_of(shape: rivals.Shape, row: Json) -> Config:
    """The profile, with the sizes that were measured should it have others by now."""
    sizes = {
        "model.hidden_size": row.get("hidden_size"),
        "model.num_layers": row.get("num_layers"),
        "windows.lookback": row.get("lookback"),
        "training.batch_size": row.get("batch_size"),
    }
    overrides = tuple(f"{name}={size}" for name, size in sizes.items() if size is not None)
    return Config.load(rivals.PROFILES[shape], overrides=overrides)
