"""Of docs/performance.md: error, what it costs, and how soon it is reached."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean
from typing import Any

from benchmarks.tables import (
    NOT_MEASURED,
    NOTHING,
    about,
    cell_of,
    grouped,
    mean_of,
    mebibytes,
    table,
)
from benchmarks.time_to_accuracy import ARTICLES_BEST
from gridcast.report.article import TRAIN_SECONDS

LIGHTGBM, MEAN = "lightgbm", "mean of gru and lstm"
NETWORKS = ("gru", "lstm")

Json = dict[str, Any]


def accuracy_section(kept: Json, files: Sequence[Json] = ()) -> str:
    """Each contestant's error and cost, by region against LightGBM, and with other settings.

    Where it was not fitted on the same device, its errors (not its cost) are those of another file.
    """
    elsewhere = [row for each in files for row in each["rows"] if row["contestant"] == LIGHTGBM]
    parts = [about(kept)]
    for profile, rows in sorted(grouped(kept["rows"], "profile").items()):
        plain = [row for row in rows if not row["settings"]]
        changed = [row for row in rows if row["settings"]]
        boosted = [row for row in plain if row["contestant"] == LIGHTGBM]
        has_networks = any(row["contestant"] in NETWORKS for row in plain)
        others = list(_by_settings(changed).values())
        compared = plain if has_networks or not others else [*boosted, *others[-1]]
        parts += [f"### Profile `{profile}`"]
        if plain:
            parts.append(accuracy_table(plain))
        if others:
            parts.append(settings_table(changed))
        parts += _by_region(compared, elsewhere)
    return "\n\n".join(parts)


def _by_settings(rows: Iterable[Json]) -> dict[str, list[Json]]:
    groups: dict[str, list[Json]] = {}
    for row in rows:
        groups.setdefault(", ".join(row["settings"]), []).append(row)
    return groups


def settings_table(rows: Iterable[Json]) -> str:
    """The same contestants with settings other than the profile's."""
    lines = [
        [
            f"{name}, `{settings}`",
            str(len(each)),
            f"{mean_of(each, 'smape'):.3f} %",
            f"{mean_of(each, 'validation_smape'):.3f} %",
            f"{mean_of(each, 'train_seconds'):,.1f} s",
        ]
        for settings, group in _by_settings(rows).items()
        for name, each in grouped(group, "contestant").items()
    ]
    head = ["with other settings", "seeds", "sMAPE, test", "sMAPE, validation", "fitted in"]
    return table(head, lines)


def accuracy_table(rows: Iterable[Json]) -> str:
    """By mean error; several seeds are averaged."""
    by_name = grouped(rows, "contestant")
    ranked = sorted(by_name.items(), key=lambda each: mean_of(each[1], "smape"))
    head = [
        "", "seeds", "sMAPE, test", "sMAPE, validation", "fitted in", "scored in", "weights",
        "memory, peak",
    ]  # fmt: skip
    lines = [
        [
            name.replace("_", " "),
            str(len(group)),
            f"**{mean_of(group, 'smape'):.3f} %**",
            f"{mean_of(group, 'validation_smape'):.3f} %",
            f"{mean_of(group, 'train_seconds'):,.1f} s",
            f"{mean_of(group, 'evaluation_seconds'):,.2f} s",
            cell_of(group[0].get("num_parameters"), "{:,}"),
            mebibytes(peak) if (peak := group[0].get("peak_memory_bytes")) else NOTHING,
        ]
        for name, group in ranked
    ]
    return table(head, lines)


def _by_region(rows: Iterable[Json], elsewhere: Sequence[Json]) -> list[str]:
    """Where the best network and the mean of both beat LightGBM."""
    by_name = {name: _regions(group) for name, group in grouped(rows, "contestant").items()}
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
    soonest = cell_of(min(reached, default=None), "{:,.2f} s")
    note = (
        f"The article's best, {ARTICLES_BEST} %, is reached after {soonest} of training; its own"
        f" took {TRAIN_SECONDS['lstm']:.0f} s. Each line is a training from the start, with a"
        " schedule of its own."
    )
    return "\n\n".join([about(kept), table(head, lines), note])
