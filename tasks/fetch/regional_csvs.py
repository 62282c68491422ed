"""The regional CSVs of a folder or an archive, or a synthetic set where there is none.

No task, and nothing of Prefect: the command refuses wrong data before it waits for Prefect.
"""

from __future__ import annotations

import logging
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gridcast.covariates.reading import WEATHER, is_weather
from gridcast.errors import UsageError
from gridcast.readings.archive_members import MARKER, is_regional
from gridcast.readings.parsing import name_in_file, region_of
from gridcast.readings.synthetic import csv_bytes, synthesize, synthetic_regions
from tasks.fetch.laid_out_files import is_wanted, lay_out, list_laid_out
from tasks.fetch.marker import (
    OPERATOR_FOLDER,
    Origin,
    file_names,
    files_of,
    read_origin,
    require_own,
    shown_name,
    why_not_as_made,
    write_origin,
)
from tasks.fetch.records import SourceFile, Sources
from tasks.fetch.unpacking import check_archive, is_archive, unpack_archive
from tasks.runs.import_closure import code_sha256
from tasks.runs.keys import file_sha256, key_of
from tasks.runs.locks import held
from tasks.runs.storage import publishing_folder, write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridcast.config import Config, IngestionConfig, SyntheticConfig
    from gridcast.readings.records import DataKind

DEFAULT_FOLDER = Path("data")
_ADVICE = "try `gridcast inspect`"
_log = logging.getLogger("gridcast.sources")


def sources_of(data: Path | None, artifacts: Path, config: Config) -> Sources:
    """The regional CSVs that ``data`` names; an archive is unpacked, a synthetic set made, once.

    Raises:
        UsageError: the folder is none, has no regional CSV, or one that leads out of the folder;
            the archive is unsafe, too large or broken.
    """
    return _with_weather(_loads_of(data, artifacts, config), config)


def _loads_of(data: Path | None, artifacts: Path, config: Config) -> Sources:
    if data is not None and is_archive(data):
        return _unpacked(data, artifacts, config)
    if data is not None and is_laid_out(config.ingestion):
        return lay_out(data, artifacts, config.ingestion, config.covariates)
    if data is not None:
        return list_sources(data)
    if is_laid_out(config.ingestion):
        return lay_out(DEFAULT_FOLDER.absolute(), artifacts, config.ingestion, config.covariates)
    if DEFAULT_FOLDER.is_dir() and any(map(region_of, file_names(DEFAULT_FOLDER))):
        return list_sources(DEFAULT_FOLDER.absolute())
    folder = artifacts / "csv" / "synthetic"
    with held(artifacts, "synthetic-csvs"):
        _remove_if_changed(folder)
        write_synthetic(folder, config.synthetic)
        return list_sources(folder)


def _with_weather(sources: Sources, config: Config) -> Sources:
    """With the files of covariates that lie beside the loads.

    Raises:
        UsageError: covariates are asked for, and no region has a file of them.
    """
    covariates = config.covariates
    if covariates.of_source("load_file") and not is_laid_out(config.ingestion):
        where = "covariates.columns"
        found = f"{', '.join(covariates.of_source('load_file'))} as columns of the file of loads"
        expected = "a layout (`gridcast inspect`), or source: weather: <REGION>_hourly.csv has none"
        raise UsageError(where, found=found, expected=expected)
    if not covariates.of_source("weather"):
        return sources
    is_unpacked = bool(sources.files_folder) and is_archive(sources.folder)
    folder = Path(sources.files_folder) if is_unpacked else sources.folder
    folder = folder if folder.is_dir() else folder.parent
    names = {name.lower(): name for name in file_names(folder)}
    weather = {
        file.region: folder / names[f"{file.region}{WEATHER}".lower()]
        for file in sources.files
        if f"{file.region}{WEATHER}".lower() in names
    }
    if not weather:
        found, expected = "no <REGION>_weather.csv", f"one with {', '.join(covariates.columns)}"
        raise UsageError(folder, found=found, expected=f"{expected}; gridcast fetch weather")
    for file in sources.files:
        if file.region not in weather:
            _log.warning("%s has no %s%s: it goes on without", file.region, file.region, WEATHER)
    beside = sources.covariates
    together = {
        region: (*beside.get(region, ()), *((weather[region],) if region in weather else ()))
        for region in sorted({*beside, *weather})
    }
    read = {shown_name(path.name) for path in weather.values()}
    skipped = {name: why for name, why in sources.skipped.items() if name not in read}
    return sources.model_copy(update={"covariates": together, "skipped": skipped})


def is_laid_out(config: IngestionConfig) -> bool:
    """Whether there are files of another layout than PJM's to be read."""
    return not all(layout.is_native for layout, _ in config.layouts())


def check_data(data: Path, config: Config) -> None:
    """Refuse a folder or an archive that a run could not begin with; nothing is written.

    Raises:
        UsageError: as :func:`sources_of`.
    """
    if is_archive(data):
        check_archive(data, limits=config.archives, is_wanted=_wanted(config))
    elif is_laid_out(config.ingestion):
        list_laid_out(data, config.ingestion)
    else:
        list_sources(data)


