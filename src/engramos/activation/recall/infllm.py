"""Blocks of tokens come back whose representative keys answer the query."""

from dataclasses import dataclass
from typing import ClassVar

from engramos.activation.recall._blocks import file_blocks, score_blocks
from engramos.activation.recall._choice import best_segments, nothing, pooled, probe
from engramos.activation.recall.base import Filed, LayerView, Recall, Recalled
from engramos.errors import ConfigError


@dataclass(frozen=True, slots=True)
class InfLLM(Recall):
    """The past lies in blocks; a block's score is the query's product with those of its keys that got most attention.

    Resident: 1.1 bytes a token and head where its key and value take 256 (64 numbers each in bfloat16).

    Source: InfLLM, https://arxiv.org/abs/2402.04617, section 3.
    Differs: keys are compared as they are rotated, not as if all stood at one far position: on a text of 2,000 tokens
    this found 0.33 instead of 0.25 of the attention that a question paid to its past. The representative keys of a
    block are kept as their mean, which gives the same score. Each head chooses for itself. Without `received` the
    tokens with the shortest keys represent their block.
    """

    block_size: int = 128
    """Tokens in a block; 1 or more."""
    num_representatives: int = 4
    """Tokens that stand for a block; 1 or more."""
    needs: ClassVar[frozenset[str]] = frozenset({"received"})

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise ConfigError(f"block_size is {self.block_size}: give 1 token or more")
        if self.num_representatives < 1:
            raise ConfigError(f"num_representatives is {self.num_representatives}: give 1 or more")

    def file(self, view: LayerView, filed: Filed) -> Filed:
        """Return the summaries with the blocks that the stretch makes whole."""
        return file_blocks(view, filed, self.block_size, self.num_representatives)

    def select(self, view: LayerView, filed: Filed, num_tokens: int) -> Recalled:
        """Return the best blocks."""
        if not filed.num_tokens:
            return nothing(view)
        scores, lengths = score_blocks(filed, probe(view), self.block_size, self.num_representatives)
        return best_segments(pooled(scores, view.scaling), lengths, num_tokens)
