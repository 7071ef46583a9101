"""How many tokens a cache may keep, and how layers and heads share them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Budget:
    """At most so much of a cache stays; exactly one of the three is given.

    Raises:
        ConfigError: if none or several are given, or one is out of its range.
    """

    num_tokens: int | None = None
    """Tokens for each head of each layer, on average; 1 or more."""
    num_bytes: int | None = None
    """Bytes for keys and values of all layers together; 1 or more."""
    ratio: float | None = None
    """The kept ratio, in (0, 1]."""

    def __post_init__(self) -> None:
        given = [one for one in (self.num_tokens, self.num_bytes, self.ratio) if one is not None]
        if len(given) != 1:
            raise ConfigError("give a budget in tokens, or in bytes, or as a kept ratio, and only one of them")
        if self.num_tokens is not None and self.num_tokens < 1:
            raise ConfigError(f"num_tokens is {self.num_tokens}: keep at least 1 token, or drop the cache")
        if self.num_bytes is not None and self.num_bytes < 1:
            raise ConfigError(f"num_bytes is {self.num_bytes}: keep at least 1 byte, or drop the cache")
        if self.ratio is not None and not 0.0 < self.ratio <= 1.0:
            raise ConfigError(f"the kept ratio is {self.ratio}: give a number above 0, up to 1")

    def tokens_of(self, num_tokens: int, token_bytes: int) -> int:
        """Return how many of `num_tokens` tokens each head may keep on average, at least 1, at most all.

        Args:
            num_tokens: those that are there.
            token_bytes: keys and values of one token in all layers.

        Raises:
            ConfigError: if the bytes do not hold one token.
        """
        if self.ratio is not None:
            # a kept ratio of 1 - c keeps what a compression ratio of c keeps, also where floats round
            return max(1, min(num_tokens, int(num_tokens * self.ratio + 1e-9)))
        if self.num_tokens is not None:
            return min(num_tokens, self.num_tokens)
        assert self.num_bytes is not None
        if self.num_bytes < token_bytes:
            raise ConfigError(f"num_bytes is {self.num_bytes} and one token takes {token_bytes}: give more")
        return min(num_tokens, self.num_bytes // token_bytes)


def shares(demands: Tensor, total: int, *, floor: int, ceiling: int) -> Tensor:
    """Return whole shares of `total` in proportion to demands, each within the bounds.

    Args:
        demands: (n,) or any shape, >= 0; all zero counts as all equal.
        total: what is shared; cut to what the bounds allow.
        floor: the least share.
        ceiling: the greatest share.

    Returns:
        int64 of the shape of `demands`; their sum is `total`, unless the bounds forbid it.
    """
    flat = demands.flatten().double().clamp(min=0)
    total = max(floor * flat.numel(), min(total, ceiling * flat.numel()))
    if not float(flat.sum()) > 0:
        flat = torch.ones_like(flat)
    exact = torch.full_like(flat, float(floor))
    is_open = torch.ones_like(flat, dtype=torch.bool)
    left = float(total - floor * flat.numel())
    while left > 1e-9 and bool(is_open.any()):
        weights = torch.where(is_open, flat, 0.0)
        if not float(weights.sum()) > 0:
            weights = is_open.double()
        wanted = exact + left * weights / weights.sum()
        exact = wanted.clamp(max=ceiling)
        left = float(total) - float(exact.sum())
        is_open &= exact < ceiling - 1e-9
    whole = exact.floor().long()
    order = torch.argsort(exact - whole, descending=True, stable=True)
    missing = total - int(whole.sum())
    for at in order.tolist():
        if missing <= 0:
            break
        if int(whole[at]) < ceiling:
            whole[at] += 1
            missing -= 1
    return whole.reshape(demands.shape)
