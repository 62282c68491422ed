"""The files of a model's folder: made of a model, and read as they were written. No PyTorch."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from gridcast.array_file import packed
from gridcast.errors import IntegrityError, UsageError
from gridcast.record import parse_record, sealed
from gridcast.serving.model_card import BLEND_PREFIX, CALIBRATION, CARD, ModelCard

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from gridcast.forecasting.calibration import Calibration
    from gridcast.forecasting.model import Blend


def model_files(
    card: ModelCard,
    others: Mapping[str, bytes],
    calibrations: Mapping[str, Calibration],
    blend: Blend | None = None,
) -> dict[str, bytes]:
    """The files of a folder by name; ``card`` comes without their hashes, and is one of them.

    ``others``, by their names: the weights of the card's members, and what else there is.
    """
    arrays = dict[str, "np.ndarray"]()
    for name, each in calibrations.items():
        arrays[f"{name}.error"] = each.error_RK
        if each.gain_error_RK is not None:
            arrays[f"{name}.gain_error"] = each.gain_error_RK
        arrays |= {f"{name}.bands.{part}": own for part, own in each.bands.arrays().items()}
    if blend is not None:
        arrays[f"{BLEND_PREFIX}{blend.linear}"] = blend.weight_K
    files = {**others, CALIBRATION: packed(arrays)}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    written = card.model_copy(update={"files": hashes}).model_dump(mode="json")
    return {CARD: sealed(written), **files}


def read_files(folder: Path) -> tuple[ModelCard, dict[str, bytes]]:
    """The card of a folder and the files that it names, each as it was written.

    Raises:
        UsageError: there is no model.
        RecordError: its ``model.json`` is damaged, or of a newer version.
        IntegrityError: a file is gone or was changed.
    """
    path = folder / CARD
    if not path.is_file():
        found = f"no {CARD}" if folder.is_dir() else "no such folder"
        raise UsageError(folder, found=found, expected="the folder of a model, as a run leaves it")
    card = parse_record(path.read_bytes(), ModelCard, where=path)
    return card, {name: _checked(folder / name, sha256) for name, sha256 in card.files.items()}


def _checked(path: Path, sha256: str) -> bytes:
    if not path.is_file():
        raise IntegrityError(path, found="(no file)", expected=sha256)
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise IntegrityError(path, found=found, expected=sha256)
    return content
