"""What a reader sees of a publication that is killed, or that runs out of space."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.builders.pipelines import ROOT, SECONDS, clean_environment, temporary_files

# Forks once a trial, from one process that has paid for the imports, so that a killed publisher is
# a real process, killed at a random point of a real publication. The parent reads hashes alone:
# threads of pyarrow would not survive the fork.
KILLER = """
import os, random, signal, sys, time
from pathlib import Path
from tasks.ingest.snapshots import list_snapshots, read_current
from tasks.runs.keys import has_sha256
from tasks.runs.storage import remove_leftovers
from tests.builders.snapshots import make_table, publish_tables

store, num_trials, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)

def publish(number):
    tables = {region: make_table([float(number), 1.0 + number]) for region in ("AEP", "DOM", "FE")}
    publish_tables(store, tables)

def start(number):
    ready, begin = os.pipe()
    child = os.fork()
    if not child:
        os.write(begin, b"x")
        publish(number)
        os._exit(0)
    os.read(ready, 1)
    os.close(ready)
    os.close(begin)
    return child

def seen():
    snapshot = read_current(store).snapshot
    whole = all(has_sha256(store / r.path, r.file_sha256) for r in snapshot.regions.values())
    return snapshot.id, whole, len(snapshot.regions)

begun = time.perf_counter()
for number in range(8):
    os.waitpid(start(number), 0)
usual = (time.perf_counter() - begun) / 8
num_old = num_new = num_midway = 0
for trial in range(num_trials):
    before = seen()[0]
    child = start(1000 + trial)
    time.sleep(rng.uniform(0, 1.3 * usual))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    name, whole, num_regions = seen()
    assert whole and num_regions == 3, (trial, name)
    num_old, num_new = num_old + (name == before), num_new + (name != before)
    usual *= 1.05 if name == before else 0.95  # of both many, however busy the machine is
    num_midway += bool(list(store.rglob("*.gridcast-tmp"))) or os.WIFSIGNALED(status)
    for snapshot in list_snapshots(store):  # none is torn, published or not
        assert all(has_sha256(store / r.path, r.file_sha256) for r in snapshot.regions.values())
        if snapshot.id not in (name, before):
            (store / "snapshots" / f"{snapshot.id}.json").unlink()
    remove_leftovers(store)
os.waitpid(start(9999), 0)
assert seen()[0] != name
print(num_old, num_new, num_midway)
"""


def run_python(code: str, *arguments: object) -> str:
    """The last line that a fresh interpreter prints."""
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, timeout=SECONDS, check=False,
        env=clean_environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


@pytest.mark.slow
def test_killed_100_times_during_publication_a_reader_sees_the_old_or_the_new_snapshot_whole(
    tmp_path: Path,
) -> None:
    times = max(100, settings().max_examples)  # 2000 in the profile that searches for longer
    num_old, num_new, num_midway = map(int, run_python(KILLER, tmp_path, times, 5).split())
    assert num_old + num_new == times
    # Of both many, and most were really killed: the delays hit the publication, not its edges.
    assert min(num_old, num_new) >= times // 20
    assert num_midway >= times // 4


# A file system of its own with so many bytes free, in a mount namespace: each trial has a little
# more room, so that each write in turn is the one that finds no space. What fails must leave what
# was published, and go through once there is room.
FULL = """
import json, sys
from pathlib import Path
import subprocess
from gridcast.errors import NoSpaceError
from tasks.ingest.snapshots import read_current
from tasks.runs.keys import has_sha256
from tests.builders.snapshots import make_table, publish_tables

mount = Path(sys.argv[1])

def remount(num_bytes):
    subprocess.run(["mount", "-o", f"remount,size={num_bytes}", str(mount)], check=True)

def used():
    import os
    info = os.statvfs(mount)
    return (info.f_blocks - info.f_bfree) * info.f_frsize

def published():
    snapshot = read_current(store).snapshot
    assert all(has_sha256(store / r.path, r.file_sha256) for r in snapshot.regions.values())
    return snapshot.id

store = mount / "data"
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(mount)], check=True)
publish_tables(store, {"AEP": make_table([1.0, 2.0]), "DOM": make_table([3.0])})
failed_at, number = [], 10
for free in range(0, 1 << 20, 4096):
    number += 1
    tables = {"AEP": make_table([float(number), 2.0]), "DOM": make_table([float(number)])}
    before, files = published(), {path for path in store.rglob("*") if path.is_file()}
    remount(used() + free)
    try:
        publish_tables(store, tables)
    except NoSpaceError as error:
        assert "found no space left on its disk" in str(error)
        assert published() == before
        assert not list(store.rglob("*.gridcast-tmp"))
        new = {path for path in store.rglob("*") if path.is_file()} - files
        failed_at.append(sorted(path.parent.name for path in new))
        remount(8 << 20)
        publish_tables(store, tables)
        assert published() != before
    else:
        assert published() != before
        break
print(json.dumps(failed_at))
"""


def can_mount() -> bool:
    """Whether a process here may mount a file system in a namespace of its own."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    command = [unshare, "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
def test_without_space_at_any_write_the_old_snapshot_stays_and_the_retry_succeeds(
    tmp_path: Path,
) -> None:
    if not can_mount():
        pytest.skip("no file system of a given size can be mounted here (unshare -rm, tmpfs)")
    result = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", FULL, str(tmp_path)], cwd=ROOT, timeout=SECONDS,
        env=clean_environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    failed_at = json.loads(result.stdout.splitlines()[-1])
    # What was whole on the disk when a write failed: nothing, then more and more, to all but the
    # pointer, which is the publication.
    assert failed_at[0] == []
    assert failed_at[-1].count("objects") == 2
    assert failed_at[-1].count("snapshots") == 2
    assert len({tuple(each) for each in failed_at}) >= 5
    assert temporary_files(tmp_path) == []
