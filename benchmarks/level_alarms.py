"""Changes of level on real data: how many alarms a year, and how many planted ones are noticed?

``python benchmarks/level_alarms.py ARTIFACTS REPLAY`` goes through the forecasts that a replay has
left (``gridcast replay`` wrote them to ``REPLAY`` from the data in ``ARTIFACTS``), day after day,
as ``gridcast monitor`` would, and counts the alarms. Then it plants changes of level at random
hours and regions, each in the truth of one day, under forecasts that knew nothing of it, and
counts those that are noticed. The weights of `gridcast/monitoring/level.py` and the settings
``operation.monitoring.level_*`` were chosen by it on the replay of August 2015 to July 2017; what
it finds ``benchmarks/results/level-alarms-cpu.json`` keeps. It takes some minutes of one core.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.article_accuracy import RESULTS, envelope, write_kept
from gridcast.config import Config
from gridcast.monitoring.alarms import promise_of
from gridcast.monitoring.level import LEADS, LevelScores, level_scores, level_steps
from tasks.forecast.forecast_store import read_issued
from tasks.forecast.issue_forecast import current_snapshot, published_readings
from tasks.forecast.model_in_charge import model_in_charge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridcast.config import MonitoringConfig

FACTORS = (1.10, 0.90)
_NUM_PLANTED = 40  # a region
_DAY, _HOUR = pd.Timedelta(days=1), pd.Timedelta(hours=1)


def main() -> None:
    """Count, show and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifacts", type=Path, help="whose data were replayed")
    parser.add_argument("replay", type=Path, help="folder of the replay")
    asked = parser.parse_args()
    config = Config.load().operation.monitoring
    current = current_snapshot(asked.artifacts.resolve(), None)
    readings = published_readings(
        asked.artifacts.resolve(), current, list(current.snapshot.regions)
    )
    columns = ["region", "issue_time", "timestamp", "lead", "load_mw"]
    rows = read_issued(asked.replay.resolve(), current.dataset, columns=columns)
    rows = rows[rows["lead"].isin(LEADS)]
    first, last = rows["issue_time"].min(), rows["issue_time"].max()
    charge = model_in_charge(asked.replay.resolve(), current.dataset, as_of=first)
    if charge.chosen is None:
        sys.exit(f"no model of {asked.replay} can be loaded: {charge.why}")
    promised = promise_of(charge.chosen.model).next_hour_error
    scores = level_scores(rows, readings, {})
    alarms = count_alarms(scores, promised, config)
    years = (last - first) / (365 * _DAY)
    found = {
        "first": f"{first:%Y-%m-%d}", "last": f"{last:%Y-%m-%d}",
        "settings": {n: v for n, v in config.model_dump().items() if n.startswith("level_")},
        "alarms_a_year": round(len(alarms) / years, 1), "alarms": alarms,
        "noticed": noticed(rows, readings, scores, promised, config),
    }  # fmt: skip
    for name, value in found.items():
        sys.stdout.write(f"{name}: {value}\n")
    kept = envelope("level_alarms", torch.device("cpu")) | {"rows": [found]}
    write_kept(RESULTS / "level-alarms-cpu.json", kept)


def count_alarms(
    scores: LevelScores, promised: Mapping[str, float], config: MonitoringConfig
) -> list[str]:
    """Those of all days, each told once in its quiet days."""
    told, last = list[str](), dict[str, pd.Timestamp]()
    begin = scores.score.index[0].ceil("D") + _DAY
    for at in pd.date_range(begin, scores.score.index[-1], freq="D"):
        for step in level_steps(scores, promised, config, at=at):
            if step.region in last and at - last[step.region] < config.quiet_days * _DAY:
                continue
            last[step.region] = at
            told.append(f"{step.region} {step.time:%Y-%m-%dT%H} {step.percent:+.1f} %")
    return told


def noticed(
    rows: pd.DataFrame,
    readings: Mapping[str, pd.DataFrame],
    scores: LevelScores,
    promised: Mapping[str, float],
    config: MonitoringConfig,
) -> dict[str, dict[str, float]]:
    """Shares of planted changes of level that are noticed within a day, by factor and region."""
    rng = np.random.default_rng(0)
    by_time = {pd.Timestamp(str(time)): own for time, own in rows.groupby("issue_time")}
    hours = [time for time in by_time if time > scores.score.index[0] + 70 * _DAY]
    found: dict[str, dict[str, float]] = {}
    for factor in FACTORS:
        shares: dict[str, float] = {}
        for region in scores.score.columns:
            times = rng.choice(np.array(hours, dtype=object), _NUM_PLANTED, replace=False)
            hits = [
                _is_noticed(by_time, readings, scores, promised, config, region, time, factor)
                for time in times
            ]
            known = [each for each in hits if each is not None]
            shares[str(region)] = round(float(np.mean(known)), 3)
        shares["mean"] = round(float(np.mean(list(shares.values()))), 3)
        found[f"{factor:g}"] = shares
    return found


def _is_noticed(
    by_time: Mapping[pd.Timestamp, pd.DataFrame],
    readings: Mapping[str, pd.DataFrame],
    scores: LevelScores,
    promised: Mapping[str, float],
    config: MonitoringConfig,
    region: str,
    time: pd.Timestamp,
    factor: float,
) -> bool | None:
    """By a look a day later; None where the day says nothing."""
    before = [time - back * _HOUR for back in range(3, -1, -1)]
    own = pd.concat([by_time[each] for each in before if each in by_time])
    near = {n: e[(e["timestamp"] >= before[0]) & (e["timestamp"] < time + _DAY)]
            for n, e in readings.items()}  # fmt: skip
    hit = near[region]
    load = hit["load_mw"].where(hit["timestamp"] < time, hit["load_mw"] * factor)
    planted = level_scores(own, near | {region: hit.assign(load_mw=load)}, {})
    score, step = (_then(*each, region, time) for each in zip(scores, planted, strict=True))
    if np.isnan(score[region].iloc[-1]):
        return None
    at = time + _DAY
    seen = level_steps(LevelScores(score, step), promised, config, at=at)
    return any(each.time == time for each in seen)


def _then(past: pd.DataFrame, now: pd.DataFrame, region: str, time: pd.Timestamp) -> pd.DataFrame:
    """A region's column until ``time``, at which the planted one holds."""
    return pd.concat([past[past.index < time][[region]], now[now.index == time][[region]]])


if __name__ == "__main__":
    main()
