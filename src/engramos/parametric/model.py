"""What writers, editors and probes need of a base model; `engines` hosts one."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from engramos.parametric.adapter import Adapter, Prefix

__all__ = ("KINDS", "BaseModel", "Packing", "Prefix")

KINDS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Linear modules of a layer, as most models name them."""


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """Tokens of several rows one after the other, without padding, read as if each row stood alone.

    A batch of rows of different lengths costs its longest row for each; packed, it costs the tokens that are there.
    """

    rows: Tensor
    """Of which row each token is: (tokens,) int64, from 0 on."""
    positions: Tensor
    """Where each token stands in its row, what stands before it counted: (tokens,) int64."""
    before_rows: Tensor
    """Of which row each token of the prefix is, -1 for what stands before all rows: (prefix tokens,) int64."""
    before_positions: Tensor
    """Where each token of the prefix stands: (prefix tokens,) int64."""


class BaseModel(ABC):
    """A causal language model whose weights stay as they are.

    Rows are padded on the right; what stands in the padding reaches no other token. All calls but `generate` and
    `hidden` keep the graph for gradients where a tensor asks for one; the base model's own weights never do.
    """

    @property
    @abstractmethod
    def fingerprint(self) -> Mapping[str, str]:
        """What tells this base model apart: weights, config, tokenizer, template, dtype, rope."""

    @property
    @abstractmethod
    def num_layers(self) -> int:
        """How many decoder layers."""

    @property
    @abstractmethod
    def hidden_size(self) -> int:
        """Features of a hidden state."""

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """How many tokens it knows."""

    @property
    @abstractmethod
    def end_token(self) -> int:
        """The token that ends an answer in the chat template."""

    @property
    @abstractmethod
    def ends(self) -> frozenset[int]:
        """All tokens that end an answer."""

    @abstractmethod
    def tokens(self, text: str) -> list[int]:
        """Return a text as tokens, without special ones."""

    @abstractmethod
    def chat_tokens(self, messages: Sequence[Mapping[str, str]], *, answers: bool = True) -> list[int]:
        """Return a conversation as tokens; raises UnsupportedError where the model has no chat template."""

    @abstractmethod
    def text(self, token_ids: Sequence[int]) -> str:
        """Return tokens as text, special ones left out."""

    @abstractmethod
    def module(self, name: str) -> Any:
        """Return a module by its name.

        Raises:
            InvalidInputError: if the model has none such.
        """

    @abstractmethod
    def linear(self, layer: int, kind: str) -> str:
        """Return the name of a layer's linear module of one of `KINDS`.

        Raises:
            UnsupportedError: if its layers have none such.
        """

    @abstractmethod
    def layer_name(self, layer: int) -> str:
        """Return the name of a layer, whose output is the hidden state after it."""

    @property
    @abstractmethod
    def head_name(self) -> str:
        """The name of the module that makes scores of hidden states."""

    @abstractmethod
    def embedded(self, ids: Tensor) -> Tensor:
        """Return tokens as the first layer reads them.

        Args:
            ids: (rows, tokens) int64.

        Returns:
            (rows, tokens, hidden).
        """

    @abstractmethod
    def run(
        self,
        hidden: Tensor,
        first: int = 0,
        last: int | None = None,
        *,
        prefix: Prefix | None = None,
        packing: Packing | None = None,
        is_checkpointed: bool = False,
    ) -> Tensor:
        """Return hidden states after the layers from `first` up to, not with, `last`; all further ones where None.

        Args:
            hidden: before layer `first`: (rows, tokens, hidden); the first token stands right after the prefix.
            first: counted from 0.
            last: counted from 0.
            prefix: keys and values that all rows see before their own.
            packing: of which rows the tokens of `hidden`, then (1, tokens, hidden), and of the prefix are.
            is_checkpointed: compute activations anew for gradients instead of keeping them.
        """

    @abstractmethod
    def final(self, hidden: Tensor) -> Tensor:
        """Return hidden states of the last layer as the module that makes scores reads them: of the same shape."""

    @abstractmethod
    def scores(self, hidden: Tensor) -> Tensor:
        """Return the scores of the next token after hidden states of the last layer: (..., vocabulary)."""

    @abstractmethod
    def keys_and_values(
        self, hidden: Tensor, first: int = 0, *, prefix: Prefix | None = None
    ) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Return keys and values of rows in the layers from `first` on, without gradients.

        Args:
            hidden: before layer `first`: (rows, tokens, hidden).
            first: counted from 0.
            prefix: that all rows share.

        Returns:
            By layer, (rows, kv_heads, tokens, head_dim) each, without those of the prefix.
        """

    @abstractmethod
    def prefix_of(self, token_ids: Sequence[int]) -> Prefix:
        """Return keys and values of tokens in all layers, as the base model reads them; no gradients."""

    @abstractmethod
    @contextmanager
    def using(self, adapters: Sequence[Adapter] | Adapter | None, active: Tensor | None = None) -> Iterator[None]:
        """Attach adapters for all passes in the block.

        Args:
            adapters: one for all rows; or all that are attached together, in their order.
            active: (rows, tokens) bool: the tokens on which they act; all where None. `invocation` is not looked at.

        Raises:
            InvalidInputError: if a target is none of the model's modules. Shapes are checked by `generate` and `hold`.
        """

    @abstractmethod
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        adapters: Sequence[Adapter | None] = (),
        *,
        max_tokens: int = 32,
    ) -> list[list[int]]:
        """Return the likeliest answer of each prompt, in one batch, up to the token that ends it.

        Args:
            prompts: tokens, 1 or more each.
            adapters: one for each prompt, or None for the base model alone; it acts from its invocation on. None at
                all: the base model answers.
            max_tokens: at most so many new tokens.
        """

    @abstractmethod
    def hold(self, adapter: Adapter) -> None:
        """Attach an adapter to everything from now on, after those that are held already."""

    @abstractmethod
    def release(self, adapter: Adapter) -> None:
        """Take back `hold`.

        Raises:
            InvalidInputError: if the adapter is not held.
        """

    @property
    @abstractmethod
    def held(self) -> tuple[Adapter, ...]:
        """Adapters that act on everything."""

    @abstractmethod
    def digest(self) -> str:
        """Return the SHA-256 of the base model's weights as they are in memory now."""
