"""The machine as it is: proxies, servers that are gone, what stands in the caller's folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gridcast.errors import UsageError
from tasks.runs.server_watch import WORD
from tasks.runs.servers import keep_to_this_machine, require_prefect
from tests.builders.pipelines import (
    ROOT,
    SECONDS,
    clean_environment,
    free_port,
    gridcast,
    read_json,
)
from tests.builders.values import make_csv, make_load, make_rows

if TYPE_CHECKING:
    from pathlib import Path


def test_loopback_goes_through_no_proxy_and_what_was_excepted_stays_so() -> None:
    environment = {"NO_PROXY": "intranet,localhost", "HTTP_PROXY": "http://proxy:8080"}
    keep_to_this_machine(environment)
    assert environment["NO_PROXY"] == "intranet,localhost,127.0.0.1,::1"
    assert environment["no_proxy"] == "127.0.0.1,localhost,::1"
    assert environment["HTTP_PROXY"] == "http://proxy:8080"


def test_processes_do_not_look_for_modules_in_the_callers_folder(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("raise SystemExit(3)", encoding="utf-8")
    environment = dict(os.environ)
    environment.pop("PYTHONPATH", None)
    keep_to_this_machine(environment)
    command = [sys.executable, "-m", "tasks.runs.server_watch"]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, check=False, timeout=300
    )
    assert result.returncode != 3


def test_servers_end_with_who_began_them_and_those_of_others_do_not() -> None:
    server = [sys.executable, "-c", "import time; time.sleep(600)", "prefect.server"]
    own, other = (
        subprocess.Popen(server, env=os.environ | {WORD: word}) for word in ("ours", "theirs")
    )
    watch = subprocess.Popen(
        [sys.executable, "-m", "tasks.runs.server_watch"], cwd=ROOT, stdin=subprocess.PIPE,
        env=os.environ | {WORD: "ours"},
    )  # fmt: skip
    try:
        assert watch.stdin is not None
        watch.stdin.close()  # as when its owner is killed
        assert own.wait(SECONDS) == -signal.SIGTERM
        watch.wait(SECONDS)
        assert other.poll() is None
    finally:
        for each in (own, other, watch):
            each.kill()
            each.wait()


@pytest.mark.parametrize("is_set", [True, False], ids=["environment", "profile"])
def test_a_server_that_is_gone_is_told_with_what_names_it(
    monkeypatch: pytest.MonkeyPatch, *, is_set: bool
) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    if is_set:
        monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(UsageError) as refused:
        require_prefect(url)
    message = str(refused.value)
    assert message.startswith(f"ERROR {url}: found no Prefect server that answers (")
    assert ("unset PREFECT_API_URL" in message) == is_set
    assert ("Prefect's profile" in message) != is_set


@pytest.mark.prefect
@pytest.mark.slow
@pytest.mark.soak
def test_a_dead_proxy_an_old_profile_and_modules_in_the_way_together_hinder_nobody(
    tmp_path: Path,
) -> None:
    (tmp_path / ".prefect").mkdir()
    profile = 'active = "default"\n\n[profiles.default]\n'
    (tmp_path / ".prefect" / "profiles.toml").write_text(profile, encoding="utf-8")
    for name in ("tasks.py", "flows.py"):
        (tmp_path / name).write_text("raise SystemExit(3)", encoding="utf-8")
    (tmp_path / "data").mkdir()
    rows = make_rows(1200, load_mw=make_load(1200))
    (tmp_path / "data" / "AEP_hourly.csv").write_bytes(make_csv(rows))
    environment = clean_environment(
        HTTP_PROXY="http://127.0.0.1:9", ALL_PROXY="socks5://127.0.0.1:9", HOME=str(tmp_path),
        LC_ALL="C",
    )  # fmt: skip
    for name in ("NO_PROXY", "no_proxy"):
        environment.pop(name, None)
    result = gridcast(
        "ingest", "--data", "data", "--artifacts", "A", cwd=tmp_path, environment=environment,
        is_cold=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "Error while" not in result.stderr
    summary = read_json(next((tmp_path / "A" / "runs").glob("2*/summary.json")))
    assert summary["regions"]["AEP"]["status"] == "published"
