"""A model that anybody can ask: load a folder, forecast a DataFrame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pandas as pd

from gridcast.array_file import below, unpacked
from gridcast.baselines.linear_models import LinearModels
from gridcast.errors import UsageError
from gridcast.forecasting.bands import BandState
from gridcast.forecasting.calibration import Calibration
from gridcast.forecasting.issue import forecast_regions, issue_time_of, with_zone
from gridcast.forecasting.model import LINEAR, Blend, ForecastModel
from gridcast.forecasting.region_state import hours_back
from gridcast.networks.weights import read_forecaster
from gridcast.serving.frames import covariates_of, readings_of
from gridcast.serving.model_card import BLEND_PREFIX, CALIBRATION, linear_file
from gridcast.serving.model_folder import read_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from gridcast.config import Config
    from gridcast.serving.model_card import ModelCard

_MOST_HOURS = 168  # that are forecast
_HOUR = pd.Timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What :func:`load_model` gives."""

    card: ModelCard
    trained: ForecastModel

    @property
    def regions(self) -> list[str]:
        """Those that it can forecast."""
        return self.trained.regions

    @property
    def hours_needed(self) -> int:
        """How many hours of load before a forecast have a say in it.

        Of fewer, gaps and wrong readings are filled from fewer weeks.
        """
        return hours_back(self.trained.config)

    @property
    def covariates(self) -> dict[str, str]:
        """The columns that it reads beside loads, and their units."""
        return {name: each.unit for name, each in self.trained.config.covariates.columns.items()}

    def forecast(
        self,
        frame: pd.DataFrame,
        *,
        as_of: pd.Timestamp | str | None = None,
        horizon: int | None = None,
        regions: Sequence[str] = (),
    ) -> pd.DataFrame:
        """Forecast the hours to come of each region that is in the frame.

        Args:
            frame: ``region``, ``timestamp``, ``load_mw``: see
                :func:`gridcast.serving.frames.readings_of`. The newest 60 days of each region are
                enough (:attr:`hours_needed`). A model with covariates reads its columns of them
                too (:attr:`covariates`), also of rows to come, whose load is empty.
            as_of: from when on, UTC if it names no zone; none: the end of the newest load.
            horizon: hours (1 to 168); none: as the model was configured (``forecasting.horizon``).
            regions: only these; none: all that the frame has.

        Returns:
            A row a region and hour: ``region``, ``issue_time``, ``timestamp`` (UTC), ``lead`` (h),
            ``load_mw``, the quantiles (MW, as ``q05``), ``fallback`` (empty, or the naive forecast
            that stands in for the network), ``fallback_reason``, ``model``, ``model_sha256``.

        Raises:
            UsageError: the frame is not what it should be, or has fewer hours of a region than the
                networks read; what was found and expected is told.
        """
        config = self.trained.config
        if horizon is not None and not 1 <= horizon <= _MOST_HOURS:
            _refuse("horizon", f"{horizon} hours", f"1 to {_MOST_HOURS}")
        instant = None if as_of is None else _instant(as_of)
        readings = readings_of(frame, config, regions=self.regions)
        wanted = {name: readings[name] for name in regions or readings if name in readings}
        if instant is None:
            instant = max(each["timestamp"].iloc[-1] for each in readings.values()) + _HOUR
        issue_time = issue_time_of(instant)
        for name, own in wanted.items():
            _require_enough(name, own, issue_time, config)
        issue = forecast_regions(
            self.trained.given(covariates_of(frame, config)),
            readings,
            issue_time=issue_time,
            horizon=horizon or config.forecasting.horizon,
            max_stale_hours=config.forecasting.max_stale_hours,
            regions=list(wanted),
        )
        for name, why in issue.missing.items():
            _refuse(f"the frame, {name}", why, "newer hours of load")
        return issue.rows.assign(model=self.trained.name, model_sha256=self.trained.sha256)


def _refuse(where: str, found: str, expected: str) -> NoReturn:
    raise UsageError(where, found=found, expected=expected)


def _instant(as_of: pd.Timestamp | str) -> pd.Timestamp:
    """With a zone; UTC where it names none."""
    try:
        return with_zone(pd.Timestamp(as_of))
    except ValueError:
        _refuse("as_of", repr(as_of), "a time, as 2018-07-01T09:00:00Z")


def _require_enough(
    region: str, readings: pd.DataFrame, issue_time: pd.Timestamp, config: Config
) -> None:
    """Refuse fewer hours than a network reads: a naive forecast is not what was asked for."""
    times = readings["timestamp"]
    num_known = int(times.searchsorted(issue_time))
    last = times.iloc[num_known - 1] if num_known else issue_time - _HOUR
    needed = config.windows.lookback + (last + _HOUR).hour
    num_hours = int((last - times.iloc[0]) / _HOUR) + 1 if num_known else 0
    if num_hours < needed:
        found = f"{num_hours} hours before {issue_time:%Y-%m-%d %H:%M} UTC"
        expected = f"at least {needed}; {hours_back(config)} are best"
        _refuse(f"the frame, {region}", found, expected)


def load_model(folder: str | Path) -> ServedModel:
    """The model of a folder, as a run keeps it and MLflow has it.

    Raises:
        UsageError: there is none.
        RecordError: its ``model.json`` is damaged, or of a newer version.
        IntegrityError: a file is gone or was changed.
    """
    return ServedModel(*read_model(Path(folder)))


def read_model(folder: Path) -> tuple[ModelCard, ForecastModel]:
    """The model of a folder; nothing is taken that is not as it was written.

    Raises:
        UsageError: there is no model, or a file of it is none of its kind.
        RecordError: its ``model.json`` is damaged, or of a newer version.
        IntegrityError: a file is gone or was changed.
    """
    card, files = read_files(folder)
    arrays = unpacked(files[CALIBRATION], where=folder / CALIBRATION)
    linear = _linear(files, folder)
    return card, ForecastModel(
        name=card.name,
        sha256=card.sha256,
        config=card.config,
        scales=card.load_scales,
        forecasters=tuple(
            read_forecaster(
                files[each.weights],
                card.config,
                cell=each.cell,
                feature_names=card.feature_names,
                num_regions=len(card.scales),
                where=folder / each.weights,
            )
            for each in card.members
        ),
        calibrations={
            name: each
            for name, each in _calibrations(arrays).items()
            if name not in LINEAR or name in linear
        },
        linear=linear,
        blend=next((Blend(*each) for each in below(arrays, BLEND_PREFIX).items()), None),
    )


def _linear(files: Mapping[str, bytes], folder: Path) -> dict[str, LinearModels]:
    """By kind; those of an older version, which knew one hour ahead, are left out."""
    contents = {kind: files[name] for kind in LINEAR if (name := linear_file(kind)) in files}
    arrays = {kind: unpacked(each, where=folder) for kind, each in contents.items()}
    return {
        kind: LinearModels.of(each) for kind, each in arrays.items() if LinearModels.is_of(each)
    }


def _calibrations(arrays: Mapping[str, np.ndarray]) -> dict[str, Calibration]:
    """By contestant; who that is says the file. An older one calls errors by their only measure."""
    kinds = (".error", ".smape")
    errors = {
        name.removesuffix(kind): own
        for kind in kinds
        for name, own in arrays.items()
        if name.endswith(kind)
    }
    return {
        name: Calibration(
            error_RK,
            BandState.of(below(arrays, f"{name}.bands.")),
            arrays.get(f"{name}.gain_error"),
        )
        for name, error_RK in errors.items()
    }
