"""Late interaction: each word of the question looks for its best match among the words of a candidate."""

from dataclasses import dataclass

import numpy as np

from engramos.errors import ConfigError
from engramos.plaintext.query import Query
from engramos.plaintext.rerankers.base import (
    Candidates,
    Reranked,
    Reranker,
    require_between,
    require_num,
    require_share,
)

_MODELS = ("bge_small_en", "colbert")


@dataclass(frozen=True, slots=True)
class LateInteraction(Reranker):
    """Sums, over the question's tokens, the greatest cosine with a token of the candidate, and mixes that in.

    Of a candidate's tokens, `pool` times fewer are kept: those that are alike are merged into their mean.

    Source: MaxSim of ColBERT, Khattab and Zaharia, https://arxiv.org/abs/2004.12832; hierarchical token pooling,
    Clavie et al., https://arxiv.org/abs/2409.14683.
    Differs: the question is not padded with [MASK]; `bge_small_en` was not trained for this.
    """

    num: int = 30
    share: float = 0.3
    """How much of the new score is this method's, in [0, 1]."""
    pool: int = 2
    """One vector is kept for so many tokens of a candidate, 1 to 8; 1 keeps all."""
    num_before: int = 0
    """Turns before a candidate that are read with it, 0 to 4."""
    max_tokens: int = 256
    """Tokens read of a candidate, 8 to 512."""
    model: str = "bge_small_en"
    """Whose token states are compared: `bge_small_en`, or `colbert` from the same wheel."""

    def __post_init__(self) -> None:
        require_num(self.num)
        require_share("share", self.share)
        require_between("pool", self.pool, 1, 8)
        require_between("num_before", self.num_before, 0, 4)
        require_between("max_tokens", self.max_tokens, 8, 512)
        if self.model not in _MODELS:
            raise ConfigError(f"model is {self.model!r}: use one of {', '.join(_MODELS)}")

    def rerank(self, query: Query, candidates: Candidates) -> Reranked:
        """Return the candidates by their mixed scores."""
        texts = [query.text, *candidates.texts(self.num_before)]
        asked, *told = [_unit(states) for states in candidates.models.token_states(self.model, texts, self.max_tokens)]
        found = [(asked @ pooled(states, self.pool).T).max(axis=1).mean() for states in told]
        return Reranked.mixing(np.array(found, dtype=np.float32), self.share, candidates)


def pooled(states: np.ndarray, factor: int) -> np.ndarray:
    """Return about `factor` times fewer unit vectors: the means of clusters of tokens that are alike.

    Clusters are joined two by two, those first whose joining adds least to the spread within (Ward's rule); the first
    token stands for the whole text and is left alone.

    Source: Clavie et al., https://arxiv.org/abs/2409.14683, section 2.

    Args:
        states: unit vectors, (tokens, dims).
        factor: 1 or more.

    Returns:
        (1 + ceil((tokens - 1) / factor), dims), float32.
    """
    num = 1 + -(-(len(states) - 1) // factor)
    if num >= len(states):
        return states
    sums, sizes = states[1:].astype(np.float64), np.ones(len(states) - 1)
    spread = _spread(sums, sizes)
    for _ in range(len(states) - num):
        one, other = sorted(divmod(int(spread.argmin()), len(sums)))
        sums[one], sizes[one] = sums[one] + sums[other], sizes[one] + sizes[other]
        sums, sizes = np.delete(sums, other, axis=0), np.delete(sizes, other)
        spread = np.delete(np.delete(spread, other, axis=0), other, axis=1)
        spread[one] = spread[:, one] = _spread_of(sums, sizes, one)
    return np.vstack([states[:1], _unit((sums / sizes[:, None]).astype(np.float32))])


def _spread(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return np.stack([_spread_of(sums, sizes, at) for at in range(len(sums))])


def _spread_of(sums: np.ndarray, sizes: np.ndarray, at: int) -> np.ndarray:
    """Return what joining cluster `at` with each other adds to the spread, (clusters,); infinite for itself."""
    means = sums / sizes[:, None]
    apart = ((means - means[at]) ** 2).sum(axis=1)
    added = apart * sizes * sizes[at] / (sizes + sizes[at])
    added[at] = np.inf
    return added


def _unit(states: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(states, axis=1, keepdims=True)
    return np.divide(states, lengths, out=np.zeros_like(states), where=lengths > 0)
