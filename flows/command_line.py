"""``gridcast``, the command: starts flows on this machine, and shows what came of them."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import snapshot_commands
from gridcast.errors import EXIT_OK, EXIT_PARTIAL, GridcastError, PartialFailureError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridcast.config import ArchivesConfig

app = typer.Typer(
    name="gridcast",
    help="Hourly electricity-load forecasting: regional CSVs in, a compared forecaster out.",
    epilog="Exit status: 0 all done, 1 part of the work failed, 2 wrong usage or configuration, "
    "75 another run works on the same artifacts.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(snapshot_commands.app, name="snapshots")

fetch_app = typer.Typer(
    help="Put regional CSVs into a folder. These commands alone reach out to the network.",
    no_args_is_help=True,
)
app.add_typer(fetch_app, name="fetch")

Data = Annotated[
    Path | None,
    typer.Option(help="Folder (or zip, tar) of <REGION>_hourly.csv files. None: data/, else "
                 "a synthetic set."),
]  # fmt: skip
Artifacts = Annotated[Path, typer.Option(help="Folder for everything that runs produce.")]
Profile = Annotated[
    str, typer.Option(help="Name in configs/ (base, gpu, seed, baselines) or YAML file.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one key; may stand several times."),
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Do everything again, also what is unchanged.")
]
To = Annotated[Path | None, typer.Option(help="Folder to make. None: data/ and the source's name.")]
Yes = Annotated[bool, typer.Option("--yes", help="Train, however long it is estimated to take.")]
Planned = Annotated[
    bool, typer.Option("--plan", help="Say what it will need (windows, memory, time), and end.")
]
AsJson = Annotated[bool, typer.Option("--json", help="With --plan: for machines.")]
DEFAULT_ARTIFACTS = Path("artifacts")
DEFAULT_LIVE = Path("data/eia")
DEFAULT_SYNTHETIC = Path("data/synthetic")
NO_QUESTION = "training.confirm_above_hours=null"


@app.command(
    epilog="Examples:  gridcast run  ·  gridcast run --data data/pjm  ·  "
    "gridcast run --profile baselines  ·  "
    "gridcast run --set training.passes=10 --set model.cells='[lstm]'"
)
def run(
    data: Data = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    fresh: Fresh = False,
    yes: Yes = False,
    plan: Planned = False,
    as_json: AsJson = False,
) -> None:
    """The main job: ingest, train GRU and LSTM, evaluate, log to MLflow, show the comparison."""
    if plan:
        raise typer.Exit(_plan(data, artifacts, profile, settings, of_run=True, as_json=as_json))
    _start("run_pipeline", data, artifacts, profile, _with_consent(settings, yes=yes), fresh=fresh)


@app.command(epilog="Examples:  gridcast ingest --data data/pjm  ·  gridcast ingest --fresh")
def ingest(
    data: Data = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    fresh: Fresh = False,
) -> None:
    """Check the CSVs and publish them as Parquet."""
    _start("prepare_data", data, artifacts, profile, settings, fresh=fresh)


@app.command(
    epilog="Examples:  gridcast train  ·  gridcast train --data data/pjm "
    "--set training.seeds='[0, 1, 2]'"
)
def train(
    data: Data = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    fresh: Fresh = False,
    yes: Yes = False,
    plan: Planned = False,
    as_json: AsJson = False,
) -> None:
    """Train, evaluate and log the models on what was ingested (none given: what was last)."""
    if plan:
        raise typer.Exit(_plan(data, artifacts, profile, settings, of_run=False, as_json=as_json))
    _start("train_models", data, artifacts, profile, _with_consent(settings, yes=yes), fresh=fresh)


@app.command(
    epilog="Examples:  gridcast tune --data data/mine  ·  gridcast tune --hours 8 --trials 200  ·  "
    "gridcast tune --set tuning.space.model.hidden_size='[32, 64]' "
    "--set tuning.space.training.learning_rate='{low: 1.0e-3, high: 1.0e-2, log: true}'  ·  "
    "gridcast run --profile artifacts/tuning/STUDY/best.yaml"
)
def tune(
    data: Data = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
    *,
    trials: Annotated[
        int | None, typer.Option(help="Trials of the study in all, those of earlier runs counted.")
    ] = None,
    hours: Annotated[float | None, typer.Option(help="No trial begins after this.")] = None,
) -> None:
    """Search for better settings on the validation part (tuning.space); leaves a profile.

    Ctrl-C keeps what is finished, and the same command goes on with it.
    """
    budget = {"trials": trials, "hours": hours}
    given = [f"tuning.{key}={value}" for key, value in budget.items() if value is not None]
    _start("tune_models", data, artifacts, profile, [*(settings or []), *given], fresh=False)


@app.command(epilog="Examples:  gridcast synthesize data/synthetic  ·  "
             "gridcast synthesize /tmp/load --set synthetic.num_hours=8760")  # fmt: skip
def synthesize(
    folder: Annotated[Path, typer.Argument(help="Folder to write the CSVs to.")],
    profile: Profile = "base",
    settings: Settings = None,
) -> None:
    """Write a synthetic, PJM-like set of regional CSVs (12, or as synthetic.num_regions says)."""
    from gridcast.config import Config

    def write() -> None:
        from tasks.regional_csvs import write_synthetic

        config = Config.load(profile, overrides=tuple(settings or ())).synthetic
        write_synthetic(folder, config)
        typer.echo(f"Wrote {config.num_regions} synthetic regions to {folder}")

    raise typer.Exit(_exit_code_of(write))


@fetch_app.command(
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
        from tasks.archives import unpack_archive

        limits = _archive_limits(profile, settings)
        folder = to or Path("data") / path.name.split(".")[0]
        _tell_unpacked(unpack_archive(path, folder, limits=limits).regional, folder)

    raise typer.Exit(_exit_code_of(unpack))


@fetch_app.command(
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
        from tasks.fetch_kaggle import fetch_kaggle

        limits = _archive_limits(profile, settings)
        folder = to or Path("data") / "pjm"
        _tell_unpacked(fetch_kaggle(dataset, folder, limits=limits).regional, folder)

    raise typer.Exit(_exit_code_of(download))


@fetch_app.command(
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
        from tasks.fetch_plan import plan_fetch
        from tasks.servers import start_embedded_prefect

        Config.load(profile, overrides=tuple(settings or ()))
        plan_fetch(str(to), since=since, until=until, regions=region)
        _prepare_surroundings(artifacts)
        start_embedded_prefect()
        marker = _load_flow("fetch_data")(
            folder=str(to), since=since, until=until, regions=region, profile=profile,
            overrides=settings,
        )  # fmt: skip
        typer.echo(f"What came: {marker}\nUse it: gridcast run --data {to}")

    raise typer.Exit(_exit_code_of(fetch))


@fetch_app.command("synthetic", epilog="Examples:  gridcast fetch synthetic --to data/synthetic")
def fetch_synthetic(
    to: Annotated[Path, typer.Option(help="Folder of the CSVs.")] = DEFAULT_SYNTHETIC,
    profile: Profile = "base",
    settings: Settings = None,
) -> None:
    """The same as `gridcast synthesize`: made here, no statement about a real load."""
    synthesize(to, profile, settings)


@app.command(epilog="Examples:  gridcast verify latest  ·  gridcast verify gru-seed0  ·  "
             "gridcast verify models:/load/3 --artifacts /srv/gridcast")  # fmt: skip
def verify(
    target: Annotated[
        str,
        typer.Argument(help="Run id, latest, job of the last run, MLflow run id or models:/..."),
    ] = "latest",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Recompute the chain from the CSVs to a model, and name the first link that is broken."""

    def check() -> None:
        from tasks.show import show_verification

        show_verification(target, artifacts)

    raise typer.Exit(_exit_code_of(check))


