"""explain: why a look-up found what it found."""

from dataclasses import dataclass

from engramos.activation.prefixes import ABSENT, EVICTED, HIT, OTHER_FINGERPRINT
from engramos.verbs.kv._parts import KVParts, Prompt
from engramos.verbs.kv.is_stale import is_stale
from engramos.verbs.kv.lookup import lookup

STALE, DAMAGED = "stale", "damaged"


@dataclass(frozen=True, slots=True)
class Explained:
    """Why so many tokens of a prompt are cached, and no more."""

    reason: str
    """`hit`, `partial`, `absent`; or what a better match was lost to: `evicted`, `other fingerprint`, `stale`,
    `damaged`."""
    sentence: str
    """The same for people."""
    cube_id: str | None
    """The cube that a look-up finds, or the one that is stale or damaged."""
    num_tokens: int
    """Tokens that a look-up finds."""
    prompt_tokens: int
    num_blocks: int
    """Full KV blocks that a look-up finds."""
    prompt_blocks: int
    """KV blocks of the prompt, a last one that is not full counted too."""
    differences: tuple[str, ...] = ()
    """For `other fingerprint`: what differs."""


def explain(kv: KVParts, prompt: Prompt) -> Explained:
    """Return why a look-up of a prompt finds what it finds, by what this tenant, user and agent store alone.

    Args:
        kv: of the open memory.
        prompt: a text, messages, or token ids.

    Raises:
        InvalidInputError: if the prompt holds no tokens.
    """
    token_ids = kv.tokens_of(prompt)
    found = lookup(kv, token_ids)
    chain = kv.chain(token_ids)
    whole = kv.shelf.known.explain(chain, kv.scope.tenant, kv.fingerprint)
    num_tokens = found.num_tokens if found else 0
    num_blocks = num_tokens // chain.block_tokens
    common = {"prompt_tokens": len(token_ids), "prompt_blocks": chain.num_blocks, "num_blocks": num_blocks}
    is_lost = whole.reason in (EVICTED, OTHER_FINGERPRINT)
    if not is_lost and whole.num_tokens > num_tokens and whole.cube_id is not None:
        reason, sentence = _aside(kv, whole.cube_id)
        return Explained(reason, sentence, whole.cube_id, num_tokens, **common)
    reason = whole.reason if is_lost or num_tokens == whole.num_tokens else ABSENT
    sentence = _sentence(reason, num_blocks, chain.num_blocks, whole.differences)
    cube_id = found.cube_id if found else None
    return Explained(reason, sentence, cube_id, num_tokens, differences=whole.differences, **common)


def _aside(kv: KVParts, cube_id: str) -> tuple[str, str]:
    if problem := kv.shelf.damaged.get(cube_id):
        return DAMAGED, f"the KV cube cannot be used: {problem}"
    cube = kv.shelf.cubes.get(cube_id)
    changed = ", ".join(f"{one.cube_id} ({one.why})" for one in is_stale(kv, cube)) if cube else ""
    return STALE, f"the KV cube was built from texts that have changed: {changed or 'they are gone'}; run refresh"


def _sentence(reason: str, num_blocks: int, prompt_blocks: int, differences: tuple[str, ...]) -> str:
    if reason == HIT:
        return "the whole prompt is stored"
    if reason == ABSENT:
        return "nothing is stored that begins as this prompt does"
    if reason == EVICTED:
        return "what was stored had to give way: raise disk_bytes, or build it again"
    if reason == OTHER_FINGERPRINT:
        return f"what is stored was made for a model with another {' and '.join(differences)}: build it with this one"
    return f"{num_blocks} of {prompt_blocks} blocks are stored; the prompt goes another way after that"
