"""What every KV policy must keep to: run `check_policy` over an instance, or each of `CHECKS` as a test of its own.

Nothing here needs a test framework: a check fails by an AssertionError. It needs torch, which `import engramos.testing`
alone does not load.

Example:
    >>> from engramos.activation.policies.streaming_llm import StreamingLLM
    >>> check_policy(StreamingLLM(num_sinks=2))
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from engramos.activation.policies.base import DECODE, PREFILL, PROTECTED, Policy
from engramos.activation.rope import Rope
from engramos.activation.view import PROBE, LayerView

KV_HEADS, GROUPS, HEAD_DIM, NUM_LAYERS = 2, 3, 8, 3
COUNTS = (1, 2, 7, 16, 500)
"""Budgets that are tried, from one token to more than there are."""


@dataclass(frozen=True, slots=True)
class Case:
    """One small layer to look at."""

    name: str
    """What is special about it."""
    lengths: tuple[int, ...] = (37, 37)
    """Tokens of each head; the shorter ones are filled up with position -1."""
    phase: str = PREFILL
    """Prefill: positions without gaps, a query for every token. Decode: gaps, and one query."""
    question_tokens: int = 0
    """Of the prompt."""
    dtype: torch.dtype = torch.float32
    """Of keys, values and queries."""


CASES = (
    Case("a prompt"),
    Case("a long prompt", (300, 300)),
    Case("a prompt with a question", question_tokens=3),
    Case("a prompt of few tokens", (5, 5)),
    Case("one token", (1, 1)),
    Case("heads of unequal length", (29, 11)),
    Case("decode", phase=DECODE),
    Case("decode with heads of unequal length", (29, 11), phase=DECODE),
    Case("bfloat16", dtype=torch.bfloat16),
)
"""The layers that every policy is shown."""


def small_view(policy: Policy, case: Case, *, layer: int = 0, seed: int = 0) -> LayerView:
    """Return a random layer, with the notes that the policy needs and a query for every token of a prompt.

    Args:
        policy: whose `needs` are served.
        case: what the layer is like.
        layer: which of `NUM_LAYERS`, from 0; each has other numbers.
        seed: the same seed gives the same numbers.
    """
    random = torch.Generator().manual_seed(1000 * seed + layer)
    longest = max(case.lengths)
    positions = torch.full((KV_HEADS, longest), -1, dtype=torch.int64)
    last = longest - 1 if case.phase == PREFILL else 3 * longest
    for head, length in enumerate(case.lengths):
        places = torch.randperm(last, generator=random)[: length - 1].sort().values
        positions[head, :length] = torch.cat((places, torch.tensor([last])))
    num_queries = longest if case.phase == PREFILL else 1
    notes = {
        "surprisal": torch.rand(KV_HEADS, longest, generator=random) * 5,
        "sentence": (positions.clamp(min=0) // 6).float(),
    }

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random).to(case.dtype)

    return LayerView(
        layer=layer,
        num_layers=NUM_LAYERS,
        keys=normal(KV_HEADS, longest, HEAD_DIM),
        values=normal(KV_HEADS, longest, HEAD_DIM),
        positions=positions,
        queries=normal(KV_HEADS * GROUPS, num_queries, HEAD_DIM),
        query_positions=torch.arange(last + 1 - num_queries, last + 1),
        scaling=HEAD_DIM**-0.5,
        rope=Rope.plain(HEAD_DIM),
        phase=case.phase,
        prompt_tokens=longest if case.phase == PREFILL else longest // 2,
        question_tokens=case.question_tokens,
        notes={name: numbers for name, numbers in notes.items() if name in policy.needs},
    )


def scored(policy: Policy, view: LayerView, *, is_observed: bool = True) -> Tensor:
    """Return the scores as an engine gets them: observed first, then with the newest queries alone, padding at -inf.

    Args:
        policy: that scores.
        view: with all queries of the pass; its notes are written.
        is_observed: whether a policy that observes is shown the pass.
    """
    if policy.observes and is_observed:
        policy.observe(view)
    num = min(policy.num_queries, view.queries.shape[1])
    first = view.queries.shape[1] - num
    newest = replace(view, queries=view.queries[:, first:], query_positions=view.query_positions[first:], _attention={})
    return policy.score(newest).masked_fill(view.positions < 0, float("-inf"))


def parameters_of(policy: Policy) -> dict[str, object]:
    """Return the parameters of a policy by name."""
    return {one.name: getattr(policy, one.name) for one in fields(policy) if one.init}


def check_scores_are_numbers_for_every_token(policy: Policy) -> None:
    """Scores are (kv_heads, tokens) float32, and neither NaN nor -inf where there is a token."""
    for case in CASES:
        view = small_view(policy, case)
        scores = scored(policy, view)
        assert scores.shape == view.positions.shape, f"{case.name}: scores are {tuple(scores.shape)}"
        assert scores.dtype == torch.float32, f"{case.name}: scores are {scores.dtype}"
        assert bool((scores[view.positions >= 0] > float("-inf")).all()), f"{case.name}: a token has no score"


def check_choice_is_exact(policy: Policy) -> None:
    """Each head keeps as many tokens as it may, or all; places rise and none is padding."""
    for case in CASES:
        scores = scored(policy, small_view(policy, case))
        for count in COUNTS:
            counts = torch.full((KV_HEADS,), count)
            for kept, length in zip(policy.choose(scores, counts), case.lengths, strict=True):
                assert kept.dtype == torch.int64, f"{case.name}: places are {kept.dtype}"
                assert len(kept) == min(count, length), f"{case.name}: {len(kept)} of {length} stay, budget {count}"
                assert bool((kept.diff() > 0).all()), f"{case.name}: places do not rise"
                assert not len(kept) or 0 <= int(kept[0]) <= int(kept[-1]) < length, f"{case.name}: padding stays"


def check_heads_may_have_unequal_counts(policy: Policy) -> None:
    """Each head's count is its own."""
    scores = scored(policy, small_view(policy, CASES[0]))
    kept = policy.choose(scores, torch.tensor([3, 20]))
    assert [len(places) for places in kept] == [3, 20]


