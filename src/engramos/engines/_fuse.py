"""Pieces that were encoded apart made into one cache, some of their tokens computed again."""

from collections.abc import Sequence

import torch
from torch import Tensor

from engramos.activation.fusion.base import Fusion
from engramos.activation.keeping import Keeping, Recalling
from engramos.activation.kv_tensors import FULL, SLIDING, KVLayer, KVTensors
from engramos.activation.stretch import Stretch
from engramos.engines._cache import MemoryCache, empty_cache, started_cache
from engramos.engines._decoder import Decoder
from engramos.engines._hosted import check_layers
from engramos.engines._layer import LayerShape, Pass
from engramos.engines._recalling import recall_cache
from engramos.engines.transformers import Transformers
from engramos.errors import ConfigError, ContextLengthError, InvalidInputError, UnsupportedError


def encode_piece(engine: Transformers, token_ids: Sequence[int]) -> KVTensors:
    """Return the keys and values of a text that stands alone, with nothing removed, also of sliding layers.

    Args:
        engine: whose model reads it.
        token_ids: 1 or more.

    Raises:
        ConfigError: if there are no tokens.
        ContextLengthError: if they do not fit the model's window.
    """
    _check_length(engine, len(token_ids))
    walk = _Walk(engine, empty_cache(engine.shapes), token_ids)
    with engine._hosted.turn:
        walk.read_all()
    layers = []
    for layer in walk.cache.memory_layers:
        (one,) = layer.stretches
        kind = FULL if layer.shape.window is None else SLIDING
        layers.append(KVLayer(one.keys.clone(), one.values.clone(), None, kind))
    return KVTensors(tuple(token_ids), tuple(layers))


def fuse(
    engine: Transformers,
    pieces: Sequence[KVTensors],
    token_ids: Sequence[Sequence[int]],
    fusion: Fusion,
    keeping: Keeping | Recalling | None = None,
) -> MemoryCache:
    """Return one cache of pieces that follow one another; the pieces themselves are not changed.

    Layers before the method's check layer run for all tokens that may have changed; at the check layer fresh keys and
    values are compared with the stored ones, and kept; from there on only the chosen tokens run, and see all that
    stands before them. A model with fewer layers compares at its last. The first piece stands where it was encoded: it
    runs only where the method chooses its tokens.

    Args:
        engine: with the model that encoded the pieces.
        pieces: 1 or more, each encoded alone from position 0 on, as `encode_piece` does.
        token_ids: of each piece.
        fusion: what is computed again.
        keeping: how the cache stays small from here on.

    Raises:
        ConfigError: if there are no pieces.
        InvalidInputError: if a piece's tokens are not those that are given.
        UnsupportedError: if tokens were removed from a piece.
        ModelMismatchError: if another model made a piece.
        ContextLengthError: if the pieces do not fit the model's window together.
    """
    _check_pieces(engine, pieces, token_ids)
    lengths = [piece.num_tokens for piece in pieces]
    device = engine._hosted.model.device
    start = [[_placed(pieces, shape, fusion.turns, device)] for shape in engine.shapes]
    whole = [token for ids in token_ids for token in ids]
    cache = started_cache(engine.shapes, start, whole)
    walk = _Walk(engine, cache, whole)
    with engine._hosted.turn:
        check, deviation = fusion.check_layer, None
        if check is not None:
            deviation = walk.deviation(lengths[0], min(check, len(engine.shapes) - 1))
        walk.renew(fusion.choose(lengths, deviation))
    found = [layer.stretches for layer in cache.memory_layers]
    if isinstance(keeping, Recalling):
        return recall_cache(engine.shapes, keeping, found, whole)
    return started_cache(engine.shapes, found, whole, keeping)


def divergence(
    engine: Transformers, cache: MemoryCache, token_ids: Sequence[int], continuation: Sequence[int]
) -> float:
    """Return how far a fused cache leads away from a full prefill: the mean KL divergence of the next token, in nats.

    Args:
        engine: of the cache.
        cache: it is not changed.
        token_ids: all tokens that it stands for.
        continuation: tokens that follow, 1 or more; the distributions after each of them are compared.

    Returns:
        0 or more: KL(full prefill || cache).

    Raises:
        ConfigError: if there is no continuation.
    """
    if not continuation:
        raise ConfigError("the continuation is empty: give the tokens of a question, or of text that follows")
    full = engine.new_cache()
    engine.prefill(token_ids, full)
    wanted = engine.log_probabilities(continuation, full)
    return divergence_of(wanted, engine.log_probabilities(continuation, cache.copy()))


def divergence_of(wanted: Tensor, found: Tensor) -> float:
    """Return the mean of KL(wanted || found) over tokens, in nats.

    Args:
        wanted: (tokens, vocabulary) log probabilities.
        found: of the same shape.
    """
    wide = wanted.double()
    return max(0.0, float((wide.exp() * (wide - found.double())).sum(-1).mean()))


