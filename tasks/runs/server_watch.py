"""Ends a process when another one is gone: ``python -m tasks.runs.server_watch <process id>``.

Its standard input is a pipe from the process that is to be outlived by none. However that one ends,
and SIGKILL leaves it no last word, the pipe closes then.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

DONE = b"done"  # an owner that ends in good order has seen to it itself


def main(process_id: int) -> None:
    """Wait for the pipe to close, then send SIGTERM."""
    if sys.stdin.buffer.read() != DONE:
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]))
