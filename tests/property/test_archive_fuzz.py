"""Archives at random: round trips, and mutated files that must be refused or read correctly."""

import hashlib
import io
import json
import os
import tempfile
import zipfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from engramos.errors import ArchiveError, CorruptPayloadError
from engramos.vault.archive import ArchiveReader
from engramos.vault.archive_writer import ArchiveWriter

FOLDER = tempfile.TemporaryDirectory(prefix="archive-")
ROOT = Path(FOLDER.name)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
records = st.dictionaries(st.text(max_size=5), values, max_size=4)
streams = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), st.lists(records, max_size=4), max_size=3
)


def write(path, info, contents, blobs):
    with ArchiveWriter(path, info, overwrite=True) as writer:
        for name, lines in contents.items():
            writer.open_stream(name)
            for line in lines:
                writer.write(name, line)
        for number, blob in enumerate(blobs):
            source = ROOT / f"blob{number}"
            source.write_bytes(blob)
            writer.add_blob(hashlib.sha256(blob).hexdigest(), source)
    return path.read_bytes()


def read(path):
    with ArchiveReader(path) as reader:
        reader.check()
        contents = {name: list(reader.records(name)) for name in reader.streams}
        blobs = {}
        for digest, _ in reader.blobs():
            with reader.open_blob(digest) as file:
                blobs[digest] = file.read()
        return reader.info, contents, blobs


@settings(max_examples=100, deadline=None)
@given(records, streams, st.lists(st.binary(max_size=300), max_size=3))
def test_any_records_and_blobs_come_back(info, contents, blobs):
    path = ROOT / "any.engramos"
    data = write(path, info, contents, blobs)
    assert read(path) == (info, contents, {hashlib.sha256(blob).hexdigest(): blob for blob in blobs})
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        assert source.testzip() is None


CONTENTS = {"cubes": [{"id": number, "text": f"fact {number}" * 5} for number in range(20)], "empty": []}
VALID = write(ROOT / "valid.engramos", {"by": "test"}, CONTENTS, [b"tensor" * 50, b"other"])
EXPECTED = read(ROOT / "valid.engramos")
# Most bytes belong to content, which checksums protect; the structure deserves most of the changes.
STRUCTURE = [
    start + offset
    for signature in (b"PK\1\2", b"PK\3\4", b"PK\5\6")
    for start in range(len(VALID))
    if VALID[start : start + 4] == signature
    for offset in range(46)
    if start + offset < len(VALID)
]
places = st.sampled_from(STRUCTURE) | st.integers(0, len(VALID) - 1)
changes = st.one_of(
    st.tuples(st.just("set"), places, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("insert"), places, st.binary(min_size=1, max_size=30)),
    st.tuples(st.just("cut"), places, st.integers(1, 200)),
    st.tuples(st.just("copy"), places, st.tuples(places, st.integers(1, 100))),
)


def mutated(data, steps):
    for kind, place, value in steps:
        if kind == "set":
            data = data[:place] + value + data[place + len(value) :]
        elif kind == "insert":
            data = data[:place] + value + data[place:]
        elif kind == "cut":
            data = data[:place] + data[place + value :]
        else:
            data = data[:place] + data[value[0] : value[0] + value[1]] + data[place:]
    return data


def reads_right_or_refuses(data):
    path = ROOT / "mutated.engramos"
    path.write_bytes(data)
    before = sorted(os.listdir(ROOT))
    try:
        found = read(path)
    except (ArchiveError, CorruptPayloadError):
        found = None
    assert sorted(os.listdir(ROOT)) == before
    return found


@settings(max_examples=1500, deadline=None)
@given(st.lists(changes, min_size=1, max_size=3))
def test_a_mutated_archive_is_refused_or_read_correctly(steps):
    found = reads_right_or_refuses(mutated(VALID, steps))
    # The manifest is guarded by a CRC only, and two changes could in principle keep it; nothing else may differ.
    assert found is None or found == EXPECTED


MANIFEST = json.loads(zipfile.ZipFile(io.BytesIO(VALID)).read("manifest.json"))
places_in_manifest = st.sampled_from(
    [("format",), ("format_version",), ("created_at",), ("streams",), ("blobs",), ("info",), ("streams", "cubes")]
    + [("streams", "cubes", key) for key in MANIFEST["streams"]["cubes"]]
)


@settings(max_examples=500, deadline=None)
@given(places_in_manifest, values | st.sampled_from([2**63, -1, "cubes.jsonl", 10**400]))
def test_a_manifest_of_any_shape_is_refused_or_fits(place, value):
    manifest = json.loads(json.dumps(MANIFEST))
    inner = manifest
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    data = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(VALID)) as source, zipfile.ZipFile(data, "w") as target:
        for name in source.namelist():
            target.writestr(name, json.dumps(manifest) if name == "manifest.json" else source.read(name))
    found = reads_right_or_refuses(data.getvalue())
    assert found is None or found[1:] == EXPECTED[1:]
