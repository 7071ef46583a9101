"""The archive: what is written comes back, and whatever else is refused."""

import hashlib
import json
import os
import stat
import struct
import subprocess
import sys
import zipfile
import zlib

import pytest

from engramos.errors import ArchiveError, ConfigError, CorruptPayloadError
from engramos.vault.archive import ArchiveReader
from engramos.vault.archive_writer import ArchiveWriter
from engramos.vault.archive_zip import Limits, MemberFile, read_directory

BLOB = b"not yet a tensor" * 100
DIGEST = hashlib.sha256(BLOB).hexdigest()
BLOB_NAME = f"blobs/{DIGEST}.safetensors"
RECORDS = [{"id": number, "text": "ünï \u2028 \n text", "half": "\ud800"} for number in range(50)]


@pytest.fixture
def good(tmp_path):
    (tmp_path / "blob").write_bytes(BLOB)
    path = tmp_path / "good.engramos"
    with ArchiveWriter(path, {"by": "test"}) as writer:
        for record in RECORDS:
            writer.write("cubes", record)
        writer.open_stream("journal")
        writer.add_blob(DIGEST, tmp_path / "blob")
    return path


def read_all(path, limits=None):
    with ArchiveReader(path, limits or Limits()) as reader:
        reader.check()
        return {name: list(reader.records(name)) for name in reader.streams}, dict(reader.blobs())


def members_of(path):
    with zipfile.ZipFile(path) as source:
        return [[info, source.read(info)] for info in source.infolist()]


def pack(path, members):
    with zipfile.ZipFile(path, "w") as target:
        for info, data in members:
            target.writestr(info, data, compress_type=zipfile.ZIP_STORED)
    return path


def with_manifest(path, change):
    """Write the archive anew with a manifest that `change` has edited."""
    members = members_of(path)
    manifest = json.loads(members[0][1])
    members[0][1] = json.dumps(change(manifest) or manifest).encode()
    return pack(path, members)


def patched(path, layout, position_in_header, value):
    """Overwrite a number in the directory's record of the last member."""
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, data.rindex(b"PK\1\2") + position_in_header, value)
    path.write_bytes(data)
    return path


def refused(path, words, limits=None):
    with pytest.raises(ArchiveError, match=words) as caught:
        read_all(path, limits)
    assert str(path) in str(caught.value)


def test_what_is_written_comes_back(good):
    with ArchiveReader(good) as reader:
        reader.check()
        assert reader.info == {"by": "test"}
        assert list(reader.records("cubes")) == RECORDS
        assert list(reader.records("journal")) == []
        assert reader.streams["cubes"].num_records == len(RECORDS)
        assert dict(reader.blobs()) == {DIGEST: len(BLOB)}
        with reader.open_blob(DIGEST) as blob:
            assert blob.read() == BLOB
        assert reader.created_at.utcoffset().total_seconds() == 0


def test_an_ordinary_zip_tool_reads_it_and_finds_the_manifest_first(good):
    with zipfile.ZipFile(good) as source:
        assert source.testzip() is None
        assert source.namelist() == ["manifest.json", "cubes.jsonl", "journal.jsonl", BLOB_NAME]


def test_only_the_archive_is_left_behind(good):
    assert sorted(os.listdir(good.parent)) == ["blob", "good.engramos"]


def test_an_archive_is_not_replaced_unless_asked(good):
    before = good.read_bytes()
    with pytest.raises(ArchiveError, match="there already"), ArchiveWriter(good, {}):
        pass
    assert good.read_bytes() == before
    with ArchiveWriter(good, {"second": True}, overwrite=True):
        pass
    with ArchiveReader(good) as reader:
        assert reader.info == {"second": True}


def test_an_archive_that_appears_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "a.engramos"
    with pytest.raises(ArchiveError, match="there already"), ArchiveWriter(path, {}):
        path.write_bytes(b"other")
    assert path.read_bytes() == b"other"
    assert os.listdir(tmp_path) == ["a.engramos"]


@pytest.mark.parametrize("record", [{"x": float("nan")}, {"x": object()}, {"x": b"bytes"}])
def test_a_record_that_is_no_json_leaves_nothing_behind(tmp_path, record):
    with (
        pytest.raises(ArchiveError, match="record 1 of stream 'cubes'"),
        ArchiveWriter(tmp_path / "a.engramos", {}) as writer,
    ):
        writer.write("cubes", record)
    assert os.listdir(tmp_path) == []


def write_and_fail(path):
    with ArchiveWriter(path, {}) as writer:
        writer.write("cubes", {"x": 1})
        raise KeyError("caller")


def test_a_failing_caller_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyError):
        write_and_fail(tmp_path / "a.engramos")
    assert os.listdir(tmp_path) == []


