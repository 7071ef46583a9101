"""KVMemory: KV cubes in an open memory, on a local model; one method a verb."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Self

from engramos.activation.codecs import ROLE
from engramos.activation.prefixes import Match
from engramos.activation.tiers import LRU, Tier, Tiers
from engramos.cube import MemCube
from engramos.engines.base import Engine, Sampling
from engramos.errors import ConfigError
from engramos.scope import Scope
from engramos.verbs.forget import Forgotten
from engramos.verbs.kv._parts import KVParts, Prompt
from engramos.verbs.kv._shelf import Shelf
from engramos.verbs.kv._tiers import gpu_tier
from engramos.verbs.kv.answer import Answer
from engramos.verbs.kv.answer import answer as _answer
from engramos.verbs.kv.attach import attach as _attach
from engramos.verbs.kv.build import Built
from engramos.verbs.kv.build import build as _build
from engramos.verbs.kv.context import KVContext
from engramos.verbs.kv.context import context as _context
from engramos.verbs.kv.conversation import Conversation
from engramos.verbs.kv.conversation import conversation as _conversation
from engramos.verbs.kv.drop import drop as _drop
from engramos.verbs.kv.explain import Explained
from engramos.verbs.kv.explain import explain as _explain
from engramos.verbs.kv.fuse import Fused
from engramos.verbs.kv.fuse import fuse as _fuse
from engramos.verbs.kv.is_stale import Stale
from engramos.verbs.kv.is_stale import is_stale as _is_stale
from engramos.verbs.kv.list import Listed, list_cubes
from engramos.verbs.kv.lookup import lookup as _lookup
from engramos.verbs.kv.prefetch import prefetch as _prefetch
from engramos.verbs.kv.promote import promote as _promote
from engramos.verbs.kv.refresh import Refreshed
from engramos.verbs.kv.refresh import refresh as _refresh
from engramos.verbs.parts import Parts

RAM_BYTES = 2_000_000_000


class KVMemory:
    """The KV cubes of one tenant, user and agent, made and read by one model.

    Made by `memory.kv(engine)`. Any thread may use it; the model serves one request at a time. Close it, or use a
    `with` block, before the memory is closed.
    """

    def __init__(
        self,
        parts: Parts,
        engine: Engine,
        scope: Scope,
        *,
        codec: str = "int8",
        ram_bytes: int = RAM_BYTES,
        gpu_bytes: int | None = None,
        disk_bytes: int | None = None,
    ) -> None:
        """Take the KV cubes of a scope over.

        Args:
            parts: of the open memory.
            engine: the local model.
            scope: whose cubes; a session in it is not looked at.
            codec: how keys and values are stored where nothing else is asked, as `Role.parse` reads it.
            ram_bytes: what decoded cubes may take in memory, 1 or more.
            gpu_bytes: the same on the engine's device, where that is not the CPU; as `ram_bytes` where None.
            disk_bytes: what the blobs of this scope may take, 1 or more; the least useful are dropped. None: no limit.

        Raises:
            ConfigError: if a budget or the codec does not fit.
            UnknownMethodError: if there is no such codec.
        """
        ROLE.parse(codec)
        if disk_bytes is not None and disk_bytes < 1:
            raise ConfigError(f"disk_bytes is {disk_bytes}: give 1 or more, or None for no limit")
        own = Scope(scope.tenant, scope.user, scope.agent)
        ram = Tier("ram", ram_bytes, order=LRU)
        tiers = Tiers([*gpu_tier(engine, gpu_bytes or ram_bytes), ram])
        shelf = Shelf(parts.vault, own)
        self._kv = KVParts(parts, engine, own, codec, disk_bytes, tiers, shelf)
        parts.observers.append(self._kv.observe)

    @property
    def engine(self) -> Engine:
        """The model."""
        return self._kv.engine

    @property
    def ram_bytes_used(self) -> int:
        """Bytes of decoded cubes in memory."""
        return sum(tier.num_bytes for tier in self._kv.tiers.tiers)

    def close(self) -> None:
        """End the prefetching and let the tensors go; the cubes stay in the vault."""
        if self._kv.observe in self._kv.parts.observers:
            self._kv.parts.observers.remove(self._kv.observe)
        self._kv.tiers.close()
        for cube_id in tuple(self._kv.keys):
            self._kv.lose(cube_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def build(
        self,
        text: str | None = None,
        *,
        messages: Sequence[Mapping[str, str]] | None = None,
        token_ids: Sequence[int] | None = None,
        title: str | None = None,
        codec: str | None = None,
        kept: float | None = None,
        policy: str | None = None,
        is_piece: bool = False,
    ) -> Built:
        """Encode a text once and keep its KV cache; see `engramos.verbs.kv.build`."""
        given: dict[str, Any] = {"messages": messages, "token_ids": token_ids, "title": title, "codec": codec}
        return _build(self._kv, text, **given, kept=kept, policy=policy, is_piece=is_piece)

    def promote(
        self,
        cube_ids: Sequence[str] = (),
        *,
        question: str | None = None,
        budget_tokens: int = 1_000,
        limit: int = 30,
        system: str | None = None,
        title: str | None = None,
        codec: str | None = None,
    ) -> Built:
        """Make a KV cube out of plaintext cubes; see `engramos.verbs.kv.promote`."""
        given: dict[str, Any] = {"system": system, "title": title, "codec": codec}
        return _promote(self._kv, cube_ids, question=question, budget_tokens=budget_tokens, limit=limit, **given)

    def list(self) -> Sequence[Listed]:
        """Return the KV cubes of this scope; see `engramos.verbs.kv.list`."""
        return list_cubes(self._kv)

    def drop(self, cube_id: str, *, reason: str = "", dry_run: bool = False) -> Forgotten:
        """Erase a KV cube and its bytes; see `engramos.verbs.kv.drop`."""
        return _drop(self._kv, cube_id, reason=reason, dry_run=dry_run)

    def attach(self, cube_id: str, *, allow_stale: bool = False) -> Any:
        """Return a cache of the engine that begins with a KV cube; see `engramos.verbs.kv.attach`."""
        return _attach(self._kv, cube_id, allow_stale=allow_stale)

    def lookup(self, prompt: Prompt, *, allow_stale: bool = False) -> Match | None:
        """Return the cube that begins with the most tokens of a prompt; see `engramos.verbs.kv.lookup`."""
        return _lookup(self._kv, prompt, allow_stale=allow_stale)

    def explain(self, prompt: Prompt) -> Explained:
        """Return why a look-up finds what it finds; see `engramos.verbs.kv.explain`."""
        return _explain(self._kv, prompt)

    def answer(
        self,
        prompt: Prompt,
        sampling: Sampling | None = None,
        *,
        uses_kv: bool = True,
        stores: bool = False,
        pieces: Sequence[str] = (),
        fusion: str = "blend",
        adapters: Sequence[Any] = (),
    ) -> Answer:
        """Return the answer to a prompt as it is produced; see `engramos.verbs.kv.answer`."""
        given = {"uses_kv": uses_kv, "stores": stores, "pieces": pieces, "fusion": fusion, "adapters": adapters}
        return _answer(self._kv, prompt, sampling, **given)

    def fuse(self, cube_ids: Sequence[str], *, fusion: str = "blend") -> Fused:
        """Return a cache of KV cubes in any order; see `engramos.verbs.kv.fuse`."""
        return _fuse(self._kv, cube_ids, fusion=fusion)

    def conversation(self, *, uses_kv: bool = True) -> Conversation:
        """Return a talk that keeps its KV cache; see `engramos.verbs.kv.conversation`."""
        return _conversation(self._kv, uses_kv=uses_kv)

    def context(
        self,
        question: str,
        *,
        form: str = "auto",
        budget_tokens: int = 1_000,
        limit: int = 30,
        system: str | None = None,
    ) -> KVContext:
        """Return a question's prompt and the form of its memories; see `engramos.verbs.kv.context`."""
        return _context(self._kv, question, form=form, budget_tokens=budget_tokens, limit=limit, system=system)

    def is_stale(self, cube: MemCube | str) -> tuple[Stale, ...]:
        """Return the sources of a KV cube that have changed; see `engramos.verbs.kv.is_stale`."""
        return _is_stale(self._kv, cube)

    def refresh(self, *, system: str | None = None) -> Sequence[Refreshed]:
        """Build stale KV cubes anew; see `engramos.verbs.kv.refresh`."""
        return _refresh(self._kv, system=system)

    def prefetch(self, cube_ids: Sequence[str]) -> Sequence[Future]:
        """Begin to load KV cubes; see `engramos.verbs.kv.prefetch`."""
        return _prefetch(self._kv, cube_ids)
