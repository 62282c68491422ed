"""``gridcast``, the command: all groups of commands, put together."""

from __future__ import annotations

import signal
from importlib.metadata import version
from typing import Annotated

import typer

from flows.command_line import (
    audit_commands,
    fetch_commands,
    forecast_commands,
    inspect_commands,
    operation_commands,
    pipeline_commands,
    server_commands,
    snapshot_commands,
    store_commands,
)

_INTERRUPTED = {128 + signal.SIGINT: "Ctrl-C", 128 + signal.SIGTERM: "SIGTERM"}

app = typer.Typer(
    name="gridcast",
    help="Hourly electricity load by region in, a compared forecaster and its forecasts out.",
    epilog="Exit status: 0 all done, 1 part of the work failed, 2 wrong usage or configuration, "
    "75 others are at work where it must be alone, 130 interrupted (Ctrl-C), 143 told to end.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:  # noqa: FBT001 - typer's
    if asked:
        typer.echo(f"gridcast {version('gridcast')}")
        raise typer.Exit


@app.callback()
def options_of_all(
    *,
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and end."
        ),
    ] = False,
) -> None:
    """Hourly electricity load by region in, a compared forecaster and its forecasts out."""


app.add_typer(pipeline_commands.app)
app.add_typer(inspect_commands.app)
app.add_typer(forecast_commands.app)
app.add_typer(operation_commands.app)
app.add_typer(fetch_commands.synthesize_app)
app.add_typer(audit_commands.app)
app.add_typer(server_commands.app)
app.add_typer(snapshot_commands.app, name="snapshots")
app.add_typer(store_commands.app, name="store")
app.add_typer(fetch_commands.app, name="fetch")


def main() -> None:
    """Entry point of the command ``gridcast``."""
    try:
        app()
    except SystemExit as end:
        if by := _INTERRUPTED.get(end.code if isinstance(end.code, int) else 0):
            what_now = "what was finished is kept, and the same command goes on from there"
            typer.echo(f"Interrupted ({by}); {what_now}", err=True)
        raise


if __name__ == "__main__":
    main()
