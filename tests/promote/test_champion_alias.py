"""MLflow's alias follows the log: a real database, and a server that does not answer."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from gridcast.config import TrackingConfig
from tasks.promote.champion_alias import ALIAS, follow_log
from tasks.promote.promotion_files import promote, read_log
from tasks.track.mlflow_client import create_database, own_database, tracking_uri
from tests.builders.promotions import make_reference
from tests.builders.values import make_config

pytestmark = pytest.mark.slow
CONFIG: TrackingConfig = make_config().tracking
NAME = "gridcast-pjm"


def put_in_charge(artifacts: Path, digit: str) -> None:
    promote(
        artifacts, "pjm", make_reference(digit=digit), read=read_log(artifacts, "pjm"),
        since=pd.Timestamp("2018-01-01", tz="UTC"), reason="as planted",
    )  # fmt: skip


def test_the_alias_is_whoever_the_log_names_last(tmp_path: Path) -> None:
    create_database(own_database(tmp_path))
    client = MlflowClient(tracking_uri(tmp_path, CONFIG))
    client.create_registered_model(NAME)
    for digit in "ab":
        tags = {"weights_sha256": digit * 64}
        client.create_model_version(NAME, str(tmp_path / digit), tags=tags)
    assert follow_log(tmp_path, "pjm", CONFIG) is None  # nobody is in charge
    put_in_charge(tmp_path, "b")
    put_in_charge(tmp_path, "a")
    assert follow_log(tmp_path, "pjm", CONFIG) is None
    version = client.get_model_version_by_alias(NAME, ALIAS)
    assert version.tags["weights_sha256"] == "a" * 64
    assert version.tags["champion_number"] == "2"
    assert version.tags["champion_since"] == "2018-01-01T00:00:00+00:00"
    put_in_charge(tmp_path, "c")
    problem = follow_log(tmp_path, "pjm", CONFIG)
    assert problem == f"no version of {NAME} has the weights of {make_reference(digit='c').short}"
    with pytest.raises(MlflowException):  # it would name who is not in charge
        client.get_model_version_by_alias(NAME, ALIAS)


def test_where_mlflow_does_not_answer_it_is_told_and_the_promotion_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    put_in_charge(tmp_path, "a")
    nowhere = CONFIG.model_copy(update={"uri": "http://127.0.0.1:1"})
    problem = follow_log(tmp_path, "pjm", nowhere)
    assert problem is not None
    assert problem.startswith("MLflow does not take it")
    assert read_log(tmp_path, "pjm").newest is not None
