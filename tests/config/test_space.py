"""The space of a search: read from settings, refused by key, found and expected; and its values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from gridcast.config import Config
from gridcast.config.space import Choices, Range, Search
from gridcast.errors import EXIT_USAGE, ConfigError
from gridcast.evaluation.metrics import smape
from gridcast.evaluation.search import Course, error_of_mean_forecast, profile_of


def space_of(*overrides: str) -> dict[str, Search]:
    return Config.load(overrides=overrides).read_space()


@pytest.mark.parametrize(
    ("override", "setting", "expected"),
    [
        ("model.hidden_size=[16, 32]", "model.hidden_size", Choices((16, 32))),
        ("model.dropout={low: 0, high: 0.5}", "model.dropout",
         Range(0, 0.5, log=False, whole=False)),
        ("training.passes={low: 2, high: 9}", "training.passes",
         Range(2, 9, log=False, whole=True)),
        ("training.max_steps={low: 1, high: 9, log: true}", "training.max_steps",
         Range(1, 9, log=True, whole=True)),
        ("training.clip_norm=[null, 1e-1]", "training.clip_norm", Choices((None, 0.1))),
        ("training.loss=[l1, mse]", "training.loss", Choices(("l1", "mse"))),
        ("features.lags_hours=[[24], [1, 2]]", "features.lags_hours", Choices(((24,), (1, 2)))),
        ("windows.warmup=[0, 500]", "windows.warmup", Choices((0, 500))),  # lookback may be larger
    ],
)  # fmt: skip
def test_a_setting_has_choices_or_a_range_of_its_own_kind(
    override: str, setting: str, expected: Search
) -> None:
    assert space_of(f"tuning.space.{override}")[setting] == expected


def test_a_null_takes_a_setting_or_a_whole_section_out_of_the_space() -> None:
    before = space_of()
    after = space_of("tuning.space.model=null", "tuning.space.training.batch_size=null")
    assert before.keys() - after.keys() == {
        "model.hidden_size", "model.num_layers", "training.batch_size",
    }  # fmt: skip


def test_a_layer_turns_a_range_into_choices() -> None:
    on_gpu = Config.load(device_type="cuda").read_space()
    assert isinstance(space_of()["model.hidden_size"], Range)
    assert isinstance(on_gpu["model.hidden_size"], Choices)


@pytest.mark.parametrize(
    ("override", "key", "found", "expected"),
    [
        ("model.hiden_size=[1]", "model.hiden_size", "hiden_size", "searched: hidden_size, num_la"),
        ("model.hidden_size=[0, 4]", "model.hidden_size", 0, "greater than or equal to 1"),
        ("model.hidden_size=4", "model.hidden_size", 4, "a list of choices, a range as"),
        ("model.hidden_size=[]", "model.hidden_size", [], "a list of choices, a range as"),
        ("model.hidden_size={low: 1.5, high: 4}", "model.hidden_size", 1.5, "a valid integer"),
        ("model.dropout={low: 0.1, high: 1}", "model.dropout", 1, "less than 1"),
        ("training.loss=[l1, l2]", "training.loss", "l2", "'l1' or 'mse'"),
        ("training.weight_decay={low: 1, high: 0.1}", "training.weight_decay",
         {"low": 1, "high": 0.1, "log": True}, "low below high"),
        ("model.dropout={low: 0, high: 0.1, log: true}", "model.dropout",
         {"low": 0, "high": 0.1, "log": True}, "low above 0 where log is true"),
        ("training.optimizer={low: 1, high: 2}", "training.optimizer", {"low": 1, "high": 2},
         "it is no number"),
        ("split.test_share=[0.1]", "split", "split", "one of the sections features, scaling"),
        ("scaling.fit_on=[train, all]", "scaling.fit_on", "fit_on", "searched: method"),
        ("windows.horizon=[1, 2]", "windows.horizon", "horizon", "searched: lookback, warmup"),
        ("training.seeds=[[0], [1]]", "training.seeds", "seeds", "searched: passes"),
        ("model.cells=[[gru], [lstm]]", "model.cells", "cells", "searched: hidden_size"),
    ],
)  # fmt: skip
def test_a_space_that_is_not_allowed_is_refused_by_key_found_and_expected(
    override: str, key: str, found: object, expected: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        space_of(f"tuning.space.{override}")
    error = refused.value
    assert error.where == f"--set tuning.space.{override}"
    assert (error.key, error.found) == (f"tuning.space.{key}", found)
    assert expected in error.expected
    assert error.exit_code == EXIT_USAGE


def test_the_settings_as_they_are_lie_in_the_space_on_every_device() -> None:
    for device in ("cpu", "cuda"):
        config = Config.load(device_type=device)
        for setting, search in config.read_space().items():
            section, _, key = setting.partition(".")
            assert search.has(getattr(getattr(config, section), key)), setting


def test_values_are_laid_over_and_refused_where_they_do_not_go_together() -> None:
    config = Config.load()
    changed = config.with_values({"windows.lookback": 300, "training.passes": 7}, where="trial 1")
    assert (changed.windows.lookback, changed.training.passes) == (300, 7)
    assert changed.model == config.model
    with pytest.raises(ConfigError, match=r"ERROR trial 2: windows: .* warmup below lookback \(24"):
        config.with_values({"windows.lookback": 24}, where="trial 2")


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_a_profile_of_what_was_found_loads_as_what_was_found_on_any_device(
    device_type: str, tmp_path: object
) -> None:
    overrides = ("training.device=cpu", "features.lags_hours=[24]", "tracking.experiment=mine")
    started = Config.load(overrides=overrides, device_type="cuda")
    values = {"model.hidden_size": 384, "training.weight_decay": 0.01}
    found = started.with_values(values, where="trial 1")
    profile = profile_of(found, Config.load(), settings=values)
    path = f"{tmp_path}/best.yaml"
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
        yaml.safe_dump(profile, file)
    loaded = Config.load(path, device_type=device_type)  # type: ignore[arg-type]
    for section in ("features", "scaling", "split", "windows", "model", "tracking", "rules"):
        assert getattr(loaded, section) == getattr(found, section), section
    training = found.training.model_copy(update={"device": "auto"})  # where is no part of it
    assert loaded.training == training
    assert profile["training"]["weight_decay"] == 0.01  # searched, so told, though it is the same


def test_a_course_tells_the_mean_once_all_jobs_have_come_to_a_tenth() -> None:
    course = Course(num_jobs=2)
    given = [
        course.add("gru", share=1 / 3, error=3.0),
        course.add("gru", share=2 / 3, error=2.0),
        course.add("lstm", share=1 / 3, error=5.0),
        course.add("lstm", share=2 / 3, error=4.0),
        course.add("gru", share=1.0, error=1.0),
        course.add("lstm", share=1.0, error=2.0),
    ]
    assert given == [None, None, (3, 4.0), (6, 3.0), None, (10, 1.5)]


def test_the_mean_forecasts_error_is_that_of_the_mean_by_region() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({
        "region": pd.Categorical(["A"] * 50 + ["B"] * 50), "load_mw": rng.uniform(1, 9, 100),
    })  # fmt: skip
    step = np.array([10, 11, 12, 60, 61])
    frames = [
        pd.DataFrame({"step": step, "lead": 1, "y_pred": rng.uniform(1, 9, 5)}) for _ in range(2)
    ]
    shuffled = [frames[0], frames[1].sample(frac=1, random_state=1)]
    mean = (frames[0]["y_pred"] + frames[1]["y_pred"]).to_numpy() / 2
    truth = table["load_mw"].to_numpy()[step]
    expected = (smape(truth[:3], mean[:3]) + smape(truth[3:], mean[3:])) / 2
    assert error_of_mean_forecast(table, shuffled) == pytest.approx(expected)
