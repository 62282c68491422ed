"""Write docs/performance.md from ``benchmarks/results``.

``python benchmarks/write_performance.py`` after any benchmark. No figure stands in that page but
through here; what no file tells of is said to be not measured.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import rivals
from benchmarks.article_speed import DATA_BAR
from benchmarks.article_speed import SPEED_BARS as ARTICLE_SPEED_BARS
from benchmarks.ceilings import step_need
from benchmarks.tables import (
    NOT_MEASURED,
    NOTHING,
    RESULTS,
    about,
    kept_files,
    mebibytes,
    met,
    sections,
    table,
)
from benchmarks.time_to_accuracy import ARTICLES_BEST
from gridcast.config import Config
from tasks.article import TRAIN_SECONDS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
LIGHTGBM, MEAN = "lightgbm", "mean of gru and lstm"
NETWORKS = ("gru", "lstm")
_STAGES = (
    "prepare_data", "build_features", "train_models", "evaluate_models", "track_models", "report",
    "record_lineage",
)  # fmt: skip

Json = dict[str, Any]

_INTRODUCTION = (
    "Written by `benchmarks/write_performance.py` from the files in `benchmarks/results`; no figure"
    " is typed. A file is named after the script in `benchmarks` that wrote it and the device;"
    " `make bench` runs them all. Contestants of one table took turns, so ratios hold better than"
    " the times themselves. The article's protocol, seed by seed, stands in [results](results.md)."
)


class Part(NamedTuple):
    """A section of the page: the files that it is made of, and how."""

    title: str
    pattern: str
    section: Callable[[Json], str]


def page(read: Callable[[str], list[Json]]) -> str:
    """The whole page; ``read`` gives the files of a pattern."""
    ceilings = {kept["device"]: kept for kept in read("ceilings-*.json")}
    files = read("accuracy-*.json")
    parts = (
        Part("Throughput against the article's loader", "article-speed-*.json", loader_section),
        Part("Throughput against neuralforecast and darts", "rivals-*.json", rivals_section),
        Part("Accuracy and total time", "accuracy-*.json", partial(accuracy_section, files=files)),
        Part("Time to accuracy", "time-to-accuracy-*.json", pace_section),
        Part("Cost against size", "size-*.json", size_section),
        Part("The pipeline, stage by stage", "main-job-*.json", pipeline_section),
        Part("Ingestion", "ingestion-*.json", ingestion_section),
        Part("Several GPUs", "gpus-*.json", gpus_section),
        Part("One model on several GPUs", "split-*.json", split_section),
        Part("Several seeds in one pass", "seeds-*.json", seeds_section),
    )
    text = ["# Performance", _INTRODUCTION]
    for part in parts:
        text += sections(read(part.pattern), part.section, part.title)
    measured = [*read("article-speed-*.json"), *read("rivals-*.json")]
    text += limits(ceilings, measured)
    return "\n\n".join(text) + "\n"


# -- throughput ------------------------------------------------------------------------------------


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
        bar = ARTICLE_SPEED_BARS[_device_type(kept)]
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
        if _device_type(kept) == "cpu":
            sizes += f", {ours['num_threads']} CPU thread{'s' if ours['num_threads'] > 1 else ''}"
        parts += [
            f"### {cell.upper()}, {precision}, the shape of {shape}: {sizes}",
            table(list(rivals.HEAD), rivals.contest_rows(contest)),
            "; ".join(rivals.verdicts(contest, _device_type(kept))) + ".",
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


# -- accuracy --------------------------------------------------------------------------------------


def accuracy_section(kept: Json, files: Sequence[Json] = ()) -> str:
    """Each contestant's error and cost, then by region against LightGBM.

    Where it was not fitted on the same device, its errors (not its cost) are those of another file.
    """
    elsewhere = [row for each in files for row in each["rows"] if row["contestant"] == LIGHTGBM]
    profiles = {(row["profile"], *row["settings"]) for row in kept["rows"]}
    parts = [about(kept)]
    for profile, *settings in sorted(profiles):
        rows = [
            row
            for row in kept["rows"]
            if (row["profile"], *row["settings"]) == (profile, *settings)
        ]
        changed = "".join(f", `{setting}`" for setting in settings)
        parts += [
            f"### Profile `{profile}`{changed}",
            accuracy_table(rows),
            *_by_region(rows, elsewhere),
        ]
    return "\n\n".join(parts)


def accuracy_table(rows: Iterable[Json]) -> str:
    """By mean error; several seeds are averaged."""
    by_name = _grouped(rows, "contestant")
    ranked = sorted(by_name.items(), key=lambda each: _mean(each[1], "smape"))
    head = [
        "", "seeds", "sMAPE, test", "sMAPE, validation", "fitted in", "scored in", "weights",
        "memory, peak",
    ]  # fmt: skip
    lines = [
        [
            name.replace("_", " "),
            str(len(group)),
            f"**{_mean(group, 'smape'):.3f} %**",
            f"{_mean(group, 'validation_smape'):.3f} %",
            f"{_mean(group, 'train_seconds'):,.1f} s",
            f"{_mean(group, 'evaluation_seconds'):,.2f} s",
            _cell(group[0].get("num_parameters"), "{:,}"),
            mebibytes(peak) if (peak := group[0].get("peak_memory_bytes")) else NOTHING,
        ]
        for name, group in ranked
    ]
    return table(head, lines)


def _by_region(rows: Iterable[Json], elsewhere: Sequence[Json]) -> list[str]:
    """Where the best network and the mean of both beat LightGBM."""
    by_name = {name: _regions(group) for name, group in _grouped(rows, "contestant").items()}
    boosted = by_name.get(LIGHTGBM) or (_regions(elsewhere[:1]) if elsewhere else None)
    networks = {name: by_name[name] for name in NETWORKS if name in by_name}
    if boosted is None or not networks:
        return [f"Against LightGBM, region by region: {NOT_MEASURED}."]
    best = min(networks, key=lambda name: mean(networks[name].values()))
    ours = {f"{best.upper()}, the best network": networks[best]}
    if MEAN in by_name:
        ours["mean of GRU and LSTM"] = by_name[MEAN]
    lines = [
        [region, f"{error:.3f} %", *(_against(each[region], error) for each in ours.values())]
        for region, error in boosted.items()
    ]
    won = [
        f"{name}: lower than LightGBM in {len(regions)} of {len(boosted)} regions"
        f" ({', '.join(regions) or 'none'})."
        for name, each in ours.items()
        for regions in [[region for region in boosted if each[region] < boosted[region]]]
    ]
    note = (
        []
        if LIGHTGBM in by_name
        else ["LightGBM's errors are those that it has on another device."]
    )
    return [table(["region", "LightGBM", *ours], lines), " ".join([*won, *note])]


def _against(error: float, other: float) -> str:
    return f"**{error:.3f} %**" if error < other else f"{error:.3f} %"


def _regions(group: Sequence[Json]) -> dict[str, float]:
    names = group[0]["smape_by_region"]
    return {name: mean(row["smape_by_region"][name] for row in group) for name in names}


def pace_section(kept: Json) -> str:
    """What more seconds of training buy, one line a training."""
    lines = [
        [
            f"{row['contestant'].upper()}, {row['num_layers']} × {row['hidden_size']} units",
            str(row["passes"]),
            f"{row['train_seconds']:,.2f} s",
            f"**{row['smape']:.3f} %**",
            f"{row['validation_smape']:.3f} %",
        ]
        for row in kept["rows"]
    ]
    head = ["", "passes", "trained in", "sMAPE, test", "sMAPE, validation"]
    reached = [row["train_seconds"] for row in kept["rows"] if row["smape"] <= ARTICLES_BEST]
    soonest = _cell(min(reached, default=None), "{:,.2f} s")
    note = (
        f"The article's best, {ARTICLES_BEST} %, is reached after {soonest} of training; its own"
        f" took {TRAIN_SECONDS['lstm']:.0f} s. Each line is a training from the start, with a"
        " schedule of its own."
    )
    return "\n\n".join([about(kept), table(head, lines), note])


# -- size ------------------------------------------------------------------------------------------


def size_section(kept: Json) -> str:
    """What more regions, hours and units cost."""
    head = [
        "", "regions", "hours", "units", "windows/s", "trained in", "memory, peak", "planned",
        "peak of planned",
    ]  # fmt: skip
    lines = []
    for row in kept["rows"]:
        peak, planned = row.get("peak_memory_bytes"), row.get("planned_memory_bytes")
        lines.append([
            str(row["contestant"]),
            _cell(row.get("num_regions"), "{:,}"),
            _cell(row.get("num_hours"), "{:,}"),
            _cell(row.get("hidden_size"), "{:,}"),
            _cell(row.get("windows_per_second"), "{:,.0f}"),
            _cell(row.get("train_seconds"), "{:,.1f} s"),
            mebibytes(peak) if peak else NOTHING,
            mebibytes(planned) if planned else NOTHING,
            f"{100 * peak / planned:.0f} %" if peak and planned else NOTHING,
        ])  # fmt: skip
    return "\n\n".join([about(kept), table(head, lines)])


# -- the pipeline ----------------------------------------------------------------------------------


def pipeline_section(kept: Json) -> str:
    """Wall time of the main job by stage, one column a run."""
    runs = kept["rows"]
    lines = [
        [
            stage.replace("_", " "),
            *(_cell(run.get(f"{stage}_seconds"), "{:,.2f} s") for run in runs),
        ]
        for stage in (*_STAGES, *_others(runs))
    ]
    lines += [
        ["all stages", *(f"{run['total_seconds']:,.1f} s" for run in runs)],
        ["**the command, start to end**", *(f"**{run['wall_seconds']:,.1f} s**" for run in runs)],
        ["memory, all processes", *(mebibytes(run["peak_memory_bytes"]) for run in runs)],
        ["networks trained", *(str(run["num_trained"]) for run in runs)],
    ]
    return "\n\n".join([about(kept), table(["", *(run["contestant"] for run in runs)], lines)])


def _others(runs: Iterable[Json]) -> list[str]:
    """Stages that have come since, in their order."""
    known = {*_STAGES, "total", "wall"}
    names = (name.removesuffix("_seconds") for run in runs for name in run if _is_seconds(name))
    return list(dict.fromkeys(name for name in names if name not in known))


def _is_seconds(name: str) -> bool:
    return name.endswith("_seconds")


def ingestion_section(kept: Json) -> str:
    """CSVs to a snapshot."""
    head = ["", "regions", "read", "rows", "published after", "rows/s", "memory, peak"]
    lines = [
        [
            row["contestant"],
            f"{row['num_regions']:,}",
            f"{row['num_read']:,}",
            f"{row['num_rows']:,}",
            f"{row['seconds']:,.2f} s",
            f"{row['rows_per_second']:,.0f}" if row["num_read"] else NOTHING,
            mebibytes(row["peak_memory_bytes"]),
        ]
        for row in kept["rows"]
    ]
    return "\n\n".join([about(kept), table(head, lines)])


# -- several GPUs, several seeds -------------------------------------------------------------------


def gpus_section(kept: Json) -> str:
    """The same jobs on more GPUs: medians, and what of each further GPU arrives."""
    lines = []
    for num_jobs, rows in _grouped(kept["rows"], "num_jobs").items():
        by_number = dict(sorted(_grouped(rows, "num_gpus").items()))
        walls = [median(row["wall_seconds"] for row in group) for group in by_number.values()]
        trainings = [
            median(row["longest_train_seconds"] for row in group) for group in by_number.values()
        ]
        fewest = min(by_number)
        for number, wall, training in zip(by_number, walls, trainings, strict=True):
            faster = trainings[0] / training
            lines.append([
                f"{number} GPU{'s' if number > 1 else ''}",
                str(num_jobs),
                f"{training:,.1f} s",
                f"**{faster:.2f} ×**",
                f"{100 * faster * fewest / number:.0f} %",
                f"{wall:,.1f} s",
                f"{walls[0] / wall:.2f} ×",
            ])  # fmt: skip
    head = ["", "jobs", "training", "faster", "of linear", "processes, start to end", "faster"]
    sizes = kept["rows"][0]
    note = (
        f"{sizes['num_layers']} × {sizes['hidden_size']} units, {sizes['num_regions']:,} regions of"
        f" {sizes['num_hours']:,} hours, {sizes['batch_size']:,} windows a step. Imports, reading"
        " the data, compiling the kernels and scoring are in the time from start to end, and no"
        " shorter on more GPUs. Trainings of small batches share one GPU so well that more GPUs"
        " gain little (see below)."
    )
    return "\n\n".join([about(kept), table(head, lines), note])


def split_section(kept: Json) -> str:
    """One model's batch on more and more GPUs."""
    lines = [
        [
            f"{row['contestant'].upper()}, {row['batch_size']:,} windows a step",
            str(row["num_gpus"]),
            f"{1000 * row['step_seconds']:,.2f} ms",
            f"{row['windows_per_second']:,.0f}",
            f"**{row['speedup']:.2f} ×**",
        ]
        for row in kept["rows"]
    ]
    head = ["", "GPUs", "a step", "windows/s", "faster"]
    sizes = kept["rows"][0]
    note = (
        f"`training.split_over`: {sizes['num_layers']} × {sizes['hidden_size']} units,"
        f" {sizes['lookback']} steps, {sizes['precision']}. Each GPU takes its part of the windows,"
        " the first adds the gradients up and hands the new weights on. The recurrence takes its"
        " steps one after the other however few windows there are, so small batches gain nothing."
    )
    return "\n\n".join([about(kept), table(head, lines), note])


