"""The switch from one embedder's vectors to another's, in one transaction."""

from typing import Any

from engramos.vault.sqlite.sql import sql


def switch(connection: Any, fingerprint: str) -> bool:
    """Make an embedder the current one and drop all other vectors; False where a searched cube lacks its vector."""
    key = next(iter(connection.execute(sql("add_embedder"), {"fingerprint": fingerprint, "is_current": 0})))[0]
    tenants = [row[0] for row in connection.execute(sql("tenants"))]
    for tenant in tenants:
        values = {"tenant": tenant, "embedder_key": key, "after_user": "", "after_id": "", "limit": 1}
        if next(iter(connection.execute(sql("without_vector"), values)), None) is not None:
            return False
    connection.execute(sql("make_embedder_current"), {"embedder_key": key})
    for tenant in tenants:
        connection.execute(sql("drop_old_vectors"), {"tenant": tenant, "embedder_key": key})
    connection.execute(sql("drop_embedders"))
    return True
