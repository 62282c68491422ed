"""Arrays as the bytes of a ``.npz`` file, which holds no pickle."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from gridcast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The same arrays are the same bytes: no time is written, as ``numpy.savez`` does."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return file.getvalue()


def below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Those whose names begin so, under the rest of their names."""
    return {
        name.removeprefix(prefix): each for name, each in arrays.items() if name.startswith(prefix)
    }


def unpacked(content: bytes, *, where: object) -> dict[str, np.ndarray]:
    """The arrays of :func:`packed` by name; ``where`` is what an error calls them.

    Raises:
        UsageError: these are no such bytes.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        found = f"no arrays of NumPy ({error})"
        raise UsageError(where, found=found, expected="a .npz file") from None
