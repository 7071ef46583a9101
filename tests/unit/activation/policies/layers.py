"""Small layers whose attention is known, for the tests of policies."""

import torch
from torch import Tensor

from engramos.activation.rope import Rope
from engramos.activation.view import PREFILL, LayerView

torch.set_num_threads(1)


def layer_of(
    keys: Tensor,
    *,
    values: Tensor | None = None,
    queries: Tensor | None = None,
    positions: Tensor | None = None,
    query_positions: Tensor | None = None,
    phase: str = PREFILL,
    question_tokens: int = 0,
    notes: dict[str, Tensor] | None = None,
) -> LayerView:
    """Return a layer of these keys, as a prompt without gaps where nothing else is said."""
    kv_heads, num, head_dim = keys.shape
    places = torch.arange(num)
    queries = torch.zeros(kv_heads, 0, head_dim) if queries is None else queries
    return LayerView(
        layer=0,
        num_layers=1,
        keys=keys,
        values=torch.ones_like(keys) if values is None else values,
        positions=places.repeat(kv_heads, 1) if positions is None else positions,
        queries=queries,
        query_positions=places[num - queries.shape[1] :] if query_positions is None else query_positions,
        scaling=head_dim**-0.5,
        rope=Rope.plain(head_dim),
        phase=phase,
        prompt_tokens=num,
        question_tokens=question_tokens,
        notes=notes or {},
    )


def random_layer(
    num: int = 40, num_queries: int = 40, *, kv_heads: int = 2, groups: int = 3, seed: int = 0, **given: object
) -> LayerView:
    """Return a layer of random numbers."""
    random = torch.Generator().manual_seed(seed)
    keys, values = (torch.randn(kv_heads, num, 8, generator=random) for _ in range(2))
    queries = torch.randn(kv_heads * groups, num_queries, 8, generator=random)
    return layer_of(keys, values=values, queries=queries, **given)


def slow_attention(view: LayerView) -> list[list[list[list[float]]]]:
    """Return attention[head][query][token] in float64, written with loops; heads are those of the queries."""
    groups = view.queries.shape[0] // view.keys.shape[0]
    weights = []
    for head, rows in enumerate(view.queries.double()):
        keys = view.keys[head // groups].double()
        of_head = []
        for row, at in zip(rows, view.query_positions.tolist(), strict=True):
            seen = [0 <= int(one) <= at for one in view.positions[head // groups]]
            raw = [
                float((row @ key * view.scaling).exp()) if is_seen else 0.0
                for key, is_seen in zip(keys, seen, strict=True)
            ]
            of_head.append([one / sum(raw) for one in raw])
        weights.append(of_head)
    return weights


def kept(policy: object, view: LayerView, count: int) -> list[set[int]]:
    """Return the places that stay in each head."""
    scores = policy.score(view).masked_fill(view.positions < 0, float("-inf"))
    return [set(one.tolist()) for one in policy.choose(scores, torch.full((view.kv_heads,), count))]
