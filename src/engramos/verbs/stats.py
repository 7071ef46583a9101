"""stats: numbers of a user's memory."""

from typing import Any

from engramos.scope import Scope
from engramos.verbs.parts import Parts


def stats(parts: Parts, scope: Scope) -> dict[str, Any]:
    """Return counts of cubes by form, type and state, versions, bytes, jobs, and the embedder; JSON values."""
    return {
        "tenant": scope.tenant,
        "user": scope.user,
        **parts.vault.counts(scope),
        "embedder": parts.vault.embedder(),
        "folder": str(parts.vault.folder),
        "folder_bytes": parts.vault.num_bytes(),
        "backups": [path for path, _ in parts.vault.backups()],
    }