def test_a_blob_with_other_bytes_than_its_digest_stops_the_dump(tmp_path):
    blob = tmp_path / "blob"
    blob.write_bytes(b"other")
    with pytest.raises(CorruptPayloadError), ArchiveWriter(tmp_path / "a.engramos", {}) as writer:
        writer.add_blob(DIGEST, blob)
    assert os.listdir(tmp_path) == ["blob"]


def test_two_dumps_to_one_name_do_not_mix(tmp_path):
    path = tmp_path / "a.engramos"
    with ArchiveWriter(path, {}):
        with pytest.raises(ArchiveError, match="another dump is running"), ArchiveWriter(path, {}):
            pass
        assert (tmp_path / "a.engramos.partial").exists()
    assert path.exists()


def test_text_that_packs_like_a_bomb_is_still_readable(tmp_path):
    path = tmp_path / "a.engramos"
    with ArchiveWriter(path, {}) as writer:
        writer.write("cubes", {"text": "a" * 3_000_000})
        writer.write("journal", {"text": "b"})
    streams, _ = read_all(path)
    assert len(streams["cubes"][0]["text"]) == 3_000_000


@pytest.mark.parametrize("data", [b"", b"PK", b"hello world" * 10, b"PK\3\4" + b"x" * 60])
def test_a_file_that_is_no_zip_is_refused(tmp_path, data):
    path = tmp_path / "a.engramos"
    path.write_bytes(data)
    refused(path, "no zip file|truncated")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    refused(tmp_path / "none.engramos", "No such file")
    refused(tmp_path, "not a file")


def test_every_truncation_is_refused(good):
    data = good.read_bytes()
    for length in range(0, len(data), 7):
        good.write_bytes(data[:length])
        refused(good, "archive")


@pytest.mark.parametrize("around", [(b"#!/bin/sh\n", b""), (b"PK\3\4", b""), (b"", b"tail")])
def test_bytes_before_or_after_the_zip_are_refused(good, around):
    good.write_bytes(around[0] + good.read_bytes() + around[1])
    refused(good, "no zip file|before or after|after its end")


HOSTILE_NAMES = {
    "/etc/cron.d/x": "is absolute",
    "../x.jsonl": "leaves its folder",
    "blobs/../../x.jsonl": "leaves its folder",
    "blobs\\x.jsonl": "backslash",
    "C:x.jsonl": "names a drive",
    "nul\0.jsonl": "NUL",
    "Cubes.jsonl": "only in case",
    "cubes.jsonl": "stands in it twice",
    "payload.pkl": "unknown member",
    "blobs/1234.safetensors": "unknown member",
    "extra.jsonl": "not in its manifest",
    "ünï.jsonl": "not plain ASCII",
    "blobs/": "not a file",
    "x" * 200: "over-long name",
}


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_member_names_are_refused(good, name):
    info = zipfile.ZipInfo("placeholder")
    info.filename = name
    refused(pack(good, [*members_of(good), [info, b""]]), HOSTILE_NAMES[name])


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR])
def test_links_and_devices_are_refused(good, kind):
    members = members_of(good)
    members[-1][0].external_attr = (kind | 0o777) << 16
    refused(pack(good, members), "a link, a device or a folder")


@pytest.mark.parametrize(("flag", "words"), [(0x1, "encrypted"), (0x2000, "encrypted"), (0x20, "unknown way")])
def test_encrypted_and_odd_members_are_refused(good, flag, words):
    refused(patched(good, "<H", 8, flag), words)


def test_an_unknown_packing_method_is_refused(good):
    members = members_of(good)
    with zipfile.ZipFile(good, "w") as target:
        for info, data in members:
            target.writestr(info, data, compress_type=zipfile.ZIP_BZIP2)
    refused(good, "unknown way")


@pytest.mark.parametrize("position", [20, 24, 42])
@pytest.mark.parametrize("value", [0, 1, 2**31, 2**32 - 1])
def test_lying_sizes_and_offsets_are_refused(good, position, value):
    refused(patched(good, "<I", position, value), "archive")


def test_members_that_share_their_bytes_are_refused(good):
    data = bytearray(good.read_bytes())
    first = data.index(b"PK\1\2")
    struct.pack_into("<I", data, data.index(b"PK\1\2", first + 1) + 42, 0)
    good.write_bytes(data)
    refused(good, "overlaps")


@pytest.mark.parametrize("where", [b"not yet a tensor", b"PK\3\4"])
def test_a_changed_byte_is_refused(good, where):
    data = bytearray(good.read_bytes())
    data[data.rindex(where)] ^= 1
    good.write_bytes(data)
    refused(good, "wrong checksum|not where")


