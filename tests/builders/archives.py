"""Builders of archives, of every kind that is unpacked."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

Files = dict[str, bytes]


def make_archive(path: Path, files: Files) -> Path:
    """An archive of the kind that the path's name tells."""
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    compression = path.name.rpartition("tar")[2].removeprefix(".")
    with tarfile.open(path, f"w:{compression}") as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            add(archive, name, content)
    return path


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **changes: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in changes.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(content))
