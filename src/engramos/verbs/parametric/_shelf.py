"""The shelf: which adapters a user has, in step with the vault, and their tensors in memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from engramos.cube import MemCube
from engramos.errors import ArchiveError, BlobError, CorruptPayloadError, InvalidInputError
from engramos.parametric.adapter import Adapter
from engramos.parametric.routers.base import Key, Taught
from engramos.rows import Filter
from engramos.scope import Scope
from engramos.vault.adapter_file import open_adapter
from engramos.vault.sqlite.vault import SqliteVault
from engramos.verbs.parametric._cube import ACTIVE, STATES, is_always_on, names_of, payload_of


class AdapterShelf:
    """The parametric cubes of one tenant, user and agent that fit one base model."""

    def __init__(self, vault: SqliteVault, scope: Scope, fingerprint: Mapping[str, str], ram_bytes: int) -> None:
        """Begin empty; `sync` fills it.

        Args:
            vault: of the open memory.
            scope: whose.
            fingerprint: of the base model.
            ram_bytes: what adapters may take in memory; the least used leave.
        """
        self._vault, self._scope, self._ram_bytes = vault, scope, ram_bytes
        self._fingerprint = dict(fingerprint)
        self._lock = threading.RLock()
        self.cubes: dict[str, MemCube] = {}
        self._loaded: OrderedDict[str, Adapter] = OrderedDict()
        self._keys: tuple[Key, ...] | None = None
        self._asked: dict[str, tuple[Taught, ...]] = {}
        self.vectors: dict[str, np.ndarray] = {}
        """Of texts that were embedded; forgotten as soon as an adapter is gone."""
        self._place = -1

    def sync(self) -> None:
        """Follow what this and other processes have changed; an adapter that is gone is gone from memory too."""
        with self._lock:
            with self._vault.snapshot() as snapshot:
                place = snapshot.place(self._scope)
            if place == self._place:
                return
            where = Filter(forms=("parametric",), states=STATES)
            found = {cube.id: cube for cube in self._vault.select(self._scope, where, limit=-1)}
            for digest in [one for one in self._loaded if one not in {cube.digest for cube in found.values()}]:
                del self._loaded[digest]
            if self.cubes.keys() - found.keys():
                self._asked, self.vectors = {}, {}
            self.cubes, self._keys, self._place = found, None, place

    def fits(self, cube: MemCube) -> bool:
        """Return whether a cube was made for this base model."""
        return dict(payload_of(cube).base_fingerprint) == self._fingerprint

    def active(self) -> list[MemCube]:
        """Return the active cubes that fit the base model, in the order of their making."""
        return [cube for cube in self.cubes.values() if cube.header.state in ACTIVE and self.fits(cube)]

    def keys(self, questions_of: Callable[[MemCube], tuple[Taught, ...]]) -> tuple[Key, ...]:
        """Return the keys by which a router finds the active adapters.

        Args:
            questions_of: reads what a cube's facts answer; called once for each cube that a question names.
        """

        def asked(cube: MemCube) -> tuple[Taught, ...]:
            if cube.id not in self._asked:
                self._asked[cube.id] = questions_of(cube)
            return self._asked[cube.id]

        with self._lock:
            if self._keys is None:
                self._keys = tuple(
                    Key(cube.id, names_of(cube), partial(asked, cube))
                    for cube in self.active()
                    if not is_always_on(cube)
                )
            return self._keys

    def load(self, cube: MemCube) -> Adapter:
        """Return the adapter of a cube, verified when it is read.

        Raises:
            CorruptPayloadError, ArchiveError, BlobError: if its file is damaged or missing.
        """
        payload = payload_of(cube)
        with self._lock:
            adapter = self._loaded.pop(payload.digest, None)
            if adapter is None:
                with self._vault.blobs.open(cube.header.scope.tenant, payload.digest) as file:
                    adapter = open_adapter(file, payload.digest).adapter
                if adapter.digest != payload.attributes.get("adapter_digest", adapter.digest):
                    raise ArchiveError(
                        f"the file of adapter {cube.id!r} is of another adapter: forget it and learn anew"
                    )
            self._loaded[payload.digest] = adapter
            while len(self._loaded) > 1 and self.num_bytes > self._ram_bytes:
                self._loaded.popitem(last=False)
            return adapter

    @property
    def num_bytes(self) -> int:
        """Bytes of the tensors in memory."""
        return sum(one.num_bytes for one in self._loaded.values())


DAMAGED = (CorruptPayloadError, ArchiveError, BlobError, InvalidInputError)
"""What `load` raises for a file that cannot be trusted."""
