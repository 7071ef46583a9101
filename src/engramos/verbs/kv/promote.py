"""promote: a KV cube out of plaintext cubes."""

from collections.abc import Sequence

from engramos.activation.codecs import ROLE
from engramos.cube import Edge, Form, MemCube, Relation, State
from engramos.errors import ContextLengthError, CubeNotFoundError, InvalidInputError
from engramos.governance.access import derived_trust
from engramos.plaintext.contexts.block import ContextBlock, build
from engramos.verbs.context import context
from engramos.verbs.kv._cube import payload_of
from engramos.verbs.kv._parts import KVParts, timed
from engramos.verbs.kv._payload import Making
from engramos.verbs.kv._prompt import counter, opening_tokens
from engramos.verbs.kv._store import discard, store
from engramos.verbs.kv.build import Built, read
from engramos.verbs.kv.is_stale import is_stale
from engramos.verbs.search import SearchOptions


def promote(
    kv: KVParts,
    cube_ids: Sequence[str] = (),
    *,
    question: str | None = None,
    budget_tokens: int = 1_000,
    limit: int = 30,
    system: str | None = None,
    title: str | None = None,
    codec: str | None = None,
) -> Built:
    """Encode plaintext cubes as they stand in a context block, and keep that as a cube derived from them.

    Lineage leads to the exact versions, in their order in the block; the trust is the least of theirs, and it is kept
    no longer than the first of them. An edit of a source makes it stale at once, an erasure erases it too.

    Args:
        kv: of the open memory.
        cube_ids: the cubes, all of which must fit the model's window; or
        question: whose context they are; exactly one of the two is given.
        budget_tokens: of the question's context.
        limit: of the question's search.
        system: what the system says before them, if prompts will have that.
        title: shown in lists.
        codec: how keys and values are stored; that of the memory where None.

    Raises:
        InvalidInputError: if not exactly one input is given, a cube is not plaintext, or nothing is found.
        CubeNotFoundError: if a cube is not there, also if it was erased meanwhile.
        ContextLengthError: if they do not fit the model's window.
        QuotaExceededError, BlobError, StoreError, ModelError, ConfigError, UnknownMethodError: as of `build`.
    """
    if isinstance(cube_ids, str):
        cube_ids = (cube_ids,)
    if bool(cube_ids) == (question is not None):
        raise InvalidInputError("say what to promote: cube ids, or a question, and only one of them")
    codec = codec or kv.codec
    ROLE.parse(codec)
    if question is not None:
        options = SearchOptions(limit)
        block = context(kv.parts, question, kv.scope, options, budget_tokens, counter(kv))
        if not block.cube_ids:
            raise InvalidInputError("nothing is found for this question, or nothing fits: ask another, or give ids")
    else:
        block = _block_of(kv, [kv.parts.read(kv.scope, cube_id) for cube_id in dict.fromkeys(cube_ids)])
    sources = [kv.parts.read(kv.scope, cube_id) for cube_id in block.cube_ids]
    return promoted(kv, block, sources, system=system, title=title, codec=codec)


def promoted(
    kv: KVParts,
    block: ContextBlock,
    sources: Sequence[MemCube],
    *,
    system: str | None = None,
    title: str | None = None,
    codec: str | None = None,
) -> Built:
    """Return the KV cube of a block; the one that is there where it is fresh, of the same tokens and codec."""
    codec = codec or kv.codec
    ids, template = opening_tokens(kv, block.text, system)
    parents = tuple(Edge(Relation.DERIVED_FROM, one.id, one.version) for one in sources)
    with kv.building:
        if (known := _known(kv, ids, parents, codec)) is not None:
            return Built(known, False)
        tensors, prefill_s = timed(lambda: read(kv, ids))
        ends = [one.header.retention.expires_at for one in sources if one.header.retention.expires_at is not None]
        making = Making(
            codec,
            prefill_s,
            title=title,
            method="promote",
            parents=parents,
            trust=derived_trust([one.header for one in sources]),
            expires_at=min(ends, default=None),
            template=template,
        )
        cube, receipt = store(kv, tensors, making)
    for stale in is_stale(kv, cube):
        if stale.why == "erased":
            # its lineage came too late for the erasure to find it
            discard(kv, cube, "kv: its source was erased")
            raise CubeNotFoundError(stale.cube_id)
    return Built(cube, True, receipt)


def _block_of(kv: KVParts, cubes: Sequence[MemCube]) -> ContextBlock:
    for cube in cubes:
        if cube.header.form is not Form.PLAINTEXT or cube.header.state not in (State.ACTIVATED, State.FROZEN):
            found = f"{cube.header.form}, {cube.header.state}"
            raise InvalidInputError(f"cube {cube.id!r} is {found}: give plaintext cubes that are active")
    block = build(cubes, kv.engine.max_tokens, counter(kv))
    if block.left_out:
        whole = build(cubes, 2**62, counter(kv))
        raise ContextLengthError(whole.num_tokens, kv.engine.max_tokens)
    return block


def _known(kv: KVParts, token_ids: Sequence[int], parents: tuple[Edge, ...], codec: str) -> MemCube | None:
    kv.sync()
    table, ids = kv.fingerprint.to_mapping(), tuple(token_ids)
    for cube in list(kv.shelf.cubes.values()):
        payload = payload_of(cube)
        is_same = payload.token_ids == ids and payload.codec == codec and dict(payload.fingerprint) == table
        if is_same and cube.header.parents == parents and cube.id not in kv.shelf.damaged and not is_stale(kv, cube):
            return cube
    return None
