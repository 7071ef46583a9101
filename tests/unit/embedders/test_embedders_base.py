"""What embedders share, and the hashing one."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engramos.embedders.base import Lazy, encodable, unit_rows
from engramos.embedders.hashing import Hashing
from engramos.errors import ModelError


def test_rows_are_scaled_to_length_one_and_a_zero_row_becomes_the_first_axis():
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [1e-200, 0.0]]), "test")
    np.testing.assert_allclose(rows, [[0.6, 0.8], [1.0, 0.0], [1.0, 0.0]])
    assert rows.dtype == np.float32


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_finite_number_is_a_model_error(wrong: float):
    with pytest.raises(ModelError, match="tiny gave a vector that holds NaN or infinity"):
        unit_rows(np.array([[1.0, wrong]]), "tiny")


def test_a_lazy_value_is_made_once_by_whichever_thread_comes_first():
    made: list[int] = []
    start = threading.Barrier(8)
    lazy = Lazy(lambda: made.append(1) or len(made))

    def use() -> None:
        start.wait()
        assert lazy.get() == 1

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_a_lazy_value_that_failed_is_tried_again():
    answers = iter([None, 7])

    def make() -> int:
        answer = next(answers)
        if answer is None:
            raise ModelError
        return answer

    lazy = Lazy(make)
    with pytest.raises(ModelError):
        lazy.get()
    assert lazy.get() == 7


@given(text=st.text(st.characters(), max_size=40))
def test_encodable_text_can_be_written_as_utf8_and_good_text_is_unchanged(text: str):
    left = encodable(text)
    left.encode("utf-8")
    assert len(left) == len(text)
    assert all(a == b or ("\ud800" <= a <= "\udfff" and b == "?") for a, b in zip(text, left, strict=True))


def test_hashed_vectors_are_the_same_in_every_process():
    code = "from engramos.embedders.hashing import Hashing; print(Hashing().embed(['the cat sat'])[0].tobytes().hex())"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {Hashing().embed(["the cat sat"])[0].tobytes().hex()}


def test_hashing_sees_the_order_of_words_but_not_their_case():
    embedder = Hashing()
    one, other, upper = embedder.embed(["dog bites man", "man bites dog", "DOG bites man!"])
    assert np.array_equal(one, upper)
    assert 0.3 < one @ other < 0.99
