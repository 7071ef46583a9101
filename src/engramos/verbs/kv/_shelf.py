"""The shelf: which KV cubes a user has, in step with the vault, and found by their tokens."""

import os
import threading
from collections.abc import Callable

from engramos.activation.blocks import TokenChain, Tokens, chain_of, salt_of
from engramos.activation.fingerprint import Fingerprint
from engramos.activation.prefixes import Entry, Prefixes
from engramos.cube import ActivationPayload, CubeType, MemCube, encode
from engramos.errors import CorruptPayloadError, InvalidInputError
from engramos.scope import Scope
from engramos.vault.sqlite.vault import SqliteVault

EVICTED = "kv: no room on disk"
"""The reason that the journal has for a KV cube which gave way to another."""
SECRET_BYTES = 32


class Shelf:
    """The KV cubes of one tenant, user and agent.

    Hashes of blocks are made with a secret that is new in each process and stored nowhere: nobody can compute them, and
    two scopes never have one in common.
    """

    def __init__(self, vault: SqliteVault, scope: Scope) -> None:
        """Begin empty; `sync` fills it."""
        self._vault, self._scope = vault, scope
        self.salt = salt_of(encode([scope.tenant, scope.user, scope.agent]), os.urandom(SECRET_BYTES))
        self.lock = threading.RLock()
        self.cubes: dict[str, MemCube] = {}
        self.served = Prefixes()
        """What a look-up may find: cubes leave it when they are found stale or damaged."""
        self.known = Prefixes()
        """What is stored, the stale and the damaged too."""
        self.damaged: dict[str, str] = {}
        """Why a cube cannot be used, by its id."""
        self._place = -1

    def sync(self, lost: Callable[[str], object]) -> None:
        """Follow what this and other processes have changed.

        Args:
            lost: called with the id of each cube that is gone.
        """
        with self.lock:
            with self._vault.snapshot() as snapshot:
                place = snapshot.place(self._scope)
                if place == self._place:
                    return
                found = dict(snapshot.activations(self._scope))
            gone = [cube_id for cube_id in self.cubes if cube_id not in found]
            for cube_id in gone:
                self._lose(cube_id)
            for cube_id, version in found.items():
                known = self.cubes.get(cube_id)
                if (known is None or known.version != version) and cube_id not in self.damaged:
                    self._take(cube_id)
            self._place = place
        for cube_id in gone:
            lost(cube_id)

    def chain(self, tokens: Tokens, fingerprint: Fingerprint) -> TokenChain:
        """Return tokens with the hashes by which this shelf finds them."""
        return chain_of(tokens, fingerprint.digest, self.salt)

    def set_aside(self, cube_id: str) -> None:
        """Let no look-up find a cube any more."""
        self.served.remove(cube_id)

    def report_damaged(self, cube_id: str, problem: str) -> None:
        """Note why a cube cannot be used, and let no look-up find it."""
        with self.lock:
            self.damaged[cube_id] = problem
        self.set_aside(cube_id)

    def _take(self, cube_id: str) -> None:
        try:
            cube = self._vault.get(self._scope.tenant, cube_id)
            if cube is None:
                return
            self.cubes[cube_id] = cube
            payload = cube.payload
            if cube.header.type is not CubeType.PREFIX or not isinstance(payload, ActivationPayload):
                return
            if payload.kept_ratio < 1.0:
                # what it answers is approximate: it is attached where its id is asked for
                return
            fingerprint = Fingerprint.from_mapping(payload.fingerprint)
            entry = Entry(cube_id, self._scope.tenant, fingerprint, self.chain(payload.token_ids, fingerprint))
            self.served.add(entry)
            self.known.add(entry)
        except (CorruptPayloadError, InvalidInputError) as error:
            self.report_damaged(cube_id, str(error))

    def _lose(self, cube_id: str) -> None:
        del self.cubes[cube_id]
        self.damaged.pop(cube_id, None)
        rows = self._vault.journal_of(self._scope.tenant, cube_id)
        is_evicted = bool(rows) and rows[-1].reason == EVICTED
        for index in (self.served, self.known):
            index.remove(cube_id, is_evicted=is_evicted)
