"""Write docs/results.md, and the block of figures in docs/models.md, from ``benchmarks/results``.

``python benchmarks/write_results.py`` after ``article_accuracy.py`` or ``article_speed.py``. No
figure of ours stands in those pages but through here; the article's are those of
gridcast/report/article.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, NamedTuple

from scipy.stats import t as student

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.article_speed import DATA_BAR, SPEED_BARS
from benchmarks.tables import (
    NOT_MEASURED,
    NOTHING,
    RESULTS,
    about,
    kept_files,
    met,
    sections,
    table,
)
from benchmarks.update_readme import with_block
from gridcast.report import article

ROOT = Path(__file__).resolve().parent.parent
PAGE, MODELS = ROOT / "docs" / "results.md", ROOT / "docs" / "models.md"
BLOCK = "measured"
CONFIDENCE = 0.95
CELLS = ("gru", "lstm")
ARTICLE_WINDOWS = 5 * 957 * 1024  # five passes
# The order of the tables; the whole precision comes first.
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
WHOLE = "fp32"

_INTRODUCTION = (
    "Written by `benchmarks/write_results.py` from the files in `benchmarks/results`; no figure of"
    ' ours is typed. The article is "Gated Recurrent Unit (GRU) With PyTorch" by Gabriel Loye. Its'
    " protocol is the profile [seed](../configs/seed.yaml): the same windows, network, optimizer"
    " and test labels. What gridcast makes of the same data by default stands in the"
    " [README](../README.md#result); the two cells are explained in [models](models.md)."
)
_QUARTER = (
    "Its formula is |F − A| / ((F + A) / 2), its code `abs(o-t)/(t+o)/2`. There the last 2 divides"
    " the quotient and not the sum: e / (2 s) where the formula has 2 e / s, so it prints a"
    " quarter. All other figures here follow the formula. The article trained each network once."
    " Its times are those of `time.clock`, on a GPU that it does not name."
)
_SEEDS = (
    "A seed stands for first weights, order of the windows and dropout. Data and test labels are"
    " the same in all runs, so the intervals say nothing about other data. Each interval is taken"
    " by itself: of many, one in twenty misses."
)
_BOTH_WAYS = (
    "The article's way: all windows on the host as float64, `TensorDataset` and `DataLoader`, eager"
    " steps, the loss read each step, PyTorch's own settings. Ours: an index into the series. Both"
    " train the same network on the same windows, each in a process of its own, in turn. Data that"
    " train: its training windows and labels; our whole series, the index of the windows and their"
    " order. Process: Python, PyTorch, the activations and, in the article's way, the copies made"
    " while the regions are joined."
)

_AVERAGED = (
    "The protocol's learning rate is constant to the end, so the last step's weights are a draw"
    " from a noisy neighbourhood, and so is their error. The same trainings with the mean of their"
    " weights over the last pass (`training.average_last=0.2`; the training itself is not changed"
    " by it) tell precisions and cells apart far better. The article does not do this."
)

_DIFFERENCE_HEAD = (
    "", "pairs", "sMAPE difference ± deviation, points", "95 % interval", "time, ratio", "says",
)  # fmt: skip

Json = dict[str, Any]


class Interval(NamedTuple):
    """A mean of differences with its t interval; without one where there is but one pair."""

    num_pairs: int
    middle: float
    deviation: float
    low: float
    high: float

    @property
    def shows_a_difference(self) -> bool:
        """Zero lies outside."""
        return self.num_pairs > 1 and (self.low > 0 or self.high < 0)


def paired(first: dict[int, float], second: dict[int, float]) -> Interval | None:
    """``first - second`` over the seeds that both have: mean and 95 % t interval (Student 1908)."""
    differences = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
    if not differences:
        return None
    number, middle = len(differences), mean(differences)
    if number == 1:
        return Interval(1, middle, float("nan"), float("-inf"), float("inf"))
    deviation = stdev(differences)
    half = float(student.ppf((1 + CONFIDENCE) / 2, number - 1)) * deviation / number**0.5
    return Interval(number, middle, deviation, middle - half, middle + half)


def results_page(files: Sequence[Json]) -> str:
    """The whole page."""
    runs = [each for each in files if each["benchmark"] == "article"]
    speeds = [each for each in files if each["benchmark"] == "article-speed"]
    parts = [
        "# Results on the article's protocol",
        _INTRODUCTION,
        "## The article",
        article_table(),
        _QUARTER,
        *sections(runs, run_section, "Training and error"),
        *sections(speeds, speed_section, "Speed and memory against the article's way"),
    ]
    return "\n\n".join(parts) + "\n"


def article_table() -> str:
    """What the article prints, and the same by its formula."""
    rows = []
    for cell in CELLS:
        printed = article.PRINTED_SMAPE[cell]
        first_pass = article.FIRST_PASS_SECONDS.get(cell)
        rows.append([
            cell.upper(),
            f"{first_pass:.1f} s" if first_pass else "not printed",
            f"{article.TRAIN_SECONDS[cell]:.1f} s",
            f"{ARTICLE_WINDOWS / article.TRAIN_SECONDS[cell]:,.0f}",
            f"{article.EVALUATION_SECONDS[cell]:.2f} s",
            f"{printed:.4f} %",
            f"**{article.FACTOR * printed:.3f} %**",
        ])  # fmt: skip
    head = ["", "first pass", "five passes", "windows/s", "evaluation", "sMAPE as printed", "sMAPE"]
    return table(head, rows)


def run_section(kept: Json) -> str:
    """Error, time and memory of one device's runs, and what the seeds tell."""
    groups = grouped(kept["rows"])
    head = [
        "", "seeds", "sMAPE, mean ± deviation", "lowest to highest", "five passes", "one pass",
        "windows/s", "evaluation", "memory",
    ]  # fmt: skip
    rows = [[_name(*key), *_run_cells(rows)] for key, rows in groups.items()]
    parts = [
        about(kept),
        table(head, rows),
        _memory_note(kept) + _times_note(groups),
        "### Precision, paired by seed",
        precision_table(groups),
        "### GRU against LSTM",
        cells_table(groups),
        cells_verdict(groups),
        *averaged_section(groups),
        "### sMAPE by region",
        regions_table(groups),
    ]
    return "\n\n".join(parts)


