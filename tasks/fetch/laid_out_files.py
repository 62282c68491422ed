"""Files of any layout → a folder with a file a region, made once for equal bytes and settings."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from gridcast.covariates import kept
from gridcast.covariates.reading import asked_of_load_file, is_weather, read_covariates
from gridcast.errors import LayoutRefusedError, RegionRefusedError, UsageError
from gridcast.layouts.kept import SUFFIX, bytes_of
from gridcast.layouts.reading import ADVICE, File, read_files
from gridcast.layouts.region_names import listed, name_in, region_called
from gridcast.readings.archive_members import MARKER
from gridcast.readings.parsing import region_of
from gridcast.record import StoredRecord
from tasks.fetch.marker import file_names, shown_name
from tasks.fetch.records import SourceFile, Sources
from tasks.runs.import_closure import code_sha256
from tasks.runs.keys import file_sha256, key_of
from tasks.runs.locks import held
from tasks.runs.record_files import cached_record, write_record
from tasks.runs.storage import publishing_folder, write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from gridcast.config import CovariatesConfig, IngestionConfig, LayoutConfig
    from gridcast.covariates.reading import Asked
    from gridcast.covariates.values import Covariates

_RECORD = "layout.json"
_log = logging.getLogger("gridcast.sources")


class LaidOutFiles(StoredRecord):
    """What was made of the files: by region its file, what they call it, and what was left out."""

    files: dict[str, str]
    names: dict[str, str]
    notes: dict[str, str] = Field(default_factory=dict)


class _Group(NamedTuple):
    """Files of one layout, and of which regions they are read (None: those with no own layout)."""

    layout: LayoutConfig
    regions: frozenset[str] | None
    paths: tuple[Path, ...]


def is_wanted(name: str, config: IngestionConfig) -> bool:
    """Whether a file of that name is read by some layout of the configuration."""
    return not is_weather(name) and any(
        name_in(layout.files, name) is not None for layout, _ in config.layouts()
    )


def list_laid_out(data: Path, config: IngestionConfig) -> list[_Group]:
    """The files that the layouts of the configuration ask for, by their names alone.

    Raises:
        UsageError: there are none.
    """
    if not data.exists():
        raise UsageError(data, found="nothing of that name", expected="a folder or a file of loads")
    paths = [data] if data.is_file() else [data / name for name in file_names(data)]
    paths = [path for path in paths if path.is_file() and path.name != MARKER]
    paths = [path for path in paths if not is_weather(path.name)]
    for path in paths if data.is_dir() else ():
        if not path.resolve().is_relative_to(data.resolve()):
            raise UsageError(path, found=f"a link to {path.resolve()}", expected="a file in it")
    groups = [
        _Group(
            layout, regions, tuple(p for p in paths if name_in(layout.files, p.name) is not None)
        )
        for layout, regions in config.layouts()
    ]
    if not any(group.paths for group in groups):
        found = listed([shown_name(path.name) for path in paths]) or "no files"
        patterns = " or ".join(repr(group.layout.files) for group in groups)
        expected = f"files named like {patterns} (ingestion.layout.files); {ADVICE}"
        raise UsageError(data, found=found, expected=expected)
    return groups


def lay_out(
    data: Path, artifacts: Path, config: IngestionConfig, covariates: CovariatesConfig
) -> Sources:
    """Read all files by their layouts, region by region, unless the same was done before.

    Covariates that stand beside the loads are read too.

    Raises:
        UsageError: there is no such file, or none that tells a region.
        LayoutRefusedError: a file is not as its layout says, and tells of no region.
    """
    groups = list_laid_out(data, config)
    read = [path for group in groups for path in group.paths]
    key = key_of(
        files={str(path): file_sha256(path) for path in read},
        ingestion=config.keyed(),
        covariates=covariates.keyed() if covariates.of_source("load_file") else None,
        code=code_sha256(
            "gridcast.layouts.kept", "gridcast.layouts.reading", "gridcast.covariates.reading",
            "gridcast.covariates.kept",
        ),
    )  # fmt: skip
    folder = artifacts / "sources" / key[:16]
    with held(artifacts, f"layout-{key[:16]}"):
        made = cached_record(folder / _RECORD, LaidOutFiles) if folder.is_dir() else None
        if made is None:
            made = _made(folder, groups, config, covariates)
    for region, note in made.notes.items():
        _log.info("%s: %s", region, note)
    given = file_names(data) if data.is_dir() else [data.name]
    names = {path.name for path in read} | {MARKER}
    return Sources(
        folder=data,
        kind="real",
        files_folder=str(folder),
        files=tuple(
            SourceFile(region=region, path=folder / name) for region, name in made.files.items()
        ),
        skipped={
            shown_name(name): "not named as ingestion.layout.files has it"
            for name in given
            if name not in names
        },
        names={region: name for region, name in made.names.items() if region != name},
        covariates={
            region: (folder / f"{region}{kept.SUFFIX}",)
            for region in made.files
            if (folder / f"{region}{kept.SUFFIX}").is_file()
        },
    )


def _made(
    folder: Path, groups: list[_Group], config: IngestionConfig, covariates: CovariatesConfig
) -> LaidOutFiles:
    made = LaidOutFiles(files={}, names={})
    with publishing_folder(folder) as stage:
        for group in groups:
            if group.layout.is_native:
                _take_native(stage, group, made, config)
            elif group.paths:
                _read_group(stage, group, made, config, covariates)
        if not made.files:
            layout = groups[0].layout
            raise UsageError(
                groups[0].paths[0] if groups[0].paths else layout.files,
                found="no region",
                expected=f"some, by ingestion.layout.names ({listed(layout.names)}); {ADVICE}",
            )
        write_record(stage / _RECORD, made)
    return made


def _take_native(stage: Path, group: _Group, made: LaidOutFiles, config: IngestionConfig) -> None:
    """Files as PJM's are read by a parser of their own: they are taken as they are."""
    for path in group.paths:
        region = region_of(path.name)
        if region is not None and _is_of(group, region, config):
            write_bytes(stage / path.name, path.read_bytes())
            made.files[region] = path.name


