"""The engine over the package transformers: any decoder with rotary embeddings that it loads."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from engramos.activation.fusion.base import Fusion
from engramos.activation.keeping import Keeping, Recalling
from engramos.activation.kv_tensors import FULL, SLIDING, KVLayer, KVTensors
from engramos.activation.stretch import Stretch, padded
from engramos.activation.view import DECODE, PREFILL, PROBE
from engramos.engines._attention import NAME, register
from engramos.engines._cache import MemoryCache, empty_cache, started_cache
from engramos.engines._decode import answer
from engramos.engines._layer import LayerShape, Pass
from engramos.engines._notes import notes_for
from engramos.engines._recalling import recall_cache
from engramos.engines._shapes import decoder_of, layer_shapes, text_config
from engramos.engines._weights import fingerprint_of, load
from engramos.engines.base import Engine, Piece, Sampling
from engramos.errors import ConfigError, ContextLengthError, InvalidInputError, ModelMismatchError, UnsupportedError


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
    _hosted: "Hosted" = field(init=False, repr=False)

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
        values = {"model": name, "dtype": dtype, "device": str(model.device), "block_tokens": block_tokens}
        for key, value in (values | {"_hosted": hosted(model.eval(), tokenizer, weights)}).items():
            object.__setattr__(engine, key, value)
        return engine

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """Weights, config, tokenizer, template, dtype and rope; digests, but for the dtype."""
        return self._hosted.fingerprint

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
        if isinstance(keeping, Recalling):
            return recall_cache(self.shapes, keeping)
        return empty_cache(self.shapes, keeping)

    def attach(self, stored: KVTensors, keeping: Keeping | Recalling | None = None) -> MemoryCache:
        """Return a cache that begins with stored tensors; see `Engine.attach`."""
        check_layers(stored, self.shapes, self._hosted.dtype)
        device = self._hosted.model.device
        start = [stretches_of(layer, device) for layer in stored.layers]
        if isinstance(keeping, Recalling):
            return recall_cache(self.shapes, keeping, start, stored.token_ids)
        return started_cache(self.shapes, start, stored.token_ids, keeping)

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

    def generate_batch(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[int]]:
        """Return the tokens that follow on each prompt; those that share a prefix read it once.

        Raises:
            UnsupportedError, ConfigError, ContextLengthError: see `engramos.engines._batch`.
        """
        from engramos.engines._batch import generate_batch  # it builds on this module

        return generate_batch(self, prompts, sampling)

    def fuse(
        self, pieces: Sequence[KVTensors], fusion: Fusion, keeping: Keeping | Recalling | None = None
    ) -> MemoryCache:
        """Return one cache of pieces that were encoded apart; see `engramos.engines._fuse`.

        Raises:
            ConfigError, UnsupportedError, ModelMismatchError, ContextLengthError: if they cannot be fused.
        """
        from engramos.engines._fuse import fuse  # it builds on this module

        return fuse(self, pieces, [piece.token_ids for piece in pieces], fusion, keeping)

    def log_probabilities(self, token_ids: Sequence[int], cache: MemoryCache) -> Tensor:
        """Read tokens and return the log probabilities after each: (tokens, vocabulary) float32.

        Nothing is removed from the cache. It takes memory for all scores: meant for evaluation.
        """
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
        with cache.passing(Pass(positions, phase, cache.prompt_tokens, question_tokens)):
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


@dataclass(frozen=True, slots=True)
class Hosted:
    """A loaded model with what was read off it."""

    model: Any
    tokenizer: Any
    decoder: Any
    shapes: tuple[LayerShape, ...]
    fingerprint: Mapping[str, str]
    max_tokens: int
    ends: frozenset[int]
    """Tokens that end an answer."""
    breaks: frozenset[int]
    """Tokens that end a sentence."""
    turn: threading.RLock = field(default_factory=threading.RLock)

    @property
    def dtype(self) -> torch.dtype:
        """Of keys and values."""
        return self.model.dtype


def hosted(model: Any, tokenizer: Any, weights: str) -> Hosted:
    """Return a model made ready for caches.

    Raises:
        UnsupportedError: if a cache cannot host it.
    """
    shapes = tuple(layer_shapes(model))
    register()
    model.set_attn_implementation(NAME)
    if text_config(model)._attn_implementation != NAME:
        raise UnsupportedError(f"{type(model).__name__} does not let its attention be chosen: use another model")
    config = model.generation_config.eos_token_id if model.generation_config is not None else None
    ends = {tokenizer.eos_token_id, *([config] if isinstance(config, int) else config or [])} - {None}
    breaks = frozenset(
        number for text, number in tokenizer.get_vocab().items() if text.endswith((".", "!", "?", "\n", "Ċ", "。"))
    )
    limit = int(text_config(model).max_position_embeddings)
    fingerprint = fingerprint_of(model, tokenizer, weights)
    return Hosted(model, tokenizer, decoder_of(model), shapes, fingerprint, limit, frozenset(ends), breaks)


def stretches_of(layer: KVLayer, device: torch.device) -> list[Stretch]:
    """Return a stored layer as stretches, read in place where the device is the same."""
    if not layer.is_ragged:
        keys, values, positions = layer.padded()
        return [Stretch(keys.to(device), values.to(device), positions.to(device))]
    heads = zip(layer.heads("keys"), layer.heads("values"), layer.heads("positions"), strict=True)
    return [Stretch(*(one[None].to(device) for one in head)) for head in heads]


def tensors_of(cache: MemoryCache) -> KVTensors:
    """Return what a cache keeps.

    Raises:
        UnsupportedError: if tokens have moved up, so that positions no longer tell what was read.
    """
    if cache.is_compact:
        raise UnsupportedError("a compact cache has moved its tokens and cannot be stored: build it without is_compact")
    layers = []
    for layer in cache.memory_layers:
        kind = FULL if layer.shape.window is None else SLIDING
        keys, values, positions, _ = padded(layer.stretches)
        layers.append(KVLayer.of_padded(keys.clone(), values.clone(), positions.clone(), cache.num_tokens, kind))
    return KVTensors(tuple(cache.token_ids), tuple(layers))


def check_layers(stored: KVTensors, shapes: Sequence[LayerShape], dtype: torch.dtype) -> None:
    """Refuse stored tensors that are not of this model's form.

    Raises:
        ModelMismatchError: with what differs.
    """
    differing = []
    if len(stored.layers) != len(shapes):
        differing.append("number of layers")
    for layer, shape in zip(stored.layers, shapes, strict=False):
        kind = FULL if shape.window is None else SLIDING
        found = (layer.kv_heads, layer.head_dim, layer.dtype, layer.kind)
        wanted = (shape.kv_heads, shape.head_dim, dtype, kind)
        names = ("number of heads", "head_dim", "dtype", "kind of layers")
        differing += [name for name, one, other in zip(names, found, wanted, strict=True) if one != other]
    if differing:
        raise ModelMismatchError("this KV cube", tuple(dict.fromkeys(differing)))
