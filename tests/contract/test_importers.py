"""What every importer keeps to, whatever its format."""

import json
import os
import zipfile
from pathlib import Path

import pytest

from engramos.errors import ImportFailedError, UnknownMethodError
from engramos.importers import ROLE
from engramos.importers._bytes import HEAD_BYTES
from engramos.importers.base import Importer, detect
from engramos.messages import Document, Message, Problem

IMPORTS = Path(__file__).parent.parent / "data" / "imports"
SUFFIXES = {"jsonl": ".jsonl", "markdown": ".md", "pdf": ".pdf", "text": ".txt"}
EXPECTED = {
    "chatgpt": (3, 0),
    "claude": (2, 1),
    "jsonl": (2, 2),
    "locomo": (5, 0),
    "longmemeval": (5, 0),
    "markdown": (0, 1),
    "openai_messages": (8, 0),
    "pdf": (0, 1),
    "text": (0, 1),
}
MIDDLE_RECORDS = {
    "chatgpt": ([0, "mapping", "n2", "message"], 'conversations[0].mapping["n2"]'),
    "claude": ([0, "chat_messages", 1], "conversations[0].chat_messages[1]"),
    "locomo": ([0, "conversation", "session_1", 1], "samples[0].conversation.session_1[1]"),
    "longmemeval": ([0, "haystack_sessions", 0, 1], "items[0].haystack_sessions[0][1]"),
    "openai_messages": (["messages", 1], "messages[1]"),
}
names = pytest.mark.parametrize("name", ROLE.names())
json_names = pytest.mark.parametrize("name", sorted(MIDDLE_RECORDS))


def fixture(name: str) -> Path:
    return IMPORTS / f"{name}{SUFFIXES.get(name, '.json')}"


def made(name: str) -> Importer:
    return ROLE.make(name)


@names
def test_an_importer_reads_its_file(name):
    records = list(made(name).read(fixture(name)))
    found = sum(isinstance(one, Message) for one in records), sum(isinstance(one, Document) for one in records)
    assert found == EXPECTED[name]
    assert len(records) == sum(found)
    assert made(name).reads


@names
def test_a_file_is_recognised_by_its_own_importer_only(name):
    head = fixture(name).read_bytes()[:HEAD_BYTES]
    assert [other for other in ROLE.names() if made(other).recognises(fixture(name), head)] == [name]
    assert type(detect(fixture(name))) is ROLE.load(name)


@names
def test_content_comes_before_the_suffix(name, tmp_path):
    path = tmp_path / ("file.txt" if name != "markdown" else "file.markdown")
    path.write_bytes(fixture(name).read_bytes())
    assert type(detect(path)) is ROLE.load(name)


@json_names
def test_a_file_longer_than_its_head_is_recognised(name, tmp_path):
    records = json.loads(fixture(name).read_text())
    path = tmp_path / "long.json"
    if isinstance(records, dict):
        records["messages"] *= 400
    else:
        records *= 200
    path.write_text(json.dumps(records))
    assert path.stat().st_size > HEAD_BYTES
    assert type(detect(path)) is ROLE.load(name)


@names
def test_every_cut_of_the_head_is_claimed_at_most_once(name):
    data = fixture(name).read_bytes()
    importers = [made(other) for other in ROLE.names()]
    for length in range(0, len(data), 7):
        assert sum(one.recognises(fixture(name), data[:length]) for one in importers) <= 1


@names
def test_reading_twice_gives_equal_records(name):
    importer = made(name)
    assert list(importer.read(fixture(name))) == list(importer.read(fixture(name)))


@names
def test_count_is_the_number_of_records(name):
    assert made(name).count(fixture(name)) == len(list(made(name).read(fixture(name))))


@names
def test_a_truncated_file_is_refused(name, tmp_path):
    path = tmp_path / fixture(name).name
    whole = fixture(name).read_bytes().rstrip(b"\n")
    if name == "jsonl":
        path.write_bytes(whole[:-5])
        *rest, last = made(name).read(path)
        assert isinstance(last, Problem)
        assert last.position == "line 5"
        assert "cut off" in last.problem
        assert rest == list(made(name).read(fixture(name)))[:-1]
        return
    if name == "markdown":
        whole = "# Ende\n\nDas Tor blieb zu für alle, auch für dé".encode()
    path.write_bytes(whole[:-1] if name in ("text", "markdown") else whole[: len(whole) * 2 // 3])
    with pytest.raises(ImportFailedError) as caught:
        list(made(name).read(path))
    assert caught.value.path == str(path)
    assert caught.value.position
    assert caught.value.problem


@names
def test_a_missing_an_empty_and_a_binary_file_and_a_folder_are_refused(name, tmp_path):
    empty, binary = tmp_path / "empty.json", tmp_path / "binary.txt"
    empty.touch()
    binary.write_bytes(bytes(range(256)) * 40)
    for path in (tmp_path / "missing", empty, binary, tmp_path):
        if name == "jsonl" and path == binary:
            assert all(isinstance(one, Problem) for one in made(name).read(path))
            continue
        with pytest.raises(ImportFailedError, match=":"):
            list(made(name).read(path))


@json_names
@pytest.mark.parametrize("top", [None, 5, "text", True, {"a": 1}])
def test_a_wrong_top_level_is_refused(name, top, tmp_path):
    path = tmp_path / "top.json"
    path.write_text(json.dumps(top))
    with pytest.raises(ImportFailedError) as caught:
        list(made(name).read(path))
    assert caught.value.position == "top level"


@json_names
def test_a_bad_record_is_one_problem_and_the_rest_is_read(name, tmp_path):
    keys, position = MIDDLE_RECORDS[name]
    value = json.loads(fixture(name).read_text())
    place = value
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = 17
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(value))
    good = list(made(name).read(fixture(name)))
    found = list(made(name).read(path))
    problems = [one for one in found if isinstance(one, Problem)]
    assert [one.position for one in problems] == [position]
    assert problems[0].problem
    rest = [one for one in found if not isinstance(one, Problem)]
    assert rest == [one for one in good if one in rest]
    assert len(rest) == len(good) - 1


@pytest.mark.parametrize("name", ["chatgpt", "claude"])
def test_an_export_is_read_from_its_zip_as_from_its_file(name, tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("chat.html", "<p>not read</p>")
        archive.writestr("export/conversations.json", fixture(name).read_bytes())
    head = path.read_bytes()
    assert [other for other in ROLE.names() if made(other).recognises(path, head)] == [name]
    assert list(detect(path).read(path)) == list(made(name).read(fixture(name)))
    path.write_bytes(head[: len(head) // 2])
    with pytest.raises(ImportFailedError, match="cut off"):
        list(made(name).read(path))
    with pytest.raises(ImportFailedError, match="cut off"):
        detect(path)


def test_an_unknown_format_lists_the_known_ones():
    with pytest.raises(ImportFailedError) as caught:
        detect(IMPORTS / "unknown.json")
    for name in ROLE.names():
        assert name in caught.value.problem
    with pytest.raises(UnknownMethodError, match="locomo"):
        ROLE.make("docx")


def test_a_binary_file_named_txt_is_refused(tmp_path):
    path = tmp_path / "image.txt"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + os.urandom(200))
    with pytest.raises(ImportFailedError, match="binary"):
        detect(path)


def test_two_importers_that_claim_one_file_are_named(monkeypatch):
    monkeypatch.setattr(ROLE.load("text"), "recognises", lambda self, path, head: True)
    with pytest.raises(ImportFailedError, match="could be markdown or text"):
        detect(fixture("markdown"))
