"""``gridcast run``, ``ingest``, ``train`` and ``tune``: the flows that make models."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.command_line.options import (
    DEFAULT_ARTIFACTS,
    Artifacts,
    AsJson,
    Covariate,
    Data,
    Fresh,
    Layout,
    Planned,
    Profile,
    Settings,
    Yes,
)
from flows.command_line.starting import (
    Request,
    check_early,
    exit_code_of,
    start_flow,
    with_consent,
    with_covariates,
)

app = typer.Typer()


@app.command(
    epilog="Examples:  gridcast run  ·  gridcast run --data data/pjm  ·  "
    "gridcast run --profile baselines  ·  gridcast run --data exports --layout entsoe  ·  "
    "gridcast run --set training.passes=10 --set model.cells='[lstm]'"
)
def run(  # noqa: PLR0913 - an option each
    data: Data = None,
    layout: Layout = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    covariate: Covariate = None,
    *,
    fresh: Fresh = False,
    yes: Yes = False,
    plan: Planned = False,
    as_json: AsJson = False,
) -> None:
    """The main job: ingest, train GRU and LSTM, evaluate, log to MLflow, show the comparison."""
    asked = with_consent(with_covariates(settings, covariate), yes=yes)
    request = Request(data, artifacts, profile, asked, fresh, layout)
    if plan:
        raise typer.Exit(show_needs(request, of_run=True, as_json=as_json))
    start_flow("run_pipeline", request)


@app.command(epilog="Examples:  gridcast ingest --data data/pjm  ·  gridcast ingest --fresh")
def ingest(
    data: Data = None,
    layout: Layout = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    covariate: Covariate = None,
    *,
    fresh: Fresh = False,
) -> None:
    """Check the CSVs and publish them as Parquet."""
    asked = with_covariates(settings, covariate)
    start_flow("prepare_data", Request(data, artifacts, profile, asked, fresh, layout))


@app.command(
    epilog="Examples:  gridcast train  ·  gridcast train --data data/pjm "
    "--set training.seeds='[0, 1, 2]'"
)
def train(  # noqa: PLR0913 - an option each
    data: Data = None,
    layout: Layout = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    covariate: Covariate = None,
    *,
    fresh: Fresh = False,
    yes: Yes = False,
    plan: Planned = False,
    as_json: AsJson = False,
) -> None:
    """Train, evaluate and log the models on what was ingested (none given: what was last)."""
    asked = with_consent(with_covariates(settings, covariate), yes=yes)
    request = Request(data, artifacts, profile, asked, fresh, layout)
    if plan:
        raise typer.Exit(show_needs(request, of_run=False, as_json=as_json))
    start_flow("train_models", request)


@app.command(
    epilog="Examples:  gridcast tune --data data/mine  ·  gridcast tune --hours 8 --trials 200  ·  "
    "gridcast tune --set tuning.space.model.hidden_size='[32, 64]' "
    "--set tuning.space.training.learning_rate='{low: 1.0e-3, high: 1.0e-2, log: true}'  ·  "
    "gridcast run --profile artifacts/tuning/STUDY/best.yaml"
)
def tune(
    data: Data = None,
    layout: Layout = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    trials: Annotated[
        int | None, typer.Option(help="Trials of the study in all, those of earlier runs counted.")
    ] = None,
    hours: Annotated[float | None, typer.Option(help="No trial begins after this.")] = None,
) -> None:
    """Search for better settings on the validation part (tuning.space); leaves a profile.

    Ctrl-C keeps what is finished, and the same command goes on with it.
    """
    budget = {"trials": trials, "hours": hours}
    given = [f"tuning.{key}={value}" for key, value in budget.items() if value is not None]
    asked = Request(data, artifacts, profile, [*(settings or []), *given], layout=layout)
    start_flow("tune_models", asked)


def show_needs(request: Request, *, of_run: bool, as_json: bool) -> int:
    """Print what a run or a training will need; its exit status. Nothing is published."""

    def plan() -> None:
        from tasks.show.show_plan import show_plan
        from tasks.train.run_plan import plan_run, plan_training

        check_early(request)
        artifacts, profile = request.artifacts.absolute(), request.profile
        if of_run:
            from gridcast.config import Config
            from tasks.fetch.regional_csvs import sources_of

            limits = Config.load(profile, overrides=request.overrides)
            sources = sources_of(request.data, artifacts, limits)
            planned = plan_run(sources, profile=profile, overrides=request.overrides)
        else:
            folder = None if request.data is None else request.data.resolve()
            planned = plan_training(artifacts, folder, profile=profile, overrides=request.overrides)
        if as_json:
            typer.echo(planned.model_dump_json(indent=2))
        else:
            show_plan(planned)

    return exit_code_of(plan)