def check_what_must_stay_stays(policy: Policy) -> None:
    """Tokens with the score `PROTECTED` stay where the budget holds them all, also those that others protect."""
    for case in CASES:
        scores = scored(policy, small_view(policy, case))
        scores[:, 0] = PROTECTED
        scores[0, case.lengths[0] // 2] = PROTECTED
        for count in COUNTS:
            for row, kept in zip(scores, policy.choose(scores, torch.full((KV_HEADS,), count)), strict=True):
                must = set(torch.nonzero(row == PROTECTED).flatten().tolist())
                assert len(must) > count or must <= set(kept.tolist()), f"{case.name}: a protected token went"


def check_same_result_twice(policy: Policy) -> None:
    """Nothing but the view decides."""
    for case in CASES:
        first, second = (scored(policy, small_view(policy, case)) for _ in range(2))
        assert torch.equal(first, second), f"{case.name}: two scores of one view"
        counts = torch.full((KV_HEADS,), 7)
        pairs = zip(policy.choose(first, counts), policy.choose(first.clone(), counts), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs), f"{case.name}: two choices of one view"


def check_view_is_only_read(policy: Policy) -> None:
    """Keys, values, positions and queries are as before; scores that `choose` and `allot` are given too."""
    for case in CASES:
        view, untouched = (small_view(policy, case) for _ in range(2))
        scores = scored(policy, view)
        for name in ("keys", "values", "positions", "queries", "query_positions"):
            assert torch.equal(getattr(view, name), getattr(untouched, name)), f"{case.name}: {name} changed"
        before = scores.clone()
        policy.allot([scores] * NUM_LAYERS, [policy.demand(view, scores)] * NUM_LAYERS, 7)
        policy.choose(scores, torch.full((KV_HEADS,), 7))
        assert torch.equal(scores, before), f"{case.name}: scores changed"


def check_shares_keep_to_the_budget(policy: Policy) -> None:
    """`allot` gives each head of each layer 1 or more, and on average no more than the budget."""
    for case in CASES:
        views = [small_view(policy, case, layer=layer) for layer in range(NUM_LAYERS)]
        scores = [scored(policy, view) for view in views]
        demands = [policy.demand(view, row) for view, row in zip(views, scores, strict=True)]
        assert all(one.shape == (KV_HEADS,) and bool((one >= 0).all()) for one in demands), f"{case.name}: demands"
        for count in COUNTS:
            shares = policy.allot(scores, demands, count)
            assert shares.shape == (NUM_LAYERS, KV_HEADS), f"{case.name}: shares are {tuple(shares.shape)}"
            assert shares.dtype == torch.int64, f"{case.name}: shares are {shares.dtype}"
            assert int(shares.min()) >= 1, f"{case.name}: a head has no token, budget {count}"
            assert int(shares.sum()) <= count * shares.numel(), f"{case.name}: {shares.tolist()}, budget {count}"


def check_layers_do_not_wait_for_each_other(policy: Policy) -> None:
    """A layer's scores are the same whichever layers were scored before it."""
    order = list(range(NUM_LAYERS))
    rising = [scored(policy, small_view(policy, CASES[0], layer=layer)) for layer in order]
    falling = [scored(policy, small_view(policy, CASES[0], layer=layer)) for layer in reversed(order)][::-1]
    assert all(torch.equal(one, other) for one, other in zip(rising, falling, strict=True))


def check_observing_in_blocks_is_observing_at_once(policy: Policy) -> None:
    """A prompt that is read block by block leaves the notes that one pass leaves."""
    if not policy.observes:
        return
    for case in CASES:
        # in decode and with ragged heads there is no earlier block to read
        if case.phase == PREFILL and len(set(case.lengths)) == 1 and case.dtype == torch.float32:
            whole, notes = small_view(policy, case), {}
            for view in _blocks(policy, case, notes):
                policy.observe(view)
                notes.update(view.notes)
            policy.observe(whole)
            assert notes.keys() == whole.notes.keys(), f"{case.name}: {sorted(notes)} and {sorted(whole.notes)}"
            for name, numbers in whole.notes.items():
                assert torch.allclose(notes[name], numbers, rtol=1e-5, atol=1e-5), f"{case.name}: note {name}"


def check_notes_stand_beside_tokens(policy: Policy) -> None:
    """Notes are (kv_heads, tokens) float32 numbers, so that they can be gathered with the tokens."""
    for case in CASES:
        view = small_view(policy, case)
        scored(policy, view)
        for name, numbers in view.notes.items():
            assert numbers.shape == view.positions.shape, f"{case.name}: note {name} is {tuple(numbers.shape)}"
            assert numbers.dtype == torch.float32, f"{case.name}: note {name} is {numbers.dtype}"
            assert bool(numbers[view.positions >= 0].isfinite().all()), f"{case.name}: note {name} is not finite"


def check_scoring_works_unobserved(policy: Policy) -> None:
    """A cache that was made under another policy can be scored as well."""
    for case in CASES:
        view = small_view(policy, case)
        scores = scored(policy, view, is_observed=False)
        assert bool((scores[view.positions >= 0] > float("-inf")).all()), f"{case.name}: a token has no score"


def check_probes_are_tokens_and_may_be_observed(policy: Policy) -> None:
    """What a policy wants read after the prompt is tokens, and observing it leaves scores sound."""
    prompt = list(range(40))
    for probe in policy.probes(prompt, lambda text: [ord(letter) % 97 for letter in text]):
        assert probe, "an empty probe"
        assert all(isinstance(token, int) for token in probe), "a probe holds something other than tokens"
        view = small_view(policy, CASES[0])
        policy.observe(replace(view, phase=PROBE, query_positions=view.query_positions + 37))
        scores = policy.score(replace(view, queries=view.queries[:, :0], query_positions=view.query_positions[:0]))
        assert bool((scores > float("-inf")).all()), "a token has no score after a probe"


def check_parameters_are_plain(policy: Policy) -> None:
    """Parameters go through JSON and come back as an equal policy that looks the same and cannot be changed."""
    parameters = parameters_of(policy)
    again = type(policy)(**json.loads(json.dumps(parameters)))
    assert again == policy, f"{again!r} is not {policy!r}"
    assert repr(again) == repr(policy)
    assert hash(again) == hash(policy)
    assert policy.acts_in <= {PREFILL, DECODE}, f"acts in {sorted(policy.acts_in)}"
    assert policy.needs <= {"surprisal", "sentence"}, f"needs {sorted(policy.needs)}"
    assert policy.num_queries >= 0


CHECKS: tuple[Callable[[Policy], None], ...] = (
    check_choice_is_exact,
    check_heads_may_have_unequal_counts,
    check_layers_do_not_wait_for_each_other,
    check_notes_stand_beside_tokens,
    check_observing_in_blocks_is_observing_at_once,
    check_parameters_are_plain,
    check_probes_are_tokens_and_may_be_observed,
    check_same_result_twice,
    check_scores_are_numbers_for_every_token,
    check_scoring_works_unobserved,
    check_shares_keep_to_the_budget,
    check_view_is_only_read,
    check_what_must_stay_stays,
)
"""All checks."""


def check_policy(policy: Policy) -> None:
    """Run all checks.

    Args:
        policy: any instance.

    Raises:
        AssertionError: naming the layer that was looked at and what is wrong.
    """
    for check in CHECKS:
        check(policy)


def _blocks(policy: Policy, case: Case, notes: dict[str, Tensor]) -> Iterator[LayerView]:
    """Yield a prompt as it grows by blocks of unequal length, each with what was noted before."""
    whole = small_view(policy, case)
    total = whole.num_tokens
    ends = sorted({min(end, total) for end in (1, 9, 14, 200, total)})
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        grown = {name: torch.cat((old, torch.zeros(KV_HEADS, end - start)), dim=1) for name, old in notes.items()}
        given = {name: numbers[:, :end].clone() for name, numbers in whole.notes.items()}
        yield replace(
            whole,
            keys=whole.keys[:, :end],
            values=whole.values[:, :end],
            positions=whole.positions[:, :end],
            queries=whole.queries[:, start:end],
            query_positions=whole.query_positions[start:end],
            notes=grown | given,
            _attention={},
        )
