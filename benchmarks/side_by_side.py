"""GRU and LSTM on one GPU: one after the other, as two processes at once, as two streams of one.

``python benchmarks/side_by_side.py`` trains both networks of the article's protocol (profile
``seed``) for some steps in each of the three ways, in turn, prints what each gives and keeps it in
``benchmarks/results/side-by-side-<device>.json``. The data are those of ``GRIDCAST_DATA``, or of
``data/``. Without a GPU nothing is run.

Two streams is how a run trains both (``gridcast.training.loop.run_interleaved``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.article_accuracy import RESULTS, envelope, slug, write_kept
from benchmarks.regions import batches_of, on_device, read_features
from gridcast.config import Cell, Config
from gridcast.kernels.engine import engine_of
from gridcast.training.data import TrainingData
from gridcast.training.loop import gradient_of
from gridcast.training.stack import ForecasterStack
from gridcast.training.step import TrainingStep
from tasks.train.training_process import set_fp32_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WAYS = ("one after the other", "two processes", "two streams")
CELLS: tuple[Cell, Cell] = ("gru", "lstm")
_WARM_UP = 10

Json = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Let the ways take turns; print and keep the result."""
    options = _options(arguments)
    if options.alone:
        _train_at_a_signal(options.alone, options)
        return 0
    if not torch.cuda.is_available():
        print("Not run: there is no GPU.")
        return 0
    device = torch.device("cuda")
    kept, config = envelope("side-by-side", device), _config(options)
    data = on_device(read_features(config), device)
    steps = [_step(data, config, cell) for cell in CELLS]
    for repetition in range(options.repetitions):
        seconds = {
            WAYS[0]: _in_turn(steps, options.steps),
            WAYS[1]: _two_processes(options),
            WAYS[2]: _two_streams(steps, options.steps),
        }
        for way, each in seconds.items():
            windows = len(CELLS) * options.steps * config.training.batch_size
            row = {
                "contestant": way,
                "precision": options.precision,
                "recurrence": options.recurrence,
                "repetition": repetition,
                "steps_each": options.steps,
                "seconds": each,
                "windows_per_second": windows / each,
            }
            kept["rows"].append(row)
    print(comparison(kept["rows"]))
    path = Path(options.output) / f"side-by-side-{slug(device)}.json"
    write_kept(path, kept)
    print(path)
    return 0


def comparison(rows: Sequence[Json]) -> str:
    """Medians, and each way's time as a ratio to one after the other."""
    middle = {
        way: median(row["windows_per_second"] for row in rows if row["contestant"] == way)
        for way in WAYS
    }
    lines = [f"{'both networks':24s}{'windows/s':>12s}{'ratio':>8s}"]
    lines += [
        f"{way:24s}{each:12,.0f}{each / middle[WAYS[0]]:8.2f}" for way, each in middle.items()
    ]
    return "\n".join(lines)


def _config(options: argparse.Namespace) -> Config:
    settings = (
        f"training.precision={options.precision}",
        f"training.recurrence={options.recurrence}",
    )
    return Config.load("seed", overrides=settings)


def _step(data: TrainingData, config: Config, cell: Cell) -> Callable[[], object]:
    """One training step of one network, warmed up and captured, on a stream of its own."""
    set_fp32_precision(data.x_TF.device, config.training.precision)
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        engine = engine_of(config, data.x_TF.device, cells=[cell])
        stack = ForecasterStack(data, config, cell=cell, seeds=[0], engine=engine)
        update = TrainingStep(stack, gradient_of(stack, data, config), config, num_steps=10**6)
        update.begin_pass()
        batches = batches_of(data, config)

    def step() -> object:
        with torch.cuda.stream(stream):
            return update(next(batches))

    for _ in range(_WARM_UP):
        step()
    torch.cuda.synchronize()
    return step


def _in_turn(steps: Sequence[Callable[[], object]], num_steps: int) -> float:
    begun = perf_counter()
    for step in steps:
        for _ in range(num_steps):
            step()
        torch.cuda.synchronize()
    return perf_counter() - begun


def _two_streams(steps: Sequence[Callable[[], object]], num_steps: int) -> float:
    begun = perf_counter()
    for _ in range(num_steps):
        for step in steps:
            step()
    torch.cuda.synchronize()
    return perf_counter() - begun


# -- processes -------------------------------------------------------------------------------------


def _two_processes(options: argparse.Namespace) -> float:
    """Both prepare, then both begin; until the later one has ended."""
    command = [
        sys.executable, str(Path(__file__).resolve()), f"--steps={options.steps}",
        f"--precision={options.precision}", f"--recurrence={options.recurrence}",
    ]  # fmt: skip
    processes = [
        subprocess.Popen(  # noqa: S603 - ourselves
            [*command, f"--alone={cell}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for cell in CELLS
    ]
    pipes = [(each.stdin, each.stdout) for each in processes]
    for _, out in pipes:
        if out is None or json.loads(out.readline() or "null") != "ready":
            sys.exit("ERROR: a process of the benchmark did not get ready; its message is above")
    for into, _ in pipes:
        if into is not None:
            into.write("go\n")
            into.flush()
    seconds = [json.loads(out.readline()) for _, out in pipes if out is not None]
    for process in processes:
        process.wait()
    return float(max(seconds))


def _train_at_a_signal(cell: Cell, options: argparse.Namespace) -> None:
    config = _config(options)
    step = _step(on_device(read_features(config), torch.device("cuda")), config, cell)
    print(json.dumps("ready"), flush=True)
    sys.stdin.readline()
    print(json.dumps(_in_turn([step], options.steps)), flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--steps", type=int, default=300, help="timed steps of each network (300)")
    add("--repetitions", type=int, default=3, help="turns of each way (3)")
    add("--precision", choices=("fp32", "tf32", "bf16", "fp16"), default="fp16")
    add("--recurrence", choices=("auto", "library"), default="auto")
    add("--output", default=str(RESULTS), help="folder of the JSON file")
    add("--alone", choices=CELLS, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
