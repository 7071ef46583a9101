"""Which heads of a model look for an earlier copy, found by reading random tokens twice."""

import random
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from engramos.activation._head_scores import echo_scores, induction_scores, retrieval_scores
from engramos.activation.keeping import Keeping
from engramos.activation.policies.base import LayerView, Policy

Scores = tuple[tuple[float, ...], ...]
"""Of each layer that sees everything, of each of its kv heads."""


@dataclass(frozen=True, slots=True)
class HeadScores:
    """How much each kv head looks for earlier copies, each number in [0, 1].

    Policies take them as parameters: `RazorAttention(heads=induction, echo_heads=echo)`,
    `DuoAttention(heads=retrieval)`, `MoA(heads=retrieval)`.
    """

    echo: Scores
    """The attention to the earlier copy of the token itself."""
    induction: Scores
    """The attention to the token after that copy."""
    retrieval: Scores
    """How often the token that gets most attention is the one after that copy."""


def head_scores(engine: Any, *, num_tokens: int = 256, seed: int = 0) -> HeadScores:
    """Return the scores of a model's heads; it reads `2 * num_tokens` random tokens once.

    Source: RazorAttention, https://arxiv.org/abs/2407.15891, section 3.2.
    Differs: two readings in place of four; tokens are drawn from the whole vocabulary but its first 5 %, where
    special tokens lie.

    Args:
        engine: hosts the model.
        num_tokens: random tokens, 2 or more.
        seed: of the draw.
    """
    source = random.Random(seed)
    size = engine.vocabulary
    tokens = [source.randrange(size // 20, size) for _ in range(num_tokens)]
    witness = _Witness(num_tokens)
    engine.prefill(tokens * 2, engine.new_cache(Keeping(witness)))
    layers = sorted(witness.found)

    def table(which: int) -> Scores:
        return tuple(tuple((witness.found[at][which] / witness.passes[at]).tolist()) for at in layers)

    return HeadScores(table(0), table(1), table(2))


@dataclass(frozen=True, slots=True)
class _Witness(Policy):
    """Sees the attention of every pass and removes nothing."""

    repeat: int
    found: dict[int, list[Tensor]] = field(default_factory=dict)
    passes: dict[int, int] = field(default_factory=dict)
    acts_in: ClassVar[frozenset[str]] = frozenset()
    observes: ClassVar[bool] = True

    def observe(self, view: LayerView) -> None:
        """Add the scores of the queries that stand in the repetition."""
        if int(view.query_positions[-1]) < self.repeat:
            return
        weights = view.attention()
        new = [one(weights, self.repeat) for one in (echo_scores, induction_scores, retrieval_scores)]
        num = int((view.query_positions >= self.repeat).sum())
        old = self.found.get(view.layer, [torch.zeros_like(new[0])] * 3)
        self.found[view.layer] = [before + num * now for before, now in zip(old, new, strict=True)]
        self.passes[view.layer] = self.passes.get(view.layer, 0) + num

    def score(self, view: LayerView) -> Tensor:
        """Return equal scores."""
        return torch.zeros(view.positions.shape)
