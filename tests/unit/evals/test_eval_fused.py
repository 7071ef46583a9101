"""The table of fused pieces, on a tiny model and a made-up book."""

import random

import pytest
import torch

from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, InvalidInputError
from engramos.evals.kv.fused import NUM_PIECES, PIECE_TOKENS, WAYS, fused_table, sample_of
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)


def letters(num: int) -> str:
    """Return sentences of a few random letters."""
    source = random.Random(0)
    return "".join("".join(source.choices("abcdefgh jklmnop rst", k=8)) + ". " for _ in range(num // 10))


TEXT = letters(1_500)


@pytest.fixture(scope="module")
def engine() -> Transformers:
    return Transformers.of(tiny_model(num_layers=6), tiny_tokenizer(), weights="tiny")


def test_a_sample_tells_its_pass_key_after_a_sentence_of_one_piece(engine: Transformers) -> None:
    for number in range(NUM_PIECES):
        sample = sample_of(engine, TEXT, number, seed=1)
        assert [len(piece) for piece in sample.pieces] == [PIECE_TOKENS] * NUM_PIECES
        key = engine.text(sample.answer).strip()
        assert len(key) == 5
        pieces = [engine.text(piece) for piece in sample.pieces]
        assert [key in piece for piece in pieces] == [at == number for at in range(NUM_PIECES)]
        assert pieces[number].partition("\nThe pass key is ")[0].endswith((".", "!"))


def test_the_same_seed_gives_the_same_sample_and_another_another(engine: Transformers) -> None:
    assert sample_of(engine, TEXT, 0, seed=1) == sample_of(engine, TEXT, 0, seed=1)
    assert sample_of(engine, TEXT, 0, seed=1).answer != sample_of(engine, TEXT, 0, seed=2).answer


def test_a_text_that_is_too_short_is_refused(engine: Transformers) -> None:
    with pytest.raises(InvalidInputError, match="too short"):
        sample_of(engine, TEXT[:900], 0, seed=0)


def test_the_table_has_every_way_and_the_full_prefill_is_its_measure(engine: Transformers) -> None:
    table = fused_table(engine, [TEXT, TEXT[100:]], seed=0)
    assert list(table) == ["full", "none", *WAYS]
    assert table["full"]["kl"] == table["full"]["kl_text"] == 0.0
    assert table["full"]["cpu_ratio"] == 1.0
    assert table["concat"]["kl_text"] > table["blend30"]["kl_text"] > 0.0
    assert table["none"]["kl"] > table["blend30"]["kl"]


def test_a_table_of_no_samples_is_refused(engine: Transformers) -> None:
    with pytest.raises(ConfigError, match="samples"):
        fused_table(engine, [], seed=0)