def seeds_section(kept: Json) -> str:
    """Several seeds trained together, against as many times one seed."""
    lines = []
    for label, rows in _grouped(kept["rows"], "contestant").items():
        by_number = {
            number: median(row["train_seconds"] for row in group)
            for number, group in sorted(_grouped(rows, "num_seeds").items())
        }
        for number, seconds in by_number.items():
            one = by_number.get(1)
            lines.append([
                str(label),
                str(number),
                f"{seconds:,.2f} s",
                f"{seconds / one:.2f} ×" if one else NOT_MEASURED,
                f"{number * one / seconds:.2f} ×" if one else NOT_MEASURED,
            ])  # fmt: skip
    head = ["", "seeds", "trained in", "of one seed's time", "faster than one by one"]
    return "\n\n".join([about(kept), table(head, lines)])


# -- the machine's limit ---------------------------------------------------------------------------


def limits(ceilings: dict[str, Json], measured: Iterable[Json]) -> list[str]:
    """How much of each machine's rates our training steps reach."""
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
    " counted). A matrix product of thousands of rows is the ceiling; a recurrence multiplies a"
    " batch by its weights once an hour of the window, one hour after the other."
)


def ceilings_table(rows: Iterable[Json]) -> str:
    """What was measured of the machine."""
    lines = []
    for row in rows:
        if row["contestant"] == "copy":
            lines.append(["copy", f"{row['bytes_per_second'] / 1e9:,.0f} GB/s"])
        else:
            rate = f"{row['flops_per_second'] / 1e12:,.2f} TFLOP/s"
            lines.append([f"matrix product, {row['precision']}", rate])
    return table(["", "at best"], lines)


