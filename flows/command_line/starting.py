"""How a command begins and ends: early checks, surroundings, a flow, an exit status."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import typer

from gridcast.errors import EXIT_OK, EXIT_PARTIAL, GridcastError, PartialFailureError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_FIRST_LINE = "gridcast starts; Python and Prefect take some seconds"
_COVARIATE = "covariates.columns.{name}={{column: {column}, source: load_file}}"
NO_QUESTION = "training.confirm_above_hours=null"


@dataclass(frozen=True, slots=True)
class Request:
    """What the options that all commands with a flow share ask for."""

    data: Path | None
    artifacts: Path
    profile: str
    settings: list[str] | None
    fresh: bool = False
    layout: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)  # what this flow takes beside

    @property
    def overrides(self) -> tuple[str, ...]:
        """The settings as the configuration takes them."""
        named = () if self.layout is None else (f"layout_file={self.layout}",)
        return (*named, *(self.settings or ()))

    @property
    def parameters(self) -> dict[str, Any]:
        """What a flow takes: plain values, as a deployment gives them."""
        return {
            "data": None if self.data is None else str(self.data),
            "artifacts": str(self.artifacts),
            "profile": self.profile,
            "overrides": list(self.overrides) or None,
            "fresh": self.fresh,
            **self.more,
        }


def with_covariates(settings: list[str] | None, given: list[str] | None) -> list[str]:
    """The settings with what `--covariate NAME=COLUMN` asks for.

    >>> with_covariates(None, ["temperature=Temp, C", "wind"])  # doctest: +NORMALIZE_WHITESPACE
    ['covariates.columns.temperature={column: "Temp, C", source: load_file}',
     'covariates.columns.wind={column: "wind", source: load_file}']
    """
    pairs = (each.partition("=") for each in given or ())
    own = [
        _COVARIATE.format(name=name, column=json.dumps(column or name, ensure_ascii=False))
        for name, _, column in pairs
    ]
    return [*own, *(settings or [])]


def start_flow(flow: str, request: Request, *, show: Callable[[Any], None] | None = None) -> None:
    """Check what can be checked at once, then run the flow here and show what came of it.

    ``show`` gets what the flow returns, before its runs are shown.
    """

    def check() -> None:
        check_early(request)
        _check_data(request)

    def run_flow() -> None:
        from tasks.runs.servers import start_embedded_prefect

        prepare_surroundings(request.artifacts)
        start_embedded_prefect(request.artifacts.absolute())
        try:
            result = load_flow(flow)(**request.parameters)
        except Exception as error:
            _end_if_interrupted(error)
            raise
        if show is not None:
            show(result)

    if code := exit_code_of(check):
        raise typer.Exit(code)
    typer.echo(_FIRST_LINE, err=True)
    from tasks.runs.run import opened_runs

    with opened_runs() as opened:
        code = exit_code_of(run_flow)
    for run in opened:
        if run.summary_path.is_file():
            from tasks.show.show_run import show_summary

            seconds = time.time() - psutil.Process().create_time()
            shown = exit_code_of(
                partial(show_summary, run.summary_path, seconds_since_enter=seconds)
            )
            code = code or shown
    raise typer.Exit(code)


def _end_if_interrupted(error: Exception) -> None:
    """Exit as an interruption asks for, where the error came up on the way out."""
    from tasks.runs.killed_runs import interruption_of

    interruption = interruption_of(error)
    if isinstance(interruption, SystemExit):
        raise interruption
    if interruption is not None:
        number = getattr(interruption, "signal", signal.SIGINT)  # Prefect's TerminationSignal
        raise SystemExit(128 + number) from error


def exit_code_of(work: Callable[[], Any]) -> int:
    """Do it; the exit status that its error asks for. What nobody foresaw keeps its traceback."""
    try:
        work()
    except PartialFailureError as error:
        typer.echo(printable(str(error)), err=True)
        return EXIT_PARTIAL
    except GridcastError as error:
        typer.echo(printable(str(error)), err=True)
        return error.exit_code
    return EXIT_OK


def exit_code_of_shared(
    work: Callable[[], Any], artifacts: Path, profile: str, settings: list[str] | None
) -> int:
    """The same on what machines share: brought before it, published after it."""

    def shared_work() -> None:
        from tasks.share.sharing import shared

        with shared(artifacts.absolute(), profile, tuple(settings or ())):
            work()

    return exit_code_of(shared_work)


def check_early(request: Request) -> None:
    """What is wrong with the command itself, told before Prefect takes its seconds to start."""
    from gridcast.config import Config
    from tasks.runs.storage import check_folder

    Config.load(request.profile, overrides=request.overrides)
    check_folder(request.artifacts.absolute())


def _check_data(request: Request) -> None:
    if request.data is not None:
        from gridcast.config import Config
        from tasks.fetch.regional_csvs import check_data

        config = Config.load(request.profile, overrides=request.overrides)
        check_data(request.data, config)


def prepare_surroundings(artifacts: Path) -> None:
    """Prefect's database in the artifacts folder unless a server is named, and calm log lines.

    Prefect reads its settings when it is imported; where it was before this, it reads them again.
    """
    from tasks.runs.servers import keep_to_this_machine, local_settings
    from tasks.show.show_run import show_log

    keep_to_this_machine(os.environ)
    for name, value in local_settings(artifacts.absolute()).items():
        os.environ.setdefault(name, value)
    if "prefect" in sys.modules:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()
    show_log(logging.INFO)


def load_flow(name: str) -> Callable[..., Any]:
    """The flow of that name, from the file of that name."""
    from importlib import import_module

    flow: Callable[..., Any] = getattr(import_module(f"flows.{name}"), name)
    return flow


def with_consent(settings: list[str] | None, *, yes: bool) -> list[str]:
    """The settings, without the question before a long training where it was answered."""
    return [*(settings or []), *([NO_QUESTION] if yes else [])]