def averaged_groups(groups: Groups) -> Groups:
    """The same trainings with the error of their averaged weights, where it was kept."""
    kept = {
        key: [{**row, "smape": row["averaged_smape"]} for row in runs if "averaged_smape" in row]
        for key, runs in groups.items()
    }
    return {key: runs for key, runs in kept.items() if runs}


def averaged_section(groups: Groups) -> list[str]:
    """The same trainings, scored with their averaged weights; nothing where none were kept."""
    averaged = averaged_groups(groups)
    if not averaged:
        return []
    head = ["", "seeds", "sMAPE, mean ± deviation", "lowest to highest", "of the last step"]
    rows = []
    for key, runs in averaged.items():
        last = [row["smape"] for row in groups[key]]
        rows.append([
            _name(*key), str(len(runs)), *_error_cells([row["smape"] for row in runs]),
            f"{mean(last):.3f} %",
        ])  # fmt: skip
    return [
        "### With averaged weights",
        _AVERAGED,
        table(head, rows),
        precision_table(averaged),
        cells_table(averaged),
        cells_verdict(averaged),
    ]


Group = tuple[str, str, str]  # cell, precision, settings
Groups = dict[Group, list[Json]]


def grouped(rows: Iterable[Json]) -> Groups:
    """The seeds of each cell, precision and set of changed settings, in the order of the tables."""
    groups: Groups = {}
    for row in rows:
        key = (row["contestant"], row["precision"], " ".join(row["settings"]))
        groups.setdefault(key, []).append(row)
    return dict(sorted(groups.items(), key=lambda each: _rank(each[0])))


def _rank(key: Group) -> tuple[str, int, str]:
    cell, precision, settings = key
    return settings, PRECISIONS.index(precision), cell


