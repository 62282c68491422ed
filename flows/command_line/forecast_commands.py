"""``gridcast forecast`` and ``gridcast backtest``: the hours to come, and a past span's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from flows.command_line.options import DEFAULT_ARTIFACTS, Artifacts, Profile, Settings
from flows.command_line.starting import (
    NO_QUESTION,
    Request,
    exit_code_of_shared,
    start_flow,
)

app = typer.Typer()
Ingested = Annotated[
    Path | None, typer.Option(help="Folder that was ingested. None: the one ingested last.")
]
Horizon = Annotated[int | None, typer.Option(help="Hours to forecast (forecasting.horizon).")]
ModelOfRun = Annotated[str | None, typer.Option(help="Run whose model. None: the newest.")]


@app.command(
    epilog="Examples:  gridcast forecast  ·  gridcast forecast --horizon 24 --out tomorrow.csv  ·  "
    "gridcast forecast --as-of 2018-07-01T09:00-04:00 --region AEP --region DOM --picture aep.svg"
)
def forecast(  # noqa: PLR0913 - options of a command
    data: Ingested = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    as_of: Annotated[
        str | None, typer.Option(help="ISO time, UTC if it names no zone. None: where data end.")
    ] = None,
    horizon: Horizon = None,
    region: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write: .csv or .parquet.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Picture to write: .svg or .png.")] = None,
    run: ModelOfRun = None,
) -> None:
    """Forecast the next hours of every region, with bands, by the recommended model.

    Status 1 tells that a region has a naive forecast, or none, for want of data.
    """

    def work() -> None:
        from tasks.show.show_forecast import ForecastRequest, forecast_and_show

        forecast_and_show(ForecastRequest(
            artifacts=artifacts.absolute(), profile=profile,
            overrides=_with_horizon(settings, horizon),
            as_of=as_of, folder=None if data is None else data.resolve(),
            regions=tuple(region or ()),
            run_id=run, out=out, picture=picture,
        ))  # fmt: skip

    raise typer.Exit(exit_code_of_shared(work, artifacts, profile, settings))


@app.command(
    epilog="Examples:  gridcast backtest  ·  gridcast backtest --from 2017-08-01 --to 2018-08-01 "
    "--horizon 24  ·  gridcast backtest --set forecasting.bands.rate=0"
)
def backtest(  # noqa: PLR0913 - options of a command
    data: Ingested = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    first: Annotated[
        str | None, typer.Option("--from", help="ISO day (UTC). None: four weeks before the end.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="ISO day after the last. None: where data end.")
    ] = None,
    horizon: Horizon = None,
    run: ModelOfRun = None,
    refit_every: Annotated[
        str | None,
        typer.Option(help="Train anew so often on what was known, such as 28d.", callback=_days),
    ] = None,
) -> None:
    """Live through a span: forecast from every hour what was to come, and score it by lead.

    With the model that is recommended, each forecast from what was known by then, with the bands of
    its day; beside it the naive forecasts. Tables, forecasts and a picture are kept. With
    --refit-every by models that are trained as the span goes on, beside the first of them.
    """
    if refit_every is not None:
        _backtest_with_refits(
            Request(data, artifacts, profile, [*_with_horizon(settings, horizon), NO_QUESTION]),
            first=first, end=end, refit_days=int(refit_every),
        )  # fmt: skip

    def work() -> None:
        from tasks.show.show_backtest import BacktestRequest, backtest_and_show

        backtest_and_show(BacktestRequest(
            artifacts=artifacts.absolute(), profile=profile,
            overrides=_with_horizon(settings, horizon),
            first=first, end=end, folder=None if data is None else data.resolve(), run_id=run,
        ))  # fmt: skip

    raise typer.Exit(exit_code_of_shared(work, artifacts, profile, settings))


def _days(text: str | None) -> str | None:
    """A number of days, with or without its unit."""
    if text is None:
        return None
    number = text.removesuffix("d")
    if not (number.isascii() and number.isdigit() and int(number)):
        message = f"found {text!r}, expected days, such as 28d"
        raise typer.BadParameter(message)
    return number


def _backtest_with_refits(request: Request, **more: str | int | None) -> None:
    def show(folder: str) -> None:
        from tasks.show.show_backtest import show_kept

        show_kept(folder)

    start_flow("backtest_forecasts", replace(request, more=more), show=show)


def _with_horizon(settings: list[str] | None, horizon: int | None) -> tuple[str, ...]:
    return (*(settings or []), *([f"forecasting.horizon={horizon}"] if horizon else []))
