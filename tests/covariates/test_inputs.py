"""Covariates as inputs, against loops; scales of the training part alone; days without any."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gridcast.covariates.inputs import CovariateInputs, names_ahead, names_past
from gridcast.covariates.values import Covariates, known_values
from gridcast.features.columns import ISSUED_PREFIX, ahead_columns
from gridcast.features.splits import TRAIN
from gridcast.features.table import FeatureTable, build_features, names_of_features
from tests.builders.covariates import (
    FIRST,
    make_covariates,
    make_issued,
    make_observed,
    with_temperature,
)
from tests.builders.trainings import tiny, tiny_by_lead
from tests.builders.values import make_load, make_load_frame

NUM = 400
BEGIN = int(pd.Timestamp(FIRST).timestamp()) // 3600
LAGS, MEANS = (24, 168), (24, 72)
READINGS = {"AEP": make_load_frame(make_load(NUM), flags={})}


@pytest.mark.parametrize("covariates", [make_observed(NUM, ahead=48), make_issued(NUM)])
def test_inputs_of_an_hour_ahead_are_those_of_a_loop(covariates: Covariates) -> None:
    config = with_temperature(as_known="observed").covariates
    known = known_values(covariates, ["temperature"], "observed")["temperature"]
    inputs = CovariateInputs.of(covariates, config, {"temperature": (15.0, 5.0)})
    issue_B = BEGIN + np.array([3, 200, 201, NUM])
    found = inputs.ahead(issue_B, 30)
    assert names_ahead(config) == [
        "x_ahead_temperature", "x_ahead_temperature_less_24h", "x_ahead_temperature_less_168h",
        "x_ahead_temperature_mean_24h", "x_ahead_temperature_mean_72h", "x_ahead_temperature_known",
    ]  # fmt: skip

    def at(hour: int, issue: int) -> float:
        return (float(known.at(np.array([hour]), np.array([issue]))[0]) - 15) / 5

    for place, issue in enumerate(issue_B.tolist()):
        for ahead in (0, 1, 29):
            hour = issue + ahead
            value = at(hour, issue)
            wanted = [value, *(value - at(hour - lag, issue) for lag in LAGS)]
            for mean in MEANS:
                own = [at(hour - back, issue) for back in range(mean)]
                there = [each for each in own if not np.isnan(each)]
                wanted.append(float(np.mean(there)) if there else np.nan)
            wanted = [*np.nan_to_num(wanted), 0.0 if np.isnan(value) else 1.0]
            np.testing.assert_allclose(found[place, ahead], wanted, atol=1e-5)


def table_of(
    covariates: Covariates | None, *, by_lead: bool = False, **more: object
) -> FeatureTable:
    config = with_temperature((tiny_by_lead if by_lead else tiny)(), **more)
    given = {} if covariates is None else {"AEP": covariates}
    table = build_features(READINGS, config, covariates=given)
    assert table.feature_names == names_of_features(config.features, config.covariates)
    return table


def test_a_step_is_told_of_the_next_hour_in_the_scale_of_the_training_part() -> None:
    covariates = make_observed(NUM, ahead=1)
    table = table_of(covariates, as_known="observed", hidden_share=0.0)
    value = covariates.frame["temperature"].to_numpy()
    is_train = (table.frame["part"] == TRAIN).to_numpy()
    offset, scale = table.scales["AEP"].covariates["temperature"]
    assert offset == pytest.approx(value[:NUM][is_train].mean())
    assert scale == pytest.approx(value[:NUM][is_train].std())
    np.testing.assert_allclose(
        table.frame["x_ahead_temperature"], (value[1 : NUM + 1] - offset) / scale, atol=1e-5
    )
    later = covariates.frame.assign(temperature=np.where(np.arange(NUM + 1) < NUM - 40, value, 99))
    assert table_of(Covariates(later), as_known="observed").scales == table.scales


def test_an_observation_is_not_known_ahead_where_values_count_as_issued() -> None:
    table = table_of(make_observed(NUM, ahead=48), as_known="issued")
    assert (table.frame["x_ahead_temperature_known"] == 0).all()
    assert (table.frame["x_ahead_temperature"] == 0).all()
    assert (table.frame["x_ahead_temperature_mean_24h"] != 0).any()  # of hours that are over


def test_what_is_known_of_an_hour_ahead_stands_last() -> None:
    config = with_temperature(tiny(), columns={"price": {"known": "past"}, "temperature": {}})
    names = names_of_features(config.features, config.covariates)
    assert names_past(config.covariates) == ["x_past_price", "x_past_price_known"]
    ahead = ahead_columns(names)
    assert ahead == list(range(len(names) - len(ahead), len(names)))
    assert [names[place] for place in ahead[-6:]] == names_ahead(config.covariates)
    assert not {"x_past_price", "x_load"} & {names[place] for place in ahead}


def test_of_the_past_a_step_knows_what_was_issued_when_its_hour_ended() -> None:
    config = with_temperature(tiny(), columns={"price": {"known": "past"}})
    hour = pd.Timestamp(FIRST)
    times = [(hour + pd.Timedelta(hours=h)).to_pydatetime() for h in range(3)]
    late = (hour + pd.Timedelta(hours=9)).to_pydatetime()
    covariates = make_covariates(
        [(times[0], None, 5.0), (times[1], times[2], 7.0), (times[2], late, 9.0)], name="price"
    )
    inputs = CovariateInputs.of(covariates, config.covariates, {})
    found = inputs.past(BEGIN + np.arange(4))
    assert found.tolist() == [[5, 1], [7, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_some_days_of_the_training_part_and_no_others_have_nothing_ahead(share: float) -> None:
    table = table_of(make_observed(NUM, ahead=1), as_known="observed", hidden_share=share)
    is_known = table.frame["x_ahead_temperature_known"].to_numpy() > 0
    last = int(np.flatnonzero(table.frame["part"] == TRAIN)[-1])
    assert is_known[last:].all()
    hidden = 1 - is_known[:last].mean()
    assert (0.05 < hidden < 0.6) if share else hidden == 0
    again = table_of(make_observed(NUM, ahead=1), as_known="observed", hidden_share=share)
    assert again.frame.equals(table.frame)


def test_a_training_by_lead_is_told_what_had_been_issued_of_each_lead() -> None:
    covariates = make_issued(NUM, every=3)
    table = table_of(covariates, by_lead=True, as_known="issued", hidden_share=0.0)
    known = known_values(covariates, ["temperature"], "issued")["temperature"]
    offset, scale = table.scales["AEP"].covariates["temperature"]
    step_N, hours = np.arange(100, 106), table.frame.iloc[100:106]
    for lead in range(2, 6):
        issue_N = BEGIN + step_N + 1
        wanted = (known.at(issue_N + lead - 1, issue_N) - offset) / scale
        found = hours[f"{ISSUED_PREFIX}{lead:03d}_x_ahead_temperature"]
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        # What a later step would tell: of the next hours but one nothing new has been issued.
        later = known.at(issue_N + lead - 1, issue_N + lead - 1)
        assert (np.abs((later - offset) / scale - wanted) > 1e-4).any() == (lead > 2)
    observed = table_of(covariates, by_lead=True, as_known="observed")
    assert not [name for name in observed.frame if str(name).startswith(ISSUED_PREFIX)]
