"""``gridcast inspect``: what files of an unknown layout seem to be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.command_line.options import Covariate, Settings
from flows.command_line.starting import exit_code_of, with_covariates

app = typer.Typer()


@app.command(
    epilog="Examples:  gridcast inspect load.csv  ·  "
    "gridcast inspect exports/*.xlsx --out mine.yaml  ·  "
    "gridcast inspect load.csv --set ingestion.timezone=Europe/Vienna"
)
def inspect(
    files: Annotated[list[Path], typer.Argument(help="Files that lie alike, or their folder.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The layout file to write. None: FILE.layout.yaml in this folder."),
    ] = None,
    settings: Settings = None,
    covariate: Covariate = None,
) -> None:
    """Look at files of any kind and propose how to read them: a layout, evidence, a command."""

    def look() -> None:
        from tasks.show.show_inspection import inspect_files

        inspect_files(files, out, with_covariates(settings, covariate))

    raise typer.Exit(exit_code_of(look))
