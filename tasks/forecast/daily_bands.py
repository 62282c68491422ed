"""The bands of a day, made of the errors that a model would have made in the weeks before; kept."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gridcast.array_file import below, packed, unpacked
from gridcast.features.grid_hours import grid_hours
from gridcast.features.table import build_features
from gridcast.forecasting.bands import BandState
from gridcast.forecasting.hindcast import (
    bands_on,
    first_learned,
    hindcast,
    num_leads_of,
    week_of,
)
from gridcast.forecasting.model import NETWORK
from gridcast.forecasting.region_state import hours_back
from gridcast.forecasting.rolling import rolling_table
from gridcast.readings.snapshots import table_sha256
from tasks.runs.import_closure import code_sha256
from tasks.runs.keys import key_of
from tasks.runs.locks import held
from tasks.runs.storage import publishing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from gridcast.config import Config, ForecastingConfig
    from gridcast.covariates.values import Covariates
    from gridcast.forecasting.model import ForecastModel
    from tasks.forecast.chosen_model import ChosenModel

_ONE_DAY = np.timedelta64(1, "D")
_DIGEST_BYTES = 32  # SHA-256 of what stands before it
_log = logging.getLogger("gridcast.forecast")


def with_bands_on(
    artifacts: Path,
    chosen: ChosenModel,
    readings: Mapping[str, pd.DataFrame],
    asked: ForecastingConfig,
    *,
    day: np.datetime64,
    snapshot: str,
) -> ForecastModel:
    """The model with the bands of ``day``: of errors that were known when it began.

    Those of an earlier day of the week are lived on from. Of a day before which the model knows the
    truth, as it was trained on it, no errors tell anything: its own bands stay.

    Args:
        artifacts: folder of everything that runs produce; bands are kept in it.
        chosen: the model, and since when each region's truth is new to it.
        readings: by region, as published.
        asked: horizon, quantiles, how bands adapt.
        day: in which the forecast is issued (UTC).
        snapshot: of the readings.
    """
    model = chosen.model
    own = model.calibrations[NETWORK].bands
    as_trained = model.config.forecasting.keyed() == asked.keyed()
    if own.day == day and as_trained and chosen.snapshot == snapshot:
        return model  # made of the same readings when the model was kept
    model = replace(model, config=model.config.model_copy(update={"forecasting": asked}))
    # No hour that had not ended when the day began has a say in its bands.
    known = readings_since_learned(model, readings, day, until=day)
    keys = _keys(model, known, day)
    with held(artifacts, f"bands-{model.sha256[:16]}"):
        begun = None
        for key in keys.values():
            begun = _kept(artifacts, key, model.calibrations)
            if begun is not None:
                break
        if begun is None or begun[NETWORK].day < day:
            begun = _made(chosen, model, known, begun, day=day)
            _keep(artifacts, keys[day], begun)
    return replace(
        model,
        calibrations={
            name: replace(each, bands=each.bands if _is_empty(begun[name]) else begun[name])
            for name, each in model.calibrations.items()
        },
    )


def _is_empty(bands: BandState) -> bool:
    return bool(np.isnan(bands.scale_PRKH).all())


def readings_since_learned(
    model: ForecastModel,
    readings: Mapping[str, pd.DataFrame],
    day: np.datetime64,
    *,
    until: np.datetime64,
) -> dict[str, pd.DataFrame]:
    """Of each region what has a say from ``day`` on, with its bands, up to ``until`` (UTC)."""
    own = model.config.forecasting
    hours = np.timedelta64(hours_back(model.config) + num_leads_of(own), "h")
    begin, end = (pd.Timestamp(each).tz_localize("UTC")
                  for each in (first_learned(day, own) - hours, until))  # fmt: skip
    return {
        name: table[(table["timestamp"] >= begin) & (table["timestamp"] < end)]
        for name, table in readings.items()
    }


def _keys(
    model: ForecastModel, known: Mapping[str, pd.DataFrame], day: np.datetime64
) -> dict[np.datetime64, str]:
    """All on which the bands of each day of the week depend, ``day`` first."""
    depends_on = {
        "model": model.sha256,
        "config": model.config.keyed(
            "forecasting",
            "covariates",
            "features",
            "ingestion",
            "rules",
            "scaling",
            "split",
            "windows",
            "model",
        ),
        "code": code_sha256(__name__),
    }
    keys, each = {}, day
    while each >= week_of(day):
        keys[each] = key_of(
            **depends_on,
            day=str(each),
            readings={name: _content(table, each) for name, table in known.items()},
            covariates={
                name: _known_by(own, each, model.config) for name, own in model.covariates.items()
            },
        )
        each = each - _ONE_DAY
    return keys


def _known_by(covariates: Covariates, day: np.datetime64, config: Config) -> str:
    """What had been known of covariates when the day began."""
    known = covariates.known_by(
        pd.Timestamp(day, tz="UTC"), config.covariates.as_known,
        hours_ahead=num_leads_of(config.forecasting),
    )  # fmt: skip
    return table_sha256(known.frame)


def _content(table: pd.DataFrame, day: np.datetime64) -> str:
    hours = grid_hours(table["timestamp"].dt.tz_localize(None).to_numpy())
    num = int(np.searchsorted(hours, day.astype("datetime64[h]")))
    digest = hashlib.sha256(hours[:num].astype(np.int64).tobytes())
    digest.update(table["load_mw"].to_numpy(dtype=float)[:num].tobytes())
    digest.update((table["flag"] != "").to_numpy()[:num].tobytes())
    return digest.hexdigest()


def _made(
    chosen: ChosenModel,
    model: ForecastModel,
    known: Mapping[str, pd.DataFrame],
    begun: dict[str, BandState] | None,
    *,
    day: np.datetime64,
) -> dict[str, BandState]:
    _log.info("Learning from the errors of the last weeks how wide the bands of %s are", day)
    some = {name: table for name, table in known.items() if len(table)}
    if not some:
        return {name: each.bands for name, each in model.calibrations.items()}
    config = model.config
    covariates = model.covariates
    frame = build_features(
        some, config, covariates=covariates, scales=model.scales, regions=model.regions
    ).frame
    table = rolling_table(
        frame, model.scales, config, num_leads=num_leads_of(config.forecasting),
        covariates=covariates,
    )  # fmt: skip
    first = first_learned(day, config.forecasting) if begun is None else begun[NETWORK].day
    past = hindcast(
        model.as_contestants(NETWORK), table, frame, chosen.unseen_since, config,
        first=first, end=day,
    )  # fmt: skip
    return bands_on(past, config.forecasting, begun=begun)


# -- what is kept ----------------------------------------------------------------------------------


def _path(artifacts: Path, key: str) -> Path:
    return artifacts / "forecasts" / "bands" / f"{key[:32]}.npz"


def _keep(artifacts: Path, key: str, bands: Mapping[str, BandState]) -> None:
    arrays = {
        f"{name}.{part}": a for name, each in bands.items() for part, a in each.arrays().items()
    }
    content = packed(arrays)
    with publishing(_path(artifacts, key)) as temporary:
        temporary.write_bytes(content + hashlib.sha256(content).digest())


def _kept(artifacts: Path, key: str, names: Iterable[str]) -> dict[str, BandState] | None:
    """None where there is nothing, or not what was written: it is made anew."""
    path = _path(artifacts, key)
    if not path.is_file():
        return None
    content = path.read_bytes()
    content, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        _log.warning("%s: found other bytes than were written; it is made anew", path)
        return None
    arrays = unpacked(content, where=path)
    return {name: BandState.of(below(arrays, f"{name}.")) for name in names}
