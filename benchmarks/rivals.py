"""Training throughput and memory against neuralforecast and darts, at equal shapes and steps.

``python benchmarks/rivals.py`` trains the same network on the same regions with gridcast and with
each rival, in turn, each in a process of its own, prints one table and keeps it in
``benchmarks/results/rivals-<device>.json``; shapes, cells and precisions that are not measured this
time keep their rows. The rivals live in an environment of their own, ``build/rivals-venv``, made by
the first call from ``benchmarks/rivals-requirements.txt``. ``--python`` names another interpreter
that has them, ``--rivals-path`` a folder to import them from. Their settings stand in
``benchmarks/rival_training.py``.

Two shapes: ``article`` (profile ``seed``: 2 x 256 units, 90 steps, 1024 windows a step, loss at
the last step) and ``base`` (profile ``base``: 1 x 64, 168 steps, 64 windows, loss at each step
after the warm-up). Network, inputs, window and batch are the same for all. A window counts once it
went through the network forward and backward, whatever labels it has (of ``base``: 120 with us,
all 168 with darts, 120 with neuralforecast's GRU and one with its LSTM). On a CPU all train in
fp32; on a GPU in fp16 and in tf32 (the rivals: PyTorch's own setting, TF32 in recurrent layers). In
16 bits the rivals are Lightning's "mixed", that is PyTorch's autocast. Ours runs in the environment
of a run's training process (``numerical_environment``), the rivals in that of the shell. A turn's
speed is that of all its timed steps on a GPU, and of their median on a CPU.

- windows, bytes: what is kept of data and windows. Ours: the series on the device, the index of all
  windows and a pass's order of it, twice. neuralforecast: its table, a step's padded series and the
  windows cut from all of them. darts: its series, its sampler's order and a batch.
- process, bytes: the most that the process had, over what it had after its imports; data and
  activations are in it.

Where a rival can sensibly be set in two ways, both are measured. The bars, 7 times the windows a
second on a GPU, 5 times on a CPU and a twentieth of the bytes for windows, ask of the faster one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.article_accuracy import earlier_rows, envelope, slug, write_kept
from benchmarks.regions import batches_of, read_features
from benchmarks.tables import NOTHING, RESULTS, aligned, mebibytes, met
from benchmarks.turns import Clock, forget_peak, peak_bytes, resident_bytes
from gridcast.config import Cell, Config
from gridcast.features.splits import VALIDATION
from gridcast.features.windows import train_starts
from gridcast.kernels.engine import engine_of
from gridcast.training.data import TrainingData, training_data
from gridcast.training.loop import gradient_of
from gridcast.training.stack import ForecasterStack
from gridcast.training.step import TrainingStep
from tasks.machine.owned_process import numerical_environment
from tasks.train.training_process import set_fp32_precision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / "build" / "rivals-venv"
REQUIREMENTS = ROOT / "benchmarks" / "rivals-requirements.txt"
OURS = "ours"
Shape = Literal["article", "base"]
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
PROFILES: dict[Shape, str] = {"article": "seed", "base": "base"}
# What rivals have no word for is left out: the shape stays the same whatever the profile becomes.
_SETTINGS: dict[Shape, tuple[str, ...]] = {
    "article": (),
    "base": (
        "features.lags_hours=[24, 168]", "features.hour_harmonics=1", "features.holidays=null",
        "features.weekday_harmonics=1", "features.year_harmonics=1", "model.region_units=0",
        "model.hidden_size=64", "model.num_layers=1", "windows.lookback=168", "windows.warmup=48",
        "windows.stride=168", "training.batch_size=64",
    ),
}  # fmt: skip
# Of windows a second, by kind of device, and of the bytes kept for windows.
SPEED_BARS = {"cpu": 5.0, "cuda": 7.0}
MEMORY_BAR = 20.0
# Timed steps of a turn, and those before them.
_STEPS: dict[str, dict[Shape, tuple[int, int]]] = {
    "cpu": {"article": (3, 1), "base": (40, 5)},
    "cuda": {"article": (100, 10), "base": (300, 20)},
}
_FRAME, _SCALES, _REGIONS = "features.parquet", "scales.json", "regions.npz"

Json = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """A contestant, how it is set, and what its process is told of that."""

    contestant: str
    setting: str = ""
    series_a_step: int = 0
    stride: int = 0
    num_workers: int = 0


class Turn(NamedTuple):
    """One process: what it trains, and how."""

    repetition: int
    shape: Shape
    cell: Cell
    precision: Precision
    way: Way


def load_config(shape: Shape, *settings: str) -> Config:
    """Ours, of that shape."""
    return Config.load(PROFILES[shape], overrides=(*_SETTINGS[shape], *settings))


def ways(shape: Shape, device: torch.device, num_series: int) -> list[Way]:
    """Ours, and each rival's sensible settings.

    In each step neuralforecast cuts all windows of the series that the step reads, and draws some
    of them. With all series a step, as ours has, this takes 4 GB for the article's windows, and for
    those of ``base`` 15 GB unless it cuts only each 168th (always the same ones). One series a step
    needs no copy, but then all windows of a step are of one region. darts may load in processes
    of their own where there are cores for that.
    """
    cores = os.cpu_count() or 1
    mixed = Way("neuralforecast", "all series a step", series_a_step=num_series, stride=1)
    if shape == "base":
        setting = "all series a step, each 168th window"
        mixed = Way("neuralforecast", setting, series_a_step=num_series, stride=168)
    loading = min(8, cores // 2) if device.type == "cuda" else 0
    return [
        Way(OURS),
        mixed,
        Way("neuralforecast", "one series a step", series_a_step=1, stride=1),
        Way("darts", f"{loading} loading processes" if loading else "", num_workers=loading),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Let the contestants take turns; print and keep the result."""
    options = _options(arguments)
    if options.task:
        print(json.dumps(train_ours(json.loads(options.task))))
        return 0
    on_cuda = options.device == "cuda" or (options.device == "auto" and torch.cuda.is_available())
    device = torch.device("cuda" if on_cuda else "cpu")
    own: list[Precision] = ["tf32", "fp16"] if on_cuda else ["fp32"]
    precisions: list[Precision] = options.precisions or own
    rivals = Rivals(Path(options.python) if options.python else made_environment(), options)
    kept = envelope("rivals", device)
    path = Path(options.output) / f"rivals-{slug(device)}.json"
    earlier = earlier_rows(path)
    with tempfile.TemporaryDirectory() as folder:
        for turn in _turns(options, precisions, device, Path(folder)):
            task = _task(turn, device, Path(folder), options)
            row = {**_facts(turn, task), **rivals.in_own_process(task, turn.way)}
            row["labels_per_second"] = row["windows_per_second"] * row["labels_a_window"]
            kept["rows"].append({**row, "commit": kept["commit"], "date": kept["date"]})
            earlier = [each for each in earlier if _group(each) != _group(row)]
            write_kept(path, {**kept, "rows": [*earlier, *kept["rows"]]})
    check_networks(kept["rows"])
    print(comparison(kept["rows"], device.type))
    print(path)
    return 0


