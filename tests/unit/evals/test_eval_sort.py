"""SORT: where the segments stand in a book, and when the stored order answers which came first."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from engramos.errors import ImportFailedError
from engramos.evals import ROLE
from engramos.evals.benchmarks.sort import PART_WORDS, book_words
from engramos.evals.method import Method
from engramos.evals.run import ask_all, fill, metrics_of, open_memory, scope_of

WORDS = [f"w{number}" for number in range(200)]
TEXT = " ".join(WORDS[:100]) + "\n\n_" + " ".join(WORDS[100:]) + "_"
BOOK = f"\ufeff*** START OF THE PROJECT GUTENBERG EBOOK ORDER ***\n{TEXT}\n*** END OF THE PROJECT ***\nlicence"


def pair(one: int, two: int, start: int = 0) -> dict[str, Any]:
    """Return the pair of the segments at these words of an excerpt."""
    segments = [" ".join(WORDS[start + at : start + at + 20]) for at in (one, two)]
    return {
        "book": "7-0.txt",
        "excerpt_start_word": start,
        "excerpt_words": 150,
        "distance_words": abs(one - two),
        "segment_1": segments[0],
        "segment_2": segments[1],
        "first": 1 if one < two else 2,
    }


PAIRS = [pair(3, 70), pair(110, 41), pair(30, 95, start=40)]


def write(folder: Path, pairs: Any = None, book: str = BOOK) -> Path:
    """Write a data folder with one book and its pairs, and return it."""
    for name in ("sort_style", "gutenberg"):
        (folder / name).mkdir(parents=True)
    lines = "".join(json.dumps(one) + "\n" for one in (PAIRS if pairs is None else pairs))
    (folder / "sort_style" / "sort_dev.jsonl").write_text(lines, encoding="utf-8")
    (folder / "gutenberg" / "7-0.txt").write_text(book, encoding="utf-8")
    return folder


def load(folder: Path) -> Any:
    """Return the benchmark as read from a folder."""
    return ROLE.make("sort").load(folder)


def test_a_book_is_its_words_between_the_marks_without_those_of_italics(tmp_path: Path) -> None:
    assert book_words(write(tmp_path) / "gutenberg" / "7-0.txt") == WORDS


def test_a_book_is_stored_whole_in_order_in_small_parts(tmp_path: Path) -> None:
    part = load(write(tmp_path)).parts[0]
    assert " ".join(one.text for one in part.records).split() == WORDS
    assert {len(one.text.split()) for one in part.records} == {PART_WORDS}
    times = [one.at for one in part.records]
    assert times == sorted(set(times))


def test_gold_are_the_parts_that_hold_words_of_a_segment(tmp_path: Path) -> None:
    first, second, third = load(write(tmp_path)).questions
    assert first.gold["part"] == {"7-0.txt#0", "7-0.txt#1", "7-0.txt#3", "7-0.txt#4"}
    assert third.gold["part"] == {"7-0.txt#3", "7-0.txt#4", "7-0.txt#6", "7-0.txt#7"}
    assert (first.first, second.first, third.first) == (1, 2, 1)
    assert first.categories == ("150w",)


def test_a_segment_that_stands_twice_is_placed_by_its_distance(tmp_path: Path) -> None:
    twice = WORDS[:20] + WORDS[20:60] + WORDS[:20] + WORDS[60:]
    book = BOOK.replace(TEXT, " ".join(twice))
    asked = pair(0, 20) | {"segment_2": " ".join(WORDS[80:100]), "distance_words": 40}
    loaded = load(write(tmp_path, [asked], book))
    assert loaded.questions[0].gold["part"] == {"7-0.txt#3", "7-0.txt#5"}


def answered(tmp_path: Path, *found: int | None) -> dict[str, float]:
    """Return the metrics of the first pair where the two searches find these parts."""
    benchmark = ROLE.make("sort")
    loaded = benchmark.load(write(tmp_path / "data"))
    with open_memory(tmp_path / "memory", "none") as memory:
        fill(memory, loaded)
        cubes = {cube.header.source.ref: cube for cube in memory.list(limit=100, scope=scope_of("7-0.txt"))}
    waiting = [[] if one is None else [cubes[f"7-0.txt#{one}"]] for one in found]
    return dict(benchmark.answer(lambda text, limit: waiting.pop(0)[:limit], loaded.questions[0]).metrics[""])


@pytest.mark.parametrize(
    ("found", "accuracy", "both_found"),
    [
        ((0, 4), 1.0, 1.0),
        ((1, 3), 1.0, 1.0),
        ((4, 0), 0.0, 1.0),
        ((2, 9), 1.0, 0.0),
        ((9, 2), 0.0, 0.0),
        ((3, 3), 0.0, 0.0),
        ((None, 4), 0.0, 0.0),
        ((None, None), 0.0, 0.0),
    ],
)
def test_the_part_that_was_stored_first_is_the_answer(
    tmp_path: Path, found: tuple[int | None, ...], accuracy: float, both_found: float
) -> None:
    assert answered(tmp_path, *found) == {"accuracy": accuracy, "both_found": both_found}


def test_a_run_tells_the_order_from_the_words_of_the_segments(tmp_path: Path) -> None:
    benchmark = ROLE.make("sort")
    loaded = benchmark.load(write(tmp_path / "data"))
    with open_memory(tmp_path / "memory", "none") as memory:
        fill(memory, loaded)
        run = ask_all(memory, benchmark, loaded, Method(embedder="none"))
    metrics = metrics_of(run, benchmark, "bm25")
    assert metrics["accuracy"] == metrics["150w.accuracy"] == metrics["both_found"] == 1.0


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImportFailedError, match=r"sort_\*\.jsonl: is missing"):
        load(tmp_path)
    (write(tmp_path) / "gutenberg" / "7-0.txt").unlink()
    with pytest.raises(ImportFailedError, match=r"7-0\.txt: file: does not exist"):
        load(tmp_path)


def test_a_last_line_that_is_cut_off_is_refused_with_its_number(tmp_path: Path) -> None:
    path = write(tmp_path) / "sort_style" / "sort_dev.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ImportFailedError, match="line 3: is cut off"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("book", "words"),
    [
        (BOOK.split("*** END")[0], "END OF: is missing"),
        ("w0 w1 w2", "START OF: is missing"),
        (BOOK.replace("w75", "x75"), "do not stand once"),
        (BOOK.replace("ORDER ***", "ORDER ***\nmore words"), "pairs and books of one version"),
    ],
)
def test_a_book_that_is_cut_off_or_of_another_version_is_refused(tmp_path: Path, book: str, words: str) -> None:
    with pytest.raises(ImportFailedError, match=words):
        load(write(tmp_path, [pair(3, 70), pair(131, 0)], book))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"first": 3}, "do not stand once"),
        ({"first": True}, "a truth value as 'first'"),
        ({"excerpt_start_word": "0"}, "a text as 'excerpt_start_word'"),
        ({"excerpt_start_word": -150}, "excerpt_start_word"),
        ({"segment_1": "not in the book"}, "do not stand once"),
        ({"book": 7}, "a number as 'book'"),
    ],
)
def test_a_pair_of_another_form_is_refused_with_its_line(tmp_path: Path, change: dict, words: str) -> None:
    with pytest.raises(ImportFailedError, match=words):
        load(write(tmp_path, [PAIRS[0] | change]))


@pytest.mark.skipif("ENGRAMOS_DATA" not in os.environ, reason="ENGRAMOS_DATA names no folder with evaluation data")
def test_every_published_pair_stands_in_its_book() -> None:
    loaded = load(Path(os.environ["ENGRAMOS_DATA"]))
    assert len(loaded.questions) == 200
    assert len(loaded.parts) == 5
