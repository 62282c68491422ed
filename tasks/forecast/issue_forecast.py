"""Issue a forecast: the newest snapshot, the recommended model, a row a region and hour to come."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gridcast.errors import UsageError
from gridcast.forecasting.direct import forecast_ahead
from gridcast.forecasting.issue import (
    RegionState,
    forecast_rows,
    issue_time_of,
    known_at,
    naive_ahead,
    region_state,
)
from tasks.forecast.calibrated import NETWORK, STAND_INS, calibrations_of
from tasks.forecast.chosen_model import choose_model
from tasks.forecast.forecast_store import store_rows
from tasks.ingest.snapshots import read_current
from tasks.runs.keys import require_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gridcast.config import ForecastingConfig
    from gridcast.forecasting.calibration import Calibration
    from tasks.forecast.chosen_model import ChosenModel
    from tasks.ingest.snapshots import Current

_OLDEST_HOURS = 14 * 24
_log = logging.getLogger("gridcast.forecast")


@dataclass(frozen=True, slots=True)
class Issued:
    """A forecast as it was issued.

    ``missing`` tells why a region of the model has no rows, ``doubts`` why one has those of a naive
    forecast for want of data.
    """

    rows: pd.DataFrame
    issue_time: pd.Timestamp
    dataset: str
    model: str
    run_id: str
    stored: Path
    missing: dict[str, str]
    doubts: dict[str, str]
    loads: dict[str, pd.DataFrame]  # by region: the last known hours, for pictures

    @property
    def fallbacks(self) -> dict[str, str]:
        """Why a region's forecast is not that of the model."""
        own = self.rows[self.rows["fallback"] != ""].drop_duplicates("region")
        return dict(zip(own["region"], own["fallback_reason"], strict=True))


def issue_forecast(
    artifacts: Path,
    config: ForecastingConfig,
    *,
    as_of: pd.Timestamp,
    folder: Path | None = None,
    regions: Sequence[str] = (),
    run_id: str | None = None,
) -> Issued:
    """Forecast the hours from ``as_of`` on, from what was known by then, and keep the rows.

    Args:
        artifacts: folder of everything that runs produce.
        config: how far ahead, and which quantiles.
        as_of: the instant; what happened later is not looked at.
        folder: whose data; none: those that were ingested last.
        regions: only these; none: all that the model knows.
        run_id: whose model; none: the newest run's.

    Raises:
        UsageError: there is no model, no data, or no such region.
        IntegrityError: a file of the model or the snapshot was changed.
    """
    model = choose_model(artifacts, run_id=run_id)
    current = _current(artifacts, folder)
    wanted = _wanted(model, regions)
    calibrations = calibrations_of(artifacts, model, config)
    issue_time = issue_time_of(as_of)
    seen = model.regions if model.config.model.neighbour_units else wanted
    neighbours, missing = _states(artifacts, model, current, seen, issue_time, config)
    states = [each for each in neighbours if each.region in wanted]
    missing = {name: why for name, why in missing.items() if name in wanted}
    if not states:
        found = "; ".join(f"{name}: {why}" for name, why in missing.items())
        raise UsageError(
            artifacts, found=found, expected="a region with hours before the issue time"
        )
    made_by = {each.region: _forecaster_of(each, calibrations) for each in states}
    rows = _all_rows(model, states, neighbours, made_by, calibrations, issue_time, config)
    rows["model"], rows["model_sha256"] = model.name, model.sha256
    rows["run_id"], rows["snapshot"] = model.run_id, current.snapshot.id
    stored = store_rows(artifacts, current.dataset, rows, issue_time=issue_time)
    loads = {each.region: each.frame[["timestamp", "load_mw"]] for each in states}
    return Issued(
        rows, issue_time, current.dataset, model.name, model.run_id, stored, missing,
        {each.region: each.doubt for each in states if each.doubt}, loads,
    )  # fmt: skip


def _wanted(model: ChosenModel, regions: Sequence[str]) -> list[str]:
    unknown = sorted(set(regions) - set(model.regions))
    if unknown:
        where, expected = "--region", f"of {', '.join(model.regions)}"
        raise UsageError(where, found=", ".join(unknown), expected=expected)
    return [name for name in model.regions if not regions or name in regions]


