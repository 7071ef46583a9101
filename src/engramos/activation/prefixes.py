"""Prefixes: which stored KV cube begins with the most tokens of a prompt, and why no other does."""

import bisect
import threading
from collections import OrderedDict
from dataclasses import dataclass

from engramos.activation.blocks import BLOCK_TOKENS, TokenChain, common_tokens
from engramos.activation.fingerprint import Fingerprint
from engramos.errors import ConfigError, InvalidInputError

HIT, PARTIAL, ABSENT = "hit", "partial", "absent"
EVICTED, OTHER_FINGERPRINT, OTHER_TENANT = "evicted", "other fingerprint", "other tenant"


@dataclass(frozen=True, slots=True)
class Entry:
    """A KV cube as the index knows it."""

    cube_id: str
    tenant: str
    fingerprint: Fingerprint
    chain: TokenChain
    """Of the tokens that the cube holds, with hashes by this fingerprint and this tenant's salt."""


@dataclass(frozen=True, slots=True)
class Match:
    """The cube that begins with the most tokens of a prompt."""

    cube_id: str
    num_tokens: int
    """Tokens in common, >= 1; a match may end inside of a block."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a look-up found what it found."""

    reason: str
    """`hit`: the whole prompt; `partial`; `absent`: not one token; or what a better match was lost to: `evicted`,
    `other fingerprint`, and for the operator alone `other tenant`."""
    cube_id: str | None = None
    """The cube that was matched."""
    num_tokens: int = 0
    """Tokens that were matched."""
    prompt_tokens: int = 0
    num_blocks: int = 0
    """Full blocks that were matched."""
    prompt_blocks: int = 0
    """Blocks of the prompt, a last one that is not full counted too."""
    lost_tokens: int = 0
    """How many tokens the lost match would have had, for the three reasons of loss."""
    differences: tuple[str, ...] = ()
    """The fingerprint's fields that differ, for `other fingerprint`."""


@dataclass(frozen=True, slots=True)
class _Loss:
    reason: str
    num_tokens: int
    differences: tuple[str, ...] = ()


