"""A run's model behind `mlflow models serve`, asked by HTTP as the docs say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pandas as pd
import pytest

import gridcast
from tests.builders.pipelines import (
    SECONDS,
    clean_environment,
    first_run,
    free_port,
    read_json,
    started,
    wait_until_it_answers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

MLFLOW = Path(sys.executable).with_name("mlflow")
NUM_HOURS = 400


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the registered model of the first run, served."""
    port, log = free_port(), tmp_path_factory.mktemp("served") / "log.txt"
    database = first_run().artifacts / "mlflow" / "mlflow.db"
    environment = clean_environment(
        MLFLOW_TRACKING_URI=f"sqlite:///{database}",
        PATH=f"{MLFLOW.parent}:/usr/bin:/bin",
    )
    name = "models:/gridcast-csv@challenger"
    words = ("models", "serve", "--model-uri", name, "--env-manager", "local")
    with started(
        MLFLOW, *words, "--host", "127.0.0.1", "--port", str(port), log=log,
        environment=environment, cwd=log.parent,
    ) as process:  # fmt: skip
        wait_until_it_answers(process, port, "ping", log)
        yield f"http://127.0.0.1:{port}/invocations"


def loads(*regions: str) -> pd.DataFrame:
    """The newest hours of some regions as text and numbers."""
    tables = [
        pd.read_parquet(first_run().place(first_run().summary.regions[name].path))
        .tail(NUM_HOURS)
        .assign(region=name)
        for name in regions
    ]
    table = pd.concat(tables, ignore_index=True)[["region", "timestamp", "load_mw"]]
    return table.assign(timestamp=table["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))


def split(frame: pd.DataFrame, **params: object) -> bytes:
    content = {"columns": list(frame.columns), "data": frame.to_numpy().tolist()}
    return json.dumps({"dataframe_split": content, "params": params}).encode()


def records(frame: pd.DataFrame, **params: object) -> bytes:
    return json.dumps(
        {"dataframe_records": frame.to_dict(orient="records"), "params": params}
    ).encode()


def ask(
    address: str, body: bytes, content_type: str = "application/json"
) -> tuple[int, dict[str, Any]]:
    request = Request(address, body, {"Content-Type": content_type})  # noqa: S310 - ours
    try:
        with urlopen(request, timeout=SECONDS) as response:  # noqa: S310 - ours
            return response.status, json.loads(response.read())
    except HTTPError as error:
        return error.code, json.loads(error.read())


def expected(frame: pd.DataFrame, **asked: Any) -> pd.DataFrame:  # noqa: ANN401
    """What the folder of the run forecasts."""
    summary = first_run().summary
    ids = {each.mlflow_run_id: name for name, each in summary.forecasters.items()}
    for path in (first_run().artifacts / "models").iterdir():
        if read_json(path / "model.json")["name"] == registered_contestant(ids):
            return gridcast.load_model(path).forecast(frame, **asked)
    raise AssertionError(ids)


def registered_contestant(name_of: dict[str | None, str]) -> str:
    from mlflow import MlflowClient

    database = first_run().artifacts / "mlflow" / "mlflow.db"
    version = MlflowClient(f"sqlite:///{database}").get_model_version_by_alias(
        "gridcast-csv", "challenger"
    )
    return name_of[version.run_id]


def check(status: int, answer: dict[str, Any], rows: pd.DataFrame) -> None:
    assert status == 200, answer
    found = pd.DataFrame(answer["predictions"])
    assert list(found.columns) == list(rows.columns)
    for name in ("issue_time", "timestamp"):
        assert (pd.to_datetime(found[name]) == rows[name]).all()
    numbers = rows.select_dtypes("number").columns
    pd.testing.assert_frame_equal(found[numbers], rows[numbers], check_exact=False, rtol=1e-12)
    assert found["model_sha256"].tolist() == rows["model_sha256"].tolist()


def test_json_and_csv_get_the_forecast_of_the_runs_own_folder(address: str) -> None:
    frame = loads("AEP", "DOM", "NI")
    rows = expected(frame)
    check(*ask(address, split(frame)), rows)
    check(*ask(address, records(frame)), rows)
    check(*ask(address, frame.to_csv(index=False).encode(), "text/csv"), rows)
    local = frame.assign(timestamp=[text.replace("Z", "+00:00") for text in frame["timestamp"]])
    check(*ask(address, split(local)), rows)


def test_instant_and_horizon_are_parameters_and_a_missing_load_may_be_null(address: str) -> None:
    frame = loads("AEP")
    gap = frame.astype({"load_mw": object})
    gap.loc[200, "load_mw"] = None
    as_of = str(frame["timestamp"].iloc[-30])
    rows = expected(frame.drop(index=200), as_of=as_of, horizon=5)
    check(*ask(address, split(gap, as_of=as_of, horizon=5)), rows)
    assert rows["lead"].tolist() == [1, 2, 3, 4, 5]
    assert rows["issue_time"].iloc[0] == pd.Timestamp(as_of)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: f.assign(region="XX"),
            "found the region 'XX', expected those of the model: AEP",
        ),
        (lambda f: f.drop(columns="load_mw"), "missing inputs ['load_mw']"),
        (lambda f: f.assign(load_mw="two"), "could not convert string to float: 'two'"),
        (lambda f: f.assign(load_mw=-1.0), "found a load of -1 MW, expected loads of at least 0"),
        (
            lambda f: f.assign(timestamp=[each.replace(":00Z", ":30Z") for each in f["timestamp"]]),
            "expected the start of an hour; bring finer data to hours first",
        ),
        (lambda f: f.assign(timestamp="noon"), "expected ISO times, as 2018-07-01T09:00:00Z"),
        (lambda f: pd.concat([f, f.tail(1)]), "expected each hour once"),
        (lambda f: f.tail(20), "AEP: found 20 hours before"),
    ],
    ids=["region", "column", "text", "negative", "half hours", "time", "twice", "few"],
)
@pytest.mark.parametrize("form", ["json", "csv"])
def test_bad_input_is_refused_with_a_400_that_says_what_is_wrong(
    address: str,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    message: str,
    form: str,
) -> None:
    frame = change(loads("AEP"))
    if form == "csv":
        status, answer = ask(address, frame.to_csv(index=False).encode(), "text/csv")
    else:
        status, answer = ask(address, split(frame))
    assert status == 400
    assert message in answer["message"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"horizon": 1000}, "horizon: found 1000 hours, expected 1 to 168"),
        ({"as_of": "tomorrow"}, "as_of: found 'tomorrow', expected a time"),
        ({"as_of": "2001-01-01"}, "AEP: found 0 hours before 2001-01-01 00:00 UTC"),
    ],
    ids=["horizon", "as_of", "before"],
)
def test_a_parameter_that_makes_no_sense_is_refused(
    address: str, params: dict[str, object], message: str
) -> None:
    status, answer = ask(address, split(loads("AEP"), **params))
    assert status == 400
    assert message in answer["message"]


def test_an_answer_of_a_server_that_refused_before_is_as_always(address: str) -> None:
    frame = loads("DOM")
    assert ask(address, b"{")[0] == 400
    check(*ask(address, split(frame)), expected(frame))
