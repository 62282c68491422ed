"""Bands on real data: do they hold their share, how wide are they, and after a planted change?

``python benchmarks/bands.py`` trains the cells of the profiles ``base`` and ``day_ahead`` on the
regional CSVs of ``GRIDCAST_DATA`` (or ``data/``) and forecasts the next 24 hours from each hour of
the validation part. Of it the first two fifths calibrate the bands, the rest judges them. With
``--test`` the whole validation part calibrates and the test part judges too (once, at the end:
nothing is chosen by it). Beside the bands that adapt stand fixed ones, quantiles of the errors by
region and lead. Then a third of the judged days on a change is planted in the load, before it is
forecast: ten percent more, or noise that doubles the variance of the next hour's errors. What it
finds ``benchmarks/results/bands-cpu.json`` keeps. It takes a quarter of an hour on two cores.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.article_accuracy import RESULTS, envelope, slug, write_kept
from benchmarks.regions import on_device, read_readings
from gridcast.config import Config
from gridcast.evaluation.band_scores import (
    is_covered,
    score_bands,
    worst_coverage,
)
from gridcast.evaluation.forecasts import quantile_column
from gridcast.features.splits import PARTS, TEST, VALIDATION
from gridcast.features.table import FeatureTable, build_features
from gridcast.forecasting.bands import error_quantiles, first_state, offsets_by_day
from gridcast.forecasting.error_days import HOURS, ErrorDays, error_days
from gridcast.forecasting.hindcast import first_learned, week_of
from gridcast.forecasting.rolling import can_forecast, forecast_origins, rolling_table
from gridcast.training.loop import train_model
from tasks.machine.devices import resolve_precision
from tasks.train.training_process import set_fp32_precision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gridcast.networks.building import Forecaster

Planted = Literal["level", "noise"]
PROFILES = ("base", "day_ahead")
NUM_LEADS = 24
_CALIBRATED, _UNTIL_PLANTED = 0.4, 1 / 3  # shares of days
_WORST_DAYS, _WEEK, _NUM_WEEKS = 30, 7, 4
# All in percent.
_BARS = {
    "overall": (89, 91), "region": (89, 91), "lead": (88, 92), "winkler": 4.1, "worst": 85,
    "planted": 88,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Judged:
    """Of one region: days that calibrate its bands, and days that judge them."""

    calibration: ErrorDays
    days: ErrorDays


def main() -> None:
    """Train, forecast, judge, print, keep."""
    arguments = _arguments()
    parts = [VALIDATION, TEST] if arguments.test else [VALIDATION]
    device = torch.device("cpu")
    kept = envelope("bands", device)
    path = Path(arguments.output) / f"bands-{slug(device)}.json"
    for profile in arguments.profiles:
        config = Config.load(profile, overrides=tuple(arguments.settings))
        config = resolve_precision(config, device.type)
        set_fp32_precision(device, config.training.precision)
        readings = read_readings(config)
        table = build_features(readings, config)
        forecasters = _train(table, device, config)
        for part in parts:
            kept["rows"] += _measure(readings, table, forecasters, config, profile, part)
        write_kept(path, kept)


def _measure(
    readings: Mapping[str, pd.DataFrame],
    table: FeatureTable,
    forecasters: Sequence[Forecaster],
    config: Config,
    profile: str,
    part: int,
) -> list[dict[str, Any]]:
    spans = _spans(forecasters, table, config, part)
    rows = [{"profile": profile, "part": PARTS[part], **_judge(spans, config, name)}
            for name in ("fixed", "adaptive")]  # fmt: skip
    kinds: tuple[Planted, ...] = ("level", "noise")
    for kind in kinds:
        changed, since = _plant(readings, spans, kind)
        planted = build_features(changed, config, scales=table.scales)
        plain = None if part == VALIDATION else spans
        own = _spans(forecasters, planted, config, part, calibrated_on=plain)
        shares = _judge_planted(own, since, config)
        rows.append({"profile": profile, "part": PARTS[part], "planted": kind, **shares})
    for row in rows:
        print(_told(row), flush=True)
    return rows


def _train(table: FeatureTable, device: torch.device, config: Config) -> list[Forecaster]:
    data = on_device(table, device, config)
    found = []
    for seed in config.training.seeds:
        for cell in config.model.cells:
            trained = train_model(
                data, config=config, cell=cell, seed=seed, on_progress=lambda _: None
            )
            print(f"{cell} {seed}: trained in {trained.train_seconds:.0f} s", flush=True)
            found.append(trained.forecaster)
    return found


def _spans(
    forecasters: Sequence[Forecaster],
    table: FeatureTable,
    config: Config,
    part: int,
    *,
    calibrated_on: Mapping[str, Judged] | None = None,
) -> dict[str, Judged]:
    """Of each region the days that calibrate (of ``calibrated_on``, where given) and those judged.

    Of the validation part the first ones calibrate, for the test part the whole validation part.
    """
    days = _hindcast(forecasters, table, config, part)
    if part == VALIDATION:
        cuts = {name: int(_CALIBRATED * len(own)) for name, own in days.items()}
        return {
            name: Judged(own.between(0, cuts[name]), own.between(cuts[name], len(own)))
            for name, own in days.items()
        }
    if calibrated_on is None:
        before = _hindcast(forecasters, table, config, VALIDATION)
    else:
        before = {name: each.calibration for name, each in calibrated_on.items()}
    return {name: Judged(before[name], own) for name, own in days.items()}


def _hindcast(
    forecasters: Sequence[Forecaster], table: FeatureTable, config: Config, part: int
) -> dict[str, ErrorDays]:
    """Of each region the errors of all forecasts of labels of the part, from every hour."""
    frame = table.frame
    rolling = rolling_table(frame, table.scales, config, num_leads=NUM_LEADS)
    is_label = frame["part"].to_numpy() == part
    region_T, last = rolling.region_T, len(frame) - 1
    labels_before = np.concatenate([[0], np.cumsum(is_label)])
    origin_N = np.arange(last)
    ends = np.minimum(origin_N + NUM_LEADS, last)
    origin_N = origin_N[labels_before[ends + 1] > labels_before[origin_N + 1]]
    origin_N = origin_N[can_forecast(rolling, origin_N, lookback=config.windows.lookback)]
    ahead_NK = origin_N[:, None] + np.arange(1, NUM_LEADS + 1)
    label_NK = np.minimum(ahead_NK, last)
    counts_NK = is_label[label_NK] & (region_T[label_NK] == region_T[origin_N][:, None])
    counts_NK &= ahead_NK <= last
    forecast_NK = forecast_origins(forecasters, rolling, origin_N, config, num_leads=NUM_LEADS)
    truth_NK = np.where(counts_NK, frame["load_mw"].to_numpy()[label_NK], np.nan)
    issue_N = rolling.timestamp_T[origin_N].astype("datetime64[h]") + np.timedelta64(1, "h")
    found = {}
    for number, name in enumerate(frame["region"].cat.categories):
        own = region_T[origin_N] == number
        days = error_days(
            issue_N[own], np.zeros(own.sum(), dtype=int), forecast_NK[own], truth_NK[own],
            num_regions=1, timezone=config.ingestion.timezone,
        )  # fmt: skip
        known = np.flatnonzero(~np.isnan(days.error_DRVK).all(axis=(1, 2, 3)))
        found[str(name)] = days.between(known[0], known[-1] + 1)
    return found


def _offsets(judged: Judged, config: Config, name: str) -> np.ndarray:
    """Of bands that adapt, or of fixed ones: MW, ``(D, R, V, K, Q)``."""
    levels = config.forecasting.quantiles
    if name == "adaptive":
        return _offsets_by_week(judged, config)
    error_OK = judged.calibration.error_DRVK.reshape(-1, NUM_LEADS)
    fixed_KQ = error_quantiles(error_OK, levels)
    return np.broadcast_to(fixed_KQ, (*judged.days.error_DRVK.shape, len(levels)))


def _offsets_by_week(judged: Judged, config: Config) -> np.ndarray:
    """As they are issued: each week begins with what the errors of some weeks before it say.

    What is issued on a Sunday for the Monday has the bands of the Sunday.
    """
    own, days = config.forecasting, _joined(judged.calibration, judged.days)
    done, found, of_monday = len(days) - len(judged.days), list[np.ndarray](), None
    is_issued_before_VK = np.arange(HOURS)[:, None] < np.arange(NUM_LEADS)
    while done < len(days):
        today = days.first_day + np.timedelta64(done, "D")
        monday, first = (max(0, int((each - days.first_day) / np.timedelta64(1, "D")))
                         for each in (week_of(today), first_learned(today, own)))  # fmt: skip
        begin = max(monday, 1)
        end = min(monday + _WEEK, len(days))
        state = first_state(days.between(first, begin), own.quantiles, own.bands)
        offset, _ = offsets_by_day(state, days.between(begin, end + 1), own.bands)
        if of_monday is not None:
            offset[0][:, is_issued_before_VK] = of_monday[:, is_issued_before_VK]
        found.append(offset[done - begin : end - begin])
        done, of_monday = end, offset[-1]
    return np.concatenate(found)


def _joined(before: ErrorDays, after: ErrorDays) -> ErrorDays:
    """The days of both; a day that both have has the errors of both."""
    num_days = int((after.first_day - before.first_day) / np.timedelta64(1, "D")) + len(after)
    shape = num_days, *before.error_DRVK.shape[1:]
    forecast_DRVK, error_DRVK = (np.full(shape, np.nan, np.float32) for _ in range(2))
    for each in (before, after):
        begin = int((each.first_day - before.first_day) / np.timedelta64(1, "D"))
        place = slice(begin, begin + len(each))
        known = ~np.isnan(each.error_DRVK)
        error_DRVK[place][known] = each.error_DRVK[known]
        forecast_DRVK[place][known] = each.forecast_DRVK[known]
    hour_DV = np.zeros((num_days, before.hour_DV.shape[1]), dtype=np.int64)
    hour_DV[: len(before)], hour_DV[num_days - len(after) :] = before.hour_DV, after.hour_DV
    return ErrorDays(before.first_day, forecast_DRVK, error_DRVK, hour_DV)


def _rows(spans: Mapping[str, Judged], config: Config, name: str) -> pd.DataFrame:
    """A row a label: region, day, lead, local hour, truth and quantiles."""
    tables = []
    regions = pd.Index(list(spans))
    for number, judged in enumerate(spans.values()):
        days = judged.days
        known = ~np.isnan(days.error_DRVK[:, 0])
        day_N, v_N, place_N = np.nonzero(known)
        forecast_N = days.forecast_DRVK[:, 0][known].astype(float)
        offset_NQ = _offsets(judged, config, name)[:, 0][known]
        columns = {
            quantile_column(level): forecast_N + offset_NQ[:, place]
            for place, level in enumerate(config.forecasting.quantiles)
        }
        tables.append(pd.DataFrame({
            "region": pd.Categorical.from_codes(np.full(len(day_N), number), regions),
            "day": day_N, "lead": place_N + 1, "local_hour": days.hour_DV[day_N, v_N],
            "y_true": forecast_N + days.error_DRVK[:, 0][known], **columns,
        }))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def _judge(spans: Mapping[str, Judged], config: Config, name: str) -> dict[str, Any]:
    levels = config.forecasting.quantiles
    rows = _rows(spans, config, name)
    lower, upper = (rows[quantile_column(level)] for level in (levels[0], levels[-1]))
    rows["is_covered"] = is_covered(rows["y_true"].to_numpy(), lower.to_numpy(), upper.to_numpy())
    found: dict[str, Any] = {"bands": name}
    for leads, own in (("all_leads", rows), ("next_hour", rows[rows["lead"] == 1])):
        scores = score_bands(own, levels)
        tables = {each.name: getattr(scores, each.name).round(4) for each in fields(scores)}
        found[leads] = {
            **{key: table.to_dict(orient="records") for key, table in tables.items()},
            "worst_30_days": _worst(own),
        }
    return found


def _worst(rows: pd.DataFrame) -> dict[str, float]:
    return {
        str(name): round(100 * worst_coverage(own["day"].to_numpy(), own["is_covered"].to_numpy(),
                                              num_days=_WORST_DAYS), 2)
        for name, own in rows.groupby("region", observed=True)
    }  # fmt: skip


def _told(row: Mapping[str, Any]) -> str:
    """The figures beside their bars."""
    about = f"{row['profile']}, {row['part']} part"
    if "planted" in row:
        weeks = "; ".join(f"{name} {row[name]}" for name in ("all_leads", "next_hour"))
        told = f"coverage of the week before and of those after: {weeks}"
        return f"{about}, planted {row['planted']}: {told} (the second week: {_BARS['planted']})"
    lines = [f"{about}, {row['bands']} bands (in brackets the bars):"]
    for leads in ("all_leads", "next_hour"):
        found = row[leads]
        overall = found["overall"][0]
        region, lead = (
            [each["coverage"] for each in found[table]] for table in ("by_region", "by_lead")
        )
        spread = {
            "regions": (min(region), max(region), _BARS["region"]),
            "leads": (min(lead), max(lead), _BARS["lead"]),
        }
        ranges = [
            f"{name} {low:.2f} to {high:.2f} {bar}" for name, (low, high, bar) in spread.items()
        ]
        worst = f"worst 30 days {min(found['worst_30_days'].values()):.1f} ({_BARS['worst']})"
        lines.append(
            f"{leads}: {overall['coverage']:.2f} % {_BARS['overall']}, {', '.join(ranges)}, "
            f"{worst}, Winkler {overall['winkler']:.3f} % of load"
        )
    return "\n  ".join([*lines, f"(of the next hour at most {_BARS['winkler']} %)"])


def _plant(
    readings: Mapping[str, pd.DataFrame],
    spans: Mapping[str, Judged],
    kind: Planted,
) -> tuple[dict[str, pd.DataFrame], dict[str, int]]:
    """The readings with a change, and on which of the judged days it comes."""
    rng, changed, since = np.random.default_rng(0), {}, {}
    for name, own in readings.items():
        days = spans[name].days
        since[name] = int(_UNTIL_PLANTED * len(days))
        begin = pd.Timestamp(days.first_day + np.timedelta64(since[name], "D"), tz="UTC")
        load_mw = own["load_mw"].to_numpy(dtype=float, copy=True)
        after = (own["timestamp"] >= begin).to_numpy()
        if kind == "level":
            load_mw[after] *= 1.1
        else:
            error_DRV = spans[name].calibration.error_DRVK[..., 0]
            deviation = float(np.sqrt(np.nanmean(error_DRV.astype(float) ** 2)))
            load_mw[after] += rng.normal(0, deviation, after.sum())
        changed[name] = own.assign(load_mw=load_mw)
    return changed, since


def _judge_planted(
    spans: Mapping[str, Judged], since: Mapping[str, int], config: Config
) -> dict[str, list[float]]:
    """Coverage in the week before the change and in each one after it, all regions together."""
    rows = _rows(spans, config, "adaptive")
    levels = config.forecasting.quantiles
    lower, upper = (rows[quantile_column(level)] for level in (levels[0], levels[-1]))
    inside = is_covered(rows["y_true"].to_numpy(), lower.to_numpy(), upper.to_numpy())
    days = rows["day"] - rows["region"].astype(str).map(since)
    week, lead = (days // _WEEK).to_numpy(), rows["lead"].to_numpy()
    return {
        leads: [round(100 * float(inside[own & (week == each)].mean()), 2)
                for each in range(-1, _NUM_WEEKS)]
        for leads, own in (("all_leads", lead > 0), ("next_hour", lead == 1))
    }  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", nargs="*", help="such as forecasting.bands.rate=1.0")
    parser.add_argument("--profiles", nargs="+", default=PROFILES)
    parser.add_argument("--test", action="store_true", help="judge on the test part too")
    parser.add_argument("--output", default=str(RESULTS), help="folder of the JSON file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
