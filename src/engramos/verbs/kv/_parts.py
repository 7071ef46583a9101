"""What the verbs on KV cubes share."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from engramos.activation.blocks import TokenChain, Tokens
from engramos.activation.fingerprint import Fingerprint
from engramos.activation.rope import Rope
from engramos.activation.tiers import Tiers
from engramos.changes import Change, Erase
from engramos.clock import now_us
from engramos.cube import ActivationPayload, MemCube
from engramos.engines.base import Engine
from engramos.errors import InvalidInputError, ModelError, ModelMismatchError
from engramos.scope import Scope
from engramos.verbs.kv._cube import payload_of
from engramos.verbs.kv._shelf import Shelf
from engramos.verbs.parts import Parts

ASSUMED_BYTES_S = 5e8
"""How fast a blob is read and verified, in bytes a second, before any was."""
Prompt = str | Sequence[int] | Sequence[Mapping[str, str]]
"""A text, tokens, or messages with `role` and `content`."""


@dataclass(slots=True, eq=False)
class KVParts:
    """An open memory, a model, and the KV cubes that they have together."""

    parts: Parts
    engine: Engine
    scope: Scope
    codec: str
    disk_bytes: int | None
    tiers: Tiers
    shelf: Shelf
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The tiers' key of each cube that was loaded, by its id."""
    loaded_bytes: int = 0
    loaded_us: int = 0
    used_us: dict[str, int] = field(default_factory=dict)
    """When this process last used each cube."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held while a cube is stored: two threads must not both make room for theirs."""
    building: threading.RLock = field(default_factory=threading.RLock)
    """Held while a cube is built: two threads must not both build the same one."""

    def sync(self) -> None:
        """Follow what others have changed: what is gone from the vault is gone from every tier."""
        self.shelf.sync(self.lose)

    def lose(self, cube_id: str) -> None:
        """Drop the tensors of a cube that is no more."""
        key = self.keys.pop(cube_id, None)
        if key is not None:
            self.tiers.drop(key)

    def observe(self, changes: Sequence[Change]) -> None:
        """Drop at once what a commit of this process has erased."""
        for change in changes:
            if isinstance(change, Erase):
                self.lose(change.cube_id)

    def chain(self, tokens: Tokens) -> TokenChain:
        """Return tokens with the hashes of this scope and this model."""
        return self.shelf.chain(tokens, self.fingerprint)

    @property
    def fingerprint(self) -> Fingerprint:
        """The model's, with the adapters that act on it now: what they change must never be served without them."""
        return fingerprint_of(self.engine)

    @property
    def ropes(self) -> list[Rope] | None:
        """The rotation of each layer; None where the engine does not say."""
        shapes = getattr(self.engine, "shapes", None)
        return None if shapes is None else [shape.rope for shape in shapes]

    @property
    def read_bytes_s(self) -> float:
        """How fast blobs were read, verified and decoded here, in bytes a second."""
        return self.loaded_bytes / self.loaded_us * 1e6 if self.loaded_us else ASSUMED_BYTES_S

    def note_use(self, cube: MemCube) -> None:
        """Count a use of a cube."""
        self.used_us[cube.id] = now_us()
        self.parts.note_uses(cube.header.scope.tenant, [cube.id])

    def tokens_of(self, prompt: Prompt, *, answers: bool = True) -> list[int]:
        """Return a prompt as tokens.

        Raises:
            InvalidInputError: if it is empty or none of the three.
            UnsupportedError: if it is messages and the model has no chat template.
        """
        if isinstance(prompt, str):
            found = self.engine.tokens(prompt)
        else:
            items = list(prompt)
            if items and isinstance(items[0], Mapping):
                if not all(isinstance(one, Mapping) and _is_message(one) for one in items):
                    raise InvalidInputError("a message of the prompt lacks role or content: give both as texts")
                found = self.engine.chat_tokens(items, answers=answers)
            else:
                found = items
        if not found or not all(type(one) is int and 0 <= one < 2**31 for one in found):
            raise InvalidInputError("the prompt holds no tokens: give a text, messages, or token ids of 0 or more")
        return found


def _is_message(one: Mapping[str, str]) -> bool:
    return isinstance(one.get("role"), str) and isinstance(one.get("content"), str)


def fingerprint_of(engine: Engine) -> Fingerprint:
    """Return the fingerprint of an engine's model."""
    table = dict(engine.fingerprint)
    adapters = table.pop("adapters", ())
    return Fingerprint(**table, adapters=tuple(adapters))


def check_model(kv: KVParts, cube: MemCube) -> ActivationPayload:
    """Return the payload of a KV cube that this model made.

    Raises:
        ModelMismatchError: if another model made it, with the parts that differ.
    """
    payload = payload_of(cube)
    differing = kv.fingerprint.differences(Fingerprint.from_mapping(payload.fingerprint))
    if differing:
        raise ModelMismatchError(f"KV cube {cube.id!r}", differing)
    return payload


@contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """Turn what torch says when memory is out into a ModelError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error).lower():
            raise
        raise ModelError(f"{what} failed: no memory is left; use a shorter input, or a smaller ram_bytes") from error


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what `work` returns, and the seconds that it took."""
    began = now_us()
    done = work()
    return done, max(0, now_us() - began) / 1e6
