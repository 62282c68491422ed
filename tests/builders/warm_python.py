"""A Python that has imported already, for who starts one: ``python -IS warm_python.py -m module``.

The process that this starts asks the session's warm server (``warm_server.py``) for a fork which
runs the module or, after ``-c``, the code, with its arguments, environment, folder and streams. It
ends as that one does, and whoever kills it kills both. What the server has not imported is run by
Python itself.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# What runs in a process of its own, and imports for 3 to 9 s of a core before it does anything.
MODULES = (
    "tasks.train.training_process", "tasks.train.fitting_process", "tasks.train.measuring_process",
)  # fmt: skip
# Of a process with this in its last argument nothing comes: it waits to be killed.
HELD = "TESTS_HELD"


def ask(words: Sequence[str], streams: Sequence[int], **more: object) -> socket.socket:
    """Have a fork made; what answers with its number and then, once it has ended, its status.

    The fork is killed if the answers are closed before.
    """
    cwd = os.getcwd()  # noqa: PTH109 - pathlib takes longer to import than all else here
    request: dict[str, Any] = {"words": list(words), "environment": dict(os.environ), "cwd": cwd}
    request |= more
    answers = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    answers.connect(os.environ["TESTS_FOLDER"] + "/warm.socket")
    socket.send_fds(answers, [b"\n"], list(streams))
    answers.sendall(json.dumps(request).encode() + b"\n")
    return answers


def next_number(answers: socket.socket) -> int:
    """The next answer.

    Raises:
        EOFError: the server is gone.
    """
    letters = b""
    while not letters.endswith(b"\n"):
        letter = answers.recv(1)
        if not letter:
            raise EOFError(answers)
        letters += letter
    return int(letters)


def main(words: list[str]) -> None:
    """Run them in a fork, or else by Python."""
    if not (words[:1] == ["-c"] or (words[:1] == ["-m"] and words[1] in MODULES)):
        os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 - ourselves
    if os.environ.get(HELD, "\n") in words[-1]:
        signal.pause()
    with ask(words, (0, 1, 2)) as answers:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):  # the fork alone has them from here on
            os.dup2(null, stream)
        folder, own = os.environ["TESTS_FOLDER"], os.getpid()
        with open(f"{folder}/fork-of-{own}", "w", encoding="ascii") as told:  # noqa: PTH123
            fork = next_number(answers)
            told.write(str(fork))
        signal.signal(signal.SIGTERM, lambda number, _: os.kill(fork, number))
        status = next_number(answers)
    if status < 0:
        if -status not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