def _turns(
    options: argparse.Namespace, precisions: Sequence[Precision], device: torch.device, folder: Path
) -> Iterator[Turn]:
    for shape in options.shapes:
        num_series = _hand_over(shape, folder)
        for cell in options.cells:
            for precision in precisions:
                for repetition in range(options.repetitions):
                    for way in ways(shape, device, num_series):
                        yield Turn(repetition, shape, cell, precision, way)


def _hand_over(shape: Shape, folder: Path) -> int:
    """Every contestant begins with the same table; the rivals with its inputs, region by region.

    They get the steps up to the end of each region's training part, the scaled load first.
    """
    config = load_config(shape)
    table = read_features(config)
    table.frame.to_parquet(folder / _FRAME)
    scales = {name: (each.offset_mw, each.scale_mw) for name, each in table.scales.items()}
    (folder / _SCALES).write_text(json.dumps(scales), encoding="utf-8")
    names = table.feature_names
    training = table.frame[table.frame["part"] < VALIDATION]
    regions = {
        str(region): each[names].to_numpy("float32")
        for region, each in training.groupby("region", observed=True)
    }
    np.savez(folder / _REGIONS, **regions)  # type: ignore[arg-type]  # its stub has no names
    return len(regions)


def _task(turn: Turn, device: torch.device, folder: Path, options: argparse.Namespace) -> Json:
    """What the process is told; the rivals' fields are those of ``rival_training.Task``."""
    config = load_config(turn.shape)
    steps, warm_steps = _STEPS[device.type][turn.shape]
    return {
        "library": turn.way.contestant,
        "cell": turn.cell,
        "hidden_size": config.model.hidden_size,
        "num_layers": config.model.num_layers,
        "dropout": config.model.dropout,
        "lookback": config.windows.lookback,
        "warmup": config.windows.warmup,
        "batch_size": config.training.batch_size,
        "series_a_step": turn.way.series_a_step,
        "stride": turn.way.stride,
        "num_workers": turn.way.num_workers,
        "precision": turn.precision,
        "device": str(device),
        "warm_steps": warm_steps,
        "steps": options.steps or steps,
        "data": str(folder / _REGIONS),
    }


