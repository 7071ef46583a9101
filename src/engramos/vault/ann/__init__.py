"""Nearest-neighbour indexes of great scopes: caches on disk, made from the vault and never asked what is true."""

from engramos.roles import Role

ROLE = Role("ann", "engramos.vault.ann", "Ann")
