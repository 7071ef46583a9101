"""lookup: which stored KV cube begins with the most tokens of a prompt."""

from engramos.activation.prefixes import Match
from engramos.clock import now
from engramos.errors import CorruptPayloadError, CubeNotFoundError
from engramos.governance.access import check
from engramos.verbs.kv._parts import KVParts, Prompt
from engramos.verbs.kv._store import discard
from engramos.verbs.kv.is_stale import is_stale
from engramos.verbs.sources import GONE


def lookup(kv: KVParts, prompt: Prompt, *, allow_stale: bool = False) -> Match | None:
    """Return the cube of this tenant, user and model that begins with the most tokens of a prompt; None for none.

    Args:
        kv: of the open memory.
        prompt: a text, messages, or token ids.
        allow_stale: find also cubes whose sources have changed since.

    Raises:
        InvalidInputError: if the prompt holds no tokens.
    """
    token_ids = kv.tokens_of(prompt)
    kv.sync()
    chain = kv.chain(token_ids)
    index = kv.shelf.known if allow_stale else kv.shelf.served
    for _ in range(len(index) + 1):
        match = index.longest(chain)
        if match is None or is_usable(kv, match.cube_id, allow_stale=allow_stale):
            return match
        index.remove(match.cube_id)
    return None


def is_usable(kv: KVParts, cube_id: str, *, allow_stale: bool) -> bool:
    """Return whether a cube that was found may be attached; the vault is asked, as others may have changed it."""
    if cube_id in kv.shelf.damaged:
        return False
    try:
        head = kv.parts.vault.get(kv.scope.tenant, cube_id)
        check(None if head is None else head.header, cube_id, kv.scope, "read", now())
        assert head is not None
        stale = is_stale(kv, head)
    except CubeNotFoundError:
        kv.lose(cube_id)
        return False
    except CorruptPayloadError as error:
        kv.shelf.report_damaged(cube_id, str(error))
        return False
    if any(one.why == GONE for one in stale):
        # its source was erased while it was being built: nothing of it may stay
        discard(kv, head, "kv: its source was erased")
        return False
    return allow_stale or not stale
