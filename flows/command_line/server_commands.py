"""``gridcast ui``: the pages of this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.command_line.options import (
    DEFAULT_ARTIFACTS,
    Artifacts,
)
from flows.command_line.starting import (
    exit_code_of,
)

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
