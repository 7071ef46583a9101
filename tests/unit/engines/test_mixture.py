"""Adapters on a model: each row of a batch has its own, and what has none reads as the base model does."""

import copy
from collections.abc import Sequence

import pytest
import torch
from tests.integration.parametric_models import drawn_adapter, drawn_prefix, engine, fresh_engine

from engramos.engines._mixture import NEVER, Mixture, start_of
from engramos.engines.base import Sampling
from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, InvalidInputError, ModelMismatchError, UnsupportedError
from engramos.parametric.adapter import Adapter
from engramos.parametric.adapters.codebook import Codebook
from engramos.parametric.adapters.low_rank import LowRank
from engramos.testing.tiny_models import ARCHITECTURES

GREEDY = Sampling(max_tokens=6)
TEXTS = ("The roof of the house", "The roof was mended", "Who is it?", "x", "The roof of the house is red and old")


def prompts_of(model: Transformers) -> list[list[int]]:
    return [model.tokens(text) for text in TEXTS]


@torch.no_grad()
def scores_of(model: Transformers, ids: Sequence[Sequence[int]]) -> torch.Tensor:
    base = model.base
    return base.scores(base.run(base.embedded(torch.tensor(ids))))


def mixed(model: Transformers, ids: Sequence[Sequence[int]], rows: Sequence[Sequence[Adapter]]) -> torch.Tensor:
    mixture = Mixture(model._hosted.model, rows)
    starts = torch.tensor([[start_of(one, row) for one in mixture.adapters] for row in ids]).view(len(ids), -1)
    with mixture.passing(torch.arange(len(ids[0])).expand(len(ids), -1), starts):
        return scores_of(model, ids)


@torch.no_grad()
def keys_seen(model: Transformers, ids: Sequence[int]) -> torch.Tensor:
    base = model.base
    return base.run(base.embedded(torch.tensor([list(ids)])), 0, 1)[0]


def produced(model: Transformers, scores: torch.Tensor, cache) -> list[int]:
    pieces = model.generate(scores, cache, GREEDY)
    return [token for piece in pieces for token in piece.token_ids if token not in model._hosted.ends]