def test_a_blob_that_is_not_its_name_is_refused_though_its_crc_is_right(good):
    members = members_of(good)
    members[-1][1] = members[-1][1][::-1]
    refused(pack(good, members), "wrong checksum")


def test_a_wrong_checksum_shows_before_the_last_records_are_given(good):
    members = members_of(good)
    members[1][1] = members[1][1].replace(b'"id":7,', b'"id":8,')
    pack(good, members)
    with ArchiveReader(good) as reader, pytest.raises(ArchiveError, match="wrong checksum"):
        list(reader.records("cubes"))


def change_of(*path_and_value):
    *path, key, value = path_and_value

    def change(manifest):
        for step in path:
            manifest = manifest[step]
        manifest[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_of("format", "zip"), "not of format"),
        (change_of("format_version", 2), "newer engramos .*upgrade"),
        (change_of("format_version", True), "keys of its format version"),
        (change_of("surplus", 1), "keys of its format version"),
        (change_of("created_at", "yesterday"), "no time"),
        (change_of("created_at", "2026-01-01T00:00:00"), "no time"),
        (change_of("info", []), "no object"),
        (change_of("streams", []), "no object"),
        (change_of("streams", "cubes", {}), "wrongly"),
        (change_of("streams", "cubes", "member", "../x"), "wrongly"),
        (change_of("streams", "cubes", "records", -1), "wrong numbers"),
        (change_of("streams", "cubes", "records", 7), "says 7"),
        (change_of("streams", "cubes", "bytes", 1), "manifest says 1"),
        (change_of("streams", "cubes", "sha256", "0" * 64), "wrong checksum"),
        (change_of("blobs", {}), "not in its manifest"),
        (change_of("blobs", "0" * 64, 1), "is missing"),
        (change_of("blobs", "../x", 1), "without digest"),
        (change_of("blobs", DIGEST, 1), "manifest says 1"),
        (lambda manifest: [manifest], "must be a JSON object"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(good, change, words):
    refused(with_manifest(good, change), words)


def test_a_key_that_stands_twice_in_the_manifest_is_refused(good):
    members = members_of(good)
    members[0][1] = members[0][1].replace(b'"info":', b'"info":{},"info":')
    refused(pack(good, members), "stands twice")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{bad}\n", "line 2"),
        (b"[1]\n", "line 2 .*list"),
        (b"\n", "line 2"),
        (b'{"a":NaN}\n', "line 2"),
        (b'{"a":1}', "line 2 has no end"),
        (b'{"a":"\xff"}\n', "line 2"),
        (b'{"a":' + b"[" * 200_000 + b"\n", "line 2"),
        (b'{"a":[' + b"[]," * 1_000_000 + b"1]}\n", "more than 1000000 values"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(tmp_path, line, words):
    data = b"{}\n" + line
    stream = {"member": "cubes.jsonl", "records": 2, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest = {
        "format": "engramos-archive",
        "format_version": 1,
        "created_at": "2026-01-01T00:00:00+00:00",
        "streams": {"cubes": stream},
        "blobs": {},
        "info": {},
    }
    path = tmp_path / "a.engramos"
    pack(path, [["manifest.json", json.dumps(manifest)], ["cubes.jsonl", data]])
    refused(path, words)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(max_archive_bytes=100), "may have 100"),
        (Limits(max_members=3), "4 members"),
        (Limits(max_manifest_bytes=10), "over the limit"),
        (Limits(max_stream_bytes=10), "may have 10"),
        (Limits(max_line_bytes=10), "within 10 bytes"),
        (Limits(max_blob_bytes=10), "may have 10"),
        (Limits(max_ratio=2), "over 2 to 1"),
    ],
)
def test_each_limit_holds(good, limits, words):
    read_all(good)
    refused(good, words, limits)


def test_limits_must_be_positive():
    with pytest.raises(ConfigError, match="max_ratio"):
        Limits(max_ratio=0)


def test_a_stream_that_unpacks_to_more_than_it_says_is_refused(good):
    """Only the directory's size is too small: the manifest agrees with it, so counting has to find it."""
    data = bytearray(good.read_bytes())
    with zipfile.ZipFile(good) as source:
        info = source.getinfo("cubes.jsonl")
        text = source.read(info)
    short = text[: text.index(b"\n") + 1]
    for header, size_at, crc_at in (
        (info.header_offset, 22, 14),
        (data.index(b"PK\1\2", data.index(b"PK\1\2") + 1), 24, 16),
    ):
        struct.pack_into("<I", data, header + size_at, len(short))
        struct.pack_into("<I", data, header + crc_at, zlib.crc32(short))
    good.write_bytes(data)
    with open(good, "rb") as file:
        entry = read_directory(file, good, Limits())[1]
        with pytest.raises(ArchiveError, match="unpacks to more"):
            MemberFile(file, good, entry).read()


