"""Keep what is needed to say the context again."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.policies._counts import threshold_counts
from engramos.activation.policies._parameters import check_least
from engramos.activation.policies._votes import greatest_attention
from engramos.activation.policies.base import PROTECTED, LayerView, Policy, is_first
from engramos.activation.view import PROBE

SCORE, PROBES = "kvzip_score", "kvzip_probes"
"""Notes: the greatest attention a token got; how many chunks were read again, the same for all tokens."""


@dataclass(frozen=True, slots=True)
class KVzip(Policy):
    """The model is asked to repeat the context, chunk by chunk; a token's score is the greatest attention it gets.

    Scores compare over all layers and heads: the best of all together stay. What is asked later does not matter, so
    that one cache serves many questions. Reading again costs about as much as the prefill, twice for long chunks.

    Source: KVzip, https://arxiv.org/abs/2505.23416, sections 3.2 to 3.4; the requests to repeat are the published ones.
    While a chunk is repeated, the softmax runs over sink tokens, that chunk, and the repetition, as published.
    Differs: the chat template's first tokens are part of the first chunk; every head keeps at least one token. Tokens
    that were not read again have a score of 0.
    """

    chunk: int = 2048
    """Tokens of the context that are repeated at once; 1 or more."""
    num_sinks: int = 4
    """First tokens that always stay; 0 or more."""
    request: str = "\n\nRepeat the previous context exactly."
    """What comes before the first chunk."""
    next_request: str = "\n\nRepeat the part of the previous context exactly, starting with"
    """What comes before each further chunk, followed by the end of the chunk before."""
    reminder: int = 8
    """Tokens of the chunk before that a further request ends with; 0 or more."""
    suffix: str = "\n"
    """What stands between request and chunk: what a chat template puts before an answer, where there is one."""
    observes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_least(1, chunk=self.chunk)
        check_least(0, num_sinks=self.num_sinks, reminder=self.reminder)

    def probes(self, tokens: Sequence[int], encode: Callable[[str], list[int]]) -> Iterable[list[int]]:
        """Return a request to repeat, and the repetition, for each chunk."""
        context, suffix = list(tokens), encode(self.suffix)
        for start in range(0, len(context), self.chunk):
            asked = encode(self.next_request if start else self.request)
            reminder = context[max(0, start - self.reminder) : start]
            yield [*asked, *reminder, *suffix, *context[start : start + self.chunk]]

    def observe(self, view: LayerView) -> None:
        """Note the greatest attention that each token of the chunk gets while it is repeated."""
        if view.phase != PROBE or not view.query_positions.numel():
            return
        first = int(view.query_positions[0])
        end = view.prompt_tokens or min(first, int(view.positions.max()) + 1)
        read = int(view.note(PROBES).max())
        if first == end or not read:
            # a probe may come in several passes: only its first one begins at the end of the prompt
            read += 1
        start = self.chunk * (min(read, max(1, -(-end // self.chunk))) - 1)
        in_chunk = (view.positions >= start) & (view.positions < min(end, start + self.chunk))
        seen = in_chunk | is_first(view, self.num_sinks) | (view.positions >= end)
        greatest = greatest_attention(view, seen).amax(dim=1).masked_fill(~in_chunk, 0.0)
        view.notes[SCORE] = torch.maximum(view.note(SCORE), greatest)
        view.notes[PROBES] = torch.full_like(view.note(PROBES), float(read))

    def score(self, view: LayerView) -> Tensor:
        """Return what was noted; sink tokens stay."""
        return view.note(SCORE).masked_fill(is_first(view, self.num_sinks), PROTECTED)

    def allot(self, scores: Sequence[Tensor], demands: Sequence[Tensor], num_tokens: int) -> Tensor:
        """Return how many of each head are among the best of all."""
        return threshold_counts(scores, num_tokens)
