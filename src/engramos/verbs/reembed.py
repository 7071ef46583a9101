"""reembed: make all vectors anew with another embedder, while reads go on."""

from collections.abc import Callable

from engramos.changes import Reindex
from engramos.errors import ConfigError
from engramos.scope import Scope
from engramos.verbs.parts import Parts


def reembed(parts: Parts, progress: Callable[[int], None] = lambda num: None) -> int:
    """Make the vectors of the settings' embedder for every tenant and return how many were made.

    New vectors are written beside the old ones, a batch a commit; searches use the old ones until none is missing, then
    one commit switches. Killed in between, it goes on where it stopped when it is run again. In a memory that was begun
    without an embedder, searches go by words until the switch.

    Args:
        parts: of the open memory.
        progress: called with the number of vectors made by each batch.

    Raises:
        ConfigError: if the settings' embedder is `none`.
        CorruptPayloadError: if a stored cube is damaged.
    """
    embedder = parts.embedder
    if embedder is None:
        raise ConfigError("embedder is 'none': set one, as in ENGRAMOS_EMBEDDER=bge_small")
    made = 0
    while True:
        for tenant in parts.vault.tenants():
            made += _fill(parts, tenant, embedder.fingerprint, progress)
        # what another process wrote behind the last batch keeps it from switching
        if parts.vault.switch_embedder(embedder.fingerprint):
            return made


def _fill(parts: Parts, tenant: str, fingerprint: str, progress: Callable[[int], None]) -> int:
    made, after = 0, ("", "")
    while missing := parts.vault.without_vector(tenant, fingerprint, parts.settings.batch, after):
        num = _batch(parts, tenant, [cube_id for _, cube_id in missing])
        progress(num)
        made += num
        after = missing[-1]
    return made


def _batch(parts: Parts, tenant: str, cube_ids: list[str]) -> int:
    cubes = list(parts.vault.get_many(tenant, cube_ids).values())
    found = {(cube.id, cube.version): entry for cube, entry in zip(cubes, parts.entries(cubes), strict=True)}
    receipt = parts.commit([Reindex(found)], Scope(tenant, "engramos"), reason="reembed")
    # a cube that moved on since it was read is left out, and found again by the next pass; a row counts a user's cubes
    return sum(one.version for one in receipt.applied)
