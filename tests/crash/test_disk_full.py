"""P9: a full disk is refused in words that help, nothing is half-written, and room makes all well again."""

import os
import shutil
import subprocess

import pytest
from tests.crash.controller import Acknowledged, Worker, demand_nothing, find_loss


def demand_clean_refusal(worker, folder):
    wanted = Acknowledged()
    wanted.take(worker.lines)
    (refusal,) = worker.named("refused")
    print(f"\n{len(wanted.digests) - 1} cubes fit; then: {refusal}")
    assert refusal.startswith("StoreError: ")
    assert "free space" in refusal
    assert worker.named("hits") == [5]
    assert worker.named("is_left_open") == [False], "closing failed on the full disk and left the files open"
    assert worker.named("closed") == [True]
    num_lost, found = find_loss(folder, wanted)
    demand_nothing(found, folder, {"refusal": refusal})
    assert num_lost == 0
    assert len(wanted.digests) > 10


def test_a_file_that_may_not_grow_is_refused_and_nothing_is_half_written(tmp_path):
    with Worker("fill", tmp_path / "memory", limit_bytes=3_000_000) as worker:
        worker.finish()
    demand_clean_refusal(worker, tmp_path / "memory")


def can_mount():
    """Whether this process may mount a disk of its own, which vanishes with the child that uses it."""
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return False
    script = "mount -t tmpfs -o size=1m tmpfs /mnt"
    return subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, check=False).returncode == 0


def test_a_full_disk_is_refused_and_nothing_is_half_written(tmp_path):
    if not can_mount():
        pytest.skip("no right to mount a small disk: run as root on Linux, with unshare")
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    script = (
        f'mount -t tmpfs -o size=6m tmpfs {disk} && head -c 2000000 /dev/zero > {disk}/filler && "$@"; '
        f"code=$?; cp -r {disk}/memory {kept}; exit $code"
    )
    prefix = ("unshare", "--mount", "sh", "-c", script, "sh")
    with Worker("fill", disk / "memory", prefix=prefix, filler=str(disk / "filler")) as worker:
        worker.finish()
    assert not os.listdir(disk)
    demand_clean_refusal(worker, kept)