def precision_table(groups: Groups) -> str:
    """Reduced precision less the fullest one that was measured (fp32), paired by seed."""
    rows = []
    for key, runs in groups.items():
        cell, precision, settings = key
        measured = [each for each in PRECISIONS if (cell, each, settings) in groups]
        full = WHOLE if len(measured) == 1 else measured[0]
        if precision == full:
            continue
        others = groups.get((cell, full, settings), [])
        between = paired(_by_seed(runs, "smape"), _by_seed(others, "smape"))
        verdict = "no difference shown"
        if between is not None and between.shows_a_difference:
            verdict = f"{precision} is {'worse' if between.middle > 0 else 'better'}"
        rows.append([f"{_name(*key)} − {full}", *_difference_cells(between, runs, others, verdict)])
    if not any(precision == WHOLE for _, precision, _ in groups):
        rows.append([WHOLE, "0", *[NOT_MEASURED] * 4])
    return table(_DIFFERENCE_HEAD, rows)


def cells_table(groups: Groups) -> str:
    """GRU less LSTM, paired by seed: the two see the same windows in the same order."""
    rows = []
    for precision, settings, gru, lstm in _pairs_of_cells(groups):
        between = paired(_by_seed(gru, "smape"), _by_seed(lstm, "smape"))
        verdict = _verdict(between)
        label = f"GRU − LSTM, {precision}{_with(settings)}"
        rows.append([label, *_difference_cells(between, gru, lstm, verdict)])
    difference = article.FACTOR * (article.PRINTED_SMAPE["gru"] - article.PRINTED_SMAPE["lstm"])
    ratio = article.TRAIN_SECONDS["gru"] / article.TRAIN_SECONDS["lstm"]
    rows.append(
        ["the article", "1", _signed(difference), NOTHING, f"{ratio:.2f}", "one run tells nothing"]
    )
    return table(_DIFFERENCE_HEAD, rows)


def cells_verdict(groups: Groups) -> str:
    """What the evidence supports, in sentences."""
    sentences = []
    for precision, settings, gru, lstm in _pairs_of_cells(groups):
        between = paired(_by_seed(gru, "smape"), _by_seed(lstm, "smape"))
        if between is None:
            continue
        ratio = _time_ratio(gru, lstm)
        name = f"In {precision}{_with(settings)}"
        speed = (
            f"{name} the GRU took {ratio:.2f} times the LSTM's training time"
            f" ({'less' if ratio < 1 else 'not less'})"
        )
        if between.num_pairs == 1:
            sentences.append(f"{speed}; with one seed nothing can be said of the error.")
        elif between.shows_a_difference:
            better, worse = ("GRU", "LSTM") if between.middle < 0 else ("LSTM", "GRU")
            sentences.append(
                f"{speed}, and over {between.num_pairs} seeds the {better}'s sMAPE was lower than"
                f" the {worse}'s by {abs(between.middle):.3f} points"
                f" (95 % interval {_span(between)}, GRU less LSTM)."
            )
        else:
            sentences.append(
                f"{speed}; over {between.num_pairs} seeds no difference in error is shown: the"
                f" interval {_span(between)} holds 0, and differences up to"
                f" {max(-between.low, between.high):.3f} points are not ruled out."
            )
    if not sentences:
        return f"GRU against LSTM: {NOT_MEASURED}."
    return " ".join([*sentences, _SEEDS])


def regions_table(groups: Groups) -> str:
    """Mean over the seeds, by region."""
    if not groups:
        return f"{NOT_MEASURED.capitalize()}."
    regions = sorted({name for rows in groups.values() for name in rows[0]["smape_by_region"]})
    rows = [
        [region, *(f"{mean(row['smape_by_region'][region] for row in runs):.3f} %"
                   for runs in groups.values())]
        for region in regions
    ]  # fmt: skip
    return table(["region", *(_name(*key) for key in groups)], rows)


