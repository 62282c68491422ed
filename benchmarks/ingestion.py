"""Ingestion by the clock: CSVs to a published snapshot, one more day, and very many regions.

``python benchmarks/ingestion.py [--data FOLDER]`` measures, each in a process of its own:
``first`` (the 12 files in an empty folder), ``one more day`` (24 more hours in each file),
``same again`` (nothing new), and 80 and 321 synthetic regions of 26,304 hours. The clock runs from
the call of the flow to the publication, and (``flow_seconds``) to the flow's end, with Data Docs,
artifacts and Prefect's last words; imports and the start of Prefect's server come before it. Memory
is the highest of the process, with Python and all libraries. It writes
``benchmarks/results/ingestion-cpu.json`` and fails where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.article_accuracy import envelope, write_kept  # noqa: E402
from gridcast.readings.parsing import region_of  # noqa: E402

# Highest seconds and bytes, and lowest rows a second, by contestant.
BARS: dict[str, dict[str, float]] = {
    "first": {"seconds": 12.0, "peak_memory_bytes": 1e9, "rows_per_second": 100_000},
    "one more day": {"seconds": 2.0, "peak_memory_bytes": 1e9},
    "321 regions": {"seconds": 90.0, "peak_memory_bytes": 1e9},
}
NUM_HOURS, MORE_HOURS = 26_304, 24
_LABEL = "%Y-%m-%d %H:%M:%S"
# A run in a process of its own: `python -c` of this, with the folders as arguments.
_CHILD = """
import json, logging, os, resource, sys, time
from pathlib import Path
data, artifacts = sys.argv[1:]
begun = time.perf_counter()
from tasks.runs.servers import local_settings, start_embedded_prefect
os.environ.update(local_settings(Path(artifacts)))
start_embedded_prefect(Path(artifacts))
import tasks.ingest.gate.added_rows, tasks.ingest.gate.data_docs
import tasks.ingest.gate.region_expectations
from flows.prepare_data import prepare_data
logging.disable(logging.WARNING)
ready, ready_at = time.perf_counter(), time.time()
ingestion = prepare_data(data=data, artifacts=artifacts)
ended = time.perf_counter()
published_at = Path(artifacts, "data", f"{ingestion.dataset}.json").stat().st_mtime
scale = 1 if sys.platform == "darwin" else 1024
print("\\n" + json.dumps({
    "num_regions": len(ingestion.published),
    "num_rows": sum(each.rows for each in ingestion.published.values()),
    "num_read": sum(not each.cached for each in ingestion.published.values()),
    "snapshot": ingestion.snapshot,
    "seconds": published_at - ready_at,
    "flow_seconds": ended - ready,
    "imports_seconds": ready - begun,
    "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale,
}))
"""

Row = dict[str, Any]


def main() -> int:
    """Measure, print one line each, keep all; the exit status tells whether the bars are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", default=os.environ.get("GRIDCAST_DATA", str(ROOT / "data")))
    parser.add_argument("--many", type=int, nargs="*", default=[80, 321], help="numbers of regions")
    parser.add_argument("--output", default=str(ROOT / "benchmarks" / "results"))
    options = parser.parse_args()
    kept = envelope("ingestion", torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        kept["rows"] = [
            *_real_rows(Path(options.data), Path(folder)),
            *_many_rows(Path(folder), options.many),
        ]
    write_kept(Path(options.output) / "ingestion-cpu.json", kept)
    missed = [line for row in kept["rows"] for line in missed_bars(row)]
    print("\n".join(missed) or "All bars are met.")
    return 1 if missed else 0


def _real_rows(source: Path, folder: Path) -> list[Row]:
    """The regional files of ``source``: from nothing, with one more day, and once more."""
    data, artifacts = folder / "load", folder / "artifacts"
    data.mkdir()
    for path in sorted(source.iterdir()):
        if region_of(path.name):
            (data / path.name).write_bytes(path.read_bytes())
    if not any(data.iterdir()):
        sys.exit(f"ERROR {source}: found no regional CSV, expected some; name them with --data")
    rows = [measure("first", data, artifacts)]
    for path in data.iterdir():
        append_hours(path, MORE_HOURS)
    return [
        *rows,
        measure("one more day", data, artifacts),
        measure("same again", data, artifacts),
    ]


def _many_rows(folder: Path, numbers: Sequence[int]) -> list[Row]:
    rows = []
    for num_regions in numbers:
        data = folder / f"load-{num_regions}"
        write_regions(data, num_regions)
        rows.append(measure(f"{num_regions} regions", data, folder / f"many-{num_regions}"))
    return rows


def append_hours(path: Path, num: int) -> None:
    """Let the file go on for ``num`` hours from its last label (not: its last line) on."""
    lines = path.read_text(encoding="utf-8").splitlines()
    last = max(line.split(",")[0] for line in lines[1:])
    load = lines[-1].split(",")[1]
    hours = (datetime.fromisoformat(last) + timedelta(hours=i + 1) for i in range(num))
    more = [f"{hour:{_LABEL}},{float(load) + i:.1f}" for i, hour in enumerate(hours)]
    path.write_text("\n".join([*lines, *more]) + "\n", encoding="utf-8")


def write_regions(folder: Path, num_regions: int) -> None:
    """Three years of a daily and a yearly rhythm with noise, in every region another."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    hours = np.arange(NUM_HOURS)
    starts = pd.date_range("2015-01-01", periods=NUM_HOURS, freq="h", tz="America/New_York")
    labels = (starts.tz_localize(None) + pd.Timedelta(hours=1)).strftime(_LABEL)
    rhythm = 10 + np.sin(hours * 2 * np.pi / 24) + 2 * np.cos(hours * 4 * np.pi / 8766)
    for number in range(num_regions):
        loads = 1000 * (rhythm + 0.2 * rng.standard_normal(NUM_HOURS))
        lines = (f"{label},{load:.1f}\n" for label, load in zip(labels, loads, strict=True))
        text = f"Datetime,R{number:03d}_MW\n" + "".join(lines)
        (folder / f"R{number:03d}_hourly.csv").write_text(text, encoding="utf-8")


def measure(contestant: str, data: Path, artifacts: Path) -> Row:
    """One ingestion in a process of its own."""
    artifacts.mkdir(exist_ok=True)
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", _CHILD, str(data), str(artifacts)],
        stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    row: Row = json.loads(result.stdout.splitlines()[-1])
    row["rows_per_second"] = row["num_rows"] / row["seconds"]
    row["cpu_seconds_with_imports"] = used.ru_utime + used.ru_stime - cpu.ru_utime - cpu.ru_stime
    speed = f"{row['rows_per_second']:,.0f} rows/s, {row['peak_memory_bytes'] / 1e6:.0f} MB"
    print(
        f"{contestant:14s} {row['num_regions']:4d} regions ({row['num_read']} read) "
        f"{row['num_rows']:10,d} rows {row['seconds']:6.2f} s, flow {row['flow_seconds']:6.2f} s, "
        f"{speed} (imports {row['imports_seconds']:.1f} s)",
        flush=True,
    )
    return {"contestant": contestant, **row}


def missed_bars(row: Row) -> list[str]:
    """What a row should have reached and did not."""
    missed = []
    for name, bar in BARS.get(row["contestant"], {}).items():
        is_met = row[name] >= bar if name == "rows_per_second" else row[name] <= bar
        if not is_met:
            missed.append(f"MISSED {row['contestant']}: {name} {row[name]:,.2f}, bar {bar:,.0f}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
