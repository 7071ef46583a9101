"""Keep what the episodes of a conversation look at."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.policies._counts import layer_counts
from engramos.activation.policies._newest import window_of
from engramos.activation.policies._parameters import check_least, check_share
from engramos.activation.policies._streaming_heads import attention_outside
from engramos.activation.policies._votes import greatest_attention, keep_newest, window_votes
from engramos.activation.policies.base import LayerView, Policy
from engramos.activation.view import PROBE
from engramos.errors import ConfigError

SCORE = "epicache_score"
"""The note of the greatest attention that a token got from an episode's text."""


@dataclass(frozen=True, slots=True)
class EpiCache(Policy):
    """A token's score is the greatest attention it gets from the texts that stand for the episodes.

    Give the medoid utterances of one episode for a cache of that episode, or those of all for one cache of all.

    Source: EpiCache, https://arxiv.org/abs/2509.17396, sections 3.2 (episodic eviction) and 3.3 (layer budgets in
    proportion to sensitivity^alpha).
    Differs: episodes are found outside, where text can be embedded; without them the prompt's own last tokens are
    read again. Tokens go once, at the end of the prompt, not after each block of it. Without sensitivities, a layer's
    is the attention of the newest queries that goes neither to sink tokens nor to the newest; every layer has a
    least budget. The greatest attention is averaged over a head's query groups, and the newest tokens stay.
    """

    episodes: tuple[str, ...] = ()
    """Texts that stand for the episodes; empty for the prompt's own end."""
    tail: int = 64
    """Tokens of the prompt's end that are read again where there are no episodes; 1 or more."""
    window: int = 32
    """Newest tokens that always stay; 1 or more."""
    sensitivities: tuple[float, ...] = ()
    """How much each layer suffers from eviction, 0 or more; empty: found from the prompt."""
    alpha: float = 1.1
    """The exponent of the sensitivities; 0 for equal budgets."""
    floor_share: float = 0.1
    """The share of the mean budget that every layer gets, in (0, 1]."""
    observes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_least(1, tail=self.tail, window=self.window)
        check_least(0, alpha=self.alpha, sensitivities=min(self.sensitivities, default=0.0))
        check_share(floor_share=self.floor_share)
        if isinstance(self.episodes, str):
            raise ConfigError("episodes is one text: give a list of texts")
        for name in ("episodes", "sensitivities"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def num_queries(self) -> int:
        """The window."""
        return self.window

    def probes(self, tokens: Sequence[int], encode: Callable[[str], list[int]]) -> Iterable[list[int]]:
        """Return the episodes' texts, or the end of the prompt."""
        texts = [encode(text) for text in self.episodes] if self.episodes else [list(tokens)[-self.tail :]]
        return [text for text in texts if text]

    def observe(self, view: LayerView) -> None:
        """Note the greatest attention that each token gets from an episode's text."""
        if view.phase == PROBE:
            view.notes[SCORE] = torch.maximum(view.note(SCORE), greatest_attention(view).mean(dim=1))

    def score(self, view: LayerView) -> Tensor:
        """Return what was noted; the votes of the window where nothing was."""
        noted = view.note(SCORE)
        if not float(noted.max()) > 0:
            return window_votes(view, self.window, 1)
        return keep_newest(noted, view, window_of(view, self.window))

    def demand(self, view: LayerView, scores: Tensor) -> Tensor:
        """Return the layer's sensitivity to the power of `alpha`, the same for all heads."""
        if self.sensitivities and len(self.sensitivities) != view.num_layers:
            raise ConfigError(
                f"sensitivities has {len(self.sensitivities)} numbers and the model {view.num_layers} layers: "
                "give one for each"
            )
        if self.sensitivities:
            sensitivity = self.sensitivities[view.layer]
        else:
            sensitivity = float(attention_outside(view, self.window, 4, self.window).mean())
        return torch.full((view.kv_heads,), sensitivity**self.alpha)

    def allot(self, scores: Sequence[Tensor], demands: Sequence[Tensor], num_tokens: int) -> Tensor:
        """Return the budget in proportion to the layers' demands."""
        return layer_counts(scores, demands, num_tokens, floor_share=self.floor_share)
