import json
from datetime import UTC, datetime

import pytest

from engramos.importers.openai_messages import OpenaiMessages
from engramos.messages import Message, Problem


@pytest.fixture
def read(tmp_path):
    def read_value(value):
        path = tmp_path / "messages.json"
        path.write_text(json.dumps(value))
        return list(OpenaiMessages().read(path))

    return read_value


def test_plain_content_keeps_role_name_time_session_and_id(read):
    record = {"role": "user", "content": " hi ", "name": "Ines", "timestamp": 1714550460, "session": "s", "id": 4}
    at = datetime(2024, 5, 1, 8, 1, tzinfo=UTC)
    assert read([record]) == [Message(" hi ", "user", speaker="Ines", at=at, session="s", message_id="4")]


def test_tool_parts_become_tool_messages_in_their_place(read):
    parts = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "One."},
        {"type": "tool_use", "name": "look", "input": {"a": "é"}},
        {"type": "text", "text": "Two."},
        {"type": "text", "text": "Three."},
    ]
    found = read([{"role": "assistant", "content": parts, "id": "m"}])
    assert [(one.role, one.text, one.message_id) for one in found] == [
        ("assistant", "One.", "m"),
        ("tool", '[tool_use look] {"a": "é"}', "m/2"),
        ("assistant", "Two.\nThree.", "m/3"),
    ]


def test_tool_results_and_tool_calls_are_of_the_role_tool(read):
    found = read(
        [
            {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "09:04"}]}]},
            {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
            {"role": "function", "name": "f", "content": "done"},
        ]
    )
    assert [(one.role, one.text) for one in found] == [
        ("tool", "[tool_result] 09:04"),
        ("tool", "[tool_use f] {}"),
        ("tool", "done"),
    ]


def test_images_and_files_are_named_in_brackets_without_their_data(read):
    parts = [
        "Look:",
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "file", "file": {"filename": "a.pdf"}},
    ]
    assert read([{"role": "user", "content": parts}])[0].text == (
        "Look:\n[image]\n[image: https://example.org/a.png]\n[file: a.pdf]"
    )


def test_a_list_of_conversations_takes_each_ones_session(read):
    one = {"role": "user", "content": "x"}
    found = read([{"id": "a", "messages": [one]}, {"conversation_id": "b", "messages": [one, 3]}])
    assert [message.session for message in found[:2]] == ["a", "b"]
    assert found[2].position == "[1].messages[1]"


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2024-05-01T10:00:00", datetime(2024, 5, 1, 10, tzinfo=UTC)),
        ("2024-05-01T10:00:00+02:00", datetime(2024, 5, 1, 8, tzinfo=UTC)),
        ("2024-05-01T10:00:00Z", datetime(2024, 5, 1, 10, tzinfo=UTC)),
        (1714557600.25, datetime(2024, 5, 1, 10, 0, 0, 250_000, tzinfo=UTC)),
        (1714557600000, datetime(2024, 5, 1, 10, tzinfo=UTC)),
        ("1714557600", datetime(2024, 5, 1, 10, tzinfo=UTC)),
        (None, None),
        ("", None),
    ],
)
def test_times_are_read_as_iso_seconds_or_milliseconds(read, at, expected):
    assert read([{"role": "user", "content": "x", "at": at}])[0].at == expected


@pytest.mark.parametrize(
    "at", ["yesterday", "2024-13-01", 1e300, float("nan"), True, [1], {}, 10**20, "9999-12-31T23:00-05"]
)
def test_a_wrong_date_is_a_problem(read, at):
    good = {"role": "user", "content": "x"}
    found = read([good, {**good, "at": at}, good])
    assert [type(one) for one in found] == [Message, Problem, Message]
    assert found[1].position == "messages[1]"


@pytest.mark.parametrize(
    "record",
    [
        {"role": "king", "content": "x"},
        {"role": ["user"], "content": "x"},
        {"content": "x"},
        {"role": "user"},
        {"role": "user", "content": "  "},
        {"role": "user", "content": 5},
        {"role": "user", "content": [5]},
        {"role": "user", "content": [{"type": "text"}]},
        {"role": "user", "content": "half \ud800 pair"},
        {"role": "user", "content": "nul \0"},
        {"role": "user", "content": "x" * 1_000_001},
        {"role": "user", "content": "x", "name": ["a"]},
        {"role": "user", "content": "x", "id": True},
        {"role": "assistant", "content": "x", "tool_calls": 3},
        {"role": "assistant", "content": "x", "tool_calls": [3]},
    ],
)
def test_a_bad_message_is_a_problem_with_a_short_excerpt(read, record):
    (found,) = read([record])
    assert isinstance(found, Problem)
    assert found.text.encode()
    assert len(found.text) <= 200
