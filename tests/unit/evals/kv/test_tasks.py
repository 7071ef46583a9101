"""What is asked: where pass keys lie, how a text is split from its question, and what counts as right."""

import json
import random
from pathlib import Path

import pytest
import torch

from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, ImportFailedError
from engramos.evals.kv.run import Asked, Run, samples_of
from engramos.evals.kv.tasks import (
    FOLLOWING,
    NUM_KEYS,
    passkey_samples,
    recalled_share,
    ruler_samples,
    split_question,
)
from engramos.evals.kv.texts import Texts, made_text, unwrapped
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)
NEEDLE = "One of the special magic numbers for blue-boat is: 7017563."
ASKED = "What is the special magic number for blue-boat mentioned in the text? The special magic number is"


@pytest.fixture(scope="module")
def engine() -> Transformers:
    return Transformers.of(tiny_model(num_layers=1), tiny_tokenizer(), weights="tiny")


def write_ruler(folder: Path, length: int, rows: list[dict]) -> Path:
    path = folder / "ruler_style" / f"ruler_dev_{length}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def ruler_row(task: str, index: int) -> dict:
    text = f"Remember what is hidden.\nWhat a day it was. {NEEDLE} More text.\n{ASKED} "
    return {"task": task, "index": index, "input": text, "outputs": ["7017563"]}


def test_a_text_has_exactly_the_tokens_that_were_asked_for_and_three_keys(engine) -> None:
    samples = list(passkey_samples(engine, Texts(), 700, 3, seed=1))
    assert [len(one.context) for one in samples] == [700] * 3
    assert [len(one.questions) for one in samples] == [NUM_KEYS] * 3
    assert all(len(one.following) == FOLLOWING for one in samples)
    assert len({one.context for one in samples}) == 3


def test_every_answer_stands_in_the_text_twice_with_what_was_asked_for(engine) -> None:
    (sample,) = passkey_samples(engine, Texts(), 800, 1, seed=2)
    text = engine.text(sample.context)
    for question in sample.questions:
        key, door = engine.text(question.answer), engine.text(question.asked).split("pass key of ")[1].split("?")[0]
        assert len(key) == 5
        assert text.count(key) == 2
        assert f"The pass key of {door} is {key}." in text
        assert engine.text(question.asked).endswith("is "), "a space of its own is no part of the answer"


def test_the_first_key_goes_from_a_tenth_to_nine_tenths_of_the_text(engine) -> None:
    places = []
    for sample in passkey_samples(engine, Texts(), 2_000, 5, seed=3):
        text = engine.text(sample.context)
        places.append(text.index(engine.text(sample.questions[0].answer)) / len(text))
    assert places == sorted(places)
    assert places[0] < 0.2
    assert places[-1] > 0.75


def test_a_text_goes_on_where_its_context_ends(engine) -> None:
    """Without the keys, context and what follows are one piece of the text."""
    (sample,) = passkey_samples(engine, Texts(), 900, 1, seed=4)
    book = Texts((made_text(random.Random(9), 20_000),))
    (of_book,) = passkey_samples(engine, book, 900, 1, seed=4)
    end = engine.text(of_book.context[-20:]) + engine.text(of_book.following)
    assert end in book.books[0]
    assert sample.following != of_book.following


