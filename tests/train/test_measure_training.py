"""The process that measures a short training has an owner: it may hang or die, and is told."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psutil
import pytest

from gridcast.errors import MeasuringError
from gridcast.training.counts import count_data
from tasks.train.measure_training import measure
from tests.builders.pipelines import SECONDS, alive, command_of, wait_for
from tests.builders.values import make_config

if TYPE_CHECKING:
    from collections.abc import Callable


class Meeting(threading.Thread):
    """Does something to the measuring process as soon as there is one."""

    def __init__(self, act: Callable[[psutil.Process], None]) -> None:
        super().__init__(daemon=True)
        self.act, self.found = act, list[psutil.Process]()

    def run(self) -> None:
        def processes() -> list[psutil.Process]:
            children = psutil.Process().children()
            return [each for each in children if "measuring_process" in " ".join(command_of(each))]

        self.found = wait_for("the measuring process", processes)
        for each in self.found:
            self.act(each)


@pytest.mark.parametrize(
    ("act", "limit_seconds", "reason"),
    [
        pytest.param(
            psutil.Process.suspend, 3.0,
            r"stopped at its limit of 3 s \(training\.measuring_limit_seconds\)", id="hangs",
        ),
        pytest.param(psutil.Process.kill, SECONDS, r"killed by signal 9 \(SIGKILL\)", id="dies"),
    ],
)  # fmt: skip
def test_a_measuring_that_hangs_or_dies_is_an_error_that_says_so_and_leaves_no_process(
    act: Callable[[psutil.Process], None], limit_seconds: float, reason: str
) -> None:
    config = make_config(training={"measuring_limit_seconds": limit_seconds})
    counts = count_data([], config.windows)
    meeting = Meeting(act)
    meeting.start()
    expected = f"ERROR gru: found a short training on cpu that failed \\(.*{reason}"
    with pytest.raises(MeasuringError, match=expected):
        measure(config, counts, cell="gru", device="cpu", threads=1)
    meeting.join(SECONDS)
    assert len(meeting.found) == 1
    assert alive(meeting.found) == []
