"""``gridcast promote``, ``rollback``, ``champion``, ``backfill``, ``monitor``, ``notify``, ..."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.command_line.options import (
    DEFAULT_ARTIFACTS,
    Artifacts,
    Fresh,
    Json,
    Profile,
    Settings,
)
from flows.command_line.starting import (
    NO_QUESTION,
    Request,
    exit_code_of,
    exit_code_of_shared,
    start_flow,
)

app = typer.Typer()
Ingested = Annotated[
    Path | None, typer.Option(help="Folder that was ingested. None: the one ingested last.")
]
AsOf = Annotated[
    str | None,
    typer.Option(help="ISO time from which it holds, UTC if it names no zone. None: data's end."),
]


@app.command(epilog="Examples:  gridcast promote  ·  gridcast promote --run 20180801T000000Z-1a2b  "
             "·  gridcast promote --because 'the first one'")  # fmt: skip
def promote(
    data: Ingested = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    as_of: AsOf = None,
    run: Annotated[
        str | None, typer.Option(help="Run whose model is the challenger. None: the newest.")
    ] = None,
    because: Annotated[
        str | None, typer.Option(help="Put it in charge for this reason, whatever figures say.")
    ] = None,
) -> None:
    """Put a run's model in charge if it beats the champion and the naive forecasts.

    By a Diebold-Mariano test on its validation part (operation.promotion), and in no region worse
    by more than the margin. Status 75 tells that somebody else promoted meanwhile.
    """

    def work() -> None:
        from tasks.show.show_champion import PromotionRequest, promote_and_show

        promote_and_show(PromotionRequest(
            artifacts=artifacts.absolute(), profile=profile, overrides=tuple(settings or ()),
            as_of=as_of, folder=None if data is None else data.resolve(), run_id=run,
            because=because,
        ))  # fmt: skip

    raise typer.Exit(exit_code_of_shared(work, artifacts, profile, settings))


@app.command(epilog="Examples:  gridcast rollback  ·  gridcast rollback --because 'bands too wide'")
def rollback(
    data: Ingested = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    as_of: AsOf = None,
    because: Annotated[str | None, typer.Option(help="The reason, for the log.")] = None,
) -> None:
    """Put the model back in charge that the champion took over from; the next forecast uses it."""

    def work() -> None:
        from tasks.show.show_champion import PromotionRequest, roll_back_and_show

        roll_back_and_show(PromotionRequest(
            artifacts=artifacts.absolute(), profile=profile, overrides=tuple(settings or ()),
            as_of=as_of, folder=None if data is None else data.resolve(), because=because,
        ))  # fmt: skip

    raise typer.Exit(exit_code_of_shared(work, artifacts, profile, settings))


@app.command(epilog="Examples:  gridcast champion  ·  gridcast champion --at 2018-07-01T09:00  ·  "
             "gridcast champion --json  ·  gridcast champion --follow")  # fmt: skip
def champion(
    data: Ingested = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    at: Annotated[
        str | None, typer.Option(help="ISO time, UTC if it names no zone. None: data's end.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Let MLflow's alias follow the log now.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show who is in charge, or was at a time, and all promotions with their reasons."""

    def work() -> None:
        from tasks.show.show_champion import PromotionRequest, show_champion

        asked = PromotionRequest(
            artifacts=artifacts.absolute(), profile=profile, overrides=tuple(settings or ()),
            as_of=at, folder=None if data is None else data.resolve(), as_json=as_json,
        )  # fmt: skip
        show_champion(asked, is_followed=follow)

    raise typer.Exit(exit_code_of_shared(work, artifacts, profile, settings))


