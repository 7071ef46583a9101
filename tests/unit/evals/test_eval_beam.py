"""Reading BEAM: which messages a question was made from, when they were said, and what is refused."""

import copy
import gzip
import json
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engramos.errors import ConfigError, ImportFailedError
from engramos.evals import ROLE
from engramos.evals.benchmarks.beam import sources
from engramos.evals.command import app
from engramos.evals.method import read_method
from engramos.evals.run import ask_all, fill, metrics_of, open_memory


def turn(number: int, asked: str, answered: str, anchor: str | None = None) -> list[dict[str, Any]]:
    first = {"role": "user", "id": number, "content": asked} | ({"time_anchor": anchor} if anchor else {})
    return [first, {"role": "assistant", "id": number + 1, "content": answered}]


def whole() -> dict[str, Any]:
    """Return a chat of two batches, with one question for each shape of sources."""
    ask = {"question": "When is the sprint's deadline?"}
    return {
        "chat": [
            {
                "batch_number": 1,
                "time_anchor": None,
                "turns": [
                    turn(0, "My sprint ends on 1 April ->-> 1,1", "Noted. Use `a->->b`.", "March-15-2024"),
                    turn(2, "I grow tomatoes ->-> 1,N/A", "How nice!"),
                ],
            },
            {"batch_number": 2, "turns": [turn(4, "The sprint now ends on 5 April ->-> 2,", "Moved.", "May-02-2024")]},
        ],
        "probing_questions": {
            "abstention": [{"question": "What is my cat called?"}],
            "knowledge_update": [ask | {"source_chat_ids": {"original_info": [0], "updated_info": [4]}}],
            "event_ordering": [ask | {"source_chat_ids": [0, [2, 3], [[4]], 0, 99]}],
            "summarization": [ask | {"source_chat_ids": []}, ask],
        },
    }


def write(folder: Path, value: Any = None, size: str = "100K", name: str = "3") -> Path:
    (folder / "beam" / size).mkdir(parents=True, exist_ok=True)
    path = folder / "beam" / size / f"{name}.json.gz"
    path.write_bytes(gzip.compress(json.dumps(whole() if value is None else value).encode()))
    return path


def test_sources_are_read_however_nested_and_what_has_none_is_dropped_and_counted(tmp_path: Path) -> None:
    write(tmp_path)
    loaded = ROLE.make("beam").load(tmp_path)
    assert loaded.counts == {"questions": 5, "abstentions": 1, "dropped": 2, "unknown_evidence": 1, "marks": 3}
    assert [(one.question_id, one.gold["message"]) for one in loaded.questions] == [
        ("100K-3.knowledge_update[0]", {"0", "4"}),
        ("100K-3.event_ordering[0]", {"0", "2", "3", "4"}),
    ]
    assert loaded.questions[0].categories == ("100K", "knowledge_update", "100K.knowledge_update")


def test_messages_carry_the_last_anchors_time_and_their_batch_and_the_question_comes_a_day_later(
    tmp_path: Path,
) -> None:
    write(tmp_path)
    loaded = ROLE.make("beam").load(tmp_path)
    assert [part.user for part in loaded.parts] == ["100K-3"]
    first, second = datetime(2024, 3, 15, tzinfo=UTC), datetime(2024, 5, 2, tzinfo=UTC)
    seconds = [timedelta(seconds=number) for number in range(4)]
    records = loaded.parts[0].records
    assert [one.at for one in records] == [*(first + s for s in seconds), second, second + seconds[1]]
    assert [one.session for one in records] == ["batch 1"] * 4 + ["batch 2"] * 2
    assert [one.role for one in records] == ["user", "assistant"] * 3
    assert {one.asked_at for one in loaded.questions} == {second + timedelta(days=1, seconds=1)}


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ("It ends on 1 April ->-> 4,12", "It ends on 1 April"),
        ("It ends ->->  4,N/A", "It ends"),
        ("It ends\n ->-> 4,", "It ends"),
        ("It ends ->-> 4,(no bullet, but related)", "It ends"),
        ("a ->-> b, then 4,12", "a ->-> b, then 4,12"),
        ("x ->-> 4,12\nand more was said", "x ->-> 4,12\nand more was said"),
    ],
)
def test_the_mark_behind_a_message_is_left_out_by_rule(tmp_path: Path, content: str, kept: str) -> None:
    value = whole()
    value["chat"][0]["turns"][0][0]["content"] = content
    write(tmp_path, value)
    assert ROLE.make("beam").load(tmp_path).parts[0].records[0].text == kept


