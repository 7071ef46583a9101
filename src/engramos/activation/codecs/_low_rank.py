"""Matrices as products of two thin ones."""

import math

import torch
from torch import Tensor

from engramos.activation.codecs._parts import StoredParts
from engramos.activation.codecs._range import Range
from engramos.errors import ConfigError


def factors(matrices: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the two factors whose product is the nearest matrix of a rank, in least squares.

    They come from the eigenvectors of the smaller of the two products of the matrix with itself, which costs far less
    than a singular value decomposition of a long matrix. The factors are of like magnitude, to suit half precision.

    Args:
        matrices: (..., rows, columns) float32.
        rank: 0 or more; cut to what the matrices have.

    Returns:
        (..., rows, rank) and (..., rank, columns) float32.
    """
    rows, columns = matrices.shape[-2:]
    rank = min(rank, rows, columns)
    if rank == 0 or not matrices.numel():
        return matrices[..., :, :0], matrices[..., :0, :]
    is_long = rows >= columns
    long = matrices if is_long else matrices.mT
    # eigenvalues rise
    _, vectors = torch.linalg.eigh((long.mT @ long).double())
    basis = vectors[..., -rank:].flip(-1).float()
    scale = math.sqrt(min(rows, columns))
    left, right = long @ basis / scale, basis.mT * scale
    return (left, right) if is_long else (right.mT, left.mT)


def check_ratio(name: str, ratio: float) -> None:
    """Refuse a share of ranks that is none.

    Raises:
        ConfigError: unless it is in (0, 1].
    """
    if not 0.0 < ratio <= 1.0:
        raise ConfigError(f"{name} is {ratio}: give a number above 0, up to 1")


def joint_factors(whole: Tensor, ratio: float, within: Range) -> dict[str, Tensor]:
    """Return a low rank of the tokens of each set, the channels of its members side by side.

    Args:
        whole: (sets, members, tokens, head_dim) float32 in the range of half precision.
        ratio: of the rank to the channels of all members.
        within: the range of the numbers.

    Returns:
        `left` (sets, tokens, rank) and `right` (sets, rank, members, head_dim).
    """
    members, head_dim = whole.shape[1], whole.shape[3]
    width = members * head_dim
    left, right = factors(whole.transpose(1, 2).flatten(2), min(width, max(1, round(ratio * width))))
    return {
        "left": left.to(torch.float16).contiguous(),
        "right": within.stored(right.unflatten(2, (members, head_dim))),
    }


def joint_product(stored: StoredParts, sets: int, members: int, head_dim: int) -> Tensor:
    """Return what `joint_factors` stands for: (sets, members, tokens, head_dim) float32.

    Raises:
        CorruptPayloadError: if the parts do not fit together.
    """
    stored.require_head_dim(head_dim)
    left = stored.whole("left", sets, None, None).float()
    num_tokens, rank = left.shape[1:]
    stored.require(rank > 0 or num_tokens == 0, "left", "has no ranks")
    right = stored.scales("right", sets, rank, members, head_dim, is_signed=True)
    stored.require_growth(sets * members * num_tokens * head_dim)
    return (left @ right.flatten(2)).unflatten(2, (members, head_dim)).transpose(1, 2)
