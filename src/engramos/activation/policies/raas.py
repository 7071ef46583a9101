"""Least recently attended goes first: milestones of the reasoning stay while they are used."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from engramos.activation.policies._parameters import check_least, check_share
from engramos.activation.policies.base import DECODE, LayerView, Policy

STAMP = "raas_stamp"
"""The note of the position after which a token was last a milestone, 0 for never."""
PROMPT, LAST = 1e9, 2e9
"""Scores of the prompt's tokens and of the newest token, above any position."""


@dataclass(frozen=True, slots=True)
class RaaS(Policy):
    """Tokens that get attention at a step are stamped with it; the oldest stamp goes first; the prompt stays.

    Source: RaaS, https://arxiv.org/abs/2502.11147, section 3.
    Differs: tokens in place of pages of 16, so that no representative key of a page is needed; a token is stamped if
    it is above the threshold and also within the top share of what the query sees (the paper offers both, one at a
    time). The decode budget counts the prompt's tokens too.
    """

    threshold: float = 1e-4
    """Alpha: attention above it may stamp; 0 or more, below 1."""
    share: float = 0.5
    """The share of the tokens, by attention, that a step may stamp, in (0, 1]; 1 leaves it to the threshold."""
    acts_in: ClassVar[frozenset[str]] = frozenset({DECODE})
    observes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_least(0, threshold=self.threshold)
        check_share(share=self.share)

    def observe(self, view: LayerView) -> None:
        """Stamp the milestones of each step."""
        if view.phase != DECODE:
            return
        stamps = view.note(STAMP)
        for at, weights in zip(view.query_positions.tolist(), view.attention().mean(dim=1).unbind(dim=1), strict=True):
            num_seen = ((view.positions >= 0) & (view.positions <= at)).sum(dim=-1)
            last = torch.tensor([max(0, math.ceil(self.share * int(num)) - 1) for num in num_seen])
            ranked = weights.sort(dim=-1, descending=True).values
            least = ranked.gather(-1, last.to(ranked.device)[:, None])
            is_milestone = (weights >= least) & (weights > self.threshold)
            stamps = torch.where(is_milestone, float(at + 1), stamps)
        view.notes[STAMP] = stamps

    def score(self, view: LayerView) -> Tensor:
        """Return the stamps; a token is stamped when it appears."""
        scores = torch.maximum(view.note(STAMP), view.positions.float() + 1)
        is_prompt = (view.positions >= 0) & (view.positions < view.prompt_tokens)
        scores = torch.where(is_prompt, PROMPT, scores)
        return torch.where(view.positions == view.positions.max(), LAST, scores)
