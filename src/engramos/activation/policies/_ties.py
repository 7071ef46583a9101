"""Which of equal scores stay, where a policy gives many tokens the same one."""

import torch
from torch import Tensor


def best_by_topk(scores: Tensor, num: int) -> Tensor:
    """Return the places of the `num` greatest scores, rising; of equal ones those that torch's top-k takes.

    kvpress takes them so; a rule of our own would keep other tokens than it does.

    Args:
        scores: (tokens,); -inf never stays.
        num: 0 or more.
    """
    num = min(num, int((scores > float("-inf")).sum()))
    return torch.topk(scores, num).indices.sort().values