def _facts(turn: Turn, task: Json) -> Json:
    sizes = ("hidden_size", "num_layers", "lookback", "batch_size", "steps")
    return {
        "contestant": turn.way.contestant,
        "setting": turn.way.setting,
        "shape": turn.shape,
        "cell": turn.cell,
        "precision": turn.precision,
        "repetition": turn.repetition,
        **{name: task[name] for name in sizes},
    }


def _group(row: Json) -> tuple[str, ...]:
    return row["shape"], row["cell"], row["precision"]


# -- the table -------------------------------------------------------------------------------------


def check_networks(rows: Iterable[Json]) -> None:
    """All of a shape and cell have as many inputs and weights.

    Raises:
        SystemExit: they do not, so that speeds do not compare.
    """
    sizes: dict[tuple[str, str], set[tuple[int, int]]] = {}
    for row in rows:
        numbers = sizes.setdefault((row["shape"], row["cell"]), set())
        numbers.add((row["num_inputs"], row["num_parameters"]))
    for (shape, cell), found in sizes.items():
        if len(found) > 1:
            sys.exit(f"ERROR {shape} {cell}: found networks of {found}, expected the same for all")


class Contest(NamedTuple):
    """The medians of one shape, cell and precision: ours, and the rivals' ways as measured."""

    ours: Json
    rivals: list[Json]

    def fastest(self) -> list[Json]:
        """Each rival in its faster way."""
        best: dict[str, Json] = {}
        for each in self.rivals:
            known = best.get(each["contestant"], each)
            faster = each["windows_per_second"] >= known["windows_per_second"]
            best[each["contestant"]] = each if faster else known
        return list(best.values())


def contests(rows: Iterable[Json]) -> dict[tuple[str, ...], Contest]:
    """By shape, cell and precision; those in which ours was measured."""
    turns: dict[tuple[str, ...], dict[tuple[str, str], list[Json]]] = {}
    for row in rows:
        ways_of_it = turns.setdefault(_group(row), {})
        ways_of_it.setdefault((row["contestant"], row["setting"]), []).append(row)
    return {
        group: Contest(
            _medians(by_way[OURS, ""]),
            [_medians(each) for way, each in by_way.items() if way != (OURS, "")],
        )
        for group, by_way in turns.items()
        if (OURS, "") in by_way
    }


def _medians(rows: Sequence[Json]) -> Json:
    fields = (
        "windows_per_second", "labels_per_second", "step_seconds", "data_bytes",
        "peak_over_imports_bytes", "peak_device_bytes",
    )  # fmt: skip
    return {
        **rows[0],
        **{field: median(row[field] for row in rows) for field in fields},
        "turns": len(rows),
    }


