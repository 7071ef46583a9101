"""Tokens come back by approximate scores: their keys are kept as numbers of code vectors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engramos.activation.recall._choice import best_tokens, nothing, pooled, probe
from engramos.activation.recall._clusters import clustered, nearest
from engramos.activation.recall._filed import append, join_open, keep_open, open_tokens, rows
from engramos.activation.recall.base import Filed, LayerView, Recall, Recalled
from engramos.errors import ConfigError

NUM_CODES = 256
PIECE = 16_384
"""Tokens that are scored at once, so that a long past takes no long tensors."""


@dataclass(frozen=True, slots=True)
class A2ATS(Recall):
    """Keys are turned back to position 0, cut into parts, and each part is kept as the nearest of 256 code vectors.

    An error of a key matters as far as queries see it: keys are first multiplied by the root of the queries' second
    moment, in which plain k-means makes the error of the scores least. All of the past is scored as if it stood at one
    distance from the query. Until `calibration` tokens are filed, keys are kept whole.

    Resident: 8.7 bytes a token and head where its key and value take 256 (64 numbers each in bfloat16), and 80 KiB of
    codebooks a head.

    Source: A2ATS, https://arxiv.org/abs/2502.12665, sections on windowed rotary embedding and on query-aware vector
    quantisation.
    Differs: codebooks are learned from the first tokens of the sequence itself, not from a corpus beforehand; keys are
    cut into parts with a codebook each (product quantisation); without queries at filing, errors count alike.
    """

    part: int = 8
    """Channels that share one code; 1 or more, the last part may have fewer."""
    calibration: int = 512
    """Tokens that the codebooks are learned from; 256 or more."""
    distance: int = 1_024
    """How far from the query the past is taken to stand; 0 or more."""
    rounds: int = 8
    """Rounds of k-means; 0 or more."""

    def __post_init__(self) -> None:
        if self.part < 1:
            raise ConfigError(f"part is {self.part}: give 1 channel or more")
        if self.calibration < NUM_CODES:
            raise ConfigError(f"calibration is {self.calibration}: give {NUM_CODES} tokens or more")
        if self.distance < 0:
            raise ConfigError(f"distance is {self.distance}: give 0 or more")
        if self.rounds < 0:
            raise ConfigError(f"rounds is {self.rounds}: give 0 or more")

    def file(self, view: LayerView, filed: Filed) -> Filed:
        """Return the summaries with the codes of the stretch."""
        keys = view.rope.unrotate(view.keys, view.positions)
        filed.num_tokens += view.num_tokens
        if "codebooks" in filed.tensors:
            append(filed, "codes", self._encode(filed, keys))
            return filed
        whole = join_open(filed, {"keys": keys})
        self._add_moment(view, filed, self.calibration - whole["keys"].shape[1] + view.num_tokens)
        keep_open(filed, whole, 0)
        if whole["keys"].shape[1] >= self.calibration:
            self._learn(filed, whole["keys"])
            keep_open(filed, whole, whole["keys"].shape[1])
        return filed

    def _add_moment(self, view: LayerView, filed: Filed, num: int) -> None:
        """Add the first `num` queries of a stretch to their second moment."""
        turned = view.rope.unrotate(view.queries, view.query_positions)[:, :num].float()
        if turned.shape[1]:
            flat = turned.unflatten(0, (view.kv_heads, -1)).flatten(1, 2)
            filed.tensors["moment"] = filed.tensors.get("moment", 0) + flat.transpose(1, 2) @ flat

    def _learn(self, filed: Filed, keys: Tensor) -> None:
        heads, _, dims = keys.shape
        same = torch.eye(dims, device=keys.device).expand(heads, -1, -1)
        moment = filed.tensors.pop("moment", same)
        size = moment.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)[:, None, None]
        # a thousandth of the mean keeps directions that no query took from vanishing
        filed.tensors["root"] = torch.linalg.cholesky(moment / size + 1e-3 * same)
        parts = self._parts(filed, keys[:, : self.calibration])
        codebooks, _ = clustered(parts.flatten(0, 1), NUM_CODES, self.rounds)
        filed.tensors["codebooks"] = codebooks.unflatten(0, (heads, -1))
        append(filed, "codes", self._encode(filed, keys))

    def _parts(self, filed: Filed, keys: Tensor) -> Tensor:
        """Return weighted keys cut into parts: (kv_heads, parts, tokens, part) float32."""
        weighted = keys.float() @ filed.tensors["root"]
        weighted = torch.nn.functional.pad(weighted, (0, -weighted.shape[-1] % self.part))
        return weighted.unflatten(-1, (-1, self.part)).transpose(1, 2)

    def _encode(self, filed: Filed, keys: Tensor) -> Tensor:
        parts = self._parts(filed, keys)
        codes = nearest(parts.flatten(0, 1), filed.tensors["codebooks"].flatten(0, 1))
        return codes.unflatten(0, parts.shape[:2]).transpose(1, 2).to(torch.uint8)

    def select(self, view: LayerView, filed: Filed, num_tokens: int) -> Recalled:
        """Return the tokens with the best approximate scores."""
        if not filed.num_tokens:
            return nothing(view)
        query = self._far_probe(view)
        if "codebooks" in filed.tensors:
            scores = self._approximate(filed, query)
        else:
            scores = query @ open_tokens(filed, "keys").float().transpose(1, 2)
        return best_tokens(pooled(scores, view.scaling), num_tokens)

    def _far_probe(self, view: LayerView) -> Tensor:
        """Return the mean asking query of each head, turned to the one distance: (kv_heads, groups, head_dim)."""
        back = view.rope.unrotate(view.queries, view.query_positions)
        far = torch.tensor([self.distance], device=view.queries.device)
        turned = view.rope.rotate(back, far)
        return probe(view, turned)

    def _approximate(self, filed: Filed, query: Tensor) -> Tensor:
        """Return the sums of the products of the query's parts with each token's code vectors."""
        root = filed.tensors["root"]
        fitting = torch.linalg.solve_triangular(root, query.transpose(1, 2), upper=False).transpose(1, 2)
        fitting = torch.nn.functional.pad(fitting, (0, -fitting.shape[-1] % self.part)).unflatten(-1, (-1, self.part))
        table = torch.einsum("hgpd,hpcd->hgpc", fitting, filed.tensors["codebooks"])
        codes = rows(filed, "codes", filed.tensors["codes"])
        pieces = []
        for start in range(0, codes.shape[1], PIECE):
            index = codes[:, start : start + PIECE].long().transpose(1, 2).unsqueeze(1)
            pieces.append(table.gather(3, index.expand(-1, table.shape[1], -1, -1)).sum(2))
        return torch.cat(pieces, dim=-1)
