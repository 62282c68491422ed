"""What `gridcast run --plan` prints."""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.table import Table

from gridcast.training.requirements import Plan

_WIDTH_OF_FILES = 120


def show_plan(plan: Plan) -> None:
    """Print the plan for people."""
    out = Console() if sys.stdout.isatty() else Console(width=_WIDTH_OF_FILES)
    windows = plan.windows
    out.print(
        f"{plan.num_regions:,} regions, {plan.num_steps:,} steps; windows: {windows.train:,} train,"
        f" {windows.validation:,} validation, {windows.test:,} test", highlight=False,
    )  # fmt: skip
    out.print(_jobs_table(plan), _stages_table(plan))
    told = ", ".join(f"{name} {_gigabytes(size)}" for name, size in plan.disk_bytes.items())
    out.print(f"disk: {told}", highlight=False)
    for name, device in plan.devices.items():
        line = (
            f"{name}: {_gigabytes(device.peak_memory_bytes)} for {device.num_at_once} at a time, "
            f"of {_gigabytes(device.device_bytes)}"
        )
        fits = device.peak_memory_bytes <= device.device_bytes
        out.print(line if fits else f"{line}: TOO LITTLE", style="" if fits else "bold red",
                  highlight=False)  # fmt: skip


def _jobs_table(plan: Plan) -> Table:
    table = Table(title="Jobs", box=box.SIMPLE_HEAD)
    for name in ("job", "device", "steps", "series", "peak memory", "training s", "in all s"):
        table.add_column(name, justify="left" if name in {"job", "device"} else "right")
    for job in plan.jobs:
        table.add_row(
            job.name, job.device, f"{job.num_steps:,}", _gigabytes(job.data_bytes),
            _gigabytes(job.peak_memory_bytes), f"{job.train_seconds:,.1f}", f"{job.seconds:,.0f}",
        )  # fmt: skip
    return table


def _stages_table(plan: Plan) -> Table:
    table = Table(title="Time", box=box.SIMPLE_HEAD)
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    for name, seconds in plan.seconds.items():
        if name == "total":
            table.add_section()
        table.add_row(name, f"{seconds:,.0f}")
    return table


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.2f} GB"