def speed_section(kept: Json) -> str:
    """Medians of the turns of both ways."""
    head = ["", "windows/s", "one step", "data that train", "process, peak", "GPU, peak"]
    rows, notes = [], []
    for cell in CELLS:
        middle = {
            way: _medians([r for r in kept["rows"] if (r["cell"], r["contestant"]) == (cell, way)])
            for way in ("article", "ours")
        }
        article, ours = middle["article"], middle["ours"]
        for way, each in middle.items():
            rows.append([f"{cell.upper()}, {way}", *_speed_cells(each)])
        if article is None or ours is None:
            continue
        speed = ours["windows_per_second"] / article["windows_per_second"]
        less = article["data_bytes"] / ours["data_bytes"]
        bar = SPEED_BARS["cpu" if kept["device"] == "cpu" else "cuda"]
        gpu = ours["peak_device_bytes"]
        rows.append([
            f"{cell.upper()}, ratio",
            f"**{speed:.2f} ×**",
            f"{article['step_seconds'] / ours['step_seconds']:.2f} × shorter",
            f"**{less:.0f} × less**",
            f"{article['peak_host_bytes'] / ours['peak_host_bytes']:.1f} × less",
            f"{article['peak_device_bytes'] / gpu:.2f} × less" if gpu else NOTHING,
        ])  # fmt: skip
        notes.append(
            f"{cell.upper()}: ours in {ours['precision']}, medians of {ours['turns']} turns of"
            f" {ours['steps']} steps. The bars, {bar:g} times the speed and {DATA_BAR:g} times less"
            f" data that train, are {met(speed, bar)} and {met(less, DATA_BAR)}."
        )
    notes.append(_BOTH_WAYS)
    if kept["device"] == "cpu":
        notes.append("A turn's speed on a CPU is that of its fastest step.")
    return "\n\n".join([about(kept), table(head, rows), " ".join(notes)])


def models_block(files: Sequence[Json]) -> str:
    """What docs/models.md says about speed and error: the comparison of each device."""
    parts = []
    for kept in files:
        if kept["benchmark"] == "article":
            groups = grouped(kept["rows"])
            parts += [f"On {kept['device']}:", cells_table(groups), cells_verdict(groups)]
            if averaged := averaged_groups(groups):
                parts += [_AVERAGED, cells_table(averaged), cells_verdict(averaged)]
    if not parts:
        parts = [f"On the article's protocol: {NOT_MEASURED}.", cells_table({})]
    return "\n\n".join(parts)


def _run_cells(rows: Sequence[Json]) -> list[str]:
    timed = _measured_last(rows)
    seconds = [row["train_seconds"] for row in timed]
    passes = [each for row in timed for each in row["pass_seconds"]]
    return [
        str(len(rows)),
        *_error_cells([row["smape"] for row in rows]),
        f"{mean(seconds):.1f} s" + (f" ± {stdev(seconds):.1f}" if len(timed) > 1 else ""),
        f"{mean(passes):.2f} s",
        f"{mean(row['windows_per_second'] for row in timed):,.0f}",
        f"{mean(row['evaluation_seconds'] for row in timed):.2f} s",
        f"{max(row['peak_memory_bytes'] for row in timed) / 2**20:,.0f} MiB",
    ]


def _measured_last(rows: Sequence[Json]) -> list[Json]:
    """Those of the commit that was measured last: an older one's speed is not that of the code."""
    last = rows[-1].get("commit") if rows else None
    return [row for row in rows if row.get("commit") == last]


def _times_note(groups: Groups) -> str:
    """Which times are of fewer seeds than the errors."""
    fewer = [
        f"{_name(*key)}: {len(timed)} of {len(rows)}"
        for key, rows in groups.items()
        if len(timed := _measured_last(rows)) < len(rows)
    ]
    if not fewer:
        return ""
    return (
        " Errors are those of all seeds; times and memory are those of the seeds measured last,"
        f" with the code as it is ({', '.join(fewer)})."
    )


def _error_cells(errors: Sequence[float]) -> list[str]:
    """Mean with deviation, and the range (percent)."""
    deviation = f" ± {stdev(errors):.3f}" if len(errors) > 1 else ""
    return [
        f"**{mean(errors):.3f} %**{deviation}",
        f"{min(errors):.3f} to {max(errors):.3f} %",
    ]