def test_a_batchs_own_anchor_counts_too(tmp_path: Path) -> None:
    value = whole()
    value["chat"][1]["time_anchor"] = "April-20-2024"
    del value["chat"][1]["turns"][0][0]["time_anchor"]
    write(tmp_path, value)
    assert ROLE.make("beam").load(tmp_path).parts[0].records[4].at == datetime(2024, 4, 20, tzinfo=UTC)


def test_all_sizes_are_taken_or_those_that_are_named(tmp_path: Path) -> None:
    for size, name in (("100K", "11"), ("100K", "3"), ("1M", "3")):
        write(tmp_path, size=size, name=name)
    assert [part.user for part in ROLE.make("beam").load(tmp_path).parts] == ["100K-3", "100K-11", "1M-3"]
    assert [part.user for part in ROLE.make("beam", part="1M").load(tmp_path).parts] == ["1M-3"]
    with pytest.raises(ImportFailedError, match=r"beam/500K/\*\.json\.gz: is missing"):
        ROLE.make("beam", part="100K,500K").load(tmp_path)
    with pytest.raises(ConfigError, match="part of beam is '10M': use one of 100K, 500K, 1M"):
        ROLE.make("beam", part="10M")


def test_the_original_repositorys_folders_are_read_with_the_shortened_chat_first(tmp_path: Path) -> None:
    value, folder = whole(), tmp_path / "beam" / "chats" / "100K" / "7"
    (folder / "probing_questions").mkdir(parents=True)
    (folder / "probing_questions" / "probing_questions.json").write_text(json.dumps(value["probing_questions"]))
    (folder / "chat.json").write_text(json.dumps(value["chat"]))
    loaded = ROLE.make("beam").load(tmp_path)
    assert ([part.user for part in loaded.parts], len(loaded.parts[0].records)) == (["100K-7"], 6)
    (folder / "chat_trunecated.json").write_text(json.dumps(value["chat"][:1]))
    assert len(ROLE.make("beam").load(tmp_path).parts[0].records) == 4


def changed(*path: Any, to: Any) -> dict[str, Any]:
    value = whole()
    at = value
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to
    return value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"version": 2}, "chat: is no list of batches: this is another version"),
        (changed("probing_questions", to=[]), "probing_questions: are no lists by ability"),
        (changed("chat", 0, "turns", to=None), r"chat\[0\]: has no list of turns"),
        (changed("chat", 1, "turns", 0, to={}), r"chat\[1\]\.turns\[0\]: is no list of messages"),
        (changed("chat", 1, "turns", 0, 0, "id", to=None), "without 'id' or 'content'"),
        (changed("chat", 1, "turns", 0, 0, "id", to=3), "has id 3 twice"),
        (changed("chat", 1, "turns", 0, 0, "content", to=" ->-> 1,2"), "message text is empty"),
        (changed("chat", 1, "turns", 0, 0, "role", to="judge"), "role is 'judge'"),
        (changed("chat", 1, "turns", 0, 0, "time_anchor", to="2024-05-02"), "no date such as March-15-2024"),
        (changed("chat", 1, "turns", 0, 0, "time_anchor", to="May-32-2024"), "no date such as March-15-2024"),
        (changed("chat", 0, "turns", 0, 0, "time_anchor", to=None), None),
        (changed("probing_questions", "abstention", 0, to={}), r"abstention\[0\]: has no 'question'"),
        (changed("probing_questions", to={"abstention": []}), "no question has sources"),
    ],
)
def test_another_form_is_refused_with_its_place(tmp_path: Path, value: Any, words: str | None) -> None:
    write(tmp_path, copy.deepcopy(value))
    if words is None:
        assert ROLE.make("beam").load(tmp_path).parts[0].records[0].at is None
        return
    with pytest.raises(ImportFailedError, match=words):
        ROLE.make("beam").load(tmp_path)


