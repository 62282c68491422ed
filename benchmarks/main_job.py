"""The main job as a user runs it: wall time by stage, and the memory of all its processes together.

``python benchmarks/main_job.py [--data FOLDER]`` runs ``gridcast run`` in a new artifacts folder,
then the same again, and writes ``benchmarks/results/main-job-<device>.json``. Without a folder and
``GRIDCAST_DATA`` it takes the synthetic set. Memory is the sum of the processes' proportional set
sizes (a shared page counts once), sampled five times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.article_accuracy import envelope, slug, write_kept  # noqa: E402

_GRIDCAST = Path(sys.executable).with_name("gridcast")
_SAMPLE_SECONDS = 0.2


def main() -> int:
    """Run twice, print one table, keep it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", default=os.environ.get("GRIDCAST_DATA"), help="folder of CSVs")
    parser.add_argument("--output", default=str(ROOT / "benchmarks" / "results"))
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kept = envelope("main-job", device)
    with tempfile.TemporaryDirectory() as artifacts:
        for contestant in ("first run", "same again"):
            row = measure(contestant, Path(artifacts), options.data)
            kept["rows"].append(row)
    write_kept(Path(options.output) / f"main-job-{slug(device)}.json", kept)
    show(kept["rows"])
    return max(int(row["exit_code"]) for row in kept["rows"])


def measure(contestant: str, artifacts: Path, data: str | None) -> dict[str, Any]:
    """One run of the command, from its start to its end."""
    command = [str(_GRIDCAST), "run", "--artifacts", str(artifacts)]
    begun = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*command, *(["--data", data] if data else [])],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=artifacts,
    )
    peak, most = 0, 0
    while process.poll() is None:
        sizes = tree_bytes(process.pid)
        peak, most = max(peak, sum(sizes)), max(most, len(sizes))
        time.sleep(_SAMPLE_SECONDS)
    wall = time.perf_counter() - begun
    summary = json.loads((artifacts / "runs" / "latest" / "summary.json").read_bytes())
    return {
        "contestant": contestant,
        "data": summary["data"]["kind"],
        "exit_code": process.returncode,
        "wall_seconds": wall,
        **{f"{stage}_seconds": seconds for stage, seconds in summary["timings"].items()},
        "peak_memory_bytes": peak,
        "num_processes": most,
        "num_trained": sum(not model["cached"] for model in summary["models"].values()),
        **{f"smape_{name}": model["smape"] for name, model in summary["models"].items()},
    }


def tree_bytes(pid: int) -> list[int]:
    """Proportional set size of a process and of each of its descendants."""
    sizes = []
    try:
        parent = psutil.Process(pid)
        for each in [parent, *parent.children(recursive=True)]:
            full = each.memory_full_info()
            sizes.append(int(getattr(full, "pss", full.uss)))
    except psutil.Error:  # one has ended while it was looked at
        return sizes
    return sizes


def show(rows: list[dict[str, Any]]) -> None:
    """One column a run."""
    print(f"{'':24s}" + "".join(f"{row['contestant']:>14s}" for row in rows))
    for key in rows[0]:
        values = [row.get(key) for row in rows]
        if key.endswith("_bytes"):
            cells = [f"{(value or 0) / 1e9:.2f} GB" for value in values]
        else:
            cells = [f"{value:.3f}" if isinstance(value, float) else str(value) for value in values]
        if key != "contestant":
            print(f"{key:24s}" + "".join(f"{cell:>14s}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
