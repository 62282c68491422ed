"""What checkpoints cost, as a share of the training, and whether a kill can spoil them.

``python benchmarks/checkpoints.py`` takes a state and writes it, for two sizes of network, and sets
that against the interval. ``--kills 200`` kills a process that writes one state after the other so
many times, and reads the newest after each: a state that is whole, and no older than the last one
that was told to be written. Nothing is kept: both are yes or no.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from gridcast.config import Config  # noqa: E402
from gridcast.kernels.engine import engine_of  # noqa: E402
from gridcast.training.loop import Training  # noqa: E402
from tasks.train.checkpoints import CheckpointNote, newest_state, write_checkpoint  # noqa: E402
from tests.builders.trainings import LONG_LOADS, make_data, tiny  # noqa: E402

NOTE = CheckpointNote(key="key", layers="cpu-loops", adam="cpu-loops", num_devices=1)
SIZES = {"base: 1 x 64": {"hidden_size": 64}, "2 x 256": {"hidden_size": 256, "num_layers": 2}}
TIMES = 9


def main() -> int:
    """Measure, and kill if asked to; 0 if all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=0)
    asked = parser.parse_args()
    interval = Config.load().training.checkpoint_seconds or float("inf")
    shares = [_share_of(name, interval) for name in SIZES]
    spoilt = _killed(asked.kills) if asked.kills else 0
    return int(max(shares) >= 0.02 or spoilt > 0)  # noqa: PLR2004 - the bar


def _share_of(name: str, interval: float) -> float:
    training = _training(name)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        seconds = []
        for _ in range(TIMES):
            begun = time.perf_counter()
            write_checkpoint(Path(folder), NOTE, training.take_state())
            seconds.append(time.perf_counter() - begun)
        (*_, newest) = sorted(Path(folder).glob("checkpoints/*.checkpoint"))
        size = newest.stat().st_size / 1e6
    share = median(seconds) / interval
    print(
        f"{name}: {size:.1f} MB in {1000 * median(seconds):.1f} ms: {share:.4%} of {interval:g} s"
    )
    return share


def _training(name: str) -> Training:
    config = tiny(model=SIZES[name])
    data = make_data(config, LONG_LOADS)
    engine = engine_of(config, data.x_TF.device, cells=["gru"])
    training = Training(
        data, config=config, cell="gru", seeds=(0,), engine=engine, on_progress=lambda *_: None
    )
    next(training.steps())
    return training


def _killed(num: int) -> int:
    training, spoilt = _training("base: 1 x 64"), 0
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        for _ in range(num):
            told = _kill_one_that_writes(Path(name), training)
            state = newest_state(Path(name), NOTE)
            spoilt += state is None or (state.record.pass_number, state.record.batch) < told
    print(f"{num} kills while checkpoints were written: {spoilt} left none, or an older one")
    return spoilt


def _kill_one_that_writes(folder: Path, training: Training) -> tuple[int, int]:
    """Where the training stood that the process told last to be written."""
    reads, writes = os.pipe()
    process_id = os.fork()
    if process_id == 0:
        _write_for_ever(folder, training, writes)
    os.close(writes)
    with os.fdopen(reads) as lines:
        first = lines.readline()
        time.sleep(random.uniform(0.0, 0.1))  # noqa: S311
        os.kill(process_id, signal.SIGKILL)
        os.waitpid(process_id, 0)
        (*_, last) = [first, *lines]
    number, batch = map(int, last.split())
    return number, batch


def _write_for_ever(folder: Path, training: Training, told: int) -> None:
    """One state after the other, each told once it is written."""
    steps = training.steps()
    while True:
        next(steps, None)  # at the end it stands where it is
        state = training.take_state()
        write_checkpoint(folder, NOTE, state)
        os.write(told, f"{state.record.pass_number} {state.record.batch}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
