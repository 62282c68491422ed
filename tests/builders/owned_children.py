"""A process for its owner to deal with: ``python -m tests.builders.owned_children <folder>``.

What it does says the file ``does`` in its folder; its number it leaves in ``pid``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from tasks.machine.owned_process import end_with_owner, exit_process, send_event

LONG_SECONDS = 3600.0


def main(folder: Path) -> int:
    """Do what is asked for."""
    end_with_owner()
    (folder / "pid.new").write_text(str(os.getpid()), encoding="utf-8")
    (folder / "pid.new").rename(folder / "pid")
    send_event("begun")
    match (folder / "does").read_text(encoding="utf-8"):
        case "hang":  # as in a driver's call: it hears SIGKILL alone
            os.kill(os.getpid(), signal.SIGSTOP)
        case "sleep":
            time.sleep(LONG_SECONDS)
        case "keep":  # what it has done so far, when it is told to end
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
            send_event("ready")
            try:
                time.sleep(LONG_SECONDS)
            finally:
                (folder / "kept").touch()
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "fail":
            send_event("error", reason="ERROR here: found this, expected that")
            return 1
        case "close":  # its output, and does not end
            os.close(1)
            time.sleep(LONG_SECONDS)
    return 0


if __name__ == "__main__":
    exit_process(main(Path(sys.argv[1])))
