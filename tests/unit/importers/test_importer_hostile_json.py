"""Any JSON value in the place of a record: only problems, or the one error of importing."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engramos.errors import ImportFailedError
from engramos.importers import ROLE
from engramos.importers.base import detect
from engramos.messages import Document, Message, Problem

IMPORTERS = {name: ROLE.make(name) for name in ROLE.names()}
KEYS = st.sampled_from(
    [
        "role",
        "content",
        "text",
        "type",
        "name",
        "id",
        "at",
        "create_time",
        "messages",
        "mapping",
        "message",
        "author",
        "parts",
        "parent",
        "children",
        "current_node",
        "chat_messages",
        "sender",
        "created_at",
        "attachments",
        "file_name",
        "extracted_content",
        "conversation",
        "session_1",
        "session_1_date_time",
        "speaker_a",
        "qa",
        "evidence",
        "dia_id",
        "blip_caption",
        "question_id",
        "haystack_sessions",
        "haystack_dates",
        "haystack_session_ids",
        "title",
        "tool_calls",
        "function",
        "input",
        "speaker",
        "session",
        "uuid",
        "metadata",
        "recipient",
        "sample_id",
        "conversations",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["user", "human", "assistant", "text", "tool_use", "tool_result", "n1", "\ud800", "a\0b", "all"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=5),
    max_leaves=20,
)


def wrappers(value):
    """Return files with the value in the place of a file, a conversation, and a message of each format."""
    node = {"id": "n1", "parent": None, "children": [], "message": value}
    part = {"role": "user", "content": value}
    return {
        "openai_messages": [
            value,
            [value],
            {"messages": [value]},
            {"messages": value},
            [part],
            [{**part, "at": value}],
        ],
        "chatgpt": [value, [value], [{"mapping": {"n1": value}}], [{"mapping": {"n1": node}, "current_node": "n1"}]],
        "claude": [value, [value], [{"chat_messages": [value]}], [{"chat_messages": [{"sender": "human", **part}]}]],
        "locomo": [
            value,
            [value],
            [{"conversation": {"session_1": [value]}}],
            [{"conversation": {"session_1": value}}],
        ],
        "longmemeval": [value, [value], [{"haystack_sessions": [[value]], "haystack_session_ids": ["s"]}]],
        "jsonl": [value, part],
    }


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "file.json"


@settings(deadline=None)
@given(value=VALUES)
def test_any_json_value_gives_records_or_the_one_error(path, value):
    for name, files in wrappers(value).items():
        for file in files:
            path.write_text(json.dumps(file))
            try:
                records = list(IMPORTERS[name].read(path))
            except ImportFailedError:
                continue
            assert all(isinstance(one, Message | Document | Problem) for one in records)


@settings(deadline=None)
@given(value=VALUES)
def test_any_json_file_is_claimed_by_one_importer_at_most(path, value):
    for file in (value, [value], {"conversations": [value]}):
        head = json.dumps(file).encode()
        path.write_bytes(head)
        claims = [name for name, importer in IMPORTERS.items() if importer.recognises(path, head)]
        assert len(claims) <= 1


@settings(deadline=None)
@given(data=st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_give_records_or_the_one_error(path, data):
    path.write_bytes(data)
    for name in IMPORTERS:
        try:
            records = list(IMPORTERS[name].read(path))
        except ImportFailedError:
            continue
        assert all(isinstance(one, Message | Document | Problem) for one in records)


@pytest.mark.parametrize("depth", [400, 900, 3_000, 200_000])
@pytest.mark.parametrize("opening", ['{"role": "user", "content": [', "["])
def test_deep_nesting_is_refused_or_reported(path, depth, opening):
    closing = "]}" if opening.startswith("{") else "]"
    path.write_text(opening * depth + closing * depth)
    for name in IMPORTERS:
        try:
            records = list(IMPORTERS[name].read(path))
        except ImportFailedError:
            continue
        assert all(isinstance(one, Problem | Document) for one in records)
    try:
        detect(path)
    except ImportFailedError:
        return
