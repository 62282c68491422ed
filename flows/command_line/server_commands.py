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
             "--prefect-port 4201 --mlflow-port 5001")  # fmt: skip
def ui(
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's pages.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's pages.")] = 5000,
) -> None:
    """Show Prefect and MLflow on this machine (loopback only) until Ctrl-C."""

    def serve() -> None:
        from tasks.runs.servers import serve_pages

        serve_pages(artifacts.absolute(), prefect_port=prefect_port, mlflow_port=mlflow_port)

    raise typer.Exit(exit_code_of(serve))
