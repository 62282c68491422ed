"""What a forecast costs: many regions in one call, and one call of a server.

``python benchmarks/serving.py regions`` forecasts 24 hours with bands of 1,000 and of 10,000
made-up regions, each number in a process of its own, by GRU and LSTM of the profile ``base`` with
drawn weights. ``python benchmarks/serving.py server --uri models:/gridcast-pjm@challenger`` starts
MLflow's scoring server on a run's model (``MLFLOW_TRACKING_URI`` names its database), two
workers, and asks it 1,000 times by four clients, for one region and for all of the model's.

Kept in ``benchmarks/results/serving-cpu.json``. Other work on the machine slows both: ``busy`` is
how much longer a fixed loop took then than CPU seconds that it cost; CPU time tells more.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import psutil
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.article_accuracy import RESULTS, Json, envelope, write_kept
from gridcast.config import Config
from gridcast.features.load_scale import LoadScale
from gridcast.features.table import names_of_features
from gridcast.forecasting.bands import BandState
from gridcast.forecasting.calibration import Calibration
from gridcast.forecasting.issue import forecast_regions
from gridcast.forecasting.model import NETWORK, STAND_INS, ForecastModel
from gridcast.forecasting.region_state import hours_back
from gridcast.forecasting.typical_errors import TypicalErrors
from gridcast.networks.building import build_forecaster

_FIRST = pd.Timestamp("2024-01-01", tz="UTC")
_NUM_MADE = 256  # regions of which there are loads; further ones have theirs again
_NUM_CALLS, _NUM_CLIENTS, _NUM_WORKERS = 1000, 4, 2
_PATH = RESULTS / "serving-cpu.json"


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["regions", "server"])
    parser.add_argument("--uri", default="models:/gridcast-pjm@challenger")
    parser.add_argument("--regions", type=int, help="one number, in this process")
    arguments = parser.parse_args()
    if arguments.regions:
        print(json.dumps(of_regions(arguments.regions)))
        return
    rows = (
        _in_processes([1000, 10_000]) if arguments.what == "regions" else of_server(arguments.uri)
    )
    kept: Json = json.loads(_PATH.read_bytes()) if _PATH.is_file() else {}
    others = [row for row in kept.get("rows", []) if row["what"] != arguments.what]
    kept = envelope("serving", torch.device("cpu"))
    kept["rows"] = [*others, *rows]
    for row in rows:
        print(row)
    write_kept(_PATH, kept)


def _in_processes(numbers: list[int]) -> list[Json]:
    words = [sys.executable, __file__, "regions", "--regions"]
    outputs = [
        subprocess.run([*words, str(each)], stdout=subprocess.PIPE, check=True).stdout  # noqa: S603 - ours
        for each in numbers
    ]
    return [json.loads(each.splitlines()[-1]) for each in outputs]


@contextmanager
def measured(row: Json) -> Iterator[None]:
    """Seconds and CPU seconds of this process, and how busy the machine was around it."""
    before, wall, cpu = _busy(), time.perf_counter(), time.process_time()
    yield
    row["seconds"] = round(time.perf_counter() - wall, 3)
    row["cpu_seconds"] = round(time.process_time() - cpu, 3)
    row["busy"] = round((before + _busy()) / 2, 2)


def _busy() -> float:
    """Wall over CPU time of a second's work: 1 where nobody else wants the core."""
    wall, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < 1.0:
        sum(range(10_000))
    return (time.perf_counter() - wall) / (time.process_time() - cpu)


# -- many regions ----------------------------------------------------------------------------------