def _difference_cells(
    between: Interval | None, first: Sequence[Json], second: Sequence[Json], verdict: str
) -> list[str]:
    if between is None:
        return ["0", *[NOT_MEASURED] * 4]
    ratio = f"{_time_ratio(first, second):.2f}"
    if between.num_pairs == 1:
        return ["1", _signed(between.middle), NOTHING, ratio, "one run tells nothing"]
    middle = f"{_signed(between.middle)} ± {between.deviation:.3f}"
    return [str(between.num_pairs), middle, _span(between), ratio, verdict]


def _verdict(between: Interval | None) -> str:
    if between is None or not between.shows_a_difference:
        return "no difference shown"
    return f"the {'GRU' if between.middle < 0 else 'LSTM'} is better"


def _span(between: Interval) -> str:
    return f"{_signed(between.low)} to {_signed(between.high)}"


def _pairs_of_cells(groups: Groups) -> list[tuple[str, str, list[Json], list[Json]]]:
    return [
        (precision, settings, runs, groups.get(("lstm", precision, settings), []))
        for (cell, precision, settings), runs in groups.items()
        if cell == "gru"
    ]


def _by_seed(rows: Iterable[Json], field: str) -> dict[int, float]:
    return {int(row["seed"]): float(row[field]) for row in rows}


def _time_ratio(first: Sequence[Json], second: Sequence[Json]) -> float:
    """Of the mean training times over the seeds that both have, measured last if that can be."""
    ours, theirs = (_by_seed(_measured_last(rows), "train_seconds") for rows in (first, second))
    if not (seeds := ours.keys() & theirs.keys()):
        ours, theirs = _by_seed(first, "train_seconds"), _by_seed(second, "train_seconds")
        seeds = ours.keys() & theirs.keys()
    return mean(ours[seed] for seed in seeds) / mean(theirs[seed] for seed in seeds)


def _medians(rows: Sequence[Json]) -> Json | None:
    if not rows:
        return None
    fields = (
        "windows_per_second", "step_seconds", "data_bytes", "peak_host_bytes", "peak_device_bytes",
    )  # fmt: skip
    numbers = {field: median(row[field] for row in rows) for field in fields}
    return {**rows[0], **numbers, "turns": len(rows)}


def _speed_cells(each: Json | None) -> list[str]:
    if each is None:
        return [NOT_MEASURED] * 5
    gpu = each["peak_device_bytes"]
    return [
        f"{each['windows_per_second']:,.0f}",
        f"{1000 * each['step_seconds']:,.2f} ms",
        f"{each['data_bytes'] / 2**20:,.0f} MiB",
        f"{each['peak_host_bytes'] / 2**20:,.0f} MiB",
        f"{gpu / 2**20:,.0f} MiB" if gpu else NOTHING,
    ]


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _name(cell: str, precision: str, settings: str) -> str:
    return f"{cell.upper()}, {precision}{_with(settings)}"


def _with(settings: str) -> str:
    return f", `{settings}`" if settings else ""


def _memory_note(kept: Json) -> str:
    if kept["device"] == "cpu":
        return "Memory is the most that the process had, Python and PyTorch included."
    return (
        "Memory is the most that PyTorch held on the GPU, data included. The article does not give"
        " its own. Capturing the step as a CUDA graph is in the time of the first pass; reading the"
        " data, and loading the libraries, is not."
    )


def read_files(folder: Path = RESULTS) -> list[Json]:
    """What is kept there of both benchmarks, by name."""
    return kept_files("article-*.json", folder)


def pages(files: Sequence[Json]) -> dict[Path, str]:
    """Both pages as they have to be."""
    models = MODELS.read_text(encoding="utf-8")
    return {PAGE: results_page(files), MODELS: with_block(models, BLOCK, models_block(files))}


def main() -> None:
    """Write both pages."""
    for path, text in pages(read_files()).items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
