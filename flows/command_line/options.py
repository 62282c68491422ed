"""The options that several commands share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path | None,
    typer.Option(help="Folder (or zip, tar) of <REGION>_hourly.csv files, or what --layout reads. "
                 "None: data/, else a synthetic set."),
]  # fmt: skip
Artifacts = Annotated[Path, typer.Option(help="Folder for everything that runs produce.")]
Profile = Annotated[
    str, typer.Option(help="Name in configs/ (base, gpu, seed, baselines) or YAML file.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one key; may stand several times."),
]
Layout = Annotated[
    str | None,
    typer.Option(
        help="How the files lie: a name in configs/layouts/ (entsoe, ercot, ...) or a YAML file as "
        "`gridcast inspect` writes it. None: <REGION>_hourly.csv."
    ),
]
Covariate = Annotated[
    list[str] | None,
    typer.Option(
        "--covariate",
        metavar="NAME[=COLUMN]",
        help="A column beside the loads that has a say in them, as temperature=Temp; may stand "
        "several times. docs/covariates.md has weather files and the rest.",
    ),
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
Name = Annotated[str, typer.Argument(help="Id of a snapshot, or its first digits.")]
OptionalName = Annotated[str | None, typer.Argument(help="Id of a snapshot, or its first digits.")]
Json = Annotated[bool, typer.Option("--json", help="JSON for machines instead of tables.")]
