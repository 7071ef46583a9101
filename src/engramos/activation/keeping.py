"""How a cache on a model stays small: by a policy that removes tokens, or by recall of those put away."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engramos.activation.archive import MemoryArchive
from engramos.activation.budgets import Budget
from engramos.activation.policies.base import Policy
from engramos.activation.recall.base import Recall
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Keeping:
    """How a cache stays small."""

    policy: Policy
    """Which tokens stay."""
    prefill: Budget | None = None
    """What may stay of a prompt; None for all of it."""
    decode: Budget | None = None
    """What may stay while tokens are produced; None for all."""
    every_block: bool = False
    """Whether the prompt is cut to its budget after every block, which bounds the peak; else once at its end."""
    is_compact: bool = False
    """Whether kept tokens move up to positions that follow one another, so that input may go on without end."""


@dataclass(frozen=True, slots=True)
class Recalling:
    """How a cache of any length stays at hand in part."""

    recall: Recall
    """What comes back."""
    resident: Budget
    """What may be at hand: first and newest tokens, summaries, and what comes back, in each layer that sees all."""
    num_sinks: int = 4
    """First tokens that stay at hand; 0 or more."""
    local_share: float = 0.1
    """The share of the budget that the newest tokens have; above 0, below 1."""
    every_block: bool = False
    """Whether tokens leave after every block that is read, which bounds the peak; else once, at the end of a prompt."""
    query_tokens: int = 1
    """How many tokens of a question are read at a time: what comes back is chosen anew for each such pass; 1 or more.
    """
    is_compact: bool = False
    """Whether the newest tokens move up and what comes back stands right before them, so that input may have no end."""
    archive: Callable[[], Any] = MemoryArchive
    """What makes the archive of a layer."""

    def __post_init__(self) -> None:
        if self.num_sinks < 0:
            raise ConfigError(f"num_sinks is {self.num_sinks}: give 0 or more")
        if self.query_tokens < 1:
            raise ConfigError(f"query_tokens is {self.query_tokens}: give 1 or more")
        if not 0.0 < self.local_share < 1.0:
            raise ConfigError(f"local_share is {self.local_share}: give a number above 0, below 1")
        if self.is_compact and self.resident.num_tokens is None:
            raise ConfigError("a compact cache needs a budget in tokens: its positions end there")
