"""What several policies do with the newest tokens: the observation window, and a share of the budget for them."""

import torch
from torch import Tensor

from engramos.activation.policies.base import PROTECTED, LayerView, best


def window_of(view: LayerView, window: int) -> int:
    """Return how many of the newest queries vote: never more than the question has tokens, where that is known.

    A window that is longer than the question asks the context about itself, and drops what the question needs.

    Args:
        view: the layer.
        window: the most that may vote; 1 or more.
    """
    return min(window, view.question_tokens) if view.question_tokens > 0 else window


def best_and_newest(scores: Tensor, num: int, share: float) -> Tensor:
    """Return the places of what must stay, then of the newest tokens, then of the greatest scores; rising.

    Args:
        scores: (tokens,); `PROTECTED` for what must stay, -inf for padding.
        num: how many stay.
        share: the share of `num` that the newest tokens get, in [0, 1].
    """
    places = torch.nonzero(scores > float("-inf")).flatten()
    newest = places[len(places) - min(int(num * share), len(places)) :]
    lifted = scores.clone()
    is_open = scores[newest] < PROTECTED
    lifted[newest[is_open]] = torch.finfo(scores.dtype).max
    return best(lifted, num)
