"""numba's inner parts are as ``numba_private.py`` takes them: what fails here was changed there."""

from __future__ import annotations

import hashlib
import inspect
import tomllib
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from numba.core import caching, cgutils, cpu
from numba.np.arrayobj import populate_array
from packaging.requirements import Requirement

from gridcast.kernels import cpu_kernels
from gridcast.kernels.numba_private import LANES, compiled, flat, rows, tile_of_row
from tests.builders.pipelines import ROOT

PRIVATE = ROOT / "gridcast" / "kernels" / "numba_private.py"


def test_the_parts_of_numba_that_we_take_are_there() -> None:
    """The first to fail with a new numba: what to look at is in ``numba_private.py``, ADR 22."""
    assert "_nrt" in dir(cpu.CPUTargetOptions)
    taken = {"shape", "strides", "data", "itemsize", "meminfo", "parent"}
    assert taken <= set(inspect.signature(populate_array).parameters)
    for name in ("alloca_once_value", "for_range", "get_item_pointer", "pack_array"):
        assert callable(getattr(cgutils, name))


def test_numba_is_capped_at_what_was_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (numba,) = (each for each in map(Requirement, project["dependencies"]) if each.name == "numba")
    assert any(each.operator == "<" for each in numba.specifier)
    assert numba.specifier.contains(version("numba"))


def test_the_kernels_name_the_private_file_that_they_were_compiled_with() -> None:
    """Of what numba kept it asks only whether ``cpu_kernels.py`` has changed."""
    sha256 = hashlib.sha256(PRIVATE.read_bytes()).hexdigest()[:16]
    advice = f"numba_private.py was changed: write PRIVATE_SHA256 = {sha256!r} in cpu_kernels.py"
    assert sha256 == cpu_kernels.PRIVATE_SHA256, advice


@pytest.fixture
def _nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read from a cache has no code to look at."""
    monkeypatch.setattr(caching.FunctionCache._impl_class, "_locator_classes", [])


@pytest.mark.usefixtures("_nothing_is_kept")
def test_parts_of_arrays_are_seen_without_counting_references() -> None:
    @compiled()
    def add_parts(values_ABC: np.ndarray, sums_C: np.ndarray) -> None:
        for part in range(len(values_ABC)):
            whole = values_ABC[part : part + 1]
            for row in rows(whole):
                for i in range(len(sums_C)):
                    sums_C[i] += row[i]
            numbers = flat(whole)
            for i in range(len(numbers)):
                numbers[i] = 0

    kernel: Any = add_parts
    values_ABC = np.random.default_rng(0).standard_normal((3, 5, LANES), np.float32)
    wanted_C, sums_C = values_ABC.sum((0, 1)), np.zeros(LANES, np.float32)
    kernel(values_ABC, sums_C)
    np.testing.assert_allclose(sums_C, wanted_C, rtol=1e-5, atol=1e-6)
    assert not values_ABC.any()  # the parts are of the same memory
    (code,) = kernel.inspect_llvm().values()
    assert "define" in code
    assert "NRT_incref" not in code
    assert "NRT_decref" not in code


@pytest.mark.usefixtures("_nothing_is_kept")
def test_a_tile_is_written_in_vectors() -> None:
    @compiled()
    def add_row(sums: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
        tile_of_row(sums, sums, left, right, 0, 0)

    kernel: Any = add_row
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((1, 7), np.float32), rng.standard_normal((7, 64), np.float32)
    sums = np.zeros((1, 64), np.float32)
    kernel(sums, left, right)
    num_columns = np.count_nonzero(sums)
    assert num_columns in {LANES, 64}
    np.testing.assert_allclose(sums[:, :num_columns], (left @ right)[:, :num_columns], rtol=1e-5)
    (code,) = kernel.inspect_llvm().values()
    assert f"<{LANES} x float>" in code


@pytest.mark.usefixtures("_nothing_is_kept")
def test_where_no_cache_can_be_written_kernels_are_compiled_all_the_same() -> None:
    @compiled((cpu_kernels._1,))
    def double(values: np.ndarray) -> None:
        for i in range(len(values)):
            values[i] *= 2

    values = np.ones(3, np.float32)
    double(values)
    assert values.tolist() == [2, 2, 2]
