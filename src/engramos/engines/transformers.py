"""The engine over the package transformers: any decoder with rotary embeddings that it loads."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engramos.activation.fusion.base import Fusion
from engramos.activation.keeping import Keeping, Recalling
from engramos.activation.kv_tensors import KVTensors
from engramos.activation.view import DECODE, PREFILL, PROBE
from engramos.engines._cache import MemoryCache, empty_cache, started_cache
from engramos.engines._decode import answer
from engramos.engines._hosted import Hosted, check_layers, hosted, stretches_of, stretches_of_prefix, tensors_of
from engramos.engines._layer import LayerShape, Pass
from engramos.engines._mixture import Mixture, starts_in
from engramos.engines._notes import notes_for
from engramos.engines._recalling import recall_cache
from engramos.engines._shapes import text_config
from engramos.engines._weights import load
from engramos.engines.base import Engine, Piece, Sampling
from engramos.errors import ConfigError, ContextLengthError, InvalidInputError, UnsupportedError
from engramos.parametric.adapter import Adapter

if TYPE_CHECKING:
    from engramos.engines._base_model import HostedBase


VIRTUAL = -1
"""Stands among a cache's tokens for what an adapter has put there."""


@dataclass(frozen=True, eq=False)
class Transformers(Engine):
    """Hosts a causal language model of transformers, with GQA, MQA or sliding layers, on CPU or CUDA."""

    model: str
    """A folder, a GGUF file, or a name on the hub."""
    dtype: str = "float32"
    """`float32`, `bfloat16` or `float16`."""
    device: str = "cpu"
    """Where it runs, as torch names devices."""
    block_tokens: int = 512
    """How many tokens are read at a time, 1 or more: it bounds the peak of memory."""
    _hosted: Hosted = field(init=False, repr=False)
    adapters: tuple[Adapter, ...] = field(init=False, default=())
    """Those that act on every cache of this engine; see `adapted`."""

    def __post_init__(self) -> None:
        if self.block_tokens < 1:
            raise ConfigError(f"block_tokens is {self.block_tokens}: give 1 or more")
        object.__setattr__(self, "_hosted", hosted(*load(self.model, self.dtype, self.device)))

    @classmethod
    def of(cls, model: Any, tokenizer: Any, *, weights: str, block_tokens: int = 512) -> "Transformers":
        """Return an engine over a model that is loaded already.

        Args:
            model: a causal language model of transformers.
            tokenizer: its tokenizer.
            weights: what tells its weights apart from all others.
            block_tokens: as the field.
        """
        engine = object.__new__(cls)
        name, dtype = getattr(model.config, "_name_or_path", ""), str(model.dtype).removeprefix("torch.")
        values = {
            "model": name,
            "dtype": dtype,
            "device": str(model.device),
            "block_tokens": block_tokens,
            "adapters": (),
        }
        for key, value in (values | {"_hosted": hosted(model.eval(), tokenizer, weights)}).items():
            object.__setattr__(engine, key, value)
        return engine

    @property
    def base(self) -> "HostedBase":
        """The model as writers, editors and probes see it.

        Raises:
            UnsupportedError: if nothing can be written for it.
        """
        from engramos.engines._base_model import HostedBase  # it builds on this module

        return HostedBase(self.adapted(()))

    def adapted(self, adapters: Sequence[Adapter]) -> "Transformers":
        """Return an engine over the same model whose caches are read with these adapters, and with no others.

        The model itself is not touched, so that engines with other adapters answer in turn. What stands before the
        invocation of an adapter is read as the base model reads it.

        Raises:
            InvalidInputError, ModelMismatchError: if one does not fit the model.
        """
        other = object.__new__(type(self))
        values = {name: getattr(self, name) for name in ("model", "dtype", "device", "block_tokens", "_hosted")}
        for key, value in (values | {"adapters": tuple(adapters)}).items():
            object.__setattr__(other, key, value)
        for one in adapters:
            self._hosted.digest_of(one)
        return other

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """Weights, config, tokenizer, template, dtype and rope; and under `adapters` the digests of those that act."""
        digests = (*self._hosted.held.digests, *map(self._hosted.digest_of, self.adapters))
        return {**self._hosted.fingerprint, "adapters": digests} if digests else self._hosted.fingerprint

    @property
    def max_tokens(self) -> int:
        """The length of the model's own window, in tokens."""
        return self._hosted.max_tokens

    @property
    def vocabulary(self) -> int:
        """How many tokens the model knows."""
        return int(text_config(self._hosted.model).vocab_size)

    @property
    def shapes(self) -> Sequence[LayerShape]:
        """What each layer is like."""
        return self._hosted.shapes

    def tokens(self, text: str) -> list[int]:
        """Return a text as tokens, without special ones."""
        return self._hosted.tokenizer.encode(text, add_special_tokens=False)

    def chat_tokens(self, messages: Sequence[Mapping[str, str]], *, answers: bool = True) -> list[int]:
        """Return a conversation as tokens, in the model's chat template."""
        tokenizer = self._hosted.tokenizer
        if not tokenizer.chat_template:
            raise UnsupportedError(f"{self.model} has no chat template: give it text, or use a model for conversation")
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=answers)
        return self.tokens(text)

    def text(self, token_ids: Sequence[int]) -> str:
        """Return tokens as text, special ones left out."""
        return self._hosted.tokenizer.decode(list(token_ids), skip_special_tokens=True)

    def new_cache(self, keeping: Keeping | Recalling | None = None) -> MemoryCache:
        """Return a cache that has read nothing."""
        prefixes = [one.prefix for one in self.adapters if one.prefix is not None]
        if prefixes and (len(prefixes) > 1 or isinstance(keeping, Recalling)):
            raise UnsupportedError("a prefix stands at the beginning: use one alone, and without a recall method")
        if isinstance(keeping, Recalling):
            return self._mixed(recall_cache(self.shapes, keeping))
        if not prefixes:
            return self._mixed(empty_cache(self.shapes, keeping))
        start = stretches_of_prefix(prefixes[0], self.shapes, self._hosted.dtype)
        return self._mixed(started_cache(self.shapes, start, [VIRTUAL] * prefixes[0].num_tokens, keeping))

    def _mixed(self, cache: MemoryCache) -> MemoryCache:
        if self.adapters:
            cache.mixture = Mixture(self._hosted.model, [self.adapters])
        return cache

    def attach(self, stored: KVTensors, keeping: Keeping | Recalling | None = None) -> MemoryCache:
        """Return a cache that begins with stored tensors; see `Engine.attach`."""
        check_layers(stored, self.shapes, self._hosted.dtype)
        if any(one.prefix is not None for one in self.adapters):
            raise UnsupportedError("an adapter's prefix stands at the beginning: it cannot follow on a stored cache")
        device = self._hosted.model.device
        start = [stretches_of(layer, device) for layer in stored.layers]
        if isinstance(keeping, Recalling):
            return self._mixed(recall_cache(self.shapes, keeping, start, stored.token_ids))
        return self._mixed(started_cache(self.shapes, start, stored.token_ids, keeping))

    def adapt(self, cache: MemoryCache, adapters: Sequence[Adapter]) -> None:
        """Let these adapters, and no others, act on what a cache reads from now on; what it has read stays as it is.

        Raises:
            InvalidInputError, ModelMismatchError: if one does not fit the model.
            UnsupportedError: if one has a prefix, which would have to stand at the beginning.
        """
        for one in adapters:
            self._hosted.digest_of(one)
            if one.prefix is not None:
                raise UnsupportedError("an adapter's prefix stands at the beginning: make a cache with it")
        cache.mixture = Mixture(self._hosted.model, [adapters]) if adapters else None

    def detach(self, cache: MemoryCache) -> KVTensors:
        """Return what a cache keeps, as tensors to be stored; the cache goes on unharmed."""
        return tensors_of(cache)

    def prefill(
        self, token_ids: Sequence[int], cache: MemoryCache, *, question_tokens: int = 0, is_last: bool = True
    ) -> Tensor:
        """Read tokens into a cache, block by block; see `Engine.prefill`.

        Args:
            token_ids: 1 or more.
            cache: it grows; then it is cut to its budget.
            question_tokens: how many of the last tokens are the question; 0 where that is not known.
            is_last: whether the prompt ends here, so that the cache may be cut.

        Raises:
            ConfigError: if there are no tokens.
            InvalidInputError: if one is none of the model's.
            ContextLengthError: if they do not fit the model's window.
        """
        if not token_ids:
            raise ConfigError("there are no tokens to read: give a text that is not empty")
        if max(token_ids) >= self.vocabulary or min(token_ids) < 0:
            raise InvalidInputError(f"a token is none of the model's {self.vocabulary}: use the model's tokenizer")
        is_open = cache.is_compact and cache.is_cut_at_blocks
        if not is_open and cache.next_position + len(token_ids) > self.max_tokens:
            raise ContextLengthError(cache.next_position + len(token_ids), self.max_tokens)
        cache.prompt_tokens = cache.next_position + len(token_ids)
        if cache.mixture is not None:
            cache.starts = starts_in(cache.mixture, cache.token_ids, token_ids, cache.next_position)
        scores = None
        with self._hosted.turn:
            size = min(self.block_tokens, cache.query_tokens or self.block_tokens)
            for start in range(0, len(token_ids), size):
                block = token_ids[start : start + size]
                is_end = start + len(block) == len(token_ids)
                scores = self._forward(block, cache, PREFILL, question_tokens)
                if cache.is_cut_at_blocks and not is_end:
                    cache.prompt_tokens = cache.next_position
                    cache.prune_prompt()
            if is_last:
                # what was read before is judged anew with what came now
                self._probe(token_ids if cache.is_compact else list(cache.token_ids), cache)
                cache.prompt_tokens = cache.next_position
                cache.prune_prompt(question_tokens)
        assert scores is not None
        return scores

    def step(self, token_id: int, cache: MemoryCache) -> Tensor:
        """Read one token of an answer, and return the scores of the next: (vocabulary,)."""
        with self._hosted.turn:
            scores = self._forward([token_id], cache, DECODE, 0)
            cache.prune_decoded()
        return scores

    def generate(self, scores: Tensor, cache: MemoryCache, sampling: Sampling) -> Iterator[Piece]:
        """Yield the answer that follows on what the cache has read; see `Engine.generate`."""
        return answer(self, scores, cache, sampling, self._hosted.ends)

    def generate_batch(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        adapters: Sequence[Adapter | None] | None = None,
    ) -> list[list[int]]:
        """Return the tokens that follow on each prompt; those that share a prefix read it once.

        Args:
            prompts: tokens, 1 or more each.
            sampling: how tokens are chosen, and when each answer ends.
            adapters: a further one for each prompt, or None for no further one.

        Raises:
            UnsupportedError, ConfigError, ContextLengthError: see `engramos.engines._batch`.
            InvalidInputError, ModelMismatchError: if an adapter does not fit.
        """
        from engramos.engines._batch import generate_batch  # it builds on this module

        return generate_batch(self, prompts, sampling, adapters)

    def fuse(
        self, pieces: Sequence[KVTensors], fusion: Fusion, keeping: Keeping | Recalling | None = None
    ) -> MemoryCache:
        """Return one cache of pieces that were encoded apart; see `engramos.engines._fuse`.

        Raises:
            ConfigError, UnsupportedError, ModelMismatchError, ContextLengthError: if they cannot be fused.
        """
        from engramos.engines._fuse import fuse  # it builds on this module

        if self.adapters:
            raise UnsupportedError("pieces are fused by the base model: fuse them without adapters")
        return fuse(self, pieces, [piece.token_ids for piece in pieces], fusion, keeping)

    def log_probabilities(self, token_ids: Sequence[int], cache: MemoryCache) -> Tensor:
        """Read tokens and return the log probabilities after each: (tokens, vocabulary) float32.

        Nothing is removed from the cache. It takes memory for all scores: meant for evaluation.
        """
        if cache.mixture is not None:
            cache.starts = starts_in(cache.mixture, cache.token_ids, token_ids, cache.next_position)
        with self._hosted.turn:
            scores = self._run(token_ids, cache, DECODE, 0, all_scores=True)
            return torch.log_softmax(scores.float(), dim=-1)

    def _probe(self, token_ids: Sequence[int], cache: MemoryCache) -> None:
        """Let a policy see what some texts attend to that are read after the prompt, and then dropped."""
        if cache.keeping is None or cache.keeping.prefill is None:
            return
        for probe in cache.keeping.policy.probes(token_ids, self.tokens):
            for start in range(0, len(probe), self.block_tokens):
                self._run(probe[start : start + self.block_tokens], cache, PROBE, 0)
            cache.drop_last(len(probe))

    def _forward(self, token_ids: Sequence[int], cache: MemoryCache, phase: str, question_tokens: int) -> Tensor:
        needs = cache.needs
        scores = self._run(token_ids, cache, phase, question_tokens, all_scores="surprisal" in needs)
        if needs:
            for name, numbers in notes_for(needs, token_ids, scores, cache, self._hosted.breaks).items():
                for layer in cache.memory_layers:
                    layer.note(name, numbers)
        if cache.is_cut_at_blocks:
            # else whole, because a stored sliding layer must serve any prefix of what it read
            for layer in cache.memory_layers:
                layer.trim()
        return scores[-1]

    @torch.no_grad()
    def _run(
        self,
        token_ids: Sequence[int],
        cache: MemoryCache,
        phase: str,
        question_tokens: int,
        *,
        all_scores: bool = False,
    ) -> Tensor:
        model = self._hosted.model
        first = cache.next_position
        positions = torch.arange(first, first + len(token_ids), device=model.device)
        current = Pass(positions, phase, cache.prompt_tokens, question_tokens)
        mixture = cache.mixture
        with cache.passing(current), nullcontext() if mixture is None else mixture.passing(positions, cache.starts):
            out = model(
                input_ids=torch.tensor([list(token_ids)], device=model.device),
                position_ids=positions[None],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=0 if all_scores else 1,
                memory=cache,
            )
        cache.advance(token_ids)
        return out.logits[0]
