"""``gridcast``, the command: all groups of commands, put together."""

from __future__ import annotations

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
)

app = typer.Typer(
    name="gridcast",
    help="Hourly electricity-load forecasting: regional CSVs in, a compared forecaster out.",
    epilog="Exit status: 0 all done, 1 part of the work failed, 2 wrong usage or configuration, "
    "75 others are at work where it must be alone.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(pipeline_commands.app)
app.add_typer(inspect_commands.app)
app.add_typer(forecast_commands.app)
app.add_typer(operation_commands.app)
app.add_typer(fetch_commands.synthesize_app)
app.add_typer(audit_commands.app)
app.add_typer(server_commands.app)
app.add_typer(snapshot_commands.app, name="snapshots")
app.add_typer(fetch_commands.app, name="fetch")


def main() -> None:
    """Entry point of the command ``gridcast``."""
    app()


if __name__ == "__main__":
    main()
