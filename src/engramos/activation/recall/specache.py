"""Tokens come back by the scores of a copy of their keys in one or two bits."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engramos.activation.recall._choice import best_tokens, nothing, pooled, probe, products
from engramos.activation.recall._filed import append, open_tokens, rows, take_whole
from engramos.activation.recall.base import Filed, LayerView, Recall, Recalled
from engramos.errors import ConfigError

PIECE = 16_384
"""Tokens that are scored at once, so that a long past takes no long tensors."""


@dataclass(frozen=True, slots=True)
class SpeCache(Recall):
    """Every key stays at hand in few bits; the tokens with the best scores of it come back in full.

    Each channel of a group of tokens has its own least value and step. `ahead` says which tokens the next pass will
    probably want, so that they can be read before it begins.

    Resident: 26.0 bytes a token and head where its key and value take 256 (64 numbers each in bfloat16); 16.1 with 1
    bit.

    Source: SpeCache, https://arxiv.org/abs/2503.16163, section 3; the quantisation of keys by channel is KIVI's,
    https://arxiv.org/abs/2402.02750.
    Differs: values have no copy in few bits; the newest query stands for that of the speculative token.
    """

    bits: int = 2
    """Bits for each number: 1 or 2."""
    group: int = 32
    """Tokens that share a step; 1 or more. The newest, fewer than these, are kept whole."""

    def __post_init__(self) -> None:
        if self.bits not in (1, 2):
            raise ConfigError(f"bits is {self.bits}: use 1 or 2")
        if self.group < 1:
            raise ConfigError(f"group is {self.group}: give 1 token or more")

    def file(self, view: LayerView, filed: Filed) -> Filed:
        """Return the summaries with the groups that the stretch makes whole."""
        whole = take_whole(filed, {"keys": view.keys}, self.group)["keys"]
        if whole.shape[1]:
            codes, least, step = self._quantised(whole.float())
            append(filed, "codes", codes)
            append(filed, "least", least)
            append(filed, "step", step)
        filed.num_tokens += view.num_tokens
        return filed

    def _quantised(self, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return packed codes (heads, groups, group, bytes), and least values and steps (heads, groups, head_dim)."""
        if self.bits == 1:
            middle = keys.mean(2)
            spread = (keys - middle.unsqueeze(2)).abs().mean(2)
            least, step = middle - spread, 2 * spread
        else:
            least = keys.amin(2)
            step = (keys.amax(2) - least) / 3
        least, step = least.bfloat16(), step.bfloat16()
        width = step.float().clamp_min(1e-12).unsqueeze(2)
        codes = ((keys - least.float().unsqueeze(2)) / width).round().clamp(0, 2**self.bits - 1)
        return packed(codes.to(torch.uint8), self.bits), least, step

    def select(self, view: LayerView, filed: Filed, num_tokens: int) -> Recalled:
        """Return the tokens with the best scores of the copy."""
        if not filed.num_tokens:
            return nothing(view)
        query, still_open = probe(view), open_tokens(filed, "keys")
        scores = [*self._scores(filed, query), products(query, still_open)]
        return best_tokens(pooled(torch.cat(scores, dim=-1), view.scaling), num_tokens)

    def ahead(self, view: LayerView, filed: Filed, num_tokens: int) -> Tensor:
        """Return the places that the next pass will probably want: what the newest query alone would choose.

        Args:
            view: as for `select`, of the pass that is under way, with one query or more.
            filed: the summaries.
            num_tokens: how many places for each head at most.

        Returns:
            (kv_heads, places) int64, rising.
        """
        last = replace(view, queries=view.queries[:, -1:], query_positions=view.query_positions[-1:], question_tokens=0)
        places = self.select(last, filed, num_tokens).places
        assert places is not None
        return places

    def _scores(self, filed: Filed, query: Tensor) -> list[Tensor]:
        if "codes" not in filed.tensors:
            return []
        codes, least, step = (rows(filed, name, filed.tensors[name]) for name in ("codes", "least", "step"))
        dims, at_once = query.shape[-1], max(1, PIECE // self.group)
        out = []
        for start in range(0, codes.shape[1], at_once):
            part = slice(start, start + at_once)
            levels = unpacked(codes[:, part], self.bits)[..., :dims].float()
            fitting = query.unsqueeze(1) * step[:, part].float().unsqueeze(2)
            base = products(query, least[:, part]).unsqueeze(-1)
            product = (fitting @ levels.transpose(2, 3)).transpose(1, 2)
            out.append((product + base).flatten(2))
        return out


def packed(codes: Tensor, bits: int) -> Tensor:
    """Return codes below 2**bits along the last axis, as many in a byte as fit; the last byte is filled with 0."""
    each = 8 // bits
    padded = torch.nn.functional.pad(codes, (0, -codes.shape[-1] % each)).unflatten(-1, (-1, each))
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8, device=codes.device)
    return (padded << shifts).sum(-1, dtype=torch.uint8)


def unpacked(packed_codes: Tensor, bits: int) -> Tensor:
    """Return the codes of `packed`, those that filled the last byte too."""
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8, device=packed_codes.device)
    return ((packed_codes.unsqueeze(-1) >> shifts) & (2**bits - 1)).flatten(-2)
