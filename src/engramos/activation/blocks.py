"""Names of KV blocks: what was computed, by which model, for whom."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from engramos.errors import InvalidInputError

BLOCK_TOKENS = 64
"""Tokens in a KV block. A match may end inside of a block; blocks only make it quick to find."""
MIN_KEY_BYTES, MAX_KEY_BYTES = 16, 64
_DIGEST_BYTES = 32
_CHAIN, _SEGMENT, _SALT = b"engramos-kvchain", b"engramos-kvpiece", b"engramos-kv-salt"
TOKEN_BYTES = 4

Tokens = Sequence[int] | numpy.ndarray
"""Token ids of one sequence, each in [0, 2**31)."""


def salt_of(tenant: str, secret: bytes) -> bytes:
    """Return a tenant's salt: 32 bytes that nobody can compute without the secret.

    Args:
        tenant: the tenant's name, set by the server and never by the request.
        secret: 16 to 64 random bytes, kept by the vault; a new secret makes every stored hash unreachable.

    Raises:
        InvalidInputError: if the secret is too short or too long.
    """
    return hashlib.blake2b(tenant.encode(), key=_key("secret", secret), digest_size=32, person=_SALT).digest()


def token_bytes(tokens: Tokens) -> bytes:
    """Return token ids as 4 bytes each, the high byte first, so that bytes sort as tokens do.

    Raises:
        InvalidInputError: if one is no whole number in [0, 2**31).
    """
    problem = "token ids must be one row of whole numbers from 0 to 2**31 - 1"
    try:
        row = numpy.asarray(tokens)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(problem) from error
    if row.ndim != 1 or (row.size and row.dtype.kind not in "iu"):
        raise InvalidInputError(f"{problem}: these are {row.dtype} of shape {row.shape}")
    if row.size and (int(row.min()) < 0 or int(row.max()) >= 2**31):
        raise InvalidInputError(f"{problem}: these go from {row.min()} to {row.max()}")
    return row.astype(">u4").tobytes()


def root_hash(fingerprint_digest: str, salt: bytes, block_tokens: int = BLOCK_TOKENS) -> str:
    """Return the hash before the first block: of the model, the tenant and the size of blocks, and no token.

    Raises:
        InvalidInputError: if the salt is shorter than 16 bytes or longer than 64, or a block has no token.
    """
    if block_tokens < 1:
        raise InvalidInputError(f"block_tokens is {block_tokens}: give 1 or more")
    seed = hashlib.blake2b(key=_key("salt", salt), digest_size=_DIGEST_BYTES, person=_CHAIN)
    seed.update(block_tokens.to_bytes(8, "big") + fingerprint_digest.encode())
    return seed.hexdigest()


def block_hashes(tokens: Tokens, fingerprint_digest: str, salt: bytes, block_tokens: int = BLOCK_TOKENS) -> list[str]:
    """Return the chained hashes of the full blocks: each covers its block and all tokens before it.

    Equal hashes mean equal tokens, model and tenant; they are the same in every process and on every machine.

    Source: the chained block hash of vLLM's prefix caching; PagedAttention, https://arxiv.org/abs/2309.06180.
    Differs: BLAKE2b keyed with the tenant's salt, where hashing by Python's own `hash` changes with each process.

    Args:
        tokens: of the whole sequence; a last block that is not full has no hash.
        fingerprint_digest: `Fingerprint.digest` of the model.
        salt: of the tenant, see `salt_of`; 16 to 64 bytes.
        block_tokens: tokens in a block, >= 1.

    Raises:
        InvalidInputError: if a token id, the salt or the size of blocks is out of its range.
    """
    parent = root_hash(fingerprint_digest, salt, block_tokens)
    data, size = token_bytes(tokens), block_tokens * TOKEN_BYTES
    found = []
    for start in range(0, len(data) - size + 1, size):
        block = hashlib.blake2b(key=salt, digest_size=_DIGEST_BYTES, person=_CHAIN)
        block.update(bytes.fromhex(parent) + data[start : start + size])
        parent = block.hexdigest()
        found.append(parent)
    return found


def segment_hash(tokens: Tokens, fingerprint_digest: str, salt: bytes) -> str:
    """Return the hash of a piece for reuse at any position: of its own tokens, the model and the tenant.

    It never equals a block's hash: a piece was computed without the tokens that now stand before it.

    Raises:
        InvalidInputError: if a token id or the salt is out of its range.
    """
    data = token_bytes(tokens)
    piece = hashlib.blake2b(key=_key("salt", salt), digest_size=_DIGEST_BYTES, person=_SEGMENT)
    piece.update(len(data).to_bytes(8, "big") + data + fingerprint_digest.encode())
    return piece.hexdigest()


@dataclass(frozen=True, slots=True)
class TokenChain:
    """A sequence of tokens with the names of its blocks; make it by `chain_of`."""

    data: bytes
    """The token ids as `token_bytes` gives them."""
    root: str
    """`root_hash`."""
    hashes: tuple[str, ...]
    """`block_hashes`."""
    block_tokens: int = BLOCK_TOKENS

    @property
    def num_tokens(self) -> int:
        """All tokens, those of the last block that is not full too."""
        return len(self.data) // TOKEN_BYTES

    @property
    def num_blocks(self) -> int:
        """Blocks, a last one that is not full counted too."""
        return -(-self.num_tokens // self.block_tokens)

    def node(self, num_blocks: int) -> str:
        """Return the hash that stands for the first `num_blocks` full blocks."""
        return self.hashes[num_blocks - 1] if num_blocks else self.root

    def block(self, number: int) -> bytes:
        """Return the tokens of one block, counted from 0; fewer at the end, none after it."""
        size = self.block_tokens * TOKEN_BYTES
        return self.data[number * size : (number + 1) * size]


def chain_of(tokens: Tokens, fingerprint_digest: str, salt: bytes, block_tokens: int = BLOCK_TOKENS) -> TokenChain:
    """Return the tokens with the names of their blocks; arguments and errors as of `block_hashes`."""
    hashes = tuple(block_hashes(tokens, fingerprint_digest, salt, block_tokens))
    return TokenChain(token_bytes(tokens), root_hash(fingerprint_digest, salt, block_tokens), hashes, block_tokens)


def common_tokens(one: bytes, other: bytes) -> int:
    """Return how many tokens two rows of `token_bytes` have in common at their beginning."""
    size = min(len(one), len(other))
    if one[:size] == other[:size]:
        return size // TOKEN_BYTES
    left = numpy.frombuffer(one, dtype=numpy.uint32, count=size // TOKEN_BYTES)
    right = numpy.frombuffer(other, dtype=numpy.uint32, count=size // TOKEN_BYTES)
    return int(numpy.argmax(left != right))


def _key(name: str, value: bytes) -> bytes:
    if not isinstance(value, bytes) or not MIN_KEY_BYTES <= len(value) <= MAX_KEY_BYTES:
        raise InvalidInputError(f"{name}: give {MIN_KEY_BYTES} to {MAX_KEY_BYTES} random bytes")
    return value
