"""Ends servers when who began them is gone: ``python -m tasks.runs.server_watch``.

Its standard input is a pipe from the process that is to be outlived by none. However that one
ends, and SIGKILL leaves it no last word, the pipe closes then. It is there before the servers are,
so that none could be left behind at any moment: it knows them by the word in its environment, which
their common parent has made for them.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

DONE = b"done"  # an owner that ends in good order has seen to it itself
WORD = "PREFECT_SERVER_API_AUTH_STRING"
_SERVER = "prefect.server"  # in the command of each
_LOOKS, _SECONDS_BETWEEN = 4, 0.5  # one that was just being started shows itself a little later


def main(word: str) -> None:
    """Wait for the pipe to close, then send SIGTERM to the servers that know ``word``."""
    if sys.stdin.buffer.read() == DONE or not word:
        return
    for _ in range(_LOOKS):
        for server in servers_that_know(word):
            server.terminate()
        time.sleep(_SECONDS_BETWEEN)


def servers_that_know(word: str) -> list[psutil.Process]:
    """Prefect's servers of this user whose environment has it."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_server = any(_SERVER in each for each in process.cmdline())
            if is_server and process.environ().get(WORD) == word:
                found.append(process)
    return found


if __name__ == "__main__":
    main(os.environ.get(WORD, ""))
