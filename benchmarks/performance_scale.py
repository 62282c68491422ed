"""Of docs/performance.md: size, stages of the pipeline, several GPUs, several seeds."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any

from benchmarks.tables import NOT_MEASURED, NOTHING, about, cell_of, grouped, mebibytes, table

_STAGES = (
    "prepare_data", "build_features", "train_models", "evaluate_models", "track_models", "report",
    "record_lineage",
)  # fmt: skip


Json = dict[str, Any]


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
            cell_of(row.get("num_regions"), "{:,}"),
            cell_of(row.get("num_hours"), "{:,}"),
            cell_of(row.get("hidden_size"), "{:,}"),
            cell_of(row.get("windows_per_second"), "{:,.0f}"),
            cell_of(row.get("train_seconds"), "{:,.1f} s"),
            mebibytes(peak) if peak else NOTHING,
            mebibytes(planned) if planned else NOTHING,
            f"{100 * peak / planned:.0f} %" if peak and planned else NOTHING,
        ])  # fmt: skip
    return "\n\n".join([about(kept), table(head, lines)])


def pipeline_section(kept: Json) -> str:
    """Wall time of the main job by stage, one column a run."""
    runs = kept["rows"]
    lines = [
        [
            stage.replace("_", " "),
            *(cell_of(run.get(f"{stage}_seconds"), "{:,.2f} s") for run in runs),
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


def gpus_section(kept: Json) -> str:
    """The same jobs on more GPUs: medians, and what of each further GPU arrives."""
    lines, is_more = [], False
    for size, rows in sorted(grouped(kept["rows"], "batch_size").items()):
        by_number = dict(sorted(grouped(rows, "num_gpus").items()))
        walls = [median(row["wall_seconds"] for row in group) for group in by_number.values()]
        trainings = [
            median(row["longest_train_seconds"] for row in group) for group in by_number.values()
        ]
        fewest = min(by_number)
        for number, wall, training in zip(by_number, walls, trainings, strict=True):
            faster = trainings[0] / training
            is_more |= faster > 1.02 * number / fewest
            lines.append([
                f"{size:,} windows a step, {number} GPU{'s' if number > 1 else ''}",
                str(rows[0]["num_jobs"]),
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
        f" {sizes['num_hours']:,} hours. Imports, reading the data, loading the kernels and scoring"
        " are in the time from start to end, and hardly shorter on more GPUs. The seeds of a cell"
        " on one GPU share a pass, which fills it better than a small batch alone does: the smaller"
        " the batches, the less more GPUs gain (see below)."
    )
    if is_more:
        note += " More than linear: a pass that large batches share cost more than one for each."
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
        " steps one after the other however few windows there are: the smaller the batch, the less"
        " is gained."
    )
    return "\n\n".join([about(kept), table(head, lines), note])


def seeds_section(kept: Json) -> str:
    """Several seeds trained together, against as many times one seed."""
    lines = []
    for label, rows in grouped(kept["rows"], "contestant").items():
        by_number = {
            number: median(row["train_seconds"] for row in group)
            for number, group in sorted(grouped(rows, "num_seeds").items())
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