def codebook(model: Transformers, ids: Sequence[int]) -> Codebook:
    """Return an edit that acts at the last token of what is read."""
    key = keys_seen(model, ids)[-1:]
    places = torch.tensor([0]), torch.tensor([0])
    return Codebook(model.base.layer_name(1), key, torch.ones_like(key) * 2, *places, ("a",), 0.5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_row_without_adapters_is_bit_equal_to_the_base_model_in_the_same_batch(architecture: str) -> None:
    model = engine(architecture)
    ids = [model.tokens(text) for text in ("twelve bytes", "other twelve", "and a third!")]
    plain = scores_of(model, ids)
    one, other = drawn_adapter(model, 1), codebook(model, ids[2])
    found = mixed(model, ids, [[one], [], [other]])
    assert torch.equal(found[1], plain[1])
    for row in (0, 2):
        assert float((found[row] - plain[row]).abs().max()) > 0.1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_adapters_in_a_mixed_batch_act_as_each_alone(architecture: str) -> None:
    model = engine(architecture)
    text = "twelve bytes"
    ids = [model.tokens(text)] * 6
    wide = drawn_adapter(model, 2, kinds=("q_proj", "o_proj", "gate_proj"), rank=5)
    one, later, edit = drawn_adapter(model, 1), drawn_adapter(model, 3, invocation=(*model.tokens("byt"),)), None
    edit = codebook(model, ids[0])
    rows = [[], [one], [wide], [one, wide], [later], [edit]]
    found = mixed(model, ids, rows)
    for number, row in enumerate(rows):
        alone = mixed(model, ids[:1], [row])[0]
        assert torch.allclose(found[number], alone, atol=1e-4, rtol=1e-4), number
    different = {tuple(round(float(one), 3) for one in row[-1, :5]) for row in found}
    assert len(different) == 6, "each row must differ from all others, or nothing is shown"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_low_rank_adapter_gives_what_changed_weights_give(architecture: str) -> None:
    model = engine(architecture)
    adapter, ids = drawn_adapter(model, 4), [model.tokens("The roof of the house")]
    changed = copy.deepcopy(model._hosted.model).double()
    for name in adapter.targets:
        update = torch.zeros_like(changed.get_submodule(name).weight)
        for place in range(adapter.rank(name)):
            update += torch.outer(adapter.up[name][:, place].double(), adapter.down[name][place].double())
        changed.get_submodule(name).weight.data += adapter.scale * update
    wanted = Transformers.of(changed, model._hosted.tokenizer, weights="changed")
    assert torch.allclose(mixed(model, ids, [[adapter]])[0].double(), scores_of(wanted, ids)[0], atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_batch_of_many_adapters_answers_as_each_prompt_alone(architecture: str) -> None:
    model = engine(architecture)
    prompts = prompts_of(model)
    chosen = [
        drawn_adapter(model, 1),
        None,
        drawn_adapter(model, 2, invocation=tuple(model.tokens("is"))),
        drawn_prefix(model, 3),
        codebook(model, prompts[4]),
    ]
    together = model.generate_batch(prompts, GREEDY, chosen)
    for prompt, adapter, answer in zip(prompts, chosen, together, strict=True):
        assert model.generate_batch([prompt], GREEDY, [adapter])[0] == answer
        alone = model.adapted([] if adapter is None else [adapter])
        cache = alone.new_cache()
        scores = alone.prefill(prompt, cache)
        assert produced(alone, scores, cache) == answer
    assert together[1] == model.generate_batch(prompts, GREEDY)[1]
    assert together[0] != model.generate_batch(prompts, GREEDY)[0]


def test_a_shared_beginning_is_read_by_the_base_model_only_as_far_as_no_adapter_acts_on_it() -> None:
    model = engine()
    start = "All of these begin with the very same words. "
    prompts = [model.tokens(f"{start}{end}") for end in ("Ask: one?", "Ask: two?", "Say three.")]
    late = drawn_adapter(model, 1, invocation=tuple(model.tokens("Ask:")))
    always = drawn_adapter(model, 2)
    for chosen in ([late, late, None], [late, always, None], [always, always, always]):
        together = model.generate_batch(prompts, GREEDY, chosen)
        alone = [model.generate_batch([one], GREEDY, [own])[0] for one, own in zip(prompts, chosen, strict=True)]
        assert together == alone


def test_adapters_of_the_engine_act_beside_those_of_a_prompt() -> None:
    model = engine()
    one, other = drawn_adapter(model, 1), drawn_adapter(model, 2)
    prompts = prompts_of(model)[:2]
    both = model.adapted([one]).generate_batch(prompts, GREEDY, [other, None])
    assert both[0] == model.adapted([one, other]).generate_batch(prompts[:1], GREEDY)[0]
    assert both[1] == model.adapted([one]).generate_batch(prompts[1:], GREEDY)[0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tokens_before_an_invocation_are_read_bit_equal_to_the_base_model(architecture: str) -> None:
    model = engine(architecture)
    ids = model.tokens("A long beginning that stays. Now: act on this")
    late = drawn_adapter(model, 1, invocation=tuple(model.tokens("Now:")))
    at = start_of(late, ids)
    assert model.text(ids[at : at + 4]) == "Now:"
    plain, acted = model.new_cache(), model.adapted([late]).new_cache()
    model.prefill(ids, plain)
    model.adapted([late]).prefill(ids, acted)
    for mine, theirs in zip(acted.memory_layers, plain.memory_layers, strict=True):
        one, other = mine.stretches[0], theirs.stretches[0]
        assert torch.equal(one.keys[:, :at], other.keys[:, :at])
        assert torch.equal(one.values[:, :at], other.values[:, :at])
        assert not torch.equal(one.values[:, at : len(ids)], other.values[:, at : len(ids)])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_stored_cache_of_the_base_model_stays_right_before_an_adapter_that_acts_later(architecture: str) -> None:
    model = engine(architecture)
    before, after = model.tokens("A long beginning that stays. "), model.tokens("Now: act on this")
    late = model.adapted([drawn_adapter(model, 1, invocation=tuple(model.tokens("Now:")))])
    read = model.new_cache()
    model.prefill(before, read)
    warm, cold = late.attach(model.detach(read)), late.new_cache()
    scores, wanted = late.prefill(after, warm), late.prefill([*before, *after], cold)
    assert torch.allclose(scores, wanted, atol=1e-4)
    assert produced(late, scores, warm) == produced(late, wanted, cold)


def test_an_invocation_that_does_not_occur_leaves_the_base_model() -> None:
    model = engine()
    adapter = drawn_adapter(model, 1, invocation=(7, 8, 9))
    ids = model.tokens("nothing of it is here")
    assert start_of(adapter, ids) == NEVER
    caches = model.new_cache(), model.adapted([adapter]).new_cache()
    plain, acted = model.prefill(ids, caches[0]), model.adapted([adapter]).prefill(ids, caches[1])
    assert torch.equal(plain, acted)
    assert model.generate_batch([ids], GREEDY, [adapter]) == model.generate_batch([ids], GREEDY)


def test_the_last_occurrence_of_an_invocation_counts() -> None:
    model = engine()
    adapter = drawn_adapter(model, 1, invocation=tuple(model.tokens("!")))
    assert start_of(adapter, model.tokens("a! b! c")) == 4
    assert start_of(adapter, model.tokens("a! b! c"), 10) == 14


@pytest.mark.parametrize("late", [False, True])
def test_log_probabilities_are_those_of_all_adapters_of_the_engine(late: bool) -> None:
    model = engine()
    ids = model.tokens("Before it. Now: act")
    invocation = tuple(model.tokens("Now:")) if late else ()
    ones = [drawn_adapter(model, 1, invocation=invocation), drawn_adapter(model, 2, invocation=invocation)]
    found = model.adapted(ones).log_probabilities(ids, model.adapted(ones).new_cache())
    wanted = torch.log_softmax(mixed(model, [ids], [ones])[0], dim=-1)
    assert torch.allclose(found, wanted, atol=1e-3)


def test_a_prefix_stands_before_the_prompt_in_caches_and_in_batches() -> None:
    model = engine()
    prefix, ids = drawn_prefix(model, 1), model.tokens("The roof")
    own = model.adapted([prefix])
    cache = own.new_cache()
    found = own.prefill(ids, cache)
    with torch.no_grad():
        base = model.base
        wanted = base.scores(base.run(base.embedded(torch.tensor([ids])), prefix=prefix.prefix))[0, -1]
    assert torch.allclose(found, wanted, atol=1e-4)
    assert cache.next_position == len(ids) + 3
    assert not torch.allclose(found, model.prefill(ids, model.new_cache()), atol=1e-2)
    with pytest.raises(UnsupportedError, match="one alone"):
        model.adapted([prefix, drawn_prefix(model, 2)]).new_cache()
    with pytest.raises(UnsupportedError, match="one adapter that has one"):
        own.generate_batch([ids], GREEDY, [drawn_prefix(model, 2)])
    with pytest.raises(UnsupportedError, match="cannot follow"):
        own.attach(model.detach(cache_of(model, ids)))


def cache_of(model: Transformers, ids: Sequence[int]):
    cache = model.new_cache()
    model.prefill(ids, cache)
    return cache


def test_a_prefix_cannot_be_held() -> None:
    model = fresh_engine()
    with pytest.raises(UnsupportedError, match="prefix"):
        model.base.hold(drawn_prefix(model))
    assert model.base.held == ()


def test_what_is_held_acts_in_every_pass_and_is_gone_bit_for_bit_once_released() -> None:
    model = fresh_engine()
    ids = model.tokens("The roof of the house")
    base, one, other = model.base, drawn_adapter(model, 1), drawn_adapter(model, 2)

    def seen() -> list[torch.Tensor]:
        cache = model.new_cache()
        answers = model.generate_batch([ids, ids[:4]], GREEDY, [None, other])
        return [
            model.prefill(ids, cache),
            model.log_probabilities(ids, model.new_cache()),
            scores_of(model, [ids]),
            torch.tensor([token for answer in answers for token in answer][:6]),
        ]

    before = seen()
    base.hold(one)
    with_one = seen()
    assert not any(torch.equal(*pair) for pair in zip(before, with_one, strict=True))
    assert torch.allclose(with_one[2], mixed_alone(ids, one), atol=1e-4)
    base.hold(other)
    base.release(one)
    base.hold(one)
    base.release(other)
    assert all(torch.equal(*pair) for pair in zip(with_one, seen(), strict=True))
    base.release(one)
    assert all(torch.equal(*pair) for pair in zip(before, seen(), strict=True))
    with pytest.raises(InvalidInputError, match="not held"):
        base.release(one)


def mixed_alone(ids: Sequence[int], adapter: Adapter) -> torch.Tensor:
    return mixed(engine(), [ids], [[adapter]])


def test_an_engine_says_which_adapters_act() -> None:
    model = fresh_engine()
    one, other = drawn_adapter(model, 1), drawn_adapter(model, 2)
    assert "adapters" not in model.fingerprint
    assert model.adapted([one, other]).fingerprint["adapters"] == (one.digest, other.digest)
    assert model.adapted([other, one]).fingerprint != model.adapted([one, other]).fingerprint
    model.base.hold(one)
    assert model.fingerprint["adapters"] == (one.digest,)
    assert model.adapted([other]).fingerprint["adapters"] == (one.digest, other.digest)
    assert "adapters" not in model.base.fingerprint
    model.base.release(one)
    assert "adapters" not in model.fingerprint


def test_an_adapter_that_does_not_fit_is_refused_before_anything_is_read() -> None:
    model = engine()
    ids = model.tokens("x")
    fine = drawn_adapter(model, 1)
    unknown = LowRank({"model.layers.9.none": torch.ones(1, 4)}, {"model.layers.9.none": torch.ones(4, 1)})
    name = fine.targets[0]
    narrow = LowRank({name: torch.ones(1, 4)}, {name: torch.ones(4, 1)})
    broken = LowRank({name: fine.down[name].clone()}, {name: fine.up[name] * float("nan")})
    for wrong, error in ((unknown, InvalidInputError), (narrow, ModelMismatchError), (broken, InvalidInputError)):
        for act in (
            lambda one: model.adapted([one]),
            lambda one: model.generate_batch([ids], GREEDY, [one]),
            model.base.hold,
        ):
            with pytest.raises(error):
                act(wrong)
    with pytest.raises(ConfigError, match="1 adapters and 2 prompts"):
        model.generate_batch([ids, ids], GREEDY, [None])
    assert model.base.held == ()