def of_regions(num_regions: int) -> Json:
    """One call of the core for all of them; memory is what it takes beside the model (MiB)."""
    torch.set_num_threads(1)
    model, readings = made_model(num_regions), MadeReadings(num_regions)
    issue_time = _FIRST + pd.Timedelta(hours=len(readings["0"]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    row: Json = {"what": "regions", "num_regions": num_regions, "horizon": 24}
    with measured(row):
        issue = forecast_regions(
            model, readings, issue_time=issue_time, horizon=24, max_stale_hours=6
        )
    row["num_rows"] = len(issue.rows)
    row["ms_a_region"] = round(1000 * row["cpu_seconds"] / num_regions, 2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    row["memory_mib"] = round((peak - before) / 1024)
    row["of_it_rows_and_loads_mib"] = round(
        sum(each.memory_usage(deep=True).sum() for each in (issue.rows, issue.loads)) / 2**20
    )
    return row


class MadeReadings(Mapping[str, pd.DataFrame]):
    """Of regions that are named by their number; a table is there when it is asked for."""

    def __init__(self, num_regions: int) -> None:
        num_hours, rng = hours_back(Config.load()), np.random.default_rng(0)
        hours = np.arange(num_hours)
        times = pd.date_range(_FIRST, periods=num_hours, freq="h")
        rhythm = np.sin(2 * np.pi * hours / 24) + 0.3 * np.sin(2 * np.pi * hours / 168)
        self._num = num_regions
        self._tables = [
            pd.DataFrame({"timestamp": times, "load_mw": load_mw, "flag": ""})
            for load_mw in 1000
            + 100 * (rhythm + 0.05 * rng.standard_normal((_NUM_MADE, num_hours)))
        ]

    def __getitem__(self, name: str) -> pd.DataFrame:
        """The table of one region."""
        return self._tables[int(name) % _NUM_MADE]

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return map(str, range(self._num))

    def __len__(self) -> int:
        """How many there are."""
        return self._num


def made_model(num_regions: int) -> ForecastModel:
    """GRU and LSTM of the profile ``base`` with weights that are drawn."""
    config = Config.load(overrides=("forecasting.horizon=24",))
    torch.manual_seed(0)
    networks = tuple(
        build_forecaster(
            config, cell=cell, feature_names=names_of_features(config.features, config.covariates),
            num_regions=num_regions,
        ).eval()
        for cell in config.model.cells
    )  # fmt: skip
    num_leads = config.forecasting.horizon + config.forecasting.max_stale_hours
    levels = np.array(config.forecasting.quantiles)
    nothing_RK = np.zeros((num_regions, num_leads), np.float32)
    nothing_RKH = np.zeros((num_regions, num_leads, 24), np.float32)
    typical = TypicalErrors(
        np.full(num_regions, 1000.0), nothing_RKH, nothing_RKH, nothing_RKH, nothing_RK, nothing_RK
    )
    quantile_PRKQ = np.broadcast_to(4 * levels - 2, (1, num_regions, num_leads, len(levels)))
    bands = BandState(
        np.datetime64("2024-03-01"), levels, typical, nothing_RKH[None], nothing_RKH[None] + 0.01,
        quantile_PRKQ.astype(np.float32),
    )  # fmt: skip
    smape = dict.fromkeys(STAND_INS, 5.0) | {NETWORK: 1.0}
    calibrations = {name: Calibration(nothing_RK + each, bands) for name, each in smape.items()}
    scales = {str(number): LoadScale(1000.0, 100.0) for number in range(num_regions)}
    return ForecastModel("made", "0" * 64, config, scales, networks, calibrations)


# -- one call of a server --------------------------------------------------------------------------


def of_server(uri: str) -> list[Json]:
    """Latencies (ms) by HTTP, and CPU milliseconds that a call costs the server."""
    regions, num_hours = _regions_of(uri)
    with _served(uri) as (address, server):
        rows = []
        for some in (regions[:1], regions):
            body = _request(some, num_hours)
            row: Json = {
                "what": "server", "num_regions": len(some), "hours": num_hours,
                "bytes": len(body), "calls": _NUM_CALLS, "clients": _NUM_CLIENTS,
                "workers": _NUM_WORKERS,
            }  # fmt: skip
            _ask_often(address, body, 20)
            cpu = _cpu_seconds(server)
            with measured(row):
                latency_N = _ask_often(address, body, _NUM_CALLS)
            row["cpu_ms_a_call"] = round(1000 * (_cpu_seconds(server) - cpu) / _NUM_CALLS, 1)
            for share in (50, 95, 99):
                row[f"p{share}_ms"] = round(1000 * float(np.percentile(latency_N, share)), 1)
            rows.append(row)
    return rows


def _regions_of(uri: str) -> tuple[list[str], int]:
    import mlflow  # noqa: PLC0415 - seconds

    model = mlflow.pyfunc.load_model(uri).unwrap_python_model()._model  # noqa: SLF001 - ours
    return model.regions, model.hours_needed


def _request(regions: list[str], num_hours: int) -> bytes:
    hours = pd.date_range("2024-01-01", periods=num_hours, freq="h")
    load_N = 1000 * (1 + 0.2 * np.sin(2 * np.pi * np.arange(num_hours) / 24))
    texts = [f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in hours]
    data = [
        [name, text, float(load)]
        for name in regions
        for text, load in zip(texts, load_N.round(1), strict=True)
    ]
    content = {"columns": ["region", "timestamp", "load_mw"], "data": data}
    return json.dumps({"dataframe_split": content, "params": {"horizon": 24}}).encode()


def _ask_often(address: str, body: bytes, num_calls: int) -> list[float]:
    def ask(_: int) -> float:
        begin = time.perf_counter()
        request = Request(address, body, {"Content-Type": "application/json"})  # noqa: S310 - ours
        with urlopen(request) as response:  # noqa: S310 - ours
            response.read()
        return time.perf_counter() - begin

    with ThreadPoolExecutor(_NUM_CLIENTS) as clients:
        return list(clients.map(ask, range(num_calls)))


def _cpu_seconds(server: psutil.Popen) -> float:
    family = [server, *server.children(recursive=True)]
    times: list[Any] = [each.cpu_times() for each in family]
    return float(sum(each.user + each.system for each in times))


@contextmanager
def _served(uri: str) -> Iterator[tuple[str, psutil.Popen]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    mlflow = Path(sys.executable).with_name("mlflow")
    words = ["models", "serve", "-m", uri, "--env-manager", "local", "--port", str(port)]
    server = psutil.Popen(
        [str(mlflow), *words, "--workers", str(_NUM_WORKERS)],
        env=os.environ | {"PATH": f"{mlflow.parent}:{os.environ['PATH']}"},
    )
    try:
        while True:
            try:
                urlopen(f"http://127.0.0.1:{port}/ping").close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/invocations", server
    finally:
        for each in [*server.children(recursive=True), server]:
            each.terminate()
        server.wait()


if __name__ == "__main__":
    main()
