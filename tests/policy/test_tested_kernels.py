"""The CUDA sources are those that last passed their tests on a Hopper GPU."""

from __future__ import annotations

import json

from tests.kernels.renew_stamp import STAMP, hashes

ADVICE = (
    "a CUDA source differs from what was tested; on a Hopper GPU run"
    " `python -m pytest -m gpu tests/kernels tests/training`"
    " and then `python tests/kernels/renew_stamp.py`"
)


def test_the_cuda_sources_are_those_that_were_tested_on_a_hopper_gpu() -> None:
    stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    assert len(stamp["sha256"]) == 3
    assert stamp["sha256"] == hashes(), ADVICE
