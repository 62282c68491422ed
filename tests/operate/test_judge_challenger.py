"""Who is in charge, on what a run left: promotions, forecasts by the champion, who stands in."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from gridcast.config import Config
from gridcast.errors import UsageError
from gridcast.operation.model_reference import ModelReference
from tasks.forecast.chosen_model import choose_model
from tasks.forecast.issue_forecast import Issued, end_of_data, issue_forecast
from tasks.operate.judge_challenger import judge_challenger, roll_back
from tasks.promote.promotion_files import promote, read_log
from tasks.runs.keys import file_sha256
from tests.builders.pipelines import copy_artifacts, first_run, gridcast

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

CONFIG = Config.load(overrides=("forecasting.horizon=4",))
DATASET = "csv"


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    return copy_artifacts(tmp_path / "artifacts")


def reference_of(artifacts: Path, name: str) -> ModelReference:
    (folder,) = artifacts.glob(f"models/{name}-*")
    card = folder / "model.json"
    sha256 = json.loads(card.read_text("utf-8"))["sha256"]
    return ModelReference(
        name=name, sha256=sha256, run_id=first_run().folder.name,
        folder=folder.relative_to(artifacts).as_posix(), card_sha256=file_sha256(card),
    )  # fmt: skip


def put_in_charge(artifacts: Path, *names: str, hours_ago: int = 0) -> None:
    for name in names:
        since = end_of_data(artifacts) - pd.Timedelta(hours=hours_ago)
        promote(artifacts, DATASET, reference_of(artifacts, name),
                read=read_log(artifacts, DATASET), since=since, reason="as planted")  # fmt: skip


def issue(artifacts: Path, hours_ago: int = 0) -> Issued:
    as_of = end_of_data(artifacts) - pd.Timedelta(hours=hours_ago)
    return issue_forecast(artifacts, CONFIG, as_of=as_of)


def other_than_recommended(artifacts: Path) -> str:
    """A network that is not what the run recommends."""
    names = ("gru-seed0", "lstm-seed0")
    return names[choose_model(artifacts).model.name == names[0]]


def damage(artifacts: Path, name: str) -> None:
    (weights,) = artifacts.glob(f"models/{name}-*/{name}.npz")
    weights.write_bytes(weights.read_bytes()[:-1])


def test_on_a_short_validation_part_the_first_takes_over_untested_and_the_next_does_not(
    artifacts: Path,
) -> None:
    judged = judge_challenger(artifacts, CONFIG)
    assert judged.dataset == DATASET
    least = CONFIG.operation.promotion.min_hours
    first, _, rest = judged.reason.partition(":")
    assert first in {"the first one, better without a test", "not better in the mean"}
    assert f"where the test needs {least}" in rest
    assert (judged.promotion is not None) == first.startswith("the first")
    put_in_charge(artifacts, other_than_recommended(artifacts))
    again = judge_challenger(artifacts, CONFIG)
    assert again.promotion is None
    assert f"the test needs {least} (operation.promotion.min_hours)" in again.reason
    decisions = sorted((artifacts / "champions" / DATASET / "decisions").iterdir())
    kept = [json.loads(each.read_text("utf-8"))["is_promoted"] for each in decisions]
    assert kept[-1] is False


def test_the_command_puts_a_model_in_charge_says_so_and_goes_back(artifacts: Path) -> None:
    other = other_than_recommended(artifacts)
    put_in_charge(artifacts, other)
    where = ("--artifacts", artifacts)
    done = gridcast("promote", *where, "--because", "a try")
    assert done.returncode == 0, done.stderr
    chosen = choose_model(artifacts).reference
    assert f"In charge: {chosen.short}" in done.stdout
    assert "Reason:    a try" in done.stdout
    assert "MLflow" not in done.stdout  # the alias followed
    again = gridcast("promote", *where)
    assert "is in charge already" in again.stdout
    back = gridcast("rollback", *where, "--because", "a mistake")
    assert back.returncode == 0, back.stderr
    told = json.loads(gridcast("champion", *where, "--json").stdout)
    assert told["champion"]["name"] == other
    assert [each["kind"] for each in told["promotions"]] == ["promotion", "order", "rollback"]
    nothing = gridcast("rollback", *where)
    assert nothing.returncode == 2
    assert f"no champion before {other}" in nothing.stderr
    long_ago = gridcast("champion", *where, "--at", "2000-01-01")
    assert "In charge of csv at 2000-01-01 00:00 UTC: nobody" in long_ago.stdout


def test_the_champion_of_the_issue_time_forecasts(artifacts: Path) -> None:
    recommended = choose_model(artifacts).reference.sha256
    other = other_than_recommended(artifacts)
    put_in_charge(artifacts, other, hours_ago=1)
    assert set(issue(artifacts, hours_ago=2).rows["model_sha256"]) == {recommended}
    for hours_ago in (1, 0):
        rows = issue(artifacts, hours_ago=hours_ago).rows
        assert set(rows["model"]) == {other}
        assert set(rows["model_sha256"]) == {reference_of(artifacts, other).sha256}


def test_a_champion_that_cannot_be_loaded_gives_way_to_the_one_before_in_each_row(
    artifacts: Path,
) -> None:
    put_in_charge(artifacts, "gru-seed0", "lstm-seed0")
    damage(artifacts, "lstm-seed0")
    rows = issue(artifacts).rows
    assert set(rows["model"]) == {"gru-seed0"}
    assert "" not in set(rows["fallback"])
    assert rows["fallback_reason"].str.startswith("champion lstm-seed0").all()
    assert rows["fallback_reason"].str.contains("cannot be loaded").all()


def test_where_no_champion_can_be_loaded_the_better_naive_forecast_stands_in(
    artifacts: Path,
) -> None:
    put_in_charge(artifacts, "gru-seed0", "lstm-seed0")
    for name in ("gru-seed0", "lstm-seed0"):
        damage(artifacts, name)
    rows = issue(artifacts).rows
    assert set(rows["fallback"]) <= {"same_hour_yesterday", "same_hour_last_week"}
    assert set(rows["model"]) == {"baseline"}
    for name in ("gru-seed0", "lstm-seed0"):
        assert rows["fallback_reason"].str.contains(f"champion {name}").all()
    assert (rows["q05"] < rows["load_mw"]).all()
    assert (rows["load_mw"] < rows["q95"]).all()


def test_one_goes_back_to_a_model_only_where_it_can_be_loaded(artifacts: Path) -> None:
    put_in_charge(artifacts, "gru-seed0", "lstm-seed0")
    (folder,) = artifacts.glob("models/gru-seed0-*")
    folder.rename(folder.with_name("gone"))
    with pytest.raises(UsageError, match="no such folder, expected model gru-seed0"):
        roll_back(artifacts, CONFIG, because="so")
    assert len(read_log(artifacts, DATASET).entries) == 2


def test_a_model_is_in_charge_from_when_it_is_decided_not_from_when_training_began(
    artifacts: Path,
) -> None:
    began, end = end_of_data(artifacts) - pd.Timedelta(hours=5), end_of_data(artifacts)
    judged = judge_challenger(artifacts, CONFIG, as_of=began, now=lambda: end, because="a try")
    assert judged.promotion is not None
    assert judged.promotion.since_time == end
    log = read_log(artifacts, DATASET)
    assert log.champion_at(end - pd.Timedelta(seconds=1)) is None
    assert log.champion_at(end) == judged.challenger
