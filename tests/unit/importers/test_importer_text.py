"""Text, Markdown and JSON lines."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engramos.errors import ImportFailedError
from engramos.importers.base import detect
from engramos.importers.jsonl import Jsonl
from engramos.importers.markdown import Markdown
from engramos.importers.text import Text
from engramos.messages import Document, Message, Problem

IMPORTS = Path(__file__).parents[2] / "data" / "imports"
WORDS = "Olá\r\n\u200b\u202eשלום 🦉\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-mark", "utf-16-be-mark"])
def test_text_is_kept_to_the_character_in_every_encoding(encoding, tmp_path):
    path = tmp_path / "note.txt"
    if encoding.endswith("-mark"):
        path.write_bytes(("\ufeff" + WORDS).encode(encoding.removesuffix("-mark")))
    else:
        path.write_bytes(WORDS.encode(encoding))
    assert type(detect(path)) is Text
    assert list(Text().read(path)) == [Document(WORDS, "note", document_id="note.txt")]


@pytest.mark.parametrize(
    ("data", "position"),
    [
        (b"caf\xe9 au lait", "byte 3"),
        (b"\xef\xbb\xbfcaf\xe9 au lait", "byte 6"),
        (b"\xff\xfea\x00\x00\xd8", "byte 4"),
        (b"abc\0def", "byte 3"),
        ("\u00e9\0".encode(), "byte 2"),
        (b"\x01\x02\x03 abc", "byte 0"),
        (b" \n\t ", "byte 0"),
    ],
)
def test_what_is_no_text_is_refused_at_its_byte(data, position, tmp_path):
    path = tmp_path / "note.txt"
    path.write_bytes(data)
    for importer in (Text(), Markdown()):
        with pytest.raises(ImportFailedError) as caught:
            list(importer.read(path))
        assert caught.value.position == position


def test_front_matter_gives_title_and_date_and_its_other_lines_stay():
    (found,) = Markdown().read(IMPORTS / "markdown.md")
    assert (found.title, found.at) == ("The well", datetime(2021, 7, 9, tzinfo=UTC))
    assert found.text == "tags: [water]\n# Depth\n\nThe well is 12 m deep.\n"
    assert found.is_markdown


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# Rain #\n\nMuch.", "Rain"),
        ("Much.\n## Less\n# Rain\n", "Rain"),
        ("Much rain.", "weather"),
        ("---\nno: field\n---\nMuch.", "weather"),
        ("---\nMuch.\n", "weather"),
    ],
)
def test_the_title_is_the_first_heading_or_the_file_name_and_nothing_is_lost(text, title, tmp_path):
    path = tmp_path / "weather.md"
    path.write_text(text)
    (found,) = Markdown().read(path)
    assert (found.title, found.text) == (title, text)


def test_a_wrong_date_in_front_matter_is_a_problem_and_the_text_is_read(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("---\ndate: someday\n---\nText.")
    problem, document = Markdown().read(path)
    assert (problem.position, problem.text) == ("front matter, date", "someday")
    assert (document.text, document.at) == ("Text.", None)


def test_json_lines_hold_messages_and_documents():
    key, wifi, guest, note = Jsonl().read(IMPORTS / "jsonl.jsonl")
    at = datetime(2024, 2, 3, tzinfo=UTC)
    assert key == Message("The key is under the mat.", at=at, session="home", message_id="7")
    assert wifi == Document("Ask at the desk.", "Wifi", at=datetime(2024, 2, 4, 10, tzinfo=UTC))
    assert guest == Message("Merci, à bientôt.", speaker="Mo")
    assert note.title == "jsonl:5"


@pytest.mark.parametrize(
    "line",
    [b"{", b"17", b"\xff", b'{"a": 1}', b'{"text": ""}', b'{"text": "x", "date": "no"}', b"[" * 3000, b"1" * 5000],
)
def test_a_bad_line_is_one_problem_and_the_rest_is_read(line, tmp_path):
    path = tmp_path / "lines.jsonl"
    good = json.dumps({"role": "user", "content": "x"}).encode()
    path.write_bytes(b"\n".join([good, line, good, b""]))
    assert type(detect(path)) is Jsonl
    first, bad, last = Jsonl().read(path)
    assert isinstance(bad, Problem)
    assert bad.position == "line 2"
    assert first == last == Message("x")


def test_json_lines_in_utf_16_are_read(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"role": "user", "content": "é"}\n', encoding="utf-16")
    assert list(detect(path).read(path)) == [Message("é")]


@pytest.mark.parametrize(
    "text", ["# " + " #" * 50_000 + "x", "---\ntitle:" + " " * 100_000 + "x\n---\nText.", "# " + "\t" * 100_000 + "\nx"]
)
def test_a_long_strange_line_in_markdown_is_read_in_linear_time(text, tmp_path):
    path = tmp_path / "a.md"
    path.write_text(text)
    (found,) = Markdown().read(path)
    assert found.title
