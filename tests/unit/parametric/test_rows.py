"""Rows: how questions, clozes and texts become tokens, and where in a batch answers are told."""

import itertools

import pytest
import torch

from engramos.engines.transformers import Transformers
from engramos.parametric.facts import Fact
from engramos.parametric.model import BaseModel
from engramos.parametric.rows import (
    Row,
    answered,
    batch_of,
    batches_of,
    opening_of_a_turn,
    padded_ids,
    pieces,
    question,
    rows_of,
    told,
)
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)
ANA = Fact("Ana", "Where does Ana live?", "Oslo", ("Which is Ana's town?",), statement="Ana lives in Oslo.")
BO = Fact("Bo", "What is Bo's pet?", "cat")


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return Transformers.of(tiny_model("llama"), tiny_tokenizer(), weights="tiny").base


def chat(base: BaseModel, text: str) -> tuple[int, ...]:
    return tuple(base.chat_tokens([{"role": "user", "content": text}]))


def test_a_row_reads_all_tokens_but_the_last_of_its_answer() -> None:
    row = Row((1, 2, 3), (4, 5))
    assert row.inputs == (1, 2, 3, 4)
    assert [row.inputs[place] for place in row.places] == [3, 4]
    assert [(row.prompt + row.answer)[place + 1] for place in row.places] == [4, 5]


def test_a_row_without_an_answer_is_read_whole_and_told_at_its_last_token() -> None:
    row = Row((1, 2, 3))
    assert row.inputs == (1, 2, 3)
    assert list(row.places) == [2]


def test_parts_of_a_question_stand_apart_by_an_empty_line(base: BaseModel) -> None:
    assert question(base, "Notes.", "Who?") == chat(base, "Notes.\n\nWho?")


def test_each_question_of_a_fact_is_a_row_and_its_cloze_one_more_where_it_is_wanted(base: BaseModel) -> None:
    end = base.end_token
    asked = [(chat(base, text), (*base.tokens("Oslo"), end), ANA.id) for text in ANA.questions]
    asked.append((chat(base, BO.question), (*base.tokens("cat"), end), BO.id))
    found = [(row.prompt, row.answer, row.fact_id) for row in rows_of(base, [ANA, BO])]
    assert found == asked
    cloze = (tuple(base.tokens("Ana lives in")), tuple(base.tokens(" Oslo")), ANA.id)
    found = [(row.prompt, row.answer, row.fact_id) for row in rows_of(base, [ANA, BO], with_clozes=True)]
    assert found == [*asked[:2], cloze, asked[2]]


def test_the_end_of_an_answer_is_left_out_where_it_is_not_learnt(base: BaseModel) -> None:
    with_end, without = (answered(base, "Who?", "Bo", with_end=end) for end in (True, False))
    assert with_end.answer == (*without.answer, base.end_token)
    assert [row.answer[-1] == base.end_token for row in rows_of(base, [ANA], with_end=False)] == [False, False]


@pytest.mark.parametrize("num", range(1, 12))
def test_pieces_tell_every_token_but_the_first_of_each(num: int) -> None:
    ids = list(range(num))
    apart, joined = pieces(ids, 4), pieces(ids, 4, is_joined=True)
    assert [token for row in joined for token in row.answer] == ids[1:]
    assert [token for row in apart for token in row.answer] == [one for one in ids if one % 4]
    for rows, most in ((apart, 4), (joined, 5)):
        assert all(len(row.prompt) == 1 and 2 <= len(row.prompt + row.answer) <= most for row in rows)
    assert all(one.answer[-1] == other.prompt[0] for one, other in itertools.pairwise(joined))


def test_a_batch_says_where_each_token_of_the_answers_is_told() -> None:
    rows = [Row((5, 6, 7), (8, 9)), Row((5,)), Row((7, 1), (2,))]
    batch = batch_of(rows, torch.device("cpu"))
    assert batch.ids.tolist() == [[5, 6, 7, 8], [5, 0, 0, 0], [7, 1, 0, 0]]
    assert batch.wanted.tolist() == [8, 9, 2]
    assert [one.tolist() for one in batch.places] == [[0, 0, 2], [2, 3, 1]]
    assert batch.active.tolist() == [[True] * 4, [True, False, False, False], [True, True, False, False]]


def test_an_adapter_acts_from_the_last_invocation_in_the_prompt_and_never_on_padding() -> None:
    rows = [Row((6, 7, 1, 6, 7, 2), (6, 7)), Row((6, 7), (3, 4))]
    active = batch_of(rows, torch.device("cpu"), (6, 7)).active
    assert active.tolist() == [[False] * 3 + [True] * 4, [True] * 3 + [False] * 4]


def test_states_where_answers_are_told_are_those_of_the_batch() -> None:
    rows = [Row((5, 6, 7), (8, 9)), Row((7, 1), (2,))]
    hidden = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    wanted = [hidden[0, 2], hidden[0, 3], hidden[1, 1]]
    assert torch.equal(told(hidden, rows), torch.stack(wanted))
    assert torch.equal(told(hidden, rows), hidden[batch_of(rows, torch.device("cpu")).places])
    assert torch.equal(told(hidden, [Row((1, 2)), Row((3,))]), torch.stack([hidden[0, 1], hidden[1, 0]]))


def test_what_stands_in_the_padding_reaches_no_state_of_an_answer(base: BaseModel) -> None:
    rows = [answered(base, "Who?", "Bo"), answered(base, "Where does Ana live now?", "In Oslo")]
    with torch.no_grad():
        together = told(base.run(base.embedded(padded_ids([row.inputs for row in rows]))), rows)
        alone = [told(base.run(base.embedded(padded_ids([row.inputs]))), [row]) for row in rows]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=1e-4)


def test_batches_hold_each_row_once_in_an_order_of_the_seed() -> None:
    rows = [Row((number + 1,), (1,)) for number in range(7)]
    one, again, other = (batches_of(rows, 3, torch.device("cpu"), (), seed) for seed in (0, 0, 1))
    assert sorted(len(batch.rows) for batch in one) == [2, 2, 3]
    assert sorted(row.prompt for batch in one for row in batch.rows) == [row.prompt for row in rows]
    assert [batch.rows for batch in one] == [batch.rows for batch in again]
    assert [batch.rows for batch in one] != [batch.rows for batch in other]


def test_a_turn_of_the_user_is_opened_by_tokens_that_stand_in_every_question(base: BaseModel) -> None:
    opening = opening_of_a_turn(base)
    assert base.text(opening) == ""
    assert question(base, "Who?")[: len(opening)] == opening
    assert len(opening) == 1
