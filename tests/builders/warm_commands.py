"""The command ``gridcast`` of a process that has imported already: started once, forked often.

Each command of its own imports for 5 to 8 s of a core before it does anything. What is forked here
runs the same entry point with the arguments, the environment, the folder and the streams that a
shell would give it, and ends as an interpreter does. For commands that report to the session's
Prefect server: Prefect reads its settings once, when it is imported.

Module as a program: reads one JSON list a line (arguments, environment, folder, files of stdout
and stderr), answers with the exit status.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
# What a run imports on its way, that of the command line before all that reads settings.
_IMPORTED = (
    "flows.command_line.app", "flows.run_pipeline", "flows.tune_models", "flows.check_leaks",
    "flows.fetch_data", "tasks.show.show_run", "tasks.show.show_study", "fastapi.encoders",
    "mlflow.store.tracking.sqlalchemy_store",
)  # fmt: skip


def run_warm(
    arguments: list[str], *, environment: Mapping[str, str], cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    process = _process(environment["PREFECT_API_URL"], environment["PREFECT_HOME"])
    with tempfile.TemporaryDirectory(dir=os.environ["TESTS_FOLDER"]) as folder:
        streams = [Path(folder) / "stdout", Path(folder) / "stderr"]
        asked = [arguments, dict(environment), str(cwd), *map(str, streams)]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        status = int(process.stdout.readline())
        out, err = (path.read_text("utf-8") for path in streams)
    return subprocess.CompletedProcess(["gridcast", *arguments], status, out, err)


@cache
def _process(api: str, home: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PREFECT_API_URL": api, "PREFECT_HOME": home}
    process = subprocess.Popen(
        [sys.executable, "-m", __name__], cwd=ROOT, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    atexit.register(process.communicate)  # closes its input, at which it ends
    return process


def _serve() -> None:
    """Fork for each command that is asked for; returns in the child, which is to run it."""
    from tasks.runs.servers import local_settings

    os.environ.update(local_settings(Path(os.environ["TESTS_FOLDER"]) / "warm"))
    for module in _IMPORTED:
        import_module(module)
    while line := sys.stdin.readline():
        arguments, environment, cwd, out, err = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(environment, cwd, out, err)
            sys.argv = ["gridcast", *arguments]
            return
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
    sys.exit()


def _become(environment: dict[str, str], cwd: str, out: str, err: str) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for number, path in enumerate((os.devnull, out, err)):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT
        file = os.open(path, flags)
        os.dup2(file, number)
        os.close(file)


if __name__ == "__main__":
    _serve()
    from flows.command_line.app import main

    main()
