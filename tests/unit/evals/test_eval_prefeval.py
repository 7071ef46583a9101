"""Reading PrefEval: where preferences are said, which message answers, and what is refused."""

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from engramos.errors import ImportFailedError
from engramos.evals import ROLE
from engramos.evals.method import Method
from engramos.evals.metrics import mean
from engramos.evals.run import ask_all, fill, metrics_of, open_memory

CATS = [
    {"preference": "I only read paper books, never screens.", "question": "Which novel should I start tonight?"},
    {"preference": "I cannot stand crowded museums.", "question": "What shall I do in Vienna on Sunday?"},
]
DOGS = [
    {"preference": "I only read paper books, never screens.", "question": "How do I get through a long flight?"},
    {"preference": "Peanuts make me ill.", "question": "Which peanuts snack suits a hike?"},
]
FILLERS = [
    {
        "conversation": [
            {"role": "user", "content": "Convert seven miles to kilometres."},
            {"role": "assistant", "content": "Seven miles are about 11.27 kilometres."},
            {"role": "user", "content": "And nine?"},
            {"role": "assistant", "content": "About 14.48 kilometres."},
        ]
    },
    {
        "conversation": [
            {"role": "user", "content": "Sort this list."},
            {"role": "assistant", "content": "It is sorted."},
        ]
    },
]


def write(folder: Path, fillers: Any = FILLERS, **topics: Any) -> Path:
    """Write a data folder with two topics and two filler conversations, and return it."""
    (folder / "prefeval" / "explicit_preference").mkdir(parents=True)
    (folder / "prefeval" / "filtered_inter_turns.json").write_text(json.dumps(fillers), encoding="utf-8")
    for topic, items in (topics or {"cats": CATS, "dogs": DOGS}).items():
        path = folder / "prefeval" / "explicit_preference" / f"{topic}.json"
        path.write_text(json.dumps(items), encoding="utf-8")
    return folder


def load(folder: Path) -> Any:
    """Return PrefEval as read from a folder."""
    return ROLE.make("prefeval").load(folder)


def test_one_user_says_each_preference_once_among_all_filler_turns(tmp_path: Path) -> None:
    loaded = load(write(tmp_path))
    records = loaded.parts[0].records
    assert loaded.counts == {"questions": 4, "preferences": 3, "filler_turns": 6}
    assert len(loaded.parts) == 1
    assert len(records) == 9
    assert sorted(one.text for one in records if not one.message_id.startswith("filler")) == [
        "I cannot stand crowded museums.",
        "I only read paper books, never screens.",
        "Peanuts make me ill.",
    ]
    assert {one.role for one in records if not one.message_id.startswith("filler")} == {"user"}
    assert len({one.message_id for one in records}) == 9


def test_preferences_are_spread_between_exchanges_and_never_part_one(tmp_path: Path) -> None:
    records = load(write(tmp_path)).parts[0].records
    for before, after in itertools.pairwise(records):
        if after.role == "assistant":
            assert before.message_id.startswith("filler")
            assert before.session == after.session
    said = [one.session for one in records if not one.message_id.startswith("filler")]
    assert said == ["filler-0", "filler-0", "filler-1"]


def test_the_gold_of_a_question_is_the_message_with_its_preference_also_where_two_share_it(tmp_path: Path) -> None:
    loaded = load(write(tmp_path))
    texts = {one.message_id: one.text for one in loaded.parts[0].records}
    assert [[texts[gold] for gold in question.gold["preference"]] for question in loaded.questions] == [
        [item["preference"]] for item in CATS + DOGS
    ]
    assert [question.categories for question in loaded.questions] == [("cats",), ("cats",), ("dogs",), ("dogs",)]
    assert len({question.question_id for question in loaded.questions}) == 4


def test_messages_are_in_order_of_time_and_questions_come_after_them(tmp_path: Path) -> None:
    loaded = load(write(tmp_path))
    times = [one.at for one in loaded.parts[0].records]
    assert times == sorted(set(times))
    assert all(question.asked_at > times[-1] for question in loaded.questions)


def test_the_order_is_the_same_on_every_run(tmp_path: Path) -> None:
    write(tmp_path)
    assert load(tmp_path) == load(tmp_path)


def test_a_run_gives_metrics_of_the_preference_level_and_by_topic(tmp_path: Path) -> None:
    benchmark, method = ROLE.make("prefeval"), Method(embedder="none")
    loaded = benchmark.load(write(tmp_path / "data"))
    with open_memory(tmp_path / "memory", "none") as memory:
        fill(memory, loaded)
        run = ask_all(memory, benchmark, loaded, method)
    metrics = metrics_of(run, benchmark, "bm25")
    rows = [asked.answers["bm25"].metrics["preference"] for asked in run.asked]
    assert metrics["preference.any@5"] == mean(rows)["any@5"]
    assert metrics["dogs.questions"] == 2
    # only the question about peanuts shares a rare word with its preference
    assert run.asked[3].answers["bm25"].found[0] == "dogs-1"


def test_missing_files_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ImportFailedError, match=r"filtered_inter_turns\.json"):
        load(tmp_path)
    folder = write(tmp_path)
    for path in (folder / "prefeval" / "explicit_preference").iterdir():
        path.unlink()
    with pytest.raises(ImportFailedError, match="amazon-science/PrefEval"):
        load(folder)


def test_a_topic_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path) / "prefeval" / "explicit_preference" / "dogs.json"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ImportFailedError, match="is cut off here"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ({"version": 2}, "no list of preferences"),
        ([], "no list of preferences"),
        ([{"question": "x"}], "has no 'preference'"),
        ([{"preference": "x", "question": 7}], "a number as 'question'"),
        ([{"preference": "x", "question": " "}], "an empty 'question'"),
        (["x"], "where an object is due"),
    ],
)
def test_a_topic_of_another_form_is_refused_with_its_place(tmp_path: Path, items: Any, words: str) -> None:
    with pytest.raises(ImportFailedError, match=words):
        load(write(tmp_path, cats=items))


@pytest.mark.parametrize(
    ("fillers", "words"),
    [
        ({}, "no list of conversations"),
        ([{"conversation": "x"}], "a text as 'conversation'"),
        ([{"conversation": [{"role": "judge", "content": "x"}]}], "role 'judge'"),
        ([{"conversation": [{"role": "assistant", "content": "x"}]}], "no turn of a user"),
    ],
)
def test_fillers_of_another_form_are_refused(tmp_path: Path, fillers: Any, words: str) -> None:
    with pytest.raises(ImportFailedError, match=words):
        load(write(tmp_path, fillers))


@pytest.mark.skipif("ENGRAMOS_DATA" not in os.environ, reason="ENGRAMOS_DATA names no folder with evaluation data")
def test_the_published_files_are_read_whole() -> None:
    loaded = load(Path(os.environ["ENGRAMOS_DATA"]))
    counts = loaded.counts
    assert counts["questions"] == len(loaded.questions) >= counts["preferences"] > 400
    assert len(loaded.parts[0].records) == counts["preferences"] + counts["filler_turns"]
