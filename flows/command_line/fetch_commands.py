"""``gridcast fetch``: puts regional CSVs into a folder; ``synthesize`` makes some up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.command_line.options import (
    DEFAULT_ARTIFACTS,
    DEFAULT_LIVE,
    DEFAULT_SYNTHETIC,
    Artifacts,
    Profile,
    Settings,
    To,
)
from flows.command_line.starting import (
    exit_code_of,
    load_flow,
    prepare_surroundings,
)

if TYPE_CHECKING:
    from gridcast.config import ArchivesConfig

app = typer.Typer(
    help="Put regional CSVs into a folder. These commands alone reach out to the network.",
    no_args_is_help=True,
)
synthesize_app = typer.Typer()


@app.command(
    "archive", epilog="Examples:  gridcast fetch archive load.zip  ·  "
    "gridcast fetch archive load.tar.gz --to data/load"
)  # fmt: skip
def fetch_archive(
    path: Annotated[Path, typer.Argument(help="A zip, or a tar (.gz, .xz, .bz2).")],
    to: To = None,
    profile: Profile = "base",
    settings: Settings = None,
) -> None:
    """Check an archive, then unpack its regional CSVs: all or nothing, within limits."""

    def unpack() -> None:
        from tasks.fetch.unpacking import unpack_archive

        limits = _archive_limits(profile, settings)
        folder = to or Path("data") / path.name.split(".")[0]
        _show_unpacked(unpack_archive(path, folder, limits=limits).regional, folder)

    raise typer.Exit(exit_code_of(unpack))


@app.command(
    "kaggle", epilog="Examples:  gridcast fetch kaggle  ·  "
    "gridcast fetch kaggle --dataset robikscube/hourly-energy-consumption --to data/pjm"
)  # fmt: skip
def fetch_kaggle(
    dataset: Annotated[
        str, typer.Option(help="Owner and name, as in the page's address.")
    ] = "robikscube/hourly-energy-consumption",
    to: To = None,
    profile: Profile = "base",
    settings: Settings = None,
) -> None:
    """Download a data set from Kaggle and unpack its regional CSVs (none named: PJM, 12 regions).

    Credentials, where Kaggle wants some: KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY.
    """

    def download() -> None:
        from tasks.fetch.kaggle import fetch_kaggle

        limits = _archive_limits(profile, settings)
        folder = to or Path("data") / "pjm"
        _show_unpacked(fetch_kaggle(dataset, folder, limits=limits).regional, folder)

    raise typer.Exit(exit_code_of(download))


@app.command(
    "eia", epilog="Examples:  gridcast fetch eia --since 2026-01-01  ·  gridcast fetch eia  ·  "
    "gridcast fetch eia --region AEP --region DOM --since 2024-01-01 --to data/live"
)  # fmt: skip
def fetch_eia(
    since: Annotated[
        str | None, typer.Option(help="First hour, UTC. Needed on the first fetch only.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Last hour, UTC. None: now.")] = None,
    region: Annotated[
        list[str] | None, typer.Option(help="May stand several times. None: all of PJM.")
    ] = None,
    to: Annotated[Path, typer.Option(help="Folder of the CSVs.")] = DEFAULT_LIVE,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
) -> None:
    """Hourly load of PJM's sub-regions from the EIA, merged with what the folder holds.

    The key: EIA_API_KEY in the environment, or the Prefect Secret block eia-api-key.
    """
    from gridcast.config import Config

    def fetch() -> None:
        from tasks.fetch.eia_plan import plan_fetch
        from tasks.runs.servers import start_embedded_prefect

        Config.load(profile, overrides=tuple(settings or ()))
        plan_fetch(str(to), since=since, until=until, regions=region)
        prepare_surroundings(artifacts)
        start_embedded_prefect(artifacts.absolute())
        marker = load_flow("fetch_data")(
            folder=str(to), since=since, until=until, regions=region, profile=profile,
            overrides=settings,
        )  # fmt: skip
        typer.echo(f"What came: {marker}\nUse it: gridcast run --data {to}")

    raise typer.Exit(exit_code_of(fetch))


@app.command(
    "weather",
    epilog="Examples:  gridcast fetch weather --to data/mine --since 2023-01-01 "
    "--set 'open_meteo.places={VIC: [{latitude: -37.8, longitude: 145.0}]}'  ·  "
    "gridcast fetch weather --to data/mine --since 2026-11-01 --kind live",
)
def fetch_weather(
    to: Annotated[Path, typer.Option(help="Folder of the regional CSVs.")],
    since: Annotated[str, typer.Option(help="First day, UTC.")],
    until: Annotated[str | None, typer.Option(help="Last day, UTC. None: today.")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="archive, issued (forecasts as they were issued), live (the hours to "
                     "come); may stand several times. None: all three."),
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option(help="May stand several times. None: all with places.")
    ] = None,
    profile: Profile = "base",
    settings: Settings = None,
) -> None:  # fmt: skip
    """Weather by coordinates from Open-Meteo, merged into <REGION>_weather.csv (no key needed)."""
    from gridcast.config import Config
    from gridcast.errors import UsageError

    def fetch() -> None:
        from tasks.covariates.fetch_weather import KINDS, fetch_weather

        config = Config.load(profile, overrides=tuple(settings or ()))
        kinds = [each for each in KINDS if kind is None or each in kind]
        if unknown := sorted(set(kind or ()) - set(KINDS)):
            where, expected = "--kind", ", ".join(KINDS)
            raise UsageError(where, found=", ".join(unknown), expected=expected)
        paths = fetch_weather(
            to, config, since=since, until=until, kinds=kinds, regions=region or ()
        )
        for path in paths.values():
            typer.echo(f"Wrote {path}")

    raise typer.Exit(exit_code_of(fetch))


@synthesize_app.command(epilog="Examples:  gridcast synthesize data/synthetic  ·  "
             "gridcast synthesize /tmp/load --set synthetic.num_hours=8760")  # fmt: skip
def synthesize(
    folder: Annotated[Path, typer.Argument(help="Folder to write the CSVs to.")],
    profile: Profile = "base",
    settings: Settings = None,
) -> None:
    """Write a synthetic, PJM-like set of regional CSVs (12, or as synthetic.num_regions says)."""
    from gridcast.config import Config

    def write() -> None:
        from tasks.fetch.regional_csvs import write_synthetic

        config = Config.load(profile, overrides=tuple(settings or ())).synthetic
        write_synthetic(folder, config)
        typer.echo(f"Wrote {config.num_regions} synthetic regions to {folder}")

    raise typer.Exit(exit_code_of(write))


@app.command("synthetic", epilog="Examples:  gridcast fetch synthetic --to data/synthetic")
def fetch_synthetic(
    to: Annotated[Path, typer.Option(help="Folder of the CSVs.")] = DEFAULT_SYNTHETIC,
    profile: Profile = "base",
    settings: Settings = None,
) -> None:
    """The same as `gridcast synthesize`: made here, no statement about a real load."""
    synthesize(to, profile, settings)


def _archive_limits(profile: str, settings: list[str] | None) -> ArchivesConfig:
    from gridcast.config import Config

    return Config.load(profile, overrides=tuple(settings or ())).archives


def _show_unpacked(regions: list[str], folder: Path) -> None:
    typer.echo(f"Took {len(regions)} regions: {', '.join(regions)}")
    typer.echo(f"Use them: gridcast run --data {folder}")
