"""The hosted model as writers, editors and probes see it: layers that keep the graph, and adapters on them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from engramos.engines._decoder import TOLERANCE, Decoder
from engramos.engines._mixture import change_of, check_fits, hooked, module_of
from engramos.engines._rows import Rows
from engramos.engines._weights import digest_of_weights
from engramos.engines.base import Sampling
from engramos.errors import InvalidInputError, UnsupportedError
from engramos.parametric.adapter import Adapter
from engramos.parametric.model import BaseModel, Packing, Prefix

if TYPE_CHECKING:
    from engramos.engines.transformers import Transformers


class HostedBase(BaseModel):
    """A `BaseModel` over an engine; the engine goes on answering between the blocks of `using`."""

    def __init__(self, engine: "Transformers") -> None:
        """Take the engine's model.

        Raises:
            UnsupportedError: if its layers, called one by one, do not give what the model gives.
        """
        self._engine = engine
        self._model = engine._hosted.model
        self._decoder = Decoder(self._model, engine.shapes)
        self._inner = engine._hosted.decoder
        self._names = {module: name for name, module in self._model.named_modules()}
        self._head = self._model.get_output_embeddings()
        for weight in self._model.parameters():
            weight.requires_grad_(False)
        with torch.no_grad():
            self._prove()

    def _prove(self) -> None:
        ids = list(range(3))
        cache = self._engine.new_cache()
        theirs = self._engine.log_probabilities(ids, cache)
        ours = torch.log_softmax(self.scores(self.run(self.embedded(torch.tensor([ids]))))[0].float(), dim=-1)
        if float((ours - theirs.to(ours)).abs().max()) > TOLERANCE * max(1.0, float(theirs.abs().max())):
            raise UnsupportedError(
                f"{type(self._model).__name__} does more around its layers than can be repeated here: "
                f"nothing can be written for it; use another model"
            )

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """Weights, config, tokenizer, template, dtype and rope; adapters are no part of it."""
        return self._engine._hosted.fingerprint

    @property
    def num_layers(self) -> int:
        """How many decoder layers."""
        return self._decoder.num_layers

    @property
    def hidden_size(self) -> int:
        """Features of a hidden state."""
        return int(self._head.weight.shape[1])

    @property
    def vocabulary(self) -> int:
        """How many tokens it knows."""
        return self._engine.vocabulary

    @property
    def end_token(self) -> int:
        """The token that ends an answer in the chat template."""
        ids = self.chat_tokens([{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}], answers=False)
        found = [one for one in ids if one in self.ends]
        return found[-1] if found else min(self.ends)

    @property
    def ends(self) -> frozenset[int]:
        """All tokens that end an answer."""
        return self._engine._hosted.ends

    def tokens(self, text: str) -> list[int]:
        """Return a text as tokens, without special ones."""
        return self._engine.tokens(text)

    def chat_tokens(self, messages: Sequence[Mapping[str, str]], *, answers: bool = True) -> list[int]:
        """Return a conversation as tokens; see `BaseModel.chat_tokens`."""
        return self._engine.chat_tokens(messages, answers=answers)

    def text(self, token_ids: Sequence[int]) -> str:
        """Return tokens as text, special ones left out."""
        return self._engine.text(token_ids)

    def module(self, name: str) -> Any:
        """Return a module by its name; see `BaseModel.module`."""
        return module_of(self._model, name)

    def linear(self, layer: int, kind: str) -> str:
        """Return the name of a linear module; see `BaseModel.linear`."""
        found = [
            self._names[module]
            for name, module in self._inner.layers[layer].named_modules()
            if name.rpartition(".")[2] == kind and isinstance(module, torch.nn.Linear)
        ]
        if len(found) != 1:
            raise UnsupportedError(f"layer {layer} of {type(self._model).__name__} has {len(found)} modules {kind!r}")
        return found[0]

    def layer_name(self, layer: int) -> str:
        """Return the name of a layer."""
        return self._names[self._inner.layers[layer]]

    @property
    def head_name(self) -> str:
        """The name of the module that makes scores."""
        return self._names[self._head]

    def embedded(self, ids: Tensor) -> Tensor:
        """Return tokens as the first layer reads them; see `BaseModel.embedded`."""
        return self._inner.embed_tokens(ids.to(self._model.device))

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
        """Return hidden states after some layers; see `BaseModel.run`."""
        positions = _positions(hidden, prefix) if packing is None else packing.positions[None]
        rotations = self._decoder.rotations(hidden[0], positions)
        rows = Rows(self._engine.shapes, positions, prefix, packing)
        for layer in range(first, self.num_layers if last is None else last):
            given = (layer, hidden, positions, rotations, rows)
            if is_checkpointed:
                hidden = checkpoint(self._decoder.run_rows, *given, use_reentrant=False)
            else:
                hidden = self._decoder.run_rows(*given)
        return hidden

    @torch.no_grad()
    def keys_and_values(
        self, hidden: Tensor, first: int = 0, *, prefix: Prefix | None = None
    ) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Return keys and values of rows in the layers from `first` on; see `BaseModel.keys_and_values`."""
        positions = _positions(hidden, prefix)
        rotations = self._decoder.rotations(hidden[0], positions)
        keys, values = {}, {}
        rows = Rows(self._engine.shapes, positions, prefix)
        for layer in range(first, self.num_layers):
            hidden = self._decoder.run_rows(layer, hidden, positions, rotations, rows)
            assert rows.newest is not None
            keys[layer], values[layer] = rows.newest
        return keys, values

    def final(self, hidden: Tensor) -> Tensor:
        """Return hidden states as the head reads them; see `BaseModel.final`."""
        return self._inner.norm(hidden[None])[0] if hidden.ndim == 2 else self._inner.norm(hidden)

    def scores(self, hidden: Tensor) -> Tensor:
        """Return the scores of the next token; see `BaseModel.scores`."""
        if hidden.ndim == 2:
            return self._head(self.final(hidden)[None])[0]
        return self._head(self.final(hidden))

    @torch.no_grad()
    def prefix_of(self, token_ids: Sequence[int]) -> Prefix:
        """Return keys and values of tokens in all layers; see `BaseModel.prefix_of`."""
        if not token_ids:
            return Prefix({}, {}, 0)
        cache = self._engine.new_cache()
        self._engine.prefill(token_ids, cache)
        stretches = [layer.stretches[0] for layer in cache.memory_layers]
        keys, values = (
            {layer: getattr(one, name)[:, : len(token_ids)].clone() for layer, one in enumerate(stretches)}
            for name in ("keys", "values")
        )
        return Prefix(keys, values, len(token_ids))

    @contextmanager
    def using(self, adapters: Sequence[Adapter] | Adapter | None, active: Tensor | None = None) -> Iterator[None]:
        """Attach adapters for all passes in the block; see `BaseModel.using`."""
        ones = [] if adapters is None else [adapters] if isinstance(adapters, Adapter) else list(adapters)
        with ExitStack() as stack:
            stack.enter_context(self._engine._hosted.turn)
            for one in ones:
                for target in one.targets:
                    stack.enter_context(hooked(self._model, target, [change_of(one, target, active)]))
            yield

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        adapters: Sequence[Adapter | None] = (),
        *,
        max_tokens: int = 32,
    ) -> list[list[int]]:
        """Return the likeliest answer of each prompt; see `BaseModel.generate`."""
        return self._engine.generate_batch(prompts, Sampling(max_tokens=max_tokens), adapters or None)

    def hold(self, adapter: Adapter) -> None:
        """Attach an adapter to everything from now on; see `BaseModel.hold`."""
        check_fits(self._model, adapter, "this adapter")
        if adapter.prefix is not None:
            raise UnsupportedError("a prefix stands at the beginning of a cache and cannot be held: adapt the engine")
        self._engine._hosted.held.add(adapter)

    def release(self, adapter: Adapter) -> None:
        """Take back `hold`; see `BaseModel.release`."""
        if adapter not in self.held:
            raise InvalidInputError("this adapter is not held: hold it first")
        self._engine._hosted.held.remove(adapter)

    @property
    def held(self) -> tuple[Adapter, ...]:
        """Adapters that act on everything."""
        return self._engine._hosted.held.adapters

    def digest(self) -> str:
        """Return the SHA-256 of the weights as they are in memory now."""
        return digest_of_weights(self._model)


def _positions(hidden: Tensor, prefix: Prefix | None) -> Tensor:
    """Return where the tokens of rows stand: (1 or rows, tokens) int64."""
    own = torch.arange(hidden.shape[1], device=hidden.device)
    if prefix is not None and prefix.lengths is not None:
        return prefix.lengths.to(own)[:, None] + own
    return own[None] + (0 if prefix is None else prefix.num_tokens)