READ_IN_CHILD = """
import re, sys
from pathlib import Path
from engramos.errors import ArchiveError
from engramos.vault.archive import ArchiveReader
try:
    with ArchiveReader(Path(sys.argv[1])) as reader:
        reader.check()
    print("read")
except ArchiveError as error:
    print(error)
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def child_reads(path):
    done = subprocess.run([sys.executable, "-c", READ_IN_CHILD, path], capture_output=True, text=True, check=True)
    *said, peak_kib = done.stdout.splitlines()
    return " ".join(said), int(peak_kib) * 1024


def craft(path, packed, num_bytes, *, crc=0, digest="0" * 64, num_extra=0):
    """Write an archive of one deflated stream, of which every number may lie."""
    stream = {"member": "cubes.jsonl", "records": 1, "bytes": num_bytes, "sha256": digest}
    manifest = {"format": "engramos-archive", "format_version": 1, "created_at": "2026-01-01T00:00:00+00:00"}
    manifest = json.dumps(manifest | {"streams": {"cubes": stream}, "blobs": {}, "info": {}}).encode()
    wide = struct.pack("<2HQ", 1, 8, num_bytes) + b"\xff" * num_extra
    members = (b"manifest.json", manifest, 0, len(manifest), b""), (b"cubes.jsonl", packed, 8, 2**32 - 1, wide)
    directory = b""
    with open(path, "wb") as file:
        for name, data, method, unpacked, extra in members:
            numbers = 20, 0, method, 0, 33, crc if method else zlib.crc32(data), len(data), unpacked, len(name)
            body = struct.pack("<5H3IH", *numbers)
            tail = (
                struct.pack("<H", len(extra) - num_extra * bool(extra)),
                struct.pack("<3H2I", 0, 0, 0, 0, file.tell()),
            )
            directory += b"PK\1\2" + struct.pack("<H", 20) + body + b"".join(tail) + name
            directory += extra[: len(extra) - num_extra]
            file.write(b"PK\3\4" + body + struct.pack("<H", len(extra)) + name + extra[: len(extra) - num_extra] + data)
        at = file.tell()
        file.write(directory + b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 2, 2, len(directory), at, 0))
    return path


def test_every_number_of_a_packed_member_is_verified(tmp_path):
    text, path = b'{"a":"some text"}\n', tmp_path / "a.engramos"
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(text) + packer.flush()
    right = {"crc": zlib.crc32(text), "digest": hashlib.sha256(text).hexdigest()}
    assert read_all(craft(path, packed, len(text), **right))[0] == {"cubes": [{"a": "some text"}]}
    refused(craft(path, packed, len(text) + 1, **right), f"unpacks to {len(text)} bytes and says {len(text) + 1}")
    refused(craft(path, packed, len(text) - 1, **right), "unpacks to more")
    refused(craft(path, packed + b"junk", len(text), **right), "belong to nothing")
    refused(craft(path, packed[:-3], len(text), **right), "belong to nothing|unpacks to")
    refused(craft(path, packed, len(text), **right, num_extra=1), "overlaps another")
    refused(craft(path, packed, len(text), **right | {"crc": 1}), "wrong checksum")
    refused(craft(path, packed, len(text), **right | {"digest": "0" * 64}), "wrong checksum")
    refused(craft(path, b"\xff" * 20, len(text), **right), "unpacking cubes.jsonl")


def test_ten_declared_gigabytes_are_refused_below_256_mb(tmp_path):
    """60 MB packed at 170 to 1 as declared, so that the limits let it pass, unpacking to 300 MB and then garbage."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(10_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed *= 30  # after a full flush a run stands for itself and may be repeated
    path = craft(tmp_path / "a.engramos", packed.ljust(60_000_000, b"\0"), 10_000_000_000)
    said, peak_bytes = child_reads(path)
    assert "unpack" in said
    assert peak_bytes < 256 * 10**6


def test_a_million_members_are_refused_below_256_mb(tmp_path):
    path = tmp_path / "a.engramos"
    record = b"PK\1\2" + struct.pack("<6H3I5H2I", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    for declared in (1_000_000, 5):
        size = len(record) * 1_000_000
        end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, declared, declared, size, 2)
        end64 += struct.pack("<4sIQI", b"PK\6\7", 0, size + 2, 1)
        path.write_bytes(
            b"PK"
            + record * 1_000_000
            + end64
            + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, *[65535] * 2, *[2**32 - 1] * 2, 0)
        )
        said, peak_bytes = child_reads(path)
        assert "members" in said
        assert peak_bytes < 256 * 10**6
