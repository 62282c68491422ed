"""``gridcast store``: what machines share by `run.store`, taken and given by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.command_line.options import DEFAULT_ARTIFACTS, Artifacts, Json, Profile, Settings
from flows.command_line.starting import exit_code_of

app = typer.Typer(
    help="The store that machines share (run.store): flows use it by themselves, this is by hand.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command(epilog="Examples:  gridcast store push --set run.store=file:///mnt/share/gridcast  ·  "
             "gridcast store push --profile team.yaml")  # fmt: skip
def push(
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
) -> None:
    """Give the store what it lacks of this folder: data sets, runs with their models, forecasts.

    Status 75 tells that another machine published a data set or a promotion meanwhile.
    """

    def work() -> None:
        from tasks.show.show_store import push_and_show

        push_and_show(artifacts.absolute(), profile, tuple(settings or ()))

    raise typer.Exit(exit_code_of(work))


@app.command(epilog="Examples:  gridcast store pull --set run.store=s3://bucket/gridcast  ·  "
             "gridcast store pull --all --artifacts /srv/copy")  # fmt: skip
def pull(
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Old snapshots, runs, jobs and models too.")
    ] = False,
) -> None:
    """Take what other machines published and kept last; each file is held against its hash."""

    def work() -> None:
        from tasks.show.show_store import pull_and_show

        pull_and_show(
            artifacts.absolute(), profile, tuple(settings or ()), everything=everything
        )  # fmt: skip

    raise typer.Exit(exit_code_of(work))


@app.command(epilog="Examples:  gridcast store status  ·  gridcast store status --json")
def status(
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    as_json: Json = False,
) -> None:
    """Show what the store has, and what is only here or otherwise here."""

    def work() -> None:
        from tasks.show.show_store import show_status

        show_status(artifacts.absolute(), profile, tuple(settings or ()), as_json=as_json)

    raise typer.Exit(exit_code_of(work))
