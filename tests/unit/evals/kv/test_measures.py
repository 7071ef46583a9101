"""What is measured of a cache, against numbers made in another way."""

import math
import random

import pytest
import torch

from engramos.activation.recall import ROLE as RECALLS
from engramos.engines.base import Sampling
from engramos.engines.transformers import Transformers
from engramos.evals.kv import measures
from engramos.evals.kv.measures import Reference
from engramos.evals.kv.reading import Held, Reading
from engramos.evals.kv.rows import Row, rows_of
from engramos.evals.kv.run import measure, metrics_of
from engramos.evals.kv.tasks import Question, Sample
from engramos.evals.kv.witness import Witness
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)
FULL = Row("full")


def letters(seed: int, num: int) -> tuple[int, ...]:
    source = random.Random(seed)
    return tuple(source.randrange(32, 127) for _ in range(num))


CONTEXT, ASKED = letters(1, 300), letters(2, 12)


@pytest.fixture(scope="module")
def engine() -> Transformers:
    return Transformers.of(tiny_model(), tiny_tokenizer(), weights="tiny", block_tokens=128)


@pytest.fixture(scope="module")
def own_answer(engine) -> list[int]:
    """The model's own greedy answer, one token after the other."""
    cache = engine.new_cache()
    scores = engine.prefill([*CONTEXT, *ASKED], cache)
    found = []
    for _ in range(6):
        found.append(int(scores.argmax()))
        scores = engine.step(found[-1], cache)
    return found


def read(engine) -> tuple[Reading, Held]:
    reading = Reading(engine, Witness([]), CONTEXT)
    return reading, reading.held(FULL)


def sample_of(*answers: list[int], **more) -> Sample:
    questions = tuple(Question(ASKED, tuple(one)) for one in answers)
    return Sample("passkey-300-0", "passkey", 300, CONTEXT, questions, **more)


def test_the_models_own_answer_counts_as_right_and_another_by_its_share(engine, own_answer) -> None:
    wrong = [*own_answer[:3], *((one + 1) % 256 for one in own_answer[3:])]
    _, held = read(engine)
    found = measures.passkey(engine, sample_of(own_answer, own_answer), held, FULL, Reference(), is_timed=True)
    assert (found["passkey"], found["digits"], found["follow_up"]) == (1.0, 1.0, 1.0)
    assert found["identical"] == 1.0
    assert found["tokens_per_s"] > 0.0
    found = measures.passkey(engine, sample_of(own_answer, wrong), held, FULL, Reference(), is_timed=False)
    assert (found["passkey"], found["follow_up"]) == (0.5, 0.0)
    # after the first wrong token the right ones before it are no longer what the model would have said
    assert 0.5 <= found["follow_up_digits"] < 1.0
    assert "tokens_per_s" not in found


def test_questions_leave_the_cache_as_it_was(engine, own_answer) -> None:
    _, held = read(engine)
    first, again = (
        measures.passkey(engine, sample_of(own_answer, own_answer), held, FULL, Reference(), is_timed=True)
        for _ in range(2)
    )
    assert held.cache.num_tokens == len(CONTEXT)
    assert {name: first[name] for name in ("passkey", "digits")} == {
        name: again[name] for name in ("passkey", "digits")
    }


def test_forced_tokens_are_all_foretold_exactly_where_they_are_the_greedy_answer(engine, own_answer) -> None:
    _, held = read(engine)
    for is_slow in (False, True):
        assert measures.foretold(engine, held.cache.copy(), ASKED, own_answer, is_slow=is_slow) == own_answer
    wrong = [(own_answer[0] + 1) % 256, *own_answer[1:]]
    assert measures.foretold(engine, held.cache.copy(), ASKED, wrong)[0] == own_answer[0]
    assert measures.foretold(engine, held.cache.copy(), ASKED, []) == []


@pytest.mark.parametrize("num_right", [0, 2, 6])
@pytest.mark.parametrize("num_draft", [0, 1, 6])
def test_a_draft_changes_nothing_of_the_answer(engine, own_answer, num_right, num_draft) -> None:
    """However much of the draft is right, and however long it is, the answer is that of plain decoding."""
    _, held = read(engine)
    draft = [*own_answer[:num_right], *((one + 1) % 256 for one in own_answer[num_right:])][:num_draft]
    plain = held.cache.copy()
    scores = engine.prefill(ASKED, plain, is_last=False)
    wanted = [token for piece in engine.generate(scores, plain, Sampling(max_tokens=9)) for token in piece.token_ids]
    question = Question(ASKED, expected=("never said",), max_tokens=9)
    assert measures.continued(engine, held.cache.copy(), draft, question) == wanted


