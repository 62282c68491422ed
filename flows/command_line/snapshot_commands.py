"""``gridcast snapshots``: look at what was published, compare it, go back to it, delete it."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.command_line.options import DEFAULT_ARTIFACTS, Artifacts, Json, Name, OptionalName
from flows.command_line.starting import exit_code_of

app = typer.Typer(
    help="Snapshots: all regions as they were published together, never changed again.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command("list", epilog="Examples:  gridcast snapshots list  ·  gridcast snapshots list --json")
def list_all(artifacts: Artifacts = DEFAULT_ARTIFACTS, *, as_json: Json = False) -> None:
    """List all snapshots, the oldest first, and say which is current and who used it."""

    def work() -> None:
        from tasks.show.show_snapshots import show_list

        show_list(artifacts.absolute(), as_json=as_json)

    raise typer.Exit(exit_code_of(work))


@app.command(
    epilog="Examples:  gridcast snapshots show 3f2a  ·  gridcast snapshots show 3f2a --json"
)
def show(name: Name, artifacts: Artifacts = DEFAULT_ARTIFACTS, *, as_json: Json = False) -> None:
    """Show one snapshot: where it came from, its regions, their hashes."""

    def work() -> None:
        from tasks.show.show_snapshots import show_one

        show_one(artifacts.absolute(), name, as_json=as_json)

    raise typer.Exit(exit_code_of(work))


@app.command(
    epilog="Examples:  gridcast snapshots compare  ·  gridcast snapshots compare 3f2a 91bc"
)
def compare(
    old: OptionalName = None,
    new: OptionalName = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    *,
    as_json: Json = False,
) -> None:
    """Tell what changed between two snapshots (none named: the last two published)."""

    def work() -> None:
        from tasks.show.show_snapshots import show_changes

        show_changes(artifacts.absolute(), old, new, as_json=as_json)

    raise typer.Exit(exit_code_of(work))


@app.command(epilog="Examples:  gridcast snapshots use 3f2a  ·  gridcast train after it")
def use(name: Name, artifacts: Artifacts = DEFAULT_ARTIFACTS) -> None:
    """Go back: let `gridcast train` read this snapshot, until the next ingestion."""

    def work() -> None:
        from tasks.show.show_snapshots import use_and_show

        use_and_show(artifacts.absolute(), name)

    raise typer.Exit(exit_code_of(work))


@app.command(
    epilog="Examples:  gridcast snapshots prune --keep 30 --dry-run  ·  "
    "gridcast snapshots prune --keep 5 --also-used"
)
def prune(
    keep: Annotated[int, typer.Option(min=0, help="Newest of each data set that stay.")] = 10,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    *,
    also_used: Annotated[
        bool, typer.Option("--also-used", help="Also those that a finished run used.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Delete old snapshots; never the current one, nor one that a finished run used."""

    def work() -> None:
        from tasks.show.show_snapshots import prune_and_show

        prune_and_show(
            artifacts.absolute(), keep=keep, also_used=also_used, is_dry_run=dry_run,
            as_json=as_json,
        )  # fmt: skip

    raise typer.Exit(exit_code_of(work))