def _read_group(
    stage: Path,
    group: _Group,
    made: LaidOutFiles,
    config: IngestionConfig,
    covariates: CovariatesConfig,
) -> None:
    files = [File(path.name, str(path), path.read_bytes()) for path in group.paths]
    laid_out = read_files(files, config, group.layout)
    if laid_out.unread:
        raise LayoutRefusedError([f for error in laid_out.unread.values() for f in error.faults])
    for region, each in laid_out.regions.items():
        if not _is_of(group, region, config):
            continue
        made.names[region] = laid_out.names[region]
        made.files[region] = f"{region}{SUFFIX}"
        write_bytes(stage / made.files[region], bytes_of(region, each))
        if covariates.of_source("load_file"):
            asked = asked_of_load_file(region, covariates, config.of(region), group.layout)
            write_bytes(
                stage / f"{region}{kept.SUFFIX}", kept.bytes_of(region, _read(files, asked))
            )
        if each.num_missing or each.num_broken:
            made.notes[region] = (
                f"{each.num_missing:,} rows without a reading (ingestion.layout.missing), "
                f"{each.num_broken:,} hours left out that have too few intervals"
            )


def _read(files: list[File], asked: Asked) -> Covariates | RegionRefusedError:
    """What stands beside the loads of a region, or why it is refused."""
    try:
        return read_covariates([each for each in files if _may_have(each, asked)] or files, asked)
    except RegionRefusedError as error:
        return error


def _may_have(file: File, asked: Asked) -> bool:
    """Whether a file is of the region, as far as its name tells."""
    told = name_in(asked.layout.files, file.name) or asked.layout.region
    return not told or region_called(told, asked.layout) == asked.region


def _is_of(group: _Group, region: str, config: IngestionConfig) -> bool:
    """Whether the layout is that of the region."""
    if group.regions is not None:
        return region in group.regions
    return region not in config.regions or config.of(region).layout == config.layout