def test_loss_and_divergence_are_those_of_the_definition(engine) -> None:
    following = letters(3, 10)
    reading = Reading(engine, Witness(rows_of(["streaming_llm"], [0.2], [], []).policies), CONTEXT)
    row = Row("streaming_llm.kept20", 0, 0.2)
    reference = Reference()
    sample = sample_of([1], following=following)
    whole = measures.reading_on(engine, sample, reading.held(FULL), FULL, reference)
    cut = measures.reading_on(engine, sample, reading.held(row), row, reference)
    logs = [engine.log_probabilities(following[:-1], reading.held(one).cache).double() for one in (FULL, row)]
    loss = [-sum(float(one[at, token]) for at, token in enumerate(following[1:])) / 9 for one in logs]
    divergence = sum(
        math.exp(float(p)) * (float(p) - float(q))
        for full, other in zip(*logs, strict=True)
        for p, q in zip(full, other, strict=True)
    )
    assert whole["kl"] == 0.0
    assert whole["nll"] == pytest.approx(loss[0], rel=1e-6)
    assert cut["nll"] == pytest.approx(loss[1], rel=1e-6)
    assert cut["kl"] == pytest.approx(divergence / 9, rel=1e-4)
    assert cut["kl"] > 0.01


def test_a_known_question_is_compressed_all_but_its_last_token(engine, own_answer) -> None:
    rows = rows_of(["snapkv", "kvzip"], [0.5], [], [])
    reading = Reading(engine, Witness(rows.policies), CONTEXT)
    asked = reading.asked(ASKED[:-1])
    held = asked.aware(rows.rows[1], len(ASKED) - 1)
    assert held is not None
    wanted = int(0.5 * (len(CONTEXT) + len(ASKED) - 1))
    assert {len(one) for layer in held.cache.memory_layers for one in layer.stretches} == {wanted}
    found = measures.aware(engine, sample_of(own_answer, own_answer), asked, rows.rows[1])
    assert found.keys() == {"aware_passkey", "aware_digits", "aware_follow_up", "aware_follow_up_digits"}
    assert asked.aware(rows.rows[2], len(ASKED) - 1) is None, "kvzip would have to read the whole text again"
    assert measures.aware(engine, sample_of(own_answer), asked, rows.rows[2]) == {}


def test_bytes_are_those_that_are_kept_and_those_that_a_codec_stores(engine) -> None:
    rows = rows_of(["streaming_llm", "kvzip"], [0.25], ["int8"], [], is_crossed=True)
    reading = Reading(engine, Witness(rows.policies, 64), CONTEXT)
    held = {row.name: reading.held(row) for row in rows.rows}
    whole = 3 * 2 * 2 * 300 * 16 * 4
    assert held["full"].num_bytes == whole
    assert held["streaming_llm.kept25"].num_bytes == whole // 4
    # layers and heads share the budget of kvzip unequally, and all of it is real
    assert whole // 4 * 0.97 < held["kvzip.kept25"].num_bytes <= whole // 4
    assert held["int8"].bits == 9.0, "8 bits and a scale of 16 for 16 numbers"
    stored = held["streaming_llm.kept25.int8"].stored_bytes
    assert stored is not None
    assert whole // 4 * 9 / 32 < stored < whole // 4 * 9 / 32 + 300 * 4 + 3 * 75 * 4 + 1


def test_a_recall_method_holds_a_quarter_and_what_comes_back(engine) -> None:
    reading = Reading(engine, Witness([]), CONTEXT)
    held = reading.held(Row("quest.resident25", kept=0.25, recall=RECALLS.make("quest", page_size=8)))
    whole = reading.cache.num_bytes
    assert 0.1 * whole < held.num_bytes <= 0.26 * whole
    found = measures.passkey(engine, sample_of([1, 2]), held, Row("q", recall=held), Reference([1, 2]), is_timed=True)
    assert 0.0 <= found["digits"] <= 1.0


def test_every_row_is_measured_on_every_sample(engine, own_answer) -> None:
    rows = rows_of(["snapkv", "h2o"], [0.5], ["int8"], ["infllm"])
    asked = Question(ASKED, expected=("zzz",), max_tokens=5)
    samples = [
        sample_of(own_answer, own_answer, following=letters(4, 8)),
        Sample("ruler-300-single-0", "ruler", 300, CONTEXT, (asked,), kind="single"),
    ]
    steps = []
    outcomes = measure(engine, rows, samples, steps.append)
    assert sum(steps) == 2 * len(rows.rows)
    assert all(one.metrics.keys() == {row.name for row in rows.rows} for one in outcomes)
    full, cut = metrics_of(outcomes, "full"), metrics_of(outcomes, "snapkv.kept50")
    assert full["kl"] == 0.0
    assert full["identical"] == 1.0
    assert full["ruler"] == 0.0
    assert {"passkey", "follow_up", "aware_passkey", "aware_follow_up", "ppl", "kl", "ttft_ms", "bytes"} <= cut.keys()
    assert metrics_of(outcomes, "int8")["bits"] == 9.0
    assert metrics_of(outcomes, "int8")["kl"] < 0.05


def test_perplexity_is_that_of_all_texts_together_and_lengths_have_means_of_their_own() -> None:
    outcomes = [
        type("Outcome", (), {"sample": Sample("a", "passkey", length, ()), "metrics": {"full": {"nll": nll}}})()
        for length, nll in ((100, 1.0), (100, 2.0), (200, 6.0))
    ]
    found = metrics_of(outcomes, "full")
    assert found == pytest.approx({"ppl": math.exp(3.0), "ppl@100": math.exp(1.5), "ppl@200": math.exp(6.0)})
