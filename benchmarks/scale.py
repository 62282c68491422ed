"""What more regions cost, stage by stage: CPU seconds, memory and disk of the real commands.

``python benchmarks/scale.py [--hours 8760] [--regions 12,321]`` makes a synthetic set of each size,
ingests it, trains on it and forecasts from it, in folders that go when it ends, and writes
``benchmarks/results/scale-<device>.json``. CPU seconds are those of the command and of all that it
started: beside other work they change less than the clock's. Memory is the sum of the processes'
proportional set sizes. How long the networks train does not depend on the regions (the base
profile sees so many windows in all), so a training of some steps stands for it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.article_accuracy import envelope, slug, write_kept  # noqa: E402
from benchmarks.main_job import tree_bytes  # noqa: E402

_GRIDCAST = Path(sys.executable).with_name("gridcast")
_SAMPLE_SECONDS = 0.5
_KEPT = ("data", "features", "jobs", "models", "mlflow", "forecasts", "runs", "data-docs")
_BRIEF = ("training.max_steps=100", "model.cells=[gru]", "baselines.fitted=[]")


def main() -> int:
    """Each size in turn, then one table of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--hours", type=int, default=8760, help="of the longest region")
    parser.add_argument("--regions", default="12,321", help="sizes, with commas between them")
    parser.add_argument("--output", default=str(ROOT / "benchmarks" / "results"))
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kept = envelope("scale", device)
    for num_regions in map(int, options.regions.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            kept["rows"] += measured(Path(folder), num_regions, options.hours)
    write_kept(Path(options.output) / f"scale-{slug(device)}.json", kept)
    return 0


def measured(folder: Path, num_regions: int, num_hours: int) -> list[dict[str, Any]]:
    """One row a command."""
    data, artifacts = folder / "load", folder / "artifacts"
    size = settings(f"synthetic.num_regions={num_regions}", f"synthetic.num_hours={num_hours}")
    where = ["--artifacts", str(artifacts)]
    commands = {
        "synthesize": ["synthesize", str(data), *size],
        "ingest": ["ingest", "--data", str(data), *where],
        "ingest again": ["ingest", "--data", str(data), *where],
        "train": ["train", *where, *settings(*_BRIEF)],
        "forecast": ["forecast", *where],
    }
    rows = []
    for name, command in commands.items():
        row = {"contestant": name, "num_regions": num_regions, "num_hours": num_hours}
        row |= run(command) | stages(artifacts, name) | disk(artifacts)
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def settings(*overrides: str) -> list[str]:
    """``--set`` for each."""
    return [word for override in overrides for word in ("--set", override)]


def run(command: list[str]) -> dict[str, Any]:
    """The command to its end: what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun, peak = time.perf_counter(), 0
    process = subprocess.Popen(  # noqa: S603 - our own command
        [str(_GRIDCAST), *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    while process.poll() is None:
        peak = max(peak, sum(tree_bytes(process.pid)))
        time.sleep(_SAMPLE_SECONDS)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds = time.perf_counter() - begun
    return {
        "exit_code": process.returncode,
        "wall_seconds": seconds,
        "cpu_seconds": used,
        "peak_memory_bytes": peak,
    }


def stages(artifacts: Path, name: str) -> dict[str, float]:
    """Wall seconds by stage, of a run."""
    summary = artifacts / "runs" / "latest" / "summary.json"
    if name not in {"ingest", "ingest again", "train"} or not summary.is_file():
        return {}
    timings = json.loads(summary.read_bytes())["timings"]
    return {f"{stage}_seconds": seconds for stage, seconds in timings.items()}


def disk(artifacts: Path) -> dict[str, int]:
    """Bytes of each folder of the artifacts."""
    return {
        f"{name.replace('-', '_')}_bytes": sum(
            path.stat().st_size for path in (artifacts / name).rglob("*") if path.is_file()
        )
        for name in _KEPT
    }


if __name__ == "__main__":
    sys.exit(main())