def test_the_same_seed_gives_the_same_texts_and_another_seed_others(engine) -> None:
    first, again, other = (list(passkey_samples(engine, Texts(), 600, 2, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first[0].context != other[0].context


def test_a_text_without_room_beside_its_keys_is_refused(engine) -> None:
    with pytest.raises(ConfigError, match="length 300"):
        list(passkey_samples(engine, Texts(), 300, 1, seed=0))


def test_the_last_question_is_cut_off_and_earlier_ones_stay() -> None:
    context, question = split_question(f"Read.\nWhat a day. {NEEDLE}\n{ASKED} ")
    assert context == f"Read.\nWhat a day. {NEEDLE}"
    assert question == f"\n{ASKED}"
    context, question = split_question("1. boat 2. sun\nQuestion: What are the words? Answer: they are: ")
    assert context == "1. boat 2. sun"
    assert question == "\nQuestion: What are the words? Answer: they are:"
    with pytest.raises(ValueError, match="question"):
        split_question("Nothing is asked here.")


def test_the_share_of_expected_texts_is_counted_whatever_their_case() -> None:
    assert recalled_share("It is 12, and ABC.", ["12", "abc", "77", "IT"]) == 0.75
    assert recalled_share("", ["1"]) == 0.0


def test_one_task_of_each_kind_comes_before_the_second_of_any(engine, tmp_path: Path) -> None:
    rows = [ruler_row(task, index) for task in ("single", "vt") for index in range(2)]
    data = write_ruler(tmp_path, 1024, rows)
    samples = list(ruler_samples(engine, data, 1024, 3))
    assert [one.name for one in samples] == ["ruler-1024-single-0", "ruler-1024-vt-0", "ruler-1024-single-1"]
    (question,) = samples[0].questions
    assert engine.text(question.asked) == f"\n{ASKED}"
    assert NEEDLE in engine.text(samples[0].context)
    assert ASKED not in engine.text(samples[0].context)
    assert question.expected == ("7017563",)
    assert question.max_tokens > len("7017563")
    assert samples[0].categories == ("ruler", "ruler.1024", "single")


def test_a_damaged_file_of_tasks_is_refused(engine, tmp_path: Path) -> None:
    data = write_ruler(tmp_path, 1024, [{"task": "single", "index": 0, "input": "No question."}])
    with pytest.raises(ImportFailedError, match="another form"):
        list(ruler_samples(engine, data, 1024, 1))


def test_a_folder_without_books_is_refused_and_no_folder_gives_made_sentences(tmp_path: Path) -> None:
    with pytest.raises(ImportFailedError, match="gutenberg"):
        Texts.read(tmp_path)
    assert Texts.read(None).source == "made"
    (tmp_path / "gutenberg").mkdir()
    (tmp_path / "gutenberg" / "LICENSE.txt").write_text("no book")
    (tmp_path / "gutenberg" / "1-0.txt").write_text("A short book. It ends here.")
    found = Texts.read(tmp_path)
    assert (found.source, len(found.books)) == ("gutenberg", 1)


def test_lines_of_a_paragraph_are_joined_and_paragraphs_stay_apart() -> None:
    assert unwrapped("One line\nand another. \nEnd.\n\nNew paragraph\nof two.") == (
        "One line and another. End.\n\nNew paragraph of two."
    )


def test_a_book_that_is_too_short_is_read_again(engine) -> None:
    book = Texts(("It was a day. " * 10,))
    assert len(book.tokens(engine, random.Random(1), 500)) == 500


def test_lengths_beyond_the_window_are_left_out_with_a_line(engine) -> None:
    run = Run()
    made = samples_of(engine, Asked((600, 4_000), 1, 0, ("passkey", "ruler"), None), run)
    assert [one.name for one in made] == ["passkey-600-0"]
    assert len(run.left_out) == 2
    assert "4096 tokens" in next(one for one in run.left_out if "4000" in one)
    assert "ENGRAMOS_DATA" in next(one for one in run.left_out if "ruler" in one)
    assert run.text == "made"


def test_nothing_to_measure_is_an_error_that_says_why(engine) -> None:
    with pytest.raises(ConfigError, match="ENGRAMOS_DATA"):
        samples_of(engine, Asked((600,), 1, 0, ("ruler",), None), Run())


@pytest.mark.parametrize(
    ("lengths", "num", "tasks"), [((10,), 1, ("passkey",)), ((600,), 0, ("passkey",)), ((600,), 1, ("sums",))]
)
def test_a_wrong_request_is_refused(lengths, num, tasks) -> None:
    with pytest.raises(ConfigError):
        Asked(lengths, num, 0, tasks, None)
