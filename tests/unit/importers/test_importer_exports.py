"""ChatGPT and Claude exports."""

import json
import struct
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engramos.errors import ImportFailedError
from engramos.importers.chatgpt import Chatgpt
from engramos.importers.claude import Claude
from engramos.messages import Document, Message, Problem

IMPORTS = Path(__file__).parents[2] / "data" / "imports"


def test_chatgpt_reads_the_current_branch_and_leaves_out_what_nobody_said():
    found = list(Chatgpt().read(IMPORTS / "chatgpt.json"))
    assert [(one.text, one.role, one.session, one.message_id) for one in found] == [
        ("[image]\nWhy is my bread flat?", "user", "c-1", "m2"),
        ("Your starter is too young.", "assistant", "c-1", "m5"),
        ("Green tea, please.", "user", "c-3", "m6"),
    ]
    assert found[0].at == datetime(2023, 11, 14, 22, 13, 21, 250_000, tzinfo=UTC)
    assert found[1].at == datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC)


@pytest.mark.parametrize("node", ["nowhere", 5, "n1"])
def test_chatgpt_reports_a_branch_that_cannot_be_walked(node, tmp_path):
    mapping = {"n1": {"parent": "n2", "children": ["n2"]}, "n2": {"parent": "n1", "children": ["n1"]}}
    good = json.loads((IMPORTS / "chatgpt.json").read_text())[2]
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([{"mapping": mapping, "current_node": node}, good]))
    bad, rest = Chatgpt().read(path)
    assert isinstance(bad, Problem)
    assert bad.position == "conversations[0]"
    assert rest.text == "Green tea, please."


def test_chatgpt_steps_over_a_broken_node(tmp_path):
    conversations = json.loads((IMPORTS / "chatgpt.json").read_text())
    conversations[0]["mapping"]["n4"] = "broken"
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps(conversations[0]))
    assert [type(one) for one in Chatgpt().read(path)] == [Message, Problem, Message]


def test_claude_reads_turns_and_attached_texts():
    first, attached, second = Claude().read(IMPORTS / "claude.json")
    assert first == Message(
        "When do I sow beans? [file: plan.txt]",
        "user",
        at=datetime(2024, 3, 1, 9, 0, 1, tzinfo=UTC),
        session="u-1",
        message_id="t-1",
    )
    assert attached == Document("Bed 3: beans", "plan.txt", at=first.at, document_id="t-1/file/1")
    assert (second.text, second.role) == ("In May, after the frost.", "assistant")


def zipped(path: Path, members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("importer", [Chatgpt(), Claude()])
def test_hostile_zips_are_refused(importer, tmp_path):
    json_bytes = (IMPORTS / "chatgpt.json").read_bytes()
    bomb = zipped(tmp_path / "bomb.zip", [("conversations.json", b"[" + b" " * 3_000_000 + b"]")])
    none = zipped(tmp_path / "none.zip", [("user.json", b"{}")])
    two = zipped(tmp_path / "two.zip", [("a/conversations.json", json_bytes), ("b/conversations.json", json_bytes)])
    odd = zipped(tmp_path / "odd.zip", [("conversations.json", json_bytes)], zipfile.ZIP_LZMA)
    for path, words in ((bomb, "bomb"), (none, "holds 0"), (two, "holds 2"), (odd, "packed in a way")):
        with pytest.raises(ImportFailedError, match=words):
            list(importer.read(path))


def patched(path: Path, offset: int, form: str, value: int) -> None:
    """Change a field of the only entry of a zip's list of members."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, data.index(b"PK\x01\x02") + offset, value)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("offset", "form", "value", "words"),
    [
        (24, "<I", 2_100_000_000, "declares 2100000000 bytes"),
        (24, "<I", 900_000_000, "bomb"),
        (8, "<H", 1, "encrypted"),
        (16, "<I", 12345, "damaged"),
    ],
)
def test_a_zip_that_lies_is_refused(offset, form, value, words, tmp_path):
    path = zipped(tmp_path / "export.zip", [("conversations.json", (IMPORTS / "chatgpt.json").read_bytes())])
    patched(path, offset, form, value)
    with pytest.raises(ImportFailedError, match=words):
        list(Chatgpt().read(path))


def test_a_zip_with_a_huge_list_of_members_is_refused_before_it_is_read(tmp_path):
    path = zipped(tmp_path / "export.zip", [("conversations.json", b"[]")])
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x05\x06") + 12, 0xFFFFFFFF)
    path.write_bytes(data)
    with pytest.raises(ImportFailedError, match="list of members"):
        list(Chatgpt().read(path))


def test_a_zip_leaves_nothing_on_the_disk(tmp_path):
    path = zipped(tmp_path / "export.zip", [("conversations.json", (IMPORTS / "claude.json").read_bytes())])
    assert len(list(Claude().read(path))) == 3
    assert list(tmp_path.iterdir()) == [path]


def test_a_json_file_over_the_limit_is_refused_unread(tmp_path):
    path = tmp_path / "conversations.json"
    with path.open("wb") as stream:
        stream.write(b"[{")
        stream.truncate(1_000_000_001)
    with pytest.raises(ImportFailedError, match="split it"):
        list(Claude().read(path))