@app.command(
    epilog="Examples:  gridcast backfill --missing  ·  "
    "gridcast backfill --from 2017-08-01 --to 2018-08-01 --set forecasting.horizon=24"
)
def backfill(
    data: Ingested = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    first: Annotated[
        str | None, typer.Option("--from", help="First issue time (ISO, UTC). None: the oldest.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="After the last one. None: where data end is one.")
    ] = None,
    missing: Annotated[
        bool, typer.Option("--missing/--all", help="Those that lack, or all of them anew.")
    ] = True,
) -> None:
    """Issue the forecasts that are not in the store, in order, from what was known at each time.

    By whoever was in charge then. Rows that are there stay, unless --all asks for them anew.
    """

    def work() -> None:
        from tasks.show.show_backfill import BackfillRequest, backfill_and_show

        backfill_and_show(BackfillRequest(
            artifacts=artifacts.absolute(), profile=profile, overrides=tuple(settings or ()),
            first=first, end=end, folder=None if data is None else data.resolve(),
            is_again=not missing,
        ))  # fmt: skip

    raise typer.Exit(exit_code_of_shared(work, artifacts, profile, settings))


@app.command(epilog="Examples:  gridcast monitor  ·  gridcast monitor --as-of 2018-07-01T09:00  ·  "
             "gridcast monitor --set operation.monitoring.window_days=14")  # fmt: skip
def monitor(
    data: Ingested = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    as_of: Annotated[
        str | None, typer.Option(help="ISO time at which is looked. None: where data end.")
    ] = None,
) -> None:
    """Hold the forecasts of the last days against what came and what was promised; raise alarms."""

    def work() -> None:
        from tasks.show.show_champion import PromotionRequest
        from tasks.show.show_monitoring import monitor_and_show

        monitor_and_show(PromotionRequest(
            artifacts=artifacts.absolute(), profile=profile, overrides=tuple(settings or ()),
            as_of=as_of, folder=None if data is None else data.resolve(),
        ))  # fmt: skip

    raise typer.Exit(exit_code_of_shared(work, artifacts, profile, settings))


@app.command(epilog="Examples:  gridcast notify https://hooks.example.org/T0/B0  ·  "
             "gridcast notify http://127.0.0.1:8080/alarms --minutes 75")  # fmt: skip
def notify(
    url: Annotated[str, typer.Argument(help="Gets a POST with JSON for each.")],
    minutes: Annotated[
        float, typer.Option(help="Without a forecast after the last one, until it is told.", min=1)
    ] = 65.0,
) -> None:
    """Have Prefect's server call an address at alarms, promotions, and when no forecast comes.

    PREFECT_API_URL names the server. Again: with the new address and time.
    """

    def work() -> None:
        from datetime import timedelta

        from tasks.promote.notifications import notify

        for name in notify(url, within=timedelta(minutes=minutes)):
            typer.echo(f"Automation: {name}")

    raise typer.Exit(exit_code_of(work))


@app.command(
    epilog="Examples:  gridcast replay --from 2017-08-01 --to 2018-08-01  ·  gridcast replay "
    "--from 2017-08-01 --to 2018-08-01 --plant 'AEP level*1.1 from 2017-12-01'  ·  gridcast replay "
    "--from 2017-08-01 --to 2017-10-01 --region AEP --compare never --compare weekly"
)
def replay(  # noqa: PLR0913 - options of a command
    first: Annotated[str, typer.Option("--from", help="ISO day (UTC), the first.")],
    end: Annotated[str, typer.Option("--to", help="ISO day (UTC) after the last.")],
    data: Ingested = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    plant: Annotated[
        list[str] | None,
        typer.Option(help="A fault: REGION level*1.1|dead|stuck|doubled from T [to T]."),
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option(help="Only this one; may stand several times.")
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(help="Beside it, plain retraining: never, yearly, monthly or weekly."),
    ] = None,
    fresh: Fresh = False,
) -> None:
    """Live through a span: hourly forecasts, daily monitoring, trainings and promotions when due.

    Nothing is known before its time. Ends in a report; the same command goes on where it stopped.
    """
    more = {
        "first": first, "end": end, "plants": plant or [], "regions": region or [],
        "compare": compare or [],
    }  # fmt: skip
    start_flow(
        "replay_operation",
        Request(data, artifacts, profile, [*(settings or []), NO_QUESTION], fresh, more=more),
    )
