"""One prefill that many policies share gives each of them what a prefill of its own would have given."""

import random

import pytest
import torch

from engramos.activation.budgets import Budget
from engramos.activation.keeping import Keeping
from engramos.activation.policies import ROLE
from engramos.activation.view import PREFILL
from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError
from engramos.evals.kv.witness import Witness, own_notes, pruned, reading
from engramos.testing.tiny_models import tiny_model, tiny_tokenizer

torch.set_num_threads(1)


def policies() -> dict[str, object]:
    """Every policy that needs no parameter and cuts prompts, by name."""
    made = {}
    for name in ROLE.names():
        try:
            policy = ROLE.make(name)
        except (ConfigError, TypeError):
            continue
        if PREFILL in policy.acts_in:
            made[name] = policy
    return made


POLICIES = policies()


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def engine(request) -> Transformers:
    return Transformers.of(tiny_model(request.param), tiny_tokenizer(), weights="tiny", block_tokens=100)


@pytest.fixture(scope="module")
def shared(engine):
    """The text, the witness of all policies at once, and the cache that it has seen."""
    text = [random.Random(3).randrange(256) for _ in range(230)]
    witness = Witness(list(POLICIES.values()), num_queries=8)
    cache = engine.new_cache(reading(witness))
    engine.prefill(text, cache)
    return text, witness, cache


def kept(cache) -> list[list[int]]:
    """The positions that each head of each layer keeps."""
    return [row.tolist() for layer in cache.memory_layers for one in layer.stretches for row in one.positions]


def test_a_few_policies_are_there_to_be_compared() -> None:
    assert len(POLICIES) > 15
    assert {"snapkv", "h2o", "kvzip", "sirllm", "sentence_kv", "pyramidkv"} <= POLICIES.keys()


@pytest.mark.parametrize("name", POLICIES)
def test_a_shared_prefill_keeps_the_tokens_that_a_prefill_of_its_own_keeps(engine, shared, name) -> None:
    text, witness, cache = shared
    alone = engine.new_cache(Keeping(ROLE.make(name), prefill=Budget(ratio=0.3)))
    engine.prefill(text, alone)
    assert kept(alone) != kept(cache), "nothing was removed, so nothing is compared"
    cut = pruned(cache, witness, list(POLICIES).index(name), Budget(ratio=0.3))
    assert kept(cut) == kept(alone)


def test_a_copy_that_was_cut_leaves_the_shared_cache_whole(engine, shared) -> None:
    text, witness, cache = shared
    cut = pruned(cache, witness, 0, Budget(num_tokens=20))
    engine.prefill([1, 2, 3], cut, is_last=False)
    assert cache.num_tokens == len(text)
    assert cut.num_tokens == len(text) + 3
    full = [layer for layer in cache.memory_layers if layer.shape.window is None]
    assert all(len(one) == len(text) for layer in full for one in layer.stretches)
    assert all(not one.notes for layer in cut.memory_layers for one in layer.stretches)


def test_a_question_in_the_text_is_told_to_the_policy(engine, shared) -> None:
    """SnapKV's window is never longer than the question: with a question of 5 tokens it keeps others than without."""
    text, witness, cache = shared
    place = list(POLICIES).index("snapkv")
    known = pruned(cache, witness, place, Budget(ratio=0.3), question_tokens=5)
    alone = engine.new_cache(Keeping(ROLE.make("snapkv"), prefill=Budget(ratio=0.3)))
    engine.prefill(text, alone, question_tokens=5)
    assert kept(known) == kept(alone)
    assert kept(known) != kept(pruned(cache, witness, place, Budget(ratio=0.3)))


def test_two_policies_of_one_class_have_notes_of_their_own(engine) -> None:
    text = [random.Random(4).randrange(256) for _ in range(120)]
    two = [ROLE.make("h2o"), ROLE.make("h2o", is_averaged=False, recent_share=0.5)]
    witness = Witness(two)
    cache = engine.new_cache(reading(witness))
    engine.prefill(text, cache)
    for place, policy in enumerate(two):
        alone = engine.new_cache(Keeping(policy, prefill=Budget(ratio=0.3)))
        engine.prefill(text, alone)
        assert kept(pruned(cache, witness, place, Budget(ratio=0.3))) == kept(alone)


def test_notes_go_back_to_the_names_that_their_policy_gave_them() -> None:
    first, second = torch.zeros(1), torch.ones(1)
    notes = {"0:seen": first, "1:seen": second, "10:seen": second, "surprisal": first}
    assert own_notes(notes, 1) == {"seen": second}


def test_cpu_time_is_counted_for_the_policy_that_took_it(engine) -> None:
    witness = Witness([ROLE.make("streaming_llm"), ROLE.make("h2o"), ROLE.make("kvzip")])
    cache = engine.new_cache(reading(witness))
    witness.begin()
    engine.prefill([random.Random(5).randrange(256) for _ in range(150)], cache)
    assert witness.cpu_s[0] == 0.0
    assert witness.cpu_s[1] > 0.0
    assert witness.cpu_s[2] > witness.cpu_s[1], "reading the text again costs more than looking on"