@app.command(epilog="Examples:  gridcast check-leaks  ·  gridcast check-leaks --data data/pjm  ·  "
             "gridcast check-leaks --set features.lags_hours='[1, 24]'")  # fmt: skip
def check_leaks(
    data: Data = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    profile: Profile = "base",
    settings: Settings = None,
) -> None:
    """Replace the test part, then the future, and show that nothing that came before moves."""
    _start("check_leaks", data, artifacts, profile, settings, fresh=False)


@app.command(epilog="Examples:  gridcast ui  ·  gridcast ui --artifacts /srv/gridcast "
             "--prefect-port 4201 --mlflow-port 5001")  # fmt: skip
def ui(
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's pages.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's pages.")] = 5000,
) -> None:
    """Show Prefect and MLflow on this machine (loopback only) until Ctrl-C."""

    def serve() -> None:
        from tasks.servers import serve_pages

        serve_pages(artifacts.absolute(), prefect_port=prefect_port, mlflow_port=mlflow_port)

    raise typer.Exit(_exit_code_of(serve))


def main() -> None:
    """Entry point of the command ``gridcast``."""
    app()


def _with_consent(settings: list[str] | None, *, yes: bool) -> list[str]:
    return [*(settings or []), *([NO_QUESTION] if yes else [])]


