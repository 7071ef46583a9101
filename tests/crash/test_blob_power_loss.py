"""Blobs under power loss and kill -9.

The recorder notes what the system was told to make durable: a file's bytes count when that file was synced, a name
counts when its folder was synced. A machine that lost power may show anything from that up to all names given so far;
both ends are built for every cut.
"""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engramos.vault.blobs import BlobStore

CALLS = ("mkdir", "link", "rename", "replace", "unlink", "fsync")
BLOBS = [b"first", b"second" * 1000, b"first", b"", os.urandom(2_500_000), b"second" * 1000]


class Recorder:
    """Records the real calls of `os` and what they make durable; `cuts` holds the state after each of them."""

    def __init__(self, root, patch):
        self.root = root
        self.bytes_by_file, self.names_by_folder, self.cuts = {}, {}, []
        for name in CALLS:
            patch.setattr(os, name, self.wrapped(name, getattr(os, name)))
        real_open = os.open

        def opened(path, flags, *rest, **more):
            descriptor = real_open(path, flags, *rest, **more)
            if flags & os.O_CREAT:  # the number of a deleted file may be given again
                self.bytes_by_file.pop(os.fstat(descriptor).st_ino, None)
            return descriptor

        patch.setattr(os, "open", opened)

    def wrapped(self, name, real):
        def call(*args, **more):
            result = real(*args, **more)
            if name == "fsync":
                self.synced(args[0])
            if name == "mkdir":
                self.names_by_folder.pop(os.stat(args[0]).st_ino, None)
            self.cut()
            return result

        return call

    def synced(self, descriptor):
        path, number = Path(os.readlink(f"/proc/self/fd/{descriptor}")), os.fstat(descriptor).st_ino
        if path.is_dir():
            self.names_by_folder[number] = listed(path)
        else:
            self.bytes_by_file[number] = path.read_bytes()

    def cut(self):
        live = {os.stat(folder).st_ino: listed(Path(folder)) for folder, _, _ in os.walk(self.root)}
        self.cuts.append((dict(self.bytes_by_file), dict(self.names_by_folder), live))


def listed(folder):
    return {name: (os.lstat(folder / name).st_ino, (folder / name).is_dir()) for name in os.listdir(folder)}


def rebuild(target, folder_number, names_by_folder, bytes_by_file):
    """Make the folder that the machine shows after the cut; bytes that were never synced are lost."""
    target.mkdir()
    for name, (number, is_folder) in names_by_folder.get(folder_number, {}).items():
        if is_folder:
            rebuild(target / name, number, names_by_folder, bytes_by_file)
        else:
            (target / name).write_bytes(bytes_by_file.get(number, b"LOST"))


def shown_after(cut, root, scratch):
    """Yield the two folders at the ends of what a machine may show."""
    bytes_by_file, durable, live = cut
    for kind, names in (("durable", durable), ("live", live)):
        rebuild(scratch / kind, os.stat(root).st_ino, names, bytes_by_file)
        yield scratch / kind / "blobs"


def check_final_names(folder):
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith(".new-"):
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_an_acknowledged_blob_survives_every_power_cut(root, tmp_path, monkeypatch):
    acknowledged = []  # (cuts taken when put returned, tenant, digest)
    with monkeypatch.context() as patch:
        recorder = Recorder(root, patch)
        store = BlobStore(root / "blobs")
        for number, data in enumerate(BLOBS):
            digest, _ = store.put(f"tenant{number % 2}", data)
            acknowledged.append((len(recorder.cuts), f"tenant{number % 2}", digest))
    assert len(recorder.cuts) > 40
    for number, cut in enumerate(recorder.cuts, 1):
        scratch = tmp_path / f"cut{number}"
        scratch.mkdir()
        for folder in shown_after(cut, root, scratch):
            check_final_names(folder)
            for at, tenant, digest in acknowledged:
                if at <= number:
                    BlobStore(folder).read(tenant, digest)


def test_a_second_process_that_finds_the_name_taken_does_not_trust_it(root, tmp_path, monkeypatch):
    """The first writer stops before it has synced a folder; the second stores the same bytes and is acknowledged."""
    with monkeypatch.context() as patch:
        recorder = Recorder(root, patch)
        first = BlobStore(root / "blobs")
        recorded, folders_synced = os.fsync, []

        def lazy(descriptor):
            if Path(os.readlink(f"/proc/self/fd/{descriptor}")).is_dir():
                folders_synced.append(descriptor)
            else:
                recorded(descriptor)

        patch.setattr(os, "fsync", lazy)
        digest, _ = first.put("t", b"shared")
        patch.setattr(os, "fsync", recorded)
        BlobStore(root / "blobs").put("t", b"shared")
    assert folders_synced
    for folder in shown_after(recorder.cuts[-1], root, tmp_path):
        assert BlobStore(folder).read("t", digest) == b"shared"


def test_an_erased_blob_does_not_come_back_after_a_power_cut(root, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        recorder = Recorder(root, patch)
        store = BlobStore(root / "blobs")
        digest, _ = store.put("t", b"a secret")
        store.put("t", b"another")
        assert store.erase("t", digest)
    for folder in shown_after(recorder.cuts[-1], root, tmp_path):
        assert [path.read_bytes() for path in folder.rglob("*") if path.is_file()] == [b"another"]


PUT_IN_CHILD = """
import sys
from pathlib import Path
from engramos import failpoints
from engramos.vault.blobs import BlobStore
failpoints.arm(sys.argv[2])
store = BlobStore(Path(sys.argv[1]))
for number in range(10):
    digest, _ = store.put("t", b"blob %d" % number * 5000)
    print(digest, flush=True)
"""


@pytest.mark.parametrize("failpoint", ["blob_written", "blob_renamed"])
@pytest.mark.parametrize("count", [1, 4])
def test_a_killed_writer_loses_nothing_acknowledged(tmp_path, failpoint, count):
    child = subprocess.run(
        [sys.executable, "-c", PUT_IN_CHILD, tmp_path / "blobs", f"{failpoint}:kill:{count}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    acknowledged = child.stdout.split()
    store = BlobStore(tmp_path / "blobs")
    check_final_names(store.folder)
    assert len(acknowledged) == count - 1
    assert set(acknowledged) <= set(store.digests("t"))
    assert len(store.digests("t")) == count - (failpoint == "blob_written")
    assert len(store.leftovers(0)) == (failpoint == "blob_written")
    digest, _ = store.put("t", b"blob %d" % (count - 1) * 5000)
    assert store.read("t", digest) == b"blob %d" % (count - 1) * 5000