def shares(kept: Json, ceilings: Sequence[Json]) -> list[list[str]]:
    """One line for each network of ours that a file has."""
    rates = {row.get("precision"): row.get("flops_per_second") for row in ceilings}
    copied = next(row["bytes_per_second"] for row in ceilings if row["contestant"] == "copy")
    turns = [row for row in kept["rows"] if row["contestant"] == "ours"]
    lines = []
    for (shape, cell, precision), rows in _by_network(turns).items():
        rate, seconds = rates.get(precision), median(row["step_seconds"] for row in rows)
        need = step_need(
            _config_of(shape, rows[0]),
            cell=cell,
            num_features=rows[0].get("num_inputs", 5),
            precision=precision,
        )
        reached, moved = need.flops / seconds, need.num_bytes / seconds
        lines.append([
            f"{cell.upper()}, {precision}, the shape of {shape} ({kept['benchmark']})",
            f"{1000 * seconds:,.2f} ms",
            f"{reached / 1e12:,.3f} TFLOP/s",
            f"{100 * reached / rate:.1f} %" if rate else NOT_MEASURED,
            f"{moved / 1e9:,.1f} GB/s",
            f"{100 * moved / copied:.1f} %",
        ])  # fmt: skip
    return lines


def _by_network(turns: Iterable[Json]) -> dict[tuple[Any, Any, str], list[Json]]:
    groups: dict[tuple[Any, Any, str], list[Json]] = {}
    for row in turns:
        key = (row.get("shape", "article"), row["cell"], row["precision"])
        groups.setdefault(key, []).append(row)
    return groups


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


# -- what the sections share -----------------------------------------------------------------------


def _device_type(kept: Json) -> str:
    return "cpu" if kept["device"] == "cpu" else "cuda"


def _grouped(rows: Iterable[Json], field: str) -> dict[Any, list[Json]]:
    groups: dict[Any, list[Json]] = {}
    for row in rows:
        groups.setdefault(row.get(field), []).append(row)
    return groups


def _mean(rows: Iterable[Json], field: str) -> float:
    return mean(float(row[field]) for row in rows)


def _cell(value: float | None, form: str) -> str:
    return NOTHING if value is None else form.format(value)


def performance_page(folder: Path = RESULTS) -> str:
    """The page of the files that are kept."""
    return page(lambda pattern: kept_files(pattern, folder))


def main() -> None:
    """Write the page."""
    PAGE.write_text(performance_page(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
