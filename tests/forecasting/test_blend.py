"""A blend of networks and linear models forecasts as it was weighed: live, at once, and kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridcast.array_file import packed
from gridcast.baselines.linear_baselines import fit_linear
from gridcast.features.splits import TEST, VALIDATION
from gridcast.features.table import build_features
from gridcast.forecasting.calibration import Learned, learn_errors
from gridcast.forecasting.hindcast import forecast_contestants, unseen_since
from gridcast.forecasting.issue import forecast_regions
from gridcast.forecasting.model import NETWORK, Blend, Contestants, ForecastModel
from gridcast.forecasting.rolling import rolling_table
from gridcast.networks.weights import weights_file
from gridcast.operation.issue_span import issue_span
from gridcast.serving.model_card import Member, ModelCard, linear_file
from gridcast.serving.model_folder import model_files
from gridcast.serving.served_model import read_model
from tests.builders.trainings import make_forecaster, tiny
from tests.builders.values import make_load, make_load_frame

NUM_HOURS, HORIZON, LATE = 1500, 30, 2
CONFIG = tiny(
    features={"lags_hours": [24]},
    split={"test_share": 0.1, "validation_share": 0.3, "article_lookback": 10},
    forecasting={
        "horizon": HORIZON, "max_stale_hours": LATE, "calibration_origins": 40,
        "bands": {"learn_days": 7},
    },
)  # fmt: skip
LOADS = {"AEP": make_load(NUM_HOURS), "DOM": make_load(NUM_HOURS, mean_mw=900, seed=1)}
READINGS = {name: make_load_frame(load, flags={}, config=CONFIG) for name, load in LOADS.items()}
TABLE = build_features(READINGS, CONFIG)
END = READINGS["AEP"]["timestamp"].iloc[-1] + pd.Timedelta(hours=1)
NETWORK_OF = {"gru": make_forecaster(CONFIG, "gru")}
LINEAR = {"linear_neighbours": fit_linear(TABLE.frame, with_neighbours=True).models}
KNOWN = Blend("linear_neighbours", np.array([0.35]))  # of the next hour, as an evaluation found it


def learned(frame: pd.DataFrame = TABLE.frame) -> Learned:
    contestants = Contestants(
        NETWORK_OF, {"gru": ("gru",), "blend": ("gru",)}, LINEAR, {"blend": KNOWN}
    )
    return learn_errors(contestants, frame, TABLE.scales, CONFIG)


@pytest.fixture(scope="module")
def blended() -> ForecastModel:
    """A network that is preferred at every lead."""
    found = learned()
    calibrations = {
        name: replace(each, error_RK=np.full_like(each.error_RK, 0.0 if name == NETWORK else 9.0))
        for name, each in found.calibrations["blend"].items()
    }
    return ForecastModel(
        "blend", "a" * 64, CONFIG, TABLE.scales, tuple(NETWORK_OF.values()), calibrations, LINEAR,
        blend=found.blends["blend"],
    )  # fmt: skip


def issued(
    model: ForecastModel,
    time: pd.Timestamp = END,
    readings: dict[str, pd.DataFrame] = READINGS,
) -> pd.DataFrame:
    return forecast_regions(
        model, readings, issue_time=time, horizon=HORIZON, max_stale_hours=LATE
    ).rows


def by_linear_alone(model: ForecastModel) -> ForecastModel:
    errors = {name: 0.0 if name in LINEAR else 9.0 for name in model.calibrations}
    calibrations = {
        name: replace(each, error_RK=np.full_like(each.error_RK, errors[name]))
        for name, each in model.calibrations.items()
    }
    return replace(model, blend=None, calibrations=calibrations)


def test_a_live_forecast_is_that_of_both_by_the_weight_of_its_lead(blended: ForecastModel) -> None:
    rows, alone = issued(blended), issued(replace(blended, blend=None))
    linear = issued(by_linear_alone(blended))
    assert blended.blend is not None
    weight = blended.blend.weight_K[rows["lead"] - 1]
    assert 0 < weight.mean() < 1
    expected = (1 - weight) * alone["load_mw"] + weight * linear["load_mw"]
    np.testing.assert_allclose(rows["load_mw"], expected, rtol=1e-9)
    assert set(rows["fallback"]) == {""}
    assert set(linear["fallback"]) == set(LINEAR)


def test_where_a_neighbour_is_late_its_part_is_the_forecast_from_the_regions_own_past(
    blended: ForecastModel,
) -> None:
    late = READINGS | {"DOM": READINGS["DOM"].iloc[:-2]}
    (own,) = LINEAR.values()
    alone = {"linear_neighbours": replace(own, together=None)}
    rows, expected = issued(blended, readings=late), issued(replace(blended, linear=alone))
    is_AEP = rows["region"] == "AEP"
    np.testing.assert_allclose(
        rows[is_AEP]["load_mw"], expected[expected["region"] == "AEP"]["load_mw"], rtol=1e-9
    )
    assert not np.allclose(rows[is_AEP]["load_mw"], issued(blended)[is_AEP]["load_mw"], rtol=1e-6)


def test_a_region_asked_for_alone_is_forecast_as_with_all_others(blended: ForecastModel) -> None:
    both = issued(blended)
    alone = forecast_regions(
        blended, READINGS, issue_time=END, horizon=HORIZON, max_stale_hours=LATE, regions=["DOM"]
    ).rows
    expected = both[both["region"] == "DOM"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone.reset_index(drop=True), expected)


def test_forecasts_from_many_origins_are_blended_alike(blended: ForecastModel) -> None:
    table = rolling_table(TABLE.frame, TABLE.scales, CONFIG, num_leads=HORIZON + LATE)
    step_N = np.flatnonzero(TABLE.frame["part"] == TEST)[10:20]
    found = forecast_contestants(blended.as_contestants("blend"), table, step_N, CONFIG)
    plain = replace(blended, blend=None).as_contestants("blend")
    alone = forecast_contestants(plain, table, step_N, CONFIG)
    assert blended.blend is not None
    expected = blended.blend.of(alone["blend"], alone["linear_neighbours"])
    np.testing.assert_array_equal(found["blend"], expected)
    assert not np.allclose(found["blend"], alone["blend"])


def test_issue_times_made_up_at_once_are_those_issued_one_by_one(blended: ForecastModel) -> None:
    late = END - pd.Timedelta(hours=20)
    is_lost = READINGS["DOM"]["timestamp"].between(late, END, inclusive="left")
    readings = READINGS | {"DOM": READINGS["DOM"][~is_lost]}
    times = pd.date_range(late - pd.Timedelta(hours=3), periods=6, freq="h")
    since = dict.fromkeys(LOADS, "2017-01-01T00")
    rows = issue_span(blended, readings, since, CONFIG.forecasting, issue_times=times)
    for time in times:
        own = rows[rows["issue_time"] == time].reset_index(drop=True)
        known = {name: each[each["timestamp"] < time] for name, each in readings.items()}
        expected = issued(blended, time, known)
        assert own["region"].tolist() == expected["region"].tolist()
        np.testing.assert_allclose(own["load_mw"], expected["load_mw"], rtol=1e-6)


def test_weights_that_are_known_stay_and_later_leads_have_those_of_the_validation_part() -> None:
    noise = TABLE.frame.copy()
    noise.loc[noise["part"] == TEST, ["load_mw", "input_mw", "x_load"]] *= 3.0
    found, other = (learned(each).blends["blend"].weight_K for each in (TABLE.frame, noise))
    assert found[0] == 0.35
    assert len(found) == HORIZON + LATE
    assert (found[1:] > 0).all()  # a network that has learned nothing
    assert found.tobytes() == other.tobytes()
    changed = TABLE.frame.copy()
    changed.loc[changed["part"] == VALIDATION, "load_mw"] *= 1.2
    assert learned(changed).blends["blend"].weight_K.tobytes() != found.tobytes()


def card_of(name: str, unseen: dict[str, str]) -> ModelCard:
    return ModelCard(
        name=name, sha256="a" * 64, features_sha256="b" * 64, config=CONFIG,
        scales={own: (each.offset_mw, each.scale_mw) for own, each in TABLE.scales.items()},
        feature_names=TABLE.feature_names,
        members=(Member(name="gru", cell="gru", job_key="1", weights="gru.npz"),),
        unseen_since=unseen, files={},
    )  # fmt: skip


def test_it_is_kept_in_a_folder_and_read_as_it_was_written(
    blended: ForecastModel, tmp_path: Path
) -> None:
    card = card_of("blend", unseen_since(TABLE.frame, first_part=VALIDATION))
    others = {"gru.npz": weights_file(NETWORK_OF["gru"])}
    others |= {linear_file(kind): packed(each.arrays()) for kind, each in LINEAR.items()}
    files = model_files(card, others, blended.calibrations, blended.blend)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    pd.testing.assert_frame_equal(issued(read_model(tmp_path)[1]), issued(blended))


def test_linear_models_of_an_older_version_are_left_out(
    blended: ForecastModel, tmp_path: Path
) -> None:
    """They knew one hour ahead; the network and the naive forecasts remain."""
    card = card_of("gru", {})
    old = packed({"weight": np.zeros((2, 24, 55)), "bias": np.zeros((2, 24))})
    calibrations = {
        name.replace("linear_neighbours", "linear"): each
        for name, each in blended.calibrations.items()
    }
    others = {"gru.npz": weights_file(NETWORK_OF["gru"]), "linear.npz": old}
    for name, content in model_files(card, others, calibrations).items():
        (tmp_path / name).write_bytes(content)
    _, model = read_model(tmp_path)
    assert (model.linear, "linear" in model.stand_ins, model.reads_others) == ({}, False, False)
    expected = issued(replace(blended, blend=None, linear={}))
    np.testing.assert_array_equal(issued(model)["load_mw"], expected["load_mw"])
