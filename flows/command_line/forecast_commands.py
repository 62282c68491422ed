"""``gridcast forecast``: the hours to come, on the screen and in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.command_line.options import DEFAULT_ARTIFACTS, Artifacts, Profile, Settings
from flows.command_line.starting import exit_code_of

app = typer.Typer()


@app.command(
    epilog="Examples:  gridcast forecast  ·  gridcast forecast --horizon 24 --out tomorrow.csv  ·  "
    "gridcast forecast --as-of 2018-07-01T09:00-04:00 --region AEP --region DOM --picture aep.svg"
)
def forecast(  # noqa: PLR0913 - options of a command
    data: Annotated[
        Path | None, typer.Option(help="Folder that was ingested. None: the one ingested last.")
    ] = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    as_of: Annotated[
        str | None, typer.Option(help="ISO time, UTC if it names no zone. None: where data end.")
    ] = None,
    horizon: Annotated[
        int | None, typer.Option(help="Hours to forecast (forecasting.horizon).")
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write: .csv or .parquet.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Picture to write: .svg or .png.")] = None,
    run: Annotated[str | None, typer.Option(help="Run whose model. None: the newest.")] = None,
) -> None:
    """Forecast the next hours of every region, with bands, by the recommended model.

    Status 1 tells that a region has a naive forecast, or none, for want of data.
    """

    def work() -> None:
        from tasks.show.show_forecast import ForecastRequest, forecast_and_show

        overrides = [*(settings or []), *([f"forecasting.horizon={horizon}"] if horizon else [])]
        forecast_and_show(ForecastRequest(
            artifacts=artifacts.absolute(), profile=profile, overrides=tuple(overrides),
            as_of=as_of, folder=None if data is None else data.resolve(),
            regions=tuple(region or ()),
            run_id=run, out=out, picture=picture,
        ))  # fmt: skip

    raise typer.Exit(exit_code_of(work))