def _start(
    flow: str,
    data: Path | None,
    artifacts: Path,
    profile: str,
    settings: list[str] | None,
    *,
    fresh: bool,
) -> None:
    """Check what can be checked at once, then run the flow here and show what came of it."""

    def run_flow() -> None:
        from tasks.servers import start_embedded_prefect

        _check_early(artifacts, profile, settings)
        _prepare_surroundings(artifacts)
        _check_data(data, profile, settings)
        start_embedded_prefect()
        try:
            _load_flow(flow)(
                data=None if data is None else str(data),
                artifacts=str(artifacts),
                profile=profile,
                overrides=settings,
                fresh=fresh,
            )
        except Exception as error:
            _end_if_interrupted(error)
            raise

    latest = artifacts / "runs" / "latest"
    before = latest.resolve()
    code = _exit_code_of(run_flow)
    if latest.exists() and latest.resolve() != before:
        from tasks.show import show_summary

        show_summary(latest.resolve() / "summary.json")
    raise typer.Exit(code)


def _end_if_interrupted(error: Exception) -> None:
    """Exit as an interruption asks for, where the error came up on the way out."""
    from tasks.runs import interruption_of

    interruption = interruption_of(error)
    if isinstance(interruption, SystemExit):
        raise interruption
    if interruption is not None:
        number = getattr(interruption, "signal", signal.SIGINT)  # Prefect's TerminationSignal
        raise SystemExit(128 + number) from error


def _plan(
    data: Path | None,
    artifacts: Path,
    profile: str,
    settings: list[str] | None,
    *,
    of_run: bool,
    as_json: bool,
) -> int:
    """Print what a run or a training will need; its exit status. Nothing is published."""

    def plan() -> None:
        from tasks.plan import plan_run, plan_training, show_plan

        overrides = tuple(settings or ())
        _check_early(artifacts, profile, settings)
        if of_run:
            from gridcast.config import Config
            from tasks.regional_csvs import sources_of

            limits = Config.load(profile, overrides=overrides)
            sources = sources_of(data, artifacts.absolute(), limits)
            planned = plan_run(sources, profile=profile, overrides=overrides)
        else:
            folder = None if data is None else data.resolve()
            planned = plan_training(
                artifacts.absolute(), folder, profile=profile, overrides=overrides
            )
        if as_json:
            typer.echo(planned.model_dump_json(indent=2))
        else:
            show_plan(planned)

    return _exit_code_of(plan)


def _exit_code_of(work: Callable[[], Any]) -> int:
    """Do it; the exit status that its error asks for. What nobody foresaw keeps its traceback."""
    try:
        work()
    except PartialFailureError as error:
        typer.echo(str(error), err=True)
        return EXIT_PARTIAL
    except GridcastError as error:
        typer.echo(str(error), err=True)
        return error.exit_code
    return EXIT_OK


def _check_early(artifacts: Path, profile: str, settings: list[str] | None) -> None:
    """What is wrong with the command itself, told before Prefect takes its seconds to start."""
    from gridcast.config import Config
    from tasks.runs import held_lock
    from tasks.storage import check_folder

    Config.load(profile, overrides=tuple(settings or ()))
    check_folder(artifacts.absolute())
    with held_lock(artifacts):
        pass  # the run takes it again, after Prefect's seconds


def _check_data(data: Path | None, profile: str, settings: list[str] | None) -> None:
    if data is not None:
        from gridcast.config import Config
        from tasks.regional_csvs import check_data

        check_data(data, Config.load(profile, overrides=tuple(settings or ())).archives)


def _archive_limits(profile: str, settings: list[str] | None) -> ArchivesConfig:
    from gridcast.config import Config

    return Config.load(profile, overrides=tuple(settings or ())).archives


def _tell_unpacked(regions: list[str], folder: Path) -> None:
    typer.echo(f"Took {len(regions)} regions: {', '.join(regions)}")
    typer.echo(f"Use them: gridcast run --data {folder}")


def _prepare_surroundings(artifacts: Path) -> None:
    """Prefect's database in the artifacts folder unless a server is named, and calm log lines.

    Prefect reads its settings once, when it is imported: nothing may import it before this.
    """
    from tasks.servers import local_settings
    from tasks.show import show_log

    for name, value in local_settings(artifacts.absolute()).items():
        os.environ.setdefault(name, value)
    show_log(logging.INFO)


def _load_flow(name: str) -> Callable[..., Any]:
    from importlib import import_module

    flow: Callable[..., Any] = getattr(import_module(f"flows.{name}"), name)
    return flow


if __name__ == "__main__":
    main()