def _states(
    artifacts: Path, model: ChosenModel, current: Current, wanted: Sequence[str],
    issue_time: pd.Timestamp, config: ForecastingConfig,
) -> tuple[list[RegionState], dict[str, str]]:  # fmt: skip
    """What is known of each region, and why nothing is of others."""
    states, missing = [], {}
    for name in wanted:
        record = current.snapshot.regions.get(name)
        if record is None:
            missing[name] = f"it is not in the snapshot {current.snapshot.id}"
            continue
        path = artifacts / "data" / record.path
        require_sha256(path, record.file_sha256)
        state = region_state(
            name, pd.read_parquet(path), model.config, regions=model.regions,
            scale=model.scales[name], issue_time=issue_time,
            max_stale_hours=config.max_stale_hours,
        )  # fmt: skip
        if state is None:
            missing[name] = f"it has no hour before {issue_time:%Y-%m-%d %H:%M} UTC"
        elif state.stale_hours > _OLDEST_HOURS:
            missing[name] = f"{state.doubt}: too long ago for any forecast"
        else:
            states.append(state)
    return states, missing


def end_of_data(artifacts: Path, *, folder: Path | None = None) -> pd.Timestamp:
    """The end of the newest hour that any region of the snapshot has, UTC.

    Raises:
        UsageError: nothing is published.
    """
    current = _current(artifacts, folder)
    paths = [artifacts / "data" / each.path for each in current.snapshot.regions.values()]
    newest = [pd.read_parquet(path, columns=["timestamp"])["timestamp"].max() for path in paths]
    return pd.Timestamp(max(newest)) + pd.Timedelta(hours=1)


def _current(artifacts: Path, folder: Path | None) -> Current:
    current = read_current(artifacts / "data", folder=folder)
    if current is None:
        expected = "a published snapshot: gridcast ingest --data FOLDER makes one"
        raise UsageError(folder or artifacts, found="none", expected=expected)
    return current


def _forecaster_of(state: RegionState, calibrations: Mapping[str, Calibration]) -> tuple[str, str]:
    """Who forecasts the region, and why it is not the network (empty: it is)."""
    error = {name: _mean_error(each, state.region) for name, each in calibrations.items()}
    fallback = min(STAND_INS, key=lambda name: error[name])
    if state.doubt:
        return fallback, state.doubt
    if error[fallback] < error[NETWORK]:
        errors_text = f"{error[fallback]:.2f} % against {error[NETWORK]:.2f} %"
        return fallback, f"on the validation part it is better than the network ({errors_text})"
    return NETWORK, ""


def _mean_error(calibration: Calibration, region: str) -> float:
    errors = calibration.smape_K[region]
    known = errors[~np.isnan(errors)]
    return float(known.mean()) if len(known) else float("inf")


def _all_rows(
    model: ChosenModel,
    states: Sequence[RegionState],
    neighbours: Sequence[RegionState],
    made_by: Mapping[str, tuple[str, str]],
    calibrations: Mapping[str, Calibration],
    issue_time: pd.Timestamp,
    config: ForecastingConfig,
) -> pd.DataFrame:
    num_leads = config.horizon + config.max_stale_hours
    by_network = [each for each in states if made_by[each.region][0] == NETWORK]
    forecast = _network_mw(model, by_network, neighbours, num_leads=num_leads)
    tables = []
    for state in states:
        name, reason = made_by[state.region]
        # Hours between the last known one and the issue time are forecast too, and not told.
        first = state.stale_hours
        needed = first + config.horizon
        load_mw = forecast.get(state.region)
        if load_mw is None:
            load_mw = naive_ahead(state, name, num_leads=needed)
        errors_KQ = calibrations[name].error_mw_KQ[state.region]
        place_K = np.minimum(np.arange(first, needed), len(errors_KQ) - 1)
        own = load_mw[first:needed]
        quantiles = {
            f"q{round(100 * level):02d}": own + errors_KQ[place_K, number]
            for number, level in enumerate(config.quantiles)
        }
        table = forecast_rows(state.region, issue_time, own, quantiles)
        is_own = name == NETWORK
        tables.append(table.assign(fallback="" if is_own else name, fallback_reason=reason))
    return pd.concat(tables, ignore_index=True)


def _network_mw(
    model: ChosenModel,
    states: Sequence[RegionState],
    neighbours: Sequence[RegionState],
    *,
    num_leads: int,
) -> dict[str, np.ndarray]:
    """The mean of the networks' forecasts by region, MW, from each one's last known hour on."""
    if not states:
        return {}
    known = known_at(states, model.config, num_leads=num_leads, neighbours=neighbours)
    each = [
        forecast_ahead(one, known, model.config, num_leads=num_leads) for one in model.forecasters
    ]
    mean_BK = np.mean(each, axis=0)
    found = {}
    for state, scaled_K in zip(states, mean_BK, strict=True):
        scale = model.scales[state.region]
        found[state.region] = scaled_K * scale.scale_mw + scale.offset_mw
    return found