HEAD = (
    "", "windows/s", "labels/s", "a step", "windows", "process", "GPU", "speed", "memory",
)  # fmt: skip


def contest_rows(contest: Contest) -> list[list[str]]:
    """One line a contestant; the last two cells are ours against it."""
    ours = contest.ours
    lines = []
    for each in (ours, *contest.rivals):
        ratios = [NOTHING, NOTHING]
        if each is not ours:
            ratios = [
                f"{ours['windows_per_second'] / each['windows_per_second']:.2f} ×",
                less_or_more(each["data_bytes"] / ours["data_bytes"], "×"),
            ]
        on_gpu = each["peak_device_bytes"]
        lines.append([
            ", ".join(filter(None, (each["contestant"], each["setting"]))),
            f"{each['windows_per_second']:,.0f}",
            f"{each['labels_per_second']:,.0f}",
            f"{1000 * each['step_seconds']:,.1f} ms",
            mebibytes(each["data_bytes"]),
            mebibytes(each["peak_over_imports_bytes"]),
            mebibytes(on_gpu) if on_gpu else NOTHING,
            *ratios,
        ])  # fmt: skip
    return lines


def less_or_more(ratio: float, times: str) -> str:
    """``2.0 × less``, or of what is larger ``2.0 × more``."""
    return f"{ratio:.1f} {times} less" if ratio >= 1 else f"{1 / ratio:.1f} {times} more"


def verdicts(contest: Contest, device_type: str) -> list[str]:
    """Whether the bars are met against each rival, in its faster way."""
    ours, bar = contest.ours, SPEED_BARS[device_type]
    lines = []
    for each in contest.fastest():
        speed = ours["windows_per_second"] / each["windows_per_second"]
        less = each["data_bytes"] / ours["data_bytes"]
        lines.append(
            f"{each['contestant']}: {speed:.2f} times the speed (bar {bar:g}: {met(speed, bar)}),"
            f" {less_or_more(less, 'times')} for windows"
            f" (bar {MEMORY_BAR:g}: {met(less, MEMORY_BAR)})"
        )
    return lines


def comparison(rows: Sequence[Json], device_type: str) -> str:
    """One table of all that was measured, and below it the bars."""
    lines: list[list[str]] = []
    below: list[str] = []
    for (shape, cell, precision), contest in contests(rows).items():
        for first, *others in contest_rows(contest):
            lines.append([f"{shape} {cell} {precision}: {first}", *others])
        below += [
            f"{shape} {cell} {precision}: {verdict}" for verdict in verdicts(contest, device_type)
        ]
    return "\n".join([aligned(HEAD, lines), "", *below])


# -- the rivals' environment -----------------------------------------------------------------------


