"""context: a question with the memories that it needs, as text or with their KV cube, whichever is cheaper."""

from dataclasses import dataclass

from engramos.cube import MemCube
from engramos.plaintext.contexts.block import ContextBlock
from engramos.verbs.context import check_form
from engramos.verbs.context import context as text_context
from engramos.verbs.kv._cube import payload_of
from engramos.verbs.kv._parts import KVParts
from engramos.verbs.kv._payload import key_of, saved_s_of
from engramos.verbs.kv._prompt import counter, messages_of, question_tokens
from engramos.verbs.kv.lookup import lookup
from engramos.verbs.kv.promote import promoted
from engramos.verbs.search import SearchOptions

ATTACH_S = 0.005
"""What attaching takes beside reading the bytes."""


@dataclass(frozen=True, slots=True)
class KVContext:
    """A prompt, and the form in which its memories come."""

    block: ContextBlock
    messages: tuple[dict[str, str], ...]
    token_ids: tuple[int, ...]
    """Of the whole prompt; give them to `answer`."""
    form: str
    """`text` or `kv`."""
    why: str
    """Why this form was taken."""
    cube_id: str | None = None
    """The KV cube, for form `kv`."""
    cached_tokens: int = 0
    """Tokens of the prompt that it holds."""
    prefill_s: float = 0.0
    """Estimated seconds to read those tokens; 0 where there is no cube."""
    load_s: float = 0.0
    """Estimated seconds to attach them."""


def context(
    kv: KVParts,
    question: str,
    *,
    form: str = "auto",
    budget_tokens: int = 1_000,
    limit: int = 30,
    system: str | None = None,
) -> KVContext:
    """Return the prompt of a question with its context block, and whether a stored KV cube serves it.

    Args:
        kv: of the open memory.
        question: what the memories are for.
        form: `text`; `kv`, which promotes the block where no fresh cube has it; `auto`, the cheaper of what is there.
        budget_tokens: what the block may take, by the model's own tokens.
        limit: at most so many memories.
        system: what the system says first.

    Raises:
        InvalidInputError: if the question is empty, or a number or the form does not fit.
        ContextLengthError, QuotaExceededError, BlobError, StoreError, ModelError: for form `kv`, as of `promote`.
    """
    check_form(form)
    block = text_context(kv.parts, question, kv.scope, SearchOptions(limit), budget_tokens, counter(kv))
    messages = tuple(messages_of(block.text, question, system))
    token_ids = tuple(question_tokens(kv, block.text, question, system)[0])
    prompt = (block, messages, token_ids)
    if form == "text":
        return KVContext(*prompt, "text", "text was asked for")
    if not block.cube_ids:
        return KVContext(*prompt, "text", "no memory was found, or none fits")
    if form == "kv":
        sources = [kv.parts.read(kv.scope, cube_id) for cube_id in block.cube_ids]
        promoted(kv, block, sources, system=system)
    match = lookup(kv, token_ids)
    cube = None if match is None else kv.shelf.cubes.get(match.cube_id)
    if match is None or cube is None:
        return KVContext(*prompt, "text", "no fresh KV cube begins as this prompt does")
    prefill_s, load_s = costs(kv, cube, match.num_tokens)
    if form == "auto" and load_s >= prefill_s:
        why = f"reading {match.num_tokens} tokens is cheaper: about {prefill_s:.3f} s, attaching {load_s:.3f} s"
        return KVContext(*prompt, "text", why, prefill_s=prefill_s, load_s=load_s)
    why = "kv was asked for" if form == "kv" else f"attaching takes about {load_s:.3f} s, reading {prefill_s:.3f} s"
    return KVContext(*prompt, "kv", why, cube.id, match.num_tokens, prefill_s, load_s)


def costs(kv: KVParts, cube: MemCube, num_tokens: int) -> tuple[float, float]:
    """Return the estimated seconds to read a cube's first tokens with the model, and to attach the cube.

    Reading: what its own prefill took, for so many tokens. Attaching: the bytes of its blob at the speed that blobs
    were read with here, none where a tier in memory has it, and `ATTACH_S`. Ours, see decision 0015.

    Args:
        kv: of the open memory.
        cube: a KV cube.
        num_tokens: how many of its tokens are wanted.
    """
    payload = payload_of(cube)
    prefill_s = saved_s_of(cube) * num_tokens / len(payload.token_ids)
    is_in_memory = kv.tiers.where(key_of(cube)) is not None
    return prefill_s, ATTACH_S + (0.0 if is_in_memory else payload.num_bytes / kv.read_bytes_s)
