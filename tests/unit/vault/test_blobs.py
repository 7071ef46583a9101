"""The blob store on a real folder."""

import errno
import hashlib
import io
import os
import threading

import pytest

from engramos import failpoints
from engramos.errors import BlobError, CorruptPayloadError, InvalidInputError, StoreError
from engramos.vault.blobs import BlobStore, tenant_key

DATA = b"some tensor" * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path):
    return BlobStore(tmp_path / "deep" / "blobs")


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("data", [b"", b"x", DATA, os.urandom(3_000_000)])
def test_bytes_and_streams_come_back_under_their_digest(store, data):
    digest = hashlib.sha256(data).hexdigest()
    assert store.put("t", data) == (digest, len(data))
    assert store.put("u", io.BytesIO(data)) == (digest, len(data))
    assert store.read("t", digest) == store.read("u", digest) == data
    with store.open("t", digest) as file:
        assert file.read() == data
        assert not file.writable()


def test_the_layout_hides_the_tenant_and_holds_only_the_blob(store):
    store.put("acme", DATA)
    key = hashlib.sha256(b"acme").hexdigest()[:32]
    assert files(store.folder) == [store.folder / key / DIGEST[:2] / DIGEST]
    assert store.tenants() == [key] == [tenant_key("acme")]
    assert store.digests("acme") == [DIGEST]


def test_storing_the_same_bytes_twice_changes_nothing(store):
    store.put("t", DATA)
    [path] = files(store.folder)
    before = path.stat()
    assert store.put("t", DATA) == (DIGEST, len(DATA))
    assert files(store.folder) == [path]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_storing_again_repairs_a_damaged_blob(store):
    store.put("t", DATA)
    files(store.folder)[0].write_bytes(b"rot")
    with pytest.raises(CorruptPayloadError, match="verify --repair"):
        store.read("t", DIGEST)
    store.put("t", DATA)
    assert store.read("t", DIGEST) == DATA


def test_tenants_do_not_see_each_other(store):
    store.put("t", DATA)
    with pytest.raises(BlobError, match=r"'u' has no blob .* restore it from a backup"):
        store.open("u", DIGEST)
    assert store.digests("u") == []
    assert not store.erase("u", DIGEST)
    assert store.read("t", DIGEST) == DATA


@pytest.mark.parametrize("digest", ["../../../etc/passwd", "", DIGEST.upper(), DIGEST[:-1], DIGEST + "\n", None])
def test_what_is_no_digest_is_refused(store, digest):
    for act in (store.open, store.read, store.erase):
        with pytest.raises(InvalidInputError, match="64 lower-case hex"):
            act("t", digest)


@pytest.mark.parametrize("tenant", ["..", "a/../../b", "/", "CON"])
def test_a_tenant_name_cannot_leave_the_folder(store, tenant):
    store.put(tenant, DATA)
    assert all(path.is_relative_to(store.folder) for path in files(store.folder.parent.parent))


def test_erased_is_gone(store):
    store.put("t", DATA)
    assert store.erase("t", DIGEST)
    assert files(store.folder) == []
    assert not store.erase("t", DIGEST)
    with pytest.raises(BlobError):
        store.read("t", DIGEST)


def test_erasing_takes_the_second_name_that_a_crash_left(store):
    store.put("t", DATA)
    [path] = files(store.folder)
    os.link(path, path.parent.parent / ".new-left")
    assert store.erase("t", DIGEST)
    assert files(store.folder) == []


def test_left_over_temporary_files_are_listed_when_old_enough(store):
    store.put("t", DATA)
    left = store.folder / tenant_key("t") / ".new-left"
    left.write_bytes(b"half")
    assert store.leftovers() == []
    assert store.leftovers(0) == [left]
    os.utime(left, (1, 1))
    assert store.leftovers() == [left]
    assert store.digests("t") == [DIGEST]


def test_a_failed_write_leaves_nothing_and_can_be_repeated(store):
    failpoints.arm("blob_written:raise")
    try:
        with pytest.raises(StoreError, match="blob_written"):
            store.put("t", DATA)
    finally:
        failpoints.arm(None)
    assert files(store.folder) == []
    store.put("t", DATA)
    assert store.read("t", DIGEST) == DATA


def test_a_failing_source_leaves_nothing(store):
    class Broken(io.RawIOBase):
        def read(self, size=-1):
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(BlobError, match="writing a blob of tenant 't'") as caught:
        store.put("t", Broken())
    assert isinstance(caught.value.__cause__, OSError)
    assert files(store.folder) == []


@pytest.mark.parametrize("call", ["fsync", "link", "mkdir"])
def test_a_full_disk_is_called_a_full_disk(store, monkeypatch, call):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(BlobError, match="the disk is full"):
            store.put("t", DATA)
    assert files(store.folder.parent) == [] if store.folder.parent.exists() else True
    store.put("t", DATA)
    assert store.read("t", DIGEST) == DATA


def test_a_file_system_without_hard_links_will_do(store, monkeypatch):
    def none(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    store.put("t", DATA)
    store.put("t", DATA)
    assert store.read("t", DIGEST) == DATA
    assert len(files(store.folder)) == 1


def test_a_folder_that_is_a_file_is_one_clear_error(tmp_path):
    (tmp_path / "blobs").write_bytes(b"")
    with pytest.raises(BlobError, match="blobs"):
        BlobStore(tmp_path / "blobs").put("t", DATA)


def test_a_copy_holds_every_blob_and_the_second_copy_only_what_is_new(store, tmp_path):
    store.put("t", DATA)
    store.put("u", DATA)
    assert store.copy_to(tmp_path / "backup") == 2
    store.put("u", b"new")
    assert store.copy_to(tmp_path / "backup") == 1
    backup = BlobStore(tmp_path / "backup")
    assert backup.tenants() == store.tenants()
    assert backup.read("t", DIGEST) == backup.read("u", DIGEST) == DATA


def test_a_damaged_blob_is_not_copied(store, tmp_path):
    store.put("t", DATA)
    files(store.folder)[0].write_bytes(b"rot")
    with pytest.raises(CorruptPayloadError):
        store.copy_to(tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_an_empty_store_has_nothing_and_copies_nothing(store, tmp_path):
    assert (store.tenants(), store.digests("t"), store.leftovers(), store.copy_to(tmp_path / "b")) == ([], [], [], 0)


def test_many_threads_may_store_the_same_and_other_bytes(store):
    failed = []

    def work(number):
        try:
            for turn in range(20):
                digest, _ = store.put("t", b"%d" % (turn if number % 2 else turn * number))
                store.read("t", digest)
        except BlobError as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(store.digests("t")) == len({turn * number for turn in range(20) for number in (0, 1, 2)})
    assert store.leftovers(0) == []