class _Walk:
    """Layer by layer over the tokens of one cache, which holds a place for each of them."""

    def __init__(self, engine: Transformers, cache: MemoryCache, token_ids: Sequence[int]) -> None:
        self.cache = cache
        self._token_ids = list(token_ids)
        self._block = engine.block_tokens
        self._decoder = Decoder(engine._hosted.model, engine.shapes)
        self._device = engine._hosted.model.device
        self._before: Tensor | None = None
        """What the check layer has read: (tokens, hidden); only the tokens from `_first` on have been computed."""
        self._first, self._check = 0, 0

    @torch.no_grad()
    def read_all(self) -> None:
        """Fill an empty cache."""
        for at in range(0, len(self._token_ids), self._block):
            places = torch.arange(at, min(at + self._block, len(self._token_ids)), device=self._device)
            hidden = self._embedded(places)
            rotations = self._decoder.rotations(hidden, places)
            with self.cache.passing(Pass(places)):
                for layer in range(self._decoder.num_layers):
                    hidden = self._decoder.run(layer, hidden, places, rotations, self.cache)

    @torch.no_grad()
    def deviation(self, first: int, check: int) -> Tensor:
        """Compute all tokens up to the check layer, and return how far its keys and values lie from the stored ones.

        Args:
            first: tokens of the first piece, which are as they should be: their deviation is 0.
            check: the layer.

        Returns:
            (tokens,) float32.
        """
        num = len(self._token_ids)
        places = torch.arange(first, num, device=self._device)
        found = torch.zeros(num, device=self._device)
        self._before = self._through(self._embedded(places), places, 0, check) if len(places) else None
        self._first, self._check = first, check
        stretch = self.cache.memory_layers[check].stretches[0]
        for at in range(first, num, self._block):
            cut = places[at - first : at - first + self._block]
            assert self._before is not None
            hidden = self._before[cut - first]
            fresh = self._decoder.keys_and_values(check, hidden, cut, self._decoder.rotations(hidden, cut))
            for new, old in zip(fresh, (stretch.keys[:, cut], stretch.values[:, cut]), strict=True):
                found[cut] += (new.float() - old.float()).square().sum((0, 2))
            # what is known anyway is kept, whether the token is chosen or not
            stretch.write(cut, *fresh)
        return found

    @torch.no_grad()
    def renew(self, chosen: Tensor) -> None:
        """Compute the chosen tokens again, from where `deviation` has come."""
        places = chosen.to(self._device)
        if not len(places):
            return
        early, late = places[places < self._first], places[places >= self._first]
        parts = []
        if len(early):
            parts.append(self._through(self._embedded(early), early, 0, self._check))
        if len(late):
            parts.append(self._embedded(late) if self._before is None else self._before[late - self._first])
        self._through(torch.cat(parts), places, self._check, self._decoder.num_layers)

    def _embedded(self, places: Tensor) -> Tensor:
        return self._decoder.embedded([self._token_ids[at] for at in places.tolist()])

    def _through(self, hidden: Tensor, places: Tensor, start: int, end: int) -> Tensor:
        """Run tokens through some layers, block by block; their keys and values are written over."""
        cuts = [slice(at, at + self._block) for at in range(0, len(places), self._block)]
        rotations = [self._decoder.rotations(hidden, places[cut]) for cut in cuts]
        for layer in range(start, end):
            outs = []
            for cut, rotation in zip(cuts, rotations, strict=True):
                with self.cache.passing(Pass(places[cut], places=places[cut])):
                    outs.append(self._decoder.run(layer, hidden[cut], places[cut], rotation, self.cache))
            hidden = torch.cat(outs) if len(outs) > 1 else outs[0]
        return hidden


def _check_pieces(engine: Transformers, pieces: Sequence[KVTensors], token_ids: Sequence[Sequence[int]]) -> None:
    if not pieces:
        raise ConfigError("there are no pieces to fuse: give 1 or more")
    if [piece.token_ids for piece in pieces] != [tuple(ids) for ids in token_ids]:
        raise InvalidInputError("the tokens are not those of the pieces: give the tokens that each was encoded from")
    for number, piece in enumerate(pieces):
        check_layers(piece, engine.shapes, engine._hosted.dtype)
        if any(layer.positions is not None for layer in piece.layers):
            raise UnsupportedError(
                f"piece {number} cannot be fused: tokens were removed from it by a policy, or from its sliding layers; "
                f"encode it again with nothing removed"
            )
    _check_length(engine, sum(piece.num_tokens for piece in pieces))


def _check_length(engine: Transformers, num_tokens: int) -> None:
    if not num_tokens:
        raise ConfigError("there are no tokens to read: give a text that is not empty")
    if num_tokens > engine.max_tokens:
        raise ContextLengthError(num_tokens, engine.max_tokens)


def _placed(pieces: Sequence[KVTensors], shape: LayerShape, turns: bool, device: torch.device) -> Stretch:
    """Return one layer of all pieces, one after the other."""
    keys, values, at = [], [], 0
    for piece in pieces:
        layer = piece.layers[shape.index]
        assert isinstance(layer.keys, Tensor)
        assert isinstance(layer.values, Tensor)
        own = layer.keys.to(device)
        keys.append(shape.rope.rotate(own, torch.tensor([at], device=device)) if turns and at else own)
        values.append(layer.values.to(device))
        at += piece.num_tokens
    positions = torch.arange(at, device=device).expand(shape.kv_heads, -1)
    return Stretch(torch.cat(keys, dim=1), torch.cat(values, dim=1), positions)
