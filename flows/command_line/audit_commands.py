"""``gridcast verify``, ``check-leaks`` and ``track``: what is claimed is so, and told."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.command_line.options import (
    DEFAULT_ARTIFACTS,
    Artifacts,
    Data,
    Layout,
    Profile,
    Settings,
)
from flows.command_line.starting import (
    Request,
    exit_code_of,
    prepare_surroundings,
    start_flow,
)

app = typer.Typer()


@app.command(epilog="Examples:  gridcast verify latest  ·  gridcast verify gru-seed0  ·  "
             "gridcast verify models:/load/3 --artifacts /srv/gridcast")  # fmt: skip
def verify(
    target: Annotated[
        str,
        typer.Argument(help="Run id, latest, job of the last run, MLflow run id or models:/..."),
    ] = "latest",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Recompute the chain from the CSVs to a model, and name the first link that is broken."""

    def check() -> None:
        from tasks.show.show_run import show_verification

        show_verification(target, artifacts)

    raise typer.Exit(exit_code_of(check))


@app.command(epilog="Examples:  gridcast track  ·  MLFLOW_TRACKING_URI=https://mlflow.example "
             "gridcast track --artifacts /srv/gridcast")  # fmt: skip
def track(
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
) -> None:
    """Log to MLflow what it did not take when runs told it; the next run does so too."""

    def log() -> None:
        from tasks.show.show_run import show_unlogged

        prepare_surroundings(artifacts)
        show_unlogged(artifacts.absolute(), profile, tuple(settings or ()))

    raise typer.Exit(exit_code_of(log))


@app.command(epilog="Examples:  gridcast check-leaks  ·  gridcast check-leaks --data data/pjm  ·  "
             "gridcast check-leaks --set features.lags_hours='[1, 24]'")  # fmt: skip
def check_leaks(
    data: Data = None,
    layout: Layout = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
) -> None:
    """Replace the test part, then the future, and show that nothing that came before moves."""
    start_flow("check_leaks", Request(data, artifacts, profile, settings, layout=layout))
