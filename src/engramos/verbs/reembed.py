"""reembed: make all vectors anew with another embedder, while reads go on."""

from collections.abc import Callable

from engramos.changes import Reindex
from engramos.errors import ConfigError
from engramos.scope import Scope
from engramos.verbs.parts import Parts


def reembed(parts: Parts, progress: Callable[[int], None] = lambda num: None) -> int:
    """Make the vectors of the settings' embedder for every tenant and return how many were made.

    New vectors are written beside the old ones, a batch a commit; searches use the old ones until none is missing, then
    one commit switches. Killed in between, it goes on where it stopped when it is run again.

    Args:
        parts: of the open memory.
        progress: called with the number of vectors made by each batch.

    Raises:
        ConfigError: if the settings' embedder is `none`.
    """
    embedder = parts.embedder
    if embedder is None:
        raise ConfigError("embedder is 'none': set one, as in ENGRAMOS_EMBEDDER=bge_small")
    made = 0
    while True:
        for tenant in parts.vault.tenants():
            while missing := parts.vault.without_vector(tenant, embedder.fingerprint, parts.settings.batch):
                made += _batch(parts, tenant, missing)
                progress(len(missing))
        if parts.vault.switch_embedder(embedder.fingerprint):
            break
    with parts.lock:
        parts.indexes.clear()
    return made


def _batch(parts: Parts, tenant: str, missing: list[tuple[str, int]]) -> int:
    cubes = list(parts.vault.get_many(tenant, [cube_id for cube_id, _ in missing]).values())
    entries = parts.entries(cubes)
    found = {(cube.id, cube.version): entry for cube, entry in zip(cubes, entries, strict=True)}
    parts.commit([Reindex(found)], Scope(tenant, "engramos"), reason="reembed")
    return len(found)
