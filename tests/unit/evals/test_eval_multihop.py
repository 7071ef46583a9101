"""Multi-hop questions: which passages support an answer, and what is refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from engramos.errors import ImportFailedError
from engramos.evals import ROLE
from engramos.evals.method import Method
from engramos.evals.run import ask_all, fill, metrics_of, open_memory

HOTPOTQA_CORPUS = {
    "Ada Holm": ["Ada Holm is a violinist.", " She was born in Tromso."],
    "Tromso": ["Tromso is a city in Norway."],
    "Granite": ["Granite is a rock."],
}
HOTPOTQA = [
    {
        "question": "In which country is Tromso, where the violinist Ada Holm was born?",
        "supporting_facts": [["Ada Holm", 1], ["Tromso", 0], ["Ada Holm", 0]],
    }
]
MUSIQUE_CORPUS = [
    {"title": "Elm River", "text": "The Elm River flows through Barton."},
    {"title": "Elm River", "text": "The Elm River is home to otters."},
    {"title": "Barton", "text": "The mayor of Barton is Jo Reed. " + "Barton is a town of many bridges. " * 60},
]
MUSIQUE = [
    {
        "question": "Who is mayor of the town that the Elm River flows through?",
        "paragraphs": [
            {"title": one["title"], "paragraph_text": one["text"], "is_supporting": number != 1}
            for number, one in enumerate(MUSIQUE_CORPUS)
        ],
    }
]
FILES = {
    "hotpotqa_corpus": HOTPOTQA_CORPUS,
    "hotpotqa_dev50": HOTPOTQA,
    "musique_corpus": MUSIQUE_CORPUS,
    "musique_dev50": MUSIQUE,
}


def write(folder: Path, **changes: Any) -> Path:
    """Write a data folder with two corpora of three passages and a question each, and return it."""
    (folder / "multihop").mkdir(parents=True)
    for name, value in (FILES | changes).items():
        (folder / "multihop" / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


def load(folder: Path) -> Any:
    """Return the benchmark as read from a folder."""
    return ROLE.make("multihop").load(folder)


def test_each_corpus_is_one_memory_of_documents(tmp_path: Path) -> None:
    loaded = load(write(tmp_path))
    assert [part.user for part in loaded.parts] == ["hotpotqa", "musique"]
    assert [one.title for one in loaded.parts[0].records] == ["Ada Holm", "Tromso", "Granite"]
    assert loaded.parts[0].records[0].text == "Ada Holm is a violinist. She was born in Tromso."
    assert [one.document_id for one in loaded.parts[1].records] == ["musique/0", "musique/1", "musique/2"]


def test_gold_passages_are_told_apart_where_they_share_a_title(tmp_path: Path) -> None:
    loaded = load(write(tmp_path))
    assert [question.gold["passage"] for question in loaded.questions] == [
        {"hotpotqa/0", "hotpotqa/1"},
        {"musique/0", "musique/2"},
    ]
    assert [question.categories for question in loaded.questions] == [("hotpotqa",), ("musique",)]


def test_a_title_that_does_not_print_is_mended_and_still_found(tmp_path: Path) -> None:
    corpus = {"Ada\u200bHolm": HOTPOTQA_CORPUS["Ada Holm"], "Tromso": ["Tromso is a city."]}
    asked = [{"question": "x", "supporting_facts": [["Ada\u200bHolm", 0]]}]
    loaded = load(write(tmp_path, hotpotqa_corpus=corpus, hotpotqa_dev50=asked))
    assert loaded.parts[0].records[0].title == "Ada Holm"
    assert loaded.questions[0].gold["passage"] == {"hotpotqa/0"}


def test_a_run_counts_passages_and_not_their_parts(tmp_path: Path) -> None:
    benchmark = ROLE.make("multihop")
    loaded = benchmark.load(write(tmp_path / "data"))
    with open_memory(tmp_path / "memory", "none") as memory:
        assert fill(memory, loaded)["memories"] > 6
        run = ask_all(memory, benchmark, loaded, Method(embedder="none"))
    assert all(sorted(set(asked.answers["bm25"].found)) == sorted(asked.answers["bm25"].found) for asked in run.asked)
    metrics = metrics_of(run, benchmark, "bm25")
    assert metrics["hotpotqa.fraction@2"] == 1.0
    assert metrics["musique.fraction@5"] == 1.0
    assert metrics["passage.all@10"] == 1.0


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (write(tmp_path) / "multihop" / f"{name}.json").unlink()
    with pytest.raises(ImportFailedError, match=rf"{name.partition('_')[0]}_.*is missing: get it from"):
        load(tmp_path)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path) / "multihop" / f"{name}.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImportFailedError, match="is cut off here"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hotpotqa_corpus": []}, "no object of titles"),
        ({"hotpotqa_corpus": {"A": "text"}}, "no list of sentences"),
        ({"hotpotqa_corpus": {"A": [" "]}}, "has no text"),
        ({"hotpotqa_corpus": {"Granite": ["A rock."]}}, "'Ada Holm' is not in the corpus"),
        ({"hotpotqa_dev50": [{"question": "x", "supporting_facts": []}]}, "names no supporting passage"),
        ({"hotpotqa_dev50": [{"question": "x", "supporting_facts": [[]]}]}, "has no title"),
        ({"hotpotqa_dev50": {"data": []}}, "is no list"),
        ({"musique_corpus": MUSIQUE_CORPUS[:2]}, "'Barton' is not in the corpus"),
        ({"musique_corpus": [{"title": "A"}]}, "has no 'text'"),
        ({"musique_dev50": [{"question": "x", "paragraphs": [{"is_supporting": 1}]}]}, "a number as 'is_supporting'"),
    ],
)
def test_a_file_of_another_form_is_refused_with_its_place(tmp_path: Path, changes: dict, words: str) -> None:
    with pytest.raises(ImportFailedError, match=words):
        load(write(tmp_path, **changes))


@pytest.mark.skipif("ENGRAMOS_DATA" not in os.environ, reason="ENGRAMOS_DATA names no folder with evaluation data")
def test_the_published_files_are_read_whole() -> None:
    loaded = load(Path(os.environ["ENGRAMOS_DATA"]))
    assert [len(part.records) for part in loaded.parts] == [994, 1_890]
    assert all(2 <= len(question.gold["passage"]) <= 4 for question in loaded.questions)