def list_sources(folder: Path) -> Sources:
    """The regional CSVs of ``folder``, by name alone.

    Raises:
        UsageError: as :func:`sources_of`.
    """
    wanted = "a folder with files named <REGION>_hourly.csv"
    if not folder.exists():
        raise UsageError(folder, found="nothing of that name", expected=wanted)
    if not folder.is_dir():
        raise UsageError(folder, found="a file", expected=f"{wanted}; {_ADVICE}")
    files, skipped, names = [], {}, dict[str, str]()
    for name in file_names(folder):
        region = region_of(name)
        path = folder / name
        if region is None or not path.is_file():
            skipped[shown_name(name)] = _why_skipped(path)
        elif region in names:
            found = f"{names[region]} and {name}, which are both the region {region}"
            raise UsageError(folder, found=found, expected="one file a region; rename one of them")
        elif not path.resolve().is_relative_to(folder.resolve()):
            raise UsageError(path, found=f"a link to {path.resolve()}", expected="a file in it")
        else:
            files.append(SourceFile(region=region, path=path))
            names[region] = name
    if not files:
        listed = ", ".join(skipped) or "no files"
        expected = f"{wanted}; of files of another kind {_ADVICE}"
        raise UsageError(folder, found=f"no regional CSV ({listed})", expected=expected)
    origin = read_origin(folder)
    kind: DataKind = "synthetic" if origin.source == "synthetic" else "real"
    for known in (MARKER, *([OPERATOR_FOLDER] if origin.source == "eia" else [])):
        skipped.pop(known, None)
    return Sources(
        folder=folder,
        kind=kind,
        source=origin.source,
        labels=origin.labels,
        files=tuple(files),
        skipped={**origin.skipped, **skipped},
        names={
            region: told
            for region, name in names.items()
            if (told := name_in_file(name)) not in (None, region)
        },
    )


def write_synthetic(folder: Path, config: SyntheticConfig) -> None:
    """Write the synthetic set to ``folder``, unless it is there already, made by the same code.

    Raises:
        UsageError: the folder holds regional CSVs that are not a synthetic set.
    """
    origin = Origin(
        source="synthetic",
        name="synthetic",
        settings=config.keyed(),
        code_sha256=code_sha256("gridcast.readings.synthetic"),
    )
    require_own(folder, "synthetic")
    if folder.is_dir() and read_origin(folder).model_copy(update={"files": {}}) == origin:
        return
    if folder.exists():
        _write_set(folder, config, origin)
    else:
        with publishing_folder(folder) as stage:
            _write_set(stage, config, origin)


def _write_set(folder: Path, config: SyntheticConfig, origin: Origin) -> None:
    for region in synthetic_regions(config.num_regions):
        made = synthesize([region], num_hours=config.num_hours, seed=config.seed)
        write_bytes(folder / f"{region}_hourly.csv", csv_bytes(made[region]))
    write_origin(folder, origin.model_copy(update={"files": files_of(folder)}))


def _remove_if_changed(folder: Path) -> None:
    """What gridcast itself put there, as its marker says, and is not as it was: it is made anew."""
    if (folder / MARKER).is_file() and (reason := why_not_as_made(folder)):
        _log.warning("%s; the folder is made anew", reason)
        shutil.rmtree(folder)


def _unpacked(archive: Path, artifacts: Path, config: Config) -> Sources:
    """The archive's files, unpacked once by the same code for the same bytes."""
    code = code_sha256("tasks.fetch.unpacking")
    is_wanted, own = _wanted(config), is_laid_out(config.ingestion)
    files = [layout.files for layout, _ in config.ingestion.layouts()] if own else []
    named = {"files": files} if own else {}
    named |= {"weather": [WEATHER]} if config.covariates.of_source("weather") else {}
    name = key_of(archive=file_sha256(archive), code=code, **named)[:16]
    unpacked = artifacts / "sources" / name
    with held(artifacts, f"archive-{name}"):
        _remove_if_changed(unpacked)
        if not unpacked.is_dir():
            unpack_archive(archive, unpacked, limits=config.archives, is_wanted=is_wanted)
            _log.info("Unpacked %s to %s", archive, unpacked)
    if own:
        found = lay_out(unpacked, artifacts, config.ingestion, config.covariates)
        return found.model_copy(update={"folder": archive, "source": "archive"})
    update = {"folder": archive, "files_folder": str(unpacked)}
    return list_sources(unpacked).model_copy(update=update)


def _wanted(config: Config) -> Callable[[str], bool]:
    own = config.ingestion
    of_loads = partial(is_wanted, config=own) if is_laid_out(own) else is_regional
    if not config.covariates.of_source("weather"):
        return of_loads
    return lambda name: of_loads(name) or is_weather(name)


def _why_skipped(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    if path.suffix.lower() != ".csv":
        return "no CSV"
    return "not named <REGION>_hourly.csv"
