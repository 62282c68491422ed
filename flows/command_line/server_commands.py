"""``gridcast ui`` and ``forget-flow-runs``: pages of this machine, and what Prefect remembers."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.command_line.options import DEFAULT_ARTIFACTS, Artifacts, Profile, Settings
from flows.command_line.starting import exit_code_of, prepare_surroundings

app = typer.Typer()


@app.command(epilog="Examples:  gridcast ui  ·  gridcast ui --artifacts /srv/gridcast "
             "--prefect-port 4201 --mlflow-port 5001 --port 4301")  # fmt: skip
def ui(
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's pages.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's pages.")] = 5000,
    port: Annotated[int, typer.Option(help="Port of reports and operators' pages.")] = 4300,
) -> None:
    """Show Prefect, MLflow, reports and operators' pages on this machine until Ctrl-C.

    On loopback only. Prints the links to the last run in each of them.
    """

    def serve() -> None:
        from tasks.pages.serve_pages import serve_pages

        serve_pages(
            artifacts.absolute(), prefect_port=prefect_port, mlflow_port=mlflow_port, port=port
        )

    raise typer.Exit(exit_code_of(serve))


@app.command(epilog="Examples:  gridcast forget-flow-runs --days 90  ·  gridcast forget-flow-runs "
             "--days 30 --dry-run  ·  gridcast forget-flow-runs --profile team.yaml")  # fmt: skip
def forget_flow_runs(
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    days: Annotated[
        int | None, typer.Option(min=1, help="That stay. None: run.keep_prefect_days.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell how many would go.")
    ] = False,
) -> None:
    """Delete flow runs that ended long ago from Prefect's database; results are not touched.

    Of the embedded server's SQLite file the space is given back too.
    """

    def work() -> None:
        prepare_surroundings(artifacts)
        from tasks.show.show_flow_runs import forget_and_show

        forget_and_show(
            artifacts.absolute(), profile, tuple(settings or ()), days=days, is_dry_run=dry_run
        )

    raise typer.Exit(exit_code_of(work))
