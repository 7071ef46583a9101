import pytest
import torch

from engramos.engines._decode import chosen, held_back
from engramos.engines.base import Sampling
from engramos.errors import ConfigError


def pieces_of(engine, token_ids, sampling: Sampling):
    cache = engine.new_cache()
    return list(engine.generate(engine.prefill(token_ids, cache), cache, sampling)), cache


def test_pieces_make_up_the_text_of_their_tokens(engine, token_ids) -> None:
    pieces, _ = pieces_of(engine, token_ids, Sampling(max_tokens=30))
    produced = [token for piece in pieces for token in piece.token_ids]
    assert "".join(piece.text for piece in pieces) == engine.text(produced)
    assert [piece.reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].reason in ("end", "max_tokens")


def test_an_answer_stops_before_a_stop_text_and_shows_none_of_it(engine, token_ids) -> None:
    whole = "".join(piece.text for piece in pieces_of(engine, token_ids, Sampling(max_tokens=30))[0])
    stop = whole[5:8]
    pieces, _ = pieces_of(engine, token_ids, Sampling(max_tokens=30, stop=(stop,)))
    assert "".join(piece.text for piece in pieces) == whole[: whole.find(stop)]
    assert pieces[-1].reason == "stop"


def test_the_same_seed_draws_the_same_answer_and_another_seed_another(engine, token_ids) -> None:
    def drawn(seed: int) -> list[int]:
        pieces, _ = pieces_of(engine, token_ids, Sampling(max_tokens=20, temperature=2.0, seed=seed))
        return [token for piece in pieces for token in piece.token_ids]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_an_answer_ends_where_the_window_ends(engine) -> None:
    token_ids = [7] * (engine.max_tokens - 3)
    pieces, cache = pieces_of(engine, token_ids, Sampling(max_tokens=50))
    assert pieces[-1].reason in ("window", "end")
    assert cache.next_position <= engine.max_tokens


def test_top_p_draws_from_the_likeliest_alone() -> None:
    scores = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    source = torch.Generator().manual_seed(0)
    drawn = {chosen(scores, Sampling(temperature=1.0, top_p=0.7), source) for _ in range(300)}
    assert drawn == {0, 1}


def test_a_beginning_stop_text_and_half_a_letter_are_held_back() -> None:
    assert held_back("hello <|e", ("<|end|>",)) == "hello "
    assert held_back("hello \ufffd", ()) == "hello "
    assert held_back("hello", ("xyz",)) == "hello"


@pytest.mark.parametrize(
    "parameters", [{"max_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"stop": ("",)}]
)
def test_a_wrong_way_of_choosing_is_refused(parameters) -> None:
    with pytest.raises(ConfigError):
        Sampling(**parameters)