def made_environment() -> Path:
    """The interpreter of ``build/rivals-venv``, made where it is missing or of other versions."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    python, stamp = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "requirements.sha256"
    if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted:
        return python
    print(f"Installing the rivals into {ENVIRONMENT.relative_to(ROOT)}", flush=True)
    commands = (
        [sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)],
        [str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)],
    )
    for command in commands:
        subprocess.run(command, check=True)  # noqa: S603 - our own
    stamp.write_text(wanted, encoding="ascii")
    return python


class Rivals:
    """Starts each turn in a process of its own, and tells of it in a line."""

    def __init__(self, python: Path, options: argparse.Namespace) -> None:
        self._python = python
        threads = options.threads or torch.get_num_threads()
        self._ours, self._theirs = numerical_environment(threads), dict(os.environ)
        if options.threads:
            self._theirs["OMP_NUM_THREADS"] = str(options.threads)
        if options.rivals_path:
            folder = str(Path(options.rivals_path).resolve())
            known = os.environ.get("PYTHONPATH")
            self._theirs["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, known)))

    def in_own_process(self, task: Json, way: Way) -> Json:
        """The row that it prints last.

        Raises:
            SystemExit: the process failed; its message stands above.
        """
        begun = perf_counter()
        script = Path(__file__).resolve()
        command = [sys.executable, str(script), f"--task={json.dumps(task)}"]
        if way.contestant != OURS:
            rival = script.with_name("rival_training.py")
            # -P: the folder of benchmarks is not where the rivals look for modules.
            command = [str(self._python), "-P", str(rival), json.dumps(task)]
        run = subprocess.run(  # noqa: S603 - our own
            command,
            capture_output=True,
            text=True,
            check=False,
            env=self._ours if way.contestant == OURS else self._theirs,
        )
        if run.returncode:
            sys.exit(f"{run.stderr}\nERROR: {' '.join(command)} ended with {run.returncode}")
        row: Json = json.loads(run.stdout.splitlines()[-1])
        print(
            f"{task['cell']} {task['precision']} {task['lookback']} steps, {way.contestant}"
            f" {way.setting}: {row['windows_per_second']:,.0f} windows/s,"
            f" {perf_counter() - begun:.0f} s with imports",
            file=sys.stderr,
            flush=True,
        )
        return row


# -- ours, in a process of its own -----------------------------------------------------------------


def train_ours(task: Json) -> Json:
    """Some steps of ``gridcast.training.step.TrainingStep``, as a training makes them."""
    forget_peak()
    before = resident_bytes()
    device, begun = torch.device(task["device"]), perf_counter()
    num_steps = task["warm_steps"] + task["steps"]
    shape: Shape = "article" if task["warmup"] == task["lookback"] - 1 else "base"
    config = load_config(shape, f"training.precision={task['precision']}")
    set_fp32_precision(device, task["precision"])
    data = _read_data(Path(task["data"]).parent, device)
    engine = engine_of(config, device, cells=[task["cell"]])
    stack = ForecasterStack(data, config, cell=task["cell"], seeds=[0], engine=engine)
    update = TrainingStep(stack, gradient_of(stack, data, config), config, num_steps)
    update.begin_pass()
    batches = batches_of(data, config)
    clock = Clock(device, warm_steps=task["warm_steps"], steps=task["steps"])
    for _ in range(num_steps):
        update(next(batches))
        clock.tick()
    seconds = clock.step_seconds()
    on_cuda = device.type == "cuda"
    return {
        "version": "",
        "torch": torch.__version__,
        "num_threads": torch.get_num_threads(),
        "step_seconds": seconds,
        "step_cpu_seconds": clock.step_cpu_seconds(),
        "windows_per_second": task["batch_size"] / seconds,
        "wall_seconds": perf_counter() - begun,
        "num_parameters": stack.weights_SP.shape[1],
        "num_inputs": data.x_TF.shape[1],
        "labels_a_window": config.windows.lookback - config.windows.warmup,
        # The index of all windows, and a pass's order of it, here and on the device.
        "data_bytes": data.num_bytes + 3 * train_starts(data.steps, config.windows).nbytes,
        "peak_over_imports_bytes": peak_bytes() - before,
        "peak_device_bytes": torch.cuda.max_memory_reserved(device) if on_cuda else 0,
    }


def _read_data(folder: Path, device: torch.device) -> TrainingData:
    scales = json.loads((folder / _SCALES).read_text(encoding="utf-8"))
    return training_data(pd.read_parquet(folder / _FRAME), scales, device)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--shapes", nargs="+", choices=get_args(Shape), default=list(get_args(Shape)))
    add("--cells", nargs="+", choices=get_args(Cell), default=list(get_args(Cell)))
    add("--precisions", nargs="+", choices=get_args(Precision), help="see above")
    add("--repetitions", type=int, default=3, help="turns of each (3)")
    add("--steps", type=int, default=0, help="timed steps a turn (3 and 40; on a GPU 100 and 300)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--threads", type=int, default=0, help="of the CPU, for all (PyTorch's own choice)")
    add("--python", help="an interpreter that has the rivals")
    add("--rivals-path", help="a folder to import the rivals from")
    add("--output", default=str(RESULTS), help="folder of the JSON file")
    add("--task", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
