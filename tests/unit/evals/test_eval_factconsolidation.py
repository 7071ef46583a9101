"""FactConsolidation: which fact is gold, and when the first found fact is the newest or a stale one."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from engramos.cube import MemCube
from engramos.errors import ImportFailedError
from engramos.evals import ROLE
from engramos.evals.benchmarks.factconsolidation import said_of
from engramos.evals.method import Method
from engramos.evals.run import ask_all, fill, metrics_of, open_memory, scope_of

FACTS = [
    "The capital of Norway is Oslo.",
    "Toyota Yaris is created by Toyota.",
    "Bergen is in Norway.",
    "The capital of Norway is Lima.",
    "Toyota Yaris is created by Fiat.",
    "Anna Berg plays jazz.",
]
QUESTIONS = [
    {
        "question": "What is Norway's capital?",
        "cloze": "The capital of Norway is",
        "subject": "Norway",
        "answer": "Lima",
        "stale_answer": "Oslo",
    },
    {
        "question": "Who makes the Toyota Yaris?",
        "cloze": "Toyota Yaris is created by",
        "subject": "Toyota Yaris",
        "answer": "Fiat",
        "stale_answer": "Toyota",
    },
]


def sample() -> dict[str, Any]:
    """Return a list of six facts, two of which are replaced, with two questions."""
    context = "\n".join(f"{number}. {fact}" for number, fact in enumerate(FACTS))
    return {"context": context, "questions": QUESTIONS}


def write(folder: Path, small: Any = None) -> Path:
    """Write a data folder with a list of each size, and return it."""
    (folder / "factconsolidation_style").mkdir(parents=True)
    for size, value in (("6k", small or sample()), ("32k", sample())):
        path = folder / "factconsolidation_style" / f"fc_single_hop_dev_{size}.json"
        path.write_text(json.dumps(value), encoding="utf-8")
    return folder


def load(folder: Path) -> Any:
    """Return the benchmark as read from a folder."""
    return ROLE.make("factconsolidation").load(folder)


def answered(tmp_path: Path, question: int, *order: int) -> dict[str, float]:
    """Return `newest` and `stale` where a search finds the facts with these numbers, in this order."""
    benchmark = ROLE.make("factconsolidation")
    loaded = benchmark.load(write(tmp_path / "data"))
    with open_memory(tmp_path / "memory", "none") as memory:
        fill(memory, loaded)
        cubes = {cube.header.source.ref: cube for cube in memory.list(limit=100, scope=scope_of("6k"))}
        found: list[MemCube] = [cubes[f"6k:{number}"] for number in order]
        return dict(benchmark.answer(lambda text, limit: found[:limit], loaded.questions[question]).metrics[""])


def test_each_fact_is_one_message_without_its_number_a_minute_after_the_one_before(tmp_path: Path) -> None:
    part = load(write(tmp_path)).parts[0]
    assert [one.text for one in part.records] == FACTS
    assert [one.message_id for one in part.records][:2] == ["6k:0", "6k:1"]
    gaps = {
        (after.at - before.at).total_seconds() for before, after in zip(part.records, part.records[1:], strict=False)
    }
    assert gaps == {60.0}


def test_the_gold_fact_is_the_one_that_states_the_newest_answer(tmp_path: Path) -> None:
    loaded = load(write(tmp_path))
    assert [question.gold["fact"] for question in loaded.questions] == [{"6k:3"}, {"6k:4"}, {"32k:3"}, {"32k:4"}]
    assert [question.user for question in loaded.questions] == ["6k", "6k", "32k", "32k"]
    assert all(question.asked_at > loaded.parts[0].records[-1].at for question in loaded.questions)


@pytest.mark.parametrize(
    ("question", "order", "newest", "stale"),
    [
        (0, (3, 0), 1.0, 0.0),
        (0, (0, 3), 0.0, 1.0),
        (0, (5, 3), 0.0, 0.0),
        (0, (2, 3), 0.0, 0.0),
        (0, (), 0.0, 0.0),
        (1, (4, 1), 1.0, 0.0),
        (1, (1, 4), 0.0, 1.0),
    ],
)
def test_the_first_found_fact_alone_gives_the_answer(
    tmp_path: Path, question: int, order: tuple[int, ...], newest: float, stale: float
) -> None:
    assert answered(tmp_path, question, *order) == {"newest": newest, "stale": stale}


def test_the_subject_does_not_answer_for_itself() -> None:
    assert "prague" not in said_of("Prague is a twin city of Kyoto.", "Prague")
    assert "prague" in said_of("Prague is a twin city of Prague.", "Prague")
    assert said_of("Bergen is in Norway.", "Prague") == ""


def test_a_run_gives_newest_and_stale_without_a_level_and_recall_of_facts(tmp_path: Path) -> None:
    benchmark = ROLE.make("factconsolidation")
    loaded = benchmark.load(write(tmp_path / "data"))
    with open_memory(tmp_path / "memory", "none") as memory:
        fill(memory, loaded)
        run = ask_all(memory, benchmark, loaded, Method(embedder="none"))
    metrics = metrics_of(run, benchmark, "bm25")
    assert metrics["newest"] + metrics["stale"] == 1.0
    assert metrics["6k.newest"] == metrics["32k.newest"]
    assert metrics["fact.any@5"] == 1.0


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    (write(tmp_path) / "factconsolidation_style" / "fc_single_hop_dev_32k.json").unlink()
    with pytest.raises(ImportFailedError, match=r"fc_single_hop\*_32k\.json: is missing"):
        load(tmp_path)


def test_two_lists_of_one_size_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path) / "factconsolidation_style"
    (folder / "fc_single_hop_test_6k.json").write_text(json.dumps(sample()), encoding="utf-8")
    with pytest.raises(ImportFailedError, match="fits 2 files"):
        load(tmp_path)


def test_a_list_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path) / "factconsolidation_style" / "fc_single_hop_dev_6k.json"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ImportFailedError, match="is cut off here"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"context": 7}, "a number as 'context'"),
        ({"context": "0. A is B.\n2. A is C."}, "fact 1 is due"),
        ({"context": "A is B."}, "fact 0 is due"),
        ({"context": "\n".join(sample()["context"].split("\n")[:4])}, "do not belong together"),
        ({"questions": []}, "has none"),
        ({"questions": [{"question": "x"}]}, "has no 'cloze'"),
        ({"questions": [QUESTIONS[0] | {"answer": "Oslo", "stale_answer": "Lima"}]}, "after the stale one"),
    ],
)
def test_a_list_of_another_form_is_refused_with_its_place(tmp_path: Path, change: dict, words: str) -> None:
    with pytest.raises(ImportFailedError, match=words):
        load(write(tmp_path, sample() | change))


@pytest.mark.skipif("ENGRAMOS_DATA" not in os.environ, reason="ENGRAMOS_DATA names no folder with evaluation data")
def test_the_lists_are_read_whole() -> None:
    loaded = load(Path(os.environ["ENGRAMOS_DATA"]))
    assert [len(part.records) for part in loaded.parts] == [480, 2_100]
    assert len(loaded.questions) == 200
