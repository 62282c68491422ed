"""Keys hold each field of the configuration, but those that say why no result needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import Field

from gridcast.config import Config, Section, Unkeyed
from gridcast.errors import ConfigError
from tasks.runs.keys import key_of
from tests.builders.values import make_config

if TYPE_CHECKING:
    from collections.abc import Iterator


class Inner(Section):
    """A part of a part."""

    mw: float
    threads: Annotated[int, Unkeyed("how fast")]


class Outer(Section):
    """A part with others in it."""

    inner: Inner
    by_name: dict[str, Inner]
    lags: tuple[int, ...]
    folder: Annotated[str | None, Unkeyed("where it lies")] = Field(max_length=9)


OUTER = Outer(
    inner=Inner(mw=1.5, threads=2),
    by_name={"AEP": Inner(mw=2.5, threads=3)},
    lags=(24, 168),
    folder="here",
)


def test_a_key_holds_all_fields_but_the_unkeyed_ones_of_parts_too_as_json() -> None:
    inner = {"inner": {"mw": 1.5}, "by_name": {"AEP": {"mw": 2.5}}}
    assert OUTER.keyed() == inner | {"lags": [24, 168]}
    assert OUTER.keyed("lags", "inner") == {"lags": [24, 168], "inner": {"mw": 1.5}}
    assert Outer.keyed_fields() == ("inner", "by_name", "lags")


@pytest.mark.parametrize("name", ["folder", "inners"])
def test_a_field_that_is_unkeyed_or_not_there_cannot_be_asked_for(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        OUTER.keyed("lags", name)


def fields_of(section: Section, path: str = "") -> Iterator[tuple[str, Section, str]]:
    """Each field that holds a value: its dotted name, its section, its name there."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from fields_of(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", section, name


def test_the_unkeyed_settings_are_these_and_no_others() -> None:
    """One more mark here is one more chance of a stale result: it is to be made on purpose."""
    unkeyed = {
        path: mark.why
        for path, section, name in fields_of(Config.load())
        for mark in type(section).model_fields[name].metadata
        if isinstance(mark, Unkeyed)
    }
    assert set(unkeyed) == {
        "profile_on_cuda", "rules_file", "layout_file", "model.cells", "baselines.fitted",
        "baselines.cheap_windows",
        "training.device", "training.seeds", "training.threads", "training.jobs_per_device",
        "training.confirm_above_hours", "training.measuring_limit_seconds",
        "training.checkpoint_seconds", "training.time_limit_seconds",
        "tuning.trials", "tuning.hours", "tuning.at_once", "tuning.seed", "tuning.random_trials",
        "tuning.prune_from", "run.store", "run.keep_prefect_days", "evaluation.refit_days",
        "execution.executor", "execution.num_shards", "execution.attempts",
        "execution.lost_seconds", "execution.ray_address",
    }  # fmt: skip
    assert all(len(why.split()) > 4 for why in unkeyed.values())


TRAINING: dict[str, Any] = {
    "device": "cuda:1", "seeds": [7], "passes": 3, "max_steps": 9, "batch_size": 64,
    "drop_last": True, "loss": "mse", "optimizer": "adam", "learning_rate": 0.5,
    "schedule": "constant", "weight_decay": 0.5, "split_over": 2, "average_last": 0.5,
    "clip_norm": None, "clip_value": 2.0, "carry_hidden": True, "precision": "tf32",
    "window_budget": 9, "pass_bounds": [1, 2], "fewest_steps": 9, "smallest_batch": 9,
    "recurrence": "library", "threads": 3, "jobs_per_device": 3, "confirm_above_hours": 3.0,
    "checkpoint_seconds": 3.0, "time_limit_seconds": 3.0,
}  # fmt: skip


def test_another_value_for_each_training_setting_is_tried_below() -> None:
    assert set(Config.load().training.keyed()) <= TRAINING.keys()


@pytest.mark.parametrize("name", TRAINING)
def test_another_training_setting_gives_another_key_unless_it_is_unkeyed(name: str) -> None:
    base = make_config(training={"drop_last": True} if name == "carry_hidden" else {})
    config = make_config(training=base.training.model_dump() | {name: TRAINING[name]})
    if name not in base.training.keyed_fields():
        assert key_of(**config.keyed()) == key_of(**base.keyed())
    else:
        assert key_of(**config.keyed()) != key_of(**base.keyed())


@pytest.mark.parametrize("setting", ["training.jobs_per_device", "training.seeds", "model.cells"])
def test_an_unkeyed_setting_is_not_searched(setting: str) -> None:
    with pytest.raises(ConfigError, match="a setting that is searched"):
        Config.load(overrides=(f"tuning.space.{setting}=[1, 2]",))


def test_rules_of_regions_are_part_of_what_keys_hold() -> None:
    own = {"AEP": {"flagged": {"zero": False}}}
    changed = make_config(rules={"regions": own})
    assert changed.keyed("rules")["rules"]["regions"]["AEP"]["flagged"]["zero"] is False
    assert changed.rules.of("AEP").keyed("flagged") != changed.rules.of("DAY").keyed("flagged")
    assert changed.rules.of("DAY").keyed("flagged").keys() == {"flagged"}