class Prefixes:
    """An index over block hashes: a trie whose nodes are the hashes, since each hash names all blocks before it.

    At each node stand the cubes that go through it, sorted by the tokens of their next block. So a look-up takes the
    deepest known hash, and then compares single tokens with two neighbours, however many cubes share the prefix.

    Tenants: a hash is made with the tenant's salt, and so is the root under which prompts shorter than a block are
    found. A tenant's look-up therefore reaches only nodes of its own, and takes the same steps whatever others store;
    `explain` reads the entries and the evictions of its tenant alone, so that to tenant B a prompt which A has stored
    is `absent`, word for word and field for field as if nobody had. Only `explain_to_operator` looks at all tenants:
    a server must never answer a tenant with it. One lock serves all tenants: its contention is the one thing that they
    share.

    Source: ChunkAttention, https://arxiv.org/abs/2402.15220, section 3.1 (prefix tree over chunks of tokens).
    Differs: nodes are found by hash and not by walking from the root; the match goes on inside of the last block.
    """

    def __init__(self, block_tokens: int = BLOCK_TOKENS, max_evicted_blocks: int = 100_000) -> None:
        """Make an empty index.

        Args:
            block_tokens: of every chain that is given, >= 1.
            max_evicted_blocks: how many hashes of evicted cubes are kept for `explain`, >= 0; the oldest go first.

        Raises:
            ConfigError: if a number is out of its range.
        """
        if block_tokens < 1:
            raise ConfigError(f"block_tokens is {block_tokens}: give 1 or more")
        if max_evicted_blocks < 0:
            raise ConfigError(f"max_evicted_blocks is {max_evicted_blocks}: give 0 or more")
        self._block_tokens, self._max_evicted_blocks = block_tokens, max_evicted_blocks
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._of_tenant: dict[str, set[str]] = {}
        self._nodes: dict[str, list[tuple[bytes, str]]] = {}
        # of evicted cubes only keyed hashes stay: no token, so nothing that an erasure would have to find
        self._evicted: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._evicted_nodes: dict[str, int] = {}
        self._num_evicted_blocks = 0

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def add(self, entry: Entry) -> None:
        """Add a cube; the same cube again replaces what was known of it.

        Raises:
            InvalidInputError: if it has no token, or its blocks have another size.
        """
        self._check(entry.chain)
        if not entry.chain.num_tokens:
            raise InvalidInputError(f"KV cube {entry.cube_id!r} has no token: there is nothing to find it by")
        with self._lock:
            self._take_out(entry.cube_id)
            self._forget_eviction(entry.cube_id)
            self._entries[entry.cube_id] = entry
            self._of_tenant.setdefault(entry.tenant, set()).add(entry.cube_id)
            for at in range(len(entry.chain.hashes) + 1):
                bisect.insort(self._nodes.setdefault(entry.chain.node(at), []), (entry.chain.block(at), entry.cube_id))

    def remove(self, cube_id: str, *, is_evicted: bool = False) -> bool:
        """Take a cube out; return whether it was there.

        Args:
            cube_id: which; its tokens leave the index in either case.
            is_evicted: keep its hashes, so that `explain` can say `evicted` (of cubes with a full block); else nothing
                is kept, also of an earlier eviction.
        """
        with self._lock:
            self._forget_eviction(cube_id)
            entry = self._take_out(cube_id)
            if entry is not None and is_evicted:
                self._note_eviction(entry)
            return entry is not None

    def longest(self, chain: TokenChain) -> Match | None:
        """Return the cube that begins with the most tokens of the prompt; None where none has its first token.

        Among several the same one is returned each time, whatever the order in which they were added.

        Args:
            chain: the prompt with hashes by the model that asks and the tenant that asks.

        Raises:
            InvalidInputError: if its blocks have another size.
        """
        self._check(chain)
        with self._lock:
            return self._longest(chain)

    def explain(self, chain: TokenChain, tenant: str, fingerprint: Fingerprint) -> Explanation:
        """Return why a look-up found what it found, by what this tenant stores and has stored, and nothing else.

        A loss is named only where it would have given more full blocks, or the whole prompt; of two losses the greater
        one. It reads all entries of the tenant: for people who look, not for each request.

        Args:
            chain: as for `longest`.
            tenant: who asks.
            fingerprint: of the model that asks.
        """
        self._check(chain)
        with self._lock:
            return self._explanation(chain, [self._eviction(chain), self._elsewhere(chain, tenant, fingerprint)])

    def explain_to_operator(self, chain: TokenChain, tenant: str, fingerprint: Fingerprint) -> Explanation:
        """Return what `explain` does, and `other tenant` where one holds more: never for a tenant's eyes."""
        self._check(chain)
        with self._lock:
            losses = [self._eviction(chain), self._elsewhere(chain, tenant, fingerprint)]
            others = (
                common_tokens(one.chain.data, chain.data)
                for one in self._entries.values()
                if one.tenant != tenant and one.fingerprint == fingerprint
            )
            losses.append(_Loss(OTHER_TENANT, max(others, default=0)))
            return self._explanation(chain, losses)

    def _check(self, chain: TokenChain) -> None:
        if chain.block_tokens != self._block_tokens:
            raise InvalidInputError(
                f"blocks of {chain.block_tokens} tokens, and this index has blocks of {self._block_tokens}: "
                "hash them anew"
            )

    def _longest(self, chain: TokenChain) -> Match | None:
        depth = self._depth(chain, self._nodes)
        node = self._nodes.get(chain.node(depth))
        if node is None:
            return None
        wanted = chain.block(depth)
        place = bisect.bisect_left(node, (wanted, ""))
        # whatever has the most bytes in common with a text stands beside the place of that text
        near = node[max(0, place - 1) : place + 1]
        best = max(near, key=lambda one: common_tokens(one[0], wanted))
        # the count is taken from the tokens alone, from the first one on: a hash only says where to look
        num_tokens = common_tokens(self._entries[best[1]].chain.data, chain.data)
        return Match(best[1], num_tokens) if num_tokens else None

    def _depth(self, chain: TokenChain, nodes: dict) -> int:
        """Return how many full blocks are known: where one is, so are all before it."""
        low, high = 0, len(chain.hashes)
        while low < high:
            middle = (low + high + 1) // 2
            if chain.hashes[middle - 1] in nodes:
                low = middle
            else:
                high = middle - 1
        return low

    def _explanation(self, chain: TokenChain, losses: list[_Loss]) -> Explanation:
        match = self._longest(chain)
        num_tokens = match.num_tokens if match else 0
        size = self._block_tokens
        reason = ABSENT if match is None else HIT if num_tokens == chain.num_tokens else PARTIAL
        worse = [
            one
            for one in losses
            if one.num_tokens // size > num_tokens // size or num_tokens < one.num_tokens == chain.num_tokens
        ]
        loss = max(worse, key=lambda one: one.num_tokens, default=_Loss(reason, 0))
        return Explanation(
            reason=loss.reason,
            cube_id=match.cube_id if match else None,
            num_tokens=num_tokens,
            prompt_tokens=chain.num_tokens,
            num_blocks=num_tokens // size,
            prompt_blocks=chain.num_blocks,
            lost_tokens=loss.num_tokens,
            differences=loss.differences,
        )

    def _eviction(self, chain: TokenChain) -> _Loss:
        # the salt and the fingerprint are in the hashes: these are evictions of this tenant and this model
        return _Loss(EVICTED, self._depth(chain, self._evicted_nodes) * self._block_tokens)

    def _elsewhere(self, chain: TokenChain, tenant: str, fingerprint: Fingerprint) -> _Loss:
        best = _Loss(OTHER_FINGERPRINT, 0)
        for cube_id in sorted(self._of_tenant.get(tenant, ())):
            entry = self._entries[cube_id]
            if entry.fingerprint == fingerprint:
                continue
            num_tokens = common_tokens(entry.chain.data, chain.data)
            if num_tokens > best.num_tokens:
                best = _Loss(OTHER_FINGERPRINT, num_tokens, fingerprint.differences(entry.fingerprint))
        return best

    def _take_out(self, cube_id: str) -> Entry | None:
        entry = self._entries.pop(cube_id, None)
        if entry is None:
            return None
        for at in range(len(entry.chain.hashes) + 1):
            name = entry.chain.node(at)
            node = self._nodes[name]
            del node[bisect.bisect_left(node, (entry.chain.block(at), cube_id))]
            if not node:
                del self._nodes[name]
        mine = self._of_tenant[entry.tenant]
        mine.discard(cube_id)
        if not mine:
            del self._of_tenant[entry.tenant]
        return entry

    def _note_eviction(self, entry: Entry) -> None:
        if not entry.chain.hashes:
            return
        self._evicted[entry.cube_id] = entry.chain.hashes
        self._num_evicted_blocks += len(entry.chain.hashes)
        for name in entry.chain.hashes:
            self._evicted_nodes[name] = self._evicted_nodes.get(name, 0) + 1
        while self._num_evicted_blocks > self._max_evicted_blocks:
            self._forget_eviction(next(iter(self._evicted)))

    def _forget_eviction(self, cube_id: str) -> None:
        hashes = self._evicted.pop(cube_id, ())
        self._num_evicted_blocks -= len(hashes)
        for name in hashes:
            self._evicted_nodes[name] -= 1
            if not self._evicted_nodes[name]:
                del self._evicted_nodes[name]


__all__ = [
    "ABSENT",
    "EVICTED",
    "HIT",
    "OTHER_FINGERPRINT",
    "OTHER_TENANT",
    "PARTIAL",
    "Entry",
    "Explanation",
    "Match",
    "Prefixes",
]
