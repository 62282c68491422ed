"""A model's folder: written, read as it was written, and asked with a frame, alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gridcast
from gridcast.config import Config
from gridcast.errors import IntegrityError, RecordError, UsageError
from gridcast.features.load_scale import LoadScale
from gridcast.features.splits import VALIDATION
from gridcast.forecasting.calibration import learn_errors
from gridcast.forecasting.hindcast import unseen_since
from gridcast.forecasting.issue import forecast_regions
from gridcast.forecasting.model import STAND_INS, Contestants, ForecastModel
from gridcast.networks.weights import weights_file
from gridcast.record import sealed
from gridcast.serving.model_card import CARD, Member, ModelCard
from gridcast.serving.model_folder import model_files, read_files
from gridcast.serving.served_model import read_model
from tests.builders.pipelines import ROOT
from tests.builders.trainings import make_forecaster, tiny
from tests.builders.values import make_load, make_load_frame

from gridcast.features.table import build_features  # isort: skip

NUM_HOURS = 900
LOADS = {"AEP": make_load(NUM_HOURS), "DOM": make_load(NUM_HOURS, mean_mw=900, seed=1)}
CONFIG = tiny(
    split={"test_share": 0.1, "validation_share": 0.2, "article_lookback": 10},
    forecasting={"horizon": 24, "calibration_origins": 60},
)


@pytest.fixture(scope="module")
def made() -> tuple[ForecastModel, dict[str, bytes]]:
    readings = {name: make_load_frame(load, flags={}) for name, load in LOADS.items()}
    table = build_features(readings, CONFIG)
    networks = {"gru": make_forecaster(CONFIG, "gru"), "lstm": make_forecaster(CONFIG, "lstm")}
    learned = learn_errors(
        Contestants(networks, {"mean": ("gru", "lstm")}), table.frame, table.scales, CONFIG
    )
    model = ForecastModel(
        "mean",
        "a" * 64,
        CONFIG,
        table.scales,
        tuple(networks.values()),
        learned.calibrations["mean"],
    )
    card = ModelCard(
        name="mean", sha256="a" * 64, features_sha256="b" * 64, config=CONFIG,
        scales={name: (each.offset_mw, each.scale_mw) for name, each in table.scales.items()},
        feature_names=table.feature_names,
        members=(
            Member(name="gru", cell="gru", job_key="1", weights="gru.npz"),
            Member(name="lstm", cell="lstm", job_key="2", weights="lstm.npz"),
        ),
        unseen_since=unseen_since(table.frame, first_part=VALIDATION), files={},
    )  # fmt: skip
    weights = {f"{name}.npz": weights_file(each) for name, each in networks.items()}
    return model, model_files(card, weights, model.calibrations)


@pytest.fixture
def folder(made: tuple[ForecastModel, dict[str, bytes]], tmp_path: Path) -> Path:
    for name, content in made[1].items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def user_frame() -> pd.DataFrame:
    """As somebody has it: rows in no order, local times."""
    tables = [
        make_load_frame(load, flags={})[["timestamp", "load_mw"]].assign(region=name)
        for name, load in LOADS.items()
    ]
    table = pd.concat(tables).sample(frac=1.0, random_state=0)
    return table.assign(timestamp=table["timestamp"].dt.tz_convert("America/New_York"))


def test_a_frame_gets_the_forecast_that_the_model_issues_from_the_readings(
    made: tuple[ForecastModel, dict[str, bytes]], folder: Path
) -> None:
    served = gridcast.load_model(folder)
    assert served.regions == ["AEP", "DOM"]
    rows = served.forecast(user_frame())
    readings = {name: make_load_frame(load, flags={}) for name, load in LOADS.items()}
    end = readings["AEP"]["timestamp"].iloc[-1] + pd.Timedelta(hours=1)
    issued = forecast_regions(
        made[0], readings, issue_time=end, horizon=24,
        max_stale_hours=CONFIG.forecasting.max_stale_hours,
    ).rows  # fmt: skip
    pd.testing.assert_frame_equal(rows[list(issued.columns)], issued, check_dtype=False)
    assert set(rows["model"]) == {"mean"}
    assert len(rows) == 2 * 24
    assert (rows["q05"] < rows["q95"]).all()


def test_the_newest_hours_needed_give_the_forecast_of_all_hours(folder: Path) -> None:
    served = gridcast.load_model(folder)
    frame = user_frame().sort_values("timestamp")
    recent = frame.groupby("region").tail(served.hours_needed)
    assert len(recent) <= len(frame)
    whole, part = served.forecast(frame, horizon=30), served.forecast(recent, horizon=30)
    pd.testing.assert_frame_equal(whole, part)


def test_what_comes_after_the_instant_is_not_looked_at(folder: Path) -> None:
    served = gridcast.load_model(folder)
    frame = user_frame().sort_values("timestamp").reset_index(drop=True)
    as_of = frame["timestamp"].iloc[-1] - pd.Timedelta(hours=30)
    later = frame["timestamp"] >= as_of.floor("h")
    noise = frame["load_mw"].mask(later, 5.0)
    known = served.forecast(frame, as_of=as_of)
    pd.testing.assert_frame_equal(known, served.forecast(frame.assign(load_mw=noise), as_of=as_of))
    pd.testing.assert_frame_equal(known, served.forecast(frame[~later], as_of=as_of))


@pytest.mark.parametrize("name", ["gru.npz", "calibration.npz"])
def test_a_file_that_was_changed_or_is_gone_is_refused(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(IntegrityError, match=f"{name}: found SHA-256"):
        gridcast.load_model(folder)
    (folder / name).unlink()
    with pytest.raises(IntegrityError, match="no file"):
        gridcast.load_model(folder)


def test_no_model_and_a_damaged_card_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found no such folder"):
        gridcast.load_model(tmp_path / "nowhere")
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    (folder / CARD).write_text(json.dumps(card | {"schema_version": 99}), encoding="utf-8")
    with pytest.raises(RecordError, match="newer gridcast"):
        gridcast.load_model(folder)
    (folder / CARD).unlink()
    with pytest.raises(UsageError, match=r"found no model\.json"):
        gridcast.load_model(folder)


def test_a_card_of_a_version_without_some_settings_is_read_with_those_of_base(folder: Path) -> None:
    path = folder / "model.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    del card["record_sha256"]
    del card["config"]["tracking"]["registered_model"], card["config"]["forecasting"]["bands"]
    del card["config"]["ingestion"]["timezone"], card["config"]["tuning"]
    path.write_bytes(sealed(card))
    about, model = read_model(folder)
    base = Config.load()
    assert about.config.tracking.registered_model == base.tracking.registered_model
    assert model.config.forecasting.bands == base.forecasting.bands
    assert model.config.tuning == base.tuning
    assert (
        model.config.forecasting.horizon == CONFIG.forecasting.horizon != (base.forecasting.horizon)
    )
    path.write_bytes(sealed(card | {"config": 7}))
    with pytest.raises(RecordError, match=r"model\.json: found config: .* dictionary"):
        read_model(folder)


def test_how_sure_a_stand_in_is_comes_back_and_an_older_model_does_not_say(
    made: tuple[ForecastModel, dict[str, bytes]], folder: Path, tmp_path: Path
) -> None:
    model = made[0]
    _, read = read_model(folder)
    for name in STAND_INS:
        error_RK = model.calibrations[name].gain_error_RK
        assert error_RK is not None
        assert np.isfinite(error_RK).any()
        np.testing.assert_array_equal(read.calibrations[name].gain_error_RK, error_RK)
    older = {n: replace(each, gain_error_RK=None) for n, each in model.calibrations.items()}
    card, files = read_files(folder)
    weights = {each.weights: files[each.weights] for each in card.members}
    (tmp_path / "older").mkdir()
    for name, content in model_files(card, weights, older).items():
        (tmp_path / "older" / name).write_bytes(content)
    _, read = read_model(tmp_path / "older")
    assert {each.gain_error_RK for each in read.calibrations.values()} == {None}


def test_the_same_model_is_the_same_bytes(made: tuple[ForecastModel, dict[str, bytes]]) -> None:
    networks = made[0].forecasters
    assert weights_file(networks[0]) == made[1]["gru.npz"]
    assert weights_file(networks[1]) == made[1]["lstm.npz"]


def test_three_lines_forecast_and_import_no_orchestrator_and_no_tracker(folder: Path) -> None:
    user_frame().to_parquet(folder / "loads.parquet")
    code = (
        "import sys, pandas as pd\n"
        "import gridcast\n"
        f"model = gridcast.load_model({str(folder)!r})\n"
        f"rows = model.forecast(pd.read_parquet({str(folder / 'loads.parquet')!r}))\n"
        "print(len(rows), sorted({'prefect', 'mlflow', 'great_expectations'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "48 []"


def test_a_scale_is_that_of_its_region(folder: Path) -> None:
    served = gridcast.load_model(folder)
    scale = served.trained.scales["DOM"]
    assert isinstance(scale, LoadScale)
    assert np.isclose(scale.offset_mw, np.mean(LOADS["DOM"]), rtol=0.2)
