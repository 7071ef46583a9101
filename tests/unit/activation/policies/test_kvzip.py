import math

import pytest
import torch
from tests.unit.activation.policies.layers import random_layer

from engramos.activation.policies.kvzip import SCORE, KVzip
from engramos.activation.view import PREFILL, PROBE, LayerView
from engramos.errors import ConfigError
from engramos.testing.kv_policies import check_policy


def letters(text: str) -> list[int]:
    """Return one token a letter."""
    return [ord(letter) for letter in text]


def probed(num_prompt: int, num_probe: int, seed: int = 0) -> LayerView:
    """Return a layer after a probe of so many tokens has been read behind the prompt."""
    view = random_layer(num_prompt + num_probe, num_probe, seed=seed, phase=PROBE)
    view.prompt_tokens = num_prompt
    return view


def in_passes(policy: KVzip, view: LayerView, ends: list[int]) -> LayerView:
    """Observe a probe that is read in several passes."""
    num, first = view.num_tokens - view.queries.shape[1], 0
    notes: dict[str, torch.Tensor] = {}
    for end in ends:
        part = LayerView(
            layer=0,
            num_layers=1,
            keys=view.keys[:, : num + end],
            values=view.values[:, : num + end],
            positions=view.positions[:, : num + end],
            queries=view.queries[:, first:end],
            query_positions=view.query_positions[first:end],
            scaling=view.scaling,
            rope=view.rope,
            phase=PROBE,
            prompt_tokens=view.prompt_tokens,
            notes={name: torch.nn.functional.pad(note, (0, end - first)) for name, note in notes.items()},
        )
        policy.observe(part)
        notes, first = part.notes, end
    return part


def test_every_chunk_is_asked_for_and_repeated() -> None:
    policy = KVzip(chunk=10, reminder=2, request="R", next_request="N", suffix="!")
    probes = list(policy.probes(list(range(25)), letters))
    assert probes == [
        [*letters("R!"), *range(10)],
        [*letters("N"), 8, 9, *letters("!"), *range(10, 20)],
        [*letters("N"), 18, 19, *letters("!"), *range(20, 25)],
    ]


def test_a_score_is_the_greatest_attention_over_sinks_chunk_and_repetition() -> None:
    policy, view = KVzip(chunk=8, num_sinks=2), probed(20, 9)
    policy.observe(view)
    policy.observe(view)
    scores = view.notes[SCORE]
    for head in range(2):
        for first, end in ((0, 8), (8, 16)):
            seen = {0, 1, *range(first, end)}
            for token in range(first, end):
                best = 0.0
                for group in range(3):
                    for query in range(9):
                        vector = view.queries[3 * head + group, query].double()
                        raw = {
                            place: math.exp(float(vector @ view.keys[head, place].double()) * view.scaling)
                            for place in [*sorted(seen), *range(20, 21 + query)]
                        }
                        best = max(best, raw[token] / sum(raw.values()))
                assert float(scores[head, token]) == pytest.approx(best, rel=1e-4)
    # the third chunk was not read yet, and the repetition itself has no score
    assert float(scores[:, 16:].abs().max()) == 0.0


def test_a_probe_in_several_passes_is_one_probe() -> None:
    policy = KVzip(chunk=8)
    whole = probed(20, 9)
    policy.observe(whole)
    parts = in_passes(policy, probed(20, 9), [1, 4, 9])
    for name, note in whole.notes.items():
        assert torch.allclose(parts.notes[name], note, atol=1e-6)


def test_the_best_of_all_layers_and_heads_stay() -> None:
    random = torch.Generator().manual_seed(0)
    scores = [torch.rand(2, 30, generator=random) * scale for scale in (1.0, 0.9, 0.8)]
    counts = KVzip(num_sinks=0).allot(scores, [], 10)
    everything = sorted((float(one) for layer in scores for one in layer.flatten()), reverse=True)
    least = everything[59]
    assert counts.sum() == 60
    assert counts.tolist() == [[int((row >= least).sum()) for row in layer] for layer in scores]


def test_every_head_keeps_one_token_and_equal_scores_are_shared_alike() -> None:
    scores = [torch.tensor([[9.0, 8.0, 7.0, 6.0], [0.0, 0.0, 0.0, 0.0]])]
    assert KVzip().allot(scores, [], 2).tolist() == [[3, 1]]
    assert KVzip().allot([torch.zeros(2, 8)] * 2, [], 3).tolist() == [[3, 3], [3, 3]]


def test_sink_tokens_stay_and_prefill_leaves_no_notes() -> None:
    policy, view = KVzip(num_sinks=3), random_layer()
    assert view.phase == PREFILL
    policy.observe(view)
    assert view.notes == {}
    assert policy.score(view)[0, :4].tolist() == [float("inf")] * 3 + [0.0]


def test_small_chunks_keep_the_promise_of_the_role() -> None:
    check_policy(KVzip(chunk=7, num_sinks=0))


@pytest.mark.parametrize("wrong", [{"chunk": 0}, {"num_sinks": -1}, {"reminder": -1}])
def test_wrong_parameters_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        KVzip(**wrong)