def test_a_chat_without_any_date_is_refused(tmp_path: Path) -> None:
    value = whole()
    for batch in value["chat"]:
        del batch["turns"][0][0]["time_anchor"]
    write(tmp_path, value)
    with pytest.raises(ImportFailedError, match="has no time anchor"):
        ROLE.make("beam").load(tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_gzip_that_is_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    path = write(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImportFailedError, match="is cut off"):
        ROLE.make("beam").load(tmp_path)


def test_what_is_no_gzip_or_no_whole_json_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    text = gzip.decompress(path.read_bytes())
    path.write_bytes(text)
    with pytest.raises(ImportFailedError, match="cannot be unpacked"):
        ROLE.make("beam").load(tmp_path)
    path.write_bytes(gzip.compress(text[:-40]))
    with pytest.raises(ImportFailedError, match="is cut off here"):
        ROLE.make("beam").load(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(ImportFailedError, match="is empty"):
        ROLE.make("beam").load(tmp_path)
    path.unlink()
    with pytest.raises(ImportFailedError, match=r"is missing: get the chats from"):
        ROLE.make("beam").load(tmp_path)


nested = st.recursive(
    st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(nested, nested)
def test_sources_of_a_list_are_those_of_its_items(one: Any, other: Any) -> None:
    assert list(sources([one, other])) == [*sources(one), *sources(other)]
    assert all(isinstance(number, int) for number in sources({"a": one, "b": [other]}))


def test_the_mean_is_over_questions_by_size_and_by_ability(tmp_path: Path) -> None:
    write(tmp_path)
    benchmark = ROLE.make("beam")
    loaded = benchmark.load(tmp_path)
    with open_memory(tmp_path / "memory", "none") as memory:
        assert fill(memory, loaded)["memories"] == 6
        metrics = metrics_of(ask_all(memory, benchmark, loaded, read_method(["plan=bm25"], "none")), benchmark, "bm25")
    # bm25 finds the two messages about the sprint's end, of two and of four sources
    assert metrics["100K.fraction@10"] == metrics["message.fraction@10"] == 0.75
    assert metrics["knowledge_update.fraction@10"] == 1.0
    assert metrics["100K.event_ordering.fraction@10"] == 0.5
    assert metrics["100K.questions"] == 2


def test_a_part_can_be_named_on_the_command_line(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    write(tmp_path)
    asked = ["beam", "--data", str(tmp_path), "--method", "embedder=none", "--json", "--part"]
    done = CliRunner().invoke(app, [*asked, "100K"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["settings"]["part"], result["settings"]["asked"]) == ("100K", 2)
    assert CliRunner().invoke(app, [*asked, "2T"]).exit_code != 0


def test_all_of_beam_is_read_within_seconds_and_few_questions_are_dropped() -> None:
    data = os.environ.get("ENGRAMOS_DATA")
    if not data or not list(Path(data, "beam").glob("*/*.json.gz")):
        pytest.skip("ENGRAMOS_DATA names no folder with BEAM")
    loaded = ROLE.make("beam").load(Path(data))
    assert not any("->->" in record.text[-20:] for part in loaded.parts for record in part.records)
    assert loaded.counts["abstentions"] == 2 * len(loaded.parts)
    assert loaded.counts["dropped"] <= 0.02 * loaded.counts["questions"]
    abilities = Counter(question.categories[1] for question in loaded.questions)
    assert len(abilities) == 9
